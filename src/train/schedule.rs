//! How the learning rate changes over a run.
//!
//! The base rate is the trainer's. Time runs in steps after the warm-up; where a schedule counts in epochs, a part of an epoch
//! counts as that part. PyTorch leaves to its user whether `step()` is called after each epoch or each batch: one step an
//! epoch gives the numbers of the former, and `n` batches an epoch those of the latter with `n` times the counts.
//!
//! Rates are computed in `f64` and rounded once.
//!
//! ```
//! use evenkeel::Schedule;
//!
//! // A base rate of 0.1, no warm-up, 100 steps of which 10 make an epoch.
//! let rate = |step| Schedule::Cosine { floor: 0.0 }.rate(0.1, 0, step, 10, 100);
//! assert!(rate(0) == 0.1 && (rate(50) - 0.05).abs() < 1e-7 && rate(99) < 1e-3);
//! ```

mod plateau;
#[cfg(feature = "alloc")]
mod text;

pub use plateau::{Plateau, PlateauState, Threshold};

use core::f64::consts::PI;

/// How the learning rate changes over a run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Schedule {
    /// Always the base rate.
    #[default]
    Constant,
    /// Multiplied by `factor` after every `every` epochs (`torch.optim.lr_scheduler.StepLR`).
    Step {
        /// Epochs between changes, at least 1.
        every: u32,
        /// Multiplier, 0.1 in PyTorch.
        factor: f32,
    },
    /// Half a cosine from the base rate to `floor` times it at the end (Loshchilov & Hutter, arXiv 1608.03983).
    Cosine {
        /// Share of the base rate left at the end, usually 0.
        floor: f32,
    },
    /// Multiplied by `gamma` each epoch (`ExponentialLR`).
    Exponential {
        /// Multiplier.
        gamma: f32,
        /// In every step by a part of it (Keras' `ExponentialDecay`, its `decay_steps` an epoch), not once an epoch.
        smooth: bool,
    },
    /// `(1 - t / epochs)^power` of the way from `floor` times the base rate to the base rate (`PolynomialLR`,
    /// `PolynomialDecay`).
    Polynomial {
        /// Epochs until the floor is reached, 5 in PyTorch; 0 for the whole run.
        epochs: u32,
        /// 1 is a line.
        power: f32,
        /// Share of the base rate left at the end, 0.
        floor: f32,
    },
    /// Up to the base rate and down again over the whole run (`OneCycleLR`; Smith & Topin, arXiv 1708.07120). The base rate
    /// is PyTorch's `max_lr`. It takes the place of a warm-up.
    OneCycle {
        /// Share of the steps that rise, 0.3.
        rise: f32,
        /// The rate begins at the base rate divided by this, 25.
        div: f32,
        /// And ends at its beginning divided by this, 1e4.
        final_div: f32,
        /// Along cosines, or along lines.
        anneal: Anneal,
        /// Falls back to its beginning first, as long as it rose, and then to its end.
        three_phase: bool,
        /// The momentum (or `beta1`) goes the other way, from the second number down to the first and back; PyTorch has
        /// 0.85 and 0.95.
        momentum: Option<(f32, f32)>,
    },
    /// Half cosines one after the other (`CosineAnnealingWarmRestarts`; arXiv 1608.03983).
    CosineRestarts {
        /// Epochs of the first.
        epochs: u32,
        /// How many times as long each next one is, 1; Keras' `t_mul` is 2.
        longer: u32,
        /// What the top of each next one is multiplied by, 1 (`m_mul` of Keras).
        lower: f32,
        /// Share of the base rate left at the end of each, 0.
        floor: f32,
    },
    /// Up and down between `floor` times the base rate and the base rate (`CyclicLR`; Smith, arXiv 1506.01186). The base
    /// rate is PyTorch's `max_lr`, `floor` times it the `base_lr`.
    Cyclic {
        /// Epochs up (PyTorch counts batches).
        up: f32,
        /// Epochs down.
        down: f32,
        /// Where a cycle begins, as a share of the base rate.
        floor: f32,
        /// How high the next cycles are.
        shape: Cycle,
        /// As for [`OneCycle`](Schedule::OneCycle); PyTorch has 0.8 and 0.9.
        momentum: Option<(f32, f32)>,
    },
    /// Lower when the monitored figure no longer improves (`ReduceLROnPlateau`). What it remembers is a [`PlateauState`].
    Plateau(Plateau),
}

/// The line along which a rate changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Anneal {
    /// Half a cosine.
    #[default]
    Cosine,
    /// Straight.
    Linear,
}

/// The height of the cycles.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Cycle {
    /// All equal.
    #[default]
    Triangular,
    /// Half as high each time.
    Triangular2,
    /// Multiplied by this in every step.
    ExpRange(f32),
}

impl Schedule {
    /// PyTorch's `OneCycleLR`, but with the momentum left alone.
    pub const ONE_CYCLE: Self = Self::OneCycle {
        rise: 0.3,
        div: 25.0,
        final_div: 1e4,
        anneal: Anneal::Cosine,
        three_phase: false,
        momentum: None,
    };

    /// What is outside its range, and that range.
    #[must_use]
    pub fn mistake(&self) -> Option<&'static str> {
        let share = |value: f32| (0.0..=1.0).contains(&value);
        let positive = |value: f32| value > 0.0 && value.is_finite();
        let momentum =
            |cycle: Option<(f32, f32)>| cycle.is_none_or(|(low, high)| low > 0.0 && low <= high && high < 1.0);
        let (sound, message) = match *self {
            Schedule::Constant => return None,
            Schedule::Step { every, factor } => {
                (every > 0 && positive(factor), "the schedule step wants at least one epoch and a positive factor")
            }
            Schedule::Cosine { floor } => (share(floor), "the floor of the schedule cosine must lie in [0, 1]"),
            Schedule::Exponential { gamma, .. } => {
                (positive(gamma), "the gamma of the schedule exponential must be a positive number")
            }
            Schedule::Polynomial { power, floor, .. } => (
                positive(power) && share(floor),
                "the schedule polynomial wants a positive power and a floor in [0, 1]",
            ),
            Schedule::OneCycle { rise, div, final_div, momentum: cycle, .. } => (
                rise > 0.0
                    && rise < 1.0
                    && div >= 1.0
                    && div.is_finite()
                    && final_div >= 1.0
                    && final_div.is_finite()
                    && momentum(cycle),
                "the schedule one_cycle wants a rise in (0, 1), div and final_div of at least 1, and momenta in (0, 1), the lower one first",
            ),
            Schedule::CosineRestarts { epochs, longer, lower, floor } => (
                epochs > 0 && longer > 0 && positive(lower) && share(floor),
                "the schedule cosine_restarts wants at least one epoch, longer of at least 1, a positive lower, and a floor in [0, 1]",
            ),
            Schedule::Cyclic { up, down, floor, shape, momentum: cycle } => {
                let gamma = if let Cycle::ExpRange(gamma) = shape { positive(gamma) && gamma <= 1.0 } else { true };
                (
                    positive(up) && positive(down) && share(floor) && gamma && momentum(cycle),
                    "the schedule cyclic wants positive epochs up and down, a floor in [0, 1], a gamma in (0, 1], and momenta in (0, 1), the lower one first",
                )
            }
            Schedule::Plateau(plateau) => return plateau.mistake(),
        };
        if sound { None } else { Some(message) }
    }

    /// The learning rate of `step` (from 0) of a run of `steps` steps, `steps_per_epoch` each epoch.
    ///
    /// The first `warmup` steps rise linearly to the base rate; the others count from there, except those of
    /// [`Step`](Schedule::Step). A [`Plateau`](Schedule::Plateau) stays at the base rate here, see
    /// [`PlateauState::share`].
    #[must_use]
    pub fn rate(&self, base: f32, warmup: u64, step: u64, steps_per_epoch: u64, steps: u64) -> f32 {
        if step < warmup {
            return (f64::from(base) * (step + 1) as f64 / warmup as f64) as f32;
        }
        let after = step - warmup;
        let epochs = after as f64 / steps_per_epoch.max(1) as f64;
        let base64 = f64::from(base);
        match *self {
            Schedule::Constant | Schedule::Plateau(_) => base,
            Schedule::Step { every, factor } => {
                let changes = step / steps_per_epoch.max(1) / u64::from(every.max(1));
                (base64 * libm::pow(f64::from(factor), changes as f64)) as f32
            }
            Schedule::Cosine { floor } => {
                let span = steps.saturating_sub(warmup).max(1) as f64;
                let turn = PI * ((step - warmup) as f64 / span).min(1.0);
                let share = f64::from(floor) + (1.0 - f64::from(floor)) * 0.5 * (1.0 + libm::cos(turn));
                (base64 * share) as f32
            }
            Schedule::Exponential { gamma, smooth } => {
                let times = if smooth { epochs } else { libm::floor(epochs) };
                (base64 * libm::pow(f64::from(gamma), times)) as f32
            }
            Schedule::Polynomial { epochs: until, power, floor } => {
                let span = match until {
                    0 => steps.saturating_sub(warmup) as f64,
                    until => f64::from(until) * steps_per_epoch.max(1) as f64,
                };
                let left = 1.0 - (after as f64 / span.max(1.0)).min(1.0);
                (base64 * between(f64::from(floor), 1.0, libm::pow(left, f64::from(power)))) as f32
            }
            Schedule::OneCycle { .. } => {
                let ends = [self.cycle_start(), 1.0];
                (base64 * self.one_cycle(after, steps.saturating_sub(warmup), ends, true)) as f32
            }
            Schedule::CosineRestarts { epochs: first, longer, lower, floor } => {
                let (mut span, mut since, mut top) = (f64::from(first.max(1)), epochs, 1.0);
                if longer <= 1 {
                    let cycle = libm::floor(since / span);
                    (since, top) = (since - cycle * span, libm::pow(f64::from(lower), cycle));
                }
                while longer > 1 && since >= span {
                    since -= span;
                    span *= f64::from(longer);
                    top *= f64::from(lower);
                }
                let height = top * 0.5 * (1.0 + libm::cos(PI * since / span));
                (base64 * between(f64::from(floor), 1.0, height)) as f32
            }
            Schedule::Cyclic { floor, .. } => {
                (base64 * between(f64::from(floor), 1.0, self.cycle_height(epochs, after))) as f32
            }
        }
    }

    /// The momentum of a step, of a schedule that changes it; arguments as of [`rate`](Self::rate).
    #[must_use]
    pub fn momentum(&self, warmup: u64, step: u64, steps_per_epoch: u64, steps: u64) -> Option<f32> {
        let after = step.saturating_sub(warmup);
        match *self {
            Schedule::OneCycle { momentum: Some((low, high)), .. } => {
                let ends = [f64::from(high), f64::from(low)];
                Some(self.one_cycle(after, steps.saturating_sub(warmup), ends, false) as f32)
            }
            Schedule::Cyclic { momentum: Some((low, high)), .. } => {
                let height = self.cycle_height(after as f64 / steps_per_epoch.max(1) as f64, after);
                Some(between(f64::from(high), f64::from(low), height) as f32)
            }
            _ => None,
        }
    }

    /// Whether it changes the momentum too.
    #[must_use]
    pub const fn cycles_momentum(&self) -> bool {
        matches!(self, Schedule::OneCycle { momentum: Some(_), .. } | Schedule::Cyclic { momentum: Some(_), .. })
    }

    /// Where one cycle begins, as a share of the base rate.
    fn cycle_start(&self) -> f64 {
        if let Schedule::OneCycle { div, .. } = *self { 1.0 / f64::from(div) } else { 1.0 }
    }

    /// One cycle from `ends[0]` to `ends[1]` and back; a rate then goes on to its end.
    fn one_cycle(&self, step: u64, steps: u64, ends: [f64; 2], is_rate: bool) -> f64 {
        let Schedule::OneCycle { rise, final_div, anneal, three_phase, .. } = *self else { return ends[0] };
        let last = if is_rate { ends[0] / f64::from(final_div) } else { ends[0] };
        let (at, steps, rise) = (step as f64, steps.max(1) as f64, f64::from(rise));
        let top = rise * steps - 1.0;
        let phases = if three_phase {
            [(top, ends[0], ends[1]), (2.0 * rise * steps - 2.0, ends[1], ends[0]), (steps - 1.0, ends[0], last)]
        } else {
            [(top, ends[0], ends[1]), (steps - 1.0, ends[1], last), (steps - 1.0, last, last)]
        };
        let mut begin = 0.0;
        for (end, from, to) in phases {
            if at <= end {
                let share = if end > begin { (at - begin) / (end - begin) } else { 1.0 };
                return match anneal {
                    Anneal::Linear => between(from, to, share),
                    Anneal::Cosine => between(to, from, 0.5 * (1.0 + libm::cos(PI * share))),
                };
            }
            begin = end;
        }
        last
    }

    /// How high the cycles stand at a time: from 0 to 1 in the first.
    fn cycle_height(&self, epochs: f64, steps: u64) -> f64 {
        let Schedule::Cyclic { up, down, shape, .. } = *self else { return 0.0 };
        let (up, down) = (f64::from(up), f64::from(down));
        let (length, rise) = (up + down, up / (up + down));
        let cycle = libm::floor(epochs / length);
        let place = epochs / length - cycle;
        let height = if place <= rise { place / rise } else { (place - 1.0) / (rise - 1.0) };
        height
            * match shape {
                Cycle::Triangular => 1.0,
                Cycle::Triangular2 => libm::pow(0.5, cycle),
                Cycle::ExpRange(gamma) => libm::pow(f64::from(gamma), steps as f64),
            }
    }
}

fn between(from: f64, to: f64, share: f64) -> f64 {
    from + (to - from) * share
}

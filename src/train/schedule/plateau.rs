//! Lowering the rate when a figure stands still, with PyTorch's semantics or Keras'.

use crate::train::Mode;
use crate::train::optim::Dialect;

/// `ReduceLROnPlateau`. The two libraries count differently:
///
/// | | PyTorch | Keras |
/// |---|---|---|
/// | the rate falls | after more than `patience` bad epochs | after `patience` of them |
/// | an epoch of the cooldown | does not count as bad | the last one may |
/// | better | by more than the share `threshold` of the best | by more than `min_delta` |
/// | a change of at most 1e-8 | is left out | is made |
///
/// A NaN is never better.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plateau {
    /// What the rate is multiplied by, 0.1 in both.
    pub factor: f32,
    /// Bad epochs that are borne, 10 in both.
    pub patience: u32,
    /// By how much a better figure is better, 1e-4 in both.
    pub threshold: Threshold,
    /// Epochs after a change in which nothing is counted, 0 in both.
    pub cooldown: u32,
    /// Share of the base rate below which it does not fall, 0 (`min_lr` divided by the base rate).
    pub floor: f32,
    /// Whose way of counting.
    pub dialect: Dialect,
}

/// By how much a better figure must be better.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Threshold {
    /// By this share of the best (`threshold_mode="rel"`).
    Relative(f64),
    /// By this (`threshold_mode="abs"`; `min_delta`).
    Absolute(f64),
}

/// What is remembered between epochs; plain values, so it can be stored and restored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PlateauState {
    /// The best value so far.
    pub best: Option<f64>,
    /// Bad epochs since then.
    pub wait: u32,
    /// Epochs of the cooldown that are left.
    pub cooldown: u32,
    /// What the base rate is multiplied by.
    pub share: f64,
}

impl Default for PlateauState {
    fn default() -> Self {
        Self { best: None, wait: 0, cooldown: 0, share: 1.0 }
    }
}

impl Plateau {
    /// PyTorch's defaults.
    pub const TORCH: Self = Self {
        factor: 0.1,
        patience: 10,
        threshold: Threshold::Relative(1e-4),
        cooldown: 0,
        floor: 0.0,
        dialect: Dialect::Torch,
    };
    /// Keras' defaults.
    pub const KERAS: Self = Self { threshold: Threshold::Absolute(1e-4), dialect: Dialect::Keras, ..Self::TORCH };

    /// What is outside its range, and that range.
    #[must_use]
    pub fn mistake(&self) -> Option<&'static str> {
        let (Threshold::Relative(threshold) | Threshold::Absolute(threshold)) = self.threshold;
        let sound = self.factor > 0.0
            && self.factor < 1.0
            && threshold >= 0.0
            && threshold.is_finite()
            && (0.0..=1.0).contains(&self.floor);
        let message = "the schedule plateau wants a factor in (0, 1), a threshold of 0 or more, and a floor in [0, 1]";
        if sound { None } else { Some(message) }
    }

    fn better(&self, mode: Mode, value: f64, best: f64) -> bool {
        match (self.threshold, mode) {
            (Threshold::Relative(share), Mode::Min) => value < best * (1.0 - share),
            (Threshold::Relative(share), Mode::Max) => value > best * (1.0 + share),
            (Threshold::Absolute(delta), Mode::Min) => value < best - delta,
            (Threshold::Absolute(delta), Mode::Max) => value > best + delta,
        }
    }

    /// Judges the monitored figure of an epoch; returns whether the rate has changed.
    pub fn observe(&self, state: &mut PlateauState, mode: Mode, base: f32, value: f64) -> bool {
        let keras = self.dialect == Dialect::Keras;
        if keras && state.cooldown > 0 {
            state.cooldown -= 1;
            state.wait = 0;
        }
        let better = match state.best {
            // PyTorch begins with the worst value there is, Keras with none; its first NaN would stay the best for ever.
            None if keras => !value.is_nan(),
            None => value.is_finite() || value == if mode == Mode::Min { f64::NEG_INFINITY } else { f64::INFINITY },
            Some(best) => self.better(mode, value, best),
        };
        if better {
            (state.best, state.wait) = (Some(value), 0);
        } else if !keras || state.cooldown == 0 {
            state.wait = state.wait.saturating_add(1);
        }
        if !keras && state.cooldown > 0 {
            state.cooldown -= 1;
            state.wait = 0;
        }
        let due = if keras {
            !better && state.cooldown == 0 && state.wait >= self.patience
        } else {
            state.wait > self.patience
        };
        if !due {
            return false;
        }
        let lower = (state.share * f64::from(self.factor)).max(f64::from(self.floor));
        let changes =
            if keras { state.share > f64::from(self.floor) } else { (state.share - lower) * f64::from(base) > 1e-8 };
        if keras && !changes {
            // At its floor Keras neither cools down nor begins to wait anew.
            return false;
        }
        (state.cooldown, state.wait) = (self.cooldown, 0);
        if changes {
            state.share = lower;
        }
        changes
    }
}

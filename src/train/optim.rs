//! Optimisers over flat slices, and learning-rate schedules.
//!
//! The formulae and defaults are PyTorch's (`torch.optim.SGD`, `Adam`, `AdamW`), in one pass over parameters,
//! gradients and moments.

use crate::Level;
use crate::error::{Error, check_len};
use crate::plan::Plan;
use crate::simd::{LANES, Simd, level::kernel};
use crate::split::Split;

/// Rule by which gradients change parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Optimizer {
    /// Stochastic gradient descent.
    Sgd {
        /// Share of the velocity that is kept, 0 for none.
        momentum: f32,
        /// Looks ahead along the velocity (Nesterov, as in Sutskever 2013).
        nesterov: bool,
    },
    /// Adam (Kingma & Ba, arXiv 1412.6980).
    Adam {
        /// Decay of the first moment, 0.9.
        beta1: f32,
        /// Decay of the second moment, 0.999.
        beta2: f32,
        /// Added to the root of the second moment, 1e-8.
        eps: f32,
    },
    /// Adam with decoupled weight decay (Loshchilov & Hutter, arXiv 1711.05101).
    AdamW {
        /// As for Adam.
        beta1: f32,
        /// As for Adam.
        beta2: f32,
        /// As for Adam.
        eps: f32,
        /// Weights shrink by `lr * weight_decay` of themselves each step; PyTorch's default is 0.01.
        weight_decay: f32,
    },
}

impl Optimizer {
    /// Plain gradient descent.
    pub const SGD: Self = Self::Sgd { momentum: 0.0, nesterov: false };
    /// Adam with its usual constants.
    pub const ADAM: Self = Self::Adam { beta1: 0.9, beta2: 0.999, eps: 1e-8 };
    /// AdamW with its usual constants.
    pub const ADAMW: Self = Self::AdamW { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.01 };

    /// Moments kept for each parameter: the optimiser's state is this many times as long as the
    /// parameters that are trained.
    #[must_use]
    pub const fn moments(&self) -> usize {
        match self {
            Optimizer::Sgd { momentum, .. } => (*momentum != 0.0) as usize,
            Optimizer::Adam { .. } | Optimizer::AdamW { .. } => 2,
        }
    }

    /// Length of the moments for a plan: firmware sizes its array with it.
    #[must_use]
    pub const fn moments_len(&self, plan: &Plan) -> usize {
        plan.trained.saturating_mul(self.moments())
    }

    /// Whether every constant is in its range. An eps of 0 is not: a gradient that is always 0, as those of the padding
    /// are, would divide by it.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        let share = |value: f32| (0.0..1.0).contains(&value);
        match *self {
            Optimizer::Sgd { momentum, nesterov } => share(momentum) && (momentum > 0.0 || !nesterov),
            Optimizer::Adam { beta1, beta2, eps } => share(beta1) && share(beta2) && eps > 0.0 && eps.is_finite(),
            Optimizer::AdamW { beta1, beta2, eps, weight_decay } => {
                share(beta1) && share(beta2) && eps > 0.0 && eps.is_finite() && (0.0..=1.0).contains(&weight_decay)
            }
        }
    }

    /// The factors of one step: everything that does not depend on the parameter.
    ///
    /// `step` counts from 0, `lr` is this step's learning rate, `scale` multiplies the gradients (clipping), `l2` is
    /// added to them times the parameter.
    #[must_use]
    pub fn factors(&self, step: u64, lr: f32, scale: f32, l2: f32) -> Factors {
        let adam = |beta1: f32, beta2: f32, eps: f32, decay: f32| {
            // In f64: `1 - beta2` would lose four digits in f32, and its power more.
            let t = (step + 1) as f64;
            let correct = |beta: f32| 1.0 - libm::pow(decimal(beta), t);
            Rule::Adam {
                rest1: (1.0 - decimal(beta1)) as f32,
                beta2,
                rest2: (1.0 - decimal(beta2)) as f32,
                rate: (f64::from(lr) / correct(beta1)) as f32,
                root: (1.0 / libm::sqrt(correct(beta2))) as f32,
                eps,
                keep: (1.0 - f64::from(lr) * f64::from(decay)) as f32,
            }
        };
        let rule = match *self {
            Optimizer::Sgd { momentum, nesterov } => Rule::Sgd { momentum, nesterov, lr },
            Optimizer::Adam { beta1, beta2, eps } => adam(beta1, beta2, eps, 0.0),
            Optimizer::AdamW { beta1, beta2, eps, weight_decay } => adam(beta1, beta2, eps, weight_decay),
        };
        Factors { scale, l2, rule }
    }
}

/// The decimal number that a beta was written as, to seven places: 0.9 and not 0.89999998, as one less it is used too.
///
/// Next to 1, `f32` has steps of 6e-8, so seven places are all it can hold, and no beta below 1 becomes 1.
fn decimal(beta: f32) -> f64 {
    libm::round(f64::from(beta) * 1e7) / 1e7
}

/// The constants of one step, see [`Optimizer::factors`].
#[derive(Clone, Copy, Debug)]
pub struct Factors {
    scale: f32,
    l2: f32,
    rule: Rule,
}

#[derive(Clone, Copy, Debug)]
enum Rule {
    Sgd { momentum: f32, nesterov: bool, lr: f32 },
    Adam { rest1: f32, beta2: f32, rest2: f32, rate: f32, root: f32, eps: f32, keep: f32 },
}

impl Factors {
    /// Whether there is a penalty on the parameter's size.
    pub(crate) fn decays(&self) -> bool {
        self.l2 != 0.0 || matches!(self.rule, Rule::Adam { keep, .. } if keep != 1.0)
    }

    /// The same without penalties on the parameter's size: for biases and batch-norm parameters.
    #[must_use]
    pub fn without_decay(mut self) -> Self {
        self.l2 = 0.0;
        if let Rule::Adam { keep, .. } = &mut self.rule {
            *keep = 1.0;
        }
        self
    }
}

/// Values of a task: large enough to be worth handing out, small enough to balance.
const TASK: usize = 1 << 14;

/// One step over a slice of parameters: whole groups of sixteen, the gradients as long, and as many moments as
/// [`Optimizer::moments`] says as long, the others empty.
///
/// # Errors
/// [`Error::Length`] if a slice has another length; nothing has been written then.
pub fn update(
    level: Level,
    split: &impl Split,
    factors: Factors,
    params: &mut [f32],
    gradients: &[f32],
    first: &mut [f32],
    second: &mut [f32],
) -> Result<(), Error> {
    let len = params.len();
    check_len("parameters", len.next_multiple_of(LANES), len)?;
    check_len("gradients", len, gradients.len())?;
    let moments = match factors.rule {
        Rule::Sgd { momentum: 0.0, .. } => 0,
        Rule::Sgd { .. } => 1,
        Rule::Adam { .. } => 2,
    };
    check_len("first moments", if moments > 0 { len } else { 0 }, first.len())?;
    check_len("second moments", if moments > 1 { len } else { 0 }, second.len())?;
    match factors.rule {
        Rule::Sgd { momentum: 0.0, .. } => split.run([params], [TASK], &|task, [params]| {
            plain(level, factors, params, &gradients[task * TASK..][..params.len()]);
        }),
        Rule::Sgd { .. } => split.run([params, first], [TASK; 2], &|task, [params, first]| {
            with_momentum(level, factors, params, &gradients[task * TASK..][..params.len()], first);
        }),
        Rule::Adam { .. } => split.run([params, first, second], [TASK; 3], &|task, [params, first, second]| {
            adam(level, factors, params, &gradients[task * TASK..][..params.len()], first, second);
        }),
    }
    Ok(())
}

kernel! { fn plain(factors: Factors, params: &mut [f32], gradients: &[f32]) = plain_body; }
kernel! {
    fn with_momentum(factors: Factors, params: &mut [f32], gradients: &[f32], velocity: &mut [f32]) = momentum_body;
}
kernel! {
    fn adam(
        factors: Factors, params: &mut [f32], gradients: &[f32], first: &mut [f32], second: &mut [f32],
    ) = adam_body;
}

/// The gradient as the rule sees it: scaled, with the L2 term.
#[inline(always)]
fn gradient<S: Simd>(s: S, factors: &Factors, gradient: &[f32; LANES], param: S::F32) -> S::F32 {
    let scaled = s.mul(s.load(gradient), s.splat(factors.scale));
    s.mul_add(param, s.splat(factors.l2), scaled)
}

#[inline(always)]
fn plain_body<S: Simd>(s: S, factors: Factors, params: &mut [f32], gradients: &[f32]) {
    let Rule::Sgd { lr, .. } = factors.rule else { return };
    for (p, g) in params.as_chunks_mut::<LANES>().0.iter_mut().zip(gradients.as_chunks::<LANES>().0) {
        let param = s.load(p);
        let g = gradient(s, &factors, g, param);
        s.store(s.mul_add(g, s.splat(-lr), param), p);
    }
}

#[inline(always)]
fn momentum_body<S: Simd>(s: S, factors: Factors, params: &mut [f32], gradients: &[f32], velocity: &mut [f32]) {
    let Rule::Sgd { momentum, nesterov, lr } = factors.rule else { return };
    let groups = params.as_chunks_mut::<LANES>().0.iter_mut().zip(gradients.as_chunks::<LANES>().0);
    for ((p, g), v) in groups.zip(velocity.as_chunks_mut::<LANES>().0) {
        let param = s.load(p);
        let g = gradient(s, &factors, g, param);
        let next = s.mul_add(s.load(v), s.splat(momentum), g);
        s.store(next, v);
        let step = if nesterov { s.mul_add(next, s.splat(momentum), g) } else { next };
        s.store(s.mul_add(step, s.splat(-lr), param), p);
    }
}

#[inline(always)]
fn adam_body<S: Simd>(
    s: S,
    factors: Factors,
    params: &mut [f32],
    gradients: &[f32],
    first: &mut [f32],
    second: &mut [f32],
) {
    let Rule::Adam { rest1, beta2, rest2, rate, root, eps, keep } = factors.rule else { return };
    let groups = params.as_chunks_mut::<LANES>().0.iter_mut().zip(gradients.as_chunks::<LANES>().0);
    let moments = first.as_chunks_mut::<LANES>().0.iter_mut().zip(second.as_chunks_mut::<LANES>().0);
    for ((p, g), (m, v)) in groups.zip(moments) {
        let param = s.load(p);
        let g = gradient(s, &factors, g, param);
        let mean = s.load(m);
        let mean = s.mul_add(s.sub(g, mean), s.splat(rest1), mean);
        let square = s.mul_add(s.mul(g, s.splat(rest2)), g, s.mul(s.load(v), s.splat(beta2)));
        s.store(mean, m);
        s.store(square, v);
        let spread = s.mul_add(s.sqrt(square), s.splat(root), s.splat(eps));
        let param = s.mul(param, s.splat(keep));
        s.store(s.mul_add(s.div(mean, spread), s.splat(-rate), param), p);
    }
}

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
}

impl Schedule {
    /// The learning rate of `step` (from 0) of a run of `steps` steps, `steps_per_epoch` each epoch.
    ///
    /// The first `warmup` steps rise linearly to the base rate; the cosine spans the steps after them.
    #[must_use]
    pub fn rate(&self, base: f32, warmup: u64, step: u64, steps_per_epoch: u64, steps: u64) -> f32 {
        if step < warmup {
            return (f64::from(base) * (step + 1) as f64 / warmup as f64) as f32;
        }
        match *self {
            Schedule::Constant => base,
            Schedule::Step { every, factor } => {
                let changes = step / steps_per_epoch.max(1) / u64::from(every.max(1));
                (f64::from(base) * libm::pow(f64::from(factor), changes as f64)) as f32
            }
            Schedule::Cosine { floor } => {
                let span = steps.saturating_sub(warmup).max(1) as f64;
                let turn = core::f64::consts::PI * ((step - warmup) as f64 / span).min(1.0);
                let share = f64::from(floor) + (1.0 - f64::from(floor)) * 0.5 * (1.0 + libm::cos(turn));
                (f64::from(base) * share) as f32
            }
        }
    }
}

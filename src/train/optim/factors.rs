//! The constants of one step: everything that does not depend on the parameter, in `f64`, rounded once.

use super::formulas::{Adadelta, Adagrad, Adamax, AmsGrad, Lion, Nadam, RmsProp, ScheduleFree};
use super::lamb::Lamb;
use super::{Dialect, Optimizer};

/// The constants of one step, see [`Optimizer::factors`].
#[derive(Clone, Copy, Debug)]
pub struct Factors {
    pub(super) scale: f32,
    pub(super) l2: f32,
    /// What decoupled decay leaves of a parameter; of Adam, in the rule.
    pub(super) keep: f32,
    pub(super) rule: Rule,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Rule {
    Sgd { momentum: f32, nesterov: bool, lr: f32 },
    Adam { rest1: f32, beta2: f32, rest2: f32, rate: f32, root: f32, eps: f32, keep: f32 },
    AmsGrad(AmsGrad),
    Nadam(Nadam),
    Adamax(Adamax),
    RmsProp { formula: RmsProp, momentum: bool, centered: bool },
    Adagrad(Adagrad),
    Adadelta(Adadelta),
    Lion(Lion),
    Lamb(Lamb),
    ScheduleFree(ScheduleFree),
}

impl Optimizer {
    /// The factors of one step: everything that does not depend on the parameter.
    ///
    /// `step` counts from 0, `lr` is this step's learning rate, `scale` multiplies the gradients (clipping), `l2` is
    /// added to them times the parameter.
    #[must_use]
    pub fn factors(&self, step: u64, lr: f32, scale: f32, l2: f32) -> Factors {
        // In f64: `1 - beta2` would lose four digits in f32, and its power more.
        let t = (step + 1) as f64;
        let correct = |beta: f32| 1.0 - libm::pow(decimal(beta), t);
        let rest = |beta: f32| (1.0 - decimal(beta)) as f32;
        let root = |beta2: f32| 1.0 / libm::sqrt(correct(beta2));
        let adam = |beta1: f32, beta2: f32, eps: f32, decay: f32| Rule::Adam {
            rest1: rest(beta1),
            beta2,
            rest2: rest(beta2),
            rate: (f64::from(lr) / correct(beta1)) as f32,
            root: root(beta2) as f32,
            eps,
            keep: (1.0 - f64::from(lr) * f64::from(decay)) as f32,
        };
        // Before the correction, as Keras has it: afterwards it is so much larger.
        let early = |eps: f32, beta2: f32| (f64::from(eps) * root(beta2)) as f32;
        let rule = match *self {
            Optimizer::Sgd { momentum, nesterov } => Rule::Sgd { momentum, nesterov, lr },
            Optimizer::Adam { beta1, beta2, eps } => adam(beta1, beta2, eps, 0.0),
            Optimizer::AdamW { beta1, beta2, eps, weight_decay } => adam(beta1, beta2, eps, weight_decay),
            Optimizer::KerasAdam { beta1, beta2, eps } => adam(beta1, beta2, early(eps, beta2), 0.0),
            Optimizer::AmsGrad { beta1, beta2, eps, dialect } => Rule::AmsGrad(AmsGrad {
                rest1: rest(beta1),
                beta2,
                rest2: rest(beta2),
                rate: (f64::from(lr) / correct(beta1)) as f32,
                root: root(beta2) as f32,
                eps: if dialect == Dialect::Keras { early(eps, beta2) } else { eps },
            }),
            Optimizer::Nadam { beta1, beta2, eps, momentum_decay } => {
                let (share, next, product) = nadam_shares(decimal(beta1), f64::from(momentum_decay), step);
                Rule::Nadam(Nadam {
                    rest1: rest(beta1),
                    beta2,
                    rest2: rest(beta2),
                    of_gradient: (f64::from(lr) * (1.0 - share) / (1.0 - product)) as f32,
                    of_mean: (f64::from(lr) * next / (1.0 - product * next)) as f32,
                    root: root(beta2) as f32,
                    eps,
                })
            }
            Optimizer::Adamax { beta1, beta2, eps, dialect } => {
                let (before, after) = if dialect == Dialect::Keras { (0.0, eps) } else { (eps, 0.0) };
                let rate = (f64::from(lr) / correct(beta1)) as f32;
                Rule::Adamax(Adamax { rest1: rest(beta1), beta2, before, after, rate })
            }
            Optimizer::RmsProp { alpha, eps, momentum, centered, dialect } => {
                let keras = dialect == Dialect::Keras;
                let (under, after) = if keras { (eps, 0.0) } else { (0.0, eps) };
                let (early, late) = if keras { (lr, 1.0) } else { (1.0, lr) };
                let formula = RmsProp { alpha, rest: rest(alpha), under, after, momentum, early, late };
                Rule::RmsProp { formula, momentum: momentum != 0.0, centered }
            }
            Optimizer::Adagrad { eps, start, lr_decay, dialect } => {
                let (under, after) = match dialect {
                    Dialect::Torch => (start, eps),
                    Dialect::Keras => ((f64::from(start) + f64::from(eps)) as f32, 0.0),
                };
                let rate = (f64::from(lr) / (1.0 + step as f64 * f64::from(lr_decay))) as f32;
                Rule::Adagrad(Adagrad { under, after, rate })
            }
            Optimizer::Adadelta { rho, eps } => Rule::Adadelta(Adadelta { rho, rest: rest(rho), eps, lr }),
            Optimizer::Lion { beta1, beta2 } => {
                Rule::Lion(Lion { beta1, rest1: rest(beta1), beta2, rest2: rest(beta2), lr })
            }
            Optimizer::Lamb { beta1, beta2, eps, weight_decay } => Rule::Lamb(Lamb {
                rest1: rest(beta1),
                beta2,
                rest2: rest(beta2),
                correct: (1.0 / correct(beta1)) as f32,
                root: root(beta2) as f32,
                eps,
                decay: weight_decay,
                lr,
            }),
            Optimizer::ScheduleFree { beta1, beta2, eps, weight_decay } => Rule::ScheduleFree(ScheduleFree {
                beta1,
                beta2,
                rest2: rest(beta2),
                root: root(beta2) as f32,
                eps,
                decay: weight_decay,
                lr,
                share: (1.0 / t) as f32,
            }),
        };
        Factors { scale, l2, keep: 1.0, rule }
    }
}

/// Nadam's share of the first moment at `step`, at the next one, and the product of all shares so far.
///
/// The product has no closed form. It is taken anew each time, because a run has no memory but counters and moments;
/// once it is too small to change one less it, it stays there, after some hundred factors.
fn nadam_shares(beta1: f64, momentum_decay: f64, step: u64) -> (f64, f64, f64) {
    let share = |t: f64| beta1 * (1.0 - 0.5 * libm::pow(0.96, t * momentum_decay));
    let ratio = libm::pow(0.96, momentum_decay);
    let (mut product, mut power) = (1.0, 1.0);
    for _ in 0..=step {
        power *= ratio;
        product *= beta1 * (1.0 - 0.5 * power);
        if product < 1e-18 {
            break;
        }
    }
    let t = (step + 1) as f64;
    (share(t), share(t + 1.0), product)
}

/// The decimal number that a beta was written as, to seven places: 0.9 and not 0.89999998, as one less it is used too.
///
/// Next to 1, `f32` has steps of 6e-8, so seven places are all it can hold, and no beta below 1 becomes 1.
fn decimal(beta: f32) -> f64 {
    libm::round(f64::from(beta) * 1e7) / 1e7
}

impl Factors {
    /// With decoupled decay: each parameter shrinks by `lr * weight_decay` of itself before the step, as AdamW's do. What
    /// [`AdamW`](Optimizer::AdamW) shrinks by itself is replaced.
    #[must_use]
    pub fn with_decay(mut self, lr: f32, weight_decay: f32) -> Self {
        let kept = (1.0 - f64::from(lr) * f64::from(weight_decay)) as f32;
        match &mut self.rule {
            Rule::Adam { keep, .. } => *keep = kept,
            _ => self.keep = kept,
        }
        self
    }

    /// With another share of this step in the average of [`ScheduleFree`](Optimizer::ScheduleFree); the factors have that of
    /// a rate that never changed, one of all steps.
    #[must_use]
    pub fn with_share(mut self, value: f32) -> Self {
        if let Rule::ScheduleFree(formula) = &mut self.rule {
            formula.share = value;
        }
        self
    }

    /// The same on gradients that are scaled already.
    pub(crate) fn unscaled(mut self) -> Self {
        self.scale = 1.0;
        self
    }

    /// Whether there is a penalty on the parameter's size.
    pub(crate) fn decays(&self) -> bool {
        let own = match self.rule {
            Rule::Adam { keep, .. } => keep != 1.0,
            Rule::Lamb(lamb) => lamb.decay != 0.0,
            Rule::ScheduleFree(free) => free.decay != 0.0,
            _ => false,
        };
        self.l2 != 0.0 || self.keep != 1.0 || own
    }

    /// Whether the step of a layer depends on all of its parameters.
    pub(crate) fn by_layer(&self) -> bool {
        matches!(self.rule, Rule::Lamb(_))
    }

    /// The same without penalties on the parameter's size: for biases and batch-norm parameters.
    #[must_use]
    pub fn without_decay(mut self) -> Self {
        (self.l2, self.keep) = (0.0, 1.0);
        match &mut self.rule {
            Rule::Adam { keep, .. } => *keep = 1.0,
            Rule::Lamb(lamb) => lamb.decay = 0.0,
            Rule::ScheduleFree(free) => free.decay = 0.0,
            _ => {}
        }
        self
    }

    /// Moments that the rule keeps.
    pub(super) fn moments(&self) -> usize {
        match self.rule {
            Rule::Sgd { momentum: 0.0, .. } => 0,
            Rule::Sgd { .. } | Rule::Adagrad(_) | Rule::Lion(_) => 1,
            Rule::Adam { .. } | Rule::Nadam(_) | Rule::Adamax(_) | Rule::Adadelta(_) | Rule::Lamb(_) => 2,
            Rule::RmsProp { momentum, centered, .. } => 1 + usize::from(momentum) + usize::from(centered),
            Rule::AmsGrad(_) | Rule::ScheduleFree(_) => 3,
        }
    }
}

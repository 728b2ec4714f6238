//! The optimisers beyond SGD and Adam: the constants of a step, and the step over slices.

use super::factors::{Factors, correct, decimal, early, rest, root};
use super::formulas::{
    Adadelta, Adagrad, Adamax, AmsGrad, Centred, Formula, Lion, Moving, Nadam, Over, RmsProp, ScheduleFree,
};
use super::lamb::{self, Lamb};
use super::pass::TASK;
use super::{Dialect, Optimizer};
use crate::Level;
use crate::error::Error;
use crate::split::Split;

#[derive(Clone, Copy, Debug)]
pub(super) enum More {
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

impl More {
    /// The constants of step `step`, from 0.
    pub(super) fn of(optimizer: &Optimizer, step: u64, lr: f32) -> Self {
        let t = (step + 1) as f64;
        match *optimizer {
            Optimizer::AmsGrad { beta1, beta2, eps, dialect } => Self::AmsGrad(AmsGrad {
                rest1: rest(beta1),
                beta2,
                rest2: rest(beta2),
                rate: (f64::from(lr) / correct(beta1, t)) as f32,
                root: root(beta2, t) as f32,
                eps: if dialect == Dialect::Keras { early(eps, beta2, t) } else { eps },
            }),
            Optimizer::Nadam { beta1, beta2, eps, momentum_decay } => {
                let (share, next, product) = nadam_shares(decimal(beta1), f64::from(momentum_decay), step);
                Self::Nadam(Nadam {
                    rest1: rest(beta1),
                    beta2,
                    rest2: rest(beta2),
                    of_gradient: (f64::from(lr) * (1.0 - share) / (1.0 - product)) as f32,
                    of_mean: (f64::from(lr) * next / (1.0 - product * next)) as f32,
                    root: root(beta2, t) as f32,
                    eps,
                })
            }
            Optimizer::Adamax { beta1, beta2, eps, dialect } => {
                let (before, after) = if dialect == Dialect::Keras { (0.0, eps) } else { (eps, 0.0) };
                let rate = (f64::from(lr) / correct(beta1, t)) as f32;
                Self::Adamax(Adamax { rest1: rest(beta1), beta2, before, after, rate })
            }
            Optimizer::RmsProp { alpha, eps, momentum, centered, dialect } => {
                let keras = dialect == Dialect::Keras;
                let (under, after) = if keras { (eps, 0.0) } else { (0.0, eps) };
                let (early, late) = if keras { (lr, 1.0) } else { (1.0, lr) };
                let formula = RmsProp { alpha, rest: rest(alpha), under, after, momentum, early, late };
                Self::RmsProp { formula, momentum: momentum != 0.0, centered }
            }
            Optimizer::Adagrad { eps, start, lr_decay, dialect } => {
                let (under, after) = match dialect {
                    Dialect::Torch => (start, eps),
                    Dialect::Keras => ((f64::from(start) + f64::from(eps)) as f32, 0.0),
                };
                let rate = (f64::from(lr) / (1.0 + step as f64 * f64::from(lr_decay))) as f32;
                Self::Adagrad(Adagrad { under, after, rate })
            }
            Optimizer::Adadelta { rho, eps } => Self::Adadelta(Adadelta { rho, rest: rest(rho), eps, lr }),
            Optimizer::Lion { beta1, beta2 } => {
                Self::Lion(Lion { beta1, rest1: rest(beta1), beta2, rest2: rest(beta2), lr })
            }
            Optimizer::Lamb { beta1, beta2, eps, weight_decay } => Self::Lamb(Lamb {
                rest1: rest(beta1),
                beta2,
                rest2: rest(beta2),
                correct: (1.0 / correct(beta1, t)) as f32,
                root: root(beta2, t) as f32,
                eps,
                decay: weight_decay,
                lr,
            }),
            Optimizer::ScheduleFree { beta1, beta2, eps, weight_decay } => Self::ScheduleFree(ScheduleFree {
                beta1,
                beta2,
                rest2: rest(beta2),
                root: root(beta2, t) as f32,
                eps,
                decay: weight_decay,
                lr,
                share: (1.0 / t) as f32,
            }),
            // SGD and Adam have rules of their own, and never come here.
            _ => Self::Lion(Lion { beta1: 0.0, rest1: 0.0, beta2: 0.0, rest2: 0.0, lr: 0.0 }),
        }
    }

    pub(super) fn moments(&self) -> usize {
        match self {
            More::Adagrad(_) | More::Lion(_) => 1,
            More::Nadam(_) | More::Adamax(_) | More::Adadelta(_) | More::Lamb(_) => 2,
            More::RmsProp { momentum, centered, .. } => 1 + usize::from(*momentum) + usize::from(*centered),
            More::AmsGrad(_) | More::ScheduleFree(_) => 3,
        }
    }

    pub(super) fn set_share(&mut self, value: f32) {
        if let More::ScheduleFree(formula) = self {
            formula.share = value;
        }
    }

    pub(super) fn decays(&self) -> bool {
        match self {
            More::Lamb(lamb) => lamb.decay != 0.0,
            More::ScheduleFree(free) => free.decay != 0.0,
            _ => false,
        }
    }

    pub(super) fn drop_decay(&mut self) {
        match self {
            More::Lamb(lamb) => lamb.decay = 0.0,
            More::ScheduleFree(free) => free.decay = 0.0,
            _ => {}
        }
    }

    pub(super) fn by_layer(&self) -> bool {
        matches!(self, More::Lamb(_))
    }
}

/// One step; all lengths are right.
pub(super) fn step(
    level: Level,
    split: &impl Split,
    more: More,
    factors: Factors,
    params: &mut [f32],
    gradients: &[f32],
    [first, second, third]: [&mut [f32]; 3],
) -> Result<(), Error> {
    match more {
        More::Adagrad(formula) => one(level, split, formula, factors, params, gradients, first),
        More::Lion(formula) => one(level, split, formula, factors, params, gradients, first),
        More::RmsProp { formula, momentum: false, centered: false } => {
            one(level, split, formula, factors, params, gradients, first);
        }
        More::RmsProp { formula, momentum: true, centered: false } => {
            two(level, split, Moving(formula), factors, params, gradients, [first, second]);
        }
        More::RmsProp { formula, momentum: false, centered: true } => {
            two(level, split, Centred(formula), factors, params, gradients, [first, second]);
        }
        More::RmsProp { formula, momentum: true, centered: true } => {
            three(level, split, Centred(formula), factors, params, gradients, [first, second, third]);
        }
        More::Nadam(formula) => two(level, split, formula, factors, params, gradients, [first, second]),
        More::Adamax(formula) => two(level, split, formula, factors, params, gradients, [first, second]),
        More::Adadelta(formula) => two(level, split, formula, factors, params, gradients, [first, second]),
        More::Lamb(formula) => {
            two(level, split, formula, factors, params, gradients, [&mut *first, &mut *second]);
            lamb::apply(level, split, formula, params, first, second);
        }
        More::AmsGrad(formula) => three(level, split, formula, factors, params, gradients, [first, second, third]),
        More::ScheduleFree(formula) => {
            three(level, split, formula, factors, params, gradients, [first, second, third]);
        }
    }
    Ok(())
}

fn one<F: Formula<1>>(
    level: Level,
    split: &impl Split,
    formula: F,
    factors: Factors,
    params: &mut [f32],
    gradients: &[f32],
    moment: &mut [f32],
) {
    split.run([params, moment], [TASK; 2], &|task, [params, moment]| {
        let gradients = &gradients[task * TASK..][..params.len()];
        level.run(Over { formula, factors, params, gradients, moments: [moment] });
    });
}

fn two<F: Formula<2>>(
    level: Level,
    split: &impl Split,
    formula: F,
    factors: Factors,
    params: &mut [f32],
    gradients: &[f32],
    [first, second]: [&mut [f32]; 2],
) {
    split.run([params, first, second], [TASK; 3], &|task, [params, first, second]| {
        let gradients = &gradients[task * TASK..][..params.len()];
        level.run(Over { formula, factors, params, gradients, moments: [first, second] });
    });
}

fn three<F: Formula<3>>(
    level: Level,
    split: &impl Split,
    formula: F,
    factors: Factors,
    params: &mut [f32],
    gradients: &[f32],
    [first, second, third]: [&mut [f32]; 3],
) {
    split.run([params, first, second, third], [TASK; 4], &|task, [params, first, second, third]| {
        let gradients = &gradients[task * TASK..][..params.len()];
        level.run(Over { formula, factors, params, gradients, moments: [first, second, third] });
    });
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

//! Optimisers over flat slices.
//!
//! The formulae and defaults are PyTorch's (`torch.optim`), in one pass over parameters, gradients and moments. Where Keras
//! computes other numbers, its formula is the other [`Dialect`] of the same optimiser. `docs/names.md` compares the two.
//!
//! All but SGD and the three forms of Adam, penalties other than L2, and constraints are in the feature `toolbox`, which `alloc`
//! includes: firmware that trains need not carry their code. Without it a step refuses them
//! ([`Error::Toolbox`](crate::Error::Toolbox)).
//!
//! | name | source | moments |
//! |---|---|---|
//! | [`Sgd`](Optimizer::Sgd) | Robbins & Monro 1951; momentum as Sutskever 2013 | 0 or 1 |
//! | [`Adam`](Optimizer::Adam), [`AdamW`](Optimizer::AdamW) | arXiv 1412.6980, 1711.05101 | 2 |
//! | [`AmsGrad`](Optimizer::AmsGrad) | Reddi 2018 | 3 |
//! | [`Nadam`](Optimizer::Nadam) | Dozat 2016 | 2 |
//! | [`Adamax`](Optimizer::Adamax) | arXiv 1412.6980, section 7.1 | 2 |
//! | [`RmsProp`](Optimizer::RmsProp) | Hinton 2012; centred as Graves, arXiv 1308.0850 | 1 to 3 |
//! | [`Adagrad`](Optimizer::Adagrad) | Duchi 2011 | 1 |
//! | [`Adadelta`](Optimizer::Adadelta) | arXiv 1212.5701 | 2 |
//! | [`Lion`](Optimizer::Lion) | arXiv 2302.06675 | 1 |
//! | [`Lamb`](Optimizer::Lamb) | arXiv 1904.00962 | 2 |
//! | [`ScheduleFree`](Optimizer::ScheduleFree) | Defazio 2024, arXiv 2405.15682 | 3 |

mod factors;
#[cfg(feature = "toolbox")]
mod formulas;
#[cfg(feature = "toolbox")]
mod lamb;
#[cfg(feature = "toolbox")]
mod more;
#[cfg(not(feature = "toolbox"))]
#[path = "optim/absent.rs"]
mod more;
mod pass;
#[cfg(feature = "alloc")]
pub(crate) mod text;

use crate::plan::Plan;
use crate::simd::LANES;

pub use super::schedule::Schedule;
pub use factors::Factors;
#[cfg(feature = "toolbox")]
pub(crate) use formulas::sign;
#[cfg(feature = "toolbox")]
pub use lamb::trust;
pub use pass::{step, update};
#[cfg(feature = "alloc")]
pub use text::ArgumentError;

/// Whose formula, where PyTorch and Keras compute different numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    /// PyTorch's.
    #[default]
    Torch,
    /// Keras'.
    Keras,
}

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
    /// Adam as Keras computes it: `eps` is added to the root of the second moment *before* the bias of that moment is
    /// corrected ("epsilon hat" of the paper), so it weighs more in the first steps. With [`Rules::weight_decay`]
    /// it is Keras' `AdamW`.
    ///
    /// [`Rules::weight_decay`]: crate::train::Rules::weight_decay
    KerasAdam {
        /// As for Adam.
        beta1: f32,
        /// As for Adam.
        beta2: f32,
        /// 1e-7 in Keras.
        eps: f32,
    },
    /// Adam that divides by the largest second moment so far (`amsgrad=True`). With [`Rules::weight_decay`] it is AdamW's
    /// form, with [`Rules::l2`] PyTorch's `Adam(weight_decay=…, amsgrad=True)`.
    ///
    /// [`Rules::weight_decay`]: crate::train::Rules::weight_decay
    /// [`Rules::l2`]: crate::train::Rules::l2
    AmsGrad {
        /// As for Adam.
        beta1: f32,
        /// As for Adam.
        beta2: f32,
        /// As for Adam, 1e-8; Keras 1e-7.
        eps: f32,
        /// Keras adds `eps` as for [`KerasAdam`](Optimizer::KerasAdam).
        dialect: Dialect,
    },
    /// Adam with Nesterov's momentum (Dozat 2016): the first moment's share rises over the first steps.
    Nadam {
        /// As for Adam.
        beta1: f32,
        /// As for Adam.
        beta2: f32,
        /// As for Adam, 1e-8; Keras 1e-7.
        eps: f32,
        /// How fast that share rises: `beta1 (1 - 0.5 * 0.96^(momentum_decay t))`. 0.004 in PyTorch, 1 in Keras.
        momentum_decay: f32,
    },
    /// Adam with the infinity norm (arXiv 1412.6980, section 7.1).
    Adamax {
        /// As for Adam.
        beta1: f32,
        /// As for Adam.
        beta2: f32,
        /// 1e-8; Keras 1e-7.
        eps: f32,
        /// PyTorch adds `eps` to the size of the gradient before the maximum is taken, Keras to the maximum.
        dialect: Dialect,
    },
    /// RMSprop (Hinton 2012).
    RmsProp {
        /// Decay of the mean square, 0.99; Keras 0.9.
        alpha: f32,
        /// 1e-8; Keras 1e-7.
        eps: f32,
        /// Share of the velocity that is kept, 0 for none.
        momentum: f32,
        /// Divides by the deviation and not by the root of the mean square.
        centered: bool,
        /// PyTorch adds `eps` to the root, Keras under it. And Keras' velocity holds the learning rate of each of its steps,
        /// PyTorch's is multiplied by that of the present one.
        dialect: Dialect,
    },
    /// Adagrad (Duchi 2011).
    Adagrad {
        /// 1e-10; Keras 1e-7.
        eps: f32,
        /// What the sum of squares begins with, 0; Keras 0.1.
        start: f32,
        /// The rate is divided by `1 + steps * lr_decay`, 0.
        lr_decay: f32,
        /// PyTorch adds `eps` to the root, Keras under it.
        dialect: Dialect,
    },
    /// Adadelta (Zeiler, arXiv 1212.5701). Its learning rate is 1 in the paper and in PyTorch, 0.001 in Keras.
    Adadelta {
        /// Decay of both means, 0.9; Keras 0.95.
        rho: f32,
        /// Added under both roots, 1e-6; Keras 1e-7.
        eps: f32,
    },
    /// Lion: steps of one size, in the direction of an average (Chen 2023, arXiv 2302.06675), as in Keras. Wants a rate
    /// three to ten times smaller than Adam's.
    Lion {
        /// Share of the moment in the direction, 0.9.
        beta1: f32,
        /// Decay of the moment, 0.99.
        beta2: f32,
    },
    /// Adam whose step for each layer's weights (and each bias) is in proportion to their size (You 2019, arXiv 1904.00962).
    Lamb {
        /// As for Adam.
        beta1: f32,
        /// As for Adam.
        beta2: f32,
        /// 1e-6; Keras 1e-7.
        eps: f32,
        /// This times the weights is part of the step whose size is measured, 0.01; Keras knows only the decoupled decay
        /// ([`Rules::weight_decay`](crate::train::Rules::weight_decay)).
        weight_decay: f32,
    },
    /// AdamW without a schedule (Defazio 2024, arXiv 2405.15682): gradients are taken at one set of weights, and what is
    /// evaluated is another, an average over all steps. Each step counts with the square of the largest rate so far,
    /// so a warm-up weighs little.
    ///
    /// The parameters hold the *training* weights between steps.
    /// [`Session::swap_weights`](crate::train::Session::swap_weights) exchanges them with the *evaluation* weights;
    /// `fit` does so for the validation, for the best weights and for the final ones, and a checkpoint holds the evaluation
    /// weights. Running statistics of batch norms are those of the training weights: estimate them again for the final weights.
    ScheduleFree {
        /// Share of the average at which gradients are taken, 0.9.
        beta1: f32,
        /// As for Adam.
        beta2: f32,
        /// As for Adam.
        eps: f32,
        /// As for AdamW, 0; taken of the training weights.
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
    /// Keras' Adam with its usual constants.
    pub const KERAS_ADAM: Self = Self::KerasAdam { beta1: 0.9, beta2: 0.999, eps: 1e-7 };
    /// AMSGrad with PyTorch's constants.
    pub const AMSGRAD: Self = Self::AmsGrad { beta1: 0.9, beta2: 0.999, eps: 1e-8, dialect: Dialect::Torch };
    /// Nadam with PyTorch's constants.
    pub const NADAM: Self = Self::Nadam { beta1: 0.9, beta2: 0.999, eps: 1e-8, momentum_decay: 0.004 };
    /// Adamax with PyTorch's constants.
    pub const ADAMAX: Self = Self::Adamax { beta1: 0.9, beta2: 0.999, eps: 1e-8, dialect: Dialect::Torch };
    /// RMSprop with PyTorch's constants.
    pub const RMSPROP: Self =
        Self::RmsProp { alpha: 0.99, eps: 1e-8, momentum: 0.0, centered: false, dialect: Dialect::Torch };
    /// Adagrad with PyTorch's constants.
    pub const ADAGRAD: Self = Self::Adagrad { eps: 1e-10, start: 0.0, lr_decay: 0.0, dialect: Dialect::Torch };
    /// Adadelta with PyTorch's constants.
    pub const ADADELTA: Self = Self::Adadelta { rho: 0.9, eps: 1e-6 };
    /// Lion with the paper's constants.
    pub const LION: Self = Self::Lion { beta1: 0.9, beta2: 0.99 };
    /// LAMB with the paper's constants.
    pub const LAMB: Self = Self::Lamb { beta1: 0.9, beta2: 0.999, eps: 1e-6, weight_decay: 0.01 };
    /// Schedule-free AdamW with the constants of its authors' code.
    pub const SCHEDULE_FREE: Self = Self::ScheduleFree { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0 };

    /// Its name, as it is written in text.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Optimizer::Sgd { .. } => "sgd",
            Optimizer::Adam { .. } | Optimizer::KerasAdam { .. } => "adam",
            Optimizer::AdamW { .. } => "adamw",
            Optimizer::AmsGrad { .. } => "amsgrad",
            Optimizer::Nadam { .. } => "nadam",
            Optimizer::Adamax { .. } => "adamax",
            Optimizer::RmsProp { .. } => "rmsprop",
            Optimizer::Adagrad { .. } => "adagrad",
            Optimizer::Adadelta { .. } => "adadelta",
            Optimizer::Lion { .. } => "lion",
            Optimizer::Lamb { .. } => "lamb",
            Optimizer::ScheduleFree { .. } => "schedule_free",
        }
    }

    /// Moments kept for each parameter: the optimiser's state is this many times as long as the
    /// parameters that are trained (and a group of sixteen longer for [`ScheduleFree`](Optimizer::ScheduleFree)).
    #[must_use]
    pub const fn moments(&self) -> usize {
        match self {
            Optimizer::Sgd { momentum, .. } => (*momentum != 0.0) as usize,
            Optimizer::Adam { .. } | Optimizer::AdamW { .. } | Optimizer::KerasAdam { .. } => 2,
            Optimizer::Nadam { .. } | Optimizer::Adamax { .. } => 2,
            Optimizer::Adadelta { .. } | Optimizer::Lamb { .. } => 2,
            Optimizer::RmsProp { momentum, centered, .. } => 1 + (*momentum != 0.0) as usize + *centered as usize,
            Optimizer::Adagrad { .. } | Optimizer::Lion { .. } => 1,
            Optimizer::AmsGrad { .. } | Optimizer::ScheduleFree { .. } => 3,
        }
    }

    /// Length of the moments for a plan: firmware sizes its array with it.
    #[must_use]
    pub const fn moments_len(&self, plan: &Plan) -> usize {
        let figures = if self.averages() { LANES } else { 0 };
        plan.trained.saturating_mul(self.moments()).saturating_add(figures)
    }

    /// Whether the weights that are evaluated are others than those that are trained.
    #[must_use]
    pub const fn averages(&self) -> bool {
        matches!(self, Optimizer::ScheduleFree { .. })
    }

    /// Whether every constant is in its range, see [`mistake`](Self::mistake).
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.mistake().is_none()
    }

    /// The first constant that is outside its range, and that range.
    ///
    /// An eps of 0 is outside: a gradient that is always 0, as those of the padding are, would divide by it.
    #[must_use]
    pub fn mistake(&self) -> Option<&'static str> {
        let share = |value: f32| (0.0..1.0).contains(&value);
        let positive = |value: f32| value > 0.0 && value.is_finite();
        let sound = match *self {
            Optimizer::Sgd { momentum, nesterov } => {
                if nesterov && momentum == 0.0 {
                    return Some("Nesterov's look-ahead needs a momentum above 0");
                }
                return if share(momentum) { None } else { Some("the momentum must lie in [0, 1)") };
            }
            Optimizer::Adam { beta1, beta2, eps }
            | Optimizer::KerasAdam { beta1, beta2, eps }
            | Optimizer::AmsGrad { beta1, beta2, eps, .. }
            | Optimizer::Adamax { beta1, beta2, eps, .. } => share(beta1) && share(beta2) && positive(eps),
            Optimizer::AdamW { beta1, beta2, eps, weight_decay }
            | Optimizer::Lamb { beta1, beta2, eps, weight_decay }
            | Optimizer::ScheduleFree { beta1, beta2, eps, weight_decay } => {
                if !(0.0..=1.0).contains(&weight_decay) {
                    return Some("the weight decay must lie in [0, 1]");
                }
                share(beta1) && share(beta2) && positive(eps)
            }
            Optimizer::Nadam { beta1, beta2, eps, momentum_decay } => {
                if !(momentum_decay >= 0.0 && momentum_decay.is_finite()) {
                    return Some("the momentum decay of nadam must be 0 or positive");
                }
                share(beta1) && share(beta2) && positive(eps)
            }
            Optimizer::RmsProp { alpha, eps, momentum, .. } => share(alpha) && positive(eps) && share(momentum),
            Optimizer::Adagrad { eps, start, lr_decay, .. } => {
                if !(start >= 0.0 && start.is_finite() && lr_decay >= 0.0 && lr_decay.is_finite()) {
                    return Some("start and lr_decay of adagrad must be 0 or positive");
                }
                positive(eps)
            }
            Optimizer::Adadelta { rho, eps } => share(rho) && positive(eps),
            Optimizer::Lion { beta1, beta2 } => share(beta1) && share(beta2),
        };
        if sound {
            return None;
        }
        Some(
            "an optimiser constant is outside its range: momentum, alpha, rho and betas lie in [0, 1), eps is positive",
        )
    }

    /// The same with another momentum, which a schedule changes: that of SGD and RMSprop, or `beta1`. `None` for an
    /// optimiser that has none.
    #[must_use]
    pub fn with_momentum(mut self, value: f32) -> Option<Self> {
        match &mut self {
            Optimizer::Sgd { momentum, .. } | Optimizer::RmsProp { momentum, .. } if *momentum != 0.0 => {
                *momentum = value
            }
            Optimizer::Adam { beta1, .. }
            | Optimizer::AdamW { beta1, .. }
            | Optimizer::KerasAdam { beta1, .. }
            | Optimizer::AmsGrad { beta1, .. }
            | Optimizer::Adamax { beta1, .. }
            | Optimizer::Lion { beta1, .. }
            | Optimizer::Lamb { beta1, .. } => *beta1 = value,
            // Nadam's and the schedule-free average have histories that one number per step cannot tell.
            _ => return None,
        }
        Some(self)
    }

    /// The rate to begin with: PyTorch's default; Keras' for its dialects and for LAMB; that of their authors for Lion and
    /// the schedule-free form. SGD has none in PyTorch, here 0.01.
    #[must_use]
    pub fn usual_rate(&self) -> f32 {
        match *self {
            Optimizer::Sgd { .. } => 0.01,
            Optimizer::RmsProp { dialect: Dialect::Torch, .. } | Optimizer::Adagrad { dialect: Dialect::Torch, .. } => {
                0.01
            }
            // Keras calls its Adadelta with 0.001, and says that 1.0 is what the paper has.
            Optimizer::Adadelta { .. } => 1.0,
            Optimizer::Nadam { .. } | Optimizer::Adamax { dialect: Dialect::Torch, .. } => 0.002,
            Optimizer::Lion { .. } => 1e-4,
            Optimizer::ScheduleFree { .. } => 0.0025,
            _ => 0.001,
        }
    }
}

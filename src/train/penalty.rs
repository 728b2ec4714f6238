//! Penalties on the size of weights that are passes of their own, and constraints that hold after each step.
//!
//! | | what a step does | Keras | PyTorch |
//! |---|---|---|---|
//! | L2, [`Rules::l2`] | gradient `+ l2 w` | `regularizers.L2(l2 / 2)` | `weight_decay` of SGD, Adam and others |
//! | L1, [`Rules::l1`] | gradient `+ l1 sign(w)` | `regularizers.L1(l1)` | none |
//! | elastic net | both | `regularizers.L1L2(l1, l2 / 2)` | none |
//! | decoupled decay, [`Rules::weight_decay`] | `w (1 - lr weight_decay)` before the step | `weight_decay` of any optimiser | `AdamW` |
//! | [`Constraint`] | after the step, each unit's incoming weights | `constraints`, `axis=0` | `torch.renorm` |
//!
//! Penalties enter after clipping, as they do in PyTorch when gradients are clipped before `step`, and are no part of the loss
//! that is reported (Keras adds them to it).
//!
//! [`Rules::l1`]: crate::train::Rules::l1
//! [`Rules::l2`]: crate::train::Rules::l2
//! [`Rules::weight_decay`]: crate::train::Rules::weight_decay

#[cfg(not(feature = "toolbox"))]
#[path = "penalty/absent.rs"]
mod passes;
#[cfg(feature = "toolbox")]
mod passes;

pub(super) use passes::shrink;
pub use passes::{add_l1, constrain};

/// What the weights of dense layers must be after each step. Norms are Euclidean, of one unit's incoming weights (`axis=0` of
/// Keras); biases and batch norms are left alone, and so are layers that are frozen or have the rate 0.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Constraint {
    /// Anything.
    #[default]
    None,
    /// A unit whose norm is larger than this is scaled down to it (Srivastava 2014; 2 in Keras, 3 to 4 in the paper).
    MaxNorm(f32),
    /// A negative weight becomes 0.
    NonNegative,
    /// Each unit is scaled to the norm 1; a unit of zeros stays.
    UnitNorm,
    /// A unit's norm moves by the share `rate` of the way into `[min, max]`; a unit of zeros stays.
    MinMaxNorm {
        /// The least norm, 0 in Keras.
        min: f32,
        /// The largest, 1 in Keras.
        max: f32,
        /// 1 enforces the range at once.
        rate: f32,
    },
}

impl Constraint {
    /// What is outside its range, and that range.
    #[must_use]
    pub fn mistake(&self) -> Option<&'static str> {
        match *self {
            Constraint::MaxNorm(limit) if !(limit > 0.0 && limit.is_finite()) => {
                Some("the limit of max_norm must be a positive number")
            }
            Constraint::MinMaxNorm { min, max, rate }
                if !(min >= 0.0 && min <= max && max > 0.0 && max.is_finite() && rate > 0.0 && rate <= 1.0) =>
            {
                Some("min_max_norm wants 0 <= min <= max, a positive max, and a rate in (0, 1]")
            }
            _ => None,
        }
    }
}

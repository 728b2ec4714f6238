//! How records write activations, and which format version an operation came with.

use super::check::{Kind, Record};
use crate::layer::Activation;

/// The activation of a code and its parameter.
pub(crate) const fn activation_of(code: u8, parameter: f32) -> Option<Activation> {
    Some(match code {
        1 => Activation::Relu,
        2 => Activation::LeakyRelu { slope: parameter },
        3 => Activation::Sigmoid,
        4 => Activation::Tanh,
        5 => Activation::Gelu,
        6 => Activation::Silu,
        7 => Activation::Elu { alpha: parameter },
        8 => Activation::Selu,
        9 => Activation::Celu { alpha: parameter },
        10 => Activation::GeluTanh,
        11 => Activation::Softplus { beta: parameter },
        12 => Activation::Softsign,
        13 => Activation::HardSigmoid,
        14 => Activation::HardSwish,
        15 => Activation::Relu6,
        16 => Activation::Mish,
        17 => Activation::ThresholdedRelu { theta: parameter },
        _ => return None,
    })
}

/// The largest code.
pub(crate) const CODES: u8 = 17;

/// The code of an activation, and its parameter.
pub(crate) const fn code_of(activation: Activation) -> (u8, f32) {
    let (code, parameter) = match activation {
        Activation::Relu => (1, 0.0),
        Activation::LeakyRelu { slope } => (2, slope),
        Activation::Sigmoid => (3, 0.0),
        Activation::Tanh => (4, 0.0),
        Activation::Gelu => (5, 0.0),
        Activation::Silu => (6, 0.0),
        Activation::Elu { alpha } => (7, alpha),
        Activation::Selu => (8, 0.0),
        Activation::Celu { alpha } => (9, alpha),
        Activation::GeluTanh => (10, 0.0),
        Activation::Softplus { beta } => (11, beta),
        Activation::Softsign => (12, 0.0),
        Activation::HardSigmoid => (13, 0.0),
        Activation::HardSwish => (14, 0.0),
        Activation::Relu6 => (15, 0.0),
        Activation::Mish => (16, 0.0),
        Activation::ThresholdedRelu { theta } => (17, theta),
    };
    // Adding zero turns a negative zero, which the format does not have, into a positive one.
    (code, parameter + 0.0)
}

/// Whether `bits` are the parameter of this activation: in its range, or zero if it has none.
pub(super) const fn is_parameter(activation: Option<Activation>, bits: u32) -> bool {
    // Positive, negative zero excluded, finite: as bits.
    let (Some(activation), true) = (activation, bits < f32::INFINITY.to_bits()) else { return bits == 0 };
    code_of(activation).1.to_bits() == bits && activation.is_valid()
}

impl Record {
    /// The format version that an image with this operation has at least.
    pub(crate) const fn version(&self) -> u16 {
        let code = match self.activation {
            Some(activation) => code_of(activation).0,
            None => 0,
        };
        match self.kind {
            Kind::Dense { .. } | Kind::ScaleShift | Kind::Activation | Kind::Softmax | Kind::LogSoftmax => {
                if code <= 6 { 1 } else { 2 }
            }
            Kind::LayerNorm { .. } => 2,
        }
    }
}

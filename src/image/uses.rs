//! Which kinds of operations an image has, as bits: what code must be there to run it.

use super::Image;
use super::check::{Kind, Record};
use crate::layer::Activation;

/// Dense layers with weights in single precision.
pub const DENSE_F32: u32 = 1;
/// Dense layers with weights in half precision.
pub const DENSE_F16: u32 = 1 << 1;
/// A scale and shift by itself.
pub const SCALE_SHIFT: u32 = 1 << 2;
/// Softmax.
pub const SOFTMAX: u32 = 1 << 3;
/// Log-softmax.
pub const LOG_SOFTMAX: u32 = 1 << 4;
/// ReLU, as are those below: by itself or at the end of a dense layer.
pub const RELU: u32 = 1 << 5;
/// Leaky ReLU.
pub const LEAKY_RELU: u32 = 1 << 6;
/// Sigmoid.
pub const SIGMOID: u32 = 1 << 7;
/// Hyperbolic tangent.
pub const TANH: u32 = 1 << 8;
/// GELU.
pub const GELU: u32 = 1 << 9;
/// SiLU.
pub const SILU: u32 = 1 << 10;
/// An activation that is an operation of its own.
pub const ACTIVATION: u32 = 1 << 11;
/// ELU.
pub const ELU: u32 = 1 << 12;
/// SELU.
pub const SELU: u32 = 1 << 13;
/// CELU.
pub const CELU: u32 = 1 << 14;
/// GELU's tanh form.
pub const GELU_TANH: u32 = 1 << 15;
/// Softplus.
pub const SOFTPLUS: u32 = 1 << 16;
/// Softsign.
pub const SOFTSIGN: u32 = 1 << 17;
/// Hard sigmoid.
pub const HARD_SIGMOID: u32 = 1 << 18;
/// Hard swish.
pub const HARD_SWISH: u32 = 1 << 19;
/// ReLU6.
pub const RELU6: u32 = 1 << 20;
/// Mish.
pub const MISH: u32 = 1 << 21;
/// Thresholded ReLU.
pub const THRESHOLDED_RELU: u32 = 1 << 22;
/// Layer norm.
pub const LAYER_NORM: u32 = 1 << 30;
/// All of these.
pub const ALL: u32 = ((1 << 23) - 1) | LAYER_NORM;

impl Image<'_> {
    /// The kinds of operations that the image has, bits of [`uses`](super::uses).
    #[must_use]
    pub const fn uses(&self) -> u32 {
        let mut uses = 0;
        let mut op = 0;
        while op < self.ops {
            let record = Record::read(self.bytes, op);
            uses |= match record.kind {
                Kind::Dense { f16: false } => DENSE_F32,
                Kind::Dense { f16: true } => DENSE_F16,
                Kind::ScaleShift => SCALE_SHIFT,
                Kind::Activation => ACTIVATION,
                Kind::Softmax => SOFTMAX,
                Kind::LogSoftmax => LOG_SOFTMAX,
                Kind::LayerNorm { .. } => LAYER_NORM,
            };
            if let Some(activation) = record.activation {
                uses |= of(activation);
            }
            op += 1;
        }
        uses
    }
}

/// The bit of an activation.
pub(crate) const fn of(activation: Activation) -> u32 {
    match activation {
        Activation::Relu => RELU,
        Activation::LeakyRelu { .. } => LEAKY_RELU,
        Activation::Sigmoid => SIGMOID,
        Activation::Tanh => TANH,
        Activation::Gelu => GELU,
        Activation::Silu => SILU,
        Activation::Elu { .. } => ELU,
        Activation::Selu => SELU,
        Activation::Celu { .. } => CELU,
        Activation::GeluTanh => GELU_TANH,
        Activation::Softplus { .. } => SOFTPLUS,
        Activation::Softsign => SOFTSIGN,
        Activation::HardSigmoid => HARD_SIGMOID,
        Activation::HardSwish => HARD_SWISH,
        Activation::Relu6 => RELU6,
        Activation::Mish => MISH,
        Activation::ThresholdedRelu { .. } => THRESHOLDED_RELU,
    }
}

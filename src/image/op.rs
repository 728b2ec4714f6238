//! The operations of an image, borrowed.

use crate::layer::Activation;

/// One operation of an image.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Op<'a> {
    /// `activation(W x + b)`
    Dense {
        /// Input features.
        inputs: usize,
        /// Output features.
        outputs: usize,
        /// `W`, in panels.
        weights: Weights<'a>,
        /// `b`, padded to sixteen.
        bias: Option<&'a [f32]>,
        /// Applied to the outputs.
        activation: Option<Activation>,
    },
    /// `(x - center) * scale + shift`: a batch norm without a dense layer next to it. Subtracting first keeps the digits
    /// of features whose mean is far from 0.
    ScaleShift {
        /// Features.
        features: usize,
        /// Padded to sixteen.
        center: &'a [f32],
        /// Padded to sixteen.
        scale: &'a [f32],
        /// Padded to sixteen.
        shift: &'a [f32],
    },
    /// Each row normalised over its features, then scale and shift.
    LayerNorm {
        /// Features.
        features: usize,
        /// Added to the variance.
        eps: f32,
        /// Padded to sixteen.
        scale: &'a [f32],
        /// Padded to sixteen.
        shift: &'a [f32],
    },
    /// A non-linearity that follows no dense layer.
    Activation {
        /// Features.
        features: usize,
        /// Which.
        activation: Activation,
    },
    /// Softmax over the row.
    Softmax {
        /// Features.
        features: usize,
    },
    /// Log-softmax over the row.
    LogSoftmax {
        /// Features.
        features: usize,
    },
    /// `x` if positive, else `slope * x`, with a slope for each feature.
    PRelu {
        /// Features.
        features: usize,
        /// Padded to sixteen.
        slopes: &'a [f32],
    },
}

/// The weights of a dense operation, in panels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Weights<'a> {
    /// Single precision.
    F32(&'a [f32]),
    /// Half precision, by its bits.
    F16(&'a [u16]),
}

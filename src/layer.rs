//! What a network is made of: described once, for training, folding and inference.
//!
//! A [`Network`] borrows a list of [`Layer`]s whose widths have been checked to join. It owns nothing and computes
//! nothing; `plan` turns it into lengths and offsets.

mod activation;
mod norm;

use crate::error::Error;
use crate::simd::LANES;

pub(crate) use activation::Needs;
pub use activation::{Activation, PRelu};
pub(crate) use norm::ghosts;
pub use norm::{Dialect, LayerNorm, NormMode, Renorm};

/// Batch normalisation over the rows of a batch, per feature (Ioffe & Szegedy, arXiv 1502.03167).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchNorm {
    /// Added to the variance, above 0 and at most 1. PyTorch's default is 1e-5, Keras' 1e-3.
    pub eps: f32,
    /// Weight of the *new* statistics in the running ones, from 0 to 1, as PyTorch counts (Keras' momentum is one minus
    /// this). `None` averages all batches alike.
    pub momentum: Option<f32>,
    /// Which variance the running one collects: PyTorch's is unbiased (`n - 1`), Keras' biased (`n`).
    pub unbiased: bool,
    /// What it normalises by while it trains: by the statistics of the batch, unless this says otherwise.
    pub mode: NormMode,
}

impl BatchNorm {
    /// `torch.nn.BatchNorm1d` as it comes: eps 1e-5, momentum 0.1, unbiased running variance.
    pub const TORCH: Self = Self { eps: 1e-5, momentum: Some(0.1), unbiased: true, mode: NormMode::Batch };
    /// `keras.layers.BatchNormalization` as it comes: eps 1e-3, momentum 0.99 (0.01 here), biased running variance.
    pub const KERAS: Self = Self { eps: 1e-3, momentum: Some(0.01), unbiased: false, mode: NormMode::Batch };
}

impl Default for BatchNorm {
    fn default() -> Self {
        Self::TORCH
    }
}

/// One layer of a network. Only a dense layer changes the width; the others give as many features as they take.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Layer {
    /// `y = W x + b`, with `outputs` rows in `W`.
    Dense {
        /// Number of outputs, from 1 to [`MAX_WIDTH`].
        outputs: usize,
        /// Whether there is a `b`. Before a batch norm it has no effect (1502.03167, section 3.2).
        bias: bool,
    },
    /// Batch normalisation with trained scale and shift.
    BatchNorm(BatchNorm),
    /// An elementwise non-linearity.
    Activation(Activation),
    /// Inverted dropout: in training each value is zeroed with probability `rate`, the others are divided by
    /// `1 - rate`; nothing happens in inference (Srivastava 2014).
    Dropout {
        /// Probability of a zero, from 0 to 1.
        rate: f32,
    },
    /// `exp(x_i) / Σ exp(x_j)` over the row.
    Softmax,
    /// `x_i - log Σ exp(x_j)` over the row.
    LogSoftmax,
    /// ReLU with a trained slope.
    PRelu(PRelu),
    /// Normalisation of each row over its features, with trained scale and shift (Ba 2016).
    LayerNorm(LayerNorm),
    /// In training each value is multiplied by a normal number of mean 1 and deviation `√(rate / (1 - rate))`; nothing
    /// happens in inference (Srivastava 2014, section 10; `GaussianDropout` of Keras).
    GaussianDropout {
        /// The rate of the dropout with the same variance, from 0 to below 1.
        rate: f32,
    },
    /// In training a normal number of mean 0 is added to each value; nothing happens in inference (`GaussianNoise` of
    /// Keras).
    GaussianNoise {
        /// Its standard deviation, finite and at least 0.
        stddev: f32,
    },
    /// Dropout for SELU networks: in training values are set to SELU's lower limit `-λα` with probability `rate`, then
    /// all are scaled and shifted so that mean 0 and variance 1 stay what they were; nothing happens in inference
    /// (Klambauer 2017; `AlphaDropout` of PyTorch and Keras).
    AlphaDropout {
        /// Probability of being set, from 0 to 1; 1 gives zeros, as PyTorch's.
        rate: f32,
    },
    /// In training each *weight* of the dense layer that follows is zeroed with probability `rate`, the others are
    /// divided by `1 - rate`; inference uses all weights, the mean (Wan 2013).
    ///
    /// The variant: one mask for each step, shared by its rows (the paper draws one for each row), over weights and not
    /// biases, and the mean of the weights in inference (the paper matches moments of the outputs by samples).
    DropConnect {
        /// Probability of a zero, from 0 to 1.
        rate: f32,
    },
}

impl Layer {
    /// `Dense` with bias.
    #[must_use]
    pub const fn dense(outputs: usize) -> Self {
        Self::Dense { outputs, bias: true }
    }

    /// The layer's name in error messages and in the text form of a network.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Layer::Dense { .. } => "dense",
            Layer::BatchNorm(_) => "bn",
            Layer::Activation(activation) => activation.name(),
            Layer::Dropout { .. } => "dropout",
            Layer::Softmax => "softmax",
            Layer::LogSoftmax => "log_softmax",
            Layer::PRelu(_) => "prelu",
            Layer::LayerNorm(_) => "ln",
            Layer::GaussianDropout { .. } => "gaussian_dropout",
            Layer::GaussianNoise { .. } => "gaussian_noise",
            Layer::AlphaDropout { .. } => "alpha_dropout",
            Layer::DropConnect { .. } => "dropconnect",
        }
    }

    /// Whether it has parameters that are trained.
    #[must_use]
    pub const fn has_parameters(&self) -> bool {
        matches!(self, Layer::Dense { .. } | Layer::BatchNorm(_) | Layer::LayerNorm(_) | Layer::PRelu(_))
    }

    /// Whether it is nothing in inference: dropout and its kin.
    #[must_use]
    pub const fn is_noise(&self) -> bool {
        matches!(
            self,
            Layer::Dropout { .. }
                | Layer::GaussianDropout { .. }
                | Layer::GaussianNoise { .. }
                | Layer::AlphaDropout { .. }
                | Layer::DropConnect { .. }
        )
    }
}

/// Rounds a width up to whole groups of sixteen: the row length of every activation buffer.
#[must_use]
pub const fn padded(width: usize) -> usize {
    width.next_multiple_of(LANES)
}

/// The largest width of a layer: lengths computed from checked widths cannot overflow 64 bits; where they overflow 32,
/// `plan` says `usize::MAX`, which no slice has.
pub const MAX_WIDTH: usize = 1 << 20;

/// The largest number of layers.
pub const MAX_LAYERS: usize = 1 << 10;

/// A list of layers that fit together.
///
/// ```
/// use evenkeel::{Activation, Layer, Network};
/// let layers = [Layer::dense(16), Layer::Activation(Activation::Relu), Layer::DropConnect { rate: 0.5 }, Layer::dense(3)];
/// let network = Network::new(4, &layers)?;
/// assert_eq!((network.inputs(), network.outputs(), network.width_before(2)), (4, 3, 16));
/// // A DropConnect masks the weights of the dense layer behind it: without one it is refused.
/// let error = Network::new(4, &layers[..3]).unwrap_err();
/// assert_eq!(error.to_string(), "layer 2 (dropconnect) wants a rate in [0, 1] and a dense layer right behind it");
/// # Ok::<(), evenkeel::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Network<'a> {
    inputs: usize,
    layers: &'a [Layer],
}

impl<'a> Network<'a> {
    /// Checks the layers of a network with `inputs` input features.
    ///
    /// # Errors
    /// [`Error::Layer`] names the first layer with a parameter out of its range or not where it belongs, [`Error::Widths`] if there are no
    /// layers, no inputs, or too many of either.
    pub const fn new(inputs: usize, layers: &'a [Layer]) -> Result<Self, Error> {
        if inputs == 0 || inputs > MAX_WIDTH || layers.is_empty() || layers.len() > MAX_LAYERS {
            return Err(Error::Widths { inputs, layers: layers.len() });
        }
        let mut index = 0;
        while index < layers.len() {
            let valid = match layers[index] {
                Layer::Dense { outputs, .. } => outputs >= 1 && outputs <= MAX_WIDTH,
                Layer::BatchNorm(bn) => {
                    let momentum = match bn.momentum {
                        Some(momentum) => momentum >= 0.0 && momentum <= 1.0,
                        None => true,
                    };
                    bn.eps > 0.0 && bn.eps <= 1.0 && momentum && bn.mode.is_valid()
                }
                Layer::LayerNorm(LayerNorm { eps }) => eps > 0.0 && eps <= 1.0,
                Layer::GaussianDropout { rate } => rate >= 0.0 && rate < 1.0,
                Layer::GaussianNoise { stddev } => stddev >= 0.0 && stddev <= f32::MAX,
                Layer::AlphaDropout { rate } => rate >= 0.0 && rate <= 1.0,
                Layer::DropConnect { rate } => {
                    let follows = index + 1 < layers.len() && matches!(layers[index + 1], Layer::Dense { .. });
                    rate >= 0.0 && rate <= 1.0 && follows
                }
                Layer::Activation(activation) => activation.is_valid(),
                Layer::Dropout { rate } => rate >= 0.0 && rate <= 1.0,
                Layer::PRelu(prelu) => prelu.init >= -f32::MAX && prelu.init <= f32::MAX,
                Layer::Softmax | Layer::LogSoftmax => true,
            };
            if !valid {
                return Err(Error::Layer { layer: index, name: layers[index].name() });
            }
            index += 1;
        }
        Ok(Self { inputs, layers })
    }

    /// Layers that have been checked before.
    #[cfg(feature = "alloc")]
    pub(crate) const fn trusted(inputs: usize, layers: &'a [Layer]) -> Self {
        Self { inputs, layers }
    }

    /// Number of input features.
    #[must_use]
    pub const fn inputs(&self) -> usize {
        self.inputs
    }

    /// Number of output features.
    #[must_use]
    pub const fn outputs(&self) -> usize {
        self.width_before(self.layers.len())
    }

    /// The layers.
    #[must_use]
    pub const fn layers(&self) -> &'a [Layer] {
        self.layers
    }

    /// Whether every build trains it, also without the feature `toolbox`: dense, batch norm with the statistics of the batch or
    /// frozen, dropout, softmax, ReLU, leaky ReLU, sigmoid, tanh, GELU, SiLU.
    #[must_use]
    pub const fn is_basic(&self) -> bool {
        let mut index = 0;
        while index < self.layers.len() {
            let basic = match self.layers[index] {
                Layer::Dense { .. } | Layer::Dropout { .. } | Layer::Softmax | Layer::LogSoftmax => true,
                Layer::BatchNorm(bn) => !matches!(bn.mode, NormMode::Renorm(_) | NormMode::Ghost { .. }),
                Layer::Activation(activation) => activation.is_basic(),
                _ => false,
            };
            if !basic {
                return false;
            }
            index += 1;
        }
        true
    }

    /// Whether any layer is a batch norm with the statistics of its batch: then a training batch needs two rows or more.
    #[must_use]
    pub const fn has_batch_norm(&self) -> bool {
        let mut index = 0;
        while index < self.layers.len() {
            if let Layer::BatchNorm(bn) = self.layers[index]
                && !matches!(bn.mode, NormMode::Frozen)
            {
                return true;
            }
            index += 1;
        }
        false
    }

    /// Width of the data that enters layer `index` (of the output, for `index` = number of layers).
    #[must_use]
    pub const fn width_before(&self, index: usize) -> usize {
        let mut index = index;
        while index > 0 {
            index -= 1;
            if let Layer::Dense { outputs, .. } = self.layers[index] {
                return outputs;
            }
        }
        self.inputs
    }

    /// The widest data anywhere in the network, the input included.
    #[must_use]
    pub const fn max_width(&self) -> usize {
        let mut width = self.inputs;
        let mut index = 0;
        while index < self.layers.len() {
            if let Layer::Dense { outputs, .. } = self.layers[index]
                && outputs > width
            {
                width = outputs;
            }
            index += 1;
        }
        width
    }
}

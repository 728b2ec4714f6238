//! Elementwise non-linearities: what they are, their parameters and what their gradients are computed from.

/// Elementwise non-linearities.
///
/// Names and defaults are PyTorch's, else Keras'; `docs/names.md` lists both beside these, `docs/accuracy.md` the largest error
/// of each over all inputs. NaN gives NaN, infinities give the limits.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Activation {
    /// `x` if positive, else 0 (a negative zero stays).
    Relu,
    /// `x` if positive, else `slope * x`. PyTorch's default slope is 0.01, the paper's (Maas 2013) too.
    LeakyRelu {
        /// Factor on negative inputs, finite and at least 0.
        slope: f32,
    },
    /// `1 / (1 + exp(-x))`
    Sigmoid,
    /// Hyperbolic tangent.
    Tanh,
    /// `x * Φ(x)` with the exact normal distribution function, PyTorch's and Keras' default form (Hendrycks 2016).
    Gelu,
    /// `x * sigmoid(x)`, also called swish (Elfwing 2017).
    Silu,
    /// `x` if positive, else `alpha * (exp(x) - 1)` (Clevert 2015).
    Elu {
        /// What negative inputs approach, with the other sign: finite and at least 0. 1 in both libraries.
        alpha: f32,
    },
    /// [`Elu`](Self::Elu) with alpha 1.6732632423543772, all of it times 1.0507009873554805: outputs of mean 0 and variance 1 stay so
    /// (Klambauer 2017, with LeCun's normal weights).
    Selu,
    /// `x` if positive, else `alpha * (exp(x / alpha) - 1)`, of slope 1 at zero for every alpha (Barron 2017).
    Celu {
        /// What negative inputs approach, with the other sign: finite and greater than 0. 1 in both libraries.
        alpha: f32,
    },
    /// `x / 2 * (1 + tanh(√(2 / π) * (x + 0.044715 x³)))`: PyTorch's `approximate="tanh"`, Keras' `approximate=True`
    /// (Hendrycks 2016).
    GeluTanh,
    /// `ln(1 + exp(beta * x)) / beta` (Dugas 2001). PyTorch's threshold of 20, beyond which it takes `x`, changes no value here:
    /// nothing overflows, and from `beta * x` = 17 on the logarithm rounds to `x`.
    Softplus {
        /// Sharpness of the bend: finite and greater than 0. 1 in both libraries.
        beta: f32,
    },
    /// `x / (1 + |x|)` (Turian 2009).
    Softsign,
    /// `x / 6 + 1 / 2` between 0 and 1: PyTorch's form, and Keras' since version 3 (before, it was `x / 5 + 1 / 2`).
    HardSigmoid,
    /// `x * HardSigmoid(x)`, Keras' hard SiLU (Howard 2019).
    HardSwish,
    /// `x` between 0 and 6 (Krizhevsky 2010).
    Relu6,
    /// `x * tanh(ln(1 + exp(x)))` (Misra 2019).
    Mish,
    /// `x` if greater than `theta`, else 0 (Konda 2014).
    ThresholdedRelu {
        /// Where it begins: finite and at least 0. 1 in Keras 2; PyTorch's `Threshold` has no default.
        theta: f32,
    },
}

/// ReLU whose slope on negative inputs is trained (He 2015), `torch.nn.PReLU` and `keras.layers.PReLU`.
///
/// Its slopes count among the parameters; like biases they have no weight decay unless all parameters have. Folding leaves it
/// alone: an image has it as an operation of its own, with a slope for each feature.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PRelu {
    /// Whether all features have the same slope (PyTorch's default), else each has one (Keras').
    pub shared: bool,
    /// Where slopes start: 0.25 in PyTorch, 0 in Keras. Finite.
    pub init: f32,
}

impl PRelu {
    /// `torch.nn.PReLU` as it comes: one slope, 0.25.
    pub const TORCH: Self = Self { shared: true, init: 0.25 };
    /// `keras.layers.PReLU` as it comes: a slope for each feature, 0.
    pub const KERAS: Self = Self { shared: false, init: 0.0 };

    /// Number of slopes for `features` features.
    #[must_use]
    pub const fn slopes(&self, features: usize) -> usize {
        if self.shared { 1 } else { features }
    }
}

impl Default for PRelu {
    fn default() -> Self {
        Self::TORCH
    }
}

/// What the gradient of an activation is computed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    /// The sign of the output.
    Sign,
    /// The output.
    Value,
    /// The input.
    Input,
}

impl Activation {
    /// Whether every build has it, also without the feature `toolbox`.
    #[must_use]
    pub const fn is_basic(&self) -> bool {
        matches!(
            self,
            Activation::Relu
                | Activation::LeakyRelu { .. }
                | Activation::Sigmoid
                | Activation::Tanh
                | Activation::Gelu
                | Activation::Silu
        )
    }

    /// The name in the text form of a network.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Activation::Relu => "relu",
            Activation::LeakyRelu { .. } => "leaky_relu",
            Activation::Sigmoid => "sigmoid",
            Activation::Tanh => "tanh",
            Activation::Gelu => "gelu",
            Activation::Silu => "silu",
            Activation::Elu { .. } => "elu",
            Activation::Selu => "selu",
            Activation::Celu { .. } => "celu",
            Activation::GeluTanh => "gelu_tanh",
            Activation::Softplus { .. } => "softplus",
            Activation::Softsign => "softsign",
            Activation::HardSigmoid => "hard_sigmoid",
            Activation::HardSwish => "hard_swish",
            Activation::Relu6 => "relu6",
            Activation::Mish => "mish",
            Activation::ThresholdedRelu { .. } => "thresholded_relu",
        }
    }

    /// Whether its parameter is in its range.
    #[must_use]
    pub const fn is_valid(&self) -> bool {
        match *self {
            Activation::LeakyRelu { slope: parameter }
            | Activation::Elu { alpha: parameter }
            | Activation::ThresholdedRelu { theta: parameter } => parameter >= 0.0 && parameter <= f32::MAX,
            Activation::Celu { alpha: parameter } | Activation::Softplus { beta: parameter } => {
                parameter > 0.0 && parameter <= f32::MAX
            }
            _ => true,
        }
    }

    /// What its gradient is computed from: the cheapest that has the digits.
    ///
    /// Where that is the output the layer may work in place. Derivatives from the output have an error of some ulp of
    /// their largest value: of `1 - y` nothing is left that would tell a tiny one from 0.
    pub(crate) const fn needs(&self) -> Needs {
        match self {
            Activation::Relu | Activation::LeakyRelu { .. } | Activation::ThresholdedRelu { .. } => Needs::Sign,
            Activation::Sigmoid
            | Activation::Tanh
            | Activation::Elu { .. }
            | Activation::Selu
            | Activation::Celu { .. }
            | Activation::Softplus { .. }
            | Activation::Softsign
            | Activation::HardSigmoid
            | Activation::Relu6 => Needs::Value,
            Activation::Gelu | Activation::Silu | Activation::GeluTanh | Activation::HardSwish | Activation::Mish => {
                Needs::Input
            }
        }
    }

    /// Whether the gradient is computed from the input; otherwise from the output.
    #[must_use]
    pub const fn keeps_input(&self) -> bool {
        matches!(self.needs(), Needs::Input)
    }
}

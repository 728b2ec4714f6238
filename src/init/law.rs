//! The distributions that initial weights are drawn from, and their figures for a layer's shape.

use super::{Init, TRUNCATED_DEVIATION};

/// What the variance of a layer's weights is divided by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fan {
    /// The inputs.
    #[default]
    In,
    /// The outputs.
    Out,
    /// The mean of both; Keras only.
    Average,
}

/// The form of [`Init::VarianceScaling`]'s distribution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shape {
    /// Normal, cut off at two standard deviations, the variance kept.
    #[default]
    TruncatedNormal,
    /// Normal.
    UntruncatedNormal,
    /// Uniform.
    Uniform,
}

/// Activations as PyTorch's initialisers know them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Nonlinearity {
    /// None.
    Linear,
    /// Sigmoid.
    Sigmoid,
    /// Hyperbolic tangent.
    Tanh,
    /// ReLU.
    Relu,
    /// Leaky ReLU.
    LeakyRelu {
        /// Factor on negative inputs: `a` of the initialisers, by default 0 there.
        slope: f32,
    },
    /// SELU.
    Selu,
}

impl Nonlinearity {
    /// `torch.nn.init.calculate_gain`: 1 for linear and sigmoid, 5/3 for tanh, √2 for ReLU, √(2 / (1 + slope²)) for leaky
    /// ReLU, 3/4 for SELU.
    #[must_use]
    pub fn gain(self) -> f64 {
        match self {
            Nonlinearity::Linear | Nonlinearity::Sigmoid => 1.0,
            Nonlinearity::Tanh => 5.0 / 3.0,
            Nonlinearity::Relu => core::f64::consts::SQRT_2,
            Nonlinearity::LeakyRelu { slope } => libm::sqrt(2.0 / (1.0 + f64::from(slope) * f64::from(slope))),
            Nonlinearity::Selu => 0.75,
        }
    }
}

/// A distribution of weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Law {
    /// No distribution at all.
    Constant(f64),
    /// Uniform.
    Uniform {
        /// From this.
        low: f64,
        /// To this.
        high: f64,
    },
    /// Normal.
    Normal {
        /// The mean.
        mean: f64,
        /// The standard deviation.
        std: f64,
    },
    /// Normal within limits.
    Truncated {
        /// The mean before the cut.
        mean: f64,
        /// The standard deviation before the cut.
        std: f64,
        /// Nothing below.
        low: f64,
        /// Nothing above.
        high: f64,
    },
}

impl Law {
    const fn within(limit: f64) -> Self {
        Law::Uniform { low: -limit, high: limit }
    }

    fn centred(std: f64) -> Self {
        Law::Normal { mean: 0.0, std }
    }

    /// Keras': at two standard deviations.
    fn cut(mean: f64, std: f64) -> Self {
        Law::Truncated { mean, std, low: mean - 2.0 * std, high: mean + 2.0 * std }
    }
}

impl Fan {
    fn of(self, inputs: usize, outputs: usize) -> f64 {
        let (inputs, outputs) = (inputs as f64, outputs as f64);
        let fan = match self {
            Fan::In => inputs,
            Fan::Out => outputs,
            Fan::Average => (inputs + outputs) / 2.0,
        };
        fan.max(1.0)
    }
}

impl Init {
    /// What the weights of a layer with so many inputs and outputs are drawn from; `None` if they depend on each other or on
    /// their place (orthogonal, identity, sparse).
    #[must_use]
    pub fn law(self, inputs: usize, outputs: usize) -> Option<Law> {
        let scaled = |scale: f64, fan: Fan, shape| {
            let variance = scale / fan.of(inputs, outputs);
            match shape {
                Shape::TruncatedNormal => Law::cut(0.0, libm::sqrt(variance) / TRUNCATED_DEVIATION),
                Shape::UntruncatedNormal => Law::centred(libm::sqrt(variance)),
                Shape::Uniform => Law::within(libm::sqrt(3.0 * variance)),
            }
        };
        let both = (inputs + outputs).max(1) as f64;
        Some(match self {
            Init::Zeros => Law::Constant(0.0),
            Init::Ones => Law::Constant(1.0),
            Init::Constant(value) => Law::Constant(value.into()),
            Init::GlorotUniform => scaled(1.0, Fan::Average, Shape::Uniform),
            Init::GlorotNormal => scaled(1.0, Fan::Average, Shape::TruncatedNormal),
            Init::HeUniform => scaled(2.0, Fan::In, Shape::Uniform),
            Init::HeNormal => scaled(2.0, Fan::In, Shape::TruncatedNormal),
            Init::LecunUniform => scaled(1.0, Fan::In, Shape::Uniform),
            Init::LecunNormal => scaled(1.0, Fan::In, Shape::TruncatedNormal),
            Init::TorchLinear => scaled(1.0 / 3.0, Fan::In, Shape::Uniform),
            Init::VarianceScaling { scale, fan, shape } => scaled(scale.into(), fan, shape),
            Init::Uniform { low, high } => Law::Uniform { low: low.into(), high: high.into() },
            Init::Normal { mean, std } => Law::Normal { mean: mean.into(), std: std.into() },
            Init::TruncatedNormal { mean, std } => Law::cut(mean.into(), std.into()),
            Init::TorchTruncatedNormal { mean, std, low, high } => {
                Law::Truncated { mean: mean.into(), std: std.into(), low: low.into(), high: high.into() }
            }
            Init::XavierUniform { gain } => Law::within(f64::from(gain) * libm::sqrt(6.0 / both)),
            Init::XavierNormal { gain } => Law::centred(f64::from(gain) * libm::sqrt(2.0 / both)),
            Init::KaimingUniform { fan, of } => Law::within(of.gain() * libm::sqrt(3.0 / fan.of(inputs, outputs))),
            Init::KaimingNormal { fan, of } => Law::centred(of.gain() / libm::sqrt(fan.of(inputs, outputs))),
            Init::Orthogonal { .. } | Init::Identity { .. } | Init::Sparse { .. } => return None,
        })
    }
}

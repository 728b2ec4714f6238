//! Activations and their gradients, one value at a time (`docs/accuracy.md`).

use super::Reference;
use evenkeel::kernels::math;
use evenkeel::layer::Activation;

impl Reference {
    pub(crate) fn activation(self, activation: Activation, x: f32) -> f32 {
        match activation {
            Activation::Relu => {
                if x < 0.0 {
                    0.0
                } else {
                    x
                }
            }
            Activation::LeakyRelu { slope } => {
                if x < 0.0 {
                    x * slope
                } else {
                    x
                }
            }
            Activation::Sigmoid => self.math(math::sigmoid_f32, x),
            Activation::Tanh => self.math(math::tanh_f32, x),
            Activation::Gelu => self.math(math::gelu_f32, x),
            Activation::Silu => self.math(math::silu_f32, x),
            Activation::GeluTanh => self.math(math::gelu_tanh_f32, x),
            Activation::Mish => self.math(math::mish_f32, x),
            Activation::Softplus { beta } => {
                let mut value = [x];
                math::softplus_beta_f32(self.math, beta, &mut value);
                value[0]
            }
            Activation::Elu { alpha } if x < 0.0 => alpha * self.math(math::expm1_neg_f32, x),
            Activation::Celu { alpha } if x < 0.0 => alpha * self.math(math::expm1_neg_f32, x / alpha),
            Activation::Elu { .. } | Activation::Celu { .. } => x,
            Activation::Selu => {
                let negative = x < 0.0;
                let factor = if negative { self.math(math::expm1_neg_f32, x) } else { x };
                let (high, low) = if negative { SELU_ALPHA } else { SELU };
                if x == 0.0 || x.is_infinite() { factor * high } else { self.fma(factor, high, factor * low) }
            }
            Activation::Softsign => {
                let t = if 2f32.powi(60) < x.abs() { 2f32.powi(60) } else { x.abs() };
                (t / (t + 1.0)).copysign(x)
            }
            Activation::HardSigmoid => hard_sigmoid(x),
            Activation::HardSwish => (if x < -3.0 { -3.0 } else { x }) * hard_sigmoid(x),
            Activation::Relu6 => x.clamp(0.0, 6.0),
            Activation::ThresholdedRelu { theta } => {
                if x > theta || x.is_nan() {
                    x
                } else {
                    0.0
                }
            }
            _ => panic!("{} has no reference", activation.name()),
        }
    }

    /// `saved` is the layer's input or its output, as [`Activation::keeps_input`] says.
    pub(crate) fn activation_backward(self, activation: Activation, saved: f32, dy: f32) -> f32 {
        match activation {
            Activation::Relu if saved > 0.0 => dy,
            Activation::Relu => 0.0,
            Activation::LeakyRelu { .. } if saved > 0.0 => dy,
            Activation::LeakyRelu { slope } => dy * slope,
            Activation::Sigmoid => dy * (saved * (1.0 - saved)),
            Activation::Tanh => dy * ((1.0 - saved) * (1.0 + saved)),
            Activation::Gelu => dy * self.math(math::gelu_derivative_f32, saved),
            Activation::Silu => dy * self.math(math::silu_derivative_f32, saved),
            Activation::GeluTanh => dy * self.math(math::gelu_tanh_derivative_f32, saved),
            Activation::Mish => dy * self.math(math::mish_derivative_f32, saved),
            Activation::Softplus { beta } => dy * -self.math(math::expm1_neg_f32, -(beta * saved)),
            Activation::Elu { .. } | Activation::Celu { .. } if saved > 0.0 => dy,
            Activation::Elu { alpha } => dy * (saved + alpha),
            Activation::Celu { alpha } => dy * (saved / alpha + 1.0),
            Activation::Selu => dy * if saved > 0.0 { SELU.0 } else { saved + SELU_ALPHA.0 },
            Activation::Softsign => dy * ((1.0 - saved.abs()) * (1.0 - saved.abs())),
            Activation::HardSigmoid if saved > 0.0 && saved < 1.0 => dy * (1.0 / 6.0),
            Activation::Relu6 if saved > 0.0 && saved < 6.0 => dy,
            Activation::ThresholdedRelu { .. } if saved > 0.0 => dy,
            Activation::HardSigmoid | Activation::Relu6 | Activation::ThresholdedRelu { .. } => 0.0,
            Activation::HardSwish if saved.is_nan() => dy * saved,
            Activation::HardSwish if saved <= -3.0 => dy * 0.0,
            Activation::HardSwish if saved >= 3.0 => dy * 1.0,
            Activation::HardSwish => dy * self.fma(saved, 1.0 / 3.0, 0.5),
            _ => panic!("{} has no reference", activation.name()),
        }
    }
}

/// SELU's factor, and its product with SELU's alpha, each as the nearest `f32` and the nearest to the rest.
const SELU: (f32, f32) = (f32::from_bits(0x3f86_7d5f), f32::from_bits(0xb315_6eed));
const SELU_ALPHA: (f32, f32) = (f32::from_bits(0x3fe1_0966), f32::from_bits(0x32c8_1e06));

fn hard_sigmoid(x: f32) -> f32 {
    let inner = x.clamp(-3.0, 3.0);
    (inner + 3.0) * (1.0 / 6.0)
}

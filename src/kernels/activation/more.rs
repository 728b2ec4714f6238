//! The less usual activations, entered from the module above.

use super::super::math;
use super::{map, zip};
use crate::layer::Activation;
use crate::simd::{Simd, level::kernel};

kernel! {
    /// Applies one of them to whole groups.
    pub(super) fn forward(activation: Activation, x: &mut [f32]) = forward_body
}
kernel! {
    /// Multiplies by its derivative.
    pub(super) fn backward(activation: Activation, saved: &[f32], dy: &mut [f32]) = backward_body
}

#[inline(always)]
pub(super) fn forward_body<S: Simd>(s: S, activation: Activation, x: &mut [f32]) {
    let zero = s.splat(0.0);
    match activation {
        Activation::Elu { alpha } => {
            let alpha = s.splat(alpha);
            map(s, x, |x| math::elu(s, alpha, x));
        }
        Activation::Selu => map(s, x, |x| math::selu(s, x)),
        Activation::Celu { alpha } => {
            let alpha = s.splat(alpha);
            map(s, x, |x| math::celu(s, alpha, x));
        }
        Activation::GeluTanh => map(s, x, |x| math::gelu_tanh(s, x)),
        Activation::Softplus { beta } => {
            let beta = s.splat(beta);
            map(s, x, |x| math::softplus_beta(s, beta, x));
        }
        Activation::Softsign => map(s, x, |x| math::softsign(s, x)),
        Activation::HardSigmoid => map(s, x, |x| math::hard_sigmoid(s, x)),
        Activation::HardSwish => map(s, x, |x| math::hard_swish(s, x)),
        Activation::Relu6 => {
            let six = s.splat(6.0);
            map(s, x, |x| s.min(s.max(x, zero), six));
        }
        Activation::Mish => map(s, x, |x| math::mish(s, x)),
        Activation::ThresholdedRelu { theta } => {
            let theta = s.splat(theta);
            // What is neither above nor equal to itself is NaN and stays.
            map(s, x, |x| s.select(s.lt(theta, x), x, s.select(s.eq(x, x), zero, x)));
        }
        // In the module above.
        _ => {}
    }
}

#[inline(always)]
fn backward_body<S: Simd>(s: S, activation: Activation, saved: &[f32], dy: &mut [f32]) {
    let (zero, one) = (s.splat(0.0), s.splat(1.0));
    match activation {
        Activation::Elu { alpha } => {
            let alpha = s.splat(alpha);
            zip(s, saved, dy, |y, dy| s.select(s.lt(zero, y), dy, s.mul(dy, s.add(y, alpha))));
        }
        Activation::Selu => zip(s, saved, dy, |y, dy| s.mul(dy, math::selu_slope(s, y))),
        Activation::Celu { alpha } => {
            let alpha = s.splat(alpha);
            zip(s, saved, dy, |y, dy| s.select(s.lt(zero, y), dy, s.mul(dy, s.add(s.div(y, alpha), one))));
        }
        Activation::GeluTanh => zip(s, saved, dy, |x, dy| s.mul(dy, math::gelu_tanh_derivative(s, x))),
        Activation::Softplus { beta } => {
            let beta = s.splat(beta);
            zip(s, saved, dy, |y, dy| s.mul(dy, math::softplus_slope(s, beta, y)));
        }
        Activation::Softsign => zip(s, saved, dy, |y, dy| {
            let rest = s.sub(one, math::abs(s, y));
            s.mul(dy, s.mul(rest, rest))
        }),
        Activation::HardSigmoid => {
            let slope = s.splat(1.0 / 6.0);
            zip(s, saved, dy, |y, dy| s.select(s.lt(zero, y), s.select(s.lt(y, one), s.mul(dy, slope), zero), zero));
        }
        Activation::HardSwish => zip(s, saved, dy, |x, dy| s.mul(dy, math::hard_swish_derivative(s, x))),
        Activation::Relu6 => {
            let six = s.splat(6.0);
            zip(s, saved, dy, |y, dy| s.select(s.lt(zero, y), s.select(s.lt(y, six), dy, zero), zero));
        }
        Activation::Mish => zip(s, saved, dy, |x, dy| s.mul(dy, math::mish_derivative(s, x))),
        Activation::ThresholdedRelu { .. } => zip(s, saved, dy, |y, dy| s.select(s.lt(zero, y), dy, zero)),
        _ => {}
    }
}

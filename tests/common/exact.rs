//! Activations in `f64`, by their formulae, with `libm`'s functions: value and derivative.
//!
//! Forms that lose no digits: nothing is subtracted that would cancel, but where the function itself crosses zero.

use evenkeel::Activation;

fn sigmoid(x: f64) -> f64 {
    let e = libm::exp(-x.abs());
    if x < 0.0 { e / (1.0 + e) } else { 1.0 / (1.0 + e) }
}

/// `x * y` where `y` tends to 0 faster than `x` grows.
fn vanishing(x: f64, y: f64) -> f64 {
    if y == 0.0 { 0.0 } else { x * y }
}

/// Value and derivative; at a kink the derivative that PyTorch gives.
pub(crate) fn activation(kind: Activation, x: f64) -> (f64, f64) {
    let one_if = |condition: bool| if condition { 1.0 } else { 0.0 };
    if x.is_nan() {
        return (x, x);
    }
    match kind {
        Activation::Relu => (x.max(0.0), one_if(x > 0.0)),
        Activation::LeakyRelu { slope } => {
            let factor = if x > 0.0 { 1.0 } else { f64::from(slope) };
            (factor * x, factor)
        }
        Activation::Sigmoid => (sigmoid(x), sigmoid(x) * sigmoid(-x)),
        Activation::Tanh => (libm::tanh(x), 4.0 * sigmoid(2.0 * x) * sigmoid(-2.0 * x)),
        Activation::Gelu => {
            let below = 0.5 * libm::erfc(-x * core::f64::consts::FRAC_1_SQRT_2);
            let density = libm::exp(-0.5 * x * x) / libm::sqrt(core::f64::consts::TAU);
            (vanishing(x, below), below + vanishing(x, density))
        }
        Activation::Silu => {
            let y = sigmoid(x);
            (vanishing(x, y), y + vanishing(x, y * sigmoid(-x)))
        }
        Activation::Elu { alpha } if x <= 0.0 => (f64::from(alpha) * libm::expm1(x), f64::from(alpha) * libm::exp(x)),
        Activation::Celu { alpha } if x <= 0.0 => {
            let alpha = f64::from(alpha);
            (alpha * libm::expm1(x / alpha), libm::exp(x / alpha))
        }
        Activation::Elu { .. } | Activation::Celu { .. } => (x, 1.0),
        Activation::Selu => {
            const SCALE: f64 = 1.050_700_987_355_480_5;
            const ALPHA: f64 = 1.673_263_242_354_377_2;
            if x > 0.0 { (SCALE * x, SCALE) } else { (SCALE * ALPHA * libm::expm1(x), SCALE * ALPHA * libm::exp(x)) }
        }
        Activation::GeluTanh => {
            let c = 2.0 * libm::sqrt(2.0 / core::f64::consts::PI);
            // Beyond, all is 0 or 1; powers would overflow.
            let t = x.clamp(-1e3, 1e3);
            let y = sigmoid(c * t * (1.0 + 0.044715 * t * t));
            let slope = c * (1.0 + 3.0 * 0.044715 * t * t);
            (vanishing(x, y), y + t * slope * y * sigmoid(-c * t * (1.0 + 0.044715 * t * t)))
        }
        Activation::Softplus { beta } => {
            let beta = f64::from(beta);
            (x.max(0.0) + libm::log1p(libm::exp(-(beta * x).abs())) / beta, sigmoid(beta * x))
        }
        Activation::Softsign => {
            let t = x.abs().min(1e30);
            ((t / (1.0 + t)).copysign(x), 1.0 / ((1.0 + t) * (1.0 + t)))
        }
        Activation::HardSigmoid => ((x.clamp(-3.0, 3.0) + 3.0) / 6.0, one_if(x > -3.0 && x < 3.0) / 6.0),
        Activation::HardSwish => {
            let slope = if x >= 3.0 { 1.0 } else { x / 3.0 + 0.5 };
            (x.max(-3.0) * ((x.clamp(-3.0, 3.0) + 3.0) / 6.0), if x <= -3.0 { 0.0 } else { slope })
        }
        Activation::Relu6 => (x.clamp(0.0, 6.0), one_if(x > 0.0 && x < 6.0)),
        Activation::Mish => {
            let e = libm::exp(-x.abs());
            let (upper, lower) =
                if x < 0.0 { (e * (e + 2.0), e * (e + 2.0) + 2.0) } else { (1.0 + 2.0 * e, 1.0 + 2.0 * e * (1.0 + e)) };
            // σ(x) (1 - T²), with 1 - T² = 4 (1 + e)² / lower², times e² for a positive x.
            let power = if x < 0.0 { e } else { e * e };
            let rest = 4.0 * power * (1.0 + e) / (lower * lower);
            (vanishing(x, upper / lower), upper / lower + vanishing(x, rest))
        }
        Activation::ThresholdedRelu { theta } => {
            let passes = x > f64::from(theta);
            (if passes { x } else { 0.0 }, one_if(passes))
        }
        _ => unreachable!("an activation without a formula"),
    }
}

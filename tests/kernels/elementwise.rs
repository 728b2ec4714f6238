//! Activations and their gradients.

use crate::common::values::{Rng, Values, sizes};
use crate::common::{Group, Tally, groups, rounds};
use evenkeel::Level;
use evenkeel::kernels::activation;
use evenkeel::layer::Activation;
use evenkeel::split::Serial;

pub(crate) const ALL: [Activation; 22] = [
    Activation::Relu,
    Activation::LeakyRelu { slope: 0.01 },
    Activation::LeakyRelu { slope: 2.0 },
    Activation::Sigmoid,
    Activation::Tanh,
    Activation::Gelu,
    Activation::Silu,
    Activation::Elu { alpha: 1.0 },
    Activation::Elu { alpha: 0.3 },
    Activation::Selu,
    Activation::Celu { alpha: 1.0 },
    Activation::Celu { alpha: 2.5 },
    Activation::GeluTanh,
    Activation::Softplus { beta: 1.0 },
    Activation::Softplus { beta: 0.7 },
    Activation::Softsign,
    Activation::HardSigmoid,
    Activation::HardSwish,
    Activation::Relu6,
    Activation::Mish,
    Activation::ThresholdedRelu { theta: 0.0 },
    Activation::ThresholdedRelu { theta: 0.6 },
];

/// One length, of which whole groups are computed and a rest stays as it was.
pub(crate) fn check(
    tallies: &mut [Tally; 2],
    groups: &[Group],
    rng: &mut Rng,
    (kind, len): (Activation, usize),
    values: Values,
) {
    let whole = len / 16 * 16;
    let scale = rng.pick(&[1.0, 10.0]);
    let x: Vec<f32> = values.vec(rng, len).into_iter().map(|x| x * scale).collect();
    let dy = values.vec(rng, len);
    let size = || format!("{kind:?}, {values:?} values, {len} long");
    for (reference, levels) in groups {
        let mut y = x.clone();
        y[..whole].iter_mut().for_each(|x| *x = reference.activation(kind, *x));
        let saved = if kind.keeps_input() { &x } else { &y };
        let mut dx = dy.clone();
        for (dx, saved) in dx[..whole].iter_mut().zip(saved) {
            *dx = reference.activation_backward(kind, *saved, *dx);
        }
        for level in levels {
            let mut found = x.clone();
            activation::forward(*level, &Serial, kind, &mut found);
            tallies[0].compare(*level, size, &found, &y);
            let mut found = dy.clone();
            activation::backward(*level, &Serial, kind, saved, &mut found).expect("the lengths are right");
            tallies[1].compare(*level, size, &found, &dx);
        }
    }
}

pub(crate) fn tallies() -> [Tally; 2] {
    ["activations", "activation gradients"].map(Tally::new)
}

#[test]
fn covering() {
    let (groups, rng, mut tallies) = (groups(), &mut Rng::new(41), tallies());
    for _ in 0..rounds(2) {
        for size in sizes().chain([0]) {
            for kind in ALL {
                // Rests of every length on small sizes, whole groups on large ones.
                let len = if size < 67 { size } else { 16 * size };
                let values = rng.pick(&[Values::Plain, Values::Hard, Values::NonFinite]);
                check(&mut tallies, &groups, rng, (kind, len), values);
            }
        }
    }
    tallies.into_iter().for_each(Tally::finish);
}

/// NaN goes through every activation; infinities give the limits.
#[test]
fn not_a_number() {
    for level in Level::available() {
        for kind in ALL {
            let mut x = [f32::NAN; 16];
            x[1] = f32::INFINITY;
            x[2] = f32::NEG_INFINITY;
            activation::forward(level, &Serial, kind, &mut x);
            assert!(x[0].is_nan() && x[3..].iter().all(|x| x.is_nan()), "{level}: {kind:?} of NaN: {x:?}");
            assert!(!x[1].is_nan() && !x[2].is_nan(), "{level}: {kind:?} of infinity: {x:?}");
        }
    }
}

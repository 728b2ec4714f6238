//! Augmentation of a batch: mixup and noise on the inputs, in training only.
//!
//! Pure functions of seed and step, as dropout is: a batch in parts, a run resumed and any number of threads get the same
//! numbers. Both change the inputs before the first layer sees them.

use crate::quantile;
use crate::rng::{Purpose, Stream, shuffle};

/// What the first row of a pair has in mixup (Zhang et al. 2018): one draw from Beta(`alpha`, `alpha`) for the whole batch,
/// rounded to `f32`.
///
/// `a / (a + b)` of two gamma numbers by Marsaglia and Tsang 2000, their logarithms where `alpha` is below 1, so that a small
/// one gives shares near 0 and 1 and not 0 / 0. In `f64` through `libm`.
#[must_use]
pub fn mixup_share(alpha: f32, seed: u64, step: u64) -> f32 {
    let stream = Stream::new(seed, Purpose::Mixup, 0, step as u32);
    let [a, b] = [0, 1].map(|which| log_gamma_number(f64::from(alpha), stream, which << 32));
    (1.0 / (1.0 + libm::exp(b - a))) as f32
}

/// The logarithm of a gamma-distributed number of shape `alpha`; takes elements from `first` on.
fn log_gamma_number(alpha: f64, stream: Stream, first: u64) -> f64 {
    let unit = |element: u64| (f64::from(stream.word(first + element)) + 0.5) / 4_294_967_296.0;
    // Gamma(alpha) is Gamma(alpha + 1) times a uniform number to the power of 1 / alpha.
    let (shape, rest) = if alpha < 1.0 { (alpha + 1.0, libm::log(unit(0)) / alpha) } else { (alpha, 0.0) };
    let d = shape - 1.0 / 3.0;
    let c = 1.0 / libm::sqrt(9.0 * d);
    // At most one attempt in 20 is rejected: 64 in a row do not happen.
    let accepted = (0..64).find_map(|attempt| {
        let x = quantile::normal(unit(1 + 2 * attempt));
        let v = libm::pow(1.0 + c * x, 3.0);
        let sound = v > 0.0 && libm::log(unit(2 + 2 * attempt)) < 0.5 * x * x + d - d * v + d * libm::log(v);
        sound.then_some(v)
    });
    libm::log(d * accepted.unwrap_or(1.0)) + rest
}

/// With which row of the batch each row is mixed: writes a permutation of the rows.
pub fn mixup_partners(seed: u64, step: u64, partners: &mut [u32]) {
    for (row, partner) in (0..).zip(&mut *partners) {
        *partner = row;
    }
    shuffle(Stream::new(seed, Purpose::Mixup, 1, step as u32), partners);
}

/// `share` of `x` and the rest of `other`, in `x`: two products and a sum, each rounded.
pub fn mix(share: f32, x: &mut [f32], other: &[f32]) {
    let rest = 1.0 - share;
    for (x, other) in x.iter_mut().zip(other) {
        *x = share * *x + rest * *other;
    }
}

/// Adds Gaussian noise of the given deviation to the inputs of a batch, row after row; `first` is the number of the first
/// value in the whole batch.
///
/// This is an augmentation of the data, set on the trainer and gone with the training: it comes before the first layer, after
/// standardisation, and is no part of the network. A noise layer stands anywhere in a network and is stored with it.
/// Value `i` of the batch has the quantile of its word, computed in `f64` and rounded once.
pub fn jitter(deviation: f32, seed: u64, step: u64, first: u64, x: &mut [f32]) {
    let stream = Stream::new(seed, Purpose::Jitter, 0, step as u32);
    let deviation = f64::from(deviation);
    for (element, x) in (first..).zip(x) {
        let p = (f64::from(stream.word(element)) + 0.5) / 4_294_967_296.0;
        *x = (f64::from(*x) + deviation * quantile::normal(p)) as f32;
    }
}

//! Losses that are a mean over the outputs of a row: each output has a target of its own.
//!
//! A loss says what one output costs and how steeply ([`Term`]); the kernel around it is written once. Orders of sums are
//! those of squared error (numeric contract, 5 and 6).

use crate::kernels::math::{abs, exp, log, log1p_exp_neg, log1p_unit, neg, sigmoid, softplus, tanh};
use crate::kernels::softmax::{fold_sum, groups_of_row, groups_of_row_mut, masked};
use crate::simd::{Group, LANES, Simd, level::kernel};

/// The loss of an output.
pub(super) trait Term: Copy {
    /// Whether an output is right or wrong: it is right on its target's side, above 0 for a target above 1/2.
    const HITS: bool = false;
    /// The loss of outputs `z` with targets `t`, and its derivative by `z`.
    fn of<S: Simd>(self, s: S, z: S::F32, t: S::F32) -> (S::F32, S::F32);
}

kernel! {
    pub(super) fn per_output<L: Term>(
        term: L, cols: usize, batch: usize, outputs: &[f32], values: &[f32], delta: &mut [f32], losses: &mut [f32],
    ) = per_output_body;
}

#[inline(always)]
fn per_output_body<S: Simd, L: Term>(
    s: S,
    term: L,
    cols: usize,
    batch: usize,
    outputs: &[f32],
    values: &[f32],
    delta: &mut [f32],
    losses: &mut [f32],
) {
    let rows = losses.len() / 2;
    let share = s.splat(1.0 / (batch as f32 * cols as f32));
    let (outputs, delta) = (outputs.as_chunks::<LANES>().0, delta.as_chunks_mut::<LANES>().0);
    for (row, (values, losses)) in values.chunks_exact(cols).zip(losses.chunks_exact_mut(2)).enumerate() {
        let mut sum = s.splat(0.0);
        let mut hits = 0.0;
        let groups = groups_of_row(outputs, rows, row).zip(groups_of_row_mut(delta, rows, row));
        for (g, ((output, delta), values)) in groups.zip(values.chunks(LANES)).enumerate() {
            let mut target: Group = [0.0; LANES];
            target[..values.len()].copy_from_slice(values);
            let (value, slope) = term.of(s, s.load(output), s.load(&target));
            if L::HITS {
                hits += output.iter().zip(values).filter(|(z, t)| (**z > 0.0) == (**t > 0.5)).count() as f32;
            }
            sum = s.add(sum, masked(s, value, g, cols, 0.0));
            s.store(masked(s, s.mul(slope, share), g, cols, 0.0), delta);
        }
        losses[0] = fold_sum(s, sum) / cols as f32;
        losses[1] = hits / cols as f32;
    }
}

/// `a` where `x` is positive, `b` where it is negative, 0 at 0 and for NaN.
#[inline(always)]
fn by_sign<S: Simd>(s: S, x: S::F32, a: S::F32, b: S::F32) -> S::F32 {
    let zero = s.splat(0.0);
    s.select(s.lt(zero, x), a, s.select(s.lt(x, zero), b, zero))
}

/// `x`, cut to ±`limit`.
#[inline(always)]
fn cut<S: Simd>(s: S, x: S::F32, limit: S::F32) -> S::F32 {
    s.max(s.min(x, limit), neg(s, limit))
}

/// `|d|`, with `d = z - t`.
#[derive(Clone, Copy)]
pub(super) struct Absolute;

impl Term for Absolute {
    #[inline(always)]
    fn of<S: Simd>(self, s: S, z: S::F32, t: S::F32) -> (S::F32, S::F32) {
        let d = s.sub(z, t);
        (abs(s, d), by_sign(s, d, s.splat(1.0), s.splat(-1.0)))
    }
}

/// `d² / 2` up to `delta`, a line beyond.
#[derive(Clone, Copy)]
pub(super) struct Huber {
    pub(super) delta: f32,
}

impl Term for Huber {
    #[inline(always)]
    fn of<S: Simd>(self, s: S, z: S::F32, t: S::F32) -> (S::F32, S::F32) {
        let (d, delta, half) = (s.sub(z, t), s.splat(self.delta), s.splat(0.5));
        let size = abs(s, d);
        let line = s.mul(delta, s.sub(size, s.mul(half, delta)));
        let value = s.select(s.lt(size, delta), s.mul(s.mul(half, d), d), line);
        (value, cut(s, d, delta))
    }
}

/// `d² / (2 beta)` up to `beta`, a line of slope 1 beyond.
#[derive(Clone, Copy)]
pub(super) struct SmoothL1 {
    pub(super) beta: f32,
}

impl Term for SmoothL1 {
    #[inline(always)]
    fn of<S: Simd>(self, s: S, z: S::F32, t: S::F32) -> (S::F32, S::F32) {
        let (d, beta, half) = (s.sub(z, t), s.splat(self.beta), s.splat(0.5));
        let (size, ratio) = (abs(s, d), s.div(d, beta));
        let value = s.select(s.lt(size, beta), s.mul(s.mul(half, d), ratio), s.sub(size, s.mul(half, beta)));
        (value, cut(s, ratio, s.splat(1.0)))
    }
}

/// `log cosh d = |d| + log(1 + e^(-2 |d|)) - log 2`; below 1/4, where those would cancel, the first terms of its series.
#[derive(Clone, Copy)]
pub(super) struct LogCosh;

impl Term for LogCosh {
    #[inline(always)]
    fn of<S: Simd>(self, s: S, z: S::F32, t: S::F32) -> (S::F32, S::F32) {
        /// Of `log cosh d = d²/2 - d⁴/12 + d⁶/45 - 17 d⁸/2520 + …`; the next term is below 1e-7 of the sum.
        const SERIES: [f32; 4] = [0.5, -1.0 / 12.0, 1.0 / 45.0, -17.0 / 2520.0];
        let d = s.sub(z, t);
        let (size, square) = (abs(s, d), s.mul(d, d));
        let mut series = s.splat(SERIES[3]);
        for c in SERIES[..3].iter().rev() {
            series = s.mul_add(series, square, s.splat(*c));
        }
        let rest = log1p_unit(s, exp(s, s.mul(size, s.splat(-2.0))));
        let large = s.add(s.sub(size, s.splat(core::f32::consts::LN_2)), rest);
        (s.select(s.lt(size, s.splat(0.25)), s.mul(series, square), large), tanh(s, d))
    }
}

/// Keras' `epsilon`: what its losses do not divide by less than, nor take logarithms below.
const KERAS_EPSILON: f32 = 1e-7;

/// `100 |d| / max(|t|, 1e-7)`
#[derive(Clone, Copy)]
pub(super) struct Percentage;

impl Term for Percentage {
    #[inline(always)]
    fn of<S: Simd>(self, s: S, z: S::F32, t: S::F32) -> (S::F32, S::F32) {
        let (d, percent) = (s.sub(z, t), s.splat(100.0));
        let size = s.max(abs(s, t), s.splat(KERAS_EPSILON));
        let slope = s.div(percent, size);
        (s.mul(percent, s.div(abs(s, d), size)), by_sign(s, d, slope, neg(s, slope)))
    }
}

/// `log(1 + x)` for `x` of 0 or more, and `1 + x`. What is lost of `x` in that sum comes back over the slope of the logarithm.
#[inline(always)]
fn log1p<S: Simd>(s: S, x: S::F32) -> (S::F32, S::F32) {
    let one = s.splat(1.0);
    let sum = s.add(x, one);
    let lost = s.sub(x, s.sub(sum, one));
    (s.add(log(s, sum), s.div(lost, sum)), sum)
}

/// `(log(1 + z) - log(1 + t))²`, `z` and `t` being at least 1e-7.
#[derive(Clone, Copy)]
pub(super) struct SquaredLogarithms;

impl Term for SquaredLogarithms {
    #[inline(always)]
    fn of<S: Simd>(self, s: S, z: S::F32, t: S::F32) -> (S::F32, S::F32) {
        let least = s.splat(KERAS_EPSILON);
        let ((own, sum), (other, _)) = (log1p(s, s.max(z, least)), log1p(s, s.max(t, least)));
        let d = s.sub(own, other);
        let slope = s.div(s.add(d, d), sum);
        (s.mul(d, d), s.select(s.lt(least, z), slope, s.splat(0.0)))
    }
}

/// `max(tau (t - z), (tau - 1) (t - z))`
#[derive(Clone, Copy)]
pub(super) struct Quantile {
    pub(super) tau: f32,
}

impl Term for Quantile {
    #[inline(always)]
    fn of<S: Simd>(self, s: S, z: S::F32, t: S::F32) -> (S::F32, S::F32) {
        let (d, below, above) = (s.sub(t, z), s.splat(self.tau), s.splat(self.tau - 1.0));
        (s.max(s.mul(below, d), s.mul(above, d)), by_sign(s, d, neg(s, below), neg(s, above)))
    }
}

/// `t log t - t + log(2 π t) / 2` for counts above 1: Stirling's `log t!`, which PyTorch adds if it is asked for.
#[inline(always)]
fn stirling<S: Simd>(s: S, t: S::F32) -> S::F32 {
    let root = s.mul(s.splat(0.5), log(s, s.mul(s.splat(core::f32::consts::TAU), t)));
    let value = s.add(s.sub(s.mul(t, log(s, t)), t), root);
    s.select(s.lt(s.splat(1.0), t), value, s.splat(0.0))
}

/// `e^z - t z`: the output is the logarithm of the rate.
#[derive(Clone, Copy)]
pub(super) struct Poisson<const FULL: bool>;

impl<const FULL: bool> Term for Poisson<FULL> {
    #[inline(always)]
    fn of<S: Simd>(self, s: S, z: S::F32, t: S::F32) -> (S::F32, S::F32) {
        let rate = exp(s, z);
        let value = s.sub(rate, s.mul(t, z));
        (if FULL { s.add(value, stirling(s, t)) } else { value }, s.sub(rate, t))
    }
}

/// `z - t log(z + eps)`: the output is the rate.
#[derive(Clone, Copy)]
pub(super) struct PoissonRate<const FULL: bool> {
    pub(super) eps: f32,
}

impl<const FULL: bool> Term for PoissonRate<FULL> {
    #[inline(always)]
    fn of<S: Simd>(self, s: S, z: S::F32, t: S::F32) -> (S::F32, S::F32) {
        let rate = s.add(z, s.splat(self.eps));
        let value = s.sub(z, s.mul(t, log(s, rate)));
        (if FULL { s.add(value, stirling(s, t)) } else { value }, s.sub(s.splat(1.0), s.div(t, rate)))
    }
}

/// `max(1 - y z, 0)`, or its square; `y` is 1 for a target of 1, else -1.
#[derive(Clone, Copy)]
pub(super) struct Hinge<const SQUARED: bool>;

impl<const SQUARED: bool> Term for Hinge<SQUARED> {
    const HITS: bool = true;
    #[inline(always)]
    fn of<S: Simd>(self, s: S, z: S::F32, t: S::F32) -> (S::F32, S::F32) {
        let (zero, one) = (s.splat(0.0), s.splat(1.0));
        let y = s.select(s.lt(zero, t), one, s.splat(-1.0));
        // `margin` first: a NaN must stay one.
        let margin = s.sub(one, s.mul(y, z));
        let value = s.max(margin, zero);
        if SQUARED {
            (s.mul(value, value), s.mul(s.mul(s.splat(-2.0), value), y))
        } else {
            (value, s.select(s.lt(zero, margin), neg(s, y), zero))
        }
    }
}

/// `log(1 + e^(-y z))`; `y` is 1 for a target of 1, else -1.
#[derive(Clone, Copy)]
pub(super) struct SoftMargin;

impl Term for SoftMargin {
    const HITS: bool = true;
    #[inline(always)]
    fn of<S: Simd>(self, s: S, z: S::F32, t: S::F32) -> (S::F32, S::F32) {
        let positive = s.lt(s.splat(0.0), t);
        // How far the output is on the wrong side.
        let over = s.select(positive, neg(s, z), z);
        let share = sigmoid(s, over);
        (softplus(s, over), s.select(positive, neg(s, share), share))
    }
}

/// Binary cross-entropy of targets moved towards 1/2.
#[derive(Clone, Copy)]
pub(super) struct SmoothedBinary {
    pub(super) smoothing: f32,
}

impl Term for SmoothedBinary {
    const HITS: bool = true;
    #[inline(always)]
    fn of<S: Simd>(self, s: S, z: S::F32, t: S::F32) -> (S::F32, S::F32) {
        let t = s.add(s.mul(t, s.splat(1.0 - self.smoothing)), s.splat(0.5 * self.smoothing));
        binary(s, z, t)
    }
}

/// Binary cross-entropy of a logit, and its derivative.
#[inline(always)]
fn binary<S: Simd>(s: S, z: S::F32, t: S::F32) -> (S::F32, S::F32) {
    let term = s.add(s.sub(s.max(z, s.splat(0.0)), s.mul(z, t)), log1p_exp_neg(s, z));
    (term, s.sub(sigmoid(s, z), t))
}

/// Binary cross-entropy times `q^gamma`, where `q = t (1 - p) + (1 - t) p` says how far off the probability `p` is.
#[derive(Clone, Copy)]
pub(super) struct BinaryFocal {
    pub(super) gamma: f32,
    pub(super) alpha: Option<f32>,
}

impl Term for BinaryFocal {
    const HITS: bool = true;
    #[inline(always)]
    fn of<S: Simd>(self, s: S, z: S::F32, t: S::F32) -> (S::F32, S::F32) {
        let (one, gamma) = (s.splat(1.0), s.splat(self.gamma));
        let (entropy, slope) = binary(s, z, t);
        // 1 - p from the other side: 1 minus the rounded p has no digits left of it.
        let (p, rest, other) = (sigmoid(s, z), sigmoid(s, neg(s, z)), s.sub(one, t));
        let q = s.max(s.add(s.mul(t, rest), s.mul(other, p)), s.splat(f32::MIN_POSITIVE));
        let power = exp(s, s.mul(gamma, log(s, q)));
        // d(q^gamma)/dz = gamma q^(gamma - 1) (1 - 2 t) p (1 - p), in which p (1 - p) / q is at most 1.
        let ratio = s.mul(s.div(s.mul(p, rest), q), s.sub(other, t));
        let slope = s.mul(power, s.mul_add(s.mul(gamma, ratio), entropy, slope));
        let value = s.mul(power, entropy);
        match self.alpha {
            None => (value, slope),
            Some(alpha) => {
                let weight = s.add(s.mul(s.splat(alpha), t), s.mul(s.splat(1.0 - alpha), other));
                (s.mul(weight, value), s.mul(weight, slope))
            }
        }
    }
}

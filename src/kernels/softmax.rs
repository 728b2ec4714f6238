//! Sums across a row: softmax and log-softmax, forward and backward.
//!
//! A row's sum uses sixteen virtual lanes, element `i` in lane `i mod 16`, folded in one fixed tree (numeric
//! contract, 4). Rows are padded to whole groups; the padding is ignored on reading and zero on writing.

use super::math;
use crate::Level;
use crate::error::{Error, check_len};
use crate::layer::{MAX_WIDTH, padded};
use crate::simd::{Group, LANES, Simd, level::kernel};

/// Sixteen lanes added up: halves onto each other until one is left.
#[inline(always)]
pub(crate) fn fold_sum<S: Simd>(s: S, v: S::F32) -> f32 {
    fold(s, v, |a, b| a + b)
}

/// The largest of sixteen lanes; NaN if lane 0 of some comparison is (a NaN elsewhere is found by the sum).
#[inline(always)]
fn fold_max<S: Simd>(s: S, v: S::F32) -> f32 {
    fold(s, v, |a, b| if a < b { b } else { a })
}

#[inline(always)]
fn fold<S: Simd>(s: S, v: S::F32, f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    s.store(v, &mut lanes);
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] = f(lanes[lane], lanes[lane + half]);
        }
        half /= 2;
    }
    lanes[0]
}

/// The first `cols - 16 * g` lanes of a group (all of them, before the last), `fill` in the others.
#[inline(always)]
pub(crate) fn masked<S: Simd>(s: S, v: S::F32, g: usize, cols: usize, fill: f32) -> S::F32 {
    const LANE: [u32; LANES] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
    if (g + 1) * LANES <= cols {
        return v;
    }
    let valid = s.lt_u32(s.load_u32(&LANE), s.splat_u32((cols - g * LANES) as u32));
    s.select(valid, v, s.splat(fill))
}

/// Largest value and log-sum-exp parts of one row: `(max, Σ exp(x - max))`.
#[inline(always)]
pub(crate) fn max_and_sum<S: Simd>(s: S, row: &[Group], cols: usize) -> (f32, f32) {
    let mut max = s.splat(f32::NEG_INFINITY);
    for (g, group) in row.iter().enumerate() {
        max = s.max(max, masked(s, s.load(group), g, cols, f32::NEG_INFINITY));
    }
    let max = fold_max(s, max);
    let mut sum = s.splat(0.0);
    for (g, group) in row.iter().enumerate() {
        let term = math::exp(s, s.sub(s.load(group), s.splat(max)));
        sum = s.add(sum, masked(s, term, g, cols, 0.0));
    }
    (max, fold_sum(s, sum))
}

fn check(cols: usize, x: &[f32]) -> Result<(), Error> {
    if cols > MAX_WIDTH {
        // Rounding it up could overflow.
        return Err(Error::Length { what: "softmax rows", expected: cols, found: x.len() });
    }
    if cols == 0 || !x.len().is_multiple_of(padded(cols)) {
        return Err(Error::Length { what: "softmax rows", expected: padded(cols), found: x.len() });
    }
    Ok(())
}

/// Softmax of each row of `cols` values (rows padded to groups), in place.
///
/// # Errors
/// [`Error::Length`] if `x` is not whole rows.
pub fn softmax(level: Level, cols: usize, x: &mut [f32]) -> Result<(), Error> {
    check(cols, x)?;
    softmax_rows(level, cols, x);
    Ok(())
}

kernel! { fn softmax_rows(cols: usize, x: &mut [f32]) = softmax_body; }

#[inline(always)]
fn softmax_body<S: Simd>(s: S, cols: usize, x: &mut [f32]) {
    for row in x.chunks_exact_mut(padded(cols)) {
        let row = row.as_chunks_mut::<LANES>().0;
        let (max, sum) = max_and_sum(s, row, cols);
        let (max, sum) = (s.splat(max), s.splat(sum));
        for (g, group) in row.iter_mut().enumerate() {
            let value = s.div(math::exp(s, s.sub(s.load(group), max)), sum);
            s.store(masked(s, value, g, cols, 0.0), group);
        }
    }
}

/// Log-softmax of each row of `cols` values, in place.
///
/// # Errors
/// [`Error::Length`] if `x` is not whole rows.
pub fn log_softmax(level: Level, cols: usize, x: &mut [f32]) -> Result<(), Error> {
    check(cols, x)?;
    log_softmax_rows(level, cols, x);
    Ok(())
}

kernel! { fn log_softmax_rows(cols: usize, x: &mut [f32]) = log_softmax_body; }

#[inline(always)]
fn log_softmax_body<S: Simd>(s: S, cols: usize, x: &mut [f32]) {
    for row in x.chunks_exact_mut(padded(cols)) {
        let row = row.as_chunks_mut::<LANES>().0;
        let (max, sum) = max_and_sum(s, row, cols);
        let (max, log_sum) = (s.splat(max), math::log(s, s.splat(sum)));
        for (g, group) in row.iter_mut().enumerate() {
            // Two subtractions: `max + log_sum` would round away a small log.
            let value = s.sub(s.sub(s.load(group), max), log_sum);
            s.store(masked(s, value, g, cols, 0.0), group);
        }
    }
}

/// Gradient through softmax, in place of `dy`: `dx_i = y_i (dy_i - Σ y_j dy_j)`; `y` is the layer's output.
///
/// # Errors
/// [`Error::Length`] if a slice is not whole rows, or both differ.
pub fn softmax_backward(level: Level, cols: usize, y: &[f32], dy: &mut [f32]) -> Result<(), Error> {
    check(cols, y)?;
    check_len("softmax output gradient", y.len(), dy.len())?;
    softmax_backward_rows(level, cols, y, dy);
    Ok(())
}

kernel! { fn softmax_backward_rows(cols: usize, y: &[f32], dy: &mut [f32]) = softmax_backward_body; }

#[inline(always)]
fn softmax_backward_body<S: Simd>(s: S, cols: usize, y: &[f32], dy: &mut [f32]) {
    let width = padded(cols);
    for (y, dy) in y.chunks_exact(width).zip(dy.chunks_exact_mut(width)) {
        let (y, dy) = (y.as_chunks::<LANES>().0, dy.as_chunks_mut::<LANES>().0);
        let mut sum = s.splat(0.0);
        for (g, (y, dy)) in y.iter().zip(dy.iter()).enumerate() {
            let [y, dy] = [y, dy].map(|group| masked(s, s.load(group), g, cols, 0.0));
            sum = s.mul_add(y, dy, sum);
        }
        let sum = s.splat(fold_sum(s, sum));
        for (g, (y, dy)) in y.iter().zip(dy.iter_mut()).enumerate() {
            let value = s.mul(s.load(y), s.sub(s.load(dy), sum));
            s.store(masked(s, value, g, cols, 0.0), dy);
        }
    }
}

/// Gradient through log-softmax, in place of `dy`: `dx_i = dy_i - exp(y_i) Σ dy_j`; `y` is the layer's output.
///
/// # Errors
/// [`Error::Length`] if a slice is not whole rows, or both differ.
pub fn log_softmax_backward(level: Level, cols: usize, y: &[f32], dy: &mut [f32]) -> Result<(), Error> {
    check(cols, y)?;
    check_len("log-softmax output gradient", y.len(), dy.len())?;
    log_softmax_backward_rows(level, cols, y, dy);
    Ok(())
}

kernel! { fn log_softmax_backward_rows(cols: usize, y: &[f32], dy: &mut [f32]) = log_softmax_backward_body; }

#[inline(always)]
fn log_softmax_backward_body<S: Simd>(s: S, cols: usize, y: &[f32], dy: &mut [f32]) {
    let width = padded(cols);
    for (y, dy) in y.chunks_exact(width).zip(dy.chunks_exact_mut(width)) {
        let (y, dy) = (y.as_chunks::<LANES>().0, dy.as_chunks_mut::<LANES>().0);
        let mut sum = s.splat(0.0);
        for (g, dy) in dy.iter().enumerate() {
            sum = s.add(sum, masked(s, s.load(dy), g, cols, 0.0));
        }
        let sum = s.splat(fold_sum(s, sum));
        for (g, (y, dy)) in y.iter().zip(dy.iter_mut()).enumerate() {
            let value = s.sub(s.load(dy), s.mul(math::exp(s, s.load(y)), sum));
            s.store(masked(s, value, g, cols, 0.0), dy);
        }
    }
}

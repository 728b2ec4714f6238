//! Sums across a row: softmax and log-softmax, forward and backward.
//!
//! A row's sum uses sixteen virtual lanes, element `i` in lane `i mod 16`, folded in one fixed tree (numeric
//! contract, 4). Batches lie in groups of sixteen columns, so a row's groups are `rows` groups apart; the lanes beyond
//! the last column are ignored on reading and zero on writing.

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
pub(crate) fn max_and_sum<'x, S: Simd>(s: S, row: impl Iterator<Item = &'x Group> + Clone, cols: usize) -> (f32, f32) {
    let mut max = s.splat(f32::NEG_INFINITY);
    for (g, group) in row.clone().enumerate() {
        max = s.max(max, masked(s, s.load(group), g, cols, f32::NEG_INFINITY));
    }
    let max = fold_max(s, max);
    let mut sum = s.splat(0.0);
    for (g, group) in row.enumerate() {
        let term = math::exp(s, s.sub(s.load(group), s.splat(max)));
        sum = s.add(sum, masked(s, term, g, cols, 0.0));
    }
    (max, fold_sum(s, sum))
}

/// The groups of row `row` of a batch.
#[inline(always)]
pub(crate) fn groups_of_row(x: &[Group], rows: usize, row: usize) -> impl Iterator<Item = &Group> + Clone {
    // Cut off, not skipped: a skip inside the steps was too much for the compiler to inline, a call for each group.
    x.get(row..).unwrap_or_default().iter().step_by(rows)
}

/// [`groups_of_row`], to write.
#[inline(always)]
pub(crate) fn groups_of_row_mut(x: &mut [Group], rows: usize, row: usize) -> impl Iterator<Item = &mut Group> {
    x.get_mut(row..).unwrap_or_default().iter_mut().step_by(rows)
}

fn check(cols: usize, rows: usize, x: &[f32]) -> Result<(), Error> {
    if cols == 0 || cols > MAX_WIDTH {
        // Rounding it up could overflow.
        return Err(Error::Length { what: "softmax columns", expected: cols.clamp(1, MAX_WIDTH), found: cols });
    }
    check_len("softmax rows", rows.saturating_mul(padded(cols)), x.len())
}

/// Softmax of each of `rows` rows of `cols` values, in groups, in place.
///
/// # Errors
/// [`Error::Length`] if `x` does not hold so many rows.
pub fn softmax(level: Level, cols: usize, rows: usize, x: &mut [f32]) -> Result<(), Error> {
    check(cols, rows, x)?;
    softmax_rows(level, cols, rows, x);
    Ok(())
}

kernel! { fn softmax_rows(cols: usize, rows: usize, x: &mut [f32]) = softmax_body; }

#[inline(always)]
fn softmax_body<S: Simd>(s: S, cols: usize, rows: usize, x: &mut [f32]) {
    let (x, _) = x.as_chunks_mut::<LANES>();
    for row in 0..rows {
        let (max, sum) = max_and_sum(s, groups_of_row(x, rows, row), cols);
        let (max, sum) = (s.splat(max), s.splat(sum));
        for (g, group) in groups_of_row_mut(x, rows, row).enumerate() {
            let value = s.div(math::exp(s, s.sub(s.load(group), max)), sum);
            s.store(masked(s, value, g, cols, 0.0), group);
        }
    }
}

/// Log-softmax of each of `rows` rows of `cols` values, in groups, in place.
///
/// # Errors
/// [`Error::Length`] if `x` does not hold so many rows.
pub fn log_softmax(level: Level, cols: usize, rows: usize, x: &mut [f32]) -> Result<(), Error> {
    check(cols, rows, x)?;
    log_softmax_rows(level, cols, rows, x);
    Ok(())
}

kernel! { fn log_softmax_rows(cols: usize, rows: usize, x: &mut [f32]) = log_softmax_body; }

#[inline(always)]
fn log_softmax_body<S: Simd>(s: S, cols: usize, rows: usize, x: &mut [f32]) {
    let (x, _) = x.as_chunks_mut::<LANES>();
    for row in 0..rows {
        let (max, sum) = max_and_sum(s, groups_of_row(x, rows, row), cols);
        let (max, log_sum) = (s.splat(max), math::log(s, s.splat(sum)));
        for (g, group) in groups_of_row_mut(x, rows, row).enumerate() {
            // Two subtractions: `max + log_sum` would round away a small log.
            let value = s.sub(s.sub(s.load(group), max), log_sum);
            s.store(masked(s, value, g, cols, 0.0), group);
        }
    }
}

/// Gradient through softmax, in place of `dy`, in groups: `dx_i = y_i (dy_i - Σ y_j dy_j)`; `y` is the layer's output.
///
/// # Errors
/// [`Error::Length`] if a slice does not hold so many rows.
pub fn softmax_backward(level: Level, cols: usize, rows: usize, y: &[f32], dy: &mut [f32]) -> Result<(), Error> {
    check(cols, rows, y)?;
    check_len("softmax output gradient", y.len(), dy.len())?;
    softmax_backward_rows(level, cols, rows, y, dy);
    Ok(())
}

kernel! {
    fn softmax_backward_rows(cols: usize, rows: usize, y: &[f32], dy: &mut [f32]) = softmax_backward_body
}

#[inline(always)]
fn softmax_backward_body<S: Simd>(s: S, cols: usize, rows: usize, y: &[f32], dy: &mut [f32]) {
    let (y, dy) = (y.as_chunks::<LANES>().0, dy.as_chunks_mut::<LANES>().0);
    for row in 0..rows {
        let mut sum = s.splat(0.0);
        for (g, (y, dy)) in groups_of_row(y, rows, row).zip(groups_of_row(dy, rows, row)).enumerate() {
            let [y, dy] = [y, dy].map(|group| masked(s, s.load(group), g, cols, 0.0));
            sum = s.mul_add(y, dy, sum);
        }
        let sum = s.splat(fold_sum(s, sum));
        for (g, (y, dy)) in groups_of_row(y, rows, row).zip(groups_of_row_mut(dy, rows, row)).enumerate() {
            let value = s.mul(s.load(y), s.sub(s.load(dy), sum));
            s.store(masked(s, value, g, cols, 0.0), dy);
        }
    }
}

/// Gradient through log-softmax, in place of `dy`, in groups: `dx_i = dy_i - exp(y_i) Σ dy_j`; `y` is the layer's output.
///
/// # Errors
/// [`Error::Length`] if a slice does not hold so many rows.
pub fn log_softmax_backward(level: Level, cols: usize, rows: usize, y: &[f32], dy: &mut [f32]) -> Result<(), Error> {
    check(cols, rows, y)?;
    check_len("log-softmax output gradient", y.len(), dy.len())?;
    log_softmax_backward_rows(level, cols, rows, y, dy);
    Ok(())
}

kernel! {
    fn log_softmax_backward_rows(cols: usize, rows: usize, y: &[f32], dy: &mut [f32]) = log_softmax_backward_body
}

#[inline(always)]
fn log_softmax_backward_body<S: Simd>(s: S, cols: usize, rows: usize, y: &[f32], dy: &mut [f32]) {
    let (y, dy) = (y.as_chunks::<LANES>().0, dy.as_chunks_mut::<LANES>().0);
    for row in 0..rows {
        let mut sum = s.splat(0.0);
        for (g, dy) in groups_of_row(dy, rows, row).enumerate() {
            sum = s.add(sum, masked(s, s.load(dy), g, cols, 0.0));
        }
        let sum = s.splat(fold_sum(s, sum));
        for (g, (y, dy)) in groups_of_row(y, rows, row).zip(groups_of_row_mut(dy, rows, row)).enumerate() {
            let value = s.sub(s.load(dy), s.mul(math::exp(s, s.load(y)), sum));
            s.store(masked(s, value, g, cols, 0.0), dy);
        }
    }
}

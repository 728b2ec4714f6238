//! PReLU: `x` if positive, else `slope * x`, with slopes that are trained (He 2015): one for all features, or one for each.
//!
//! Values lie in groups of sixteen features ([`groups`](super::groups)). Slopes are one for each feature, padded, or a group of
//! sixteen whose first is that of all features.
//!
//! The gradient of a feature's slope is a sum over rows, of `fma(dy, min(x, 0), acc)` (numeric contract, 3); that of a slope
//! for all is the sum of these across the features, as in contract 5. Where a batch comes in parts the sums over rows go on
//! (`accumulate`), and the sum across is taken anew after each part.

use super::accumulate::continued;
use super::softmax::fold_sum;
use crate::Level;
use crate::error::{Error, check_len};
use crate::layer::padded;
use crate::simd::{Group, LANES, Simd, level::kernel};

/// Applies PReLU to `rows` rows of `features` values in groups, in place.
///
/// # Errors
/// [`Error::Length`] if `x` or `slopes` has another length; nothing has been written then.
pub fn forward(
    level: Level,
    features: usize,
    rows: usize,
    shared: bool,
    slopes: &[f32],
    x: &mut [f32],
) -> Result<(), Error> {
    check_len("values", rows.saturating_mul(padded(features)), x.len())?;
    check_len("slopes", slopes_len(features, shared), slopes.len())?;
    some_forward(level, rows, shared, slopes, x);
    Ok(())
}

/// Turns the gradient `dy` of the output into that of the input `x`, and adds up that of the slopes: for each feature, to
/// `sums`, which are zero before the first of the batch's rows; `before` rows have come before these. [`across`] makes
/// that of a shared slope.
///
/// # Errors
/// [`Error::Length`] if a slice has another length; nothing has been written then.
pub fn backward(
    level: Level,
    features: usize,
    (before, rows): (usize, usize),
    shared: bool,
    slopes: &[f32],
    x: &[f32],
    dy: &mut [f32],
    sums: &mut [f32],
) -> Result<(), Error> {
    check_len("values", rows.saturating_mul(padded(features)), x.len())?;
    check_len("gradients", x.len(), dy.len())?;
    check_len("slopes", slopes_len(features, shared), slopes.len())?;
    check_len("sums", padded(features), sums.len())?;
    some_sums(level, before, rows, x, dy, sums);
    some_backward(level, rows, shared, slopes, x, dy);
    Ok(())
}

/// Length of the slopes of `features` features, padding included.
#[must_use]
pub const fn slopes_len(features: usize, shared: bool) -> usize {
    if shared { LANES } else { padded(features) }
}

kernel! {
    /// [`forward`] of some groups, with their slopes.
    pub(crate) fn some_forward(rows: usize, shared: bool, slopes: &[f32], x: &mut [f32]) = forward_body
}
kernel! {
    /// Gradient of the input of some groups, with their slopes.
    pub(crate) fn some_backward(rows: usize, shared: bool, slopes: &[f32], x: &[f32], dy: &mut [f32]) = backward_body
}
kernel! {
    /// Adds to the sums over rows of as many groups as `sums` has.
    pub(crate) fn some_sums(before: usize, rows: usize, x: &[f32], dy: &[f32], sums: &mut [f32]) = sums_body
}
kernel! {
    /// The sum of all features' sums: sixteen lanes, folded.
    pub fn across(sums: &[f32]) -> f32 = across_body
}

/// The slopes of group `group`.
#[inline(always)]
fn slope<S: Simd>(s: S, shared: bool, slopes: &[Group], group: usize) -> S::F32 {
    if shared {
        s.splat(slopes.first().map_or(0.0, |first| first[0]))
    } else {
        slopes.get(group).map_or(s.splat(0.0), |slopes| s.load(slopes))
    }
}

#[inline(always)]
pub(crate) fn forward_body<S: Simd>(s: S, rows: usize, shared: bool, slopes: &[f32], x: &mut [f32]) {
    let (slopes, zero) = (slopes.as_chunks::<LANES>().0, s.splat(0.0));
    for (group, x) in x.as_chunks_mut::<LANES>().0.chunks_exact_mut(rows.max(1)).enumerate() {
        let slope = slope(s, shared, slopes, group);
        for x in x {
            let value = s.load(x);
            s.store(s.select(s.lt(zero, value), value, s.mul(slope, value)), x);
        }
    }
}

#[inline(always)]
fn backward_body<S: Simd>(s: S, rows: usize, shared: bool, slopes: &[f32], x: &[f32], dy: &mut [f32]) {
    let (slopes, zero) = (slopes.as_chunks::<LANES>().0, s.splat(0.0));
    let groups = x.as_chunks::<LANES>().0.chunks_exact(rows.max(1));
    for (group, (x, dy)) in groups.zip(dy.as_chunks_mut::<LANES>().0.chunks_exact_mut(rows.max(1))).enumerate() {
        let slope = slope(s, shared, slopes, group);
        for (x, dy) in x.iter().zip(dy) {
            let above = s.load(dy);
            s.store(s.select(s.lt(zero, s.load(x)), above, s.mul(slope, above)), dy);
        }
    }
}

#[inline(always)]
fn sums_body<S: Simd>(s: S, before: usize, rows: usize, x: &[f32], dy: &[f32], sums: &mut [f32]) {
    let zero = s.splat(0.0);
    let groups = x.as_chunks::<LANES>().0.chunks_exact(rows.max(1));
    let groups = groups.zip(dy.as_chunks::<LANES>().0.chunks_exact(rows.max(1)));
    for (sum, (x, dy)) in sums.as_chunks_mut::<LANES>().0.iter_mut().zip(groups) {
        let [total] = continued(s, before, [s.load(sum)], x.len().min(dy.len()), |row, [acc]| {
            [s.mul_add(s.load(&dy[row]), s.min(s.load(&x[row]), zero), acc)]
        });
        s.store(total, sum);
    }
}

#[inline(always)]
fn across_body<S: Simd>(s: S, sums: &[f32]) -> f32 {
    let mut acc = s.splat(0.0);
    for sums in sums.as_chunks::<LANES>().0 {
        acc = s.add(acc, s.load(sums));
    }
    fold_sum(s, acc)
}

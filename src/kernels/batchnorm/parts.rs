//! Batch norm where a batch comes in parts, and where its statistics are frozen.
//!
//! Statistics of a batch in parts take two passes over all parts, as those of a whole batch take two over its rows: the
//! sums stand in the cache itself meanwhile. The chains go on from part to part ([`accumulate`](super::super::accumulate)),
//! so the bits are those of the whole batch.

use super::super::accumulate::continued;
use super::gradient::{check, input_gradient};
use super::{Cache, PARTS, from_sums, groups_per_task};
use crate::Level;
use crate::error::Error;
use crate::simd::{LANES, Simd, level::kernel};
use crate::split::Split;

/// Where sums stand in a cache until they are all there: `Σx` where the shift will be, `Σd` and `Σd²` where mean and
/// variance will be.
const SHIFT: usize = 0;
const MEAN: usize = 3;
const VAR: usize = 4;

kernel! {
    /// First pass: adds `Σx` of a part with `before` rows before it. The cache is zero before the first part.
    pub(crate) fn some_sums(before: usize, rows: usize, x: &[f32], cache: &mut [f32]) = sums_body
}

#[inline(always)]
fn sums_body<S: Simd>(s: S, before: usize, rows: usize, x: &[f32], cache: &mut [f32]) {
    let (x, _) = x.as_chunks::<LANES>();
    for (cache, x) in cache.chunks_exact_mut(PARTS * LANES).zip(x.chunks_exact(rows)) {
        let (parts, _) = cache.as_chunks_mut::<LANES>();
        let [sum] = continued(s, before, [s.load(&parts[SHIFT])], rows, |r, [acc]| [s.add(acc, s.load(&x[r]))]);
        s.store(sum, &mut parts[SHIFT]);
    }
}

kernel! {
    /// Between the passes, after `total` rows: the sums become the shift.
    pub(crate) fn finish_mean(total: usize, cache: &mut [f32]) = finish_mean_body
}

#[inline(always)]
fn finish_mean_body<S: Simd>(s: S, total: usize, cache: &mut [f32]) {
    let count = s.splat(total as f32);
    for cache in cache.chunks_exact_mut(PARTS * LANES) {
        let (parts, _) = cache.as_chunks_mut::<LANES>();
        s.store(s.div(s.load(&parts[SHIFT]), count), &mut parts[SHIFT]);
        (parts[MEAN], parts[VAR]) = ([0.0; LANES], [0.0; LANES]);
    }
}

kernel! {
    /// Second pass: adds `Σd` and `Σd²`, with `d` the distance from the shift.
    pub(crate) fn some_spreads(before: usize, rows: usize, x: &[f32], cache: &mut [f32]) = spreads_body
}

#[inline(always)]
fn spreads_body<S: Simd>(s: S, before: usize, rows: usize, x: &[f32], cache: &mut [f32]) {
    let (x, _) = x.as_chunks::<LANES>();
    for (cache, x) in cache.chunks_exact_mut(PARTS * LANES).zip(x.chunks_exact(rows)) {
        let (parts, _) = cache.as_chunks_mut::<LANES>();
        let shift = s.load(&parts[SHIFT]);
        let sums = [s.load(&parts[MEAN]), s.load(&parts[VAR])];
        let [sum, squares] = continued(s, before, sums, rows, |r, [sum, squares]| {
            let d = s.sub(s.load(&x[r]), shift);
            [s.add(sum, d), s.add(squares, s.mul(d, d))]
        });
        s.store(sum, &mut parts[MEAN]);
        s.store(squares, &mut parts[VAR]);
    }
}

kernel! {
    /// After the second pass over `total` rows: the sums become statistics, as [`statistics`](super::statistics) has them.
    pub(crate) fn finish_spread(total: usize, eps: f32, cache: &mut [f32]) = finish_spread_body
}

#[inline(always)]
fn finish_spread_body<S: Simd>(s: S, total: usize, eps: f32, cache: &mut [f32]) {
    let count = s.splat(total as f32);
    for cache in cache.chunks_exact_mut(PARTS * LANES) {
        let (parts, _) = cache.as_chunks_mut::<LANES>();
        let (shift, sums) = (s.load(&parts[SHIFT]), [s.load(&parts[MEAN]), s.load(&parts[VAR])]);
        for (part, value) in parts.iter_mut().zip(from_sums(s, count, eps, shift, sums)) {
            s.store(value, part);
        }
    }
}

kernel! {
    /// Adds `Σ dy x̂` and `Σ dy` of a part to `dgamma` and `dbeta`.
    pub(crate) fn some_gradient_sums(
        before: usize, rows: usize, cache: &[f32], x: &[f32], dy: &[f32], dgamma: &mut [f32], dbeta: &mut [f32],
    ) = gradient_sums_body
}

#[inline(always)]
fn gradient_sums_body<S: Simd>(
    s: S,
    before: usize,
    rows: usize,
    cache: &[f32],
    x: &[f32],
    dy: &[f32],
    dgamma: &mut [f32],
    dbeta: &mut [f32],
) {
    let [x, dy] = [x, dy].map(|rows_of| rows_of.as_chunks::<LANES>().0.chunks_exact(rows));
    let sums = dgamma.as_chunks_mut::<LANES>().0.iter_mut().zip(dbeta.as_chunks_mut::<LANES>().0);
    for (((dgamma, dbeta), cache), (x, dy)) in sums.zip(cache.chunks_exact(PARTS * LANES)).zip(x.zip(dy)) {
        let cache = Cache::read(cache);
        let (shift, inv_std, offset) = (s.load(&cache.shift), s.load(&cache.inv_std), s.load(&cache.offset));
        let totals = [s.load(dgamma), s.load(dbeta)];
        let [gamma, beta] = continued(s, before, totals, rows, |r, [gamma, beta]| {
            let dy = s.load(&dy[r]);
            let normal = s.mul_add(s.sub(s.load(&x[r]), shift), inv_std, offset);
            [s.mul_add(dy, normal, gamma), s.add(beta, dy)]
        });
        s.store(gamma, dgamma);
        s.store(beta, dbeta);
    }
}

kernel! {
    /// `γ r (dy - dβ/n - x̂ dγ/n)` in place of `dy` for a part's rows, `n` the `total` rows that the sums are over.
    pub(crate) fn some_input_gradients(
        total: usize, rows: usize, cache: &[f32], gamma: &[f32], dgamma: &[f32], dbeta: &[f32], x: &[f32], dy: &mut [f32],
    ) = input_gradients_body
}

#[inline(always)]
fn input_gradients_body<S: Simd>(
    s: S,
    total: usize,
    rows: usize,
    cache: &[f32],
    gamma: &[f32],
    dgamma: &[f32],
    dbeta: &[f32],
    x: &[f32],
    dy: &mut [f32],
) {
    let count = s.splat(total as f32);
    let [gamma, dgamma, dbeta] = [gamma, dgamma, dbeta].map(|vector| vector.as_chunks::<LANES>().0);
    let blocks = x.as_chunks::<LANES>().0.chunks_exact(rows).zip(dy.as_chunks_mut::<LANES>().0.chunks_exact_mut(rows));
    for (group, ((x, dy), cache)) in blocks.zip(cache.chunks_exact(PARTS * LANES)).enumerate() {
        let cache = Cache::read(cache);
        let parts = [s.load(&cache.shift), s.load(&cache.inv_std), s.load(&cache.offset)];
        let sums = [s.load(&dgamma[group]), s.load(&dbeta[group])];
        input_gradient(s, count, s.load(&gamma[group]), parts, sums, x, dy);
    }
}

kernel! {
    /// `γ r dy` in place of `dy`: nothing of the output reaches the input through frozen statistics.
    pub(crate) fn some_frozen_gradients(
        rows: usize, cache: &[f32], gamma: &[f32], dy: &mut [f32],
    ) = frozen_gradients_body
}

#[inline(always)]
fn frozen_gradients_body<S: Simd>(s: S, rows: usize, cache: &[f32], gamma: &[f32], dy: &mut [f32]) {
    let (gamma, _) = gamma.as_chunks::<LANES>();
    let blocks = dy.as_chunks_mut::<LANES>().0.chunks_exact_mut(rows);
    for ((dy, cache), gamma) in blocks.zip(cache.chunks_exact(PARTS * LANES)).zip(gamma) {
        let scale = s.mul(s.load(gamma), s.load(&Cache::read(cache).inv_std));
        for dy in dy {
            s.store(s.mul(scale, s.load(dy)), dy);
        }
    }
}

/// Gradients through a batch norm whose statistics are frozen, as [`freeze`](super::freeze) wrote them to `cache`:
/// `dγ = Σ dy x̂`, `dβ = Σ dy`, and in place of `dy` `dx = γ r dy`. One row will do.
///
/// Shapes as for [`backward`](super::backward).
///
/// # Errors
/// [`Error::Length`] for a wrong length.
pub fn backward_frozen(
    level: Level,
    split: &impl Split,
    rows: usize,
    cache: &[f32],
    gamma: &[f32],
    x: &[f32],
    dy: &mut [f32],
    dgamma: &mut [f32],
    dbeta: &mut [f32],
) -> Result<(), Error> {
    let width = check(rows, [cache, gamma, x, dy, dgamma, dbeta])?;
    dgamma.fill(0.0);
    dbeta.fill(0.0);
    if rows == 0 {
        return Ok(());
    }
    let chunk = groups_per_task(width, rows, split.workers()) * LANES;
    split.run([dy, dgamma, dbeta], [chunk * rows, chunk, chunk], &|task, [dy, dgamma, dbeta]| {
        let (first, wide) = (task * chunk, dgamma.len());
        let cache = &cache[first * PARTS..][..wide * PARTS];
        some_gradient_sums(level, 0, rows, cache, &x[first * rows..], dy, dgamma, dbeta);
        some_frozen_gradients(level, rows, cache, &gamma[first..][..wide], dy);
    });
    Ok(())
}

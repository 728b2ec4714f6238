//! The gradients of a batch norm: scale, shift and input.

use super::super::BLOCK;
use super::{Cache, PARTS, check_groups, groups_per_task, in_fours};
use crate::Level;
use crate::error::{Error, check_len};
use crate::simd::{Group, LANES, Simd, level::kernel};
use crate::split::Split;

/// Gradients through a batch norm in training mode: `dγ = Σ dy x̂`, `dβ = Σ dy`, and in place of `dy`
/// `dx = γ r (dy - dβ/n - x̂ dγ/n)`, exact with ε.
///
/// `x` is the layer's input and `dy` the gradient of its output, both in groups; `cache` is what [`statistics`](super::statistics) wrote
/// for `x`.
///
/// # Errors
/// [`Error::Length`] for a wrong length.
pub fn backward(
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
    if rows == 0 {
        dgamma.fill(0.0);
        dbeta.fill(0.0);
        return Ok(());
    }
    let groups = groups_per_task(width, rows, split.workers());
    let chunk = groups * LANES;
    split.run([dy, dgamma, dbeta], [chunk * rows, chunk, chunk], &|task, [dy, dgamma, dbeta]| {
        let (first, wide) = (task * chunk, dgamma.len());
        let cache = &cache[first * PARTS..][..wide * PARTS];
        some_gradients(level, rows, cache, &gamma[first..][..wide], &x[first * rows..], dy, dgamma, dbeta);
    });
    Ok(())
}

/// The width, if cache, scale, input, gradient of the output, and gradients of scale and shift are as long as it asks for.
pub(super) fn check(rows: usize, [cache, gamma, x, dy, dgamma, dbeta]: [&[f32]; 6]) -> Result<usize, Error> {
    let width = check_groups(rows, cache, x)?;
    check_len("gamma", width, gamma.len())?;
    check_len("batch-norm output gradient", x.len(), dy.len())?;
    check_len("gradient of gamma", width, dgamma.len())?;
    check_len("gradient of beta", width, dbeta.len())?;
    Ok(width)
}

kernel! {
    /// [`backward`] of whole groups; arguments have been checked.
    pub(crate) fn some_gradients(
        rows: usize, cache: &[f32], gamma: &[f32], x: &[f32], dy: &mut [f32], dgamma: &mut [f32], dbeta: &mut [f32],
    ) = gradients_body
}

#[inline(always)]
fn gradients_body<S: Simd>(
    s: S,
    rows: usize,
    cache: &[f32],
    gamma: &[f32],
    x: &[f32],
    dy: &mut [f32],
    dgamma: &mut [f32],
    dbeta: &mut [f32],
) {
    let (x, dy) = (x.as_chunks::<LANES>().0, dy.as_chunks_mut::<LANES>().0);
    let (caches, _) = cache.as_chunks::<{ PARTS * LANES }>();
    let (gamma, dgamma, dbeta) =
        (gamma.as_chunks::<LANES>().0, dgamma.as_chunks_mut::<LANES>().0, dbeta.as_chunks_mut::<LANES>().0);
    let four = in_fours::<S>(caches.len());
    for group in (0..four).step_by(4) {
        gradients_of::<S, 4>(s, rows, group, caches, gamma, x, dy, dgamma, dbeta);
    }
    for group in four..caches.len() {
        gradients_of::<S, 1>(s, rows, group, caches, gamma, x, dy, dgamma, dbeta);
    }
}

/// `G` groups from number `group` on.
#[inline(always)]
fn gradients_of<S: Simd, const G: usize>(
    s: S,
    rows: usize,
    group: usize,
    caches: &[[f32; PARTS * LANES]],
    gamma: &[Group],
    x: &[Group],
    dy: &mut [Group],
    dgamma: &mut [Group],
    dbeta: &mut [Group],
) {
    let (caches, gamma) = (&caches[group..][..G], &gamma[group..][..G]);
    let (dgamma, dbeta) = (&mut dgamma[group..][..G], &mut dbeta[group..][..G]);
    let (x, dy) = (&x[group * rows..][..G * rows], &mut dy[group * rows..][..G * rows]);
    let caches: [Cache; G] = core::array::from_fn(|g| Cache::read(&caches[g]));
    let parts: [[S::F32; 3]; G] =
        core::array::from_fn(|g| [s.load(&caches[g].shift), s.load(&caches[g].inv_std), s.load(&caches[g].offset)]);
    let normal = |g: usize, x: &Group| {
        let [shift, inv_std, offset] = parts[g];
        s.mul_add(s.sub(s.load(x), shift), inv_std, offset)
    };
    let mut total = [[s.splat(0.0); 2]; G];
    for start in (0..rows).step_by(BLOCK) {
        let len = BLOCK.min(rows - start);
        let mut acc = [[s.splat(0.0); 2]; G];
        let x: [&[Group]; G] = core::array::from_fn(|g| &x[g * rows + start..][..len]);
        let dy: [&[Group]; G] = core::array::from_fn(|g| &dy[g * rows + start..][..len]);
        for r in 0..len {
            for g in 0..G {
                let dy = s.load(&dy[g][r]);
                acc[g] = [s.mul_add(dy, normal(g, &x[g][r]), acc[g][0]), s.add(acc[g][1], dy)];
            }
        }
        for g in 0..G {
            for n in 0..2 {
                total[g][n] = if start == 0 { acc[g][n] } else { s.add(total[g][n], acc[g][n]) };
            }
        }
    }
    let count = s.splat(rows as f32);
    for g in 0..G {
        let [sum_gamma, sum_beta] = total[g];
        s.store(sum_gamma, &mut dgamma[g]);
        s.store(sum_beta, &mut dbeta[g]);
        let dy = &mut dy[g * rows..][..rows];
        input_gradient(s, count, s.load(&gamma[g]), parts[g], [sum_gamma, sum_beta], &x[g * rows..], dy);
    }
}

/// `γ r (dy - dβ/n - x̂ dγ/n)` in place of `dy`, for a group with shift, factor and offset `parts` and the sums `[dγ, dβ]`
/// over all `count` rows of the batch.
#[inline(always)]
pub(super) fn input_gradient<S: Simd>(
    s: S,
    count: S::F32,
    gamma: S::F32,
    [shift, inv_std, offset]: [S::F32; 3],
    [sum_gamma, sum_beta]: [S::F32; 2],
    x: &[Group],
    dy: &mut [Group],
) {
    let scale = s.mul(gamma, inv_std);
    let mean_dy = s.div(sum_beta, count);
    let slope = s.sub(s.splat(0.0), s.div(sum_gamma, count));
    for (x, dy) in x.iter().zip(dy) {
        let normal = s.mul_add(s.sub(s.load(x), shift), inv_std, offset);
        let centred = s.mul_add(normal, slope, s.sub(s.load(dy), mean_dy));
        s.store(s.mul(scale, centred), dy);
    }
}

//! Batch renormalisation: the correction of a batch's statistics towards the running ones.
//!
//! `y = γ (r x̂ + d) + β` is a batch norm with `γ' = γ r` and `β' = fma(γ, d, β)`, as no gradient flows through `r` and `d`. So
//! the kernels of batch norm do the work, and only the gradient of the scale is put together at the end:
//! `dγ = fma(r, dγ', d dβ)`.

use super::{Cache, PARTS, check_width};
use crate::Level;
use crate::error::{Error, check_len};
use crate::simd::{LANES, Simd, level::kernel};

/// Values of the corrections for `width` features (a multiple of sixteen): `r`, `d`, `γ'` and `β'`, each `width` long.
#[must_use]
pub const fn corrections_len(width: usize) -> usize {
    4_usize.saturating_mul(width)
}

/// Fills `corrections` from the statistics of the batch in `cache` and the running ones; `limits` are `r_max` and `d_max`.
///
/// `r = max(min(√(v_B + ε) / √(v + ε), r_max), 1 / r_max)`, `d = max(min((μ_B - μ) / √(v + ε), d_max), -d_max)`.
///
/// # Errors
/// [`Error::Length`] for a wrong length.
pub fn renorm(
    level: Level,
    cache: &[f32],
    eps: f32,
    limits: (f32, f32),
    running: (&[f32], &[f32]),
    scale_shift: (&[f32], &[f32]),
    corrections: &mut [f32],
) -> Result<(), Error> {
    let width = cache.len() / PARTS;
    check_width(width)?;
    check_len("batch-norm cache", PARTS * width, cache.len())?;
    for (what, vector) in [
        ("running mean", running.0),
        ("running variance", running.1),
        ("gamma", scale_shift.0),
        ("beta", scale_shift.1),
    ] {
        check_len(what, width, vector.len())?;
    }
    check_len("corrections", corrections_len(width), corrections.len())?;
    correct(level, cache, eps, limits, running, scale_shift, corrections);
    Ok(())
}

kernel! {
    fn correct(
        cache: &[f32], eps: f32, limits: (f32, f32), running: (&[f32], &[f32]), scale_shift: (&[f32], &[f32]),
        corrections: &mut [f32],
    ) = correct_body
}

#[inline(always)]
fn correct_body<S: Simd>(
    s: S,
    cache: &[f32],
    eps: f32,
    (r_max, d_max): (f32, f32),
    running: (&[f32], &[f32]),
    scale_shift: (&[f32], &[f32]),
    corrections: &mut [f32],
) {
    let width = corrections.len() / 4;
    let eps = s.splat(eps);
    let (most, least) = (s.splat(r_max), s.div(s.splat(1.0), s.splat(r_max)));
    let (right, left) = (s.splat(d_max), s.sub(s.splat(0.0), s.splat(d_max)));
    let [mean, var, gamma, beta] =
        [running.0, running.1, scale_shift.0, scale_shift.1].map(|vector| vector.as_chunks::<LANES>().0);
    let (r_out, rest) = corrections.split_at_mut(width);
    let (d_out, rest) = rest.split_at_mut(width);
    let (gamma_out, beta_out) = rest.split_at_mut(width);
    let [r_out, d_out, gamma_out, beta_out] =
        [r_out, d_out, gamma_out, beta_out].map(|vector| vector.as_chunks_mut::<LANES>().0);
    let inputs = mean.iter().zip(var).zip(gamma.iter().zip(beta)).zip(cache.chunks_exact(PARTS * LANES));
    let outputs = r_out.iter_mut().zip(d_out).zip(gamma_out.iter_mut().zip(beta_out));
    for ((((mean, var), (gamma, beta)), cache), ((r_out, d_out), (gamma_out, beta_out))) in inputs.zip(outputs) {
        let cache = Cache::read(cache);
        let deviation = s.sqrt(s.add(s.load(var), eps));
        let r = s.div(s.sqrt(s.add(s.load(&cache.var), eps)), deviation);
        let r = s.max(s.min(r, most), least);
        let d = s.div(s.sub(s.load(&cache.mean), s.load(mean)), deviation);
        let d = s.max(s.min(d, right), left);
        s.store(r, r_out);
        s.store(d, d_out);
        s.store(s.mul(s.load(gamma), r), gamma_out);
        s.store(s.mul_add(s.load(gamma), d, s.load(beta)), beta_out);
    }
}

kernel! {
    /// `dγ = fma(r, dγ', d dβ)` in place of `dγ'`, where [`backward`](super::backward) with `γ'` has left it.
    pub fn renorm_gamma(corrections: &[f32], dbeta: &[f32], dgamma: &mut [f32]) = gamma_body
}

#[inline(always)]
fn gamma_body<S: Simd>(s: S, corrections: &[f32], dbeta: &[f32], dgamma: &mut [f32]) {
    let width = corrections.len() / 4;
    let (r, rest) = corrections.split_at(width);
    let [r, d, dbeta] = [r, rest.get(..width).unwrap_or_default(), dbeta].map(|vector| vector.as_chunks::<LANES>().0);
    for ((r, d), (dbeta, dgamma)) in r.iter().zip(d).zip(dbeta.iter().zip(dgamma.as_chunks_mut::<LANES>().0)) {
        let shifted = s.mul(s.load(d), s.load(dbeta));
        s.store(s.mul_add(s.load(r), s.load(dgamma), shifted), dgamma);
    }
}

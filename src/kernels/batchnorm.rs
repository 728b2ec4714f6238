//! Batch normalisation: statistics of a batch, the normalised output, and the gradients.
//!
//! Per feature over `n` rows (Ioffe & Szegedy, arXiv 1502.03167, algorithm 1), `x̂ = (x - μ) / √(v + ε)` and
//! `y = γ x̂ + β`. What is done for precision: the mean is kept in two parts. A first pass gives `shift`, the plain
//! mean, which rounding may leave off by a few units in the last place of the *inputs*; a second pass sums
//! `d = x - shift` and `d²`, so that `v = Σd²/n - (Σd/n)²` subtracts something tiny, and
//! `x̂ = fma(x - shift, r, -r Σd/n)` costs no more than `(x - μ) r` would. A column with mean 1e6 and deviation 1
//! keeps all its digits; `E[x²] - E[x]²` would lose them all (`DESIGN.md` has the measurement).
//!
//! Sums over rows run in chains of 256 rows, chains added in order (numeric contract, 3). Groups of features are divided
//! among the workers: a group's rows are one block of memory, and no group needs another.

mod gradient;
mod parts;
mod renorm;

pub use gradient::backward;
pub(crate) use gradient::some_gradients;
pub use parts::backward_frozen;
pub(crate) use parts::{
    finish_mean, finish_spread, some_frozen_gradients, some_gradient_sums, some_input_gradients, some_spreads,
    some_sums,
};
pub use renorm::{corrections_len, renorm, renorm_gamma};

use super::BLOCK;
use crate::Level;
use crate::error::{Error, check_len};
use crate::simd::{Group, LANES, Simd, level::kernel};
use crate::split::Split;

/// What a training forward pass keeps for one group of sixteen features.
///
/// A layer's cache is a slice of [`cache_len`] values: these five groups for each sixteen features in turn.
#[derive(Clone, Copy)]
struct Cache {
    /// The first part of the mean.
    shift: Group,
    /// `1 / √(v + ε)`
    inv_std: Group,
    /// `-inv_std * (mean - shift)`
    offset: Group,
    /// Batch mean.
    mean: Group,
    /// Batch variance, biased.
    var: Group,
}

pub(super) const PARTS: usize = 5;

/// Values of a cache for `width` features (a multiple of sixteen).
#[must_use]
pub const fn cache_len(width: usize) -> usize {
    PARTS.saturating_mul(width)
}

impl Cache {
    fn read(groups: &[f32]) -> Self {
        let (parts, _) = groups.as_chunks::<LANES>();
        Self { shift: parts[0], inv_std: parts[1], offset: parts[2], mean: parts[3], var: parts[4] }
    }

    fn write(&self, groups: &mut [f32]) {
        let (parts, _) = groups.as_chunks_mut::<LANES>();
        [parts[0], parts[1], parts[2], parts[3], parts[4]] =
            [self.shift, self.inv_std, self.offset, self.mean, self.var];
    }
}

/// Checks `rows` rows in groups against a cache; returns the width.
fn check_groups(rows: usize, cache: &[f32], x: &[f32]) -> Result<usize, Error> {
    let width = cache.len() / PARTS;
    check_width(width)?;
    check_len("batch-norm cache", cache_len(width), cache.len())?;
    check_len("batch-norm rows", rows.saturating_mul(width), x.len())?;
    Ok(width)
}

fn check_width(width: usize) -> Result<(), Error> {
    if width == 0 || !width.is_multiple_of(LANES) {
        return Err(Error::Length { what: "batch-norm features", expected: LANES, found: width });
    }
    Ok(())
}

/// Groups of a task: all of them if the batch is small.
pub(crate) fn groups_per_task(width: usize, rows: usize, workers: usize) -> usize {
    /// Values worth handing to another thread: a microsecond or two.
    const WORTH: usize = 1 << 11;
    let tasks = (width.saturating_mul(rows) / WORTH).clamp(1, workers.max(1));
    (width / LANES).div_ceil(tasks)
}

/// Statistics of the batch `x`, in groups, written to `cache`.
///
/// # Errors
/// [`Error::BatchOfOne`] for fewer than two rows: their variance says nothing. [`Error::Length`] for a wrong length.
pub fn statistics(
    level: Level,
    split: &impl Split,
    rows: usize,
    eps: f32,
    x: &[f32],
    cache: &mut [f32],
) -> Result<(), Error> {
    let width = check_groups(rows, cache, x)?;
    if rows < 2 {
        return Err(Error::BatchOfOne);
    }
    let groups = groups_per_task(width, rows, split.workers());
    split.run([cache], [groups * LANES * PARTS], &|task, [cache]| {
        let x = &x[task * groups * LANES * rows..][..cache.len() / PARTS * rows];
        some_statistics(level, rows, eps, x, cache);
    });
    Ok(())
}

/// [`statistics`], then [`normalize`], of a few groups at a time: the rows come from memory once, where two calls read them twice
/// if they are more than the caches hold. The same bits as those two calls.
///
/// `x` and `y` are `rows` rows in groups, `gamma` and `beta` one value for each feature, `cache` [`cache_len`] values of that width.
///
/// # Errors
/// [`Error::BatchOfOne`] for fewer than two rows, [`Error::Length`] for a wrong length; nothing has been written then.
pub fn forward(
    level: Level,
    split: &impl Split,
    rows: usize,
    eps: f32,
    gamma: &[f32],
    beta: &[f32],
    x: &[f32],
    y: &mut [f32],
    cache: &mut [f32],
) -> Result<(), Error> {
    let width = check_groups(rows, cache, x)?;
    check_len("gamma", width, gamma.len())?;
    check_len("beta", width, beta.len())?;
    check_len("batch-norm output", x.len(), y.len())?;
    if rows < 2 {
        return Err(Error::BatchOfOne);
    }
    /// Features that are worked on side by side.
    const FEW: usize = 4 * LANES;
    let chunk = groups_per_task(width, rows, split.workers()) * LANES;
    split.run([y, cache], [chunk * rows, chunk * PARTS], &|task, [y, cache]| {
        let few = y.chunks_mut(FEW * rows).zip(cache.chunks_mut(FEW * PARTS));
        for ((y, cache), first) in few.zip((task * chunk..).step_by(FEW)) {
            let x = &x[first * rows..][..y.len()];
            let [gamma, beta] = [gamma, beta].map(|vector| &vector[first..][..y.len() / rows]);
            some_statistics(level, rows, eps, x, cache);
            some_normal(level, rows, cache, gamma, beta, x, y);
        }
    });
    Ok(())
}

kernel! {
    /// [`statistics`] of whole groups; arguments have been checked.
    pub(crate) fn some_statistics(rows: usize, eps: f32, x: &[f32], cache: &mut [f32]) = statistics_body
}

#[inline(always)]
fn statistics_body<S: Simd>(s: S, rows: usize, eps: f32, x: &[f32], cache: &mut [f32]) {
    let (x, _) = x.as_chunks::<LANES>();
    let mut blocks = x.chunks_exact(rows);
    let (caches, _) = cache.as_chunks_mut::<{ PARTS * LANES }>();
    let (four, single) = caches.split_at_mut(in_fours::<S>(caches.len()));
    for caches in four.as_chunks_mut::<4>().0 {
        let blocks = [0; 4].map(|_| blocks.next().unwrap_or_default());
        statistics_of(s, rows, eps, blocks, caches);
    }
    for cache in single {
        statistics_of(s, rows, eps, [blocks.next().unwrap_or_default()], core::array::from_mut(cache));
    }
}

/// How many of `groups` groups are worked on four side by side. A chain of additions waits for each, so that others must
/// keep the adders busy; where a vector is several registers it is as many chains, and those of four groups would not fit.
#[inline(always)]
const fn in_fours<S: Simd>(groups: usize) -> usize {
    if S::PIECES < 4 { groups / 4 * 4 } else { 0 }
}

#[inline(always)]
fn statistics_of<S: Simd, const G: usize>(
    s: S,
    rows: usize,
    eps: f32,
    x: [&[Group]; G],
    caches: &mut [[f32; PARTS * LANES]; G],
) {
    let count = s.splat(rows as f32);
    let sums = column_sums(s, rows, x, |_, x| [x]);
    let shift: [S::F32; G] = core::array::from_fn(|g| s.div(sums[g][0], count));
    let sums = column_sums(s, rows, x, |g, x| {
        let d = s.sub(x, shift[g]);
        [d, s.mul(d, d)]
    });
    for g in 0..G {
        let (parts, _) = caches[g].as_chunks_mut::<LANES>();
        // In the order of `Cache`.
        for (part, value) in parts.iter_mut().zip(from_sums(s, count, eps, shift[g], sums[g])) {
            s.store(value, part);
        }
    }
}

/// The cache's parts from `shift`, `Σd` and `Σd²`.
#[inline(always)]
pub(crate) fn from_sums<S: Simd>(s: S, count: S::F32, eps: f32, shift: S::F32, sums: [S::F32; 2]) -> [S::F32; PARTS] {
    let rest = s.div(sums[0], count);
    let square = s.div(sums[1], count);
    let var = s.sub(square, s.mul(rest, rest));
    // Squares of finite values may overflow, both of them: then the variance is infinite, not NaN.
    let var = s.select(s.lt(square, s.splat(f32::INFINITY)), var, square);
    // Rounding may leave a constant column a hair below zero. NaN stays NaN: `max` returns its first argument.
    let var = s.max(var, s.splat(0.0));
    let inv_std = s.div(s.splat(1.0), s.sqrt(s.add(var, s.splat(eps))));
    let offset = s.sub(s.splat(0.0), s.mul(inv_std, rest));
    [shift, inv_std, offset, s.add(shift, rest), var]
}

/// `Σ_r f(g, x[g][r])` for some groups side by side, in chains of 256 rows.
#[inline(always)]
fn column_sums<S: Simd, const G: usize, const N: usize>(
    s: S,
    rows: usize,
    x: [&[Group]; G],
    f: impl Fn(usize, S::F32) -> [S::F32; N],
) -> [[S::F32; N]; G] {
    let mut total = [[s.splat(0.0); N]; G];
    let x = x.map(|x| &x[..rows]);
    for start in (0..rows).step_by(BLOCK) {
        let len = BLOCK.min(rows - start);
        let x = x.map(|x| &x[start..][..len]);
        let mut acc = [[s.splat(0.0); N]; G];
        for r in 0..len {
            for g in 0..G {
                let terms = f(g, s.load(&x[g][r]));
                for n in 0..N {
                    acc[g][n] = s.add(acc[g][n], terms[n]);
                }
            }
        }
        for g in 0..G {
            for n in 0..N {
                total[g][n] = if start == 0 { acc[g][n] } else { s.add(total[g][n], acc[g][n]) };
            }
        }
    }
    total
}

/// `y = γ x̂ + β` with the statistics in `cache`; `x` and `y` in groups, `gamma` and `beta` as wide.
///
/// # Errors
/// [`Error::Length`] for a wrong length.
pub fn normalize(
    level: Level,
    split: &impl Split,
    rows: usize,
    cache: &[f32],
    gamma: &[f32],
    beta: &[f32],
    x: &[f32],
    y: &mut [f32],
) -> Result<(), Error> {
    let width = check_groups(rows, cache, x)?;
    check_len("gamma", width, gamma.len())?;
    check_len("beta", width, beta.len())?;
    check_len("batch-norm output", x.len(), y.len())?;
    if rows == 0 {
        return Ok(());
    }
    let groups = groups_per_task(width, rows, split.workers());
    split.run([y], [groups * LANES * rows], &|task, [y]| {
        let (first, wide) = (task * groups * LANES, y.len() / rows);
        let [gamma, beta] = [gamma, beta].map(|vector| &vector[first..][..wide]);
        some_normal(level, rows, &cache[first * PARTS..][..wide * PARTS], gamma, beta, &x[first * rows..], y);
    });
    Ok(())
}

kernel! {
    /// [`normalize`] of whole groups; arguments have been checked.
    pub(crate) fn some_normal(
        rows: usize, cache: &[f32], gamma: &[f32], beta: &[f32], x: &[f32], y: &mut [f32],
    ) = normalize_body
}

#[inline(always)]
fn normalize_body<S: Simd>(s: S, rows: usize, cache: &[f32], gamma: &[f32], beta: &[f32], x: &[f32], y: &mut [f32]) {
    let [gamma, beta] = [gamma, beta].map(|vector| vector.as_chunks::<LANES>().0);
    let (x, y) = (x.as_chunks::<LANES>().0, y.as_chunks_mut::<LANES>().0);
    let blocks = x.chunks_exact(rows).zip(y.chunks_exact_mut(rows));
    for (((x, y), cache), (gamma, beta)) in blocks.zip(cache.chunks_exact(PARTS * LANES)).zip(gamma.iter().zip(beta)) {
        let cache = Cache::read(cache);
        let (shift, inv_std, offset) = (s.load(&cache.shift), s.load(&cache.inv_std), s.load(&cache.offset));
        let (gamma, beta) = (s.load(gamma), s.load(beta));
        for (x, y) in x.iter().zip(y) {
            let normal = s.mul_add(s.sub(s.load(x), shift), inv_std, offset);
            s.store(s.mul_add(gamma, normal, beta), y);
        }
    }
}

/// Moves the running statistics towards those of the batch by `factor`: `run += factor * (new - run)`, written as
/// `(1 - factor) * run + factor * new`.
///
/// `unbiased` multiplies the batch variance by `n / (n - 1)` first (PyTorch's dialect; Keras' is without).
///
/// # Errors
/// [`Error::Length`] for a wrong length, [`Error::BatchOfOne`] for fewer than two rows.
pub fn update_running(
    cache: &[f32],
    rows: usize,
    factor: f32,
    unbiased: bool,
    mean: &mut [f32],
    var: &mut [f32],
) -> Result<(), Error> {
    let width = mean.len();
    check_width(width)?;
    check_len("batch-norm cache", cache_len(width), cache.len())?;
    check_len("running variance", width, var.len())?;
    if rows < 2 {
        return Err(Error::BatchOfOne);
    }
    let bessel = if unbiased { rows as f32 / (rows - 1) as f32 } else { 1.0 };
    let keep = 1.0 - factor;
    let groups = mean.as_chunks_mut::<LANES>().0.iter_mut().zip(var.as_chunks_mut::<LANES>().0);
    for ((mean, var), cache) in groups.zip(cache.chunks_exact(PARTS * LANES)) {
        let cache = Cache::read(cache);
        for lane in 0..LANES {
            mean[lane] = keep * mean[lane] + factor * cache.mean[lane];
            var[lane] = keep * var[lane] + factor * (cache.var[lane] * bessel);
        }
    }
    Ok(())
}

/// Fills `cache` from running statistics, so that [`normalize`] does what inference does.
///
/// # Errors
/// [`Error::Length`] for a wrong length.
pub fn freeze(level: Level, eps: f32, mean: &[f32], var: &[f32], cache: &mut [f32]) -> Result<(), Error> {
    let width = mean.len();
    check_width(width)?;
    check_len("running variance", width, var.len())?;
    check_len("batch-norm cache", cache_len(width), cache.len())?;
    freeze_groups(level, eps, mean, var, cache);
    Ok(())
}

kernel! { fn freeze_groups(eps: f32, mean: &[f32], var: &[f32], cache: &mut [f32]) = freeze_body; }

#[inline(always)]
fn freeze_body<S: Simd>(s: S, eps: f32, mean: &[f32], var: &[f32], cache: &mut [f32]) {
    let groups = mean.as_chunks::<LANES>().0.iter().zip(var.as_chunks::<LANES>().0);
    for ((mean, var), cache) in groups.zip(cache.chunks_exact_mut(PARTS * LANES)) {
        let inv_std = s.div(s.splat(1.0), s.sqrt(s.add(s.load(var), s.splat(eps))));
        let mut parts = Cache { shift: *mean, inv_std: [0.0; LANES], offset: [0.0; LANES], mean: *mean, var: *var };
        s.store(inv_std, &mut parts.inv_std);
        parts.write(cache);
    }
}

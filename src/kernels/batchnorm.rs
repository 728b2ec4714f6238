//! Batch normalisation: statistics of a batch, the normalised output, and the gradients.
//!
//! Per feature over `n` rows (Ioffe & Szegedy, arXiv 1502.03167, algorithm 1), `x̂ = (x - μ) / √(v + ε)` and
//! `y = γ x̂ + β`. What is done for precision: the mean is kept in two parts. A first pass gives `shift`, the plain
//! mean, which rounding may leave off by a few units in the last place of the *inputs*; a second pass sums
//! `d = x - shift` and `d²`, so that `v = Σd²/n - (Σd/n)²` subtracts something tiny, and
//! `x̂ = fma(x - shift, r, -r Σd/n)` costs no more than `(x - μ) r` would. A column with mean 1e6 and deviation 1
//! keeps all its digits; `E[x²] - E[x]²` would lose them all (`DESIGN.md` has the measurement).
//!
//! Sums over rows run in chains of 256 rows, chains added in order (numeric contract, 3). Features are divided among
//! workers for the sums, rows for what is elementwise.

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

const PARTS: usize = 5;

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

fn check_rows(width: usize, rows: &[f32]) -> Result<usize, Error> {
    if width == 0 || !width.is_multiple_of(LANES) || !rows.len().is_multiple_of(width) {
        return Err(Error::Length { what: "batch-norm rows", expected: width, found: rows.len() });
    }
    Ok(rows.len() / width)
}

/// Statistics of the batch `x` (rows of `width` values, a multiple of sixteen), written to `cache`.
///
/// # Errors
/// [`Error::BatchOfOne`] for fewer than two rows: their variance says nothing. [`Error::Length`] for a wrong length.
pub fn statistics(
    level: Level,
    split: &impl Split,
    width: usize,
    eps: f32,
    x: &[f32],
    cache: &mut [f32],
) -> Result<(), Error> {
    let rows = check_rows(width, x)?;
    check_len("batch-norm cache", cache_len(width), cache.len())?;
    if rows < 2 {
        return Err(Error::BatchOfOne);
    }
    let groups = groups_per_task(width, split.workers());
    split.run([cache], [groups * LANES * PARTS], &|task, [cache]| {
        statistics_of(level, x, width, task * groups, eps, cache);
    });
    Ok(())
}

/// Groups of features in a task: neighbours share cache lines' pages, so not fewer than four if there are enough.
fn groups_per_task(width: usize, workers: usize) -> usize {
    (width / LANES).div_ceil(workers.max(1)).clamp(1, 4)
}

kernel! { fn statistics_of(x: &[f32], width: usize, first: usize, eps: f32, cache: &mut [f32]) = statistics_body; }

#[inline(always)]
fn statistics_body<S: Simd>(s: S, x: &[f32], width: usize, first: usize, eps: f32, cache: &mut [f32]) {
    let count = s.splat((x.len() / width) as f32);
    for (g, cache) in cache.chunks_exact_mut(PARTS * LANES).enumerate() {
        let column = first + g;
        let [sum] = column_sums(s, x, width, column, |x| [x]);
        let shift = s.div(sum, count);
        let [sum, squares] = column_sums(s, x, width, column, |x| {
            let d = s.sub(x, shift);
            [d, s.mul(d, d)]
        });
        let rest = s.div(sum, count);
        let square = s.div(squares, count);
        let var = s.sub(square, s.mul(rest, rest));
        // Squares of finite values may overflow, both of them: then the variance is infinite, not NaN.
        let var = s.select(s.lt(square, s.splat(f32::INFINITY)), var, square);
        // Rounding may leave a constant column a hair below zero. NaN stays NaN: `max` returns its first argument.
        let var = s.max(var, s.splat(0.0));
        let inv_std = s.div(s.splat(1.0), s.sqrt(s.add(var, s.splat(eps))));
        let mut parts = Cache {
            shift: [0.0; LANES],
            inv_std: [0.0; LANES],
            offset: [0.0; LANES],
            mean: [0.0; LANES],
            var: [0.0; LANES],
        };
        s.store(shift, &mut parts.shift);
        s.store(inv_std, &mut parts.inv_std);
        s.store(s.sub(s.splat(0.0), s.mul(inv_std, rest)), &mut parts.offset);
        s.store(s.add(shift, rest), &mut parts.mean);
        s.store(var, &mut parts.var);
        parts.write(cache);
    }
}

/// `Σ_r f(x[r])` for one group of columns, in chains of 256 rows.
#[inline(always)]
fn column_sums<S: Simd, const N: usize>(
    s: S,
    x: &[f32],
    width: usize,
    column: usize,
    f: impl Fn(S::F32) -> [S::F32; N],
) -> [S::F32; N] {
    let mut total = [s.splat(0.0); N];
    for (block, x) in x.chunks(BLOCK.saturating_mul(width)).enumerate() {
        let mut acc = [s.splat(0.0); N];
        for row in x.chunks_exact(width) {
            let terms = f(s.load(&row.as_chunks::<LANES>().0[column]));
            for n in 0..N {
                acc[n] = s.add(acc[n], terms[n]);
            }
        }
        for n in 0..N {
            total[n] = if block == 0 { acc[n] } else { s.add(total[n], acc[n]) };
        }
    }
    total
}

/// `y = γ x̂ + β` with the statistics in `cache`; `gamma` and `beta` have `width` values.
///
/// # Errors
/// [`Error::Length`] for a wrong length.
pub fn normalize(
    level: Level,
    split: &impl Split,
    cache: &[f32],
    gamma: &[f32],
    beta: &[f32],
    x: &[f32],
    y: &mut [f32],
) -> Result<(), Error> {
    let width = gamma.len();
    let rows = check_rows(width, x)?;
    check_len("batch-norm cache", cache_len(width), cache.len())?;
    check_len("beta", width, beta.len())?;
    check_len("batch-norm output", x.len(), y.len())?;
    let per_task = super::dense::rows_per_task(rows, split.workers());
    split.run([y], [per_task * width], &|task, [y]| {
        normalize_rows(level, cache, gamma, beta, &x[task * per_task * width..][..y.len()], y);
    });
    Ok(())
}

kernel! {
    fn normalize_rows(cache: &[f32], gamma: &[f32], beta: &[f32], x: &[f32], y: &mut [f32]) = normalize_body;
}

#[inline(always)]
fn normalize_body<S: Simd>(s: S, cache: &[f32], gamma: &[f32], beta: &[f32], x: &[f32], y: &mut [f32]) {
    let width = gamma.len();
    let (gamma, beta) = (gamma.as_chunks::<LANES>().0, beta.as_chunks::<LANES>().0);
    for (g, cache) in cache.chunks_exact(PARTS * LANES).enumerate() {
        let cache = Cache::read(cache);
        let (shift, inv_std, offset) = (s.load(&cache.shift), s.load(&cache.inv_std), s.load(&cache.offset));
        let (gamma, beta) = (s.load(&gamma[g]), s.load(&beta[g]));
        for (x, y) in x.chunks_exact(width).zip(y.chunks_exact_mut(width)) {
            let x = s.load(&x.as_chunks::<LANES>().0[g]);
            let normal = s.mul_add(s.sub(x, shift), inv_std, offset);
            s.store(s.mul_add(gamma, normal, beta), &mut y.as_chunks_mut::<LANES>().0[g]);
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
    check_rows(width, mean)?;
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
    check_rows(width, mean)?;
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

/// Gradients through a batch norm in training mode: `dγ = Σ dy x̂`, `dβ = Σ dy`, and in place of `dy`
/// `dx = γ r (dy - dβ/n - x̂ dγ/n)`, exact with ε.
///
/// `x` is the layer's input, `cache` what [`statistics`] wrote for it.
///
/// # Errors
/// [`Error::Length`] for a wrong length.
pub fn backward(
    level: Level,
    split: &impl Split,
    cache: &[f32],
    gamma: &[f32],
    x: &[f32],
    dy: &mut [f32],
    dgamma: &mut [f32],
    dbeta: &mut [f32],
) -> Result<(), Error> {
    let width = gamma.len();
    let rows = check_rows(width, x)?;
    check_len("batch-norm cache", cache_len(width), cache.len())?;
    check_len("batch-norm output gradient", x.len(), dy.len())?;
    check_len("gradient of gamma", width, dgamma.len())?;
    check_len("gradient of beta", width, dbeta.len())?;
    let groups = groups_per_task(width, split.workers());
    let upstream: &[f32] = dy;
    split.run([&mut *dgamma, &mut *dbeta], [groups * LANES; 2], &|task, [dgamma, dbeta]| {
        parameter_gradients(level, cache, x, upstream, width, task * groups, dgamma, dbeta);
    });
    let (dgamma, dbeta): (&[f32], &[f32]) = (dgamma, dbeta);
    let per_task = super::dense::rows_per_task(rows, split.workers());
    split.run([dy], [per_task * width], &|task, [dy]| {
        let x = &x[task * per_task * width..][..dy.len()];
        input_gradient(level, cache, gamma, dgamma, dbeta, rows, x, dy);
    });
    Ok(())
}

kernel! {
    fn parameter_gradients(
        cache: &[f32], x: &[f32], dy: &[f32], width: usize, first: usize, dgamma: &mut [f32], dbeta: &mut [f32],
    ) = parameter_gradients_body;
}

#[inline(always)]
fn parameter_gradients_body<S: Simd>(
    s: S,
    cache: &[f32],
    x: &[f32],
    dy: &[f32],
    width: usize,
    first: usize,
    dgamma: &mut [f32],
    dbeta: &mut [f32],
) {
    let chain = BLOCK.saturating_mul(width);
    let (dgamma, dbeta) = (dgamma.as_chunks_mut::<LANES>().0, dbeta.as_chunks_mut::<LANES>().0);
    for (g, (dgamma, dbeta)) in dgamma.iter_mut().zip(dbeta).enumerate() {
        let column = first + g;
        let cache = Cache::read(&cache[column * PARTS * LANES..][..PARTS * LANES]);
        let (shift, inv_std, offset) = (s.load(&cache.shift), s.load(&cache.inv_std), s.load(&cache.offset));
        let mut total = [s.splat(0.0); 2];
        for (block, (x, dy)) in x.chunks(chain).zip(dy.chunks(chain)).enumerate() {
            let [mut sum_gamma, mut sum_beta] = [s.splat(0.0); 2];
            for (x, dy) in x.chunks_exact(width).zip(dy.chunks_exact(width)) {
                let x = s.load(&x.as_chunks::<LANES>().0[column]);
                let dy = s.load(&dy.as_chunks::<LANES>().0[column]);
                let normal = s.mul_add(s.sub(x, shift), inv_std, offset);
                sum_gamma = s.mul_add(dy, normal, sum_gamma);
                sum_beta = s.add(sum_beta, dy);
            }
            total = if block == 0 {
                [sum_gamma, sum_beta]
            } else {
                [s.add(total[0], sum_gamma), s.add(total[1], sum_beta)]
            };
        }
        s.store(total[0], dgamma);
        s.store(total[1], dbeta);
    }
}

kernel! {
    fn input_gradient(
        cache: &[f32], gamma: &[f32], dgamma: &[f32], dbeta: &[f32], rows: usize, x: &[f32], dy: &mut [f32],
    ) = input_gradient_body;
}

#[inline(always)]
fn input_gradient_body<S: Simd>(
    s: S,
    cache: &[f32],
    gamma: &[f32],
    dgamma: &[f32],
    dbeta: &[f32],
    rows: usize,
    x: &[f32],
    dy: &mut [f32],
) {
    let width = gamma.len();
    let count = s.splat(rows as f32);
    let groups = |slice: &[f32], g: usize| s.load(&slice.as_chunks::<LANES>().0[g]);
    for (g, cache) in cache.chunks_exact(PARTS * LANES).enumerate() {
        let cache = Cache::read(cache);
        let (shift, inv_std, offset) = (s.load(&cache.shift), s.load(&cache.inv_std), s.load(&cache.offset));
        let scale = s.mul(groups(gamma, g), inv_std);
        let mean_dy = s.div(groups(dbeta, g), count);
        let slope = s.sub(s.splat(0.0), s.div(groups(dgamma, g), count));
        for (x, dy) in x.chunks_exact(width).zip(dy.chunks_exact_mut(width)) {
            let x = s.load(&x.as_chunks::<LANES>().0[g]);
            let dy = &mut dy.as_chunks_mut::<LANES>().0[g];
            let normal = s.mul_add(s.sub(x, shift), inv_std, offset);
            let centred = s.mul_add(normal, slope, s.sub(s.load(dy), mean_dy));
            s.store(s.mul(scale, centred), dy);
        }
    }
}

//! Layer normalisation: each row by the mean and (biased) variance of its own features (Ba 2016, arXiv 1607.06450).
//!
//! A row's sums run over sixteen virtual lanes as softmax's (numeric contract, 5). The mean is kept in two parts as batch
//! norm's is, for the same reason: rows of mean 1e6 and deviation 1 keep their digits.
//!
//! - `shift = Σx / n`; with `d = x - shift`: `rest = Σd / n`, `square = Σ(d d) / n` (the product rounded, then added);
//! - `var`, `r`, `offset` as batch norm's; `x̂ = fma(x - shift, r, offset)`, `y = fma(γ, x̂, β)`;
//! - backward, with `g = γ dy`: `dx = r fma(x̂, 0 - b, g - a)`, `a = Σg / n`, `b = Σ fma(g, x̂, ·) / n`; `dγ` and `dβ` are sums over
//!   rows (contract, 3).
//!
//! Rows lie in groups of sixteen features. Training divides the rows among the workers for the sums, and the groups for
//! everything else; what was found for a row ([`STATISTICS`] values) stands beside the output until the backward pass.

use super::accumulate::continued;
use super::batchnorm::from_sums;
use super::softmax::{fold_sum, groups_of_row, groups_of_row_mut, masked};
use crate::Level;
use crate::error::{Error, check_len};
use crate::layer::{MAX_WIDTH, padded};
use crate::simd::{Group, LANES, Simd, level::kernel};
use crate::split::Split;

/// Values that are kept for each row: shift, one over the deviation, offset, and one unused.
pub const STATISTICS: usize = 4;

/// Rows of a task: some microseconds' worth.
pub(crate) fn rows_per_task(width: usize, rows: usize, workers: usize) -> usize {
    /// Values worth handing to another thread.
    const WORTH: usize = 1 << 11;
    let tasks = (width.saturating_mul(rows) / WORTH).clamp(1, workers.max(1));
    rows.div_ceil(tasks).max(1)
}

fn check(cols: usize, rows: usize, x: &[f32]) -> Result<(), Error> {
    if cols == 0 || cols > MAX_WIDTH {
        return Err(Error::Length { what: "layer-norm features", expected: 1, found: cols });
    }
    check_len("layer-norm rows", rows.saturating_mul(padded(cols)), x.len())
}

/// Shift, one over the deviation and offset of one row's groups.
#[inline(always)]
fn of_row<'x, S: Simd>(s: S, cols: usize, eps: f32, row: impl Iterator<Item = &'x Group> + Clone) -> [S::F32; 3] {
    let count = s.splat(cols as f32);
    let mut sum = s.splat(0.0);
    for (g, x) in row.clone().enumerate() {
        sum = s.add(sum, masked(s, s.load(x), g, cols, 0.0));
    }
    let shift = s.div(s.splat(fold_sum(s, sum)), count);
    let mut sums = [s.splat(0.0); 2];
    for (g, x) in row.enumerate() {
        let d = masked(s, s.sub(s.load(x), shift), g, cols, 0.0);
        sums = [s.add(sums[0], d), s.add(sums[1], s.mul(d, d))];
    }
    let sums = [s.splat(fold_sum(s, sums[0])), s.splat(fold_sum(s, sums[1]))];
    let [shift, inv_std, offset, ..] = from_sums(s, count, eps, shift, sums);
    [shift, inv_std, offset]
}

kernel! {
    /// Statistics of the rows from `first` on, as many as `statistics` has room for; `x` are all groups of `rows` rows.
    pub(crate) fn some_statistics(
        shape: (usize, usize), first: usize, eps: f32, x: &[f32], statistics: &mut [f32],
    ) = statistics_body
}

#[inline(always)]
fn statistics_body<S: Simd>(
    s: S,
    (cols, rows): (usize, usize),
    first: usize,
    eps: f32,
    x: &[f32],
    statistics: &mut [f32],
) {
    let (x, _) = x.as_chunks::<LANES>();
    for (row, statistics) in statistics.as_chunks_mut::<STATISTICS>().0.iter_mut().enumerate() {
        let found = of_row(s, cols, eps, groups_of_row(x, rows, first + row));
        *statistics = [lane(s, found[0]), lane(s, found[1]), lane(s, found[2]), 0.0];
    }
}

/// The value that all lanes have.
#[inline(always)]
fn lane<S: Simd>(s: S, value: S::F32) -> f32 {
    let mut lanes = [0.0; LANES];
    s.store(value, &mut lanes);
    lanes[0]
}

#[inline(always)]
fn splat<S: Simd>(s: S, statistics: &[f32; STATISTICS]) -> [S::F32; 3] {
    let [shift, inv_std, offset, _] = *statistics;
    [s.splat(shift), s.splat(inv_std), s.splat(offset)]
}

kernel! {
    /// The output of whole groups with the statistics of all rows.
    pub(crate) fn some_normal(
        rows: usize, statistics: &[f32], gamma: &[f32], beta: &[f32], x: &[f32], y: &mut [f32],
    ) = normal_body
}

#[inline(always)]
fn normal_body<S: Simd>(s: S, rows: usize, statistics: &[f32], gamma: &[f32], beta: &[f32], x: &[f32], y: &mut [f32]) {
    let (statistics, _) = statistics.as_chunks::<STATISTICS>();
    let [gamma, beta] = [gamma, beta].map(|vector| vector.as_chunks::<LANES>().0);
    let blocks = x.as_chunks::<LANES>().0.chunks_exact(rows).zip(y.as_chunks_mut::<LANES>().0.chunks_exact_mut(rows));
    for ((x, y), (gamma, beta)) in blocks.zip(gamma.iter().zip(beta)) {
        let (gamma, beta) = (s.load(gamma), s.load(beta));
        for ((x, y), statistics) in x.iter().zip(y).zip(statistics) {
            let [shift, inv_std, offset] = splat(s, statistics);
            let normal = s.mul_add(s.sub(s.load(x), shift), inv_std, offset);
            s.store(s.mul_add(gamma, normal, beta), y);
        }
    }
}

kernel! {
    /// `Σg / n` and `Σ g x̂ / n` of the rows from `first` on, two values for each.
    pub(crate) fn some_row_sums(
        shape: (usize, usize), first: usize, statistics: &[f32], gamma: &[f32], x: &[f32], dy: &[f32], sums: &mut [f32],
    ) = row_sums_body
}

#[inline(always)]
fn row_sums_body<S: Simd>(
    s: S,
    (cols, rows): (usize, usize),
    first: usize,
    statistics: &[f32],
    gamma: &[f32],
    x: &[f32],
    dy: &[f32],
    sums: &mut [f32],
) {
    let [x, dy, gamma] = [x, dy, gamma].map(|groups| groups.as_chunks::<LANES>().0);
    let statistics = statistics.as_chunks::<STATISTICS>().0.get(first..).unwrap_or_default();
    let count = s.splat(cols as f32);
    for (row, (sums, statistics)) in sums.as_chunks_mut::<2>().0.iter_mut().zip(statistics).enumerate() {
        let [shift, inv_std, offset] = splat(s, statistics);
        let mut acc = [s.splat(0.0); 2];
        let groups = groups_of_row(x, rows, first + row).zip(groups_of_row(dy, rows, first + row)).zip(gamma);
        for (g, ((x, dy), gamma)) in groups.enumerate() {
            let normal = s.mul_add(s.sub(s.load(x), shift), inv_std, offset);
            let normal = masked(s, normal, g, cols, 0.0);
            let term = masked(s, s.mul(s.load(gamma), s.load(dy)), g, cols, 0.0);
            acc = [s.add(acc[0], term), s.mul_add(term, normal, acc[1])];
        }
        let mean = |acc: S::F32| lane(s, s.div(s.splat(fold_sum(s, acc)), count));
        *sums = [mean(acc[0]), mean(acc[1])];
    }
}

kernel! {
    /// Adds `Σ dy x̂` and `Σ dy` of whole groups to `dgamma` and `dbeta`, after `before` rows of the batch.
    pub(crate) fn some_gradient_sums(
        before: usize, rows: usize, statistics: &[f32], x: &[f32], dy: &[f32], dgamma: &mut [f32], dbeta: &mut [f32],
    ) = gradient_sums_body
}

#[inline(always)]
fn gradient_sums_body<S: Simd>(
    s: S,
    before: usize,
    rows: usize,
    statistics: &[f32],
    x: &[f32],
    dy: &[f32],
    dgamma: &mut [f32],
    dbeta: &mut [f32],
) {
    let (statistics, _) = statistics.as_chunks::<STATISTICS>();
    let statistics = &statistics[..rows];
    let [x, dy] = [x, dy].map(|rows_of| rows_of.as_chunks::<LANES>().0.chunks_exact(rows));
    let sums = dgamma.as_chunks_mut::<LANES>().0.iter_mut().zip(dbeta.as_chunks_mut::<LANES>().0);
    for ((dgamma, dbeta), (x, dy)) in sums.zip(x.zip(dy)) {
        let totals = [s.load(dgamma), s.load(dbeta)];
        let [gamma, beta] = continued(s, before, totals, rows, |r, [gamma, beta]| {
            let [shift, inv_std, offset] = splat(s, &statistics[r]);
            let normal = s.mul_add(s.sub(s.load(&x[r]), shift), inv_std, offset);
            let dy = s.load(&dy[r]);
            [s.mul_add(dy, normal, gamma), s.add(beta, dy)]
        });
        s.store(gamma, dgamma);
        s.store(beta, dbeta);
    }
}

kernel! {
    /// The gradient of the input in place of `dy`, for whole groups with all rows' statistics and sums. `first` is the
    /// number of the first group; lanes beyond the last feature become zero.
    pub(crate) fn some_input_gradients(
        shape: (usize, usize), first: usize, statistics: &[f32], sums: &[f32], gamma: &[f32], x: &[f32], dy: &mut [f32],
    ) = input_gradients_body
}

#[inline(always)]
fn input_gradients_body<S: Simd>(
    s: S,
    (cols, rows): (usize, usize),
    first: usize,
    statistics: &[f32],
    sums: &[f32],
    gamma: &[f32],
    x: &[f32],
    dy: &mut [f32],
) {
    let (statistics, sums, gamma) =
        (statistics.as_chunks::<STATISTICS>().0, sums.as_chunks::<2>().0, gamma.as_chunks::<LANES>().0);
    let blocks = x.as_chunks::<LANES>().0.chunks_exact(rows).zip(dy.as_chunks_mut::<LANES>().0.chunks_exact_mut(rows));
    for (g, ((x, dy), gamma)) in blocks.zip(gamma).enumerate() {
        let gamma = s.load(gamma);
        for (((x, dy), statistics), sums) in x.iter().zip(dy).zip(statistics).zip(sums) {
            let [shift, inv_std, offset] = splat(s, statistics);
            let (mean, slope) = (s.splat(sums[0]), s.splat(sums[1]));
            let normal = s.mul_add(s.sub(s.load(x), shift), inv_std, offset);
            let centred = s.sub(s.mul(gamma, s.load(dy)), mean);
            let value = s.mul(inv_std, s.mul_add(normal, s.sub(s.splat(0.0), slope), centred));
            s.store(masked(s, value, first + g, cols, 0.0), dy);
        }
    }
}

/// Layer norm of `rows` rows of `cols` features, in groups, in place: what inference does. `gamma` and `beta` have
/// [`padded(cols)`](padded) values.
///
/// # Errors
/// [`Error::Length`] if a slice does not hold so many rows or features.
pub fn layer_norm(
    level: Level,
    cols: usize,
    rows: usize,
    eps: f32,
    gamma: &[f32],
    beta: &[f32],
    x: &mut [f32],
) -> Result<(), Error> {
    check(cols, rows, x)?;
    check_len("gamma", padded(cols), gamma.len())?;
    check_len("beta", padded(cols), beta.len())?;
    whole_rows(level, (cols, rows), eps, gamma, beta, x);
    Ok(())
}

kernel! {
    fn whole_rows(shape: (usize, usize), eps: f32, gamma: &[f32], beta: &[f32], x: &mut [f32]) = whole_rows_body
}

#[inline(always)]
fn whole_rows_body<S: Simd>(s: S, (cols, rows): (usize, usize), eps: f32, gamma: &[f32], beta: &[f32], x: &mut [f32]) {
    let (x, _) = x.as_chunks_mut::<LANES>();
    let [gamma, beta] = [gamma, beta].map(|vector| vector.as_chunks::<LANES>().0);
    for row in 0..rows {
        let [shift, inv_std, offset] = of_row(s, cols, eps, groups_of_row(x, rows, row));
        for (x, (gamma, beta)) in groups_of_row_mut(x, rows, row).zip(gamma.iter().zip(beta)) {
            let normal = s.mul_add(s.sub(s.load(x), shift), inv_std, offset);
            s.store(s.mul_add(s.load(gamma), normal, s.load(beta)), x);
        }
    }
}

/// Layer norm from `x` to `y`, both in groups, keeping [`STATISTICS`] values for each row: what training does.
///
/// # Errors
/// [`Error::Length`] for a wrong length.
pub fn forward(
    level: Level,
    split: &impl Split,
    (cols, rows): (usize, usize),
    eps: f32,
    gamma: &[f32],
    beta: &[f32],
    x: &[f32],
    y: &mut [f32],
    statistics: &mut [f32],
) -> Result<(), Error> {
    check(cols, rows, x)?;
    check_len("layer-norm output", x.len(), y.len())?;
    check_len("gamma", padded(cols), gamma.len())?;
    check_len("beta", padded(cols), beta.len())?;
    check_len("layer-norm statistics", rows.saturating_mul(STATISTICS), statistics.len())?;
    if rows == 0 {
        return Ok(());
    }
    let per_task = rows_per_task(padded(cols), rows, split.workers());
    split.run([&mut *statistics], [per_task * STATISTICS], &|task, [statistics]| {
        some_statistics(level, (cols, rows), task * per_task, eps, x, statistics);
    });
    some_normal(level, rows, statistics, gamma, beta, x, y);
    Ok(())
}

/// Gradients through a layer norm: `dγ = Σ dy x̂`, `dβ = Σ dy`, and `dx` in place of `dy`; `sums` are two values of scratch for each
/// row. `x` is the layer's input and `statistics` what [`forward`] kept.
///
/// # Errors
/// [`Error::Length`] for a wrong length.
pub fn backward(
    level: Level,
    (cols, rows): (usize, usize),
    statistics: &[f32],
    gamma: &[f32],
    x: &[f32],
    dy: &mut [f32],
    dgamma: &mut [f32],
    dbeta: &mut [f32],
    sums: &mut [f32],
) -> Result<(), Error> {
    check(cols, rows, x)?;
    check_len("layer-norm output gradient", x.len(), dy.len())?;
    check_len("gamma", padded(cols), gamma.len())?;
    check_len("gradient of gamma", padded(cols), dgamma.len())?;
    check_len("gradient of beta", padded(cols), dbeta.len())?;
    check_len("layer-norm statistics", rows.saturating_mul(STATISTICS), statistics.len())?;
    check_len("sums of the rows", rows.saturating_mul(2), sums.len())?;
    dgamma.fill(0.0);
    dbeta.fill(0.0);
    if rows == 0 {
        return Ok(());
    }
    some_row_sums(level, (cols, rows), 0, statistics, gamma, x, dy, sums);
    some_gradient_sums(level, 0, rows, statistics, x, dy, dgamma, dbeta);
    some_input_gradients(level, (cols, rows), 0, statistics, sums, gamma, x, dy);
    Ok(())
}

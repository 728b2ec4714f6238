//! Dense layers: the forward product, and the gradients of weights, bias and input.
//!
//! Every product here is one loop: `acc[row][lane] += splat(a[row][k]) * b[k][lane]`, over a register tile of some
//! rows and some panels. What differs is what `a` and `b` are:
//!
//! | product | rows of the tile | inner dimension `k` | lanes |
//! |---|---|---|---|
//! | output | samples | inputs | outputs |
//! | input gradient | samples | outputs | inputs (weights transposed once a step) |
//! | weight gradient | inputs | samples | outputs |
//!
//! The inner dimension runs in blocks of 256: a chain from +0.0 in each block, block sums added in order, then the
//! bias. So a row's result does not depend on the tile it was in, and the tile is free to fit the register file.

use super::{BLOCK, panels};
use crate::Level;
use crate::error::{Error, check_len};
use crate::layer::{MAX_WIDTH, padded};
use crate::simd::{LANES, Simd, level::kernel};
use crate::split::Split;

/// A stored weight: widened to `f32` when loaded; the arithmetic is `f32` always.
pub trait Weight: bytemuck::Pod + Sync + 'static {
    /// Sixteen weights.
    fn load<S: Simd>(s: S, weights: &[Self; LANES]) -> S::F32;
    /// The chain of one row over one panel, see [`Simd::dot_panel`].
    fn dot_panel<S: Simd>(s: S, x: &[f32], weights: &[[Self; LANES]], acc: S::F32) -> S::F32;
}

impl Weight for f32 {
    #[inline(always)]
    fn load<S: Simd>(s: S, weights: &[f32; LANES]) -> S::F32 {
        s.load(weights)
    }
    #[inline(always)]
    fn dot_panel<S: Simd>(s: S, x: &[f32], weights: &[[f32; LANES]], acc: S::F32) -> S::F32 {
        s.dot_panel(x, weights, acc)
    }
}

/// Half precision, by its bits.
impl Weight for u16 {
    #[inline(always)]
    fn load<S: Simd>(s: S, weights: &[u16; LANES]) -> S::F32 {
        s.load_f16(weights)
    }
    #[inline(always)]
    fn dot_panel<S: Simd>(s: S, x: &[f32], weights: &[[u16; LANES]], acc: S::F32) -> S::F32 {
        s.dot_panel_f16(x, weights, acc)
    }
}

/// The operands of a forward product.
#[derive(Clone, Copy, Debug)]
pub struct Dense<'a, W> {
    /// Input features.
    pub inputs: usize,
    /// Output features.
    pub outputs: usize,
    /// `[panel][input][lane]`, [`panels::weight_len`] values.
    pub weights: &'a [W],
    /// `padded(outputs)` values, zero beyond the last output; `None` adds nothing.
    pub bias: Option<&'a [f32]>,
}

impl<W: Weight> Dense<'_, W> {
    fn check(&self) -> Result<(), Error> {
        check_shape(self.inputs, self.outputs)?;
        check_len("weights", panels::weight_len(self.inputs, self.outputs), self.weights.len())?;
        match self.bias {
            Some(bias) => check_len("bias", padded(self.outputs), bias.len()),
            None => Ok(()),
        }
    }
}

fn check_shape(inputs: usize, outputs: usize) -> Result<(), Error> {
    let widths = 1..=MAX_WIDTH;
    if widths.contains(&inputs) && widths.contains(&outputs) { Ok(()) } else { Err(Error::Shape { inputs, outputs }) }
}

/// The rows of an input: `stride` apart, the last one perhaps without its padding.
fn check_rows(x: &[f32], inputs: usize, rows: usize, stride: usize) -> Result<(), Error> {
    let expected = if rows == 0 { 0 } else { (rows - 1).saturating_mul(stride).saturating_add(inputs) };
    if stride < inputs || x.len() < expected {
        return Err(Error::Length { what: "input", expected, found: x.len() });
    }
    Ok(())
}

/// `y = x Wᵀ + b` for `rows` rows.
///
/// `x` has rows of `inputs` values, `stride` apart; `y` rows of `padded(outputs)`, padding written as zero. Rows are
/// divided among the workers.
///
/// # Errors
/// [`Error::Length`] if a slice does not have the length that the shape asks for.
pub fn forward<W: Weight>(
    level: Level,
    split: &impl Split,
    dense: Dense<'_, W>,
    rows: usize,
    x: &[f32],
    stride: usize,
    y: &mut [f32],
) -> Result<(), Error> {
    dense.check()?;
    let width = padded(dense.outputs);
    check_len("output", rows.saturating_mul(width), y.len())?;
    check_rows(x, dense.inputs, rows, stride)?;
    if rows == 1 {
        // One row: the panels are divided, each worker reads its own weights only.
        let per_task = panels_per_task(dense.outputs, dense.inputs, split.workers());
        split.run([y], [per_task * LANES], &|task, [y]| {
            one_row(level, dense, task * per_task, x, y);
        });
    } else {
        let per_task = rows_per_task(rows, split.workers());
        split.run([y], [per_task * width], &|task, [y]| {
            many_rows(level, dense, &x[task * per_task * stride..], stride, y);
        });
    }
    Ok(())
}

/// Rows of a task: enough for the register tile to be busy, few enough to balance and to stay in the cache.
pub(crate) fn rows_per_task(rows: usize, workers: usize) -> usize {
    rows.div_ceil(workers).next_multiple_of(8).clamp(8, 96)
}

/// Panels of a task for a single row; one task if the layer is too small to be worth a second thread.
fn panels_per_task(outputs: usize, inputs: usize, workers: usize) -> usize {
    let panels = panels::panels(outputs);
    let small = inputs * outputs < 1 << 16;
    if small { panels.max(1) } else { panels.div_ceil(workers).max(1) }
}

kernel! { fn one_row<W: Weight>(dense: Dense<'_, W>, first: usize, x: &[f32], y: &mut [f32]) = one_row_body; }
kernel! { fn many_rows<W: Weight>(dense: Dense<'_, W>, x: &[f32], stride: usize, y: &mut [f32]) = many_rows_body; }

/// One row times the panels from `first` on, as many as `y` has groups.
#[inline(always)]
fn one_row_body<S: Simd, W: Weight>(s: S, dense: Dense<'_, W>, first: usize, x: &[f32], y: &mut [f32]) {
    let x = &x[..dense.inputs];
    let (y, _) = y.as_chunks_mut::<LANES>();
    let bias = dense.bias.map(|bias| bias.as_chunks::<LANES>().0);
    let mut done = 0;
    // Several panels at once hide the latency of the additions and keep several streams of weights in flight.
    macro_rules! at_once {
        ($n:literal) => {
            while done + $n <= y.len() && (first + done + $n) * LANES <= panels::lanes(dense.outputs) {
                let panels: [_; $n] = full_panels(dense, first + done);
                row_tile::<S, W, $n>(s, x, panels, |p, sum| {
                    let sum = match bias {
                        Some(bias) => s.add(sum, s.load(&bias[first + done + p])),
                        None => sum,
                    };
                    s.store(sum, &mut y[done + p]);
                });
                done += $n;
            }
        };
    }
    if S::REGISTERS >= 32 {
        at_once!(8);
    }
    if S::REGISTERS >= 8 {
        at_once!(4);
    }
    at_once!(1);
    for (p, y) in y.iter_mut().enumerate().skip(done) {
        let sum = narrow_row(s, dense, first + p, x);
        let sum = match bias {
            Some(bias) => s.add(sum, s.load(&bias[first + p])),
            None => sum,
        };
        s.store(sum, y);
    }
}

/// `N` full panels from `first` on, each as one group of sixteen weights per input.
#[inline(always)]
fn full_panels<'a, W: Weight, const N: usize>(dense: Dense<'a, W>, first: usize) -> [&'a [[W; LANES]]; N] {
    let (groups, _) = dense.weights.as_chunks::<LANES>();
    core::array::from_fn(|p| &groups[(first + p) * dense.inputs..][..dense.inputs])
}

/// All blocks of one row over `P` panels.
#[inline(always)]
fn row_tile<S: Simd, W: Weight, const P: usize>(
    s: S,
    x: &[f32],
    panels: [&[[W; LANES]]; P],
    mut write: impl FnMut(usize, S::F32),
) {
    let mut total = [s.splat(0.0); P];
    for (block, x) in x.chunks(BLOCK).enumerate() {
        let panels = panels.map(|panel| &panel[block * BLOCK..][..x.len()]);
        let mut acc = [s.splat(0.0); P];
        if P == 1 {
            acc[0] = W::dot_panel(s, x, panels[0], acc[0]);
        } else {
            let mut tile = [acc];
            register_tile(s, [x], panels, &mut tile);
            [acc] = tile;
        }
        for p in 0..P {
            total[p] = if block == 0 { acc[p] } else { s.add(total[p], acc[p]) };
        }
    }
    for (p, total) in total.into_iter().enumerate() {
        write(p, total);
    }
}

/// One row over the narrow last panel: groups of sixteen are loaded at steps of its width, and what the lanes
/// beyond it collect is thrown away.
#[inline(always)]
fn narrow_row<S: Simd, W: Weight>(s: S, dense: Dense<'_, W>, panel: usize, x: &[f32]) -> S::F32 {
    let width = panels::panel_width(dense.outputs, panel);
    let weights = &dense.weights[panel * LANES * dense.inputs..][..width * dense.inputs];
    let mut total = s.splat(0.0);
    for (block, x) in x.chunks(BLOCK).enumerate() {
        let mut acc = s.splat(0.0);
        for (k, x) in x.iter().enumerate() {
            let at = (block * BLOCK + k) * width;
            let group = match weights[at..].first_chunk::<LANES>() {
                Some(group) => W::load(s, group),
                None => {
                    let mut group = [W::zeroed(); LANES];
                    group[..width].copy_from_slice(&weights[at..at + width]);
                    W::load(s, &group)
                }
            };
            acc = s.mul_add(s.splat(*x), group, acc);
        }
        total = if block == 0 { acc } else { s.add(total, acc) };
    }
    keep_lanes(s, total, width)
}

/// The first `width` lanes of `v`, the others zero.
#[inline(always)]
fn keep_lanes<S: Simd>(s: S, v: S::F32, width: usize) -> S::F32 {
    let mut lanes = [0.0; LANES];
    s.store(v, &mut lanes);
    lanes[width..].fill(0.0);
    s.load(&lanes)
}

/// `acc[r][p] += Σ_k x[r][k] * panels[p][k]`, each a chain over the whole slices (at most one block).
///
/// Bounds are checked once, by cutting every slice to the same length: the loop compiles to loads and multiply-adds.
#[inline(always)]
fn register_tile<S: Simd, W: Weight, const R: usize, const P: usize>(
    s: S,
    x: [&[f32]; R],
    panels: [&[[W; LANES]]; P],
    acc: &mut [[S::F32; P]; R],
) {
    let len = panels[0].len();
    let x = x.map(|row| &row[..len]);
    let panels = panels.map(|panel| &panel[..len]);
    let mut sum = *acc;
    for k in 0..len {
        let weights: [S::F32; P] = core::array::from_fn(|p| W::load(s, &panels[p][k]));
        for r in 0..R {
            let value = s.splat(x[r][k]);
            for p in 0..P {
                sum[r][p] = s.mul_add(value, weights[p], sum[r][p]);
            }
        }
    }
    *acc = sum;
}

/// Rows of `y` = rows of `x` times all panels: panels outermost in groups, so that a block of weights is read from
/// the cache by all rows.
#[inline(always)]
fn many_rows_body<S: Simd, W: Weight>(s: S, dense: Dense<'_, W>, x: &[f32], stride: usize, y: &mut [f32]) {
    let full = panels::lanes(dense.outputs) / LANES;
    let mut panel = 0;
    macro_rules! groups_of {
        ($n:literal) => {
            while panel + $n <= full {
                panel_group::<S, W, $n>(s, dense, panel, x, stride, y);
                panel += $n;
            }
        };
    }
    if S::REGISTERS >= 32 {
        groups_of!(3);
        groups_of!(2);
    }
    groups_of!(1);
    if panel < panels::panels(dense.outputs) {
        let width = padded(dense.outputs);
        let bias = dense.bias.map(|bias| bias.as_chunks::<LANES>().0);
        for (x, y) in x.chunks(stride).zip(y.chunks_exact_mut(width)) {
            let sum = narrow_row(s, dense, panel, &x[..dense.inputs]);
            let sum = match bias {
                Some(bias) => s.add(sum, s.load(&bias[panel])),
                None => sum,
            };
            s.store(sum, &mut y.as_chunks_mut::<LANES>().0[panel]);
        }
    }
}

/// `P` panels from `panel` on, for all rows, block by block.
#[inline(always)]
fn panel_group<S: Simd, W: Weight, const P: usize>(
    s: S,
    dense: Dense<'_, W>,
    panel: usize,
    x: &[f32],
    stride: usize,
    y: &mut [f32],
) {
    let width = padded(dense.outputs);
    let rows = y.len() / width;
    let panels: [&[[W; LANES]]; P] = full_panels(dense, panel);
    for start in (0..dense.inputs).step_by(BLOCK) {
        let len = BLOCK.min(dense.inputs - start);
        let panels = panels.map(|panel| &panel[start..][..len]);
        let last = start + len == dense.inputs;
        let mut row = 0;
        macro_rules! rows_of {
            ($n:literal) => {
                while row + $n <= rows {
                    let x: [&[f32]; $n] = core::array::from_fn(|r| &x[(row + r) * stride + start..][..len]);
                    let mut acc = [[s.splat(0.0); P]; $n];
                    register_tile(s, x, panels, &mut acc);
                    for (r, acc) in acc.into_iter().enumerate() {
                        let y = &mut y[(row + r) * width + panel * LANES..][..P * LANES];
                        for (p, (sum, y)) in acc.into_iter().zip(y.as_chunks_mut::<LANES>().0).enumerate() {
                            let mut sum = if start == 0 { sum } else { s.add(s.load(y), sum) };
                            if last && let Some(bias) = dense.bias {
                                sum = s.add(sum, s.load(&bias.as_chunks::<LANES>().0[panel + p]));
                            }
                            s.store(sum, y);
                        }
                    }
                    row += $n;
                }
            };
        }
        if S::REGISTERS >= 32 {
            rows_of!(8);
            rows_of!(4);
        } else if S::REGISTERS >= 8 {
            rows_of!(6);
            rows_of!(3);
        }
        if S::REGISTERS > 1 {
            rows_of!(2);
        }
        rows_of!(1);
    }
}

/// Gradient of the weights: `dW[o][i] = Σ_r dy[r][o] * x[r][i]`, written (not added) in panel layout.
///
/// `x` has rows of `inputs` values `stride` apart, `dy` rows of `padded(outputs)` with zero padding. Panels are
/// divided among the workers.
///
/// # Errors
/// [`Error::Length`] if a slice does not have the length that the shape asks for.
pub fn weight_gradient(
    level: Level,
    split: &impl Split,
    (inputs, outputs): (usize, usize),
    rows: usize,
    x: &[f32],
    stride: usize,
    dy: &[f32],
    gradient: &mut [f32],
) -> Result<(), Error> {
    check_shape(inputs, outputs)?;
    check_len("output gradient", rows.saturating_mul(padded(outputs)), dy.len())?;
    check_len("weight gradient", panels::weight_len(inputs, outputs), gradient.len())?;
    check_rows(x, inputs, rows, stride)?;
    if rows == 0 {
        gradient.fill(0.0);
    }
    let panels = panels::panels(outputs);
    let per_task = panels.div_ceil(split.workers()).min(3);
    split.run([gradient], [per_task * LANES * inputs], &|task, [gradient]| {
        weight_gradient_panels(level, (inputs, outputs), task * per_task, x, stride, dy, gradient);
    });
    Ok(())
}

kernel! {
    fn weight_gradient_panels(
        shape: (usize, usize), first: usize, x: &[f32], stride: usize, dy: &[f32], gradient: &mut [f32],
    ) = weight_gradient_body;
}

/// The panels of one task.
#[inline(always)]
fn weight_gradient_body<S: Simd>(
    s: S,
    (inputs, outputs): (usize, usize),
    first: usize,
    x: &[f32],
    stride: usize,
    dy: &[f32],
    gradient: &mut [f32],
) {
    let mut panel = first;
    let mut rest = gradient;
    while !rest.is_empty() {
        let at_once = if S::REGISTERS >= 32 { (rest.len() / (LANES * inputs)).clamp(1, 3) } else { 1 };
        let width = panels::panel_width(outputs, panel);
        let len = if at_once == 1 { inputs * width } else { at_once * LANES * inputs };
        let (head, tail) = rest.split_at_mut(len);
        match at_once {
            3 => gradient_columns::<S, 3>(s, (inputs, outputs), panel, x, stride, dy, LANES, head),
            2 => gradient_columns::<S, 2>(s, (inputs, outputs), panel, x, stride, dy, LANES, head),
            _ => gradient_columns::<S, 1>(s, (inputs, outputs), panel, x, stride, dy, width, head),
        }
        panel += at_once;
        rest = tail;
    }
}

/// All inputs of `P` panels.
#[inline(always)]
fn gradient_columns<S: Simd, const P: usize>(
    s: S,
    (inputs, outputs): (usize, usize),
    panel: usize,
    x: &[f32],
    stride: usize,
    dy: &[f32],
    width: usize,
    out: &mut [f32],
) {
    let mut input = 0;
    macro_rules! inputs_of {
        ($n:literal) => {
            while input + $n <= inputs {
                let sums: [[S::F32; P]; $n] = gradient_tile(s, padded(outputs), panel, input, x, stride, dy);
                for (i, sums) in sums.into_iter().enumerate() {
                    for (p, sum) in sums.into_iter().enumerate() {
                        let at = p * LANES * inputs + (input + i) * width;
                        let mut group = [0.0; LANES];
                        s.store(sum, &mut group);
                        out[at..at + width].copy_from_slice(&group[..width]);
                    }
                }
                input += $n;
            }
        };
    }
    if S::REGISTERS >= 32 {
        inputs_of!(8);
        inputs_of!(4);
    } else if S::REGISTERS >= 8 {
        inputs_of!(6);
        inputs_of!(3);
    }
    if S::REGISTERS > 1 {
        inputs_of!(2);
    }
    inputs_of!(1);
}

/// `T` inputs by `P` panels, summed over all rows in blocks.
#[inline(always)]
fn gradient_tile<S: Simd, const T: usize, const P: usize>(
    s: S,
    dy_stride: usize,
    panel: usize,
    input: usize,
    x: &[f32],
    stride: usize,
    dy: &[f32],
) -> [[S::F32; P]; T] {
    let mut total = [[s.splat(0.0); P]; T];
    for (block, dy) in dy.chunks(BLOCK * dy_stride).enumerate() {
        let x = &x[block * BLOCK * stride..];
        let mut acc = [[s.splat(0.0); P]; T];
        for (x, dy) in x.chunks(stride).zip(dy.chunks_exact(dy_stride)) {
            let x = &x[input..input + T];
            let dy = &dy[panel * LANES..][..P * LANES];
            let lanes: [S::F32; P] = core::array::from_fn(|p| s.load(&dy.as_chunks::<LANES>().0[p]));
            for t in 0..T {
                let value = s.splat(x[t]);
                for p in 0..P {
                    acc[t][p] = s.mul_add(value, lanes[p], acc[t][p]);
                }
            }
        }
        for t in 0..T {
            for p in 0..P {
                total[t][p] = if block == 0 { acc[t][p] } else { s.add(total[t][p], acc[t][p]) };
            }
        }
    }
    total
}

/// Gradient of the bias: `db[o] = Σ_r dy[r][o]`, `padded(outputs)` values, chains of 256 rows.
///
/// # Errors
/// [`Error::Length`] if `dy` is not whole rows of `gradient`'s length.
pub fn bias_gradient(level: Level, split: &impl Split, dy: &[f32], gradient: &mut [f32]) -> Result<(), Error> {
    let width = gradient.len();
    if !width.is_multiple_of(LANES) || width == 0 || !dy.len().is_multiple_of(width) {
        return Err(Error::Length { what: "output gradient", expected: width, found: dy.len() });
    }
    let per_task = (width / LANES).div_ceil(split.workers()).clamp(1, 16) * LANES;
    split.run([gradient], [per_task], &|task, [gradient]| {
        column_sums(level, dy, width, task * per_task, gradient);
    });
    Ok(())
}

kernel! { fn column_sums(rows: &[f32], stride: usize, first: usize, sums: &mut [f32]) = column_sums_body; }

#[inline(always)]
fn column_sums_body<S: Simd>(s: S, rows: &[f32], stride: usize, first: usize, sums: &mut [f32]) {
    for (g, sum) in sums.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
        let column = first / LANES + g;
        let mut total = s.splat(0.0);
        for (block, rows) in rows.chunks(BLOCK * stride).enumerate() {
            let mut acc = s.splat(0.0);
            for row in rows.chunks_exact(stride) {
                acc = s.add(acc, s.load(&row.as_chunks::<LANES>().0[column]));
            }
            total = if block == 0 { acc } else { s.add(total, acc) };
        }
        s.store(total, sum);
    }
}

/// Gradient of the input: `dx[r][i] = Σ_o dy[r][o] * W[o][i]`, rows of `padded(inputs)`.
///
/// `transposed` is scratch of `padded(inputs) * outputs` values: the weights are turned once, then this is a forward
/// product whose outputs are the inputs.
///
/// # Errors
/// [`Error::Length`] if a slice does not have the length that the shape asks for.
pub fn input_gradient(
    level: Level,
    split: &impl Split,
    (inputs, outputs): (usize, usize),
    weights: &[f32],
    rows: usize,
    dy: &[f32],
    transposed: &mut [f32],
    dx: &mut [f32],
) -> Result<(), Error> {
    check_shape(inputs, outputs)?;
    check_len("weights", panels::weight_len(inputs, outputs), weights.len())?;
    check_len("transposed weights", padded(inputs).saturating_mul(outputs), transposed.len())?;
    check_len("output gradient", rows.saturating_mul(padded(outputs)), dy.len())?;
    check_len("input gradient", rows.saturating_mul(padded(inputs)), dx.len())?;
    split.run([&mut *transposed], [LANES * outputs], &|panel, [transposed]| {
        panels::transpose_panel(inputs, outputs, weights, panel, transposed);
    });
    // All panels are full: the padding lanes of the inputs are zero.
    let turned = Dense { inputs: outputs, outputs: padded(inputs), weights: &*transposed, bias: None };
    forward(level, split, turned, rows, dy, padded(outputs), dx)
}

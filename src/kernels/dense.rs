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

mod gradient;
mod tile;

pub use gradient::{bias_gradient, input_gradient, weight_gradient};

use super::{BLOCK, panels};
use crate::Level;
use crate::error::{Error, check_len};
use crate::layer::{MAX_WIDTH, padded};
use crate::simd::{LANES, Simd, level::kernel};
use crate::split::Split;
use tile::{full_panels, narrow_row, register_tile, row_tile};

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
    rows.div_ceil(workers.max(1)).next_multiple_of(8).clamp(8, 96)
}

/// Panels of a task for a single row; one task if the layer is too small to be worth a second thread.
fn panels_per_task(outputs: usize, inputs: usize, workers: usize) -> usize {
    let panels = panels::panels(outputs);
    let small = inputs * outputs < 1 << 16;
    if small { panels.max(1) } else { panels.div_ceil(workers.max(1)).max(1) }
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

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
//! A narrow last panel is computed by itself where that is cheaper (`narrow`): its lanes are inputs or samples then.
//! A single row has loops of its own (`single`): there the weights are read once, and their way from memory is all that
//! counts.

mod ahead;
mod buffers;
mod gradient;
mod little;
mod narrow;
mod order;
mod rows;
mod single;
mod tile;

pub use gradient::{bias_gradient, input_gradient, weight_gradient};
pub(crate) use gradient::{column_sums, input_gradient_panels, some_weights};
pub(crate) use single::one_row;

use super::groups::Rows;
use super::{activation, panels, part};
use crate::Level;
use crate::error::{Error, check_len};
use crate::layer::{Activation, MAX_WIDTH, padded};
use crate::simd::{Group, LANES, Simd, level::kernel};
use crate::split::Split;

/// A stored weight: widened to `f32` when loaded; the arithmetic is `f32` always.
pub trait Weight: bytemuck::Pod + Sync + 'static {
    /// The weights themselves if they are stored as `f32`. None for half precision, which is widened once for many rows.
    fn full(weights: &[Self]) -> Option<&[f32]>;
    /// Sixteen weights.
    fn load<S: Simd>(s: S, weights: &[Self; LANES]) -> S::F32;
    /// The chain of one row over one panel, see [`Simd::dot_panel`].
    fn dot_panel<S: Simd>(s: S, x: &[f32], weights: &[[Self; LANES]], acc: S::F32) -> S::F32;
    /// The same over a panel of `width` lanes, see [`Simd::dot_lanes`].
    fn dot_lanes<S: Simd>(s: S, width: usize, x: &[f32], weights: &[Self], sums: &mut Group);
}

impl Weight for f32 {
    #[inline(always)]
    fn full(weights: &[Self]) -> Option<&[f32]> {
        Some(weights)
    }
    #[inline(always)]
    fn load<S: Simd>(s: S, weights: &[f32; LANES]) -> S::F32 {
        s.load(weights)
    }
    #[inline(always)]
    fn dot_panel<S: Simd>(s: S, x: &[f32], weights: &[[f32; LANES]], acc: S::F32) -> S::F32 {
        s.dot_panel(x, weights, acc)
    }
    #[inline(always)]
    fn dot_lanes<S: Simd>(s: S, width: usize, x: &[f32], weights: &[f32], sums: &mut Group) {
        s.dot_lanes(width, x, weights, sums);
    }
}

/// Half precision, by its bits.
impl Weight for u16 {
    #[inline(always)]
    fn full(_: &[Self]) -> Option<&[f32]> {
        None
    }
    #[inline(always)]
    fn load<S: Simd>(s: S, weights: &[u16; LANES]) -> S::F32 {
        s.load_f16(weights)
    }
    #[inline(always)]
    fn dot_panel<S: Simd>(s: S, x: &[f32], weights: &[[u16; LANES]], acc: S::F32) -> S::F32 {
        s.dot_panel_f16(x, weights, acc)
    }
    #[inline(always)]
    fn dot_lanes<S: Simd>(s: S, width: usize, x: &[f32], weights: &[u16], sums: &mut Group) {
        s.dot_lanes_f16(width, x, weights, sums);
    }
}

/// Panels whose outputs go on to the next elementwise step together: few enough to find them in the first cache, and as
/// many as the widest tile has.
pub(crate) const TOGETHER: usize = 3;

/// Panels whose outputs go on together where rows are beyond the second cache: every call has to bring them again.
const MANY: usize = 8 * TOGETHER;

/// [`TOGETHER`], or many panels where rows are beyond the caches.
pub(crate) fn together(level: Level, rows: usize, inputs: usize) -> usize {
    if rows_stay(second_cache(level), rows, inputs) { TOGETHER } else { MANY }
}

kernel! { fn second_cache() -> usize = second_cache_body; }

#[inline(always)]
fn second_cache_body<S: Simd>(_: S) -> usize {
    S::SECOND_CACHE
}

/// How many of `left` panels come next, `most` at once: never one by itself if it can be helped, as a tile of one panel has
/// to load as often as it multiplies.
const fn some(left: usize, most: usize) -> usize {
    if most > 2 && left > most && left % most == 1 {
        most - 1
    } else if left < most {
        left
    } else {
        most
    }
}

/// Parts of at most `most` panels, each with the number of its first; a panel is `len` values, the last may be shorter. It is
/// a part by itself if it is to be `alone`.
// Inlined, as a call of it takes two kilobytes more stack in a training step on a Cortex-M4.
#[inline(always)]
pub(crate) fn parts(
    values: &mut [f32],
    len: usize,
    most: usize,
    alone: bool,
) -> impl Iterator<Item = (usize, &mut [f32])> {
    let (mut rest, mut first, len) = (values, 0, len.max(1));
    core::iter::from_fn(move || {
        let left = rest.len().div_ceil(len);
        let now = some(if alone && left > 1 { left - 1 } else { left }, most);
        let part = rest.split_off_mut(..rest.len().min(now * len)).filter(|part| !part.is_empty())?;
        first += now;
        Some((first - now, part))
    })
}

/// Whether the last of `count` panels from `first` on has at most `lanes` lanes: it is computed by itself then, see `narrow`.
pub(crate) const fn ends_narrow(outputs: usize, first: usize, count: usize, lanes: usize) -> bool {
    first + count == panels::panels(outputs) && panels::panel_width(outputs, first + count - 1) <= lanes
}

/// Lanes of a last panel whose outputs, or whose weight gradient, are cheaper computed by themselves.
pub(crate) const NARROW_OUTPUTS: usize = LANES / 2;
pub(crate) const NARROW_GRADIENT: usize = LANES - 4;

/// Whether rows stay in the second cache while panel after panel meets them.
const fn rows_stay(second_cache: usize, rows: usize, inputs: usize) -> bool {
    rows.saturating_mul(inputs).saturating_mul(size_of::<f32>()) <= second_cache
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

/// What is done to a product before it is written.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Last {
    Nothing,
    /// The larger of it and 0; one instruction on its way to memory.
    Relu,
}

impl<'a, W: Weight> Dense<'a, W> {
    pub(crate) fn check(&self) -> Result<(), Error> {
        check_shape(self.inputs, self.outputs)?;
        check_len("weights", panels::weight_len(self.inputs, self.outputs), self.weights.len())?;
        match self.bias {
            Some(bias) => check_len("bias", padded(self.outputs), bias.len()),
            None => Ok(()),
        }
    }

    /// Panels that are sixteen wide; one more may be narrower.
    fn full_panels(&self) -> usize {
        panels::lanes(self.outputs) / LANES
    }

    /// The stored weights of panel `panel`.
    pub(crate) fn panel(&self, panel: usize) -> &'a [W] {
        let width = panels::panel_width(self.outputs, panel);
        part(self.weights, panel * LANES * self.inputs, width * self.inputs)
    }
}

pub(crate) fn check_shape(inputs: usize, outputs: usize) -> Result<(), Error> {
    let widths = 1..=MAX_WIDTH;
    if widths.contains(&inputs) && widths.contains(&outputs) { Ok(()) } else { Err(Error::Shape { inputs, outputs }) }
}

/// `y = x Wᵀ + b`, the output in groups of sixteen features: `[panel][row][lane]`, lanes beyond the last output zero.
///
/// The panels are divided among the workers: each reads its own weights only.
///
/// # Errors
/// [`Error::Length`] if a slice does not have the length that the shape asks for.
pub fn forward<W: Weight>(
    level: Level,
    split: &impl Split,
    dense: Dense<'_, W>,
    x: Rows<'_>,
    y: &mut [f32],
) -> Result<(), Error> {
    forward_then(level, split, dense, x, None, y)
}

/// As [`forward`], with an activation applied to the outputs.
///
/// # Errors
/// As [`forward`]; [`Error::Toolbox`] for an activation that is not compiled in.
pub fn forward_then<W: Weight>(
    level: Level,
    split: &impl Split,
    dense: Dense<'_, W>,
    x: Rows<'_>,
    then: Option<Activation>,
    y: &mut [f32],
) -> Result<(), Error> {
    activation::check_compiled(then)?;
    check(&dense, &x, y.len())?;
    let block = x.len().saturating_mul(LANES).max(1);
    let per_task = panels_per_task(dense.outputs, dense.inputs * x.len(), split.workers());
    let (last, then) = match then {
        Some(Activation::Relu) => (Last::Relu, None),
        other => (Last::Nothing, other),
    };
    // What comes behind finds its values in the cache.
    let together = if then.is_some() && x.len() > 1 { together(level, x.len(), dense.inputs) } else { per_task };
    split.run([y], [per_task * block], &|task, [y]| {
        let first = task * per_task;
        let alone = ends_narrow(dense.outputs, first, y.len() / block, NARROW_OUTPUTS);
        for (part, y) in parts(y, block, together, alone) {
            some_panels(level, dense, last, first + part, x, y);
            if let Some(then) = then {
                activation::some_forward(level, then, y);
            }
        }
    });
    Ok(())
}

/// As [`forward`], with the output as plain rows of `padded(outputs)` values. Rows are divided among the workers.
///
/// # Errors
/// As [`forward`].
pub fn forward_plain<W: Weight>(
    level: Level,
    split: &impl Split,
    dense: Dense<'_, W>,
    x: Rows<'_>,
    y: &mut [f32],
) -> Result<(), Error> {
    check(&dense, &x, y.len())?;
    let width = padded(dense.outputs);
    if x.len() == 1 {
        // In groups or plain, it is the same.
        return forward(level, split, dense, x, y);
    }
    let out = tile::Out { panel: 1, row: width / LANES };
    if x.row(0).is_none() {
        // Groups of many rows cannot be cut into parts of rows.
        rows::many_rows(level, dense, Last::Nothing, 0, panels::panels(dense.outputs), x, y, out);
        return Ok(());
    }
    let per_task = x.len().div_ceil(split.workers().max(1)).max(1);
    split.run([y], [per_task * width], &|task, [y]| {
        let x = x.part(task * per_task, y.len() / width);
        rows::many_rows(level, dense, Last::Nothing, 0, panels::panels(dense.outputs), x, y, out);
    });
    Ok(())
}

fn check<W: Weight>(dense: &Dense<'_, W>, x: &Rows<'_>, y: usize) -> Result<(), Error> {
    dense.check()?;
    check_len("input features", dense.inputs, x.features())?;
    check_len("output", x.len().saturating_mul(padded(dense.outputs)), y)
}

/// The panels from `first` on, as many as `y` has blocks. Arguments have been checked.
pub(crate) fn some_panels<W: Weight>(
    level: Level,
    dense: Dense<'_, W>,
    last: Last,
    first: usize,
    x: Rows<'_>,
    y: &mut [f32],
) {
    match (x.len(), x.row(0)) {
        (0, _) => {}
        (1, Some(x)) => single::one_row(level, dense, last, first, x, y),
        (rows, _) => {
            let count = y.len() / LANES / rows;
            rows::many_rows(level, dense, last, first, count, x, y, tile::Out { panel: rows, row: 1 });
        }
    }
}

/// Panels of a task, for `terms` multiply-adds per output: as many tasks as workers, one if there is little to do.
pub(crate) fn panels_per_task(outputs: usize, terms: usize, workers: usize) -> usize {
    /// Multiply-adds worth handing to another thread: some microseconds.
    const WORTH: usize = 1 << 17;
    let panels = panels::panels(outputs).max(1);
    let tasks = (outputs.saturating_mul(terms) / WORTH).clamp(1, workers.max(1));
    // A narrow last panel is little work: it comes on top of an even share of the others.
    let narrow = tasks > 1 && panels > 1 && panels::panel_width(outputs, panels - 1) <= NARROW_OUTPUTS;
    (panels - usize::from(narrow)).div_ceil(tasks)
}

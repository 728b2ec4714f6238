//! Gradients of a dense layer: weights, bias and input. All activations and their gradients are in groups.

use super::super::{BLOCK, groups::Rows, panels};
use super::narrow::NarrowPanel;
use super::{
    Dense, Last, NARROW_GRADIENT, TOGETHER, check_shape, ends_narrow, panels_per_task, parts, some_panels, together,
};
use crate::Level;
use crate::error::{Error, check_len};
use crate::layer::padded;
use crate::simd::{Group, Kernel, LANES, Simd, level::kernel};
use crate::split::Split;

/// Gradient of the weights: `dW[o][i] = Σ_r dy[r][o] * x[r][i]`, written (not added) in panel layout.
///
/// `x` and `dy` are in groups: `rows * padded(inputs)` and `rows * padded(outputs)` values, those of `dy` beyond the
/// last output zero. Panels are divided among the workers.
///
/// # Errors
/// [`Error::Length`] if a slice does not have the length that the shape asks for.
pub fn weight_gradient(
    level: Level,
    split: &impl Split,
    (inputs, outputs): (usize, usize),
    rows: usize,
    x: &[f32],
    dy: &[f32],
    gradient: &mut [f32],
) -> Result<(), Error> {
    check_shape(inputs, outputs)?;
    check_len("input", rows.saturating_mul(padded(inputs)), x.len())?;
    check_len("output gradient", rows.saturating_mul(padded(outputs)), dy.len())?;
    check_len("weight gradient", panels::weight_len(inputs, outputs), gradient.len())?;
    if rows == 0 {
        gradient.fill(0.0);
        return Ok(());
    }
    let per_task = panels_per_task(outputs, rows * inputs, split.workers());
    split.run([gradient], [per_task * LANES * inputs], &|task, [gradient]| {
        let first = task * per_task;
        some_weights(level, (inputs, outputs), first, rows, x, &dy[first * LANES * rows..], gradient);
    });
    Ok(())
}

kernel! {
    /// The panels from `first` on, as many as `gradient` holds; `dy` begins with panel `first`.
    pub(crate) fn some_weights(
        shape: (usize, usize), first: usize, rows: usize, x: &[f32], dy: &[f32], gradient: &mut [f32],
    ) = weight_gradient_body
}

/// Three panels at once, so that the gradients of their outputs stay
/// in the first cache while all inputs pass by.
#[inline(always)]
fn weight_gradient_body<S: Simd>(
    s: S,
    (inputs, outputs): (usize, usize),
    first: usize,
    rows: usize,
    x: &[f32],
    dy: &[f32],
    gradient: &mut [f32],
) {
    let (x, _) = x.as_chunks::<LANES>();
    let (dy, _) = dy.as_chunks::<LANES>();
    let at_once = if S::REGISTERS < 32 { 1 } else { TOGETHER };
    let mut gradient = gradient;
    let count = gradient.len().div_ceil(LANES * inputs);
    if S::REGISTERS >= 8 && ends_narrow(outputs, first, count, NARROW_GRADIENT) {
        let (rest, last) = gradient.split_at_mut((count - 1) * LANES * inputs);
        let (dy, width) = (&dy[(count - 1) * rows..], panels::panel_width(outputs, first + count - 1));
        s.apart(NarrowPanel { inputs, rows, x, dy, width, gradient: last });
        gradient = rest;
    }
    for (panel, gradient) in parts(gradient, LANES * inputs, at_once, false) {
        let dy = &dy[panel * rows..];
        let count = gradient.len().div_ceil(LANES * inputs);
        // Only the last panel may be narrow.
        let width = panels::panel_width(outputs, first + panel + count - 1);
        match if S::REGISTERS < 32 { 1 } else { count } {
            3 => s.apart(Panels::<3> { inputs, rows, x, dy, width, gradient }),
            2 => s.apart(Panels::<2> { inputs, rows, x, dy, width, gradient }),
            _ => s.apart(Panels::<1> { inputs, rows, x, dy, width, gradient }),
        }
    }
}

/// The gradient of `P` panels, the last of `width` lanes.
struct Panels<'a, const P: usize> {
    inputs: usize,
    rows: usize,
    x: &'a [Group],
    dy: &'a [Group],
    width: usize,
    gradient: &'a mut [f32],
}

impl<const P: usize> Kernel for Panels<'_, P> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        gradient_panels(s, self);
    }
}

/// Blocks of rows, then tiles of inputs.
#[inline(always)]
fn gradient_panels<S: Simd, const P: usize>(s: S, panels: Panels<'_, P>) {
    let Panels { inputs, rows, x, dy, width, gradient } = panels;
    for start in (0..rows).step_by(BLOCK) {
        let len = BLOCK.min(rows - start);
        let mut block: [&[Group]; P] = [&[]; P];
        for (p, block) in block.iter_mut().enumerate() {
            *block = &dy[p * rows + start..][..len];
        }
        for first in (0..inputs).step_by(LANES) {
            let x = &x[first / LANES * rows + start..][..len];
            let lanes = LANES.min(inputs - first);
            let mut lane = 0;
            macro_rules! inputs_of {
                ($($count:literal)*) => {
                    $(while lane + $count <= lanes {
                        let sums: [[S::F32; P]; $count] = gradient_tile(s, x, lane, block);
                        write(s, sums, start > 0, (inputs, first + lane), width, gradient);
                        lane += $count;
                    })*
                };
            }
            if S::REGISTERS >= 32 {
                inputs_of!(8 4 2 1);
            } else if S::REGISTERS >= 8 {
                inputs_of!(6 4 2 1);
            } else if S::REGISTERS > 1 {
                inputs_of!(2 1);
            } else {
                inputs_of!(1);
            }
        }
    }
}

/// Rows ahead of the multiply-adds whose gradients are asked for, as in a forward product: 256 rows of three panels take all
/// of the first cache.
const AHEAD: usize = 16;

/// `T` inputs, from lane `lane` of their group, by `P` panels: chains over the rows of a block.
#[inline(always)]
fn gradient_tile<S: Simd, const T: usize, const P: usize>(
    s: S,
    x: &[Group],
    lane: usize,
    dy: [&[Group]; P],
) -> [[S::F32; P]; T] {
    let mut sums = [[s.splat(0.0); P]; T];
    let mut dy = dy;
    for dy in &mut dy {
        *dy = &dy[..x.len()];
    }
    // Changes nothing, but shows that no index can be out of range.
    let lane = lane.min(LANES - T);
    for (r, x) in x.iter().enumerate() {
        let x = &x[lane..lane + T];
        let mut lanes = [s.splat(0.0); P];
        for p in 0..P {
            let place = &dy[p][r];
            if P > 1 {
                s.prefetch(core::ptr::from_ref(place).wrapping_add(AHEAD).cast());
            }
            lanes[p] = s.load(place);
        }
        for t in 0..T {
            let value = s.splat(x[t]);
            for p in 0..P {
                sums[t][p] = s.mul_add(value, lanes[p], sums[t][p]);
            }
        }
    }
    sums
}

/// Stores a tile's sums in panels, the last of `width` lanes, or adds them to what earlier blocks left.
#[inline(always)]
fn write<S: Simd, const T: usize, const P: usize>(
    s: S,
    sums: [[S::F32; P]; T],
    add: bool,
    (inputs, input): (usize, usize),
    width: usize,
    gradient: &mut [f32],
) {
    let full = if width < LANES { P - 1 } else { P };
    // Loops of known length: else the sums would go through memory.
    for p in 0..P {
        let panel = gradient.get_mut(p * LANES * inputs..).unwrap_or_default();
        if p < full {
            let places =
                panel.as_chunks_mut::<LANES>().0.get_mut(input..).and_then(|panel| panel.first_chunk_mut::<T>());
            if let Some(places) = places {
                for t in 0..T {
                    let sum = if add { s.add(s.load(&places[t]), sums[t][p]) } else { sums[t][p] };
                    s.store(sum, &mut places[t]);
                }
            }
        } else {
            let mut groups = [[0.0; LANES]; T];
            for t in 0..T {
                s.store(sums[t][p], &mut groups[t]);
            }
            write_narrow(&groups, add, panel.get_mut(input * width..).unwrap_or_default(), width);
        }
    }
}

/// The first `width` lanes of some sums; a multiple of four.
#[inline(never)]
fn write_narrow(sums: &[Group], add: bool, places: &mut [f32], width: usize) {
    for (sum, place) in sums.iter().zip(places.chunks_exact_mut(width)) {
        for (sum, place) in sum.as_chunks::<4>().0.iter().zip(place.as_chunks_mut::<4>().0) {
            for (sum, place) in sum.iter().zip(place) {
                *place = if add { *place + *sum } else { *sum };
            }
        }
    }
}

/// Gradient of the bias: `db[o] = Σ_r dy[r][o]`, `padded(outputs)` values; `dy` is in groups.
///
/// # Errors
/// [`Error::Length`] if `gradient` is not whole groups, or `dy` not as many rows of it.
pub fn bias_gradient(
    level: Level,
    split: &impl Split,
    rows: usize,
    dy: &[f32],
    gradient: &mut [f32],
) -> Result<(), Error> {
    let width = gradient.len();
    if !width.is_multiple_of(LANES) || width == 0 {
        return Err(Error::Length { what: "bias gradient", expected: padded(width.max(1)), found: width });
    }
    check_len("output gradient", rows.saturating_mul(width), dy.len())?;
    let per_task = panels_per_task(width, rows, split.workers()) * LANES;
    split.run([gradient], [per_task], &|task, [gradient]| {
        column_sums(level, &dy[task * per_task * rows..], rows, gradient);
    });
    Ok(())
}

kernel! {
    /// Sums over the rows of as many groups as `sums` has.
    pub(crate) fn column_sums(groups: &[f32], rows: usize, sums: &mut [f32]) = column_sums_body
}

#[inline(always)]
fn column_sums_body<S: Simd>(s: S, groups: &[f32], rows: usize, sums: &mut [f32]) {
    let (groups, _) = groups.as_chunks::<LANES>();
    for (g, sum) in sums.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
        let mut total = s.splat(0.0);
        for (block, rows) in groups[g * rows..][..rows].chunks(BLOCK).enumerate() {
            let mut acc = s.splat(0.0);
            for row in rows {
                acc = s.add(acc, s.load(row));
            }
            total = if block == 0 { acc } else { s.add(total, acc) };
        }
        s.store(total, sum);
    }
}

/// Gradient of the input: `dx[r][i] = Σ_o dy[r][o] * W[o][i]`; `dy` and `dx` are in groups.
///
/// `transposed` is scratch of `padded(inputs) * outputs` values: the weights are turned, some panels at a time, then this is
/// a forward product whose outputs are the inputs.
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
    let dy = Rows::grouped(dy, rows, outputs)?;
    if rows == 0 {
        return Ok(());
    }
    let per_task = panels_per_task(padded(inputs), rows * outputs, split.workers());
    let chunks = [per_task * LANES * outputs, per_task * LANES * rows];
    split.run([transposed, dx], chunks, &|task, [transposed, dx]| {
        input_gradient_panels(level, (inputs, outputs), weights, task * per_task, dy, transposed, dx);
    });
    Ok(())
}

/// The groups of inputs from `first` on, as many as `dx` has: turns the weights of a few, then multiplies, again and again
/// in the same part of the scratch, which so stays in the cache.
pub(crate) fn input_gradient_panels(
    level: Level,
    (inputs, outputs): (usize, usize),
    weights: &[f32],
    first: usize,
    dy: Rows<'_>,
    transposed: &mut [f32],
    dx: &mut [f32],
) {
    let (per_group, together) = (LANES * dy.len(), together(level, dy.len(), outputs));
    for (part, dx) in parts(dx, per_group, together, false) {
        let groups = dx.len() / per_group;
        let transposed = &mut transposed[..groups * LANES * outputs];
        panels::transpose(level, (inputs, outputs), weights, first + part, transposed);
        // All panels are full: the lanes beyond the last input are zero.
        let turned = Dense { inputs: outputs, outputs: groups * LANES, weights: &*transposed, bias: None };
        some_panels(level, turned, Last::Nothing, 0, dy, dx);
    }
}

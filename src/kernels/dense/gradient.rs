//! Gradients of a dense layer: weights, bias and input. All activations and their gradients are in groups.

use super::super::{BLOCK, groups::Rows, panels};
use super::{Dense, Last, TOGETHER, check_shape, panels_per_task, parts, some, some_panels, together};
use crate::Level;
use crate::error::{Error, check_len};
use crate::layer::padded;
use crate::simd::{Group, LANES, Simd, level::kernel};
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
    let mut panel = first;
    let mut left = gradient;
    while !left.is_empty() {
        let dy = &dy[(panel - first) * rows..];
        let full = left.len() / (LANES * inputs);
        let width = if full > 0 { LANES } else { panels::panel_width(outputs, panel) };
        let at_once = if S::REGISTERS < 32 { 1 } else { some(full, TOGETHER).max(1) };
        let (now, later) = left.split_at_mut((at_once * width * inputs).min(left.len()));
        match at_once {
            3 => gradient_panels::<S, 3>(s, inputs, rows, x, dy, width, now),
            2 => gradient_panels::<S, 2>(s, inputs, rows, x, dy, width, now),
            _ => gradient_panels::<S, 1>(s, inputs, rows, x, dy, width, now),
        }
        panel += at_once;
        left = later;
    }
}

/// `P` panels: blocks of rows, then tiles of inputs.
#[inline(always)]
fn gradient_panels<S: Simd, const P: usize>(
    s: S,
    inputs: usize,
    rows: usize,
    x: &[Group],
    dy: &[Group],
    width: usize,
    gradient: &mut [f32],
) {
    for start in (0..rows).step_by(BLOCK) {
        let len = BLOCK.min(rows - start);
        let dy: [&[Group]; P] = core::array::from_fn(|p| &dy[p * rows + start..][..len]);
        for first in (0..inputs).step_by(LANES) {
            let x = &x[first / LANES * rows + start..][..len];
            let lanes = LANES.min(inputs - first);
            let mut lane = 0;
            macro_rules! inputs_of {
                ($($count:literal)*) => {
                    $(while lane + $count <= lanes {
                        let sums: [[S::F32; P]; $count] = gradient_tile(s, x, lane, dy);
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

/// `T` inputs, from lane `lane` of their group, by `P` panels: chains over the rows of a block.
#[inline(always)]
fn gradient_tile<S: Simd, const T: usize, const P: usize>(
    s: S,
    x: &[Group],
    lane: usize,
    dy: [&[Group]; P],
) -> [[S::F32; P]; T] {
    let mut sums = [[s.splat(0.0); P]; T];
    let dy = dy.map(|dy| &dy[..x.len()]);
    // Changes nothing, but shows that no index can be out of range.
    let lane = lane.min(LANES - T);
    for (r, x) in x.iter().enumerate() {
        let x = &x[lane..lane + T];
        let lanes: [S::F32; P] = core::array::from_fn(|p| s.load(&dy[p][r]));
        for t in 0..T {
            let value = s.splat(x[t]);
            for p in 0..P {
                sums[t][p] = s.mul_add(value, lanes[p], sums[t][p]);
            }
        }
    }
    sums
}

/// Stores a tile's sums in panels of `width` lanes, or adds them to what earlier blocks left.
#[inline(always)]
fn write<S: Simd, const T: usize, const P: usize>(
    s: S,
    sums: [[S::F32; P]; T],
    add: bool,
    (inputs, input): (usize, usize),
    width: usize,
    gradient: &mut [f32],
) {
    if width < LANES {
        return write_narrow(s, sums, add, input, width, gradient);
    }
    for p in 0..P {
        let (panel, _) = gradient[p * LANES * inputs..].as_chunks_mut::<LANES>();
        for (sums, place) in sums.iter().zip(&mut panel[input..][..T]) {
            let sum = if add { s.add(s.load(place), sums[p]) } else { sums[p] };
            s.store(sum, place);
        }
    }
}

/// As [`write`], of a single panel narrower than a group.
#[inline(always)]
fn write_narrow<S: Simd, const T: usize, const P: usize>(
    s: S,
    sums: [[S::F32; P]; T],
    add: bool,
    input: usize,
    width: usize,
    gradient: &mut [f32],
) {
    let mut groups = [[0.0; LANES]; T];
    for (sums, group) in sums.iter().zip(&mut groups) {
        s.store(sums[0], group);
    }
    for (group, place) in groups.iter().zip(gradient[input * width..].chunks_exact_mut(width)) {
        for (sum, place) in group.iter().zip(place) {
            *place = if add { *place + *sum } else { *sum };
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
    let per_task = panels_per_task(inputs, rows * outputs, split.workers());
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
    let (per_group, together) = (LANES * dy.len(), together(dy.len(), outputs));
    for (part, dx) in parts(dx, per_group, together) {
        let groups = dx.len() / per_group;
        let transposed = &mut transposed[..groups * LANES * outputs];
        panels::transpose(level, (inputs, outputs), weights, first + part, transposed);
        // All panels are full: the lanes beyond the last input are zero.
        let turned = Dense { inputs: outputs, outputs: groups * LANES, weights: &*transposed, bias: None };
        some_panels(level, turned, Last::Nothing, 0, dy, dx);
    }
}

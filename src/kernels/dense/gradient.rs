//! Gradients of a dense layer: weights, bias and input.

use super::super::{BLOCK, panels};
use super::{Dense, check_rows, check_shape, forward};
use crate::Level;
use crate::error::{Error, check_len};
use crate::layer::padded;
use crate::simd::{LANES, Simd, level::kernel};
use crate::split::Split;

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
    let per_task = panels.div_ceil(split.workers().max(1)).min(3);
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
    let per_task = (width / LANES).div_ceil(split.workers().max(1)).clamp(1, 16) * LANES;
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
        for (block, rows) in rows.chunks(BLOCK.saturating_mul(stride)).enumerate() {
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

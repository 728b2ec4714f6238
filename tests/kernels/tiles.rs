//! Every tile of the dense products: one to forty rows by one to eight panels, the last of every width, with sums that
//! end at, before and behind the ends of groups and of blocks.
//!
//! The reference is computed once for the most rows and columns; fewer of them are its upper left corner, as no sum
//! knows of its neighbours.

use crate::common::layout::{group, group_strided, ungroup};
use crate::common::reference::{Stored, pack};
use crate::common::values::{Rng, Shape, Values};
use crate::common::{Group, Tally, emulated, groups};
use crate::dense::forward;
use evenkeel::kernels::dense;
use evenkeel::kernels::groups::Rows;
use evenkeel::layer::{Activation, padded};
use evenkeel::split::Serial;

/// The largest number of rows.
const ROWS: usize = 40;
/// The largest number of columns that are panels: eight.
const COLS: usize = 128;
/// Columns of the last panel: stored 4, 8, 12 and 16 wide, with and without lanes that belong to no column.
const LAST: [usize; 6] = [1, 4, 7, 12, 14, 16];
/// Lengths of a sum.
const SUMS: [usize; 12] = [1, 2, 15, 16, 17, 33, 255, 256, 257, 511, 512, 513];

fn rows() -> impl Iterator<Item = usize> {
    (1..=ROWS).filter(|rows| !emulated() || [1, 2, 5, 8, 9, 16, 17, 31].contains(rows))
}

/// For a number of panels a number of columns; over many lengths of sums each width of the last panel has its turn.
fn columns(turn: usize) -> impl Iterator<Item = usize> {
    (1..=8).map(move |panels| 16 * (panels - 1) + LAST[(panels + turn) % LAST.len()])
}

/// The first `rows` rows of `cols` values of rows of `width`.
fn corner(x: &[f32], width: usize, rows: usize, cols: usize) -> Vec<f32> {
    x.chunks_exact(width).take(rows).flat_map(|row| &row[..cols]).copied().collect()
}

/// The same as rows of `padded(cols)` values, the padding zero.
fn padded_corner(x: &[f32], width: usize, rows: usize, cols: usize) -> Vec<f32> {
    let mut out = vec![0.0; rows * padded(cols)];
    for (out, row) in out.chunks_exact_mut(padded(cols)).zip(x.chunks_exact(width)) {
        out[..cols].copy_from_slice(&row[..cols]);
    }
    out
}

/// All numbers of rows for one matrix, from plain and grouped rows into both.
fn products<W: Stored>(tally: &mut Tally, groups: &[Group], rng: &mut Rng, shape: (usize, usize), rows: &[usize]) {
    let (inputs, outputs) = shape;
    let stride = inputs + rng.pick(&[0, 1, 3, 16, 29]);
    let x = Values::Hard.strided_rows(rng, ROWS, inputs, stride);
    let matrix = Values::Hard.stored::<W>(rng, inputs * outputs);
    let weights = pack(shape, &matrix);
    let matrix: Vec<f32> = matrix.into_iter().map(W::widen).collect();
    let mut bias = vec![0.0; padded(outputs)];
    bias[..outputs].fill_with(|| rng.unit());
    let bias = (rng.below(4) > 0).then_some(&bias[..]);
    let operands = dense::Dense { inputs, outputs, weights: &weights, bias };
    let most = rows.iter().copied().max().unwrap_or(0);
    for (reference, levels) in groups {
        let all = reference.dense(shape, &matrix, bias, most, &x, stride);
        for rows in rows.iter().copied() {
            let x_groups = group_strided(rows, inputs, stride, &x);
            let plain = Rows::plain(&x[..(rows - 1) * stride + inputs], rows, inputs, stride).expect("rows");
            let grouped = Rows::grouped(&x_groups, rows, inputs).expect("rows");
            let expected = &all[..rows * padded(outputs)];
            let active: Vec<f32> = expected.iter().map(|y| reference.activation(Activation::Relu, *y)).collect();
            for level in levels {
                for (from, x, into) in [
                    ("plain", plain, "plain"),
                    ("plain", plain, "grouped"),
                    ("grouped", grouped, "plain"),
                    ("grouped", grouped, "grouped"),
                ] {
                    let found = forward(*level, &Serial, operands, x, into);
                    let size =
                        || format!("{} weights, {rows} rows {stride} apart, {shape:?}, {from} into {into}", W::NAME);
                    tally.compare(*level, size, &found, expected);
                }
                let (x, mut found) = (if rows % 2 == 0 { plain } else { grouped }, vec![f32::NAN; expected.len()]);
                dense::forward_then(*level, &Serial, operands, x, Some(Activation::Relu), &mut found).expect("rows");
                tally.compare(*level, || format!("{rows} rows, {shape:?}, ReLU"), &ungroup(outputs, &found), &active);
            }
        }
    }
}

#[test]
fn outputs() {
    let (groups, rng) = (groups(), &mut Rng::new(71));
    let mut tally = Tally::new("dense forward, rows by panels");
    let rows: Vec<usize> = rows().collect();
    for (turn, inputs) in SUMS.into_iter().enumerate() {
        for outputs in columns(turn) {
            products::<f32>(&mut tally, &groups, rng, (inputs, outputs), &rows);
            if turn % 4 == 0 {
                products::<u16>(&mut tally, &groups, rng, (inputs, outputs), &rows);
            }
        }
    }
    // Each width behind each number of panels.
    let some: Vec<usize> = rows.into_iter().filter(|rows| rows % 8 < 3 || *rows < 18).collect();
    for outputs in (0..8).flat_map(|panels| LAST.map(|last| 16 * panels + last)) {
        products::<f32>(&mut tally, &groups, rng, (20, outputs), &some);
    }
    tally.finish();
}

/// Rows longer than eight blocks, with weights that stay in the second cache and with more.
#[test]
fn outputs_of_long_rows() {
    let (groups, rng) = (groups(), &mut Rng::new(72));
    let mut tally = Tally::new("dense forward, long rows");
    let rows: &[usize] = if emulated() { &[2, 17] } else { &[1, 2, 3, 6, 7, 8, 9, 15, 16, 17, 25, 33, 40] };
    for inputs in [2047, 2048, 2049, 2304, 2305] {
        for outputs in [5, 16, 24, 33, 120, 125, 128] {
            products::<f32>(&mut tally, &groups, rng, (inputs, outputs), rows);
        }
        products::<u16>(&mut tally, &groups, rng, (inputs, 125), rows);
    }
    tally.finish();
}

/// Rows and weights beyond the caches: many panels, some of them at a time.
#[test]
fn outputs_of_wide_layers() {
    let (groups, rng) = (groups(), &mut Rng::new(75));
    let mut tally = Tally::new("dense forward, wide layers");
    let shapes = [(270, 1000, 406), (300, 900, 33), (40, 300, 800), (9, 2100, 393), (2, 70, 1030)];
    for (rows, inputs, outputs) in shapes {
        let (rows, outputs) = if emulated() { (rows / 8 + 1, outputs / 2) } else { (rows, outputs) };
        let shape = Shape { rows, inputs, outputs, stride: inputs + 5 };
        super::dense::check::<f32>(&mut tally, &groups, rng, shape, Values::Hard);
        if rows < 100 {
            super::dense::check::<u16>(&mut tally, &groups, rng, shape, Values::Hard);
        }
    }
    tally.finish();
}

/// The sum is over the rows; a tile is of inputs and panels.
#[test]
fn weight_gradients() {
    let (groups, rng) = (groups(), &mut Rng::new(73));
    let mut tally = Tally::new("weight gradient, inputs by panels");
    for (turn, batch) in SUMS.into_iter().enumerate() {
        let x = Values::Hard.vec(rng, batch * ROWS);
        let dy = Values::Hard.vec(rng, batch * COLS);
        for (reference, levels) in &groups {
            // `[output][input]`
            let all = reference.weight_gradient((ROWS, COLS), batch, &x, ROWS, &dy);
            for inputs in rows() {
                let x = group_strided(batch, inputs, ROWS, &x);
                for outputs in columns(turn) {
                    let expected = pack((inputs, outputs), &corner(&all, ROWS, outputs, inputs));
                    let dy = group(outputs, &padded_corner(&dy, COLS, batch, outputs));
                    for level in levels {
                        let mut found = vec![f32::NAN; expected.len()];
                        dense::weight_gradient(*level, &Serial, (inputs, outputs), batch, &x, &dy, &mut found)
                            .expect("the lengths are right");
                        tally.compare(*level, || format!("{batch} rows, {inputs} to {outputs}"), &found, &expected);
                    }
                }
            }
        }
    }
    tally.finish();
}

/// The sum is over the outputs; a tile is of rows and panels of inputs.
#[test]
fn input_gradients() {
    let (groups, rng) = (groups(), &mut Rng::new(74));
    let mut tally = Tally::new("input gradient, rows by panels");
    for (turn, outputs) in SUMS.into_iter().enumerate() {
        let dy = Values::Hard.padded_rows(rng, ROWS, outputs);
        let matrix = Values::Hard.vec(rng, outputs * COLS);
        for (reference, levels) in &groups {
            let all = reference.input_gradient((COLS, outputs), &matrix, ROWS, &dy);
            for inputs in columns(turn) {
                let shape = (inputs, outputs);
                let weights = pack(shape, &corner(&matrix, COLS, outputs, inputs));
                let mut turned = vec![f32::NAN; padded(inputs) * outputs];
                for rows in rows() {
                    let expected = padded_corner(&all, COLS, rows, inputs);
                    let dy = group(outputs, &dy[..rows * padded(outputs)]);
                    for level in levels {
                        let mut found = vec![f32::NAN; expected.len()];
                        dense::input_gradient(*level, &Serial, shape, &weights, rows, &dy, &mut turned, &mut found)
                            .expect("the lengths are right");
                        let size = || format!("{rows} rows, {shape:?}");
                        tally.compare(*level, size, &ungroup(inputs, &found), &expected);
                    }
                }
            }
        }
    }
    tally.finish();
}

//! The forward product, with weights of both types.

use crate::common::layout::{group_strided, ungroup};
use crate::common::reference::{Stored, pack, place};
use crate::common::values::{Rng, Shape, Values, covering_shapes};
use crate::common::{Group, Tally, groups, levels, rounds};
use evenkeel::Level;
use evenkeel::kernels::groups::Rows;
use evenkeel::kernels::{dense, panels};
use evenkeel::layer::padded;
use evenkeel::split::{Serial, Split};

/// One shape at every level, from plain rows and from groups, into groups and into plain rows; with and without bias.
pub(crate) fn check<W: Stored>(tally: &mut Tally, groups: &[Group], rng: &mut Rng, shape: Shape, values: Values) {
    let Shape { rows, inputs, outputs, stride } = shape;
    let x = values.strided_rows(rng, rows, inputs, stride);
    let matrix = values.stored::<W>(rng, inputs * outputs);
    let weights = pack((inputs, outputs), &matrix);
    let matrix: Vec<f32> = matrix.into_iter().map(W::widen).collect();
    let mut bias = vec![0.0; padded(outputs)];
    bias[..outputs].fill_with(|| values.draw(rng));
    let bias = (rng.below(4) > 0).then_some(&bias[..]);
    let groups_of_x = group_strided(rows, inputs, stride, &x);
    let plain = Rows::plain(&x, rows, inputs, stride).expect("as many values");
    let grouped = Rows::grouped(&groups_of_x, rows, inputs).expect("as many values");
    let kind = rng.pick(&super::elementwise::ALL);
    for (reference, levels) in groups {
        let mut expected = reference.dense((inputs, outputs), &matrix, bias, rows, &x, stride);
        if values == Values::NonFinite {
            // A zero weight times infinity is NaN in the padding too, and only then.
            forget_padding(outputs, &mut expected);
        }
        // An activation of zero need not be zero.
        let mut active: Vec<f32> = expected.iter().map(|y| reference.activation(kind, *y)).collect();
        forget_padding(outputs, &mut active);
        for level in levels {
            let operands = dense::Dense { inputs, outputs, weights: &weights, bias };
            for (from, x) in [("plain", plain), ("grouped", grouped)] {
                for into in ["grouped", "plain"] {
                    let mut y = forward(*level, &Serial, operands, x, into);
                    if values == Values::NonFinite {
                        forget_padding(outputs, &mut y);
                    }
                    let size = || format!("{} weights, {values:?} values, {shape:?}, {from} into {into}", W::NAME);
                    tally.compare(*level, size, &y, &expected);
                }
                let mut y = vec![f32::NAN; rows * padded(outputs)];
                dense::forward_then(*level, &Serial, operands, x, Some(kind), &mut y).expect("the lengths are right");
                let mut y = ungroup(outputs, &y);
                forget_padding(outputs, &mut y);
                let size = || format!("{} weights, {values:?} values, {shape:?}, {from}, {kind:?}", W::NAME);
                tally.compare(*level, size, &y, &active);
            }
        }
    }
}

/// Either forward product, its output as plain rows of `padded(outputs)` values.
pub(crate) fn forward<W: Stored>(
    level: Level,
    split: &impl Split,
    operands: dense::Dense<'_, W>,
    x: Rows<'_>,
    into: &str,
) -> Vec<f32> {
    let mut y = vec![f32::NAN; x.len() * padded(operands.outputs)];
    if into == "plain" {
        dense::forward_plain(level, split, operands, x, &mut y).expect("the lengths are right");
        return y;
    }
    dense::forward(level, split, operands, x, &mut y).expect("the lengths are right");
    ungroup(operands.outputs, &y)
}

pub(crate) fn forget_padding(cols: usize, x: &mut [f32]) {
    for row in x.chunks_exact_mut(padded(cols)) {
        row[cols..].fill(0.0);
    }
}

#[test]
fn forward_f32() {
    let (groups, rng, mut tally) = (groups(), &mut Rng::new(1), Tally::new("dense forward, f32 weights"));
    for shape in covering_shapes(rng, rounds(4), 1 << 19) {
        check::<f32>(&mut tally, &groups, rng, shape, Values::Hard);
    }
    tally.finish();
}

#[test]
fn forward_f16() {
    let (groups, rng, mut tally) = (groups(), &mut Rng::new(2), Tally::new("dense forward, f16 weights"));
    for shape in covering_shapes(rng, rounds(3), 1 << 19) {
        check::<u16>(&mut tally, &groups, rng, shape, Values::Hard);
    }
    tally.finish();
}

#[test]
fn forward_of_not_a_number() {
    let (groups, rng, mut tally) = (groups(), &mut Rng::new(3), Tally::new("dense forward, NaN and infinity"));
    for shape in covering_shapes(rng, rounds(2), 1 << 17) {
        check::<f32>(&mut tally, &groups, rng, shape, Values::NonFinite);
        check::<u16>(&mut tally, &groups, rng, shape, Values::NonFinite);
    }
    tally.finish();
}

/// More rows than stay in the second cache: they are done in several parts, of different sizes, with all of their inputs or block
/// by block. With panels enough a block is copied before: of plain rows, and of rows in groups if they are too many.
#[test]
fn forward_of_many_rows() {
    let (groups, rng, mut tally) =
        (groups(), &mut Rng::new(4), Tally::new("dense forward, rows beyond the second cache"));
    for (rows, inputs, outputs) in
        [(311, 1003, 50), (150, 2047, 17), (1025, 300, 7), (130, 2103, 98), (390, 700, 98), (1030, 260, 98)]
    {
        let shape = Shape { rows, inputs, outputs, stride: inputs + rng.below(3) };
        check::<f32>(&mut tally, &groups, rng, shape, Values::Hard);
    }
    check::<u16>(&mut tally, &groups, rng, Shape { rows: 130, inputs: 2103, outputs: 98, stride: 2110 }, Values::Hard);
    tally.finish();
}

/// No rows at all are no error.
#[test]
fn forward_of_nothing() {
    for level in Level::available() {
        let operands = dense::Dense { inputs: 3, outputs: 2, weights: &[1.0_f32; 12], bias: None };
        for x in [Rows::plain(&[], 0, 3, 3), Rows::plain(&[1.0; 5], 0, 3, 4), Rows::grouped(&[], 0, 3)] {
            let x = x.expect("no rows need no values");
            assert!(x.is_empty());
            assert_eq!(dense::forward(level, &Serial, operands, x, &mut []), Ok(()));
            assert_eq!(dense::forward_plain(level, &Serial, operands, x, &mut []), Ok(()));
        }
    }
}

#[test]
fn layout_of_panels() {
    let rng = &mut Rng::new(4);
    let (mut values, levels) = (0, levels());
    for inputs in (1..=67).chain([255, 256, 257]) {
        for outputs in (1..=67).chain([255, 256, 257]) {
            let matrix = Values::Hard.vec(rng, inputs * outputs);
            let expected = pack((inputs, outputs), &matrix);
            assert_eq!(panels::weight_len(inputs, outputs), expected.len(), "{inputs} to {outputs}");
            let last = (outputs - 1, inputs - 1);
            assert_eq!(panels::position(inputs, outputs, last.0, last.1), place((inputs, outputs), last.0, last.1));
            let mut weights = vec![f32::NAN; expected.len()];
            panels::pack(inputs, outputs, &matrix, &mut weights);
            assert!(weights == expected, "{inputs} to {outputs}: packed");
            let mut back = vec![f32::NAN; matrix.len()];
            panels::unpack(inputs, outputs, &weights, &mut back);
            assert!(back == matrix, "{inputs} to {outputs}: unpacked");
            if inputs > 48 {
                // The scratch of turned weights holds three groups at a time; `gradients.rs` sees what comes of the others.
                continue;
            }
            // Turned, by a gradient of no interest: inputs and outputs change places, panels are full.
            let level = levels[values % levels.len()];
            let mut turned = vec![f32::NAN; padded(inputs) * outputs];
            let (dy, mut dx) = (vec![0.0; padded(outputs)], vec![0.0; padded(inputs)]);
            dense::input_gradient(level, &Serial, (inputs, outputs), &weights, 1, &dy, &mut turned, &mut dx)
                .expect("the lengths are right");
            for input in 0..padded(inputs) {
                for output in 0..outputs {
                    let found = turned[input / 16 * 16 * outputs + output * 16 + input % 16];
                    let wanted = if input < inputs { matrix[output * inputs + input] } else { 0.0 };
                    assert_eq!(found.to_bits(), wanted.to_bits(), "{inputs} to {outputs}: turned {input}, {output}");
                    values += 1;
                }
            }
        }
    }
    println!("layout of panels: {values} places, 0 wrong");
}

//! Gradients of a dense layer: weights, bias, input.

use crate::common::layout::{group, group_strided, ungroup};
use crate::common::reference::pack;
use crate::common::values::{ROWS, Rng, Shape, Values, covering_shapes, sizes};
use crate::common::{Group, Tally, groups, rounds};
use crate::dense::forget_padding;
use evenkeel::Level;
use evenkeel::kernels::dense;
use evenkeel::layer::padded;
use evenkeel::split::Serial;

/// All lanes beyond the last output; only infinities make them anything but zero.
fn forget_lanes((inputs, outputs): (usize, usize), weights: &mut [f32]) {
    for (panel, weights) in weights.chunks_mut(16 * inputs).enumerate() {
        let stored = weights.len() / inputs;
        for lanes in weights.chunks_exact_mut(stored) {
            lanes[(outputs - panel * 16).min(stored)..].fill(0.0);
        }
    }
}

pub(crate) fn check_weights(tally: &mut Tally, groups: &[Group], rng: &mut Rng, shape: Shape, values: Values) {
    let Shape { rows, inputs, outputs, stride } = shape;
    let x = values.strided_rows(rng, rows, inputs, stride);
    let dy = values.padded_rows(rng, rows, outputs);
    for (reference, levels) in groups {
        let expected = reference.weight_gradient((inputs, outputs), rows, &x, stride, &dy);
        let expected = pack((inputs, outputs), &expected);
        let (x, dy) = (group_strided(rows, inputs, stride, &x), group(outputs, &dy));
        for level in levels {
            let mut gradient = vec![f32::NAN; expected.len()];
            dense::weight_gradient(*level, &Serial, (inputs, outputs), rows, &x, &dy, &mut gradient)
                .expect("the lengths are right");
            if values == Values::NonFinite {
                forget_lanes((inputs, outputs), &mut gradient);
            }
            tally.compare(*level, || format!("{values:?} values, {shape:?}"), &gradient, &expected);
        }
    }
}

pub(crate) fn check_input(tally: &mut Tally, groups: &[Group], rng: &mut Rng, shape: Shape, values: Values) {
    let Shape { rows, inputs, outputs, .. } = shape;
    let dy = values.padded_rows(rng, rows, outputs);
    let matrix = values.vec(rng, inputs * outputs);
    let weights = pack((inputs, outputs), &matrix);
    let mut transposed = vec![f32::NAN; padded(inputs) * outputs];
    for (reference, levels) in groups {
        let mut expected = reference.input_gradient((inputs, outputs), &matrix, rows, &dy);
        let dy = group(outputs, &dy);
        for level in levels {
            let mut dx = vec![f32::NAN; expected.len()];
            let shape = (inputs, outputs);
            dense::input_gradient(*level, &Serial, shape, &weights, rows, &dy, &mut transposed, &mut dx)
                .expect("the lengths are right");
            let mut dx = ungroup(inputs, &dx);
            if values == Values::NonFinite {
                forget_padding(inputs, &mut dx);
                forget_padding(inputs, &mut expected);
            }
            tally.compare(*level, || format!("{values:?} values, {rows} rows, {shape:?}"), &dx, &expected);
        }
    }
}

fn covering(name: &'static str, seed: u64, check: fn(&mut Tally, &[Group], &mut Rng, Shape, Values)) {
    let (groups, rng, mut tally) = (groups(), &mut Rng::new(seed), Tally::new(name));
    for shape in covering_shapes(rng, rounds(2), 1 << 19) {
        check(&mut tally, &groups, rng, shape, Values::Hard);
    }
    for shape in covering_shapes(rng, 1, 1 << 15) {
        check(&mut tally, &groups, rng, shape, Values::NonFinite);
    }
    tally.finish();
}

#[test]
fn weights() {
    covering("weight gradient", 11, check_weights);
}

#[test]
fn input() {
    covering("input gradient", 12, check_input);
}

#[test]
fn bias() {
    let (groups, rng, mut tally) = (groups(), &mut Rng::new(13), Tally::new("bias gradient"));
    let rows = sizes().chain([0]);
    for rows in rows.chain(ROWS) {
        for outputs in [1, 16, 17, 48, 49, 255, 513] {
            let values = rng.pick(&[Values::Hard, Values::NonFinite]);
            let dy = values.padded_rows(rng, rows, outputs);
            for (reference, levels) in &groups {
                let expected = reference.bias_gradient(padded(outputs), &dy);
                let dy = group(outputs, &dy);
                for level in levels {
                    let mut gradient = vec![f32::NAN; padded(outputs)];
                    dense::bias_gradient(*level, &Serial, rows, &dy, &mut gradient).expect("the lengths are right");
                    let size = || format!("{values:?} values, {rows} rows of {outputs}");
                    tally.compare(*level, size, &gradient, &expected);
                }
            }
        }
    }
    tally.finish();
}

/// A batch without rows has gradients of zero.
#[test]
fn of_nothing() {
    for level in Level::available() {
        let mut gradient = [f32::NAN; 12];
        assert_eq!(dense::weight_gradient(level, &Serial, (3, 2), 0, &[], &[], &mut gradient), Ok(()));
        assert_eq!(gradient, [0.0; 12]);
        let mut gradient = [f32::NAN; 16];
        assert_eq!(dense::bias_gradient(level, &Serial, 0, &[], &mut gradient), Ok(()));
        assert_eq!(gradient, [0.0; 16]);
        let mut turned = [0.0; 32];
        assert_eq!(dense::input_gradient(level, &Serial, (3, 2), &[1.0; 12], 0, &[], &mut turned, &mut []), Ok(()));
    }
}

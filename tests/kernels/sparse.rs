//! A dense layer on index lists: the bits of the reference on the same rows as zeros and ones.

use crate::common::layout::{group, group_strided, ungroup};
use crate::common::reference::{Stored, pack};
use crate::common::threads::ways;
use crate::common::values::{Rng, Values};
use crate::common::{Tally, groups, levels, rounds, same};
use evenkeel::Level;
use evenkeel::error::Error;
use evenkeel::kernels::groups::Rows;
use evenkeel::kernels::sparse::{self, IndexLists};
use evenkeel::kernels::{dense, panels};
use evenkeel::layer::{Activation, MAX_WIDTH, padded};
use evenkeel::split::Serial;
use proptest::prelude::*;

/// Lists of random features; `share` of them in a thousand.
fn lists(rng: &mut Rng, rows: usize, features: usize, share: usize) -> (Vec<usize>, Vec<u32>) {
    let (mut offsets, mut indices) = (vec![0], Vec::new());
    for _ in 0..rows {
        indices.extend((0..features as u32).filter(|_| rng.below(1000) < share));
        offsets.push(indices.len());
    }
    (offsets, indices)
}

fn plain(x: &IndexLists<'_>) -> Vec<f32> {
    let mut plain = vec![f32::NAN; x.len() * x.features()];
    x.write_plain(&mut plain);
    plain
}

/// Empty rows, full rows, and between them the density of text.
const SHARES: [usize; 5] = [0, 13, 130, 500, 1000];
const INPUTS: [usize; 12] = [1, 2, 15, 17, 100, 255, 256, 257, 512, 513, 900, 2048];
const OUTPUTS: [usize; 14] = [1, 2, 4, 5, 8, 9, 12, 13, 16, 17, 24, 33, 48, 50];

fn forward<W: Stored>(name: &'static str, seed: u64) {
    let (groups, rng, mut tally) = (groups(), &mut Rng::new(seed), Tally::new(name));
    for _ in 0..rounds(6) {
        for inputs in INPUTS {
            let (outputs, rows, share) = (rng.pick(&OUTPUTS), rng.pick(&[1, 2, 5, 16, 19]), rng.pick(&SHARES));
            let (offsets, indices) = lists(rng, rows, inputs, share);
            let x = IndexLists::new(inputs, &offsets, &indices).expect("ascending lists");
            // Weights of both zeros, subnormals and large numbers: where a term of 0 could show.
            let matrix = Values::Hard.stored::<W>(rng, inputs * outputs);
            let weights = pack((inputs, outputs), &matrix);
            let matrix: Vec<f32> = matrix.into_iter().map(W::widen).collect();
            let bias = Values::Hard.padded_rows(rng, 1, outputs);
            let bias = rng.pick(&[None, Some(&bias[..])]);
            let operands = dense::Dense { inputs, outputs, weights: &weights[..], bias };
            let plain = plain(&x);
            for (reference, levels) in &groups {
                let expected = reference.dense((inputs, outputs), &matrix, bias, rows, &plain, inputs);
                for level in levels {
                    let size = || format!("{rows} rows of {inputs} to {outputs}, {share} in a thousand");
                    let mut y = vec![f32::NAN; expected.len()];
                    sparse::forward_then(*level, &Serial, operands, x, None, &mut y).expect("right lengths");
                    tally.compare(*level, size, &ungroup(outputs, &y), &expected);
                    for then in [Activation::Relu, Activation::Tanh] {
                        let (mut y, mut other) = (vec![f32::NAN; y.len()], vec![f32::NAN; y.len()]);
                        let rows = Rows::plain(&plain, rows, inputs, inputs).expect("rows");
                        sparse::forward_then(*level, &Serial, operands, x, Some(then), &mut y).expect("lengths");
                        dense::forward_then(*level, &Serial, operands, rows, Some(then), &mut other).expect("lengths");
                        tally.compare(*level, size, &y, &other);
                    }
                }
            }
        }
    }
    tally.finish();
}

#[test]
fn forward_f32() {
    forward::<f32>("dense forward of index lists, f32", 71);
}

#[test]
fn forward_f16() {
    forward::<u16>("dense forward of index lists, f16", 72);
}

/// Also beyond one and two chains of 256 rows, into a gradient that held something else.
#[test]
fn weights() {
    let (groups, rng, mut tally) = (groups(), &mut Rng::new(73), Tally::new("weight gradient of index lists"));
    for rows in [0, 1, 2, 17, 255, 256, 257, 300, 512, 513, 700] {
        for _ in 0..rounds(8) {
            let (inputs, outputs) = (rng.pick(&INPUTS).min(600), rng.pick(&OUTPUTS));
            let share = rng.pick(&SHARES);
            let (offsets, indices) = lists(rng, rows, inputs, share);
            let x = IndexLists::new(inputs, &offsets, &indices).expect("ascending lists");
            let dy = Values::Hard.padded_rows(rng, rows, outputs);
            let shape = (inputs, outputs);
            for (reference, levels) in &groups {
                let expected = reference.weight_gradient(shape, rows, &plain(&x), inputs, &dy);
                let expected = pack(shape, &expected);
                let dy = group(outputs, &dy);
                for level in levels {
                    let mut gradient = vec![f32::NAN; expected.len()];
                    sparse::weight_gradient(*level, &Serial, shape, x, &dy, &mut gradient).expect("right lengths");
                    let size = || format!("{rows} rows of {inputs} to {outputs}, {share} in a thousand");
                    tally.compare(*level, size, &gradient, &expected);
                }
            }
        }
    }
    tally.finish();
}

/// Numbers of workers and orders of tasks.
#[test]
fn threads_change_nothing() {
    let rng = &mut Rng::new(74);
    // Terms enough for several tasks.
    let (rows, inputs, outputs) = (300, 1000, 50);
    let (offsets, indices) = lists(rng, rows, inputs, 100);
    let x = IndexLists::new(inputs, &offsets, &indices).expect("ascending lists");
    let weights = pack((inputs, outputs), &Values::Hard.vec(rng, inputs * outputs));
    let dy = group(outputs, &Values::Hard.padded_rows(rng, rows, outputs));
    let operands = dense::Dense { inputs, outputs, weights: &weights[..], bias: None };
    let mut tally = Tally::new("index lists, threads");
    for level in levels() {
        let mut expected = (vec![0.0; rows * padded(outputs)], vec![0.0; weights.len()]);
        let then = Some(Activation::Gelu);
        sparse::forward_then(level, &Serial, operands, x, then, &mut expected.0).expect("lengths");
        sparse::weight_gradient(level, &Serial, (inputs, outputs), x, &dy, &mut expected.1).expect("lengths");
        for split in ways() {
            let mut found = (vec![f32::NAN; expected.0.len()], vec![f32::NAN; weights.len()]);
            sparse::forward_then(level, &split, operands, x, then, &mut found.0).expect("lengths");
            sparse::weight_gradient(level, &split, (inputs, outputs), x, &dy, &mut found.1).expect("lengths");
            tally.compare(level, || format!("{split:?}"), &found.0, &expected.0);
            tally.compare(level, || format!("{split:?}"), &found.1, &expected.1);
        }
    }
    tally.finish();
}

/// Where the two forms may differ, as the module says: an infinite weight spoils the rows that list it and no others.
#[test]
fn weights_that_are_not_finite() {
    let (inputs, outputs) = (300, 5);
    let offsets = [0, 3, 5, 5];
    let x = IndexLists::new(inputs, &offsets, &[1, 7, 299, 2, 280]).expect("ascending lists");
    for (value, spoiled) in [(f32::INFINITY, f32::INFINITY), (f32::NAN, f32::NAN)] {
        let mut matrix = vec![0.25; inputs * outputs];
        matrix[2 * inputs + 7] = value;
        let weights = pack((inputs, outputs), &matrix);
        let operands = dense::Dense { inputs, outputs, weights: &weights[..], bias: None };
        for level in levels() {
            let mut y = vec![0.0; 3 * 16];
            sparse::forward_then(level, &Serial, operands, x, None, &mut y).expect("lengths");
            for row in 0..3 {
                let ones = x.row(row).len() as f32;
                for output in 0..outputs {
                    let expected = if (row, output) == (0, 2) { spoiled } else { 0.25 * ones };
                    assert!(same(y[row * 16 + output], expected), "{level}: row {row}, output {output}");
                }
            }
        }
    }
}

#[test]
fn wrong_lists_are_refused() {
    let new = |features, offsets: &[usize], indices: &[u32]| IndexLists::new(features, offsets, indices).unwrap_err();
    assert_eq!(new(0, &[0], &[]), Error::Widths { inputs: 0, layers: 0 });
    assert_eq!(new(MAX_WIDTH + 1, &[0], &[]), Error::Widths { inputs: MAX_WIDTH + 1, layers: 0 });
    let offsets = |at, offset, before, indices| Error::Offsets { at, offset, before, indices };
    assert_eq!(new(5, &[], &[]), offsets(0, 0, 0, 0));
    assert_eq!(new(5, &[1, 2], &[1, 2]), offsets(0, 1, 0, 2));
    assert_eq!(new(5, &[0, 3], &[1, 2]), offsets(1, 3, 0, 2));
    assert_eq!(new(5, &[0, 2, 1, 2], &[1, 2]), offsets(2, 1, 2, 2));
    assert_eq!(new(5, &[0, 1], &[1, 2]), offsets(1, 1, 1, 2));
    assert_eq!(new(5, &[0, usize::MAX], &[1, 2]), offsets(1, usize::MAX, 0, 2));
    assert_eq!(new(5, &[0, 0, 2], &[1, 5]), Error::Index { row: 1, position: 1, index: 5, features: 5 });
    let last = Error::Index { row: 0, position: 0, index: u32::MAX, features: 5 };
    assert_eq!(new(5, &[0, 1], &[u32::MAX]), last);
    let order = |index, before| Error::IndexOrder { row: 1, position: 2, index, before };
    assert_eq!(new(5, &[0, 1, 4], &[4, 1, 2, 2]), order(2, 2));
    assert_eq!(new(5, &[0, 1, 4], &[4, 1, 3, 2]), order(2, 3));
    for (error, words) in [(order(2, 2), "twice"), (order(2, 3), "after 3"), (last, "beyond the 5 features")] {
        assert!(error.to_string().contains(words), "{error}");
    }
    // Rows that are not there are empty, parts of them too.
    let lists = IndexLists::new(5, &[0, 1, 3], &[4, 0, 3]).expect("ascending lists");
    assert_eq!((lists.row(1), lists.row(2), lists.row(usize::MAX)), (&[0, 3][..], &[][..], &[][..]));
    assert_eq!((lists.part(1, 1).row(0), lists.part(1, 1).ones()), (&[0, 3][..], 2));
    assert_eq!((lists.part(1, 2).len(), lists.part(9, usize::MAX).len()), (0, 0));
}

#[test]
fn wrong_lengths_are_refused() {
    const CANARY: f32 = 7.25;
    let x = IndexLists::new(40, &[0, 1, 2], &[4, 39]).expect("ascending lists");
    let (weights, bias) = (vec![0.5; panels::weight_len(40, 21)], [0.0; 32]);
    let mut refusals = 0;
    for level in levels() {
        for (inputs, weights, bias, out) in [
            (41, &weights[..], &bias[..], 64),
            (40, &weights[1..], &bias[..], 64),
            (40, &weights[..], &bias[1..], 64),
            (40, &weights[..], &bias[..], 63),
            (40, &weights[..], &bias[..], 80),
        ] {
            let mut y = vec![CANARY; out];
            let operands = dense::Dense { inputs, outputs: 21, weights, bias: Some(bias) };
            let error = sparse::forward_then(level, &Serial, operands, x, None, &mut y).unwrap_err();
            assert!(matches!(error, Error::Length { .. }) && y.iter().all(|y| *y == CANARY), "{error}");
            refusals += 1;
        }
        for (inputs, dy, out) in [(41, 64, weights.len()), (40, 63, weights.len()), (40, 64, weights.len() + 16)] {
            let mut gradient = vec![CANARY; out];
            let error = sparse::weight_gradient(level, &Serial, (inputs, 21), x, &vec![0.0; dy], &mut gradient);
            assert!(matches!(error, Err(Error::Length { .. })) && gradient.iter().all(|g| *g == CANARY));
            refusals += 1;
        }
    }
    println!("index lists: {refusals} refusals");
}

proptest! {
    /// Whatever the lists: they are refused, or every row is ascending and within the features, and nothing panics.
    #[test]
    fn any_lists(
        features in prop_oneof![0_usize..20, Just(usize::MAX)],
        offsets in prop::collection::vec(prop_oneof![0_usize..12, Just(usize::MAX)], 0..6),
        indices in prop::collection::vec(prop_oneof![0_u32..20, Just(u32::MAX)], 0..12),
    ) {
        if let Ok(lists) = IndexLists::new(features, &offsets, &indices) {
            let mut ones = 0;
            for row in 0..lists.len() {
                prop_assert!(lists.row(row).is_sorted_by(|a, b| a < b));
                prop_assert!(lists.row(row).iter().all(|index| (*index as usize) < features));
                ones += lists.row(row).len();
            }
            prop_assert_eq!((ones, lists.ones()), (indices.len(), indices.len()));
            let weights = vec![1.0; panels::weight_len(features, 3)];
            let operands = dense::Dense { inputs: features, outputs: 3, weights: &weights[..], bias: None };
            let mut y = vec![f32::NAN; lists.len() * 16];
            sparse::forward_then(Level::detect(), &Serial, operands, lists, None, &mut y).unwrap();
            for row in 0..lists.len() {
                prop_assert_eq!(y[row * 16], lists.row(row).len() as f32);
            }
        }
    }
}

/// The listed inputs in ascending order, a gradient nothing listed exactly +0.0.
#[test]
fn gradients_nothing_listed_are_zero() {
    let rng = &mut Rng::new(75);
    let x = IndexLists::new(600, &[0, 2, 4], &[3, 511, 3, 256]).expect("ascending lists");
    let dy = group_strided(2, 16, 16, &Values::Plain.vec(rng, 32));
    for level in levels() {
        let mut gradient = vec![f32::NAN; 600 * 16];
        sparse::weight_gradient(level, &Serial, (600, 16), x, &dy, &mut gradient).expect("lengths");
        for (input, lanes) in gradient.chunks(16).enumerate() {
            let listed = [3, 256, 511].contains(&input);
            assert!(lanes.iter().all(|lane| (lane.to_bits() != 0) == listed), "{level}: input {input}");
        }
    }
}

//! Sums across a row: softmax, log-softmax, their gradients, and the norm of a slice.

use crate::common::layout::{group, ungroup};
use crate::common::values::{Rng, Values, sizes};
use crate::common::{Group, Tally, groups, rounds};
use evenkeel::Level;
use evenkeel::error::Error;
use evenkeel::kernels::{reduce, softmax};
use evenkeel::layer::padded;

/// Logits: mostly of the size that networks produce, sometimes far apart.
fn logits(rng: &mut Rng, values: Values, rows: usize, cols: usize) -> Vec<f32> {
    let scale = rng.pick(&[1.0, 10.0, 100.0]);
    let mut x = values.padded_rows(rng, rows, cols);
    x.iter_mut().for_each(|x| *x *= scale);
    x
}

/// Writes numbers where only padding is: a kernel must not read them.
fn spoil(cols: usize, x: &mut [f32]) {
    for row in x.chunks_exact_mut(padded(cols)) {
        row[cols..].fill(3.0e3);
    }
}

/// Applies a function of a row without padding to every row.
fn by_row(cols: usize, x: &[f32], f: impl Fn(usize, &[f32]) -> Vec<f32>) -> Vec<f32> {
    let mut out = vec![0.0; x.len()];
    for (row, out) in out.chunks_exact_mut(padded(cols)).enumerate() {
        out[..cols].copy_from_slice(&f(row, &x[row * padded(cols)..][..cols]));
    }
    out
}

/// Positive zero for either zero: the sign of the padding's zero is not promised.
fn plain_padding(cols: usize, x: &mut [f32]) {
    for row in x.chunks_exact_mut(padded(cols)) {
        for value in &mut row[cols..] {
            if *value == 0.0 {
                *value = 0.0;
            }
        }
    }
}

type Forward = fn(Level, usize, usize, &mut [f32]) -> Result<(), Error>;
type Backward = fn(Level, usize, usize, &[f32], &mut [f32]) -> Result<(), Error>;

pub(crate) fn check(
    tallies: &mut [Tally; 4],
    groups: &[Group],
    rng: &mut Rng,
    (rows, cols): (usize, usize),
    values: Values,
) {
    let x = logits(rng, values, rows, cols);
    let dy = values.padded_rows(rng, rows, cols);
    let size = || format!("{values:?} values, {rows} rows of {cols}");
    for (reference, levels) in groups {
        let outputs =
            [by_row(cols, &x, |_, row| reference.softmax(row)), by_row(cols, &x, |_, row| reference.log_softmax(row))];
        let dy_of = |row: usize| &dy[row * padded(cols)..][..cols];
        let gradients = [
            by_row(cols, &outputs[0], |row, y| reference.softmax_backward(y, dy_of(row))),
            by_row(cols, &outputs[1], |row, y| reference.log_softmax_backward(y, dy_of(row))),
        ];
        let forward: [Forward; 2] = [softmax::softmax, softmax::log_softmax];
        let backward: [Backward; 2] = [softmax::softmax_backward, softmax::log_softmax_backward];
        for level in levels {
            for kind in 0..2 {
                let mut found = x.clone();
                spoil(cols, &mut found);
                let mut found = group(cols, &found);
                forward[kind](*level, cols, rows, &mut found).expect("the lengths are right");
                tallies[kind].compare(*level, size, &ungroup(cols, &found), &outputs[kind]);

                let (mut y, mut found) = (outputs[kind].clone(), dy.clone());
                spoil(cols, &mut y);
                spoil(cols, &mut found);
                let (y, mut found) = (group(cols, &y), group(cols, &found));
                backward[kind](*level, cols, rows, &y, &mut found).expect("the lengths are right");
                let mut found = ungroup(cols, &found);
                plain_padding(cols, &mut found);
                tallies[2 + kind].compare(*level, size, &found, &gradients[kind]);
            }
        }
    }
}

pub(crate) fn tallies() -> [Tally; 4] {
    ["softmax", "log-softmax", "softmax gradient", "log-softmax gradient"].map(Tally::new)
}

#[test]
fn covering() {
    let (groups, rng, mut tallies) = (groups(), &mut Rng::new(31), tallies());
    for _ in 0..rounds(4) {
        for cols in sizes() {
            let rows = if cols > 200 { 1 + rng.below(3) } else { rng.below(41) };
            for values in [Values::Plain, Values::Hard, Values::NonFinite] {
                check(&mut tallies, &groups, rng, (rows, cols), values);
            }
        }
    }
    tallies.into_iter().for_each(Tally::finish);
}

/// Rows whose largest value is an infinity, and rows without any finite value, are NaN on every level.
#[test]
fn infinite_logits() {
    for level in Level::available() {
        for cols in [1, 5, 16, 17, 40] {
            for special in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN] {
                let mut x = vec![special; padded(cols)];
                softmax::softmax(level, cols, 1, &mut x).expect("the lengths are right");
                assert!(x[..cols].iter().all(|x| x.is_nan()), "{level}: {cols} of {special}: {x:?}");
            }
            // One finite value among negative infinities takes all.
            let mut x = vec![f32::NEG_INFINITY; padded(cols)];
            x[cols - 1] = -3.0;
            softmax::softmax(level, cols, 1, &mut x).expect("the lengths are right");
            assert_eq!(x[cols - 1], 1.0);
            assert_eq!(x.iter().sum::<f32>(), 1.0);
        }
    }
}

#[test]
fn norm() {
    let (groups, rng, mut tally) = (groups(), &mut Rng::new(32), Tally::new("norm"));
    for count in sizes().chain([0]) {
        for values in [Values::Plain, Values::Hard, Values::NonFinite] {
            // Whole groups and a rest; now and then a few chains side by side.
            let many = if count % 16 == 5 { 1000 } else { 0 };
            let rest = rng.pick(&[0, 1, 4, 12, 15]);
            let mut x = values.vec(rng, 16 * (count + many) + rest);
            if count % 7 == 3 {
                // Squares beyond the range of f32, values within.
                x[0] = 1e30;
            }
            for (reference, levels) in &groups {
                let expected = reference.norm(&x);
                for level in levels {
                    let found = reduce::norm(*level, &x);
                    assert!(
                        found.to_bits() == expected.to_bits() || (found.is_nan() && expected.is_nan()),
                        "norm at {level}, {values:?}, {count} groups: {found:e}, not {expected:e}"
                    );
                    tally.compare(
                        *level,
                        || format!("{values:?}, {count} groups"),
                        &[found as f32],
                        &[expected as f32],
                    );
                }
            }
        }
    }
    tally.finish();
}

//! Groups of features: where each value lies, the way there and back, and rows that are described wrongly.

use crate::common::threads::{Order, Threads, ways};
use crate::common::values::Rng;
use evenkeel::error::Error;
use evenkeel::kernels::groups::{Rows, from_groups, to_groups};
use evenkeel::layer::{MAX_WIDTH, padded};
use evenkeel::split::Serial;

/// What lies behind the groups and must stay.
const BEHIND: u32 = 0x40e8_0000;

/// Any bits at all: nothing is computed, so those of a NaN stay too.
fn any(rng: &mut Rng, len: usize) -> Vec<f32> {
    (0..len).map(|_| f32::from_bits(rng.next() as u32)).collect()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn each_value_in_its_place_and_back() {
    let rng = &mut Rng::new(81);
    let mut values = 0;
    for rows in 0..=40 {
        for cols in (1..=67).chain([255, 256, 257]) {
            let plain = any(rng, rows * cols);
            let mut expected = vec![0; rows * padded(cols) + 16];
            expected[rows * padded(cols)..].fill(BEHIND);
            for row in 0..rows {
                for col in 0..cols {
                    expected[(col / 16 * rows + row) * 16 + col % 16] = plain[row * cols + col].to_bits();
                }
            }
            let mut grouped = vec![f32::NAN; rows * padded(cols) + 16];
            grouped[rows * padded(cols)..].fill(f32::from_bits(BEHIND));
            to_groups(&Serial, rows, cols, &plain, &mut grouped);
            assert!(bits(&grouped) == expected, "{rows} rows of {cols} in groups");
            let mut back = vec![f32::from_bits(BEHIND); plain.len()];
            from_groups(rows, cols, &grouped, &mut back);
            assert!(bits(&back) == bits(&plain), "{rows} rows of {cols} back");
            values += plain.len();
        }
    }
    println!("groups of features: {values} values, there and back");
}

/// Tasks, each with some of the groups.
#[test]
fn shared_groups_are_the_same() {
    let rng = &mut Rng::new(83);
    for (rows, cols) in [(1, 70_000), (40, 2000), (300, 700), (1030, 49), (5000, 16)] {
        let plain = any(rng, rows * cols);
        let mut expected = vec![f32::NAN; rows * padded(cols)];
        to_groups(&Serial, rows, cols, &plain, &mut expected);
        for way in ways() {
            let mut grouped = vec![f32::NAN; expected.len()];
            to_groups(&way, rows, cols, &plain, &mut grouped);
            assert!(bits(&grouped) == bits(&expected), "{rows} rows of {cols}, {way:?}");
        }
    }
}

/// A single row is the plain row, and so is any batch of at most sixteen features.
#[test]
fn one_row_or_one_group_is_plain() {
    let rng = &mut Rng::new(82);
    for (rows, cols) in [(1, 16), (1, 48), (1, 1024), (2, 16), (40, 16)] {
        let plain = any(rng, rows * cols);
        let mut grouped = vec![0.0; plain.len()];
        to_groups(&Serial, rows, cols, &plain, &mut grouped);
        assert!(bits(&grouped) == bits(&plain), "{rows} rows of {cols}");
    }
}

/// Lengths that do not fit are the caller's mistake: what fits is copied, and nothing panics.
#[test]
fn lengths_that_do_not_fit() {
    let sizes = [0, 1, 2, 3, 15, 16, 17, 48, usize::MAX / 16, usize::MAX - 15, usize::MAX];
    let lengths = [0, 1, 15, 16, 17, 48, 100];
    let three = Threads { workers: 3, order: Order::Reversed, parallel: false };
    for (rows, cols) in sizes.iter().flat_map(|rows| sizes.map(|cols| (*rows, cols))) {
        for (short, long) in lengths.iter().flat_map(|short| lengths.map(|long| (*short, long))) {
            to_groups(&Serial, rows, cols, &vec![1.0; short], &mut vec![0.0; long]);
            to_groups(&three, rows, cols, &vec![1.0; short], &mut vec![0.0; long]);
            from_groups(rows, cols, &vec![1.0; short], &mut vec![0.0; long]);
        }
    }
}

/// Rows that their values cannot hold are refused as they are described, before there is a kernel to run.
#[test]
fn rows_that_are_not_there() {
    let values = &[1.0; 48][..];
    let refused = |rows: Result<Rows<'_>, Error>, what: &str| {
        let error = rows.expect_err(what);
        assert!(matches!(error, Error::Length { what: "input", .. }), "{what}: {error}");
    };
    for (rows, features, stride) in [
        (1, 1, 0),
        (1, 2, 1),
        (2, 2, 1),
        (2, 25, 24),
        (1, 49, 49),
        (2, 24, 25),
        (2, 1, 48),
        (49, 1, 1),
        (0, 2, 1),
        (2, 2, usize::MAX),
        (usize::MAX, 2, 2),
        (usize::MAX, 1, usize::MAX),
        (usize::MAX, usize::MAX, usize::MAX),
    ] {
        refused(Rows::plain(values, rows, features, stride), &format!("{rows} rows of {features}, {stride} apart"));
    }
    for (rows, features) in [
        (2, 16),
        (4, 16),
        (1, 32),
        (1, 49),
        (0, 16),
        (1, 0),
        (usize::MAX, 16),
        (usize::MAX / 16 + 1, 16),
        (usize::MAX / 16 + 4, 16),
        (1, MAX_WIDTH + 1),
        (1, usize::MAX),
        (0, usize::MAX),
        (usize::MAX, usize::MAX),
    ] {
        refused(Rows::grouped(values, rows, features), &format!("{rows} rows of {features} in groups"));
    }
    for (rows, features, stride) in
        [(1, 48, 48), (1, 3, 48), (2, 24, 24), (2, 1, 47), (3, 2, 23), (48, 1, 1), (0, 9, 9)]
    {
        let found = Rows::plain(values, rows, features, stride).expect("values enough");
        assert_eq!((found.len(), found.is_empty(), found.features()), (rows, rows == 0, features));
    }
    for (rows, features) in [(1, 48), (1, 33), (3, 16), (3, 1)] {
        let found = Rows::grouped(values, rows, features).expect("as many values");
        assert_eq!((found.len(), found.is_empty(), found.features()), (rows, false, features));
    }
}

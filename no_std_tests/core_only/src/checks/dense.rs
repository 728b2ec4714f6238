//! The products of a dense layer over a few rows, within the memory of the smallest board.

use core::array::from_fn;

use evenkeel::{
    Activation, Error, Level, Serial,
    kernels::{
        dense,
        groups::{Rows, from_groups},
    },
};

use super::{
    Outcome,
    numbers::{Hash, Numbers},
};

const ROWS: usize = 3;
/// A group and a part of one.
const INPUTS: usize = 21;
/// One panel, stored twelve lanes wide.
const OUTPUTS: usize = 9;
const LANES: usize = 12;

/// The answers: with one rounding in a multiply-add, and with two.
const ANSWERS: [(&str, u32, u32); 6] = [
    ("dense(plain rows)", 0x6cdb_1628, 0x9372_dc09),
    ("dense(groups)", 0x6cdb_1628, 0x9372_dc09),
    ("dense(weight gradient)", 0xa3d6_854d, 0x8894_e2d2),
    ("dense(input gradient)", 0xc92b_9847, 0x61c7_41d4),
    ("dense(one row)", 0x95bb_ab97, 0x677e_04e3),
    ("dense(one row, f16)", 0xd9d8_d755, 0x5ce0_763c),
];

pub(crate) fn run(level: Level, report: &mut dyn FnMut(Outcome)) {
    let parts: [fn(Level) -> Result<u32, Error>; ANSWERS.len()] =
        [plain_rows, groups, weight_gradient, input_gradient, one_row::<f32>, one_row::<u16>];
    for ((name, once, twice), part) in ANSWERS.into_iter().zip(parts) {
        let got = part(level).unwrap_or_default();
        report(Outcome { name, got, expected: if level.is_exact() { once } else { twice } });
    }
}

/// Numbers in groups; the lanes beyond the last column are zero.
fn grouped<const LEN: usize>(seed: u32, cols: usize) -> [f32; LEN] {
    let mut numbers = Numbers::new(seed);
    from_fn(|at| if at / (16 * ROWS) * 16 + at % 16 < cols { numbers.moderate() } else { 0.0 })
}

/// The weights; their lanes beyond the last output are zero.
fn weights() -> [f32; INPUTS * LANES] {
    let mut numbers = Numbers::new(0x3e16);
    from_fn(|at| if at % LANES < OUTPUTS { numbers.moderate() } else { 0.0 })
}

// Functions of their own: the buffers of each are gone before those of the next are there.

#[inline(never)]
fn plain_rows(level: Level) -> Result<u32, Error> {
    let mut x = [0.0; ROWS * INPUTS];
    from_groups(ROWS, INPUTS, &grouped::<{ ROWS * 32 }>(1, INPUTS), &mut x);
    let (weights, mut y) = (weights(), [0.0; ROWS * 16]);
    let layer = dense::Dense { inputs: INPUTS, outputs: OUTPUTS, weights: &weights, bias: None };
    dense::forward(level, &Serial, layer, Rows::plain(&x, ROWS, INPUTS, INPUTS)?, &mut y)?;
    Ok(hash_of(&y))
}

#[inline(never)]
fn groups(level: Level) -> Result<u32, Error> {
    let (x, weights, mut y) = (grouped::<{ ROWS * 32 }>(1, INPUTS), weights(), [0.0; ROWS * 16]);
    let layer = dense::Dense { inputs: INPUTS, outputs: OUTPUTS, weights: &weights, bias: None };
    dense::forward_plain(level, &Serial, layer, Rows::grouped(&x, ROWS, INPUTS)?, &mut y)?;
    Ok(hash_of(&y))
}

#[inline(never)]
fn weight_gradient(level: Level) -> Result<u32, Error> {
    let (x, dy) = (grouped::<{ ROWS * 32 }>(1, INPUTS), grouped::<{ ROWS * 16 }>(2, OUTPUTS));
    let mut gradient = [0.0; INPUTS * LANES];
    dense::weight_gradient(level, &Serial, (INPUTS, OUTPUTS), ROWS, &x, &dy, &mut gradient)?;
    Ok(hash_of(&gradient))
}

#[inline(never)]
fn input_gradient(level: Level) -> Result<u32, Error> {
    let (weights, dy) = (weights(), grouped::<{ ROWS * 16 }>(2, OUTPUTS));
    let (mut turned, mut dx) = ([0.0; 32 * OUTPUTS], [0.0; ROWS * 32]);
    dense::input_gradient(level, &Serial, (INPUTS, OUTPUTS), &weights, ROWS, &dy, &mut turned, &mut dx)?;
    Ok(hash_of(&dx))
}

/// Weights of either precision.
trait Stored: dense::Weight {
    fn next(numbers: &mut Numbers) -> Self;
}

impl Stored for f32 {
    fn next(numbers: &mut Numbers) -> Self {
        numbers.moderate()
    }
}

impl Stored for u16 {
    fn next(numbers: &mut Numbers) -> Self {
        numbers.half()
    }
}

/// A single row through panels of every width, of an even and an odd number of inputs, fewer and more than a block; the
/// weights also at an odd multiple of two bytes.
#[inline(never)]
fn one_row<W: Stored>(level: Level) -> Result<u32, Error> {
    const SHAPES: [(usize, usize); 5] = [(1, 1), (21, 27), (30, 32), (6, 24), (263, 3)];
    const MOST: usize = 263 * 4;
    let mut numbers = Numbers::new(0x0126);
    let x: [f32; 263] = from_fn(|_| numbers.moderate());
    let bias: [f32; 32] = from_fn(|_| numbers.moderate());
    let mut weights = [W::zeroed(); MOST + 1];
    weights.iter_mut().for_each(|weight| *weight = W::next(&mut numbers));
    let mut hash = Hash::new();
    for (at, (inputs, outputs)) in SHAPES.into_iter().enumerate() {
        let (width, mut y) = (outputs.next_multiple_of(16), [1.0; 32]);
        let weights = &weights[at % 2..][..inputs * outputs.next_multiple_of(4)];
        let layer = dense::Dense { inputs, outputs, weights, bias: Some(&bias[..width]) };
        let (x, then) = (Rows::plain(&x[..inputs], 1, inputs, inputs)?, (at > 2).then_some(Activation::Relu));
        dense::forward_then(level, &Serial, layer, x, then, &mut y[..width])?;
        y[..outputs].iter().for_each(|y| hash.float(*y));
    }
    Ok(hash.0)
}

fn hash_of(values: &[f32]) -> u32 {
    let mut hash = Hash::new();
    values.iter().for_each(|value| hash.float(*value));
    hash.0
}

//! Test values and shapes, all from one small generator: a failure repeats.

use super::reference::Stored;
use evenkeel::layer::padded;

/// SplitMix64 (Steele et al. 2014).
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// Uniform in [-1, 1).
    pub(crate) fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 * (1.0 / (1 << 23) as f32) - 1.0
    }
}

/// What kind of numbers a buffer is filled with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Values {
    /// Uniform in [-1, 1).
    Plain,
    /// Also zeros of both signs, subnormals, and magnitudes from 2^-40 to 2^40.
    Hard,
    /// Also, now and then, NaN, an infinity or a number near the largest.
    NonFinite,
}

impl Values {
    pub(crate) fn draw(self, rng: &mut Rng) -> f32 {
        let unit = rng.unit();
        let kind = rng.below(256);
        match (self, kind) {
            (Values::NonFinite, 0) => rng.pick(&[f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN]),
            (Values::Plain, _) | (_, 128..) => unit,
            (_, 0..24) => 0.0_f32.copysign(unit),
            (_, 24..48) => f32::from_bits(rng.next() as u32 & 0x807f_ffff),
            (_, 48..56) => f32::MIN_POSITIVE.copysign(unit),
            _ => unit * 2.0_f32.powi(rng.below(81) as i32 - 40),
        }
    }

    pub(crate) fn vec(self, rng: &mut Rng, len: usize) -> Vec<f32> {
        (0..len).map(|_| self.draw(rng)).collect()
    }

    /// Weights in the type they are stored in.
    pub(crate) fn stored<W: Stored>(self, rng: &mut Rng, len: usize) -> Vec<W> {
        (0..len).map(|_| W::draw(rng, self)).collect()
    }

    /// Rows of `padded(cols)` values, zero beyond `cols`.
    pub(crate) fn padded_rows(self, rng: &mut Rng, rows: usize, cols: usize) -> Vec<f32> {
        let mut x = vec![0.0; rows * padded(cols)];
        for row in x.chunks_mut(padded(cols)) {
            row[..cols].fill_with(|| self.draw(rng));
        }
        x
    }

    /// Rows `stride` apart, the last without what follows it. The gaps are NaN: nobody may read them.
    pub(crate) fn strided_rows(self, rng: &mut Rng, rows: usize, cols: usize, stride: usize) -> Vec<f32> {
        let mut x = vec![f32::NAN; if rows == 0 { 0 } else { (rows - 1) * stride + cols }];
        for row in x.chunks_mut(stride) {
            row[..cols].fill_with(|| self.draw(rng));
        }
        x
    }
}

/// Sizes of a dimension: all small ones, those around the block length, and two large ones.
pub(crate) fn sizes() -> impl Iterator<Item = usize> {
    (1..=67).chain([255, 256, 257, 511, 512, 513, 1000, 2048])
}

/// Numbers of rows: every remainder of a tile and of a task, and around the block length.
pub(crate) const ROWS: [usize; 23] =
    [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 64, 97, 255, 256, 257, 1024];

/// A shape of a dense layer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) rows: usize,
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    /// Between rows of the input.
    pub(crate) stride: usize,
}

/// The covering set: each size of each dimension in turn, `draws` times, the others drawn from their sizes so that
/// the product stays below `limit`. Then, of the smallest shapes, the full product.
pub(crate) fn covering_shapes(rng: &mut Rng, draws: usize, limit: usize) -> Vec<Shape> {
    let sizes: Vec<usize> = sizes().collect();
    let mut shapes = Vec::new();
    let mut add = |rng: &mut Rng, rows: usize, inputs: usize, outputs: usize| {
        // Odd and even, next to the row or far from it.
        let stride = inputs + rng.pick(&[0, 0, 1, 2, 5, 16, 35]);
        shapes.push(Shape { rows, inputs, outputs, stride });
    };
    let within = |rng: &mut Rng, from: &[usize], others: usize| {
        let largest = (limit / others).max(1);
        let fitting: Vec<usize> = from.iter().copied().filter(|size| *size <= largest).collect();
        rng.pick(&fitting)
    };
    for draw in 0..draws {
        for size in sizes.iter().copied() {
            // The dimension drawn first has the widest choice: take turns.
            let (a, b) = if draw % 2 == 0 { (&sizes[..], &ROWS[..]) } else { (&ROWS[..], &sizes[..]) };
            let first = within(rng, a, size);
            let second = within(rng, b, size * first);
            let (other, rows) = if draw % 2 == 0 { (first, second) } else { (second, first) };
            add(rng, rows, size, other);
            add(rng, rows, other, size);
        }
        for rows in ROWS {
            let inputs = within(rng, &sizes, rows);
            let outputs = within(rng, &sizes, rows * inputs);
            add(rng, rows, inputs, outputs);
            add(rng, rows, outputs, inputs);
        }
    }
    for rows in 1..=17 {
        for inputs in [1, 2, 7, 16, 17] {
            for outputs in 1..=(if draws > 1 { 35 } else { 0 }) {
                add(rng, rows, inputs, outputs);
            }
        }
    }
    shapes
}

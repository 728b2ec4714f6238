//! The numeric contract (`DESIGN.md`), written out one element at a time: slow, obvious, and the oracle of every kernel.
//!
//! No vectors, no tiles, no threads and no panels here: matrices are `[outputs][inputs]`. Only the elementary functions
//! are the library's own, called on one value at a time (`tests/math.rs` measures them against `f64`).

mod activations;
mod losses;

use super::values::{Rng, Values};
use evenkeel::Level;
use evenkeel::kernels::{BLOCK, dense::Weight, math};
use evenkeel::layer::padded;
use half::f16;

/// The contract's arithmetic: with one rounding per multiply-add, or with the two of a level that cannot fuse.
///
/// The contract promises bits for the first only. That the other is an exact product followed by a sum is how the
/// portable level is written today; comparing it by bits as well finds more than any tolerance would.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reference {
    fused: bool,
    math: Level,
}

/// Statistics of one column, as the batch-norm cache holds them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    pub(crate) shift: f32,
    pub(crate) inv_std: f32,
    pub(crate) offset: f32,
    pub(crate) mean: f32,
    pub(crate) var: f32,
}

impl Reference {
    /// For the levels that round as `level` does.
    pub(crate) fn of(level: Level) -> Self {
        Self { fused: level.is_exact(), math: level }
    }

    pub(crate) fn fma(self, a: f32, b: f32, c: f32) -> f32 {
        if self.fused { a.mul_add(b, c) } else { a * b + c }
    }

    /// Contract 2 and 3: chains of 256 from +0.0; the first chain starts the total, the others are added to it.
    pub(super) fn chains(len: usize, mut add: impl FnMut(usize, f32) -> f32) -> f32 {
        let mut total = 0.0;
        for start in (0..len).step_by(BLOCK) {
            let mut chain = 0.0;
            for index in start..len.min(start + BLOCK) {
                chain = add(index, chain);
            }
            total = if start == 0 { chain } else { total + chain };
        }
        total
    }

    pub(super) fn dot(self, len: usize, a: impl Fn(usize) -> f32, b: impl Fn(usize) -> f32) -> f32 {
        Self::chains(len, |index, chain| self.fma(a(index), b(index), chain))
    }

    pub(super) fn sum(len: usize, term: impl Fn(usize) -> f32) -> f32 {
        Self::chains(len, |index, chain| chain + term(index))
    }

    /// `y = x Wᵀ + b`, rows of `padded(outputs)` with zero padding.
    pub(crate) fn dense(
        self,
        (inputs, outputs): (usize, usize),
        matrix: &[f32],
        bias: Option<&[f32]>,
        rows: usize,
        x: &[f32],
        stride: usize,
    ) -> Vec<f32> {
        let mut y = vec![0.0; rows * padded(outputs)];
        for row in 0..rows {
            for output in 0..outputs {
                let x = &x[row * stride..];
                let weights = &matrix[output * inputs..];
                let sum = self.dot(inputs, |input| x[input], |input| weights[input]);
                y[row * padded(outputs) + output] = match bias {
                    Some(bias) => sum + bias[output],
                    None => sum,
                };
            }
        }
        y
    }

    /// `dW[o][i] = Σ_r x[r][i] dy[r][o]`, as a matrix.
    pub(crate) fn weight_gradient(
        self,
        (inputs, outputs): (usize, usize),
        rows: usize,
        x: &[f32],
        stride: usize,
        dy: &[f32],
    ) -> Vec<f32> {
        let mut gradient = vec![0.0; outputs * inputs];
        for output in 0..outputs {
            for input in 0..inputs {
                let dy = |row: usize| dy[row * padded(outputs) + output];
                gradient[output * inputs + input] = self.dot(rows, |row| x[row * stride + input], dy);
            }
        }
        gradient
    }

    /// `Σ_r dy[r][column]` for rows of `width` values.
    pub(crate) fn bias_gradient(self, width: usize, dy: &[f32]) -> Vec<f32> {
        (0..width).map(|column| Self::sum(dy.len() / width, |row| dy[row * width + column])).collect()
    }

    /// `dx[r][i] = Σ_o dy[r][o] W[o][i]`, rows of `padded(inputs)` with zero padding.
    pub(crate) fn input_gradient(
        self,
        (inputs, outputs): (usize, usize),
        matrix: &[f32],
        rows: usize,
        dy: &[f32],
    ) -> Vec<f32> {
        let mut dx = vec![0.0; rows * padded(inputs)];
        for row in 0..rows {
            for input in 0..inputs {
                let dy = &dy[row * padded(outputs)..];
                dx[row * padded(inputs) + input] =
                    self.dot(outputs, |output| dy[output], |output| matrix[output * inputs + input]);
            }
        }
        dx
    }

    /// Batch-norm statistics of column `column` of `rows` rows of `width` values.
    pub(crate) fn statistics(self, width: usize, column: usize, eps: f32, x: &[f32]) -> Column {
        let rows = x.len() / width;
        let count = rows as f32;
        let x = |row: usize| x[row * width + column];
        let shift = Self::sum(rows, x) / count;
        let rest = Self::sum(rows, |row| x(row) - shift) / count;
        let square = Self::sum(rows, |row| (x(row) - shift) * (x(row) - shift)) / count;
        // An infinite mean square stays infinite: a difference of infinities would make it NaN.
        let difference = if square < f32::INFINITY { square - rest * rest } else { square };
        let var = if difference < 0.0 { 0.0 } else { difference };
        let inv_std = 1.0 / (var + eps).sqrt();
        Column { shift, inv_std, offset: 0.0 - inv_std * rest, mean: shift + rest, var }
    }

    fn normal(self, c: Column, x: f32) -> f32 {
        self.fma(x - c.shift, c.inv_std, c.offset)
    }

    /// `γ x̂ + β`
    pub(crate) fn normalize(self, c: Column, gamma: f32, beta: f32, x: f32) -> f32 {
        self.fma(gamma, self.normal(c, x), beta)
    }

    /// `(dγ, dβ)` of one column.
    pub(crate) fn norm_parameters(self, c: Column, width: usize, column: usize, x: &[f32], dy: &[f32]) -> (f32, f32) {
        let rows = x.len() / width;
        let at = |row: usize| row * width + column;
        let dgamma = self.dot(rows, |row| dy[at(row)], |row| self.normal(c, x[at(row)]));
        (dgamma, Self::sum(rows, |row| dy[at(row)]))
    }

    /// `dx = γ r (dy - dβ/n - x̂ dγ/n)`
    pub(crate) fn norm_input(
        self,
        c: Column,
        gamma: f32,
        (dgamma, dbeta): (f32, f32),
        rows: usize,
        x: f32,
        dy: f32,
    ) -> f32 {
        let count = rows as f32;
        let slope = 0.0 - dgamma / count;
        (gamma * c.inv_std) * self.fma(self.normal(c, x), slope, dy - dbeta / count)
    }

    /// `dx = γ r dy` through frozen statistics.
    pub(crate) fn norm_input_frozen(self, c: Column, gamma: f32, dy: f32) -> f32 {
        (gamma * c.inv_std) * dy
    }

    /// One of the library's elementary functions, on one value.
    pub(super) fn math(self, function: fn(Level, &mut [f32]), x: f32) -> f32 {
        let mut value = [x];
        function(self.math, &mut value);
        value[0]
    }

    /// Contract 4: element `i` goes to lane `i mod 16`, ascending; then halves onto each other.
    pub(super) fn lanes(
        row: &[f32],
        start: f32,
        mut step: impl FnMut(usize, f32, f32) -> f32,
        fold: fn(f32, f32) -> f32,
    ) -> f32 {
        let mut lanes = [start; 16];
        for (index, value) in row.iter().enumerate() {
            lanes[index % 16] = step(index, lanes[index % 16], *value);
        }
        for half in [8, 4, 2, 1] {
            for lane in 0..half {
                lanes[lane] = fold(lanes[lane], lanes[lane + half]);
            }
        }
        lanes[0]
    }

    fn max_and_sum(self, row: &[f32]) -> (f32, f32) {
        let larger = |a: f32, b: f32| if a < b { b } else { a };
        let max = Self::lanes(row, f32::NEG_INFINITY, |_, lane, x| larger(lane, x), larger);
        let sum = Self::lanes(row, 0.0, |_, lane, x| lane + self.math(math::exp_f32, x - max), |a, b| a + b);
        (max, sum)
    }

    /// Softmax of one row without padding.
    pub(crate) fn softmax(self, row: &[f32]) -> Vec<f32> {
        let (max, sum) = self.max_and_sum(row);
        row.iter().map(|x| self.math(math::exp_f32, x - max) / sum).collect()
    }

    /// Log-softmax of one row without padding.
    pub(crate) fn log_softmax(self, row: &[f32]) -> Vec<f32> {
        let (max, sum) = self.max_and_sum(row);
        let log_sum = self.math(math::log_f32, sum);
        row.iter().map(|x| (x - max) - log_sum).collect()
    }

    /// `y_i (dy_i - Σ y_j dy_j)` of one row.
    pub(crate) fn softmax_backward(self, y: &[f32], dy: &[f32]) -> Vec<f32> {
        let sum = Self::lanes(y, 0.0, |index, lane, y| self.fma(y, dy[index], lane), |a, b| a + b);
        y.iter().zip(dy).map(|(y, dy)| y * (dy - sum)).collect()
    }

    /// `dy_i - exp(y_i) Σ dy_j` of one row.
    pub(crate) fn log_softmax_backward(self, y: &[f32], dy: &[f32]) -> Vec<f32> {
        let sum = Self::lanes(dy, 0.0, |_, lane, dy| lane + dy, |a, b| a + b);
        y.iter().zip(dy).map(|(y, dy)| dy - self.math(math::exp_f32, *y) * sum).collect()
    }

    /// Euclidean norm: chains of 256 groups of sixteen lanes, each folded and added up in `f64`.
    pub(crate) fn norm(self, x: &[f32]) -> f64 {
        let mut total = 0.0;
        for part in x.chunks(16 * BLOCK) {
            total += f64::from(Self::lanes(part, 0.0, |_, lane, x| self.fma(x, x, lane), |a, b| a + b));
        }
        if total.is_infinite() && x.iter().all(|x| x.is_finite()) {
            total = x.iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
        }
        total.sqrt()
    }

    /// `Σ_r min(x, 0) dy` of each column, for rows of `width` values.
    pub(crate) fn slope_gradient(self, width: usize, x: &[f32], dy: &[f32]) -> Vec<f32> {
        let below = |x: f32| if 0.0 < x { 0.0 } else { x };
        let column = |column: usize| {
            let at = |row: usize| row * width + column;
            self.dot(x.len() / width, |row| dy[at(row)], |row| below(x[at(row)]))
        };
        (0..width).map(column).collect()
    }

    /// The sum of a row in sixteen lanes.
    pub(crate) fn across(self, row: &[f32]) -> f32 {
        Self::lanes(row, 0.0, |_, lane, x| lane + x, |a, b| a + b)
    }
}

/// A type weights are stored in: how the tests make one and what it is worth.
pub(crate) trait Stored: Weight {
    const NAME: &'static str;
    fn draw(rng: &mut Rng, values: Values) -> Self;
    fn widen(self) -> f32;
    fn zero() -> Self;
}

impl Stored for f32 {
    const NAME: &'static str = "f32";
    fn draw(rng: &mut Rng, values: Values) -> f32 {
        values.draw(rng)
    }
    fn widen(self) -> f32 {
        self
    }
    fn zero() -> f32 {
        0.0
    }
}

impl Stored for u16 {
    const NAME: &'static str = "f16";
    fn draw(rng: &mut Rng, values: Values) -> u16 {
        match values {
            Values::Plain => f16::from_f32(rng.unit()).to_bits(),
            Values::NonFinite if rng.below(256) == 0 => rng.pick(&[0x7c00, 0xfc00, 0x7e00, 0x7bff]),
            // Any finite bits: half precision is small enough for that, subnormals come often.
            Values::Hard | Values::NonFinite => loop {
                let bits = rng.next() as u16;
                if f16::from_bits(bits).is_finite() {
                    return bits;
                }
            },
        }
    }
    fn widen(self) -> f32 {
        f16::from_bits(self).to_f32()
    }
    fn zero() -> u16 {
        0
    }
}

/// Where the weight from `input` to `output` is stored, in the words of the layout: panels of sixteen outputs, the last
/// as narrow as a multiple of four allows, `[panel][input][lane]`.
pub(crate) fn place((inputs, outputs): (usize, usize), output: usize, input: usize) -> usize {
    let (panel, lane) = (output / 16, output % 16);
    let width = if outputs - panel * 16 >= 16 { 16 } else { (outputs - panel * 16).div_ceil(4) * 4 };
    panel * 16 * inputs + input * width + lane
}

/// A matrix `[outputs][inputs]` in panels, zero between.
pub(crate) fn pack<W: Stored>((inputs, outputs): (usize, usize), matrix: &[W]) -> Vec<W> {
    let mut weights = vec![W::zero(); inputs * outputs.div_ceil(4) * 4];
    for output in 0..outputs {
        for input in 0..inputs {
            weights[place((inputs, outputs), output, input)] = matrix[output * inputs + input];
        }
    }
    weights
}

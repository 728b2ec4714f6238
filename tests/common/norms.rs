//! The reference of layer norm, batch renorm, normal numbers and averages: element by element, as the contract says.

use evenkeel::kernels::math;

use super::reference::{Column, Reference};

impl Reference {
    fn row_sum(row: &[f32], term: impl Fn(usize, f32) -> f32) -> f32 {
        Self::lanes(row, 0.0, |i, lane, x| lane + term(i, x), |a, b| a + b)
    }

    /// Statistics of one row, as those of a column.
    pub(crate) fn row_statistics(self, eps: f32, row: &[f32]) -> Column {
        let count = row.len() as f32;
        let shift = Self::row_sum(row, |_, x| x) / count;
        let rest = Self::row_sum(row, |_, x| x - shift) / count;
        let square = Self::row_sum(row, |_, x| (x - shift) * (x - shift)) / count;
        let difference = if square < f32::INFINITY { square - rest * rest } else { square };
        let var = if difference < 0.0 { 0.0 } else { difference };
        let inv_std = 1.0 / (var + eps).sqrt();
        Column { shift, inv_std, offset: 0.0 - inv_std * rest, mean: shift + rest, var }
    }

    pub(crate) fn layer_norm(self, eps: f32, gamma: &[f32], beta: &[f32], row: &[f32]) -> Vec<f32> {
        let c = self.row_statistics(eps, row);
        row.iter().zip(gamma.iter().zip(beta)).map(|(x, (gamma, beta))| self.normalize(c, *gamma, *beta, *x)).collect()
    }

    fn row_normal(self, c: Column, x: f32) -> f32 {
        self.fma(x - c.shift, c.inv_std, c.offset)
    }

    /// `dx` of one row.
    pub(crate) fn layer_norm_input(self, eps: f32, gamma: &[f32], row: &[f32], dy: &[f32]) -> Vec<f32> {
        let c = self.row_statistics(eps, row);
        let count = row.len() as f32;
        let g = |i: usize| gamma[i] * dy[i];
        let mean = Self::row_sum(row, |i, _| g(i)) / count;
        let with_normal = |i: usize, lane: f32, x: f32| self.fma(g(i), self.row_normal(c, x), lane);
        let slope = Self::lanes(row, 0.0, with_normal, |a, b| a + b) / count;
        let each = row.iter().enumerate();
        each.map(|(i, x)| c.inv_std * self.fma(self.row_normal(c, *x), 0.0 - slope, g(i) - mean)).collect()
    }

    /// `(dγ, dβ)` of one feature: sums over the rows' `(x, dy)`.
    pub(crate) fn layer_norm_parameters(self, eps: f32, rows: &[&[f32]], dy: &[&[f32]], feature: usize) -> (f32, f32) {
        let statistics: Vec<Column> = rows.iter().map(|row| self.row_statistics(eps, row)).collect();
        let normal = |row: usize| self.row_normal(statistics[row], rows[row][feature]);
        let dgamma = self.dot(rows.len(), |row| dy[row][feature], normal);
        (dgamma, Self::sum(rows.len(), |row| dy[row][feature]))
    }

    /// `[r, d, γ', β']` of a feature.
    pub(crate) fn renorm(
        self,
        c: Column,
        eps: f32,
        (r_max, d_max): (f32, f32),
        (mean, var): (f32, f32),
        (gamma, beta): (f32, f32),
    ) -> [f32; 4] {
        let max = |a: f32, b: f32| if a < b { b } else { a };
        let min = |a: f32, b: f32| if b < a { b } else { a };
        let deviation = (var + eps).sqrt();
        let r = max(min((c.var + eps).sqrt() / deviation, r_max), 1.0 / r_max);
        let d = max(min((c.mean - mean) / deviation, d_max), 0.0 - d_max);
        [r, d, gamma * r, self.fma(gamma, d, beta)]
    }

    /// The standard normal number of a word.
    pub(crate) fn normal_number(self, word: u32) -> f32 {
        const CENTRE: [f32; 9] = [
            1.501_409_4,
            0.246_640_73,
            -0.004_177_681_6,
            -0.001_253_725,
            0.000_218_580_87,
            -4.391_506_5e-6,
            -3.523_387_7e-6,
            3.432_739_4e-7,
            2.810_226_4e-8,
        ];
        const TAIL: [f32; 10] = [
            2.832_977,
            1.001_675_6,
            0.009_434_19,
            -0.007_645_890_6,
            0.005_762_374_5,
            -0.003_584_788_6,
            0.001_309_369_8,
            -1.373_615_3e-5,
            -0.000_174_139_25,
            4.355_417e-5,
        ];
        let upper = word >= 1 << 31;
        let k = if upper { !word } else { word };
        let p = (k as i32 as f32 + 0.5) * (1.0 / 4_294_967_296.0);
        let x = ((0x7fff_ffff - k) as i32 as f32 + 0.5) * (1.0 / 2_147_483_648.0);
        let w = -self.math(math::log_f32, (4.0 * p) * (1.0 - p));
        let horner = |c: &[f32], t: f32| c.iter().rev().copied().reduce(|sum, c| self.fma(sum, t, c)).unwrap();
        let positive = if w < 0.0 { 0.0 } else { w };
        let quotient = if w < 5.0 { horner(&CENTRE, w - 2.5) } else { horner(&TAIL, positive.sqrt() - 3.0) };
        let size = (core::f32::consts::SQRT_2 * x) * quotient;
        if upper { size } else { -size }
    }
}

//! What rows and batches are normalised by.

use evenkeel::Layer;
use evenkeel::layer::{BatchNorm, NormMode, Renorm};

use super::{Mode, TwinLayer};

impl TwinLayer {
    /// For each feature and row: one over the deviation times the correction; for each feature the corrections `(r, d)` of a
    /// renorm; for each row the first row and the rows of those it is normalised with.
    pub(super) fn statistics(
        &self,
        x: &[f64],
        rows: usize,
        mode: Mode,
    ) -> (Vec<(f64, f64)>, Vec<(f64, f64)>, Vec<(usize, usize)>) {
        let Layer::BatchNorm(bn) = self.layer else { unreachable!() };
        let (width, eps) = (self.inputs, f64::from(bn.eps));
        let running = (0..width).map(|j| (self.running.0[j], self.running.1[j]));
        let whole = vec![(0, rows); rows];
        let plain = vec![(1.0, 0.0); width];
        let frozen = bn.mode == NormMode::Frozen || matches!(mode.of(self.index, true), Mode::Infer);
        if frozen {
            return ((0..rows).flat_map(|_| running.clone()).collect(), plain, whole);
        }
        let of_rows = |start: usize, len: usize, j: usize| {
            let column = || (start..start + len).map(|row| x[row * width + j]);
            let mean = column().sum::<f64>() / len as f64;
            (mean, column().map(|x| (x - mean) * (x - mean)).sum::<f64>() / len as f64)
        };
        let sizes = match bn.mode {
            NormMode::Ghost { rows: ghost } => {
                // A last one of a single row joins the one before.
                let count = ((rows - 1).div_ceil(ghost)).max(1);
                let of = |row: usize| (row / ghost).min(count - 1);
                let len = |number: usize| if number + 1 == count { rows - number * ghost } else { ghost };
                (0..rows).map(|row| (of(row) * ghost, len(of(row)))).collect()
            }
            _ => whole,
        };
        let each: Vec<(f64, f64)> =
            sizes.iter().flat_map(|(start, len)| (0..width).map(|j| of_rows(*start, *len, j))).collect();
        let corrections = match (bn.mode, mode.of(self.index, true)) {
            _ if self.held.is_some() => self.held.clone().unwrap_or_default(),
            (NormMode::Renorm(renorm), Mode::Train { step, .. }) => {
                let (r_max, d_max) = limits(renorm, step);
                running
                    .enumerate()
                    .map(|(j, (mean, var))| {
                        let deviation = libm::sqrt(var + eps);
                        let r = libm::sqrt(each[j].1 + eps) / deviation;
                        (r.clamp(1.0 / r_max, r_max), ((each[j].0 - mean) / deviation).clamp(-d_max, d_max))
                    })
                    .collect()
            }
            _ => plain,
        };
        (each, corrections, sizes)
    }

    /// The normalised rows, and for each value what one of its units is there.
    pub(super) fn normalised(&self, x: &[f64], rows: usize, mode: Mode) -> (Vec<f64>, Vec<f64>) {
        let Layer::BatchNorm(BatchNorm { eps, .. }) = self.layer else { unreachable!() };
        let (each, corrections, _) = self.statistics(x, rows, mode);
        let factor = |i: usize| corrections[i % self.inputs].0 / libm::sqrt(each[i].1 + f64::from(eps));
        let normal = |i: usize| (x[i] - each[i].0) * factor(i) + corrections[i % self.inputs].1;
        ((0..x.len()).map(normal).collect(), (0..x.len()).map(factor).collect())
    }
}

/// The limits of a renorm at a step: from 1 and 0 at `start` in a straight line.
fn limits(renorm: Renorm, step: u64) -> (f64, f64) {
    let share = |end: u32| {
        let (step, start, end) = (step as f64, f64::from(renorm.start), f64::from(end));
        if step < start {
            0.0
        } else if step >= end {
            1.0
        } else {
            (step - start) / (end - start)
        }
    };
    (1.0 + (f64::from(renorm.r_max) - 1.0) * share(renorm.r_end), f64::from(renorm.d_max) * share(renorm.d_end))
}

/// The rows of `width` values, each normalised by itself, and one over the deviation of each.
pub(super) fn row_normalised(x: &[f64], width: usize, eps: f64) -> (Vec<f64>, Vec<f64>) {
    let (mut normal, mut inv_stds) = (Vec::new(), Vec::new());
    for row in x.chunks_exact(width) {
        let mean = row.iter().sum::<f64>() / width as f64;
        let var = row.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / width as f64;
        let inv_std = 1.0 / libm::sqrt(var + eps);
        normal.extend(row.iter().map(|x| (x - mean) * inv_std));
        inv_stds.push(inv_std);
    }
    (normal, inv_stds)
}

//! Forward and backward of one layer.

use evenkeel::Layer;
use evenkeel::layer::NormMode;

use super::exact::activation;
use super::noise::{SELU_LIMIT, alpha};
use super::norms::row_normalised;
use super::{Mode, TwinLayer, log_softmax, softmax};

impl TwinLayer {
    fn bias(&self, output: usize) -> f64 {
        self.params.get(self.inputs * self.outputs + output).copied().unwrap_or(0.0)
    }

    pub(super) fn forward(&self, x: &[f64], rows: usize, mode: Mode) -> Vec<f64> {
        let width = self.inputs;
        match self.layer {
            Layer::Dense { outputs, .. } => {
                let masked = self.masked(mode);
                let mut y = Vec::with_capacity(rows * outputs);
                for x in x.chunks_exact(width) {
                    for output in 0..outputs {
                        let weights = &masked[output * width..][..width];
                        y.push(x.iter().zip(weights).map(|(x, w)| x * w).sum::<f64>() + self.bias(output));
                    }
                }
                y
            }
            Layer::BatchNorm(_) => {
                let (normal, _) = self.normalised(x, rows, mode);
                let (gamma, beta) = self.params.split_at(width);
                normal.iter().enumerate().map(|(i, normal)| gamma[i % width] * normal + beta[i % width]).collect()
            }
            Layer::Activation(kind) => x.iter().map(|x| activation(kind, *x).0).collect(),
            Layer::PRelu(_) => {
                let slope = |i: usize| self.params[i % width % self.params.len()];
                x.iter().enumerate().map(|(i, x)| if *x > 0.0 { *x } else { slope(i) * x }).collect()
            }
            Layer::Dropout { rate } => x.iter().zip(self.mask(rate, rows, mode)).map(|(x, m)| x * m).collect(),
            Layer::LayerNorm(ln) => {
                let (normal, _) = row_normalised(x, width, f64::from(ln.eps));
                let (gamma, beta) = self.params.split_at(width);
                normal.iter().enumerate().map(|(i, normal)| gamma[i % width] * normal + beta[i % width]).collect()
            }
            Layer::GaussianDropout { rate } => {
                let deviation = (f64::from(rate) / (1.0 - f64::from(rate))).sqrt();
                x.iter().zip(self.normals(rows, mode)).map(|(x, z)| x * (1.0 + deviation * z)).collect()
            }
            Layer::GaussianNoise { stddev } => {
                x.iter().zip(self.normals(rows, mode)).map(|(x, z)| x + f64::from(stddev) * z).collect()
            }
            Layer::AlphaDropout { rate } => {
                let (a, b) = alpha(f64::from(rate), self.acts(mode));
                let kept = self.mask(rate, rows, mode);
                x.iter().zip(kept).map(|(x, kept)| a * if kept > 0.0 { *x } else { SELU_LIMIT } + b).collect()
            }
            Layer::DropConnect { .. } => x.to_vec(),
            Layer::Softmax => x.chunks_exact(width).flat_map(softmax).collect(),
            Layer::LogSoftmax => x.chunks_exact(width).flat_map(log_softmax).collect(),
            _ => unreachable!("a layer the twin does not know"),
        }
    }

    /// Gradients of the input and of the parameters.
    pub(super) fn backward(&self, x: &[f64], y: &[f64], dy: &[f64], rows: usize, mode: Mode) -> (Vec<f64>, Vec<f64>) {
        let width = self.inputs;
        let mut gradient = vec![0.0; self.params.len()];
        let mut dx = vec![0.0; x.len()];
        match self.layer {
            Layer::Dense { outputs, .. } => {
                let (masked, factors) = (self.masked(mode), self.weight_factors(mode));
                for ((x, dx), dy) in x.chunks_exact(width).zip(dx.chunks_exact_mut(width)).zip(dy.chunks_exact(outputs))
                {
                    for (output, dy) in dy.iter().enumerate() {
                        for input in 0..width {
                            gradient[output * width + input] += dy * x[input] * factors[output * width + input];
                            dx[input] += dy * masked[output * width + input];
                        }
                        if let Some(bias) = gradient.get_mut(outputs * width + output) {
                            *bias += dy;
                        }
                    }
                }
            }
            Layer::BatchNorm(bn) => {
                let (normal, inv_std) = self.normalised(x, rows, mode);
                // Each ghost batch by itself; what is normalised by is given by the rows it is of.
                let (_, corrections, sizes) = self.statistics(x, rows, mode);
                for (i, (dy, normal)) in dy.iter().zip(&normal).enumerate() {
                    gradient[i % width] += dy * normal;
                    gradient[width + i % width] += dy;
                }
                let fixed = matches!(mode.of(self.index, true), Mode::Infer) || bn.mode == NormMode::Frozen;
                for (i, dx) in dx.iter_mut().enumerate() {
                    let j = i % width;
                    if fixed {
                        *dx = self.params[j] * inv_std[i] * dy[i];
                        continue;
                    }
                    let (start, len) = sizes[i / width];
                    let own = |at: usize| (normal[at] - corrections[j].1) / corrections[j].0;
                    let column = || (start..start + len).map(|row| row * width + j);
                    let n = len as f64;
                    let mean: f64 = column().map(|at| dy[at]).sum::<f64>() / n;
                    let slope: f64 = column().map(|at| dy[at] * own(at)).sum::<f64>() / n;
                    *dx = self.params[j] * inv_std[i] * (dy[i] - mean - own(i) * slope);
                }
            }
            Layer::PRelu(_) => {
                for (i, dx) in dx.iter_mut().enumerate() {
                    let slope = i % width % self.params.len();
                    *dx = if x[i] > 0.0 { dy[i] } else { self.params[slope] * dy[i] };
                    gradient[slope] += dy[i] * x[i].min(0.0);
                }
            }
            Layer::Activation(kind) => {
                dx = x.iter().zip(dy).map(|(x, dy)| activation(kind, *x).1 * dy).collect();
            }
            Layer::Dropout { rate } => dx = dy.iter().zip(self.mask(rate, rows, mode)).map(|(dy, m)| dy * m).collect(),
            Layer::LayerNorm(ln) => {
                let (normal, inv_std) = row_normalised(x, width, f64::from(ln.eps));
                for (i, (dy, normal)) in dy.iter().zip(&normal).enumerate() {
                    gradient[i % width] += dy * normal;
                    gradient[width + i % width] += dy;
                }
                for (row, dx) in dx.chunks_exact_mut(width).enumerate() {
                    let g = |i: usize| self.params[i] * dy[row * width + i];
                    let normal = &normal[row * width..][..width];
                    let mean = (0..width).map(g).sum::<f64>() / width as f64;
                    let slope = (0..width).map(|i| g(i) * normal[i]).sum::<f64>() / width as f64;
                    (0..width).for_each(|i| dx[i] = inv_std[row] * (g(i) - mean - normal[i] * slope));
                }
            }
            Layer::GaussianDropout { rate } => {
                let deviation = (f64::from(rate) / (1.0 - f64::from(rate))).sqrt();
                dx = dy.iter().zip(self.normals(rows, mode)).map(|(dy, z)| dy * (1.0 + deviation * z)).collect();
            }
            Layer::GaussianNoise { .. } | Layer::DropConnect { .. } => dx.copy_from_slice(dy),
            Layer::AlphaDropout { rate } => {
                let (a, _) = alpha(f64::from(rate), self.acts(mode));
                let kept = self.mask(rate, rows, mode);
                dx = dy.iter().zip(kept).map(|(dy, kept)| if kept > 0.0 { a * dy } else { 0.0 }).collect();
            }
            Layer::Softmax => {
                for (row, (y, dy)) in y.chunks_exact(width).zip(dy.chunks_exact(width)).enumerate() {
                    let sum: f64 = y.iter().zip(dy).map(|(y, dy)| y * dy).sum();
                    (0..width).for_each(|i| dx[row * width + i] = y[i] * (dy[i] - sum));
                }
            }
            Layer::LogSoftmax => {
                for (row, (y, dy)) in y.chunks_exact(width).zip(dy.chunks_exact(width)).enumerate() {
                    let sum: f64 = dy.iter().sum();
                    (0..width).for_each(|i| dx[row * width + i] = dy[i] - libm::exp(y[i]) * sum);
                }
            }
            _ => unreachable!("a layer the twin does not know"),
        }
        (dx, gradient)
    }
}

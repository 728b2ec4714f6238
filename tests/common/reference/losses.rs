//! Losses of one row, one element at a time (numeric contract, 5 and 6): loss and gradient of the row, before the mean.

use super::Reference;
use evenkeel::kernels::math;
use evenkeel::train::Loss;

/// `if a < b { b } else { a }`
fn max(a: f32, b: f32) -> f32 {
    if a < b { b } else { a }
}

/// `if b < a { b } else { a }`
fn min(a: f32, b: f32) -> f32 {
    if b < a { b } else { a }
}

fn by_sign(x: f32, positive: f32, negative: f32) -> f32 {
    if 0.0 < x {
        positive
    } else if x < 0.0 {
        negative
    } else {
        0.0
    }
}

fn sum(row: impl Iterator<Item = f32>) -> f32 {
    let row: Vec<f32> = row.collect();
    Reference::lanes(&row, 0.0, |_, lane, x| lane + x, |a, b| a + b)
}

impl Reference {
    fn exp(self, x: f32) -> f32 {
        self.math(math::exp_f32, x)
    }

    fn log(self, x: f32) -> f32 {
        self.math(math::log_f32, x)
    }

    /// The loss of class `class`; adds `share` times its gradient to `slopes`.
    pub(crate) fn class_loss(self, loss: Loss, z: &[f32], class: usize, share: f32, slopes: &mut [f32]) -> f32 {
        let cols = z.len() as f32;
        let other = |i: usize, x: f32| if i == class { 0.0 } else { x };
        let probabilities = || {
            let (max, sum) = self.max_and_sum(z);
            let log_sum = self.log(sum);
            (max, sum, log_sum, z.iter().map(|z| self.exp(z - max) / sum).collect::<Vec<f32>>())
        };
        match loss {
            Loss::CrossEntropy | Loss::SmoothedCrossEntropy { .. } => {
                let smoothing = if let Loss::SmoothedCrossEntropy { smoothing } = loss { smoothing } else { 0.0 };
                let (max, _, log_sum, p) = probabilities();
                let keep = 1.0 - smoothing;
                let mut value = keep * (log_sum - (z[class] - max));
                let mut each = 0.0;
                if smoothing > 0.0 {
                    value += smoothing * (log_sum - sum(z.iter().map(|z| z - max)) / cols);
                    each = smoothing / cols;
                }
                for (slope, p) in slopes.iter_mut().zip(p) {
                    *slope = self.fma(p - each, share, *slope);
                }
                slopes[class] -= keep * share;
                value
            }
            Loss::Focal { gamma, alpha } => {
                let (max, whole, log_sum, p) = probabilities();
                let log_p = f64::from((z[class] - max) - log_sum);
                let others = sum(z.iter().enumerate().map(|(i, z)| other(i, self.exp(z - max))));
                let rest = (f64::from(others) / f64::from(whole)).min(1.0);
                let weight = f64::from(alpha) * libm::pow(rest, gamma.into());
                let ratio = if rest > 0.0 { log_p / rest } else { -1.0 };
                let slope = (weight * (1.0 - f64::from(gamma) * (1.0 - rest) * ratio)) as f32 * share;
                for (slopes, p) in slopes.iter_mut().zip(p) {
                    *slopes = self.fma(p, slope, *slopes);
                }
                slopes[class] -= slope;
                (-weight * log_p) as f32
            }
            Loss::CategoricalHinge => {
                let rival = (0..z.len()).filter(|i| *i != class).fold(None, |best: Option<usize>, i| {
                    if z[i] > best.map_or(0.0, |best| z[best]) { Some(i) } else { best }
                });
                let value = (rival.map_or(0.0, |rival| z[rival]) - z[class]) + 1.0;
                if value <= 0.0 {
                    return 0.0;
                }
                slopes[class] -= share;
                if let Some(rival) = rival {
                    slopes[rival] += share;
                }
                value
            }
            Loss::MultiMargin { margin } | Loss::SquaredMultiMargin { margin } => {
                let squared = matches!(loss, Loss::SquaredMultiMargin { .. });
                let over: Vec<f32> = (0..z.len()).map(|i| other(i, max((margin - z[class]) + z[i], 0.0))).collect();
                let slope = |over: f32| if squared { over + over } else { by_sign(over, 1.0, 0.0) };
                for (slopes, over) in slopes.iter_mut().zip(&over) {
                    *slopes = self.fma(slope(*over), share / cols, *slopes);
                }
                slopes[class] -= sum(over.iter().map(|over| slope(*over))) * (share / cols);
                sum(over.iter().map(|over| if squared { over * over } else { *over })) / cols
            }
            other => panic!("{other} takes no classes"),
        }
    }

    fn stirling(self, t: f32) -> f32 {
        if 1.0 < t { (t * self.log(t) - t) + 0.5 * self.log(core::f32::consts::TAU * t) } else { 0.0 }
    }

    /// Loss and slope of one output.
    fn output_loss(self, loss: Loss, z: f32, t: f32) -> Option<(f32, f32)> {
        let d = z - t;
        let size = d.abs();
        let binary = |t: f32| {
            let value = (max(z, 0.0) - z * t) + self.math(math::log1p_exp_neg_f32, z);
            (value, self.math(math::sigmoid_f32, z) - t)
        };
        Some(match loss {
            Loss::BinaryCrossEntropy => binary(t),
            Loss::SmoothedBinaryCrossEntropy { smoothing } => binary(t * (1.0 - smoothing) + 0.5 * smoothing),
            Loss::BinaryFocal { gamma, alpha } => {
                let (entropy, slope) = binary(t);
                let (p, rest) = (self.math(math::sigmoid_f32, z), self.math(math::sigmoid_f32, -z));
                let q = max(t * rest + (1.0 - t) * p, f32::MIN_POSITIVE);
                let power = self.exp(gamma * self.log(q));
                let ratio = ((p * rest) / q) * ((1.0 - t) - t);
                let slope = power * self.fma(gamma * ratio, entropy, slope);
                let weight = alpha.map_or(1.0, |alpha| alpha * t + (1.0 - alpha) * (1.0 - t));
                (weight * (power * entropy), weight * slope)
            }
            Loss::MeanSquaredError => (d * d, d + d),
            Loss::MeanAbsoluteError => (size, by_sign(d, 1.0, -1.0)),
            Loss::Huber { delta } => {
                let value = if size < delta { (0.5 * d) * d } else { delta * (size - 0.5 * delta) };
                (value, max(min(d, delta), -delta))
            }
            Loss::SmoothL1 { beta } => {
                let value = if size < beta { (0.5 * d) * (d / beta) } else { size - 0.5 * beta };
                (value, max(min(d / beta, 1.0), -1.0))
            }
            Loss::LogCosh => {
                let square = d * d;
                let mut series = -17.0 / 2520.0;
                for c in [1.0 / 45.0, -1.0 / 12.0, 0.5] {
                    series = self.fma(series, square, c);
                }
                let rest = self.math(math::log1p_unit_f32, self.exp(size * -2.0));
                let value = if size < 0.25 { series * square } else { (size - core::f32::consts::LN_2) + rest };
                (value, self.math(math::tanh_f32, d))
            }
            Loss::MeanAbsolutePercentageError => {
                let whole = max(t.abs(), 1e-7);
                (100.0 * (size / whole), by_sign(d, 100.0 / whole, -(100.0 / whole)))
            }
            Loss::MeanSquaredLogarithmicError => {
                let log1p = |x: f32| self.log(x + 1.0) + (x - ((x + 1.0) - 1.0)) / (x + 1.0);
                let (own, other) = (max(z, 1e-7), max(t, 1e-7));
                let d = log1p(own) - log1p(other);
                (d * d, if 1e-7 < z { (d + d) / (own + 1.0) } else { 0.0 })
            }
            Loss::Quantile { tau } => {
                let d = t - z;
                (max(tau * d, (tau - 1.0) * d), by_sign(d, -tau, -(tau - 1.0)))
            }
            Loss::Poisson => (self.exp(z) - t * z, self.exp(z) - t),
            Loss::PoissonFull => ((self.exp(z) - t * z) + self.stirling(t), self.exp(z) - t),
            Loss::PoissonRate { eps } => (z - t * self.log(z + eps), 1.0 - t / (z + eps)),
            Loss::PoissonRateFull { eps } => ((z - t * self.log(z + eps)) + self.stirling(t), 1.0 - t / (z + eps)),
            Loss::Hinge | Loss::SquaredHinge => {
                let y = if 0.0 < t { 1.0 } else { -1.0 };
                let over = max(1.0 - y * z, 0.0);
                match loss {
                    Loss::Hinge => (over, by_sign(over, -y, 0.0)),
                    _ => (over * over, (-2.0 * over) * y),
                }
            }
            Loss::SoftMargin => {
                let y = if 0.0 < t { 1.0 } else { -1.0 };
                let over = -y * z;
                let value = max(over, 0.0) + self.math(math::log1p_exp_neg_f32, over);
                (value, -y * self.math(math::sigmoid_f32, over))
            }
            _ => return None,
        })
    }

    /// Loss and gradient of a row with a value for each output, in the mean of `batch` rows.
    pub(crate) fn value_loss(self, loss: Loss, z: &[f32], t: &[f32], batch: usize) -> (f32, Vec<f32>) {
        let cols = z.len() as f32;
        let pairs = || z.iter().zip(t);
        let terms: Option<Vec<_>> = pairs().map(|(z, t)| self.output_loss(loss, *z, *t)).collect();
        if let Some(terms) = terms {
            let share = 1.0 / (batch as f32 * cols);
            let value = sum(terms.iter().map(|(value, _)| *value)) / cols;
            return (value, terms.iter().map(|(_, slope)| slope * share).collect());
        }
        let share = 1.0 / batch as f32;
        if let Loss::CosineSimilarity | Loss::CosineEmbedding = loss {
            let product =
                |a: &[f32], b: &[f32]| Self::lanes(a, 0.0, |index, lane, a| self.fma(a, b[index], lane), |a, b| a + b);
            let (own, other) = (max(product(z, z), 1e-12), max(product(t, t), 1e-12));
            let inverse = 1.0 / (own.sqrt() * other.sqrt());
            let cosine = product(z, t) * inverse;
            let back = if own == 1e-12 { 0.0 } else { cosine / own } * share;
            let slope = |(z, t): (&f32, &f32)| self.fma(*t, -inverse * share, z * back);
            let offset = if loss == Loss::CosineEmbedding { 1.0 } else { 0.0 };
            return (offset - cosine, pairs().map(slope).collect());
        }
        let smoothing = if let Loss::SoftCrossEntropy { smoothing } = loss { smoothing } else { 0.0 };
        let (max, whole) = self.max_and_sum(z);
        let log_sum = self.log(whole);
        let t: Vec<f32> = t.iter().map(|t| t * (1.0 - smoothing) + smoothing / cols).collect();
        let term = |(z, t): (&f32, &f32)| {
            let own = if loss == Loss::KlDivergence { self.log(*t) } else { 0.0 };
            let cost = log_sum - (z - max);
            let cost = if loss == Loss::KlDivergence { cost + own } else { cost };
            if 0.0 < *t { t * cost } else { 0.0 }
        };
        let value = sum(z.iter().zip(&t).map(term));
        let mass = sum(t.iter().copied());
        let slope = |(z, t): (&f32, &f32)| ((self.exp(z - max) / whole) * mass - t) * share;
        (value, z.iter().zip(&t).map(slope).collect())
    }
}

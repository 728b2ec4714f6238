//! Losses with their gradients: one pass over the rows gives loss, gradient and hit of each.
//!
//! Every loss is the mean over the batch, as PyTorch's `reduction="mean"` and Keras' default.

use crate::Level;
use crate::error::Error;
use crate::kernels::math;
use crate::kernels::softmax::{fold_sum, groups_of_row, groups_of_row_mut, masked, max_and_sum};
use crate::layer::padded;
use crate::simd::{Group, LANES, Simd, level::kernel};
use crate::split::Split;

/// What training minimises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Loss {
    /// Softmax and cross-entropy with one class index per row; the network ends with plain logits.
    CrossEntropy,
    /// Sigmoid and binary cross-entropy per output; targets from 0 to 1, the network ends with plain logits.
    BinaryCrossEntropy,
    /// Mean of the squared differences over all outputs.
    MeanSquaredError,
}

/// Targets of the rows of a batch or of a data set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Targets<'a> {
    /// One class index per row.
    Classes(&'a [u32]),
    /// `outputs` values per row.
    Values(&'a [f32]),
}

impl Targets<'_> {
    /// Checks that there is a target of the right kind and range for each of `rows` rows.
    ///
    /// # Errors
    /// [`Error::TargetKind`], [`Error::Length`], [`Error::Label`] or [`Error::Probability`] with the row.
    pub fn check(&self, loss: Loss, rows: usize, outputs: usize) -> Result<(), Error> {
        match (loss, self) {
            (Loss::CrossEntropy, Targets::Classes(labels)) => {
                crate::error::check_len("labels", rows, labels.len())?;
                match labels.iter().position(|label| *label as usize >= outputs) {
                    Some(row) => Err(Error::Label { row, label: labels[row], classes: outputs }),
                    None => Ok(()),
                }
            }
            (Loss::BinaryCrossEntropy | Loss::MeanSquaredError, Targets::Values(values)) => {
                crate::error::check_len("targets", rows.saturating_mul(outputs), values.len())?;
                let wrong = |value: &f32| loss == Loss::BinaryCrossEntropy && !(0.0..=1.0).contains(value);
                match values.iter().position(wrong) {
                    Some(at) => Err(Error::Probability { row: at / outputs.max(1), value: values[at] }),
                    None => Ok(()),
                }
            }
            _ => Err(Error::TargetKind { loss: loss.name() }),
        }
    }
}

impl Loss {
    /// The loss's name on the command line.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Loss::CrossEntropy => "cross_entropy",
            Loss::BinaryCrossEntropy => "bce",
            Loss::MeanSquaredError => "mse",
        }
    }

    /// Whether accuracy means something beside this loss.
    #[must_use]
    pub const fn has_accuracy(&self) -> bool {
        !matches!(self, Loss::MeanSquaredError)
    }
}

/// Sum of the rows' losses and hits.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Score {
    /// Sum over the rows of each row's loss (for losses over several outputs, its mean over the outputs).
    pub loss: f64,
    /// Rows (or shares of a row) predicted right.
    pub hits: f64,
    /// Rows.
    pub rows: u64,
}

impl Score {
    /// Mean loss of a row.
    #[must_use]
    pub fn mean_loss(&self) -> f64 {
        self.loss / self.rows as f64
    }

    /// Share of hits.
    #[must_use]
    pub fn accuracy(&self) -> f64 {
        self.hits / self.rows as f64
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self { loss: self.loss + other.loss, hits: self.hits + other.hits, rows: self.rows + other.rows }
    }
}

/// Loss of each row of `outputs` (in groups), and its gradient with respect to the outputs.
///
/// `delta` gets the gradient of the mean, in groups, lanes beyond the last column zero; `row_losses` two values a row.
/// `total` rows are the whole batch, of which these may be a part; what was summed up before them is gone on with.
/// Arguments have been checked. Rows are divided among the workers if each is a single group: then they lie one after
/// the other.
pub(crate) fn evaluate(
    level: Level,
    split: &impl Split,
    loss: Loss,
    cols: usize,
    outputs: &[f32],
    targets: Targets<'_>,
    (total, so_far): (usize, Score),
    delta: &mut [f32],
    row_losses: &mut [f32],
) -> Score {
    let rows = outputs.len() / padded(cols);
    let losses = &mut row_losses[..2 * rows];
    let width = padded(cols);
    let tasks = if width == LANES { (rows / 32).clamp(1, split.workers().max(1)) } else { 1 };
    let per_task = rows.div_ceil(tasks);
    split.run([delta, &mut *losses], [per_task * width, 2 * per_task], &|task, [delta, losses]| {
        let (first, count) = (task * per_task, losses.len() / 2);
        let outputs = &outputs[first * width..][..count * width];
        match targets {
            Targets::Classes(labels) => {
                cross_entropy(level, cols, total, outputs, &labels[first..][..count], delta, losses);
            }
            Targets::Values(values) => {
                let values = &values[first * cols..][..count * cols];
                elementwise(level, loss, cols, total, outputs, values, delta, losses);
            }
        }
    });
    let (sum, hits) = losses
        .chunks_exact(2)
        .fold((so_far.loss, so_far.hits), |(loss, hits), row| (loss + f64::from(row[0]), hits + f64::from(row[1])));
    Score { loss: sum, hits, rows: so_far.rows + rows as u64 }
}

kernel! {
    fn cross_entropy(
        cols: usize, batch: usize, outputs: &[f32], labels: &[u32], delta: &mut [f32], losses: &mut [f32],
    ) = cross_entropy_body;
}

#[inline(always)]
fn cross_entropy_body<S: Simd>(
    s: S,
    cols: usize,
    batch: usize,
    outputs: &[f32],
    labels: &[u32],
    delta: &mut [f32],
    losses: &mut [f32],
) {
    let rows = labels.len();
    let share = s.splat(1.0 / batch as f32);
    let (outputs, delta) = (outputs.as_chunks::<LANES>().0, delta.as_chunks_mut::<LANES>().0);
    for (row, (label, losses)) in labels.iter().zip(losses.chunks_exact_mut(2)).enumerate() {
        let label = *label as usize;
        let logits = || groups_of_row(outputs, rows, row);
        let (max, sum) = max_and_sum(s, logits(), cols);
        // -log softmax, subtracted in two steps: `max + log sum` would round away a small log.
        let mut log_sum: Group = [0.0; LANES];
        s.store(math::log(s, s.splat(sum)), &mut log_sum);
        let (place, lane) = (label / LANES * rows + row, label % LANES);
        losses[0] = log_sum[0] - (outputs[place][lane] - max);
        losses[1] = if best_of(logits().flatten().take(cols).copied()) == label { 1.0 } else { 0.0 };
        for (g, (logits, delta)) in logits().zip(groups_of_row_mut(delta, rows, row)).enumerate() {
            let probability = s.div(math::exp(s, s.sub(s.load(logits), s.splat(max))), s.splat(sum));
            s.store(masked(s, probability, g, cols, 0.0), delta);
        }
        delta[place][lane] -= 1.0;
        for delta in groups_of_row_mut(delta, rows, row) {
            s.store(s.mul(s.load(delta), share), delta);
        }
    }
}

/// Index of the largest value, the first of equals; 0 if all are NaN.
#[must_use]
pub fn best(row: &[f32]) -> usize {
    best_of(row.iter().copied())
}

fn best_of(row: impl Iterator<Item = f32>) -> usize {
    let (mut at, mut largest) = (0, f32::NAN);
    for (index, value) in row.enumerate() {
        if value > largest || (largest.is_nan() && !value.is_nan()) {
            (at, largest) = (index, value);
        }
    }
    at
}

kernel! {
    fn elementwise(
        loss: Loss, cols: usize, batch: usize, outputs: &[f32], values: &[f32], delta: &mut [f32],
        losses: &mut [f32],
    ) = elementwise_body;
}

/// The losses that are a mean over outputs: squared error and binary cross-entropy.
#[inline(always)]
fn elementwise_body<S: Simd>(
    s: S,
    loss: Loss,
    cols: usize,
    batch: usize,
    outputs: &[f32],
    values: &[f32],
    delta: &mut [f32],
    losses: &mut [f32],
) {
    let rows = losses.len() / 2;
    let share = s.splat(1.0 / (batch as f32 * cols as f32));
    let zero = s.splat(0.0);
    let (outputs, delta) = (outputs.as_chunks::<LANES>().0, delta.as_chunks_mut::<LANES>().0);
    for (row, (values, losses)) in values.chunks_exact(cols).zip(losses.chunks_exact_mut(2)).enumerate() {
        let mut sum = zero;
        let mut hits = 0.0;
        let groups = groups_of_row(outputs, rows, row).zip(groups_of_row_mut(delta, rows, row));
        for (g, ((output, delta), values)) in groups.zip(values.chunks(LANES)).enumerate() {
            let mut target: Group = [0.0; LANES];
            target[..values.len()].copy_from_slice(values);
            let (z, t) = (s.load(output), s.load(&target));
            let (term, slope) = if loss == Loss::BinaryCrossEntropy {
                // max(z, 0) - z t + log(1 + exp(-|z|)): no overflow for any z.
                let term = s.add(s.sub(s.max(z, zero), s.mul(z, t)), math::log1p_exp_neg(s, z));
                hits += output.iter().zip(values).filter(|(z, t)| (**z > 0.0) == (**t > 0.5)).count() as f32;
                (term, s.sub(math::sigmoid(s, z), t))
            } else {
                let difference = s.sub(z, t);
                (s.mul(difference, difference), s.add(difference, difference))
            };
            sum = s.add(sum, masked(s, term, g, cols, 0.0));
            s.store(masked(s, s.mul(slope, share), g, cols, 0.0), delta);
        }
        losses[0] = fold_sum(s, sum) / cols as f32;
        losses[1] = hits / cols as f32;
    }
}

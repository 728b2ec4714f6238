//! Which kernel computes which loss, and the weights of rows behind them.

use super::targets::{Goal, Mixed, Targets};
use super::{Loss, Score, classes, standard, terms, whole};
use crate::kernels::softmax::groups_of_row_mut;
use crate::layer::padded;
use crate::simd::{LANES, Simd, level::kernel};
use crate::split::Split;
use crate::{Level, TOOLBOX};

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
    let (weights, scale) = (targets.weights(), targets.scale());
    split.run([delta, &mut *losses], [per_task * width, 2 * per_task], &|task, [delta, losses]| {
        let (first, count) = (task * per_task, losses.len() / 2);
        let outputs = &outputs[first * width..][..count * width];
        match targets.goal() {
            Goal::Classes(labels) => {
                of_classes(level, loss, cols, total, outputs, (&labels[first..][..count], None, 1.0), delta, losses);
            }
            Goal::Mixed(Mixed { classes, others, share }) => {
                let labels = (&classes[first..][..count], Some(&others[first..][..count]), share);
                of_classes(level, loss, cols, total, outputs, labels, delta, losses);
            }
            Goal::Values(values) => {
                let values = &values[first * cols..][..count * cols];
                of_values(level, loss, cols, total, outputs, values, delta, losses);
            }
        }
        if let Some((weights, _)) = weights {
            weigh(level, &weights[first..][..count], scale, delta, losses);
        }
    });
    let (sum, hits) = losses
        .chunks_exact(2)
        .fold((so_far.loss, so_far.hits), |(loss, hits), row| (loss + f64::from(row[0]), hits + f64::from(row[1])));
    Score { loss: sum, hits, rows: so_far.rows + rows as u64 }
}

/// Losses with class indices.
fn of_classes(
    level: Level,
    loss: Loss,
    cols: usize,
    total: usize,
    outputs: &[f32],
    (labels, others, share): (&[u32], Option<&[u32]>, f32),
    delta: &mut [f32],
    losses: &mut [f32],
) {
    use classes::{CategoricalHinge, Focal, MultiMargin, Smoothed, by_class};
    macro_rules! each {
        ($term:expr) => {
            by_class(level, $term, cols, total, outputs, labels, others, share, delta, losses)
        };
    }
    match (loss, others) {
        _ if !TOOLBOX => standard::cross_entropy(level, cols, total, outputs, labels, delta, losses),
        (Loss::CrossEntropy, None) => standard::cross_entropy(level, cols, total, outputs, labels, delta, losses),
        (Loss::SmoothedCrossEntropy { smoothing }, _) => each!(Smoothed { smoothing }),
        (Loss::Focal { gamma, alpha }, _) => each!(Focal { gamma, alpha }),
        (Loss::CategoricalHinge, _) => each!(CategoricalHinge),
        (Loss::MultiMargin { margin }, _) => each!(MultiMargin::<false> { margin }),
        (Loss::SquaredMultiMargin { margin }, _) => each!(MultiMargin::<true> { margin }),
        // The losses with values never come here.
        _ => each!(Smoothed { smoothing: 0.0 }),
    }
}

/// Losses with a value for each output.
fn of_values(
    level: Level,
    loss: Loss,
    cols: usize,
    total: usize,
    outputs: &[f32],
    values: &[f32],
    delta: &mut [f32],
    losses: &mut [f32],
) {
    macro_rules! each {
        ($term:expr) => {
            terms::per_output(level, $term, cols, total, outputs, values, delta, losses)
        };
    }
    macro_rules! whole {
        ($function:ident, $($argument:expr),*) => {
            whole::$function(level, $($argument,)* cols, total, outputs, values, delta, losses)
        };
    }
    match loss {
        _ if !TOOLBOX => {
            let binary = loss == Loss::BinaryCrossEntropy;
            standard::elementwise(level, binary, cols, total, outputs, values, delta, losses);
        }
        Loss::BinaryCrossEntropy => standard::elementwise(level, true, cols, total, outputs, values, delta, losses),
        Loss::SmoothedBinaryCrossEntropy { smoothing } => each!(terms::SmoothedBinary { smoothing }),
        Loss::BinaryFocal { gamma, alpha } => each!(terms::BinaryFocal { gamma, alpha }),
        Loss::MeanAbsoluteError => each!(terms::Absolute),
        Loss::Huber { delta: limit } => each!(terms::Huber { delta: limit }),
        Loss::SmoothL1 { beta } => each!(terms::SmoothL1 { beta }),
        Loss::LogCosh => each!(terms::LogCosh),
        Loss::MeanAbsolutePercentageError => each!(terms::Percentage),
        Loss::MeanSquaredLogarithmicError => each!(terms::SquaredLogarithms),
        Loss::Quantile { tau } => each!(terms::Quantile { tau }),
        Loss::Poisson => each!(terms::Poisson::<false>),
        Loss::PoissonFull => each!(terms::Poisson::<true>),
        Loss::PoissonRate { eps } => each!(terms::PoissonRate::<false> { eps }),
        Loss::PoissonRateFull { eps } => each!(terms::PoissonRate::<true> { eps }),
        Loss::Hinge => each!(terms::Hinge::<false>),
        Loss::SquaredHinge => each!(terms::Hinge::<true>),
        Loss::SoftMargin => each!(terms::SoftMargin),
        Loss::SoftCrossEntropy { smoothing } => whole!(distributions, smoothing, false),
        Loss::KlDivergence => whole!(distributions, 0.0, true),
        Loss::CosineSimilarity => whole!(cosine, 0.0),
        Loss::CosineEmbedding => whole!(cosine, 1.0),
        // Squared error; the losses with classes never come here.
        _ => standard::elementwise(level, false, cols, total, outputs, values, delta, losses),
    }
}

kernel! {
    /// Multiplies loss and gradient of each row by its weight, and all weights by `scale` first.
    fn weigh(weights: &[f32], scale: f32, delta: &mut [f32], losses: &mut [f32]) = weigh_body;
}

#[inline(always)]
fn weigh_body<S: Simd>(s: S, weights: &[f32], scale: f32, delta: &mut [f32], losses: &mut [f32]) {
    let (rows, delta) = (weights.len(), delta.as_chunks_mut::<LANES>().0);
    for (row, (weight, losses)) in weights.iter().zip(losses.chunks_exact_mut(2)).enumerate() {
        let factor = weight * scale;
        losses[0] *= factor;
        for delta in groups_of_row_mut(delta, rows, row) {
            s.store(s.mul(s.load(delta), s.splat(factor)), delta);
        }
    }
}

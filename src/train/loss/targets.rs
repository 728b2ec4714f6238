//! What the rows of a batch or of a data set are compared with: classes or values, mixed or weighted.

use super::Loss;
use crate::TOOLBOX;
use crate::error::{Error, check_len};

/// Targets of the rows of a batch or of a data set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Targets<'a> {
    /// One class index per row.
    Classes(&'a [u32]),
    /// `outputs` values per row.
    Values(&'a [f32]),
    /// Two classes per row, mixed ([`Mixed`]).
    Mixed(Mixed<'a>),
    /// Any of them with a weight for each row ([`Targets::weighted`]).
    Weighted(Weighted<'a>),
}

/// Rows of two classes each, as mixup makes them (Zhang et al. 2018): the loss of a row is `share` times that of its first
/// class plus `1 - share` times that of its second, and so is what counts as a hit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mixed<'a> {
    /// First class of each row.
    pub classes: &'a [u32],
    /// Second class of each row.
    pub others: &'a [u32],
    /// What the first has of the loss, from 0 to 1.
    pub share: f32,
}

/// What the weighted losses of a batch's rows are divided by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mean {
    /// The number of rows, as Keras does with `class_weight` and `sample_weight`: twice the weights are twice the loss.
    Rows,
    /// The sum of the batch's weights, as PyTorch does with `weight`, and Keras under `mean_with_sample_weight`. A batch
    /// whose weights are all 0 has the loss 0.
    Weights,
    /// The number of rows, after each weight was multiplied by this: `rows / sum of weights` of a batch of which these are
    /// a part, or of a whole data set, makes it a mean over those weights.
    Scaled(f32),
}

/// Targets with a weight for each row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weighted<'a> {
    goal: Goal<'a>,
    weights: &'a [f32],
    mean: Mean,
}

/// Targets without weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Goal<'a> {
    Classes(&'a [u32]),
    Values(&'a [f32]),
    Mixed(Mixed<'a>),
}

impl<'a> Goal<'a> {
    fn targets(self) -> Targets<'a> {
        match self {
            Goal::Classes(labels) => Targets::Classes(labels),
            Goal::Values(values) => Targets::Values(values),
            Goal::Mixed(mixed) => Targets::Mixed(mixed),
        }
    }
}

impl<'a> Targets<'a> {
    /// The same targets with one weight per row, at least 0, in place of any they had. A class's weight is the weight of
    /// its rows.
    ///
    /// Loss and gradient of each row are multiplied by its weight; hits are counted without.
    #[must_use]
    pub fn weighted(self, weights: &'a [f32], mean: Mean) -> Self {
        Targets::Weighted(Weighted { goal: self.goal(), weights, mean })
    }

    /// The targets without their weights.
    #[must_use]
    pub fn unweighted(self) -> Self {
        self.goal().targets()
    }

    /// The weights, and what their losses are divided by.
    #[must_use]
    pub fn weights(self) -> Option<(&'a [f32], Mean)> {
        match self {
            Targets::Weighted(Weighted { weights, mean, .. }) => Some((weights, mean)),
            _ => None,
        }
    }

    pub(crate) fn goal(self) -> Goal<'a> {
        match self {
            Targets::Classes(labels) => Goal::Classes(labels),
            Targets::Values(values) => Goal::Values(values),
            Targets::Mixed(mixed) => Goal::Mixed(mixed),
            Targets::Weighted(Weighted { goal, .. }) => goal,
        }
    }

    /// The factor of each weight in the mean over `rows` rows.
    pub(crate) fn scale(self) -> f32 {
        match self {
            Targets::Weighted(Weighted { weights, mean: Mean::Weights, .. }) => scale(weights),
            Targets::Weighted(Weighted { mean: Mean::Scaled(scale), .. }) => scale,
            _ => 1.0,
        }
    }

    /// These targets with the mean of all their rows, whichever part of them is looked at.
    pub(crate) fn settled(self) -> Self {
        match self {
            Targets::Weighted(Weighted { goal, weights, mean: Mean::Weights }) => {
                Targets::Weighted(Weighted { goal, weights, mean: Mean::Scaled(scale(weights)) })
            }
            other => other,
        }
    }

    /// The targets of `rows` rows from row `first` on, for a network with so many outputs. They have been checked.
    pub(crate) fn part(self, first: usize, rows: usize, outputs: usize) -> Self {
        let goal = match self.goal() {
            Goal::Classes(labels) => Goal::Classes(&labels[first..][..rows]),
            Goal::Values(values) => Goal::Values(&values[first * outputs..][..rows * outputs]),
            Goal::Mixed(Mixed { classes, others, share }) => {
                Goal::Mixed(Mixed { classes: &classes[first..][..rows], others: &others[first..][..rows], share })
            }
        };
        match self {
            Targets::Weighted(Weighted { weights, mean, .. }) => {
                Targets::Weighted(Weighted { goal, weights: &weights[first..][..rows], mean })
            }
            _ => goal.targets(),
        }
    }

    /// Checks that there is a target of the right kind and range for each of `rows` rows, and that the loss's own figures
    /// are in their range.
    ///
    /// # Errors
    /// [`Error::LossParameter`], [`Error::TargetKind`], [`Error::Length`]; [`Error::Label`], [`Error::Probability`],
    /// [`Error::Target`] or [`Error::Weight`] with the row; [`Error::Share`].
    pub fn check(&self, loss: Loss, rows: usize, outputs: usize) -> Result<(), Error> {
        let basic = loss.is_basic() && !matches!(self.goal(), Goal::Mixed(_));
        if !TOOLBOX && !basic {
            return Err(Error::Toolbox);
        }
        if !loss.is_valid() {
            return Err(Error::LossParameter { loss: loss.name() });
        }
        if let Some((weights, mean)) = self.weights() {
            check_len("weights", rows, weights.len())?;
            let wrong = |weight: &f32| !(*weight >= 0.0 && weight.is_finite());
            if let Some(row) = weights.iter().position(wrong) {
                return Err(Error::Weight { row, value: weights[row] });
            }
            if let Mean::Scaled(scale) = mean
                && wrong(&scale)
            {
                return Err(Error::Weight { row: 0, value: scale });
            }
        }
        match self.goal() {
            Goal::Classes(labels) if loss.takes_classes() => check_labels(labels, rows, outputs),
            Goal::Mixed(Mixed { classes, others, share }) if loss.takes_classes() => {
                if !(0.0..=1.0).contains(&share) {
                    return Err(Error::Share { value: share });
                }
                check_labels(classes, rows, outputs)?;
                check_labels(others, rows, outputs)
            }
            Goal::Values(values) if !loss.takes_classes() => {
                check_len("targets", rows.saturating_mul(outputs), values.len())?;
                let Some(at) = values.iter().position(|value| !loss.takes(*value)) else { return Ok(()) };
                let (row, value) = (at / outputs.max(1), values[at]);
                Err(match loss {
                    Loss::BinaryCrossEntropy => Error::Probability { row, value },
                    _ => Error::Target { row, value, loss: loss.name() },
                })
            }
            _ => Err(Error::TargetKind { loss: loss.name() }),
        }
    }
}

/// `rows / sum`, 0 if all weights are.
fn scale(weights: &[f32]) -> f32 {
    let sum = weights.iter().fold(0.0, |sum, weight| sum + f64::from(*weight));
    if sum > 0.0 { (weights.len() as f64 / sum) as f32 } else { 0.0 }
}

fn check_labels(labels: &[u32], rows: usize, outputs: usize) -> Result<(), Error> {
    check_len("labels", rows, labels.len())?;
    match labels.iter().position(|label| *label as usize >= outputs) {
        Some(row) => Err(Error::Label { row, label: labels[row], classes: outputs }),
        None => Ok(()),
    }
}

//! Quantities: how far answers are from their targets.

use super::Truth;
use crate::error::{Error, check_len};

/// Figures of answers that are quantities, each the plain mean over a row's outputs (scikit-learn's `uniform_average`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quantities {
    /// Mean absolute error (`sklearn.metrics.mean_absolute_error`).
    pub mae: f64,
    /// Root of the mean squared error (`root_mean_squared_error`), taken for each output before the mean.
    pub rmse: f64,
    /// R², the share of the targets' variance that is explained (`r2_score`): 1 is perfect, 0 as good as their mean. For
    /// targets that never change it is 1 if all answers are exact, else 0. `None` for a single row (scikit-learn: NaN).
    pub r2: Option<f64>,
}

/// Compares rows of `outputs` answers with their targets, which are as many; a weight is one of a row.
///
/// # Errors
/// [`Error::Length`], [`Error::Metric`] without rows and for values that are not finite; [`Error::Weight`] and
/// [`Error::AllWeightsZero`].
pub fn quantities<'a>(
    answers: &[f32],
    targets: impl Into<Truth<'a, f32>>,
    outputs: usize,
) -> Result<Quantities, Error> {
    let truth = targets.into();
    let targets = truth.values;
    check_len("answers", targets.len(), answers.len())?;
    let rows = targets.len().checked_div(outputs).unwrap_or(0);
    check_len("targets", rows * outputs, targets.len())?;
    let count = truth.check(rows)?;
    if answers.iter().chain(targets).any(|value| !value.is_finite()) {
        return Err(Error::Metric { what: "an answer or a target is not finite" });
    }
    let mut all = Quantities { mae: 0.0, rmse: 0.0, r2: (rows > 1).then_some(0.0) };
    for output in 0..outputs {
        let column = |values: &'_ [f32], row: usize| f64::from(values[row * outputs + output]);
        let mean = (0..rows).map(|row| truth.weight(row) * column(targets, row)).sum::<f64>() / count;
        let (mut absolute, mut squared, mut spread) = (0.0, 0.0, 0.0);
        for row in 0..rows {
            let (target, error) = (column(targets, row), column(answers, row) - column(targets, row));
            let weight = truth.weight(row);
            absolute += weight * error.abs();
            squared += weight * (error * error);
            spread += weight * ((target - mean) * (target - mean));
        }
        all.mae += absolute / count;
        all.rmse += libm::sqrt(squared / count);
        // A constant column's mean may be a rounding beside its value.
        let constant = (1..rows).all(|row| column(targets, row) == column(targets, 0));
        all.r2 = all.r2.map(|sum| {
            sum + match (constant || spread == 0.0, squared == 0.0) {
                (_, true) => 1.0,
                (true, false) => 0.0,
                (false, false) => 1.0 - squared / spread,
            }
        });
    }
    let share = 1.0 / outputs as f64;
    Ok(Quantities { mae: all.mae * share, rmse: all.rmse * share, r2: all.r2.map(|sum| sum * share) })
}

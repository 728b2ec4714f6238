//! What a model's answers are worth: counts of classes, rankings, probabilities, quantities.
//!
//! Definitions, ties and degenerate cases are scikit-learn's unless a page says otherwise; each is compared with it
//! (`tests/golden`, `docs/names.md`). All figures are `f64`, sums ascend over the rows. Memory is the caller's: a matrix of
//! counts, an order of the rows, bins.
//!
//! Every figure takes weights of the rows (scikit-learn's `sample_weight`): hand in [`Truth::weighted`] where there is a slice
//! else. A weight of 2 counts a row twice, one of 0 leaves it out; figures of rows that all weigh 1 are those without weights.
//!
//! ```
//! use evenkeel::metrics::{Average, Confusion, Truth, ranking, top_k};
//!
//! let (truth, predicted) = ([0, 1, 2, 2, 1], [0, 1, 2, 1, 1]);
//! let mut counts = [0.0; 9];
//! let mut confusion = Confusion::new(3, &mut counts)?;
//! confusion.add_all(&truth, &predicted)?;
//! assert_eq!(confusion.accuracy(), Some(0.8));
//! assert_eq!(confusion.class(2, 0.0).recall, 0.5);
//! assert!(confusion.average(Average::Macro, 0.0).f1 > 0.8);
//!
//! let (scores, truth) = ([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1]);
//! let mut order = [0; 4];
//! assert_eq!(ranking::binary(&scores, &truth, &mut order)?.roc_auc, Some(0.75));
//! // The third row counts three times.
//! let weighted = Truth::weighted(&truth, &[1.0, 1.0, 3.0, 1.0]);
//! assert_eq!(ranking::binary(&scores, weighted, &mut order)?.roc_auc, Some(0.625));
//! # Ok::<(), evenkeel::Error>(())
//! ```
//!
//! Must not depend on anything but `error`.

pub mod calibration;
pub mod classes;
pub mod quantities;
pub mod ranking;

pub use calibration::{Bin, Calibration, calibration, log_loss};
pub use classes::{Average, Confusion, Scores, top_k};
pub use quantities::{Quantities, quantities};
pub use ranking::Ranking;

use crate::error::{Error, check_len};

/// What the rows are: a class or a quantity of each, and what each counts.
///
/// A slice, an array or a vector is one without weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Truth<'a, T = u32> {
    values: &'a [T],
    weights: Option<&'a [f32]>,
}

impl<'a, T, S: AsRef<[T]> + ?Sized> From<&'a S> for Truth<'a, T> {
    fn from(values: &'a S) -> Self {
        Self { values: values.as_ref(), weights: None }
    }
}

impl<'a, T> Truth<'a, T> {
    /// With a weight for each row: 0 or positive, not all of them 0. The figure checks that.
    #[must_use]
    pub fn weighted(values: &'a [T], weights: &'a [f32]) -> Self {
        Self { values, weights: Some(weights) }
    }

    /// What a row counts: its weight, or 1.
    fn weight(&self, row: usize) -> f64 {
        self.weights.and_then(|weights| weights.get(row)).map_or(1.0, |weight| f64::from(*weight))
    }

    /// The sum of the weights of `rows` rows, which has no less than one of them above 0.
    fn check(&self, rows: usize) -> Result<f64, Error> {
        check_rows(rows)?;
        let Some(weights) = self.weights else { return Ok(rows as f64) };
        check_len("weights", rows, weights.len())?;
        if let Some(row) = weights.iter().position(|weight| !(*weight >= 0.0 && weight.is_finite())) {
            return Err(Error::Weight { row, value: weights[row] });
        }
        let sum = weights.iter().map(|weight| f64::from(*weight)).sum();
        if sum > 0.0 { Ok(sum) } else { Err(Error::AllWeightsZero) }
    }
}

/// Scores in rows of `classes` values, one label for each row, none of them NaN: the sum of the rows' weights.
fn check_scores(scores: &[f32], classes: usize, truth: &Truth<'_>, labels: usize) -> Result<f64, Error> {
    let rows = truth.values.len();
    let sum = truth.check(rows)?;
    if classes == 0 {
        return Err(Error::Metric { what: "there are no classes" });
    }
    check_len("scores", rows.saturating_mul(classes), scores.len())?;
    if scores.iter().any(|score| score.is_nan()) {
        return Err(Error::Metric { what: "a score is NaN" });
    }
    match truth.values.iter().position(|label| *label as usize >= labels) {
        Some(row) => Err(Error::Label { row, label: truth.values[row], classes: labels }),
        None => Ok(sum),
    }
}

fn check_rows(rows: usize) -> Result<(), Error> {
    match rows {
        0 => Err(Error::Metric { what: "there are no rows" }),
        rows if rows > u32::MAX as usize => Err(Error::Metric { what: "there are more than 4294967295 rows" }),
        _ => Ok(()),
    }
}

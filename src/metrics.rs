//! What a model's answers are worth: counts of classes, rankings, probabilities, quantities.
//!
//! Definitions, ties and degenerate cases are scikit-learn's unless a page says otherwise; each is compared with it
//! (`tests/golden`, `docs/names.md`). All figures are `f64`, sums ascend over the rows. Memory is the caller's: a matrix of
//! counts, an order of the rows, bins.
//!
//! ```
//! use evenkeel::metrics::{Average, Confusion, ranking, top_k};
//!
//! let (truth, predicted) = ([0, 1, 2, 2, 1], [0, 1, 2, 1, 1]);
//! let mut counts = [0; 9];
//! let mut confusion = Confusion::new(3, &mut counts)?;
//! confusion.add_all(&truth, &predicted)?;
//! assert_eq!(confusion.accuracy(), Some(0.8));
//! assert_eq!(confusion.class(2, 0.0).recall, 0.5);
//! assert!(confusion.average(Average::Macro, 0.0).f1 > 0.8);
//!
//! let (scores, truth) = ([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1]);
//! let mut order = [0; 4];
//! assert_eq!(ranking::binary(&scores, &truth, &mut order)?.roc_auc, Some(0.75));
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

/// Scores in rows of `classes` values, one label for each row, none of them NaN: the number of rows.
fn check_scores(scores: &[f32], classes: usize, truth: &[u32], labels: usize) -> Result<usize, Error> {
    let rows = truth.len();
    check_rows(rows)?;
    if classes == 0 {
        return Err(Error::Metric { what: "there are no classes" });
    }
    check_len("scores", rows.saturating_mul(classes), scores.len())?;
    if scores.iter().any(|score| score.is_nan()) {
        return Err(Error::Metric { what: "a score is NaN" });
    }
    match truth.iter().position(|label| *label as usize >= labels) {
        Some(row) => Err(Error::Label { row, label: truth[row], classes: labels }),
        None => Ok(rows),
    }
}

fn check_rows(rows: usize) -> Result<(), Error> {
    match rows {
        0 => Err(Error::Metric { what: "there are no rows" }),
        rows if rows > u32::MAX as usize => Err(Error::Metric { what: "there are more than 4294967295 rows" }),
        _ => Ok(()),
    }
}

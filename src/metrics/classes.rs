//! Classes: the confusion matrix, precision, recall and F1, accuracy among the best `k`.

use super::{Truth, check_scores};
use crate::error::{Error, check_len};

/// How many rows of each class were taken for each class (`sklearn.metrics.confusion_matrix`); of weighted rows, their weights
/// together. Up to 2⁵³ rows are counted exactly.
#[derive(Debug, PartialEq)]
pub struct Confusion<'a> {
    classes: usize,
    /// `[truth][predicted]`.
    counts: &'a mut [f64],
}

/// Figures of one class, or averages.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scores {
    /// Share of the rows taken for the class that are of it.
    pub precision: f64,
    /// Share of the rows of the class that were taken for it.
    pub recall: f64,
    /// Harmonic mean of the two: `2 hits / (rows of the class + rows taken for it)`.
    pub f1: f64,
    /// Rows of the class, or their weights; of an average, all rows.
    pub support: f64,
}

/// How figures of several classes become one (`average` of scikit-learn).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Average {
    /// Each class counts the same.
    #[default]
    Macro,
    /// Each class counts by its rows.
    Weighted,
    /// All rows together; with one class for each row this is the accuracy.
    Micro,
}

impl<'a> Confusion<'a> {
    /// An empty matrix in `classes × classes` counts of the caller.
    ///
    /// # Errors
    /// [`Error::Length`] for another number of counts, [`Error::Metric`] without classes.
    pub fn new(classes: usize, counts: &'a mut [f64]) -> Result<Self, Error> {
        if classes == 0 {
            return Err(Error::Metric { what: "there are no classes" });
        }
        check_len("counts of the confusion matrix", classes.saturating_mul(classes), counts.len())?;
        counts.fill(0.0);
        Ok(Self { classes, counts })
    }

    /// Counts a row.
    ///
    /// # Errors
    /// [`Error::Label`] for a class that the matrix does not have; the row's number is 0.
    pub fn add(&mut self, truth: u32, predicted: u32) -> Result<(), Error> {
        self.count_row(0, (truth, predicted), 1.0)
    }

    /// Counts rows.
    ///
    /// # Errors
    /// [`Error::Length`] for lists of different length, [`Error::Label`] with the row; [`Error::Weight`] and
    /// [`Error::AllWeightsZero`].
    pub fn add_all<'b>(&mut self, truth: impl Into<Truth<'b>>, predicted: &[u32]) -> Result<(), Error> {
        let truth = truth.into();
        check_len("predicted classes", truth.values.len(), predicted.len())?;
        if !predicted.is_empty() {
            truth.check(predicted.len())?;
        }
        let mut pairs = truth.values.iter().copied().zip(predicted.iter().copied()).enumerate();
        pairs.try_for_each(|(row, pair)| self.count_row(row, pair, truth.weight(row)))
    }

    fn count_row(&mut self, row: usize, (truth, predicted): (u32, u32), weight: f64) -> Result<(), Error> {
        for label in [truth, predicted] {
            if label as usize >= self.classes {
                return Err(Error::Label { row, label, classes: self.classes });
            }
        }
        if let Some(count) = self.counts.get_mut(truth as usize * self.classes + predicted as usize) {
            *count += weight;
        }
        Ok(())
    }

    /// Number of classes.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// The rows of class `truth` that were taken for `predicted`; 0 for classes that there are not.
    #[must_use]
    pub fn count(&self, truth: usize, predicted: usize) -> f64 {
        if truth.max(predicted) >= self.classes { 0.0 } else { self.counts[truth * self.classes + predicted] }
    }

    /// Rows counted.
    #[must_use]
    pub fn total(&self) -> f64 {
        self.counts.iter().sum()
    }

    /// Rows of a class.
    #[must_use]
    pub fn support(&self, class: usize) -> f64 {
        (0..self.classes).map(|predicted| self.count(class, predicted)).sum()
    }

    /// Rows taken for a class.
    #[must_use]
    pub fn predicted(&self, class: usize) -> f64 {
        (0..self.classes).map(|truth| self.count(truth, class)).sum()
    }

    /// Share of the rows that were taken for what they are; `None` without rows.
    #[must_use]
    pub fn accuracy(&self) -> Option<f64> {
        let hits: f64 = (0..self.classes).map(|class| self.count(class, class)).sum();
        let total = self.total();
        (total > 0.0).then(|| hits / total)
    }

    /// Precision, recall and F1 of a class (`sklearn.metrics.precision_recall_fscore_support`).
    ///
    /// A quotient of 0 by 0 is `zero_division`, as scikit-learn's argument of that name, whose default acts as 0: precision
    /// of a class for which no row was taken, recall of a class without rows, F1 if both.
    #[must_use]
    pub fn class(&self, class: usize, zero_division: f64) -> Scores {
        let (support, predicted) = (self.support(class), self.predicted(class));
        Scores::of(self.count(class, class), support, predicted, zero_division)
    }

    /// The average over all classes that occur, among the rows or among the answers (scikit-learn's `labels=None`); one whose
    /// rows all weigh 0 does not.
    ///
    /// With a `zero_division` of NaN, a figure that is undefined for a class does not enter the mean; if none is defined, the
    /// mean is NaN; if those that are defined weigh nothing, they count the same. Without rows all figures are
    /// `zero_division`.
    #[must_use]
    pub fn average(&self, average: Average, zero_division: f64) -> Scores {
        let total = self.total();
        if average == Average::Micro {
            let hits = (0..self.classes).map(|class| self.count(class, class)).sum();
            return Scores::of(hits, total, total, zero_division);
        }
        // Precision, recall, F1: sums of weighted values, of weights, of plain values, and their number.
        let mut sums = [[0.0; 4]; 3];
        let occurs = |class: &usize| self.support(*class) + self.predicted(*class) > 0.0;
        for class in (0..self.classes).filter(occurs) {
            let scores = self.class(class, zero_division);
            let weight = if average == Average::Macro { 1.0 } else { scores.support };
            for (sum, value) in sums.iter_mut().zip([scores.precision, scores.recall, scores.f1]) {
                if !value.is_nan() {
                    sum[0] += weight * value;
                    sum[1] += weight;
                    sum[2] += value;
                    sum[3] += 1.0;
                }
            }
        }
        let [precision, recall, f1] = sums.map(|[sum, weight, plain, count]| match total > 0.0 {
            false => zero_division,
            true if weight > 0.0 => sum / weight,
            true => plain / count,
        });
        Scores { precision, recall, f1, support: total }
    }
}

impl Scores {
    fn of(hits: f64, support: f64, predicted: f64, zero_division: f64) -> Self {
        let share = |part: f64, of: f64| if of == 0.0 { zero_division } else { part / of };
        Self {
            precision: share(hits, predicted),
            recall: share(hits, support),
            f1: share(2.0 * hits, support + predicted),
            support,
        }
    }
}

/// Share of the rows whose class is among the `k` highest scores (`sklearn.metrics.top_k_accuracy_score`, Keras'
/// `SparseTopKCategoricalAccuracy`). `scores` are rows of `classes` values: logits or probabilities.
///
/// Of equal scores the class with the lower index comes first, as everywhere in this crate, so that `k = 1` is the accuracy
/// of training. (scikit-learn puts the higher index first, Keras counts all that tie with the `k`-th.)
///
/// # Errors
/// [`Error::Length`], [`Error::Label`], [`Error::Metric`] without rows, for `k = 0` and for NaN; [`Error::Weight`] and
/// [`Error::AllWeightsZero`].
pub fn top_k<'a>(scores: &[f32], classes: usize, truth: impl Into<Truth<'a>>, k: usize) -> Result<f64, Error> {
    let truth = truth.into();
    let weights = check_scores(scores, classes, &truth, classes)?;
    if k == 0 {
        return Err(Error::Metric { what: "top-k needs a k of at least 1" });
    }
    let hit = |row: &[f32], label: usize| {
        let before = row
            .iter()
            .enumerate()
            .filter(|(class, score)| **score > row[label] || (**score == row[label] && *class < label));
        before.count() < k
    };
    let rows = scores.chunks_exact(classes).zip(truth.values).enumerate();
    let hits = rows.filter(|(_, (row, label))| hit(row, **label as usize)).map(|(at, _)| truth.weight(at));
    Ok(hits.sum::<f64>() / weights)
}

/// Share of rows that are equal: the accuracy of answers that are already classes.
///
/// # Errors
/// [`Error::Length`], [`Error::Metric`] without rows; [`Error::Weight`] and [`Error::AllWeightsZero`].
pub fn accuracy<'a>(truth: impl Into<Truth<'a>>, predicted: &[u32]) -> Result<f64, Error> {
    let truth = truth.into();
    let weights = truth.check(truth.values.len())?;
    check_len("predicted classes", truth.values.len(), predicted.len())?;
    let rows = truth.values.iter().zip(predicted).enumerate();
    let hits = rows.filter(|(_, (truth, predicted))| truth == predicted).map(|(row, _)| truth.weight(row));
    Ok(hits.sum::<f64>() / weights)
}

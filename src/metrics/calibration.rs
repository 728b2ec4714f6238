//! Probabilities: log loss, and whether a model is right as often as it says.

use super::{Truth, check_scores};
use crate::error::Error;

/// Mean of `-log p` of each row's class (`sklearn.metrics.log_loss`), of rows of `classes` probabilities; with one value a row
/// that of class 1.
///
/// Probabilities are cut to `[2.2e-16, 1 - 2.2e-16]` (`f64`'s epsilon, as scikit-learn), so that a certain mistake costs 36
/// and not infinity. Rows need not sum to 1: nothing is divided.
///
/// # Errors
/// [`Error::Length`], [`Error::Label`], [`Error::Metric`] without rows and for what is no probability; [`Error::Weight`] and
/// [`Error::AllWeightsZero`].
pub fn log_loss<'a>(probabilities: &[f32], classes: usize, truth: impl Into<Truth<'a>>) -> Result<f64, Error> {
    let truth = truth.into();
    let weights = check_probabilities(probabilities, classes, &truth)?;
    let mut sum = 0.0;
    for (at, (row, label)) in probabilities.chunks_exact(classes).zip(truth.values).enumerate() {
        let p = match row {
            [p] if *label == 0 => 1.0 - f64::from(*p),
            [p] => f64::from(*p),
            row => f64::from(row[*label as usize]),
        };
        sum -= truth.weight(at) * libm::log(p.clamp(f64::EPSILON, 1.0 - f64::EPSILON));
    }
    Ok(sum / weights)
}

/// The rows whose confidence lies in one bin.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bin {
    /// Their number; of weighted rows, their weights together.
    pub rows: f64,
    /// How many of them were taken for what they are, or their weights.
    pub hits: f64,
    /// Sum of their confidences, times their weights.
    pub confidence: f64,
}

/// How far confidence and accuracy lie apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Calibration {
    /// Expected calibration error: the mean over the rows of their bin's difference.
    pub expected: f64,
    /// The largest difference of a bin that has rows.
    pub largest: f64,
}

/// Expected calibration error over equally wide bins (Guo et al.: On calibration of modern neural networks, ICML 2017; they
/// use 15). Confidence is the probability of the class that the row is taken for, the first of the largest; with one value a
/// row, of class 1 above a half and of class 0 otherwise. Bin `i` of `n` takes confidences from above `i / n` up to
/// `(i + 1) / n`, the first one also 0. `bins` are left filled, for a diagram.
///
/// # Errors
/// [`Error::Length`], [`Error::Label`], [`Error::Metric`] without rows or bins and for what is no probability;
/// [`Error::Weight`] and [`Error::AllWeightsZero`].
pub fn calibration<'a>(
    probabilities: &[f32],
    classes: usize,
    truth: impl Into<Truth<'a>>,
    bins: &mut [Bin],
) -> Result<Calibration, Error> {
    let truth = truth.into();
    let weights = check_probabilities(probabilities, classes, &truth)?;
    if bins.is_empty() {
        return Err(Error::Metric { what: "a calibration error needs at least one bin" });
    }
    bins.fill(Bin::default());
    let count = bins.len();
    for (place, (row, label)) in probabilities.chunks_exact(classes).zip(truth.values).enumerate() {
        let (class, confidence) = match row {
            [p] if *p > 0.5 => (1, f64::from(*p)),
            [p] => (0, 1.0 - f64::from(*p)),
            row => {
                let first = |best: (usize, f32), (at, p): (usize, &f32)| if *p > best.1 { (at, *p) } else { best };
                let (class, p) = row.iter().enumerate().fold((0, f32::NEG_INFINITY), first);
                (class, f64::from(p))
            }
        };
        // The guess is right but for a rounding, and then one beside it.
        let edge = |at: usize| at as f64 / count as f64;
        let mut at = ((confidence * count as f64) as usize).min(count - 1);
        while at > 0 && confidence <= edge(at) {
            at -= 1;
        }
        while at + 1 < count && confidence > edge(at + 1) {
            at += 1;
        }
        let weight = truth.weight(place);
        bins[at].rows += weight;
        bins[at].hits += if class == *label as usize { weight } else { 0.0 };
        bins[at].confidence += weight * confidence;
    }
    let mut error = Calibration { expected: 0.0, largest: 0.0 };
    for bin in bins.iter().filter(|bin| bin.rows > 0.0) {
        let difference = (bin.hits - bin.confidence).abs();
        error.expected += difference / weights;
        error.largest = error.largest.max(difference / bin.rows);
    }
    Ok(error)
}

fn check_probabilities(probabilities: &[f32], classes: usize, truth: &Truth<'_>) -> Result<f64, Error> {
    let weights = check_scores(probabilities, classes, truth, classes.max(2))?;
    if probabilities.iter().any(|p| !(0.0..=1.0).contains(p)) {
        return Err(Error::Metric {
            what: "a probability is not from 0 to 1: softmax or sigmoid makes them of logits",
        });
    }
    Ok(weights)
}

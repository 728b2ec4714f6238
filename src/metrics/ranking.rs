//! Rankings: the areas under the ROC curve and under precision over recall.
//!
//! Rows with equal scores are one step of a curve, whichever order they lie in. The area under the ROC curve counts pairs (half
//! of one for a tie) and divides once: without weights it is exact to the last rounding up to 2⁵³ halves of pairs.

use super::{Average, Truth, check_scores};
use crate::error::{Error, check_len};

/// What a ranking of rows by one score is worth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ranking {
    /// Rows of the class, or their weights together.
    pub positives: f64,
    /// All other rows.
    pub negatives: f64,
    /// Area under the ROC curve (`sklearn.metrics.roc_auc_score`): the share of pairs of a positive and a negative row in which
    /// the positive one has the higher score, ties as a half. `None` if either kind is missing (scikit-learn: NaN).
    pub roc_auc: Option<f64>,
    /// Average precision (`sklearn.metrics.average_precision_score`): precision at each threshold, weighted by the recall
    /// gained there; no interpolation. 0 without positive rows, as scikit-learn.
    pub average_precision: f64,
    /// Area under precision over recall by trapezoids (`auc` of `precision_recall_curve`), which is a little too friendly.
    /// `None` without positive rows.
    pub pr_auc: Option<f64>,
}

/// Ranks the rows by `scores`, one for each: `truth` is 1 for positive rows and 0 for the others. `order` is scratch of as
/// many values.
///
/// # Errors
/// [`Error::Length`], [`Error::Label`] for another label, [`Error::Metric`] without rows and for NaN; [`Error::Weight`] and
/// [`Error::AllWeightsZero`].
pub fn binary<'a>(scores: &[f32], truth: impl Into<Truth<'a>>, order: &mut [u32]) -> Result<Ranking, Error> {
    let truth = truth.into();
    check_scores(scores, 1, &truth, 2)?;
    ranking(order, &truth, |row| scores[row], 1)
}

/// Ranks the rows by their scores for one class, against all others. `scores` are rows of `classes` values.
///
/// # Errors
/// As [`binary`].
pub fn one_vs_rest<'a>(
    scores: &[f32],
    classes: usize,
    truth: impl Into<Truth<'a>>,
    class: usize,
    order: &mut [u32],
) -> Result<Ranking, Error> {
    let truth = truth.into();
    check_scores(scores, classes, &truth, classes)?;
    let label = u32::try_from(class).unwrap_or(u32::MAX);
    if class >= classes {
        return Err(Error::Label { row: 0, label, classes });
    }
    ranking(order, &truth, |row| scores[row * classes + class], label)
}

/// Each class against all others, and the mean over the classes: plain, or by their rows
/// (`roc_auc_score(multi_class="ovr")`, `average_precision_score` of one-hot labels).
///
/// A class without rows, or with all of them, has no area under its ROC curve: then the mean has none either. A class without
/// rows counts as 0 in the average precision.
///
/// # Errors
/// As [`binary`]; [`Error::Metric`] for [`Average::Micro`].
pub fn averaged<'a>(
    scores: &[f32],
    classes: usize,
    truth: impl Into<Truth<'a>>,
    average: Average,
    order: &mut [u32],
) -> Result<Averaged, Error> {
    if average == Average::Micro {
        return Err(Error::Metric { what: "one against the rest has a macro and a weighted average" });
    }
    let truth = truth.into();
    let (mut area, mut precision, mut weights) = (Some(0.0), 0.0, 0.0);
    for class in 0..classes.max(1) {
        let one = one_vs_rest(scores, classes, truth, class, order)?;
        let weight = if average == Average::Macro { 1.0 } else { one.positives };
        area = area.zip(one.roc_auc).map(|(sum, area)| sum + weight * area);
        precision += weight * one.average_precision;
        weights += weight;
    }
    Ok(Averaged { roc_auc: area.map(|sum| sum / weights), average_precision: precision / weights })
}

/// Means over the classes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Averaged {
    /// Of the areas under the ROC curves.
    pub roc_auc: Option<f64>,
    /// Of the average precisions.
    pub average_precision: f64,
}

fn ranking(order: &mut [u32], truth: &Truth<'_>, score: impl Fn(usize) -> f32, class: u32) -> Result<Ranking, Error> {
    let rows = truth.values.len();
    check_len("order of the rows", rows, order.len())?;
    order.iter_mut().enumerate().for_each(|(at, row)| *row = at as u32);
    // From the highest score, equal ones in the order of the rows.
    order.sort_unstable_by(|a, b| score(*b as usize).total_cmp(&score(*a as usize)).then(a.cmp(b)));
    // What the rows of the class weigh among some rows, and what the others do.
    let weigh = |rows: &mut dyn Iterator<Item = usize>| {
        rows.fold((0.0, 0.0), |(hits, misses), row| match truth.values[row] == class {
            true => (hits + truth.weight(row), misses),
            false => (hits, misses + truth.weight(row)),
        })
    };
    let (positives, negatives) = weigh(&mut (0..rows));
    // What lies above the threshold, and twice the pairs in the right order.
    let (mut hits, mut misses, mut pairs) = (0.0, 0.0, 0.0);
    let (mut average_precision, mut trapezoids, mut last) = (0.0, 0.0, 1.0);
    let mut begin = 0;
    while begin < rows {
        let threshold = score(order[begin] as usize);
        let tied = order[begin..].iter().take_while(|row| score(**row as usize) == threshold).count();
        let (new_hits, new_misses) = weigh(&mut order[begin..begin + tied].iter().map(|row| *row as usize));
        begin += tied;
        // A pair with a negative row above the threshold is wrong; one with a tied row is half of one.
        pairs += new_misses * (2.0 * hits + new_hits);
        hits += new_hits;
        misses += new_misses;
        if new_hits + new_misses == 0.0 {
            continue;
        }
        let precision = hits / (hits + misses);
        let gained = if positives > 0.0 { new_hits / positives } else { 0.0 };
        average_precision += gained * precision;
        trapezoids += gained * 0.5 * (precision + last);
        last = precision;
    }
    let all = 2.0 * positives * negatives;
    Ok(Ranking {
        positives,
        negatives,
        roc_auc: (all > 0.0).then(|| pairs / all),
        average_precision,
        pr_auc: (positives > 0.0).then_some(trapezoids),
    })
}

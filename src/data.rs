//! Data sets in memory or elsewhere, and which rows go where: orders and splits are pure functions of the seed.

mod folds;
mod source;
mod sparse;
mod weights;

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::error::{Error, check_len};
use crate::rng::{Purpose, Stream, shuffle};
use crate::train::{Mixed, Targets};

pub use folds::{group_folds, others};
pub use source::{RowSource, Source};
pub use sparse::SparseDataset;
pub use weights::WeightedLabels;

/// Rows of input features with their targets, borrowed.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// Rows of `features` values, or index lists, or rows that are read when they are needed.
    pub inputs: Source<'a>,
    /// Values of a row.
    pub features: usize,
    /// One target (or one row of them) for each row.
    pub targets: Targets<'a>,
}

impl<'a> View<'a> {
    /// Checks that the inputs are whole rows and that there are as many targets.
    ///
    /// # Errors
    /// [`Error::Length`], [`Error::Widths`] for no features.
    pub fn new(inputs: &'a [f32], features: usize, targets: Targets<'a>) -> Result<Self, Error> {
        if features == 0 {
            return Err(Error::Widths { inputs: 0, layers: 0 });
        }
        let rows = inputs.len() / features;
        check_len("inputs", rows * features, inputs.len())?;
        check_targets(&targets, rows)?;
        Ok(Self { inputs: Source::Values(inputs), features, targets })
    }

    /// Number of rows; none without features.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.inputs.rows(self.features)
    }
}

/// As many targets as rows, or as many times the same number.
fn check_targets(targets: &Targets<'_>, rows: usize) -> Result<(), Error> {
    match targets.unweighted() {
        Targets::Classes(labels) => check_len("labels", rows, labels.len())?,
        Targets::Mixed(Mixed { classes, others, .. }) => {
            check_len("labels", rows, classes.len())?;
            check_len("labels", rows, others.len())?;
        }
        Targets::Values(values) => {
            let width = values.len().checked_div(rows).unwrap_or(0);
            check_len("targets", rows * width, values.len())?;
        }
        Targets::Weighted(_) => {}
    }
    match targets.weights() {
        Some((weights, _)) => check_len("weights", rows, weights.len()),
        None => Ok(()),
    }
}

/// Owned targets.
#[derive(Clone, Debug, PartialEq)]
pub enum Labels {
    /// One class index per row.
    Classes(Vec<u32>),
    /// Rows of values.
    Values(Vec<f32>),
    /// Either of them with a weight for each row ([`Dataset::weighted`]).
    Weighted(Box<WeightedLabels>),
}

/// Rows of input features with their targets, owned.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// Rows of `features` values.
    pub inputs: Vec<f32>,
    /// Values of a row.
    pub features: usize,
    /// Their targets.
    pub labels: Labels,
}

impl Dataset {
    /// The data, borrowed.
    ///
    /// # Errors
    /// As [`View::new`].
    pub fn view(&self) -> Result<View<'_>, Error> {
        View::new(&self.inputs, self.features, self.labels.targets())
    }

    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.inputs.len() / self.features.max(1)
    }

    /// The given rows, in the given order; rows that do not exist are left out.
    #[must_use]
    pub fn subset(&self, rows: &[u32]) -> Self {
        let rows: Vec<usize> = rows.iter().map(|row| *row as usize).filter(|row| *row < self.rows()).collect();
        let inputs = rows.iter().flat_map(|row| &self.inputs[row * self.features..][..self.features]).copied();
        let labels = self.labels.subset(&rows, self.rows());
        Self { inputs: inputs.collect(), features: self.features, labels }
    }

    /// Holds out `fraction` of the rows, for validation or test: `(kept, held out)`, each in file order.
    ///
    /// Classes are held out in proportion (stratified), by largest remainder; `purpose` numbers independent splits
    /// of the same seed. A pure function of the labels, the fraction and the seed.
    #[must_use]
    pub fn hold_out(&self, fraction: f64, seed: u64, purpose: u32) -> (Vec<u32>, Vec<u32>) {
        self.labels.hold_out(self.rows(), fraction, seed, purpose)
    }
}

impl Labels {
    /// As [`Dataset::hold_out`], of `rows` rows with these labels.
    #[must_use]
    pub fn hold_out(&self, rows: usize, fraction: f64, seed: u64, purpose: u32) -> (Vec<u32>, Vec<u32>) {
        // A map: a label may be any number before it is checked against a network.
        let mut groups = BTreeMap::<u32, Vec<u32>>::new();
        for row in 0..rows {
            let class = match self.unweighted() {
                Labels::Classes(labels) => labels.get(row).copied().unwrap_or(0),
                _ => 0,
            };
            groups.entry(class).or_default().push(row as u32);
        }
        let (classes, groups): (Vec<u32>, Vec<Vec<u32>>) = groups.into_iter().unzip();
        let wanted = shares(&groups, fraction.clamp(0.0, 1.0));
        let mut held = alloc::vec![false; rows];
        for ((class, mut group), count) in classes.into_iter().zip(groups).zip(wanted) {
            shuffle(Stream::new(seed, Purpose::Split, purpose, class), &mut group);
            group[..count].iter().for_each(|row| held[*row as usize] = true);
        }
        (0..rows as u32).partition(|row| !held[*row as usize])
    }
}

/// How many of each group make `fraction` of all: rounded down, the rest to the largest remainders.
fn shares(groups: &[Vec<u32>], fraction: f64) -> Vec<usize> {
    let exact = |group: &Vec<u32>| group.len() as f64 * fraction;
    let mut counts: Vec<usize> = groups.iter().map(|group| exact(group) as usize).collect();
    let total = libm::round(groups.iter().map(exact).sum::<f64>()) as usize;
    let mut order: Vec<usize> = (0..groups.len()).collect();
    let remainder = |index: usize| exact(&groups[index]) - counts[index] as f64;
    order.sort_by(|a, b| remainder(*b).total_cmp(&remainder(*a)).then(a.cmp(b)));
    let missing = total.saturating_sub(counts.iter().sum());
    for index in order.into_iter().take(missing) {
        counts[index] = (counts[index] + 1).min(groups[index].len());
    }
    counts
}

/// The order of `rows` rows in an epoch: a pure function of seed and epoch; file order without shuffling.
#[must_use]
pub fn order(rows: usize, seed: u64, epoch: u32, shuffled: bool) -> Vec<u32> {
    let mut order: Vec<u32> = (0..rows as u32).collect();
    if shuffled {
        shuffle(Stream::new(seed, Purpose::Shuffle, 0, epoch), &mut order);
    }
    order
}

/// How an epoch is cut into batches.
///
/// With batch norm a last batch of one row cannot be trained on: it joins the batch before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batches {
    rows: usize,
    batch: usize,
    count: usize,
}

impl Batches {
    /// Plans batches of `batch` rows over `rows` rows.
    ///
    /// # Errors
    /// [`Error::BatchRows`] without rows or for a batch of 0, [`Error::BatchOfOne`] if `batch_norm` and every way
    /// leaves a batch of one.
    pub fn plan(rows: usize, batch: usize, batch_norm: bool) -> Result<Self, Error> {
        if rows == 0 || batch == 0 || rows > u32::MAX as usize {
            return Err(Error::BatchRows { rows: rows.min(batch), planned: batch });
        }
        if batch_norm && (rows == 1 || batch == 1) {
            return Err(Error::BatchOfOne);
        }
        let lonely = batch_norm && rows % batch == 1;
        Ok(Self { rows, batch, count: rows.div_ceil(batch) - usize::from(lonely) })
    }

    /// Number of batches.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// The largest batch.
    #[must_use]
    pub fn largest(&self) -> usize {
        (0..self.count).rev().take(2).map(|index| self.range(index).len()).max().unwrap_or(0)
    }

    /// Rows of batch `index`, as positions in the epoch's order.
    #[must_use]
    pub fn range(&self, index: usize) -> core::ops::Range<usize> {
        let start = index * self.batch;
        start..if index + 1 == self.count { self.rows } else { start + self.batch }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_cover_all_rows_and_leave_none_alone() {
        for rows in 1..40 {
            for batch in 1..20 {
                let Ok(batches) = Batches::plan(rows, batch, true) else {
                    assert!(rows == 1 || batch == 1);
                    continue;
                };
                let mut next = 0;
                for index in 0..batches.count() {
                    let range = batches.range(index);
                    assert!(range.start == next && range.len() >= 2 && range.len() <= batches.largest());
                    next = range.end;
                }
                assert_eq!(next, rows);
            }
        }
        assert_eq!(Batches::plan(5, 2, false).unwrap().count(), 3);
    }

    #[test]
    fn splits_are_stratified_and_repeatable() {
        let labels: Vec<u32> = (0..1000).map(|row| if row % 10 == 0 { 2 } else { row % 2 }).collect();
        let data = Dataset { inputs: alloc::vec![0.0; 1000], features: 1, labels: Labels::Classes(labels.clone()) };
        let (kept, held) = data.hold_out(0.2, 7, 0);
        assert_eq!((kept.len(), held.len()), (800, 200));
        assert_eq!(held.iter().filter(|row| labels[**row as usize] == 2).count(), 20);
        assert_eq!(data.hold_out(0.2, 7, 0).1, held);
        assert_ne!(data.hold_out(0.2, 8, 0).1, held);
        assert_ne!(data.hold_out(0.2, 7, 1).1, held);
    }
}

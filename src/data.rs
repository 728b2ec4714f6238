//! Data sets in memory, and which rows go where: orders and splits are pure functions of the seed.

mod folds;
mod labelled;
mod sparse;
mod weights;

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::error::{Error, check_len};
use crate::rng::{Purpose, Stream, shuffle};
use crate::train::{Inputs, Mixed, Targets};

pub use folds::{group_folds, others};
pub use sparse::SparseDataset;
pub use weights::WeightedLabels;

/// Rows of input features with their targets, borrowed.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// Rows of `features` values, one after the other, or index lists.
    pub inputs: Inputs<'a>,
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
        Ok(Self { inputs: Inputs::Values(inputs), features, targets })
    }

    /// Number of rows; none without features.
    #[must_use]
    pub fn rows(&self) -> usize {
        match self.inputs {
            Inputs::Values(values) => values.len().checked_div(self.features).unwrap_or(0),
            Inputs::Lists(lists) => lists.len(),
        }
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
}

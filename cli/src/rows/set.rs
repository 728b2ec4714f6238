//! The rows of a set, of any kind: plain numbers in memory or on the disk, or index lists.

use std::borrow::Cow;

use evenkeel::data::{RowSource, Source, SparseDataset, View};
use evenkeel::train::Mean;
use evenkeel::{Dataset, Labels};

use crate::data::{Encoding, StoredRows};
use crate::error::Failure;

/// Rows with their targets.
#[derive(Clone, Debug)]
pub enum Set {
    /// Rows of numbers.
    Plain(Dataset),
    /// Rows of ones and zeros, of which the ones are listed.
    Lists(SparseDataset),
    /// Rows of numbers that stay on the disk.
    Stored(StoredSet),
}

/// Rows on the disk with their targets, which are in memory.
#[derive(Clone, Debug)]
pub struct StoredSet {
    /// The rows.
    pub rows: StoredRows,
    /// Their targets.
    pub labels: Labels,
}

impl Set {
    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        match self {
            Set::Plain(set) => set.rows(),
            Set::Lists(set) => set.rows(),
            Set::Stored(set) => set.rows.rows(),
        }
    }

    /// Inputs of a row.
    #[must_use]
    pub fn features(&self) -> usize {
        match self {
            Set::Plain(set) => set.features,
            Set::Lists(set) => set.features,
            Set::Stored(set) => set.rows.features(),
        }
    }

    /// The targets.
    #[must_use]
    pub fn labels(&self) -> &Labels {
        match self {
            Set::Plain(set) => &set.labels,
            Set::Lists(set) => &set.labels,
            Set::Stored(set) => &set.labels,
        }
    }

    /// The targets, to change.
    pub fn labels_mut(&mut self) -> &mut Labels {
        match self {
            Set::Plain(set) => &mut set.labels,
            Set::Lists(set) => &mut set.labels,
            Set::Stored(set) => &mut set.labels,
        }
    }

    /// The rows, checked.
    ///
    /// # Errors
    /// For lists that are not ascending and targets that are not as many.
    pub fn view(&self) -> Result<View<'_>, Failure> {
        Ok(match self {
            Set::Plain(set) => set.view()?,
            Set::Lists(set) => set.view()?,
            Set::Stored(set) => View::stored(&set.rows, set.labels.targets())?,
        })
    }

    /// The inputs, checked.
    ///
    /// # Errors
    /// For lists that are not ascending.
    pub fn inputs(&self) -> Result<Source<'_>, Failure> {
        Ok(match self {
            Set::Plain(set) => Source::Values(&set.inputs),
            Set::Lists(set) => Source::Lists(set.lists()?),
            Set::Stored(set) => Source::Stored(&set.rows),
        })
    }

    /// Whether rows are index lists.
    #[must_use]
    pub fn is_lists(&self) -> bool {
        matches!(self, Set::Lists(_))
    }

    /// Puts a model's numbers in the place of missing cells.
    pub fn fill_in(&mut self, encoding: &Encoding) {
        match self {
            Set::Plain(set) => encoding.fill_in(&mut set.inputs),
            Set::Stored(set) => set.rows.fill_in(&encoding.fill),
            // Nothing is missing in a list.
            Set::Lists(_) => {}
        }
    }

    /// See [`Dataset::folds`].
    ///
    /// # Errors
    /// As there.
    pub fn folds(&self, count: usize, seed: u64) -> Result<Vec<Vec<u32>>, evenkeel::Error> {
        self.labels().folds(self.rows(), count, seed)
    }

    /// The rows as numbers in memory; of lists, the zeros and ones that they stand for.
    ///
    /// # Errors
    /// For lists that are not ascending, and rows that cannot be read.
    pub fn as_values(&self) -> Result<Cow<'_, [f32]>, Failure> {
        Ok(match self {
            Set::Plain(set) => Cow::Borrowed(&set.inputs),
            Set::Lists(set) => {
                let mut values = vec![0.0; set.rows().saturating_mul(set.features)];
                set.lists()?.write_plain(&mut values);
                Cow::Owned(values)
            }
            Set::Stored(set) => {
                let mut values = Vec::new();
                Source::Stored(&set.rows).blocks(set.rows.features(), &mut |block| {
                    values.extend_from_slice(block);
                    Ok(())
                })?;
                Cow::Owned(values)
            }
        })
    }

    /// See [`Dataset::balanced`].
    #[must_use]
    pub fn balanced(&self) -> Vec<f32> {
        self.labels().balanced(self.rows())
    }

    /// See [`Dataset::class_weighted`].
    ///
    /// # Errors
    /// As there.
    pub fn class_weighted(self, weights: &[f32], mean: Mean) -> Result<Self, evenkeel::Error> {
        Ok(match self {
            Set::Plain(set) => Set::Plain(set.class_weighted(weights, mean)?),
            Set::Lists(set) => Set::Lists(set.class_weighted(weights, mean)?),
            Set::Stored(StoredSet { rows, labels }) => {
                let labels = labels.class_weighted(rows.rows(), weights, mean)?;
                Set::Stored(StoredSet { rows, labels })
            }
        })
    }

    /// The given rows, in the given order.
    ///
    /// # Errors
    /// For lists that are not ascending.
    pub fn subset(&self, rows: &[u32]) -> Result<Self, Failure> {
        Ok(match self {
            Set::Plain(set) => Set::Plain(set.subset(rows)),
            Set::Lists(set) => Set::Lists(set.subset(rows)?),
            Set::Stored(set) => {
                let picked: Vec<usize> = rows.iter().map(|row| *row as usize).collect();
                let labels = set.labels.subset(&picked, self.rows());
                Set::Stored(StoredSet { rows: set.rows.subset(rows), labels })
            }
        })
    }

    /// Holds out a share of the rows, see [`Dataset::hold_out`].
    #[must_use]
    pub fn hold_out(&self, share: f64, seed: u64, purpose: u32) -> (Vec<u32>, Vec<u32>) {
        self.labels().hold_out(self.rows(), share, seed, purpose)
    }
}

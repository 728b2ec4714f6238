//! The rows of a set, of either kind: plain numbers, or index lists.

use std::borrow::Cow;

use evenkeel::data::{SparseDataset, View};
use evenkeel::train::{Inputs, Mean};
use evenkeel::{Dataset, Labels};

use crate::error::{Failure, Kind};

/// Rows with their targets.
#[derive(Clone, Debug)]
pub enum Set {
    /// Rows of numbers.
    Plain(Dataset),
    /// Rows of ones and zeros, of which the ones are listed.
    Lists(SparseDataset),
}

impl Set {
    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        match self {
            Set::Plain(set) => set.rows(),
            Set::Lists(set) => set.rows(),
        }
    }

    /// Inputs of a row.
    #[must_use]
    pub fn features(&self) -> usize {
        match self {
            Set::Plain(set) => set.features,
            Set::Lists(set) => set.features,
        }
    }

    /// The targets.
    #[must_use]
    pub fn labels(&self) -> &Labels {
        match self {
            Set::Plain(set) => &set.labels,
            Set::Lists(set) => &set.labels,
        }
    }

    /// The targets, to change.
    pub fn labels_mut(&mut self) -> &mut Labels {
        match self {
            Set::Plain(set) => &mut set.labels,
            Set::Lists(set) => &mut set.labels,
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
        })
    }

    /// The inputs, checked.
    ///
    /// # Errors
    /// For lists that are not ascending.
    pub fn inputs(&self) -> Result<Inputs<'_>, Failure> {
        Ok(match self {
            Set::Plain(set) => Inputs::Values(&set.inputs),
            Set::Lists(set) => Inputs::Lists(set.lists()?),
        })
    }

    /// The numbers of plain rows; none of lists.
    #[must_use]
    pub fn values(&self) -> &[f32] {
        match self {
            Set::Plain(set) => &set.inputs,
            Set::Lists(_) => &[],
        }
    }

    /// The numbers of plain rows, to change; none of lists.
    pub fn values_mut(&mut self) -> &mut [f32] {
        match self {
            Set::Plain(set) => &mut set.inputs,
            Set::Lists(_) => &mut [],
        }
    }

    /// See [`Dataset::folds`].
    ///
    /// # Errors
    /// As there.
    pub fn folds(&self, count: usize, seed: u64) -> Result<Vec<Vec<u32>>, evenkeel::Error> {
        match self {
            Set::Plain(set) => set.folds(count, seed),
            Set::Lists(set) => set.folds(count, seed),
        }
    }

    /// The rows as numbers; of lists, the zeros and ones that they stand for.
    ///
    /// # Errors
    /// For lists that are not ascending.
    pub fn as_values(&self) -> Result<Cow<'_, [f32]>, Failure> {
        Ok(match self {
            Set::Plain(set) => Cow::Borrowed(&set.inputs),
            Set::Lists(set) => {
                let mut values = vec![0.0; set.rows().saturating_mul(set.features)];
                set.lists()?.write_plain(&mut values);
                Cow::Owned(values)
            }
        })
    }

    /// See [`Dataset::balanced`].
    #[must_use]
    pub fn balanced(&self) -> Vec<f32> {
        match self {
            Set::Plain(set) => set.balanced(),
            Set::Lists(set) => set.balanced(),
        }
    }

    /// See [`Dataset::class_weighted`].
    ///
    /// # Errors
    /// As there.
    pub fn class_weighted(self, weights: &[f32], mean: Mean) -> Result<Self, evenkeel::Error> {
        Ok(match self {
            Set::Plain(set) => Set::Plain(set.class_weighted(weights, mean)?),
            Set::Lists(set) => Set::Lists(set.class_weighted(weights, mean)?),
        })
    }

    /// The inputs of plain rows, for what cannot be done with lists.
    ///
    /// # Errors
    /// For lists: `what` cannot be done, because of `why`.
    pub fn plain(&self, what: &str, why: &str) -> Result<&Dataset, Failure> {
        match self {
            Set::Plain(set) => Ok(set),
            Set::Lists(_) => Err(Failure::new(Kind::Usage, format_args!("{what}: {why}"))),
        }
    }

    /// The given rows, in the given order.
    ///
    /// # Errors
    /// For lists that are not ascending.
    pub fn subset(&self, rows: &[u32]) -> Result<Self, Failure> {
        Ok(match self {
            Set::Plain(set) => Set::Plain(set.subset(rows)),
            Set::Lists(set) => Set::Lists(set.subset(rows)?),
        })
    }

    /// Holds out a share of the rows, see [`Dataset::hold_out`].
    #[must_use]
    pub fn hold_out(&self, share: f64, seed: u64, purpose: u32) -> (Vec<u32>, Vec<u32>) {
        match self {
            Set::Plain(set) => set.hold_out(share, seed, purpose),
            Set::Lists(set) => set.hold_out(share, seed, purpose),
        }
    }
}

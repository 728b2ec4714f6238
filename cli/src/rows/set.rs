//! The rows of a set, of either kind: plain numbers, or index lists.

use evenkeel::data::{SparseDataset, View};
use evenkeel::train::Inputs;
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

//! Where the inputs of a data set are: in memory as rows of values or as index lists, or elsewhere, to be read when a batch
//! needs them.

use alloc::vec::Vec;
use core::fmt;

use super::View;
use crate::error::{Error, check_len};
use crate::kernels::sparse::IndexLists;
use crate::train::{Inputs, Targets};

/// Rows that are read when they are needed: of a set larger than memory, from a file or wherever else they are.
///
/// Training asks for the rows of one batch at a time, in the order of the epoch; what goes over all rows (standardisation,
/// scores, statistics) asks for some at a time, in the order of the data. As the numbers are the same, so is everything that
/// is computed from them: a run has the bits of the same rows in memory. Keras' `PyDataset` and PyTorch's `Dataset` stand
/// in the same place.
///
/// `host::rows::RowFile` reads a file of plain `f32` rows.
pub trait RowSource: fmt::Debug + Sync {
    /// Number of rows.
    fn rows(&self) -> usize;

    /// Values of a row.
    fn features(&self) -> usize;

    /// Writes these rows to `out`, in this order, one after the other. Rows are numbered from 0, and below
    /// [`rows`](Self::rows); `out` has room for [`features`](Self::features) values of each.
    ///
    /// # Errors
    /// [`Error::Read`] names a row that cannot be read. Training then ends before the batch: its state is that after the batch
    /// before, and can be stored.
    fn read(&self, rows: &[u32], out: &mut [f32]) -> Result<(), Error>;
}

/// The inputs of a data set.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// Rows of as many values as there are features, one after the other.
    Values(&'a [f32]),
    /// Rows of ones and zeros, as lists of the features that are 1.
    Lists(IndexLists<'a>),
    /// Rows that are read when they are needed.
    Stored(&'a dyn RowSource),
}

impl<'a> From<Inputs<'a>> for Source<'a> {
    fn from(inputs: Inputs<'a>) -> Self {
        match inputs {
            Inputs::Values(values) => Source::Values(values),
            Inputs::Lists(lists) => Source::Lists(lists),
        }
    }
}

impl<'a> Source<'a> {
    /// Values that [`blocks`](Self::blocks) reads at a time, but at least one row.
    const BLOCK: usize = 1 << 18;

    /// The lists, if it is those.
    #[must_use]
    pub const fn lists(&self) -> Option<IndexLists<'a>> {
        match self {
            Source::Lists(lists) => Some(*lists),
            _ => None,
        }
    }

    /// Number of rows of `features` values; none without features.
    #[must_use]
    pub fn rows(&self, features: usize) -> usize {
        match self {
            Source::Values(values) => values.len().checked_div(features).unwrap_or(0),
            Source::Lists(lists) => lists.len(),
            Source::Stored(stored) => stored.rows(),
        }
    }

    /// Hands over all rows in their order, some whole rows at a time.
    ///
    /// # Errors
    /// [`Error::Length`] for rows of another length, [`Error::ListsPlanned`] for index lists, what the rows' source says, and
    /// the first error of `take`.
    pub fn blocks(&self, features: usize, take: &mut dyn FnMut(&[f32]) -> Result<(), Error>) -> Result<(), Error> {
        self.check(features)?;
        match self {
            Source::Values(values) => take(values),
            Source::Lists(_) => Err(Error::ListsPlanned),
            Source::Stored(stored) => {
                let (rows, together) = (stored.rows(), (Self::BLOCK / features.max(1)).max(1));
                let mut values = alloc::vec![0.0; together.min(rows) * features];
                let mut wanted = Vec::with_capacity(together.min(rows));
                for first in (0..rows).step_by(together) {
                    wanted.clear();
                    wanted.extend((first..rows.min(first + together)).map(|row| row as u32));
                    let values = &mut values[..wanted.len() * features];
                    stored.read(&wanted, values)?;
                    take(values)?;
                }
                Ok(())
            }
        }
    }

    /// Whether rows have so many features.
    pub(crate) fn check(&self, features: usize) -> Result<(), Error> {
        match self {
            Source::Values(values) => check_len("inputs", self.rows(features) * features, values.len()),
            Source::Lists(lists) => check_len("features of the index lists", features, lists.features()),
            Source::Stored(stored) if stored.rows() > u32::MAX as usize => {
                Err(Error::BatchRows { rows: stored.rows(), planned: u32::MAX as usize })
            }
            Source::Stored(stored) => check_len("features of the stored rows", features, stored.features()),
        }
    }
}

impl<'a> View<'a> {
    /// Rows that are read when they are needed, with as many targets, which are in memory.
    ///
    /// # Errors
    /// [`Error::Length`] for another number of targets, [`Error::Widths`] for no features.
    pub fn stored(rows: &'a dyn RowSource, targets: Targets<'a>) -> Result<Self, Error> {
        if rows.features() == 0 {
            return Err(Error::Widths { inputs: 0, layers: 0 });
        }
        super::check_targets(&targets, rows.rows())?;
        Ok(Self { inputs: Source::Stored(rows), features: rows.features(), targets })
    }
}

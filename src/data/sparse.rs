//! Data sets of index lists: rows of ones and zeros, of which only the ones are kept.

use alloc::vec::Vec;

use super::{Labels, View};
use crate::error::Error;
use crate::kernels::sparse::IndexLists;
use crate::train::{Inputs, Targets};

/// Rows of ones and zeros as lists of the features that are 1, with their targets, owned.
///
/// Text is the usual source: a feature for each word of a vocabulary, 1 where a document has the word.
///
/// ```
/// use evenkeel::data::{Labels, SparseDataset};
/// let mut data = SparseDataset::new(10_000, Labels::Classes(vec![1, 0]));
/// data.push(&[3, 17, 4_096]);
/// data.push(&[0, 17]);
/// assert_eq!(data.view()?.rows(), 2);
/// # Ok::<(), evenkeel::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct SparseDataset {
    /// Where each row's list begins in `indices`, and where the last one ends.
    pub offsets: Vec<usize>,
    /// The lists, one after the other, each ascending.
    pub indices: Vec<u32>,
    /// Features of a row, listed or not.
    pub features: usize,
    /// The rows' targets.
    pub labels: Labels,
}

impl SparseDataset {
    /// No rows yet, but perhaps their labels already.
    #[must_use]
    pub fn new(features: usize, labels: Labels) -> Self {
        Self { offsets: alloc::vec![0], indices: Vec::new(), features, labels }
    }

    /// Appends a row; its list is looked at when the data is viewed.
    pub fn push(&mut self, list: &[u32]) {
        self.indices.extend_from_slice(list);
        self.offsets.push(self.indices.len());
    }

    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// The rows, checked.
    ///
    /// # Errors
    /// As [`IndexLists::new`].
    pub fn lists(&self) -> Result<IndexLists<'_>, Error> {
        IndexLists::new(self.features, &self.offsets, &self.indices)
    }

    /// The data, borrowed and checked.
    ///
    /// # Errors
    /// As [`IndexLists::new`] and [`View::lists`].
    pub fn view(&self) -> Result<View<'_>, Error> {
        View::lists(self.lists()?, self.labels.targets())
    }

    /// The given rows, in the given order; rows that do not exist are left out.
    ///
    /// # Errors
    /// As [`lists`](Self::lists).
    pub fn subset(&self, rows: &[u32]) -> Result<Self, Error> {
        let (lists, count) = (self.lists()?, self.rows());
        let kept: Vec<usize> = rows.iter().map(|row| *row as usize).filter(|row| *row < count).collect();
        let mut subset = Self::new(self.features, self.labels.subset(&kept, count));
        kept.iter().for_each(|row| subset.push(lists.row(*row)));
        Ok(subset)
    }
}

impl<'a> View<'a> {
    /// Rows that are index lists, with as many targets.
    ///
    /// # Errors
    /// [`Error::Length`] for another number of targets.
    pub fn lists(lists: IndexLists<'a>, targets: Targets<'a>) -> Result<Self, Error> {
        super::check_targets(&targets, lists.len())?;
        Ok(Self { inputs: Inputs::Lists(lists), features: lists.features(), targets })
    }
}

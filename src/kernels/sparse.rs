//! A dense layer on rows that are lists of indices: the features that are 1, all others being 0 (multi-hot, a bag of words).
//!
//! One listed input is one group of sixteen weights of each panel, so the layer reads the listed rows of its weights and
//! nothing else, and its weight gradient is written there only. **The bits are those of the dense form** on the same zeros
//! and ones, as long as weights and gradients are finite. The argument, for one lane of one output (`DESIGN.md`, contract, 3):
//!
//! 1. A chain starts from +0.0 and never holds -0.0. A sum rounded to nearest is -0.0 only if both terms are -0.0 (a
//!    difference of equal numbers is +0.0, and a sum of two `f32` never underflows: it is a multiple of the smallest
//!    subnormal, so exact where it is small). By induction one of the two, the chain, never is.
//! 2. A term of 0: `fma(0, w, acc)` with finite `w` is `acc + ±0.0`, which is `acc` for every `acc` but -0.0. So it may be
//!    left out. For an infinite or NaN `w` it is NaN: there the dense form spoils every row, this one the rows that list it.
//! 3. A term of 1: `fma(1, w, acc)` is `acc + w` rounded once; a level that rounds twice rounds the exact product `w` first,
//!    which changes nothing. So it may be an addition, on every level.
//! 4. A block of 256 inputs of which none is listed has the sum +0.0. Totals are sums of chains, so by 1 never -0.0, and adding
//!    +0.0 changes nothing: empty blocks may be left out too. For the same reason the total may start from +0.0, where the
//!    contract says that the first block's sum *is* the first total.
//!
//! Over rows, in the weight gradient, it is the same with `dy` for `w`. A gradient that nothing listed is exactly +0.0.
//!
//! Does not allocate and has no path to a panic; must not depend on layers or networks.

mod forward;
mod gradient;

pub use forward::forward_then;
pub(crate) use forward::some_panels;
pub(crate) use gradient::add_weights;
pub use gradient::weight_gradient;

use super::part;
use crate::error::Error;
use crate::layer::MAX_WIDTH;

/// Rows of ones and zeros, each as the ascending list of the features that are 1.
///
/// The lists lie one after the other in `indices`; row `r` is `indices[offsets[r]..offsets[r + 1]]`, so there is one offset
/// more than rows. A list may be empty.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IndexLists<'a> {
    offsets: &'a [usize],
    indices: &'a [u32],
    features: usize,
}

impl<'a> IndexLists<'a> {
    /// Looks at every index once.
    ///
    /// # Errors
    /// [`Error::Widths`] for no features or too many, [`Error::Offsets`] for offsets that do not ascend from 0 to the number of
    /// indices, [`Error::Index`] for one beyond the features, [`Error::IndexOrder`] for one that is not larger than the one
    /// before it: twice the same feature would mean a 2.
    pub fn new(features: usize, offsets: &'a [usize], indices: &'a [u32]) -> Result<Self, Error> {
        if features == 0 || features > MAX_WIDTH {
            return Err(Error::Widths { inputs: features, layers: 0 });
        }
        let mut end = 0;
        for (at, offset) in offsets.iter().enumerate() {
            let wrong = if at == 0 { *offset != 0 } else { *offset < end || *offset > indices.len() };
            if wrong {
                return Err(Error::Offsets { at, offset: *offset, before: end, indices: indices.len() });
            }
            end = *offset;
        }
        if offsets.is_empty() || end != indices.len() {
            let at = offsets.len().saturating_sub(1);
            return Err(Error::Offsets { at, offset: end, before: end, indices: indices.len() });
        }
        let lists = Self { offsets, indices, features };
        for row in 0..lists.len() {
            let mut before = None;
            for (position, index) in lists.row(row).iter().enumerate() {
                if *index as usize >= features {
                    return Err(Error::Index { row, position, index: *index, features });
                }
                if let Some(before) = before.filter(|before| before >= index) {
                    return Err(Error::IndexOrder { row, position, index: *index, before });
                }
                before = Some(*index);
            }
        }
        Ok(lists)
    }

    /// Lists whose every row was part of checked ones.
    #[cfg(feature = "alloc")]
    pub(crate) const fn trusted(features: usize, offsets: &'a [usize], indices: &'a [u32]) -> Self {
        Self { offsets, indices, features }
    }

    /// Number of rows.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// Whether there is no row.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Features of a row, listed or not.
    #[must_use]
    pub const fn features(&self) -> usize {
        self.features
    }

    /// Number of ones in all rows.
    #[must_use]
    pub fn ones(&self) -> usize {
        match (self.offsets.first(), self.offsets.last()) {
            (Some(first), Some(last)) => last.saturating_sub(*first),
            _ => 0,
        }
    }

    /// The list of a row; empty if there is no such row.
    #[inline(always)]
    #[must_use]
    pub fn row(&self, row: usize) -> &'a [u32] {
        match part(self.offsets, row, 2) {
            [start, end] => part(self.indices, *start, end.saturating_sub(*start)),
            _ => &[],
        }
    }

    /// `count` rows from `first` on, none if there are not so many.
    #[must_use]
    pub fn part(&self, first: usize, count: usize) -> Self {
        Self { offsets: part(self.offsets, first, count.saturating_add(1)), ..*self }
    }

    /// Writes the rows as zeros and ones, [`features`](Self::features) values each, as far as `plain` has room.
    pub fn write_plain(&self, plain: &mut [f32]) {
        plain.fill(0.0);
        for (row, plain) in plain.chunks_exact_mut(self.features.max(1)).enumerate() {
            for index in self.row(row) {
                if let Some(value) = plain.get_mut(*index as usize) {
                    *value = 1.0;
                }
            }
        }
    }
}

//! How activations lie in memory: groups of sixteen features, `[group][row][lane]`.
//!
//! A group of a batch is one contiguous block, so whatever works feature by feature (batch norm, activations, dropout,
//! bias gradients) runs over memory in order and stays in the cache, and a dense layer's panel writes exactly one
//! group. For a single row this is the plain row. Lanes beyond the last feature are zero where a dense layer or a loss
//! wrote them.

use crate::error::{Error, check_len};
use crate::layer::{MAX_WIDTH, padded};
use crate::simd::{Group, LANES};
use crate::split::Split;

/// The rows that a dense layer reads: in groups, or as the caller's plain rows.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    values: &'a [f32],
    rows: usize,
    features: usize,
    /// Values from row to row, of plain rows.
    stride: usize,
    grouped: bool,
}

impl<'a> Rows<'a> {
    /// Plain rows of `features` values, `stride` apart; the last may end with its last feature.
    ///
    /// # Errors
    /// [`Error::Length`] if `values` is too short or the stride smaller than a row.
    pub fn plain(values: &'a [f32], rows: usize, features: usize, stride: usize) -> Result<Self, Error> {
        let expected = if rows == 0 { 0 } else { (rows - 1).saturating_mul(stride).saturating_add(features) };
        if stride < features || values.len() < expected {
            return Err(Error::Length { what: "input", expected, found: values.len() });
        }
        Ok(Self { values, rows, features, stride, grouped: false })
    }

    /// Rows of `features` values in groups of sixteen: `rows * padded(features)` values.
    ///
    /// # Errors
    /// [`Error::Length`] if `values` has another length.
    pub fn grouped(values: &'a [f32], rows: usize, features: usize) -> Result<Self, Error> {
        if features > MAX_WIDTH {
            return Err(Error::Length { what: "input", expected: MAX_WIDTH, found: features });
        }
        check_len("input", rows.saturating_mul(padded(features)), values.len())?;
        Ok(Self { values, rows, features, stride: LANES, grouped: true })
    }

    /// Number of rows.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.rows
    }

    /// Whether there is no row.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Values in a row, padding not counted.
    #[must_use]
    pub const fn features(&self) -> usize {
        self.features
    }

    /// A row's values, if they lie one after the other: always for plain rows, in groups for a single row.
    #[inline(always)]
    pub(crate) fn row(&self, row: usize) -> Option<&'a [f32]> {
        if self.grouped && self.rows > 1 {
            return None;
        }
        self.values.get(row * self.stride..)?.get(..self.features)
    }

    /// `len` features of `R` plain rows, from row `row` and feature `start` on.
    #[inline(always)]
    pub(crate) fn plain_rows<const R: usize>(&self, row: usize, start: usize, len: usize) -> Option<[&'a [f32]; R]> {
        let mut rest = self.values.get(row * self.stride + start..)?;
        let mut rows: [&[f32]; R] = [&[]; R];
        for (r, values) in rows.iter_mut().enumerate() {
            *values = rest.get(..len)?;
            if r + 1 < R {
                rest = rest.get(self.stride..)?;
            }
        }
        Some(rows)
    }

    /// Group `group` of a row, of a plain row as far as it goes.
    #[inline(always)]
    pub(crate) fn sixteen(&self, row: usize, group: usize) -> Option<&'a [f32]> {
        match self.groups() {
            Some(groups) => groups.get(group * self.rows + row).map(|group| &group[..]),
            None => self.row(row)?.chunks(LANES).nth(group),
        }
    }

    /// All groups, `[group][row]`, if rows are in groups.
    #[inline(always)]
    pub(crate) fn groups(&self) -> Option<&'a [Group]> {
        if self.grouped { Some(self.values.as_chunks().0) } else { None }
    }

    /// `count` rows from `first` on, of plain rows.
    pub(crate) fn part(&self, first: usize, count: usize) -> Self {
        let values = self.values.get(first * self.stride..).unwrap_or_default();
        Self { values, rows: count, ..*self }
    }
}

/// Copies plain rows of `cols` values into groups; the lanes beyond the last column become zero.
pub fn to_groups(split: &impl Split, rows: usize, cols: usize, plain: &[f32], grouped: &mut [f32]) {
    /// Values worth handing to another thread: two microseconds' worth.
    const WORTH: usize = 1 << 14;
    let (rows, groups) = (rows.max(1), cols.div_ceil(LANES).max(1));
    let tasks = (rows.saturating_mul(cols) / WORTH).clamp(1, split.workers().max(1));
    let per_task = groups.div_ceil(tasks);
    let chunk = per_task.saturating_mul(rows).saturating_mul(LANES);
    split.run([grouped], [chunk], &|task, [grouped]| {
        let (grouped, _) = grouped.as_chunks_mut::<LANES>();
        for (group, block) in grouped.chunks_exact_mut(rows).enumerate() {
            let first = (task * per_task + group) * LANES;
            if first >= cols {
                // More room than there are columns.
                break;
            }
            let lanes = LANES.min(cols - first);
            for (row, out) in plain.chunks_exact(cols).zip(block) {
                if let Some(group) = row[first..].first_chunk() {
                    *out = *group;
                } else {
                    *out = [0.0; LANES];
                    out[..lanes].copy_from_slice(&row[first..]);
                }
            }
        }
    });
}

/// Copies groups into plain rows of `cols` values.
pub fn from_groups(rows: usize, cols: usize, grouped: &[f32], plain: &mut [f32]) {
    let (grouped, _) = grouped.as_chunks::<LANES>();
    for (first, block) in (0..cols).step_by(LANES).zip(grouped.chunks_exact(rows.max(1))) {
        for (row, group) in plain.chunks_exact_mut(cols).zip(block) {
            let rest = row.get_mut(first..).unwrap_or_default();
            match rest.first_chunk_mut() {
                Some(whole) => *whole = *group,
                None => rest.iter_mut().zip(group).for_each(|(out, value)| *out = *value),
            }
        }
    }
}

//! What a product of many rows keeps on the stack: a tile's plain rows in groups, and a block of the narrow last panel.

use super::super::{groups::Rows, panels, part};
use super::{Dense, Weight};
use crate::simd::{Group, LANES};

/// A buffer on the stack, of one of four sizes.
pub(super) fn with_zeros<const TINY: usize, const SMALL: usize, const LARGE: usize, T: bytemuck::Zeroable + Copy>(
    len: usize,
    then: impl FnOnce(&mut [T]),
) {
    match len {
        0 => then(&mut []),
        len if len <= TINY => with_array::<TINY, T, _>(then),
        len if len <= SMALL => with_array::<SMALL, T, _>(then),
        _ => with_array::<LARGE, T, _>(then),
    }
}

/// A function of its own: only the buffer in use takes room on the stack.
#[inline(never)]
fn with_array<const N: usize, T: bytemuck::Zeroable + Copy, F: FnOnce(&mut [T])>(then: F) {
    then(&mut [T::zeroed(); N]);
}

/// A tile's rows of one block, as `[group][row][lane]`.
#[inline(always)]
pub(super) fn copy_tile<'c>(
    x: &Rows<'_>,
    row: usize,
    rows: usize,
    (start, len): (usize, usize),
    copy: &'c mut [Group],
) -> &'c [Group] {
    for r in 0..rows {
        let Some(values) = x.row(row + r).and_then(|row| row.get(start..)?.get(..len)) else { continue };
        let (groups, rest) = values.as_chunks::<LANES>();
        for (g, group) in groups.iter().enumerate() {
            if let Some(copy) = copy.get_mut(g * rows + r) {
                *copy = *group;
            }
        }
        if !rest.is_empty()
            && let Some(copy) = copy.get_mut(groups.len() * rows + r)
        {
            copy.iter_mut().zip(rest).for_each(|(copy, value)| *copy = *value);
        }
    }
    copy
}

/// A block of the narrow last panel, brought to full width: then it is a panel like the others.
pub(super) struct Narrow<'n, W> {
    panel: &'n mut [[W; LANES]],
    /// First input of the block that it holds.
    start: usize,
}

impl<'n, W: Weight> Narrow<'n, W> {
    pub(super) fn new(panel: &'n mut [[W; LANES]]) -> Self {
        Self { panel, start: usize::MAX }
    }

    /// The block of `len` inputs from `start` on; the buffer has room for it.
    #[inline(always)]
    pub(super) fn block(&mut self, dense: &Dense<'_, W>, panel: usize, (start, len): (usize, usize)) -> &[[W; LANES]] {
        if self.start != start {
            self.start = start;
            let width = panels::panel_width(dense.outputs, panel);
            let stored = part(dense.panel(panel), start * width, len * width);
            for (group, stored) in self.panel.iter_mut().zip(stored.chunks_exact(width.max(1))) {
                for (lane, value) in group.iter_mut().zip(stored) {
                    *lane = *value;
                }
            }
        }
        part(self.panel, 0, len)
    }
}

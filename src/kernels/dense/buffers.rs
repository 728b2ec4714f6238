//! What a product of many rows keeps on the stack: a block of the narrow last panel.

use super::super::{panels, part};
use super::{Dense, Weight};
use crate::simd::LANES;

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

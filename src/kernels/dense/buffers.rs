//! What a product of many rows keeps on the stack: a block of the narrow last panel, one of some panels of half precision, and
//! one of some rows.

use super::super::{groups::Rows, panels, part};
use super::tile::Source;
use super::{Dense, Weight};
use crate::simd::{Group, LANES, Simd};

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

/// A block of some panels of half precision, widened: tile after tile would convert it again, on the units that multiply.
pub(super) struct Wide<'w> {
    panels: &'w mut [Group],
    /// First panel and first input of what it holds.
    holds: (usize, usize),
}

impl<'w> Wide<'w> {
    pub(super) fn new(panels: &'w mut [Group]) -> Self {
        Self { panels, holds: (usize::MAX, 0) }
    }

    /// The block that begins with panel and input `at`, if there is room for it.
    #[inline(always)]
    pub(super) fn block<S: Simd, W: Weight, const P: usize>(
        &mut self,
        s: S,
        at: (usize, usize),
        weights: [&[[W; LANES]]; P],
    ) -> Option<[&[Group]; P]> {
        let len = weights[0].len();
        let panels = self.panels.get_mut(..P * len)?;
        if self.holds != at {
            self.holds = at;
            for (p, weights) in weights.iter().enumerate() {
                for (wide, weights) in panels.get_mut(p * len..)?.iter_mut().zip(*weights) {
                    s.store(W::load(s, weights), wide);
                }
            }
        }
        let mut blocks: [&[Group]; P] = [&[]; P];
        for (p, block) in blocks.iter_mut().enumerate() {
            *block = part(panels, p * len, len);
        }
        Some(blocks)
    }
}

/// A block of some rows, copied into groups: one piece of memory.
pub(super) struct Copied<'c>(&'c mut [Group]);

impl<'c> Copied<'c> {
    pub(super) fn new(groups: &'c mut [Group]) -> Self {
        Self(groups)
    }

    /// `rows` rows from `first` on, `len` inputs from `start` on. None without a buffer, or if it is too small.
    #[inline(always)]
    pub(super) fn block<S: Simd>(
        &mut self,
        s: S,
        x: &Rows<'_>,
        (first, rows): (usize, usize),
        (start, len): (usize, usize),
    ) -> Option<Source<'_>> {
        let groups = self.0.get_mut(..len.div_ceil(LANES) * rows).filter(|groups| !groups.is_empty())?;
        for (g, copies) in groups.chunks_exact_mut(rows.max(1)).enumerate() {
            for (r, copy) in copies.iter_mut().enumerate() {
                let values = x.sixteen(first + r, start / LANES + g)?;
                if let Some(values) = values.first_chunk() {
                    s.store(s.load(values), copy);
                } else {
                    *copy = [0.0; LANES];
                    copy.iter_mut().zip(values).for_each(|(copy, value)| *copy = *value);
                }
            }
        }
        let x = Rows::grouped(groups.as_flattened(), rows, len).ok()?;
        Some(Source { x, row: first, input: start })
    }
}

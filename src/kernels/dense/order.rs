//! In which order many rows, blocks of inputs and panels meet.

use super::super::{BLOCK, SECOND_CACHE, groups::Rows};
use super::rows::{is_little, tile_size};
use super::rows_stay;
use crate::simd::LANES;

/// In which order rows, blocks of inputs and panels meet. It changes no result.
#[derive(Clone, Copy)]
pub(super) struct Order {
    /// Rows that are done with before the next begin.
    pub(super) rows: usize,
    /// Inputs of those rows that stay in the second cache while panel after panel meets them: all, or some blocks of
    /// [`BLOCK`]. Then outputs grow from step to step.
    pub(super) inputs: usize,
    /// Whether they are copied. Where rows lie, they may be as far apart as what shares the same few sets of the caches.
    pub(super) copies: bool,
}

impl Order {
    pub(super) fn new(registers: usize, second_cache: usize, x: &Rows<'_>, inputs: usize, panels: usize) -> Self {
        /// Inputs of rows of which enough stay.
        const LONG: usize = 8 * BLOCK;
        /// Panels that make up for a copy.
        const FEW: usize = 6;
        let (rows, is_plain) = (x.len(), x.groups().is_none());
        // Plain rows are read in order, which the processor guesses: they may come from farther away.
        let cache = if is_plain { SECOND_CACHE } else { second_cache };
        if rows_stay(cache, rows, inputs) {
            return Self { rows, inputs, copies: false };
        }
        // Whole tiles, but for the last. What cannot be 0 is said so: there is no panic to link.
        let tile = tile_size(registers).0;
        let evenly = |most: usize| rows.div_ceil(rows.div_ceil(most.max(1)).max(1)).next_multiple_of(tile);
        let stay = |inputs: usize| cache / (inputs * size_of::<f32>()).max(1);
        if registers >= 32 {
            // Room for so many rows that the weights are seldom brought again, and for steps so long that the outputs are.
            let rows = evenly(stay(inputs.min(STEP)));
            let step = cache / (rows * size_of::<f32>()).max(1) / BLOCK * BLOCK;
            return Self { rows, inputs: step.max(BLOCK), copies: false };
        }
        if is_plain && inputs <= LONG {
            return Self { rows: evenly(stay(inputs)), inputs, copies: false };
        }
        // A block of rows in groups is one piece of memory as long as it has all rows.
        let copies = !is_little(registers) && panels >= FEW && (is_plain || rows > stay(BLOCK));
        Self { rows: evenly(if copies { COPIED_ROWS } else { stay(BLOCK) }), inputs: BLOCK, copies }
    }
}

/// Inputs of a step over rows that do not stay in the second cache.
const STEP: usize = 4 * BLOCK;

/// Rows of a block that is copied, and the groups that they take; the last block may be half as long again.
const COPIED_ROWS: usize = 96;
pub(super) const COPIED: usize = COPIED_ROWS * (BLOCK + BLOCK / 2) / LANES;

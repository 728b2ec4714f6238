//! What tiles ask for before they need it, where neither the caches nor the processor's guesses bring it in time.

use super::tile::Block;
use crate::simd::{Group, LANES, Simd};

/// Bytes of a cache line.
const LINE: usize = 64;

/// Asks for the places that a tile's sums are added to or written to, when they are done.
#[inline(always)]
pub(super) fn ask_for<S: Simd, W, const R: usize, const P: usize>(
    s: S,
    block: &Block<'_, W>,
    panel: usize,
    row: usize,
    y: &[Group],
) {
    if S::PREFETCHES && (block.start > 0 || block.far) {
        let place = (panel - block.first) * block.out.panel + row * block.out.row;
        for p in 0..P {
            for r in 0..R {
                s.prefetch(y.as_ptr().wrapping_add(place + p * block.out.panel + r * block.out.row).cast());
            }
        }
    }
}

/// Asks for the weights of the tiles that come next, which lie where the processor does not guess them: each tile for its
/// share, and little by little, as what is asked for at once has to be waited for.
pub(super) struct Ahead<'a, const P: usize> {
    next: [&'a [u8]; P],
    /// Bytes of a tile's share.
    share: usize,
    /// Bytes that are asked for at once.
    step: usize,
    /// What is asked for next, and where the share ends.
    at: usize,
    end: usize,
}

impl<'a, const P: usize> Ahead<'a, P> {
    /// Of `count` tiles over `inputs` inputs.
    #[inline(always)]
    pub(super) fn new<S: Simd>(next: [&'a [u8]; P], count: usize, inputs: usize) -> Self {
        if !S::PREFETCHES || next[0].is_empty() {
            return Self { next: [&[]; P], share: 0, step: 0, at: 0, end: 0 };
        }
        let share = next[0].len().div_ceil(count.max(1)).next_multiple_of(LINE);
        let step = share.div_ceil((inputs / LANES).max(1)).next_multiple_of(LINE);
        Self { next, share, step, at: 0, end: 0 }
    }

    #[inline(always)]
    pub(super) fn next_tile<S: Simd>(&mut self) {
        if S::PREFETCHES {
            (self.at, self.end) = (self.end, (self.end + self.share).min(self.next[0].len()));
        }
    }

    #[inline(always)]
    pub(super) fn ask<S: Simd>(&mut self, s: S) {
        if S::PREFETCHES && self.at < self.end {
            for place in (0..self.step).step_by(LINE) {
                for next in self.next {
                    s.prefetch_far(next.as_ptr().wrapping_add(self.at + place));
                }
            }
            self.at += self.step;
        }
    }
}

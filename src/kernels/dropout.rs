//! Inverted dropout: drops elements with probability `p` and divides the others by `1 - p`.
//!
//! The mask is a pure function of the stream and the element's number (see [`rng`](crate::rng)), so none is stored: the
//! backward pass calls the same function on the gradient, with the same stream and first element.
//!
//! Must not depend on anything but `rng` and `simd`.

use crate::error::Error;
use crate::rng::{BLOCK, Stream, block};
use crate::simd::{Group, LANES, Simd, level::kernel};

/// A dropout rate, made ready: which words keep an element, and by what it is then multiplied.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// An element is kept if its word is below: `⌊(1 - p) 2^32⌋`, so 0 keeps none and 2^32 keeps all.
    threshold: u64,
    /// `1 / (1 - p)`, divided in `f64` and rounded once.
    scale: f32,
}

impl Rate {
    /// Prepares the probability `rate` of dropping an element: 0 changes nothing, 1 gives zeros.
    ///
    /// # Errors
    /// [`Error::DropoutRate`] if `rate` is not in [0, 1].
    pub const fn new(rate: f32) -> Result<Rate, Error> {
        if !(rate >= 0.0 && rate <= 1.0) {
            return Err(Error::DropoutRate { rate });
        }
        let keep = 1.0 - rate as f64;
        Ok(Rate { threshold: (keep * 4_294_967_296.0) as u64, scale: (1.0 / keep) as f32 })
    }

    /// An element is kept if its random word is below this number, in 0..=2^32.
    #[must_use]
    pub const fn threshold(self) -> u64 {
        self.threshold
    }

    /// What a kept element is multiplied by; infinite if none is kept.
    #[must_use]
    pub const fn scale(self) -> f32 {
        self.scale
    }
}

kernel! {
    /// Dropout in place: `x` holds the elements from number `first` on.
    ///
    /// What the numbers mean is the caller's: training numbers the rows inside each group of sixteen features
    /// (`train/forward.rs`, `InPlace::drop_out`). Any start and length will do, and the result does not depend on how a
    /// range is split into calls; whole blocks of 64 are fastest. A dropped element becomes
    /// +0.0 whatever it was, NaN and infinity included: it must have no influence.
    pub fn dropout(x: &mut [f32], rate: Rate, stream: Stream, first: u64) = dropout_body
}

#[inline(always)]
fn dropout_body<S: Simd>(s: S, x: &mut [f32], rate: Rate, stream: Stream, first: u64) {
    if rate.threshold > u64::from(u32::MAX) {
        return;
    }
    // The part up to the next block, whole blocks, the rest: the first and the last as a padded copy.
    let lead = (first.wrapping_neg() % BLOCK as u64) as usize;
    let (head, body) = x.split_at_mut(lead.min(x.len()));
    let mut number = first / BLOCK as u64;
    if !head.is_empty() {
        partial_block(s, head, BLOCK - lead, rate, stream, number);
        number += 1;
    }
    let (blocks, tail) = body.as_chunks_mut::<BLOCK>();
    for x in blocks {
        whole_block(s, x, rate, stream, number);
        number += 1;
    }
    if !tail.is_empty() {
        partial_block(s, tail, 0, rate, stream, number);
    }
}

#[inline(always)]
fn whole_block<S: Simd>(s: S, x: &mut [f32; BLOCK], rate: Rate, stream: Stream, number: u64) {
    let threshold = s.splat_u32(rate.threshold as u32);
    let scale = s.splat(rate.scale);
    let groups: &mut [Group] = x.as_chunks_mut::<LANES>().0;
    for (group, words) in groups.iter_mut().zip(block(s, stream, number)) {
        let kept = s.mul(s.load(group), scale);
        s.store(s.select(s.lt_u32(words, threshold), kept, s.splat(0.0)), group);
    }
}

/// A block of which `x` is the part that starts at `offset`.
#[inline(always)]
fn partial_block<S: Simd>(s: S, x: &mut [f32], offset: usize, rate: Rate, stream: Stream, number: u64) {
    let mut padded = [0.0; BLOCK];
    for (padded, x) in padded.iter_mut().skip(offset).zip(x.iter()) {
        *padded = *x;
    }
    whole_block(s, &mut padded, rate, stream, number);
    for (x, padded) in x.iter_mut().zip(padded.iter().skip(offset)) {
        *x = *padded;
    }
}

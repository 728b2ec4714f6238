//! Inverted dropout: drops elements with probability `p` and divides the others by `1 - p`.
//!
//! The mask is a pure function of the stream and the element's number (see [`rng`](crate::rng)), so none is stored: the
//! backward pass calls the same function on the gradient, with the same stream and first element.
//!
//! Must not depend on anything but `rng` and `simd`.

use crate::Level;
use crate::error::{Error, check_len};
use crate::rng::{BLOCK, Stream, blocks, side_by_side};
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

/// As [`dropout`], from `x` to `y`.
///
/// # Errors
/// [`Error::Length`] if both are not equally long.
pub fn dropout_to(level: Level, x: &[f32], y: &mut [f32], rate: Rate, stream: Stream, first: u64) -> Result<(), Error> {
    check_len("dropout output", x.len(), y.len())?;
    between(level, x, y, rate, stream, first);
    Ok(())
}

kernel! { fn between(x: &[f32], y: &mut [f32], rate: Rate, stream: Stream, first: u64) = between_body; }

#[inline(always)]
fn dropout_body<S: Simd>(s: S, x: &mut [f32], rate: Rate, stream: Stream, first: u64) {
    if rate.threshold <= u64::from(u32::MAX) {
        drop_out(s, None, x, rate, stream, first);
    }
}

#[inline(always)]
fn between_body<S: Simd>(s: S, x: &[f32], y: &mut [f32], rate: Rate, stream: Stream, first: u64) {
    if rate.threshold <= u64::from(u32::MAX) {
        drop_out(s, Some(x), y, rate, stream, first);
    } else {
        y.copy_from_slice(x);
    }
}

/// Reads from `x`, or from `y` itself.
#[inline(always)]
fn drop_out<S: Simd>(s: S, x: Option<&[f32]>, y: &mut [f32], rate: Rate, stream: Stream, first: u64) {
    let threshold = s.splat_u32(rate.threshold as u32);
    let scale = s.splat(rate.scale);
    let (mut number, mut offset) = (first / BLOCK as u64, (first % BLOCK as u64) as usize);
    let mut at = 0;
    while at < y.len() {
        macro_rules! at_once {
            ($blocks:literal) => {
                if number.is_multiple_of($blocks)
                    && offset == 0
                    && let Some(y) = y[at..].first_chunk_mut::<{ $blocks * BLOCK }>()
                {
                    let words: [[S::U32; 4]; $blocks] = blocks(s, stream, number);
                    let x: Option<&[f32; $blocks * BLOCK]> = x.and_then(|x| x.get(at..)?.first_chunk());
                    let y = y.as_chunks_mut::<LANES>().0;
                    if let Some(x) = x {
                        for (g, x) in x.as_chunks::<LANES>().0.iter().enumerate() {
                            s.store(drop_group(s, x, words[g / 4][g % 4], threshold, scale), &mut y[g]);
                        }
                    } else {
                        for (g, y) in y.iter_mut().enumerate() {
                            s.store(drop_group(s, y, words[g / 4][g % 4], threshold, scale), y);
                        }
                    }
                    (number, at) = (number.wrapping_add($blocks), at + $blocks * BLOCK);
                    continue;
                }
            };
        }
        if side_by_side(S::REGISTERS) == 2 {
            at_once!(2);
        } else if S::PIECES == 2 {
            at_once!(1);
        }
        // A block or a part of one, as a padded copy.
        let len = (y.len() - at).min(BLOCK - offset);
        let y = &mut y[at..at + len];
        let mut padded = [0.0; BLOCK];
        padded[offset..][..len].copy_from_slice(x.map_or(&*y, |x| &x[at..at + len]));
        let [words] = blocks(s, stream, number);
        for (group, words) in padded.as_chunks_mut::<LANES>().0.iter_mut().zip(words) {
            s.store(drop_group(s, group, words, threshold, scale), group);
        }
        y.copy_from_slice(&padded[offset..][..len]);
        (number, offset, at) = (number.wrapping_add(1), 0, at + len);
    }
}

#[inline(always)]
fn drop_group<S: Simd>(s: S, x: &Group, words: S::U32, threshold: S::U32, scale: S::F32) -> S::F32 {
    s.select(s.lt_u32(words, threshold), s.mul(s.load(x), scale), s.splat(0.0))
}

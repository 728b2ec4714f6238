//! Random numbers as a pure function: Philox4x32-10 of a counter and a key.
//!
//! There is no generator state. A [`Stream`] names a purpose, a layer and a step under one seed, and every element of
//! it has its own word, which any thread and any level can ask for at any time, in any order, as often as it likes.
//! So dropout stores no mask, a resumed run draws what the uninterrupted one would have, and the number of threads
//! or lanes cannot change a result.
//!
//! The numbering, part of the numeric contract: elements come in blocks of 64. Element `i` has block `b = i / 64`, word
//! `q = (i % 64) / 16` and lane `l = i % 16`, and its word is
//!
//! ```text
//! philox4x32_10(counter = [(16 b + l) low, (16 b + l) high, step, stream], key = [seed low, seed high])[q]
//! ```
//!
//! Sixteen lanes thus evaluate sixteen consecutive counters and hold, in the four words of the result, four vectors of
//! sixteen consecutive elements: no transpose on any level, and no word wasted.
//!
//! Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3 (SC 2011).
//!
//! Must not depend on anything but `simd`.

use bytemuck::{cast, cast_slice_mut};

use crate::simd::{LANES, Simd, level::kernel};

/// Elements that share a block of counters: the natural unit for splitting work, though any split gives the same words.
pub const BLOCK: usize = 4 * LANES;

pub(crate) const MULTIPLIERS: [u32; 2] = [0xd251_1f53, 0xcd9e_8d57];
/// Added to the key between rounds: the golden ratio and √3 - 1.
const KEY_STEPS: [u32; 2] = [0x9e37_79b9, 0xbb67_ae85];
pub(crate) const ROUNDS: u32 = 10;

/// Four random words, a pure function of `counter` and `key`.
#[must_use]
pub const fn philox4x32_10(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    philox4x32(counter, key, ROUNDS)
}

const fn philox4x32(counter: [u32; 4], key: [u32; 2], rounds: u32) -> [u32; 4] {
    let mut c = counter;
    let mut round = 0;
    while round < rounds {
        let k = round_key(key, round);
        let product0 = MULTIPLIERS[0] as u64 * c[0] as u64;
        let product1 = MULTIPLIERS[1] as u64 * c[2] as u64;
        c = [
            (product1 >> 32) as u32 ^ c[1] ^ k[0],
            product1 as u32,
            (product0 >> 32) as u32 ^ c[3] ^ k[1],
            product0 as u32,
        ];
        round += 1;
    }
    c
}

/// What the first two rounds need where all lanes have the same upper three words, `rest`: in the first, only the lowest word has a
/// product of each lane's own, in the second only the third.
///
/// With `high` and `low` the halves of a product, the words after two rounds are those of lanes `c0`:
///
/// ```text
/// c2 = high(c0 M0) ^ opening[0]
/// [high(c2 M1) ^ opening[1], low(c2 M1), low(c0 M0) ^ opening[2], opening[3]]
/// ```
#[inline(always)]
pub(crate) const fn opening(rest: [u32; 3], key: [u32; 2]) -> [u32; 4] {
    let (first, second) = (round_key(key, 0), round_key(key, 1));
    let product1 = MULTIPLIERS[1] as u64 * rest[1] as u64;
    let c0 = (product1 >> 32) as u32 ^ rest[0] ^ first[0];
    let product0 = MULTIPLIERS[0] as u64 * c0 as u64;
    [rest[2] ^ first[1], product1 as u32 ^ second[0], (product0 >> 32) as u32 ^ second[1], product0 as u32]
}

/// The rounds after [`opening`], one after the other: as a loop, each would wait for its keys to reach the vector registers.
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
macro_rules! later_rounds {
    ($round:ident, $body:block) => {{
        const { assert!($crate::rng::ROUNDS == 10) };
        $crate::rng::later_rounds!(@ $round $body 2 3 4 5 6 7 8 9);
    }};
    (@ $round:ident $body:block $($number:literal)*) => {
        $({ let $round = $number; $body })*
    };
}
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
pub(crate) use later_rounds;

/// The key of round `round`.
#[inline(always)]
pub(crate) const fn round_key(key: [u32; 2], round: u32) -> [u32; 2] {
    [key[0].wrapping_add(KEY_STEPS[0].wrapping_mul(round)), key[1].wrapping_add(KEY_STEPS[1].wrapping_mul(round))]
}

/// What random numbers are drawn for: the upper eight bits of a stream's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Purpose {
    /// Initial weights; the layer is the index of the layer, the step counts rejected attempts.
    Init = 1,
    /// The order of the samples; the step is the epoch.
    Shuffle = 2,
    /// Which samples are held out for validation.
    Split = 3,
    /// Dropout; the layer is the index of the layer, the step that of the training step.
    Dropout = 4,
    /// Mixup; layer 0 draws the share and layer 1 the partners of a batch, the step is that of the training step.
    Mixup = 32,
    /// Noise on the inputs of a batch; the step is that of the training step.
    Jitter = 33,
    /// Which samples each fold of a cross-validation holds out; the step is the class.
    Folds = 16,
    /// Normal numbers of Gaussian dropout and Gaussian noise; the layer is the index of the layer, the step that of the
    /// training step.
    Noise = 48,
    /// Which weights DropConnect keeps; layer and step as for dropout.
    DropConnect = 49,
}

/// A sequence of random words, one per element; see the module for the numbering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    /// The seed that the user gave.
    pub seed: u64,
    /// `purpose << 24 | layer`.
    pub stream: u32,
    /// Distinguishes repetitions: the training step, the epoch, the attempt.
    pub step: u32,
}

impl Stream {
    /// The stream of one purpose and layer (its low 24 bits) at one step.
    #[must_use]
    pub const fn new(seed: u64, purpose: Purpose, layer: u32, step: u32) -> Stream {
        Stream { seed, stream: (purpose as u32) << 24 | (layer & 0x00ff_ffff), step }
    }

    /// The same stream at another step.
    #[must_use]
    pub const fn at_step(self, step: u32) -> Stream {
        Stream { step, ..self }
    }

    /// The word of one element.
    #[must_use]
    pub const fn word(&self, element: u64) -> u32 {
        let counter = (element / 64) * 16 + element % 16;
        let words = philox4x32_10(self.counter(counter), self.key());
        words[(element / 16 % 4) as usize]
    }

    const fn counter(&self, counter: u64) -> [u32; 4] {
        [counter as u32, (counter >> 32) as u32, self.step, self.stream]
    }

    const fn key(&self) -> [u32; 2] {
        [self.seed as u32, (self.seed >> 32) as u32]
    }
}

/// Blocks that are best computed side by side: a round waits for its multiplications, unless there are others to do.
pub(crate) const fn side_by_side(registers: usize) -> usize {
    if registers >= 32 { 2 } else { 1 }
}

/// The words of the elements of `N` blocks from number `first` on, a multiple of `N`, sixteen consecutive elements to a vector.
#[inline(always)]
pub fn blocks<S: Simd, const N: usize>(s: S, stream: Stream, first: u64) -> [[S::U32; 4]; N] {
    const LANE: [u32; LANES] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
    const { assert!(N.is_power_of_two()) };
    debug_assert!(first.is_multiple_of(N as u64), "block {first} of {N} side by side");
    // So none of the counters carries into the next word.
    let [low, rest @ ..] = stream.counter(first << 4);
    let mut lanes = [s.load_u32(&LANE); N];
    for (n, lanes) in (0..).zip(&mut lanes) {
        *lanes = s.add_u32(*lanes, s.splat_u32(low.wrapping_add(n * LANES as u32)));
    }
    s.philox(lanes, rest, stream.key())
}

/// A word as a number in [0, 1): its upper 24 bits, a multiple of 2^-24.
#[must_use]
pub const fn unit(word: u32) -> f32 {
    (word >> 8) as f32 * UNIT
}

const UNIT: f32 = 1.0 / 16_777_216.0;

/// [`unit()`] of sixteen words.
#[inline(always)]
pub fn unit_vector<S: Simd>(s: S, words: S::U32) -> S::F32 {
    s.mul(s.i32_to_f32(s.shr(words, 8)), s.splat(UNIT))
}

kernel! {
    /// The words of the elements from `first` on: any start, any length.
    pub fn fill_u32(stream: Stream, first: u64, out: &mut [u32]) = fill_u32_body
}

kernel! {
    /// [`unit()`] of the elements from `first` on: numbers in [0, 1).
    pub fn fill_unit(stream: Stream, first: u64, out: &mut [f32]) = fill_unit_body
}

#[inline(always)]
fn fill_u32_body<S: Simd>(s: S, stream: Stream, first: u64, out: &mut [u32]) {
    fill(s, stream, first, out, |words| words);
}

#[inline(always)]
fn fill_unit_body<S: Simd>(s: S, stream: Stream, first: u64, out: &mut [f32]) {
    fill(s, stream, first, cast_slice_mut(out), |words| s.to_bits(unit_vector(s, words)));
}

#[inline(always)]
fn fill<S: Simd>(s: S, stream: Stream, first: u64, out: &mut [u32], map: impl Fn(S::U32) -> S::U32) {
    let (mut number, mut offset) = (first / BLOCK as u64, (first % BLOCK as u64) as usize);
    let mut rest = out;
    while !rest.is_empty() {
        // Whole blocks go where they belong.
        macro_rules! at_once {
            ($blocks:literal) => {
                if number.is_multiple_of($blocks) && offset == 0 && rest.len() >= $blocks * BLOCK {
                    let (out, later) = rest.split_at_mut($blocks * BLOCK);
                    let words: [[S::U32; 4]; $blocks] = blocks(s, stream, number);
                    for (out, words) in out.as_chunks_mut::<BLOCK>().0.iter_mut().zip(words) {
                        for (out, words) in out.as_chunks_mut().0.iter_mut().zip(words) {
                            s.store_u32(map(words), out);
                        }
                    }
                    (number, rest) = (number.wrapping_add($blocks), later);
                    continue;
                }
            };
        }
        if side_by_side(S::REGISTERS) == 2 {
            at_once!(2);
        } else if S::PIECES == 2 {
            at_once!(1);
        }
        let [words] = blocks(s, stream, number);
        let mut copy = [[0; LANES]; 4];
        for (copy, words) in copy.iter_mut().zip(words) {
            s.store_u32(map(words), copy);
        }
        let copy: [u32; BLOCK] = cast(copy);
        let (out, later) = rest.split_at_mut(rest.len().min(BLOCK - offset));
        out.copy_from_slice(&copy[offset..][..out.len()]);
        (number, offset, rest) = (number.wrapping_add(1), 0, later);
    }
}

/// Puts `items` in an order that depends on the stream and their number alone, all orders being equally likely.
///
/// Fisher and Yates, from the last position down: position `i` is exchanged with one of `0..=i`. The draw is Lemire's:
/// the upper half of `word * (i + 1)`, drawn again while the lower half falls into the incomplete last interval, so it
/// has no bias. Attempt `a` at position `i` takes element `a * 2^40 + i`. At most 2^32 items (above, the draw would be
/// slightly biased).
pub fn shuffle<T>(stream: Stream, items: &mut [T]) {
    for i in (1..items.len()).rev() {
        // `min` changes nothing but lets the compiler see that both are in range.
        items.swap(i, i.min(below(stream, i as u64) as usize));
    }
}

/// A number in `0..=last`, drawn at position `last` of the stream.
fn below(stream: Stream, last: u64) -> u64 {
    let choices = last + 1;
    let incomplete = (1 << 32) % choices;
    let mut element = last;
    loop {
        let product = u64::from(stream.word(element)) * choices;
        if product & 0xffff_ffff >= incomplete {
            return product >> 32;
        }
        element = element.wrapping_add(1 << 40);
    }
}

#[cfg(test)]
mod tests {
    use super::philox4x32;

    /// Random123's known answers for seven rounds: they pin the key schedule and the rounds one by one.
    #[test]
    fn seven_rounds() {
        let pi = ([0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344], [0xa409_3822, 0x299f_31d0]);
        let answers = [
            (([0; 4], [0; 2]), [0x5f6f_b709, 0x0d89_3f64, 0x4f12_1f81, 0x4f73_0a48]),
            (([!0; 4], [!0; 2]), [0x5207_ddc2, 0x4516_5e59, 0x4d8e_e751, 0x8c52_f662]),
            (pi, [0x4dfc_caba, 0x190a_87f0, 0xc473_62ba, 0xb6b5_242a]),
        ];
        for ((counter, key), words) in answers {
            assert_eq!(philox4x32(counter, key, 7), words);
        }
    }
}

//! Normal numbers and the layers that are made of them: Gaussian dropout, Gaussian noise, and alpha dropout.
//!
//! As dropout ([`dropout`](super::dropout)): every number is a pure function of the stream and the element's number, nothing is
//! stored, and the backward pass asks again.
//!
//! A normal number is the quantile of its element's word (the inverse of the distribution function), so one word makes one
//! number whatever its neighbours are; Box and Muller's pairs would tie elements together. The word `w` stands for the
//! probability `(w + 1/2) / 2^32`: symmetric, never 0 or 1, up to 6.34 deviations.
//!
//! Must not depend on anything but `rng`, `math` and `simd`.

use super::math;
use crate::error::Error;
use crate::rng::{BLOCK, Stream, blocks};
use crate::simd::{LANES, Simd, level::kernel};

/// `√2 erfinv(2 p - 1)` for the probabilities `p` that sixteen words stand for: a standard normal number for each. Error:
/// 4e-7 of its value.
///
/// With `k` the word's distance from the nearer end of its range, `p = (k + 1/2) / 2^32` is the smaller tail, computed
/// without cancellation, and `x = 1 - 2 p` comes from the distance to the middle. Then `erfinv(x) = x q(w)` with
/// `w = -log(4 p (1 - p)) = -log(1 - x²)`: a polynomial of degree 8 in `w - 2.5` below 5 (Giles 2012, approximating the erfinv
/// function), one of degree 9 in `√w - 3` above, refitted up to `w = 21.5`: 1e-7 relative.
#[inline(always)]
pub(crate) fn normal<S: Simd>(s: S, words: S::U32) -> S::F32 {
    const CENTRE: [f32; 9] = [
        1.501_409_4,
        0.246_640_73,
        -0.004_177_681_6,
        -0.001_253_725,
        0.000_218_580_87,
        -4.391_506_5e-6,
        -3.523_387_7e-6,
        3.432_739_4e-7,
        2.810_226_4e-8,
    ];
    const TAIL: [f32; 10] = [
        2.832_977,
        1.001_675_6,
        0.009_434_19,
        -0.007_645_890_6,
        0.005_762_374_5,
        -0.003_584_788_6,
        0.001_309_369_8,
        -1.373_615_3e-5,
        -0.000_174_139_25,
        4.355_417e-5,
    ];
    // All ones where the word lies in the upper half: then its complement is the distance from the end.
    let upper = s.sar(words, 31);
    let k = s.xor(words, upper);
    let middle = s.sub_u32(s.splat_u32(0x7fff_ffff), k);
    let half = s.splat(0.5);
    let p = s.mul(s.add(s.i32_to_f32(k), half), s.splat(1.0 / 4_294_967_296.0));
    let x = s.mul(s.add(s.i32_to_f32(middle), half), s.splat(1.0 / 2_147_483_648.0));
    let product = s.mul(s.mul(s.splat(4.0), p), s.sub(s.splat(1.0), p));
    let w = math::neg(s, math::log(s, product));
    let centre = math::polynomial(s, s.sub(w, s.splat(2.5)), &CENTRE);
    let tail = math::polynomial(s, s.sub(s.sqrt(s.max(w, s.splat(0.0))), s.splat(3.0)), &TAIL);
    let quotient = s.select(s.lt(w, s.splat(5.0)), centre, tail);
    let size = s.mul(s.mul(s.splat(core::f32::consts::SQRT_2), x), quotient);
    // The lower half is the negative one.
    let sign = s.and(s.xor(upper, s.splat_u32(u32::MAX)), s.splat_u32(1 << 31));
    s.from_bits(s.xor(s.to_bits(size), sign))
}

/// Replaces each element by a function of it and its word; `y` holds the elements from number `first` on.
#[inline(always)]
fn with_words<S: Simd>(s: S, y: &mut [f32], stream: Stream, first: u64, f: impl Fn(S::F32, S::U32) -> S::F32) {
    let (mut number, mut offset) = (first / BLOCK as u64, (first % BLOCK as u64) as usize);
    let mut rest = y;
    while !rest.is_empty() {
        let [words] = blocks(s, stream, number);
        let (now, later) = rest.split_at_mut(rest.len().min(BLOCK - offset));
        // A block that begins or ends outside is worked on in a copy, so that `f` is called in one place: in two, the compiler
        // would make it a function of its own, without the level's registers.
        let mut padded = [0.0; BLOCK];
        let whole = now.len() == BLOCK;
        if !whole {
            padded[offset..][..now.len()].copy_from_slice(now);
        }
        let block = match now.first_chunk_mut::<BLOCK>() {
            Some(block) => block,
            None => &mut padded,
        };
        for (group, words) in block.as_chunks_mut::<LANES>().0.iter_mut().zip(words) {
            s.store(f(s.load(group), words), group);
        }
        if !whole {
            now.copy_from_slice(&padded[offset..][..now.len()]);
        }
        (number, offset, rest) = (number.wrapping_add(1), 0, later);
    }
}

/// The deviation of Gaussian dropout's factor, `√(rate / (1 - rate))`, in `f64` and rounded once.
///
/// # Errors
/// [`Error::DropoutRate`] if `rate` is not in [0, 1).
pub fn gaussian_deviation(rate: f32) -> Result<f32, Error> {
    if !(0.0..1.0).contains(&rate) {
        return Err(Error::DropoutRate { rate });
    }
    let rate = f64::from(rate);
    Ok(libm::sqrt(rate / (1.0 - rate)) as f32)
}

kernel! {
    /// A standard normal number for each element from number `first` on, in `out` of any length.
    pub fn fill_normal(stream: Stream, first: u64, out: &mut [f32]) = fill_normal_body
}

#[inline(always)]
fn fill_normal_body<S: Simd>(s: S, stream: Stream, first: u64, out: &mut [f32]) {
    with_words(s, out, stream, first, |_, words| normal(s, words));
}

kernel! {
    /// Gaussian dropout in place, of values or of gradients: `x (1 + deviation z)`, the bracket one multiply-add. `first` is the
    /// number of the first of any number of elements; `deviation` comes from [`gaussian_deviation`].
    pub fn gaussian_dropout(x: &mut [f32], deviation: f32, stream: Stream, first: u64) = gaussian_dropout_body
}

#[inline(always)]
fn gaussian_dropout_body<S: Simd>(s: S, x: &mut [f32], deviation: f32, stream: Stream, first: u64) {
    let (deviation, one) = (s.splat(deviation), s.splat(1.0));
    with_words(s, x, stream, first, |x, words| s.mul(x, s.mul_add(deviation, normal(s, words), one)));
}

kernel! {
    /// Gaussian noise in place: `x + deviation z`, one multiply-add. Its gradient is that of the output.
    pub fn gaussian_noise(x: &mut [f32], deviation: f32, stream: Stream, first: u64) = gaussian_noise_body
}

#[inline(always)]
fn gaussian_noise_body<S: Simd>(s: S, x: &mut [f32], deviation: f32, stream: Stream, first: u64) {
    let deviation = s.splat(deviation);
    with_words(s, x, stream, first, |x, words| s.mul_add(deviation, normal(s, words), x));
}

/// Alpha dropout of a rate, made ready.
///
/// With `α' = -λα` of SELU: a kept value becomes `a x + b`, a dropped one `a α' + b`, where
/// `a = ((1 - p) (1 + p α'²))^-½` and `b = -a p α'` (Klambauer 2017, section "dropout"). In `f64`, rounded once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Alpha {
    /// An element is kept if its word is below.
    threshold: u64,
    a: f32,
    b: f32,
    dropped: f32,
}

impl Alpha {
    /// Prepares the probability `rate` of dropping an element: 0 changes nothing, 1 gives zeros.
    ///
    /// # Errors
    /// [`Error::DropoutRate`] if `rate` is not in [0, 1].
    pub fn new(rate: f32) -> Result<Self, Error> {
        /// `-λα` of SELU.
        const LIMIT: f64 = -1.758_099_340_847_376_6;
        if !(0.0..=1.0).contains(&rate) {
            return Err(Error::DropoutRate { rate });
        }
        let rate = f64::from(rate);
        let keep = 1.0 - rate;
        if keep == 0.0 {
            return Ok(Self { threshold: 0, a: 0.0, b: 0.0, dropped: 0.0 });
        }
        let a = 1.0 / libm::sqrt(keep * (1.0 + rate * LIMIT * LIMIT));
        let threshold = (keep * 4_294_967_296.0) as u64;
        let b = -a * rate * LIMIT;
        Ok(Self { threshold, a: a as f32, b: b as f32, dropped: (a * LIMIT + b) as f32 })
    }
}

kernel! {
    /// Alpha dropout in place. A dropped element becomes the same number whatever it was, NaN and infinity included.
    pub fn alpha_dropout(x: &mut [f32], rate: Alpha, stream: Stream, first: u64) = alpha_dropout_body
}

#[inline(always)]
fn alpha_dropout_body<S: Simd>(s: S, x: &mut [f32], rate: Alpha, stream: Stream, first: u64) {
    if rate.threshold > u64::from(u32::MAX) {
        return;
    }
    let threshold = s.splat_u32(rate.threshold as u32);
    let (a, b, dropped) = (s.splat(rate.a), s.splat(rate.b), s.splat(rate.dropped));
    with_words(s, x, stream, first, |x, words| s.select(s.lt_u32(words, threshold), s.mul_add(a, x, b), dropped));
}

kernel! {
    /// The gradient through [`alpha_dropout`], in place: `a dy` for a kept element, +0.0 for a dropped one.
    pub fn alpha_dropout_backward(dy: &mut [f32], rate: Alpha, stream: Stream, first: u64) = alpha_dropout_backward_body
}

#[inline(always)]
fn alpha_dropout_backward_body<S: Simd>(s: S, dy: &mut [f32], rate: Alpha, stream: Stream, first: u64) {
    if rate.threshold > u64::from(u32::MAX) {
        return;
    }
    let threshold = s.splat_u32(rate.threshold as u32);
    let (a, zero) = (s.splat(rate.a), s.splat(0.0));
    with_words(s, dy, stream, first, |dy, words| s.select(s.lt_u32(words, threshold), s.mul(a, dy), zero));
}

//! Elementary functions on vectors: `exp`, `log`, the sigmoid family, exact GELU and SiLU with their derivatives; the less
//! usual activations stand in `math/units.rs`.
//!
//! Every function is straight-line: range reduction, one polynomial (or one quotient of two), reconstruction. The
//! operations and their order do not depend on the level, so all exact levels agree to the bit. NaN in gives NaN out;
//! infinities give the limits.
//!
//! Errors are in ulp of the exact result (of 2^-126 where that is smaller), the largest over all 2^32 inputs rounded up;
//! `tests/math.rs` repeats the measurement, `docs/accuracy.md` has the table of all activations. The first figure is for exact levels, the one in parentheses for levels
//! whose `mul_add` rounds twice. Coefficients are minimax fits (Remez exchange on a dense grid, references in 40
//! digits), rounded to `f32` and then moved by single ulps while that lowered the largest error; the bounds named
//! "fit" are those of the rounded coefficients in exact arithmetic.
//!
//! Must not depend on anything but `simd`.

use crate::simd::{LANES, Simd, level::kernel};

const SIGN: u32 = 1 << 31;
/// Adding and subtracting 1.5 * 2^23 rounds to an integer, which the low bits of the sum then hold.
const ROUND: f32 = 12_582_912.0;
/// ln 2 in two parts: the first has 15 significant bits, so its products with exponents are exact.
const LN2_HIGH: f32 = f32::from_bits(0x3f31_7200);
const LN2_LOW: f32 = f32::from_bits(0x35bf_be8e);

/// `|x|`
#[inline(always)]
pub fn abs<S: Simd>(s: S, x: S::F32) -> S::F32 {
    s.from_bits(s.and(s.to_bits(x), s.splat_u32(!SIGN)))
}

/// `-x`
#[inline(always)]
pub fn neg<S: Simd>(s: S, x: S::F32) -> S::F32 {
    s.from_bits(s.xor(s.to_bits(x), s.splat_u32(SIGN)))
}

/// `coefficients[0] + coefficients[1] x + …`, by Horner's rule.
#[inline(always)]
pub(super) fn polynomial<S: Simd, const N: usize>(s: S, x: S::F32, coefficients: &[f32; N]) -> S::F32 {
    let mut sum = s.splat(coefficients[N - 1]);
    for c in coefficients[..N - 1].iter().rev() {
        sum = s.mul_add(sum, x, s.splat(*c));
    }
    sum
}

/// `(m, n)` with `e^(x + low) = 2^n (1 + m)`, for `|x|` below 160 and `|low|` below a few ulp of it.
///
/// `n` is the integer nearest to `x / ln 2` and `r = x - n ln 2 + low` lies in ±0.347. Then `m = e^r - 1 =
/// r + r² q(r)` with `q` of degree 5, leading coefficient held at 1/2; fit: 2^-28.1 relative to `m`.
#[inline(always)]
fn exp_parts<S: Simd>(s: S, x: S::F32, low: Option<S::F32>) -> (S::F32, S::U32) {
    const Q: [f32; 6] = [0.5, 0.166_666_36, 0.041_666_51, 0.008_341_642, 0.001_393_056_5, 0.000_149_054_8];
    let shifted = s.mul_add(x, s.splat(core::f32::consts::LOG2_E), s.splat(ROUND));
    let n = s.sub(shifted, s.splat(ROUND));
    let r = s.mul_add(n, s.splat(-LN2_HIGH), x);
    let r = match low {
        None => s.mul_add(n, s.splat(-LN2_LOW), r),
        Some(low) => s.add(r, s.mul_add(n, s.splat(-LN2_LOW), low)),
    };
    let m = s.mul_add(s.mul(r, r), polynomial(s, r, &Q), r);
    (m, s.sub_u32(s.to_bits(shifted), s.splat_u32(ROUND.to_bits())))
}

/// `2^n` for `n` in -126..=127.
#[inline(always)]
fn power_of_two<S: Simd>(s: S, n: S::U32) -> S::F32 {
    s.from_bits(s.shl(s.add_u32(n, s.splat_u32(127)), 23))
}

/// `e^x`. Error: 1.0 (1.0) ulp.
///
/// Beyond [-104, 89] the result is 0 or infinity, so the argument is clamped there; see `exp_parts` for the rest.
#[inline(always)]
pub fn exp<S: Simd>(s: S, x: S::F32) -> S::F32 {
    let x = s.max(s.min(x, s.splat(89.0)), s.splat(-104.0));
    let (m, n) = exp_parts(s, x, None);
    s.scale(s.add(m, s.splat(1.0)), n)
}

/// `k ln 2 + ln(1 + f)` for an integer `k`, `|k|` below 256, and `f` in [-1/4, 1/2].
///
/// `ln(1 + f) = f + f² q(f)` with `q` of degree 8, leading coefficient held at -1/2; fit: 2^-27.4 relative. `k ln 2 + f`
/// is summed with its rounding error, so the error of the result is little more than that of its last addition.
#[inline(always)]
fn log_parts<S: Simd>(s: S, k: S::F32, f: S::F32) -> S::F32 {
    const Q: [f32; 9] = [
        -0.5,
        0.333_334_62,
        -0.250_001_94,
        0.199_903_26,
        -0.166_424_05,
        0.144_761_71,
        -0.132_133_78,
        0.105_977_67,
        -0.046_072_852,
    ];
    let tail = s.mul(s.mul(polynomial(s, f, &Q), f), f);
    let tail = s.mul_add(k, s.splat(LN2_LOW), tail);
    let high = s.mul(k, s.splat(LN2_HIGH));
    let sum = s.add(high, f);
    let rounding = s.add(s.sub(high, sum), f);
    s.add(sum, s.add(rounding, tail))
}

/// Natural logarithm. Error: 1.0 (1.1) ulp. 0 gives -infinity, negative numbers give NaN.
///
/// `x = 2^k (1 + f)` with `1 + f` in [3/4, 3/2), read off the bits after subnormals are multiplied by 2^23.
#[inline(always)]
pub fn log<S: Simd>(s: S, x: S::F32) -> S::F32 {
    let subnormal = s.lt(x, s.splat(f32::MIN_POSITIVE));
    let normal = s.select(subnormal, s.mul(x, s.splat(8_388_608.0)), x);
    let bits = s.to_bits(normal);
    let exponent = s.and(s.sub_u32(bits, s.splat_u32(0.75_f32.to_bits())), s.splat_u32(0xff80_0000));
    let f = s.sub(s.from_bits(s.sub_u32(bits, exponent)), s.splat(1.0));
    let k = s.i32_to_f32(s.sar(exponent, 23));
    let k = s.add(k, s.select(subnormal, s.splat(-23.0), s.splat(0.0)));
    let y = log_parts(s, k, f);
    let y = s.select(s.lt(x, s.splat(f32::INFINITY)), y, x);
    let y = s.select(s.lt(x, s.splat(0.0)), s.splat(f32::NAN), y);
    s.select(s.eq(x, s.splat(0.0)), s.splat(f32::NEG_INFINITY), y)
}

/// `ln(1 + e)` for `e` in [0, 1], accurate also for the smallest `e`. Error: 1.0 (1.0) ulp.
///
/// Above 1/2 it is `ln 2 + ln(1 + (e - 1) / 2)`, whose argument is exact; below, `e` itself is the `f` of the series.
#[inline(always)]
pub fn log1p_unit<S: Simd>(s: S, e: S::F32) -> S::F32 {
    let large = s.lt(s.splat(0.5), e);
    let f = s.select(large, s.mul(s.sub(e, s.splat(1.0)), s.splat(0.5)), e);
    log_parts(s, s.select(large, s.splat(1.0), s.splat(0.0)), f)
}

/// `ln(1 + e^-|x|)`, the smooth part of softplus and of the cross-entropy on logits. Error: 1.7 (1.7) ulp.
#[inline(always)]
pub fn log1p_exp_neg<S: Simd>(s: S, x: S::F32) -> S::F32 {
    log1p_unit(s, exp(s, neg(s, abs(s, x))))
}

/// `ln(1 + e^x) = max(x, 0) + ln(1 + e^-|x|)`. Error: 1.7 (1.7) ulp.
#[inline(always)]
pub fn softplus<S: Simd>(s: S, x: S::F32) -> S::F32 {
    s.add(s.max(x, s.splat(0.0)), log1p_exp_neg(s, x))
}

/// `(q, n)` with `1 / (1 + e^(t - low)) = 2^n q`, for `t` in [0, 120] and `|low|` below a few ulp of it.
///
/// It is `e / d` with `e = e^-t` and `d = 1 + e`, neither of which can overflow. The quotient starts from `1 / d` and
/// is mended by its remainder, in which the rounding errors of `e` and of `d` take part.
#[inline(always)]
fn sigmoid_tail<S: Simd>(s: S, t: S::F32, low: Option<S::F32>) -> (S::F32, S::U32) {
    let one = s.splat(1.0);
    let (m, n) = exp_parts(s, neg(s, t), low);
    let y = s.add(one, m);
    let y_rounding = s.add(s.sub(one, y), m);
    let e = s.scale(y, n);
    let d = s.add(one, e);
    let d_rounding = s.add(s.sub(one, d), e);
    let inverse = s.div(one, d);
    let q = s.mul(y, inverse);
    let minus_q = neg(s, q);
    let remainder = s.mul_add(minus_q, d, y);
    let remainder = s.add(s.mul_add(minus_q, d_rounding, remainder), y_rounding);
    (s.mul_add(remainder, inverse, q), n)
}

/// `1 / (1 + e^-x)`. Error: 1.0 (1.7) ulp.
///
/// `1 / (1 + e^|x|)` for negative `x`, else 1 less that. Beyond 110 the former is 0.
#[inline(always)]
pub fn sigmoid<S: Simd>(s: S, x: S::F32) -> S::F32 {
    let (q, n) = sigmoid_tail(s, s.min(abs(s, x), s.splat(110.0)), None);
    let tail = s.scale(q, n);
    s.select(s.lt(x, s.splat(0.0)), tail, s.sub(s.splat(1.0), tail))
}

/// Hyperbolic tangent. Error: 1.6 (1.6) ulp.
///
/// With `t = |x|`: up to 0.55, where the result passes 1/2, `t + t³ p(t²)` with `p` of degree 4, fit: 2^-29.1 relative;
/// above, `1 - 2e / (1 + e)` with `e = e^-2t`. From 10 on the result is 1, so the argument is clamped there.
#[inline(always)]
pub fn tanh<S: Simd>(s: S, x: S::F32) -> S::F32 {
    const P: [f32; 5] = [-0.333_333_16, 0.133_325_77, -0.053_851_73, 0.021_069_165, -0.006_270_473];
    let t = s.min(abs(s, x), s.splat(10.0));
    let square = s.mul(t, t);
    let small = s.mul_add(s.mul(t, square), polynomial(s, square, &P), t);
    let (m, n) = exp_parts(s, s.mul(t, s.splat(-2.0)), None);
    let power = power_of_two(s, n);
    let e = s.mul_add(m, power, power);
    let one = s.splat(1.0);
    let large = s.sub(one, s.div(s.add(e, e), s.add(e, one)));
    let y = s.select(s.lt(t, s.splat(0.55)), small, large);
    s.from_bits(s.or(s.to_bits(y), s.and(s.to_bits(x), s.splat_u32(SIGN))))
}

/// `t² - square`, what the product was rounded by.
#[inline(always)]
fn square_rounding<S: Simd>(s: S, t: S::F32, square: S::F32) -> S::F32 {
    if S::FUSED {
        s.mul_add(t, t, neg(s, square))
    } else {
        // Dekker: the same value from the exact products of the two halves of `t`.
        let high = s.from_bits(s.and(s.to_bits(t), s.splat_u32(0xffff_f000)));
        let low = s.sub(t, high);
        let cross = s.mul(s.mul(high, low), s.splat(2.0));
        s.add(s.add(s.sub(s.mul(high, high), square), cross), s.mul(low, low))
    }
}

/// `(p, q, m, n)` with `Φ(-t) = 2^n (1 + m) p / q`, for `t` in [0, 15]; Φ is the normal distribution function.
///
/// `Φ(-t) e^(t²/2)` falls slowly from 1/2, like `0.4 / t`, and is the quotient of two polynomials with positive
/// coefficients, so their sums lose nothing; fit: 2^-26.5 relative. `t²` enters the exponential with its rounding error:
/// without, the result would be wrong by tens of ulp.
#[inline(always)]
fn normal_tail_parts<S: Simd>(s: S, t: S::F32) -> (S::F32, S::F32, S::F32, S::U32) {
    const P: [f32; 5] = [0.5, 0.439_284_03, 0.183_969_59, 0.040_881_27, 0.004_153_252_6];
    const Q: [f32; 6] = [1.0, 1.676_453, 1.205_550_2, 0.471_409_83, 0.102_480_27, 0.010_410_548];
    let square = s.mul(t, t);
    let rounding = square_rounding(s, t, square);
    let minus_half = s.splat(-0.5);
    let (m, n) = exp_parts(s, s.mul(square, minus_half), Some(s.mul(rounding, minus_half)));
    (polynomial(s, t, &P), polynomial(s, t, &Q), m, n)
}

/// Exact GELU, `x Φ(x)`. Error: 6.1 (7.7) ulp, also on the negative side, down to the subnormals.
///
/// `x Φ(x) = max(x, 0) - |x| Φ(-|x|)`. The power of two of the exponential is applied last, so nothing is lost
/// where `e^(-x²/2)` alone would already be subnormal. Beyond 15 the second term is 0.
#[inline(always)]
pub fn gelu<S: Simd>(s: S, x: S::F32) -> S::F32 {
    let t = s.min(abs(s, x), s.splat(15.0));
    let (p, q, m, n) = normal_tail_parts(s, t);
    let p = s.mul(t, p);
    let tail = s.div(s.mul_add(p, m, p), q);
    s.sub(s.max(x, s.splat(0.0)), s.scale(tail, n))
}

/// Derivative of [`gelu`], `Φ(x) + x φ(x)`. Error: 8.4 (10.6) ulp; around its zero at -0.752, for `x` in (-1, -1/2), in
/// ulp of 1/16 if the result is smaller.
///
/// `a = Φ(-t) - t φ(t)` is the derivative at `-t`, and `1 - a` the one at `t`.
#[inline(always)]
pub fn gelu_derivative<S: Simd>(s: S, x: S::F32) -> S::F32 {
    /// `-φ(0) = -1 / √(2π)`
    const DENSITY: f32 = -0.398_942_3;
    let t = s.min(abs(s, x), s.splat(15.0));
    let (p, q, m, n) = normal_tail_parts(s, t);
    let a = s.mul_add(t, s.splat(DENSITY), s.div(p, q));
    let a = s.scale(s.mul_add(a, m, a), n);
    s.select(s.lt(x, s.splat(0.0)), a, s.sub(s.splat(1.0), a))
}

/// SiLU (swish), `x σ(x)`. Error: 1.8 (2.5) ulp, down to the subnormals.
///
/// `x σ(x) = max(x, 0) - |x| σ(-|x|)`; as in [`gelu`], the power of two comes last. Beyond 110 the second term is 0.
#[inline(always)]
pub fn silu<S: Simd>(s: S, x: S::F32) -> S::F32 {
    let t = s.min(abs(s, x), s.splat(110.0));
    let (q, n) = sigmoid_tail(s, t, None);
    s.sub(s.max(x, s.splat(0.0)), s.scale(s.mul(t, q), n))
}

/// Derivative of [`silu`], `σ(x) (1 + x σ(-x))`. Error: 3.6 (4.8) ulp; around its zero at -1.278, for `x` in (-1.75,
/// -0.75), in ulp of 1/16 if the result is smaller.
///
/// `a = σ(-t) (1 - t σ(t))` is the derivative at `-t`, and `1 - a` the one at `t`.
#[inline(always)]
pub fn silu_derivative<S: Simd>(s: S, x: S::F32) -> S::F32 {
    let one = s.splat(1.0);
    let t = s.min(abs(s, x), s.splat(110.0));
    let (q, n) = sigmoid_tail(s, t, None);
    let upper = s.sub(one, s.scale(q, n));
    let a = s.scale(s.mul(q, s.mul_add(neg(s, t), upper, one)), n);
    s.select(s.lt(x, s.splat(0.0)), a, s.sub(one, a))
}

/// Declares the entry that applies a vector function to a slice of any length, in place.
///
/// A macro because a function passed as a value would be called through a shim without the level's features.
macro_rules! on_slice {
    ($(#[$meta:meta])* $name:ident, $body:ident, $function:ident) => {
        #[inline(always)]
        fn $body<S: Simd>(s: S, x: &mut [f32]) {
            let (groups, tail) = x.as_chunks_mut::<LANES>();
            for group in groups {
                s.store($function(s, s.load(group)), group);
            }
            if !tail.is_empty() {
                let mut group = [0.0; LANES];
                group[..tail.len()].copy_from_slice(tail);
                s.store($function(s, s.load(&group)), &mut group);
                tail.copy_from_slice(&group[..tail.len()]);
            }
        }
        kernel! {
            $(#[$meta])*
            pub fn $name(x: &mut [f32]) = $body
        }
    };
}

mod units;

pub use units::*;

on_slice! {
    /// [`exp`] of every element, in place.
    exp_f32, exp_slice, exp
}
on_slice! {
    /// [`log`] of every element, in place.
    log_f32, log_slice, log
}
on_slice! {
    /// [`log1p_unit`] of every element, in place.
    log1p_unit_f32, log1p_unit_slice, log1p_unit
}
on_slice! {
    /// [`log1p_exp_neg`] of every element, in place.
    log1p_exp_neg_f32, log1p_exp_neg_slice, log1p_exp_neg
}
on_slice! {
    /// [`softplus`] of every element, in place.
    softplus_f32, softplus_slice, softplus
}
on_slice! {
    /// [`sigmoid`] of every element, in place.
    sigmoid_f32, sigmoid_slice, sigmoid
}
on_slice! {
    /// [`tanh`] of every element, in place.
    tanh_f32, tanh_slice, tanh
}
on_slice! {
    /// [`gelu`] of every element, in place.
    gelu_f32, gelu_slice, gelu
}
on_slice! {
    /// [`gelu_derivative`] of every element, in place.
    gelu_derivative_f32, gelu_derivative_slice, gelu_derivative
}
on_slice! {
    /// [`silu`] of every element, in place.
    silu_f32, silu_slice, silu
}
on_slice! {
    /// [`silu_derivative`] of every element, in place.
    silu_derivative_f32, silu_derivative_slice, silu_derivative
}

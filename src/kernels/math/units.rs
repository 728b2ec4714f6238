//! The less usual activations and their derivatives: the ELU family, softplus with a sharpness, softsign, GELU's tanh form,
//! mish and the piecewise linear imitations.
//!
//! Form and errors as in the module above; parameters are those of [`Activation`](crate::layer::Activation) and in its range.
//! Errors of functions with a parameter are stated for 1, their defaults; `docs/accuracy.md` has others.

use super::{LANES, SIGN, Simd, abs, exp_parts, kernel, log1p_unit, neg, power_of_two, sigmoid_tail, square_rounding};

/// `e^x - 1` for `x` up to 0. Error: 1.0 (1.0) ulp.
///
/// `(2^n - 1) + 2^n m`, where the first term is exact down to 2^-24 and the second is, if `n` is 0, all there is. From -20
/// on the result is -1, so the argument is clamped at -80.
#[inline(always)]
pub fn expm1_neg<S: Simd>(s: S, x: S::F32) -> S::F32 {
    let (m, n) = exp_parts(s, s.max(x, s.splat(-80.0)), None);
    let power = power_of_two(s, n);
    s.mul_add(power, m, s.sub(power, s.splat(1.0)))
}

/// `x` if positive, else `alpha (e^x - 1)`. Error: 1.0 (1.0) ulp.
#[inline(always)]
pub fn elu<S: Simd>(s: S, alpha: S::F32, x: S::F32) -> S::F32 {
    s.select(s.lt(x, s.splat(0.0)), s.mul(alpha, expm1_neg(s, x)), x)
}

/// `x` if positive, else `alpha (e^(x / alpha) - 1)`. Error: 1.0 (1.0) ulp.
#[inline(always)]
pub fn celu<S: Simd>(s: S, alpha: S::F32, x: S::F32) -> S::F32 {
    s.select(s.lt(x, s.splat(0.0)), s.mul(alpha, expm1_neg(s, s.div(x, alpha))), x)
}

/// SELU's factor and its product with SELU's alpha, each in two parts.
const SELU: [f32; 2] = [f32::from_bits(0x3f86_7d5f), f32::from_bits(0xb315_6eed)];
const SELU_ALPHA: [f32; 2] = [f32::from_bits(0x3fe1_0966), f32::from_bits(0x32c8_1e06)];

/// SELU. Error: 1.6 (1.6) ulp.
///
/// Both factors come in two parts: rounded to one they would be wrong by up to half an ulp for every `x`.
#[inline(always)]
pub fn selu<S: Simd>(s: S, x: S::F32) -> S::F32 {
    let zero = s.splat(0.0);
    let negative = s.lt(x, zero);
    let factor = s.select(negative, expm1_neg(s, x), x);
    let high = s.select(negative, s.splat(SELU_ALPHA[0]), s.splat(SELU[0]));
    let low = s.select(negative, s.splat(SELU_ALPHA[1]), s.splat(SELU[1]));
    // Of infinity the low part would make NaN, of a negative zero a positive one.
    let rest = s.mul(factor, low);
    let y = s.mul_add(factor, high, rest);
    let y = s.select(s.lt(abs(s, x), s.splat(f32::INFINITY)), y, s.mul(factor, high));
    s.select(s.eq(x, zero), x, y)
}

/// Derivative of [`selu`] at the output `y`.
#[inline(always)]
pub fn selu_slope<S: Simd>(s: S, y: S::F32) -> S::F32 {
    s.select(s.lt(s.splat(0.0), y), s.splat(SELU[0]), s.add(y, s.splat(SELU_ALPHA[0])))
}

/// `ln(1 + e^(beta x)) / beta`. Error: 1.7 (1.7) ulp.
///
/// `max(x, 0) + ln(1 + e^-|beta x|) / beta`, in which the rounding of the product takes part. Beyond 110 it is left out, as
/// the logarithm is 0.
#[inline(always)]
pub fn softplus_beta<S: Simd>(s: S, beta: S::F32, x: S::F32) -> S::F32 {
    let t = abs(s, x);
    let product = s.mul(beta, t);
    let low = product_rounding(s, beta, t, product);
    let limit = s.splat(110.0);
    let low = s.select(s.lt(product, limit), low, s.splat(0.0));
    let (m, n) = exp_parts(s, neg(s, s.min(product, limit)), Some(neg(s, low)));
    let e = s.scale(s.add(m, s.splat(1.0)), n);
    s.add(s.max(x, s.splat(0.0)), s.div(log1p_unit(s, e), beta))
}

/// Derivative of [`softplus_beta`] at the output `y`: `1 - e^(-beta y)`, to the last digits where it is small, too.
#[inline(always)]
pub fn softplus_slope<S: Simd>(s: S, beta: S::F32, y: S::F32) -> S::F32 {
    neg(s, expm1_neg(s, neg(s, s.mul(beta, y))))
}

/// `x / (1 + |x|)`. Error: 1.0 (1.0) ulp.
///
/// From 2^60 on, far beyond where it is 1, the argument is clamped: infinity would be divided by infinity.
#[inline(always)]
pub fn softsign<S: Simd>(s: S, x: S::F32) -> S::F32 {
    let t = s.min(abs(s, x), s.splat(1_152_921_504_606_846_976.0));
    let y = s.div(t, s.add(t, s.splat(1.0)));
    s.from_bits(s.or(s.to_bits(y), s.and(s.to_bits(x), s.splat_u32(SIGN))))
}

/// `(x + 3) / 6` between 0 and 1. Error: 1.3 (1.3) ulp.
///
/// The sum is exact next to -3, and a factor is as good as the quotient: 1/2 and 1 come out exactly.
#[inline(always)]
pub fn hard_sigmoid<S: Simd>(s: S, x: S::F32) -> S::F32 {
    let three = s.splat(3.0);
    let inner = s.max(s.min(x, three), s.splat(-3.0));
    s.mul(s.add(inner, three), s.splat(1.0 / 6.0))
}

/// `x (x + 3) / 6`, but 0 up to -3 and `x` from 3 on. Error: 1.8 (1.8) ulp.
#[inline(always)]
pub fn hard_swish<S: Simd>(s: S, x: S::F32) -> S::F32 {
    s.mul(s.max(x, s.splat(-3.0)), hard_sigmoid(s, x))
}

/// Derivative of [`hard_swish`], `x / 3 + 1 / 2` between -3 and 3; 0 at -3 and 1 at 3.
#[inline(always)]
pub fn hard_swish_derivative<S: Simd>(s: S, x: S::F32) -> S::F32 {
    let (three, one) = (s.splat(3.0), s.splat(1.0));
    let inner = s.mul_add(x, s.splat(1.0 / 3.0), s.splat(0.5));
    let y = s.select(s.lt(x, three), inner, s.select(s.eq(x, x), one, x));
    s.select(s.lt(s.splat(-3.0), x), y, s.select(s.eq(x, x), s.splat(0.0), x))
}

/// `2 √(2 / π)` and `0.044715` times as much, each in two parts.
const C1: [f32; 2] = [f32::from_bits(0x3fcc_422a), f32::from_bits(0xb342_bc9b)];
const C3: [f32; 2] = [f32::from_bits(0x3d92_2279), f32::from_bits(0x3124_d8b5)];

/// `(high, low)` with `high + low = t (C1 + C3 t²)`, twice the argument of the tanh in GELU's second form, for `t` in [0, 11].
#[inline(always)]
fn gelu_tanh_inner<S: Simd>(s: S, t: S::F32) -> (S::F32, S::F32) {
    let square = s.mul(t, t);
    let square_low = square_rounding(s, t, square);
    let (c1, c1_low, c3, c3_low) = (s.splat(C1[0]), s.splat(C1[1]), s.splat(C3[0]), s.splat(C3[1]));
    let term = s.mul(c3, square);
    let term_low = s.mul_add(c3, square_low, s.mul_add(c3_low, square, product_rounding(s, c3, square, term)));
    // Knuth: the sum's rounding, whichever of the two is larger.
    let sum = s.add(c1, term);
    let part = s.sub(sum, c1);
    let rounding = s.add(s.sub(c1, s.sub(sum, part)), s.sub(term, part));
    let sum_low = s.add(rounding, s.add(term_low, c1_low));
    let high = s.mul(t, sum);
    (high, s.mul_add(t, sum_low, product_rounding(s, t, sum, high)))
}

/// `a b - product`, what the product was rounded by.
#[inline(always)]
fn product_rounding<S: Simd>(s: S, a: S::F32, b: S::F32, product: S::F32) -> S::F32 {
    if S::FUSED {
        s.mul_add(a, b, neg(s, product))
    } else {
        // Dekker, from the exact products of halves.
        let upper = |x| s.from_bits(s.and(s.to_bits(x), s.splat_u32(0xffff_f000)));
        let (a_high, b_high) = (upper(a), upper(b));
        let (a_low, b_low) = (s.sub(a, a_high), s.sub(b, b_high));
        let cross = s.add(s.mul(a_high, b_low), s.mul(a_low, b_high));
        s.add(s.add(s.sub(s.mul(a_high, b_high), product), cross), s.mul(a_low, b_low))
    }
}

/// GELU in its second form, `x / 2 (1 + tanh(√(2 / π) (x + 0.044715 x³)))`. Error: 2.0 (3.0) ulp, down to the subnormals.
///
/// It is `x σ(v)` with `v = x (C1 + C3 x²)`, computed as [`silu`](super::silu) is; `v` keeps twice the digits, as the exponential's error
/// is `v` times that of its argument. Beyond 11 the second term is 0.
#[inline(always)]
pub fn gelu_tanh<S: Simd>(s: S, x: S::F32) -> S::F32 {
    let t = s.min(abs(s, x), s.splat(11.0));
    let (v, low) = gelu_tanh_inner(s, t);
    let (q, n) = sigmoid_tail(s, v, Some(neg(s, low)));
    s.sub(s.max(x, s.splat(0.0)), s.scale(s.mul(t, q), n))
}

/// Derivative of [`gelu_tanh`], `σ(v) (1 + x v' σ(-v))`.
///
/// `a = σ(-v) (1 - t v' σ(v))` is the derivative at `-t`, and `1 - a` the one at `t`.
#[inline(always)]
pub fn gelu_tanh_derivative<S: Simd>(s: S, x: S::F32) -> S::F32 {
    let one = s.splat(1.0);
    let t = s.min(abs(s, x), s.splat(11.0));
    let (v, low) = gelu_tanh_inner(s, t);
    let (q, n) = sigmoid_tail(s, v, Some(neg(s, low)));
    let upper = s.sub(one, s.scale(q, n));
    let slope = s.mul(t, s.mul_add(s.mul(t, t), s.splat(3.0 * C3[0]), s.splat(C1[0])));
    let a = s.scale(s.mul(q, s.mul_add(neg(s, slope), upper, one)), n);
    s.select(s.lt(x, s.splat(0.0)), a, s.sub(one, a))
}

/// What [`mish`] and its derivative share: with `t = |x|` (110 at most), `e = e^-t` and `T = tanh(ln(1 + e^x))`.
struct Mish<S: Simd> {
    t: S::F32,
    negative: S::Mask,
    e: S::F32,
    /// `e = 2^n (1 + m)`
    m: S::F32,
    n: S::U32,
    /// `T / e` for a negative `x`, else `T`, as a quotient.
    upper: S::F32,
    lower: S::F32,
}

#[inline(always)]
fn mish_parts<S: Simd>(s: S, x: S::F32) -> Mish<S> {
    let (one, two) = (s.splat(1.0), s.splat(2.0));
    let t = s.min(abs(s, x), s.splat(110.0));
    let negative = s.lt(x, s.splat(0.0));
    let (m, n) = exp_parts(s, neg(s, t), None);
    let e = s.scale(s.add(m, one), n);
    let plus = s.add(e, two);
    let upper = s.select(negative, plus, s.mul_add(two, e, one));
    let lower = s.select(negative, s.mul_add(e, plus, two), s.mul_add(s.add(e, e), s.add(e, one), one));
    Mish { t, negative, e, m, n, upper, lower }
}

/// `x tanh(ln(1 + e^x))`. Error: 3.0 (4.0) ulp, down to the subnormals.
///
/// With `e = e^-|x|` the hyperbolic tangent is `e (e + 2) / (e (e + 2) + 2)` for a negative `x`, else `(1 + 2 e) / (1 + 2 e + 2 e²)`: all
/// terms are positive. The power of two of the former comes last.
#[inline(always)]
pub fn mish<S: Simd>(s: S, x: S::F32) -> S::F32 {
    let Mish { t, negative, m, n, upper, lower, .. } = mish_parts(s, x);
    let quotient = s.div(upper, lower);
    let tail = s.mul(t, quotient);
    let tail = s.scale(s.mul_add(tail, m, tail), n);
    s.select(negative, s.sub(s.splat(0.0), tail), s.mul(x, quotient))
}

/// Derivative of [`mish`], `T + x σ(x) (1 - T²)` with `T = tanh(ln(1 + e^x))`.
///
/// In `e = e^-|x|`, with `u / l` for the quotient of [`mish`]: `e (u l - 4 t (1 + e)) / l²` for a negative `x`, else `(u l + 4 t e² (1 + e)) / l²`.
#[inline(always)]
pub fn mish_derivative<S: Simd>(s: S, x: S::F32) -> S::F32 {
    let Mish { t, negative, e, m, n, upper, lower } = mish_parts(s, x);
    let four = s.mul(s.mul(s.splat(4.0), t), s.add(e, s.splat(1.0)));
    let second = s.select(negative, neg(s, four), s.mul(four, s.mul(e, e)));
    let a = s.div(s.mul_add(upper, lower, second), s.mul(lower, lower));
    s.select(negative, s.scale(s.mul_add(a, m, a), n), a)
}

/// Declares the entries that apply functions to a slice of any length, in place, for tests; see `on_slice`.
macro_rules! with_parameter {
    ($(#[$meta:meta])* $name:ident, $body:ident, $function:ident) => {
        #[inline(always)]
        fn $body<S: Simd>(s: S, parameter: f32, x: &mut [f32]) {
            let parameter = s.splat(parameter);
            for part in x.chunks_mut(LANES) {
                let mut group = [0.0; LANES];
                group.iter_mut().zip(&*part).for_each(|(lane, x)| *lane = *x);
                s.store($function(s, parameter, s.load(&group)), &mut group);
                part.iter_mut().zip(group).for_each(|(x, lane)| *x = lane);
            }
        }
        kernel! {
            $(#[$meta])*
            pub fn $name(parameter: f32, x: &mut [f32]) = $body
        }
    };
}

with_parameter! {
    /// [`softplus_beta`] of every element, in place.
    softplus_beta_f32, softplus_beta_slice, softplus_beta
}
on_slice! {
    /// [`expm1_neg`] of every element, in place.
    expm1_neg_f32, expm1_neg_slice, expm1_neg
}
on_slice! {
    /// [`gelu_tanh`] of every element, in place.
    gelu_tanh_f32, gelu_tanh_slice, gelu_tanh
}
on_slice! {
    /// [`gelu_tanh_derivative`] of every element, in place.
    gelu_tanh_derivative_f32, gelu_tanh_derivative_slice, gelu_tanh_derivative
}
on_slice! {
    /// [`mish`] of every element, in place.
    mish_f32, mish_slice, mish
}
on_slice! {
    /// [`mish_derivative`] of every element, in place.
    mish_derivative_f32, mish_derivative_slice, mish_derivative
}

//! AVX2 with FMA and F16C: a vector is two registers.

#[cfg(target_arch = "x86")]
use core::arch::x86::*;
#[cfg(target_arch = "x86_64")]
use core::arch::x86_64::*;

use bytemuck::cast;

use super::{Group, LANES, backend::backend};

type F = [__m256; 2];
type U = [__m256i; 2];

backend! {
    /// x86 with AVX2, FMA and F16C (Haswell, Zen and later).
    Avx2, features ["avx2", "fma", "f16c"], detected by std::is_x86_feature_detected;
    types {
        type F32 = [__m256; 2];
        type U32 = [__m256i; 2];
        type Mask = [__m256; 2];
        const FUSED: bool = true;
        const REGISTERS: usize = 8;
        const PIECES: usize = 2;
        backend! { @philox_by_halves }
        backend! { @prefetch }
    }
    own {
        fn mul_even(a: U, b: u32) -> U {
            let b = _mm256_set1_epi64x(i64::from(b));
            [_mm256_mul_epu32(a[0], b), _mm256_mul_epu32(a[1], b)]
        }
        // A shuffle, not a shift: the multiplier and the shifter share their ports.
        fn upper(a: U) -> U { [_mm256_shuffle_epi32::<0xf5>(a[0]), _mm256_shuffle_epi32::<0xf5>(a[1])] }
        fn xor3(a: U, b: U, c: U) -> U {
            [0, 1].map(|i| _mm256_xor_si256(_mm256_xor_si256(a[i], b[i]), c[i]))
        }
        fn interleave(even: U, odd: U) -> U {
            [0, 1].map(|i| _mm256_blend_epi32::<0xaa>(even[i], _mm256_slli_epi64::<32>(odd[i])))
        }
    }
    fn splat(x: f32) -> F { [_mm256_set1_ps(x); 2] }
    fn load(x: &Group) -> F { cast(*x) }
    fn store(v: F, out: &mut Group) { *out = cast(v) }
    fn load_f16(x: &[u16; LANES]) -> F {
        let [low, high]: [__m128i; 2] = cast(*x);
        [_mm256_cvtph_ps(low), _mm256_cvtph_ps(high)]
    }
    fn add(a: F, b: F) -> F { [_mm256_add_ps(a[0], b[0]), _mm256_add_ps(a[1], b[1])] }
    fn sub(a: F, b: F) -> F { [_mm256_sub_ps(a[0], b[0]), _mm256_sub_ps(a[1], b[1])] }
    fn mul(a: F, b: F) -> F { [_mm256_mul_ps(a[0], b[0]), _mm256_mul_ps(a[1], b[1])] }
    fn div(a: F, b: F) -> F { [_mm256_div_ps(a[0], b[0]), _mm256_div_ps(a[1], b[1])] }
    fn sqrt(a: F) -> F { [_mm256_sqrt_ps(a[0]), _mm256_sqrt_ps(a[1])] }
    fn mul_add(a: F, b: F, c: F) -> F { [_mm256_fmadd_ps(a[0], b[0], c[0]), _mm256_fmadd_ps(a[1], b[1], c[1])] }
    // `vmaxps x, y` is `if x > y { x } else { y }`, NaN and equal zeros included; `vminps` likewise.
    fn max(a: F, b: F) -> F { [_mm256_max_ps(b[0], a[0]), _mm256_max_ps(b[1], a[1])] }
    fn min(a: F, b: F) -> F { [_mm256_min_ps(b[0], a[0]), _mm256_min_ps(b[1], a[1])] }
    fn lt(a: F, b: F) -> F { [_mm256_cmp_ps::<_CMP_LT_OQ>(a[0], b[0]), _mm256_cmp_ps::<_CMP_LT_OQ>(a[1], b[1])] }
    fn eq(a: F, b: F) -> F { [_mm256_cmp_ps::<_CMP_EQ_OQ>(a[0], b[0]), _mm256_cmp_ps::<_CMP_EQ_OQ>(a[1], b[1])] }
    fn select(mask: F, a: F, b: F) -> F {
        [_mm256_blendv_ps(b[0], a[0], mask[0]), _mm256_blendv_ps(b[1], a[1], mask[1])]
    }
    fn to_bits(a: F) -> U { [_mm256_castps_si256(a[0]), _mm256_castps_si256(a[1])] }
    fn from_bits(a: U) -> F { [_mm256_castsi256_ps(a[0]), _mm256_castsi256_ps(a[1])] }
    fn splat_u32(x: u32) -> U { [_mm256_set1_epi32(x.cast_signed()); 2] }
    fn load_u32(x: &[u32; LANES]) -> U { cast(*x) }
    fn store_u32(v: U, out: &mut [u32; LANES]) { *out = cast(v) }
    fn add_u32(a: U, b: U) -> U { [_mm256_add_epi32(a[0], b[0]), _mm256_add_epi32(a[1], b[1])] }
    fn sub_u32(a: U, b: U) -> U { [_mm256_sub_epi32(a[0], b[0]), _mm256_sub_epi32(a[1], b[1])] }
    fn and(a: U, b: U) -> U { [_mm256_and_si256(a[0], b[0]), _mm256_and_si256(a[1], b[1])] }
    fn or(a: U, b: U) -> U { [_mm256_or_si256(a[0], b[0]), _mm256_or_si256(a[1], b[1])] }
    fn xor(a: U, b: U) -> U { [_mm256_xor_si256(a[0], b[0]), _mm256_xor_si256(a[1], b[1])] }
    fn shl(a: U, n: u32) -> U {
        let n = _mm_cvtsi32_si128(n.cast_signed());
        [_mm256_sll_epi32(a[0], n), _mm256_sll_epi32(a[1], n)]
    }
    fn shr(a: U, n: u32) -> U {
        let n = _mm_cvtsi32_si128(n.cast_signed());
        [_mm256_srl_epi32(a[0], n), _mm256_srl_epi32(a[1], n)]
    }
    fn sar(a: U, n: u32) -> U {
        let n = _mm_cvtsi32_si128(n.cast_signed());
        [_mm256_sra_epi32(a[0], n), _mm256_sra_epi32(a[1], n)]
    }
    fn lt_u32(a: U, b: U) -> F {
        // The comparison is signed: flipping the top bits maps unsigned order onto signed order.
        let flip = _mm256_set1_epi32(i32::MIN);
        let less = |i: usize| {
            _mm256_cmpgt_epi32(_mm256_xor_si256(b[i], flip), _mm256_xor_si256(a[i], flip))
        };
        [_mm256_castsi256_ps(less(0)), _mm256_castsi256_ps(less(1))]
    }
    fn i32_to_f32(a: U) -> F { [_mm256_cvtepi32_ps(a[0]), _mm256_cvtepi32_ps(a[1])] }
    fn mul_wide(a: U, b: u32) -> (U, U) {
        // The multiplier reads the even lanes; the odd ones are shifted down to be read in a second product.
        let b = _mm256_set1_epi64x(i64::from(b));
        let half = |a: __m256i| {
            let even = _mm256_mul_epu32(a, b);
            let odd = _mm256_mul_epu32(_mm256_srli_epi64::<32>(a), b);
            let high = _mm256_blend_epi32::<0xaa>(_mm256_srli_epi64::<32>(even), odd);
            let low = _mm256_blend_epi32::<0xaa>(even, _mm256_slli_epi64::<32>(odd));
            (high, low)
        };
        let (first, second) = (half(a[0]), half(a[1]));
        ([first.0, second.0], [first.1, second.1])
    }
}

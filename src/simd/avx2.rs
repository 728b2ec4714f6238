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
        // 512 KiB in most of these CPUs.
        const SECOND_CACHE: usize = 3 << 17;
        backend! { @philox_by_halves 0 1 }
        backend! { @prefetch }
        // Four blocks of eight by eight. Each is a function small enough to be inlined.
        #[inline(always)]
        fn transpose(self, rows: [F; LANES]) -> [F; LANES] {
            let mut out = rows;
            for upper in 0..2 {
                for half in 0..2 {
                    let mut eight = [rows[0][0]; 8];
                    for k in 0..8 {
                        eight[k] = rows[8 * upper + k][half];
                    }
                    let turned = self.turn_eight(eight);
                    for k in 0..8 {
                        out[8 * half + k][upper] = turned[k];
                    }
                }
            }
            out
        }
    }
    own {
        fn turn_eight(r: [__m256; 8]) -> [__m256; 8] {
            // Pairs of lanes, pairs of pairs, then halves of the register.
            let mut fours = r;
            for i in [0, 4] {
                let a = _mm256_castps_pd(_mm256_unpacklo_ps(r[i], r[i + 1]));
                let b = _mm256_castps_pd(_mm256_unpackhi_ps(r[i], r[i + 1]));
                let c = _mm256_castps_pd(_mm256_unpacklo_ps(r[i + 2], r[i + 3]));
                let d = _mm256_castps_pd(_mm256_unpackhi_ps(r[i + 2], r[i + 3]));
                fours[i] = _mm256_castpd_ps(_mm256_unpacklo_pd(a, c));
                fours[i + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(a, c));
                fours[i + 2] = _mm256_castpd_ps(_mm256_unpacklo_pd(b, d));
                fours[i + 3] = _mm256_castpd_ps(_mm256_unpackhi_pd(b, d));
            }
            let mut out = fours;
            for k in 0..4 {
                out[k] = _mm256_permute2f128_ps::<0x20>(fours[k], fours[4 + k]);
                out[4 + k] = _mm256_permute2f128_ps::<0x31>(fours[k], fours[4 + k]);
            }
            out
        }
        fn pieces(a: U) -> U { a }
        fn whole(a: U) -> U { a }
        fn splat_piece(x: u32) -> __m256i { _mm256_set1_epi32(x.cast_signed()) }
        fn mul_even(a: __m256i, b: u32) -> __m256i { _mm256_mul_epu32(a, _mm256_set1_epi64x(i64::from(b))) }
        // A shuffle, not a shift: the multiplier and the shifter share their ports.
        fn upper(a: __m256i) -> __m256i { _mm256_shuffle_epi32::<0xf5>(a) }
        fn xor_pieces(a: __m256i, b: __m256i) -> __m256i { _mm256_xor_si256(a, b) }
        // The product comes last: what is there before does not wait for it.
        fn xor3(product: __m256i, b: __m256i, c: __m256i) -> __m256i {
            _mm256_xor_si256(product, _mm256_xor_si256(b, c))
        }
        fn interleave(even: __m256i, odd: __m256i) -> __m256i {
            _mm256_blend_epi32::<0xaa>(even, _mm256_slli_epi64::<32>(odd))
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

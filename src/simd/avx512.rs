//! AVX-512F: a vector is one register.

#[cfg(target_arch = "x86")]
use core::arch::x86::*;
#[cfg(target_arch = "x86_64")]
use core::arch::x86_64::*;

use bytemuck::cast;

use super::{Group, LANES, backend::backend};

backend! {
    /// x86 with AVX-512F (and AVX2, FMA, F16C, which every such CPU has).
    Avx512, features ["avx512f", "avx2", "fma", "f16c"], detected by std::is_x86_feature_detected;
    types {
        type F32 = __m512;
        type U32 = __m512i;
        type Mask = __mmask16;
        const FUSED: bool = true;
        const REGISTERS: usize = 32;
        const PIECES: usize = 1;
        backend! { @philox_by_halves 0 }
        backend! { @prefetch }
    }
    own {
        fn pieces(a: __m512i) -> [__m512i; 1] { [a] }
        fn whole(a: [__m512i; 1]) -> __m512i { a[0] }
        fn splat_piece(x: u32) -> __m512i { _mm512_set1_epi32(x.cast_signed()) }
        fn xor_pieces(a: __m512i, b: __m512i) -> __m512i { _mm512_xor_si512(a, b) }
        fn mul_even(a: __m512i, b: u32) -> __m512i { _mm512_mul_epu32(a, _mm512_set1_epi64(i64::from(b))) }
        // A shuffle, not a shift: the multiplier and the shifter share a port.
        fn upper(a: __m512i) -> __m512i { _mm512_shuffle_epi32::<0xf5>(a) }
        // 0x96 is the truth table of the exclusive or of three.
        fn xor3(a: __m512i, b: __m512i, c: __m512i) -> __m512i { _mm512_ternarylogic_epi32::<0x96>(a, b, c) }
        fn interleave(even: __m512i, odd: __m512i) -> __m512i {
            _mm512_mask_shuffle_epi32::<0xa0>(even, 0xaaaa, odd)
        }
    }
    fn splat(x: f32) -> __m512 { _mm512_set1_ps(x) }
    fn load(x: &Group) -> __m512 { cast(*x) }
    fn store(v: __m512, out: &mut Group) { *out = cast(v) }
    fn load_f16(x: &[u16; LANES]) -> __m512 { _mm512_cvtph_ps(cast(*x)) }
    fn add(a: __m512, b: __m512) -> __m512 { _mm512_add_ps(a, b) }
    fn sub(a: __m512, b: __m512) -> __m512 { _mm512_sub_ps(a, b) }
    fn mul(a: __m512, b: __m512) -> __m512 { _mm512_mul_ps(a, b) }
    fn div(a: __m512, b: __m512) -> __m512 { _mm512_div_ps(a, b) }
    fn sqrt(a: __m512) -> __m512 { _mm512_sqrt_ps(a) }
    fn mul_add(a: __m512, b: __m512, c: __m512) -> __m512 { _mm512_fmadd_ps(a, b, c) }
    // `vmaxps x, y` is `if x > y { x } else { y }`, NaN and equal zeros included; `vminps` likewise.
    fn max(a: __m512, b: __m512) -> __m512 { _mm512_max_ps(b, a) }
    fn min(a: __m512, b: __m512) -> __m512 { _mm512_min_ps(b, a) }
    fn lt(a: __m512, b: __m512) -> __mmask16 { _mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b) }
    fn eq(a: __m512, b: __m512) -> __mmask16 { _mm512_cmp_ps_mask::<_CMP_EQ_OQ>(a, b) }
    fn select(mask: __mmask16, a: __m512, b: __m512) -> __m512 { _mm512_mask_blend_ps(mask, b, a) }
    fn to_bits(a: __m512) -> __m512i { _mm512_castps_si512(a) }
    fn from_bits(a: __m512i) -> __m512 { _mm512_castsi512_ps(a) }
    fn splat_u32(x: u32) -> __m512i { _mm512_set1_epi32(x.cast_signed()) }
    fn load_u32(x: &[u32; LANES]) -> __m512i { cast(*x) }
    fn store_u32(v: __m512i, out: &mut [u32; LANES]) { *out = cast(v) }
    fn add_u32(a: __m512i, b: __m512i) -> __m512i { _mm512_add_epi32(a, b) }
    fn sub_u32(a: __m512i, b: __m512i) -> __m512i { _mm512_sub_epi32(a, b) }
    fn and(a: __m512i, b: __m512i) -> __m512i { _mm512_and_si512(a, b) }
    fn or(a: __m512i, b: __m512i) -> __m512i { _mm512_or_si512(a, b) }
    fn xor(a: __m512i, b: __m512i) -> __m512i { _mm512_xor_si512(a, b) }
    fn shl(a: __m512i, n: u32) -> __m512i { _mm512_sll_epi32(a, _mm_cvtsi32_si128(n.cast_signed())) }
    fn shr(a: __m512i, n: u32) -> __m512i { _mm512_srl_epi32(a, _mm_cvtsi32_si128(n.cast_signed())) }
    fn sar(a: __m512i, n: u32) -> __m512i { _mm512_sra_epi32(a, _mm_cvtsi32_si128(n.cast_signed())) }
    fn lt_u32(a: __m512i, b: __m512i) -> __mmask16 { _mm512_cmplt_epu32_mask(a, b) }
    fn i32_to_f32(a: __m512i) -> __m512 { _mm512_cvtepi32_ps(a) }
    // Three operations where two steps take eight.
    fn scale(x: __m512, n: __m512i) -> __m512 { _mm512_scalef_ps(x, _mm512_cvtepi32_ps(n)) }
    fn mul_wide(a: __m512i, b: u32) -> (__m512i, __m512i) {
        // The multiplier reads the even lanes; the odd ones are shifted down to be read in a second product.
        let b = _mm512_set1_epi64(i64::from(b));
        let even = _mm512_mul_epu32(a, b);
        let odd = _mm512_mul_epu32(_mm512_srli_epi64::<32>(a), b);
        let high = _mm512_mask_blend_epi32(0xaaaa, _mm512_srli_epi64::<32>(even), odd);
        let low = _mm512_mask_blend_epi32(0xaaaa, even, _mm512_slli_epi64::<32>(odd));
        (high, low)
    }
    fn transpose(rows: [__m512; LANES]) -> [__m512; LANES] {
        // Pairs of lanes, then quarters of the register in two steps: 64 shuffles.
        let mut r = rows;
        for i in 0..8 {
            let (a, b) = (r[2 * i], r[2 * i + 1]);
            (r[2 * i], r[2 * i + 1]) = (_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
        }
        for i in 0..4 {
            let [a, b, c, d] = [0, 1, 2, 3].map(|k| _mm512_castps_pd(r[4 * i + k]));
            let pairs = [
                _mm512_unpacklo_pd(a, c), _mm512_unpackhi_pd(a, c), _mm512_unpacklo_pd(b, d), _mm512_unpackhi_pd(b, d),
            ];
            for k in 0..4 {
                r[4 * i + k] = _mm512_castpd_ps(pairs[k]);
            }
        }
        // r[4 i + k] now holds, in quarter q, lane 4 q + k of rows 4 i to 4 i + 3.
        let mut out = r;
        for k in 0..4 {
            let low = _mm512_shuffle_f32x4::<0x88>(r[k], r[4 + k]);
            let high = _mm512_shuffle_f32x4::<0xdd>(r[k], r[4 + k]);
            let low2 = _mm512_shuffle_f32x4::<0x88>(r[8 + k], r[12 + k]);
            let high2 = _mm512_shuffle_f32x4::<0xdd>(r[8 + k], r[12 + k]);
            out[k] = _mm512_shuffle_f32x4::<0x88>(low, low2);
            out[8 + k] = _mm512_shuffle_f32x4::<0xdd>(low, low2);
            out[4 + k] = _mm512_shuffle_f32x4::<0x88>(high, high2);
            out[12 + k] = _mm512_shuffle_f32x4::<0xdd>(high, high2);
        }
        out
    }
}

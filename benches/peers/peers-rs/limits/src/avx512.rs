//! Vectors of 512 bits, 32 registers.
use std::arch::x86_64::{
    __m256i, __m512 as F, __m512i as U, _mm256_loadu_si256, _mm512_add_epi64 as add_u64, _mm512_add_ps as add,
    _mm512_cvtph_ps, _mm512_fmadd_ps as mul_add, _mm512_load_ps as load, _mm512_mul_epu32 as mul_u32,
    _mm512_reduce_add_epi64 as sum_u64, _mm512_reduce_add_ps as sum, _mm512_set1_epi64 as splat_u64,
    _mm512_set1_ps as splat, _mm512_setr_epi64, _mm512_srli_epi64, _mm512_store_ps as store,
    _mm512_stream_ps as stream, _mm512_ternarylogic_epi64, _mm512_xor_si512 as xor,
};

use crate::loops::KEY_STEPS;

/// f32 in a vector, counters of Philox in one; then how many vectors each loop has in flight.
const LANES: usize = 16;
const COUNTERS: usize = 8;
const FMA: usize = 24;
const FMA_L1: usize = 16;
const READ: usize = 16;
const STREAM: usize = 4;
const PHILOX: usize = 4;

crate::loops::loops!("avx512", "avx512f");

#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn widen(x: *const u16) -> F {
    _mm512_cvtph_ps(unsafe { _mm256_loadu_si256(x as *const __m256i) })
}

#[inline]
#[target_feature(enable = "avx512f")]
fn lanes() -> U {
    _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7)
}

/// The upper halves of the products.
#[inline]
#[target_feature(enable = "avx512f")]
fn upper(products: U) -> U {
    _mm512_srli_epi64::<32>(products)
}

/// 0x96 is the truth table of the exclusive or of three.
#[inline]
#[target_feature(enable = "avx512f")]
fn xor3(a: U, b: U, c: U) -> U {
    _mm512_ternarylogic_epi64::<0x96>(a, b, c)
}

/// The keys are scalars, set into vectors round by round.
#[inline]
fn first_keys() -> [u32; 2] {
    [black_box(1), black_box(2)]
}

#[inline]
#[target_feature(enable = "avx512f")]
fn next_keys(keys: &mut [u32; 2], _round: usize) -> [[U; 2]; PHILOX] {
    let now = [splat_u64(keys[0] as i64), splat_u64(keys[1] as i64)];
    *keys = [keys[0].wrapping_add(KEY_STEPS[0]), keys[1].wrapping_add(KEY_STEPS[1])];
    [now; PHILOX]
}

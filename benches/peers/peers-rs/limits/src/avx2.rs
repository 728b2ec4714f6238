//! Vectors of 256 bits, 16 registers: no loop keeps more than 12 sums or words, so that none goes to the stack.
use std::arch::x86_64::{
    __m128i, __m256 as F, __m256i as U, _mm_loadu_si128, _mm256_add_epi64 as add_u64, _mm256_add_ps as add,
    _mm256_cvtph_ps, _mm256_fmadd_ps as mul_add, _mm256_load_ps as load, _mm256_load_si256,
    _mm256_mul_epu32 as mul_u32, _mm256_set1_epi64x as splat_u64, _mm256_set1_ps as splat, _mm256_setr_epi64x,
    _mm256_shuffle_epi32, _mm256_store_ps as store, _mm256_storeu_ps, _mm256_storeu_si256, _mm256_stream_ps as stream,
    _mm256_xor_si256 as xor,
};

use crate::loops::KEY_STEPS;

/// f32 in a vector, counters of Philox in one; then how many vectors each loop has in flight.
const LANES: usize = 8;
const COUNTERS: usize = 4;
const FMA: usize = 12;
const FMA_L1: usize = 12;
const READ: usize = 12;
const STREAM: usize = 2;
const PHILOX: usize = 3;

crate::loops::loops!("avx2", "avx2,fma,f16c");

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn sum(v: F) -> f32 {
    let mut lanes = [0f32; LANES];
    unsafe { _mm256_storeu_ps(lanes.as_mut_ptr(), v) };
    lanes.iter().sum()
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn sum_u64(v: U) -> i64 {
    let mut lanes = [0i64; COUNTERS];
    unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), v) };
    lanes.iter().fold(0, |s, v| s.wrapping_add(*v))
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn widen(x: *const u16) -> F {
    _mm256_cvtph_ps(unsafe { _mm_loadu_si128(x as *const __m128i) })
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn lanes() -> U {
    _mm256_setr_epi64x(0, 1, 2, 3)
}

/// The upper halves of the products: a shuffle, not a shift, since on many CPUs multiplier and shifter share a port.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn upper(products: U) -> U {
    _mm256_shuffle_epi32::<0xf5>(products)
}

/// What is there before the product comes first, and does not wait for it.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn xor3(a: U, b: U, c: U) -> U {
    xor(a, xor(b, c))
}

/// The keys of ten rounds, which are operands in memory: there is no register for them. Each vector in flight has its
/// own copy: a common one the compiler would load into a register, for which a word would have to go to the stack.
#[repr(align(32))]
struct Keys([[[[i64; COUNTERS]; 2]; PHILOX]; 10]);

static KEYS: Keys = {
    let (mut keys, mut round) = ([[[[0; COUNTERS]; 2]; PHILOX]; 10], 0);
    while round < 10 {
        let steps = round as u32;
        let k0 = 1u32.wrapping_add(KEY_STEPS[0].wrapping_mul(steps));
        let k1 = 2u32.wrapping_add(KEY_STEPS[1].wrapping_mul(steps));
        keys[round] = [[[k0 as i64; COUNTERS], [k1 as i64; COUNTERS]]; PHILOX];
        round += 1;
    }
    Keys(keys)
};

#[inline]
fn first_keys() -> &'static Keys {
    black_box(&KEYS)
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn next_keys(keys: &mut &Keys, round: usize) -> [[U; 2]; PHILOX] {
    keys.0[round].map(|pair| pair.map(|key| unsafe { _mm256_load_si256(key.as_ptr().cast()) }))
}

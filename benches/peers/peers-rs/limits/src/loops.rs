//! The loops: as much of one thing at a time as the machine can do.
use std::arch::x86_64::*;
use std::hint::black_box;

/// 24 independent accumulators of 16 lanes.
#[target_feature(enable = "avx512f")]
pub(crate) unsafe fn fma512(iters: usize) -> f32 {
    let mut acc = [_mm512_set1_ps(1.0); 24];
    let a = _mm512_set1_ps(black_box(0.999_999));
    let b = _mm512_set1_ps(black_box(1e-7));
    for _ in 0..iters {
        for v in acc.iter_mut() {
            *v = _mm512_fmadd_ps(*v, a, b);
        }
    }
    let mut s = acc[0];
    for v in &acc[1..] {
        s = _mm512_add_ps(s, *v);
    }
    _mm512_reduce_add_ps(s)
}

/// 12 independent accumulators of 8 lanes.
#[target_feature(enable = "avx2,fma")]
pub(crate) unsafe fn fma256(iters: usize) -> f32 {
    let mut acc = [_mm256_set1_ps(1.0); 12];
    let a = _mm256_set1_ps(black_box(0.999_999));
    let b = _mm256_set1_ps(black_box(1e-7));
    for _ in 0..iters {
        for v in acc.iter_mut() {
            *v = _mm256_fmadd_ps(*v, a, b);
        }
    }
    let mut s = acc[0];
    for v in &acc[1..] {
        s = _mm256_add_ps(s, *v);
    }
    let mut o = [0f32; 8];
    unsafe { _mm256_storeu_ps(o.as_mut_ptr(), s) };
    o.iter().sum()
}

/// A GEMV-like mix: every FMA has one operand from memory that fits in L1.
#[target_feature(enable = "avx512f")]
pub(crate) unsafe fn fma512_l1(x: &[f32], iters: usize) -> f32 {
    let mut acc = [_mm512_setzero_ps(); 16];
    let b = _mm512_set1_ps(black_box(1e-7));
    for _ in 0..iters {
        for c in x.chunks_exact(256) {
            for (j, v) in acc.iter_mut().enumerate() {
                *v = unsafe { _mm512_fmadd_ps(_mm512_loadu_ps(c.as_ptr().add(16 * j)), b, *v) };
            }
        }
    }
    let mut s = acc[0];
    for v in &acc[1..] {
        s = _mm512_add_ps(s, *v);
    }
    _mm512_reduce_add_ps(s)
}

#[target_feature(enable = "avx512f")]
pub(crate) unsafe fn read512(x: &[f32]) -> f32 {
    let mut acc = [_mm512_setzero_ps(); 16];
    for c in x.chunks_exact(256) {
        for (j, v) in acc.iter_mut().enumerate() {
            *v = unsafe { _mm512_add_ps(*v, _mm512_load_ps(c.as_ptr().add(16 * j))) };
        }
    }
    let mut s = acc[0];
    for v in &acc[1..] {
        s = _mm512_add_ps(s, *v);
    }
    _mm512_reduce_add_ps(s)
}

/// Four streams at once: more hardware prefetchers in flight than one stream.
#[target_feature(enable = "avx512f")]
pub(crate) unsafe fn read512_4s(x: &[f32]) -> f32 {
    let mut acc = [_mm512_setzero_ps(); 16];
    let q = x.len() / 4 / 64 * 64;
    let mut i = 0;
    while i < q {
        for s in 0..4 {
            for j in 0..4 {
                let p = unsafe { x.as_ptr().add(s * q + i + 16 * j) };
                acc[s * 4 + j] = unsafe { _mm512_add_ps(acc[s * 4 + j], _mm512_loadu_ps(p)) };
            }
        }
        i += 64;
    }
    let mut s = acc[0];
    for v in &acc[1..] {
        s = _mm512_add_ps(s, *v);
    }
    _mm512_reduce_add_ps(s)
}

#[target_feature(enable = "avx2")]
pub(crate) unsafe fn read256(x: &[f32]) -> f32 {
    let mut acc = [_mm256_setzero_ps(); 12];
    for c in x.chunks_exact(96) {
        for (j, v) in acc.iter_mut().enumerate() {
            *v = unsafe { _mm256_add_ps(*v, _mm256_loadu_ps(c.as_ptr().add(8 * j))) };
        }
    }
    let mut s = acc[0];
    for v in &acc[1..] {
        s = _mm256_add_ps(s, *v);
    }
    let mut o = [0f32; 8];
    unsafe { _mm256_storeu_ps(o.as_mut_ptr(), s) };
    o.iter().sum()
}

#[target_feature(enable = "avx512f")]
pub(crate) unsafe fn write512(x: &mut [f32], v: f32) {
    let v = _mm512_set1_ps(v);
    for c in x.chunks_exact_mut(128) {
        for j in 0..8 {
            unsafe { _mm512_store_ps(c.as_mut_ptr().add(16 * j), v) };
        }
    }
}

#[target_feature(enable = "avx512f")]
pub(crate) unsafe fn write512_nt(x: &mut [f32], v: f32) {
    let v = _mm512_set1_ps(v);
    for c in x.chunks_exact_mut(128) {
        for j in 0..8 {
            unsafe { _mm512_stream_ps(c.as_mut_ptr().add(16 * j), v) };
        }
    }
    _mm_sfence();
}

#[target_feature(enable = "avx512f")]
pub(crate) unsafe fn copy512(x: &[f32], y: &mut [f32]) {
    for (c, d) in x.chunks_exact(128).zip(y.chunks_exact_mut(128)) {
        for j in 0..8 {
            unsafe { _mm512_store_ps(d.as_mut_ptr().add(16 * j), _mm512_load_ps(c.as_ptr().add(16 * j))) };
        }
    }
}

/// f16 -> f32, sum: one load, one convert, one add for 16 values.
#[target_feature(enable = "avx512f")]
pub(crate) unsafe fn cvt512_sum(x: &[u16]) -> f32 {
    let mut acc = [_mm512_setzero_ps(); 8];
    for c in x.chunks_exact(128) {
        for (j, v) in acc.iter_mut().enumerate() {
            let h = unsafe { _mm256_loadu_si256(c.as_ptr().add(16 * j) as *const __m256i) };
            *v = _mm512_add_ps(*v, _mm512_cvtph_ps(h));
        }
    }
    let mut s = acc[0];
    for v in &acc[1..] {
        s = _mm512_add_ps(s, *v);
    }
    _mm512_reduce_add_ps(s)
}

/// f16 -> f32, stored.
#[target_feature(enable = "avx512f")]
pub(crate) unsafe fn cvt512_store(x: &[u16], y: &mut [f32]) {
    for (c, d) in x.chunks_exact(64).zip(y.chunks_exact_mut(64)) {
        for j in 0..4 {
            unsafe {
                let h = _mm256_loadu_si256(c.as_ptr().add(16 * j) as *const __m256i);
                _mm512_storeu_ps(d.as_mut_ptr().add(16 * j), _mm512_cvtph_ps(h));
            }
        }
    }
}

#[target_feature(enable = "avx,f16c")]
pub(crate) unsafe fn cvt256_store(x: &[u16], y: &mut [f32]) {
    for (c, d) in x.chunks_exact(32).zip(y.chunks_exact_mut(32)) {
        for j in 0..4 {
            unsafe {
                let h = _mm_loadu_si128(c.as_ptr().add(8 * j) as *const __m128i);
                _mm256_storeu_ps(d.as_mut_ptr().add(8 * j), _mm256_cvtph_ps(h));
            }
        }
    }
}

/// Philox4x32-10 with 8 counters per vector (one word per 64-bit lane), results XORed instead of stored:
/// 2 multiplies, 2 shifts and 2 three-way logic operations a round, four groups of counters in flight.
#[target_feature(enable = "avx512f")]
pub(crate) unsafe fn philox512(groups: usize) -> u32 {
    let m0 = _mm512_set1_epi64(0xD251_1F53);
    let m1 = _mm512_set1_epi64(0xCD9E_8D57u32 as i64);
    let lane = _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7);
    let mut sum = _mm512_setzero_si512();
    macro_rules! round {
        ($c0:ident, $c1:ident, $c2:ident, $c3:ident, $k0:ident, $k1:ident) => {
            let p0 = _mm512_mul_epu32($c0, m0);
            let p1 = _mm512_mul_epu32($c2, m1);
            $c0 = _mm512_ternarylogic_epi64::<0x96>(_mm512_srli_epi64::<32>(p1), $c1, $k0);
            $c2 = _mm512_ternarylogic_epi64::<0x96>(_mm512_srli_epi64::<32>(p0), $c3, $k1);
            $c1 = p1;
            $c3 = p0;
        };
    }
    let z = _mm512_setzero_si512();
    for i in 0..groups / 4 {
        let base = _mm512_add_epi64(_mm512_set1_epi64((i * 32) as i64), lane);
        let (mut a0, mut a1, mut a2, mut a3) = (base, z, z, z);
        let (mut b0, mut b1, mut b2, mut b3) = (_mm512_add_epi64(base, _mm512_set1_epi64(8)), z, z, z);
        let (mut c0, mut c1, mut c2, mut c3) = (_mm512_add_epi64(base, _mm512_set1_epi64(16)), z, z, z);
        let (mut d0, mut d1, mut d2, mut d3) = (_mm512_add_epi64(base, _mm512_set1_epi64(24)), z, z, z);
        let (mut k0, mut k1) = (black_box(1u32), black_box(2u32));
        for _ in 0..10 {
            let (v0, v1) = (_mm512_set1_epi64(k0 as i64), _mm512_set1_epi64(k1 as i64));
            round!(a0, a1, a2, a3, v0, v1);
            round!(b0, b1, b2, b3, v0, v1);
            round!(c0, c1, c2, c3, v0, v1);
            round!(d0, d1, d2, d3, v0, v1);
            k0 = k0.wrapping_add(0x9E37_79B9);
            k1 = k1.wrapping_add(0xBB67_AE85);
        }
        for v in [a0, a1, a2, a3, b0, b1, b2, b3, c0, c1, c2, c3, d0, d1, d2, d3] {
            sum = _mm512_xor_si512(sum, v);
        }
    }
    _mm512_reduce_add_epi64(sum) as u32
}

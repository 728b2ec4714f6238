//! The loops: as much of one thing at a time as the machine can do.
//!
//! Each is written once; a module for each width names the operations of its vectors and has the loops compiled for
//! them. Buffers are aligned to 64 bytes, and at their end less than a turn of a loop is left alone.

/// Added to the key of Philox between rounds.
pub(crate) const KEY_STEPS: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// What the loops of one width are, and how much one turn of them does.
pub(crate) struct Loops {
    /// As it stands in the ids of the results.
    pub(crate) name: &'static str,
    /// f32 in a vector.
    pub(crate) lanes: usize,
    /// Vectors that a turn of `fma` multiplies and adds.
    pub(crate) fma_vectors: usize,
    pub(crate) fma: unsafe fn(usize) -> f32,
    /// f32 that a turn of `fma_l1` and of `read` takes.
    pub(crate) fma_l1_step: usize,
    pub(crate) fma_l1: unsafe fn(&[f32], usize) -> f32,
    pub(crate) read_step: usize,
    pub(crate) read: unsafe fn(&[f32]) -> f32,
    pub(crate) read_4s: unsafe fn(&[f32]) -> f32,
    pub(crate) write: unsafe fn(&mut [f32], f32),
    pub(crate) write_nt: unsafe fn(&mut [f32], f32),
    pub(crate) copy: unsafe fn(&[f32], &mut [f32]),
    pub(crate) widen_sum: unsafe fn(&[u16]) -> f32,
    pub(crate) widen_store: unsafe fn(&[u16], &mut [f32]),
    /// Random words that a turn of `philox` makes.
    pub(crate) philox_words: usize,
    pub(crate) philox: unsafe fn(usize) -> u32,
}

/// The loops over the vectors `F` and `U` of the module that calls this; `$features` is what their operations need.
macro_rules! loops {
    ($name:literal, $features:literal) => {
        use std::hint::black_box;

        pub(crate) const LOOPS: $crate::loops::Loops = $crate::loops::Loops {
            name: $name,
            lanes: LANES,
            fma_vectors: FMA,
            fma,
            fma_l1_step: FMA_L1 * LANES,
            fma_l1,
            read_step: READ * LANES,
            read,
            read_4s,
            write,
            write_nt,
            copy,
            widen_sum,
            widen_store,
            philox_words: PHILOX * 4 * COUNTERS,
            philox,
        };

        #[inline]
        #[target_feature(enable = $features)]
        fn total(vectors: &[F]) -> f32 {
            let mut s = vectors[0];
            for v in &vectors[1..] {
                s = add(s, *v);
            }
            sum(s)
        }

        #[target_feature(enable = $features)]
        fn fma(turns: usize) -> f32 {
            let mut acc = [splat(1.0); FMA];
            let a = splat(black_box(0.999_999));
            let b = splat(black_box(1e-7));
            for _ in 0..turns {
                for v in acc.iter_mut() {
                    *v = mul_add(*v, a, b);
                }
            }
            total(&acc)
        }

        /// A GEMV-like mix: every FMA has one operand from memory that fits in L1.
        #[target_feature(enable = $features)]
        fn fma_l1(x: &[f32], times: usize) -> f32 {
            let mut acc = [splat(0.0); FMA_L1];
            let b = splat(black_box(1e-7));
            for _ in 0..times {
                for c in x.chunks_exact(FMA_L1 * LANES) {
                    for (j, v) in acc.iter_mut().enumerate() {
                        *v = mul_add(unsafe { load(c.as_ptr().add(LANES * j)) }, b, *v);
                    }
                }
            }
            total(&acc)
        }

        #[target_feature(enable = $features)]
        fn read(x: &[f32]) -> f32 {
            let mut acc = [splat(0.0); READ];
            for c in x.chunks_exact(READ * LANES) {
                for (j, v) in acc.iter_mut().enumerate() {
                    *v = add(*v, unsafe { load(c.as_ptr().add(LANES * j)) });
                }
            }
            total(&acc)
        }

        /// Four streams at once: more hardware prefetchers in flight than one stream.
        #[target_feature(enable = $features)]
        fn read_4s(x: &[f32]) -> f32 {
            let mut acc = [splat(0.0); 4 * STREAM];
            let q = x.len() / 4 / (STREAM * LANES) * (STREAM * LANES);
            let mut i = 0;
            while i < q {
                for s in 0..4 {
                    for j in 0..STREAM {
                        let v = unsafe { load(x.as_ptr().add(s * q + i + LANES * j)) };
                        acc[s * STREAM + j] = add(acc[s * STREAM + j], v);
                    }
                }
                i += STREAM * LANES;
            }
            total(&acc)
        }

        #[target_feature(enable = $features)]
        fn write(x: &mut [f32], v: f32) {
            let v = splat(v);
            for c in x.chunks_exact_mut(8 * LANES) {
                for j in 0..8 {
                    unsafe { store(c.as_mut_ptr().add(LANES * j), v) };
                }
            }
        }

        #[target_feature(enable = $features)]
        fn write_nt(x: &mut [f32], v: f32) {
            let v = splat(v);
            for c in x.chunks_exact_mut(8 * LANES) {
                for j in 0..8 {
                    unsafe { stream(c.as_mut_ptr().add(LANES * j), v) };
                }
            }
            std::arch::x86_64::_mm_sfence();
        }

        /// The compiler sees what this is and calls `memcpy`, which is as fast or faster.
        #[target_feature(enable = $features)]
        fn copy(x: &[f32], y: &mut [f32]) {
            for (c, d) in x.chunks_exact(8 * LANES).zip(y.chunks_exact_mut(8 * LANES)) {
                for j in 0..8 {
                    unsafe { store(d.as_mut_ptr().add(LANES * j), load(c.as_ptr().add(LANES * j))) };
                }
            }
        }

        /// f16 -> f32, sum: one load, one convert, one add for a vector of values.
        #[target_feature(enable = $features)]
        fn widen_sum(x: &[u16]) -> f32 {
            let mut acc = [splat(0.0); 8];
            for c in x.chunks_exact(8 * LANES) {
                for (j, v) in acc.iter_mut().enumerate() {
                    *v = add(*v, unsafe { widen(c.as_ptr().add(LANES * j)) });
                }
            }
            total(&acc)
        }

        /// f16 -> f32, stored.
        #[target_feature(enable = $features)]
        fn widen_store(x: &[u16], y: &mut [f32]) {
            for (c, d) in x.chunks_exact(4 * LANES).zip(y.chunks_exact_mut(4 * LANES)) {
                for j in 0..4 {
                    unsafe { store(d.as_mut_ptr().add(LANES * j), widen(c.as_ptr().add(LANES * j))) };
                }
            }
        }

        /// Philox4x32-10 with a word of a counter in each lane of 64 bits, results XORed instead of stored: 2 multiplies,
        /// 2 moves and 2 exclusive ors of three for each vector of counters and round, several vectors in flight.
        #[target_feature(enable = $features)]
        fn philox(turns: usize) -> u32 {
            let m0 = splat_u64(0xD251_1F53);
            let m1 = splat_u64(0xCD9E_8D57);
            let lane = lanes();
            let zero = splat_u64(0);
            let mut all = zero;
            for i in 0..turns {
                let base = add_u64(splat_u64((i * PHILOX * COUNTERS) as i64), lane);
                let mut counters = [[base, zero, zero, zero]; PHILOX];
                for (g, c) in counters.iter_mut().enumerate() {
                    c[0] = add_u64(base, splat_u64((g * COUNTERS) as i64));
                }
                let mut keys = first_keys();
                for round in 0..10 {
                    for (c, k) in counters.iter_mut().zip(next_keys(&mut keys, round)) {
                        let p0 = mul_u32(c[0], m0);
                        let p1 = mul_u32(c[2], m1);
                        *c = [xor3(upper(p1), c[1], k[0]), p1, xor3(upper(p0), c[3], k[1]), p0];
                    }
                }
                for c in counters.as_flattened() {
                    all = xor(all, *c);
                }
            }
            sum_u64(all) as u32
        }
    };
}
pub(crate) use loops;

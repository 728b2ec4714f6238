//! Turns a list of CPU features and one-line safe bodies into a [`Simd`](super::Simd) level.
//!
//! This is the only place of the crate with `unsafe` (besides `fpu/`, which calls assembly, and `ffi.rs`, which C calls). The
//! feature list is written once per level and expands into three things that therefore cannot disagree: the run-time
//! detection, the compile-time check, and the `target_feature` attribute of every operation and of the entry.

/// Declares a level. `features` is the list; each `fn` body may use the intrinsics of those features without `unsafe`.
/// `types` holds what is written in the trait's own operations, `own` operations that only this level has.
macro_rules! backend {
    (
        $(#[$meta:meta])*
        $token:ident, features $features:tt, detected by $detect:path;
        types { $($types:tt)* }
        $(own { $(fn $own:ident $own_args:tt -> $own_ret:ty $own_body:block)* })?
        $(fn $name:ident $args:tt $(-> $ret:ty)? $body:block)*
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug)]
        pub(crate) struct $token(());

        backend! { @token $token $features $detect }

        $(impl $token {
            $(backend! { @operation $features fn $own $own_args -> $own_ret $own_body })*
        })?

        impl $crate::simd::Simd for $token {
            $($types)*
            backend! { @apart $token $features }
            $(backend! { @operation $features fn $name $args $(-> $ret)? $body })*
        }
    };
    (@token $token:ident [$($feature:tt),+] $detect:path) => {
        impl $token {
            /// The token, if this CPU has every feature of the list.
            pub(crate) fn detect() -> Option<Self> {
                #[cfg(feature = "std")]
                let present = {
                    use $detect as detected;
                    $(detected!($feature))&&+
                };
                #[cfg(not(feature = "std"))]
                let present = cfg!(all($(target_feature = $feature),+));
                present.then_some(Self(()))
            }

            /// Runs `kernel` with the features switched on: everything inlined below uses them.
            #[inline]
            #[allow(unsafe_code)]
            pub(crate) fn enter<K: $crate::simd::Kernel>(self, kernel: K) -> K::Output {
                $(#[target_feature(enable = $feature)])+
                fn with_features<K: $crate::simd::Kernel>(token: $token, kernel: K) -> K::Output {
                    kernel.run(token)
                }
                // SAFETY: `with_features` requires the CPU features of the list. `self` exists only through
                // `detect`, which found all of them, and features do not go away while a program runs.
                unsafe { with_features(self, kernel) }
            }
        }
    };
    (@apart $token:ident [$($feature:tt),+]) => {
        #[inline(always)]
        #[allow(unsafe_code)]
        fn apart<K: $crate::simd::Kernel>(self, kernel: K) -> K::Output {
            $(#[target_feature(enable = $feature)])+
            fn with_features<K: $crate::simd::Kernel>(token: $token, kernel: K) -> K::Output {
                kernel.run(token)
            }
            let function: unsafe fn($token, K) -> K::Output = with_features;
            // `#[inline(never)]` is not heard where caller and callee have the same features (rustc 1.95).
            // SAFETY: as in `enter`.
            unsafe { core::hint::black_box(function)(self, kernel) }
        }
    };
    // For x86.
    (@prefetch) => {
        const PREFETCHES: bool = true;
        #[inline(always)]
        #[allow(unsafe_code)]
        fn prefetch(self, place: *const u8) {
            // SAFETY: the instruction needs SSE, which every CPU of these levels has, and neither reads nor faults: it is
            // a hint, whatever the address.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(place.cast()) }
        }
        #[inline(always)]
        #[allow(unsafe_code)]
        fn prefetch_far(self, place: *const u8) {
            // SAFETY: as above.
            unsafe { _mm_prefetch::<_MM_HINT_T1>(place.cast()) }
        }
    };
    // For levels whose multiplier reads every other lane, with the numbers of a vector's registers; wants of its own `pieces` and
    // `whole`, and for one register `splat_piece`, `mul_even`, `upper`, `xor_pieces`, `xor3` and `interleave`.
    (@philox_by_halves $($piece:literal)*) => {
        #[inline(always)]
        fn philox<const N: usize>(self, lanes: [Self::U32; N], rest: [u32; 3], key: [u32; 2]) -> [[Self::U32; 4]; N] {
            let [o0, o1, o2, o3] = $crate::rng::opening(rest, key);
            let opening = [self.splat_piece(o0), self.splat_piece(o1), self.splat_piece(o2), self.splat_piece(o3)];
            let mut words = [[self.pieces(self.splat_u32(0)); 4]; N];
            // One register of each vector at a time: more would not fit the register file.
            $({
                // The multiplier reads the even lanes. The odd ones are worked on apart, moved down, and what stands above a
                // value is ignored until both halves are put together.
                let mut halves = [[[opening[3]; 4]; 2]; N];
                for (halves, even) in halves.iter_mut().zip(lanes) {
                    let even = self.pieces(even)[$piece];
                    for (c, lanes) in halves.iter_mut().zip([even, self.upper(even)]) {
                        let p0 = self.mul_even(lanes, $crate::rng::MULTIPLIERS[0]);
                        let p1 = self.mul_even(self.xor_pieces(self.upper(p0), opening[0]), $crate::rng::MULTIPLIERS[1]);
                        *c = [
                            self.xor_pieces(self.upper(p1), opening[1]), p1, self.xor_pieces(p0, opening[2]), opening[3],
                        ];
                    }
                }
                $crate::rng::later_rounds!(round, {
                    let [k0, k1] = $crate::rng::round_key(key, round);
                    let (k0, k1) = (self.splat_piece(k0), self.splat_piece(k1));
                    for c in halves.as_flattened_mut() {
                        let p0 = self.mul_even(c[0], $crate::rng::MULTIPLIERS[0]);
                        let p1 = self.mul_even(c[2], $crate::rng::MULTIPLIERS[1]);
                        *c = [self.xor3(self.upper(p1), c[1], k0), p1, self.xor3(self.upper(p0), c[3], k1), p0];
                    }
                });
                for n in 0..N {
                    for w in 0..4 {
                        words[n][w][$piece] = self.interleave(halves[n][0][w], halves[n][1][w]);
                    }
                }
            })*
            let mut all = [[self.splat_u32(0); 4]; N];
            for n in 0..N {
                for w in 0..4 {
                    all[n][w] = self.whole(words[n][w]);
                }
            }
            all
        }
    };
    (@operation [$($feature:tt),+] fn $name:ident($($arg:ident: $ty:ty),*) $(-> $ret:ty)? $body:block) => {
        #[inline(always)]
        #[allow(unsafe_code)]
        fn $name(self, $($arg: $ty),*) $(-> $ret)? {
            $(#[target_feature(enable = $feature)])+
            #[inline]
            fn operation($($arg: $ty),*) $(-> $ret)? $body
            // SAFETY: `operation` requires the CPU features of the list and nothing else (its body is safe code).
            // `self` is the proof that the CPU has them: only `detect` makes it.
            unsafe { operation($($arg),*) }
        }
    };
}
pub(crate) use backend;

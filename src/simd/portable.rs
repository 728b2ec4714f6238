//! The level for every other machine (wasm, RISC-V, 32-bit Arm, x86 without AVX2): `wide` picks what the build allows.

use bytemuck::cast;
use wide::{f32x8, i32x8, u32x8};

use super::level::{Isa, Level};
use super::{Group, Kernel, LANES, Simd};

impl Level {
    /// The level that works on every machine, on vectors of the `wide` crate. Firmware for an FPU that fuses has it with
    /// the feature `levels` only.
    pub const PORTABLE: Level = Level(Isa::Portable(Portable));
    /// What [`Level::detect`] finds if it finds nothing better.
    pub(super) const LEAST: Level = Level::PORTABLE;
}

/// Works everywhere; needs no proof.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Portable;

impl Portable {
    /// Always there.
    pub(crate) fn detect() -> Option<Self> {
        Some(Self)
    }

    #[inline]
    pub(crate) fn enter<K: Kernel>(self, kernel: K) -> K::Output {
        kernel.run(self)
    }
}

type F = [f32x8; 2];
type U = [u32x8; 2];

#[inline(always)]
fn each(f: impl Fn(usize) -> f32x8) -> F {
    [f(0), f(1)]
}

#[inline(always)]
fn each_u32(f: impl Fn(usize) -> u32x8) -> U {
    [f(0), f(1)]
}

impl Simd for Portable {
    type F32 = F;
    type U32 = U;
    type Mask = F;
    // `wide` fuses exactly where the build enables the instruction; a test compares this with what it does.
    const FUSED: bool = cfg!(any(
        all(any(target_arch = "x86", target_arch = "x86_64"), target_feature = "fma"),
        all(target_arch = "aarch64", target_feature = "neon"),
    ));
    const REGISTERS: usize = 4;
    const PIECES: usize = 4;

    #[inline(always)]
    fn splat(self, x: f32) -> F {
        [f32x8::splat(x); 2]
    }
    #[inline(always)]
    fn load(self, x: &Group) -> F {
        cast(*x)
    }
    #[inline(always)]
    fn store(self, v: F, out: &mut Group) {
        *out = cast(v);
    }
    #[inline(always)]
    fn add(self, a: F, b: F) -> F {
        each(|i| a[i] + b[i])
    }
    #[inline(always)]
    fn sub(self, a: F, b: F) -> F {
        each(|i| a[i] - b[i])
    }
    #[inline(always)]
    fn mul(self, a: F, b: F) -> F {
        each(|i| a[i] * b[i])
    }
    #[inline(always)]
    fn div(self, a: F, b: F) -> F {
        each(|i| a[i] / b[i])
    }
    #[inline(always)]
    fn sqrt(self, a: F) -> F {
        each(|i| a[i].sqrt())
    }
    #[inline(always)]
    fn mul_add(self, a: F, b: F, c: F) -> F {
        each(|i| a[i].mul_add(b[i], c[i]))
    }
    // `wide`'s own `max` and `min` treat NaN and signed zeros as each instruction set does; ours are defined.
    #[inline(always)]
    fn max(self, a: F, b: F) -> F {
        self.select(self.lt(a, b), b, a)
    }
    #[inline(always)]
    fn min(self, a: F, b: F) -> F {
        self.select(self.lt(b, a), b, a)
    }
    #[inline(always)]
    fn lt(self, a: F, b: F) -> F {
        each(|i| a[i].simd_lt(b[i]))
    }
    #[inline(always)]
    fn eq(self, a: F, b: F) -> F {
        each(|i| a[i].simd_eq(b[i]))
    }
    #[inline(always)]
    fn select(self, mask: F, a: F, b: F) -> F {
        // Bit by bit on integers: a float blend may quieten a NaN on the way.
        let (mask, a, b): (U, U, U) = (cast(mask), cast(a), cast(b));
        cast(each_u32(|i| (a[i] & mask[i]) | (b[i] & !mask[i])))
    }
    #[inline(always)]
    fn to_bits(self, a: F) -> U {
        cast(a)
    }
    #[inline(always)]
    fn from_bits(self, a: U) -> F {
        cast(a)
    }
    #[inline(always)]
    fn splat_u32(self, x: u32) -> U {
        [u32x8::splat(x); 2]
    }
    #[inline(always)]
    fn load_u32(self, x: &[u32; LANES]) -> U {
        cast(*x)
    }
    #[inline(always)]
    fn store_u32(self, v: U, out: &mut [u32; LANES]) {
        *out = cast(v);
    }
    #[inline(always)]
    fn add_u32(self, a: U, b: U) -> U {
        each_u32(|i| a[i] + b[i])
    }
    #[inline(always)]
    fn sub_u32(self, a: U, b: U) -> U {
        each_u32(|i| a[i] - b[i])
    }
    #[inline(always)]
    fn and(self, a: U, b: U) -> U {
        each_u32(|i| a[i] & b[i])
    }
    #[inline(always)]
    fn or(self, a: U, b: U) -> U {
        each_u32(|i| a[i] | b[i])
    }
    #[inline(always)]
    fn xor(self, a: U, b: U) -> U {
        each_u32(|i| a[i] ^ b[i])
    }
    #[inline(always)]
    fn shl(self, a: U, n: u32) -> U {
        each_u32(|i| a[i] << n)
    }
    #[inline(always)]
    fn shr(self, a: U, n: u32) -> U {
        each_u32(|i| a[i] >> n)
    }
    #[inline(always)]
    fn sar(self, a: U, n: u32) -> U {
        each_u32(|i| cast(cast::<u32x8, i32x8>(a[i]) >> n))
    }
    #[inline(always)]
    fn lt_u32(self, a: U, b: U) -> F {
        // Signed comparison after flipping the top bits, which maps unsigned order onto signed order.
        let signed = |x: u32x8| -> i32x8 { cast(x ^ u32x8::splat(1 << 31)) };
        each(|i| cast(signed(a[i]).simd_lt(signed(b[i]))))
    }
    #[inline(always)]
    fn i32_to_f32(self, a: U) -> F {
        each(|i| f32x8::from_i32x8(cast(a[i])))
    }
    #[inline(always)]
    fn mul_wide(self, a: U, b: u32) -> (U, U) {
        let b = u32x8::splat(b);
        let (low0, high0) = a[0].mul_keep_low_high(b);
        let (low1, high1) = a[1].mul_keep_low_high(b);
        ([high0, high1], [low0, low1])
    }
}

//! The level of small cores with a scalar FPU that fuses: Cortex-M4F, M7, M33, M55 and RISC-V with the F extension.
//!
//! A vector is sixteen values in memory and an operation is a loop of scalar instructions. What makes it a level of
//! its own is that a multiply-add rounds once, so such a core gives the bits of a server. Without `std`, stable Rust
//! offers no `mul_add` and no `sqrt`, hence assembly for those and for the inner loops of a dense layer, where the
//! sums must stay in registers. Each architecture has a `machine` module with the same safe functions.
//!
//! Rust never contracts `a * b + c`, so the plain loops round after each operation, as the trait demands. The FPU must
//! be as reset and start-up code (`cortex-m-rt`, `riscv-rt`) leave it: switched on, rounding to nearest, subnormals
//! kept, IEEE half precision.
//!
//! On a core with Helium, the vector unit of Cortex-M55 and M85, the compiler may turn the plain loops into
//! instructions that flush subnormals whatever the FPU's mode, and then the bits differ. The target as it is does not
//! use Helium; a build with `-C target-cpu=cortex-m55` needs `-C target-feature=-mve.fp` beside it (integers stay
//! vectorised). Stable Rust lets us neither see the feature nor switch it off from here.
//!
//! Must not depend on anything but `core`.

#[cfg(target_arch = "arm")]
#[path = "fpu/arm.rs"]
mod machine;
#[cfg(not(target_arch = "arm"))]
#[path = "fpu/riscv.rs"]
mod machine;

use core::array::from_fn;

#[cfg(not(feature = "levels"))]
use super::level::{Isa, Level};
use super::{Group, Kernel, LANES, Simd};

#[cfg(not(feature = "levels"))]
impl Level {
    /// What [`Level::detect`] finds.
    pub(super) const LEAST: Level = Level(Isa::Fpu(Fpu(())));
}

/// A function of two vectors, lane by lane. A plain loop: built for size, it stays one.
#[inline(always)]
fn zip<T: Copy>(mut a: [T; LANES], b: [T; LANES], f: impl Fn(T, T) -> T) -> [T; LANES] {
    for (a, b) in a.iter_mut().zip(&b) {
        *a = f(*a, *b);
    }
    a
}

/// A core whose FPU has a fused multiply-add, which the build's target guarantees.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fpu(());

impl Fpu {
    /// The module is only compiled for targets with the FPU: there is nothing to ask.
    pub(crate) fn detect() -> Option<Self> {
        Some(Self(()))
    }

    #[inline]
    pub(crate) fn enter<K: Kernel>(self, kernel: K) -> K::Output {
        kernel.run(self)
    }
}

type F = Group;
type U = [u32; LANES];
type Mask = [bool; LANES];

impl Simd for Fpu {
    type F32 = F;
    type U32 = U;
    type Mask = Mask;
    const FUSED: bool = true;
    // One vector of sums and the operands that pass by: a tile of several vectors would live on the stack.
    const REGISTERS: usize = 1;
    const PIECES: usize = 16;

    #[inline(always)]
    fn splat(self, x: f32) -> F {
        [x; LANES]
    }
    #[inline(always)]
    fn load(self, x: &Group) -> F {
        *x
    }
    #[inline(always)]
    fn store(self, v: F, out: &mut Group) {
        *out = v;
    }
    #[inline(always)]
    fn load_f16(self, x: &[u16; LANES]) -> F {
        machine::load_f16(x)
    }
    #[inline(always)]
    fn add(self, a: F, b: F) -> F {
        zip(a, b, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, a: F, b: F) -> F {
        zip(a, b, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, a: F, b: F) -> F {
        zip(a, b, |a, b| a * b)
    }
    #[inline(always)]
    fn div(self, a: F, b: F) -> F {
        zip(a, b, |a, b| a / b)
    }
    #[inline(always)]
    fn sqrt(self, a: F) -> F {
        machine::sqrt(&a)
    }
    #[inline(always)]
    fn mul_add(self, a: F, b: F, c: F) -> F {
        machine::mul_add(&a, &b, c)
    }
    #[inline(always)]
    fn max(self, a: F, b: F) -> F {
        zip(a, b, |a, b| if a < b { b } else { a })
    }
    #[inline(always)]
    fn min(self, a: F, b: F) -> F {
        zip(a, b, |a, b| if b < a { b } else { a })
    }
    #[inline(always)]
    fn lt(self, a: F, b: F) -> Mask {
        from_fn(|i| a[i] < b[i])
    }
    #[inline(always)]
    fn eq(self, a: F, b: F) -> Mask {
        from_fn(|i| a[i] == b[i])
    }
    #[inline(always)]
    fn select(self, mask: Mask, a: F, b: F) -> F {
        {
            let mut out = b;
            for ((out, a), mask) in out.iter_mut().zip(&a).zip(&mask) {
                if *mask {
                    *out = *a;
                }
            }
            out
        }
    }
    #[inline(always)]
    fn to_bits(self, a: F) -> U {
        a.map(f32::to_bits)
    }
    #[inline(always)]
    fn from_bits(self, a: U) -> F {
        a.map(f32::from_bits)
    }
    #[inline(always)]
    fn splat_u32(self, x: u32) -> U {
        [x; LANES]
    }
    #[inline(always)]
    fn load_u32(self, x: &[u32; LANES]) -> U {
        *x
    }
    #[inline(always)]
    fn store_u32(self, v: U, out: &mut [u32; LANES]) {
        *out = v;
    }
    #[inline(always)]
    fn add_u32(self, a: U, b: U) -> U {
        zip(a, b, u32::wrapping_add)
    }
    #[inline(always)]
    fn sub_u32(self, a: U, b: U) -> U {
        zip(a, b, u32::wrapping_sub)
    }
    #[inline(always)]
    fn and(self, a: U, b: U) -> U {
        zip(a, b, |a, b| a & b)
    }
    #[inline(always)]
    fn or(self, a: U, b: U) -> U {
        zip(a, b, |a, b| a | b)
    }
    #[inline(always)]
    fn xor(self, a: U, b: U) -> U {
        zip(a, b, |a, b| a ^ b)
    }
    // The wrapping shifts differ from `<<` and `>>` only for counts the trait excludes, and cannot panic.
    #[inline(always)]
    fn shl(self, a: U, n: u32) -> U {
        a.map(|a| a.wrapping_shl(n))
    }
    #[inline(always)]
    fn shr(self, a: U, n: u32) -> U {
        a.map(|a| a.wrapping_shr(n))
    }
    #[inline(always)]
    fn sar(self, a: U, n: u32) -> U {
        a.map(|a| a.cast_signed().wrapping_shr(n).cast_unsigned())
    }
    #[inline(always)]
    fn lt_u32(self, a: U, b: U) -> Mask {
        from_fn(|i| a[i] < b[i])
    }
    #[inline(always)]
    fn i32_to_f32(self, a: U) -> F {
        a.map(|a| a.cast_signed() as f32)
    }
    #[inline(always)]
    fn mul_wide(self, a: U, b: u32) -> (U, U) {
        let product = |a: u32| u64::from(a) * u64::from(b);
        (a.map(|a| (product(a) >> 32) as u32), a.map(|a| product(a) as u32))
    }
    #[inline(always)]
    fn dot_panel(self, x: &[f32], w: &[Group], mut acc: F) -> F {
        machine::dot_lanes(LANES, x, w.as_flattened(), &mut acc);
        acc
    }
    #[inline(always)]
    fn dot_panel_f16(self, x: &[f32], w: &[[u16; LANES]], mut acc: F) -> F {
        machine::dot_lanes_f16(LANES, x, w.as_flattened(), &mut acc);
        acc
    }
    #[inline(always)]
    fn dot_lanes(self, width: usize, x: &[f32], w: &[f32], sums: &mut Group) {
        machine::dot_lanes(width, x, w, sums);
    }
    #[inline(always)]
    fn dot_lanes_f16(self, width: usize, x: &[f32], w: &[u16], sums: &mut Group) {
        machine::dot_lanes_f16(width, x, w, sums);
    }
}

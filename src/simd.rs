//! The vector layer: one small trait, sixteen lanes wide on every machine.
//!
//! A vector here is always sixteen `f32`: one AVX-512 register, two of AVX2, four of NEON, sixteen of a
//! microcontroller's FPU. The width is part of the numeric contract (`DESIGN.md`): panels, reductions across a row
//! and the random stream all count in sixteens, so a kernel written once over [`Simd`] has one meaning, and a level
//! only decides how many instructions each operation takes.
//!
//! Every operation is one IEEE 754 operation per lane, rounded to nearest even, subnormals kept. Where instruction
//! sets disagree (`max` of NaN or of two zeros), the trait says what the result is and each level obeys. The one
//! freedom is the payload and sign of a NaN.
//!
//! Must not depend on anything but `core`, `bytemuck` and, for the portable level, `wide` and `half`.

#[cfg(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64"))]
mod backend;
pub mod level;

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
mod avx2;
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
mod avx512;
// `eabihf` without 64-bit atomics means an Armv7E-M or Armv8-M core, whose FPU fuses: the A and R profiles, some of
// whose FPUs do not, all have 64-bit exclusives. (`target_feature = "vfp4"` cannot be asked on stable Rust, nor can
// RISC-V's "f" yet: see `.cargo/config.toml`.)
#[cfg(any(
    all(target_arch = "arm", target_abi = "eabihf", not(target_has_atomic = "64")),
    all(any(target_arch = "riscv32", target_arch = "riscv64"), target_feature = "f"),
))]
mod fpu;
#[cfg(target_arch = "aarch64")]
mod neon;
// Firmware for such an FPU runs on it and nothing else: without `levels`, the other level is not even linked.
#[cfg(any(
    feature = "levels",
    not(any(
        all(target_arch = "arm", target_abi = "eabihf", not(target_has_atomic = "64")),
        all(any(target_arch = "riscv32", target_arch = "riscv64"), target_feature = "f"),
    ))
))]
mod portable;

use crate::rng;
pub use level::{Kernel, Level};

/// Lanes of a vector, outputs of a weight panel, and the unit of padding: sixteen, on every level.
pub const LANES: usize = 16;

/// Sixteen consecutive values in memory: what a vector is loaded from and stored to.
pub type Group = [f32; LANES];

/// Sixteen-lane arithmetic of one instruction set.
///
/// An implementing value is a token: it exists only if the CPU has the instructions, so the operations are safe.
/// Kernels take the token as their first argument and are `#[inline(always)]` below [`Level::run`].
pub trait Simd: Copy + Send + Sync + 'static {
    /// Sixteen `f32`.
    type F32: Copy;
    /// Sixteen `u32`.
    type U32: Copy;
    /// Sixteen truth values.
    type Mask: Copy;

    /// Whether [`mul_add`](Simd::mul_add) rounds once: true on an *exact level*.
    const FUSED: bool;
    /// How many vectors of sixteen the register file holds: kernels choose their tile by it.
    const REGISTERS: usize;
    /// How many registers one vector takes: a sum over vectors is so many chains by itself.
    const PIECES: usize;
    /// Bytes that leave room for others in the second cache of most machines with this level. A guess: it decides the order
    /// of visits, never a result.
    const SECOND_CACHE: usize = crate::kernels::SECOND_CACHE;
    /// Whether [`prefetch`](Simd::prefetch) does anything.
    const PREFETCHES: bool = false;

    /// All lanes `x`.
    fn splat(self, x: f32) -> Self::F32;
    /// The sixteen values of `x`.
    fn load(self, x: &Group) -> Self::F32;
    /// Writes the sixteen lanes to `out`.
    fn store(self, v: Self::F32, out: &mut Group);
    /// Widens sixteen IEEE half-precision values, given by their bits. Exact; NaN stays NaN.
    ///
    /// The default is branch-free integer work for levels without a conversion instruction: exponent and fraction
    /// move to their places in an `f32`, a multiplication by 2^112 mends the bias (and normalises subnormals),
    /// and infinity and NaN get the full exponent.
    #[inline(always)]
    fn load_f16(self, x: &[u16; LANES]) -> Self::F32 {
        let bits = self.load_u32(&x.map(u32::from));
        let magnitude = self.and(bits, self.splat_u32(0x7fff));
        let sign = self.shl(self.and(bits, self.splat_u32(0x8000)), 16);
        let moved = self.from_bits(self.shl(magnitude, 13));
        let finite = self.mul(moved, self.splat(f32::from_bits((127 + 112) << 23)));
        let special = self.from_bits(self.or(self.to_bits(moved), self.splat_u32(0xff << 23)));
        let is_finite = self.lt_u32(magnitude, self.splat_u32(0x7c00));
        let value = self.select(is_finite, finite, special);
        self.from_bits(self.or(self.to_bits(value), sign))
    }

    /// `a + b`
    fn add(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `a - b`
    fn sub(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `a * b`
    fn mul(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `a / b`
    fn div(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// Square root, correctly rounded.
    fn sqrt(self, a: Self::F32) -> Self::F32;
    /// `a * b + c`, rounded once if [`FUSED`](Simd::FUSED), twice otherwise.
    fn mul_add(self, a: Self::F32, b: Self::F32, c: Self::F32) -> Self::F32;
    /// `if a < b { b } else { a }`: `a` if either is NaN or both are zero.
    fn max(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `if b < a { b } else { a }`: `a` if either is NaN or both are zero.
    fn min(self, a: Self::F32, b: Self::F32) -> Self::F32;

    /// `a < b`; false if either is NaN.
    fn lt(self, a: Self::F32, b: Self::F32) -> Self::Mask;
    /// `a == b`; false if either is NaN.
    fn eq(self, a: Self::F32, b: Self::F32) -> Self::Mask;
    /// `if mask { a } else { b }`, lane by lane.
    fn select(self, mask: Self::Mask, a: Self::F32, b: Self::F32) -> Self::F32;

    /// The bits of each lane.
    fn to_bits(self, a: Self::F32) -> Self::U32;
    /// Lanes from their bits.
    #[allow(clippy::wrong_self_convention)] // the token is no source of the bits
    fn from_bits(self, a: Self::U32) -> Self::F32;
    /// All lanes `x`.
    fn splat_u32(self, x: u32) -> Self::U32;
    /// The sixteen values of `x`.
    fn load_u32(self, x: &[u32; LANES]) -> Self::U32;
    /// Writes the sixteen lanes to `out`.
    fn store_u32(self, v: Self::U32, out: &mut [u32; LANES]);
    /// `a + b`, wrapping.
    fn add_u32(self, a: Self::U32, b: Self::U32) -> Self::U32;
    /// `a - b`, wrapping.
    fn sub_u32(self, a: Self::U32, b: Self::U32) -> Self::U32;
    /// `a & b`
    fn and(self, a: Self::U32, b: Self::U32) -> Self::U32;
    /// `a | b`
    fn or(self, a: Self::U32, b: Self::U32) -> Self::U32;
    /// `a ^ b`
    fn xor(self, a: Self::U32, b: Self::U32) -> Self::U32;
    /// `a << n`, for `n` below 32.
    fn shl(self, a: Self::U32, n: u32) -> Self::U32;
    /// `a >> n`, filled with zeros, for `n` below 32.
    fn shr(self, a: Self::U32, n: u32) -> Self::U32;
    /// `a >> n`, filled with the sign, for `n` below 32.
    fn sar(self, a: Self::U32, n: u32) -> Self::U32;
    /// `a < b`, unsigned.
    fn lt_u32(self, a: Self::U32, b: Self::U32) -> Self::Mask;
    /// Each lane, read as `i32`, converted to `f32`.
    fn i32_to_f32(self, a: Self::U32) -> Self::F32;
    /// `x * 2^n` for `n`, read as `i32`, in -252..=254; rounded once, to a subnormal or to infinity, if `x * 2^(n / 2)` is normal
    /// or `n` is 0.
    ///
    /// The default takes two steps, of which only the second can round.
    #[inline(always)]
    fn scale(self, x: Self::F32, n: Self::U32) -> Self::F32 {
        let power = |n| self.from_bits(self.shl(self.add_u32(n, self.splat_u32(127)), 23));
        let half = self.sar(n, 1);
        self.mul(self.mul(x, power(half)), power(self.sub_u32(n, half)))
    }
    /// The upper and the lower half of the 64-bit products `a * b`.
    fn mul_wide(self, a: Self::U32, b: u32) -> (Self::U32, Self::U32);

    /// Ten rounds of Philox4x32 on `N` times sixteen counters, whose lowest words are `lanes` and the others, alike in all,
    /// `rest`; see [`rng`].
    ///
    /// A level whose multiplier reads every other lane overrides it, to keep the two halves apart between rounds.
    #[inline(always)]
    fn philox<const N: usize>(self, lanes: [Self::U32; N], rest: [u32; 3], key: [u32; 2]) -> [[Self::U32; 4]; N] {
        let opening = rng::opening(rest, key).map(|word| self.splat_u32(word));
        let mut words = [[opening[3]; 4]; N];
        for (c, lanes) in words.iter_mut().zip(lanes) {
            let (high0, low0) = self.mul_wide(lanes, rng::MULTIPLIERS[0]);
            let (high1, low1) = self.mul_wide(self.xor(high0, opening[0]), rng::MULTIPLIERS[1]);
            *c = [self.xor(high1, opening[1]), low1, self.xor(low0, opening[2]), opening[3]];
        }
        for round in 2..rng::ROUNDS {
            let [k0, k1] = rng::round_key(key, round).map(|k| self.splat_u32(k));
            for c in &mut words {
                let (high0, low0) = self.mul_wide(c[0], rng::MULTIPLIERS[0]);
                let (high1, low1) = self.mul_wide(c[2], rng::MULTIPLIERS[1]);
                *c = [self.xor(self.xor(high1, c[1]), k0), low1, self.xor(self.xor(high0, c[3]), k1), low0];
            }
        }
        words
    }

    /// Runs a kernel as a function of its own, which has the registers for itself, where [`Level::run`] would make it part
    /// of a larger one.
    #[inline(always)]
    fn apart<K: Kernel>(self, kernel: K) -> K::Output {
        kernel.run(self)
    }

    /// Asks for the cache line at `place`, if the level has an instruction for it. Nothing is read: any address will do.
    #[inline(always)]
    fn prefetch(self, place: *const u8) {
        let _ = place;
    }

    /// The same for the line to come as far as the second cache.
    #[inline(always)]
    fn prefetch_far(self, place: *const u8) {
        let _ = place;
    }

    /// Exchanges rows and lanes of a sixteen by sixteen block.
    #[inline(always)]
    fn transpose(self, rows: [Self::F32; LANES]) -> [Self::F32; LANES] {
        let mut lanes = [[0.0; LANES]; LANES];
        for (row, lanes) in rows.into_iter().zip(&mut lanes) {
            self.store(row, lanes);
        }
        core::array::from_fn(|row| self.load(&core::array::from_fn(|lane| lanes[lane][row])))
    }

    /// `acc[lane] + Σ x[k] * w[k][lane]`, one chain of [`mul_add`](Simd::mul_add), ascending.
    ///
    /// The inner loop of a dense layer for one row. A level whose vectors live in memory (a microcontroller's
    /// FPU) overrides it to keep the sixteen sums in registers.
    #[inline(always)]
    fn dot_panel(self, x: &[f32], w: &[Group], acc: Self::F32) -> Self::F32 {
        let mut acc = acc;
        for (x, w) in x.iter().zip(w) {
            acc = self.mul_add(self.splat(*x), self.load(w), acc);
        }
        acc
    }

    /// [`dot_panel`](Simd::dot_panel) over weights stored as half precision.
    #[inline(always)]
    fn dot_panel_f16(self, x: &[f32], w: &[[u16; LANES]], acc: Self::F32) -> Self::F32 {
        let mut acc = acc;
        for (x, w) in x.iter().zip(w) {
            acc = self.mul_add(self.splat(*x), self.load_f16(w), acc);
        }
        acc
    }

    /// `sums[lane] += Σ x[k] * w[width * k + lane]`, a chain as [`dot_panel`](Simd::dot_panel)'s, over a panel of
    /// `width` lanes: 4, 8, 12 or 16. What the lanes beyond hold then is not defined.
    #[inline(always)]
    fn dot_lanes(self, width: usize, x: &[f32], w: &[f32], sums: &mut Group) {
        let mut acc = self.load(sums);
        for (x, w) in x.iter().zip(w.chunks_exact(width.max(1))) {
            acc = self.mul_add(self.splat(*x), self.load(&sixteen(w)), acc);
        }
        self.store(acc, sums);
    }

    /// [`dot_lanes`](Simd::dot_lanes) over weights stored as half precision.
    #[inline(always)]
    fn dot_lanes_f16(self, width: usize, x: &[f32], w: &[u16], sums: &mut Group) {
        let mut acc = self.load(sums);
        for (x, w) in x.iter().zip(w.chunks_exact(width.max(1))) {
            acc = self.mul_add(self.splat(*x), self.load_f16(&sixteen(w)), acc);
        }
        self.store(acc, sums);
    }
}

/// Some lanes, filled up with zeros.
#[inline(always)]
fn sixteen<T: Copy + Default>(lanes: &[T]) -> [T; LANES] {
    let mut all = [T::default(); LANES];
    for (all, lane) in all.iter_mut().zip(lanes) {
        *all = *lane;
    }
    all
}

//! The level of small cores with a scalar FPU that fuses: Cortex-M4F, M7, M33, M55 and RISC-V with the F extension.
//!
//! A vector is sixteen values in memory and an operation is a loop of scalar instructions. What makes it a level of
//! its own is that a multiply-add rounds once, so such a core gives the bits of a server. Without `std`, stable Rust
//! offers no `mul_add` and no `sqrt`, hence assembly for those and for the inner loops of a dense layer, where the
//! sixteen sums must stay in registers. Each architecture has a `machine` module with the same five safe functions.
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

use core::array::from_fn;

use super::{Group, Kernel, LANES, Simd};

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
        from_fn(|i| a[i] + b[i])
    }
    #[inline(always)]
    fn sub(self, a: F, b: F) -> F {
        from_fn(|i| a[i] - b[i])
    }
    #[inline(always)]
    fn mul(self, a: F, b: F) -> F {
        from_fn(|i| a[i] * b[i])
    }
    #[inline(always)]
    fn div(self, a: F, b: F) -> F {
        from_fn(|i| a[i] / b[i])
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
        from_fn(|i| if a[i] < b[i] { b[i] } else { a[i] })
    }
    #[inline(always)]
    fn min(self, a: F, b: F) -> F {
        from_fn(|i| if b[i] < a[i] { b[i] } else { a[i] })
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
        from_fn(|i| if mask[i] { a[i] } else { b[i] })
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
        from_fn(|i| a[i].wrapping_add(b[i]))
    }
    #[inline(always)]
    fn sub_u32(self, a: U, b: U) -> U {
        from_fn(|i| a[i].wrapping_sub(b[i]))
    }
    #[inline(always)]
    fn and(self, a: U, b: U) -> U {
        from_fn(|i| a[i] & b[i])
    }
    #[inline(always)]
    fn or(self, a: U, b: U) -> U {
        from_fn(|i| a[i] | b[i])
    }
    #[inline(always)]
    fn xor(self, a: U, b: U) -> U {
        from_fn(|i| a[i] ^ b[i])
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
    fn dot_panel(self, x: &[f32], w: &[Group], acc: F) -> F {
        machine::dot_panel(x, w, acc)
    }
    #[inline(always)]
    fn dot_panel_f16(self, x: &[f32], w: &[[u16; LANES]], acc: F) -> F {
        machine::dot_panel_f16(x, w, acc)
    }
}

/// Arm: naked functions.
///
/// Inline assembly with FPU operands is refused on stable Rust unless the user passes target features by hand, and an
/// assembly block starts without the FPU whatever the target, hence `.fpu` in each. It names the least of these FPUs
/// (Cortex-M4's). By the procedure call standard s0–s15 and r0–r3 are free to use, s16–s31 are the caller's.
#[cfg(target_arch = "arm")]
#[allow(unsafe_code)]
mod machine {
    use core::arch::naked_asm;

    use super::{Group, LANES};

    /// `acc[i] = a[i] * b[i] + acc[i]` for sixteen lanes, four at a time.
    ///
    /// # Safety
    /// `a` and `b` are readable and `acc` is readable and writable for sixteen `f32`, all aligned to four bytes.
    #[unsafe(naked)]
    unsafe extern "C" fn mul_add_lanes(acc: *mut f32, a: *const f32, b: *const f32) {
        naked_asm!(
            ".fpu fpv4-sp-d16",
            ".rept 4",
            "vldmia r1!, {{s0-s3}}",
            "vldmia r2!, {{s4-s7}}",
            "vldmia r0, {{s8-s11}}",
            "vfma.f32 s8, s0, s4; vfma.f32 s9, s1, s5; vfma.f32 s10, s2, s6; vfma.f32 s11, s3, s7",
            "vstmia r0!, {{s8-s11}}",
            ".endr",
            "bx lr",
        )
    }

    /// `v[i] = sqrt(v[i])` for sixteen lanes.
    ///
    /// # Safety
    /// `v` is readable and writable for sixteen `f32` and aligned to four bytes.
    #[unsafe(naked)]
    unsafe extern "C" fn sqrt_lanes(v: *mut f32) {
        naked_asm!(
            ".fpu fpv4-sp-d16",
            "vldmia r0, {{s0-s15}}",
            ".irp i, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
            "vsqrt.f32 s\\i, s\\i",
            ".endr",
            "vstmia r0, {{s0-s15}}",
            "bx lr",
        )
    }

    /// Widens sixteen half-precision values: each register loaded holds two, the bottom one first.
    ///
    /// # Safety
    /// `out` is writable for sixteen `f32`, `bits` readable for sixteen `u16`, and both are aligned to four bytes
    /// (`vldmia` faults otherwise).
    #[unsafe(naked)]
    unsafe extern "C" fn widen_lanes(out: *mut f32, bits: *const u16) {
        naked_asm!(
            ".fpu fpv4-sp-d16",
            ".rept 2",
            "vldmia r1!, {{s8-s11}}",
            "vcvtb.f32.f16 s0, s8; vcvtt.f32.f16 s1, s8; vcvtb.f32.f16 s2, s9; vcvtt.f32.f16 s3, s9",
            "vcvtb.f32.f16 s4, s10; vcvtt.f32.f16 s5, s10; vcvtb.f32.f16 s6, s11; vcvtt.f32.f16 s7, s11",
            "vstmia r0!, {{s0-s7}}",
            ".endr",
            "bx lr",
        )
    }

    /// `acc[i] += x[k] * w[k][i]` for `k` from 0 to `n`, each step fused; the sums stay in s16–s31.
    ///
    /// # Safety
    /// `acc` is readable and writable for sixteen `f32`, `x` readable for `n` and `w` for `16 * n`, all aligned to
    /// four bytes. With `n = 0`, `x` and `w` are not read.
    #[unsafe(naked)]
    unsafe extern "C" fn dot_lanes(acc: *mut f32, x: *const f32, w: *const f32, n: usize) {
        naked_asm!(
            ".fpu fpv4-sp-d16",
            "cmp r3, #0",
            "beq 3f",
            "vpush {{s16-s31}}",
            "vldmia r0, {{s16-s31}}",
            "2:",
            "vldmia r1!, {{s0}}",
            "vldmia r2!, {{s1-s8}}",
            "vfma.f32 s16, s1, s0; vfma.f32 s17, s2, s0; vfma.f32 s18, s3, s0; vfma.f32 s19, s4, s0",
            "vfma.f32 s20, s5, s0; vfma.f32 s21, s6, s0; vfma.f32 s22, s7, s0; vfma.f32 s23, s8, s0",
            "vldmia r2!, {{s8-s15}}",
            "vfma.f32 s24, s8, s0; vfma.f32 s25, s9, s0; vfma.f32 s26, s10, s0; vfma.f32 s27, s11, s0",
            "vfma.f32 s28, s12, s0; vfma.f32 s29, s13, s0; vfma.f32 s30, s14, s0; vfma.f32 s31, s15, s0",
            "subs r3, r3, #1",
            "bne 2b",
            "vstmia r0, {{s16-s31}}",
            "vpop {{s16-s31}}",
            "3:",
            "bx lr",
        )
    }

    /// [`dot_lanes`] over half-precision weights: s1–s8 hold sixteen of them, widened two by two.
    ///
    /// # Safety
    /// As [`dot_lanes`], with `w` readable for `16 * n` values of `u16` and aligned to four bytes.
    #[unsafe(naked)]
    unsafe extern "C" fn dot_lanes_f16(acc: *mut f32, x: *const f32, w: *const u16, n: usize) {
        naked_asm!(
            ".fpu fpv4-sp-d16",
            // pair: the register with two weights, two registers for them widened, their two sums.
            ".macro evenkeel_pair halves, bottom, top, first, second",
            "vcvtb.f32.f16 \\bottom, \\halves",
            "vcvtt.f32.f16 \\top, \\halves",
            "vfma.f32 \\first, \\bottom, s0",
            "vfma.f32 \\second, \\top, s0",
            ".endm",
            "cmp r3, #0",
            "beq 3f",
            "vpush {{s16-s31}}",
            "vldmia r0, {{s16-s31}}",
            "2:",
            "vldmia r1!, {{s0}}",
            "vldmia r2!, {{s1-s8}}",
            "evenkeel_pair s1, s9, s10, s16, s17",
            "evenkeel_pair s2, s11, s12, s18, s19",
            "evenkeel_pair s3, s13, s14, s20, s21",
            "evenkeel_pair s4, s9, s10, s22, s23",
            "evenkeel_pair s5, s11, s12, s24, s25",
            "evenkeel_pair s6, s13, s14, s26, s27",
            "evenkeel_pair s7, s9, s10, s28, s29",
            "evenkeel_pair s8, s11, s12, s30, s31",
            "subs r3, r3, #1",
            "bne 2b",
            "vstmia r0, {{s16-s31}}",
            "vpop {{s16-s31}}",
            "3:",
            ".purgem evenkeel_pair",
            "bx lr",
        )
    }

    /// Half-precision values brought to the alignment that `vldmia` needs.
    #[repr(align(4))]
    struct Aligned([u16; LANES]);

    #[inline(always)]
    pub(super) fn mul_add(a: &Group, b: &Group, mut c: Group) -> Group {
        // SAFETY: the pointers come from references to arrays of sixteen `f32`; `c` is a local of this function.
        unsafe { mul_add_lanes(c.as_mut_ptr(), a.as_ptr(), b.as_ptr()) };
        c
    }

    #[inline(always)]
    pub(super) fn sqrt(a: &Group) -> Group {
        let mut v = *a;
        // SAFETY: `v` is an array of sixteen `f32`, borrowed by nothing else.
        unsafe { sqrt_lanes(v.as_mut_ptr()) };
        v
    }

    #[inline(always)]
    pub(super) fn load_f16(bits: &[u16; LANES]) -> Group {
        let bits = Aligned(*bits);
        let mut out = [0.0; LANES];
        // SAFETY: `out` has sixteen `f32`, `bits.0` sixteen `u16` at offset 0 of a struct aligned to four bytes.
        unsafe { widen_lanes(out.as_mut_ptr(), bits.0.as_ptr()) };
        out
    }

    #[inline(always)]
    pub(super) fn dot_panel(x: &[f32], w: &[Group], mut acc: Group) -> Group {
        let n = x.len().min(w.len());
        // SAFETY: `x` has at least `n` values and `w` at least `n` groups of sixteen; `acc` is a local array of
        // sixteen. References to `f32` are aligned to four bytes.
        unsafe { dot_lanes(acc.as_mut_ptr(), x.as_ptr(), w.as_ptr().cast(), n) };
        acc
    }

    #[inline(always)]
    pub(super) fn dot_panel_f16(x: &[f32], w: &[[u16; LANES]], mut acc: Group) -> Group {
        if !w.as_ptr().addr().is_multiple_of(4) {
            // Weights at an odd multiple of two bytes: one group at a time, through a copy. The same bits.
            for (x, w) in x.iter().zip(w) {
                acc = mul_add(&[*x; LANES], &load_f16(w), acc);
            }
            return acc;
        }
        let n = x.len().min(w.len());
        // SAFETY: as in `dot_panel`; that `w` is aligned to four bytes was just checked.
        unsafe { dot_lanes_f16(acc.as_mut_ptr(), x.as_ptr(), w.as_ptr().cast(), n) };
        acc
    }
}

/// RISC-V: one instruction per `asm!`; the compiler unrolls the loops and keeps the sixteen sums in registers.
#[cfg(not(target_arch = "arm"))]
#[allow(unsafe_code)]
mod machine {
    use core::{arch::asm, array::from_fn};

    use super::{Group, LANES};

    #[inline(always)]
    fn fused(a: f32, b: f32, c: f32) -> f32 {
        let out: f32;
        // SAFETY: the module is compiled only for targets with the F extension. The instruction touches its operands
        // and the accrued exception flags, nothing else.
        unsafe {
            asm!("fmadd.s {out}, {a}, {b}, {c}", out = lateout(freg) out, a = in(freg) a, b = in(freg) b,
                c = in(freg) c, options(pure, nomem, nostack));
        }
        out
    }

    #[inline(always)]
    fn root(a: f32) -> f32 {
        let out: f32;
        // SAFETY: as in `fused`.
        unsafe { asm!("fsqrt.s {out}, {a}", out = lateout(freg) out, a = in(freg) a, options(pure, nomem, nostack)) };
        out
    }

    /// Exact: the bits move to their places, the multiplication mends the bias and normalises subnormals.
    #[inline(always)]
    fn widen(bits: u16) -> f32 {
        let magnitude = u32::from(bits & 0x7fff);
        let moved = magnitude << 13;
        let finite = f32::from_bits(moved) * f32::from_bits((127 + 112) << 23);
        let value = if magnitude < 0x7c00 { finite.to_bits() } else { moved | 0xff << 23 };
        f32::from_bits(value | u32::from(bits & 0x8000) << 16)
    }

    #[inline(always)]
    pub(super) fn mul_add(a: &Group, b: &Group, c: Group) -> Group {
        from_fn(|i| fused(a[i], b[i], c[i]))
    }

    #[inline(always)]
    pub(super) fn sqrt(a: &Group) -> Group {
        a.map(root)
    }

    #[inline(always)]
    pub(super) fn load_f16(bits: &[u16; LANES]) -> Group {
        bits.map(widen)
    }

    #[inline(always)]
    pub(super) fn dot_panel(x: &[f32], w: &[Group], mut acc: Group) -> Group {
        for (x, w) in x.iter().zip(w) {
            acc = from_fn(|i| fused(*x, w[i], acc[i]));
        }
        acc
    }

    #[inline(always)]
    pub(super) fn dot_panel_f16(x: &[f32], w: &[[u16; LANES]], mut acc: Group) -> Group {
        for (x, w) in x.iter().zip(w) {
            acc = from_fn(|i| fused(*x, widen(w[i]), acc[i]));
        }
        acc
    }
}

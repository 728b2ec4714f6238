//! Arm: naked functions.
//!
//! Inline assembly with FPU operands is refused on stable Rust unless the user passes target features by hand, and an
//! assembly block starts without the FPU whatever the target, hence `.fpu` in each. It names the least of these FPUs
//! (Cortex-M4's). By the procedure call standard s0–s15 and r0–r3 are free to use, s16–s31 are the caller's.
#![allow(unsafe_code)]

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

/// `acc[i] += x[k] * w[k][i]`, each step fused, for `k` from 0 to `n` and the lanes of a panel. The sums stay in
/// registers from s16 on, two inputs are loaded at once, each a single time.
///
/// `$step!(x)` is one input, which is in register `x`: it loads the weights of all lanes and adds their products.
macro_rules! routine {
    ($(#[$meta:meta])* $name:ident, $weight:ty, $lanes:literal, $sums:literal, $step:ident) => {
        $(#[$meta])*
        ///
        /// # Safety
        #[doc = concat!("`acc` is readable and writable for ", $lanes, " values of `f32`, `x` readable for `n`, `w` for `",
            $lanes, " * n` values, all aligned to four bytes. With `n = 0`, `x` and `w` are not read.")]
        #[unsafe(naked)]
        unsafe extern "C" fn $name(acc: *mut f32, x: *const f32, w: *const $weight, n: usize) {
            naked_asm!(
                ".fpu fpv4-sp-d16",
                concat!("vpush {{", $sums, "}}"),
                concat!("vldmia r0, {{", $sums, "}}"),
                "subs r3, r3, #2",
                "blo 3f",
                "2:",
                "vldmia r1!, {{s0-s1}}",
                $step!("s0"),
                $step!("s1"),
                "subs r3, r3, #2",
                "bhs 2b",
                "3:",
                // -1 if one input is left, else -2: its last bit goes to the top.
                "lsls r3, r3, #31",
                "beq 4f",
                "vldmia r1!, {{s0}}",
                $step!("s0"),
                "4:",
                concat!("vstmia r0, {{", $sums, "}}"),
                concat!("vpop {{", $sums, "}}"),
                "bx lr",
            )
        }
    };
}

/// Four multiply-adds: sums, input, weights.
macro_rules! fma {
    ($x:literal, $a:literal $b:literal $c:literal $d:literal, $e:literal $f:literal $g:literal $h:literal) => {
        concat!(
            "vfma.f32 s",
            $a,
            ", s",
            $e,
            ", ",
            $x,
            "; vfma.f32 s",
            $b,
            ", s",
            $f,
            ", ",
            $x,
            ";",
            "vfma.f32 s",
            $c,
            ", s",
            $g,
            ", ",
            $x,
            "; vfma.f32 s",
            $d,
            ", s",
            $h,
            ", ",
            $x,
            ";",
        )
    };
}

/// Four multiply-adds with weights of half precision, two in each of the last registers.
macro_rules! fma_f16 {
    ($x:literal, $a:literal $b:literal $c:literal $d:literal, $e:literal $f:literal) => {
        concat!(
            "vcvtb.f32.f16 s12, s", $e, "; vcvtt.f32.f16 s13, s", $e, ";",
            "vcvtb.f32.f16 s14, s", $f, "; vcvtt.f32.f16 s15, s", $f, ";",
            fma!($x, $a $b $c $d, 12 13 14 15),
        )
    };
}

macro_rules! step_4 {
    ($x:literal) => { concat!("vldmia r2!, {{s2-s5}};", fma!($x, 16 17 18 19, 2 3 4 5)) };
}
macro_rules! step_8 {
    ($x:literal) => {
        concat!("vldmia r2!, {{s2-s9}};", fma!($x, 16 17 18 19, 2 3 4 5), fma!($x, 20 21 22 23, 6 7 8 9))
    };
}
macro_rules! step_12 {
    ($x:literal) => {
        concat!(
            "vldmia r2!, {{s2-s13}};",
            fma!($x, 16 17 18 19, 2 3 4 5), fma!($x, 20 21 22 23, 6 7 8 9), fma!($x, 24 25 26 27, 10 11 12 13),
        )
    };
}
macro_rules! step_16 {
    ($x:literal) => {
        concat!(
            step_8!($x), "vldmia r2!, {{s2-s9}};",
            fma!($x, 24 25 26 27, 2 3 4 5), fma!($x, 28 29 30 31, 6 7 8 9),
        )
    };
}
macro_rules! step_f16_4 {
    ($x:literal) => { concat!("vldmia r2!, {{s2-s3}};", fma_f16!($x, 16 17 18 19, 2 3)) };
}
macro_rules! step_f16_8 {
    ($x:literal) => {
        concat!("vldmia r2!, {{s2-s5}};", fma_f16!($x, 16 17 18 19, 2 3), fma_f16!($x, 20 21 22 23, 4 5))
    };
}
macro_rules! step_f16_12 {
    ($x:literal) => {
        concat!(
            "vldmia r2!, {{s2-s7}};",
            fma_f16!($x, 16 17 18 19, 2 3), fma_f16!($x, 20 21 22 23, 4 5), fma_f16!($x, 24 25 26 27, 6 7),
        )
    };
}
macro_rules! step_f16_16 {
    ($x:literal) => {
        concat!(
            "vldmia r2!, {{s2-s9}};",
            fma_f16!($x, 16 17 18 19, 2 3), fma_f16!($x, 20 21 22 23, 4 5),
            fma_f16!($x, 24 25 26 27, 6 7), fma_f16!($x, 28 29 30 31, 8 9),
        )
    };
}

routine!(/// A panel of four lanes.
    dot_4, f32, "4", "s16-s19", step_4);
routine!(/// A panel of eight lanes.
    dot_8, f32, "8", "s16-s23", step_8);
routine!(/// A panel of twelve lanes.
    dot_12, f32, "12", "s16-s27", step_12);
routine!(/// A whole panel.
    dot_16, f32, "16", "s16-s31", step_16);
routine!(/// A panel of four lanes in half precision.
    dot_f16_4, u16, "4", "s16-s19", step_f16_4);
routine!(/// A panel of eight lanes in half precision.
    dot_f16_8, u16, "8", "s16-s23", step_f16_8);
routine!(/// A panel of twelve lanes in half precision.
    dot_f16_12, u16, "12", "s16-s27", step_f16_12);
routine!(/// A whole panel in half precision.
    dot_f16_16, u16, "16", "s16-s31", step_f16_16);

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

/// What a routine above is.
type Routine<W> = unsafe extern "C" fn(*mut f32, *const f32, *const W, usize);

/// `width` is a panel's: 4, 8, 12 or 16.
#[inline(always)]
pub(super) fn dot_lanes(width: usize, x: &[f32], w: &[f32], sums: &mut Group) {
    let (routine, width): (Routine<f32>, _) = match width {
        4 => (dot_4, 4),
        8 => (dot_8, 8),
        12 => (dot_12, 12),
        _ => (dot_16, 16),
    };
    let n = x.len().min(w.len() / width);
    // SAFETY: `x` has at least `n` values and `w` at least `n` times as many as the routine has lanes, which are at most
    // the sixteen of `sums`. References to `f32` are aligned to four bytes.
    unsafe { routine(sums.as_mut_ptr(), x.as_ptr(), w.as_ptr(), n) };
}

/// `width` is a panel's: 4, 8, 12 or 16.
#[inline(always)]
pub(super) fn dot_lanes_f16(width: usize, x: &[f32], w: &[u16], sums: &mut Group) {
    let (routine, width): (Routine<u16>, _) = match width {
        4 => (dot_f16_4, 4),
        8 => (dot_f16_8, 8),
        12 => (dot_f16_12, 12),
        _ => (dot_f16_16, 16),
    };
    if !w.as_ptr().addr().is_multiple_of(4) {
        // Weights at an odd multiple of two bytes: one input at a time, through a copy. The same bits.
        for (x, w) in x.iter().zip(w.chunks_exact(width)) {
            let mut copy = Aligned([0; LANES]);
            copy.0.iter_mut().zip(w).for_each(|(copy, w)| *copy = *w);
            // SAFETY: one value of `f32`, sixteen of `u16` in a struct aligned to four bytes; `sums` as below.
            unsafe { routine(sums.as_mut_ptr(), x, copy.0.as_ptr(), 1) };
        }
        return;
    }
    let n = x.len().min(w.len() / width);
    // SAFETY: as in `dot_lanes`; that `w` is aligned to four bytes was just checked.
    unsafe { routine(sums.as_mut_ptr(), x.as_ptr(), w.as_ptr(), n) };
}

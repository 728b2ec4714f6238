//! RISC-V: one instruction per `asm!`; the compiler unrolls the loops and keeps the sums in registers.
#![allow(unsafe_code)]

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

/// The chains of a panel of some lanes. Each sum is a variable and each lane a line: built for size, a loop over lanes would
/// stay one, with the sums in memory.
macro_rules! chains {
    ($name:ident, $width:literal, $($sum:ident $lane:literal)*) => {
        #[inline(always)]
        fn $name<W: Copy>(x: &[f32], w: &[W], sums: &mut Group, widen: impl Fn(W) -> f32) {
            let Some(sums) = sums.first_chunk_mut::<$width>() else { return };
            let [$(mut $sum),*] = *sums;
            for (x, w) in x.iter().zip(w.as_chunks::<$width>().0) {
                $($sum = fused(*x, widen(w[$lane]), $sum);)*
            }
            *sums = [$($sum),*];
        }
    };
}

chains!(chains_4, 4, a 0 b 1 c 2 d 3);
chains!(chains_8, 8, a 0 b 1 c 2 d 3 e 4 f 5 g 6 h 7);
chains!(chains_12, 12, a 0 b 1 c 2 d 3 e 4 f 5 g 6 h 7 i 8 j 9 k 10 l 11);
chains!(chains_16, 16, a 0 b 1 c 2 d 3 e 4 f 5 g 6 h 7 i 8 j 9 k 10 l 11 m 12 n 13 o 14 p 15);

/// `width` is a panel's: 4, 8, 12 or 16.
#[inline(always)]
pub(super) fn dot_lanes(width: usize, x: &[f32], w: &[f32], sums: &mut Group) {
    match width {
        4 => chains_4(x, w, sums, |w| w),
        8 => chains_8(x, w, sums, |w| w),
        12 => chains_12(x, w, sums, |w| w),
        _ => chains_16(x, w, sums, |w| w),
    }
}

/// `width` is a panel's: 4, 8, 12 or 16.
#[inline(always)]
pub(super) fn dot_lanes_f16(width: usize, x: &[f32], w: &[u16], sums: &mut Group) {
    match width {
        4 => chains_4(x, w, sums, widen),
        8 => chains_8(x, w, sums, widen),
        12 => chains_12(x, w, sums, widen),
        _ => chains_16(x, w, sums, widen),
    }
}

//! AArch64 NEON: a vector is four registers.

use core::arch::aarch64::*;

use bytemuck::cast;

use super::{Group, LANES, backend::backend};

type F = [float32x4_t; 4];
type U = [uint32x4_t; 4];

backend! {
    /// AArch64 with NEON (every 64-bit Arm CPU that runs an operating system).
    Neon, features ["neon"], detected by std::arch::is_aarch64_feature_detected;
    types {
        type F32 = [float32x4_t; 4];
        type U32 = [uint32x4_t; 4];
        type Mask = [uint32x4_t; 4];
        const FUSED: bool = true;
        const REGISTERS: usize = 8;
        const PIECES: usize = 4;
        // Sixteen blocks of four by four. Each is a function small enough to be inlined.
        #[inline(always)]
        fn transpose(self, rows: [F; LANES]) -> [F; LANES] {
            let mut out = rows;
            for upper in 0..4 {
                for quarter in 0..4 {
                    let mut four = [rows[0][0]; 4];
                    for k in 0..4 {
                        four[k] = rows[4 * upper + k][quarter];
                    }
                    let turned = self.turn_four(four);
                    for k in 0..4 {
                        out[4 * quarter + k][upper] = turned[k];
                    }
                }
            }
            out
        }
    }
    own {
        fn turn_four(r: [float32x4_t; 4]) -> [float32x4_t; 4] {
            // Pairs of lanes, then pairs of pairs.
            let a = vreinterpretq_f64_f32(vtrn1q_f32(r[0], r[1]));
            let b = vreinterpretq_f64_f32(vtrn2q_f32(r[0], r[1]));
            let c = vreinterpretq_f64_f32(vtrn1q_f32(r[2], r[3]));
            let d = vreinterpretq_f64_f32(vtrn2q_f32(r[2], r[3]));
            [
                vreinterpretq_f32_f64(vtrn1q_f64(a, c)), vreinterpretq_f32_f64(vtrn1q_f64(b, d)),
                vreinterpretq_f32_f64(vtrn2q_f64(a, c)), vreinterpretq_f32_f64(vtrn2q_f64(b, d)),
            ]
        }
    }
    fn splat(x: f32) -> F { [vdupq_n_f32(x); 4] }
    fn load(x: &Group) -> F { cast(*x) }
    fn store(v: F, out: &mut Group) { *out = cast(v) }
    fn load_f16(x: &[u16; LANES]) -> F {
        let [first, second, third, fourth]: [uint16x4_t; 4] = cast(*x);
        let widen = |bits: uint16x4_t| vcvt_f32_f16(vreinterpret_f16_u16(bits));
        [widen(first), widen(second), widen(third), widen(fourth)]
    }
    fn add(a: F, b: F) -> F {
        [vaddq_f32(a[0], b[0]), vaddq_f32(a[1], b[1]), vaddq_f32(a[2], b[2]), vaddq_f32(a[3], b[3])]
    }
    fn sub(a: F, b: F) -> F {
        [vsubq_f32(a[0], b[0]), vsubq_f32(a[1], b[1]), vsubq_f32(a[2], b[2]), vsubq_f32(a[3], b[3])]
    }
    fn mul(a: F, b: F) -> F {
        [vmulq_f32(a[0], b[0]), vmulq_f32(a[1], b[1]), vmulq_f32(a[2], b[2]), vmulq_f32(a[3], b[3])]
    }
    fn div(a: F, b: F) -> F {
        [vdivq_f32(a[0], b[0]), vdivq_f32(a[1], b[1]), vdivq_f32(a[2], b[2]), vdivq_f32(a[3], b[3])]
    }
    fn sqrt(a: F) -> F { [vsqrtq_f32(a[0]), vsqrtq_f32(a[1]), vsqrtq_f32(a[2]), vsqrtq_f32(a[3])] }
    fn mul_add(a: F, b: F, c: F) -> F {
        // The intrinsic takes the addend first.
        let fused = |i: usize| vfmaq_f32(c[i], a[i], b[i]);
        [fused(0), fused(1), fused(2), fused(3)]
    }
    // `fmax` returns NaN if either is NaN and orders the zeros; the trait wants neither, hence compare and select.
    fn max(a: F, b: F) -> F {
        let larger = |i: usize| vbslq_f32(vcltq_f32(a[i], b[i]), b[i], a[i]);
        [larger(0), larger(1), larger(2), larger(3)]
    }
    fn min(a: F, b: F) -> F {
        let smaller = |i: usize| vbslq_f32(vcltq_f32(b[i], a[i]), b[i], a[i]);
        [smaller(0), smaller(1), smaller(2), smaller(3)]
    }
    fn lt(a: F, b: F) -> U {
        [vcltq_f32(a[0], b[0]), vcltq_f32(a[1], b[1]), vcltq_f32(a[2], b[2]), vcltq_f32(a[3], b[3])]
    }
    fn eq(a: F, b: F) -> U {
        [vceqq_f32(a[0], b[0]), vceqq_f32(a[1], b[1]), vceqq_f32(a[2], b[2]), vceqq_f32(a[3], b[3])]
    }
    fn select(mask: U, a: F, b: F) -> F {
        let pick = |i: usize| vbslq_f32(mask[i], a[i], b[i]);
        [pick(0), pick(1), pick(2), pick(3)]
    }
    fn to_bits(a: F) -> U { cast(a) }
    fn from_bits(a: U) -> F { cast(a) }
    fn splat_u32(x: u32) -> U { [vdupq_n_u32(x); 4] }
    fn load_u32(x: &[u32; LANES]) -> U { cast(*x) }
    fn store_u32(v: U, out: &mut [u32; LANES]) { *out = cast(v) }
    fn add_u32(a: U, b: U) -> U {
        [vaddq_u32(a[0], b[0]), vaddq_u32(a[1], b[1]), vaddq_u32(a[2], b[2]), vaddq_u32(a[3], b[3])]
    }
    fn sub_u32(a: U, b: U) -> U {
        [vsubq_u32(a[0], b[0]), vsubq_u32(a[1], b[1]), vsubq_u32(a[2], b[2]), vsubq_u32(a[3], b[3])]
    }
    fn and(a: U, b: U) -> U {
        [vandq_u32(a[0], b[0]), vandq_u32(a[1], b[1]), vandq_u32(a[2], b[2]), vandq_u32(a[3], b[3])]
    }
    fn or(a: U, b: U) -> U {
        [vorrq_u32(a[0], b[0]), vorrq_u32(a[1], b[1]), vorrq_u32(a[2], b[2]), vorrq_u32(a[3], b[3])]
    }
    fn xor(a: U, b: U) -> U {
        [veorq_u32(a[0], b[0]), veorq_u32(a[1], b[1]), veorq_u32(a[2], b[2]), veorq_u32(a[3], b[3])]
    }
    // One instruction shifts by a register in both directions: a negative count is a shift to the right.
    fn shl(a: U, n: u32) -> U {
        let n = vdupq_n_s32(n.cast_signed());
        [vshlq_u32(a[0], n), vshlq_u32(a[1], n), vshlq_u32(a[2], n), vshlq_u32(a[3], n)]
    }
    fn shr(a: U, n: u32) -> U {
        let n = vdupq_n_s32(-n.cast_signed());
        [vshlq_u32(a[0], n), vshlq_u32(a[1], n), vshlq_u32(a[2], n), vshlq_u32(a[3], n)]
    }
    fn sar(a: U, n: u32) -> U {
        let n = vdupq_n_s32(-n.cast_signed());
        let shifted = |a: uint32x4_t| vreinterpretq_u32_s32(vshlq_s32(vreinterpretq_s32_u32(a), n));
        [shifted(a[0]), shifted(a[1]), shifted(a[2]), shifted(a[3])]
    }
    fn lt_u32(a: U, b: U) -> U {
        [vcltq_u32(a[0], b[0]), vcltq_u32(a[1], b[1]), vcltq_u32(a[2], b[2]), vcltq_u32(a[3], b[3])]
    }
    fn i32_to_f32(a: U) -> F {
        let convert = |a: uint32x4_t| vcvtq_f32_s32(vreinterpretq_s32_u32(a));
        [convert(a[0]), convert(a[1]), convert(a[2]), convert(a[3])]
    }
    fn mul_wide(a: U, b: u32) -> (U, U) {
        let b = vdupq_n_u32(b);
        // Two products of two lanes each, as little-endian pairs (low, high): the even words are the low halves.
        let halves = |a: uint32x4_t| {
            let front = vreinterpretq_u32_u64(vmull_u32(vget_low_u32(a), vget_low_u32(b)));
            let back = vreinterpretq_u32_u64(vmull_high_u32(a, b));
            (vuzp2q_u32(front, back), vuzp1q_u32(front, back))
        };
        let [first, second, third, fourth] = [halves(a[0]), halves(a[1]), halves(a[2]), halves(a[3])];
        ([first.0, second.0, third.0, fourth.0], [first.1, second.1, third.1, fourth.1])
    }
}

//! Every operation of the vector layer.

use core::array::from_fn;

use evenkeel::{
    Level,
    simd::{Group, Kernel, LANES, Simd},
};

use super::{
    Outcome,
    numbers::{Hash, Numbers},
};

/// The answers: with one rounding in a multiply-add, and with two where that differs.
const ANSWERS: [(&str, u32, u32); 32] = [
    ("load_f16", 0x7b5a_fcde, 0x7b5a_fcde),
    ("add", 0xa3ce_9ab2, 0xa3ce_9ab2),
    ("sub", 0x082a_6f08, 0x082a_6f08),
    ("mul", 0x59e5_716f, 0x59e5_716f),
    ("div", 0xc277_73b2, 0xc277_73b2),
    ("sqrt", 0xf74c_72ba, 0xf74c_72ba),
    ("mul_add", 0xbefb_4df1, 0x018b_b6b7),
    ("max", 0x65fa_47b0, 0x65fa_47b0),
    ("min", 0xca8f_d73f, 0xca8f_d73f),
    ("lt", 0xca7b_1e30, 0xca7b_1e30),
    ("eq", 0x145e_4b66, 0x145e_4b66),
    ("select", 0x19ba_49c0, 0x19ba_49c0),
    ("bits", 0x8c13_b017, 0x8c13_b017),
    ("add_u32", 0xec4d_8320, 0xec4d_8320),
    ("sub_u32", 0x193d_3d0b, 0x193d_3d0b),
    ("and", 0xa91e_efb0, 0xa91e_efb0),
    ("or", 0x02b5_e252, 0x02b5_e252),
    ("xor", 0xa54c_f8d8, 0xa54c_f8d8),
    ("shl", 0xef0d_6c0c, 0xef0d_6c0c),
    ("shr", 0x6899_4bef, 0x6899_4bef),
    ("sar", 0x2aaa_541f, 0x2aaa_541f),
    ("lt_u32", 0xc4ce_931e, 0xc4ce_931e),
    ("i32_to_f32", 0xfafb_52bb, 0xfafb_52bb),
    ("mul_wide.high", 0x6e97_fe14, 0x6e97_fe14),
    ("mul_wide.low", 0xf2b8_3814, 0xf2b8_3814),
    ("splat_u32", 0x0d3f_16a4, 0x0d3f_16a4),
    ("transpose", 0xa07b_6bdc, 0xa07b_6bdc),
    ("dot_panel(0)", 0x983c_49cc, 0x983c_49cc),
    ("dot_panel(256)", 0x21d0_5215, 0x7cbd_b3e2),
    ("dot_panel(300)", 0xc392_f344, 0xd239_507e),
    ("dot_panel_f16", 0xac3c_298d, 0x382f_13ac),
    ("dot_panel_f16(unaligned)", 0x445d_b819, 0x0d60_9132),
];

pub(crate) fn run(level: Level, report: &mut dyn FnMut(Outcome)) {
    let found = level.run(Operations);
    for ((name, once, twice), got) in ANSWERS.into_iter().zip(found) {
        report(Outcome { name, got, expected: if level.is_exact() { once } else { twice } });
    }
}

struct Operations;

impl Kernel for Operations {
    type Output = [u32; ANSWERS.len()];

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Self::Output {
        let (one, zero) = (s.splat(1.0), s.splat(0.0));
        [
            halves(s),
            floats(s, |a, b, _| s.add(a, b)),
            floats(s, |a, b, _| s.sub(a, b)),
            floats(s, |a, b, _| s.mul(a, b)),
            floats(s, |a, b, _| s.div(a, b)),
            floats(s, |a, _, _| s.sqrt(a)),
            floats(s, |a, b, c| s.mul_add(a, b, c)),
            floats(s, |a, b, _| s.max(a, b)),
            floats(s, |a, b, _| s.min(a, b)),
            floats(s, |a, b, _| s.select(s.lt(a, b), one, zero)),
            floats(s, |a, b, _| s.select(s.eq(a, b), one, zero)),
            floats(s, |a, b, c| s.select(s.lt(a, b), b, c)),
            words(s, |a, _, _| s.to_bits(s.from_bits(a))),
            words(s, |a, b, _| s.add_u32(a, b)),
            words(s, |a, b, _| s.sub_u32(a, b)),
            words(s, |a, b, _| s.and(a, b)),
            words(s, |a, b, _| s.or(a, b)),
            words(s, |a, b, _| s.xor(a, b)),
            words(s, |a, _, n| s.shl(a, n % 32)),
            words(s, |a, _, n| s.shr(a, n % 32)),
            words(s, |a, _, n| s.sar(a, n % 32)),
            words(s, |a, b, _| s.to_bits(s.select(s.lt_u32(a, b), one, zero))),
            words(s, |a, _, _| s.to_bits(s.i32_to_f32(a))),
            words(s, |a, _, n| s.mul_wide(a, n).0),
            words(s, |a, _, n| s.mul_wide(a, n).1),
            words(s, |_, _, n| s.splat_u32(n)),
            transposed(s),
            chain(s, 0),
            chain(s, 256),
            chain(s, 300),
            chain_f16(s, 0),
            chain_f16(s, 1),
        ]
    }
}

/// An operation over numbers of every kind.
#[inline(always)]
fn floats<S: Simd>(s: S, operation: impl Fn(S::F32, S::F32, S::F32) -> S::F32) -> u32 {
    let (mut numbers, mut hash, mut out) = (Numbers::new(0x5eed), Hash::new(), [0.0; LANES]);
    for _ in 0..64 {
        let [a, b, c]: [Group; 3] = from_fn(|_| from_fn(|_| f32::from_bits(numbers.any())));
        s.store(operation(s.load(&a), s.load(&b), s.load(&c)), &mut out);
        out.iter().for_each(|x| hash.float(*x));
    }
    hash.0
}

/// An operation over random words; the third argument is one word for all lanes.
#[inline(always)]
fn words<S: Simd>(s: S, operation: impl Fn(S::U32, S::U32, u32) -> S::U32) -> u32 {
    let (mut numbers, mut hash, mut out) = (Numbers::new(0xb175), Hash::new(), [0; LANES]);
    for _ in 0..64 {
        let [a, b]: [[u32; LANES]; 2] = from_fn(|_| from_fn(|_| numbers.bits()));
        s.store_u32(operation(s.load_u32(&a), s.load_u32(&b), numbers.bits()), &mut out);
        out.iter().for_each(|x| hash.word(*x));
    }
    hash.0
}

/// All 65,536 half-precision values.
#[inline(always)]
fn halves<S: Simd>(s: S) -> u32 {
    let (mut hash, mut out) = (Hash::new(), [0.0; LANES]);
    for first in (0..=u16::MAX).step_by(LANES) {
        s.store(s.load_f16(&from_fn(|i| first + i as u16)), &mut out);
        out.iter().for_each(|x| hash.float(*x));
    }
    hash.0
}

/// A block with rows and lanes exchanged.
#[inline(always)]
fn transposed<S: Simd>(s: S) -> u32 {
    let (mut numbers, mut hash, mut out) = (Numbers::new(0x7a95), Hash::new(), [0.0; LANES]);
    for row in s.transpose(from_fn(|_| s.load(&from_fn(|_| f32::from_bits(numbers.any()))))) {
        s.store(row, &mut out);
        out.iter().for_each(|x| hash.float(*x));
    }
    hash.0
}

/// Pieces in which the weights are made, to be kind to small memories: a sum goes on where the last piece ended.
const PIECE: usize = 16;

/// A dense layer's sum over `inputs`, in blocks of 256 added up in order.
#[inline(always)]
fn chain<S: Simd>(s: S, inputs: usize) -> u32 {
    let mut numbers = Numbers::new(0xde45e);
    let mut total = s.splat(0.0);
    for block in (0..inputs).step_by(256) {
        let mut sums = s.splat(0.0);
        let end = inputs.min(block + 256);
        for piece in (block..end).step_by(PIECE) {
            let x: [f32; PIECE] = from_fn(|_| numbers.moderate());
            let w: [Group; PIECE] = from_fn(|_| from_fn(|_| numbers.moderate()));
            sums = s.dot_panel(&x[..PIECE.min(end - piece)], &w, sums);
        }
        total = s.add(total, sums);
    }
    hash_of(s, total)
}

/// The same over half-precision weights that start at `offset`, a multiple of four bytes or of two.
#[inline(always)]
fn chain_f16<S: Simd>(s: S, offset: usize) -> u32 {
    /// Sets the alignment that `offset` counts from.
    #[repr(align(4))]
    struct Weights([u16; PIECE * LANES + 2]);

    let mut numbers = Numbers::new(0xf16);
    let mut sums = s.splat(0.0);
    for _ in 0..256 / PIECE {
        let x: [f32; PIECE] = from_fn(|_| numbers.moderate());
        let w = Weights(from_fn(|_| numbers.half()));
        let (w, _) = w.0[offset..].as_chunks::<LANES>();
        sums = s.dot_panel_f16(&x, w, sums);
    }
    hash_of(s, sums)
}

#[inline(always)]
fn hash_of<S: Simd>(s: S, v: S::F32) -> u32 {
    let (mut hash, mut out) = (Hash::new(), [0.0; LANES]);
    s.store(v, &mut out);
    out.iter().for_each(|x| hash.float(*x));
    hash.0
}

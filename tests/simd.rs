//! Every operation of the vector layer, on every level of this machine, against scalar code, by bits.

use std::{array::from_fn, hint::black_box};

use evenkeel::{
    Error, Level,
    simd::{Group, Kernel, LANES, Simd},
};
use half::f16;

/// The firmware's checks: their answers are constants, which the host has to agree with.
#[path = "../no_std_tests/core_only/src/checks/mod.rs"]
mod checks;

use checks::numbers::{Numbers, SPECIAL};

type Words = [u32; LANES];

/// Three operands, sixteen lanes each.
type Operands = [Group; 3];

/// Compares lane by lane and counts. Any NaN equals any other.
#[derive(Default)]
struct Tally(u64);

impl Tally {
    #[track_caller]
    fn floats(&mut self, operation: &str, got: Group, expected: impl Fn(usize) -> f32) {
        for (lane, got) in got.into_iter().enumerate() {
            let expected = expected(lane);
            let equal = got.to_bits() == expected.to_bits() || got.is_nan() && expected.is_nan();
            assert!(equal, "{operation}, lane {lane}: got {got:e} ({got:?}), expected {expected:e} ({expected:?})");
            self.0 += 1;
        }
    }

    #[track_caller]
    fn words(&mut self, operation: &str, got: Words, expected: impl Fn(usize) -> u32) {
        for (lane, got) in got.into_iter().enumerate() {
            let expected = expected(lane);
            assert_eq!(got, expected, "{operation}, lane {lane}: got {got:#x}, expected {expected:#x}");
            self.0 += 1;
        }
    }
}

/// All triples of special values, and random ones, of which a third cancels in `a * b + c`.
fn operands() -> Vec<Operands> {
    let n = SPECIAL.len();
    let mut lanes: Vec<[u32; 3]> =
        (0..n * n * n).map(|i| [SPECIAL[i % n], SPECIAL[i / n % n], SPECIAL[i / n / n]]).collect();
    let mut numbers = Numbers::new(2026);
    for i in 0..3 * 16_384 {
        let [a, b, c] = from_fn(|_| numbers.any());
        let cancelling = -(f32::from_bits(a) * f32::from_bits(b));
        lanes.push([a, b, if i % 3 == 0 { cancelling.to_bits() } else { c }]);
    }
    let (groups, rest) = lanes.as_chunks::<LANES>();
    assert!(rest.is_empty());
    groups.iter().map(|group| from_fn(|operand| from_fn(|lane| f32::from_bits(group[lane][operand])))).collect()
}

/// Runs a test that is generic over the level on each level of this machine, and prints the comparisons made.
macro_rules! on_every_level {
    ($test:ident) => {{
        struct Call;
        impl Kernel for Call {
            type Output = u64;
            #[inline(always)]
            fn run<S: Simd>(self, simd: S) -> u64 {
                let mut tally = Tally::default();
                $test(simd, &mut tally);
                tally.0
            }
        }
        for level in Level::available() {
            println!("{} on {level}: {} comparisons", stringify!($test), level.run(Call));
        }
    }};
}

fn stored<S: Simd>(s: S, v: S::F32) -> Group {
    let mut out = [0.0; LANES];
    s.store(v, &mut out);
    out
}

fn stored_words<S: Simd>(s: S, v: S::U32) -> Words {
    let mut out = [0; LANES];
    s.store_u32(v, &mut out);
    out
}

/// What `mul_add` has to give at a level: one rounding or two.
fn mul_add<S: Simd>(a: f32, b: f32, c: f32) -> f32 {
    if S::FUSED { a.mul_add(b, c) } else { black_box(a * b) + c }
}

fn float_operations<S: Simd>(s: S, tally: &mut Tally) {
    for [a, b, c] in operands() {
        let (va, vb, vc) = (s.load(&a), s.load(&b), s.load(&c));
        tally.floats("splat", stored(s, s.splat(a[3])), |_| a[3]);
        tally.floats("add", stored(s, s.add(va, vb)), |i| a[i] + b[i]);
        tally.floats("sub", stored(s, s.sub(va, vb)), |i| a[i] - b[i]);
        tally.floats("mul", stored(s, s.mul(va, vb)), |i| a[i] * b[i]);
        tally.floats("div", stored(s, s.div(va, vb)), |i| a[i] / b[i]);
        tally.floats("sqrt", stored(s, s.sqrt(va)), |i| a[i].sqrt());
        tally.floats("mul_add", stored(s, s.mul_add(va, vb, vc)), |i| mul_add::<S>(a[i], b[i], c[i]));
    }
}

/// Only arithmetic may touch a NaN: moving, comparing and choosing keep every bit, so these compare words.
fn choices_and_moves<S: Simd>(s: S, tally: &mut Tally) {
    let bits = |v: S::F32| stored_words(s, s.to_bits(v));
    for [a, b, c] in operands() {
        let [wa, wb, wc] = [a, b, c].map(|group| group.map(f32::to_bits));
        let (va, vb, vc) = (s.from_bits(s.load_u32(&wa)), s.load(&b), s.load(&c));
        tally.words("from_bits and to_bits", bits(va), |i| wa[i]);
        tally.words("load and to_bits", bits(vb), |i| wb[i]);
        tally.words("store", stored(s, va).map(f32::to_bits), |i| wa[i]);
        tally.words("max", bits(s.max(va, vb)), |i| if a[i] < b[i] { wb[i] } else { wa[i] });
        tally.words("min", bits(s.min(va, vb)), |i| if b[i] < a[i] { wb[i] } else { wa[i] });
        tally.words("lt", bits(s.select(s.lt(va, vb), vb, vc)), |i| if a[i] < b[i] { wb[i] } else { wc[i] });
        tally.words("eq", bits(s.select(s.eq(va, vb), vb, vc)), |i| if a[i] == b[i] { wb[i] } else { wc[i] });
        let less = s.lt_u32(s.load_u32(&wa), s.load_u32(&wb));
        tally.words("lt_u32", bits(s.select(less, vb, vc)), |i| if wa[i] < wb[i] { wb[i] } else { wc[i] });
    }
}

fn word_operations<S: Simd>(s: S, tally: &mut Tally) {
    for operands in operands() {
        let [a, b, c] = operands.map(|group| group.map(f32::to_bits));
        let (va, vb) = (s.load_u32(&a), s.load_u32(&b));
        tally.words("load_u32 and store_u32", stored_words(s, va), |i| a[i]);
        tally.words("splat_u32", stored_words(s, s.splat_u32(c[0])), |_| c[0]);
        tally.words("add_u32", stored_words(s, s.add_u32(va, vb)), |i| a[i].wrapping_add(b[i]));
        tally.words("sub_u32", stored_words(s, s.sub_u32(va, vb)), |i| a[i].wrapping_sub(b[i]));
        tally.words("and", stored_words(s, s.and(va, vb)), |i| a[i] & b[i]);
        tally.words("or", stored_words(s, s.or(va, vb)), |i| a[i] | b[i]);
        tally.words("xor", stored_words(s, s.xor(va, vb)), |i| a[i] ^ b[i]);
        tally.floats("i32_to_f32", stored(s, s.i32_to_f32(va)), |i| a[i].cast_signed() as f32);
        let (high, low) = s.mul_wide(va, c[0]);
        let product = |i: usize| u64::from(a[i]) * u64::from(c[0]);
        tally.words("mul_wide, upper half", stored_words(s, high), |i| (product(i) >> 32) as u32);
        tally.words("mul_wide, lower half", stored_words(s, low), |i| product(i) as u32);
    }
}

fn shifts<S: Simd>(s: S, tally: &mut Tally) {
    let mut numbers = Numbers::new(7);
    for n in (0..32).cycle().take(32 * 64) {
        let mut a: Words = from_fn(|_| numbers.bits());
        a[..4].copy_from_slice(&[0, u32::MAX, 1 << 31, i32::MAX.cast_unsigned()]);
        let va = s.load_u32(&a);
        tally.words("shl", stored_words(s, s.shl(va, n)), |i| a[i] << n);
        tally.words("shr", stored_words(s, s.shr(va, n)), |i| a[i] >> n);
        tally.words("sar", stored_words(s, s.sar(va, n)), |i| (a[i].cast_signed() >> n).cast_unsigned());
    }
}

fn halves<S: Simd>(s: S, tally: &mut Tally) {
    for first in (0..=u16::MAX).step_by(LANES) {
        let bits = from_fn(|i| first + i as u16);
        tally.floats("load_f16", stored(s, s.load_f16(&bits)), |i| f16::from_bits(bits[i]).to_f32());
    }
}

fn dot_panels<S: Simd>(s: S, tally: &mut Tally) {
    let mut numbers = Numbers::new(99);
    for length in 0..=70 {
        let x: Vec<f32> = (0..length).map(|_| numbers.moderate()).collect();
        let w: Vec<Group> = (0..length).map(|_| from_fn(|_| numbers.moderate())).collect();
        let acc: Group = from_fn(|_| numbers.moderate());
        // One value more, so that halves can also be read from an address that is off by two bytes.
        let halves: Vec<u16> = (0..length * LANES + 1).map(|_| numbers.half()).collect();
        // Of slices of unequal length the shorter one counts.
        for (inputs, weights) in [(length, length), (length, length.min(5)), (length.min(5), length)] {
            let (x, w, n) = (&x[..inputs], &w[..weights], inputs.min(weights));
            let sum =
                |lane: usize, w: &dyn Fn(usize) -> f32| (0..n).fold(acc[lane], |sum, k| mul_add::<S>(x[k], w(k), sum));
            let found = stored(s, s.dot_panel(x, w, s.load(&acc)));
            tally.floats("dot_panel", found, |lane| sum(lane, &|k| w[k][lane]));
            for offset in [0, 1] {
                let w = &halves[offset..].as_chunks::<LANES>().0[..weights];
                let found = stored(s, s.dot_panel_f16(x, w, s.load(&acc)));
                tally.floats("dot_panel_f16", found, |lane| sum(lane, &|k| f16::from_bits(w[k][lane]).to_f32()));
            }
        }
    }
}

/// Rows become lanes; a move, so every bit stays.
fn transposes<S: Simd>(s: S, tally: &mut Tally) {
    let mut numbers = Numbers::new(16);
    for round in 0..200 {
        // First by position, so that a failure says where the value came from.
        let block: [Words; LANES] =
            from_fn(|row| from_fn(|lane| if round == 0 { (row << 8 | lane) as u32 } else { numbers.any() }));
        let turned = s.transpose(block.map(|row| s.from_bits(s.load_u32(&row))));
        for (row, turned) in turned.into_iter().enumerate() {
            tally.words("transpose", stored_words(s, s.to_bits(turned)), |lane| block[lane][row]);
        }
    }
}

/// `(1 + e)(1 - e) - 1` is `-e²` if rounded once and 0 if rounded twice.
fn rounds_as_declared<S: Simd>(s: S, tally: &mut Tally) {
    let e = f32::EPSILON;
    let [a, b, c] = black_box([1.0 + e, 1.0 - e, -1.0]).map(|x| s.splat(x));
    let expected = if S::FUSED { -e * e } else { 0.0 };
    tally.floats("mul_add", stored(s, s.mul_add(a, b, c)), |_| expected);
}

#[test]
fn float_operations_agree() {
    on_every_level!(float_operations);
}

#[test]
fn choosing_and_moving_keep_every_bit() {
    on_every_level!(choices_and_moves);
}

#[test]
fn word_operations_agree() {
    on_every_level!(word_operations);
}

#[test]
fn all_shift_amounts_agree() {
    on_every_level!(shifts);
}

#[test]
fn all_half_precision_values_widen_exactly() {
    on_every_level!(halves);
}

#[test]
fn dot_panels_of_all_lengths_agree() {
    on_every_level!(dot_panels);
}

#[test]
fn transposed_blocks_agree() {
    on_every_level!(transposes);
}

/// Square roots of all numbers in [1, 4), of which all others but the smallest are a power of four away, and of every
/// 251th pattern of 32 bits; with `EVENKEEL_EXHAUSTIVE=1`, of every one.
#[test]
fn square_roots_are_correctly_rounded() {
    struct Roots(u64, u64);
    impl Kernel for Roots {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            let Self(start, step) = self;
            let x: Group = from_fn(|lane| f32::from_bits((start + lane as u64 * step) as u32));
            let mut roots = [0.0; LANES];
            s.store(s.sqrt(s.load(&x)), &mut roots);
            for (x, root) in x.iter().zip(roots) {
                let expected = x.sqrt();
                let equal = root.to_bits() == expected.to_bits() || root.is_nan() && expected.is_nan();
                assert!(equal, "the root of {x:e} ({:#010x}): got {root:e}, expected {expected:e}", x.to_bits());
            }
        }
    }
    let binades = u64::from(1.0_f32.to_bits())..u64::from(4.0_f32.to_bits());
    let step = if std::env::var_os("EVENKEEL_EXHAUSTIVE").is_some() { 1 } else { 251 };
    let step_of_binades = if std::env::var_os("EVENKEEL_EMULATED").is_some() { 31 } else { 1 };
    for level in Level::available() {
        for start in binades.clone().step_by(LANES * step_of_binades) {
            level.run(Roots(start, step_of_binades as u64));
        }
        for start in (0..1_u64 << 32).step_by(LANES * step) {
            level.run(Roots(start, step as u64));
        }
        println!("{level}: {} roots", binades.clone().count() / step_of_binades + (1_usize << 32) / step);
    }
}

#[test]
fn the_fused_constant_tells_the_truth() {
    on_every_level!(rounds_as_declared);
    for level in Level::available().filter(|level| level.name() != "portable") {
        assert!(level.is_exact(), "{level}");
    }
}

#[test]
fn firmware_answers_agree() {
    for level in Level::available() {
        let (mut count, mut wrong) = (0, Vec::new());
        checks::all(level, &mut |outcome| {
            count += 1;
            if outcome.got != outcome.expected {
                wrong.push(format!("(\"{}\", {:#010x})", outcome.name, outcome.got));
            }
        });
        println!("{level}: {count} answers, exact: {}", level.is_exact());
        assert!(wrong.is_empty(), "{level} (exact: {}) found\n{}", level.is_exact(), wrong.join("\n"));
    }
}

#[test]
fn levels_are_found_by_name_and_never_replaced() {
    for unknown in ["", "sse", "AVX2", "portable ", "neon2", "native"] {
        assert_eq!(Level::by_name(unknown).err(), Some(Error::UnknownLevel), "{unknown:?}");
    }
    let available: Vec<&str> = Level::available().map(Level::name).collect();
    assert_eq!(available[0], "portable");
    assert_eq!(Level::detect().name(), *available.last().unwrap());
    for name in ["portable", "fpu", "neon", "avx2", "avx512"] {
        match Level::by_name(name) {
            Ok(level) => {
                assert_eq!(level.name(), name);
                assert_eq!(level.to_string(), name);
                assert!(available.contains(&name));
            }
            Err(error) => {
                assert_eq!(error, Error::LevelUnavailable { level: name });
                assert!(!available.contains(&name), "{name} is listed, but {error}");
                assert!(error.to_string().contains(name));
            }
        }
    }
    let foreign = if cfg!(target_arch = "aarch64") { ["avx2", "avx512", "fpu"] } else { ["neon", "fpu", "fpu"] };
    for level in foreign {
        assert_eq!(Level::by_name(level).err(), Some(Error::LevelUnavailable { level }));
    }
}

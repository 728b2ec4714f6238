//! Every activation over the inputs there are, against `f64`: what `docs/accuracy.md` says.
//!
//! The inputs are every 251st of all 2^32 bit patterns, on all levels of the machine; with `EVENKEEL_EXHAUSTIVE=1`, all of them on
//! the best one, or on that of `EVENKEEL_LEVEL`, which takes minutes for each function:
//!
//!     EVENKEEL_EXHAUSTIVE=1 cargo test --release --test activations -- --nocapture --test-threads 2
//!
//! Errors are in ulp of the exact result, of 2^-126 where that is smaller, and of a floor around a zero crossing. Gradients
//! are compared with the `f64` formulae at a grid of inputs, relative to the upstream gradient.

#[path = "common/exact.rs"]
mod exact;

use evenkeel::kernels::activation;
use evenkeel::{Activation, Level, Serial};

const EVERY: u64 = 251;

/// An activation with its bounds: on exact levels, on those that round a multiply-add twice, and for the derivative.
struct Row {
    name: &'static str,
    kind: Activation,
    exact: f64,
    loose: f64,
    slope: f64,
}

const fn row(name: &'static str, kind: Activation, bounds: [f64; 3]) -> Row {
    let [exact, loose, slope] = bounds;
    Row { name, kind, exact, loose, slope }
}

/// Bounds in ulp of the values; of the derivatives in 2^-24, the spacing of `f32` below 1.
const ROWS: [Row; 26] = [
    row("relu", Activation::Relu, [0.0, 0.0, 0.0]),
    row("leaky_relu", Activation::LeakyRelu { slope: 0.01 }, [0.5, 0.5, 0.0]),
    row("sigmoid", Activation::Sigmoid, [1.0, 1.7, 2.0]),
    row("tanh", Activation::Tanh, [1.6, 1.6, 4.0]),
    row("gelu", Activation::Gelu, [6.1, 7.7, 12.0]),
    row("silu", Activation::Silu, [1.8, 2.5, 6.0]),
    row("elu", Activation::Elu { alpha: 1.0 }, [1.0, 1.0, 3.0]),
    row("elu(0.3)", Activation::Elu { alpha: 0.3 }, [2.0, 2.0, 3.0]),
    row("selu", Activation::Selu, [2.0, 2.0, 5.0]),
    row("celu", Activation::Celu { alpha: 1.0 }, [1.0, 1.0, 3.0]),
    row("celu(2.5)", Activation::Celu { alpha: 2.5 }, [2.5, 2.5, 3.0]),
    row("celu(0.1)", Activation::Celu { alpha: 0.1 }, [2.5, 2.5, 3.0]),
    row("gelu_tanh", Activation::GeluTanh, [4.0, 5.0, 12.0]),
    row("softplus", Activation::Softplus { beta: 1.0 }, [1.7, 1.7, 3.0]),
    row("softplus(0.7)", Activation::Softplus { beta: 0.7 }, [2.5, 2.5, 3.0]),
    row("softplus(8)", Activation::Softplus { beta: 8.0 }, [2.5, 2.5, 3.0]),
    row("softsign", Activation::Softsign, [1.5, 1.5, 4.0]),
    row("hard_sigmoid", Activation::HardSigmoid, [1.5, 1.5, 1.0]),
    row("hard_swish", Activation::HardSwish, [2.5, 2.5, 2.0]),
    row("relu6", Activation::Relu6, [0.0, 0.0, 0.0]),
    row("mish", Activation::Mish, [4.0, 5.0, 12.0]),
    row("thresholded_relu(0)", Activation::ThresholdedRelu { theta: 0.0 }, [0.0, 0.0, 0.0]),
    row("thresholded_relu(1)", Activation::ThresholdedRelu { theta: 1.0 }, [0.0, 0.0, 0.0]),
    row("leaky_relu(0)", Activation::LeakyRelu { slope: 0.0 }, [0.0, 0.0, 0.0]),
    row("elu(0)", Activation::Elu { alpha: 0.0 }, [0.0, 0.0, 0.0]),
    row("softplus(1e-3)", Activation::Softplus { beta: 1e-3 }, [2.6, 2.6, 3.0]),
];

/// Below which value an error is counted in ulp of it: where a subnormal intermediate is multiplied (by alpha, by `1 / beta`), its
/// lost digits are, too.
fn floor(kind: Activation) -> f64 {
    f64::from(f32::MIN_POSITIVE)
        * match kind {
            Activation::Celu { alpha } => f64::from(alpha.max(1.0)),
            Activation::Softplus { beta } => 1.0 / f64::from(beta.min(1.0)),
            _ => 1.0,
        }
}

/// `|got - exact|` in ulp of `exact`, of `floor` if that is larger. Infinity counts as 2^128.
fn error_in_ulp(got: f32, exact: f64, floor: f64) -> f64 {
    let got = if got.is_infinite() { 2f64.powi(128).copysign(f64::from(got)) } else { f64::from(got) };
    let exact = exact.clamp(-(2f64.powi(128)), 2f64.powi(128));
    let exponent = (exact.abs().max(floor).to_bits() >> 52) as i64 - 1023;
    (got - exact).abs() * f64::from_bits((((23 - exponent.clamp(-126, 127)) + 1023) << 52) as u64)
}

/// A formula with short cuts where most `f32` lie: up to 2^-30 its series, from 2^20 on its asymptote.
struct Formula {
    kind: Activation,
    /// By sign: value, first derivative and half of the second, at zero.
    series: [[f64; 3]; 2],
    /// By sign: slope and offset.
    asymptote: [[f64; 2]; 2],
}

impl Formula {
    const SMALL: f32 = 9.313_226e-10;
    const LARGE: f32 = 1_048_576.0;

    fn new(kind: Activation) -> Self {
        let f = |x: f64| exact::activation(kind, x);
        let series = [1.0, -1.0].map(|sign| {
            let (value, slope) = f(sign * 1e-300);
            let step = sign * 2f64.powi(-20);
            [if value.abs() < 1e-299 { 0.0 } else { value }, slope, (f(step).1 - slope) / step / 2.0]
        });
        let asymptote = [1.0, -1.0].map(|sign| {
            let x = sign * f64::from(Self::LARGE);
            let (value, slope) = f(x);
            [slope, value - slope * x]
        });
        let formula = Self { kind, series, asymptote };
        // The short cuts are the formula.
        for x in (0..1000).map(|i| f32::from_bits(i * 0x0020_c000)).flat_map(|x| [x, -x]).filter(|x| x.is_finite()) {
            let (short, whole) = (formula.at(x), f(f64::from(x)).0);
            let tiny = f64::from(f32::MIN_POSITIVE) * 1e-14;
            assert!((short - whole).abs() <= 1e-12 * whole.abs() + tiny, "{kind:?}({x:e}): {short:e} or {whole:e}");
        }
        formula
    }

    /// Neighbours are mostly all of one kind.
    fn all(&self, x: &[f32], truth: &mut [f64]) {
        if x.iter().all(|x| x.abs() <= Self::SMALL) {
            truth.iter_mut().zip(x).for_each(|(truth, x)| *truth = self.short(*x));
        } else {
            truth.iter_mut().zip(x).for_each(|(truth, x)| *truth = self.at(*x));
        }
    }

    fn short(&self, x: f32) -> f64 {
        let ([value, slope, bend], x) = (self.series[usize::from(x.is_sign_negative())], f64::from(x));
        value + x * (slope + x * bend)
    }

    fn at(&self, x: f32) -> f64 {
        let sign = usize::from(x.is_sign_negative());
        let wide = f64::from(x);
        if x.abs() <= Self::SMALL {
            self.short(x)
        } else if x.abs() >= Self::LARGE && x.abs() < f32::INFINITY && self.kind != Activation::Softsign {
            let [slope, offset] = self.asymptote[sign];
            slope * wide + offset
        } else {
            exact::activation(self.kind, wide).0
        }
    }
}

fn same(a: f32, b: f32) -> bool {
    a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
}

/// The largest error of one activation on each level; panics where exact levels differ, or where NaN is not NaN.
fn measure(row: &Row, stride: u64) -> Vec<(Level, f64, f32)> {
    const CHUNK: usize = 1 << 12;
    // Of all inputs, one level: that the exact ones agree is shown by the others.
    let only = Level::from_env().unwrap().name();
    let levels = Level::available().filter(|level| stride > 1 || level.name() == only);
    let mut worst: Vec<(Level, f64, f32)> = levels.map(|level| (level, 0.0, 0.0)).collect();
    let (mut first, floor) = (0, floor(row.kind));
    let formula = Formula::new(row.kind);
    let mut truth = vec![0.0; CHUNK];
    while first < 1 << 32 {
        let pattern = |i: usize| (first + stride * i as u64).min(u64::from(u32::MAX)) as u32;
        let x: Vec<f32> = (0..CHUNK).map(|i| f32::from_bits(pattern(i))).collect();
        first += stride * CHUNK as u64;
        formula.all(&x, &mut truth);
        let mut agreed: Option<Vec<f32>> = None;
        for (level, worst, place) in &mut worst {
            let mut y = x.clone();
            activation::forward(*level, &Serial, row.kind, &mut y);
            for ((x, y), truth) in x.iter().zip(&y).zip(&truth) {
                // Minus infinity times a slope of 0 is NaN, as in PyTorch.
                let undefined = *x == f32::NEG_INFINITY && row.kind == Activation::LeakyRelu { slope: 0.0 };
                if x.is_nan() || undefined || y.is_nan() {
                    assert!((x.is_nan() || undefined) && y.is_nan(), "{} on {level}: {y:e} of {x:e}", row.name);
                    continue;
                }
                // The nearest there is: half an ulp at most.
                if *y == *truth as f32 && *worst >= 0.5 {
                    continue;
                }
                let error = error_in_ulp(*y, *truth, floor);
                if error > *worst {
                    (*worst, *place) = (error, *x);
                }
            }
            if level.is_exact() {
                if let Some(agreed) = &agreed {
                    assert!(y.iter().zip(agreed).all(|(a, b)| same(*a, *b)), "{} differs on {level}", row.name);
                }
                agreed = Some(y);
            }
        }
    }
    worst
}

fn check(index: usize) {
    let row = &ROWS[index];
    let all = std::env::var_os("EVENKEEL_EXHAUSTIVE").is_some();
    let worst = measure(row, if all { 1 } else { EVERY });
    let each: Vec<String> = worst.iter().map(|(level, error, x)| format!("{level} {error:.3} at {x:e}")).collect();
    println!("{:>20}: {}", row.name, each.join(", "));
    for (level, error, x) in worst {
        let bound = if level.is_exact() { row.exact } else { row.loose };
        assert!(error <= bound, "{} on {level}: {error} ulp at {x:e}, more than {bound}", row.name);
    }
}

macro_rules! within_bounds {
    ($($test:ident $index:literal)*) => { $(
        #[test]
        fn $test() {
            check($index);
        }
    )* };
}
within_bounds! {
    relu 0 leaky_relu 1 sigmoid 2 tanh 3 gelu 4 silu 5 elu 6 elu_small 7 selu 8 celu 9 celu_large 10 celu_small 11
    gelu_tanh 12 softplus 13 softplus_wide 14 softplus_sharp 15 softsign 16 hard_sigmoid 17 hard_swish 18 relu6 19 mish 20
    thresholded_relu_0 21 thresholded_relu_1 22 leaky_relu_0 23 elu_0 24 softplus_flat 25
}

/// Derivatives by the kernels against the formulae, on a grid of inputs and around every place where something changes.
#[test]
fn derivatives() {
    let mut x: Vec<f32> = (-40_000..40_000).map(|i| i as f32 * 3.1e-4).collect();
    x.extend((-140..140).map(|e| 1.7 * 2f32.powi(e)).flat_map(|x| [x, -x]));
    x.extend((-2000..2000).map(|i| i as f32 * 0.097));
    for centre in [-3.0_f32, -1.0, 1.0, 3.0, 6.0, 88.0, -88.0, 110.0, -110.0, 11.0, -11.0] {
        x.extend((0..64).map(|i| f32::from_bits(centre.to_bits() - 32 + i)));
    }
    x.resize(x.len().next_multiple_of(16), 0.5);
    for row in &ROWS {
        let mut lines = Vec::new();
        for level in Level::available() {
            let mut y = x.clone();
            activation::forward(level, &Serial, row.kind, &mut y);
            let mut dx = vec![1.0; x.len()];
            activation::backward(level, &Serial, row.kind, if row.kind.keeps_input() { &x } else { &y }, &mut dx)
                .unwrap();
            let mut worst = (0.0, 0.0);
            for ((x, y), dx) in x.iter().zip(&y).zip(&dx) {
                // Saturated by rounding: the last values before a bend are on it.
                if row.kind == Activation::HardSigmoid && *y == 1.0 && *x < 3.0 {
                    assert!(*x > 2.999_999_5 && *dx == 0.0, "{x:e}");
                    continue;
                }
                let error = (f64::from(*dx) - exact::activation(row.kind, f64::from(*x)).1).abs() * 2f64.powi(24);
                assert!(!error.is_nan(), "{} on {level}: {dx:e} at {x:e}", row.name);
                if error > worst.0 {
                    worst = (error, *x);
                }
            }
            lines.push(format!("{level} {:.2} at {:e}", worst.0, worst.1));
            assert!(worst.0 <= row.slope, "{} on {level}: {} of 2^-24 at {:e}", row.name, worst.0, worst.1);
        }
        println!("{:>20}: {}", row.name, lines.join(", "));
    }
}

/// What infinities, zeros, subnormals and NaN give, zeros with their sign; and what their derivatives are.
#[test]
fn special_values() {
    const INF: f32 = f32::INFINITY;
    const TINY: f32 = 1e-45;
    let inputs = [0.0, -0.0, INF, -INF, TINY, -TINY, f32::MAX, -f32::MAX];
    #[rustfmt::skip]
    let table: [(Activation, [f32; 8]); 13] = [
        (Activation::Elu { alpha: 1.0 }, [0.0, -0.0, INF, -1.0, TINY, -TINY, f32::MAX, -1.0]),
        (Activation::Elu { alpha: 0.25 }, [0.0, -0.0, INF, -0.25, TINY, -0.0, f32::MAX, -0.25]),
        (Activation::Selu, [0.0, -0.0, INF, -1.758_099_3, TINY, -2.8e-45, INF, -1.758_099_3]),
        (Activation::Celu { alpha: 2.0 }, [0.0, -0.0, INF, -2.0, TINY, 0.0, f32::MAX, -2.0]),
        (Activation::GeluTanh, [0.0, -0.0, INF, 0.0, TINY, 0.0, f32::MAX, 0.0]),
        (Activation::Softplus { beta: 1.0 }, [core::f32::consts::LN_2, core::f32::consts::LN_2, INF, 0.0, core::f32::consts::LN_2, core::f32::consts::LN_2, f32::MAX, 0.0]),
        (Activation::Softplus { beta: 2.0 }, [0.5 * core::f32::consts::LN_2, 0.5 * core::f32::consts::LN_2, INF, 0.0, 0.5 * core::f32::consts::LN_2, 0.5 * core::f32::consts::LN_2, f32::MAX, 0.0]),
        (Activation::Softsign, [0.0, -0.0, 1.0, -1.0, TINY, -TINY, 1.0, -1.0]),
        (Activation::HardSigmoid, [0.5, 0.5, 1.0, 0.0, 0.5, 0.5, 1.0, 0.0]),
        (Activation::HardSwish, [0.0, -0.0, INF, -0.0, 0.0, -0.0, f32::MAX, -0.0]),
        (Activation::Relu6, [0.0, -0.0, 6.0, 0.0, TINY, 0.0, 6.0, 0.0]),
        (Activation::Mish, [0.0, -0.0, INF, 0.0, TINY, -TINY, f32::MAX, 0.0]),
        (Activation::ThresholdedRelu { theta: 0.5 }, [0.0, 0.0, INF, 0.0, 0.0, 0.0, f32::MAX, 0.0]),
    ];
    for level in Level::available() {
        for (kind, expected) in &table {
            let mut x = [f32::NAN; 16];
            x[..8].copy_from_slice(&inputs);
            let mut y = x;
            activation::forward(level, &Serial, *kind, &mut y);
            for ((x, y), expected) in x.iter().zip(&y).zip(expected) {
                assert!(same(*y, *expected), "{kind:?}({x:e}) on {level}: {y:e}, not {expected:e}");
            }
            assert!(y[8..].iter().all(|y| y.is_nan()), "{kind:?} of NaN on {level}: {y:?}");
            // The derivative is a finite number everywhere, at infinities too.
            let mut dx = [1.0; 16];
            activation::backward(level, &Serial, *kind, if kind.keeps_input() { &x } else { &y }, &mut dx).unwrap();
            assert!(dx[..8].iter().all(|dx| dx.is_finite()), "{kind:?} on {level}: {dx:?}");
        }
    }
}

//! The vector functions against `f64`: the documented bounds, the special values, the same bits on every exact level.
//!
//! The inputs are every 251th of all 2^32 bit patterns; with `EVENKEEL_EXHAUSTIVE=1`, all of them (minutes per function,
//! in release). The largest error and where it occurs are printed: `cargo test --release --test math -- --nocapture`.

use evenkeel::{Level, kernels::math};

struct Function {
    name: &'static str,
    on_slice: fn(Level, &mut [f32]),
    reference: fn(f64) -> f64,
    /// Inputs outside are not looked at.
    domain: (f32, f32),
    /// Around a zero of the function, in ulp of 1/16 (where the result is smaller than that).
    crossing: (f32, f32),
    /// Documented bound in ulp on exact levels.
    exact: f64,
    /// Documented bound in ulp on the others.
    loose: f64,
}

const ALL: (f32, f32) = (f32::NEG_INFINITY, f32::INFINITY);
const NOWHERE: (f32, f32) = (0.0, 0.0);

fn sigmoid(x: f64) -> f64 {
    if x < 0.0 { x.exp() / (1.0 + x.exp()) } else { 1.0 / (1.0 + (-x).exp()) }
}

fn normal_cdf(x: f64) -> f64 {
    0.5 * libm::erfc(-x * core::f64::consts::FRAC_1_SQRT_2)
}

/// `x * y` where `y` tends to 0 faster than `x` grows.
fn vanishing(x: f64, y: f64) -> f64 {
    if y == 0.0 { 0.0 } else { x * y }
}

fn gelu_derivative(x: f64) -> f64 {
    normal_cdf(x) + vanishing(x, (-0.5 * x * x).exp() * 0.398_942_280_401_432_7)
}

fn silu_derivative(x: f64) -> f64 {
    sigmoid(x) + vanishing(x, sigmoid(x) * sigmoid(-x))
}

fn log1p_exp_neg(x: f64) -> f64 {
    (-x.abs()).exp().ln_1p()
}

#[rustfmt::skip]
const FUNCTIONS: [Function; 11] = [
    Function { name: "exp", on_slice: math::exp_f32, reference: f64::exp, domain: ALL, crossing: NOWHERE, exact: 1.0, loose: 1.0 },
    Function { name: "log", on_slice: math::log_f32, reference: f64::ln, domain: ALL, crossing: NOWHERE, exact: 1.0, loose: 1.1 },
    Function { name: "log1p_unit", on_slice: math::log1p_unit_f32, reference: f64::ln_1p, domain: (0.0, 1.0), crossing: NOWHERE, exact: 1.0, loose: 1.0 },
    Function { name: "log1p_exp_neg", on_slice: math::log1p_exp_neg_f32, reference: log1p_exp_neg, domain: ALL, crossing: NOWHERE, exact: 1.7, loose: 1.7 },
    Function { name: "softplus", on_slice: math::softplus_f32, reference: |x| x.max(0.0) + log1p_exp_neg(x), domain: ALL, crossing: NOWHERE, exact: 1.7, loose: 1.7 },
    Function { name: "sigmoid", on_slice: math::sigmoid_f32, reference: sigmoid, domain: ALL, crossing: NOWHERE, exact: 1.0, loose: 1.7 },
    Function { name: "tanh", on_slice: math::tanh_f32, reference: f64::tanh, domain: ALL, crossing: NOWHERE, exact: 1.6, loose: 1.6 },
    Function { name: "gelu", on_slice: math::gelu_f32, reference: |x| vanishing(x, normal_cdf(x)), domain: ALL, crossing: NOWHERE, exact: 6.1, loose: 7.7 },
    Function { name: "gelu_derivative", on_slice: math::gelu_derivative_f32, reference: gelu_derivative, domain: ALL, crossing: (-1.0, -0.5), exact: 8.4, loose: 10.6 },
    Function { name: "silu", on_slice: math::silu_f32, reference: |x| vanishing(x, sigmoid(x)), domain: ALL, crossing: NOWHERE, exact: 1.8, loose: 2.5 },
    Function { name: "silu_derivative", on_slice: math::silu_derivative_f32, reference: silu_derivative, domain: ALL, crossing: (-1.75, -0.75), exact: 3.6, loose: 4.8 },
];

/// `|got - exact|` in ulp of `exact`, or of `floor` if that is larger. Infinity counts as 2^128.
fn error_in_ulp(got: f32, exact: f64, floor: f64) -> f64 {
    let got = if got.is_infinite() { 2f64.powi(128).copysign(f64::from(got)) } else { f64::from(got) };
    let exact = exact.clamp(-(2f64.powi(128)), 2f64.powi(128));
    let exponent = (exact.abs().max(floor).to_bits() >> 52) as i64 - 1023;
    (got - exact).abs() * f64::from_bits((((23 - exponent.clamp(-126, 127)) + 1023) << 52) as u64)
}

fn same(a: f32, b: f32) -> bool {
    a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
}

fn check(function: &Function) {
    const CHUNK: usize = 1 << 12;
    let stride = if std::env::var_os("EVENKEEL_EXHAUSTIVE").is_some() { 1 } else { 251 };
    let levels: Vec<Level> = Level::available().collect();
    let mut worst = vec![(0.0, 0.0f32); levels.len()];
    let mut patterns = (0..=u64::from(u32::MAX)).step_by(stride).map(|bits| f32::from_bits(bits as u32));
    loop {
        let x: Vec<f32> = patterns.by_ref().take(CHUNK).collect();
        if x.is_empty() {
            break;
        }
        let results = levels.iter().map(|level| {
            let mut y = x.clone();
            (function.on_slice)(*level, &mut y);
            y
        });
        let results: Vec<Vec<f32>> = results.collect();
        let exact: Vec<usize> = (0..levels.len()).filter(|i| levels[*i].is_exact()).collect();
        for (i, x) in x.iter().enumerate() {
            for pair in exact.windows(2) {
                let (a, b) = (results[pair[0]][i], results[pair[1]][i]);
                assert!(same(a, b), "{}({x:e}): {a:e} or {b:e}, by level", function.name);
            }
            if !x.is_nan() && (*x < function.domain.0 || *x > function.domain.1) {
                continue;
            }
            let reference = (function.reference)(f64::from(*x));
            let crossing = *x > function.crossing.0 && *x < function.crossing.1;
            let floor = if crossing { 1.0 / 16.0 } else { 0.0 };
            for (y, worst) in results.iter().zip(&mut worst) {
                if reference.is_nan() {
                    assert!(y[i].is_nan(), "{}({x:e}) = {:e}, not NaN", function.name, y[i]);
                } else {
                    let error = error_in_ulp(y[i], reference, floor);
                    assert!(!error.is_nan(), "{}({x:e}) is NaN, not {reference:e}", function.name);
                    if error > worst.0 {
                        *worst = (error, *x);
                    }
                }
            }
        }
    }
    for (level, worst) in levels.iter().zip(&worst) {
        println!("{:>16} {:>8}: {:.3} ulp at {:e}", function.name, level.name(), worst.0, worst.1);
    }
    for (level, worst) in levels.iter().zip(&worst) {
        let bound = if level.is_exact() { function.exact } else { function.loose };
        assert!(worst.0 <= bound, "{} on {level}: {} ulp at {:e}", function.name, worst.0, worst.1);
    }
}

macro_rules! within_bounds {
    ($($test:ident $index:literal)*) => { $(
        #[test]
        fn $test() {
            check(&FUNCTIONS[$index]);
        }
    )* };
}
within_bounds! {
    exp_within_bounds 0 log_within_bounds 1 log1p_unit_within_bounds 2 log1p_exp_neg_within_bounds 3
    softplus_within_bounds 4 sigmoid_within_bounds 5 tanh_within_bounds 6 gelu_within_bounds 7
    gelu_derivative_within_bounds 8 silu_within_bounds 9 silu_derivative_within_bounds 10
}

/// Results that must be exact, zeros with their sign, on every level.
#[test]
fn special_values() {
    const INF: f32 = f32::INFINITY;
    const NAN: f32 = f32::NAN;
    let table: [(&str, [f32; 6], [f32; 6]); 11] = [
        ("exp", [0.0, -0.0, INF, -INF, 200.0, NAN], [1.0, 1.0, INF, 0.0, INF, NAN]),
        ("log", [0.0, -0.0, INF, -INF, 1.0, -1e-45], [-INF, -INF, INF, NAN, 0.0, NAN]),
        ("log1p_unit", [0.0, 1.0, 1e-45, 1e-40, 1e-20, NAN], [0.0, core::f32::consts::LN_2, 1e-45, 1e-40, 1e-20, NAN]),
        ("log1p_exp_neg", [0.0, INF, -INF, 200.0, -200.0, NAN], [core::f32::consts::LN_2, 0.0, 0.0, 0.0, 0.0, NAN]),
        ("softplus", [-200.0, INF, -INF, 200.0, 1e30, NAN], [0.0, INF, 0.0, 200.0, 1e30, NAN]),
        ("sigmoid", [0.0, -0.0, INF, -INF, 100.0, NAN], [0.5, 0.5, 1.0, 0.0, 1.0, NAN]),
        ("tanh", [0.0, -0.0, INF, -INF, -1e-45, NAN], [0.0, -0.0, 1.0, -1.0, -1e-45, NAN]),
        ("gelu", [0.0, -0.0, INF, -INF, 100.0, NAN], [0.0, -0.0, INF, 0.0, 100.0, NAN]),
        ("gelu_derivative", [0.0, -0.0, INF, 100.0, 1e30, NAN], [0.5, 0.5, 1.0, 1.0, 1.0, NAN]),
        ("silu", [0.0, -0.0, INF, -INF, 200.0, NAN], [0.0, -0.0, INF, 0.0, 200.0, NAN]),
        ("silu_derivative", [0.0, -0.0, INF, 200.0, 1e30, NAN], [0.5, 0.5, 1.0, 1.0, 1.0, NAN]),
    ];
    for level in Level::available() {
        for (function, (name, inputs, expected)) in FUNCTIONS.iter().zip(&table) {
            assert_eq!(function.name, *name);
            let mut y = *inputs;
            (function.on_slice)(level, &mut y);
            for ((x, y), expected) in inputs.iter().zip(&y).zip(expected) {
                assert!(same(*y, *expected), "{name}({x:e}) on {level}: {y:e}, not {expected:e}");
            }
        }
    }
}

/// An element's result does not depend on its position or on the length of the slice.
#[test]
fn any_length() {
    let inputs: Vec<f32> = (0..70).map(|i| (i as f32 - 31.5) * 0.37).collect();
    for level in Level::available() {
        for function in &FUNCTIONS {
            let alone = inputs.iter().map(|x| {
                let mut y = [*x];
                (function.on_slice)(level, &mut y);
                y[0]
            });
            let alone: Vec<f32> = alone.collect();
            for length in 0..=inputs.len() {
                let mut y = inputs[..length].to_vec();
                (function.on_slice)(level, &mut y);
                assert!(y.iter().zip(&alone).all(|(a, b)| same(*a, *b)), "{} of {length} on {level}", function.name);
            }
        }
    }
}

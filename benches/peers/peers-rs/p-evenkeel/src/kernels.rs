//! The kernels by themselves: products and batch norm through their slice entries, and nothing else of the program
//! knows how these want their operands laid out.
//!
//! Operands and results of products are row-major, as everybody's; what a kernel's own layout costs is part of the
//! time, except that weights are packed once, as a network holds them. Batch norm works on groups of sixteen features, as
//! the dense layers around it leave and want them.

use std::hint::black_box;

use evenkeel::kernels::groups::{Rows, from_groups, to_groups};
use evenkeel::kernels::{batchnorm, dense, panels};
use evenkeel::memory::Buffer;
use evenkeel::split::Split;
use half::f16;
use peers_common::{Case, Rng, Value, json};

use crate::Bench;

/// Packs weights that lie as `[inputs][outputs]`.
pub fn pack(inputs: usize, outputs: usize, matrix: &[f32], weights: &mut [f32]) {
    let mut turned = vec![0.0; matrix.len()];
    for (input, row) in matrix.chunks_exact(outputs).enumerate() {
        for (output, value) in row.iter().enumerate() {
            turned[output * inputs + input] = *value;
        }
    }
    panels::pack(inputs, outputs, &turned, weights);
}

/// The largest difference from `want`, loud if it is more than `bound`.
fn largest_error(case: &Case, bound: f64, pairs: impl Iterator<Item = (f32, f64)>) -> Value {
    let error = pairs.fold(0.0_f64, |max, (got, want)| {
        let error = (f64::from(got) - want).abs();
        if error <= max { max } else { error }
    });
    if !(error <= bound) {
        eprintln!("WRONG RESULT {}: max_err {error}", case.id);
    }
    json!({"max_err": format!("{error:.2e}").parse::<f64>().unwrap_or(f64::INFINITY)})
}

/// `C = A B`.
pub fn gemm<P: Split>(bench: &Bench<'_, P>, case: &Case, m: usize, k: usize, n: usize) {
    let mut random = Rng(7);
    let (a, b) = (Buffer::from(&random.vec(m * k)[..]), random.vec(k * n));
    let mut weights = Buffer::zeros(panels::weight_len(k, n));
    pack(k, n, &b, &mut weights);
    let weights = dense::Dense { inputs: k, outputs: n, weights: &weights[..], bias: None };
    // Every n of the workloads is a multiple of sixteen, so padded rows are rows.
    assert!(n.is_multiple_of(16));
    let mut c = Buffer::zeros(m * n);
    c.fill(f32::NAN);
    let call = |c: &mut [f32]| {
        let a = Rows::plain(black_box(&a), m, k, k).expect("right lengths");
        dense::forward_plain(bench.level, bench.split, weights, a, c).expect("right lengths");
        black_box(c);
    };
    call(&mut c);
    // Some rows in f64, all of their columns.
    let rows = (0..m).step_by(m.div_ceil(8));
    let pairs = rows.flat_map(|i| {
        let mut want = vec![0.0_f64; n];
        for (a, b) in a[i * k..][..k].iter().zip(b.chunks_exact(n)) {
            want.iter_mut().zip(b).for_each(|(want, b)| *want += f64::from(*a) * f64::from(*b));
        }
        c[i * n..][..n].to_vec().into_iter().zip(want)
    });
    let error = largest_error(case, 1e-5 * k as f64, pairs);
    bench.measure(case, "", error, || call(&mut c));
}

/// `y = W x`, weights in half precision; `x`, `y` and the sums are f32.
pub fn gemv_f16<P: Split>(bench: &Bench<'_, P>, case: &Case, k: usize, n: usize) {
    let mut random = Rng(3);
    let x = Buffer::from(&random.vec(k)[..]);
    let matrix: Vec<f32> = (0..k * n).map(|_| f16::from_f32(random.f32() * 0.05).to_f32()).collect();
    let mut packed = Buffer::zeros(panels::weight_len(k, n));
    panels::pack(k, n, &matrix, &mut packed);
    // In a buffer of whole cache lines, as an image has it.
    let mut lines = Buffer::zeros(packed.len() / 2);
    let halves: &mut [u16] = bytemuck::cast_slice_mut(&mut lines);
    halves.iter_mut().zip(packed.iter()).for_each(|(half, value)| *half = f16::from_f32(*value).to_bits());
    let weights = dense::Dense { inputs: k, outputs: n, weights: &*halves, bias: None };
    let mut y = Buffer::zeros(n);
    let row = Rows::plain(&x, 1, k, k).expect("right lengths");
    dense::forward(bench.level, bench.split, weights, row, &mut y).expect("right lengths");
    let dot = |row: &[f32]| row.iter().zip(x.iter()).map(|(w, x)| f64::from(*w) * f64::from(*x)).sum();
    let error = largest_error(case, 1e-4, y.iter().copied().zip(matrix.chunks_exact(k).map(dot)));
    bench.measure(case, "(f32 x, y and sums)", error, || {
        dense::forward(bench.level, bench.split, weights, black_box(row), &mut y).expect("right lengths");
        black_box(&mut y[..]);
    });
}

/// Batch norm in training: statistics, output, running statistics; then the three gradients.
///
/// The gradient of the input replaces that of the output, as in a training step. The inputs have variance 1, so that
/// doing this again and again leaves the values where they are; "(dy kept)" copies the gradient first.
pub fn bn_train<P: Split>(bench: &Bench<'_, P>, case: &Case, rows: usize, cols: usize) {
    const EPS: f32 = 1e-5;
    let mut norm = Norm {
        x: grouped(rows, &standard_columns(&Rng(1).vec(rows * cols), cols)),
        y: Buffer::zeros(rows * cols),
        dy: grouped(rows, &Rng(2).vec(rows * cols)),
        gamma: Buffer::from(&vec![1.0; cols][..]),
        beta: Buffer::zeros(cols),
        dgamma: Buffer::zeros(cols),
        dbeta: Buffer::zeros(cols),
        mean: Buffer::zeros(cols),
        var: Buffer::from(&vec![1.0; cols][..]),
        cache: Buffer::zeros(batchnorm::cache_len(cols)),
    };
    let upstream = norm.dy.clone();
    norm.call(bench, rows, EPS);
    let [x, dy, y, dx] = [&norm.x, &upstream, &norm.y, &norm.dy].map(|buffer| plain(rows, buffer));
    let want = |column: usize| Reference::new(&x, &dy, column, cols, f64::from(EPS));
    let pairs = (0..cols).step_by(61).flat_map(|column| {
        let want = want(column);
        let value = |buffer: &[f32], row: usize| buffer[row * cols + column];
        let mut pairs = vec![(norm.dgamma[column], want.dgamma), (norm.dbeta[column], want.dbeta)];
        for row in 0..rows {
            pairs.push((value(&y, row), want.normal[row]));
            pairs.push((value(&dx, row), want.dx[row]));
        }
        pairs
    });
    let error = largest_error(case, 1e-3, pairs);
    bench.measure(case, "", error.clone(), || norm.call(bench, rows, EPS));
    bench.measure(case, "(dy kept)", error, || {
        norm.dy.copy_from_slice(black_box(&upstream));
        norm.call(bench, rows, EPS);
    });
}

/// Plain rows in groups.
fn grouped(rows: usize, plain: &[f32]) -> Buffer {
    let mut buffer = Buffer::zeros(plain.len());
    to_groups(&evenkeel::Serial, rows, plain.len() / rows, plain, &mut buffer);
    buffer
}

/// Groups as plain rows.
fn plain(rows: usize, grouped: &[f32]) -> Vec<f32> {
    let mut plain = vec![0.0; grouped.len()];
    from_groups(rows, grouped.len() / rows, grouped, &mut plain);
    plain
}

struct Norm {
    x: Buffer,
    y: Buffer,
    dy: Buffer,
    gamma: Buffer,
    beta: Buffer,
    dgamma: Buffer,
    dbeta: Buffer,
    mean: Buffer,
    var: Buffer,
    cache: Buffer,
}

impl Norm {
    fn call<P: Split>(&mut self, bench: &Bench<'_, P>, rows: usize, eps: f32) {
        let Self { x, y, dy, gamma, beta, dgamma, dbeta, mean, var, cache } = self;
        let (level, split) = (bench.level, bench.split);
        batchnorm::forward(level, split, rows, eps, gamma, beta, black_box(x), y, cache).expect("right lengths");
        batchnorm::update_running(cache, rows, 0.1, true, mean, var).expect("right lengths");
        black_box(&mut y[..]);
        batchnorm::backward(level, split, rows, cache, gamma, x, dy, dgamma, dbeta).expect("right lengths");
        black_box((&mut dy[..], &mut dgamma[..], &mut dbeta[..]));
    }
}

/// Shifts and scales every column to mean 0 and variance 1.
fn standard_columns(x: &[f32], cols: usize) -> Vec<f32> {
    let mut out = x.to_vec();
    for column in 0..cols {
        let values = x.iter().skip(column).step_by(cols).map(|x| f64::from(*x));
        let count = (x.len() / cols) as f64;
        let mean = values.clone().sum::<f64>() / count;
        let deviation = (values.map(|x| (x - mean) * (x - mean)).sum::<f64>() / count).sqrt();
        for x in out.iter_mut().skip(column).step_by(cols) {
            *x = ((f64::from(*x) - mean) / deviation) as f32;
        }
    }
    out
}

/// One column in f64, with scale 1 and shift 0.
struct Reference {
    normal: Vec<f64>,
    dx: Vec<f64>,
    dgamma: f64,
    dbeta: f64,
}

impl Reference {
    fn new(x: &[f32], dy: &[f32], column: usize, cols: usize, eps: f64) -> Self {
        let of = |slice: &[f32]| slice.iter().skip(column).step_by(cols).map(|x| f64::from(*x)).collect::<Vec<_>>();
        let (x, dy) = (of(x), of(dy));
        let count = x.len() as f64;
        let mean = x.iter().sum::<f64>() / count;
        let var = x.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / count;
        let inverse = 1.0 / (var + eps).sqrt();
        let normal: Vec<f64> = x.iter().map(|x| (x - mean) * inverse).collect();
        let dbeta: f64 = dy.iter().sum();
        let dgamma: f64 = dy.iter().zip(&normal).map(|(dy, normal)| dy * normal).sum();
        let gradient = |(dy, normal): (&f64, &f64)| (dy - dbeta / count - normal * (dgamma / count)) * inverse;
        Self { dx: dy.iter().zip(&normal).map(gradient).collect(), normal, dgamma, dbeta }
    }
}

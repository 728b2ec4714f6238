//! Dense kernels on every level of the host, one thread: `cargo bench --bench dense`.
//!
//! Each case is compared with the slow reference by bits before it is timed. Throughput is in FLOP, two per
//! multiply-add ("elem/s" in criterion's words), for one row in bytes of weights, which is what limits it.

// Each target uses its own part of the shared module.
#[allow(dead_code)]
#[path = "../tests/common/mod.rs"]
mod common;

use common::layout::{group, group_strided, ungroup};
use common::reference::{Reference, Stored, pack};
use common::values::{Rng, Values};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use evenkeel::Level;
use evenkeel::kernels::dense;
use evenkeel::kernels::groups::Rows;
use evenkeel::layer::padded;
use evenkeel::split::Serial;

/// A forward product at every level.
fn forward<W: Stored>(c: &mut Criterion, rows: usize, inputs: usize, outputs: usize) {
    let rng = &mut Rng::new(1);
    let x = Values::Plain.vec(rng, rows * inputs);
    let groups = group_strided(rows, inputs, inputs, &x);
    let grouped = Rows::grouped(&groups, rows, inputs).expect("as many values");
    let matrix = Values::Plain.stored::<W>(rng, inputs * outputs);
    let weights = pack((inputs, outputs), &matrix);
    let matrix: Vec<f32> = matrix.into_iter().map(W::widen).collect();
    let mut bias = vec![0.0; padded(outputs)];
    bias[..outputs].fill(0.5);
    let operands = dense::Dense { inputs, outputs, weights: &weights, bias: Some(&bias) };
    let mut y = vec![0.0; rows * padded(outputs)];

    let mut group = c.benchmark_group(format!("dense_{}_{rows}x{inputs}x{outputs}", W::NAME));
    group.throughput(if rows == 1 {
        Throughput::Bytes(size_of_val(&weights[..]) as u64)
    } else {
        Throughput::Elements((2 * rows * inputs * outputs) as u64)
    });
    for level in Level::available() {
        // A few rows are enough to see that the kernel computes what it should: rows are alike.
        let checked = rows.min(9);
        dense::forward(level, &Serial, operands, grouped, &mut y).expect("the lengths are right");
        let expected = Reference::of(level).dense(
            (inputs, outputs),
            &matrix,
            Some(&bias),
            checked,
            &x[..checked * inputs],
            inputs,
        );
        assert!(ungroup(outputs, &y)[..expected.len()] == expected, "{level} differs from the reference");
        group.bench_function(level.name(), |b| {
            b.iter(|| dense::forward(level, &Serial, operands, grouped, &mut y));
        });
    }
    group.finish();
}

/// The gradients of a layer of a training step.
fn gradients(c: &mut Criterion, rows: usize, inputs: usize, outputs: usize) {
    let rng = &mut Rng::new(2);
    let shape = (inputs, outputs);
    let x = Values::Plain.vec(rng, rows * inputs);
    let dy = Values::Plain.padded_rows(rng, rows, outputs);
    let (x_groups, dy_groups) = (group_strided(rows, inputs, inputs, &x), group(outputs, &dy));
    let matrix = Values::Plain.vec(rng, inputs * outputs);
    let weights = pack(shape, &matrix);
    let mut gradient = vec![0.0; weights.len()];
    let mut turned = vec![0.0; padded(inputs) * outputs];
    let mut dx = vec![0.0; rows * padded(inputs)];

    let mut group = c.benchmark_group(format!("dense_gradients_{rows}x{inputs}x{outputs}"));
    group.throughput(Throughput::Elements((2 * rows * inputs * outputs) as u64));
    for level in Level::available() {
        let reference = Reference::of(level);
        dense::weight_gradient(level, &Serial, shape, rows, &x_groups, &dy_groups, &mut gradient)
            .expect("right lengths");
        let expected = pack(shape, &reference.weight_gradient(shape, rows, &x, inputs, &dy));
        assert!(gradient == expected, "{level}: the weight gradient differs from the reference");
        group.bench_function(format!("weights/{level}"), |b| {
            b.iter(|| dense::weight_gradient(level, &Serial, shape, rows, &x_groups, &dy_groups, &mut gradient));
        });
        dense::input_gradient(level, &Serial, shape, &weights, rows, &dy_groups, &mut turned, &mut dx)
            .expect("right lengths");
        let expected = reference.input_gradient(shape, &matrix, rows, &dy);
        assert!(ungroup(inputs, &dx) == expected, "{level}: the input gradient differs from the reference");
        group.bench_function(format!("input/{level}"), |b| {
            b.iter(|| dense::input_gradient(level, &Serial, shape, &weights, rows, &dy_groups, &mut turned, &mut dx));
        });
    }
    group.finish();
}

fn all(c: &mut Criterion) {
    for size in [64, 256, 512, 1024] {
        forward::<f32>(c, size, size, size);
    }
    forward::<f32>(c, 64, 784, 512);
    forward::<u16>(c, 64, 784, 512);
    forward::<f32>(c, 64, 128, 10);
    forward::<f32>(c, 1, 784, 512);
    forward::<u16>(c, 1, 784, 512);
    forward::<f32>(c, 1, 4096, 4096);
    forward::<u16>(c, 1, 4096, 4096);
    gradients(c, 64, 784, 512);
}

criterion_group!(benches, all);
criterion_main!(benches);

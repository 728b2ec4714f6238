//! Layer norm, forward and backward, one thread: `cargo bench --bench layernorm`.
//!
//! Compared with the slow reference by bits before it is timed. Throughput is in bytes of the layer's input.

#[allow(dead_code)] // Each target uses its own part of the shared module.
#[path = "../tests/common/mod.rs"]
mod common;

use common::layout::{group, ungroup};
use common::reference::Reference;
use common::values::{Rng, Values};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use evenkeel::Level;
use evenkeel::kernels::layernorm::{self, STATISTICS};
use evenkeel::split::Serial;

const EPS: f32 = 1e-5;

fn shape(c: &mut Criterion, rows: usize, width: usize) {
    let rng = &mut Rng::new(6);
    let [x, dy] = [0, 1].map(|_| Values::Plain.vec(rng, rows * width));
    let [gamma, beta] = [0, 1].map(|_| Values::Plain.vec(rng, width));
    let (x_groups, dy_groups) = (group(width, &x), group(width, &dy));
    let [x_rows, dy_rows] = [&x, &dy].map(|rows| rows.chunks_exact(width).collect::<Vec<_>>());
    let (mut y, mut dx, mut buffer) = (vec![0.0; x.len()], dy.clone(), x.clone());
    let (mut statistics, mut sums) = (vec![0.0; rows * STATISTICS], vec![0.0; 2 * rows]);
    let (mut dgamma, mut dbeta) = (vec![0.0; width], vec![0.0; width]);

    let mut group = c.benchmark_group(format!("layernorm_{rows}x{width}"));
    group.throughput(Throughput::Bytes(size_of_val(&x[..]) as u64));
    for level in Level::available() {
        let reference = Reference::of(level);
        let forward = |y: &mut [f32], statistics: &mut [f32]| {
            layernorm::forward(level, &Serial, (width, rows), EPS, &gamma, &beta, &x_groups, y, statistics)
                .expect("the lengths are right");
        };
        let infer = |x: &mut [f32]| {
            layernorm::layer_norm(level, width, rows, EPS, &gamma, &beta, x).expect("the lengths are right");
        };
        let mut backward = |dx: &mut [f32], statistics: &[f32]| {
            let (dgamma, dbeta) = (&mut dgamma, &mut dbeta);
            layernorm::backward(level, (width, rows), statistics, &gamma, &x_groups, dx, dgamma, dbeta, &mut sums)
                .expect("the lengths are right");
            (dgamma[0], dbeta[0])
        };
        forward(&mut y, &mut statistics);
        buffer.copy_from_slice(&x_groups);
        infer(&mut buffer);
        dx.copy_from_slice(&dy_groups);
        let first = backward(&mut dx, &statistics);
        let of_rows = |each: &dyn Fn(usize) -> Vec<f32>| (0..rows).flat_map(each).collect::<Vec<f32>>();
        let expected = of_rows(&|row| reference.layer_norm(EPS, &gamma, &beta, x_rows[row]));
        assert!(ungroup(width, &y) == expected && buffer == y, "{level}: the output differs from the reference");
        let expected = of_rows(&|row| reference.layer_norm_input(EPS, &gamma, x_rows[row], dy_rows[row]));
        assert!(ungroup(width, &dx) == expected, "{level}: the gradient differs from the reference");
        let expected = reference.layer_norm_parameters(EPS, &x_rows, &dy_rows, 0);
        assert!(first == expected, "{level}: the gradients of scale and shift differ from the reference");

        group.bench_function(format!("forward/{level}"), |b| b.iter(|| forward(&mut y, &mut statistics)));
        // In place, so a fresh copy each time.
        group.bench_function(format!("inference/{level}"), |b| {
            b.iter(|| {
                buffer.copy_from_slice(&x_groups);
                infer(&mut buffer);
            });
        });
        group.bench_function(format!("backward/{level}"), |b| {
            b.iter(|| {
                dx.copy_from_slice(&dy_groups);
                backward(&mut dx, &statistics)
            });
        });
    }
    group.finish();
}

fn all(c: &mut Criterion) {
    shape(c, 256, 512);
    shape(c, 1024, 1024);
}

criterion_group!(benches, all);
criterion_main!(benches);

//! Batch norm in training, forward (statistics and output) and backward, one thread: `cargo bench --bench batchnorm`.
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
use evenkeel::kernels::batchnorm;
use evenkeel::split::Serial;

fn shape(c: &mut Criterion, rows: usize, width: usize) {
    let rng = &mut Rng::new(3);
    let [x, dy] = [0, 1].map(|_| Values::Plain.vec(rng, rows * width));
    let [gamma, beta] = [0, 1].map(|_| Values::Plain.vec(rng, width));
    let mut cache = vec![0.0; batchnorm::cache_len(width)];
    let (x_groups, dy_groups) = (group(width, &x), group(width, &dy));
    let (mut y, mut dx) = (vec![0.0; x.len()], dy.clone());
    let (mut dgamma, mut dbeta) = (vec![0.0; width], vec![0.0; width]);

    let mut group = c.benchmark_group(format!("batchnorm_{rows}x{width}"));
    group.throughput(Throughput::Bytes(size_of_val(&x[..]) as u64));
    for level in Level::available() {
        let reference = Reference::of(level);
        let forward = |y: &mut [f32], cache: &mut [f32]| {
            batchnorm::forward(level, &Serial, rows, 1e-5, &gamma, &beta, &x_groups, y, cache)
                .expect("the lengths are right");
        };
        let mut backward = |dx: &mut [f32], cache: &[f32]| {
            batchnorm::backward(level, &Serial, rows, cache, &gamma, &x_groups, dx, &mut dgamma, &mut dbeta)
                .expect("the lengths are right");
        };
        forward(&mut y, &mut cache);
        dx.copy_from_slice(&dy_groups);
        backward(&mut dx, &cache);
        let (plain_y, plain_dx) = (ungroup(width, &y), ungroup(width, &dx));
        for column in 0..width {
            let statistics = reference.statistics(width, column, 1e-5, &x);
            let parameters = reference.norm_parameters(statistics, width, column, &x, &dy);
            for row in 0..rows {
                let at = row * width + column;
                let expected = reference.normalize(statistics, gamma[column], beta[column], x[at]);
                assert!(plain_y[at] == expected, "{level}: the output differs from the reference");
                let expected = reference.norm_input(statistics, gamma[column], parameters, rows, x[at], dy[at]);
                assert!(plain_dx[at] == expected, "{level}: the gradient differs from the reference");
            }
        }
        group.bench_function(format!("forward/{level}"), |b| b.iter(|| forward(&mut y, &mut cache)));
        // In place: without a fresh copy the gradient would fade to subnormals, which cost more.
        group.bench_function(format!("backward/{level}"), |b| {
            b.iter(|| {
                dx.copy_from_slice(&dy_groups);
                backward(&mut dx, &cache);
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

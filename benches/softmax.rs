//! Softmax and log-softmax with their gradients, on every level of the host: `cargo bench --bench softmax`.
//!
//! Compared with the slow reference by bits before they are timed. Throughput is in bytes of the input.

#[allow(dead_code)] // Each target uses its own part of the shared module.
#[path = "../tests/common/mod.rs"]
mod common;

use common::layout::{group, ungroup};
use common::reference::Reference;
use common::values::{Rng, Values};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use evenkeel::kernels::softmax;
use evenkeel::layer::padded;
use evenkeel::{Error, Level};

type Forward = fn(Level, usize, usize, &mut [f32]) -> Result<(), Error>;
type Backward = fn(Level, usize, usize, &[f32], &mut [f32]) -> Result<(), Error>;
type RowForward = fn(Reference, &[f32]) -> Vec<f32>;
type RowBackward = fn(Reference, &[f32], &[f32]) -> Vec<f32>;

/// A name, the kernels and their references.
type Function = (&'static str, Forward, Backward, RowForward, RowBackward);

const FUNCTIONS: [Function; 2] = [
    ("softmax", softmax::softmax, softmax::softmax_backward, Reference::softmax, Reference::softmax_backward),
    (
        "log_softmax",
        softmax::log_softmax,
        softmax::log_softmax_backward,
        Reference::log_softmax,
        Reference::log_softmax_backward,
    ),
];

fn shape(c: &mut Criterion, (name, forward, backward, row_forward, row_backward): Function, rows: usize, cols: usize) {
    let rng = &mut Rng::new(5);
    let x = Values::Plain.padded_rows(rng, rows, cols);
    let dy = Values::Plain.padded_rows(rng, rows, cols);
    let (x_groups, dy_groups) = (group(cols, &x), group(cols, &dy));
    let mut buffer = x.clone();
    let width = padded(cols);

    let mut group = c.benchmark_group(format!("{name}_{rows}x{cols}"));
    group.throughput(Throughput::Bytes((4 * rows * cols) as u64));
    for level in Level::available() {
        let reference = Reference::of(level);
        buffer.copy_from_slice(&x_groups);
        forward(level, cols, rows, &mut buffer).expect("the lengths are right");
        let y_groups = buffer.clone();
        buffer.copy_from_slice(&dy_groups);
        backward(level, cols, rows, &y_groups, &mut buffer).expect("the lengths are right");
        let (y, dx) = (ungroup(cols, &y_groups), ungroup(cols, &buffer));
        for row in 0..rows {
            let part = row * width..row * width + cols;
            let (x, y, dx) = (&x[part.clone()], &y[part.clone()], &dx[part.clone()]);
            assert!(y == row_forward(reference, x), "{level}: {name} differs from the reference");
            assert!(dx == row_backward(reference, y, &dy[part]), "{level}: the gradient differs from the reference");
        }
        group.bench_function(format!("forward/{level}"), |b| {
            b.iter(|| {
                buffer.copy_from_slice(&x_groups);
                forward(level, cols, rows, &mut buffer)
            });
        });
        group.bench_function(format!("backward/{level}"), |b| {
            b.iter(|| {
                buffer.copy_from_slice(&dy_groups);
                backward(level, cols, rows, &y_groups, &mut buffer)
            });
        });
    }
    group.finish();
}

fn all(c: &mut Criterion) {
    for function in FUNCTIONS {
        shape(c, function, 256, 10);
        shape(c, function, 64, 1000);
    }
}

criterion_group!(benches, all);
criterion_main!(benches);

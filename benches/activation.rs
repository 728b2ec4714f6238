//! Activations and their gradients on 64 KiB, which stays in the cache: `cargo bench --bench activation`.
//!
//! Compared with the slow reference by bits before they are timed. Throughput is in bytes of the input.

#[allow(dead_code)] // Each target uses its own part of the shared module.
#[path = "../tests/common/mod.rs"]
mod common;

use common::reference::Reference;
use common::values::{Rng, Values};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use evenkeel::Level;
use evenkeel::kernels::activation;
use evenkeel::layer::Activation;
use evenkeel::split::Serial;

const LEN: usize = 1 << 14;

fn kind(c: &mut Criterion, kind: Activation) {
    let rng = &mut Rng::new(4);
    let x: Vec<f32> = Values::Plain.vec(rng, LEN).iter().map(|x| 4.0 * x).collect();
    let dy = Values::Plain.vec(rng, LEN);
    let mut buffer = x.clone();

    let mut group = c.benchmark_group(format!("activation_{}", kind.name()));
    group.throughput(Throughput::Bytes(4 * LEN as u64));
    for level in Level::available() {
        let reference = Reference::of(level);
        buffer.copy_from_slice(&x);
        activation::forward(level, &Serial, kind, &mut buffer);
        let y: Vec<f32> = x.iter().map(|x| reference.activation(kind, *x)).collect();
        assert!(buffer == y, "{level}: {kind:?} differs from the reference");
        let saved = if kind.keeps_input() { &x } else { &y };
        buffer.copy_from_slice(&dy);
        activation::backward(level, &Serial, kind, saved, &mut buffer).expect("the lengths are right");
        let dx = dy.iter().zip(saved).map(|(dy, saved)| reference.activation_backward(kind, *saved, *dy));
        assert!(buffer.iter().copied().eq(dx), "{level}: the gradient of {kind:?} differs from the reference");

        // In place, so a fresh copy each time: it takes about as long as ReLU.
        group.bench_function(format!("forward/{level}"), |b| {
            b.iter(|| {
                buffer.copy_from_slice(&x);
                activation::forward(level, &Serial, kind, &mut buffer);
            });
        });
        group.bench_function(format!("backward/{level}"), |b| {
            b.iter(|| {
                buffer.copy_from_slice(&dy);
                activation::backward(level, &Serial, kind, saved, &mut buffer)
            });
        });
    }
    group.finish();
}

fn all(c: &mut Criterion) {
    for activation in [
        Activation::Relu,
        Activation::LeakyRelu { slope: 0.01 },
        Activation::Sigmoid,
        Activation::Tanh,
        Activation::Gelu,
        Activation::Silu,
        Activation::Elu { alpha: 1.0 },
        Activation::Selu,
        Activation::Celu { alpha: 1.0 },
        Activation::GeluTanh,
        Activation::Softplus { beta: 1.0 },
        Activation::Softsign,
        Activation::HardSigmoid,
        Activation::HardSwish,
        Activation::Relu6,
        Activation::Mish,
        Activation::ThresholdedRelu { theta: 1.0 },
    ] {
        kind(c, activation);
    }
}

criterion_group!(benches, all);
criterion_main!(benches);

//! Dropout, its kin and random words, one Mi values: `cargo bench --bench dropout`.
//!
//! Compared by bits with the definition, one word at a time, before they are timed.

#[allow(dead_code)] // Each target uses its own part of the shared module.
#[path = "../tests/common/mod.rs"]
mod common;

use common::reference::Reference;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use evenkeel::Level;
use evenkeel::kernels::dropout::{Rate, dropout};
use evenkeel::kernels::noise::{Alpha, alpha_dropout, fill_normal, gaussian_dropout, gaussian_noise};
use evenkeel::rng::{Purpose, Stream, fill_u32};

const LEN: usize = 1 << 20;

fn all(c: &mut Criterion) {
    let stream = Stream::new(7, Purpose::Dropout, 3, 11);
    let rate = Rate::new(0.5).expect("a probability");
    let words: Vec<u32> = (0..LEN as u64).map(|element| stream.word(element)).collect();
    let x: Vec<f32> = words.iter().map(|word| *word as f32 * 1e-6 - 1000.0).collect();
    let kept = |word: u32| u64::from(word) < rate.threshold();
    let expected: Vec<f32> =
        x.iter().zip(&words).map(|(x, word)| if kept(*word) { x * rate.scale() } else { 0.0 }).collect();

    let mut group = c.benchmark_group("dropout");
    group.throughput(Throughput::Elements(LEN as u64));
    let (mut buffer, mut filled) = (x.clone(), vec![0; LEN]);
    for level in Level::available() {
        buffer.copy_from_slice(&x);
        dropout(level, &mut buffer, rate, stream, 0);
        assert!(buffer == expected, "{level}: dropout differs from its definition");
        fill_u32(level, stream, 0, &mut filled);
        assert!(filled == words, "{level}: random words differ from their definition");
        // In place on the same values again and again: they grow or vanish, which does not change the work.
        group.bench_function(format!("dropout/{level}"), |b| b.iter(|| dropout(level, &mut buffer, rate, stream, 0)));
        group.bench_function(format!("philox/{level}"), |b| b.iter(|| fill_u32(level, stream, 0, &mut filled)));
    }
    group.finish();
}

fn noise(c: &mut Criterion) {
    let stream = Stream::new(7, Purpose::Noise, 3, 11);
    let words: Vec<u32> = (0..LEN as u64).map(|element| stream.word(element)).collect();
    let x: Vec<f32> = words.iter().map(|word| *word as f32 * 1e-9 - 1.0).collect();
    let (alpha, threshold) =
        (Alpha::new(0.5).expect("a probability"), Rate::new(0.5).expect("a probability").threshold());
    // Of a rate of one half; `limit` is what SELU falls to.
    let limit = -1.758_099_340_847_376_6_f64;
    let a = 1.0 / (0.5 * (1.0 + 0.5 * limit * limit)).sqrt();
    let b = -a * 0.5 * limit;

    let mut group = c.benchmark_group("noise");
    group.throughput(Throughput::Elements(LEN as u64));
    let mut buffer = x.clone();
    for level in Level::available() {
        let reference = Reference::of(level);
        let kernels: [(&str, &dyn Fn(&mut [f32]), &dyn Fn(f32, u32) -> f32); 4] = [
            ("normal", &|x| fill_normal(level, stream, 0, x), &|_, word| reference.normal_number(word)),
            ("gaussian_dropout", &|x| gaussian_dropout(level, x, 0.5, stream, 0), &|x, word| {
                x * reference.fma(0.5, reference.normal_number(word), 1.0)
            }),
            ("gaussian_noise", &|x| gaussian_noise(level, x, 0.5, stream, 0), &|x, word| {
                reference.fma(0.5, reference.normal_number(word), x)
            }),
            ("alpha_dropout", &|x| alpha_dropout(level, x, alpha, stream, 0), &|x, word| {
                let kept = u64::from(word) < threshold;
                if kept { reference.fma(a as f32, x, b as f32) } else { (a * limit + b) as f32 }
            }),
        ];
        for (name, kernel, definition) in kernels {
            buffer.copy_from_slice(&x);
            kernel(&mut buffer);
            let expected = x.iter().zip(&words).map(|(x, word)| definition(*x, *word));
            assert!(buffer.iter().copied().eq(expected), "{level}: {name} differs from its definition");
            group.bench_function(format!("{name}/{level}"), |b| b.iter(|| kernel(&mut buffer)));
        }
    }
    group.finish();
}

criterion_group!(benches, all, noise);
criterion_main!(benches);

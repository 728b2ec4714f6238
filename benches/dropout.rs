//! Dropout and random words, one Mi values: `cargo bench --bench dropout`.
//!
//! Compared by bits with the definition, one word at a time, before they are timed.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use evenkeel::Level;
use evenkeel::kernels::dropout::{Rate, dropout};
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

criterion_group!(benches, all);
criterion_main!(benches);

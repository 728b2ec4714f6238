//! One step of each optimiser on 256 Ki parameters: `cargo bench --bench optimizer`.
//!
//! All exact levels must agree by bits before they are timed; `tests/kernels/optimizer.rs` compares with scalar steps.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use evenkeel::Level;
use evenkeel::rng::{Purpose, Stream, unit};
use evenkeel::split::Serial;
use evenkeel::train::Optimizer;
use evenkeel::train::optim::step;

const LEN: usize = 1 << 18;

fn values(layer: u32) -> Vec<f32> {
    let stream = Stream::new(5, Purpose::Init, layer, 0);
    (0..LEN as u64).map(|element| unit(stream.word(element)) - 0.5).collect()
}

fn all(c: &mut Criterion) {
    let (start, gradients) = (values(0), values(1));
    let momentum = Optimizer::Sgd { momentum: 0.9, nesterov: false };
    for (name, optimizer) in [
        ("sgd", Optimizer::SGD),
        ("momentum", momentum),
        ("adam", Optimizer::ADAM),
        ("adamw", Optimizer::ADAMW),
        ("amsgrad", Optimizer::AMSGRAD),
        ("nadam", Optimizer::NADAM),
        ("adamax", Optimizer::ADAMAX),
        ("rmsprop", Optimizer::RMSPROP),
        ("adagrad", Optimizer::ADAGRAD),
        ("adadelta", Optimizer::ADADELTA),
        ("lion", Optimizer::LION),
        ("lamb", Optimizer::LAMB),
        ("schedule_free", Optimizer::SCHEDULE_FREE),
    ] {
        let mut group = c.benchmark_group(name);
        group.throughput(Throughput::Elements(LEN as u64));
        let mut agreed: Option<Vec<f32>> = None;
        for level in Level::available() {
            let mut params = start.clone();
            let mut moments = [0, 1, 2].map(|at| vec![0.0; if optimizer.moments() > at { LEN } else { 0 }]);
            let mut go = |t, params: &mut [f32]| {
                let factors = optimizer.factors(t, 1e-3, 1.0, 1e-4);
                let [first, second, third] = &mut moments;
                step(level, &Serial, factors, params, &gradients, [first, second, third])
            };
            go(0, &mut params).expect("the lengths are right");
            if level.is_exact() {
                let same = agreed.get_or_insert_with(|| params.clone());
                assert!(*same == params, "{name} at {level} differs from another level");
            }
            let mut t = 1;
            group.bench_function(level.name(), |b| {
                b.iter(|| {
                    t += 1;
                    go(t, &mut params)
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, all);
criterion_main!(benches);

//! Whole training steps (forward, loss, backward, Adam) and inference of the folded network, on one thread:
//! `cargo bench --bench train`.
//!
//! The image must agree with the unfolded network before anything is timed.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use evenkeel::export::{Options, export};
use evenkeel::memory::Buffer;
use evenkeel::rng::{Purpose, Stream, unit};
use evenkeel::train::{Batch, Buffers, Moment, Rules, Session};
use evenkeel::{Image, Level, Loss, Mlp, Net, Optimizer, Serial, Targets};

fn inputs(len: usize) -> Vec<f32> {
    let stream = Stream::new(9, Purpose::Init, 77, 0);
    (0..len as u64).map(|element| unit(stream.word(element)) - 0.5).collect()
}

fn net(name: &str, mut model: Mlp, batch: usize, c: &mut Criterion) {
    let (level, split) = (Level::detect(), Serial);
    let features = model.network().inputs();
    let x = inputs(batch * features);
    let labels: Vec<u32> = (0..batch as u32).map(|row| row % 10).collect();
    let layers = model.layers().to_vec();
    let network = evenkeel::Network::new(features, &layers).expect("sound layers");
    let mut gradients = Buffer::zeros(network.params_len());
    let mut moments = Buffer::zeros(2 * network.params_len());
    let mut work = Buffer::zeros(network.plan(batch).work_len());
    let buffers = Buffers {
        params: &mut model.params,
        state: &mut model.state,
        gradients: &mut gradients,
        moments: &mut moments,
        work: &mut work,
    };
    let mut session = Session::new(network, batch, buffers, level, &split).expect("planned buffers");
    let rules = Rules::new(Loss::CrossEntropy, Optimizer::ADAM);
    let mut step = 0;
    let mut group = c.benchmark_group(name);
    group.throughput(Throughput::Elements(batch as u64));
    group.bench_function(format!("step/b{batch}"), |b| {
        b.iter(|| {
            let batch = Batch { inputs: &x, targets: Targets::Classes(&labels), rows: batch };
            step += 1;
            session.step(batch, &rules, Moment { seed: 1, step, lr: 1e-4 })
        });
    });
    let mut unfolded = vec![0.0; batch * 10];
    session.predict(&x, batch, &mut unfolded).expect("planned rows");
    let (params, state) = session.weights();
    let (bytes, _) = export(&network, params, state, &Options::default()).expect("statistics of the steps above");
    let image = Net::new(Image::new(&bytes).expect("what was just written"));
    let mut outputs = vec![0.0; batch * 10];
    for rows in [1, batch] {
        let mut scratch = vec![0.0; image.scratch_len(rows)];
        let (x, outputs) = (&x[..rows * features], &mut outputs[..rows * 10]);
        image.infer(level, &split, x, outputs, &mut scratch).expect("whole rows");
        let scale = unfolded.iter().fold(1.0_f32, |scale, value| scale.max(value.abs()));
        let near = outputs.iter().zip(&unfolded).all(|(a, b)| (a - b).abs() <= 1e-4 * scale);
        assert!(near, "{name}: the image's outputs are not the network's");
        group.throughput(Throughput::Elements(rows as u64));
        group.bench_function(format!("infer/b{rows}"), |b| {
            b.iter(|| image.infer(level, &split, x, outputs, &mut scratch));
        });
    }
    group.finish();
}

fn all(c: &mut Criterion) {
    let small = Mlp::input(784).dense(100).batch_norm().relu().dense(100).batch_norm().relu().dense(10);
    net("784-100-100-10", small.build().expect("sound layers"), 64, c);
    let wide = Mlp::input(784).dense(512).batch_norm().relu().dropout(0.5).dense(512).batch_norm().relu().dropout(0.5);
    net("784-512-512-10", wide.dense(10).build().expect("sound layers"), 256, c);
}

criterion_group!(benches, all);
criterion_main!(benches);

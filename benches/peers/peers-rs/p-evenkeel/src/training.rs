//! Training steps on caller-owned buffers: forward, cross-entropy, backward, Adam.

use std::hint::black_box;
use std::time::Instant;

use evenkeel::memory::Buffer;
use evenkeel::split::Split;
use evenkeel::train::{Batch, Buffers, Moment, Rules, Session};
use evenkeel::{Loss, Network, Optimizer, Targets};
use peers_common::{Case, Times, cpu_time, json, read_f32, read_i32};

use crate::{Bench, net};

const FEATURES: usize = 784;

/// The training set that all peers read.
fn rows() -> (Buffer, Vec<u32>) {
    let labels = read_i32("fashion.y.i32").into_iter().map(|label| label as u32).collect();
    (Buffer::from(&read_f32("fashion.x.f32")[..]), labels)
}

/// Hands `work` a step: it trains on rows and labels, and returns the mean loss before the update.
fn with_session<P: Split>(bench: &Bench<'_, P>, case: &Case, name: &str, work: impl FnOnce(&mut Step<'_>)) {
    let mut model = net::model(&bench.ctx.spec, name, false);
    let layers = model.layers().to_vec();
    let network = Network::new(FEATURES, &layers).expect("the model's own layers");
    let mut gradients = Buffer::zeros(network.params_len());
    let mut moments = Buffer::zeros(Optimizer::ADAM.moments() * network.params_len());
    let mut scratch = Buffer::zeros(network.plan(case.batch).work_len());
    let buffers = Buffers {
        params: &mut model.params,
        state: &mut model.state,
        gradients: &mut gradients,
        moments: &mut moments,
        work: &mut scratch,
    };
    let mut session = Session::new(network, case.batch, buffers, bench.level, bench.split).expect("planned buffers");
    let rules = Rules::new(Loss::CrossEntropy, Optimizer::ADAM);
    let mut moment = Moment { seed: 1, step: 0, lr: 1e-3 };
    work(&mut |inputs, labels| {
        let batch = Batch { inputs, targets: Targets::Classes(labels), rows: labels.len() };
        let score = session.step(batch, &rules, moment).expect("finite losses");
        moment.step += 1;
        score.mean_loss()
    });
}

type Step<'a> = dyn FnMut(&[f32], &[u32]) -> f64 + 'a;

/// The same batch again and again, as all peers do it.
pub fn train<P: Split>(bench: &Bench<'_, P>, case: &Case, name: &str) {
    let (x, y) = rows();
    let (x, y) = (Buffer::from(&x[..case.batch * FEATURES]), &y[..case.batch]);
    with_session(bench, case, name, |step| {
        let first = step(&x, y);
        for _ in 0..20 {
            step(&x, y);
        }
        let later = step(&x, y);
        if !(later < first) {
            eprintln!("WRONG RESULT {}: the loss went from {first} to {later}", case.id);
        }
        bench.measure(case, "", json!({"loss_first": first as f32, "loss_21": later as f32}), || {
            black_box(step(black_box(&x), y));
        });
    });
}

/// All rows once, in order; one sample of the time.
pub fn epoch<P: Split>(bench: &Bench<'_, P>, case: &Case, name: &str) {
    let (x, y) = rows();
    let batches = || x.chunks_exact(case.batch * FEATURES).zip(y.chunks_exact(case.batch));
    with_session(bench, case, name, |step| {
        let (inputs, labels) = batches().next().expect("a batch");
        let first = step(inputs, labels);
        let (begin, cpu) = (Instant::now(), cpu_time());
        let mut last = f64::NAN;
        for (inputs, labels) in batches() {
            last = step(inputs, labels);
        }
        let (wall, cpu) = (begin.elapsed().as_secs_f64(), cpu_time() - cpu);
        let times = Times { min: wall, median: wall, cpu_min: cpu, cpu_mean: cpu, calls: 1 };
        let losses = json!({"loss_first": first as f32, "loss_last": last as f32});
        bench.ctx.emit(case, bench.peer, losses, times);
    });
}

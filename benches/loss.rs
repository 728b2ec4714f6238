//! Every loss with its gradient, 256 rows of 32 outputs, one thread: `cargo bench --bench loss`.
//!
//! A step of training without the update, of a network whose only layer multiplies one input by 32 weights: what is not
//! the loss is the little that it costs with the squared error. Loss and gradient are compared with the slow reference by bits
//! before they are timed. Throughput is in outputs.

#[allow(dead_code)] // Each target uses its own part of the shared module.
#[path = "../tests/common/mod.rs"]
mod common;

use common::reference::Reference;
use common::values::{Rng, Values};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use evenkeel::split::Serial;
use evenkeel::train::loss::NAMES;
use evenkeel::train::{Batch, Buffers, Loss, Moment, Session, Targets};
use evenkeel::{Layer, Level, Network};

const ROWS: usize = 256;
const COLS: usize = 32;

fn one(c: &mut Criterion, name: &str, loss: Loss) {
    let rng = &mut Rng::new(7);
    // Rates are positive; else outputs of either sign, from -4 to 4.
    let positive = matches!(loss, Loss::PoissonRate { .. } | Loss::PoissonRateFull { .. });
    let inputs: Vec<f32> = Values::Plain.vec(rng, ROWS).iter().map(|x| 0.1 + x.abs()).collect();
    let sign = |w: f32| if positive { 0.1 + w.abs() } else { w };
    let weights: Vec<f32> = Values::Plain.vec(rng, COLS).iter().map(|w| 4.0 * sign(*w)).collect();
    let labels: Vec<u32> = (0..ROWS).map(|_| rng.below(COLS) as u32).collect();
    let values: Vec<f32> = Values::Plain
        .vec(rng, ROWS * COLS)
        .iter()
        .map(|value| match (loss.takes(-0.5), loss.takes(0.5)) {
            (true, _) => *value,
            (_, true) => value.abs().min(1.0),
            _ => value.signum(),
        })
        .collect();
    let targets = if loss.takes_classes() { Targets::Classes(&labels) } else { Targets::Values(&values) };
    let batch = Batch { inputs: &inputs, targets, rows: ROWS };
    let moment = Moment { seed: 0, step: 0, lr: 0.0 };

    let layers = [Layer::Dense { outputs: COLS, bias: false }];
    let network = Network::new(1, &layers).expect("one dense layer");
    let plan = network.plan(ROWS);
    let (mut params, mut gradients, mut work) = (weights.clone(), vec![0.0; plan.trained], vec![0.0; plan.work_len()]);

    let mut group = c.benchmark_group(format!("loss_{name}"));
    group.throughput(Throughput::Elements((ROWS * COLS) as u64));
    for level in Level::available() {
        let reference = Reference::of(level);
        let buffers = Buffers {
            params: &mut params,
            state: &mut [],
            gradients: &mut gradients,
            moments: &mut [],
            work: &mut work,
        };
        let mut session = Session::new(network, ROWS, buffers, level, &Serial).expect("the buffers fit");
        let score = session.differentiate(batch, loss, moment).expect("the targets suit the loss");
        let (mut sum, mut slopes) = (0.0, Vec::new());
        for (row, x) in inputs.iter().enumerate() {
            let z: Vec<f32> = weights.iter().map(|w| x * w).collect();
            let (value, of_row) = match targets {
                Targets::Classes(labels) => {
                    let (class, share, mut slopes) = (labels[row] as usize, 1.0 / ROWS as f32, vec![0.0; COLS]);
                    let value = reference.class_loss(loss, &z, class, share, &mut slopes);
                    // The plain one keeps the order of its own kernel: softmax, one taken off, the share.
                    if loss == Loss::CrossEntropy {
                        slopes = reference.softmax(&z);
                        slopes[class] -= 1.0;
                        slopes.iter_mut().for_each(|slope| *slope *= share);
                    }
                    (value, slopes)
                }
                _ => reference.value_loss(loss, &z, &values[row * COLS..][..COLS], ROWS),
            };
            sum += f64::from(value);
            slopes.extend(of_row);
        }
        let gradient = |col: usize| (0..ROWS).fold(0.0, |acc, r| reference.fma(inputs[r], slopes[r * COLS + col], acc));
        assert!(score.loss == sum, "{level}: the loss {name} differs from the reference");
        let exact = (0..COLS).all(|col| session.gradients()[col] == gradient(col));
        assert!(exact, "{level}: the gradient of {name} differs from the reference");
        group.bench_function(level.name(), |b| b.iter(|| session.differentiate(batch, loss, moment)));
    }
    group.finish();
}

fn all(c: &mut Criterion) {
    NAMES.iter().for_each(|(name, loss)| one(c, name, *loss));
}

criterion_group!(benches, all);
criterion_main!(benches);

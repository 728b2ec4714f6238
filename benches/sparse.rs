//! A first layer on index lists beside the dense form of the same rows: `cargo bench --bench sparse`.
//!
//! 10,000 inputs of which some 129 are 1 (1.3 %, a film review over 10,000 words), 16 outputs. Both forms give the same bits,
//! which is looked at before anything is timed. The ratios come from forms that take turns, so that a machine with other work
//! slows both alike; the middle of many turns is taken. `taskset -c 1` keeps them on one core.

// Each target uses its own part of the shared module.
#[allow(dead_code)]
#[path = "../tests/common/mod.rs"]
mod common;

use std::hint::black_box;
use std::time::Instant;

use common::layout::group_strided;
use common::values::{Rng, Values};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use evenkeel::Level;
use evenkeel::export::{self, Options};
use evenkeel::kernels::groups::{Rows, to_groups};
use evenkeel::kernels::sparse::{self, IndexLists};
use evenkeel::kernels::{dense, panels};
use evenkeel::layer::padded;
use evenkeel::memory::Buffer;
use evenkeel::plan::Scope;
use evenkeel::split::Serial;
use evenkeel::train::{Batch, Buffers, ListBatch, Moment, Rules, Session};
use evenkeel::{Image, Init, Loss, Mlp, Net, Optimizer, Targets};

const INPUTS: usize = 10_000;
const OUTPUTS: usize = 16;
const ONES: usize = 129;
/// Chollet's batch for these rows.
const ROWS: usize = 512;

/// Rows of `ONES` features each on average, every feature as likely: nothing stays in the caches by itself.
fn lists(rows: usize) -> (Vec<usize>, Vec<u32>) {
    let rng = &mut Rng::new(7);
    let (mut offsets, mut indices) = (vec![0], Vec::new());
    for _ in 0..rows {
        indices.extend((0..INPUTS as u32).filter(|_| rng.below(INPUTS) < ONES));
        offsets.push(indices.len());
    }
    (offsets, indices)
}

/// The middle of the times of both, in turns, in microseconds. Each timed call comes after one of its own kind, as in a program
/// that uses one form: else the dense form, which streams 20 MB of inputs, would have emptied the other's caches.
fn turns(count: usize, mut one: impl FnMut(), mut other: impl FnMut()) -> (f64, f64) {
    let mut times = (Vec::new(), Vec::new());
    let took = |run: &mut dyn FnMut()| {
        run();
        let began = Instant::now();
        run();
        began.elapsed().as_secs_f64() * 1e6
    };
    for _ in 0..count {
        times.0.push(took(&mut one));
        times.1.push(took(&mut other));
    }
    let middle = |times: &mut Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    };
    (middle(&mut times.0), middle(&mut times.1))
}

fn report(what: &str, level: Level, (dense, sparse): (f64, f64)) {
    println!("{what:<32} {level:<9} dense {dense:>9.1} µs  lists {sparse:>8.1} µs  ratio {:>6.1}", dense / sparse);
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// The products of the first layer alone.
fn layer(c: &mut Criterion) {
    let (offsets, indices) = lists(ROWS);
    let x = IndexLists::new(INPUTS, &offsets, &indices).expect("lists");
    let mut plain_values = vec![0.0; ROWS * INPUTS];
    x.write_plain(&mut plain_values);
    let groups = group_strided(ROWS, INPUTS, INPUTS, &plain_values);
    let mut staged = Buffer::zeros(groups.len());
    // Beyond the last column there is nothing: 10,000 is a multiple of sixteen.
    let grouped = Rows::grouped(&groups, ROWS, INPUTS).expect("rows");
    let plain = Rows::plain(&plain_values, ROWS, INPUTS, INPUTS).expect("rows");
    let rng = &mut Rng::new(1);
    let mut weights = Buffer::zeros(panels::weight_len(INPUTS, OUTPUTS));
    weights.copy_from_slice(&Values::Plain.vec(rng, INPUTS * OUTPUTS));
    let bias = [0.5; OUTPUTS];
    let operands = dense::Dense { inputs: INPUTS, outputs: OUTPUTS, weights: &weights[..], bias: Some(&bias[..]) };
    let mut dy = Buffer::zeros(ROWS * padded(OUTPUTS));
    dy.copy_from_slice(&Values::Plain.vec(rng, ROWS * OUTPUTS));
    let (mut y, mut other) = (Buffer::zeros(dy.len()), Buffer::zeros(dy.len()));
    let (mut gradient, mut other_gradient) = (Buffer::zeros(weights.len()), Buffer::zeros(weights.len()));
    println!("{} ones in {ROWS} rows of {INPUTS}: {:.2} %", x.ones(), 100.0 * x.ones() as f64 / (ROWS * INPUTS) as f64);

    let shape = (INPUTS, OUTPUTS);
    for level in Level::available() {
        let rows = [("training forward", grouped), ("inference of many rows", plain)];
        for (what, rows) in rows {
            let times = turns(
                41,
                || dense::forward(level, &Serial, operands, rows, black_box(&mut y)).expect("lengths"),
                || sparse::forward_then(level, &Serial, operands, x, None, black_box(&mut other)).expect("lengths"),
            );
            assert!(bits(&y) == bits(&other), "{level}: {what}");
            report(what, level, times);
        }
        let times = turns(
            41,
            || {
                let out = black_box(&mut gradient);
                dense::weight_gradient(level, &Serial, shape, ROWS, &groups, &dy, out).expect("lengths");
            },
            || {
                let out = black_box(&mut other_gradient);
                sparse::weight_gradient(level, &Serial, shape, x, &dy, out).expect("lengths");
            },
        );
        assert!(bits(&gradient) == bits(&other_gradient), "{level}: weight gradient");
        report("training weight gradient", level, times);
        // The layer as a step has it: rows as the caller holds them, outputs, then the gradient.
        let rows = &plain_values[..];
        let times = turns(
            41,
            || {
                to_groups(&Serial, ROWS, INPUTS, rows, &mut staged);
                let grouped = Rows::grouped(&staged, ROWS, INPUTS).expect("rows");
                dense::forward(level, &Serial, operands, grouped, black_box(&mut y)).expect("lengths");
                let out = black_box(&mut gradient);
                dense::weight_gradient(level, &Serial, shape, ROWS, &staged, &dy, out).expect("lengths");
            },
            || {
                sparse::forward_then(level, &Serial, operands, x, None, black_box(&mut other)).expect("lengths");
                let out = black_box(&mut other_gradient);
                sparse::weight_gradient(level, &Serial, shape, x, &dy, out).expect("lengths");
            },
        );
        assert!(
            (bits(&y), bits(&gradient)) == (bits(&other), bits(&other_gradient)),
            "{level}: the layer in training"
        );
        report("training, the layer as a whole", level, times);
        let (one, first) = (x.part(3, 1), plain_row(&x));
        let row = Rows::plain(&first, 1, INPUTS, INPUTS).expect("a row");
        let times = turns(
            401,
            || dense::forward(level, &Serial, operands, row, black_box(&mut y[..OUTPUTS])).expect("lengths"),
            || {
                let out = black_box(&mut other[..OUTPUTS]);
                sparse::forward_then(level, &Serial, operands, one, None, out).expect("lengths");
            },
        );
        assert!(bits(&y) == bits(&other), "{level}: a row");
        report("inference of one row", level, times);
    }

    let mut group = c.benchmark_group("sparse_512x10000x16");
    group.throughput(Throughput::Elements(x.ones() as u64));
    for level in Level::available() {
        group.bench_function(format!("forward/{level}"), |b| {
            b.iter(|| sparse::forward_then(level, &Serial, operands, x, None, &mut y));
        });
        group.bench_function(format!("weights/{level}"), |b| {
            b.iter(|| sparse::weight_gradient(level, &Serial, shape, x, &dy, &mut gradient));
        });
    }
    group.finish();
}

fn plain_row(x: &IndexLists<'_>) -> Vec<f32> {
    let mut first = vec![0.0; INPUTS];
    x.part(3, 1).write_plain(&mut first);
    first
}

/// Whole steps and whole inference of the classifier 10,000-16-16-1 with dropout, and what of a step is the optimiser's.
fn network(_: &mut Criterion) {
    let level = Level::detect();
    let (offsets, indices) = lists(ROWS);
    let x = IndexLists::new(INPUTS, &offsets, &indices).expect("lists");
    let mut plain = vec![0.0; ROWS * INPUTS];
    x.write_plain(&mut plain);
    let values: Vec<f32> = (0..ROWS).map(|row| (row % 2) as f32).collect();
    let targets = Targets::Values(&values);
    let mut net = Mlp::input(INPUTS).dense(16).relu().dropout(0.5).dense(16).relu().dropout(0.5).dense(1).build();
    let net = net.as_mut().expect("a network");
    net.init(Init::GlorotUniform, 1);

    let plan = net.network().plan_in(Scope::ALL.with_lists(), ROWS);
    let dense_plan = net.network().plan(ROWS);
    let moment = |step| Moment { seed: 1, step, lr: 1e-3 };
    for (name, optimizer) in [("Adam", Optimizer::ADAM), ("SGD", Optimizer::SGD)] {
        let rules = Rules::new(Loss::BinaryCrossEntropy, optimizer);
        let mut memory: [Memory; 2] = [&plan, &dense_plan].map(|plan| Memory {
            params: Buffer::from(&net.params[..]),
            gradients: Buffer::zeros(plan.trained),
            moments: Buffer::zeros(optimizer.moments_len(plan)),
            work: Buffer::zeros(plan.work_len()),
        });
        let [lists, dense] = &mut memory;
        let scope = Scope::ALL.with_lists();
        let mut lists =
            Session::with_scope(net.network(), scope, ROWS, lists.buffers(), level, &Serial).expect("a session");
        let mut dense = Session::new(net.network(), ROWS, dense.buffers(), level, &Serial).expect("a session");
        let (mut at, mut other) = (0, 0);
        let times = turns(
            41,
            || {
                dense.step(Batch { inputs: &plain, targets, rows: ROWS }, &rules, moment(at)).expect("a step");
                at += 1;
            },
            || {
                lists.step(ListBatch { inputs: x, targets }, &rules, moment(other)).expect("a step");
                other += 1;
            },
        );
        assert!(bits(dense.weights().0) == bits(lists.weights().0), "after 82 steps");
        report(&format!("whole step, {name}"), level, times);
        let (mut sum, mut part) = (Vec::new(), Vec::new());
        for turn in 0..41 {
            let batch = ListBatch { inputs: x, targets };
            let began = Instant::now();
            lists.differentiate(batch, Loss::BinaryCrossEntropy, moment(turn)).expect("gradients");
            part.push(began.elapsed().as_secs_f64() * 1e6);
            let began = Instant::now();
            lists.step(batch, &rules, moment(turn)).expect("a step");
            sum.push(began.elapsed().as_secs_f64() * 1e6);
        }
        for times in [&mut sum, &mut part] {
            times.sort_by(f64::total_cmp);
        }
        let (sum, part) = (sum[20], part[20]);
        println!(
            "{name}: of a step of {sum:.1} µs, {part:.1} are loss and gradients, {:.1} ({:.0} %) norm and update",
            sum - part,
            100.0 * (sum - part) / sum
        );
    }

    let (image, _) = export::export(&net.network(), &net.params, &net.state, &Options::default()).expect("an image");
    let net = Net::new(Image::new(&image).expect("an image"));
    let mut scratch = Buffer::zeros(net.scratch_len(256));
    let (mut y, mut other) = (vec![0.0; ROWS], vec![0.0; ROWS]);
    let mut second = scratch.clone();
    let times = turns(
        41,
        || net.infer(level, &Serial, &plain, &mut y, &mut scratch).expect("lengths"),
        || net.infer_lists(level, &Serial, x, &mut other, &mut second).expect("lengths"),
    );
    assert!(bits(&y) == bits(&other), "inference");
    report("inference of the whole network", level, times);
}

/// The buffers of a session.
struct Memory {
    params: Buffer,
    gradients: Buffer,
    moments: Buffer,
    work: Buffer,
}

impl Memory {
    fn buffers(&mut self) -> Buffers<'_> {
        Buffers {
            params: &mut self.params,
            state: &mut [],
            gradients: &mut self.gradients,
            moments: &mut self.moments,
            work: &mut self.work,
        }
    }
}

criterion_group!(benches, layer, network);
criterion_main!(benches);

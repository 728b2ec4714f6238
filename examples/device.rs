//! Training on a device: constant sizes, arrays of the caller, no heap. Printing is all that needs an operating system.
//!
//! A small network learns three gestures from batches that are computed two rows at a time. Then someone else puts the
//! sensor on, upside down: the last layer learns from a stream, one row at a time, batch norms keep their statistics, the best
//! weights are kept. At the end the network is folded into an image in RAM, and inference goes on with that.
//!
//!     cargo run --release --example device

use evenkeel::export::{Options, image_len, write_image};
use evenkeel::image::Aligned;
use evenkeel::kernels::panels;
use evenkeel::plan::{Plan, Scope};
use evenkeel::rng::{Purpose, Stream, unit};
use evenkeel::train::{Arrays, Batch, Buffers, Keeper, Moment, Rules, Session, loss::best};
use evenkeel::{
    Activation, BatchNorm, EarlyStopping, Image, Layer, Level, Loss, Net, Network, Optimizer, Serial, Targets,
};

const INPUTS: usize = 12;
const CLASSES: usize = 3;
const LAYERS: [Layer; 8] = [
    Layer::Dense { outputs: 24, bias: false },
    Layer::BatchNorm(BatchNorm::TORCH),
    Layer::Activation(Activation::Relu),
    Layer::Dropout { rate: 0.1 },
    Layer::Dense { outputs: 16, bias: false },
    Layer::BatchNorm(BatchNorm::TORCH),
    Layer::Activation(Activation::Relu),
    Layer::dense(CLASSES),
];
const NETWORK: Network<'_> = match Network::new(INPUTS, &LAYERS) {
    Ok(network) => network,
    Err(_) => panic!("these layers do not fit together"),
};
const OPTIMIZER: Optimizer = Optimizer::ADAM;

/// Batches of 32 rows, of which two are in work at a time.
const BATCH: usize = 32;
const PLAN: Plan = NETWORK.plan(2);

/// Fine-tuning: the last dense layer, one row at a time.
const SCOPE: Scope = Scope::last_dense(&NETWORK, 1);
const TUNING: Plan = NETWORK.plan_in(SCOPE, 1);

const OPTIONS: Options<'_> = Options {
    precision: evenkeel::export::Precisions::All(evenkeel::export::Precision::F16),
    standardisation: None,
    class_names: &["wave", "circle", "rest"],
    note: "",
};
const IMAGE_LEN: usize = match image_len(&NETWORK, &OPTIONS) {
    Ok(len) => len,
    Err(_) => panic!("no image"),
};

/// A row of the sensor, and what was done: six samples of two axes. `turned` is how the second wearer has it on.
fn sample(number: u64, turned: bool) -> ([f32; INPUTS], u32) {
    let words = Stream::new(3, Purpose::Init, 1, u32::from(turned));
    let noise = |at: u64| 0.3 * (2.0 * unit(words.word(64 * number + at)) - 1.0);
    let label = words.word(64 * number + 63) % CLASSES as u32;
    let start = 6.0 * unit(words.word(64 * number + 62));
    let mut row = [0.0; INPUTS];
    for (time, axes) in row.chunks_exact_mut(2).enumerate() {
        let angle = start + time as f32;
        let (x, y) = match label {
            0 => (libm::sinf(angle), 0.0),
            1 => (libm::sinf(angle), libm::cosf(angle)),
            _ => (0.0, 0.0),
        };
        // The other way round: axes change places, one of them upside down, gravity on it.
        let (x, y) = if turned { (0.8 - y, x) } else { (x, y) };
        axes.copy_from_slice(&[x + noise(2 * time as u64), y + noise(2 * time as u64 + 1)]);
    }
    (row, label)
}

/// Share of 300 fresh rows that are told right.
fn accuracy(session: &mut Session<'_, Serial>, turned: bool) -> Result<f64, evenkeel::Error> {
    let mut hits = 0.0;
    for number in 10_000..10_300 {
        let (row, label) = sample(number, turned);
        let batch = Batch { inputs: &row, targets: Targets::Classes(&[label]), rows: 1 };
        hits += session.evaluate(batch, Loss::CrossEntropy)?.hits;
    }
    Ok(hits / 300.0)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let level = Level::from_env()?;
    let rules = Rules::new(Loss::CrossEntropy, OPTIMIZER);
    // In firmware these are statics.
    let mut arrays: evenkeel::arrays!(PLAN, OPTIMIZER) = Arrays::new();
    let mut rows = [0.0; BATCH * INPUTS];
    let mut labels = [0; BATCH];

    // He's initial weights, uniform; scales of the batch norms 1, variances 1.
    for node in NETWORK.nodes() {
        match node.layer {
            Layer::Dense { outputs, .. } => {
                let (words, bound) =
                    (Stream::new(1, Purpose::Init, node.index as u32, 0), libm::sqrtf(6.0 / node.inputs as f32));
                let weights = node.weights.of_mut(&mut arrays.params);
                for at in 0..outputs * node.inputs {
                    let place = panels::position(node.inputs, outputs, at / node.inputs, at % node.inputs);
                    weights[place] = bound * (2.0 * unit(words.word(at as u64)) - 1.0);
                }
            }
            Layer::BatchNorm(_) => {
                node.weights.of_mut(&mut arrays.params)[..node.inputs].fill(1.0);
                let half = node.bias.len;
                node.state.of_mut(&mut arrays.state)[half..][..node.inputs].fill(1.0);
            }
            _ => {}
        }
    }
    let mut session = Session::new(NETWORK, PLAN.batch, arrays.buffers(), level, &Serial)?;
    for step in 0..150 {
        for (at, (row, label)) in rows.chunks_exact_mut(INPUTS).zip(&mut labels).enumerate() {
            let (values, class) = sample(step * BATCH as u64 + at as u64, false);
            row.copy_from_slice(&values);
            *label = class;
        }
        let batch = Batch { inputs: &rows, targets: Targets::Classes(&labels), rows: BATCH };
        session.step_in_parts(batch, &rules, Moment { seed: 5, step, lr: 0.01 })?;
    }
    println!(
        "{} values of work where batches of {BATCH} at once would take {}",
        PLAN.work_len(),
        NETWORK.plan(BATCH).work_len()
    );
    println!("first wearer:  {:.1} % right", 100.0 * accuracy(&mut session, false)?);
    println!("second wearer: {:.1} % right", 100.0 * accuracy(&mut session, true)?);

    let mut gradients = [0.0; TUNING.trained];
    let mut moments = [0.0; OPTIMIZER.moments_len(&TUNING)];
    let mut work = [0.0; TUNING.work_len()];
    let mut kept = [0.0; TUNING.best_len()];
    let buffers = Buffers {
        params: &mut arrays.params,
        state: &mut arrays.state,
        gradients: &mut gradients,
        moments: &mut moments,
        work: &mut work,
    };
    let mut session = Session::with_scope(NETWORK, SCOPE, TUNING.batch, buffers, level, &Serial)?;
    let mut keeper = Keeper::new(EarlyStopping::patience(3), &mut kept, &TUNING)?;
    let (mut step, mut loss) = (0, 0.0);
    loop {
        // Each row makes a step and is forgotten; its loss before the step is what the next hundred are judged by.
        let (row, label) = sample(step, true);
        let batch = Batch { inputs: &row, targets: Targets::Classes(&[label]), rows: 1 };
        loss += session.step(batch, &rules, Moment { seed: 6, step, lr: 0.003 })?.loss;
        step += 1;
        if step.is_multiple_of(100) {
            let verdict = keeper.observe(&session, loss)?;
            if verdict.stop || step == 3000 {
                break;
            }
            loss = 0.0;
        }
    }
    keeper.restore(&mut session)?;
    let tuned = accuracy(&mut session, true)?;
    println!(
        "second wearer: {:.1} % right after {step} rows, {} of {} parameters trained",
        100.0 * tuned,
        TUNING.trained,
        PLAN.params
    );

    let mut image = Aligned([0; IMAGE_LEN]);
    let (params, state) = session.weights();
    write_image(&NETWORK, params, state, &OPTIONS, &mut image.0, |_| {})?;
    let net = Net::new(Image::new(&image.0)?);
    let (mut scores, mut scratch, mut hits) = ([0.0; CLASSES], [0.0; 2 * 32], 0);
    for number in 10_000..10_300 {
        let (row, label) = sample(number, true);
        net.infer(level, &Serial, &row, &mut scores, &mut scratch)?;
        hits += u32::from(best(&scores) == label as usize);
    }
    println!("image of {IMAGE_LEN} bytes, f16: {:.1} % right", f64::from(hits) / 3.0);
    Ok(())
}

//! Against PyTorch, Keras and scikit-learn: what stands around a network (`flow.json`).

use core::ops::ControlFlow;

use evenkeel::data::group_folds;
use evenkeel::fit::{BatchEnd, EpochEnd, Observer, RateSearch, Run};
use evenkeel::init::WeightAccess;
use evenkeel::kernels::dropout::{Rate, dropout as drop_out};
use evenkeel::kernels::panels;
use evenkeel::model::Standardize;
use evenkeel::rng::{Purpose, Stream};
use evenkeel::train::augment::jitter;
use evenkeel::train::{Batch, Buffers, Clip, Moment, Rules, Session};
use evenkeel::{Dataset, Init, Labels, Layer, Level, Loss, Mlp, Network, Optimizer, Serial, Targets, Trainer};
use serde_json::Value;

use crate::file::{Tally, json};
use crate::table::{Unit, note};

fn numbers(value: &Value) -> Vec<f64> {
    match value.as_array() {
        Some(values) => values.iter().flat_map(numbers).collect(),
        None => vec![value.as_f64().unwrap()],
    }
}

fn singles(value: &Value) -> Vec<f32> {
    numbers(value).into_iter().map(|value| value as f32).collect()
}

fn counts(value: &Value) -> Vec<u32> {
    numbers(value).into_iter().map(|value| value as u32).collect()
}

fn cases(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().unwrap().iter()
}

/// What is kept has the library's value; what is kept say the random words.
#[test]
pub(crate) fn dropout() {
    let file = &json("flow.json")["dropout"];
    let x = singles(&file["x"]);
    let mut tally = Tally::default();
    for case in cases(&file["cases"]) {
        let rate = Rate::new(case["rate"].as_f64().unwrap() as f32).unwrap();
        let kept = numbers(&case["kept"]);
        let stream = Stream::new(3, Purpose::Dropout, 1, 2);
        let truth: Vec<f64> = (0..x.len())
            .map(|at| if u64::from(stream.word(at as u64)) < rate.threshold() { kept[at] } else { 0.0 })
            .collect();
        for level in Level::available() {
            let mut y = x.clone();
            drop_out(level, &mut y, rate, stream, 0);
            tally.relative(&format!("dropout, {} on {level}", case["rate"]), &y, &truth, 1e-6);
        }
    }
    tally.note("dropout");
}

#[test]
pub(crate) fn noise_on_the_inputs() {
    let file = &json("flow.json")["jitter"];
    let mut tally = Tally::default();
    for case in cases(&file["cases"]) {
        let mut x = singles(&file["x"]);
        jitter(case["stddev"].as_f64().unwrap() as f32, 0x1_2345_6789, 5, 0, &mut x);
        tally.relative("noise on inputs", &x, &numbers(&case["y"]), 1e-7);
    }
    tally.note("");
}

/// `[output][input]`
struct Matrix {
    inputs: usize,
    w: Vec<f32>,
}

impl WeightAccess for Matrix {
    fn get(&self, output: usize, input: usize) -> f32 {
        self.w[output * self.inputs + input]
    }
    fn set(&mut self, output: usize, input: usize, value: f32) {
        self.w[output * self.inputs + input] = value;
    }
}

fn drawn(init: Init, inputs: usize, outputs: usize) -> Matrix {
    let mut matrix = Matrix { inputs, w: vec![f32::NAN; inputs * outputs] };
    init.fill(inputs, outputs, Stream::new(1, Purpose::Init, 0, 0), &mut matrix);
    matrix
}

/// What PyTorch's own matrices have: zeros in each column of sparse ones, mean and deviation of a million cut draws (to half a
/// percent of the deviation, five times what chance does).
#[test]
pub(crate) fn drawn_matrices() {
    let file = json("initialisers.json");
    let mut columns = 0;
    for case in cases(&file["sparse"]) {
        let size = |key: &str| case[key].as_u64().unwrap() as usize;
        let (inputs, outputs) = (size("inputs"), size("outputs"));
        let init = Init::Sparse { sparsity: case["sparsity"].as_f64().unwrap() as f32, std: 1.0 };
        let matrix = drawn(init, inputs, outputs);
        for input in 0..inputs {
            let zeros = (0..outputs).filter(|output| matrix.get(*output, input) == 0.0).count();
            assert_eq!(zeros, size("zeros"), "{init}");
        }
        columns += inputs;
    }
    note("sparse", (cases(&file["sparse"]).count(), columns), 0.0, Unit::Relative);
    for case in cases(&file["trunc_normal"]) {
        let [mean, std, low, high]: [f32; 4] = serde_json::from_value(case["arguments"].clone()).unwrap();
        let w = drawn(Init::TorchTruncatedNormal { mean, std, low, high }, 1000, 1000).w;
        let found = w.iter().map(|w| f64::from(*w)).sum::<f64>() / w.len() as f64;
        let spread = (w.iter().map(|w| (f64::from(*w) - found).powi(2)).sum::<f64>() / w.len() as f64).sqrt();
        let (theirs, their_spread) = (case["mean"].as_f64().unwrap(), case["std"].as_f64().unwrap());
        let deviation = ((found - theirs).abs() / their_spread).max((spread / their_spread - 1.0).abs());
        assert!(deviation < 5e-3, "{found}, {spread}: not {theirs}, {their_spread}");
        note("trunc_normal", (1, 2), deviation, Unit::Relative);
    }
}

/// Weights that are no draws; of orthogonal ones the products of their rows, or of their columns if those are fewer.
#[test]
pub(crate) fn initial_matrices() {
    for case in cases(&json("flow.json")["matrices"]) {
        let text = case["init"].as_str().unwrap();
        let size = |key: &str| case[key].as_u64().unwrap() as usize;
        let (inputs, outputs) = (size("inputs"), size("outputs"));
        let init: Init = text.parse().unwrap();
        let matrix = drawn(init, inputs, outputs);
        let mut tally = Tally::default();
        if let Init::Orthogonal { .. } = init {
            let short = inputs.min(outputs);
            let at =
                |i: usize, k: usize| f64::from(if outputs <= inputs { matrix.get(i, k) } else { matrix.get(k, i) });
            let product = |i, j| (0..inputs.max(outputs)).map(|k| at(i, k) * at(j, k)).sum::<f64>() as f32;
            let found: Vec<f32> = (0..short * short).map(|at| product(at / short, at % short)).collect();
            tally.relative(text, &found, &numbers(&case["gram"]), 1e-6);
        } else {
            tally.relative(text, &matrix.w, &numbers(&case["w"]), 0.0);
        }
        tally.note(text);
    }
}

/// Three steps of one dense layer.
#[test]
pub(crate) fn clipped_values() {
    let file = &json("flow.json")["clipped_values"];
    let [x, t, start] = ["x", "t", "start"].map(|key| singles(&file[key]));
    let [limit, lr] = ["limit", "lr"].map(|key| file[key].as_f64().unwrap() as f32);
    let (inputs, outputs) = (5, 3);
    let rows = x.len() / inputs;
    let layers = [Layer::Dense { outputs, bias: false }];
    let network = Network::new(inputs, &layers).unwrap();
    let plan = network.plan(rows);
    let mut rules = Rules::new(Loss::MeanSquaredError, Optimizer::Sgd { momentum: 0.0, nesterov: false });
    rules.clip = Clip::Value(limit);
    let mut tally = Tally::default();
    for level in Level::available() {
        let (mut params, mut gradients) = (vec![0.0; plan.params], vec![0.0; plan.trained]);
        panels::pack(inputs, outputs, &start, network.node(0).weights.of_mut(&mut params));
        let mut work = vec![f32::NAN; plan.work_len()];
        let buffers = Buffers {
            params: &mut params,
            state: &mut [],
            gradients: &mut gradients,
            moments: &mut [],
            work: &mut work,
        };
        let mut session = Session::new(network, rows, buffers, level, &Serial).unwrap();
        for step in 0..3 {
            let batch = Batch { inputs: &x, targets: Targets::Values(&t), rows };
            session.step(batch, &rules, Moment { seed: 0, step, lr }).unwrap();
        }
        let mut found = vec![0.0; start.len()];
        panels::unpack(inputs, outputs, network.node(0).weights.of(session.weights().0), &mut found);
        for library in ["torch", "keras"] {
            tally.relative(&format!("{library} on {level}"), &found, &numbers(&file["after"][library]), 1e-6);
        }
    }
    tally.note("");
}

#[test]
pub(crate) fn standardised_inputs() {
    let mut tally = Tally::default();
    for case in cases(&json("flow.json")["standardised"]) {
        let (x, columns) = (singles(&case["x"]), case["columns"].as_u64().unwrap() as usize);
        let learned = Standardize::learn(&x, columns);
        let mut found = vec![f32::NAN; x.len()];
        learned.apply(&x, &mut found);
        // A mean beside which the data is small, as a float32: 100 with a deviation of 10.
        tally.relative("StandardScaler", &found, &numbers(&case["sklearn"]), 1e-5);
        tally.relative("means", &learned.mean, &numbers(&case["mean"]), 1e-7);
        tally.relative("means of Normalization", &learned.mean, &numbers(&case["keras_mean"]), 1e-6);
    }
    tally.note("");
}

#[test]
pub(crate) fn balanced_classes() {
    let mut tally = Tally::default();
    for case in cases(&json("flow.json")["class_weights"]) {
        let labels = counts(&case["labels"]);
        let data = Dataset { inputs: vec![0.0; labels.len()], features: 1, labels: Labels::Classes(labels) };
        tally.relative("balanced", &data.balanced(), &numbers(&case["weights"]), 1e-7);
    }
    tally.note("");
}

/// Sizes of folds, and of each class in them, are scikit-learn's; rows of groups are the same rows.
#[test]
pub(crate) fn folds() {
    let file = &json("flow.json")["folds"];
    let (mut drawn, mut groups) = (0, 0);
    for case in cases(&file["cases"]) {
        let labels = counts(&case["labels"]);
        let data = Dataset { inputs: vec![0.0; labels.len()], features: 1, labels: Labels::Classes(labels.clone()) };
        let stratified: Vec<Vec<u32>> = cases(&case["stratified"]).map(counts).collect();
        let found = data.folds(stratified.len(), 9).unwrap();
        for (fold, truth) in found.iter().zip(&stratified) {
            let of_class = |class| fold.iter().filter(|row| labels[**row as usize] == class).count() as u32;
            assert_eq!((0..truth.len() as u32).map(of_class).collect::<Vec<_>>(), *truth);
            drawn += truth.len();
        }
        let values = Dataset { labels: Labels::Values(vec![0.0; labels.len()]), ..data };
        let sizes: Vec<u32> = values.folds(stratified.len(), 9).unwrap().iter().map(|fold| fold.len() as u32).collect();
        assert_eq!(sizes, counts(&case["plain"]));
        drawn += sizes.len();
    }
    let truth: Vec<Vec<u32>> = cases(&file["left_out"]).map(counts).collect();
    assert_eq!(group_folds(&counts(&file["groups"])).unwrap(), truth);
    truth.iter().for_each(|group| groups += group.len());
    note("Dataset::folds", (2 * cases(&file["cases"]).count(), drawn), 0.0, Unit::Relative);
    note("data::group_folds", (truth.len(), groups), 0.0, Unit::Relative);
}

/// Rates and smoothed losses of fastai's formulae.
#[test]
pub(crate) fn rate_finder() {
    let file = &json("flow.json")["finder"];
    let (rates, losses) = (numbers(&file["rates"]), numbers(&file["losses"]));
    let search = RateSearch { divergence: f64::MAX, ..RateSearch::default() };
    let found: Vec<f32> = (0..rates.len() as u64).map(|step| search.rate(step)).collect();
    let mut tally = Tally::default();
    tally.each("rates", &found, &rates, |at| rates[at], 1e-7);
    // The observer hears the batches of a run, with the stored losses in place of its own.
    let batch = observed().1.unwrap();
    let mut curve = search.observer();
    for loss in &losses {
        let mut batch = batch;
        batch.loss = *loss;
        let _ = curve.batch_ends(&batch);
    }
    let smoothed: Vec<f32> = curve.points.iter().map(|point| point.smoothed as f32).collect();
    let truth = numbers(&file["smoothed"]);
    tally.each("smoothed losses", &smoothed, &truth, |at| truth[at].abs(), 1e-7);
    tally.note("");
}

/// Writes down what it hears, in the words of the file.
#[derive(Default)]
struct Diary(Vec<String>, Option<BatchEnd>);

impl Observer for Diary {
    fn epoch_begins(&mut self, epoch: u32) -> ControlFlow<()> {
        self.0.push(format!("epoch {epoch} begins"));
        ControlFlow::Continue(())
    }

    fn rate(&mut self, step: u64, planned: f32) -> f32 {
        self.0.push(format!("batch {} begins", step % 3));
        planned
    }

    fn batch_ends(&mut self, batch: &BatchEnd) -> ControlFlow<()> {
        self.0.push(format!("batch {} ends", batch.batch));
        self.1 = Some(*batch);
        ControlFlow::Continue(())
    }

    fn epoch_ends(&mut self, epoch: &EpochEnd<'_>) -> ControlFlow<()> {
        let with = if epoch.record.val_loss.is_some() { "with" } else { "without" };
        self.0.push(format!("epoch {} ends, {with} validation", epoch.record.epoch));
        ControlFlow::Continue(())
    }
}

/// Two epochs of three batches.
fn observed() -> Diary {
    let inputs: Vec<f32> = (0..160).map(|at| (at % 13) as f32 * 0.1).collect();
    let data = Dataset { inputs, features: 4, labels: Labels::Values((0..40).map(|at| at as f32 * 0.01).collect()) };
    let mut model = Mlp::input(4).dense(1).build().unwrap();
    model.init(Init::HeNormal, 1);
    let trainer = Trainer::new(Loss::MeanSquaredError).batch(16).epochs(2);
    let mut diary = Diary::default();
    let mut run = Run::new(model, trainer).unwrap();
    run.fit_observed(data.view().unwrap(), data.view().ok(), &Serial, &mut diary).unwrap();
    diary
}

/// The hooks of Keras' `Callback`, in its order.
#[test]
pub(crate) fn hooks() {
    let heard: Vec<String> = serde_json::from_value(json("flow.json")["hooks"].clone()).unwrap();
    assert_eq!(observed().0, heard);
    note("", (1, heard.len()), 0.0, Unit::Relative);
}

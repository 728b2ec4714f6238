//! One network against its twin.

use evenkeel::plan::{Scope, Statistics};
use evenkeel::rng::{Purpose, Stream, unit};
use evenkeel::train::{Batch, Buffers, Link, Loss, Mean, Mixed, Moment, Session, Targets};
use evenkeel::{Layer, Level, Network, Serial, text};

use super::twin::{self, Mode, Twin};

const STEP: f64 = 1e-6;
const SEED: u64 = 0x1dea_0000_0000_0007;

/// Uniform in ±`size`.
fn numbers(purpose: u32, seed: u32, count: usize, size: f32) -> Vec<f32> {
    let stream = Stream::new(SEED, Purpose::Init, purpose, seed);
    (0..count as u64).map(|i| size * (2.0 * unit(stream.word(i)) - 1.0)).collect()
}

#[derive(Clone, Copy, Default)]
struct Worst {
    parameters: usize,
    /// How many of them were moved for central differences.
    moved: usize,
    /// Largest deviation of the library from central differences, as a share of the limit.
    differences: f64,
    /// Largest deviation of the library from the twin's backward pass, relative to the network's largest gradient.
    exact: f64,
    /// The same of the loss, relative.
    loss: f64,
    /// Largest deviation of the twin's backward pass from central differences, as a share of gradcheck's limit.
    twin: f64,
}

impl Worst {
    fn with(self, other: Self) -> Self {
        Self {
            parameters: self.parameters + other.parameters,
            moved: self.moved + other.moved,
            differences: self.differences.max(other.differences),
            exact: self.exact.max(other.exact),
            loss: self.loss.max(other.loss),
            twin: self.twin.max(other.twin),
        }
    }
}

/// What is said of the rows beside their targets.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Extra {
    Nothing,
    Weights(Mean),
    /// Two classes for each row.
    Mixed(f32),
    Both(f32, Mean),
}

/// A network with made-up parameters, and a batch.
#[derive(Clone)]
struct Case {
    params: Vec<f32>,
    state: Vec<f32>,
    inputs: Vec<f32>,
    labels: Vec<u32>,
    others: Vec<u32>,
    values: Vec<f32>,
    weights: Vec<f32>,
    extra: Extra,
}

impl Case {
    fn new(network: &Network<'_>, rows: usize, loss: Loss, seed: u32, extra: Extra) -> Self {
        let mut params = vec![0.0; network.params_len()];
        let mut state = vec![0.0; network.state_len()];
        for node in network.nodes() {
            let twin = Twin::read(network, &params, &state);
            let layer = &twin.layers[node.index];
            let count = layer.places.len();
            let bound = if let Layer::Dense { .. } = node.layer { 1.5 / (node.inputs as f32).sqrt() } else { 0.6 };
            for (place, value) in layer.places.iter().zip(numbers(1 + node.index as u32, seed, count, bound)) {
                params[*place] = value;
            }
            if let Layer::BatchNorm(_) = node.layer {
                node.weights.of_mut(&mut params)[..node.inputs].iter_mut().for_each(|gamma| *gamma += 1.0);
                let (mean, var) = node.state.of_mut(&mut state).split_at_mut(evenkeel::layer::padded(node.inputs));
                mean[..node.inputs].copy_from_slice(&numbers(100, seed, node.inputs, 1.0));
                for (var, noise) in var.iter_mut().zip(numbers(101, seed, node.inputs, 0.5)) {
                    *var = 1.0 + noise;
                }
                // A batch was seen: frozen statistics must be some.
                let count = node.state.len - 16;
                node.state.of_mut(&mut state)[count] = 1.0;
            }
        }
        let outputs = network.outputs();
        let words = Stream::new(SEED, Purpose::Init, 102, seed);
        let labels = (0..rows as u64).map(|row| words.word(row) % outputs as u32).collect();
        let mut values = numbers(103, seed, rows * outputs, 1.0);
        // From 0 to 1 where values from -1 on are none that the loss takes.
        if !loss.takes(-0.5) {
            values.iter_mut().for_each(|value| *value = 0.5 + 0.5 * *value);
        }
        if !loss.takes(0.5) {
            values.iter_mut().for_each(|value| *value = if *value > 0.5 { 1.0 } else { -1.0 });
        }
        if loss.link() == Link::Softmax {
            for row in values.chunks_mut(outputs) {
                let sum: f32 = row.iter().sum();
                row.iter_mut().for_each(|value| *value = (*value / sum).min(1.0));
            }
        }
        let others = (0..rows as u64).map(|row| words.word(row + (1 << 20)) % outputs as u32).collect();
        let mut weights = numbers(105, seed, rows, 1.0);
        weights.iter_mut().for_each(|weight| *weight += 1.0);
        let inputs = numbers(104, seed, rows * network.inputs(), 2.0);
        Self { params, state, inputs, labels, others, values, weights, extra }
    }

    fn targets(&self, loss: Loss) -> Targets<'_> {
        let (classes, others) = (&self.labels, &self.others);
        let plain = if loss.takes_classes() { Targets::Classes(classes) } else { Targets::Values(&self.values) };
        match self.extra {
            Extra::Nothing => plain,
            Extra::Weights(mean) => plain.weighted(&self.weights, mean),
            Extra::Mixed(share) => Targets::Mixed(Mixed { classes, others, share }),
            Extra::Both(share, mean) => Targets::Mixed(Mixed { classes, others, share }).weighted(&self.weights, mean),
        }
    }
}

/// The library's loss, gradients, and loss in inference mode, from buffers that are full of rubbish.
fn library(
    level: Level,
    network: Network<'_>,
    scope: Scope,
    case: &mut Case,
    rows: usize,
    loss: Loss,
    moment: Moment,
) -> (f64, Vec<f32>, f64) {
    let plan = network.plan_in(scope, rows + 3);
    let mut gradients = vec![f32::NAN; plan.trained];
    let mut work = vec![f32::NAN; plan.work_len()];
    let copy = case.clone();
    let batch = Batch { inputs: &copy.inputs, targets: copy.targets(loss), rows };
    let buffers = Buffers {
        params: &mut case.params,
        state: &mut case.state,
        gradients: &mut gradients,
        moments: &mut [],
        work: &mut work,
    };
    let mut session = Session::with_scope(network, scope, rows + 3, buffers, level, &Serial).unwrap();
    let inferred = session.evaluate(batch, loss).unwrap().mean_loss();
    let score = session.differentiate(batch, loss, moment).unwrap();
    (score.mean_loss(), session.gradients().to_vec(), inferred)
}

fn check(inputs: usize, net: &str, loss: Loss, rows: usize, scope: Scope, extra: Extra) -> Worst {
    let layers = text::parse(net).unwrap();
    let network = Network::new(inputs, &layers).unwrap();
    let moment = Moment { seed: 77, step: 5, lr: 0.0 };
    let running = scope.statistics == Statistics::Running;
    let mode = Mode::Tune { seed: moment.seed, step: moment.step, first: scope.first, running };
    let widen = |case: &Case| case.inputs.iter().map(|x| f64::from(*x)).collect::<Vec<_>>();
    // The first inputs that keep all ReLUs further from their kinks than any step or rounding reaches.
    let (mut case, mut twin, values) = (0..200)
        .find_map(|seed| {
            let case = Case::new(&network, rows, loss, seed, extra);
            let twin = Twin::read(&network, &case.params, &case.state);
            let values = twin.forward(widen(&case), rows, mode);
            (twin.distance_from_kinks(&values) > 1e-5).then_some((case, twin, values))
        })
        .unwrap();
    let cols = network.outputs();
    let (exact_loss, dy) = twin::loss(loss, &values[layers.len()], case.targets(loss), cols);
    let exact = twin.backward(&values, dy, rows, mode);
    let outputs = twin.forward_from(0, &values[0], rows, Mode::Infer);
    twin.hold(&values, rows, mode);
    let (exact_inferred, _) = twin::loss(loss, &outputs, case.targets(loss), cols);
    let relative = |a: f64, b: f64| (a - b).abs() / b.abs().max(1e-3);
    let largest = exact.iter().skip(scope.first).flatten().fold(0.0_f64, |most, g| most.max(g.abs()));

    let mut slopes = exact.clone();
    let mut worst = Worst::default();
    // The twin is the same `f64` code on every machine: under an emulator it is held to central differences now and then.
    let every = if std::env::var_os("EVENKEEL_EMULATED").is_some() { 29 } else { 1 };
    for layer in scope.first..layers.len() {
        worst.parameters += exact[layer].len();
        for i in (0..exact[layer].len()).step_by(every) {
            let mut at = |step: f64| {
                let before = twin.layers[layer].params[i];
                twin.layers[layer].params[i] = before + step;
                let outputs = twin.forward_from(layer, &values[layer], rows, mode);
                twin.layers[layer].params[i] = before;
                twin::loss(loss, &outputs, case.targets(loss), cols).0
            };
            let slope = (at(STEP) - at(-STEP)) / (2.0 * STEP);
            slopes[layer][i] = slope;
            worst.moved += 1;
            worst.twin = worst.twin.max((exact[layer][i] - slope).abs() / (1e-5 + 1e-3 * slope.abs()));
        }
    }
    for level in Level::available() {
        let (found_loss, gradients, inferred) = library(level, network, scope, &mut case, rows, loss, moment);
        worst.loss = worst.loss.max(relative(found_loss, exact_loss)).max(relative(inferred, exact_inferred));
        let frozen = network.params_len() - gradients.len();
        let trained = twin.layers.iter().zip(slopes.iter().zip(&exact)).skip(scope.first);
        for (layer, (slopes, exact)) in trained {
            for ((place, slope), exact) in layer.places.iter().zip(slopes).zip(exact) {
                let found = f64::from(gradients[*place - frozen]);
                // `max` would pass over a NaN.
                assert!(found.is_finite(), "{found} in the gradient on {level}: {net}");
                let limit = 1e-5 * largest + 1e-3 * slope.abs();
                worst.differences = worst.differences.max((found - slope).abs() / limit);
                worst.exact = worst.exact.max((found - exact).abs() / largest);
            }
        }
    }
    worst
}

/// Checks the networks at each batch size, and prints what was found.
pub(crate) fn check_all(name: &str, nets: &[(usize, &str, Loss)], batches: &[usize]) {
    let nets: Vec<_> = nets.iter().map(|(inputs, net, loss)| (*inputs, *net, *loss, Scope::ALL)).collect();
    check_scopes(name, &nets, batches);
}

/// The same, of a part of each network.
pub(crate) fn check_scopes(name: &str, nets: &[(usize, &str, Loss, Scope)], batches: &[usize]) {
    check_targets(name, nets, batches, Extra::Nothing);
}

/// The same, with more said of the rows.
pub(crate) fn check_targets(name: &str, nets: &[(usize, &str, Loss, Scope)], batches: &[usize], extra: Extra) {
    let mut worst = Worst::default();
    for (inputs, net, loss, scope) in nets {
        for rows in batches {
            let found = check(*inputs, net, *loss, *rows, *scope, extra);
            let what = format!("{inputs} -> {net}, {loss}, {rows} rows, {scope:?}, {extra:?}");
            if std::env::var_os("VERBOSE").is_some() {
                println!("{:.2} {:.1e} {:.1e} {:.1e} {what}", found.differences, found.exact, found.loss, found.twin);
            }
            assert!(found.twin <= 1.0, "the twin's backward pass: {:.2} of the limit, {what}", found.twin);
            assert!(found.differences <= 1.0, "{:.2} of the limit, {what}", found.differences);
            assert!(found.exact <= 2e-5, "{:.1e} of the largest gradient, {what}", found.exact);
            assert!(found.loss <= 1e-6, "loss: {:.1e}, {what}", found.loss);
            worst = worst.with(found);
        }
    }
    println!(
        "{name}: {} networks, {} parameters, all checked, {} moved; largest deviation from central differences {:.3} of the \
         limit, from the exact gradient {:.1e} of the network's largest, of the loss {:.1e}; twin {:.1e} of gradcheck's limit",
        nets.len() * batches.len(),
        worst.parameters,
        worst.moved,
        worst.differences,
        worst.exact,
        worst.loss,
        worst.twin
    );
}

//! Gradients of whole networks against an `f64` twin.
//!
//! Every parameter of every network is moved by ±1e-6 in the twin; the slope of the twin's loss is compared with the
//! library's gradient and with the twin's own backward pass. Limits are those of PyTorch's `gradcheck` (atol 1e-5, rtol
//! 1e-3): as they stand for the twin, and for the library's `f32` results with the absolute part scaled by the largest
//! gradient of the network, since what cancels to nothing leaves rounding errors of the size of its terms.
//! Networks of which a part is frozen, or the statistics of the batch norms, are checked in the same way.
//! The library's results are held to the twin's exact gradients far more tightly, to 2e-5 of the largest gradient (two rows under a batch norm cancel the most).

mod twin;

use evenkeel::plan::{Scope, Statistics};
use evenkeel::rng::{Purpose, Stream, unit};
use evenkeel::train::{Batch, Buffers, Link, Loss, Mean, Mixed, Moment, Session, Targets};
use evenkeel::{Layer, Level, Network, Serial, text};
use twin::{Mode, Twin};

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
            differences: self.differences.max(other.differences),
            exact: self.exact.max(other.exact),
            loss: self.loss.max(other.loss),
            twin: self.twin.max(other.twin),
        }
    }
}

/// What is said of the rows beside their targets.
#[derive(Clone, Copy, Debug)]
enum Extra {
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
    for layer in scope.first..layers.len() {
        for i in 0..exact[layer].len() {
            let mut at = |step: f64| {
                let before = twin.layers[layer].params[i];
                twin.layers[layer].params[i] = before + step;
                let outputs = twin.forward_from(layer, &values[layer], rows, mode);
                twin.layers[layer].params[i] = before;
                twin::loss(loss, &outputs, case.targets(loss), cols).0
            };
            let slope = (at(STEP) - at(-STEP)) / (2.0 * STEP);
            slopes[layer][i] = slope;
            worst.parameters += 1;
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
fn check_all(name: &str, nets: &[(usize, &str, Loss)], batches: &[usize]) {
    let nets: Vec<_> = nets.iter().map(|(inputs, net, loss)| (*inputs, *net, *loss, Scope::ALL)).collect();
    check_scopes(name, &nets, batches);
}

/// The same, of a part of each network.
fn check_scopes(name: &str, nets: &[(usize, &str, Loss, Scope)], batches: &[usize]) {
    check_targets(name, nets, batches, Extra::Nothing);
}

/// The same, with more said of the rows.
fn check_targets(name: &str, nets: &[(usize, &str, Loss, Scope)], batches: &[usize], extra: Extra) {
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
        "{name}: {} networks, {} parameters, all checked; largest deviation from central differences {:.3} of the \
         limit, from the exact gradient {:.1e} of the network's largest, of the loss {:.1e}; twin {:.1e} of gradcheck's limit",
        nets.len() * batches.len(),
        worst.parameters,
        worst.differences,
        worst.exact,
        worst.loss,
        worst.twin
    );
}

const CE: Loss = Loss::CrossEntropy;
const BCE: Loss = Loss::BinaryCrossEntropy;
const MSE: Loss = Loss::MeanSquaredError;

/// Widths at, below and above a group of sixteen, and one over two groups; with and without bias.
#[test]
fn dense() {
    let nets = [
        (1, "dense(1)", MSE),
        (1, "dense(3)", CE),
        (3, "dense(1, bias=false)", BCE),
        (3, "dense(16) dense(3)", CE),
        (16, "dense(17, bias=false) dense(16)", MSE),
        (17, "dense(33) dense(1)", BCE),
        (33, "dense(16, bias=false) dense(17, bias=false) dense(3, bias=false)", CE),
        (33, "dense(33)", CE),
        (16, "dense(1) dense(33) dense(1) dense(17)", MSE),
    ];
    check_all("dense", &nets, &[1, 2, 5, 17]);
}

/// Each activation hidden, at the input and (for losses on plain outputs) at the end.
#[test]
fn activations() {
    let mut nets = Vec::new();
    for name in ["relu", "leaky_relu", "leaky_relu(0.3)", "sigmoid", "tanh", "gelu", "silu"] {
        nets.push((3, format!("dense(17) {name} dense(3)"), CE));
        nets.push((17, format!("{name} dense(16) {name} dense(1)"), BCE));
        nets.push((16, format!("dense(33) {name}"), MSE));
        nets.push((3, format!("dense(5) {name} {name} dense(2)"), MSE));
    }
    let nets: Vec<_> = nets.iter().map(|(inputs, net, loss)| (*inputs, net.as_str(), *loss)).collect();
    check_all("activations", &nets, &[2, 5, 17]);
}

/// The less usual activations in the same places, with their parameters.
#[test]
fn more_activations() {
    let mut nets = Vec::new();
    let names = "elu elu(0.4) selu celu celu(1.7) gelu_tanh softplus softplus(2.5) softsign hard_sigmoid hard_swish relu6 \
                 mish thresholded_relu(0.1)";
    for name in names.split_whitespace() {
        nets.push((3, format!("dense(17) {name} dense(3)"), CE));
        nets.push((17, format!("{name} dense(16) {name} dropout(0.2) dense(1)"), BCE));
        nets.push((16, format!("dense(33) {name}"), MSE));
        nets.push((3, format!("dense(5) bn {name} {name} dense(2)"), MSE));
    }
    let nets: Vec<_> = nets.iter().map(|(inputs, net, loss)| (*inputs, net.as_str(), *loss)).collect();
    check_all("more activations", &nets, &[2, 5, 17]);
}

/// PReLU's slopes, shared and of each feature, everywhere; in frozen parts, with dropout and softmax behind it.
#[test]
fn prelu() {
    let mut nets = Vec::new();
    for name in ["prelu", "prelu(shared=false)"] {
        nets.push((3, format!("dense(17) {name} dense(3)"), CE, Scope::ALL));
        nets.push((17, format!("{name} dense(16) bn {name} dropout(0.3) dense(1)"), BCE, Scope::ALL));
        nets.push((33, format!("dense(33) {name}"), MSE, Scope::ALL));
        nets.push((5, format!("{name} {name} tanh"), MSE, Scope::ALL));
        nets.push((6, format!("dense(20) bn relu {name} softmax {name} log_softmax"), MSE, Scope::ALL));
        nets.push((6, format!("dense(20) {name} dense(18) {name} relu dense(3)"), CE, Scope::from_layer(2)));
        nets.push((6, format!("dense(20) {name} dense(18) {name} relu dense(3)"), CE, Scope::from_layer(3)));
        nets.push((6, format!("{name} dense(20) gelu {name} dense(3)"), CE, Scope::from_layer(1)));
    }
    let nets: Vec<_> = nets.iter().map(|(inputs, net, loss, scope)| (*inputs, net.as_str(), *loss, *scope)).collect();
    check_scopes("PReLU", &nets, &[2, 5, 17]);
    check_scopes("PReLU of long batches", &nets[..1], &[256, 257, 300]);
    check_scopes("PReLU of long batches, each", &nets[8..9], &[256, 257, 300]);
}

/// Batch norm everywhere: hidden, at the input, at the end, before and after an activation, in chains.
#[test]
fn batch_norm() {
    let nets = [
        (3, "dense(17) bn relu dense(3)", CE),
        (16, "dense(16, bias=false) bn(keras) tanh dense(1)", BCE),
        (17, "bn dense(3)", CE),
        (33, "bn dense(16) sigmoid bn dense(3)", MSE),
        (3, "dense(17) relu bn dense(3)", CE),
        (3, "dense(17) gelu bn leaky_relu(0.1) bn dense(3)", CE),
        (5, "bn bn dense(5) bn bn(eps=0.01, momentum=none) silu dense(2)", MSE),
        (1, "bn dense(1)", BCE),
        (3, "dense(3) bn", MSE),
        (3, "bn", CE),
        (16, "dense(33) bn gelu dense(17) bn relu dense(3)", CE),
        (4, "tanh bn dense(3)", CE),
    ];
    check_all("batch norm", &nets, &[2, 5, 17]);
}

/// Scale, shift and what lies before them through frozen statistics, down to a batch of one row: where others get the sign
/// wrong.
#[test]
fn frozen_statistics() {
    let running = Scope::ALL.with_running_statistics();
    let nets = [
        (3, "dense(17) bn relu dense(3)", CE, running),
        (17, "bn dense(3)", CE, running),
        (1, "bn dense(1)", BCE, running),
        (3, "dense(3) bn", MSE, running),
        (5, "bn bn dense(5) bn bn(eps=0.01, momentum=none) silu dense(2)", MSE, running),
        (16, "dense(33) bn gelu dense(17) bn(keras) tanh dropout(0.3) dense(3)", CE, running),
        (4, "dense(20, bias=false) leaky_relu bn dropout(0.5) dense(3)", CE, running),
        (3, "dense(17) bn sigmoid bn dense(3) log_softmax", MSE, running),
    ];
    check_scopes("frozen statistics", &nets, &[1, 2, 5, 17]);
    check_scopes("frozen statistics of long batches", &nets[..2], &[256, 257, 300]);
}

/// The last layers, with the first ones frozen: their batch norms keep their statistics, their dropout does nothing.
#[test]
fn frozen_layers() {
    let net = "dense(17) bn relu dropout(0.5) dense(12) bn gelu dropout(0.3) dense(3)";
    let of = |first| [Scope::from_layer(first), Scope::from_layer(first).with_running_statistics()];
    let nets: Vec<_> = (1..=8).flat_map(of).map(|scope| (6, net, CE, scope)).collect();
    check_scopes("frozen layers", &nets, &[2, 5, 17]);
    let nets = [
        (6, "relu dropout(0.2) dense(5) softmax dense(2)", BCE, Scope::from_layer(1)),
        (20, "bn dense(5) tanh dense(40) silu dropout(0.2) dense(2)", MSE, Scope::from_layer(4)),
        (3, "dense(40) relu dense(2) relu dense(33) sigmoid log_softmax dense(2)", CE, Scope::from_layer(7)),
    ];
    check_scopes("frozen layers of other kinds", &nets, &[1, 2, 17]);
}

/// Dropout with its counter fixed: after each activation kind, at the input, before batch norm, at rates 0 and 1.
#[test]
fn dropout() {
    let nets = [
        (3, "dense(17) relu dropout(0.5) dense(3)", CE),
        (16, "dense(33) leaky_relu dropout(0.2) dense(3)", CE),
        (17, "dense(16) tanh dropout(0.3) dense(1)", BCE),
        (17, "dense(16) sigmoid dropout(0.3) dense(2)", MSE),
        (5, "dense(17) gelu dropout(0.1) dense(3)", CE),
        (5, "dense(17) silu dropout(0.9) dense(3)", CE),
        (33, "dropout(0.2) dense(3)", CE),
        (33, "dropout(0.2) tanh dropout(0.2) dropout(0.1) dense(3)", CE),
        (5, "dense(17) dropout(0.25) relu dropout(0.5) relu dense(3)", CE),
        (5, "dense(17) bn relu dropout(0.5) dense(16) bn dropout(0.1) sigmoid dense(3)", CE),
        (5, "dense(17) dropout(0) dense(3)", CE),
        (5, "dense(17) dropout(1) dense(3)", CE),
        (3, "dense(17) dropout(0.5)", MSE),
    ];
    check_all("dropout", &nets, &[2, 5, 17]);
}

/// Softmax and log-softmax as hidden and last layers, under the squared error.
#[test]
fn softmax() {
    let nets = [
        (3, "dense(17) softmax", MSE),
        (16, "dense(3) softmax dense(2)", CE),
        (17, "softmax dense(1)", BCE),
        (3, "dense(33) log_softmax", MSE),
        (16, "dense(16) log_softmax dense(2)", CE),
        (17, "log_softmax dense(3)", MSE),
        (3, "dense(1) softmax", MSE),
        (5, "dense(17) softmax bn dropout(0.2) log_softmax", MSE),
        (5, "dense(17) bn tanh softmax softmax dense(2)", CE),
    ];
    check_all("softmax", &nets, &[2, 5, 17]);
}

/// Batches beyond the 256 rows of one chain of sums.
#[test]
fn long_batches() {
    let nets = [
        (3, "dense(17) relu dense(3)", CE),
        (16, "dense(16) bn tanh dropout(0.2) dense(1)", BCE),
        (17, "bn dense(5) gelu bn dense(3)", MSE),
        (5, "dense(33, bias=false) bn silu dense(3) log_softmax", MSE),
        (3, "dense(16) sigmoid dropout(0.5) dense(3) softmax", MSE),
        (1, "dense(3) leaky_relu bn dense(17)", CE),
    ];
    check_all("long batches", &nets, &[256, 257, 300]);
}

/// An inner dimension beyond one chain of 256.
#[test]
fn wide_rows() {
    check_all("wide rows", &[(300, "dense(3) tanh dense(2)", CE), (3, "dense(270) relu dense(2)", CE)], &[5]);
}

/// Dropout's kin with their numbers fixed by the counter, where each may work in place and where not.
#[test]
fn noise() {
    let mut nets = Vec::new();
    for name in ["gaussian_dropout(0.3)", "gaussian_noise(0.2)", "alpha_dropout(0.2)"] {
        nets.push((3, format!("dense(17) {name} relu dense(3)"), CE));
        nets.push((16, format!("dense(33) relu {name} dense(3)"), CE));
        nets.push((17, format!("{name} dense(16) bn {name} tanh dense(1)"), BCE));
        nets.push((5, format!("dense(17) sigmoid {name} {name} dropout(0.2) dense(2)"), MSE));
        nets.push((5, format!("dense(17) ln {name} gelu dense(2) {name}"), MSE));
    }
    for text in ["gaussian_dropout(0)", "gaussian_noise(0)", "alpha_dropout(0)", "alpha_dropout(1)"] {
        nets.push((5, format!("dense(17) {text} dense(3)"), CE));
    }
    for (inputs, text) in [
        (3, "dropconnect(0.5) dense(17) relu dense(3)"),
        (16, "dense(33) relu dropconnect(0.3) dense(17, bias=false) tanh dropconnect(0.1) dense(3)"),
        (17, "dense(5) bn relu dropconnect(0.5) dense(3)"),
        (17, "dense(5) dropconnect(1) dense(3)"),
        (17, "dense(5) dropout(0.5) dropconnect(0) dense(3)"),
    ] {
        nets.push((inputs, text.into(), CE));
    }
    let nets: Vec<_> = nets.iter().map(|(inputs, net, loss)| (*inputs, net.as_str(), *loss)).collect();
    check_all("dropout's kin", &nets, &[2, 17]);
    check_all("dropout's kin in long batches", &nets[..4], &[257]);
    let net =
        "dropconnect(0.5) dense(17) gaussian_dropout(0.3) dropconnect(0.5) dense(12) gaussian_noise(0.1) dense(3)";
    let nets: Vec<_> = (1..=4).map(|first| (6, net, CE, Scope::from_layer(first))).collect();
    check_scopes("dropout's kin behind frozen layers", &nets, &[2, 17]);
}

/// Layer norm everywhere a batch norm may be, of one row too, and behind frozen layers.
#[test]
fn layer_norm() {
    let nets = [
        (3, "dense(17) ln relu dense(3)", CE),
        (16, "dense(16, bias=false) ln(keras) tanh dense(1)", BCE),
        (17, "ln dense(3)", CE),
        (33, "ln dense(16) sigmoid ln dense(3)", MSE),
        (3, "dense(17) gelu ln leaky_relu(0.1) ln dense(3)", CE),
        (5, "ln dense(5) ln ln(eps=0.01) silu dense(2)", MSE),
        (3, "dense(5) ln", MSE),
        (7, "ln", CE),
        (16, "dense(33) ln gelu dropout(0.2) dense(17) ln relu dropout(0.3) dense(3)", CE),
        (4, "tanh ln dense(3)", CE),
    ];
    check_all("layer norm", &nets, &[1, 2, 5, 17]);
    check_all("layer norm beside batch norm", &[(5, "ln bn dense(17) bn ln silu dense(2)", MSE)], &[2, 17]);
    check_all("layer norm in long batches", &nets[..3], &[256, 257, 300]);
    let net = "dense(17) ln relu dense(40) ln gelu dense(3) ln";
    let nets: Vec<_> = (1..=7).map(|first| (6, net, CE, Scope::from_layer(first))).collect();
    check_scopes("layer norm with frozen layers", &nets, &[1, 17]);
}

/// The modes of a batch norm: one frozen among others, ghost batches, and renorm at limits that bind and that do not.
#[test]
fn batch_norm_modes() {
    let nets = [
        (3, "dense(17) bn(frozen=true) relu dense(3)", CE),
        (16, "bn(frozen=true) dense(33) bn gelu dense(17) bn(frozen=true) relu dense(3)", CE),
        (3, "dense(17) bn(ghost=8) relu dense(3)", CE),
        (17, "bn(ghost=8) dense(33) bn(keras, ghost=9) tanh dropout(0.2) dense(1)", BCE),
        (3, "dense(20) bn(renorm=true) relu dense(3)", CE),
        (3, "dense(20) bn(renorm=true, renorm_from=0, r_until=10, d_until=20) relu dense(3)", CE),
        (17, "bn(renorm=true, r_max=1.1, d_max=0.1, renorm_from=0, r_until=1, d_until=1) dense(3)", MSE),
        (
            5,
            "dense(33) bn(keras, renorm=true, r_max=9, d_max=9, renorm_from=0, r_until=1, d_until=1) silu bn dense(2)",
            MSE,
        ),
    ];
    check_all("batch norm's modes", &nets, &[2, 5, 9, 10, 17, 26]);
    check_all("batch norm's modes in long batches", &nets[2..], &[257, 300]);
    let running = Scope::ALL.with_running_statistics();
    let nets: Vec<_> = nets.iter().map(|(inputs, net, loss)| (*inputs, *net, *loss, running)).collect();
    check_scopes("batch norm's modes with frozen statistics", &nets, &[1, 17]);
}

/// Every loss, over one, three and more than sixteen outputs.
#[test]
fn losses() {
    let texts = "mae, huber(0.5), smooth_l1(0.3), log_cosh, quantile(0.8), poisson, poisson_full, kl_div, soft_cross_entropy(0), \
                 soft_cross_entropy(0.2), cross_entropy(0.1), bce(0.1), focal(2;0.25), focal(0.5;1), binary_focal(2), \
                 binary_focal(0.5;0.7), hinge, squared_hinge, categorical_hinge, multi_margin(1), squared_multi_margin(0.5), \
                 cosine_similarity, cosine_embedding";
    for text in texts.split(", ") {
        let loss: Loss = text.trim().replace(';', ",").parse().unwrap();
        let mut nets = vec![(5, "dense(17) tanh dense(3)", loss), (3, "dense(33)", loss)];
        // One output of a row that is one class or one direction says nothing.
        if loss.link() != Link::Softmax && !text.starts_with("cosine") {
            nets.push((4, "dense(6) tanh dense(1)", loss));
        }
        check_all(&loss.to_string(), &nets, &[1, 5, 17]);
    }
    for text in ["poisson_rate", "poisson_rate_full"] {
        check_all(text, &[(5, "dense(17) tanh dense(3) sigmoid", text.parse().unwrap())], &[1, 5, 17]);
    }
}

/// Weights of rows under both means, rows of two classes, and both.
#[test]
fn weights_and_mixed_classes() {
    let loss = |text: &str| text.parse::<Loss>().unwrap();
    let net = "dense(17) bn tanh dense(5)";
    let all =
        ["cross_entropy", "cross_entropy(0.1)", "bce", "mse", "huber", "kl_div", "focal", "hinge", "cosine_embedding"];
    let nets: Vec<_> = all.iter().map(|text| (4, net, loss(text), Scope::ALL)).collect();
    for mean in [Mean::Rows, Mean::Weights, Mean::Scaled(0.7)] {
        check_targets(&format!("weights, {mean:?}"), &nets, &[2, 17], Extra::Weights(mean));
    }
    let classes =
        ["cross_entropy", "cross_entropy(0.2)", "focal", "categorical_hinge", "multi_margin", "squared_multi_margin"];
    let nets: Vec<_> = classes.iter().map(|text| (4, net, loss(text), Scope::ALL)).collect();
    for share in [0.0, 0.3, 1.0] {
        check_targets(&format!("two classes, share {share}"), &nets, &[2, 17], Extra::Mixed(share));
    }
    check_targets("two classes and weights", &nets, &[2, 17], Extra::Both(0.4, Mean::Weights));
}

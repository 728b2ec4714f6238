//! Against exact arithmetic, PyTorch and Keras: batch norm, activations, softmax and losses, value by
//! value.

use evenkeel::kernels::groups::{from_groups, to_groups};
use evenkeel::kernels::{activation, batchnorm, panels, softmax};
use evenkeel::layer::padded;
use evenkeel::train::{Batch, Buffers, Moment, Session};
use evenkeel::{Activation, Layer, Level, Loss, Network, Serial, Targets};

use crate::file::{File, Tally, ulp};

/// Rows of `cols` values in groups of sixteen columns, as the kernels take them.
pub(crate) fn pad(values: &[f32], cols: usize) -> Vec<f32> {
    let rows = values.len() / cols;
    let mut groups = vec![0.0; rows * padded(cols)];
    to_groups(&Serial, rows, cols, values, &mut groups);
    groups
}

pub(crate) fn unpad(groups: &[f32], cols: usize) -> Vec<f32> {
    let rows = groups.len() / padded(cols);
    let mut values = vec![0.0; rows * cols];
    from_groups(rows, cols, groups, &mut values);
    values
}

/// Statistics of one batch, written to a new cache.
fn statistics(level: Level, x: &[f32], cols: usize, eps: f32) -> Vec<f32> {
    let mut cache = vec![0.0; batchnorm::cache_len(padded(cols))];
    batchnorm::statistics(level, &Serial, x.len() / cols, eps, &pad(x, cols), &mut cache).unwrap();
    cache
}

fn normalize(level: Level, cache: &[f32], gamma: &[f32], beta: &[f32], x: &[f32]) -> Vec<f32> {
    let (cols, rows) = (gamma.len(), x.len() / gamma.len());
    let (gamma, beta, x) = (pad(gamma, cols), pad(beta, cols), pad(x, cols));
    let mut y = vec![f32::NAN; x.len()];
    batchnorm::normalize(level, &Serial, rows, cache, &gamma, &beta, &x, &mut y).unwrap();
    unpad(&y, cols)
}

/// Running mean and variance after each of the three batches of `x`, one after the other, from 0 and 1.
fn running(level: Level, x: &[f32], cols: usize, momentum: Option<f32>, unbiased: bool) -> [Vec<f32>; 2] {
    let (mut mean, mut var) = (vec![0.0; padded(cols)], vec![1.0; padded(cols)]);
    let mut kept = [Vec::new(), Vec::new()];
    for (batch, x) in (1..).zip(x.chunks(x.len() / 3)) {
        let cache = statistics(level, x, cols, 1e-5);
        let factor = momentum.unwrap_or(1.0 / batch as f32);
        batchnorm::update_running(&cache, x.len() / cols, factor, unbiased, &mut mean, &mut var).unwrap();
        kept[0].extend(&mean[..cols]);
        kept[1].extend(&var[..cols]);
    }
    kept
}

/// Running statistics: means within 1e-6 of the data's size, variances within 4e-7 of their value.
///
/// A mean's error cannot be relative to the mean alone (it may be any sum of cancelling terms): it is divided by the
/// largest value of its column.
fn check_running(tally: &mut Tally, what: &str, found: &[Vec<f32>; 2], x: &[f32], mean: &[f64], var: &[f64]) {
    let cols = mean.len() / 3;
    let largest = |col: usize| x.iter().skip(col).step_by(cols).fold(0.0_f64, |most, x| most.max(f64::from(x.abs())));
    tally.each(&format!("{what} mean"), &found[0], mean, |at| largest(at % cols), 3e-7);
    tally.each(&format!("{what} var"), &found[1], var, |at| var[at], 1e-6);
}

#[test]
pub(crate) fn batch_norm_as_in_pytorch() {
    let file = File::open("bn");
    for n in ["n2", "n3", "n1000"] {
        let [mut values, mut gradients, mut cumulative, mut statistic] = [(); 4].map(|()| Tally::default());
        for level in Level::available() {
            let [x, dy, gamma, beta] = ["x", "dy", "gamma", "beta"].map(|name| file.f32(&format!("{n}.{name}")));
            let cols = gamma.len();
            let first = &x[..dy.len()];
            for (label, eps) in [("eps1e-5", 1e-5), ("eps1e-3", 1e-3)] {
                let truth = |name: &str| file.f64(&format!("{n}.{label}.{name}64"));
                let what = |name: &str| format!("{n}.{label}.{name} on {level}");
                let cache = statistics(level, first, cols, eps);
                let y = normalize(level, &cache, &gamma, &beta, first);
                // The size of what is added up in y, of which the result may be a small rest.
                let size =
                    |at: usize| (truth("y")[at] - f64::from(beta[at % cols])).abs() + f64::from(beta[at % cols].abs());
                values.each(&what("y"), &y, truth("y"), size, 1e-6);

                let (mut dx, mut dgamma, mut dbeta) =
                    (pad(&dy, cols), vec![0.0; padded(cols)], vec![0.0; padded(cols)]);
                let (rows, gammas, x) = (first.len() / cols, pad(&gamma, cols), pad(first, cols));
                batchnorm::backward(level, &Serial, rows, &cache, &gammas, &x, &mut dx, &mut dgamma, &mut dbeta)
                    .unwrap();
                // As the README asks: relative to |γ| r max|dy|; the sums relative to the sum of their terms' sizes.
                let column = |col: usize| dy.iter().skip(col).step_by(cols).map(|dy| f64::from(dy.abs()));
                let mean = |col: usize| first.iter().skip(col).step_by(cols).map(|x| f64::from(*x)).sum::<f64>();
                let r = |col: usize| {
                    let rows = (first.len() / cols) as f64;
                    let mean = mean(col) / rows;
                    let square = |x: &f32| (f64::from(*x) - mean) * (f64::from(*x) - mean);
                    1.0 / (first.iter().skip(col).step_by(cols).map(square).sum::<f64>() / rows + f64::from(eps)).sqrt()
                };
                let scales: Vec<f64> =
                    (0..cols).map(|c| f64::from(gamma[c].abs()) * r(c) * column(c).fold(0.0, f64::max)).collect();
                gradients.each(&what("dx"), &unpad(&dx, cols), truth("dx"), |at| scales[at % cols], 2e-6);
                let sums: Vec<f64> = (0..cols).map(|col| column(col).sum()).collect();
                gradients.each(&what("dgamma"), &dgamma[..cols], truth("dgamma"), |at| sums[at], 1e-6);
                gradients.each(&what("dbeta"), &dbeta[..cols], truth("dbeta"), |at| sums[at], 1e-6);
            }
            for (label, momentum) in [("m0.1", Some(0.1)), ("m0.01", Some(0.01)), ("cumulative", None)] {
                let mean = file.f64(&format!("{n}.{label}.running_mean64"));
                for (unbiased, name) in [(true, "running_var64"), (false, "running_var_biased64")] {
                    let found = running(level, &x, cols, momentum, unbiased);
                    let what = format!("{n}.{label}.{name} on {level}");
                    let statistic = if momentum.is_none() { &mut cumulative } else { &mut statistic };
                    check_running(statistic, &what, &found, &x, mean, file.f64(&format!("{n}.{label}.{name}")));
                }
            }
        }
        for tally in [values, gradients, statistic] {
            tally.note("bn");
        }
        cumulative.note("bn cumulative");
    }
}

#[test]
pub(crate) fn batch_norm_as_in_keras() {
    let file = File::open("bn_keras");
    let mut tally = Tally::default();
    for level in Level::available() {
        for n in ["n2", "n3", "n50"] {
            let [x, gamma, beta] = ["x", "gamma", "beta"].map(|name| file.f32(&format!("{n}.{name}")));
            let cols = gamma.len();
            let first = &x[..x.len() / 3];
            for label in ["m0.9", "m0.99"] {
                let option = |key: &str| file.about[label][key].as_f64().unwrap();
                let (eps, factor) = (option("epsilon") as f32, (1.0 - option("momentum")) as f32);
                let what = |name: &str| format!("{n}.{label}.{name} on {level}");
                let truth = |name: &str| file.f64(&format!("{n}.{label}.{name}64"));
                let y = normalize(level, &statistics(level, first, cols, eps), &gamma, &beta, first);
                tally.relative(&what("y"), &y, truth("y"), 1e-6);
                let found = running(level, &x, cols, Some(factor), false);
                let (mean, var) = (truth("moving_mean"), truth("moving_variance"));
                check_running(&mut tally, &what("moving"), &found, &x, mean, var);
                let last = |values: &[f32]| pad(&values[2 * cols..], cols);
                let mut cache = vec![0.0; batchnorm::cache_len(padded(cols))];
                batchnorm::freeze(level, eps, &last(&found[0]), &last(&found[1]), &mut cache).unwrap();
                let y = normalize(level, &cache, &gamma, &beta, first);
                tally.relative(&what("inference"), &y, truth("inference"), 1e-6);
            }
        }
    }
    tally.note("");
}

/// Columns on which a careless mean or variance fails (R8). Where the sum or the variance is beyond `f32`, training
/// refuses the batch instead; that is tested with training.
#[test]
pub(crate) fn batch_norm_on_hard_columns() {
    let file = File::open("bn");
    let mut beyond = Vec::new();
    for name in file.about["hard"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()) {
        let [mut means, mut tally] = [Tally::default(), Tally::default()];
        for level in Level::available() {
            let x = file.f32(&format!("hard.{name}.x"));
            let truth = |part: &str| file.f64(&format!("hard.{name}.{part}64"));
            let cache = statistics(level, &x, 1, 1e-5);
            let (mut mean, mut var) = (vec![0.0; 16], vec![1.0; 16]);
            batchnorm::update_running(&cache, x.len(), 1.0, false, &mut mean, &mut var).unwrap();
            if !(mean[0].is_finite() && var[0].is_finite()) {
                beyond.push(name);
                continue;
            }
            let what = |part: &str| format!("{name} on {level}, {part}");
            means.each(&what("mean"), &mean[..1], truth("mean"), |at| truth("mean")[at].abs() + 1e-37, 1e-6);
            tally.each(&what("variance"), &var[..1], truth("var"), |at| truth("var")[at] + 1e-37, 1e-5);
            let y = normalize(level, &cache, &[1.0], &[0.0], &x);
            let largest = truth("y").iter().fold(0.0_f64, |most, y| most.max(y.abs()));
            // Columns of one value: what the mean's rounding leaves, divided by √ε, is not exactly 0.
            tally.scaled(&what("y"), &y, truth("y"), largest.max(1.0), 1e-5);
        }
        if means.vectors > 0 {
            means.note("bn");
            tally.note("bn");
        }
    }
    beyond.sort_unstable();
    beyond.dedup();
    assert_eq!(beyond, ["constant_max", "outlier_1e30"]);
}

fn activations() -> [(&'static str, Activation); 7] {
    [
        ("relu", Activation::Relu),
        ("leaky_relu_0.01", Activation::LeakyRelu { slope: 0.01 }),
        ("leaky_relu_0.2", Activation::LeakyRelu { slope: 0.2 }),
        ("sigmoid", Activation::Sigmoid),
        ("tanh", Activation::Tanh),
        ("gelu", Activation::Gelu),
        ("silu", Activation::Silu),
    ]
}

#[test]
pub(crate) fn activations_and_gradients() {
    let file = File::open("activations");
    let (x, dy) = (file.f32("x"), file.f32("dy"));
    let (inputs, upstream) = (pad(&x, x.len()), pad(&dy, x.len()));
    for (name, kind) in activations() {
        let (mut values, mut gradients) = (Tally::default(), Tally::default());
        for level in Level::available() {
            let what = format!("{name} on {level}");
            let (mut y, mut dx) = (inputs.clone(), upstream.clone());
            activation::forward(level, &Serial, kind, &mut y);
            let truth = file.f64(&format!("{name}.y64"));
            values.each(&what, &y[..x.len()], truth, |at| ulp(truth[at]), 8.0);
            // From the output where that is kept: 1 - y has lost what tells a small derivative from 0. The error is
            // one of the derivative's largest value, about 1.
            let saved = if kind.keeps_input() { &inputs } else { &y };
            activation::backward(level, &Serial, kind, saved, &mut dx).unwrap();
            let truth = file.f64(&format!("{name}.dx64"));
            gradients.each(&what, &dx[..x.len()], truth, |at| f64::from(dy[at].abs()), 1e-6);
        }
        values.note_ulp(kind.name());
        gradients.note(kind.name());
    }
}

#[test]
pub(crate) fn softmax_rows() {
    let file = File::open("activations");
    type Forward = fn(Level, usize, usize, &mut [f32]) -> Result<(), evenkeel::Error>;
    type Backward = fn(Level, usize, usize, &[f32], &mut [f32]) -> Result<(), evenkeel::Error>;
    let kinds: [(&str, Forward, Backward); 2] = [
        ("softmax", softmax::softmax, softmax::softmax_backward),
        ("log_softmax", softmax::log_softmax, softmax::log_softmax_backward),
    ];
    for (name, forward, backward) in kinds {
        let mut tally = Tally::default();
        for block in file.about["rows"].as_array().unwrap().iter().map(|block| block.as_str().unwrap()) {
            let (x, dy) = (file.f32(&format!("rows_{block}.x")), file.f32(&format!("rows_{block}.dy")));
            let cols = file.shape(&format!("rows_{block}.x"))[1];
            let rows = x.len() / cols;
            for level in Level::available() {
                let what = format!("{name} of {block} on {level}");
                let (mut y, mut dx) = (pad(&x, cols), pad(&dy, cols));
                forward(level, cols, rows, &mut y).unwrap();
                let truth = file.f64(&format!("rows_{block}.{name}.y64"));
                // Relative, but for probabilities below the smallest normal number; logarithms of probabilities near
                // 1 are rests of sums of size 1.
                let scale = |at: usize| truth[at].abs().max(if name == "softmax" { 1.2e-38 } else { 1.0 });
                tally.each(&what, &unpad(&y, cols), truth, scale, 2e-6);
                backward(level, cols, rows, &y, &mut dx).unwrap();
                let truth = file.f64(&format!("rows_{block}.{name}.dx64"));
                let sum = |at: usize| dy[at / cols * cols..][..cols].iter().map(|dy| f64::from(dy.abs())).sum();
                tally.each(&what, &unpad(&dx, cols), truth, sum, 1e-6);
            }
        }
        tally.note(name);
    }
}

/// The loss of given outputs, and its gradient with respect to them, through the public step: row `r` of the input is the
/// unit vector `r` and the weights are the outputs, so outputs and gradients are exactly those of the loss.
pub(crate) fn through_a_session(
    level: Level,
    loss: Loss,
    outputs: &[f32],
    cols: usize,
    targets: Targets<'_>,
) -> (f32, Vec<f32>) {
    let rows = outputs.len() / cols;
    let layers = [Layer::Dense { outputs: cols, bias: false }];
    let network = Network::new(rows, &layers).unwrap();
    let plan = network.plan(rows);
    let transposed: Vec<f32> = (0..cols * rows).map(|at| outputs[at % rows * cols + at / rows]).collect();
    let unit: Vec<f32> = (0..rows * rows).map(|at| f32::from(at / rows == at % rows)).collect();
    let (mut params, mut gradients) = (vec![0.0; plan.params], vec![0.0; plan.params]);
    let weights = network.node(0).weights;
    panels::pack(rows, cols, &transposed, weights.of_mut(&mut params));
    let mut work = vec![0.0; plan.work_len()];
    let buffers =
        Buffers { params: &mut params, state: &mut [], gradients: &mut gradients, moments: &mut [], work: &mut work };
    let mut session = Session::new(network, rows, buffers, level, &Serial).unwrap();
    let batch = Batch { inputs: &unit, targets, rows };
    let score = session.differentiate(batch, loss, Moment { seed: 0, step: 0, lr: 0.0 }).unwrap();
    let mut found = vec![0.0; cols * rows];
    panels::unpack(rows, cols, weights.of(session.gradients()), &mut found);
    (score.mean_loss() as f32, (0..rows * cols).map(|at| found[at % cols * rows + at / cols]).collect())
}

#[test]
pub(crate) fn losses_and_gradients() {
    let file = File::open("losses");
    let losses =
        [("mse", Loss::MeanSquaredError), ("bce", Loss::BinaryCrossEntropy), ("cross_entropy", Loss::CrossEntropy)];
    for (name, loss) in losses {
        let (mut values, mut gradients) = (Tally::default(), Tally::default());
        for level in Level::available() {
            for case in file.about[name].as_array().unwrap().iter().map(|case| case.as_str().unwrap()) {
                let tensor = |part: &str| format!("{name}.{case}.{part}");
                let (outputs, cols) = (file.f32(&tensor("prediction")), file.shape(&tensor("prediction"))[1]);
                let (labels, targets) = (file.u32(&tensor("target")), file.f32(&tensor("target")));
                let targets =
                    if loss == Loss::CrossEntropy { Targets::Classes(&labels) } else { Targets::Values(&targets) };
                let (value, gradient) = through_a_session(level, loss, &outputs, cols, targets);
                let what = format!("{name}.{case} on {level}");
                values.each(
                    &what,
                    &[value],
                    file.f64(&tensor("loss64")),
                    |_| file.f64(&tensor("loss64"))[0].max(0.1),
                    1e-6,
                );
                // `sigmoid(z) - 1` has no digits left of a tiny difference: relative to the largest that it can be.
                let truth = file.f64(&tensor("grad64"));
                match targets {
                    Targets::Classes(labels) => {
                        gradients.scaled(&what, &gradient, truth, 1.0 / labels.len() as f64, 1e-6)
                    }
                    Targets::Values(values) if loss == Loss::BinaryCrossEntropy => {
                        gradients.scaled(&what, &gradient, truth, 1.0 / values.len() as f64, 1e-6);
                    }
                    _ => gradients.relative(&what, &gradient, truth, 1e-6),
                }
            }
        }
        values.note(name);
        gradients.note(name);
    }
}

//! The twin: a network in `f64`, written plainly from the formulae, one value at a time.
//!
//! It shares with the library the description of the layers, the random words of dropout and the place of a
//! parameter in memory; no arithmetic. Forward and backward stand side by side, the transcendental functions are
//! `libm`'s.

#[path = "../common/exact.rs"]
mod exact;
mod objectives;

use evenkeel::kernels::panels;
use evenkeel::layer::padded;
use evenkeel::rng::{Purpose, Stream};
use evenkeel::train::{Loss, Targets};
use evenkeel::{Activation, Layer, Network};
use exact::activation;

/// How batch norm and dropout behave.
#[derive(Clone, Copy)]
pub(crate) enum Mode {
    /// Statistics of the batch, and dropout of this seed and step.
    Train { seed: u64, step: u64 },
    /// Running statistics, no dropout.
    Infer,
    /// As `Train`, but layers before `first` as in `Infer`, and batch norms with their running statistics if `running`.
    Tune { seed: u64, step: u64, first: usize, running: bool },
}

impl Mode {
    /// What it means for one layer.
    fn of(self, layer: usize, is_norm: bool) -> Self {
        match self {
            Mode::Tune { first, running, .. } if layer < first || (is_norm && running) => Mode::Infer,
            Mode::Tune { seed, step, .. } => Mode::Train { seed, step },
            other => other,
        }
    }
}

/// One layer with its parameters: a dense layer's weights `[output][input]` and then its bias, a batch norm's scale
/// and then its shift.
#[derive(Clone)]
pub(crate) struct TwinLayer {
    index: usize,
    layer: Layer,
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    pub(crate) params: Vec<f64>,
    /// Where each parameter lies in the library's slice.
    pub(crate) places: Vec<usize>,
    running: (Vec<f64>, Vec<f64>),
}

#[derive(Clone)]
pub(crate) struct Twin {
    pub(crate) layers: Vec<TwinLayer>,
}

fn widen(values: &[f32]) -> Vec<f64> {
    values.iter().map(|value| f64::from(*value)).collect()
}

impl Twin {
    /// The network with the library's parameters and state.
    pub(crate) fn read(network: &Network<'_>, params: &[f32], state: &[f32]) -> Self {
        let layers = network.nodes().map(|node| {
            let mut places = Vec::new();
            match node.layer {
                Layer::Dense { outputs, .. } => {
                    for output in 0..outputs {
                        for input in 0..node.inputs {
                            places.push(node.weights.start + panels::position(node.inputs, outputs, output, input));
                        }
                    }
                    places.extend((0..node.bias.len.min(outputs)).map(|output| node.bias.start + output));
                }
                Layer::BatchNorm(_) => {
                    places.extend((0..node.inputs).map(|feature| node.weights.start + feature));
                    places.extend((0..node.inputs).map(|feature| node.bias.start + feature));
                }
                Layer::PRelu(prelu) => {
                    places.extend((0..prelu.slopes(node.inputs)).map(|slope| node.weights.start + slope));
                }
                _ => {}
            }
            let running = match node.layer {
                Layer::BatchNorm(_) => {
                    let state = node.state.of(state);
                    (widen(&state[..node.inputs]), widen(&state[padded(node.inputs)..][..node.inputs]))
                }
                _ => Default::default(),
            };
            let params = places.iter().map(|place| f64::from(params[*place])).collect();
            let (inputs, outputs) = (node.inputs, node.outputs);
            TwinLayer { index: node.index, layer: node.layer, inputs, outputs, params, places, running }
        });
        Self { layers: layers.collect() }
    }

    /// The input of every layer, and the output.
    pub(crate) fn forward(&self, x: Vec<f64>, rows: usize, mode: Mode) -> Vec<Vec<f64>> {
        let mut values = vec![x];
        for layer in &self.layers {
            values.push(layer.forward(&values[values.len() - 1], rows, mode));
        }
        values
    }

    /// The output, for the input of layer `first`.
    pub(crate) fn forward_from(&self, first: usize, x: &[f64], rows: usize, mode: Mode) -> Vec<f64> {
        let mut x = self.layers[first].forward(x, rows, mode);
        for layer in &self.layers[first + 1..] {
            x = layer.forward(&x, rows, mode);
        }
        x
    }

    /// Gradients of each layer's parameters, from that of the output.
    pub(crate) fn backward(&self, values: &[Vec<f64>], dy: Vec<f64>, rows: usize, mode: Mode) -> Vec<Vec<f64>> {
        let mut gradients = vec![Vec::new(); self.layers.len()];
        let mut dy = dy;
        for (index, layer) in self.layers.iter().enumerate().rev() {
            (dy, gradients[index]) = layer.backward(&values[index], &values[index + 1], &dy, rows, mode);
        }
        gradients
    }

    /// How far the nearest input of an activation is from one of its kinks, for the inputs of all layers.
    pub(crate) fn distance_from_kinks(&self, values: &[Vec<f64>]) -> f64 {
        let mut least = f64::INFINITY;
        for (layer, x) in self.layers.iter().zip(values) {
            for kink in kinks(layer.layer).into_iter().filter(|kink| kink.is_finite()) {
                // A zero is what dropout left: it stays one under any small change.
                let inputs = x.iter().filter(|x| **x != 0.0);
                least = inputs.fold(least, |least, x| least.min((x - kink).abs()));
            }
        }
        least
    }
}

/// Where a layer's derivative jumps; infinite where it has fewer such places.
fn kinks(layer: Layer) -> [f64; 2] {
    const NONE: f64 = f64::INFINITY;
    if let Layer::PRelu(_) = layer {
        return [0.0, NONE];
    }
    let Layer::Activation(kind) = layer else { return [NONE; 2] };
    match kind {
        Activation::Relu | Activation::LeakyRelu { .. } | Activation::Elu { .. } | Activation::Selu => [0.0, NONE],
        Activation::HardSigmoid | Activation::HardSwish => [-3.0, 3.0],
        Activation::Relu6 => [0.0, 6.0],
        Activation::ThresholdedRelu { theta } => [f64::from(theta), NONE],
        _ => [NONE; 2],
    }
}

impl TwinLayer {
    fn bias(&self, output: usize) -> f64 {
        self.params.get(self.inputs * self.outputs + output).copied().unwrap_or(0.0)
    }

    fn forward(&self, x: &[f64], rows: usize, mode: Mode) -> Vec<f64> {
        let width = self.inputs;
        match self.layer {
            Layer::Dense { outputs, .. } => {
                let mut y = Vec::with_capacity(rows * outputs);
                for x in x.chunks_exact(width) {
                    for output in 0..outputs {
                        let weights = &self.params[output * width..][..width];
                        y.push(x.iter().zip(weights).map(|(x, w)| x * w).sum::<f64>() + self.bias(output));
                    }
                }
                y
            }
            Layer::BatchNorm(_) => {
                let (normal, _) = self.normalised(x, rows, mode);
                let (gamma, beta) = self.params.split_at(width);
                normal.iter().enumerate().map(|(i, normal)| gamma[i % width] * normal + beta[i % width]).collect()
            }
            Layer::Activation(kind) => x.iter().map(|x| activation(kind, *x).0).collect(),
            Layer::PRelu(_) => {
                let slope = |i: usize| self.params[i % width % self.params.len()];
                x.iter().enumerate().map(|(i, x)| if *x > 0.0 { *x } else { slope(i) * x }).collect()
            }
            Layer::Dropout { rate } => x.iter().zip(self.mask(rate, rows, mode)).map(|(x, m)| x * m).collect(),
            Layer::Softmax => x.chunks_exact(width).flat_map(softmax).collect(),
            Layer::LogSoftmax => x.chunks_exact(width).flat_map(log_softmax).collect(),
            _ => unreachable!("a layer the twin does not know"),
        }
    }

    /// Gradients of the input and of the parameters.
    fn backward(&self, x: &[f64], y: &[f64], dy: &[f64], rows: usize, mode: Mode) -> (Vec<f64>, Vec<f64>) {
        let width = self.inputs;
        let mut gradient = vec![0.0; self.params.len()];
        let mut dx = vec![0.0; x.len()];
        match self.layer {
            Layer::Dense { outputs, .. } => {
                for ((x, dx), dy) in x.chunks_exact(width).zip(dx.chunks_exact_mut(width)).zip(dy.chunks_exact(outputs))
                {
                    for (output, dy) in dy.iter().enumerate() {
                        for input in 0..width {
                            gradient[output * width + input] += dy * x[input];
                            dx[input] += dy * self.params[output * width + input];
                        }
                        if let Some(bias) = gradient.get_mut(outputs * width + output) {
                            *bias += dy;
                        }
                    }
                }
            }
            Layer::BatchNorm(_) => {
                let (normal, inv_std) = self.normalised(x, rows, mode);
                for (i, (dy, normal)) in dy.iter().zip(&normal).enumerate() {
                    gradient[i % width] += dy * normal;
                    gradient[width + i % width] += dy;
                }
                let n = rows as f64;
                let fixed = matches!(mode.of(self.index, true), Mode::Infer);
                for (i, dx) in dx.iter_mut().enumerate() {
                    let j = i % width;
                    if fixed {
                        *dx = self.params[j] * inv_std[j] * dy[i];
                        continue;
                    }
                    let through = gradient[width + j] / n + normal[i] * gradient[j] / n;
                    *dx = self.params[j] * inv_std[j] * (dy[i] - through);
                }
            }
            Layer::PRelu(_) => {
                for (i, dx) in dx.iter_mut().enumerate() {
                    let slope = i % width % self.params.len();
                    *dx = if x[i] > 0.0 { dy[i] } else { self.params[slope] * dy[i] };
                    gradient[slope] += dy[i] * x[i].min(0.0);
                }
            }
            Layer::Activation(kind) => {
                dx = x.iter().zip(dy).map(|(x, dy)| activation(kind, *x).1 * dy).collect();
            }
            Layer::Dropout { rate } => dx = dy.iter().zip(self.mask(rate, rows, mode)).map(|(dy, m)| dy * m).collect(),
            Layer::Softmax => {
                for (row, (y, dy)) in y.chunks_exact(width).zip(dy.chunks_exact(width)).enumerate() {
                    let sum: f64 = y.iter().zip(dy).map(|(y, dy)| y * dy).sum();
                    (0..width).for_each(|i| dx[row * width + i] = y[i] * (dy[i] - sum));
                }
            }
            Layer::LogSoftmax => {
                for (row, (y, dy)) in y.chunks_exact(width).zip(dy.chunks_exact(width)).enumerate() {
                    let sum: f64 = dy.iter().sum();
                    (0..width).for_each(|i| dx[row * width + i] = dy[i] - libm::exp(y[i]) * sum);
                }
            }
            _ => unreachable!("a layer the twin does not know"),
        }
        (dx, gradient)
    }

    /// The normalised rows, and one over the deviation of each feature.
    fn normalised(&self, x: &[f64], rows: usize, mode: Mode) -> (Vec<f64>, Vec<f64>) {
        let Layer::BatchNorm(bn) = self.layer else { unreachable!() };
        let width = self.inputs;
        let (mean, var) = match mode.of(self.index, true) {
            Mode::Infer => self.running.clone(),
            _ => {
                let n = rows as f64;
                let column = |j: usize| x.iter().skip(j).step_by(width);
                let mean: Vec<f64> = (0..width).map(|j| column(j).sum::<f64>() / n).collect();
                let square = |j: usize| column(j).map(|x| (x - mean[j]) * (x - mean[j])).sum::<f64>() / n;
                let var = (0..width).map(square).collect();
                (mean, var)
            }
        };
        let inv_std: Vec<f64> = var.iter().map(|var| 1.0 / libm::sqrt(var + f64::from(bn.eps))).collect();
        (x.iter().enumerate().map(|(i, x)| (x - mean[i % width]) * inv_std[i % width]).collect(), inv_std)
    }

    /// What dropout multiplies each value by: each group of sixteen features has a stretch of the stream to itself.
    fn mask(&self, rate: f32, rows: usize, mode: Mode) -> Vec<f64> {
        let Mode::Train { seed, step } = mode.of(self.index, false) else { return vec![1.0; rows * self.inputs] };
        let keep = 1.0 - f64::from(rate);
        let threshold = libm::floor(keep * 4_294_967_296.0);
        let stream = Stream::new(seed, Purpose::Dropout, self.index as u32, step as u32);
        let element = |row: usize, col: usize| ((col / 16) as u64) << 36 | (row * 16 + col % 16) as u64;
        let kept = |row, col| f64::from(stream.word(element(row, col))) < threshold;
        let each = (0..rows).flat_map(|row| (0..self.inputs).map(move |col| (row, col)));
        each.map(|(row, col)| if kept(row, col) { 1.0 / keep } else { 0.0 }).collect()
    }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + libm::exp(-x))
}

fn log_softmax(row: &[f64]) -> Vec<f64> {
    let max = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let log_sum = libm::log(row.iter().map(|x| libm::exp(x - max)).sum());
    row.iter().map(|x| x - max - log_sum).collect()
}

fn softmax(row: &[f64]) -> Vec<f64> {
    log_softmax(row).into_iter().map(libm::exp).collect()
}

/// The mean loss of rows of `cols` outputs, and its gradient.
pub(crate) fn loss(kind: Loss, outputs: &[f64], targets: Targets<'_>, cols: usize) -> (f64, Vec<f64>) {
    match (kind, targets) {
        (Loss::CrossEntropy, Targets::Classes(labels)) => {
            let share = 1.0 / labels.len() as f64;
            let (mut sum, mut gradient) = (0.0, Vec::new());
            for (row, label) in outputs.chunks_exact(cols).zip(labels) {
                let log = log_softmax(row);
                sum -= log[*label as usize] * share;
                let hot = |i: usize| f64::from(i == *label as usize);
                gradient.extend(log.iter().enumerate().map(|(i, log)| (libm::exp(*log) - hot(i)) * share));
            }
            (sum, gradient)
        }
        (Loss::BinaryCrossEntropy, Targets::Values(targets)) => {
            let share = 1.0 / targets.len() as f64;
            let each = || outputs.iter().zip(targets).map(|(z, t)| (*z, f64::from(*t)));
            let term = |(z, t): (f64, f64)| z.max(0.0) - z * t + libm::log1p(libm::exp(-z.abs()));
            (each().map(term).sum::<f64>() * share, each().map(|(z, t)| (sigmoid(z) - t) * share).collect())
        }
        (Loss::MeanSquaredError, Targets::Values(targets)) => {
            let share = 1.0 / targets.len() as f64;
            let each = || outputs.iter().zip(targets).map(|(z, t)| z - f64::from(*t));
            (each().map(|d| d * d).sum::<f64>() * share, each().map(|d| 2.0 * d * share).collect())
        }
        (kind, targets) => objectives::loss(kind, outputs, targets, cols),
    }
}

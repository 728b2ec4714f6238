//! The twin: a network in `f64`, written plainly from the formulae, one value at a time.
//!
//! It shares with the library the description of the layers, the random words of dropout and the place of a
//! parameter in memory; no arithmetic. Forward and backward stand side by side, the transcendental functions are
//! `libm`'s.

#[path = "../../common/exact.rs"]
mod exact;
mod layer;
mod noise;
mod norms;
mod objectives;

use evenkeel::kernels::panels;
use evenkeel::layer::padded;
use evenkeel::train::{Loss, Targets};
use evenkeel::{Activation, Layer, Network};

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
    /// The rate of the DropConnect before it.
    connect: Option<f32>,
    /// The corrections of a renorm, held while parameters move: no gradient flows through them.
    held: Option<Vec<(f64, f64)>>,
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
                Layer::BatchNorm(_) | Layer::LayerNorm(_) => {
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
            let connect = match node.index.checked_sub(1).map(|before| network.layers()[before]) {
                Some(Layer::DropConnect { rate }) => Some(rate),
                _ => None,
            };
            let params = places.iter().map(|place| f64::from(params[*place])).collect();
            let (inputs, outputs) = (node.inputs, node.outputs);
            TwinLayer {
                index: node.index,
                layer: node.layer,
                inputs,
                outputs,
                params,
                places,
                running,
                connect,
                held: None,
            }
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

    /// Holds the corrections of all renorms as they are for these values.
    pub(crate) fn hold(&mut self, values: &[Vec<f64>], rows: usize, mode: Mode) {
        for (layer, x) in self.layers.iter_mut().zip(values) {
            if let Layer::BatchNorm(_) = layer.layer {
                layer.held = Some(layer.statistics(x, rows, mode).1);
            }
        }
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

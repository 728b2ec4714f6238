//! Networks with random parameters, and inference by definition: plain `f64`, layer by layer.

use evenkeel::Level;
use evenkeel::export::{FoldError, Options, Report, export};
use evenkeel::image::AlignedBytes;
use evenkeel::infer::Net;
use evenkeel::layer::{Activation, BatchNorm, Layer, Network};
use evenkeel::split::{Serial, Split};

/// Weyl sequence and mixer of SplitMix64: plain, and the same everywhere.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.bits() % n as u64) as usize
    }

    pub(crate) fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub(crate) fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform(-0.5, 0.5)).sum()
    }

    /// A factor within 10^±decades.
    pub(crate) fn magnitude(&mut self, decades: f64) -> f64 {
        10_f64.powf(self.uniform(-decades, decades))
    }
}

/// A network with its training buffers.
#[derive(Clone)]
pub(crate) struct Model {
    pub(crate) inputs: usize,
    pub(crate) layers: Vec<Layer>,
    pub(crate) params: Vec<f32>,
    pub(crate) state: Vec<f32>,
}

impl Model {
    pub(crate) fn network(&self) -> Network<'_> {
        Network::new(self.inputs, &self.layers).unwrap()
    }

    pub(crate) fn zeroed(inputs: usize, layers: Vec<Layer>) -> Self {
        let network = Network::new(inputs, &layers).unwrap();
        let (params, state) = (vec![0.0; network.params_len()], vec![0.0; network.state_len()]);
        Self { inputs, layers, params, state }
    }

    pub(crate) fn export(&self, options: &Options<'_>) -> Result<(AlignedBytes, Report), FoldError> {
        export(&self.network(), &self.params, &self.state, options)
    }

    /// Random parameters, statistics of `rows` (moved off by up to a deviation and a factor of two): the features in
    /// front of a batch norm are given means and deviations far from 0 and 1, as training would leave them.
    pub(crate) fn random(random: &mut Random, inputs: usize, layers: Vec<Layer>, rows: &[Vec<f64>]) -> Self {
        let mut model = Self::zeroed(inputs, layers);
        let network = Network::new(inputs, &model.layers).unwrap();
        let mut rows = rows.to_vec();
        for node in network.nodes() {
            match node.layer {
                Layer::Dense { outputs, .. } => {
                    let ahead =
                        model.layers[node.index + 1..].iter().find(|layer| !matches!(layer, Layer::Dropout { .. }));
                    let normalised = matches!(ahead, Some(Layer::BatchNorm(_)));
                    let power = (rows.iter().flatten().map(|x| x * x).sum::<f64>() / rows.len() as f64).sqrt();
                    for output in 0..outputs {
                        let scale = if normalised { random.magnitude(2.0) } else { 1.0 };
                        for input in 0..node.inputs {
                            let at = evenkeel::kernels::panels::position(node.inputs, outputs, output, input);
                            node.weights.of_mut(&mut model.params)[at] =
                                (scale * random.normal() / power.max(1e-6)) as f32;
                        }
                        if node.bias.len > 0 {
                            node.bias.of_mut(&mut model.params)[output] = (scale * random.normal()) as f32;
                        }
                    }
                }
                Layer::BatchNorm(_) => {
                    let width = node.weights.len;
                    for feature in 0..node.outputs {
                        let column = || rows.iter().map(|row| row[feature]);
                        let mean = column().sum::<f64>() / rows.len() as f64;
                        let var = column().map(|x| (x - mean) * (x - mean)).sum::<f64>() / rows.len() as f64;
                        let gamma = random.magnitude(0.5) * if random.below(4) == 0 { -1.0 } else { 1.0 };
                        node.weights.of_mut(&mut model.params)[feature] = gamma as f32;
                        node.bias.of_mut(&mut model.params)[feature] = random.normal() as f32;
                        let state = node.state.of_mut(&mut model.state);
                        state[feature] = (mean + random.normal() * var.sqrt()) as f32;
                        state[width + feature] = (var * random.magnitude(0.3)) as f32;
                    }
                    node.state.of_mut(&mut model.state)[2 * width] = 100.0;
                }
                _ => {}
            }
            for row in &mut rows {
                *row = layer(&model, node.index, row);
            }
        }
        model
    }
}

/// One layer in inference, on one row: the definition of each, in `f64`.
pub(crate) fn layer(model: &Model, index: usize, x: &[f64]) -> Vec<f64> {
    let node = model.network().node(index);
    match node.layer {
        Layer::Dense { outputs, bias } => (0..outputs)
            .map(|output| {
                let weights = node.weights.of(&model.params);
                let weight = |input| {
                    f64::from(weights[evenkeel::kernels::panels::position(node.inputs, outputs, output, input)])
                };
                let sum: f64 = x.iter().enumerate().map(|(input, x)| x * weight(input)).sum();
                sum + if bias { f64::from(node.bias.of(&model.params)[output]) } else { 0.0 }
            })
            .collect(),
        Layer::BatchNorm(bn) => (0..node.outputs)
            .map(|j| {
                let state = node.state.of(&model.state);
                let (mean, var) = (f64::from(state[j]), f64::from(state[node.weights.len + j]));
                let (gamma, beta) = (node.weights.of(&model.params)[j], node.bias.of(&model.params)[j]);
                (x[j] - mean) / (var + f64::from(bn.eps)).sqrt() * f64::from(gamma) + f64::from(beta)
            })
            .collect(),
        Layer::Activation(activation) => x.iter().map(|x| activate(activation, *x)).collect(),
        Layer::Softmax | Layer::LogSoftmax => {
            let max = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let log_sum = x.iter().map(|x| (x - max).exp()).sum::<f64>().ln();
            let log = x.iter().map(|x| x - max - log_sum);
            if node.layer == Layer::Softmax { log.map(f64::exp).collect() } else { log.collect() }
        }
        _ => x.to_vec(),
    }
}

pub(crate) fn activate(activation: Activation, x: f64) -> f64 {
    super::exact::activation(activation, x).0
}

pub(crate) fn reference(model: &Model, x: &[f64]) -> Vec<f64> {
    (0..model.layers.len()).fold(x.to_vec(), |x, index| layer(model, index, &x))
}

/// The same with each layer's output rounded to `f32`.
pub(crate) fn reference_in_f32(model: &Model, x: &[f64]) -> Vec<f32> {
    let rounded = |x: Vec<f64>| -> Vec<f64> { x.into_iter().map(|x| f64::from(x as f32)).collect() };
    let y = (0..model.layers.len()).fold(x.to_vec(), |x, index| rounded(layer(model, index, &x)));
    y.into_iter().map(|y| y as f32).collect()
}

pub(crate) fn run(net: &Net<'_>, rows_at_once: usize, input: &[f32]) -> Vec<f32> {
    run_with(Level::detect(), &Serial, net, rows_at_once, input)
}

pub(crate) fn run_with(
    level: Level,
    split: &impl Split,
    net: &Net<'_>,
    rows_at_once: usize,
    input: &[f32],
) -> Vec<f32> {
    let mut output = vec![f32::NAN; input.len() / net.inputs() * net.outputs()];
    let mut scratch = vec![f32::NAN; net.scratch_len(rows_at_once)];
    net.infer(level, split, input, &mut output, &mut scratch).unwrap();
    output
}

/// 3 inputs, batch norm, dense 5 without bias, batch norm, tanh, dense 2: all values plain.
pub(crate) fn small() -> Model {
    let layers = vec![
        Layer::BatchNorm(BatchNorm::TORCH),
        Layer::Dense { outputs: 5, bias: false },
        Layer::BatchNorm(BatchNorm::KERAS),
        Layer::Activation(Activation::Tanh),
        Layer::dense(2),
    ];
    let rows: Vec<Vec<f64>> = (0..32).map(|r| (0..3).map(|c| f64::from(r * (c + 1) % 7)).collect()).collect();
    Model::random(&mut Random(3), 3, layers, &rows)
}

/// A network in which every kind of operation and an odd width occur.
pub(crate) fn varied() -> Model {
    let layers = vec![
        Layer::Activation(Activation::Silu),
        Layer::BatchNorm(BatchNorm::TORCH),
        Layer::Activation(Activation::LeakyRelu { slope: 0.1 }),
        Layer::dense(33),
        Layer::BatchNorm(BatchNorm::TORCH),
        Layer::Activation(Activation::Gelu),
        Layer::Dropout { rate: 0.3 },
        Layer::dense(300),
        Layer::Activation(Activation::Relu),
        Layer::BatchNorm(BatchNorm::KERAS),
        Layer::dense(7),
        Layer::Softmax,
        Layer::LogSoftmax,
    ];
    let mut random = Random(11);
    let rows: Vec<Vec<f64>> = (0..32).map(|_| (0..19).map(|_| random.normal()).collect()).collect();
    Model::random(&mut random, 19, layers, &rows)
}

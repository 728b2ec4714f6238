//! The owned network: layers, parameters, running statistics, and what turns raw inputs into classes.

mod lsuv;

use alloc::string::String;
use alloc::vec::Vec;

use crate::data::Source;
use crate::error::Error;
use crate::init::Init;
use crate::kernels::panels;
use crate::layer::{BatchNorm, Layer, Network};
use crate::memory::Buffer;
use crate::plan::Node;
use crate::rng::{Purpose, Stream};

/// Mean and deviation of each input feature, learned from training data.
///
/// Training and evaluation see `(x - mean) / deviation`; export folds it into the first layer, so that an image
/// takes raw values.
#[derive(Clone, Debug, PartialEq)]
pub struct Standardize {
    /// Mean of each feature.
    pub mean: Vec<f32>,
    /// One over the deviation of each feature; 1 for a feature that never changes.
    pub inv_std: Vec<f32>,
}

impl Standardize {
    /// Learns from rows of `features` values each: two passes in `f64`, biased variance, as scikit-learn's
    /// `StandardScaler`.
    #[must_use]
    pub fn learn(inputs: &[f32], features: usize) -> Self {
        let all = |take: &mut dyn FnMut(&[f32])| {
            take(inputs);
            Ok::<_, core::convert::Infallible>(())
        };
        let Ok(learned) = Self::passes(features, inputs.len() / features.max(1), all);
        learned
    }

    /// As [`learn`](Self::learn), of inputs wherever they are, with the same bits.
    ///
    /// # Errors
    /// [`Error::ListsStandardized`] for index lists; [`Error::Length`] or [`Error::Read`] for rows that have another length or cannot
    /// be read.
    pub fn learn_from(inputs: Source<'_>, features: usize) -> Result<Self, Error> {
        if inputs.lists().is_some() {
            return Err(Error::ListsStandardized);
        }
        Self::passes(features, inputs.rows(features), |take| {
            inputs.blocks(features, &mut |block| {
                take(block);
                Ok(())
            })
        })
    }

    /// `each` hands over all rows, some whole ones at a time.
    fn passes<E>(
        features: usize,
        rows: usize,
        each: impl Fn(&mut dyn FnMut(&[f32])) -> Result<(), E>,
    ) -> Result<Self, E> {
        let rows = rows.max(1) as f64;
        let mut mean = alloc::vec![0.0_f64; features];
        let mut var = alloc::vec![0.0_f64; features];
        each(&mut |block| {
            for row in block.chunks_exact(features.max(1)) {
                mean.iter_mut().zip(row).for_each(|(mean, x)| *mean += f64::from(*x));
            }
        })?;
        mean.iter_mut().for_each(|mean| *mean /= rows);
        each(&mut |block| {
            for row in block.chunks_exact(features.max(1)) {
                for ((var, mean), x) in var.iter_mut().zip(&mean).zip(row) {
                    let d = f64::from(*x) - mean;
                    *var += d * d;
                }
            }
        })?;
        let inv_std = var.iter().map(|var| {
            let std = libm::sqrt(var / rows) as f32;
            let inverse = 1.0 / std;
            if std > 0.0 && inverse.is_finite() { inverse } else { 1.0 }
        });
        Ok(Self { inv_std: inv_std.collect(), mean: mean.iter().map(|mean| *mean as f32).collect() })
    }

    /// Writes the standardised rows of `inputs` to `out`, which is as long.
    pub fn apply(&self, inputs: &[f32], out: &mut [f32]) {
        let features = self.mean.len().max(1);
        for (row, out) in inputs.chunks_exact(features).zip(out.chunks_exact_mut(features)) {
            for (((out, x), mean), inv_std) in out.iter_mut().zip(row).zip(&self.mean).zip(&self.inv_std) {
                *out = (x - mean) * inv_std;
            }
        }
    }
}

/// A dense network with its parameters.
///
/// ```
/// use evenkeel::{Init, Mlp};
/// let mut net = Mlp::input(64).dense(32).batch_norm().relu().dropout(0.2).dense(10).build()?;
/// net.init(Init::HeUniform, 1);
/// assert_eq!(net.network().outputs(), 10);
/// # Ok::<(), evenkeel::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Mlp {
    inputs: usize,
    layers: Vec<Layer>,
    /// Weights in panels, biases, batch-norm scale and shift; [`Network::node`] says what lies where.
    pub params: Buffer,
    /// Running statistics.
    pub state: Buffer,
    /// What is done to the inputs first.
    pub standardize: Option<Standardize>,
    /// Names of the classes, in the order of the outputs; may be empty. A single output may have two: its 0 and its 1.
    pub classes: Vec<String>,
}

/// Collects the layers of an [`Mlp`].
#[derive(Clone, Debug)]
pub struct Builder {
    inputs: usize,
    layers: Vec<Layer>,
}

impl Builder {
    /// Appends any layer.
    #[must_use]
    pub fn layer(mut self, layer: Layer) -> Self {
        self.layers.push(layer);
        self
    }

    /// A dense layer with bias.
    #[must_use]
    pub fn dense(self, outputs: usize) -> Self {
        self.layer(Layer::dense(outputs))
    }

    /// Batch norm with PyTorch's defaults.
    #[must_use]
    pub fn batch_norm(self) -> Self {
        self.layer(Layer::BatchNorm(BatchNorm::TORCH))
    }

    /// Rectified linear unit.
    #[must_use]
    pub fn relu(self) -> Self {
        self.layer(Layer::Activation(crate::layer::Activation::Relu))
    }

    /// Inverted dropout.
    #[must_use]
    pub fn dropout(self, rate: f32) -> Self {
        self.layer(Layer::Dropout { rate })
    }

    /// Checks the layers and makes the network, its weights drawn as Glorot uniform from seed 0.
    ///
    /// # Errors
    /// As [`Mlp::new`].
    pub fn build(self) -> Result<Mlp, Error> {
        Mlp::new(self.inputs, self.layers)
    }
}

impl Mlp {
    /// Begins a network with `inputs` features.
    #[must_use]
    pub fn input(inputs: usize) -> Builder {
        Builder { inputs, layers: Vec::new() }
    }

    /// A network of these layers, its weights drawn as Glorot uniform (Keras' default) from seed 0.
    ///
    /// # Errors
    /// As [`Network::new`].
    pub fn new(inputs: usize, layers: Vec<Layer>) -> Result<Self, Error> {
        let network = Network::new(inputs, &layers)?;
        let (params, state) = (Buffer::zeros(network.params_len()), Buffer::zeros(network.state_len()));
        let mut net = Self { inputs, layers, params, state, standardize: None, classes: Vec::new() };
        net.init(Init::GlorotUniform, 0);
        Ok(net)
    }

    /// The layers, checked.
    #[must_use]
    pub fn network(&self) -> Network<'_> {
        Network::trusted(self.inputs, &self.layers)
    }

    /// The layers.
    #[must_use]
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// Draws all dense weights anew; biases become 0, batch norms the identity with untouched statistics,
    /// slopes of PReLU what their layer says.
    ///
    /// Each layer has its own random stream: equal shapes get different weights.
    pub fn init(&mut self, init: Init, seed: u64) {
        self.params.fill(0.0);
        self.state.fill(0.0);
        let nodes: Vec<Node> = self.network().nodes().collect();
        for node in nodes {
            match node.layer {
                Layer::Dense { outputs, .. } => {
                    let stream = Stream::new(seed, Purpose::Init, node.index as u32, 0);
                    let weights = node.weights.of_mut(&mut self.params);
                    init.fill(node.inputs, outputs, stream, &mut Panels { inputs: node.inputs, outputs, weights });
                }
                Layer::BatchNorm(_) => {
                    node.weights.of_mut(&mut self.params)[..node.inputs].fill(1.0);
                    let width = crate::layer::padded(node.inputs);
                    node.state.of_mut(&mut self.state)[width..][..node.inputs].fill(1.0);
                }
                Layer::PRelu(prelu) => {
                    node.weights.of_mut(&mut self.params)[..prelu.slopes(node.inputs)].fill(prelu.init);
                }
                Layer::LayerNorm(_) => node.weights.of_mut(&mut self.params)[..node.inputs].fill(1.0),
                _ => {}
            }
        }
    }

    /// Number of trained values, padding not counted.
    #[must_use]
    pub fn parameters(&self) -> usize {
        self.network()
            .nodes()
            .map(|node| match node.layer {
                Layer::Dense { outputs, bias } => outputs * (node.inputs + usize::from(bias)),
                Layer::BatchNorm(_) | Layer::LayerNorm(_) => 2 * node.inputs,
                Layer::PRelu(prelu) => prelu.slopes(node.inputs),
                _ => 0,
            })
            .sum()
    }
}

/// Weights in panels, as initialisers see them.
struct Panels<'w> {
    inputs: usize,
    outputs: usize,
    weights: &'w mut [f32],
}

impl crate::init::WeightAccess for Panels<'_> {
    fn get(&self, output: usize, input: usize) -> f32 {
        self.weights[panels::position(self.inputs, self.outputs, output, input)]
    }

    fn set(&mut self, output: usize, input: usize, value: f32) {
        self.weights[panels::position(self.inputs, self.outputs, output, input)] = value;
    }
}

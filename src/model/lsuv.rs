//! Layer-sequential unit-variance initialisation: weights that suit the data.

use super::Mlp;
use crate::Level;
use crate::error::Error;
use crate::init::Init;
use crate::layer::{Layer, Network};
use crate::memory::Buffer;
use crate::split::Split;

impl Mlp {
    /// How near to 1 a variance must come, and in how many attempts: the figures of the paper are 0.1 and 10, but where biases
    /// are 0 the first attempt leaves rounding errors only.
    const LSUV: (f64, usize) = (1e-3, 10);

    /// Draws all dense weights anew as orthonormal matrices ([`Init::Orthogonal`] of gain 1), then goes through the dense layers
    /// from the first to the last and divides the weights of each by the standard deviation of its outputs over these rows
    /// (all rows and outputs together), so that the variance becomes 1 (Mishkin and Matas 2015, "All you need is a good init").
    ///
    /// `inputs` are rows as the network takes them, a batch of a few hundred; they are standardised first if the network does
    /// that. Batch norms pass on what they get (their statistics are new), dropout does nothing. Biases become 0. The same
    /// bits on every level and for any number of threads.
    ///
    /// # Errors
    /// [`Error::Length`] if the inputs are not whole rows, [`Error::NoVariance`] if a layer's outputs do not vary or are not
    /// finite; the weights are those of the orthonormal matrices up to that layer then.
    pub fn init_lsuv(&mut self, level: Level, split: &impl Split, inputs: &[f32], seed: u64) -> Result<(), Error> {
        self.init(Init::Orthogonal { gain: 1.0 }, seed);
        for layer in 0..self.layers.len() {
            let Layer::Dense { .. } = self.layers[layer] else { continue };
            let (near, attempts) = Self::LSUV;
            for _ in 0..attempts {
                let outputs = self.front(layer + 1)?.predict(level, split, inputs)?;
                let variance = variance(&outputs);
                if !(variance > 0.0 && variance.is_finite()) {
                    return Err(Error::NoVariance { layer });
                }
                if (variance - 1.0).abs() < near {
                    break;
                }
                let factor = (1.0 / libm::sqrt(variance)) as f32;
                let weights = self.network().node(layer).weights;
                weights.of_mut(&mut self.params).iter_mut().for_each(|weight| *weight *= factor);
            }
        }
        Ok(())
    }

    /// The first layers as a network of their own.
    fn front(&self, layers: usize) -> Result<Self, Error> {
        let layers = self.layers[..layers].to_vec();
        let network = Network::new(self.inputs, &layers)?;
        let (mut params, mut state) = (Buffer::zeros(network.params_len()), Buffer::zeros(network.state_len()));
        for (node, whole) in network.nodes().zip(self.network().nodes()) {
            node.weights.of_mut(&mut params).copy_from_slice(whole.weights.of(&self.params));
            node.bias.of_mut(&mut params).copy_from_slice(whole.bias.of(&self.params));
            node.state.of_mut(&mut state).copy_from_slice(whole.state.of(&self.state));
        }
        let (standardize, classes) = (self.standardize.clone(), alloc::vec::Vec::new());
        Ok(Self { inputs: self.inputs, layers, params, state, standardize, classes })
    }
}

/// Of all values together, in `f64`, in order.
fn variance(values: &[f32]) -> f64 {
    let count = values.len().max(1) as f64;
    let mean = values.iter().fold(0.0, |sum, value| sum + f64::from(*value)) / count;
    values.iter().fold(0.0, |sum, value| sum + (f64::from(*value) - mean) * (f64::from(*value) - mean)) / count
}

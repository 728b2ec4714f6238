//! The backward pass: gradients of all parameters, layer by layer from the end.

use super::forward::drop_out;
use super::{Batch, Clip, Moment};
use crate::Level;
use crate::error::Error;
use crate::kernels::{activation, batchnorm, dense, reduce, softmax};
use crate::layer::{Layer, Network, padded};
use crate::plan::Work;
use crate::split::Split;

/// Fills `gradients` from the gradient of the loss in `work.delta` and what the forward pass left.
pub(super) fn run(
    level: Level,
    split: &impl Split,
    network: &Network<'_>,
    params: &[f32],
    batch: &Batch<'_>,
    moment: Moment,
    work: &mut Work<'_>,
    gradients: &mut [f32],
) -> Result<(), Error> {
    let capacity = work.capacity();
    let rows = batch.rows;
    for index in (0..network.layers().len()).rev() {
        let node = network.node(index);
        let output = &work.activations[node.output * capacity..][..rows * padded(node.outputs)];
        let (input, stride): (&[f32], usize) = match node.input {
            None => (batch.inputs, node.inputs),
            Some(at) => {
                let stride = padded(node.inputs);
                (&work.activations[at * capacity..][..rows * stride], stride)
            }
        };
        let delta = &mut work.delta[..rows * padded(node.outputs)];
        match node.layer {
            Layer::Dense { outputs, .. } => {
                let shape = (node.inputs, outputs);
                let weights = node.weights.of_mut(gradients);
                dense::weight_gradient(level, split, shape, rows, input, stride, delta, weights)?;
                if node.bias.len > 0 {
                    dense::bias_gradient(level, split, delta, node.bias.of_mut(gradients))?;
                }
                // The network's input needs no gradient.
                if node.input.is_some() {
                    let weights = node.weights.of(params);
                    let transposed = &mut work.transposed[..padded(node.inputs) * outputs];
                    let spare = &mut work.spare[..rows * padded(node.inputs)];
                    dense::input_gradient(level, split, shape, weights, rows, delta, transposed, spare)?;
                    core::mem::swap(&mut work.delta, &mut work.spare);
                }
            }
            Layer::BatchNorm(_) => {
                let cache = node.cache.of(work.cache);
                let gamma = node.weights.of(params);
                let both = &mut gradients[node.weights.start..node.bias.start + node.bias.len];
                let (dgamma, dbeta) = both.split_at_mut(node.weights.len);
                batchnorm::backward(level, split, cache, gamma, input, delta, dgamma, dbeta)?;
            }
            Layer::Activation(kind) => {
                let saved = if kind.keeps_input() { input } else { output };
                activation::backward(level, split, kind, saved, delta)?;
            }
            Layer::Dropout { rate } => {
                drop_out(level, split, rate, moment, node.index, delta)?;
            }
            Layer::Softmax => softmax::softmax_backward(level, node.outputs, output, delta)?,
            Layer::LogSoftmax => softmax::log_softmax_backward(level, node.outputs, output, delta)?,
        }
    }
    Ok(())
}

/// Applies the clipping: returns the factor that the optimiser multiplies the gradients by, or `None` if a gradient
/// is not finite.
pub(super) fn clip(level: Level, clip: Clip, gradients: &mut [f32]) -> Option<f32> {
    let norm = reduce::norm(level, gradients);
    if !norm.is_finite() {
        return None;
    }
    match clip {
        Clip::None => Some(1.0),
        Clip::Norm(limit) => Some((f64::from(limit) / (norm + 1e-6)).min(1.0) as f32),
        Clip::Value(limit) => {
            // Not `clamp`: it panics for a limit that is negative or NaN.
            for value in gradients {
                *value = value.max(-limit).min(limit);
            }
            Some(1.0)
        }
    }
}

/// The last layer (the first in the order of the backward pass) with a gradient that is not finite.
pub(super) fn first_non_finite_gradient(network: &Network<'_>, gradients: &[f32]) -> Error {
    let bad = |values: &[f32]| values.iter().any(|value| !value.is_finite());
    let layer = (0..network.layers().len())
        .rev()
        .find(|index| {
            let node = network.node(*index);
            bad(node.weights.of(gradients)) || bad(node.bias.of(gradients))
        })
        .unwrap_or(0);
    Error::NonFinite { what: "gradient", layer }
}

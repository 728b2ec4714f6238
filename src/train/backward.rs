//! The backward pass: gradients of all parameters, stage by stage from the end (see `forward`).

use super::forward::InPlace;
use super::{Clip, Moment};
use crate::Level;
use crate::error::Error;
use crate::kernels::dense::TOGETHER;
use crate::kernels::groups::Rows;
use crate::kernels::{batchnorm, dense, reduce, softmax};
use crate::layer::{Layer, Network, padded};
use crate::plan::{Node, Work};
use crate::simd::LANES;
use crate::split::Split;

/// Fills `gradients` from the gradient of the loss in `work.delta` and what the forward pass left.
pub(super) fn run(
    level: Level,
    split: &impl Split,
    network: &Network<'_>,
    params: &[f32],
    rows: usize,
    moment: Moment,
    work: &mut Work<'_>,
    gradients: &mut [f32],
) -> Result<(), Error> {
    let mut end = network.layers().len();
    while end > 0 {
        let mut node = network.node(end - 1);
        while InPlace::suits(node.layer) && node.input == node.output && node.index > 0 {
            let before = network.node(node.index - 1);
            if before.output != node.output {
                break;
            }
            node = before;
        }
        let first = node.index + 1;
        let then = InPlace { layers: &network.layers()[first..end], first, rows, level, training: Some(moment) };
        stage(split, &node, &then, params, work, gradients)?;
        end = node.index;
    }
    Ok(())
}

fn stage(
    split: &impl Split,
    node: &Node,
    then: &InPlace<'_>,
    params: &[f32],
    work: &mut Work<'_>,
    gradients: &mut [f32],
) -> Result<(), Error> {
    let (level, rows, capacity) = (then.level, then.rows, work.capacity());
    let (width, block) = (padded(node.outputs), rows * LANES);
    let output = &work.activations[node.output * capacity..][..rows * width];
    let input = &work.activations[node.input * capacity..][..rows * padded(node.inputs)];
    let delta = &mut work.delta[..rows * width];
    match node.layer {
        Layer::Dense { outputs, .. } => {
            let shape = (node.inputs, outputs);
            let both = &mut gradients[node.weights.start..node.bias.start + node.bias.len];
            let (weights, bias) = both.split_at_mut(node.bias.start - node.weights.start);
            let weights = &mut weights[..node.weights.len];
            let per_task = dense::panels_per_task(outputs, node.inputs * rows, split.workers());
            let squares = node.squares.of_mut(work.squares);
            let panels = |task: usize, delta: &mut [f32], weights: &mut [f32], squares: &mut [f32]| {
                let per_panel = LANES * node.inputs;
                let weights = dense::parts(weights, per_panel, TOGETHER);
                let parts = dense::parts(delta, block, TOGETHER).zip(weights);
                for (((part, delta), (_, weights)), (_, squares)) in parts.zip(dense::parts(squares, 1, TOGETHER)) {
                    let first = task * per_task + part;
                    then.backward(first, &output[first * block..][..delta.len()], delta);
                    dense::some_weights(level, shape, first, rows, input, delta, weights);
                    // While they are in the cache: the step asks whether all are finite.
                    for (square, panel) in squares.iter_mut().zip(weights.chunks(per_panel)) {
                        *square = reduce::sum_of_squares(level, panel) as f32;
                    }
                }
            };
            let chunks = [per_task * block, per_task * LANES * node.inputs, per_task];
            if bias.is_empty() {
                split.run([&mut *delta, weights, squares], chunks, &|task, [delta, weights, squares]| {
                    panels(task, delta, weights, squares);
                });
            } else {
                let chunks = [chunks[0], chunks[1], chunks[2], per_task * LANES];
                split.run([&mut *delta, weights, squares, bias], chunks, &|task, [delta, weights, squares, bias]| {
                    panels(task, delta, weights, squares);
                    dense::column_sums(level, delta, rows, bias);
                });
            }
            // The network's input needs no gradient.
            if node.index > 0 {
                let transposed = &mut work.transposed[..padded(node.inputs) * outputs];
                let spare = &mut work.spare[..rows * padded(node.inputs)];
                let delta = Rows::grouped(delta, rows, outputs)?;
                let weights = node.weights.of(params);
                let per_task = dense::panels_per_task(node.inputs, rows * outputs, split.workers());
                let chunks = [per_task * LANES * outputs, per_task * block];
                split.run([transposed, spare], chunks, &|task, [transposed, dx]| {
                    dense::input_gradient_panels(level, shape, weights, task * per_task, delta, transposed, dx);
                });
                core::mem::swap(&mut work.delta, &mut work.spare);
            }
        }
        Layer::BatchNorm(_) => {
            let (cache, gamma) = (node.cache.of(work.cache), node.weights.of(params));
            let both = &mut gradients[node.weights.start..node.bias.start + node.bias.len];
            let (dgamma, dbeta) = both.split_at_mut(node.weights.len);
            let per_task = batchnorm::groups_per_task(width, rows, split.workers());
            let chunks = [per_task * block, per_task * LANES, per_task * LANES];
            split.run([delta, dgamma, dbeta], chunks, &|task, [delta, dgamma, dbeta]| {
                let parts =
                    delta.chunks_mut(4 * block).zip(dgamma.chunks_mut(4 * LANES).zip(dbeta.chunks_mut(4 * LANES)));
                for (part, (delta, (dgamma, dbeta))) in parts.enumerate() {
                    let first = task * per_task + part * 4;
                    let [input, output] = [input, output].map(|rows| &rows[first * block..][..delta.len()]);
                    let cache = &cache[batchnorm::cache_len(first * LANES)..][..batchnorm::cache_len(dgamma.len())];
                    let gamma = &gamma[first * LANES..][..dgamma.len()];
                    then.backward(first, output, delta);
                    batchnorm::some_gradients(level, rows, cache, gamma, input, delta, dgamma, dbeta);
                }
            });
        }
        Layer::Softmax | Layer::LogSoftmax => {
            then.backward(0, output, delta);
            if let Layer::Softmax = node.layer {
                softmax::softmax_backward(level, node.outputs, rows, output, delta)?;
            } else {
                softmax::log_softmax_backward(level, node.outputs, rows, output, delta)?;
            }
        }
        Layer::Activation(_) | Layer::Dropout { .. } => {
            let this = InPlace { layers: core::slice::from_ref(&node.layer), first: node.index, ..*then };
            let keeps_input = matches!(node.layer, Layer::Activation(kind) if kind.keeps_input());
            let per_task = batchnorm::groups_per_task(width, rows, split.workers());
            split.run([delta], [per_task * block], &|task, [delta]| {
                let first = task * per_task;
                let [input, output] = [input, output].map(|rows| &rows[first * block..][..delta.len()]);
                then.backward(first, output, delta);
                this.backward(first, if keeps_input { input } else { output }, delta);
            });
        }
    }
    Ok(())
}

/// Applies the clipping: returns the factor that the optimiser multiplies the gradients by, or `None` if a gradient
/// is not finite.
///
/// The squares of dense weights were summed up with the gradients, by panel; those of the other parameters, in the order
/// of the layers, are added here.
pub(super) fn clip(
    level: Level,
    network: &Network<'_>,
    clip: Clip,
    squares: &[f32],
    gradients: &mut [f32],
) -> Option<f32> {
    let mut sum: f64 = squares.iter().map(|square| f64::from(*square)).sum();
    for node in network.nodes() {
        if let Layer::BatchNorm(_) = node.layer {
            sum += reduce::sum_of_squares(level, node.weights.of(gradients));
        }
        sum += reduce::sum_of_squares(level, node.bias.of(gradients));
    }
    let norm = reduce::norm_from(sum, gradients);
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

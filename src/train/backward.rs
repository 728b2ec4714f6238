//! The backward pass: gradients of all parameters, stage by stage from the end (see `forward`).

use super::Clip;
use super::connect::Mask;
use super::forward::{InPlace, Pass};
use super::norms::{self, Ghosts};
use super::parts::Stretch;
use crate::error::Error;
use crate::kernels::dense::TOGETHER;
use crate::kernels::groups::Rows;
use crate::kernels::{accumulate, batchnorm, dense, layernorm, prelu, reduce, softmax, sparse};
use crate::layer::{Layer, Network, PRelu, padded};
use crate::plan::{Node, Plan, Work};
use crate::simd::LANES;
use crate::split::Split;
use crate::{Level, TOOLBOX};

/// Fills `gradients` from the gradient of the loss in `work.delta` and what the forward pass left; or adds to them, for a
/// part of a batch, those of a stretch of layers.
pub(super) fn run<P: Split>(
    pass: &Pass<'_, P>,
    network: &Network<'_>,
    plan: &Plan,
    params: &[f32],
    rows: usize,
    stretch: Option<Stretch>,
    work: &mut Work<'_>,
    gradients: &mut [f32],
) -> Result<(), Error> {
    let until = stretch.map_or(plan.first, |stretch| stretch.until);
    let mut end = network.layers().len();
    while end > until {
        let mut node = network.node_in(plan.scope, end - 1);
        while InPlace::suits(node.layer) && node.input == node.output && node.index > 0 {
            let before = network.node_in(plan.scope, node.index - 1);
            if before.output != node.output {
                break;
            }
            node = before;
        }
        let first = node.index + 1;
        let then = pass.in_place(&network.layers()[first..end], first, rows);
        end = node.index;
        let last = end == until;
        // Gradients begin with the first trained parameter.
        let start = plan.frozen();
        let own = gradients.get_mut(node.weights.start.saturating_sub(start)..).unwrap_or_default();
        let mask = pass.mask(network, node.index);
        stage(pass, &node, mask, &then, stretch, last, params, work, own)?;
    }
    Ok(())
}

/// One stage; `gradients` begin with those of its weights, `last` says that nobody asks for the gradient of its input.
fn stage<P: Split>(
    pass: &Pass<'_, P>,
    node: &Node,
    mask: Option<Mask>,
    then: &InPlace<'_>,
    stretch: Option<Stretch>,
    last: bool,
    params: &[f32],
    work: &mut Work<'_>,
    gradients: &mut [f32],
) -> Result<(), Error> {
    let split = pass.split;
    let (level, rows, capacity) = (then.level, then.rows, work.capacity());
    let (width, block) = (padded(node.outputs), rows * LANES);
    let output = &work.activations[node.output * capacity..][..rows * width];
    // The first layer reads lists where they lie.
    let lists = pass.lists.filter(|_| node.index == 0);
    let input_len = if lists.is_some() { 0 } else { rows * padded(node.inputs) };
    let input = &work.activations[node.input * capacity..][..input_len];
    let delta = &mut work.delta[..rows * width];
    match node.layer {
        Layer::Dense { outputs, .. } => {
            let shape = (node.inputs, outputs);
            let (weights, bias) = gradients.split_at_mut(node.bias.start - node.weights.start);
            let (weights, bias) = (&mut weights[..node.weights.len], &mut bias[..node.bias.len]);
            let terms = lists.map_or(node.inputs * rows, |lists| lists.ones());
            let per_task = dense::panels_per_task(outputs, terms, split.workers());
            let squares = node.squares.of_mut(work.squares);
            let panels = |task: usize, delta: &mut [f32], weights: &mut [f32], squares: &mut [f32]| {
                let per_panel = LANES * node.inputs;
                let alone = dense::ends_narrow(outputs, task * per_task, squares.len(), dense::NARROW_GRADIENT);
                let weights = dense::parts(weights, per_panel, TOGETHER, alone);
                let parts = dense::parts(delta, block, TOGETHER, alone).zip(weights);
                let squares = dense::parts(squares, 1, TOGETHER, alone);
                for (((part, delta), (_, weights)), (_, squares)) in parts.zip(squares) {
                    let first = task * per_task + part;
                    then.backward(first, &output[first * block..][..delta.len()], delta);
                    match lists {
                        None => dense::some_weights(level, shape, first, rows, input, delta, weights),
                        Some(lists) => {
                            weights.fill(0.0);
                            sparse::add_weights(level, shape, first, 0, lists, delta, weights);
                        }
                    }
                    if let Some(mask) = mask {
                        mask.backward(level, first * per_panel, weights);
                    }
                    // While they are in the cache: the step asks whether all are finite.
                    for (square, panel) in squares.iter_mut().zip(weights.chunks(per_panel)) {
                        *square = reduce::sum_of_squares(level, panel) as f32;
                    }
                }
            };
            let chunks = [per_task * block, per_task * LANES * node.inputs, per_task];
            if let Some(stretch) = stretch {
                split.run([&mut *delta], [per_task * block], &|task, [delta]| {
                    let first = task * per_task;
                    then.backward(first, &output[first * block..][..delta.len()], delta);
                });
                if node.index < stretch.done {
                    let delta = &*delta;
                    split.run([weights], [chunks[1]], &|task, [weights]| {
                        let first = task * per_task;
                        match lists {
                            None => accumulate::weights(level, shape, first, pass.before, rows, input, delta, weights),
                            Some(lists) => {
                                let delta = &delta[first * block..];
                                sparse::add_weights(level, shape, first, pass.before, lists, delta, weights);
                            }
                        }
                    });
                    accumulate::column_sums(level, pass.before, rows, delta, bias);
                }
            } else if bias.is_empty() {
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
            if !last {
                let transposed = &mut work.transposed[..padded(node.inputs) * outputs];
                let spare = &mut work.spare[..rows * padded(node.inputs)];
                let delta = Rows::grouped(delta, rows, outputs)?;
                let weights = node.weights.of(params);
                let weights = match mask {
                    Some(mask) => mask.apply(pass, node.inputs, weights, work.masked),
                    None => weights,
                };
                let per_task = dense::panels_per_task(padded(node.inputs), rows * outputs, split.workers());
                let chunks = [per_task * LANES * outputs, per_task * block];
                split.run([transposed, spare], chunks, &|task, [transposed, dx]| {
                    dense::input_gradient_panels(level, shape, weights, task * per_task, delta, transposed, dx);
                });
                core::mem::swap(&mut work.delta, &mut work.spare);
            }
        }
        Layer::BatchNorm(bn) => {
            let (cache, gamma) = (node.cache.of(work.cache), node.weights.of(params));
            let (dgamma, dbeta) = gradients.split_at_mut(node.weights.len);
            let dbeta = &mut dbeta[..node.bias.len];
            let uses_batch = pass.uses_batch(node);
            if let (true, None, Some(ghost)) = (uses_batch, stretch, norms::ghost_of(bn, rows)) {
                let (start, len) = norms::ghost_part(node, rows, capacity, ghost);
                let caches = &work.activations[start..][..len];
                let ghosts = Ghosts { bn, ghost, gamma, beta: &[] };
                ghosts.backward(pass, then, (input, output, caches), delta, dgamma, dbeta);
                return Ok(());
            }
            let renorm = pass.renorm(node, bn).is_some();
            let gamma = if renorm { norms::corrected(cache, width).0 } else { gamma };
            let corrections = &cache[batchnorm::cache_len(width)..];
            // Of a whole batch, sums and gradients are one kernel.
            let at_once = uses_batch && stretch.is_none();
            let take_sums = !at_once && stretch.is_none_or(|stretch| node.index < stretch.done);
            let of_batch = stretch.filter(|_| uses_batch);
            if stretch.is_none() && !at_once {
                dgamma.fill(0.0);
                dbeta.fill(0.0);
            }
            let per_task = batchnorm::groups_per_task(width, rows, split.workers());
            let chunks = [per_task * block, per_task * LANES, per_task * LANES];
            split.run([delta, &mut *dgamma, &mut *dbeta], chunks, &|task, [delta, dgamma, dbeta]| {
                let parts =
                    delta.chunks_mut(4 * block).zip(dgamma.chunks_mut(4 * LANES).zip(dbeta.chunks_mut(4 * LANES)));
                for (part, (delta, (dgamma, dbeta))) in parts.enumerate() {
                    let first = task * per_task + part * 4;
                    let [input, output] = [input, output].map(|rows| &rows[first * block..][..delta.len()]);
                    let cache = &cache[batchnorm::cache_len(first * LANES)..][..batchnorm::cache_len(dgamma.len())];
                    let gamma = &gamma[first * LANES..][..dgamma.len()];
                    then.backward(first, output, delta);
                    if at_once {
                        batchnorm::some_gradients(level, rows, cache, gamma, input, delta, dgamma, dbeta);
                    }
                    if take_sums {
                        batchnorm::some_gradient_sums(level, pass.before, rows, cache, input, delta, dgamma, dbeta);
                    }
                    if at_once || last {
                        continue;
                    }
                    match of_batch {
                        Some(stretch) => {
                            let total = stretch.total;
                            batchnorm::some_input_gradients(
                                level, total, rows, cache, gamma, dgamma, dbeta, input, delta,
                            );
                        }
                        None => batchnorm::some_frozen_gradients(level, rows, cache, gamma, delta),
                    }
                }
            });
            if renorm && at_once {
                batchnorm::renorm_gamma(level, corrections, dbeta, dgamma);
            }
        }
        Layer::LayerNorm(_) if TOOLBOX => {
            let shape = (node.inputs, rows);
            let gamma = node.weights.of(params);
            let (dgamma, dbeta) = gradients.split_at_mut(node.weights.len);
            let dbeta = &mut dbeta[..node.bias.len];
            let statistics = &work.activations[(node.output + width) * capacity..][..rows * layernorm::STATISTICS];
            if stretch.is_none() {
                dgamma.fill(0.0);
                dbeta.fill(0.0);
            }
            let per_task = batchnorm::groups_per_task(width, rows, split.workers());
            if !then.layers.is_empty() {
                split.run([&mut *delta], [per_task * block], &|task, [delta]| {
                    let first = task * per_task;
                    then.backward(first, &output[first * block..][..delta.len()], delta);
                });
            }
            // The losses of the rows have been added up: their place is free.
            let sums = &mut work.row_losses[..2 * rows];
            if !last {
                let rows_per_task = layernorm::rows_per_task(width, rows, split.workers());
                split.run([&mut *sums], [2 * rows_per_task], &|task, [sums]| {
                    layernorm::some_row_sums(level, shape, task * rows_per_task, statistics, gamma, input, delta, sums);
                });
            }
            let take_sums = stretch.is_none_or(|stretch| node.index < stretch.done);
            let (sums, chunks) = (&*sums, [per_task * block, per_task * LANES, per_task * LANES]);
            split.run([delta, dgamma, dbeta], chunks, &|task, [delta, dgamma, dbeta]| {
                let first = task * per_task;
                let input = &input[first * block..][..delta.len()];
                if take_sums {
                    layernorm::some_gradient_sums(level, pass.before, rows, statistics, input, delta, dgamma, dbeta);
                }
                if !last {
                    let gamma = &gamma[first * LANES..][..dgamma.len()];
                    layernorm::some_input_gradients(level, shape, first, statistics, sums, gamma, input, delta);
                }
            });
        }
        Layer::PRelu(PRelu { shared, .. }) if TOOLBOX => {
            let (slopes, own) = (node.weights.of(params), &mut gradients[..node.weights.len]);
            // The features' sums are the gradient itself, or what that of the shared slope is made of.
            let (sums, total) = if shared { (node.cache.of_mut(work.cache), Some(own)) } else { (own, None) };
            let take_sums = stretch.is_none_or(|stretch| node.index < stretch.done);
            if take_sums && pass.before == 0 {
                sums.fill(0.0);
            }
            let per_task = batchnorm::groups_per_task(width, rows, split.workers());
            split.run([delta, &mut *sums], [per_task * block, per_task * LANES], &|task, [delta, sums]| {
                let first = task * per_task;
                let [input, output] = [input, output].map(|rows| &rows[first * block..][..delta.len()]);
                let slopes = if shared { slopes } else { &slopes[first * LANES..] };
                then.backward(first, output, delta);
                if take_sums {
                    prelu::some_sums(level, pass.before, rows, input, delta, sums);
                }
                prelu::some_backward(level, rows, shared, slopes, input, delta);
            });
            if let (Some(total), true) = (total, take_sums) {
                total.fill(0.0);
                total[..1].fill(prelu::across(level, sums));
            }
        }
        Layer::Softmax | Layer::LogSoftmax => {
            then.backward(0, output, delta);
            if let Layer::Softmax = node.layer {
                softmax::softmax_backward(level, node.outputs, rows, output, delta)?;
            } else {
                softmax::log_softmax_backward(level, node.outputs, rows, output, delta)?;
            }
        }
        // Refused where the network came in.
        Layer::PRelu(_) | Layer::LayerNorm(_) => {}
        Layer::Activation(_)
        | Layer::Dropout { .. }
        | Layer::GaussianDropout { .. }
        | Layer::GaussianNoise { .. }
        | Layer::AlphaDropout { .. }
        | Layer::DropConnect { .. } => {
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
    plan: &Plan,
    clip: Clip,
    squares: &[f32],
    gradients: &mut [f32],
) -> Option<f32> {
    let mut sum: f64 = squares.iter().map(|square| f64::from(*square)).sum();
    for node in network.nodes_in(plan.scope).skip(plan.first) {
        if let Layer::BatchNorm(_) | Layer::LayerNorm(_) | Layer::PRelu(_) = node.layer {
            sum += reduce::sum_of_squares(level, node.weights.behind(plan.frozen()).of(gradients));
        }
        sum += reduce::sum_of_squares(level, node.bias.behind(plan.frozen()).of(gradients));
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

/// The squares of dense weights' gradients, panel by panel, where the backward pass has not summed them up.
pub(super) fn sum_squares(level: Level, network: &Network<'_>, plan: &Plan, squares: &mut [f32], gradients: &[f32]) {
    for node in network.nodes_in(plan.scope).skip(plan.first) {
        if let Layer::Dense { .. } = node.layer {
            let panels = node.weights.behind(plan.frozen()).of(gradients).chunks(LANES * node.inputs);
            for (square, panel) in node.squares.of_mut(squares).iter_mut().zip(panels) {
                *square = reduce::sum_of_squares(level, panel) as f32;
            }
        }
    }
}

/// The last layer (the first in the order of the backward pass) with a gradient that is not finite.
pub(super) fn first_non_finite_gradient(network: &Network<'_>, plan: &Plan, gradients: &[f32]) -> Error {
    let bad = |values: &[f32]| values.iter().any(|value| !value.is_finite());
    let layer = (plan.first..network.layers().len())
        .rev()
        .find(|index| {
            let node = network.node_in(plan.scope, *index);
            let own = [node.weights, node.bias].map(|part| part.behind(plan.frozen()).of(gradients));
            own.into_iter().any(bad)
        })
        .unwrap_or(plan.first);
    Error::NonFinite { what: "gradient", layer }
}

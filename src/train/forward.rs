//! The forward pass through all layers, in training or in inference mode.

use super::{Batch, Moment};
use crate::Level;
use crate::error::Error;
use crate::kernels::{activation, batchnorm, dense, dropout, softmax};
use crate::layer::{Layer, Network, padded};
use crate::plan::{Node, Plan, Work};
use crate::rng::{Purpose, Stream};
use crate::simd::LANES;
use crate::split::Split;

/// One pass over a batch.
pub(super) struct Pass<'s, P> {
    pub(super) level: Level,
    pub(super) split: &'s P,
    /// `None` runs as inference does.
    pub(super) training: Option<Moment>,
}

/// Dropout of a layer at a step, forward on values and backward on gradients: the same elements, asked for again.
pub(super) fn drop_out(
    level: Level,
    split: &impl Split,
    rate: f32,
    moment: Moment,
    layer: usize,
    x: &mut [f32],
) -> Result<(), Error> {
    /// Values of a task: whole blocks of the random stream.
    const TASK: usize = 1 << 14;
    let rate = dropout::Rate::new(rate)?;
    let stream = Stream::new(moment.seed, Purpose::Dropout, layer as u32, moment.step as u32);
    split.run([x], [TASK], &|task, [x]| dropout::dropout(level, x, rate, stream, (task * TASK) as u64));
    Ok(())
}

impl<P: Split> Pass<'_, P> {
    /// Fills the activations (and, in training, the batch-norm caches).
    pub(super) fn run(
        &self,
        network: &Network<'_>,
        params: &[f32],
        state: &[f32],
        batch: &Batch<'_>,
        work: &mut Work<'_>,
    ) -> Result<(), Error> {
        if network.copies_input() {
            copy_rows(batch.inputs, network.inputs(), work.activations);
        }
        for node in network.nodes() {
            self.layer(&node, params, state, batch, work)?;
        }
        Ok(())
    }

    fn layer(
        &self,
        node: &Node,
        params: &[f32],
        state: &[f32],
        batch: &Batch<'_>,
        work: &mut Work<'_>,
    ) -> Result<(), Error> {
        let (level, split) = (self.level, self.split);
        let (rows, capacity) = (batch.rows, work.capacity());
        let width = padded(node.outputs);
        // Outputs lie behind their inputs, or in the same place.
        let (before, from) = work.activations.split_at_mut(node.output * capacity);
        let y = &mut from[..rows * width];
        let (x, stride): (&[f32], usize) = match node.input {
            None => (batch.inputs, node.inputs),
            Some(input) if input == node.output => (&[], 0),
            Some(input) => (&before[input * capacity..][..rows * padded(node.inputs)], padded(node.inputs)),
        };
        match node.layer {
            Layer::Dense { outputs, .. } => {
                let bias = (node.bias.len > 0).then(|| node.bias.of(params));
                let dense = dense::Dense { inputs: node.inputs, outputs, weights: node.weights.of(params), bias };
                return dense::forward(level, split, dense, rows, x, stride, y);
            }
            Layer::BatchNorm(bn) => {
                let cache = node.cache.of_mut(work.cache);
                if self.training.is_some() {
                    batchnorm::statistics(level, split, width, bn.eps, x, cache)?;
                } else {
                    let (mean, var) = running(node.state.of(state), width);
                    batchnorm::freeze(level, bn.eps, mean, var, cache)?;
                }
                return batchnorm::normalize(level, split, cache, node.weights.of(params), node.bias.of(params), x, y);
            }
            _ => {}
        }
        if node.input != Some(node.output) {
            y.copy_from_slice(x);
        }
        match node.layer {
            Layer::Activation(kind) => activation::forward(level, split, kind, y),
            Layer::Softmax => softmax::softmax(level, node.outputs, y)?,
            Layer::LogSoftmax => softmax::log_softmax(level, node.outputs, y)?,
            Layer::Dropout { rate } => {
                if let Some(moment) = self.training {
                    drop_out(level, split, rate, moment, node.index, y)?;
                }
            }
            Layer::Dense { .. } | Layer::BatchNorm(_) => {}
        }
        Ok(())
    }
}

/// Copies rows of `cols` values into padded rows, padding zero.
fn copy_rows(x: &[f32], cols: usize, y: &mut [f32]) {
    for (x, y) in x.chunks_exact(cols).zip(y.chunks_exact_mut(padded(cols))) {
        y[..cols].copy_from_slice(x);
        y[cols..].fill(0.0);
    }
}

/// Running mean and variance of a batch norm's state.
pub(crate) fn running(state: &[f32], width: usize) -> (&[f32], &[f32]) {
    (&state[..width], &state[width..2 * width])
}

/// How many batches a batch norm has seen: two parts of 24 bits, each exact in an `f32`.
#[must_use]
pub(crate) fn batches_seen(state: &[f32]) -> u64 {
    let count = &state[state.len() - LANES..];
    (count[1] as u64) << 24 | count[0] as u64
}

/// Writes the count that [`batches_seen`] reads.
pub(crate) fn set_batches_seen(state: &mut [f32], batches: u64) {
    let at = state.len() - LANES;
    let batches = batches.min((1 << 48) - 1);
    state[at] = (batches & 0xff_ffff) as f32;
    state[at + 1] = (batches >> 24) as f32;
}

/// After a step is known to be sound: the running statistics move towards the batch's.
pub(super) fn update_running(
    network: &Network<'_>,
    plan: &Plan,
    rows: usize,
    state: &mut [f32],
    work: &mut [f32],
) -> Result<(), Error> {
    let work = plan.carve(work);
    // All are looked at before any changes. A variance beyond `f32` leaves outputs and gradients finite, but the running
    // variance would stay infinite for ever.
    let sound = |node: &Node| node.cache.of(work.cache).iter().all(|value| value.is_finite());
    if let Some(node) = network.nodes().find(|node| !sound(node)) {
        return Err(Error::NonFinite { what: "statistics", layer: node.index });
    }
    for node in network.nodes() {
        let Layer::BatchNorm(bn) = node.layer else { continue };
        let state = node.state.of_mut(state);
        let batches = batches_seen(state) + 1;
        set_batches_seen(state, batches);
        let factor = bn.momentum.unwrap_or(1.0 / batches as f32);
        let (mean, rest) = state.split_at_mut(padded(node.inputs));
        let var = &mut rest[..mean.len()];
        batchnorm::update_running(node.cache.of(work.cache), rows, factor, bn.unbiased, mean, var)?;
    }
    Ok(())
}

/// The layer whose output first was not finite, for a loss that is not.
pub(super) fn first_non_finite(network: &Network<'_>, batch: &Batch<'_>, work: &Work<'_>) -> Error {
    if batch.inputs.iter().any(|value| !value.is_finite()) {
        return Error::NonFinite { what: "input", layer: 0 };
    }
    for node in network.nodes() {
        let output = &work.activations[node.output * work.capacity()..][..batch.rows * padded(node.outputs)];
        if output.iter().any(|value| !value.is_finite()) {
            return Error::NonFinite { what: "output", layer: node.index };
        }
    }
    Error::NonFinite { what: "loss", layer: network.layers().len() - 1 }
}

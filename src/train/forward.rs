//! The forward pass through all layers, in training or in inference mode.
//!
//! It goes by stages: a layer that fills a buffer, and the layers after it that work in place on the same buffer. A
//! task takes some groups of features through the whole stage, so the layers in place find their values in the cache,
//! and there is one hand-over between threads for each stage.

use super::parts::{Norms, Sums};
use super::{Batch, Moment};
use crate::Level;
use crate::error::Error;
use crate::kernels::groups::{Rows, to_groups};
use crate::kernels::{activation, batchnorm, dense, dropout, prelu, softmax};
use crate::layer::{Layer, Network, PRelu, padded};
use crate::plan::{Node, Plan, Scope, Work};
use crate::rng::{Purpose, Stream};
use crate::simd::LANES;
use crate::split::Split;

/// One pass over a batch or a part of one.
pub(super) struct Pass<'s, P> {
    pub(super) level: Level,
    pub(super) split: &'s P,
    /// `None` runs as inference does.
    pub(super) training: Option<Moment>,
    /// Layers before its first run as in inference.
    pub(super) scope: Scope,
    /// Rows of the batch before this part.
    pub(super) before: usize,
    /// Where batch norms that train get their statistics from.
    pub(super) norms: Norms,
}

// Not derived: that would ask for a `Split` that can be copied.
impl<P> Clone for Pass<'_, P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P> Copy for Pass<'_, P> {}

/// The layers of a stage that work in place, group by group.
pub(super) struct InPlace<'n> {
    pub(super) layers: &'n [Layer],
    /// Index of the first of them.
    pub(super) first: usize,
    pub(super) rows: usize,
    pub(super) level: Level,
    pub(super) training: Option<Moment>,
    /// Dropout of the layers before this one does nothing.
    pub(super) frozen: usize,
    /// Rows of the batch before this part.
    pub(super) before: usize,
}

impl InPlace<'_> {
    /// Whether a layer can be part of a stage after its first.
    pub(super) fn suits(layer: Layer) -> bool {
        matches!(layer, Layer::Activation(_) | Layer::Dropout { .. })
    }

    /// The groups from number `group` on, through all layers.
    pub(super) fn forward(&self, group: usize, y: &mut [f32]) {
        for (index, layer) in self.layers.iter().enumerate() {
            match *layer {
                Layer::Activation(kind) => activation::some_forward(self.level, kind, y),
                _ => self.drop_out(index, *layer, group, y),
            }
        }
    }

    /// The gradient of the same groups, back through all layers; `output` is what [`forward`](Self::forward) left.
    pub(super) fn backward(&self, group: usize, output: &[f32], delta: &mut [f32]) {
        for (index, layer) in self.layers.iter().enumerate().rev() {
            match *layer {
                Layer::Activation(kind) => activation::some_backward(self.level, kind, output, delta),
                _ => self.drop_out(index, *layer, group, delta),
            }
        }
    }

    /// Dropout of values or of gradients: the same elements, asked for again.
    ///
    /// Here is where training numbers them: each group of sixteen features has a stretch of the stream of its own, as
    /// long as any batch (2^32 rows); lane `l` of row `r` in group `g` is element `(g << 36) + 16 * r + l`. So a mask
    /// depends neither on the width nor on the rows of the batch, nor on how tasks or parts divide them.
    fn drop_out(&self, index: usize, layer: Layer, group: usize, x: &mut [f32]) {
        let (Layer::Dropout { rate }, Some(moment)) = (layer, self.training) else { return };
        if self.first + index < self.frozen {
            return;
        }
        // The rate was checked with the layer.
        let Ok(rate) = dropout::Rate::new(rate) else { return };
        let stream = Stream::new(moment.seed, Purpose::Dropout, (self.first + index) as u32, moment.step as u32);
        for (g, x) in x.chunks_exact_mut(self.rows * LANES).enumerate() {
            let number = ((group + g) as u64) << 36 | (self.before * LANES) as u64;
            dropout::dropout(self.level, x, rate, stream, number);
        }
    }
}

impl<P: Split> Pass<'_, P> {
    /// Fills the activations (and, in training, the batch-norm caches), up to the layer whose statistics are summed up.
    pub(super) fn run(
        &self,
        network: &Network<'_>,
        params: &[f32],
        state: &[f32],
        batch: &Batch<'_>,
        work: &mut Work<'_>,
    ) -> Result<(), Error> {
        let rows = batch.rows;
        let input = &mut work.activations[..rows * padded(network.inputs())];
        to_groups(self.split, rows, network.inputs(), batch.inputs, input);
        let mut nodes = network.nodes_in(self.scope).peekable();
        while let Some(node) = nodes.next() {
            let first = node.index + 1;
            let mut end = first;
            while nodes.next_if(|next| next.output == node.output && InPlace::suits(next.layer)).is_some() {
                end += 1;
            }
            let layers = &network.layers()[first..end];
            if let (Layer::BatchNorm(_), Norms::SumUp { layer, sums }) = (node.layer, self.norms)
                && layer == node.index
            {
                self.sum_up(&node, sums, rows, work);
                return Ok(());
            }
            let then = self.in_place(layers, first, rows);
            self.stage(&node, &then, params, state, work)?;
        }
        Ok(())
    }

    /// Layers in place, from number `first` on.
    pub(super) fn in_place<'n>(&self, layers: &'n [Layer], first: usize, rows: usize) -> InPlace<'n> {
        let (level, training, frozen) = (self.level, self.training, self.scope.first);
        InPlace { layers, first, rows, level, training, frozen, before: self.before }
    }

    /// Whether batch norm `layer` takes its statistics from the batch.
    pub(super) fn uses_batch(&self, layer: usize) -> bool {
        self.training.is_some() && self.scope.uses_batch(layer)
    }

    /// Adds a part's rows to the sums of a batch norm's statistics.
    fn sum_up(&self, node: &Node, sums: Sums, rows: usize, work: &mut Work<'_>) {
        let (level, width, capacity) = (self.level, padded(node.inputs), work.capacity());
        let x = &work.activations[node.input * capacity..][..rows * width];
        let per_task = batchnorm::groups_per_task(width, rows, self.split.workers()) * LANES;
        let cache = node.cache.of_mut(work.cache);
        self.split.run([cache], [batchnorm::cache_len(per_task)], &|task, [cache]| {
            let x = &x[task * per_task * rows..];
            match sums {
                Sums::Mean => batchnorm::some_sums(level, self.before, rows, x, cache),
                Sums::Spread => batchnorm::some_spreads(level, self.before, rows, x, cache),
            }
        });
    }

    fn stage(
        &self,
        node: &Node,
        then: &InPlace<'_>,
        params: &[f32],
        state: &[f32],
        work: &mut Work<'_>,
    ) -> Result<(), Error> {
        let (level, split, rows) = (self.level, self.split, then.rows);
        let capacity = work.capacity();
        let width = padded(node.outputs);
        let block = rows * LANES;
        let (x_len, y_len) = (rows * padded(node.inputs), rows * width);
        let in_place = node.input == node.output;
        // Outputs lie behind their inputs or in the same place; those of frozen layers may lie before.
        let (x, y): (&[f32], &mut [f32]) = if node.output < node.input {
            let (before, from) = work.activations.split_at_mut(node.input * capacity);
            (&from[..x_len], &mut before[node.output * capacity..][..y_len])
        } else {
            let (before, from) = work.activations.split_at_mut(node.output * capacity);
            let x: &[f32] = if in_place { &[] } else { &before[node.input * capacity..][..x_len] };
            (x, &mut from[..y_len])
        };
        match node.layer {
            Layer::Dense { outputs, .. } => {
                let bias = (node.bias.len > 0).then(|| node.bias.of(params));
                let dense = dense::Dense { inputs: node.inputs, outputs, weights: node.weights.of(params), bias };
                let x = Rows::grouped(x, rows, node.inputs)?;
                let per_task = dense::panels_per_task(outputs, node.inputs * rows, split.workers());
                let together = dense::together(rows, node.inputs);
                split.run([y], [per_task * block], &|task, [y]| {
                    for (part, y) in dense::parts(y, block, together) {
                        let first = task * per_task + part;
                        dense::some_panels(level, dense, dense::Last::Nothing, first, x, y);
                        then.forward(first, y);
                    }
                });
            }
            Layer::BatchNorm(bn) => {
                let cache = node.cache.of_mut(work.cache);
                let uses_batch = self.uses_batch(node.index);
                let take_statistics = uses_batch && matches!(self.norms, Norms::OfBatch);
                if !uses_batch {
                    let (mean, var) = running(node.state.of(state), width);
                    batchnorm::freeze(level, bn.eps, mean, var, cache)?;
                }
                let (gamma, beta) = (node.weights.of(params), node.bias.of(params));
                let per_task = batchnorm::groups_per_task(width, rows, split.workers());
                let chunks = [per_task * block, batchnorm::cache_len(per_task * LANES)];
                split.run([y, cache], chunks, &|task, [y, cache]| {
                    let parts = y.chunks_mut(4 * block).zip(cache.chunks_mut(batchnorm::cache_len(4 * LANES)));
                    for (part, (y, cache)) in parts.enumerate() {
                        let first = task * per_task + part * 4;
                        let x = &x[first * block..][..y.len()];
                        if take_statistics {
                            batchnorm::some_statistics(level, rows, bn.eps, x, cache);
                        }
                        let [gamma, beta] = [gamma, beta].map(|vector| &vector[first * LANES..][..y.len() / rows]);
                        batchnorm::some_normal(level, rows, cache, gamma, beta, x, y);
                        then.forward(first, y);
                    }
                });
            }
            Layer::PRelu(PRelu { shared, .. }) => {
                let slopes = node.weights.of(params);
                let per_task = batchnorm::groups_per_task(width, rows, split.workers());
                split.run([y], [per_task * block], &|task, [y]| {
                    let first = task * per_task;
                    if !in_place {
                        y.copy_from_slice(&x[first * block..][..y.len()]);
                    }
                    let slopes = if shared { slopes } else { &slopes[first * LANES..] };
                    prelu::some_forward(level, rows, shared, slopes, y);
                    then.forward(first, y);
                });
            }
            Layer::Softmax | Layer::LogSoftmax => {
                if !in_place {
                    y.copy_from_slice(x);
                }
                let function = if let Layer::Softmax = node.layer { softmax::softmax } else { softmax::log_softmax };
                function(level, node.outputs, rows, y)?;
                then.forward(0, y);
            }
            Layer::Activation(_) | Layer::Dropout { .. } => {
                let this = InPlace { layers: core::slice::from_ref(&node.layer), first: node.index, ..*then };
                let per_task = batchnorm::groups_per_task(width, rows, split.workers());
                split.run([y], [per_task * block], &|task, [y]| {
                    let first = task * per_task;
                    if !in_place {
                        y.copy_from_slice(&x[first * block..][..y.len()]);
                    }
                    this.forward(first, y);
                    then.forward(first, y);
                });
            }
        }
        Ok(())
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
    let moves = |node: &Node| plan.scope.uses_batch(node.index);
    let sound = |node: &Node| node.cache.of(work.cache).iter().all(|value| value.is_finite());
    if let Some(node) = network.nodes_in(plan.scope).find(|node| moves(node) && !sound(node)) {
        return Err(Error::NonFinite { what: "statistics", layer: node.index });
    }
    for node in network.nodes_in(plan.scope).filter(moves) {
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
pub(super) fn first_non_finite(network: &Network<'_>, scope: Scope, batch: &Batch<'_>, work: &Work<'_>) -> Error {
    if batch.inputs.iter().any(|value| !value.is_finite()) {
        return Error::NonFinite { what: "input", layer: 0 };
    }
    // Of the frozen layers only the last has left its output.
    for node in network.nodes_in(scope).skip(scope.first.saturating_sub(1)) {
        let output = &work.activations[node.output * work.capacity()..][..batch.rows * padded(node.outputs)];
        if output.iter().any(|value| !value.is_finite()) {
            return Error::NonFinite { what: "output", layer: node.index };
        }
    }
    Error::NonFinite { what: "loss", layer: network.layers().len() - 1 }
}

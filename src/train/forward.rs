//! The forward pass through all layers, in training or in inference mode.
//!
//! It goes by stages: a layer that fills a buffer, and the layers after it that work in place on the same buffer. A
//! task takes some groups of features through the whole stage, so the layers in place find their values in the cache,
//! and there is one hand-over between threads for each stage.

use super::connect::Mask;
use super::norms::{self, Ghosts};
use super::parts::{Norms, Sums};
use super::{AnyBatch, Inputs, Moment};
use crate::error::Error;
use crate::kernels::groups::{Rows, to_groups};
use crate::kernels::noise::{self, Alpha};
use crate::kernels::sparse::{self, IndexLists};
use crate::kernels::{activation, batchnorm, dense, dropout, layernorm, prelu, softmax};
use crate::layer::{BatchNorm, Layer, Network, NormMode, PRelu, padded};
use crate::plan::{Node, Scope, Work};
use crate::rng::{Purpose, Stream};
use crate::simd::LANES;
use crate::split::Split;
use crate::{Level, TOOLBOX};

/// One pass over a batch or a part of one.
pub(super) struct Pass<'s, P> {
    pub(super) level: Level,
    pub(super) split: &'s P,
    /// `None` runs as inference does.
    pub(super) training: Option<Moment>,
    /// Layers before its first run as in inference.
    pub(super) scope: Scope,
    /// What the first layer reads, if the inputs are no plain rows.
    pub(super) lists: Option<IndexLists<'s>>,
    /// Rows of the batch before this part.
    pub(super) before: usize,
    /// Where batch norms that train get their statistics from.
    pub(super) norms: Norms,
    /// Only the statistics of batch norms are wanted, for a re-estimation: no noise, and plain batch norms.
    pub(super) calibrates: bool,
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
        matches!(layer, Layer::Activation(_)) || layer.is_noise()
    }

    /// The groups from number `group` on, through all layers.
    pub(super) fn forward(&self, group: usize, y: &mut [f32]) {
        for (index, layer) in self.layers.iter().enumerate() {
            match *layer {
                Layer::Activation(kind) => activation::some_forward(self.level, kind, y),
                _ => self.noise(index, *layer, group, y, false),
            }
        }
    }

    /// The gradient of the same groups, back through all layers; `output` is what [`forward`](Self::forward) left.
    pub(super) fn backward(&self, group: usize, output: &[f32], delta: &mut [f32]) {
        for (index, layer) in self.layers.iter().enumerate().rev() {
            match *layer {
                Layer::Activation(kind) => activation::some_backward(self.level, kind, output, delta),
                _ => self.noise(index, *layer, group, delta, true),
            }
        }
    }

    /// Dropout and its kin, of values or (`back`) of gradients: the same elements, asked for again.
    ///
    /// Here is where training numbers them: each group of sixteen features has a stretch of the stream of its own, as
    /// long as any batch (2^32 rows); lane `l` of row `r` in group `g` is element `(g << 36) + 16 * r + l`. So a mask
    /// depends neither on the width nor on the rows of the batch, nor on how tasks or parts divide them.
    fn noise(&self, index: usize, layer: Layer, group: usize, x: &mut [f32], back: bool) {
        let Some(moment) = self.training else { return };
        if self.first + index < self.frozen {
            return;
        }
        let (level, step) = (self.level, moment.step as u32);
        let stream = |purpose| Stream::new(moment.seed, purpose, (self.first + index) as u32, step);
        let blocks = x.chunks_exact_mut(self.rows * LANES).enumerate();
        let blocks = blocks.map(|(g, x)| (((group + g) as u64) << 36 | (self.before * LANES) as u64, x));
        match layer {
            Layer::Dropout { rate } => {
                // The rate was checked with the layer, as the others'.
                let Ok(rate) = dropout::Rate::new(rate) else { return };
                let stream = stream(Purpose::Dropout);
                blocks.for_each(|(number, x)| dropout::dropout(level, x, rate, stream, number));
            }
            Layer::GaussianDropout { rate } if TOOLBOX => {
                let Ok(deviation) = noise::gaussian_deviation(rate) else { return };
                let stream = stream(Purpose::Noise);
                blocks.for_each(|(number, x)| noise::gaussian_dropout(level, x, deviation, stream, number));
            }
            Layer::GaussianNoise { stddev } if TOOLBOX && !back => {
                let stream = stream(Purpose::Noise);
                blocks.for_each(|(number, x)| noise::gaussian_noise(level, x, stddev, stream, number));
            }
            Layer::AlphaDropout { rate } if TOOLBOX => {
                let Ok(rate) = Alpha::new(rate) else { return };
                let stream = stream(Purpose::Dropout);
                let function = if back { noise::alpha_dropout_backward } else { noise::alpha_dropout };
                blocks.for_each(|(number, x)| function(level, x, rate, stream, number));
            }
            // A DropConnect is the dense layer's that follows (`connect`).
            _ => {}
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
        batch: &AnyBatch<'_>,
        work: &mut Work<'_>,
    ) -> Result<(), Error> {
        let rows = batch.rows;
        if let Inputs::Values(inputs) = batch.inputs {
            let input = &mut work.activations[..rows * padded(network.inputs())];
            to_groups(self.split, rows, network.inputs(), inputs, input);
        }
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
            let mask = self.mask(network, node.index);
            self.stage(&node, mask, &then, params, state, work)?;
        }
        Ok(())
    }

    /// Layers in place, from number `first` on.
    pub(super) fn in_place<'n>(&self, layers: &'n [Layer], first: usize, rows: usize) -> InPlace<'n> {
        let (level, frozen) = (self.level, self.scope.first);
        let training = self.training.filter(|_| !self.calibrates);
        InPlace { layers, first, rows, level, training, frozen, before: self.before }
    }

    /// Whether a node is a batch norm that takes its statistics from the batch.
    pub(super) fn uses_batch(&self, node: &Node) -> bool {
        self.training.is_some() && self.scope.batch_norm_uses_batch(node.index, node.layer)
    }

    /// What a DropConnect before dense layer `index` does to its weights.
    pub(super) fn mask(&self, network: &Network<'_>, index: usize) -> Option<Mask> {
        Mask::of(network, self.scope.first, self.training.filter(|_| !self.calibrates)?, index)
    }

    /// Its settings, if a batch norm is one that corrects the statistics of the batch.
    pub(super) fn renorm(&self, node: &Node, bn: BatchNorm) -> Option<crate::layer::Renorm> {
        match bn.mode {
            NormMode::Renorm(renorm) if TOOLBOX && self.uses_batch(node) && !self.calibrates => Some(renorm),
            _ => None,
        }
    }

    /// Adds a part's rows to the sums of a batch norm's statistics.
    fn sum_up(&self, node: &Node, sums: Sums, rows: usize, work: &mut Work<'_>) {
        let (level, width, capacity) = (self.level, padded(node.inputs), work.capacity());
        let x = &work.activations[node.input * capacity..][..rows * width];
        let per_task = batchnorm::groups_per_task(width, rows, self.split.workers()) * LANES;
        let cache = &mut node.cache.of_mut(work.cache)[..batchnorm::cache_len(width)];
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
        mask: Option<Mask>,
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
        if let (Some(x), Layer::Dense { outputs, .. }, 0) = (self.lists, node.layer, node.index) {
            let bias = (node.bias.len > 0).then(|| node.bias.of(params));
            let dense = dense::Dense { inputs: node.inputs, outputs, weights: node.weights.of(params), bias };
            let y = &mut work.activations[node.output * capacity..][..y_len];
            let per_task = dense::panels_per_task(outputs, x.ones(), split.workers());
            split.run([y], [per_task * block], &|task, [y]| {
                for (part, y) in dense::parts(y, block, dense::TOGETHER, false) {
                    let first = task * per_task + part;
                    sparse::some_panels(level, dense, dense::Last::Nothing, first, x, y);
                    then.forward(first, y);
                }
            });
            return Ok(());
        }
        let in_place = node.input == node.output;
        // Outputs lie behind their inputs or in the same place; those of frozen layers may lie before.
        let (x, from): (&[f32], &mut [f32]) = if node.output < node.input {
            let (before, from) = work.activations.split_at_mut(node.input * capacity);
            (&from[..x_len], &mut before[node.output * capacity..])
        } else {
            let (before, from) = work.activations.split_at_mut(node.output * capacity);
            let x: &[f32] = if in_place { &[] } else { &before[node.input * capacity..][..x_len] };
            (x, from)
        };
        // What a layer norm or a ghost batch norm keeps lies behind the output.
        let (y, kept) = from.split_at_mut(width * capacity);
        let y = &mut y[..y_len];
        match node.layer {
            Layer::Dense { outputs, .. } => {
                let bias = (node.bias.len > 0).then(|| node.bias.of(params));
                let weights = node.weights.of(params);
                let weights = match mask {
                    Some(mask) => mask.apply(self, node.inputs, weights, work.masked),
                    None => weights,
                };
                let dense = dense::Dense { inputs: node.inputs, outputs, weights, bias };
                let x = Rows::grouped(x, rows, node.inputs)?;
                let per_task = dense::panels_per_task(outputs, node.inputs * rows, split.workers());
                let together = dense::together(level, rows, node.inputs);
                split.run([y], [per_task * block], &|task, [y]| {
                    let first = task * per_task;
                    let alone = dense::ends_narrow(outputs, first, y.len() / block.max(1), dense::NARROW_OUTPUTS);
                    for (part, y) in dense::parts(y, block, together, alone) {
                        let first = first + part;
                        dense::some_panels(level, dense, dense::Last::Nothing, first, x, y);
                        then.forward(first, y);
                    }
                });
            }
            Layer::BatchNorm(bn) => {
                let cache = node.cache.of_mut(work.cache);
                let uses_batch = self.uses_batch(node);
                let mut take_statistics = uses_batch && matches!(self.norms, Norms::OfBatch);
                let (gamma, beta) = (node.weights.of(params), node.bias.of(params));
                if let (true, false, Some(ghost)) = (take_statistics, self.calibrates, norms::ghost_of(bn, rows)) {
                    let caches = &mut kept[..crate::plan::ghost_caches(width, rows, ghost)];
                    Ghosts { bn, ghost, gamma, beta }.forward(self, then, x, y, caches);
                    return Ok(());
                }
                let renorm = self.renorm(node, bn);
                if let (true, Some(renorm)) = (take_statistics, renorm) {
                    // The corrections of a feature are beside its statistics: these come first, of all features.
                    let statistics = norms::split_renorm(cache, width).0;
                    batchnorm::statistics(level, split, rows, bn.eps, x, statistics)?;
                    norms::correct(level, node, (bn, renorm), self.training, params, state, cache)?;
                    take_statistics = false;
                }
                let (cache, corrections) = norms::split_renorm(cache, width);
                if !uses_batch {
                    let (mean, var) = norms::running(node.state.of(state), width);
                    batchnorm::freeze(level, bn.eps, mean, var, cache)?;
                }
                let (gamma, beta) = match renorm {
                    Some(_) => (&corrections[2 * width..3 * width], &corrections[3 * width..]),
                    None => (gamma, beta),
                };
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
            Layer::PRelu(PRelu { shared, .. }) if TOOLBOX => {
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
            Layer::LayerNorm(ln) if TOOLBOX => {
                let shape = (node.inputs, rows);
                let statistics = &mut kept[..rows * layernorm::STATISTICS];
                let per_task = layernorm::rows_per_task(width, rows, split.workers());
                split.run([&mut *statistics], [per_task * layernorm::STATISTICS], &|task, [statistics]| {
                    layernorm::some_statistics(level, shape, task * per_task, ln.eps, x, statistics);
                });
                let (statistics, gamma, beta) = (&*statistics, node.weights.of(params), node.bias.of(params));
                let per_task = batchnorm::groups_per_task(width, rows, split.workers());
                split.run([y], [per_task * block], &|task, [y]| {
                    for (part, y) in y.chunks_mut(4 * block).enumerate() {
                        let first = task * per_task + part * 4;
                        let [gamma, beta] = [gamma, beta].map(|vector| &vector[first * LANES..][..y.len() / rows]);
                        layernorm::some_normal(level, rows, statistics, gamma, beta, &x[first * block..][..y.len()], y);
                        then.forward(first, y);
                    }
                });
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

/// The layer whose output first was not finite, for a loss that is not.
pub(super) fn first_non_finite(network: &Network<'_>, scope: Scope, batch: &AnyBatch<'_>, work: &Work<'_>) -> Error {
    if batch.inputs.non_finite() {
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

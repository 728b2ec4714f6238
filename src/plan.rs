//! From a network to lengths and offsets: every buffer of training is planned here, nothing is allocated later.
//!
//! Parameters, state and activations are flat slices; a [`Node`] says where a layer's parts lie in them. A layer's
//! activations are in groups of sixteen features ([`groups`](crate::kernels::groups)). All parts
//! start at multiples of sixteen values. Everything is `const`, so firmware can size its arrays at compile time.
//!
//! What is frozen ([`Scope`]) needs neither gradients nor moments, and its activations change places between two buffers
//! as they do in inference.
//!
//! A length that no machine of this word size has is `usize::MAX`: no slice is that long, so it is refused where slices
//! are handed in.

mod buffers;
mod scope;

pub use buffers::Plan;
pub(crate) use buffers::Work;
pub use scope::{Scope, Statistics};

use crate::kernels::{batchnorm, panels};
use crate::layer::{BatchNorm, Layer, Needs, Network, NormMode, ghosts, padded};
use crate::simd::LANES;

/// A range of a flat slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// First value.
    pub start: usize,
    /// Number of values.
    pub len: usize,
}

impl Part {
    const fn after(start: usize, len: usize) -> Self {
        Self { start, len }
    }

    /// The same part of a slice that begins `start` values later: gradients and moments begin with the first trained layer.
    pub(crate) const fn behind(self, start: usize) -> Self {
        Self { start: self.start - start, len: self.len }
    }

    /// The part of a slice.
    #[must_use]
    pub fn of(self, slice: &[f32]) -> &[f32] {
        &slice[self.start..][..self.len]
    }

    /// The part of a slice, to write.
    #[must_use]
    pub fn of_mut(self, slice: &mut [f32]) -> &mut [f32] {
        &mut slice[self.start..][..self.len]
    }
}

/// Where one layer's parts lie.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Node {
    /// The layer's index.
    pub index: usize,
    /// The layer.
    pub layer: Layer,
    /// Width of its input.
    pub inputs: usize,
    /// Width of its output.
    pub outputs: usize,
    /// Among the parameters: a dense layer's weights in panels, or a batch norm's scale.
    pub weights: Part,
    /// Among the parameters: bias or shift, padded; empty if there is none.
    pub bias: Part,
    /// Among the state: a batch norm's running mean, running variance (padded both) and batch count (one group).
    pub state: Part,
    /// Among the caches: what a batch norm keeps between forward and backward. Frozen ones share a place.
    pub cache: Part,
    /// Among the sums of squares: one for each panel of a dense layer's weight gradient, none if it is frozen.
    pub squares: Part,
    /// Where the output lies among the activations, in values for each row of the batch. Equal to the position of
    /// the input if the layer works in place.
    pub output: usize,
    /// Where the input lies.
    pub input: usize,
}

/// Rounds a length up to whole groups.
const fn whole_groups(len: usize) -> usize {
    match len.checked_next_multiple_of(LANES) {
        Some(len) => len,
        None => usize::MAX,
    }
}

/// Values for each row behind a layer's output: what a layer norm found for the row.
const fn behind(layer: Layer) -> usize {
    if matches!(layer, Layer::LayerNorm(_)) { LANES } else { 0 }
}

/// Length of the caches that a ghost batch norm of `width` features keeps behind its output, in as many rows of `width` values
/// as the batch has: with ghost batches of 8 rows or more, five groups for each are no more than that, from 10 rows on;
/// fewer rows are one ghost batch, which has the layer's own cache.
pub(crate) const fn ghost_caches(width: usize, rows: usize, ghost: usize) -> usize {
    let count = ghosts(rows, ghost);
    if count > 1 { batchnorm::cache_len(width) * count } else { 0 }
}

/// What the layers so far still need of the current buffer in the backward pass.
#[derive(Clone, Copy, PartialEq)]
enum Needed {
    Nothing,
    /// The sign (ReLU): dropout may scale or zero it, as a zeroed value has no gradient anyway.
    Sign,
    Value,
}

/// Walks the layers, accumulating offsets.
#[derive(Clone, Copy)]
struct Walk {
    params: usize,
    state: usize,
    cache: usize,
    squares: usize,
    activations: usize,
    current: usize,
    width: usize,
    needed: Needed,
    /// Layers before this one are frozen.
    first: usize,
    /// Where the second buffer of the frozen layers begins; the first begins at 0.
    second: usize,
}

impl Walk {
    const fn start(network: &Network<'_>, scope: Scope) -> Self {
        // The caller's rows come first, copied into groups; index lists are read where they lie. Frozen layers with an output of their own write to the other
        // one of two buffers; what trains behind them keeps its values.
        let mut buffers = [if scope.lists { 0 } else { padded(network.inputs()) }, 0];
        let (mut at, mut index, mut cache) = (0, 0, 0);
        while index < scope.first && index < network.layers().len() {
            let width = padded(network.width_before(index + 1));
            match network.layers()[index] {
                Layer::BatchNorm(_) => {
                    at = 1 - at;
                    if batchnorm::cache_len(width) > cache {
                        cache = batchnorm::cache_len(width);
                    }
                }
                Layer::Dense { .. } | Layer::LayerNorm(_) => at = 1 - at,
                _ => {}
            }
            let width = width.saturating_add(behind(network.layers()[index]));
            if width > buffers[at] {
                buffers[at] = width;
            }
            index += 1;
        }
        Self {
            params: 0,
            state: 0,
            cache,
            squares: 0,
            activations: buffers[0] + buffers[1],
            current: 0,
            width: network.inputs(),
            needed: Needed::Nothing,
            first: scope.first,
            second: buffers[0],
        }
    }

    const fn step(&mut self, index: usize, layer: Layer) -> Node {
        let inputs = self.width;
        let frozen = index < self.first;
        let (outputs, weights, bias, state) = match layer {
            Layer::Dense { outputs, bias } => {
                let weights = whole_groups(panels::weight_len(inputs, outputs));
                (outputs, weights, if bias { padded(outputs) } else { 0 }, 0)
            }
            Layer::BatchNorm(_) => (inputs, padded(inputs), padded(inputs), 2 * padded(inputs) + LANES),
            Layer::LayerNorm(_) => (inputs, padded(inputs), padded(inputs), 0),
            _ => (inputs, 0, 0, 0),
        };
        let cache = match layer {
            Layer::BatchNorm(BatchNorm { mode: NormMode::Renorm(_), .. }) if !frozen => {
                batchnorm::cache_len(padded(inputs)) + batchnorm::corrections_len(padded(inputs))
            }
            Layer::BatchNorm(_) => batchnorm::cache_len(padded(inputs)),
            _ => 0,
        };
        let (exact, squares) = match layer {
            Layer::Dense { outputs, .. } => {
                (panels::weight_len(inputs, outputs), if frozen { 0 } else { panels::panels(outputs) })
            }
            _ => (weights, 0),
        };
        let (in_place, needed) = match layer {
            Layer::Dense { .. } | Layer::BatchNorm(_) | Layer::LayerNorm(_) => (false, Needed::Nothing),
            _ if frozen => (true, Needed::Nothing),
            Layer::Activation(activation) => match activation.needs() {
                Needs::Input => (false, Needed::Nothing),
                Needs::Sign => (matches!(self.needed, Needed::Nothing), Needed::Sign),
                Needs::Value => (matches!(self.needed, Needed::Nothing), Needed::Value),
            },
            Layer::Softmax | Layer::LogSoftmax => (matches!(self.needed, Needed::Nothing), Needed::Value),
            Layer::Dropout { .. } => {
                let in_place = !matches!(self.needed, Needed::Value);
                (in_place, if in_place { self.needed } else { Needed::Nothing })
            }
            // They change signs too.
            Layer::GaussianDropout { .. } | Layer::GaussianNoise { .. } | Layer::AlphaDropout { .. } => {
                (matches!(self.needed, Needed::Nothing), Needed::Nothing)
            }
            // Does nothing to the values: it is the dense layer behind it that draws.
            Layer::DropConnect { .. } => (true, self.needed),
        };
        let output = if in_place {
            self.current
        } else if frozen {
            if self.current == 0 { self.second } else { 0 }
        } else {
            let fresh = self.activations;
            let behind = match layer {
                // What a ghost batch norm keeps of each ghost batch: `ghost_caches` says why it fits.
                Layer::BatchNorm(BatchNorm { mode: NormMode::Ghost { .. }, .. }) => padded(outputs),
                _ => behind(layer),
            };
            self.activations = self.activations.saturating_add(padded(outputs)).saturating_add(behind);
            fresh
        };
        let node = Node {
            index,
            layer,
            inputs,
            outputs,
            weights: Part::after(self.params, exact),
            bias: Part::after(self.params.saturating_add(weights), bias),
            state: Part::after(self.state, state),
            cache: Part::after(if frozen { 0 } else { self.cache }, cache),
            squares: Part::after(self.squares, squares),
            output,
            input: self.current,
        };
        self.params = self.params.saturating_add(weights).saturating_add(bias);
        self.state = self.state.saturating_add(state);
        if !frozen {
            self.cache = self.cache.saturating_add(cache);
        }
        self.squares = self.squares.saturating_add(squares);
        self.current = output;
        self.width = outputs;
        self.needed = needed;
        node
    }
}

impl Network<'_> {
    /// Where the parts of layer `index` lie, if all layers train.
    ///
    /// Walks the layers before it: cheap beside the layer's work, and no table has to be stored.
    #[must_use]
    pub const fn node(&self, index: usize) -> Node {
        self.node_in(Scope::ALL, index)
    }

    /// Where the parts of layer `index` lie. Parameters and state lie the same whatever is trained.
    pub(crate) const fn node_in(&self, scope: Scope, index: usize) -> Node {
        let mut walk = Walk::start(self, scope);
        let mut at = 0;
        loop {
            let node = walk.step(at, self.layers()[at]);
            if at == index {
                return node;
            }
            at += 1;
        }
    }

    /// The nodes of all layers, in order, if all train.
    pub fn nodes(&self) -> impl Iterator<Item = Node> + '_ {
        self.nodes_in(Scope::ALL)
    }

    /// The nodes of all layers, in order.
    pub(crate) fn nodes_in(&self, scope: Scope) -> impl Iterator<Item = Node> + '_ {
        let mut walk = Walk::start(self, scope);
        self.layers().iter().enumerate().map(move |(index, layer)| walk.step(index, *layer))
    }

    /// Lengths of what does not depend on the batch.
    const fn end(&self, scope: Scope) -> Walk {
        let mut walk = Walk::start(self, scope);
        let mut at = 0;
        while at < self.layers().len() {
            walk.step(at, self.layers()[at]);
            at += 1;
        }
        walk
    }

    /// Length of the parameters (weights, biases, batch-norm scale and shift), padding included.
    #[must_use]
    pub const fn params_len(&self) -> usize {
        self.end(Scope::ALL).params
    }

    /// Length of the state that training moves without gradients: running statistics and their batch counts.
    #[must_use]
    pub const fn state_len(&self) -> usize {
        self.end(Scope::ALL).state
    }

    /// Lengths of all buffers for batches of at most `batch` rows, if all layers train.
    #[must_use]
    pub const fn plan(&self, batch: usize) -> Plan {
        self.plan_in(Scope::ALL, batch)
    }

    /// Lengths of all buffers for batches of at most `batch` rows, if only a part of the network trains.
    #[must_use]
    pub const fn plan_in(&self, scope: Scope, batch: usize) -> Plan {
        let end = self.end(scope);
        let count = self.layers().len();
        // The backward pass ends at the first trained layer that has parameters.
        let mut first = if scope.first < count { scope.first } else { count };
        while first < count && !self.layers()[first].has_parameters() {
            first += 1;
        }
        let mut widest = padded(self.outputs());
        let mut transposed = 0;
        let mut masked = 0;
        let mut at = first;
        while at < count {
            let node = self.node_in(scope, at);
            if padded(node.outputs) > widest {
                widest = padded(node.outputs);
            }
            // The input of the first needs no gradient.
            if let Layer::Dense { .. } = node.layer
                && at > first
            {
                let turned = padded(node.inputs).saturating_mul(node.outputs);
                if turned > transposed {
                    transposed = turned;
                }
            }
            if at > 0
                && at > scope.first
                && matches!(self.layers()[at - 1], Layer::DropConnect { .. })
                && node.weights.len > masked
            {
                masked = whole_groups(node.weights.len);
            }
            at += 1;
        }
        let (frozen, still) = if first < count {
            let node = self.node_in(scope, first);
            (node.weights.start, node.state.start)
        } else {
            (end.params, end.state)
        };
        let moving = matches!(scope.statistics, Statistics::Batch);
        Plan {
            batch,
            scope,
            first,
            params: end.params,
            trained: if end.params == usize::MAX { usize::MAX } else { end.params - frozen },
            state: end.state,
            moving: if moving { end.state - still } else { 0 },
            activations: batch.saturating_mul(end.activations),
            delta: batch.saturating_mul(widest),
            cache: end.cache,
            transposed,
            masked,
            row_losses: batch.saturating_mul(2),
            squares: end.squares,
        }
    }
}

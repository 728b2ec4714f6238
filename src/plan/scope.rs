//! What of a network is trained: the last layers of a pretrained one, all of a new one.

use crate::layer::{Layer, Network, NormMode};

/// Where batch norms that are trained take mean and variance from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Statistics {
    /// From the batch, and the running statistics follow: needs two rows or more.
    #[default]
    Batch,
    /// The running statistics, which stay as they are, while scale and shift are trained: a batch may have one row
    /// (PyTorch: the layer in `eval()`, its parameters still in the optimiser).
    Running,
}

/// What of a network is trained.
///
/// Frozen layers run as in inference: their batch norms use the running statistics and move none (`trainable = False` of
/// Keras), and their dropout does nothing. Keras' would go on dropping; here the layers that train see the very features
/// that the deployed network computes, and a frozen part can be an image in flash.
///
/// Neither gradients nor moments nor kept activations of frozen layers exist: [`Network::plan_in`] gives the lengths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Layers before this index are frozen, 0 trains all.
    pub first: usize,
    /// The statistics of the batch norms that are not frozen.
    pub statistics: Statistics,
    /// Whether all inputs come as [`IndexLists`](crate::kernels::sparse::IndexLists): then no room is planned for them, which
    /// for lists of some ones among thousands of features is most of the work buffer.
    pub lists: bool,
}

impl Scope {
    /// Everything, as a new network is trained.
    pub const ALL: Self = Self { first: 0, statistics: Statistics::Batch, lists: false };

    /// Trains layer `first` and all behind it.
    #[must_use]
    pub const fn from_layer(first: usize) -> Self {
        Self { first, statistics: Statistics::Batch, lists: false }
    }

    /// Trains the last `count` dense layers and all that lies behind the first of them; all layers if the network has no
    /// more dense ones.
    #[must_use]
    pub const fn last_dense(network: &Network<'_>, count: usize) -> Self {
        let layers = network.layers();
        let (mut first, mut found) = (layers.len(), 0);
        while first > 0 && found < count {
            first -= 1;
            if matches!(layers[first], Layer::Dense { .. }) {
                found += 1;
            }
        }
        if found < count { Self::ALL } else { Self::from_layer(first) }
    }

    /// The same with the running statistics, so that a batch may have one row.
    #[must_use]
    pub const fn with_running_statistics(mut self) -> Self {
        self.statistics = Statistics::Running;
        self
    }

    /// The same for inputs that are index lists.
    #[must_use]
    pub const fn with_lists(mut self) -> Self {
        self.lists = true;
        self
    }

    /// Whether a batch norm of the network takes its statistics from the batch, which then needs two rows or more.
    #[must_use]
    pub const fn joins_rows(&self, network: &Network<'_>) -> bool {
        let layers = network.layers();
        let mut layer = self.first;
        while layer < layers.len() {
            if self.batch_norm_uses_batch(layer, layers[layer]) {
                return true;
            }
            layer += 1;
        }
        false
    }

    /// Whether layer `index`, which is `layer`, is a batch norm that takes its statistics from the batch.
    pub(crate) const fn batch_norm_uses_batch(&self, index: usize, layer: Layer) -> bool {
        match layer {
            Layer::BatchNorm(bn) => {
                index >= self.first
                    && matches!(self.statistics, Statistics::Batch)
                    && !matches!(bn.mode, NormMode::Frozen)
            }
            _ => false,
        }
    }
}

//! The lengths of the buffers, and how the work buffer is cut into its parts.

use super::Scope;

/// Lengths of all buffers of a training run, in `f32` values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The largest batch.
    pub batch: usize,
    /// What is trained.
    pub scope: Scope,
    /// The first layer that is trained and has parameters; the number of layers if there is none.
    pub first: usize,
    /// Parameters.
    pub params: usize,
    /// The parameters that are trained, the last ones: gradients have this length, and so has each moment of the optimiser.
    pub trained: usize,
    /// Running statistics.
    pub state: usize,
    /// The part of the state that moves, the last one.
    pub moving: usize,
    /// Outputs of the layers, kept for the backward pass; of frozen layers, two buffers.
    pub activations: usize,
    /// One of the two gradient buffers of a batch.
    pub delta: usize,
    /// Batch-norm caches.
    pub cache: usize,
    /// The largest transposed weight matrix.
    pub transposed: usize,
    /// The largest weight matrix of a dense layer behind a DropConnect.
    pub masked: usize,
    /// Loss and hit of each row.
    pub row_losses: usize,
    /// Sums of the squares of gradients, by panel.
    pub squares: usize,
}

impl Plan {
    /// Length of the work buffer: activations, both gradient buffers, caches and scratch.
    #[must_use]
    pub const fn work_len(&self) -> usize {
        self.activations
            .saturating_add(self.delta.saturating_mul(2))
            .saturating_add(self.cache)
            .saturating_add(self.transposed)
            .saturating_add(self.masked)
            .saturating_add(self.row_losses)
            .saturating_add(self.squares)
    }

    /// Length of the best weights that early stopping keeps ([`Keeper`](crate::train::Keeper)): what training changes.
    #[must_use]
    pub const fn best_len(&self) -> usize {
        self.trained.saturating_add(self.moving)
    }

    /// Where the trained parameters begin.
    pub(crate) const fn frozen(&self) -> usize {
        self.params - self.trained
    }

    /// Cuts a work buffer into its parts.
    pub(crate) fn carve<'w>(&self, work: &'w mut [f32]) -> Work<'w> {
        let (activations, rest) = work.split_at_mut(self.activations);
        let (delta, rest) = rest.split_at_mut(self.delta);
        let (spare, rest) = rest.split_at_mut(self.delta);
        let (cache, rest) = rest.split_at_mut(self.cache);
        let (transposed, rest) = rest.split_at_mut(self.transposed);
        let (masked, rest) = rest.split_at_mut(self.masked);
        let (row_losses, squares) = rest.split_at_mut(self.row_losses);
        Work { activations, delta, spare, cache, transposed, masked, row_losses, squares }
    }
}

/// The parts of a work buffer.
pub(crate) struct Work<'w> {
    pub(crate) activations: &'w mut [f32],
    /// Gradient of the current layer's output.
    pub(crate) delta: &'w mut [f32],
    /// Where a dense layer writes the gradient of its input.
    pub(crate) spare: &'w mut [f32],
    pub(crate) cache: &'w mut [f32],
    pub(crate) transposed: &'w mut [f32],
    /// Weights behind a DropConnect, as masked.
    pub(crate) masked: &'w mut [f32],
    pub(crate) row_losses: &'w mut [f32],
    pub(crate) squares: &'w mut [f32],
}

impl Work<'_> {
    /// The rows it was planned for: each has two entries among the row losses.
    pub(crate) fn capacity(&self) -> usize {
        self.row_losses.len() / 2
    }
}

//! DropConnect: the weights of a dense layer as one step masks them.
//!
//! No mask is stored. The masked weights stand in the work buffer while the layer needs them and are made again for the
//! backward pass; the gradient of the weights is masked by the same random words. The element of a weight is its place in
//! the panels.

use super::forward::Pass;
use crate::kernels::dropout::{self, Rate};
use crate::layer::{Layer, Network};
use crate::plan::{Node, Plan};
use crate::rng::{Purpose, Stream};
use crate::simd::LANES;
use crate::split::Split;
use crate::train::Moment;
use crate::{Level, TOOLBOX};

/// The mask of a dense layer's weights in one step.
#[derive(Clone, Copy)]
pub(super) struct Mask {
    rate: Rate,
    stream: Stream,
}

impl Mask {
    /// That of dense layer `index`, if a DropConnect lies before it that is trained.
    pub(super) fn of(network: &Network<'_>, frozen: usize, moment: Moment, index: usize) -> Option<Self> {
        let before = index.checked_sub(1).filter(|before| TOOLBOX && *before >= frozen)?;
        let Layer::DropConnect { rate } = network.layers()[before] else { return None };
        // The rate was checked with the layer.
        let rate = Rate::new(rate).ok()?;
        Some(Self { rate, stream: Stream::new(moment.seed, Purpose::DropConnect, before as u32, moment.step as u32) })
    }

    /// The masked weights, in `masked`.
    pub(super) fn apply<'w, P: Split>(
        &self,
        pass: &Pass<'_, P>,
        inputs: usize,
        weights: &[f32],
        masked: &'w mut [f32],
    ) -> &'w [f32] {
        let masked = &mut masked[..weights.len()];
        let per_task = (weights.len() / pass.split.workers().max(1)).next_multiple_of(LANES * inputs);
        pass.split.run([&mut *masked], [per_task], &|task, [masked]| {
            masked.copy_from_slice(&weights[task * per_task..][..masked.len()]);
            dropout::dropout(pass.level, masked, self.rate, self.stream, (task * per_task) as u64);
        });
        masked
    }

    /// Masks the gradients of the weights from number `first` on.
    pub(super) fn backward(&self, level: Level, first: usize, gradients: &mut [f32]) {
        dropout::dropout(level, gradients, self.rate, self.stream, first as u64);
    }
}

/// Masks the gradients of all dense layers, after the last part of a batch.
pub(super) fn finish(level: Level, network: &Network<'_>, plan: &Plan, moment: Moment, gradients: &mut [f32]) {
    let mask = |node: &Node| Mask::of(network, plan.scope.first, moment, node.index);
    for node in network.nodes_in(plan.scope).skip(plan.first) {
        if let (Layer::Dense { .. }, Some(mask)) = (node.layer, mask(&node)) {
            mask.backward(level, 0, node.weights.behind(plan.frozen()).of_mut(gradients));
        }
    }
}

//! Learning rates layer by layer, as PyTorch's parameter groups.

use super::Rules;
use crate::layer::Network;

/// A factor on the learning rate of each layer: 1 unless something else is set.
///
/// With the factor 0 a layer's parameters stay as they are, and so do its moments; its gradients are still computed and count
/// in the norm for clipping, and the running statistics of a batch norm still move, as in a PyTorch group of rate 0. To
/// leave out that work, freeze the first layers ([`Scope`](crate::plan::Scope)).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LayerRates {
    ranges: [(u16, u16, f32); Self::MOST],
    count: u8,
}

impl LayerRates {
    /// Ranges of layers that can be set.
    pub const MOST: usize = 16;
    /// The same rate for all.
    pub const ONE: Self = Self { ranges: [(0, 0, 1.0); Self::MOST], count: 0 };

    /// Sets the factor of the layers from `first` up to and without `end`; where ranges overlap, the last one counts.
    /// `None` if there are [`MOST`](Self::MOST) ranges already, or the range is empty or beyond 65,535.
    #[must_use]
    pub const fn with(mut self, first: usize, end: usize, factor: f32) -> Option<Self> {
        if self.count as usize >= Self::MOST || first >= end || end > u16::MAX as usize {
            return None;
        }
        self.ranges[self.count as usize] = (first as u16, end as u16, factor);
        self.count += 1;
        Some(self)
    }

    /// The ranges, in the order in which they were set: first layer, end, factor.
    pub fn ranges(&self) -> impl Iterator<Item = (usize, usize, f32)> + '_ {
        self.ranges
            .iter()
            .take(usize::from(self.count))
            .map(|(first, end, factor)| (usize::from(*first), usize::from(*end), *factor))
    }

    /// Whether all layers have the same rate.
    #[must_use]
    pub const fn is_one(&self) -> bool {
        self.count == 0
    }

    /// The factor of a layer.
    #[must_use]
    pub fn of(&self, layer: usize) -> f32 {
        let set = self.ranges().filter(|(first, end, _)| (*first..*end).contains(&layer)).last();
        set.map_or(1.0, |(_, _, factor)| factor)
    }
}

impl Default for LayerRates {
    fn default() -> Self {
        Self::ONE
    }
}

impl Rules {
    /// Whether a step needs what is in the feature `toolbox`. Decoupled decay does only of SGD, Adam has it.
    pub(super) fn needs_more(&self) -> bool {
        use super::Optimizer;
        let adam =
            matches!(self.optimizer, Optimizer::Adam { .. } | Optimizer::AdamW { .. } | Optimizer::KerasAdam { .. });
        let sgd = matches!(self.optimizer, Optimizer::Sgd { .. }) && self.weight_decay == 0.0;
        !(adam || sgd) || self.l1 != 0.0 || self.constraint != super::Constraint::None
    }

    /// What of penalties, constraint and layer-wise rates is outside its range or does not fit together, and what would be
    /// right. Of the layers, if the network is given.
    #[must_use]
    pub fn mistake(&self, network: Option<&Network<'_>>) -> Option<&'static str> {
        let penalty = |value: f32| value >= 0.0 && value.is_finite();
        if !penalty(self.l1) {
            return Some("the L1 penalty must be 0 or positive");
        }
        if !penalty(self.l2) {
            return Some("the L2 penalty must be 0 or positive");
        }
        if !(0.0..=1.0).contains(&self.weight_decay) {
            return Some("the weight decay must lie in [0, 1]");
        }
        let own = matches!(self.optimizer, super::Optimizer::AdamW { weight_decay, .. } if weight_decay != 0.0);
        if own && self.weight_decay != 0.0 {
            return Some("adamw has a weight decay of its own: set one of the two");
        }
        if self.optimizer.averages() && (self.weight_decay != 0.0 || self.constraint != super::Constraint::None) {
            return Some(
                "schedule_free steps one set of weights and evaluates another: it takes its own weight decay, and no constraint",
            );
        }
        if let Some(mistake) = self.constraint.mistake() {
            return Some(mistake);
        }
        for (first, end, factor) in self.layer_rates.ranges() {
            if !penalty(factor) {
                return Some("the factor of a layer's learning rate must be 0 or positive");
            }
            let Some(network) = network else { continue };
            if !network.nodes().any(|node| (first..end).contains(&node.index) && node.weights.len > 0) {
                return Some(
                    "a layer-wise learning rate names layers without parameters: count from 0, over all layers",
                );
            }
        }
        None
    }
}

//! Folding: batch norms and input standardisation disappear into the dense layers next to them.
//!
//! In inference a batch norm is `(x - μ) a + β` per feature, with `a = γ / √(σ² + ε)`; dropout is nothing. A run of such
//! layers is again of this form, and it goes
//!
//! - into the dense layer before it: `W' = diag(a) W`, `b' = (b - μ) a + β`;
//! - else into the dense layer after it, as behind an activation or at the input: `W' = W diag(a)`,
//!   `b' = b + W (β - μ a)`;
//! - else it stays an operation of its own.
//!
//! A layer norm stays an operation with its own scale and shift: its statistics are each row's, so it cannot go into the layer
//! before it; its scale and shift could go into a dense layer behind it, but cost one multiply-add a value where they are, and
//! folding them would round every weight once more. A batch norm behind it goes into the dense layer behind, as always.
//!
//! All in `f64` from the stored `f32` values and rounded once, at the end ([`narrow`](super::narrow)); no heap: runs
//! are composed anew for each group of sixteen features.
//!
//! In the last but one case `b'` is computed with the weights as they are stored, so that where every input is at its mean
//! the output has no rounding error of a weight in it: with `f16`, raw inputs of large mean would be unusable otherwise.
//!
//! What folding costs: `W' x + b'` subtracts the mean after the product, in `f32`. Where features enter a dense layer with
//! means many times their deviations, its outputs lose precision by that ratio: raw inputs with means of 200 to 800
//! deviations make them deviate by 5e-5 of their scale (2.7e-4 with `f16` weights; `tests/export/narrow.rs`).

use super::error::{FoldError, check_len};
use crate::kernels::panels;
use crate::layer::{Activation, Layer, Network};
use crate::plan::Node;
use crate::simd::LANES;

/// Standardisation of the inputs, as the training data were prepared: `(x - mean) * inv_std` per feature.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Standardisation<'a> {
    /// Means, one per input feature.
    pub mean: &'a [f32],
    /// Factors, one per input feature: the inverse of the standard deviation.
    pub inv_std: &'a [f32],
}

/// Neighbouring layers that are a scale and shift together, or nothing: batch norms and dropouts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Run {
    pub(super) first: usize,
    end: usize,
    /// Begins with the standardisation of the inputs.
    standardise: bool,
    /// Neither standardisation nor batch norm: nothing to do.
    pub(super) is_identity: bool,
}

/// One operation of the folded network.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Step {
    /// Layer `layer` with what is folded into it, and an activation.
    Dense { layer: usize, before: Run, after: Run, activation: Option<Activation> },
    /// A run with no dense layer next to it.
    ScaleShift { run: Run },
    /// A layer that stays: activation, softmax, log-softmax or layer norm.
    Layer { layer: usize },
}

/// Walks the layers of a network and finds its operations.
#[derive(Clone, Copy)]
pub(super) struct Steps<'a> {
    network: Network<'a>,
    next: usize,
    standardise: bool,
}

impl<'a> Steps<'a> {
    pub(super) const fn new(network: Network<'a>, standardise: bool) -> Self {
        Self { network, next: 0, standardise }
    }

    /// The batch norms and dropouts from the next layer on.
    const fn run(&mut self) -> Run {
        let layers = self.network.layers();
        let mut run =
            Run { first: self.next, end: self.next, standardise: self.standardise, is_identity: !self.standardise };
        self.standardise = false;
        while run.end < layers.len() {
            match layers[run.end] {
                Layer::BatchNorm(_) => run.is_identity = false,
                layer if layer.is_noise() => {}
                _ => break,
            }
            run.end += 1;
        }
        self.next = run.end;
        run
    }

    pub(super) const fn step(&mut self) -> Option<Step> {
        let layers = self.network.layers();
        let before = self.run();
        let layer = self.next;
        if layer < layers.len() && matches!(layers[layer], Layer::Dense { .. }) {
            self.next += 1;
            let after = self.run();
            let mut activation = None;
            if self.next < layers.len()
                && let Layer::Activation(kind) = layers[self.next]
            {
                activation = Some(kind);
                self.next += 1;
            }
            return Some(Step::Dense { layer, before, after, activation });
        }
        if !before.is_identity {
            return Some(Step::ScaleShift { run: before });
        }
        if layer == layers.len() {
            return None;
        }
        self.next += 1;
        Some(Step::Layer { layer })
    }
}

/// `(x - center) * scale + shift` of sixteen features.
///
/// The centre is the mean of the first layer in a run, an `f32`: where a run stays an operation of its own, subtracting
/// it costs no digits.
#[derive(Clone, Copy)]
pub(super) struct Affine {
    pub(super) center: [f64; LANES],
    pub(super) scale: [f64; LANES],
    pub(super) shift: [f64; LANES],
}

impl Affine {
    const IDENTITY: Self = Self { center: [0.0; LANES], scale: [1.0; LANES], shift: [0.0; LANES] };
}

/// A network whose every parameter has been found finite.
#[derive(Clone, Copy)]
pub(super) struct Fold<'a> {
    pub(super) network: Network<'a>,
    params: &'a [f32],
    state: &'a [f32],
    standardisation: Option<Standardisation<'a>>,
}

impl<'a> Fold<'a> {
    pub(super) fn new(
        network: Network<'a>,
        params: &'a [f32],
        state: &'a [f32],
        standardisation: Option<Standardisation<'a>>,
    ) -> Result<Self, FoldError> {
        check_len("parameters", network.params_len(), params.len())?;
        check_len("state", network.state_len(), state.len())?;
        if let Some(Standardisation { mean, inv_std }) = standardisation {
            check_len("means of the standardisation", network.inputs(), mean.len())?;
            check_len("factors of the standardisation", network.inputs(), inv_std.len())?;
            let sound = |(mean, inv_std): (&f32, &f32)| mean.is_finite() && inv_std.is_finite();
            if let Some(feature) = mean.iter().zip(inv_std).position(|pair| !sound(pair)) {
                return Err(FoldError::Standardisation { feature });
            }
        }
        let fold = Self { network, params, state, standardisation };
        for node in network.nodes() {
            match node.layer {
                Layer::Dense { .. } => fold.check_dense(&node)?,
                Layer::BatchNorm(_) => fold.check_batch_norm(&node)?,
                Layer::LayerNorm(_) => {
                    check_finite(&node, "scale", node.weights.of(params))?;
                    check_finite(&node, "shift", node.bias.of(params))?;
                }
                _ => {}
            }
        }
        Ok(fold)
    }

    fn check_dense(&self, node: &Node) -> Result<(), FoldError> {
        let weights = node.weights.of(self.params);
        // Whole slices first: the search by output and input is for the message.
        if !weights.iter().all(|weight| weight.is_finite()) {
            for output in 0..node.outputs {
                for input in 0..node.inputs {
                    if !weights[panels::position(node.inputs, node.outputs, output, input)].is_finite() {
                        let (layer, input) = (node.index, Some(input));
                        return Err(FoldError::NonFinite { layer, what: "weight", output, input });
                    }
                }
            }
        }
        // A dense layer without bias has none to check.
        check_finite(node, "bias", node.bias.of(self.params))
    }

    fn check_batch_norm(&self, node: &Node) -> Result<(), FoldError> {
        let state = BatchNormState::of(node, self.state);
        check_finite(node, "batch count", state.batches)?;
        if state.batches.iter().all(|part| *part <= 0.0) {
            return Err(FoldError::NeverUpdated { layer: node.index });
        }
        check_finite(node, "scale", node.weights.of(self.params))?;
        check_finite(node, "shift", node.bias.of(self.params))?;
        check_finite(node, "running mean", state.mean)?;
        for (feature, value) in state.var.iter().take(node.outputs).copied().enumerate() {
            if !(value >= 0.0 && value.is_finite()) {
                return Err(FoldError::Variance { layer: node.index, feature, value });
            }
        }
        Ok(())
    }

    /// A run as one scale and shift, for the features of group `group`. Padding lanes hold nothing of use.
    pub(super) fn affine(&self, run: &Run, group: usize) -> Affine {
        let mut affine = Affine::IDENTITY;
        if run.is_identity {
            return affine;
        }
        let first = group * LANES;
        if let (true, Some(Standardisation { mean, inv_std })) = (run.standardise, self.standardisation) {
            let inputs = mean.iter().zip(inv_std).skip(first);
            for (lane, (mean, inv_std)) in inputs.take(LANES).enumerate() {
                affine.center[lane] = f64::from(*mean);
                affine.scale[lane] = f64::from(*inv_std);
            }
        }
        let mut is_first = !run.standardise;
        for index in run.first..run.end {
            let node = self.network.node(index);
            let Layer::BatchNorm(bn) = node.layer else { continue };
            let state = BatchNormState::of(&node, self.state);
            let (gamma, beta) = (node.weights.of(self.params), node.bias.of(self.params));
            for lane in 0..LANES {
                let at = first + lane;
                let factor = f64::from(gamma[at]) / libm::sqrt(f64::from(state.var[at]) + f64::from(bn.eps));
                affine.scale[lane] *= factor;
                if is_first {
                    affine.center[lane] = f64::from(state.mean[at]);
                } else {
                    affine.shift[lane] = (affine.shift[lane] - f64::from(state.mean[at])) * factor;
                }
                affine.shift[lane] += f64::from(beta[at]);
            }
            is_first = false;
        }
        affine
    }

    /// Folds one panel of a dense layer: calls `store(input, weights of its lanes)` for each input, which returns the
    /// weights as rounded, and returns the bias. Lanes of no output are zero.
    pub(super) fn panel(
        &self,
        (node, before, after): (&Node, &Run, &Run),
        panel: usize,
        mut store: impl FnMut(usize, &[f64; LANES]) -> Result<[f64; LANES], FoldError>,
    ) -> Result<[f64; LANES], FoldError> {
        let width = panels::panel_width(node.outputs, panel);
        let outputs = width.min(node.outputs - panel * LANES);
        let stored = &node.weights.of(self.params)[panel * LANES * node.inputs..][..width * node.inputs];
        // The output where every input is at its centre, and the part of it that the stored weights give by themselves.
        let (mut bias, mut from_weights) = ([0.0; LANES], [0.0; LANES]);
        if node.bias.len > 0 {
            for (bias, stored) in bias.iter_mut().zip(&node.bias.of(self.params)[panel * LANES..]).take(outputs) {
                *bias = f64::from(*stored);
            }
        }
        let after_affine = self.affine(after, panel);
        let mut before_affine = self.affine(before, 0);
        for (input, stored) in stored.chunks_exact(width).enumerate() {
            if input > 0 && input.is_multiple_of(LANES) {
                before_affine = self.affine(before, input / LANES);
            }
            let at = input % LANES;
            let (center, scale, shift) = (before_affine.center[at], before_affine.scale[at], before_affine.shift[at]);
            let mut weights = [0.0; LANES];
            for (lane, stored) in stored.iter().take(outputs).enumerate() {
                let weight = f64::from(*stored);
                weights[lane] = weight * scale * after_affine.scale[lane];
                if !before.is_identity {
                    bias[lane] += weight * shift;
                }
            }
            let stored = store(input, &weights)?;
            if !before.is_identity {
                for (sum, stored) in from_weights.iter_mut().zip(stored) {
                    *sum += stored * center;
                }
            }
        }
        if !after.is_identity {
            for (lane, bias) in bias.iter_mut().take(outputs).enumerate() {
                *bias = (*bias - after_affine.center[lane]) * after_affine.scale[lane] + after_affine.shift[lane];
            }
        }
        if !before.is_identity {
            for (bias, sum) in bias.iter_mut().zip(from_weights) {
                *bias -= sum;
            }
        }
        Ok(bias)
    }
}

/// The parts of a batch norm's state.
struct BatchNormState<'a> {
    mean: &'a [f32],
    var: &'a [f32],
    /// The two parts of the number of batches seen.
    batches: &'a [f32],
}

impl<'a> BatchNormState<'a> {
    fn of(node: &Node, state: &'a [f32]) -> Self {
        let state = node.state.of(state);
        let width = node.weights.len;
        Self { mean: &state[..width], var: &state[width..2 * width], batches: &state[2 * width..][..2] }
    }
}

fn check_finite(node: &Node, what: &'static str, values: &[f32]) -> Result<(), FoldError> {
    match values.iter().take(node.outputs).position(|value| !value.is_finite()) {
        Some(output) => Err(FoldError::NonFinite { layer: node.index, what, output, input: None }),
        None => Ok(()),
    }
}

//! What normalisation layers can do besides the plain batch norm: layer norm, and the modes of a batch norm.

use super::BatchNorm;

/// Normalisation of each row over its features (Ba 2016, arXiv 1607.06450): `(x - μ) / √(v + ε)`, then scale and shift.
///
/// A row's mean and (biased) variance are its own, so training and inference do the same and nothing is remembered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LayerNorm {
    /// Added to the variance, above 0 and at most 1. PyTorch's default is 1e-5, Keras' 1e-3.
    pub eps: f32,
}

impl LayerNorm {
    /// `torch.nn.LayerNorm` as it comes: eps 1e-5.
    pub const TORCH: Self = Self { eps: 1e-5 };
    /// `keras.layers.LayerNormalization` as it comes: eps 1e-3.
    pub const KERAS: Self = Self { eps: 1e-3 };
}

impl Default for LayerNorm {
    fn default() -> Self {
        Self::TORCH
    }
}

/// What a batch norm normalises by while it trains.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum NormMode {
    /// The statistics of the batch; the running ones follow.
    #[default]
    Batch,
    /// The running statistics, which stay as they are, while scale and shift are trained and other batch norms go on
    /// (PyTorch: the layer in `eval()`; Keras' `trainable = False` also freezes scale and shift). They must have been
    /// updated before.
    Frozen,
    /// The statistics of each ghost batch of `rows` rows by itself, in the order of the batch (Hoffer 2017, arXiv
    /// 1705.08741). Rows that are left over make a smaller last one; a single row joins the one before.
    ///
    /// The running statistics move once for each ghost batch, in order, as if each were a batch: so momentum counts
    /// ghost batches, and the unbiased variance has their number of rows (algorithm 1 of the paper).
    Ghost {
        /// Rows of a ghost batch, 8 or more.
        rows: usize,
    },
    /// The statistics of the batch, corrected towards the running ones (batch renormalisation, Ioffe 2017).
    Renorm(Renorm),
}

impl NormMode {
    pub(super) const fn is_valid(&self) -> bool {
        match *self {
            NormMode::Batch | NormMode::Frozen => true,
            NormMode::Ghost { rows } => rows >= 8 && rows <= 1 << 24,
            NormMode::Renorm(Renorm { r_max, d_max, start, r_end, d_end }) => {
                r_max >= 1.0 && r_max <= 1e6 && d_max >= 0.0 && d_max <= 1e6 && start <= r_end && start <= d_end
            }
        }
    }
}

/// Number of ghost batches of `ghost` rows in a batch: a last one of a single row joins the one before.
pub(crate) const fn ghosts(rows: usize, ghost: usize) -> usize {
    let count = rows.saturating_sub(1).div_ceil(ghost);
    if count == 0 { 1 } else { count }
}

/// Batch renormalisation (Ioffe 2017, arXiv 1702.03275): `x̂ = (x - μ_B) / σ_B r + d` with
/// `r = clip(σ_B / σ, 1 / r_max, r_max)` and `d = clip((μ_B - μ) / σ, -d_max, d_max)`, through which no gradient flows;
/// `μ` and `σ = √(v + ε)` are the running statistics, as they are before the step.
///
/// Up to step `start` it is a plain batch norm (`r_max` 1, `d_max` 0); then the limits grow linearly, to `r_max` at step
/// `r_end` and to `d_max` at step `d_end`. Running statistics are a batch norm's: the paper averages deviations, here it is
/// variances, biased or not as the layer says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Renorm {
    /// Limit of the factor in the end, 1 or more.
    pub r_max: f32,
    /// Limit of the shift in the end, 0 or more.
    pub d_max: f32,
    /// Training steps before the limits begin to grow.
    pub start: u32,
    /// Training step from which the limit of the factor is `r_max`.
    pub r_end: u32,
    /// Training step from which the limit of the shift is `d_max`.
    pub d_end: u32,
}

impl Renorm {
    /// The paper's values: 3 and 5, from step 5,000 to 40,000 and 25,000.
    pub const PAPER: Self = Self { r_max: 3.0, d_max: 5.0, start: 5_000, r_end: 40_000, d_end: 25_000 };

    /// The limits of `r` and `d` at a training step, computed in `f64` and rounded once.
    #[must_use]
    pub fn limits(&self, step: u64) -> (f32, f32) {
        let start = u64::from(self.start);
        let share = |end: u32| {
            if step < start {
                0.0
            } else if step >= u64::from(end) {
                1.0
            } else {
                (step - start) as f64 / (u64::from(end) - start) as f64
            }
        };
        let r_max = 1.0 + (f64::from(self.r_max) - 1.0) * share(self.r_end);
        (r_max as f32, (f64::from(self.d_max) * share(self.d_end)) as f32)
    }
}

/// Whose conventions a batch norm follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    /// PyTorch: eps 1e-5, momentum 0.1 (share of the new batch), unbiased running variance.
    #[default]
    Torch,
    /// Keras: eps 1e-3, momentum 0.99 (share of the old value, 0.01 here), biased running variance.
    Keras,
}

impl Dialect {
    /// The batch norm of this dialect as it comes.
    #[must_use]
    pub const fn batch_norm(self) -> BatchNorm {
        match self {
            Dialect::Torch => BatchNorm::TORCH,
            Dialect::Keras => BatchNorm::KERAS,
        }
    }

    /// The layer norm of this dialect as it comes.
    #[must_use]
    pub const fn layer_norm(self) -> LayerNorm {
        match self {
            Dialect::Torch => LayerNorm::TORCH,
            Dialect::Keras => LayerNorm::KERAS,
        }
    }
}

impl BatchNorm {
    /// The momentum as Keras writes it, the share of the old value. `1 - (1 - m)` in `f64` gives back every `m` of at
    /// least 2⁻²⁹, so nothing is lost on the way there and back ([`with_keras_momentum`](Self::with_keras_momentum)).
    #[must_use]
    pub fn keras_momentum(&self) -> Option<f64> {
        self.momentum.map(|momentum| 1.0 - f64::from(momentum))
    }

    /// The same with a momentum as Keras writes it.
    #[must_use]
    pub fn with_keras_momentum(mut self, momentum: f64) -> Self {
        self.momentum = Some((1.0 - momentum) as f32);
        self
    }

    /// The factor between the running variances of both dialects, after `batches` batches of `rows` rows each.
    ///
    /// A running variance is `w v₀ + Σ wᵢ vᵢ`: the initial 1, of which `w = (1 - momentum)^batches` is left (0 when all
    /// batches are averaged), and the variances of the batches; those, and only those, differ by `n / (n - 1)`.
    #[must_use]
    fn initial_share(&self, batches: u64) -> f64 {
        match self.momentum {
            Some(momentum) => libm::pow(1.0 - f64::from(momentum), batches as f64),
            None if batches == 0 => 1.0,
            None => 0.0,
        }
    }

    /// A running variance of this layer as the other dialect would have collected it (`unbiased` says which), after
    /// `batches` batches of `rows` rows each; exact but for one rounding, if all had as many rows.
    ///
    /// Only for training to go on as the other library would: in inference both use the value as it is stored, so a
    /// network that is only run must *not* be converted. Fewer than two rows change nothing.
    #[must_use]
    pub fn convert_variance(&self, var: f32, unbiased: bool, rows: usize, batches: u64) -> f32 {
        if rows < 2 || unbiased == self.unbiased {
            return var;
        }
        let n = rows as f64;
        let factor = if unbiased { n / (n - 1.0) } else { (n - 1.0) / n };
        let initial = self.initial_share(batches);
        let collected = (f64::from(var) - initial).max(0.0);
        if collected == 0.0 { var } else { (initial + collected * factor) as f32 }
    }
}

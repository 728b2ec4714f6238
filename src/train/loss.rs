//! Losses with their gradients: one pass over the rows gives loss, gradient and hit of each.
//!
//! Every loss is the mean over the batch, as PyTorch's `reduction="mean"` and Keras' default; those over several outputs
//! (the middle part of the table) are the mean over the outputs too. `z` is an output, `t` its target, `d = z - t`,
//! `p` the softmax or sigmoid of the outputs, `y` the row's class.
//!
//! | text | loss of a row | PyTorch | Keras | targets | network ends with |
//! |---|---|---|---|---|---|
//! | `cross_entropy(smoothing=0)` | `-log p[y]` | `CrossEntropyLoss` | `SparseCategoricalCrossentropy` | classes | logits |
//! | `soft_cross_entropy(smoothing=0)` | `-Σ t log p` | `CrossEntropyLoss` on probabilities | `CategoricalCrossentropy` | one-hot or probabilities | logits |
//! | `kl_div` | `Σ t (log t - log p)` | `KLDivLoss("batchmean")` | `KLDivergence` | probabilities | logits |
//! | `focal(gamma=2, alpha=0.25)` | `-alpha (1 - p[y])^gamma log p[y]` | | `CategoricalFocalCrossentropy` | classes | logits |
//! | `categorical_hinge` | `max(1 - z[y] + max(0, z[i]), 0)`, `i` not `y` | | `CategoricalHinge` | classes | values |
//! | `multi_margin(margin=1)` | `Σ max(margin - z[y] + z[i], 0) / outputs`, `i` not `y` | `MultiMarginLoss(p=1)` | | classes | values |
//! | `squared_multi_margin(margin=1)` | the terms squared | `MultiMarginLoss(p=2)` | | classes | values |
//! | `cosine_similarity` | `-cos(z, t)` | | `CosineSimilarity` | values | values |
//! | `cosine_embedding` | `1 - cos(z, t)` | `CosineEmbeddingLoss`, its target 1 | | values | values |
//! | `bce(smoothing=0)` | `-t log p - (1 - t) log (1 - p)` | `BCEWithLogitsLoss` | `BinaryCrossentropy` | 0 to 1 | logits |
//! | `binary_focal(gamma=2, alpha=none)` | that, times `(t (1 - p) + (1 - t) p)^gamma`; with `alpha` times `alpha t + (1 - alpha) (1 - t)` | `torchvision.ops.sigmoid_focal_loss` | `BinaryFocalCrossentropy` | 0 to 1 | logits |
//! | `hinge` | `max(1 - y z, 0)`, `y` = ±1 | | `Hinge` | -1 or 0, and 1 | values |
//! | `squared_hinge` | that, squared | | `SquaredHinge` | -1 or 0, and 1 | values |
//! | `soft_margin` | `log(1 + e^(-y z))`, `y` = ±1 | `SoftMarginLoss` | | -1 or 0, and 1 | logits |
//! | `mse` | `d²` | `MSELoss` | `MeanSquaredError` | values | values |
//! | `mae` | the size of `d` | `L1Loss` | `MeanAbsoluteError` | values | values |
//! | `huber(delta=1)` | `d² / 2` up to `delta`, then `delta (abs d - delta / 2)` | `HuberLoss` | `Huber` | values | values |
//! | `smooth_l1(beta=1)` | `d² / (2 beta)` up to `beta`, then `abs d - beta / 2` | `SmoothL1Loss` | | values | values |
//! | `log_cosh` | `log cosh d` | | `LogCosh` | values | values |
//! | `mape` | `100 abs d / max(abs t, 1e-7)` | | `MeanAbsolutePercentageError` | values, best none near 0 | values |
//! | `msle` | `(log(1 + max(z, 1e-7)) - log(1 + max(t, 1e-7)))²` | | `MeanSquaredLogarithmicError` | 0 or more | positive values, as of softplus |
//! | `quantile(tau=0.5)` | `-tau d` below the target, `(1 - tau) d` above | | | values | values |
//! | `poisson` | `e^z - t z` | `PoissonNLLLoss` | | 0 or more | logarithms of rates |
//! | `poisson_full` | that plus `t log t - t + log(2 π t) / 2` where `t > 1` | `PoissonNLLLoss(full=True)` | | 0 or more | logarithms of rates |
//! | `poisson_rate(eps=1e-8)` | `z - t log(z + eps)` | `PoissonNLLLoss(log_input=False)` | `Poisson`, `eps=1e-7` | 0 or more | rates, as of softplus |
//! | `poisson_rate_full(eps=1e-8)` | that plus the same | `PoissonNLLLoss(log_input=False, full=True)` | | 0 or more | rates |
//!
//! Focal: Lin et al. 2017. Huber 1964. Quantile (pinball) loss: Koenker and Bassett 1978. Multi-margin: Crammer and Singer
//! 2001, Weston and Watkins 1999. What `full` adds is Stirling's approximation of `log t!`: it changes the loss, not its
//! gradient. Label smoothing: Szegedy et al. 2016. The bounds of 1e-7 are Keras' `epsilon()`: outputs up to it have no gradient
//! under `msle`. Where two branches of a loss meet in a kink, the gradient is 0 or that of one of them.
//!
//! Hits (accuracy): with a class, whether the largest output is its own; of distributions, whether output and target are
//! largest at the same place; of `bce`, `binary_focal`, the two hinges and `soft_margin`, the share of outputs on their target's side, above
//! 0 for a target above 1/2. The others have none ([`Loss::has_accuracy`]).
//!
//! ```
//! use evenkeel::Loss;
//!
//! let loss: Loss = "huber(1.5)".parse()?;
//! assert_eq!(loss, Loss::Huber { delta: 1.5 });
//! assert_eq!("focal".parse::<Loss>()?, Loss::Focal { gamma: 2.0, alpha: 0.25 });
//! assert!(Loss::CrossEntropy.takes_classes() && !loss.has_accuracy());
//! # Ok::<(), evenkeel::Error>(())
//! ```

mod classes;
mod evaluate;
mod standard;
mod targets;
mod terms;
mod text;
mod whole;

pub(crate) use evaluate::evaluate;
pub use standard::best;
#[cfg(feature = "alloc")]
pub(crate) use targets::Goal;
pub use targets::{Mean, Mixed, Targets, Weighted};
pub use text::NAMES;

/// What training minimises; the [module](self) has their formulae, defaults and names elsewhere.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Loss {
    /// Softmax and cross-entropy with one class index per row; the network ends with plain logits.
    CrossEntropy,
    /// Sigmoid and binary cross-entropy per output; targets from 0 to 1, the network ends with plain logits.
    BinaryCrossEntropy,
    /// Mean of the squared differences over all outputs.
    MeanSquaredError,
    /// [`CrossEntropy`](Loss::CrossEntropy) with a target of `1 - smoothing` for the class and `smoothing / outputs` for
    /// each.
    SmoothedCrossEntropy {
        /// From 0 to below 1.
        smoothing: f32,
    },
    /// [`BinaryCrossEntropy`](Loss::BinaryCrossEntropy) with targets `t (1 - smoothing) + smoothing / 2`, as Keras.
    SmoothedBinaryCrossEntropy {
        /// From 0 to below 1.
        smoothing: f32,
    },
    /// Softmax and cross-entropy with a row of probabilities (or one-hot) per row, smoothed as the former.
    SoftCrossEntropy {
        /// From 0 to below 1.
        smoothing: f32,
    },
    /// Kullback and Leibler's divergence of the outputs' softmax from a row of probabilities. The network ends with plain
    /// logits; log-probabilities give the same, so a log-softmax at the end is left out.
    KlDivergence,
    /// Softmax and focal cross-entropy with one class index per row.
    Focal {
        /// How little easy rows count; 0 or more.
        gamma: f32,
        /// Factor of the loss; positive.
        alpha: f32,
    },
    /// Sigmoid and focal cross-entropy per output.
    BinaryFocal {
        /// How little easy outputs count; 0 or more.
        gamma: f32,
        /// Weight of targets of 1, from 0 to 1; those of 0 have the rest. `None` weighs all the same.
        alpha: Option<f32>,
    },
    /// Mean of the sizes of the differences.
    MeanAbsoluteError,
    /// Squares up to `delta`, lines beyond.
    Huber {
        /// Positive.
        delta: f32,
    },
    /// Squares up to `beta`, lines of slope 1 beyond.
    SmoothL1 {
        /// Positive.
        beta: f32,
    },
    /// `log cosh` of the differences.
    LogCosh,
    /// Keras': mean of the differences' sizes in percent of the targets', which count as at least 1e-7.
    MeanAbsolutePercentageError,
    /// Keras': mean of the squared differences of `log(1 + x)`, outputs and targets being at least 1e-7. An output up to that
    /// has no gradient, so the network should end with positive values.
    MeanSquaredLogarithmicError,
    /// The pinball loss, smallest at the `tau`-quantile of the targets.
    Quantile {
        /// Between 0 and 1.
        tau: f32,
    },
    /// Poisson's log-likelihood, the outputs being logarithms of rates.
    Poisson,
    /// The same with Stirling's approximation of the part that the outputs do not change (PyTorch's `full=True`).
    PoissonFull,
    /// Poisson's log-likelihood, the outputs being rates.
    PoissonRate {
        /// Added to the rate under the logarithm; positive.
        eps: f32,
    },
    /// The same with Stirling's approximation of the part that the outputs do not change (PyTorch's `full=True`).
    PoissonRateFull {
        /// Added to the rate under the logarithm; positive.
        eps: f32,
    },
    /// The margin loss of outputs with targets ±1 (0 counts as -1).
    Hinge,
    /// Its square.
    SquaredHinge,
    /// PyTorch's margin loss without a kink, that of logistic regression; targets ±1 (0 counts as -1). The network ends with
    /// plain logits.
    SoftMargin,
    /// Keras' margin between a class and its nearest rival.
    CategoricalHinge,
    /// PyTorch's margin between a class and all others, `p = 1`.
    MultiMargin {
        /// The margin.
        margin: f32,
    },
    /// PyTorch's margin between a class and all others, `p = 2`.
    SquaredMultiMargin {
        /// The margin.
        margin: f32,
    },
    /// Keras': minus the cosine of the angle between outputs and targets.
    CosineSimilarity,
    /// PyTorch's for pairs that belong together: one minus the cosine.
    CosineEmbedding,
}

/// What a loss contains: the function that turns the outputs of its network into probabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Softmax over the row.
    Softmax,
    /// Sigmoid of each output.
    Sigmoid,
    /// None: outputs are what they are.
    None,
}

impl Loss {
    /// Whether targets are class indices; else they are values, one per output.
    #[must_use]
    pub const fn takes_classes(&self) -> bool {
        matches!(
            self,
            Loss::CrossEntropy
                | Loss::SmoothedCrossEntropy { .. }
                | Loss::Focal { .. }
                | Loss::CategoricalHinge
                | Loss::MultiMargin { .. }
                | Loss::SquaredMultiMargin { .. }
        )
    }

    /// Whether each output tells two things apart: two classes may be the 0 and the 1 of a single one.
    #[must_use]
    pub const fn is_binary(&self) -> bool {
        matches!(
            self,
            Loss::BinaryCrossEntropy
                | Loss::SmoothedBinaryCrossEntropy { .. }
                | Loss::BinaryFocal { .. }
                | Loss::Hinge
                | Loss::SquaredHinge
                | Loss::SoftMargin
        )
    }

    /// What turns outputs into probabilities.
    #[must_use]
    pub const fn link(&self) -> Link {
        match self {
            Loss::CrossEntropy
            | Loss::SmoothedCrossEntropy { .. }
            | Loss::SoftCrossEntropy { .. }
            | Loss::KlDivergence
            | Loss::Focal { .. } => Link::Softmax,
            Loss::BinaryCrossEntropy
            | Loss::SmoothedBinaryCrossEntropy { .. }
            | Loss::BinaryFocal { .. }
            | Loss::SoftMargin => Link::Sigmoid,
            _ => Link::None,
        }
    }

    /// Whether accuracy means something beside this loss.
    #[must_use]
    pub const fn has_accuracy(&self) -> bool {
        self.takes_classes() || self.is_binary() || matches!(self.link(), Link::Softmax)
    }

    /// Whether every build has it, also without the feature `toolbox`.
    #[must_use]
    pub const fn is_basic(&self) -> bool {
        matches!(self, Loss::CrossEntropy | Loss::BinaryCrossEntropy | Loss::MeanSquaredError)
    }

    /// Whether a value may be a target.
    #[must_use]
    pub fn takes(&self, target: f32) -> bool {
        match self {
            Loss::BinaryCrossEntropy
            | Loss::SmoothedBinaryCrossEntropy { .. }
            | Loss::SoftCrossEntropy { .. }
            | Loss::KlDivergence
            | Loss::BinaryFocal { .. } => (0.0..=1.0).contains(&target),
            Loss::Hinge | Loss::SquaredHinge | Loss::SoftMargin => matches!(target, -1.0 | 0.0 | 1.0),
            Loss::MeanSquaredLogarithmicError
            | Loss::Poisson
            | Loss::PoissonFull
            | Loss::PoissonRate { .. }
            | Loss::PoissonRateFull { .. } => target >= 0.0,
            _ => true,
        }
    }

    /// Whether targets between two others are targets too, so that rows can be mixed.
    #[must_use]
    pub const fn mixes(&self) -> bool {
        !matches!(self, Loss::Hinge | Loss::SquaredHinge | Loss::SoftMargin)
    }

    /// Whether the loss's own figures are in their range.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        let positive = |value: f32| value > 0.0 && value.is_finite();
        match *self {
            Loss::SmoothedCrossEntropy { smoothing }
            | Loss::SmoothedBinaryCrossEntropy { smoothing }
            | Loss::SoftCrossEntropy { smoothing } => (0.0..1.0).contains(&smoothing),
            Loss::Focal { gamma, alpha } => (0.0..=1e3).contains(&gamma) && positive(alpha),
            Loss::BinaryFocal { gamma, alpha } => {
                (0.0..=1e3).contains(&gamma) && alpha.is_none_or(|alpha| (0.0..=1.0).contains(&alpha))
            }
            Loss::Huber { delta: size }
            | Loss::SmoothL1 { beta: size }
            | Loss::PoissonRate { eps: size }
            | Loss::PoissonRateFull { eps: size } => positive(size),
            Loss::Quantile { tau } => tau > 0.0 && tau < 1.0,
            Loss::MultiMargin { margin } | Loss::SquaredMultiMargin { margin } => margin.is_finite(),
            _ => true,
        }
    }

    /// The loss with label smoothing: cross-entropy and binary cross-entropy have it, as in PyTorch and Keras.
    #[must_use]
    pub const fn smoothed(self, smoothing: f32) -> Option<Self> {
        match self {
            Loss::CrossEntropy | Loss::SmoothedCrossEntropy { .. } if smoothing == 0.0 => Some(Loss::CrossEntropy),
            Loss::BinaryCrossEntropy | Loss::SmoothedBinaryCrossEntropy { .. } if smoothing == 0.0 => {
                Some(Loss::BinaryCrossEntropy)
            }
            Loss::CrossEntropy | Loss::SmoothedCrossEntropy { .. } => Some(Loss::SmoothedCrossEntropy { smoothing }),
            Loss::BinaryCrossEntropy | Loss::SmoothedBinaryCrossEntropy { .. } => {
                Some(Loss::SmoothedBinaryCrossEntropy { smoothing })
            }
            Loss::SoftCrossEntropy { .. } => Some(Loss::SoftCrossEntropy { smoothing }),
            _ => None,
        }
    }
}

/// Sum of the rows' losses and hits.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Score {
    /// Sum over the rows of each row's loss (for losses over several outputs, its mean over the outputs).
    pub loss: f64,
    /// Rows (or shares of a row) predicted right.
    pub hits: f64,
    /// Rows.
    pub rows: u64,
}

impl Score {
    /// Mean loss of a row.
    #[must_use]
    pub fn mean_loss(&self) -> f64 {
        self.loss / self.rows as f64
    }

    /// Share of hits.
    #[must_use]
    pub fn accuracy(&self) -> f64 {
        self.hits / self.rows as f64
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self { loss: self.loss + other.loss, hits: self.hits + other.hits, rows: self.rows + other.rows }
    }
}

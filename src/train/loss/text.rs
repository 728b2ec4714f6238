//! Losses as text: `mse`, `huber(1.5)`, `focal(gamma=2, alpha=0.25)`.
//!
//! Arguments stand in parentheses, by position or by name; those left out have their default.

use core::fmt;
use core::str::FromStr;

use super::Loss;
use crate::error::Error;

/// Names of the losses, as [`Loss`] is written and read, each with its arguments at their defaults.
pub const NAMES: [(&str, Loss); 26] = [
    ("cross_entropy", Loss::CrossEntropy),
    ("soft_cross_entropy", Loss::SoftCrossEntropy { smoothing: 0.0 }),
    ("bce", Loss::BinaryCrossEntropy),
    ("mse", Loss::MeanSquaredError),
    ("mae", Loss::MeanAbsoluteError),
    ("huber", Loss::Huber { delta: 1.0 }),
    ("smooth_l1", Loss::SmoothL1 { beta: 1.0 }),
    ("log_cosh", Loss::LogCosh),
    ("mape", Loss::MeanAbsolutePercentageError),
    ("msle", Loss::MeanSquaredLogarithmicError),
    ("quantile", Loss::Quantile { tau: 0.5 }),
    ("poisson", Loss::Poisson),
    ("poisson_full", Loss::PoissonFull),
    ("poisson_rate", Loss::PoissonRate { eps: 1e-8 }),
    ("poisson_rate_full", Loss::PoissonRateFull { eps: 1e-8 }),
    ("kl_div", Loss::KlDivergence),
    ("focal", Loss::Focal { gamma: 2.0, alpha: 0.25 }),
    ("binary_focal", Loss::BinaryFocal { gamma: 2.0, alpha: None }),
    ("hinge", Loss::Hinge),
    ("squared_hinge", Loss::SquaredHinge),
    ("soft_margin", Loss::SoftMargin),
    ("categorical_hinge", Loss::CategoricalHinge),
    ("multi_margin", Loss::MultiMargin { margin: 1.0 }),
    ("squared_multi_margin", Loss::SquaredMultiMargin { margin: 1.0 }),
    ("cosine_similarity", Loss::CosineSimilarity),
    ("cosine_embedding", Loss::CosineEmbedding),
];

impl Loss {
    /// The loss's name, without its arguments.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Loss::CrossEntropy | Loss::SmoothedCrossEntropy { .. } => "cross_entropy",
            Loss::SoftCrossEntropy { .. } => "soft_cross_entropy",
            Loss::BinaryCrossEntropy | Loss::SmoothedBinaryCrossEntropy { .. } => "bce",
            Loss::MeanSquaredError => "mse",
            Loss::MeanAbsoluteError => "mae",
            Loss::Huber { .. } => "huber",
            Loss::SmoothL1 { .. } => "smooth_l1",
            Loss::LogCosh => "log_cosh",
            Loss::MeanAbsolutePercentageError => "mape",
            Loss::MeanSquaredLogarithmicError => "msle",
            Loss::Quantile { .. } => "quantile",
            Loss::Poisson => "poisson",
            Loss::PoissonFull => "poisson_full",
            Loss::PoissonRate { .. } => "poisson_rate",
            Loss::PoissonRateFull { .. } => "poisson_rate_full",
            Loss::KlDivergence => "kl_div",
            Loss::Focal { .. } => "focal",
            Loss::BinaryFocal { .. } => "binary_focal",
            Loss::Hinge => "hinge",
            Loss::SquaredHinge => "squared_hinge",
            Loss::SoftMargin => "soft_margin",
            Loss::CategoricalHinge => "categorical_hinge",
            Loss::MultiMargin { .. } => "multi_margin",
            Loss::SquaredMultiMargin { .. } => "squared_multi_margin",
            Loss::CosineSimilarity => "cosine_similarity",
            Loss::CosineEmbedding => "cosine_embedding",
        }
    }

    /// The loss's arguments and their values; the second may be left out for none.
    const fn arguments(&self) -> [Option<(&'static str, Option<f32>)>; 2] {
        match *self {
            Loss::SmoothedCrossEntropy { smoothing }
            | Loss::SmoothedBinaryCrossEntropy { smoothing }
            | Loss::SoftCrossEntropy { smoothing } => [Some(("smoothing", Some(smoothing))), None],
            Loss::CrossEntropy | Loss::BinaryCrossEntropy => [Some(("smoothing", None)), None],
            Loss::Huber { delta } => [Some(("delta", Some(delta))), None],
            Loss::SmoothL1 { beta } => [Some(("beta", Some(beta))), None],
            Loss::Quantile { tau } => [Some(("tau", Some(tau))), None],
            Loss::PoissonRate { eps } | Loss::PoissonRateFull { eps } => [Some(("eps", Some(eps))), None],
            Loss::Focal { gamma, alpha } => [Some(("gamma", Some(gamma))), Some(("alpha", Some(alpha)))],
            Loss::BinaryFocal { gamma, alpha } => [Some(("gamma", Some(gamma))), Some(("alpha", alpha))],
            Loss::MultiMargin { margin } | Loss::SquaredMultiMargin { margin } => {
                [Some(("margin", Some(margin))), None]
            }
            _ => [None, None],
        }
    }

    /// The loss with its first or second argument set.
    fn set(&mut self, argument: usize, value: f32) {
        match (self, argument) {
            (this @ Loss::CrossEntropy, _) => *this = Loss::SmoothedCrossEntropy { smoothing: value },
            (this @ Loss::BinaryCrossEntropy, _) => *this = Loss::SmoothedBinaryCrossEntropy { smoothing: value },
            (
                Loss::SmoothedCrossEntropy { smoothing: to }
                | Loss::SmoothedBinaryCrossEntropy { smoothing: to }
                | Loss::SoftCrossEntropy { smoothing: to }
                | Loss::Huber { delta: to }
                | Loss::SmoothL1 { beta: to }
                | Loss::Quantile { tau: to }
                | Loss::PoissonRate { eps: to }
                | Loss::PoissonRateFull { eps: to }
                | Loss::MultiMargin { margin: to }
                | Loss::SquaredMultiMargin { margin: to },
                _,
            )
            | (Loss::Focal { gamma: to, .. } | Loss::BinaryFocal { gamma: to, .. }, 0)
            | (Loss::Focal { alpha: to, .. }, _) => *to = value,
            (Loss::BinaryFocal { alpha, .. }, _) => *alpha = Some(value),
            _ => {}
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        let mut values = self.arguments().into_iter().flatten().filter_map(|(_, value)| value);
        match (values.next(), values.next()) {
            (None, _) => Ok(()),
            (Some(first), None) => write!(f, "({first})"),
            (Some(first), Some(second)) => write!(f, "({first}, {second})"),
        }
    }
}

impl FromStr for Loss {
    type Err = Error;

    /// Reads a loss as `Display` writes it; `-` may stand for `_` in the name.
    ///
    /// # Errors
    /// [`Error::UnknownLoss`] if there is none of that name, [`Error::LossParameter`] for arguments that it does not have
    /// or that are outside their range.
    fn from_str(text: &str) -> Result<Loss, Error> {
        let (name, rest) = text.split_once('(').map_or((text, None), |(name, rest)| (name, Some(rest)));
        let same = |known: &str| {
            known.len() == name.len()
                && known.bytes().zip(name.bytes()).all(|(a, b)| a == b || (a == b'_' && b == b'-'))
        };
        let (_, mut loss) = *NAMES.iter().find(|(known, _)| same(known)).ok_or(Error::UnknownLoss)?;
        let wrong = Error::LossParameter { loss: loss.name() };
        let Some(rest) = rest else { return Ok(loss) };
        let names = loss.arguments();
        for (at, argument) in rest.strip_suffix(')').ok_or(wrong)?.split(',').enumerate() {
            let (at, value) = match argument.split_once('=') {
                None => (at, argument),
                Some((name, value)) => {
                    let known = |argument: &Option<(&str, _)>| argument.is_some_and(|(known, _)| known == name.trim());
                    (names.iter().position(known).ok_or(wrong)?, value)
                }
            };
            names.get(at).copied().flatten().ok_or(wrong)?;
            loss.set(at, value.trim().parse().map_err(|_| wrong)?);
        }
        if loss.is_valid() { Ok(loss) } else { Err(wrong) }
    }
}

//! Losses, and what is said of targets and inputs beside them.

use std::fmt;
use std::str::FromStr;

use clap::ValueEnum;
use evenkeel::Loss;
use evenkeel::train::Mean;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::TrainOptions;
use crate::error::{Failure, Kind};

/// A loss as the command line and `config.toml` write it: `cross-entropy`, `huber(1.5)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LossName(pub Loss);

impl From<Loss> for LossName {
    fn from(loss: Loss) -> Self {
        Self(loss)
    }
}

impl From<LossName> for Loss {
    fn from(name: LossName) -> Self {
        name.0
    }
}

impl FromStr for LossName {
    type Err = evenkeel::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl fmt::Display for LossName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_string().replace('_', "-"))
    }
}

impl Serialize for LossName {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for LossName {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

/// Names of [`Mean`].
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum MeanName {
    /// The number of rows, as Keras
    #[default]
    Rows,
    /// The sum of the weights, as PyTorch
    Weights,
}

impl From<MeanName> for Mean {
    fn from(name: MeanName) -> Self {
        match name {
            MeanName::Rows => Mean::Rows,
            MeanName::Weights => Mean::Weights,
        }
    }
}

impl TrainOptions {
    /// What weighted losses are divided by.
    #[must_use]
    pub fn mean(&self) -> Mean {
        self.weight_mean.unwrap_or_default().into()
    }

    /// The loss with the label smoothing asked for.
    ///
    /// # Errors
    /// [`Kind::Usage`] for a loss that has none, or a share outside its range.
    pub fn smoothed(&self, loss: Loss) -> Result<Loss, Failure> {
        let Some(smoothing) = self.label_smoothing else { return Ok(loss) };
        let fails = |message: String| Err(Failure::new(Kind::Usage, message));
        match loss.smoothed(smoothing) {
            Some(loss) if loss.is_valid() => Ok(loss),
            Some(_) => fails(format!("--label-smoothing {smoothing} is a share: from 0 to below 1")),
            None if smoothing == 0.0 => Ok(loss),
            None => fails(format!(
                "--label-smoothing belongs to cross-entropy, soft-cross-entropy and bce, the loss is {}",
                LossName(loss)
            )),
        }
    }

    /// The weight of each class; `balanced` says what makes all equal. Classes that are not named weigh 1.
    ///
    /// # Errors
    /// [`Kind::Usage`] for a class that there is not, or a weight that is none.
    pub fn class_weights(
        &self,
        classes: &[String],
        balanced: impl FnOnce() -> Vec<f32>,
    ) -> Result<Option<Vec<f32>>, Failure> {
        let Some(text) = self.class_weight.as_deref() else { return Ok(None) };
        let fails = |message: String| Err(Failure::new(Kind::Usage, format_args!("--class-weight {text}: {message}")));
        if classes.is_empty() {
            return fails("the targets are values, not classes".into());
        }
        if text.trim() == "balanced" {
            return Ok(Some(balanced()));
        }
        let mut weights = vec![1.0; classes.len()];
        let mut seen = vec![false; classes.len()];
        for part in text.split(',') {
            let Some((name, weight)) = part.rsplit_once(':') else {
                return fails("expected balanced, or CLASS:WEIGHT for each class, with commas".into());
            };
            let name = name.trim();
            let Some(class) = classes.iter().position(|class| class == name) else {
                return fails(format!("there is no class {name}; the classes are {}", classes.join(", ")));
            };
            match weight.trim().parse::<f32>() {
                Ok(weight) if weight >= 0.0 && weight.is_finite() => weights[class] = weight,
                _ => return fails(format!("{:?} is no weight: 0 or a positive number", weight.trim())),
            }
            if std::mem::replace(&mut seen[class], true) {
                return fails(format!("class {name} is named twice"));
            }
        }
        Ok(Some(weights))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_survive_the_file() {
        for text in ["cross-entropy", "cross-entropy(0.1)", "huber(1.5)", "binary-focal(2, 0.25)", "mse"] {
            let options = TrainOptions { loss: Some(text.parse().unwrap()), ..TrainOptions::default() };
            let toml = toml::to_string(&options).unwrap();
            assert_eq!(toml, format!("loss = \"{text}\"\n"));
            assert_eq!(toml::from_str::<TrainOptions>(&toml).unwrap(), options);
        }
        assert_eq!("cross_entropy".parse::<LossName>().unwrap().0, Loss::CrossEntropy);
        assert!(toml::from_str::<TrainOptions>("loss = \"huber(0)\"").is_err());
    }

    #[test]
    fn smoothing_and_class_weights() {
        let options = |smoothing, weights: Option<&str>| TrainOptions {
            label_smoothing: smoothing,
            class_weight: weights.map(String::from),
            ..TrainOptions::default()
        };
        let smoothed = |smoothing, loss| options(Some(smoothing), None).smoothed(loss);
        let tenth = Loss::SmoothedCrossEntropy { smoothing: 0.1 };
        assert_eq!(smoothed(0.1, Loss::CrossEntropy).unwrap(), tenth);
        assert_eq!(smoothed(0.0, tenth).unwrap(), Loss::CrossEntropy);
        assert_eq!(options(None, None).smoothed(tenth).unwrap(), tenth);
        assert!(smoothed(1.0, Loss::CrossEntropy).is_err() && smoothed(0.1, Loss::MeanSquaredError).is_err());
        let classes: Vec<String> = ["no", "yes", "a:b"].map(String::from).to_vec();
        let weights = |text| options(None, Some(text)).class_weights(&classes, || vec![9.0]).map(Option::unwrap);
        assert_eq!(weights("yes:3").unwrap(), [1.0, 3.0, 1.0]);
        assert_eq!(weights("a:b:0, no:2.5").unwrap(), [2.5, 1.0, 0.0]);
        assert_eq!(weights("balanced").unwrap(), [9.0]);
        for wrong in ["", "yes", "maybe:1", "yes:-1", "yes:x", "yes:1,yes:2", "no:nan"] {
            assert!(weights(wrong).is_err(), "{wrong}");
        }
        assert!(options(None, Some("0:1")).class_weights(&[], Vec::new).is_err());
    }
}

//! The options that are texts of the library: optimiser, schedule, constraint, layer-wise rates.

use std::fmt::Display;

use evenkeel::train::{Constraint, LayerRates};
use evenkeel::{Optimizer, Schedule};

use super::TrainOptions;
use crate::error::{Failure, Kind};

/// SGD's momentum, unless the options or the text of the optimiser say otherwise.
const MOMENTUM: f32 = 0.9;

/// The same options with every default filled in.
pub(super) struct Recipe {
    pub(super) optimizer: Option<String>,
    pub(super) momentum: Option<f32>,
    pub(super) nesterov: Option<bool>,
    pub(super) weight_decay: f32,
    pub(super) schedule: String,
    pub(super) constraint: String,
}

fn refused(option: &str, text: &str, problem: impl Display) -> Failure {
    Failure::new(Kind::Usage, format_args!("--{option} {text}: {problem}"))
}

impl TrainOptions {
    fn optimizer_text(&self) -> &str {
        self.optimizer.as_deref().unwrap_or("adam")
    }

    /// The optimiser, and the decoupled decay that is not its own.
    ///
    /// `--momentum` and `--nesterov` are SGD's; `--weight-decay` is the optimiser's own if it has one.
    pub(super) fn optimizer(&self) -> Result<(Optimizer, f32), Failure> {
        let text = self.optimizer_text();
        let mut optimizer: Optimizer = text.parse().map_err(|error| refused("optimizer", text, error))?;
        let mut outside = 0.0;
        if let Optimizer::Sgd { momentum, nesterov } = &mut optimizer {
            if let Some(value) = self.momentum {
                *momentum = value;
            } else if !text.contains('(') {
                *momentum = MOMENTUM;
            }
            *nesterov = self.nesterov.unwrap_or(*nesterov);
        } else if self.momentum.is_some() || self.nesterov.is_some() {
            let message = "--momentum and --nesterov belong to --optimizer sgd; others take theirs in parentheses";
            return Err(Failure::new(Kind::Usage, message));
        }
        if let Some(value) = self.weight_decay {
            match &mut optimizer {
                Optimizer::AdamW { weight_decay, .. }
                | Optimizer::Lamb { weight_decay, .. }
                | Optimizer::ScheduleFree { weight_decay, .. } => *weight_decay = value,
                _ => outside = value,
            }
        }
        Ok((optimizer, outside))
    }

    pub(super) fn lr(&self) -> f32 {
        self.lr.unwrap_or_else(|| self.optimizer().map_or(0.001, |(optimizer, _)| optimizer.usual_rate()))
    }

    /// Whether two options name the same optimiser; its momentum and decay may differ.
    pub(super) fn same_optimizer(&self, other: &Self) -> bool {
        let read = |options: &Self| options.optimizer_text().parse::<Optimizer>().ok();
        read(self).is_some_and(|ours| read(other) == Some(ours))
    }

    pub(super) fn schedule(&self) -> Result<Schedule, Failure> {
        let text = self.schedule.as_deref().unwrap_or("constant");
        text.parse().map_err(|error| refused("schedule", text, error))
    }

    pub(super) fn constraint(&self) -> Result<Constraint, Failure> {
        if let Some(limit) = self.max_norm {
            let constraint = Constraint::MaxNorm(limit);
            return match constraint.mistake() {
                None => Ok(constraint),
                Some(mistake) => Err(refused("max-norm", &limit.to_string(), mistake)),
            };
        }
        let text = self.constraint.as_deref().unwrap_or("none");
        text.parse().map_err(|error| refused("constraint", text, error))
    }

    /// `0=0.1,3..6=0.5`
    pub(super) fn layer_rates(&self) -> Result<LayerRates, Failure> {
        let text = self.layer_lr.as_deref().unwrap_or("");
        let mut rates = LayerRates::ONE;
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let wrong = || {
                let most = LayerRates::MOST;
                let message =
                    format!("expected layers and factors as in 0=0.1,3..6=0.5, at most {most} of them, not {part:?}");
                refused("layer-lr", text, message)
            };
            let (layers, factor) = part.split_once('=').ok_or_else(wrong)?;
            let (first, end) = match layers.split_once("..") {
                Some((first, end)) => (first.trim().parse().ok(), end.trim().parse().ok()),
                None => {
                    let layer: Option<usize> = layers.trim().parse().ok();
                    (layer, layer.and_then(|layer| layer.checked_add(1)))
                }
            };
            let factor: Option<f32> =
                factor.trim().parse().ok().filter(|factor: &f32| *factor >= 0.0 && factor.is_finite());
            let (Some(first), Some(end), Some(factor)) = (first, end, factor) else { return Err(wrong()) };
            rates = rates.with(first, end, factor).ok_or_else(wrong)?;
        }
        Ok(rates)
    }

    /// Refuses texts that cannot be read.
    pub(super) fn check_recipe(&self) -> Result<(), Failure> {
        self.optimizer()?;
        self.schedule()?;
        self.constraint()?;
        self.layer_rates().map(drop)
    }

    /// The texts that [`resolved`](Self::resolved) writes, of options that [`check`](Self::check) has accepted.
    pub(super) fn recipe_texts(&self) -> Recipe {
        let (optimizer, outside) = self.optimizer().unwrap_or((Optimizer::ADAM, 0.0));
        let (mut written, mut momentum, mut nesterov, mut weight_decay) = (optimizer, None, None, outside);
        match &mut written {
            // What has an option of its own is written there.
            Optimizer::Sgd { momentum: share, nesterov: ahead } => {
                (momentum, nesterov) = (Some(*share), Some(*ahead));
                (*share, *ahead) = (0.0, false);
            }
            Optimizer::AdamW { weight_decay: decay, .. } => (weight_decay, *decay) = (*decay, 0.01),
            Optimizer::Lamb { weight_decay: decay, .. } => (weight_decay, *decay) = (*decay, 0.01),
            Optimizer::ScheduleFree { weight_decay: decay, .. } => (weight_decay, *decay) = (*decay, 0.0),
            _ => {}
        }
        Recipe {
            optimizer: Some(written.to_string()),
            momentum,
            nesterov,
            weight_decay,
            schedule: self.schedule().unwrap_or_default().to_string(),
            constraint: self.constraint().unwrap_or_default().to_string(),
        }
    }
}

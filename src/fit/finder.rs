//! The learning-rate finder: a few steps under a rate that grows exponentially until the loss diverges.
//!
//! Smith: Cyclical learning rates for training neural networks (WACV 2017); the ramp, the smoothing, the end and the two
//! suggestions are those of fastai's `lr_find`.

use alloc::vec::Vec;
use core::ops::ControlFlow;

use super::observer::{BatchEnd, Observer};
use super::{FitError, Monitor, Run, Trainer};
use crate::data::View;
use crate::model::Mlp;
use crate::split::Split;
use crate::train::Schedule;

/// How rates are tried.
///
/// ```
/// use evenkeel::fit::RateSearch;
/// use evenkeel::{Dataset, Init, Labels, Loss, Mlp, Serial, Trainer};
///
/// let inputs: Vec<f32> = (0..256).map(|i| (i % 17) as f32 / 8.0 - 1.0).collect();
/// let data = Dataset { labels: Labels::Values(inputs.iter().map(|x| 3.0 * x).collect()), inputs, features: 1 };
/// let mut net = Mlp::input(1).dense(1).build()?;
/// net.init(Init::HeNormal, 1);
/// let curve = RateSearch::default().run(&net, &Trainer::new(Loss::MeanSquaredError), data.view()?, &Serial)?;
/// assert!(curve.points.len() > 50 && curve.steepest().is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateSearch {
    /// Rate of the first step; 1e-7 by default.
    pub lowest: f32,
    /// Rate of the last step, if the loss does not diverge before; 10 by default.
    pub highest: f32,
    /// Steps; 100 by default.
    pub steps: u32,
    /// Share of the past in the smoothed loss, from 0 to below 1; 0.98 by default.
    pub smoothing: f64,
    /// The search ends when the smoothed loss is this many times its lowest; 4 by default.
    pub divergence: f64,
}

impl Default for RateSearch {
    fn default() -> Self {
        Self { lowest: 1e-7, highest: 10.0, steps: 100, smoothing: 0.98, divergence: 4.0 }
    }
}

/// A step of the search.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RatePoint {
    /// Its rate.
    pub lr: f32,
    /// The batch's loss before it.
    pub loss: f64,
    /// Mean of the losses so far that forgets: `Σ (1 - s) s^(n - i) loss_i / (1 - s^n)`.
    pub smoothed: f64,
}

/// What the steps came to: an [`Observer`] that sets the rate of every step and ends the run.
#[derive(Clone, Debug, PartialEq)]
pub struct RateCurve {
    /// The steps in order.
    pub points: Vec<RatePoint>,
    /// Whether the loss diverged before the highest rate.
    pub diverged: bool,
    search: RateSearch,
    sum: f64,
    best: f64,
}

impl RateSearch {
    /// Tries rates on a copy of the network, with the trainer's optimiser, batches, order and seed, without its schedule and
    /// early stopping. Where the data has fewer batches than the search has steps, epochs follow each other.
    ///
    /// # Errors
    /// [`FitError::Parameter`] for a search outside its range, and as [`Run::advance`]; divergence is no error but the end.
    pub fn run<P: Split>(
        &self,
        model: &Mlp,
        trainer: &Trainer,
        train: View<'_>,
        split: &P,
    ) -> Result<RateCurve, FitError> {
        self.check()?;
        let trainer = Trainer {
            schedule: Schedule::Constant,
            warmup_epochs: 0.0,
            epochs: self.steps,
            early_stopping: None,
            monitor: Monitor::Loss,
            restore_best: false,
            ..*trainer
        };
        let mut run = Run::new(model.clone(), trainer)?;
        let mut curve = self.observer();
        match run.advance(train, None, split, &mut curve) {
            Ok(_) => {}
            Err(FitError::NonFinite { .. }) => curve.diverged = true,
            Err(error) => return Err(error),
        }
        Ok(curve)
    }

    /// The observer alone, for a run of the caller's own.
    #[must_use]
    pub fn observer(&self) -> RateCurve {
        RateCurve { points: Vec::new(), diverged: false, search: *self, sum: 0.0, best: f64::INFINITY }
    }

    /// The rate of a step: `lowest (highest / lowest)^(step / (steps - 1))`.
    #[must_use]
    pub fn rate(&self, step: u64) -> f32 {
        let (low, high) = (f64::from(self.lowest), f64::from(self.highest));
        if step + 1 >= u64::from(self.steps) {
            return self.highest;
        }
        let share = step as f64 / (f64::from(self.steps) - 1.0);
        (low * libm::pow(high / low, share)) as f32
    }

    fn check(&self) -> Result<(), FitError> {
        let fails = |what| Err(FitError::Parameter { what });
        if !(self.lowest > 0.0 && self.lowest < self.highest && self.highest.is_finite()) {
            return fails("the rates to search must be positive, the lowest below the highest");
        }
        if self.steps < 2 {
            return fails("a search for a learning rate takes at least 2 steps");
        }
        if !(0.0..1.0).contains(&self.smoothing) {
            return fails("the smoothing of the loss must be from 0 to below 1");
        }
        if self.divergence > 1.0 { Ok(()) } else { fails("the loss diverges at more than once its lowest value") }
    }
}

impl Observer for RateCurve {
    fn rate(&mut self, step: u64, _: f32) -> f32 {
        self.search.rate(step)
    }

    fn batch_ends(&mut self, batch: &BatchEnd) -> ControlFlow<()> {
        let keep = self.search.smoothing;
        self.sum = keep * self.sum + (1.0 - keep) * batch.loss;
        let steps = self.points.len() as f64 + 1.0;
        let smoothed = self.sum / (1.0 - libm::pow(keep, steps));
        self.points.push(RatePoint { lr: batch.lr, loss: batch.loss, smoothed });
        self.best = self.best.min(smoothed);
        self.diverged = smoothed > self.search.divergence * self.best;
        if self.diverged || self.points.len() >= self.search.steps as usize {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}

impl RateCurve {
    /// Without the first tenth of the search, whose smoothed loss has seen too little.
    fn settled(&self) -> &[RatePoint] {
        self.points.get(self.search.steps as usize / 10..).unwrap_or_default()
    }

    /// The rate at which the smoothed loss falls fastest over the logarithm of the rate (fastai's `steep`). `None` if it
    /// never falls.
    #[must_use]
    pub fn steepest(&self) -> Option<f32> {
        let slope = |pair: &[RatePoint]| match pair {
            [a, b] => (b.smoothed - a.smoothed) / (libm::log(f64::from(b.lr)) - libm::log(f64::from(a.lr))),
            _ => f64::NAN,
        };
        let falls = self.settled().windows(2).map(|pair| (slope(pair), pair[0].lr)).filter(|(slope, _)| *slope < 0.0);
        falls.reduce(|best, next| if next.0 < best.0 { next } else { best }).map(|(_, lr)| lr)
    }

    /// A tenth of the rate at which the smoothed loss is lowest (fastai's `minimum`). `None` after too few steps.
    #[must_use]
    pub fn tenth_of_lowest(&self) -> Option<f32> {
        let lowest = self.settled().iter().reduce(|best, next| if next.smoothed < best.smoothed { next } else { best });
        lowest.map(|point| point.lr / 10.0)
    }
}

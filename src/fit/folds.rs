//! Cross-validation: a model for each fold, scored on the rows that it has never seen.

use alloc::vec::Vec;
use core::ops::ControlFlow;

use super::{Event, FitError, History, Run, Trainer};
use crate::data::{Dataset, others};
use crate::error::Error;
use crate::model::{Mlp, Standardize};
use crate::split::Split;
use crate::train::Score;

/// How the rows of a fold are used.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CrossValidation {
    /// Whether mean and deviation of the inputs are learned, from the training rows of each fold only.
    pub standardize: bool,
    /// Share of the training rows that early stopping looks at, so that the rows held out stay unseen; 0.1 by default.
    pub validation: f64,
}

impl Default for CrossValidation {
    fn default() -> Self {
        Self { standardize: true, validation: 0.1 }
    }
}

/// One fold's model, and what it is worth.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FoldResult {
    /// The model, with its best weights.
    pub model: Mlp,
    /// Its epochs.
    pub history: History,
    /// Loss and hits on the rows held out.
    pub score: Score,
}

/// Trains one model for each fold on all rows but the fold's, and scores it on the fold's. `folds` are the rows held out in
/// turn: [`Dataset::folds`] or [`group_folds`](crate::data::group_folds); rows that do not exist are left out. `make` gives
/// the network of a fold, with its first weights; `observer` hears the events of each fold, and ends that fold where it breaks.
///
/// ```
/// use core::ops::ControlFlow;
/// use evenkeel::fit::{CrossValidation, cross_validate, mean_and_deviation};
/// use evenkeel::{Dataset, Init, Labels, Loss, Mlp, Serial, Trainer};
///
/// let inputs: Vec<f32> = (0..120).map(|i| ((i * 37) % 101) as f32 / 50.0 - 1.0).collect();
/// let labels = Labels::Classes(inputs.iter().map(|x| u32::from(*x > 0.0)).collect());
/// let data = Dataset { inputs, features: 1, labels };
/// let trainer = Trainer { lr: 0.1, ..Trainer::new(Loss::CrossEntropy).epochs(10) };
/// let mut make = |fold| {
///     let mut net = Mlp::input(1).dense(2).build()?;
///     net.init(Init::HeNormal, fold as u64);
///     Ok(net)
/// };
/// let folds = data.folds(3, 1)?;
/// let how = CrossValidation::default();
/// let results =
///     cross_validate(&data, &folds, how, &trainer, &Serial, &mut make, &mut |_, _| ControlFlow::Continue(()))?;
/// let (mean, _) = mean_and_deviation(&results.iter().map(|fold| fold.score.accuracy()).collect::<Vec<_>>());
/// assert!(mean > 0.9);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`FitError::Setup`] for folds that leave nothing to train or to score on, and as [`Run::fit`].
pub fn cross_validate<P: Split>(
    data: &Dataset,
    folds: &[Vec<u32>],
    how: CrossValidation,
    trainer: &Trainer,
    split: &P,
    make: &mut dyn FnMut(usize) -> Result<Mlp, Error>,
    observer: &mut dyn FnMut(usize, Event<'_>) -> ControlFlow<()>,
) -> Result<Vec<FoldResult>, FitError> {
    let mut results = Vec::with_capacity(folds.len());
    for (fold, held) in folds.iter().enumerate() {
        let rest = data.subset(&others(data.rows(), held));
        let (kept, watched) = rest.hold_out(how.validation, trainer.seed, 0);
        let (train, validation) = (rest.subset(&kept), rest.subset(&watched));
        let mut model = make(fold)?;
        if how.standardize {
            model.standardize = Some(Standardize::learn(&train.inputs, train.features));
        }
        let mut run = Run::new(model, *trainer)?;
        let validation = if watched.is_empty() { None } else { Some(validation.view()?) };
        run.fit(train.view()?, validation, split, &mut |event| observer(fold, event))?;
        let held = data.subset(held);
        let score = run.model.score(trainer.level, split, held.view()?, trainer.rules.loss)?;
        results.push(FoldResult { model: run.model, history: run.history, score });
    }
    Ok(results)
}

/// Mean and standard deviation (with `n - 1`) of some figures; the deviation of one is 0, the mean of none NaN.
#[must_use]
pub fn mean_and_deviation(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    if values.len() < 2 {
        return (mean, 0.0);
    }
    let squares: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
    (mean, libm::sqrt(squares / (count - 1.0)))
}

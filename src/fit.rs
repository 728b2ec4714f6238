//! Training over a data set: epochs, batches, history, early stopping. Reads like the recipe it is.
//!
//! A [`Run`] owns everything that training changes and can be stopped at any batch, stored, and continued with the
//! same bits: the order of the rows and every dropout mask are pure functions of seed, epoch and step.

mod averaged;
mod batch;
mod error;
mod finder;
mod folds;
mod history;
mod observer;
mod outputs;
mod score;
mod trainer;

use core::ops::ControlFlow;

use crate::data::{Batches, View, order};
use crate::error::Error;
use crate::memory::Buffer;
use crate::model::Mlp;
use crate::plan::Scope;
use crate::split::Split;
use crate::train::schedule::PlateauState;
use crate::train::{Averaging, Buffers, EarlyStopping, Loss, Moment, Schedule, Score, Session, StopState, Targets};
use averaged::recalibrate;
use error::located;
use score::{Gather, check_data, evaluate};
pub(crate) use trainer::check_trainer;

pub use averaged::Averaged;
pub use error::FitError;
pub use finder::{RateCurve, RatePoint, RateSearch};
pub use folds::{CrossValidation, FoldResult, cross_validate, mean_and_deviation};
pub use history::{EpochRecord, Event, Finish, History, Monitor};
pub use observer::{BatchEnd, EpochEnd, Listener, Observer};
pub use outputs::score_outputs;
pub use trainer::Trainer;

/// Where a run is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Progress {
    /// Current epoch, from 0.
    pub epoch: u32,
    /// Batches done in it.
    pub batch: usize,
    /// Steps done in all.
    pub step: u64,
    /// Sums of the current epoch.
    pub score: Score,
    /// What early stopping remembers.
    pub stop: StopState,
    /// Learning rate of the last step.
    pub lr: f32,
    /// What the schedule [`Plateau`](Schedule::Plateau) remembers.
    pub plateau: PlateauState,
}

/// A training run: everything that changes while training.
#[derive(Clone, Debug)]
pub struct Run {
    /// The network as it is now.
    pub model: Mlp,
    /// How it is trained.
    pub trainer: Trainer,
    /// The optimiser's moments.
    pub moments: Buffer,
    /// Parameters and state of the best epoch, if they are kept ([`Trainer::restore_best`]).
    pub best: Option<(Buffer, Buffer)>,
    /// The average of the weights, if one is kept ([`Trainer::averaging`]) and has begun.
    pub averaged: Option<Averaged>,
    /// Where the run is.
    pub progress: Progress,
    /// What has been.
    pub history: History,
}

impl Run {
    /// Begins a run with fresh optimiser state.
    ///
    /// # Errors
    /// [`FitError::Parameter`] for a figure outside its range, [`FitError::Setup`] for a last layer that the loss
    /// contains already.
    pub fn new(model: Mlp, trainer: Trainer) -> Result<Self, FitError> {
        check_trainer(&trainer, &model.network())?;
        crate::train::check_output(&model.network(), trainer.rules.loss)?;
        if trainer.mixup > 0.0 && !trainer.rules.loss.mixes() {
            return Err(Error::Mixup { loss: trainer.rules.loss.name() }.into());
        }
        let plan = model.network().plan_in(trainer.scope, 1);
        let moments = Buffer::zeros(trainer.rules.optimizer.moments_len(&plan));
        let (progress, history) = (Progress::default(), History::default());
        Ok(Self { model, trainer, moments, best: None, averaged: None, progress, history })
    }

    /// Trains until the epochs are done, early stopping ends it, or the observer breaks; then restores the best
    /// weights (not after a break: the run may go on).
    ///
    /// # Errors
    /// As [`advance`](Self::advance).
    pub fn fit<P: Split>(
        &mut self,
        train: View<'_>,
        validation: Option<View<'_>>,
        split: &P,
        observer: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<Finish, FitError> {
        self.fit_observed(train, validation, split, &mut Listener(observer))
    }

    /// As [`fit`](Self::fit), with every hook of an [`Observer`].
    ///
    /// # Errors
    /// As [`advance`](Self::advance).
    pub fn fit_observed<P: Split>(
        &mut self,
        train: View<'_>,
        validation: Option<View<'_>>,
        split: &P,
        observer: &mut dyn Observer,
    ) -> Result<Finish, FitError> {
        let finish = self.advance(train, validation, split, observer)?;
        if finish != Finish::Interrupted {
            self.restore_best();
        }
        Ok(finish)
    }

    /// Puts the weights of the best epoch in place of the present ones, if they were kept; else the averaged ones, if there
    /// are any; else, of an optimiser that averages, the present evaluation weights in place of the training weights.
    ///
    /// The run can no longer go on with the bits of one that was never stopped: store it before.
    pub fn restore_best(&mut self) {
        let averaged = self.averaged.as_ref().filter(|averaged| averaged.count > 0);
        let averaged = averaged.map(|averaged| (&averaged.params, &averaged.state));
        if let Some((params, state)) = self.best.as_ref().map(|(params, state)| (params, state)).or(averaged) {
            self.model.params.copy_from_slice(params);
            self.model.state.copy_from_slice(state);
        } else {
            let average = self.evaluation_weights();
            self.model.params = average;
        }
    }

    /// The parameters that are to be evaluated now: the model's, or the average of an optimiser that keeps one
    /// ([`ScheduleFree`](crate::Optimizer::ScheduleFree)), whose training weights the model holds during a run.
    #[must_use]
    pub fn evaluation_weights(&self) -> Buffer {
        let (mut params, mut moments) = (self.model.params.clone(), self.moments.clone());
        let trained = self.model.network().plan_in(self.trainer.scope, 1).trained.min(params.len());
        let frozen = params.len() - trained;
        crate::train::swap(&self.trainer.rules.optimizer, &mut params[frozen..], &mut moments);
        params
    }

    /// As [`fit_observed`](Self::fit_observed), but leaves the weights of the last epoch: the run can be stored and, with more epochs or
    /// more patience, go on with the bits of one that had them from the start (more epochs under a cosine schedule are
    /// another schedule, though: the rates so far would have been others).
    ///
    /// # Errors
    /// [`FitError::Setup`] before the first step if data, loss and network do not fit together,
    /// [`FitError::NonFinite`] if training diverges, [`FitError::Parameter`] for an observer's learning rate that is negative
    /// or not finite.
    pub fn advance<P: Split>(
        &mut self,
        train: View<'_>,
        validation: Option<View<'_>>,
        split: &P,
        observer: &mut dyn Observer,
    ) -> Result<Finish, FitError> {
        let trainer = self.trainer;
        // A copy of the list: the session borrows it beside the parameters that it writes.
        let layers = self.model.layers().to_vec();
        let network = crate::layer::Network::trusted(train.features, &layers);
        let batches = Batches::plan(train.rows(), trainer.batch, trainer.scope.joins_rows(&network))?;
        for data in [Some(train), validation].into_iter().flatten() {
            check_data(&self.model, &data, trainer.rules.loss)?;
        }
        if trainer.mixup > 0.0 && matches!(train.targets.unweighted(), Targets::Mixed(_)) {
            return Err(Error::Mixup { loss: trainer.rules.loss.name() }.into());
        }
        if self.history.stopped_epoch.is_some() {
            return Ok(Finish::Stopped);
        }
        let lists = train.inputs.lists().is_some();
        if validation.is_some_and(|data| data.inputs.lists().is_some() != lists) {
            return Err(Error::ListsPlanned.into());
        }
        if lists && (trainer.mixup > 0.0 || trainer.jitter > 0.0) {
            let what = "mixup and jitter make other numbers of ones and zeros: they do not go with index lists";
            return Err(FitError::Parameter { what });
        }
        let scope = Scope { lists, ..trainer.scope };
        if self.averaged.is_none() && trainer.averaging != Averaging::None {
            self.averaged = Some(Averaged::new(self.model.params.len(), &self.model.state));
        }
        let capacity = batches.largest();
        let planned = trainer.part.map_or(capacity, |part| part.clamp(1, capacity));
        let plan = network.plan_in(scope, planned);
        let mut gradients = Buffer::zeros(plan.trained);
        let mut work = Buffer::zeros(plan.work_len());
        let buffers = Buffers {
            params: &mut self.model.params,
            state: &mut self.model.state,
            gradients: &mut gradients,
            moments: &mut self.moments,
            work: &mut work,
        };
        let mut session = if trainer.scope.first == 0 {
            // Even if it has no parameters: then there is nothing to train, but much to look at.
            Session::planned(network, plan, buffers, trainer.level, split)?
        } else {
            Session::with_scope(network, scope, planned, buffers, trainer.level, split)?
        };
        let mut gather = Gather::new(self.model.standardize.clone(), train.features, capacity, lists);
        let steps_per_epoch = batches.count() as u64;
        let warmup = (f64::from(trainer.warmup_epochs) * steps_per_epoch as f64) as u64;
        let progress = &mut self.progress;
        let mut finish = Finish::Epochs;
        while progress.epoch < trainer.epochs {
            if progress.batch == 0 && observer.epoch_begins(progress.epoch).is_break() {
                return Ok(Finish::Interrupted);
            }
            let rows = order(train.rows(), trainer.seed, progress.epoch, trainer.shuffle);
            while progress.batch < batches.count() {
                let batch =
                    gather.training_batch(&train, &rows[batches.range(progress.batch)], &trainer, progress.step)?;
                let steps = steps_per_epoch * u64::from(trainer.epochs);
                let schedule = trainer.schedule;
                let mut lr = schedule.rate(trainer.lr, warmup, progress.step, steps_per_epoch, steps);
                if let Schedule::Plateau(_) = schedule {
                    lr = (f64::from(lr) * progress.plateau.share) as f32;
                }
                let lr = observer.rate(progress.step, lr);
                if !(lr >= 0.0 && lr.is_finite()) {
                    return Err(FitError::Parameter { what: "an observer's learning rate must be 0 or positive" });
                }
                let mut rules = trainer.rules;
                if let Some(momentum) = schedule.momentum(warmup, progress.step, steps_per_epoch, steps) {
                    rules.optimizer = rules.optimizer.with_momentum(momentum).unwrap_or(rules.optimizer);
                }
                let moment = Moment { seed: trainer.seed, step: progress.step, lr };
                let score = if planned < capacity {
                    session.step_in_parts(batch, &rules, moment)
                } else {
                    session.step(batch, &rules, moment)
                };
                let score = score.map_err(|error| located(error, &layers, progress.epoch, progress.batch))?;
                progress.score = progress.score.plus(score);
                progress.lr = lr;
                progress.step += 1;
                progress.batch += 1;
                if let (Averaging::Ema { .. }, Some(averaged)) = (trainer.averaging, &mut self.averaged) {
                    averaged.take_in(trainer.averaging, &session)?;
                }
                let ended = BatchEnd {
                    epoch: progress.epoch,
                    batch: progress.batch - 1,
                    of: batches.count(),
                    step: progress.step - 1,
                    lr,
                    rows: score.rows,
                    loss: score.mean_loss(),
                    epoch_rows: progress.score.rows,
                    epoch_loss: progress.score.mean_loss(),
                };
                // After the last batch too: the next call then begins with the validation.
                if observer.batch_ends(&ended).is_break() {
                    return Ok(Finish::Interrupted);
                }
            }
            // An update can overflow though its loss and gradients were sound, and after the last batch no later step would
            // notice: the epoch must not count as the best.
            if let Some(layer) = session.non_finite_layer() {
                let batch = progress.batch.saturating_sub(1);
                return Err(located(Error::NonFinite { what: "weight", layer }, &layers, progress.epoch, batch));
            }
            let mut unaveraged = None;
            if let (Averaging::Swa { from }, Some(averaged)) = (trainer.averaging, &mut self.averaged)
                && progress.epoch >= from
            {
                // For a run that goes on here: it takes these weights in then.
                unaveraged = Some(averaged.clone());
                averaged.take_in(trainer.averaging, &session)?;
            }
            // From here to the end of the epoch the averaged weights stand in for those that are trained.
            let mut average = self.averaged.as_mut().filter(|averaged| averaged.count > 0);
            if let Some(average) = &mut average {
                average.state.copy_from_slice(session.weights().1);
                average.exchange(&mut session);
                let renewed = recalibrate(&mut session, &mut gather, &train, &batches);
                if let Err(error) = renewed {
                    average.exchange(&mut session);
                    if let Some(before) = unaveraged {
                        **average = before;
                    }
                    let batch = progress.batch.saturating_sub(1);
                    return Err(located(error, &layers, progress.epoch, batch));
                }
            }
            // What is validated, and kept if it is the best, is what will be used.
            let averaged = session.swap_weights(&trainer.rules.optimizer)?;
            let validated =
                validation.map(|data| evaluate(&mut session, &mut gather, &data, trainer.rules.loss, capacity));
            let validated = match validated.transpose() {
                Ok(validated) => validated,
                Err(error) => {
                    session.swap_weights(&trainer.rules.optimizer)?;
                    if let Some(average) = average {
                        average.exchange(&mut session);
                        if let Some(before) = unaveraged {
                            *average = before;
                        }
                    }
                    return Err(error.into());
                }
            };
            let record = record(progress, validated, trainer.rules.loss);
            let value = trainer.monitor.value(&record);
            let stopping = trainer.early_stopping.unwrap_or(EarlyStopping::patience(u32::MAX));
            let start_from_epoch = match trainer.averaging {
                Averaging::Swa { from } => stopping.start_from_epoch.max(from),
                _ => stopping.start_from_epoch,
            };
            let stopping = EarlyStopping { mode: trainer.monitor.mode(), start_from_epoch, ..stopping };
            let verdict = stopping.observe(&mut progress.stop, progress.epoch, value);
            if verdict.improved {
                self.history.best_epoch = Some(progress.epoch);
                if trainer.restore_best {
                    let (params, state) = session.weights();
                    self.best = Some((params.into(), state.into()));
                }
            }
            if let Some(average) = average {
                average.exchange(&mut session);
            }
            if averaged {
                session.swap_weights(&trainer.rules.optimizer)?;
            }
            if let Schedule::Plateau(plateau) = trainer.schedule {
                plateau.observe(&mut progress.plateau, trainer.monitor.mode(), trainer.lr, value);
            }
            self.history.epochs.push(record);
            let stops = verdict.stop && trainer.early_stopping.is_some();
            if stops {
                self.history.stopped_epoch = Some(progress.epoch);
                finish = Finish::Stopped;
            }
            progress.epoch += 1;
            progress.batch = 0;
            progress.score = Score::default();
            let (params, state) = session.weights();
            let ended = EpochEnd { record: &record, improved: verdict.improved, stops, params, state };
            let flow = observer.epoch_ends(&ended);
            if stops {
                break;
            }
            if flow.is_break() && progress.epoch < trainer.epochs {
                return Ok(Finish::Interrupted);
            }
        }
        Ok(finish)
    }
}

fn record(progress: &Progress, validated: Option<Score>, loss: Loss) -> EpochRecord {
    let accuracy = |score: &Score| loss.has_accuracy().then(|| score.accuracy());
    EpochRecord {
        epoch: progress.epoch,
        loss: progress.score.mean_loss(),
        accuracy: accuracy(&progress.score),
        val_loss: validated.map(|score| score.mean_loss()),
        val_accuracy: validated.and_then(|score| accuracy(&score)),
        lr: progress.lr,
    }
}

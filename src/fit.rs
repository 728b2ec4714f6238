//! Training over a data set: epochs, batches, history, early stopping. Reads like the recipe it is.
//!
//! A [`Run`] owns everything that training changes and can be stopped at any batch, stored, and continued with the
//! same bits: the order of the rows and every dropout mask are pure functions of seed, epoch and step.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::ops::ControlFlow;

use crate::Level;
use crate::data::{Batches, View, order};
use crate::error::Error;
use crate::layer::padded;
use crate::memory::Buffer;
use crate::model::Mlp;
use crate::split::Split;
use crate::train::{
    Batch, Buffers, EarlyStopping, Loss, Mode, Moment, Optimizer, Rules, Schedule, Score, Session, StopState, Targets,
};

/// Which figure of an epoch early stopping looks at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Monitor {
    /// Validation loss; training loss if there is no validation data.
    #[default]
    ValLoss,
    /// Validation accuracy; training accuracy if there is no validation data.
    ValAccuracy,
    /// Training loss.
    Loss,
    /// Training accuracy.
    Accuracy,
}

impl Monitor {
    /// Whether smaller or larger is better.
    #[must_use]
    pub const fn mode(self) -> Mode {
        match self {
            Monitor::ValLoss | Monitor::Loss => Mode::Min,
            Monitor::ValAccuracy | Monitor::Accuracy => Mode::Max,
        }
    }

    fn value(self, epoch: &EpochRecord) -> f64 {
        match self {
            Monitor::ValLoss => epoch.val_loss.unwrap_or(epoch.loss),
            Monitor::ValAccuracy => epoch.val_accuracy.or(epoch.accuracy).unwrap_or(f64::NAN),
            Monitor::Loss => epoch.loss,
            Monitor::Accuracy => epoch.accuracy.unwrap_or(f64::NAN),
        }
    }
}

/// How to train.
#[derive(Clone, Copy, Debug)]
pub struct Trainer {
    /// Loss, optimiser, penalties, clipping.
    pub rules: Rules,
    /// Base learning rate.
    pub lr: f32,
    /// How it changes.
    pub schedule: Schedule,
    /// Epochs (or a part of one) over which the rate rises linearly to its base.
    pub warmup_epochs: f32,
    /// Most epochs to train.
    pub epochs: u32,
    /// Rows of a batch.
    pub batch: usize,
    /// Seed of shuffling and dropout.
    pub seed: u64,
    /// Whether rows come in a new order each epoch.
    pub shuffle: bool,
    /// When to stop early.
    pub early_stopping: Option<EarlyStopping>,
    /// What early stopping looks at, and what "best" means.
    pub monitor: Monitor,
    /// Whether the network ends with the weights of its best epoch.
    pub restore_best: bool,
    /// Instructions to use.
    pub level: Level,
}

impl Trainer {
    /// Adam at 0.001, batches of 32 rows, 50 epochs, shuffled, the best epoch's weights restored.
    #[must_use]
    pub fn new(loss: Loss) -> Self {
        Self {
            rules: Rules::new(loss, Optimizer::ADAM),
            lr: 1e-3,
            schedule: Schedule::Constant,
            warmup_epochs: 0.0,
            epochs: 50,
            batch: 32,
            seed: 0,
            shuffle: true,
            early_stopping: None,
            monitor: Monitor::ValLoss,
            restore_best: true,
            level: Level::detect(),
        }
    }

    /// Sets the optimiser and its base learning rate.
    #[must_use]
    pub fn optimizer(mut self, optimizer: Optimizer, lr: f32) -> Self {
        (self.rules.optimizer, self.lr) = (optimizer, lr);
        self
    }

    /// Sets the number of epochs.
    #[must_use]
    pub fn epochs(mut self, epochs: u32) -> Self {
        self.epochs = epochs;
        self
    }

    /// Sets the rows of a batch.
    #[must_use]
    pub fn batch(mut self, batch: usize) -> Self {
        self.batch = batch;
        self
    }

    /// Stops early; the mode is the monitor's.
    #[must_use]
    pub fn early_stopping(mut self, stop: EarlyStopping) -> Self {
        self.early_stopping = Some(stop);
        self
    }

    /// Trains `net` from where it is and leaves it with its final (or best) weights.
    ///
    /// # Errors
    /// As [`Run::fit`].
    pub fn fit(&self, net: &mut Mlp, train: View<'_>, validation: Option<View<'_>>) -> Result<History, FitError> {
        let mut run = Run::new(net.clone(), *self)?;
        #[cfg(feature = "rayon")]
        let split = crate::host::pool::Global;
        #[cfg(not(feature = "rayon"))]
        let split = crate::split::Serial;
        run.fit(train, validation, &split, &mut |_| ControlFlow::Continue(()))?;
        *net = run.model;
        Ok(run.history)
    }
}

/// Figures of one epoch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EpochRecord {
    /// Epoch, from 0.
    pub epoch: u32,
    /// Mean training loss over the epoch's batches, as they were when each was trained on.
    pub loss: f64,
    /// Share of training rows predicted right in the same passes; `None` for losses without classes.
    pub accuracy: Option<f64>,
    /// Mean loss of the validation data after the epoch.
    pub val_loss: Option<f64>,
    /// Share of validation rows predicted right.
    pub val_accuracy: Option<f64>,
    /// Learning rate of the epoch's last step.
    pub lr: f32,
}

impl EpochRecord {
    /// The generalisation gap: validation loss minus training loss.
    #[must_use]
    pub fn gap(&self) -> Option<f64> {
        self.val_loss.map(|val_loss| val_loss - self.loss)
    }
}

/// All epochs of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// In order.
    pub epochs: Vec<EpochRecord>,
    /// The epoch whose monitored figure was best.
    pub best_epoch: Option<u32>,
    /// The epoch after which early stopping ended the run.
    pub stopped_epoch: Option<u32>,
}

impl History {
    /// The record of the best epoch, else the last one.
    #[must_use]
    pub fn best(&self) -> Option<&EpochRecord> {
        let best = self.best_epoch.and_then(|best| self.epochs.iter().find(|epoch| epoch.epoch == best));
        best.or(self.epochs.last())
    }
}

/// What an observer hears.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// After each batch.
    Batch {
        /// Epoch, from 0.
        epoch: u32,
        /// Batches done in it.
        done: usize,
        /// Batches of an epoch.
        of: usize,
        /// Rows done in it.
        rows: u64,
        /// Mean loss of the epoch so far.
        loss: f64,
    },
    /// After each epoch.
    Epoch {
        /// Its figures.
        record: &'a EpochRecord,
        /// Whether it is the best so far.
        improved: bool,
        /// Whether early stopping ends the run here.
        stops: bool,
    },
}

/// How a call of [`Run::fit`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// All epochs are done.
    Epochs,
    /// Early stopping.
    Stopped,
    /// The observer asked to stop; calling again goes on with the same bits.
    Interrupted,
}

/// Why training failed.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum FitError {
    /// Something does not fit together; found before the first step.
    Setup(Error),
    /// The loss, a gradient or a statistic became NaN or infinite: parameters are those before this batch. Or a
    /// weight did (`what` says so), in the last update of an epoch: then they are as they came out.
    NonFinite {
        /// In what it was found first.
        what: &'static str,
        /// Index of the layer where it began.
        layer: usize,
        /// Kind of that layer.
        name: String,
        /// Epoch, from 0.
        epoch: u32,
        /// Batch of the epoch, from 0.
        batch: usize,
    },
    /// A figure of the trainer is outside its range.
    Parameter {
        /// Which one, and its range.
        what: &'static str,
    },
}

impl From<Error> for FitError {
    fn from(error: Error) -> Self {
        FitError::Setup(error)
    }
}

impl fmt::Display for FitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FitError::Setup(error) => error.fmt(f),
            FitError::NonFinite { what, layer, name, epoch, batch } => write!(
                f,
                "training diverged: NaN or infinity in the {what} of layer {layer} ({name}), epoch {}, batch {}. Try a smaller learning rate, gradient clipping, or \
                 standardised inputs",
                epoch + 1,
                batch + 1
            ),
            FitError::Parameter { what } => write!(f, "{what}"),
        }
    }
}

impl core::error::Error for FitError {}

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
        check_trainer(&trainer)?;
        crate::train::check_output(&model.network(), trainer.rules.loss)?;
        let moments = Buffer::zeros(trainer.rules.optimizer.moments() * model.params.len());
        let (progress, history) = (Progress::default(), History::default());
        Ok(Self { model, trainer, moments, best: None, progress, history })
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
        let finish = self.advance(train, validation, split, observer)?;
        if finish != Finish::Interrupted {
            self.restore_best();
        }
        Ok(finish)
    }

    /// Puts the weights of the best epoch in place of the present ones, if they were kept.
    ///
    /// The run can no longer go on with the bits of one that was never stopped: store it before.
    pub fn restore_best(&mut self) {
        if let Some((params, state)) = &self.best {
            self.model.params.copy_from_slice(params);
            self.model.state.copy_from_slice(state);
        }
    }

    /// As [`fit`](Self::fit), but leaves the weights of the last epoch: the run can be stored and, with more epochs or
    /// more patience, go on with the bits of one that had them from the start.
    ///
    /// # Errors
    /// [`FitError::Setup`] before the first step if data, loss and network do not fit together,
    /// [`FitError::NonFinite`] if training diverges.
    pub fn advance<P: Split>(
        &mut self,
        train: View<'_>,
        validation: Option<View<'_>>,
        split: &P,
        observer: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<Finish, FitError> {
        let trainer = self.trainer;
        // A copy of the list: the session borrows it beside the parameters that it writes.
        let layers = self.model.layers().to_vec();
        let network = crate::layer::Network::trusted(train.features, &layers);
        let batches = Batches::plan(train.rows(), trainer.batch, network.has_batch_norm())?;
        for data in [Some(train), validation].into_iter().flatten() {
            check_data(&self.model, &data, trainer.rules.loss)?;
        }
        if self.history.stopped_epoch.is_some() {
            return Ok(Finish::Stopped);
        }
        let capacity = batches.largest();
        let mut gradients = Buffer::zeros(network.params_len());
        let mut work = Buffer::zeros(network.plan(capacity).work_len());
        let buffers = Buffers {
            params: &mut self.model.params,
            state: &mut self.model.state,
            gradients: &mut gradients,
            moments: &mut self.moments,
            work: &mut work,
        };
        let mut session = Session::new(network, capacity, buffers, trainer.level, split)?;
        let mut gather = Gather::new(self.model.standardize.clone(), train.features, capacity);
        let steps_per_epoch = batches.count() as u64;
        let warmup = (f64::from(trainer.warmup_epochs) * steps_per_epoch as f64) as u64;
        let progress = &mut self.progress;
        let mut finish = Finish::Epochs;
        while progress.epoch < trainer.epochs {
            let rows = order(train.rows(), trainer.seed, progress.epoch, trainer.shuffle);
            while progress.batch < batches.count() {
                let batch = gather.batch(&train, &rows[batches.range(progress.batch)]);
                let lr = trainer.schedule.rate(
                    trainer.lr,
                    warmup,
                    progress.step,
                    steps_per_epoch,
                    steps_per_epoch * u64::from(trainer.epochs),
                );
                let moment = Moment { seed: trainer.seed, step: progress.step, lr };
                let score = session
                    .step(batch, &trainer.rules, moment)
                    .map_err(|error| located(error, &layers, progress.epoch, progress.batch))?;
                progress.score = progress.score.plus(score);
                progress.lr = lr;
                progress.step += 1;
                progress.batch += 1;
                let event = Event::Batch {
                    epoch: progress.epoch,
                    done: progress.batch,
                    of: batches.count(),
                    rows: progress.score.rows,
                    loss: progress.score.mean_loss(),
                };
                // After the last batch too: the next call then begins with the validation.
                if observer(event).is_break() {
                    return Ok(Finish::Interrupted);
                }
            }
            // An update can overflow though its loss and gradients were sound, and after the last batch no later step would
            // notice: the epoch must not count as the best.
            if let Some(layer) = session.non_finite_layer() {
                let batch = progress.batch.saturating_sub(1);
                return Err(located(Error::NonFinite { what: "weight", layer }, &layers, progress.epoch, batch));
            }
            let validated = match validation {
                Some(data) => Some(evaluate(&mut session, &mut gather, &data, trainer.rules.loss, capacity)?),
                None => None,
            };
            let record = record(progress, validated, trainer.rules.loss);
            let value = trainer.monitor.value(&record);
            let stopping = trainer.early_stopping.unwrap_or(EarlyStopping::patience(u32::MAX));
            let stopping = EarlyStopping { mode: trainer.monitor.mode(), ..stopping };
            let verdict = stopping.observe(&mut progress.stop, progress.epoch, value);
            if verdict.improved {
                self.history.best_epoch = Some(progress.epoch);
                if trainer.restore_best {
                    let (params, state) = session.weights();
                    self.best = Some((params.into(), state.into()));
                }
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
            let flow = observer(Event::Epoch { record: &record, improved: verdict.improved, stops });
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

fn check_trainer(trainer: &Trainer) -> Result<(), FitError> {
    let fails = |what| Err(FitError::Parameter { what });
    if !trainer.rules.optimizer.is_valid() {
        return fails(
            "an optimiser constant is outside its range: momentum and betas lie in [0, 1), eps is at least 0",
        );
    }
    if !(trainer.lr > 0.0 && trainer.lr.is_finite()) {
        return fails("the learning rate must be a positive number");
    }
    if !(trainer.rules.l2 >= 0.0 && trainer.rules.l2.is_finite()) {
        return fails("the L2 penalty must be 0 or positive");
    }
    if !(trainer.warmup_epochs >= 0.0 && trainer.warmup_epochs.is_finite()) {
        return fails("the warm-up must be 0 or a positive number of epochs");
    }
    let schedule = match trainer.schedule {
        Schedule::Constant => true,
        Schedule::Step { every, factor } => every > 0 && factor > 0.0 && factor.is_finite(),
        Schedule::Cosine { floor } => (0.0..=1.0).contains(&floor),
    };
    if !schedule {
        return fails(
            "the schedule is outside its range: steps of at least one epoch, a positive factor, a floor in [0, 1]",
        );
    }
    let clip = match trainer.rules.clip {
        crate::train::Clip::None => true,
        crate::train::Clip::Norm(limit) | crate::train::Clip::Value(limit) => limit > 0.0,
    };
    if clip { Ok(()) } else { fails("the clipping limit must be positive") }
}

fn check_data(model: &Mlp, data: &View<'_>, loss: Loss) -> Result<(), Error> {
    let network = model.network();
    crate::error::check_len("features", network.inputs(), data.features)?;
    if data.rows() == 0 {
        return Err(Error::BatchRows { rows: 0, planned: 1 });
    }
    data.targets.check(loss, data.rows(), network.outputs())
}

fn located(error: Error, layers: &[crate::layer::Layer], epoch: u32, batch: usize) -> FitError {
    match error {
        Error::NonFinite { what, layer } => {
            let name = layers.get(layer).map_or("network", |layer| layer.name()).into();
            FitError::NonFinite { what, layer, name, epoch, batch }
        }
        other => FitError::Setup(other),
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

/// Collects the rows of a batch, standardised.
struct Gather {
    standardize: Option<crate::model::Standardize>,
    features: usize,
    raw: Vec<f32>,
    inputs: Buffer,
    labels: Vec<u32>,
    values: Vec<f32>,
}

impl Gather {
    fn new(standardize: Option<crate::model::Standardize>, features: usize, capacity: usize) -> Self {
        let inputs = Buffer::zeros(capacity * features);
        let raw = alloc::vec![0.0; features];
        Self { standardize, features, raw, inputs, labels: Vec::new(), values: Vec::new() }
    }

    fn batch(&mut self, data: &View<'_>, rows: &[u32]) -> Batch<'_> {
        let features = self.features;
        for (row, out) in rows.iter().zip(self.inputs.chunks_exact_mut(features)) {
            let row = &data.inputs[*row as usize * features..][..features];
            match &self.standardize {
                None => out.copy_from_slice(row),
                Some(standardize) => {
                    self.raw.copy_from_slice(row);
                    standardize.apply(&self.raw, out);
                }
            }
        }
        let targets = match data.targets {
            Targets::Classes(labels) => {
                self.labels.clear();
                self.labels.extend(rows.iter().map(|row| labels[*row as usize]));
                Targets::Classes(&self.labels)
            }
            Targets::Values(values) => {
                let width = values.len() / data.rows().max(1);
                self.values.clear();
                self.values.extend(rows.iter().flat_map(|row| &values[*row as usize * width..][..width]));
                Targets::Values(&self.values)
            }
        };
        Batch { inputs: &self.inputs[..rows.len() * features], targets, rows: rows.len() }
    }
}

/// Loss and hits of a whole data set in inference mode.
fn evaluate<P: Split>(
    session: &mut Session<'_, P>,
    gather: &mut Gather,
    data: &View<'_>,
    loss: Loss,
    capacity: usize,
) -> Result<Score, Error> {
    let rows: Vec<u32> = (0..data.rows() as u32).collect();
    let mut total = Score::default();
    for rows in rows.chunks(capacity) {
        total = total.plus(session.evaluate(gather.batch(data, rows), loss)?);
    }
    Ok(total)
}

impl Mlp {
    /// Rows evaluated at once by [`score`](Mlp::score) and [`predict`](Mlp::predict): no result depends on it.
    const ROWS: usize = 256;

    fn with_session<P: Split, T>(
        &self,
        level: Level,
        split: &P,
        then: impl FnOnce(&mut Session<'_, P>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let network = self.network();
        let (mut params, mut state) = (self.params.clone(), self.state.clone());
        let mut gradients = Buffer::zeros(params.len());
        let mut work = Buffer::zeros(network.plan(Self::ROWS).work_len());
        let buffers = Buffers {
            params: &mut params,
            state: &mut state,
            gradients: &mut gradients,
            moments: &mut [],
            work: &mut work,
        };
        then(&mut Session::new(network, Self::ROWS, buffers, level, split)?)
    }

    /// Loss and hits of a data set in inference mode (running statistics, no dropout), inputs standardised first.
    ///
    /// # Errors
    /// If the data does not fit the network or the loss.
    pub fn score(&self, level: Level, split: &impl Split, data: View<'_>, loss: Loss) -> Result<Score, Error> {
        check_data(self, &data, loss)?;
        let mut gather = Gather::new(self.standardize.clone(), data.features, Self::ROWS);
        self.with_session(level, split, |session| evaluate(session, &mut gather, &data, loss, Self::ROWS))
    }

    /// Raw outputs of the unfolded network for rows of inputs: rows of as many values as the network has outputs.
    ///
    /// # Errors
    /// [`Error::Length`] if the inputs are not whole rows.
    pub fn predict(&self, level: Level, split: &impl Split, inputs: &[f32]) -> Result<Vec<f32>, Error> {
        let (features, outputs) = (self.network().inputs(), self.network().outputs());
        let data = View::new(inputs, features, Targets::Values(&[]))?;
        let mut gather = Gather::new(self.standardize.clone(), features, Self::ROWS);
        self.with_session(level, split, |session| {
            let mut all = Vec::with_capacity(data.rows() * outputs);
            let rows: Vec<u32> = (0..data.rows() as u32).collect();
            for rows in rows.chunks(Self::ROWS) {
                let batch = gather.batch(&data, rows);
                let result = session.predict(batch.inputs, batch.rows)?;
                all.extend(result.chunks_exact(padded(outputs)).flat_map(|row| &row[..outputs]));
            }
            Ok(all)
        })
    }
}

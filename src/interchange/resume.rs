//! A training run as one file: the network as in [`state_dict`], and all that the next step depends on.
//!
//! A run that is read back goes on with the bits of one that was never interrupted: order of the rows and dropout
//! are functions of the counters stored here.

use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

use serde_json::{Value, json};

use super::file::{File, Tensor, write};
use super::{InterchangeError, state_dict};
use crate::fit::{Averaged, EpochRecord, History, Progress, Run, Trainer};
use crate::memory::Buffer;
use crate::model::Mlp;
use crate::train::schedule::PlateauState;
use crate::train::{Averaging, Optimizer, Score, StopState};

/// What a recipe says of a run without averaged weights.
const NO_AVERAGE: &str = "none";

pub(super) const KEY: &str = "evenkeel.run";

/// What a file held.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // made once a run
pub enum Saved {
    /// A network alone: training begins anew from its weights.
    Network(Mlp),
    /// A run that can go on.
    Run(Resume),
}

/// A run's memory, to be joined with the way it is trained.
#[derive(Clone, Debug)]
pub struct Resume {
    /// The network as it was.
    pub model: Mlp,
    moments: Buffer,
    best: Option<(Buffer, Buffer)>,
    averaged: Option<Averaged>,
    progress: Progress,
    history: History,
    recipe: Recipe,
}

/// What must not change between the parts of one run; the rest (rate, epochs, patience, penalties) may.
#[derive(Clone, Debug, PartialEq)]
struct Recipe {
    optimizer: String,
    loss: String,
    seed: u64,
    batch: u64,
    shuffle: bool,
    monitor: String,
    averaging: String,
}

impl Recipe {
    fn of(trainer: &Trainer) -> Self {
        let optimizer = match trainer.rules.optimizer {
            Optimizer::Sgd { momentum: 0.0, .. } => "sgd without momentum",
            Optimizer::Sgd { .. } => "sgd with momentum",
            Optimizer::Adam { .. } => "adam",
            Optimizer::AdamW { .. } => "adamw",
            Optimizer::KerasAdam { .. } => "adam of Keras",
            // What the moments mean depends on these.
            Optimizer::RmsProp { momentum: 0.0, centered: false, .. } => "rmsprop",
            Optimizer::RmsProp { momentum: 0.0, centered: true, .. } => "centered rmsprop",
            Optimizer::RmsProp { centered: false, .. } => "rmsprop with momentum",
            Optimizer::RmsProp { centered: true, .. } => "centered rmsprop with momentum",
            other => other.name(),
        };
        Self {
            optimizer: optimizer.into(),
            loss: trainer.rules.loss.to_string(),
            seed: trainer.seed,
            batch: trainer.batch as u64,
            shuffle: trainer.shuffle,
            monitor: trainer.monitor.name().into(),
            averaging: match trainer.averaging {
                Averaging::None => NO_AVERAGE.into(),
                Averaging::Swa { from } => format!("swa({from})"),
                Averaging::Ema { decay } => format!("ema({decay})"),
            },
        }
    }

    /// The first difference: what, here, there.
    fn difference(&self, other: &Self) -> Option<(&'static str, String, String)> {
        let pairs = [
            ("optimiser", &self.optimizer, &other.optimizer),
            ("loss", &self.loss, &other.loss),
            ("seed", &self.seed.to_string(), &other.seed.to_string()),
            ("batch size", &self.batch.to_string(), &other.batch.to_string()),
            ("shuffling", &self.shuffle.to_string(), &other.shuffle.to_string()),
            // The best value so far is one of this figure.
            ("monitored figure", &self.monitor, &other.monitor),
            ("averaging of the weights", &self.averaging, &other.averaging),
        ];
        let (what, ours, theirs) = pairs.into_iter().find(|(_, ours, theirs)| ours != theirs)?;
        Some((what, ours.clone(), theirs.clone()))
    }
}

impl Resume {
    /// Where the run was.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.progress
    }

    /// Whether early stopping has ended the run.
    #[must_use]
    pub fn has_stopped(&self) -> bool {
        self.history.stopped_epoch.is_some()
    }

    /// The run, trained as `trainer` says: equal settings give equal bits.
    ///
    /// Epochs, patience, rate, schedule and penalties may differ from those of the run so far. A run that early
    /// stopping ended goes on if `trainer` has more patience.
    ///
    /// # Errors
    /// [`InterchangeError::Metadata`] for another optimiser, loss, seed, batch size, order of the rows, monitored figure or
    /// averaging of the weights, and for a figure of the trainer outside its range.
    pub fn with(self, trainer: Trainer) -> Result<Run, InterchangeError> {
        let Self { mut model, mut moments, best, averaged, progress, mut history, recipe } = self;
        if let Some((what, ours, theirs)) = recipe.difference(&Recipe::of(&trainer)) {
            return Err(broken(&format!("the run's {what} is {ours}, it cannot go on with {theirs}")));
        }
        let expected = trainer.rules.optimizer.moments_len(&model.network().plan_in(trainer.scope, 1));
        if moments.len() != expected {
            return Err(broken(&format!("the optimiser's state has {} values, not {expected}", moments.len())));
        }
        crate::fit::check_trainer(&trainer, &model.network()).map_err(|error| broken(&error.to_string()))?;
        swap(&trainer, &mut model, &mut moments);
        if trainer.early_stopping.is_none_or(|stop| progress.stop.wait < stop.patience) {
            history.stopped_epoch = None;
        }
        Ok(Run { model, trainer, moments, best, averaged, progress, history })
    }
}

/// The file of a run.
///
/// # Errors
/// [`InterchangeError::Format`] if the tensors cannot be written.
pub fn to_bytes(run: &Run) -> Result<Vec<u8>, InterchangeError> {
    to_bytes_with(run, "")
}

/// As [`to_bytes`], with a free text that [`note`](super::note) reads back.
///
/// # Errors
/// As [`to_bytes`].
pub fn to_bytes_with(run: &Run, note: &str) -> Result<Vec<u8>, InterchangeError> {
    // The file is a network too: with the weights that are to be evaluated.
    let (mut model, mut moments) = (run.model.clone(), run.moments.clone());
    swap(&run.trainer, &mut model, &mut moments);
    let mut tensors = state_dict::tensors(&model);
    let flat = |values: &[f32]| Tensor::f32(std::vec![values.len()], values);
    tensors.insert("run.moments".into(), flat(&moments));
    if let Some((params, state)) = &run.best {
        tensors.insert("run.best.params".into(), flat(params));
        tensors.insert("run.best.state".into(), flat(state));
    }
    if let Some(averaged) = &run.averaged {
        tensors.insert("run.averaged.params".into(), flat(&averaged.params));
        tensors.insert("run.averaged.state".into(), flat(&averaged.state));
    }
    let mut metadata = state_dict::metadata(&run.model, note)?;
    let (progress, recipe) = (&run.progress, Recipe::of(&run.trainer));
    let value = json!({
        "optimizer": recipe.optimizer,
        "loss_name": recipe.loss,
        "seed": recipe.seed,
        "batch_rows": recipe.batch,
        "shuffle": recipe.shuffle,
        "monitor": recipe.monitor,
        "averaging": recipe.averaging,
        "averaged": run.averaged.as_ref().map(|averaged| averaged.count),
        "epoch": progress.epoch,
        "batch": progress.batch,
        "step": progress.step,
        "loss": number(progress.score.loss),
        "hits": number(progress.score.hits),
        "rows": progress.score.rows,
        "lr": number(progress.lr.into()),
        "best": progress.stop.best.map(|(value, epoch)| json!([number(value), epoch])),
        "wait": progress.stop.wait,
        "plateau": [
            progress.plateau.best.map(number),
            progress.plateau.wait,
            progress.plateau.cooldown,
            number(progress.plateau.share),
        ],
        "best_epoch": run.history.best_epoch,
        "stopped_epoch": run.history.stopped_epoch,
        "epochs": run.history.epochs.iter().map(epoch).collect::<Vec<Value>>(),
    });
    metadata.insert(KEY.into(), value.to_string());
    write(&tensors, metadata)
}

/// Exchanges training weights and evaluation weights, if the optimiser has both.
fn swap(trainer: &Trainer, model: &mut Mlp, moments: &mut [f32]) {
    let trained = model.network().plan_in(trainer.scope, 1).trained.min(model.params.len());
    let frozen = model.params.len() - trained;
    crate::train::swap(&trainer.rules.optimizer, &mut model.params[frozen..], moments);
}

/// Reads a file of [`to_bytes`], or of [`state_dict::to_bytes`].
///
/// # Errors
/// [`InterchangeError`] says what is wrong with the file.
pub fn read(bytes: &[u8]) -> Result<Saved, InterchangeError> {
    let mut file = File::read(bytes)?;
    let model = state_dict::read_model(&mut file)?;
    let Some(text) = file.metadata.get(KEY).cloned() else {
        file.finish()?;
        return Ok(Saved::Network(model));
    };
    let moments = file.require_flat("run.moments")?;
    let best = match file.take_flat("run.best.params")? {
        Some(params) => Some((params, file.require_flat("run.best.state")?)),
        None => None,
    };
    let averaged = match file.take_flat("run.averaged.params")? {
        Some(params) => Some((params, file.require_flat("run.averaged.state")?)),
        None => None,
    };
    file.finish()?;
    let foreign =
        |(params, state): &(Buffer, Buffer)| params.len() != model.params.len() || state.len() != model.state.len();
    if best.as_ref().is_some_and(foreign) {
        return Err(broken("the best weights are not those of this network"));
    }
    if averaged.as_ref().is_some_and(foreign) {
        return Err(broken("the averaged weights are not those of this network"));
    }
    let (progress, history, recipe, count) =
        parse(&text).ok_or_else(|| broken("a field is missing, or its value makes no sense"))?;
    let averaged = match (averaged, count) {
        (None, None) => None,
        (Some((params, state)), Some(count)) => Some(Averaged { params, state, count }),
        _ => return Err(broken("the averaged weights and their number do not go together")),
    };
    Ok(Saved::Run(Resume { model, moments, best, averaged, progress, history, recipe }))
}

fn broken(problem: &str) -> InterchangeError {
    InterchangeError::Metadata { key: KEY.into(), problem: problem.into() }
}

/// Counters beyond any run would overflow in the next step.
const MOST: u64 = 1 << 60;

fn parse(text: &str) -> Option<(Progress, History, Recipe, Option<u64>)> {
    let value: Value = serde_json::from_str(text).ok()?;
    let count = |key: &str| value[key].as_u64().filter(|count| *count < MOST);
    let epoch_of = |value: &Value| u32::try_from(value.as_u64()?).ok().filter(|epoch| *epoch < u32::MAX);
    let maybe_epoch = |value: &Value| if value.is_null() { Some(None) } else { epoch_of(value).map(Some) };
    let best = match &value["best"] {
        Value::Null => None,
        best => Some((float(&best[0]).filter(|value| !value.is_nan())?, epoch_of(&best[1])?)),
    };
    let epochs = value["epochs"].as_array()?.iter().map(read_epoch).collect::<Option<Vec<_>>>()?;
    let progress = Progress {
        epoch: epoch_of(&value["epoch"])?,
        batch: usize::try_from(count("batch")?).ok()?,
        step: count("step")?,
        score: Score { loss: float(&value["loss"])?, hits: float(&value["hits"])?, rows: count("rows")? },
        stop: StopState { best, wait: u32::try_from(count("wait")?).ok()? },
        lr: float(&value["lr"])? as f32,
        plateau: plateau(&value["plateau"])?,
    };
    let history = History {
        best_epoch: maybe_epoch(&value["best_epoch"])?,
        stopped_epoch: maybe_epoch(&value["stopped_epoch"])?,
        epochs,
    };
    // Epochs are numbered without a gap, and what is remembered of them lies in the past.
    let numbered = (0..).zip(&history.epochs).all(|(number, record): (u32, _)| record.epoch == number);
    let past = [history.best_epoch, history.stopped_epoch, best.map(|(_, epoch)| epoch)];
    let sound = numbered
        && history.epochs.len() == progress.epoch as usize
        && past.into_iter().flatten().all(|epoch| epoch < progress.epoch);
    let recipe = Recipe {
        optimizer: value["optimizer"].as_str()?.into(),
        loss: value["loss_name"].as_str()?.into(),
        seed: value["seed"].as_u64()?,
        batch: count("batch_rows")?,
        shuffle: value["shuffle"].as_bool()?,
        monitor: value["monitor"].as_str()?.into(),
        // Files from before there were averages have none.
        averaging: value["averaging"].as_str().unwrap_or(NO_AVERAGE).into(),
    };
    let averaged = match &value["averaged"] {
        Value::Null => None,
        _ => Some(count("averaged")?),
    };
    sound.then_some((progress, history, recipe, averaged))
}

/// Files of before there was such a schedule have none.
fn plateau(value: &Value) -> Option<PlateauState> {
    if value.is_null() {
        return Some(PlateauState::default());
    }
    let count = |value: &Value| u32::try_from(value.as_u64()?).ok();
    let best = if value[0].is_null() { None } else { Some(float(&value[0]).filter(|best| !best.is_nan())?) };
    let share = float(&value[3]).filter(|share| (0.0..=1.0).contains(share))?;
    Some(PlateauState { best, wait: count(&value[1])?, cooldown: count(&value[2])?, share })
}

fn epoch(record: &EpochRecord) -> Value {
    json!([
        record.epoch,
        number(record.loss),
        record.accuracy.map(number),
        record.val_loss.map(number),
        record.val_accuracy.map(number),
        number(record.lr.into()),
    ])
}

fn read_epoch(value: &Value) -> Option<EpochRecord> {
    let optional = |value: &Value| if value.is_null() { Some(None) } else { float(value).map(Some) };
    Some(EpochRecord {
        epoch: u32::try_from(value[0].as_u64()?).ok()?,
        loss: float(&value[1])?,
        accuracy: optional(&value[2])?,
        val_loss: optional(&value[3])?,
        val_accuracy: optional(&value[4])?,
        lr: float(&value[5])? as f32,
    })
}

/// A number with all its bits: JSON's own for finite ones, a word for the others.
fn number(value: f64) -> Value {
    if value.is_finite() { json!(value) } else { Value::String(format!("{value}")) }
}

fn float(value: &Value) -> Option<f64> {
    match value {
        Value::String(word) => String::as_str(word).parse().ok(),
        other => other.as_f64(),
    }
}

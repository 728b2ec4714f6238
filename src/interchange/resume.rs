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
use crate::fit::{EpochRecord, History, Progress, Run, Trainer};
use crate::memory::Buffer;
use crate::model::Mlp;
use crate::train::{Score, StopState};

const KEY: &str = "evenkeel.run";

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
    progress: Progress,
    history: History,
}

impl Resume {
    /// Where the run was.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.progress
    }

    /// The run, trained as `trainer` says: equal settings give equal bits.
    ///
    /// # Errors
    /// [`InterchangeError::Metadata`] if the optimiser keeps another number of moments than the one that wrote the
    /// file.
    pub fn with(self, trainer: Trainer) -> Result<Run, InterchangeError> {
        let Self { model, moments, best, progress, history } = self;
        let expected = trainer.rules.optimizer.moments() * model.params.len();
        if moments.len() != expected {
            let problem = format!("the optimiser's state has {} values, this one needs {expected}", moments.len());
            return Err(InterchangeError::Metadata { key: "run.moments".into(), problem });
        }
        Ok(Run { model, trainer, moments, best, progress, history })
    }
}

/// The file of a run.
///
/// # Errors
/// [`InterchangeError::Format`] if the tensors cannot be written.
pub fn to_bytes(run: &Run) -> Result<Vec<u8>, InterchangeError> {
    let mut tensors = state_dict::tensors(&run.model);
    let flat = |values: &[f32]| Tensor::f32(std::vec![values.len()], values);
    tensors.insert("run.moments".into(), flat(&run.moments));
    if let Some((params, state)) = &run.best {
        tensors.insert("run.best.params".into(), flat(params));
        tensors.insert("run.best.state".into(), flat(state));
    }
    let mut metadata = state_dict::metadata(&run.model)?;
    let progress = &run.progress;
    let value = json!({
        "epoch": progress.epoch,
        "batch": progress.batch,
        "step": progress.step,
        "loss": number(progress.score.loss),
        "hits": number(progress.score.hits),
        "rows": progress.score.rows,
        "lr": number(progress.lr.into()),
        "best": progress.stop.best.map(|(value, epoch)| json!([number(value), epoch])),
        "wait": progress.stop.wait,
        "best_epoch": run.history.best_epoch,
        "stopped_epoch": run.history.stopped_epoch,
        "epochs": run.history.epochs.iter().map(epoch).collect::<Vec<Value>>(),
    });
    metadata.insert(KEY.into(), value.to_string());
    write(&tensors, metadata)
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
    file.finish()?;
    if best
        .as_ref()
        .is_some_and(|(params, state)| params.len() != model.params.len() || state.len() != model.state.len())
    {
        return Err(broken("the best weights are not those of this network"));
    }
    let (progress, history) = parse(&text).ok_or_else(|| broken("a field is missing or not a number"))?;
    Ok(Saved::Run(Resume { model, moments, best, progress, history }))
}

fn broken(problem: &str) -> InterchangeError {
    InterchangeError::Metadata { key: KEY.into(), problem: problem.into() }
}

fn parse(text: &str) -> Option<(Progress, History)> {
    let value: Value = serde_json::from_str(text).ok()?;
    let count = |key: &str| value[key].as_u64();
    let epoch_of = |value: &Value| value.as_u64().and_then(|epoch| u32::try_from(epoch).ok());
    let best = match &value["best"] {
        Value::Null => None,
        best => Some((float(&best[0])?, epoch_of(&best[1])?)),
    };
    let progress = Progress {
        epoch: u32::try_from(count("epoch")?).ok()?,
        batch: usize::try_from(count("batch")?).ok()?,
        step: count("step")?,
        score: Score { loss: float(&value["loss"])?, hits: float(&value["hits"])?, rows: count("rows")? },
        stop: StopState { best, wait: u32::try_from(count("wait")?).ok()? },
        lr: float(&value["lr"])? as f32,
    };
    let epochs = value["epochs"].as_array()?.iter().map(read_epoch).collect::<Option<Vec<_>>>()?;
    let history = History {
        epochs,
        best_epoch: epoch_of(&value["best_epoch"]),
        stopped_epoch: epoch_of(&value["stopped_epoch"]),
    };
    Some((progress, history))
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

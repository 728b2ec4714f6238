//! The options of `train`: the same names on the command line and in `config.toml`.
//!
//! Every field is optional so that the command line can be laid over a file, and both over the defaults.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use evenkeel::fit::{Monitor, Trainer};
use evenkeel::train::{Clip, Rules};
use evenkeel::{EarlyStopping, Init, Level, Loss, Optimizer, Schedule};
use serde::{Deserialize, Serialize};

use crate::error::{Failure, Kind};

/// How training goes; see each option's help.
#[derive(Args, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct TrainOptions {
    /// Training data: CSV, NPY or IDX, also gzipped [default: the UCI digits that ship inside]
    #[arg(long, value_name = "FILE", help_heading = "Data")]
    pub data: Option<PathBuf>,
    /// File with the labels of the training data, row for row
    #[arg(long, value_name = "FILE", help_heading = "Data")]
    pub labels: Option<PathBuf>,
    /// Column with the target, by name or number (several with commas) [default: label, target, class, or the last]
    #[arg(long, value_name = "COLUMN", help_heading = "Data")]
    pub target: Option<String>,
    /// Columns that are no inputs, with commas
    #[arg(long, value_name = "COLUMNS", help_heading = "Data")]
    pub ignore: Option<String>,
    /// Train on the rows whose column lies in a range or list: subject=0..6, day=mon,tue
    #[arg(long = "where", value_name = "COLUMN=RANGE", help_heading = "Data")]
    #[serde(rename = "where")]
    pub filter: Option<String>,
    /// Validation data in a file of its own
    #[arg(long, value_name = "FILE", help_heading = "Data")]
    pub validation: Option<PathBuf>,
    /// Labels of the validation file
    #[arg(long, value_name = "FILE", help_heading = "Data")]
    pub validation_labels: Option<PathBuf>,
    /// Rows of the training file to validate on (with --where for the others)
    #[arg(long, value_name = "COLUMN=RANGE", help_heading = "Data")]
    pub validation_where: Option<String>,
    /// Share of the training rows held out for validation, stratified; 0 for none [default: 0.1]
    #[arg(long, value_name = "SHARE", help_heading = "Data")]
    pub validation_split: Option<f64>,
    /// Test data in a file of its own, looked at once at the end
    #[arg(long, value_name = "FILE", help_heading = "Data")]
    pub test: Option<PathBuf>,
    /// Labels of the test file
    #[arg(long, value_name = "FILE", help_heading = "Data")]
    pub test_labels: Option<PathBuf>,
    /// Rows of the training file to test on (with --where for the others)
    #[arg(long, value_name = "COLUMN=RANGE", help_heading = "Data")]
    pub test_where: Option<String>,
    /// Share of the rows held out for the test, stratified [default: 0, or 0.2 for the built-in digits]
    #[arg(long, value_name = "SHARE", help_heading = "Data")]
    pub test_split: Option<f64>,
    /// Learn mean and deviation of each input from the training rows and fold them into the image [default: true]
    #[arg(long, value_name = "BOOL", help_heading = "Data")]
    pub standardize: Option<bool>,

    /// The network: dense(512) bn relu dropout(0.2) dense(10) [default: dense(64) bn relu dropout(0.2) twice, then dense(outputs)]
    #[arg(long, value_name = "TEXT", help_heading = "Network")]
    pub net: Option<String>,
    /// Initial weights: glorot_uniform, he_normal, lecun_normal, orthogonal, torch_linear, constant(0.1), … [default: he_normal]
    #[arg(long, value_name = "NAME", help_heading = "Network")]
    pub init: Option<String>,
    /// Start from the weights of a checkpoint, or go on with the run it holds
    #[arg(long, value_name = "FILE", help_heading = "Network")]
    #[serde(skip)]
    pub from: Option<PathBuf>,

    /// What is minimised [default: cross-entropy for classes, mse for values]
    #[arg(long, value_enum, help_heading = "Training")]
    pub loss: Option<LossName>,
    /// [default: adam]
    #[arg(long, value_enum, help_heading = "Training")]
    pub optimizer: Option<OptimizerName>,
    /// Learning rate [default: 0.001, 0.01 for sgd]
    #[arg(long, value_name = "RATE", help_heading = "Training")]
    pub lr: Option<f32>,
    /// constant, step(EPOCHS, FACTOR) or cosine(FLOOR) [default: constant]
    #[arg(long, value_name = "TEXT", help_heading = "Training")]
    pub schedule: Option<String>,
    /// Epochs over which the rate rises to its base [default: 0]
    #[arg(long, value_name = "EPOCHS", help_heading = "Training")]
    pub warmup: Option<f32>,
    /// Share of the velocity that SGD keeps [default: 0.9]
    #[arg(long, value_name = "SHARE", help_heading = "Training")]
    pub momentum: Option<f32>,
    /// Nesterov's look-ahead for SGD [default: false]
    #[arg(long, value_name = "BOOL", help_heading = "Training")]
    pub nesterov: Option<bool>,
    /// AdamW's decoupled decay [default: 0.01]
    #[arg(long, value_name = "SHARE", help_heading = "Training")]
    pub weight_decay: Option<f32>,
    /// L2 penalty on the dense weights, added to their gradients [default: 0]
    #[arg(long, value_name = "FACTOR", help_heading = "Training")]
    pub l2: Option<f32>,
    /// Penalise biases and batch norm's parameters as well, as PyTorch does [default: false]
    #[arg(long, value_name = "BOOL", help_heading = "Training")]
    pub decay_all: Option<bool>,
    /// Scale gradients down to this common norm
    #[arg(long, value_name = "NORM", help_heading = "Training")]
    pub clip_norm: Option<f32>,
    /// Cut each gradient to this size
    #[arg(long, value_name = "SIZE", help_heading = "Training")]
    pub clip_value: Option<f32>,
    /// Most epochs [default: 200]
    #[arg(long, value_name = "N", help_heading = "Training")]
    pub epochs: Option<u32>,
    /// Rows of a batch [default: 64]
    #[arg(long, value_name = "N", help_heading = "Training")]
    pub batch: Option<usize>,
    /// New order of the rows each epoch [default: true]
    #[arg(long, value_name = "BOOL", help_heading = "Training")]
    pub shuffle: Option<bool>,
    /// Seed of splits, weights, order and dropout [default: 1]
    #[arg(long, value_name = "N", help_heading = "Training")]
    pub seed: Option<u64>,

    /// Epochs without improvement before stopping; 0 never stops early [default: 20]
    #[arg(long, value_name = "N", help_heading = "Early stopping")]
    pub patience: Option<u32>,
    /// What counts as an improvement [default: 0]
    #[arg(long, value_name = "DELTA", help_heading = "Early stopping")]
    pub min_delta: Option<f64>,
    /// The figure that decides [default: val-loss]
    #[arg(long, value_enum, help_heading = "Early stopping")]
    pub monitor: Option<MonitorName>,
    /// A value that must be beaten before the patience starts anew
    #[arg(long, value_name = "VALUE", help_heading = "Early stopping")]
    pub baseline: Option<f64>,
    /// Epochs that are not looked at [default: 0]
    #[arg(long, value_name = "N", help_heading = "Early stopping")]
    pub start_from_epoch: Option<u32>,
    /// End with the weights of the best epoch [default: true]
    #[arg(long, value_name = "BOOL", help_heading = "Early stopping")]
    pub restore_best: Option<bool>,

    /// How the image stores weights [default: f32]
    #[arg(long, value_enum, help_heading = "Output")]
    pub weights: Option<WeightsName>,
}

/// Names of [`Loss`].
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum LossName {
    /// Softmax and cross-entropy over classes
    #[value(alias = "cross_entropy")]
    CrossEntropy,
    /// Sigmoid and binary cross-entropy
    Bce,
    /// Mean squared error
    Mse,
}

impl From<LossName> for Loss {
    fn from(name: LossName) -> Self {
        match name {
            LossName::CrossEntropy => Loss::CrossEntropy,
            LossName::Bce => Loss::BinaryCrossEntropy,
            LossName::Mse => Loss::MeanSquaredError,
        }
    }
}

/// Names of [`Optimizer`].
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum OptimizerName {
    /// Stochastic gradient descent
    Sgd,
    /// Adam
    Adam,
    /// Adam with decoupled weight decay
    Adamw,
}

/// Names of [`Monitor`].
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum MonitorName {
    /// Validation loss
    #[value(alias = "val_loss")]
    ValLoss,
    /// Validation accuracy
    #[value(alias = "val_accuracy")]
    ValAccuracy,
    /// Training loss
    Loss,
    /// Training accuracy
    Accuracy,
}

impl From<MonitorName> for Monitor {
    fn from(name: MonitorName) -> Self {
        match name {
            MonitorName::ValLoss => Monitor::ValLoss,
            MonitorName::ValAccuracy => Monitor::ValAccuracy,
            MonitorName::Loss => Monitor::Loss,
            MonitorName::Accuracy => Monitor::Accuracy,
        }
    }
}

/// Names of [`evenkeel::export::Precision`].
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum WeightsName {
    /// Single precision
    #[default]
    F32,
    /// Half precision
    F16,
}

impl From<WeightsName> for evenkeel::export::Precision {
    fn from(name: WeightsName) -> Self {
        match name {
            WeightsName::F32 => Self::F32,
            WeightsName::F16 => Self::F16,
        }
    }
}

impl TrainOptions {
    /// These options where they are given, `base`'s elsewhere.
    ///
    /// # Errors
    /// If the merged table cannot be read back, which would be a mistake in this program.
    pub fn over(&self, base: &Self) -> Result<Self, Failure> {
        let table = |options: &Self| toml::Table::try_from(options).map_err(|error| Failure::new(Kind::Usage, error));
        let mut merged = table(base)?;
        merged.extend(table(self)?);
        let mut merged: Self = merged.try_into().map_err(|error| Failure::new(Kind::Usage, error))?;
        merged.from = self.from.clone();
        Ok(merged)
    }

    /// The seed, 1 unless given.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed.unwrap_or(1)
    }

    /// The library's description of the same training.
    ///
    /// # Errors
    /// For a schedule that cannot be read, or two ways of clipping.
    pub fn trainer(&self, loss: Loss, level: Level) -> Result<Trainer, Failure> {
        let kind = self.optimizer.unwrap_or(OptimizerName::Adam);
        let optimizer = match (kind, Optimizer::ADAM) {
            (OptimizerName::Sgd, _) => {
                Optimizer::Sgd { momentum: self.momentum.unwrap_or(0.9), nesterov: self.nesterov.unwrap_or(false) }
            }
            (OptimizerName::Adamw, Optimizer::Adam { beta1, beta2, eps }) => {
                Optimizer::AdamW { beta1, beta2, eps, weight_decay: self.weight_decay.unwrap_or(0.01) }
            }
            (_, adam) => adam,
        };
        let usage = |message: &str| Err(Failure::new(Kind::Usage, message));
        if self.weight_decay.is_some() && kind != OptimizerName::Adamw {
            return usage("--weight-decay belongs to --optimizer adamw; for the others the penalty is --l2");
        }
        if (self.momentum.is_some() || self.nesterov.is_some()) && kind != OptimizerName::Sgd {
            return usage("--momentum and --nesterov belong to --optimizer sgd");
        }
        let clip = match (self.clip_norm, self.clip_value) {
            (None, None) => Clip::None,
            (Some(norm), None) => Clip::Norm(norm),
            (None, Some(value)) => Clip::Value(value),
            (Some(_), Some(_)) => return usage("choose one of --clip-norm and --clip-value"),
        };
        let monitor = self.monitor.unwrap_or(MonitorName::ValLoss).into();
        let patience = self.patience.unwrap_or(20);
        Ok(Trainer {
            rules: Rules {
                loss,
                optimizer,
                l2: self.l2.unwrap_or(0.0),
                decay_all: self.decay_all.unwrap_or(false),
                clip,
            },
            lr: self.lr.unwrap_or(if kind == OptimizerName::Sgd { 0.01 } else { 0.001 }),
            schedule: schedule(self.schedule.as_deref().unwrap_or("constant"))?,
            warmup_epochs: self.warmup.unwrap_or(0.0),
            epochs: self.epochs.unwrap_or(200),
            batch: self.batch.unwrap_or(64),
            seed: self.seed(),
            shuffle: self.shuffle.unwrap_or(true),
            early_stopping: (patience > 0).then(|| EarlyStopping {
                mode: Monitor::mode(monitor),
                patience,
                min_delta: self.min_delta.unwrap_or(0.0),
                baseline: self.baseline,
                start_from_epoch: self.start_from_epoch.unwrap_or(0),
            }),
            monitor,
            restore_best: self.restore_best.unwrap_or(true),
            level,
        })
    }

    /// The initialiser.
    ///
    /// # Errors
    /// For an unknown name.
    pub fn init(&self) -> Result<Init, Failure> {
        let name = self.init.as_deref().unwrap_or("he_normal");
        name.parse().map_err(|error| Failure::new(Kind::Usage, format_args!("--init {name}: {error}")))
    }
}

fn schedule(text: &str) -> Result<Schedule, Failure> {
    let wrong = || {
        let message = format!("--schedule {text}: expected constant, step(EPOCHS, FACTOR) or cosine(FLOOR)");
        Failure::new(Kind::Usage, message)
    };
    let (name, arguments) = text.trim().split_once('(').unwrap_or((text.trim(), ")"));
    let arguments = arguments.strip_suffix(')').ok_or_else(wrong)?;
    let numbers = arguments.split(',').map(str::trim).filter(|part| !part.is_empty());
    let numbers = numbers.map(|part| part.parse::<f32>().map_err(|_| wrong())).collect::<Result<Vec<f32>, _>>()?;
    match (name, numbers.as_slice()) {
        ("constant", []) => Ok(Schedule::Constant),
        ("step", [every, factor]) if *every >= 1.0 && every.fract() == 0.0 && *factor > 0.0 => {
            Ok(Schedule::Step { every: *every as u32, factor: *factor })
        }
        ("cosine", []) => Ok(Schedule::Cosine { floor: 0.0 }),
        ("cosine", [floor]) if (0.0..=1.0).contains(floor) => Ok(Schedule::Cosine { floor: *floor }),
        _ => Err(wrong()),
    }
}

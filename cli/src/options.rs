//! The options of `train`: the same names on the command line and in `config.toml`.
//!
//! Every field is optional so that the command line can be laid over a file, and both over the defaults. What they mean
//! for the library, and how the defaults are filled in, says [`resolve`].

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use evenkeel::fit::Monitor;
use evenkeel::layer::Dialect;
use serde::{Deserialize, Serialize};

use crate::data::{Header, Missing, Task};

mod loss;
mod recipe;
pub mod resolve;

pub use loss::{LossName, MeanName};

/// How training goes; see each option's help.
#[derive(Args, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct TrainOptions {
    /// Training data: CSV, NPY, NPZ (file.npz:array), IDX or index lists (.svm), also packed with gzip or zstd; several files
    /// with commas or as logs/*.csv [default: the UCI digits that ship inside]
    #[arg(long, value_name = "FILE", help_heading = "Data")]
    pub data: Option<PathBuf>,
    /// File with the labels of the training data, row for row
    #[arg(long, value_name = "FILE", help_heading = "Data")]
    pub labels: Option<PathBuf>,
    /// Column with the target, by name or number (several with commas) [default: label, target, class, or the last]
    #[arg(long, value_name = "COLUMN", help_heading = "Data")]
    pub target: Option<String>,
    /// Whether the target is classes or values [default: classes for words and whole numbers]
    #[arg(long, value_enum, help_heading = "Data")]
    pub task: Option<TaskName>,
    /// Whether the first line of a CSV file holds names [default: it does if no field is a number]
    #[arg(long, value_enum, help_heading = "Data")]
    pub header: Option<HeaderName>,
    /// Columns that are no inputs, with commas
    #[arg(long, value_name = "COLUMNS", help_heading = "Data")]
    pub ignore: Option<String>,
    /// Inputs of a row of index lists (.svm) [default: the largest index of the training data]
    #[arg(long, value_name = "N", help_heading = "Data", allow_negative_numbers = true)]
    pub width: Option<usize>,
    /// What index lists call their first input, 0 or 1 [default: 1]
    #[arg(long, value_name = "N", help_heading = "Data", value_parser = clap::value_parser!(u32).range(..=1), allow_negative_numbers = true)]
    pub index_base: Option<u32>,
    /// Columns of inputs that are categories (auto: those with text in the first row): one input for each category
    #[arg(long, value_name = "COLUMNS", help_heading = "Data")]
    pub categorical: Option<String>,
    /// What stands for missing cells of inputs: mean or median of the training rows, a number, drop (leaves the row out)
    /// [default: refuse]
    #[arg(long, value_name = "POLICY", help_heading = "Data", allow_negative_numbers = true)]
    pub missing: Option<Missing>,
    /// Texts that count as missing beside NA, nan, null, ? and empty cells, with commas
    #[arg(long, value_name = "TEXTS", help_heading = "Data", allow_hyphen_values = true)]
    pub missing_as: Option<String>,
    /// What becomes of a category that the model does not know [default: refuse]
    #[arg(long, value_enum, help_heading = "Data")]
    pub unknown_category: Option<UnknownName>,
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
    #[arg(long, value_name = "SHARE", help_heading = "Data", allow_negative_numbers = true)]
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
    #[arg(long, value_name = "SHARE", help_heading = "Data", allow_negative_numbers = true)]
    pub test_split: Option<f64>,
    /// Test on fold K of N, train on the others: stratified folds, drawn by the seed
    #[arg(long, value_name = "K/N", help_heading = "Data")]
    pub test_fold: Option<String>,
    /// Test on the rows of a group, train on the others: subject=3; the column is no input
    #[arg(long, value_name = "COLUMN=VALUE", help_heading = "Data")]
    pub test_group: Option<String>,
    /// Leave the inputs on the disk and read each batch when it is needed: for data larger than memory, with the same bits
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", help_heading = "Data")]
    pub stream: Option<bool>,
    /// Folder for what --stream must write: all but plain arrays of 32-bit floats (.npy) [default: the system's folder for
    /// temporary files]
    #[arg(long, value_name = "FOLDER", help_heading = "Data")]
    pub spool: Option<PathBuf>,
    /// Learn mean and deviation of each input from the training rows and fold them into the image [default: true, with
    /// --from what the file was trained with]
    #[arg(long, value_name = "BOOL", help_heading = "Data")]
    pub standardize: Option<bool>,

    /// The network: dense(512) bn relu dropout(0.2) dense(10) [default: dense(64) bn relu dropout(0.2) twice, then dense(outputs)]
    #[arg(long, value_name = "TEXT", help_heading = "Network")]
    pub net: Option<String>,
    /// Whose defaults bn and ln of --net have; with --from weights, whose running variance their batch norms go on with
    /// (converted for --batch rows) [default: torch]
    #[arg(long, value_enum, help_heading = "Network")]
    pub dialect: Option<DialectName>,
    /// Weights to begin with: glorot_uniform, he_normal, lecun_normal, orthogonal, torch_linear, constant(0.1), kaiming_uniform(fan_out, tanh), lsuv, … [default: he_normal]
    #[arg(long, value_name = "NAME", help_heading = "Network")]
    pub init: Option<String>,
    /// Start from the weights in a file (also one that PyTorch wrote), or go on with the run that a checkpoint holds
    #[arg(long, value_name = "FILE", help_heading = "Network")]
    pub from: Option<PathBuf>,

    /// What is minimised: cross-entropy, bce, mse, mae, huber(1), focal(2, 0.25), kl-div, hinge, quantile(0.9), … [default: cross-entropy for classes, mse for values]
    #[arg(long, value_name = "LOSS", help_heading = "Training")]
    pub loss: Option<LossName>,
    /// Share of each target that is spread over all classes (cross-entropies), or moved to 1/2 (bce) [default: 0]
    #[arg(long, value_name = "SHARE", help_heading = "Training", allow_negative_numbers = true)]
    #[serde(serialize_with = "resolve::shortest")]
    pub label_smoothing: Option<f32>,
    /// Mix each row with another one of its batch, in a share from Beta(ALPHA, ALPHA); 0.2 is usual [default: 0]
    #[arg(long, value_name = "ALPHA", help_heading = "Training", allow_negative_numbers = true)]
    #[serde(serialize_with = "resolve::shortest")]
    pub mixup: Option<f32>,
    /// Deviation of the noise added to the (standardised) inputs in training [default: 0]
    #[arg(long, value_name = "DEVIATION", help_heading = "Training", allow_negative_numbers = true)]
    #[serde(serialize_with = "resolve::shortest")]
    pub jitter: Option<f32>,
    /// Weights of the classes in training: balanced, or CLASS:WEIGHT with commas (others weigh 1)
    #[arg(long, value_name = "WEIGHTS", help_heading = "Training")]
    pub class_weight: Option<String>,
    /// Column with a weight for each row; it is no input. The figures at the end count every row once
    #[arg(long, value_name = "COLUMN", help_heading = "Data")]
    pub weight_column: Option<String>,
    /// What weighted losses are divided by [default: rows]
    #[arg(long, value_enum, help_heading = "Training")]
    pub weight_mean: Option<MeanName>,
    /// How gradients change the weights: sgd, adam, adamw, amsgrad, nadam, adamax, rmsprop, adagrad, adadelta, lion, lamb or
    /// schedule_free, with constants as in "rmsprop(alpha=0.9, momentum=0.9)" or "rmsprop(keras)" [default: adam]
    #[arg(long, value_name = "TEXT", help_heading = "Training")]
    pub optimizer: Option<String>,
    /// Learning rate [default: the optimiser's: 0.001 for adam, 0.01 for sgd]
    #[arg(long, value_name = "RATE", help_heading = "Training", allow_negative_numbers = true)]
    #[serde(serialize_with = "resolve::shortest")]
    pub lr: Option<f32>,
    /// constant, step(EPOCHS, FACTOR), cosine(FLOOR), exponential(GAMMA), polynomial(EPOCHS, POWER), one_cycle,
    /// cosine_restarts(EPOCHS), cyclic(UP, DOWN, FLOOR) or plateau, which follows --monitor [default: constant]
    #[arg(long, value_name = "TEXT", help_heading = "Training")]
    pub schedule: Option<String>,
    /// Epochs over which the rate rises to its base [default: 0]
    #[arg(long, value_name = "EPOCHS", help_heading = "Training", allow_negative_numbers = true)]
    #[serde(serialize_with = "resolve::shortest")]
    pub warmup: Option<f32>,
    /// Share of the velocity that SGD keeps [default: 0.9]
    #[arg(long, value_name = "SHARE", help_heading = "Training", allow_negative_numbers = true)]
    #[serde(serialize_with = "resolve::shortest")]
    pub momentum: Option<f32>,
    /// Nesterov's look-ahead for SGD [default: false]
    #[arg(long, value_name = "BOOL", help_heading = "Training")]
    pub nesterov: Option<bool>,
    /// Decoupled decay: dense weights shrink by this times the rate each step [default: 0, or what the optimiser has: 0.01 for
    /// adamw and lamb]
    #[arg(long, value_name = "SHARE", help_heading = "Training", allow_negative_numbers = true)]
    #[serde(serialize_with = "resolve::shortest")]
    pub weight_decay: Option<f32>,
    /// L2 penalty on the dense weights, added to their gradients [default: 0]
    #[arg(long, value_name = "FACTOR", help_heading = "Training", allow_negative_numbers = true)]
    #[serde(serialize_with = "resolve::shortest")]
    pub l2: Option<f32>,
    /// L1 penalty on the dense weights; with --l2 an elastic net [default: 0]
    #[arg(long, value_name = "FACTOR", help_heading = "Training", allow_negative_numbers = true)]
    #[serde(serialize_with = "resolve::shortest")]
    pub l1: Option<f32>,
    /// Penalise biases and batch norm's parameters as well, as PyTorch does [default: false]
    #[arg(long, value_name = "BOOL", help_heading = "Training")]
    pub decay_all: Option<bool>,
    /// After each step, scale the incoming weights of every unit down to this norm; short for --constraint "max_norm(NORM)"
    #[arg(long, value_name = "NORM", help_heading = "Training", allow_negative_numbers = true)]
    #[serde(serialize_with = "resolve::shortest")]
    pub max_norm: Option<f32>,
    /// What dense weights must be after each step: max_norm(LIMIT), non_negative, unit_norm or
    /// min_max_norm(MIN, MAX, RATE) [default: none]
    #[arg(long, value_name = "TEXT", help_heading = "Training")]
    pub constraint: Option<String>,
    /// Factors on the learning rate of layers, counted from 0: 0=0.1,3..6=0.5; 0 leaves a layer's parameters as they are
    #[arg(long, value_name = "LAYER=FACTOR", help_heading = "Training")]
    pub layer_lr: Option<String>,
    /// Scale gradients down to this common norm
    #[arg(long, value_name = "NORM", help_heading = "Training", allow_negative_numbers = true)]
    #[serde(serialize_with = "resolve::shortest")]
    pub clip_norm: Option<f32>,
    /// Cut each gradient to this size
    #[arg(long, value_name = "SIZE", help_heading = "Training", allow_negative_numbers = true)]
    #[serde(serialize_with = "resolve::shortest")]
    pub clip_value: Option<f32>,
    /// Most epochs [default: 200]
    #[arg(long, value_name = "N", help_heading = "Training", value_parser = clap::value_parser!(u32).range(1..), allow_negative_numbers = true)]
    pub epochs: Option<u32>,
    /// Rows of a batch [default: 64]
    #[arg(long, value_name = "N", help_heading = "Training", allow_negative_numbers = true)]
    pub batch: Option<usize>,
    /// Rows that are computed at a time, if less than a batch: the same bits in less memory [default: the batch]
    #[arg(long, value_name = "N", help_heading = "Training", allow_negative_numbers = true)]
    pub micro_batch: Option<usize>,
    /// Average the weights at the ends of epochs, from epoch N (counted from 0) on; the average is what is validated and exported
    #[arg(long, value_name = "N", help_heading = "Training", allow_negative_numbers = true)]
    pub swa: Option<u32>,
    /// Average the weights exponentially, with this share of the old average at each step; the average is what is validated
    /// and exported
    #[arg(long, value_name = "DECAY", help_heading = "Training", allow_negative_numbers = true)]
    pub ema: Option<f64>,
    /// New order of the rows each epoch [default: true]
    #[arg(long, value_name = "BOOL", help_heading = "Training")]
    pub shuffle: Option<bool>,
    /// Seed of splits, weights, order and dropout [default: 1]
    #[arg(long, value_name = "N", help_heading = "Training", value_parser = clap::value_parser!(u64).range(..1 << 63), allow_negative_numbers = true)]
    pub seed: Option<u64>,

    /// Epochs without improvement before stopping; 0 never stops early [default: 20]
    #[arg(long, value_name = "N", help_heading = "Early stopping", allow_negative_numbers = true)]
    pub patience: Option<u32>,
    /// By how much the figure must improve to count [default: 0]
    #[arg(long, value_name = "DELTA", help_heading = "Early stopping", allow_negative_numbers = true)]
    pub min_delta: Option<f64>,
    /// The figure that decides; without validation data that of the training rows [default: val-loss]
    #[arg(long, value_enum, help_heading = "Early stopping")]
    pub monitor: Option<MonitorName>,
    /// A value that must be beaten before the patience starts anew
    #[arg(long, value_name = "VALUE", help_heading = "Early stopping", allow_negative_numbers = true)]
    pub baseline: Option<f64>,
    /// Epochs that are not looked at [default: 0]
    #[arg(long, value_name = "N", help_heading = "Early stopping", allow_negative_numbers = true)]
    pub start_from_epoch: Option<u32>,
    /// End with the weights of the best epoch [default: true]
    #[arg(long, value_name = "BOOL", help_heading = "Early stopping")]
    pub restore_best: Option<bool>,

    /// How the image stores weights [default: f32]
    #[arg(long, value_enum, help_heading = "Output")]
    pub weights: Option<WeightsName>,
    /// Least seconds between two checkpoints, which are written after an epoch; no result depends on it [default: 2]
    #[arg(long, value_name = "SECONDS", help_heading = "Output", allow_negative_numbers = true)]
    pub checkpoint_seconds: Option<f64>,
}

/// Names of [`Dialect`].
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum DialectName {
    /// PyTorch: eps 1e-5, momentum 0.1, unbiased running variance
    Torch,
    /// Keras: eps 1e-3, momentum 0.99, biased running variance
    Keras,
}

impl From<DialectName> for Dialect {
    fn from(name: DialectName) -> Self {
        match name {
            DialectName::Torch => Dialect::Torch,
            DialectName::Keras => Dialect::Keras,
        }
    }
}

/// Names of [`Task`].
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum TaskName {
    /// One of several classes
    Classes,
    /// Quantities
    Values,
}

impl From<TaskName> for Task {
    fn from(name: TaskName) -> Self {
        match name {
            TaskName::Classes => Task::Classes,
            TaskName::Values => Task::Values,
        }
    }
}

/// What becomes of an unknown category.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum UnknownName {
    /// An error names it
    Refuse,
    /// It is none of the categories: all their inputs are 0
    Zeros,
}

/// Names of [`Header`].
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum HeaderName {
    /// It does
    Yes,
    /// It does not
    No,
}

impl From<HeaderName> for Header {
    fn from(name: HeaderName) -> Self {
        match name {
            HeaderName::Yes => Header::Yes,
            HeaderName::No => Header::No,
        }
    }
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

/// What `export` writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum FormatName {
    /// An image (.keel): what predict, eval and include_model! read
    #[default]
    Image,
    /// A Rust module (.rs) with constants and a call, and its image (.keel) beside it
    Rust,
    /// A C source (.c) with the image as an array, and its header (.h)
    C,
}

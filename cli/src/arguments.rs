//! The options of each subcommand.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use evenkeel::fit::RateSearch;
use evenkeel_cli::commands::Source;
use evenkeel_cli::error::Failure;
use evenkeel_cli::metrics::Choice;
use evenkeel_cli::options::{FormatName, HeaderName, LossName, TrainOptions, UnknownName, WeightsName};

/// Trains dense networks that generalise, folds them, and runs them: the same bits on every machine.
///
/// Exit codes: 0 done; 2 options that do not fit together; 3 a data file; 4 a model, checkpoint or image; 5 training
/// diverged (the checkpoint has what was before); 6 the network cannot be folded; 7 a file cannot be written; 130 stopped by Ctrl-C, with a checkpoint.
/// EVENKEEL_LEVEL=portable|avx2|avx512|neon forces an instruction set.
#[derive(Parser)]
#[command(name = "evenkeel", version, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Threads; 0 takes one for each core
    #[arg(long, global = true, default_value_t = 0, value_name = "N", allow_negative_numbers = true)]
    pub(crate) threads: usize,
    /// One JSON object a line on standard output, the last with every figure
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// No progress
    #[arg(long, global = true)]
    pub(crate) quiet: bool,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Train a network and write model, image, curves and report to a folder
    Train(Box<Train>),
    /// Train on all folds but one, test on that one, in turn; takes the options of train
    Cv(Box<Cv>),
    /// Train every combination of a grid of options, as many runs at a time as there are threads, and write one table.
    ///
    /// The grid is a TOML file with options of train, one a line; those with a list of values are varied:
    /// epochs = 50, lr = [0.01, 0.001], net = ["dense(10)", "dense(64) relu dense(10)"]. Stopped or killed, the same command
    /// goes on where it was.
    Sweep {
        /// The grid
        grid: PathBuf,
        /// Folder for the runs and the table
        #[arg(long, value_name = "FOLDER", default_value = "sweep")]
        out: PathBuf,
    },
    /// Try learning rates on the beginning of a run and suggest one; takes the options of train
    FindLr(Box<FindLr>),
    /// The curves of several runs in one picture, and a table of their best epochs
    Compare {
        /// Folders of runs
        #[arg(required = true)]
        runs: Vec<PathBuf>,
        /// The picture (SVG)
        #[arg(long, value_name = "FILE", default_value = "compare.svg")]
        out: PathBuf,
    },
    /// Loss, accuracy and metrics of a model on labelled data
    Eval {
        #[command(flatten)]
        model: ModelArgs,
        #[command(flatten)]
        data: DataArgs,
        /// File with the labels
        #[arg(long, value_name = "FILE")]
        labels: Option<PathBuf>,
        /// The loss to compute [default: the one the model was trained with, else by the kind of labels]
        #[arg(long, value_enum)]
        loss: Option<LossName>,
        /// Column with a weight for each row, by which loss, accuracy and metrics count it [default: every row counts once]
        #[arg(long, value_name = "COLUMN")]
        weight_column: Option<String>,
        #[command(flatten)]
        batch: BatchArg,
        /// What to compute beside loss and accuracy: all, none, or of top-K, precision, recall, f1, roc-auc, pr-auc, log-loss,
        /// ece, classes, confusion, mae, rmse, r2, with commas
        #[arg(long, value_name = "NAMES", default_value = "all")]
        metrics: Choice,
        /// Draw the confusion matrix (SVG); of several sets each to a file of its own
        #[arg(long, value_name = "FILE")]
        confusion: Option<PathBuf>,
    },
    /// Outputs of a model for rows of data, as CSV or NPY
    Predict {
        #[command(flatten)]
        model: ModelArgs,
        #[command(flatten)]
        data: DataArgs,
        #[command(flatten)]
        batch: BatchArg,
        /// File to write: .csv or .npy [default: CSV on standard output]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Softmax of the outputs (sigmoid for a single one, or after the loss bce)
        #[arg(long)]
        probabilities: bool,
        /// The class of each row
        #[arg(long)]
        classes: bool,
    },
    /// Fold a checkpoint into an image, for files, Rust or C; or write an image as Rust or C
    Export {
        #[command(flatten)]
        model: ModelArgs,
        #[command(flatten)]
        data: DataArgs,
        /// Number of inputs of a checkpoint that another program wrote [default: from its first tensor]
        #[arg(long, value_name = "N", allow_negative_numbers = true)]
        inputs: Option<usize>,
        /// How weights are stored [default: f32; those of an image stay as they are]
        #[arg(long, value_enum)]
        weights: Option<WeightsName>,
        /// What to write
        #[arg(long, value_enum, default_value = "image")]
        format: FormatName,
        /// File to write; the second one of Rust and C takes its name [default: beside the checkpoint model-f32.keel,
        /// model_f32.rs, model_f32.c; the same with f16; for an image its own name]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Estimate the running statistics of a network's batch norms anew on rows of data, before it is exported
    ///
    /// The rows are cut in their order into batches; each goes through the network with the statistics of the batch and without
    /// dropout, and the new running mean and variance of each layer are the plain averages over the batches.
    Recalibrate {
        #[command(flatten)]
        model: ModelArgs,
        #[command(flatten)]
        data: DataArgs,
        /// Rows of a batch: the statistics depend on it; as many as there are rows gives those of the data itself
        #[arg(long, value_name = "N", default_value = "256", allow_negative_numbers = true)]
        batch: std::num::NonZeroUsize,
        /// Checkpoint to write [default: model-recalibrated.safetensors beside the one that was read]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// What is in an image or a checkpoint
    Inspect {
        /// Image, checkpoint, or folder of a run
        model: PathBuf,
    },
}

#[derive(Args)]
pub(crate) struct Train {
    #[command(flatten)]
    pub(crate) options: TrainOptions,
    /// Options from a file; those on the command line win [default: config.toml beside a checkpoint to go on from]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Folder for the results [default: run, or that of the checkpoint to go on from]
    #[arg(long, value_name = "FOLDER")]
    pub(crate) out: Option<PathBuf>,
    /// Train several times, with seeds one after the other, and show mean and spread
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1000), allow_negative_numbers = true)]
    pub(crate) repeat: u64,
}

#[derive(Args)]
pub(crate) struct Cv {
    #[command(flatten)]
    pub(crate) options: TrainOptions,
    /// Number of folds, stratified by class
    #[arg(long, value_name = "N", default_value_t = 5, allow_negative_numbers = true)]
    pub(crate) folds: usize,
    /// Instead of folds, leave out each value of this column in turn; it is no input
    #[arg(long, value_name = "COLUMN", conflicts_with = "folds")]
    pub(crate) leave_one_group_out: Option<String>,
    /// Options from a file; those on the command line win
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Folder for the runs, the table and the curves
    #[arg(long, value_name = "FOLDER", default_value = "cv")]
    pub(crate) out: PathBuf,
}

#[derive(Args)]
pub(crate) struct FindLr {
    #[command(flatten)]
    pub(crate) options: TrainOptions,
    /// Options from a file; those on the command line win
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Rate of the first step
    #[arg(long, value_name = "RATE", default_value_t = RateSearch::default().lowest, allow_negative_numbers = true)]
    pub(crate) lowest: f32,
    /// Rate of the last step
    #[arg(long, value_name = "RATE", default_value_t = RateSearch::default().highest, allow_negative_numbers = true)]
    pub(crate) highest: f32,
    /// Steps; the search ends early where the loss diverges
    #[arg(long, value_name = "N", default_value_t = RateSearch::default().steps, allow_negative_numbers = true)]
    pub(crate) steps: u32,
    /// The picture (SVG)
    #[arg(long, value_name = "FILE", default_value = "lr.svg")]
    pub(crate) out: PathBuf,
}

#[derive(Args)]
pub(crate) struct ModelArgs {
    /// Folder of a run, image (.keel) or checkpoint (.safetensors)
    pub(crate) model: PathBuf,
    /// The network of a checkpoint that another program wrote
    #[arg(long, value_name = "TEXT")]
    pub(crate) net: Option<String>,
}

#[derive(Args)]
pub(crate) struct DataArgs {
    /// Rows: CSV, NPY, NPZ (file.npz:array) or IDX, also packed; several files with commas or as logs/*.csv [default: for eval the run's own sets, else the UCI digits that ship inside;
    /// for export none: with rows the outputs of network and image are compared]
    #[arg(long, value_name = "FILE")]
    pub(crate) data: Option<PathBuf>,
    /// Column with the target
    #[arg(long, value_name = "COLUMN")]
    pub(crate) target: Option<String>,
    /// Whether the first line of a CSV file holds names
    #[arg(long, value_enum)]
    pub(crate) header: Option<HeaderName>,
    /// Columns that are no inputs, with commas
    #[arg(long, value_name = "COLUMNS")]
    pub(crate) ignore: Option<String>,
    /// What index lists (.svm) call their first input, 0 or 1 [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(..=1), allow_negative_numbers = true)]
    pub(crate) index_base: Option<u32>,
    /// What becomes of a category that the model does not know [default: refuse]
    #[arg(long, value_enum)]
    pub(crate) unknown_category: Option<UnknownName>,
    /// Only the rows whose column lies in a range or list
    #[arg(long = "where", value_name = "COLUMN=RANGE")]
    pub(crate) filter: Option<String>,
}

#[derive(Args)]
pub(crate) struct BatchArg {
    /// Rows at a time: no result depends on it
    #[arg(long, value_name = "N", default_value = "256", allow_negative_numbers = true)]
    pub(crate) batch: std::num::NonZeroUsize,
}

impl ModelArgs {
    /// Does something with model and data.
    pub(crate) fn with(
        &self,
        data: &TrainOptions,
        batch: usize,
        then: impl FnOnce(&Source<'_>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        then(&Source { model: &self.model, net: self.net.as_deref(), data, batch })
    }
}

impl DataArgs {
    pub(crate) fn options(&self) -> TrainOptions {
        TrainOptions {
            data: self.data.clone(),
            target: self.target.clone(),
            header: self.header,
            ignore: self.ignore.clone(),
            index_base: self.index_base,
            unknown_category: self.unknown_category,
            filter: self.filter.clone(),
            ..TrainOptions::default()
        }
    }
}

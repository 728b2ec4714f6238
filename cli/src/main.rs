//! The command `evenkeel`: reads the options, starts the threads, says what went wrong.

#![forbid(unsafe_code)]

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::Ordering;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};
use evenkeel::Level;
use evenkeel::fit::RateSearch;
use evenkeel::host::pool::Pool;
use evenkeel_cli::commands::{self, Context, Source, Wanted};
use evenkeel_cli::error::{Failure, Kind};
use evenkeel_cli::metrics::Choice;
use evenkeel_cli::options::{FormatName, HeaderName, LossName, TrainOptions, UnknownName, WeightsName};
use evenkeel_cli::report::Outcome;
use evenkeel_cli::show::{Show, percent};
use evenkeel_cli::train::{self, Origin, Plan};
use serde_json::json;

/// Trains dense networks that generalise, folds them, and runs them: the same bits on every machine.
///
/// Exit codes: 0 done; 2 options that do not fit together; 3 a data file; 4 a model, checkpoint or image; 5 training
/// diverged (the checkpoint has what was before); 6 the network cannot be folded; 7 a file cannot be written; 130 stopped by Ctrl-C, with a checkpoint.
/// EVENKEEL_LEVEL=portable|avx2|avx512|neon forces an instruction set.
#[derive(Parser)]
#[command(name = "evenkeel", version, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Threads; 0 takes one for each core
    #[arg(long, global = true, default_value_t = 0, value_name = "N", allow_negative_numbers = true)]
    threads: usize,
    /// One JSON object a line on standard output, the last with every figure
    #[arg(long, global = true)]
    json: bool,
    /// No progress
    #[arg(long, global = true)]
    quiet: bool,
}

#[derive(Subcommand)]
enum Command {
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
struct Train {
    #[command(flatten)]
    options: TrainOptions,
    /// Options from a file; those on the command line win [default: config.toml beside a checkpoint to go on from]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder for the results [default: run, or that of the checkpoint to go on from]
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Train several times, with seeds one after the other, and show mean and spread
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1000), allow_negative_numbers = true)]
    repeat: u64,
}

#[derive(Args)]
struct Cv {
    #[command(flatten)]
    options: TrainOptions,
    /// Number of folds, stratified by class
    #[arg(long, value_name = "N", default_value_t = 5, allow_negative_numbers = true)]
    folds: usize,
    /// Instead of folds, leave out each value of this column in turn; it is no input
    #[arg(long, value_name = "COLUMN", conflicts_with = "folds")]
    leave_one_group_out: Option<String>,
    /// Options from a file; those on the command line win
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder for the runs, the table and the curves
    #[arg(long, value_name = "FOLDER", default_value = "cv")]
    out: PathBuf,
}

#[derive(Args)]
struct FindLr {
    #[command(flatten)]
    options: TrainOptions,
    /// Options from a file; those on the command line win
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Rate of the first step
    #[arg(long, value_name = "RATE", default_value_t = RateSearch::default().lowest, allow_negative_numbers = true)]
    lowest: f32,
    /// Rate of the last step
    #[arg(long, value_name = "RATE", default_value_t = RateSearch::default().highest, allow_negative_numbers = true)]
    highest: f32,
    /// Steps; the search ends early where the loss diverges
    #[arg(long, value_name = "N", default_value_t = RateSearch::default().steps, allow_negative_numbers = true)]
    steps: u32,
    /// The picture (SVG)
    #[arg(long, value_name = "FILE", default_value = "lr.svg")]
    out: PathBuf,
}

#[derive(Args)]
struct ModelArgs {
    /// Folder of a run, image (.keel) or checkpoint (.safetensors)
    model: PathBuf,
    /// The network of a checkpoint that another program wrote
    #[arg(long, value_name = "TEXT")]
    net: Option<String>,
}

#[derive(Args)]
struct DataArgs {
    /// Rows: CSV, NPY, NPZ (file.npz:array) or IDX, also packed; several files with commas or as logs/*.csv [default: for eval the run's own sets, else the UCI digits that ship inside;
    /// for export none: with rows the outputs of network and image are compared]
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    /// Column with the target
    #[arg(long, value_name = "COLUMN")]
    target: Option<String>,
    /// Whether the first line of a CSV file holds names
    #[arg(long, value_enum)]
    header: Option<HeaderName>,
    /// Columns that are no inputs, with commas
    #[arg(long, value_name = "COLUMNS")]
    ignore: Option<String>,
    /// What index lists (.svm) call their first input, 0 or 1 [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(..=1), allow_negative_numbers = true)]
    index_base: Option<u32>,
    /// What becomes of a category that the model does not know [default: refuse]
    #[arg(long, value_enum)]
    unknown_category: Option<UnknownName>,
    /// Only the rows whose column lies in a range or list
    #[arg(long = "where", value_name = "COLUMN=RANGE")]
    filter: Option<String>,
    /// Leave the inputs on the disk and read them when they are needed: for data larger than memory
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    stream: Option<bool>,
    /// Folder for what --stream must write [default: the system's folder for temporary files]
    #[arg(long, value_name = "FOLDER")]
    spool: Option<PathBuf>,
}

#[derive(Args)]
struct BatchArg {
    /// Rows at a time: no result depends on it
    #[arg(long, value_name = "N", default_value = "256", allow_negative_numbers = true)]
    batch: std::num::NonZeroUsize,
}

impl ModelArgs {
    /// Does something with model and data.
    fn with(
        &self,
        data: &TrainOptions,
        batch: usize,
        then: impl FnOnce(&Source<'_>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        then(&Source { model: &self.model, net: self.net.as_deref(), data, batch })
    }
}

impl DataArgs {
    fn options(&self) -> TrainOptions {
        TrainOptions {
            data: self.data.clone(),
            target: self.target.clone(),
            header: self.header,
            ignore: self.ignore.clone(),
            index_base: self.index_base,
            unknown_category: self.unknown_category,
            filter: self.filter.clone(),
            stream: self.stream,
            spool: self.spool.clone(),
            ..TrainOptions::default()
        }
    }
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() && error.kind() != ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let json = std::env::args_os().any(|argument| argument == "--json");
            return fail(Show { json, quiet: false }, &usage(&error));
        }
        // Help and version.
        Err(error) => error.exit(),
    };
    let show = Show { json: cli.json, quiet: cli.quiet };
    match run(&cli, show) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => fail(show, &failure),
    }
}

fn fail(show: Show, failure: &Failure) -> ExitCode {
    let code = failure.kind as u8;
    show.event("error", json!({ "code": code, "message": failure.message }));
    let line = format!("{}: {failure}", if failure.kind == Kind::Interrupted { "evenkeel" } else { "error" });
    let _ = writeln!(std::io::stderr().lock(), "{line}");
    ExitCode::from(code)
}

/// What the parser of the options says, as one line.
fn usage(error: &clap::Error) -> Failure {
    let text = error.to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let lines = text.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:"));
    let lines: Vec<&str> = lines.filter(|line| !line.is_empty() && !line.starts_with("For more")).collect();
    Failure::new(Kind::Usage, format_args!("{} (evenkeel --help lists all options)", lines.join("; ")))
}

fn run(cli: &Cli, show: Show) -> Result<(), Failure> {
    let level = Level::from_env().map_err(|error| {
        let value = std::env::var_os("EVENKEEL_LEVEL").unwrap_or_default();
        Failure::new(Kind::Usage, format_args!("EVENKEEL_LEVEL={}: {error}", value.display()))
    })?;
    if cli.threads > 1024 {
        return Err(Failure::new(Kind::Usage, format_args!("--threads {}: at most 1024", cli.threads)));
    }
    let pool = Pool::new(cli.threads)
        .map_err(|error| Failure::new(Kind::Usage, format_args!("--threads {}: {error}", cli.threads)))?;
    let context = Context { pool: &pool, level, show };
    match &cli.command {
        Command::Train(arguments) => train(&context, arguments),
        Command::Cv(arguments) => cv(&context, arguments),
        Command::Sweep { grid, out } => {
            catch_interrupts();
            commands::sweep(&context, grid, out)
        }
        Command::FindLr(arguments) => {
            let FindLr { options, config, lowest, highest, steps, out } = &**arguments;
            options.check()?;
            let plan = Plan::new(options, config.as_deref(), None)?;
            let (lowest, highest, steps) = (*lowest, *highest, *steps);
            let search = RateSearch { lowest, highest, steps, ..RateSearch::default() };
            commands::find_lr(&context, &plan, search, out)
        }
        Command::Compare { runs, out } => commands::compare(&context, runs, out),
        Command::Eval { model, data, labels, loss, batch, metrics, confusion } => {
            let data = TrainOptions { labels: labels.clone(), loss: *loss, ..data.options() };
            model.with(&data, batch.batch.get(), |source| {
                commands::eval(&context, source, metrics, confusion.as_deref())
            })
        }
        Command::Predict { model, data, batch, out, probabilities, classes } => {
            model.with(&data.options(), batch.batch.get(), |source| {
                let wanted = Wanted { out: out.as_deref(), probabilities: *probabilities, classes: *classes };
                commands::predict(&context, source, wanted)
            })
        }
        Command::Export { model, data, inputs, weights, format, out } => {
            let weights = weights.map(Into::into);
            let wanted = commands::Export { inputs: *inputs, weights, format: *format, out: out.as_deref() };
            model.with(&data.options(), 256, |source| commands::export(&context, source, wanted))
        }
        Command::Recalibrate { model, data, batch, out } => {
            model.with(&data.options(), batch.get(), |source| commands::recalibrate(&context, source, out.as_deref()))
        }
        Command::Inspect { model } => commands::inspect(show, model),
    }
}

fn train(context: &Context<'_>, arguments: &Train) -> Result<(), Failure> {
    arguments.options.check()?;
    let plan = Plan::new(&arguments.options, arguments.config.as_deref(), arguments.out.as_deref())?;
    let repeated = arguments.repeat > 1;
    if repeated && matches!(plan.origin, Origin::Run(..)) {
        return Err(Failure::new(Kind::Usage, "--repeat makes new runs, --from goes on with one: choose one of them"));
    }
    catch_interrupts();
    let mut outcomes = Vec::new();
    for turn in 0..arguments.repeat {
        let options = TrainOptions { seed: Some(plan.options.seed().saturating_add(turn)), ..plan.options.clone() };
        let out = if repeated { plan.out.join(format!("seed-{}", options.seed())) } else { plan.out.clone() };
        let (pool, level, show) = (context.pool, context.level, context.show);
        let job = train::Job { options: &options, origin: &plan.origin, out: &out, pool, level, show };
        let outcome = train::train(&job)?;
        outcome.show(show);
        show.event("result", outcome.json());
        outcomes.push(outcome);
    }
    if repeated {
        summary(context.show, &outcomes);
    }
    Ok(())
}

/// The first Ctrl-C ends training after the batch it is in; a second one ends the program.
fn catch_interrupts() {
    let _ = ctrlc::set_handler(|| {
        if train::INTERRUPTED.swap(true, Ordering::Relaxed) {
            std::process::exit(Kind::Interrupted as i32);
        }
    });
}

fn cv(context: &Context<'_>, arguments: &Cv) -> Result<(), Failure> {
    let options = match &arguments.config {
        Some(config) => arguments.options.over(&train::read_config(config)?)?,
        None => arguments.options.clone(),
    };
    catch_interrupts();
    let folds = match &arguments.leave_one_group_out {
        Some(column) => commands::Folds::Groups(column),
        None => commands::Folds::Count(arguments.folds),
    };
    commands::cv(context, &options, &folds, &arguments.out, "the same command")
}

/// Mean and spread over repeated runs: of the accuracy, or of the loss where there is none.
fn summary(show: Show, outcomes: &[Outcome]) {
    let figures = || outcomes.iter().map(|outcome| outcome.test.or(outcome.validation).unwrap_or(outcome.train));
    let losses: Vec<f64> = figures().map(|figures| figures.loss).collect();
    let accuracies: Option<Vec<f64>> = figures().map(|figures| figures.accuracy).collect();
    let set = match outcomes.first() {
        Some(outcome) if outcome.test.is_some() => "test",
        Some(outcome) if outcome.validation.is_some() => "validation",
        _ => "training",
    };
    let (what, values) = accuracies.as_ref().map_or(("loss", &losses), |accuracies| ("accuracy", accuracies));
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let spread = (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0)).sqrt();
    let shown = |value: f64| if what == "accuracy" { percent(value) } else { format!("{value:.6}") };
    let all: Vec<String> = values.iter().map(|value| shown(*value)).collect();
    show.line(format_args!(
        "{what} over {} seeds: {} ± {} ({set} rows: {})",
        values.len(),
        shown(mean),
        shown(spread).trim_end_matches(" %"),
        all.join(", ")
    ));
    let runs: Vec<serde_json::Value> = outcomes.iter().map(Outcome::json).collect();
    show.event(
        "summary",
        json!({
            "set": set, "accuracies": accuracies, "losses": losses, "mean": mean, "standard_deviation": spread,
            "runs": runs,
        }),
    );
}

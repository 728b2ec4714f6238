//! The command `evenkeel`: reads the options, starts the threads, says what went wrong.

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::Ordering;

use clap::{Args, Parser, Subcommand};
use evenkeel::Level;
use evenkeel::host::pool::Pool;
use evenkeel_cli::commands::{self, Context, Source, Wanted};
use evenkeel_cli::error::{Failure, Kind};
use evenkeel_cli::options::{TrainOptions, WeightsName};
use evenkeel_cli::show::{Show, percent};
use evenkeel_cli::train;
use serde_json::json;

/// Trains dense networks that generalise, folds them, and runs them: the same bits on every machine.
///
/// Exit codes: 0 done; 2 options that do not fit together; 3 a data file; 4 a model, checkpoint or image; 5 training
/// diverged; 6 the network cannot be folded; 7 a file cannot be written; 130 stopped by Ctrl-C, with a checkpoint.
/// EVENKEEL_LEVEL=portable|avx2|avx512|neon forces an instruction set.
#[derive(Parser)]
#[command(name = "evenkeel", version, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Threads; 0 takes one for each core
    #[arg(long, global = true, default_value_t = 0, value_name = "N")]
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
    /// Loss and accuracy of a model on labelled data
    Eval(OnData),
    /// Outputs of a model for rows of data, as CSV or NPY
    Predict {
        #[command(flatten)]
        on: OnData,
        /// File to write: .csv or .npy [default: CSV on standard output]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Softmax of the outputs (sigmoid for a single one)
        #[arg(long)]
        probabilities: bool,
        /// The class of each row
        #[arg(long)]
        classes: bool,
    },
    /// Fold a checkpoint into an image
    Export {
        #[command(flatten)]
        on: OnData,
        /// Number of inputs of a checkpoint that another program wrote [default: from its first tensor]
        #[arg(long, value_name = "N")]
        inputs: Option<usize>,
        /// How weights are stored
        #[arg(long, value_enum, default_value = "f32")]
        weights: WeightsName,
        /// Image to write [default: model-f32.keel or model-f16.keel beside the checkpoint]
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
    /// Options from a file; those on the command line win [default: config.toml beside the checkpoint of --from]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder for the results [default: run, or the checkpoint's folder]
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Train several times, with seeds one after the other, and show mean and spread
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1000))]
    repeat: u64,
}

#[derive(Args)]
struct OnData {
    /// Folder of a run, image (.keel) or checkpoint (.safetensors)
    model: PathBuf,
    /// Rows: CSV, NPY or IDX, also gzipped [default: the UCI digits that ship inside]
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    /// File with the labels
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// Column with the target
    #[arg(long, value_name = "COLUMN")]
    target: Option<String>,
    /// Columns that are no inputs, with commas
    #[arg(long, value_name = "COLUMNS")]
    ignore: Option<String>,
    /// Only the rows whose column lies in a range or list
    #[arg(long = "where", value_name = "COLUMN=RANGE")]
    filter: Option<String>,
    /// The network of a checkpoint that another program wrote
    #[arg(long, value_name = "TEXT")]
    net: Option<String>,
    /// Rows at a time: no result depends on it
    #[arg(long, value_name = "N", default_value_t = 256)]
    batch: usize,
}

impl OnData {
    fn options(&self) -> TrainOptions {
        TrainOptions {
            data: self.data.clone(),
            labels: self.labels.clone(),
            target: self.target.clone(),
            ignore: self.ignore.clone(),
            filter: self.filter.clone(),
            ..TrainOptions::default()
        }
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let show = Show { json: cli.json, quiet: cli.quiet };
    match run(&cli, show) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let code = failure.kind as u8;
            show.event("error", json!({ "code": code, "message": failure.message }));
            eprintln!("{}: {failure}", if failure.kind == Kind::Interrupted { "evenkeel" } else { "error" });
            ExitCode::from(code)
        }
    }
}

fn run(cli: &Cli, show: Show) -> Result<(), Failure> {
    let level = Level::from_env()?;
    if cli.threads > 1024 {
        return Err(Failure::new(Kind::Usage, format_args!("--threads {}: at most 1024", cli.threads)));
    }
    let pool = Pool::new(cli.threads)
        .map_err(|error| Failure::new(Kind::Usage, format_args!("--threads {}: {error}", cli.threads)))?;
    let context = Context { pool: &pool, level, show };
    match &cli.command {
        Command::Train(arguments) => train(&context, arguments),
        Command::Eval(on) => with_source(on, |source| commands::eval(&context, source)),
        Command::Predict { on, out, probabilities, classes } => with_source(on, |source| {
            let wanted = Wanted { out: out.as_deref(), probabilities: *probabilities, classes: *classes };
            commands::predict(&context, source, wanted)
        }),
        Command::Export { on, inputs, weights, out } => {
            with_source(on, |source| commands::export(&context, source, *inputs, (*weights).into(), out.as_deref()))
        }
        Command::Inspect { model } => commands::inspect(show, model),
    }
}

fn with_source(on: &OnData, then: impl FnOnce(&Source<'_>) -> Result<(), Failure>) -> Result<(), Failure> {
    let data = on.options();
    then(&Source { model: &on.model, net: on.net.as_deref(), data: &data, batch: on.batch.max(1) })
}

fn train(context: &Context<'_>, arguments: &Train) -> Result<(), Failure> {
    let beside = arguments.options.from.as_deref().and_then(Path::parent);
    let config = arguments.config.clone().or_else(|| {
        let config = beside?.join("config.toml");
        config.is_file().then_some(config)
    });
    let mut options = arguments.options.clone();
    if let Some(path) = &config {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Failure::at(Kind::Usage, path, format_args!("cannot be read: {error}")))?;
        let base: TrainOptions =
            toml::from_str(&text).map_err(|error| Failure::at(Kind::Usage, path, error.to_string().trim_end()))?;
        options = options.over(&base)?;
    }
    let out = match (&arguments.out, beside) {
        (Some(out), _) => out.clone(),
        (None, Some(folder)) if config.is_some() && arguments.config.is_none() => folder.to_path_buf(),
        _ => PathBuf::from("run"),
    };
    // The first Ctrl-C ends training after the batch it is in; a second one ends the program.
    let _ = ctrlc::set_handler(|| {
        if train::INTERRUPTED.swap(true, Ordering::Relaxed) {
            std::process::exit(Kind::Interrupted as i32);
        }
    });
    let mut accuracies = Vec::new();
    for turn in 0..arguments.repeat {
        let repeated = arguments.repeat > 1;
        let options = TrainOptions { seed: Some(options.seed() + turn), ..options.clone() };
        let out = if repeated { out.join(format!("seed-{}", options.seed())) } else { out.clone() };
        let job =
            train::Job { options: &options, out: &out, pool: context.pool, level: context.level, show: context.show };
        let outcome = train::train(&job)?;
        outcome.show(context.show);
        context.show.event("result", outcome.json());
        accuracies.extend(outcome.test.or(outcome.validation).and_then(|figures| figures.accuracy));
    }
    if accuracies.len() > 1 {
        summary(context.show, &accuracies);
    }
    Ok(())
}

/// Mean and spread over repeated runs.
fn summary(show: Show, accuracies: &[f64]) {
    let count = accuracies.len() as f64;
    let mean = accuracies.iter().sum::<f64>() / count;
    let spread = (accuracies.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0)).sqrt();
    let all: Vec<String> = accuracies.iter().map(|value| percent(*value)).collect();
    show.line(format_args!(
        "accuracy over {} seeds: {} ± {:.2} ({})",
        accuracies.len(),
        percent(mean),
        100.0 * spread,
        all.join(", ")
    ));
    show.event("summary", json!({ "accuracies": accuracies, "mean": mean, "standard_deviation": spread }));
}

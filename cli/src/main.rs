//! The command `evenkeel`: reads the options, starts the threads, says what went wrong.

#![forbid(unsafe_code)]

mod arguments;

use std::io::Write;
use std::process::ExitCode;
use std::sync::atomic::Ordering;

use arguments::{Cli, Command, Cv, FindLr, Train};
use clap::Parser;
use clap::error::ErrorKind;
use evenkeel::Level;
use evenkeel::fit::RateSearch;
use evenkeel::host::pool::Pool;
use evenkeel_cli::commands::{self, Context, Wanted};
use evenkeel_cli::error::{Failure, Kind};
use evenkeel_cli::options::TrainOptions;
use evenkeel_cli::report::Outcome;
use evenkeel_cli::show::{Show, percent};
use evenkeel_cli::train::{self, Origin, Plan};
use serde_json::json;

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
    Failure::new(
        Kind::Usage,
        format_args!("{} (evenkeel --help lists all options)", lines.join("; ").replace(":;", ":")),
    )
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
            let plan = Plan::new(options, config.as_deref(), None)?;
            let (lowest, highest, steps) = (*lowest, *highest, *steps);
            let search = RateSearch { lowest, highest, steps, ..RateSearch::default() };
            commands::find_lr(&context, &plan, search, out)
        }
        Command::Compare { runs, out } => commands::compare(&context, runs, out),
        Command::Eval { model, data, labels, loss, weight_column, batch, metrics, confusion } => {
            let weight_column = weight_column.clone();
            let data = TrainOptions { labels: labels.clone(), loss: *loss, weight_column, ..data.options() };
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

//! `evenkeel train`: from data to a folder with model, image, history, curves and report.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use evenkeel::fit::{Event, Finish, Run};
use evenkeel::host::pool::Pool;
use evenkeel::interchange::{resume, state_dict};
use evenkeel::model::Standardize;
use evenkeel::train::{Loss, Score};
use evenkeel::{Level, Mlp, text};
use serde_json::json;

use crate::atomic::write_atomically;
use crate::curves::Curves;
use crate::error::{Failure, Kind};
use crate::history::{self, Epoch};
use crate::model::{self, Note};
use crate::options::TrainOptions;
use crate::progress::{Mode, Progress};
use crate::report::{Figures, Outcome};
use crate::rows::{self, Rows, Sets};
use crate::show::Show;

/// Set by Ctrl-C: training stops after the batch it is in.
pub static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Least time between two checkpoints.
const CHECKPOINT_PAUSE: Duration = Duration::from_secs(2);

/// Where and how.
#[derive(Debug)]
pub struct Job<'a> {
    /// The options, merged.
    pub options: &'a TrainOptions,
    /// The folder for results.
    pub out: &'a Path,
    /// Threads.
    pub pool: &'a Pool,
    /// Instructions.
    pub level: Level,
    /// What is said.
    pub show: Show,
}

/// Trains once and writes everything.
///
/// # Errors
/// [`Failure`] with its exit code; files of an earlier run stay whole.
pub fn train(job: &Job<'_>) -> Result<Outcome, Failure> {
    let started = start(job)?;
    let Started { sets, mut run, seconds } = started;
    std::fs::create_dir_all(job.out).map_err(|error| {
        Failure::at(Kind::Write, job.out, format_args!("the folder cannot be made: {error}; choose another --out"))
    })?;
    let config = toml::to_string(job.options).map_err(|error| Failure::new(Kind::Write, error))?;
    write_atomically(job.out.join("config.toml"), config.as_bytes())?;
    announce(job, &sets, &run);
    let mut epochs = earlier_epochs(&run, seconds);
    let finish = epochs_until_done(job, &sets, &mut run, &mut epochs)?;
    if finish == Finish::Interrupted {
        save_checkpoint(job, &run, &epochs)?;
        let path = job.out.join("checkpoint.safetensors");
        let message = format!("stopped; go on with: evenkeel train --from {}", path.display());
        return Err(Failure::new(Kind::Interrupted, message));
    }
    save_checkpoint(job, &run, &epochs)?;
    finish_run(job, &sets, &run, &epochs, finish)
}

struct Started {
    sets: Sets,
    run: Run,
    /// Seconds of the epochs done before.
    seconds: Vec<f64>,
}

/// Reads the data and makes the run: new, from a file's weights, or where a checkpoint left it.
fn start(job: &Job<'_>) -> Result<Started, Failure> {
    let options = job.options;
    let saved = match &options.from {
        Some(path) => Some((path, read_from(path, options)?)),
        None => None,
    };
    let classes = match &saved {
        Some((_, From::Run(run))) => Some(run.model.classes.clone()).filter(|names| !names.is_empty()),
        _ => None,
    };
    let sets = rows::read(options, classes)?;
    let trainer = options.trainer(sets.loss, job.level)?;
    let mut seconds = Vec::new();
    let run = match saved {
        Some((path, From::Run(resumed))) => {
            if let Some(folder) = path.parent()
                && let Ok(bytes) = std::fs::read(folder.join("history.csv"))
                && let Ok((epochs, _)) = history::from_csv("history.csv", &bytes)
            {
                seconds = epochs.iter().map(|epoch| epoch.seconds).collect();
            }
            resumed.with(trainer).map_err(|error| Failure::at(Kind::Model, path, error))?
        }
        Some((_, From::Weights(mut model))) => {
            if model.standardize.is_none() && options.standardize == Some(true) {
                model.standardize = Some(Standardize::learn(&sets.train.set.inputs, sets.train.set.features));
            }
            model.classes.clone_from(&sets.classes);
            Run::new(*model, trainer)?
        }
        None => Run::new(fresh(options, &sets)?, trainer)?,
    };
    check_ends(&run.model, &sets)?;
    Ok(Started { sets, run, seconds })
}

/// A file to start from.
enum From {
    Run(Box<resume::Resume>),
    Weights(Box<Mlp>),
}

fn read_from(path: &Path, options: &TrainOptions) -> Result<From, Failure> {
    let bytes = model::bytes(path)?;
    match resume::read(&bytes) {
        Ok(resume::Saved::Run(run)) => {
            let same =
                options.net.as_deref().is_none_or(|net| text::parse(net).is_ok_and(|net| net == run.model.layers()));
            if !same {
                let message = "the checkpoint's network is not that of --net: leave --net out to go on with it";
                return Err(Failure::at(Kind::Usage, path, message));
            }
            Ok(From::Run(Box::new(run)))
        }
        Ok(resume::Saved::Network(model)) => Ok(From::Weights(Box::new(model))),
        Err(_) => Ok(From::Weights(Box::new(model::network(path, &bytes, options.net.as_deref(), None)?))),
    }
}

fn fresh(options: &TrainOptions, sets: &Sets) -> Result<Mlp, Failure> {
    let standard = format!("dense(64) bn relu dropout(0.2) dense(64) bn relu dropout(0.2) dense({})", sets.outputs);
    let net = options.net.as_deref().unwrap_or(&standard);
    let layers = text::parse(net).map_err(|error| Failure::new(Kind::Usage, format_args!("--net: {error}")))?;
    let mut model = Mlp::new(sets.train.set.features, layers)?;
    model.init(options.init()?, options.seed());
    if options.standardize.unwrap_or(true) {
        model.standardize = Some(Standardize::learn(&sets.train.set.inputs, sets.train.set.features));
    }
    model.classes.clone_from(&sets.classes);
    if model.network().outputs() == 1 {
        // Two classes on one output: names belong to outputs.
        model.classes.clear();
    }
    Ok(model)
}

/// The network's ends must be the data's.
fn check_ends(model: &Mlp, sets: &Sets) -> Result<(), Failure> {
    let (inputs, outputs) = (model.network().inputs(), model.network().outputs());
    if inputs != sets.train.set.features {
        let message = format!("the network takes {inputs} inputs, {} has {}", sets.train.name, sets.train.set.features);
        return Err(Failure::new(Kind::Usage, message));
    }
    if outputs != sets.outputs {
        let what = if sets.loss == Loss::CrossEntropy { "classes" } else { "target values a row" };
        let message = format!(
            "the network ends with {outputs} outputs, {} has {} {what}: end it with dense({})",
            sets.train.name, sets.outputs, sets.outputs
        );
        return Err(Failure::new(Kind::Usage, message));
    }
    Ok(())
}

fn announce(job: &Job<'_>, sets: &Sets, run: &Run) {
    let rows = |rows: &Option<Rows>| rows.as_ref().map_or(0, |rows| rows.set.rows());
    let net = text::print(run.model.layers());
    if !job.show.quiet {
        job.show.line(format_args!(
            "{}: {} rows of {} inputs to train on, {} to validate, {} to test",
            sets.train.name,
            sets.train.set.rows(),
            sets.train.set.features,
            rows(&sets.validation),
            rows(&sets.test)
        ));
        job.show.line(format_args!("{net}: {} parameters, level {}", run.model.parameters(), job.level));
    }
    job.show.event(
        "start",
        json!({
            "data": sets.train.name, "net": net, "parameters": run.model.parameters(), "level": job.level.name(),
            "inputs": sets.train.set.features, "outputs": sets.outputs, "train_rows": sets.train.set.rows(),
            "validation_rows": rows(&sets.validation), "test_rows": rows(&sets.test), "epochs_done": run.progress.epoch,
        }),
    );
}

fn earlier_epochs(run: &Run, seconds: Vec<f64>) -> Vec<Epoch> {
    let mut seconds = seconds.into_iter();
    run.history.epochs.iter().map(|record| shown(record, seconds.next().unwrap_or(0.0))).collect()
}

fn shown(record: &evenkeel::fit::EpochRecord, seconds: f64) -> Epoch {
    Epoch {
        epoch: record.epoch + 1,
        loss: record.loss,
        val_loss: record.val_loss,
        metric: record.accuracy,
        val_metric: record.val_accuracy,
        lr: record.lr.into(),
        seconds,
    }
}

/// Trains, showing progress and saving checkpoints, until the run is over or interrupted.
fn epochs_until_done(job: &Job<'_>, sets: &Sets, run: &mut Run, epochs: &mut Vec<Epoch>) -> Result<Finish, Failure> {
    let train = sets.train.set.view()?;
    let validation = sets.validation.as_ref().map(|rows| rows.set.view()).transpose()?;
    let trainer = run.trainer;
    let batches = evenkeel::data::Batches::plan(train.rows(), trainer.batch, run.model.network().has_batch_norm())?;
    let mode = if job.show.quiet { Mode::Quiet } else { Mode::Auto };
    let mut progress = Progress::new(mode, trainer.epochs, batches.count() as u32)
        .rows_per_epoch(train.rows() as u64)
        .resumed_after(run.progress.epoch);
    // Also before the first epoch: from then on there is something to go on from, whatever happens.
    save_checkpoint(job, run, epochs)?;
    let mut saved = Instant::now();
    let mut epoch_began = Instant::now();
    loop {
        let mut save_due = false;
        let mut observe = |event: Event<'_>| {
            match event {
                Event::Batch { done, loss, .. } => progress.batch(done as u32, loss),
                Event::Epoch { record, improved, .. } => {
                    let epoch = shown(record, epoch_began.elapsed().as_secs_f64());
                    epoch_began = Instant::now();
                    progress.epoch(&epoch, improved);
                    job.show.event("epoch", epoch_json(&epoch, improved));
                    epochs.push(epoch);
                    save_due = saved.elapsed() >= CHECKPOINT_PAUSE;
                }
                _ => {}
            }
            // A run continues with the same bits, so it is stopped for a moment to be saved.
            if save_due || INTERRUPTED.load(Ordering::Relaxed) {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        let finish = match job.pool.enter(|| run.fit(train, validation, job.pool, &mut observe)) {
            Ok(finish) => finish,
            Err(error) => {
                progress.finish("");
                return Err(error.into());
            }
        };
        if finish != Finish::Interrupted || INTERRUPTED.load(Ordering::Relaxed) {
            progress.finish("");
            return Ok(finish);
        }
        save_checkpoint(job, run, epochs)?;
        saved = Instant::now();
    }
}

fn epoch_json(epoch: &Epoch, best: bool) -> serde_json::Value {
    json!({
        "epoch": epoch.epoch, "loss": epoch.loss, "val_loss": epoch.val_loss, "accuracy": epoch.metric,
        "val_accuracy": epoch.val_metric, "gap": epoch.val_loss.map(|val_loss| val_loss - epoch.loss),
        "lr": epoch.lr, "seconds": epoch.seconds, "best": best,
    })
}

fn save_checkpoint(job: &Job<'_>, run: &Run, epochs: &[Epoch]) -> Result<(), Failure> {
    let bytes = resume::to_bytes(run).map_err(|error| Failure::new(Kind::Write, error))?;
    write_atomically(job.out.join("checkpoint.safetensors"), &bytes)?;
    Ok(write_atomically(job.out.join("history.csv"), history::to_csv(epochs, "accuracy").as_bytes())?)
}

/// Scores, folds, compares, draws, reports.
fn finish_run(job: &Job<'_>, sets: &Sets, run: &Run, epochs: &[Epoch], finish: Finish) -> Result<Outcome, Failure> {
    let (level, pool, loss) = (job.level, job.pool, sets.loss);
    let score = |rows: &Rows| -> Result<Score, Failure> {
        let view = rows.set.view()?;
        Ok(pool.enter(|| run.model.score(level, pool, view, loss))?)
    };
    let train = score(&sets.train)?;
    let validation = sets.validation.as_ref().map(score).transpose()?;
    let test = sets.test.as_ref().map(score).transpose()?;
    let probe = sets.test.as_ref().or(sets.validation.as_ref()).unwrap_or(&sets.train);
    let note = Note {
        net: text::print(run.model.layers()),
        features: if sets.features.len() <= 4096 { sets.features.clone() } else { Vec::new() },
        loss: loss.name().into(),
    };
    let weights = job.options.weights.unwrap_or_default().into();
    let (image, fold) = model::fold(&run.model, weights, &note, Some(&probe.set.inputs), level, pool)?;
    let same_class = (loss == Loss::CrossEntropy).then(|| same_classes(job, run, &image, probe)).transpose()?;
    let state_dict = state_dict::to_bytes(&run.model).map_err(|error| Failure::new(Kind::Write, error))?;
    write_atomically(job.out.join("model.safetensors"), &state_dict)?;
    write_atomically(job.out.join("model.keel"), &image)?;
    let best = run.history.best_epoch.map(|epoch| epoch + 1);
    let title = text::print(run.model.layers());
    let curves = Curves { title: &title, metric_name: "accuracy", epochs, best_epoch: best };
    let curves = crate::curves::svg(&curves);
    write_atomically(job.out.join("curves.svg"), curves.as_bytes())?;
    let outcome = Outcome {
        train: Figures::of(train, loss),
        validation: validation.map(|score| Figures::of(score, loss)),
        test: test.map(|score| Figures::of(score, loss)),
        epochs: run.history.epochs.len() as u32,
        best_epoch: best,
        stopped_early: finish == Finish::Stopped,
        seconds: epochs.iter().map(|epoch| epoch.seconds).sum(),
        fold,
        probe: probe.name.clone(),
        same_class,
        out: PathBuf::from(job.out),
        weights,
    };
    let report = serde_json::to_string_pretty(&outcome.json()).map_err(|error| Failure::new(Kind::Write, error))?;
    write_atomically(job.out.join("report.json"), report.as_bytes())?;
    Ok(outcome)
}

/// `(equal, all)`: rows to which image and unfolded network give the same class.
fn same_classes(job: &Job<'_>, run: &Run, image: &[u8], rows: &Rows) -> Result<(usize, usize), Failure> {
    let outputs = run.model.network().outputs();
    let unfolded = run.model.predict(job.level, job.pool, &rows.set.inputs)?;
    let folded = model::run(image, job.level, job.pool, &rows.set.inputs, 256)?;
    let best = evenkeel::train::loss::best;
    let equal = unfolded.chunks(outputs).zip(folded.chunks(outputs)).filter(|(a, b)| best(a) == best(b)).count();
    Ok((equal, rows.set.rows()))
}

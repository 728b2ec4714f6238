//! `evenkeel train`: from data to a folder with model, image, history, curves and report.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use evenkeel::data::View;
use evenkeel::fit::{Event, Finish, FitError, Listener, Run};
use evenkeel::host::pool::Pool;
use evenkeel::interchange::{resume, state_dict};
use evenkeel::train::Score;
use evenkeel::{Level, text};
use serde_json::json;

use crate::atomic::write_atomically;
use crate::curves::Curves;
use crate::error::{Failure, Kind};
use crate::history::{self, Epoch};
use crate::model::{self, Note};
use crate::options::TrainOptions;
use crate::progress::{Mode, Progress};
use crate::report::{About, Figures, Outcome};
use crate::rows::{Rows, Set, Sets};
use crate::show::Show;

mod origin;
mod start;

pub use origin::Origin;
use start::Started;
pub(crate) use start::start;
pub use start::{Plan, read_config};

/// Set by Ctrl-C: training stops after the batch it is in.
pub static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Least time between two checkpoints, unless `--checkpoint-seconds` says otherwise.
const CHECKPOINT_PAUSE: Duration = Duration::from_secs(2);
/// Then, saving to a slow disk takes at most about one part in so many of the time.
const CHECKPOINT_SHARE: u32 = 20;

/// The metric's name in files and curves.
const METRIC: &str = "accuracy";

/// Where and how.
#[derive(Debug)]
pub struct Job<'a> {
    /// The options, merged.
    pub options: &'a TrainOptions,
    /// What to start from.
    pub origin: &'a Origin,
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
    let started = start(job.options, job.origin, job.level)?;
    std::fs::create_dir_all(job.out).map_err(|error| {
        Failure::at(Kind::Write, job.out, format_args!("the folder cannot be made: {error}; choose another --out"))
    })?;
    write_atomically(job.out.join("config.toml"), config(&started.resolved)?.as_bytes())?;
    announce(job, &started.sets, &started.run);
    let Started { sets, mut run, note, seconds, .. } = started;
    let mut epochs = earlier_epochs(&run, seconds);
    let saver = Saver { job, note: note.json()? };
    let finish = match epochs_until_done(&saver, &sets, &mut run, &mut epochs) {
        Ok(finish) => Ok(finish),
        Err(Broken::Fit(error)) => Err(error),
        Err(Broken::Save(failure)) => return Err(failure),
    };
    // As the last step left it, not as the best epoch was: so the run can also go on for more epochs. Weights that the
    // last update made infinite are no start for anything: then the checkpoint before them stays.
    if !matches!(&finish, Err(FitError::NonFinite { what: "weight", .. })) {
        saver.save(&run, &epochs)?;
    }
    let path = job.out.join("checkpoint.safetensors");
    match finish {
        Ok(Finish::Interrupted) => {
            let message = format!("stopped; go on with: evenkeel train --from {}", quoted(&path));
            Err(Failure::new(Kind::Interrupted, message))
        }
        Ok(finish) => {
            run.restore_best();
            finish_run(job, &sets, &run, &note, &epochs, finish)
        }
        Err(error @ FitError::NonFinite { .. }) => {
            let message = format!("{error}. The run so far: evenkeel train --from {} --lr SMALLER", quoted(&path));
            Err(Failure::new(Kind::Diverged, message))
        }
        Err(error @ FitError::Setup(evenkeel::Error::Read { .. })) => {
            let failure = Failure::from(error);
            let message = format!("{failure}. The run so far: evenkeel train --from {}", quoted(&path));
            Err(Failure::new(failure.kind, message))
        }
        Err(error) => Err(error.into()),
    }
}

/// The text of `config.toml`.
fn config(options: &TrainOptions) -> Result<String, Failure> {
    let text = toml::to_string(options).map_err(|error| Failure::new(Kind::Write, error))?;
    let data =
        if options.data.is_none() { "# No data file: the UCI digits that ship inside the command.\n" } else { "" };
    let version = env!("CARGO_PKG_VERSION");
    Ok(format!("# evenkeel {version}: evenkeel train --config THIS_FILE --out FOLDER repeats the run.\n{data}{text}"))
}

/// A path as a shell reads it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = text.chars().all(|c| c.is_alphanumeric() || "/._-+=,:@%".contains(c));
    if plain { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

fn announce(job: &Job<'_>, sets: &Sets, run: &Run) {
    let rows = |rows: &Option<Rows>| rows.as_ref().map_or(0, |rows| rows.set.rows());
    let net = text::print(run.model.layers());
    if !job.show.quiet {
        job.show.line(format_args!(
            "{}: {} rows of {} inputs to train on, {} to validate, {} to test",
            sets.train.name,
            sets.train.set.rows(),
            sets.train.set.features(),
            rows(&sets.validation),
            rows(&sets.test)
        ));
        if let Set::Stored(set) = &sets.train.set {
            job.show.line(set.rows.place());
        }
        job.show.line(format_args!("{net}: {} parameters, level {}", run.model.parameters(), job.level));
    }
    job.show.event(
        "start",
        json!({
            "data": sets.train.name, "net": net, "parameters": run.model.parameters(), "level": job.level.name(),
            "inputs": sets.train.set.features(), "outputs": sets.outputs, "train_rows": sets.train.set.rows(),
            "validation_rows": rows(&sets.validation), "test_rows": rows(&sets.test), "epochs_done": run.progress.epoch,
        }),
    );
    if run.trainer.rules.optimizer.averages() && run.model.network().has_batch_norm() {
        job.show.warn(
            "schedule_free: batch norms keep the statistics of the training weights, not of the averaged ones that are evaluated",
        );
    }
    if sets.validation.is_none() && run.trainer.early_stopping.is_some() {
        job.show.warn("no validation data: early stopping looks at the training rows and cannot notice overfitting");
    }
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

/// What ends training before its time.
enum Broken {
    Fit(FitError),
    Save(Failure),
}

impl<E: Into<FitError>> From<E> for Broken {
    fn from(error: E) -> Self {
        Broken::Fit(error.into())
    }
}

/// Writes checkpoints.
struct Saver<'a> {
    job: &'a Job<'a>,
    note: String,
}

impl Saver<'_> {
    fn save(&self, run: &Run, epochs: &[Epoch]) -> Result<(), Failure> {
        let bytes = resume::to_bytes_with(run, &self.note).map_err(|error| Failure::new(Kind::Write, error))?;
        write_atomically(self.job.out.join("checkpoint.safetensors"), &bytes)?;
        Ok(write_atomically(self.job.out.join("history.csv"), history::to_csv(epochs, METRIC).as_bytes())?)
    }
}

/// Trains, showing progress and saving checkpoints, until the run is over or interrupted.
fn epochs_until_done(saver: &Saver<'_>, sets: &Sets, run: &mut Run, epochs: &mut Vec<Epoch>) -> Result<Finish, Broken> {
    let job = saver.job;
    let train = sets.train.set.view().map_err(Broken::Save)?;
    let validation = sets.validation.as_ref().map(|rows| rows.set.view()).transpose().map_err(Broken::Save)?;
    let trainer = run.trainer;
    let batches =
        evenkeel::data::Batches::plan(train.rows(), trainer.batch, trainer.scope.joins_rows(&run.model.network()))?;
    let mode = if job.show.quiet { Mode::Quiet } else { Mode::Auto };
    let mut progress = Progress::new(mode, trainer.epochs, batches.count() as u32)
        .rows_per_epoch(train.rows() as u64)
        .metric_name(METRIC)
        .resumed_after(run.progress.epoch);
    let asked = job.options.checkpoint_seconds.map(Duration::from_secs_f64);
    let mut pause = asked.unwrap_or(CHECKPOINT_PAUSE);
    // At once, too: from then on there is something to go on from, whatever happens.
    let mut saved = None;
    let mut epoch_began = Instant::now();
    loop {
        if saved.is_none_or(|saved: Instant| saved.elapsed() >= pause) {
            let began = Instant::now();
            if let Err(failure) = saver.save(run, epochs) {
                progress.finish("");
                return Err(Broken::Save(failure));
            }
            pause = asked.unwrap_or_else(|| CHECKPOINT_PAUSE.max(began.elapsed() * CHECKPOINT_SHARE));
            saved = Some(Instant::now());
        }
        let due = saved;
        let mut observe = |event: Event<'_>| {
            let mut save = false;
            match event {
                Event::Batch { done, loss, .. } => progress.batch(done as u32, loss),
                Event::Epoch { record, improved, .. } => {
                    let epoch = shown(record, epoch_began.elapsed().as_secs_f64());
                    epoch_began = Instant::now();
                    progress.epoch(&epoch, improved);
                    job.show.event("epoch", epoch_json(&epoch, improved));
                    epochs.push(epoch);
                    save = due.is_none_or(|saved| saved.elapsed() >= pause);
                }
                _ => {}
            }
            // A run continues with the same bits, so it is stopped for a moment to be saved.
            if save || INTERRUPTED.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let finish = job.pool.enter(|| run.advance(train, validation, job.pool, &mut Listener(&mut observe)));
        if !matches!(finish, Ok(Finish::Interrupted)) || INTERRUPTED.load(Ordering::Relaxed) {
            progress.finish("");
            return Ok(finish?);
        }
    }
}

fn epoch_json(epoch: &Epoch, best: bool) -> serde_json::Value {
    json!({
        "epoch": epoch.epoch, "loss": epoch.loss, "val_loss": epoch.val_loss, "accuracy": epoch.metric,
        "val_accuracy": epoch.val_metric, "gap": epoch.val_loss.map(|val_loss| val_loss - epoch.loss),
        "lr": epoch.lr, "seconds": epoch.seconds, "best": best,
    })
}

/// Scores, folds, compares, draws, reports.
fn finish_run(
    job: &Job<'_>,
    sets: &Sets,
    run: &Run,
    note: &Note,
    epochs: &[Epoch],
    finish: Finish,
) -> Result<Outcome, Failure> {
    let (level, pool, loss) = (job.level, job.pool, sets.loss);
    // The network first: whatever folding makes of it, the training was not in vain.
    let state_dict =
        state_dict::to_bytes_with(&run.model, &note.json()?).map_err(|error| Failure::new(Kind::Write, error))?;
    let network = job.out.join("model.safetensors");
    write_atomically(&network, &state_dict)?;
    let best = run.history.best_epoch.map(|epoch| epoch + 1);
    let title = text::print(run.model.layers());
    let curves = crate::curves::svg(&Curves { title: &title, metric_name: METRIC, epochs, best_epoch: best });
    write_atomically(job.out.join("curves.svg"), curves.as_bytes())?;
    let score = |rows: &Rows| -> Result<Figures, Failure> {
        // Every row counts once, as in `eval`; the curves have the weighted losses.
        let view = rows.set.view()?;
        let view = View { targets: view.targets.unweighted(), ..view };
        let score: Score = pool.enter(|| run.model.score(level, pool, view, loss))?;
        Ok(Figures::of(score, loss))
    };
    let train = score(&sets.train)?;
    let validation = sets.validation.as_ref().map(score).transpose()?;
    let test = sets.test.as_ref().map(score).transpose()?;
    let probe = sets.test.as_ref().or(sets.validation.as_ref()).unwrap_or(&sets.train);
    let weights = job.options.weights.unwrap_or_default().into();
    let inputs = probe.set.inputs()?;
    let folded = pool.enter(|| model::fold(&run.model, weights, note, Some(inputs), level, pool));
    let (image, fold) = folded.map_err(|failure| {
        let message = format!("{failure}; the network as it was trained is in {}", network.display());
        Failure::new(failure.kind, message)
    })?;
    let same_class = loss.has_accuracy().then(|| same_classes(job, run, &image, probe)).transpose()?;
    write_atomically(job.out.join("model.keel"), &image)?;
    let outcome = Outcome {
        about: About {
            data: sets.train.name.clone(),
            net: title,
            inputs: sets.train.set.features(),
            outputs: sets.outputs,
            parameters: run.model.parameters(),
            level: level.name(),
            seed: run.trainer.seed,
            loss: loss.name(),
        },
        train,
        validation,
        test,
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
    let inputs = rows.set.inputs()?;
    let unfolded = job.pool.enter(|| run.model.predict_any(job.level, job.pool, inputs))?;
    let folded = job.pool.enter(|| model::run(image, job.level, job.pool, inputs, 256))?;
    let class = |row: &[f32]| match row {
        [value] => usize::from(*value > 0.0),
        row => evenkeel::train::loss::best(row),
    };
    let equal = unfolded.chunks(outputs).zip(folded.chunks(outputs)).filter(|(a, b)| class(a) == class(b)).count();
    Ok((equal, rows.set.rows()))
}

//! Many runs side by side, each in a folder of its own, that can be stopped at any moment and taken up again: what `sweep`
//! and `cv` share.
//!
//! A run that is over has a `report.json`; one that has begun has a checkpoint and goes on with the same bits. So nothing is
//! kept of the whole but the list of runs, and its results are those of a call that was never stopped.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use evenkeel::host::pool::Pool;
use evenkeel::split::Split;
use serde_json::{Value, json};

use super::Context;
use crate::atomic::write_atomically;
use crate::error::{Failure, Kind};
use crate::model;
use crate::options::{MonitorName, TrainOptions};
use crate::progress::runs::Runs;
use crate::show::Show;
use crate::table::figure;
use crate::train::{self, INTERRUPTED, Job, Origin, Plan};

/// A run to make.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// Its folder below that of all.
    pub(super) folder: String,
    /// What it is called in tables: the options that only it has.
    pub(super) name: String,
    /// Its options.
    pub(super) options: TrainOptions,
}

/// What a run came to.
#[derive(Clone, Debug)]
pub(super) struct Done {
    /// `done`, `diverged`, or `not foldable`.
    pub(super) status: &'static str,
    /// Its `report.json`, or `Null`.
    pub(super) report: Value,
}

impl Done {
    /// A figure of a set: `train`, `validation` or `test`, and `loss` or `accuracy`.
    #[must_use]
    pub(super) fn figure(&self, set: &str, what: &str) -> Option<f64> {
        self.report[set][what].as_f64()
    }

    /// The figure that the monitor looks at, of the weights that the run ended with; training rows where none validate.
    #[must_use]
    pub(super) fn monitored(&self, monitor: MonitorName) -> Option<f64> {
        let (set, what) = match monitor {
            MonitorName::ValLoss => ("validation", "loss"),
            MonitorName::ValAccuracy => ("validation", "accuracy"),
            MonitorName::Loss => ("train", "loss"),
            MonitorName::Accuracy => ("train", "accuracy"),
        };
        self.figure(set, what).or_else(|| self.figure("train", what))
    }
}

/// Makes the folder, and sees to it that what lies there is of the same list of runs: `list` is written to a file `name`.
///
/// # Errors
/// If another list's runs lie there, or it cannot be written.
pub(super) fn prepare(out: &Path, name: &str, list: &str) -> Result<(), Failure> {
    if out.as_os_str().is_empty() {
        return Err(Failure::new(Kind::Usage, "--out is empty: name a folder"));
    }
    let path = out.join(name);
    match std::fs::read_to_string(&path) {
        Ok(there) if there == list => return Ok(()),
        Ok(_) => {
            let message = "the folder holds other runs: choose another --out, or delete it to begin anew";
            return Err(Failure::at(Kind::Usage, &path, message));
        }
        Err(_) => {}
    }
    std::fs::create_dir_all(out).map_err(|error| {
        Failure::at(Kind::Write, out, format_args!("the folder cannot be made: {error}; choose another --out"))
    })?;
    Ok(write_atomically(path, list.as_bytes())?)
}

/// Makes all runs, as many at a time as there are threads; `again` is the command that goes on after Ctrl-C.
///
/// # Errors
/// For what keeps a run from beginning, naming it; a run that diverges or cannot be folded is a result.
pub(super) fn run_all(context: &Context<'_>, out: &Path, wanted: &[Wanted], again: &str) -> Result<Vec<Done>, Failure> {
    let workers = context.pool.workers().clamp(1, wanted.len().max(1));
    // No result depends on it.
    let threads = (context.pool.workers() / workers).max(1);
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<Option<Result<Done, Failure>>>> = Mutex::new(wanted.iter().map(|_| None).collect());
    let progress = Mutex::new(Runs::new(wanted.len(), context.show.quiet));
    let failed = AtomicUsize::new(usize::MAX);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let stop = INTERRUPTED.load(Ordering::Relaxed) || failed.load(Ordering::Relaxed) != usize::MAX;
                    let Some(run) = wanted.get(at).filter(|_| !stop) else { break };
                    let done = one(context, &out.join(&run.folder), run, threads);
                    match &done {
                        Ok(done) => {
                            if let Ok(mut progress) = progress.lock() {
                                progress.done(&line(run, done));
                            }
                            let (folder, name, status) = (&run.folder, &run.name, done.status);
                            let report = &done.report;
                            let event = json!({ "run": folder, "options": name, "status": status, "report": report });
                            context.show.event("run", event);
                        }
                        Err(_) => failed.store(at, Ordering::Relaxed),
                    }
                    if let Ok(mut results) = results.lock() {
                        results[at] = Some(done);
                    }
                }
            });
        }
    });
    drop(progress);
    let results = results.into_inner().unwrap_or_default();
    if let Some(at) =
        results.iter().position(|result| matches!(result, Some(Err(failure)) if failure.kind != Kind::Interrupted))
    {
        if let (Some(run), Some(Some(Err(failure)))) = (wanted.get(at), results.into_iter().nth(at)) {
            let message = format!("run {} ({}): {failure}", run.folder, run.name);
            return Err(Failure::new(failure.kind, message));
        }
        return Err(Failure::new(Kind::Usage, "a run failed"));
    }
    let count = results.len();
    let done: Vec<Done> = results.into_iter().flatten().flatten().collect();
    if done.len() < count {
        let message = format!("stopped after {} of {count} runs; go on with: {again}", done.len());
        return Err(Failure::new(Kind::Interrupted, message));
    }
    Ok(done)
}

fn line(run: &Wanted, done: &Done) -> String {
    let monitor = run.options.monitor.unwrap_or(MonitorName::ValLoss);
    let value = match done.status {
        "done" => figure(done.monitored(monitor)),
        status => status.into(),
    };
    format!("{}  {} {value}", run.name, evenkeel::fit::Monitor::from(monitor).name())
}

fn one(context: &Context<'_>, folder: &Path, run: &Wanted, threads: usize) -> Result<Done, Failure> {
    let over = || -> Option<Value> { serde_json::from_slice(&std::fs::read(folder.join("report.json")).ok()?).ok() };
    if let Some(report) = over() {
        return Ok(Done { status: "done", report });
    }
    let origin = origin(folder, run)?;
    let pool = Pool::new(threads).map_err(|error| Failure::new(Kind::Usage, format_args!("--threads: {error}")))?;
    let show = Show { json: false, quiet: true };
    let job = Job { options: &run.options, origin: &origin, out: folder, pool: &pool, level: context.level, show };
    match train::train(&job) {
        // What was written is what a later call reads.
        Ok(outcome) => Ok(Done { status: "done", report: over().unwrap_or_else(|| outcome.json()) }),
        Err(failure) if failure.kind == Kind::Diverged => Ok(Done { status: "diverged", report: Value::Null }),
        Err(failure) if failure.kind == Kind::Export => Ok(Done { status: "not foldable", report: Value::Null }),
        Err(failure) => Err(failure),
    }
}

/// New, from the weights that the options name, or where an earlier call left it.
fn origin(folder: &Path, run: &Wanted) -> Result<Origin, Failure> {
    let checkpoint: PathBuf = folder.join("checkpoint.safetensors");
    if checkpoint.is_file() {
        let bytes = model::bytes(&checkpoint)?;
        return match Origin::read(&checkpoint, &bytes) {
            Ok(origin @ Origin::Run(..)) => Ok(origin),
            _ => {
                let message = "cannot be taken up: delete the folder, and this run begins anew";
                Err(Failure::at(Kind::Model, &checkpoint, message))
            }
        };
    }
    match Plan::new(&run.options, None, Some(folder))?.origin {
        Origin::Run(_, _, path) => {
            let message = "holds a run that goes on: begin with the weights of a model.safetensors";
            Err(Failure::at(Kind::Usage, &path, message))
        }
        origin => Ok(origin),
    }
}

//! `evenkeel compare`: the curves of several runs in one picture, and a table of their best epochs.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::Context;
use crate::atomic::write_atomically;
use crate::curves::overlay::{self, Overlaid};
use crate::error::{Failure, Kind};
use crate::history::{self, Epoch};
use crate::show::percent;
use crate::table::{TextTable, figure};

/// A run that was read back.
struct Run {
    name: String,
    epochs: Vec<Epoch>,
    metric: String,
    best: Option<u32>,
    options: toml::Table,
    report: Value,
}

/// Draws the runs in `folders` to `out` and prints their best values.
///
/// # Errors
/// For a folder without a history, or one that cannot be read.
pub fn compare(context: &Context<'_>, folders: &[PathBuf], out: &Path) -> Result<(), Failure> {
    let runs = folders.iter().map(|folder| read(folder)).collect::<Result<Vec<Run>, Failure>>()?;
    let differing = differing(&runs);
    let metric = runs.first().map_or("accuracy", |run| run.metric.as_str());
    if let Some(other) = runs.iter().find(|run| run.metric != metric) {
        let message = format!("has the metric {}, the first run has {metric}: compare runs of one kind", other.metric);
        return Err(Failure::at(Kind::Usage, Path::new(&other.name), message));
    }
    let told = |run: &Run| -> Vec<String> {
        differing.iter().filter_map(|key| Some(format!("{key} {}", shown(run.options.get(key)?)))).collect()
    };
    let overlaid = runs.iter().map(|run| Overlaid {
        name: [vec![run.name.clone()], told(run)].concat().join(" · "),
        epochs: &run.epochs,
        best: run.best,
    });
    let overlaid: Vec<Overlaid<'_>> = overlaid.collect();
    let title = format!("{} runs", runs.len());
    write_atomically(out, overlay::svg(&title, metric, &overlaid).as_bytes())?;
    context.show.line(table(&runs, &differing));
    context.show.line(format_args!("curves  {}", out.display()));
    let events: Vec<Value> = runs
        .iter()
        .map(|run| {
            let best = run.at_best();
            let options: serde_json::Map<String, Value> =
                differing.iter().map(|key| (key.clone(), run.options.get(key).map(shown).into())).collect();
            json!({
                "run": run.name, "epochs": run.epochs.last().map(|epoch| epoch.epoch), "best_epoch": run.best,
                "loss": best.map(|e| e.loss), "accuracy": best.and_then(|e| e.metric),
                "val_loss": best.and_then(|e| e.val_loss), "val_accuracy": best.and_then(|e| e.val_metric),
                "test": run.report["test"], "options": options,
            })
        })
        .collect();
    context.show.event("compare", json!({ "runs": events, "curves": out.display().to_string() }));
    Ok(())
}

impl Run {
    fn at_best(&self) -> Option<&Epoch> {
        self.epochs.iter().find(|epoch| Some(epoch.epoch) == self.best)
    }
}

fn read(folder: &Path) -> Result<Run, Failure> {
    let path = if folder.is_dir() { folder.join("history.csv") } else { folder.to_path_buf() };
    let bytes = std::fs::read(&path).map_err(|error| {
        let message = format!("cannot be read: {error}; name the folders of runs, which evenkeel train has written");
        Failure::at(Kind::Model, &path, message)
    })?;
    let (epochs, metric) =
        history::from_csv(&path.display().to_string(), &bytes).map_err(|error| Failure::new(Kind::Model, error))?;
    let beside = path.parent().unwrap_or(Path::new(""));
    let text = std::fs::read_to_string(beside.join("config.toml")).unwrap_or_default();
    let options: toml::Table = toml::from_str(&text)
        .map_err(|error: toml::de::Error| Failure::at(Kind::Model, &beside.join("config.toml"), error.message()))?;
    let report = std::fs::read(beside.join("report.json")).ok();
    let report: Value = report.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
    let best = match report["best_epoch"].as_u64() {
        Some(best) => u32::try_from(best).ok(),
        None => best_so_far(&epochs, options.get("monitor").and_then(toml::Value::as_str).unwrap_or("val-loss")),
    };
    Ok(Run { name: folder.display().to_string(), epochs, metric, best, options, report })
}

/// Of a run that is not over: the first of the best epochs by its monitor.
fn best_so_far(epochs: &[Epoch], monitor: &str) -> Option<u32> {
    let value = |epoch: &Epoch| match monitor {
        "loss" => Some(epoch.loss),
        "accuracy" => epoch.metric.map(|value| -value),
        "val-accuracy" => epoch.val_metric.or(epoch.metric).map(|value| -value),
        _ => epoch.val_loss.or(Some(epoch.loss)),
    };
    let values = epochs.iter().filter_map(|epoch| Some((epoch.epoch, value(epoch).filter(|value| !value.is_nan())?)));
    values.reduce(|best, next| if next.1 < best.1 { next } else { best }).map(|(epoch, _)| epoch)
}

/// Options that are not the same in all runs.
fn differing(runs: &[Run]) -> Vec<String> {
    let keys: BTreeSet<&String> = runs.iter().flat_map(|run| run.options.keys()).collect();
    let differs = |key: &&String| {
        let values: Vec<Option<&toml::Value>> = runs.iter().map(|run| run.options.get(key.as_str())).collect();
        values.windows(2).any(|pair| pair[0] != pair[1])
    };
    keys.into_iter().filter(differs).cloned().collect()
}

fn shown(value: &toml::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn table(runs: &[Run], differing: &[String]) -> String {
    let shares = runs.iter().any(|run| run.at_best().is_some_and(|e| e.metric.or(e.val_metric).is_some()));
    let tested = runs.iter().any(|run| run.report["test"].is_object());
    let mut head = vec!["run", "epochs", "best", "loss", "val loss"];
    head.extend(if shares { &["accuracy", "val accuracy"][..] } else { &[] });
    head.extend(tested.then_some("test loss"));
    head.extend((tested && shares).then_some("test accuracy"));
    let mut table = TextTable::new(head.into_iter().chain(differing.iter().map(String::as_str)), 1);
    let share = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), percent);
    for run in runs {
        let best = run.at_best();
        let number = |value: Option<u32>| value.map_or_else(|| "–".to_owned(), |value| value.to_string());
        let mut row = vec![run.name.clone(), number(run.epochs.last().map(|e| e.epoch)), number(run.best)];
        row.extend([best.map(|e| e.loss), best.and_then(|e| e.val_loss)].map(figure));
        if shares {
            row.extend([best.and_then(|e| e.metric), best.and_then(|e| e.val_metric)].map(share));
        }
        let test = |name: &str| run.report["test"][name].as_f64();
        row.extend(tested.then(|| figure(test("loss"))));
        row.extend((tested && shares).then(|| share(test("accuracy"))));
        row.extend(differing.iter().map(|key| run.options.get(key).map_or_else(|| "–".into(), shown)));
        table.row(row);
    }
    table.text("")
}

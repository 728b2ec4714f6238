//! `evenkeel cv`: cross-validation, a run for each fold, and mean and deviation of what they came to.

use std::path::Path;

use evenkeel::fit::mean_and_deviation;
use serde_json::json;

use super::Context;
use super::many::{self, Done, Wanted};
use crate::atomic::write_atomically;
use crate::curves::overlay::{self, Overlaid};
use crate::error::{Failure, Kind};
use crate::history::{self, Epoch};
use crate::options::TrainOptions;
use crate::rows;
use crate::show::percent;
use crate::table::{TextTable, figure};

/// How the rows are divided.
#[derive(Clone, Debug)]
pub enum Folds<'a> {
    /// So many folds, stratified by class.
    Count(usize),
    /// Each group of a column in turn.
    Groups(&'a str),
}

/// Trains on all folds but one in turn and tests on that one; the runs' own folders, a table and the curves go to `out`.
///
/// # Errors
/// For options that name the test rows otherwise, and what keeps a run from beginning.
pub fn cv(
    context: &Context<'_>,
    options: &TrainOptions,
    folds: &Folds<'_>,
    out: &Path,
    again: &str,
) -> Result<(), Failure> {
    if options.test.is_some() || options.test_where.is_some() || options.test_split.is_some_and(|share| share > 0.0) {
        let message = "each fold is tested on in turn: leave --test, --test-where and --test-split out";
        return Err(Failure::new(Kind::Usage, message));
    }
    options.check()?;
    let base = TrainOptions { test_split: None, test_fold: None, test_group: None, ..options.clone() };
    let wanted: Vec<Wanted> = match folds {
        Folds::Count(count) if *count < 2 => return Err(Failure::new(Kind::Usage, "--folds must be at least 2")),
        Folds::Count(count) => (1..=*count)
            .map(|fold| {
                let test = format!("{fold}/{count}");
                let options = TrainOptions { test_fold: Some(test), ..base.clone() };
                Wanted { folder: format!("fold-{fold}"), name: format!("fold {fold}"), options }
            })
            .collect(),
        Folds::Groups(column) => (1..)
            .zip(rows::groups(&base, column)?)
            .map(|(at, group)| {
                let name = format!("{column}={group}");
                let options = TrainOptions { test_group: Some(name.clone()), ..base.clone() };
                Wanted { folder: format!("group-{at}"), name, options }
            })
            .collect(),
    };
    let mut list = toml::to_string(&base).map_err(|error| Failure::new(Kind::Write, error))?;
    list.extend(wanted.iter().map(|run| format!("# {}: {}\n", run.folder, run.name)));
    many::prepare(out, "folds.toml", &list)?;
    let done = many::run_all(context, out, &wanted, again)?;
    let histories: Vec<Vec<Epoch>> = wanted.iter().map(|run| epochs(&out.join(&run.folder))).collect();
    let overlaid = wanted.iter().zip(&histories).zip(&done).map(|((run, epochs), done)| Overlaid {
        name: format!("{}: {}", run.name, told(done)),
        epochs,
        best: done.report["best_epoch"].as_u64().and_then(|epoch| u32::try_from(epoch).ok()),
    });
    let overlaid: Vec<Overlaid<'_>> = overlaid.collect();
    let curves = out.join("curves.svg");
    let title = format!("Cross-validation, {} folds", wanted.len());
    write_atomically(&curves, overlay::svg(&title, "accuracy", &overlaid).as_bytes())?;
    tell(context, &wanted, &done, out, &curves)
}

fn epochs(folder: &Path) -> Vec<Epoch> {
    let bytes = std::fs::read(folder.join("history.csv")).unwrap_or_default();
    history::from_csv("history.csv", &bytes).map(|(epochs, _)| epochs).unwrap_or_default()
}

fn told(done: &Done) -> String {
    match (done.figure("test", "accuracy"), done.figure("test", "loss")) {
        (Some(accuracy), _) => format!("test accuracy {}", percent(accuracy)),
        (None, Some(loss)) => format!("test loss {}", figure(Some(loss))),
        _ => done.status.into(),
    }
}

fn tell(context: &Context<'_>, wanted: &[Wanted], done: &[Done], out: &Path, curves: &Path) -> Result<(), Failure> {
    const COLUMNS: [(&str, &str, &str); 6] = [
        ("train loss", "train", "loss"),
        ("val loss", "validation", "loss"),
        ("test loss", "test", "loss"),
        ("train acc", "train", "accuracy"),
        ("val acc", "validation", "accuracy"),
        ("test acc", "test", "accuracy"),
    ];
    let columns: Vec<_> =
        COLUMNS.into_iter().filter(|(_, set, what)| done.iter().any(|done| done.figure(set, what).is_some())).collect();
    let head = ["fold", "rows", "best epoch"].into_iter().chain(columns.iter().map(|column| column.0));
    let mut table = TextTable::new(head, 1);
    let field = |done: &Done, set: &str, name: &str| match &done.report[set][name] {
        serde_json::Value::Null => "–".to_owned(),
        value => value.to_string(),
    };
    for (run, done) in wanted.iter().zip(done) {
        let best = done.report["best_epoch"].as_u64().map_or_else(|| done.status.into(), |best| best.to_string());
        let figures = columns.iter().map(|(_, set, what)| figure(done.figure(set, what)));
        table.row([run.name.clone(), field(done, "test", "rows"), best].into_iter().chain(figures));
    }
    let mut summary = serde_json::Map::new();
    let (mut means, mut deviations) = (vec!["mean".into(), String::new(), String::new()], Vec::new());
    deviations.extend(["± deviation".to_owned(), String::new(), String::new()]);
    for (_, set, what) in &columns {
        let values: Vec<f64> = done.iter().filter_map(|done| done.figure(set, what)).collect();
        let (mean, deviation) = mean_and_deviation(&values);
        means.push(figure(Some(mean)));
        deviations.push(figure(Some(deviation)));
        summary.insert(format!("{set}_{what}"), json!({ "mean": mean, "standard_deviation": deviation }));
    }
    table.row(means);
    table.row(deviations);
    context.show.line(table.text(""));
    context.show.line(format_args!("curves  {}", curves.display()));
    context.show.line(format_args!("folder  {}: a run for each fold", out.display()));
    let undone = done.iter().filter(|done| done.status != "done").count();
    if undone > 0 {
        context.show.warn(&format!("{undone} of {} folds have no model and are not in the means", done.len()));
    }
    let folds: Vec<_> = wanted
        .iter()
        .zip(done)
        .map(|(run, done)| {
            let report = &done.report;
            json!({
                "fold": run.name, "run": out.join(&run.folder).display().to_string(), "status": done.status,
                "train": report["train"], "validation": report["validation"], "test": report["test"],
                "best_epoch": report["best_epoch"],
            })
        })
        .collect();
    let report = json!({ "folds": folds, "means": summary, "curves": curves.display().to_string() });
    let text = serde_json::to_string_pretty(&report).map_err(|error| Failure::new(Kind::Write, error))?;
    write_atomically(out.join("report.json"), text.as_bytes())?;
    context.show.event("cv", report);
    Ok(())
}

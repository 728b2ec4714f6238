//! `evenkeel sweep`: a run for every combination of a grid, and one table of results.

use std::path::Path;

use serde_json::json;

use super::Context;
use super::many::{self, Done, Wanted};
use crate::atomic::write_atomically;
use crate::error::{Failure, Kind};
use crate::options::{MonitorName, TrainOptions};
use crate::table::{TextTable, figure};

mod grid;

use grid::Grid;

/// Rows of the table that are shown; all of them are in the file.
const MOST_SHOWN: usize = 50;
const FIGURES: [(&str, &str); 6] = [
    ("train", "loss"),
    ("train", "accuracy"),
    ("validation", "loss"),
    ("validation", "accuracy"),
    ("test", "loss"),
    ("test", "accuracy"),
];

/// Makes all runs of the grid in `file` and the table `results.csv`, best first.
///
/// # Errors
/// For a grid that cannot be read and what keeps a run from beginning; after Ctrl-C says how to go on.
pub fn sweep(context: &Context<'_>, file: &Path, out: &Path) -> Result<(), Failure> {
    let grid = Grid::read(file)?;
    let wanted = grid.runs()?;
    let monitor = wanted.first().and_then(|run| run.options.monitor).unwrap_or(MonitorName::ValLoss);
    many::prepare(out, "grid.toml", &grid.canonical()?)?;
    if !context.show.quiet {
        context.show.line(format_args!("{} runs over {}", wanted.len(), grid.axes().join(", ")));
    }
    let again = format!("evenkeel sweep {} --out {}", file.display(), out.display());
    let done = many::run_all(context, out, &wanted, &again)?;
    let order = sorted(&done, monitor);
    let csv = csv(&grid, &wanted, &done, &order)?;
    let path = out.join("results.csv");
    write_atomically(&path, csv.as_bytes())?;
    let monitor_name = evenkeel::fit::Monitor::from(monitor).name();
    context.show.line(table(&grid, &wanted, &done, &order));
    if order.len() > MOST_SHOWN {
        context.show.line(format_args!("and {} more", order.len() - MOST_SHOWN));
    }
    context.show.line(format_args!("table   {} (best {monitor_name} first)", path.display()));
    if let Some(best) = order.first().map(|at| &wanted[*at]) {
        context.show.line(format_args!("best    {}", out.join(&best.folder).display()));
    }
    let rows: Vec<_> = order
        .iter()
        .map(|at| json!({ "run": wanted[*at].folder, "options": wanted[*at].name, "status": done[*at].status }))
        .collect();
    context.show.event(
        "sweep",
        json!({ "runs": rows, "monitor": monitor_name, "table": path.display().to_string(), "out": out.display().to_string() }),
    );
    Ok(())
}

/// Best first; runs without the figure last, in the order of the grid.
fn sorted(done: &[Done], monitor: MonitorName) -> Vec<usize> {
    let larger = evenkeel::fit::Monitor::from(monitor).mode() == evenkeel::train::Mode::Max;
    let key = |at: &usize| match done[*at].monitored(monitor) {
        Some(value) if larger => -value,
        Some(value) => value,
        None => f64::INFINITY,
    };
    let mut order: Vec<usize> = (0..done.len()).collect();
    order.sort_by(|a, b| key(a).total_cmp(&key(b)).then(a.cmp(b)));
    order
}

/// No time stands in it, so that it is the same however often the sweep was stopped.
fn csv(grid: &Grid, wanted: &[Wanted], done: &[Done], order: &[usize]) -> Result<String, Failure> {
    let fails = |error: &dyn std::fmt::Display| Failure::new(Kind::Write, format_args!("results.csv: {error}"));
    let mut out = csv::WriterBuilder::new().from_writer(Vec::new());
    let figures = FIGURES.map(|(set, what)| format!("{set}_{what}"));
    let head = ["run"].into_iter().chain(grid.axes()).chain(["status", "epochs", "best_epoch", "stopped_early"]);
    let head: Vec<String> = head.map(str::to_owned).chain(figures).collect();
    out.write_record(&head).map_err(|error| fails(&error))?;
    for at in order {
        let (run, done) = (&wanted[*at], &done[*at]);
        let field = |name: &str| match &done.report[name] {
            serde_json::Value::Null => String::new(),
            value => value.to_string(),
        };
        let mut row = vec![run.folder.clone()];
        row.extend(grid.values(*at));
        row.push(done.status.into());
        row.extend(["epochs", "best_epoch", "stopped_early"].map(field));
        row.extend(
            FIGURES.map(|(set, what)| done.figure(set, what).map_or_else(String::new, |value| value.to_string())),
        );
        out.write_record(&row).map_err(|error| fails(&error))?;
    }
    let bytes = out.into_inner().map_err(|error| fails(&error))?;
    String::from_utf8(bytes).map_err(|error| fails(&error))
}

fn table(grid: &Grid, wanted: &[Wanted], done: &[Done], order: &[usize]) -> String {
    let used = FIGURES.map(|(set, what)| done.iter().any(|done| done.figure(set, what).is_some()));
    let axes = grid.axes();
    let names = ["train loss", "train acc", "val loss", "val acc", "test loss", "test acc"];
    let names = names.into_iter().zip(used).filter(|(_, used)| *used).map(|(name, _)| name);
    let left = axes.len() + 1;
    let mut table = TextTable::new(["run"].into_iter().chain(axes).chain(["epochs"]).chain(names), left);
    for at in order.iter().take(MOST_SHOWN) {
        let done = &done[*at];
        let mut row = vec![wanted[*at].folder.clone()];
        row.extend(grid.values(*at));
        if done.status == "done" {
            row.push(done.report["epochs"].to_string());
            let shown = FIGURES.into_iter().zip(used).filter(|(_, used)| *used);
            row.extend(shown.map(|((set, what), _)| figure(done.figure(set, what))));
        } else {
            row.push(done.status.into());
        }
        table.row(row);
    }
    table.text("")
}

/// Refuses options before the first run begins.
fn check(options: &TrainOptions, name: &str) -> Result<(), Failure> {
    options.check().map_err(|failure| Failure::new(failure.kind, format_args!("{name}: {failure}")))
}

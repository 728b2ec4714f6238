//! `evenkeel find-lr`: tries learning rates on the beginning of a run and suggests one.

use std::path::Path;

use evenkeel::fit::RateSearch;
use serde_json::json;

use super::Context;
use crate::atomic::write_atomically;
use crate::curves::rates;
use crate::error::{Failure, Kind};
use crate::train::{Plan, start};

/// Searches with the options of `plan` and draws the curve to `out`. No model is written.
///
/// # Errors
/// As `train` refuses, and for a search outside its range.
pub fn find_lr(context: &Context<'_>, plan: &Plan, search: RateSearch, out: &Path) -> Result<(), Failure> {
    let started = start(&plan.options, &plan.origin, context.level)?;
    let view = started.sets.train.set.view()?;
    let (model, trainer) = (&started.run.model, &started.run.trainer);
    let curve = context.pool.enter(|| search.run(model, trainer, view, context.pool))?;
    let marks = [("steepest descent", curve.steepest()), ("a tenth of the lowest", curve.tenth_of_lowest())];
    let named: Vec<(&str, f32)> = marks.iter().filter_map(|(name, lr)| Some((*name, (*lr)?))).collect();
    write_atomically(out, rates::svg(&curve, &named).as_bytes())?;
    let last = curve.points.last().map_or(0.0, |point| point.lr);
    let end = if curve.diverged { "the loss diverged" } else { "the loss did not diverge: --highest may be larger" };
    context.show.line(format_args!("{} rates from {:.1e} to {last:.1e}; {end}", curve.points.len(), search.lowest));
    for (name, lr) in &named {
        context.show.line(format_args!("  {name:<22} {lr:.2e}"));
    }
    context.show.line(format_args!("picture {}", out.display()));
    let points: Vec<_> = curve
        .points
        .iter()
        .map(|point| json!({ "lr": point.lr, "loss": point.loss, "smoothed": point.smoothed }))
        .collect();
    context.show.event(
        "find-lr",
        json!({
            "points": points, "diverged": curve.diverged, "steepest": marks[0].1, "tenth_of_lowest": marks[1].1,
            "picture": out.display().to_string(),
        }),
    );
    if named.is_empty() {
        let message = "the loss diverged before a rate could be told from another: try a smaller --lowest";
        return Err(Failure::new(Kind::Diverged, message));
    }
    Ok(())
}

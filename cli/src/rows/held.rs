//! Rows that are held out of the training: a group, a fold, a share.

use super::Rows;
use super::part::filter;
use crate::data::Groups;
use crate::error::{Failure, Kind};

/// Rows that are held out: the split's number, so that validation and test are drawn independently.
pub(super) const VALIDATION: u32 = 0;
pub(super) const TEST: u32 = 1;

/// The group that is tested on: `subject=3`, or several as a row filter has them. What is the name of a group stands for that
/// group alone, whatever a filter would make of it: `1..3`, `a,b`, or 1 beside 1.0.
pub(super) struct Group<'a> {
    pub(super) column: &'a str,
    value: &'a str,
    text: &'a str,
}

impl<'a> Group<'a> {
    pub(super) fn parse(text: &'a str) -> Result<Self, Failure> {
        let (left, value) = text.split_once('=').unwrap_or((text, ""));
        let (column, value) = left.strip_suffix('!').map_or((left, value), |column| (column, ""));
        let (column, value) = (column.trim(), value.trim());
        if column.is_empty() || value.is_empty() {
            // No group's name: all that is left is a filter, or a mistake.
            filter(text)?;
        }
        Ok(Self { column, value, text })
    }

    pub(super) fn hold_out(&self, rows: &mut Rows, groups: &Groups) -> Result<Rows, Failure> {
        let filter = if groups.names.iter().any(|name| name == self.value) { None } else { Some(filter(self.text)?) };
        let is_held = |name: &String| match &filter {
            None => name == self.value,
            Some(filter) => filter.passes_text(name) == Some(true),
        };
        let held: Vec<bool> = groups.names.iter().map(is_held).collect();
        let of_group = |(_, id): &(u32, &u32)| held.get(**id as usize).copied().unwrap_or(false);
        let held: Vec<u32> = (0..).zip(&groups.ids).filter(of_group).map(|(row, _)| row).collect();
        let name = format!("the rows of {} where {}", rows.name, self.text);
        if held.is_empty() || held.len() == rows.set.rows() {
            let which = if held.is_empty() { "no row" } else { "every row" };
            let message = format!("--test-group {}: {which} of {} is of it", self.text, rows.name);
            return Err(Failure::new(Kind::Usage, message));
        }
        take_out(rows, &held, name)
    }
}

/// Fold `K/N` of the rows.
pub(super) fn hold_out_fold(rows: &mut Rows, fold: &str, seed: u64) -> Result<Rows, Failure> {
    let wrong = |why: &str| Failure::new(Kind::Usage, format_args!("--test-fold {fold}: {why}"));
    let numbers = fold.split_once('/').and_then(|(k, n)| Some((k.trim().parse().ok()?, n.trim().parse().ok()?)));
    let (k, n): (usize, usize) = numbers.ok_or_else(|| wrong("expected fold and number of folds, such as 2/5"))?;
    let folds = rows.set.folds(n, seed).map_err(|error| wrong(&error.to_string()))?;
    let held = k.checked_sub(1).and_then(|k| folds.get(k)).ok_or_else(|| wrong("folds are counted from 1"))?;
    let name = format!("fold {k} of {n} of {}", rows.name);
    take_out(rows, held, name)
}

/// Moves rows to a set of their own.
fn take_out(rows: &mut Rows, held: &[u32], name: String) -> Result<Rows, Failure> {
    let taken = Rows { set: rows.set.subset(held)?, name };
    rows.set = rows.set.subset(&evenkeel::data::others(rows.set.rows(), held))?;
    Ok(taken)
}

/// A share of the rows, drawn by the seed; `None` if that is none of them.
pub(super) fn hold_out(rows: &mut Rows, share: f64, seed: u64, which: u32) -> Result<Option<Rows>, Failure> {
    let (kept, held) = rows.set.hold_out(share, seed, which);
    if held.is_empty() {
        return Ok(None);
    }
    let purpose = if which == TEST { "test" } else { "validation" };
    if kept.is_empty() {
        let message = format!("--{purpose}-split {share} leaves no rows of {} to train on", rows.name);
        return Err(Failure::new(Kind::Usage, message));
    }
    let held = Rows { set: rows.set.subset(&held)?, name: format!("the {purpose} rows of {}", rows.name) };
    rows.set = rows.set.subset(&kept)?;
    Ok(Some(held))
}

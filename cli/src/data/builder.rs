//! Rows in, table out: what text files and arrays have in common.

use super::columns::Plan;
use super::error::{CellProblem, Error, Place, clip};
use super::labels::{Labels, narrow, parse_value};
use super::{Groups, Options, Table};
use std::collections::HashMap;

/// Gathers the rows of one file.
pub(crate) struct Builder<'a> {
    file: String,
    plan: Plan<'a>,
    options: &'a Options,
    inputs: Vec<f32>,
    labels: Option<Labels>,
    groups: Option<Groups>,
    group_ids: HashMap<String, u32>,
    /// Rows to take, ascending, if another file's filter has chosen them already.
    chosen: Option<&'a [u64]>,
    /// Rows taken, if a filter is at work; else all of them.
    kept: Option<Vec<u64>>,
    seen: u64,
    rows: usize,
    scratch: Vec<f64>,
}

/// A gathered file: its table and which of how many rows it holds.
pub(crate) struct Built {
    pub(crate) table: Table,
    pub(crate) kept: Option<Vec<u64>>,
    pub(crate) seen: u64,
}

impl<'a> Builder<'a> {
    /// `numeric_rows`: the targets are one row of an array, so several of them may be one-hot classes.
    pub(crate) fn new(
        file: &str,
        plan: Plan<'a>,
        options: &'a Options,
        chosen: Option<&'a [u64]>,
        numeric_rows: bool,
    ) -> Result<Self, Error> {
        let names: Vec<String> = plan.targets.iter().map(|&c| plan.names[c].clone()).collect();
        let rows = numeric_rows && names.len() > 1;
        let labels = (!names.is_empty())
            .then(|| Labels::new(file, names, options.task, options.classes.as_deref(), rows))
            .transpose()?;
        let groups = plan.group.map(|c| Groups { column: plan.names[c].clone(), ..Groups::default() });
        let kept = (!plan.filters.is_empty()).then(Vec::new);
        Ok(Self {
            file: file.to_owned(),
            plan,
            options,
            inputs: Vec::new(),
            labels,
            groups,
            group_ids: HashMap::new(),
            chosen,
            kept,
            seen: 0,
            rows: 0,
            scratch: Vec::new(),
        })
    }

    /// Makes room for rows that are sure to come.
    pub(crate) fn reserve(&mut self, rows: usize) {
        self.inputs.reserve_exact(rows.saturating_mul(self.plan.inputs.len()));
    }

    /// Takes a row of text fields, as many as there are columns.
    pub(crate) fn push_text<'f>(&mut self, line: u64, field: impl Fn(usize) -> &'f [u8]) -> Result<(), Error> {
        let place = Place::Line(line);
        let number = self.seen;
        self.seen += 1;
        if !self.is_chosen(number) {
            return Ok(());
        }
        for (column, filter) in &self.plan.filters {
            let passes = match column {
                None => Some(filter.passes_number(number as f64)),
                Some(c) => filter.passes_text(text(&self.file, line, *c, field(*c))?),
            };
            match (passes, column) {
                (Some(true), _) => {}
                (None, &Some(c)) => {
                    let problem = CellProblem::NotANumber { found: clip(field(c)) };
                    return Err(self.error(place, c, problem));
                }
                _ => return Ok(()),
            }
        }
        for &c in &self.plan.inputs {
            let text = text(&self.file, line, c, field(c))?;
            let value = match parse_value(text) {
                // What the check refused is `nan` or `inf` as it stands.
                Err(CellProblem::NotFinite { .. }) if self.options.allow_nonfinite => text.parse().unwrap_or(f32::NAN),
                Err(CellProblem::NotANumber { found }) => {
                    return Err(self.error(place, c, CellProblem::TextInput { found }));
                }
                value => value.map_err(|problem| self.error(place, c, problem))?,
            };
            push(&mut self.inputs, value);
        }
        if let Some(labels) = &mut self.labels {
            for &c in &self.plan.targets {
                let label = text(&self.file, line, c, field(c))?;
                let problem = |problem| Error::cell(&self.file, place, &self.plan.names[c], problem);
                labels.push_text(label).map_err(problem)?;
            }
        }
        if let Some(c) = self.plan.group {
            let name = text(&self.file, line, c, field(c))?;
            if name.is_empty() {
                return Err(self.error(place, c, CellProblem::Empty));
            }
            self.push_group(name);
        }
        self.keep(number);
        Ok(())
    }

    /// Takes a row of an array, as many numbers as there are columns.
    pub(crate) fn push_numbers(&mut self, row: &[f64], whole_type: bool) -> Result<(), Error> {
        let number = self.seen;
        self.seen += 1;
        let place = Place::Row(number);
        let passes =
            self.plan.filters.iter().all(|(column, f)| f.passes_number(column.map_or(number as f64, |c| row[c])));
        if !passes || !self.is_chosen(number) {
            return Ok(());
        }
        for &c in &self.plan.inputs {
            let value = match narrow(row[c]) {
                Err(CellProblem::NotFinite { .. }) if self.options.allow_nonfinite => row[c] as f32,
                value => value.map_err(|problem| self.error(place, c, problem))?,
            };
            push(&mut self.inputs, value);
        }
        if let Some(labels) = &mut self.labels {
            self.scratch.clear();
            self.scratch.extend(self.plan.targets.iter().map(|&c| row[c]));
            labels.push_numbers(&self.scratch, whole_type).map_err(|(i, problem)| {
                Error::cell(&self.file, place, &self.plan.names[self.plan.targets[i]], problem)
            })?;
        }
        if let Some(c) = self.plan.group {
            self.push_group(&row[c].to_string());
        }
        self.keep(number);
        Ok(())
    }

    /// The table of all rows taken.
    pub(crate) fn finish(mut self) -> Result<Built, Error> {
        if self.seen == 0 {
            return Err(Error::NoRows { file: self.file });
        }
        if self.rows == 0 && self.chosen.is_none_or(|chosen| !chosen.is_empty()) && self.kept.is_some() {
            let filters = self.plan.filters.iter().map(|(_, f)| f.to_string()).collect::<Vec<_>>().join(" and ");
            return Err(Error::AllFiltered { file: self.file, seen: self.seen, filters });
        }
        // What growing left over goes back only if it is worth a copy.
        if self.inputs.capacity() - self.inputs.len() > self.inputs.len() / 8 {
            self.inputs.shrink_to_fit();
        }
        let target = self.labels.map(|labels| labels.finish(&self.file)).transpose()?;
        let Plan { mut names, inputs, .. } = self.plan;
        let table = Table {
            inputs: self.inputs,
            lists: None,
            rows: self.rows,
            cols: inputs.len(),
            feature_names: inputs.iter().map(|&c| std::mem::take(&mut names[c])).collect(),
            target,
            groups: self.groups,
        };
        Ok(Built { table, kept: self.kept, seen: self.seen })
    }

    fn is_chosen(&self, row: u64) -> bool {
        self.chosen.is_none_or(|chosen| chosen.binary_search(&row).is_ok())
    }

    fn keep(&mut self, row: u64) {
        self.rows += 1;
        if let Some(kept) = &mut self.kept {
            kept.push(row);
        }
    }

    fn push_group(&mut self, name: &str) {
        let Some(groups) = &mut self.groups else { return };
        let id = match self.group_ids.get(name) {
            Some(&id) => id,
            None => {
                let id = u32::try_from(groups.names.len()).unwrap_or(u32::MAX);
                groups.names.push(name.to_owned());
                self.group_ids.insert(name.to_owned(), id);
                id
            }
        };
        groups.ids.push(id);
    }

    fn error(&self, place: Place, column: usize, problem: CellProblem) -> Error {
        Error::cell(&self.file, place, &self.plan.names[column], problem)
    }
}

/// A field as text, without the spaces around it: no number or name starts or ends in one.
fn text<'f>(file: &str, line: u64, column: usize, field: &'f [u8]) -> Result<&'f str, Error> {
    let not_utf8 = |_| Error::NotUtf8 { file: file.to_owned(), line, field: column + 1 };
    std::str::from_utf8(field.trim_ascii()).map_err(not_utf8)
}

/// Grows by a quarter instead of doubling: a table of numbers is the largest thing in memory.
fn push(values: &mut Vec<f32>, value: f32) {
    if values.len() == values.capacity() {
        values.reserve_exact((values.len() / 4).max(1 << 12));
    }
    values.push(value);
}

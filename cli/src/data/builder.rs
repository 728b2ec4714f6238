//! Rows in, table out: what text files and arrays have in common, of one file or several.

use super::columns::Plan;
use super::encode::{Categorical, Categories, Missing, OneHot, is_missing};
use super::error::{CellProblem, Error, Place, clip};
use super::labels::{Labels, narrow, parse_value};
use super::spool::Sink;
use super::{Groups, Options, Table};
use evenkeel::host::rows::RowFile;
use std::collections::HashMap;
use std::fs::File;
use std::path::Path;

/// Gathers the rows of one file.
pub(crate) struct Builder<'a> {
    file: String,
    plan: Plan<'a>,
    options: &'a Options,
    /// For each row and column of inputs a number, the number of its category, or NaN where it is missing.
    inputs: Sink,
    /// What each column of inputs is: categories, or numbers.
    kinds: Vec<Option<Box<Categories>>>,
    /// Whether the first row still has to say which columns are categories.
    undecided: bool,
    labels: Option<Labels>,
    groups: Option<Groups>,
    weights: Option<Vec<f32>>,
    group_ids: HashMap<String, u32>,
    /// Rows to take, ascending, if another file's filter has chosen them already.
    chosen: Option<&'a [u64]>,
    /// Rows taken, if a filter is at work; else all of them.
    kept: Option<Vec<u64>>,
    seen: u64,
    /// Rows before this file.
    before: u64,
    /// Where this file has the columns of the first, if elsewhere.
    places: Option<Vec<usize>>,
    named: bool,
    rows: usize,
    scratch: Vec<f64>,
}

/// What was gathered: the table and which of how many rows it holds.
#[derive(Default)]
pub(crate) struct Built {
    pub(crate) table: Table,
    pub(crate) kept: Option<Vec<u64>>,
    pub(crate) seen: u64,
    /// Arrays with the labels, if the inputs come from archives that have some.
    pub(crate) labels: Vec<String>,
}

impl Built {
    /// The table with the labels of another file.
    pub(crate) fn with_labels(self, file: String, labels_file: String, labels: Self) -> Result<Table, Error> {
        if labels.seen != self.seen {
            return Err(Error::RowsDiffer { file, rows: self.seen, labels_file, labels: labels.seen });
        }
        Ok(Table { target: labels.table.target, ..self.table })
    }
}

impl<'a> Builder<'a> {
    /// `named`: the columns have names in the file. `numeric_rows`: the targets are one row of an array, so several of them may be one-hot classes.
    pub(crate) fn new(
        file: &str,
        plan: Plan<'a>,
        options: &'a Options,
        chosen: Option<&'a [u64]>,
        (named, numeric_rows): (bool, bool),
    ) -> Result<Self, Error> {
        let names: Vec<String> = plan.targets.iter().map(|&c| plan.names[c].clone()).collect();
        let rows = numeric_rows && names.len() > 1;
        let labels = (!names.is_empty())
            .then(|| Labels::new(file, names, options.task, options.classes.as_deref(), rows))
            .transpose()?;
        let groups = plan.group.map(|c| Groups { column: plan.names[c].clone(), ..Groups::default() });
        let kept = (!plan.filters.is_empty() || options.missing == Missing::Drop).then(Vec::new);
        let kinds = plan.inputs.iter().enumerate().map(|(at, &c)| {
            // A trained model's names go before those of the file, which may have none.
            let name = options.features.as_ref().and_then(|names| names.get(at)).unwrap_or(&plan.names[c]);
            match &options.categories {
                Some(known) => known.get(name).map(|names| Box::new(Categories::new(Some(names)))),
                None => plan.categorical.contains(&c).then(|| Box::new(Categories::new(None))),
            }
        });
        let kinds = kinds.collect();
        let weights = plan.weight.map(|_| Vec::new());
        // A file of labels has no inputs.
        let folder = options.stream.as_deref().filter(|_| !plan.inputs.is_empty());
        Ok(Self {
            file: file.to_owned(),
            places: None,
            plan,
            options,
            inputs: Sink::new(folder),
            kinds,
            undecided: options.categorical == Categorical::Auto && options.categories.is_none(),
            labels,
            groups,
            weights,
            group_ids: HashMap::new(),
            chosen,
            kept,
            seen: 0,
            before: 0,
            named,
            rows: 0,
            scratch: Vec::new(),
        })
    }

    /// Goes on with a file that has the same columns; those with names may stand in another order.
    pub(crate) fn next_file(&mut self, file: &str, names: &[String], named: bool) -> Result<(), Error> {
        let other = |what: String| Err(Error::OtherColumns { file: file.to_owned(), what });
        let first = &self.plan.names;
        if names.len() != first.len() {
            return other(format!("has {} columns, the first file has {}", names.len(), first.len()));
        }
        if named != self.named {
            let (this, that) = if named { ("has", "has none") } else { ("has no", "has them") };
            return other(format!("{this} names of columns, the first file {that}"));
        }
        if first != names {
            let index: HashMap<&str, usize> = names.iter().enumerate().map(|(at, name)| (name.as_str(), at)).collect();
            let places = first.iter().map(|name| index.get(name.as_str()).copied()).collect::<Option<Vec<usize>>>();
            let Some(places) = places else {
                let missing = first.iter().find(|name| !index.contains_key(name.as_str()));
                return other(format!("has no column {:?}", clip(missing.map_or("", |name| name).as_bytes())));
            };
            self.places = Some(places);
        } else {
            self.places = None;
        }
        (self.file, self.before) = (file.to_owned(), self.seen);
        self.inputs.next_file();
        Ok(())
    }

    /// Makes room for rows that are sure to come.
    pub(crate) fn reserve(&mut self, rows: usize) {
        self.inputs.reserve(rows.saturating_mul(self.plan.inputs.len()));
    }

    /// Whether inputs stay on the disk.
    pub(crate) fn is_disk(&self) -> bool {
        self.inputs.is_disk()
    }

    /// The rows that come are plain 32-bit floats from byte `start` of a file on: they can stay there, unless some are
    /// categories.
    pub(crate) fn in_place(&mut self, path: &Path, start: u64) -> Result<(), Error> {
        if !self.inputs.is_disk() || self.kinds.iter().any(Option::is_some) {
            return Ok(());
        }
        let width = self.plan.names.len();
        let all = self.plan.inputs.iter().copied().eq(0..width);
        let columns = if all { Vec::new() } else { self.plan.inputs.clone() };
        let rows = File::open(path).and_then(|file| RowFile::new(file, start, width));
        let rows = rows.map_err(|source| Error::Io { file: self.file.clone(), source })?;
        self.inputs.in_place(&self.file, rows, columns);
        Ok(())
    }

    /// Takes a row of text fields, as many as there are columns.
    pub(crate) fn push_text<'f>(&mut self, place: Place, field: impl Fn(usize) -> &'f [u8]) -> Result<(), Error> {
        let Some(places) = self.places.take() else { return self.push_fields(place, field) };
        let result = self.push_fields(place, |c| field(places[c]));
        self.places = Some(places);
        result
    }

    fn push_fields<'f>(&mut self, place: Place, field: impl Fn(usize) -> &'f [u8]) -> Result<(), Error> {
        let number = self.seen;
        self.seen += 1;
        if !self.is_chosen(number) {
            return Ok(());
        }
        for (column, filter) in &self.plan.filters {
            let passes = match column {
                None => Some(filter.passes_number(number as f64)),
                Some(c) => filter.passes_text(text(&self.file, place, *c, field(*c))?),
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
        if self.undecided {
            self.decide(place, &field)?;
        }
        let lenient = self.options.missing != Missing::Refuse;
        let missing = |text: &str| lenient && is_missing(text, &self.options.missing_as);
        if self.options.missing == Missing::Drop {
            for &c in &self.plan.inputs {
                if missing(text(&self.file, place, c, field(c))?) {
                    return Ok(());
                }
            }
        }
        for (&c, kind) in self.plan.inputs.iter().zip(&mut self.kinds) {
            let text = text(&self.file, place, c, field(c))?;
            let value = match (kind, parse_value(text)) {
                _ if missing(text) => Ok(f32::NAN),
                (Some(_), _) if text.is_empty() => Err(CellProblem::Empty),
                (Some(categories), _) => categories.id(text, self.options.unknown_as_zeros).map(category),
                // What the check refused is `nan` or `inf` as it stands.
                (None, Err(CellProblem::NotFinite { .. })) if self.options.allow_nonfinite => {
                    Ok(text.parse().unwrap_or(f32::NAN))
                }
                (None, Err(CellProblem::NotANumber { found } | CellProblem::NotFinite { found }))
                    if is_missing(text, &[]) =>
                {
                    Err(CellProblem::Missing { found })
                }
                (None, Err(CellProblem::NotANumber { found })) => Err(CellProblem::TextInput { found }),
                (None, value) => value,
            };
            let problem = |problem| Error::cell(&self.file, place, &self.plan.names[c], problem);
            self.inputs.push(value.map_err(problem)?);
        }
        if let Some(labels) = &mut self.labels {
            for &c in &self.plan.targets {
                let label = text(&self.file, place, c, field(c))?;
                let problem = |problem| Error::cell(&self.file, place, &self.plan.names[c], problem);
                if label.is_empty() || missing(label) {
                    return Err(problem(CellProblem::NoTarget { found: clip(label.as_bytes()) }));
                }
                labels.push_text(label).map_err(problem)?;
            }
        }
        if let Some(c) = self.plan.group {
            let name = text(&self.file, place, c, field(c))?;
            if name.is_empty() {
                return Err(self.error(place, c, CellProblem::Empty));
            }
            self.push_group(name);
        }
        if let (Some(c), Some(weights)) = (self.plan.weight, &mut self.weights) {
            let weight = parse_value(text(&self.file, place, c, field(c))?);
            let problem = |problem| Error::cell(&self.file, place, &self.plan.names[c], problem);
            weights.push(weight.map_err(problem)?);
        }
        self.keep(number)
    }

    /// Takes a row of an array, as many numbers as there are columns.
    pub(crate) fn push_numbers(&mut self, row: &[f64], whole_type: bool) -> Result<(), Error> {
        let number = self.seen;
        self.seen += 1;
        let place = Place::Row(number - self.before);
        let passes =
            self.plan.filters.iter().all(|(column, f)| f.passes_number(column.map_or(number as f64, |c| row[c])));
        if !passes || !self.is_chosen(number) {
            return Ok(());
        }
        let lenient = self.options.missing != Missing::Refuse;
        if self.options.missing == Missing::Drop && self.plan.inputs.iter().any(|&c| row[c].is_nan()) {
            return Ok(());
        }
        for (&c, kind) in self.plan.inputs.iter().zip(&mut self.kinds) {
            let value = match (kind, narrow(row[c])) {
                _ if lenient && row[c].is_nan() => Ok(f32::NAN),
                (Some(_), Err(problem)) => Err(problem),
                (Some(categories), Ok(_)) => {
                    categories.id(&row[c].to_string(), self.options.unknown_as_zeros).map(category)
                }
                (None, Err(CellProblem::NotFinite { .. })) if self.options.allow_nonfinite => Ok(row[c] as f32),
                (None, Err(CellProblem::NotFinite { found })) if row[c].is_nan() => Err(CellProblem::Missing { found }),
                (None, value) => value,
            };
            let problem = |problem| Error::cell(&self.file, place, &self.plan.names[c], problem);
            self.inputs.push(value.map_err(problem)?);
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
        if let (Some(c), Some(weights)) = (self.plan.weight, &mut self.weights) {
            let problem = |problem| Error::cell(&self.file, place, &self.plan.names[c], problem);
            weights.push(narrow(row[c]).map_err(problem)?);
        }
        self.keep(number)
    }

    /// The table of all rows taken.
    pub(crate) fn finish(self) -> Result<Built, Error> {
        if self.seen == 0 {
            return Err(Error::NoRows { file: self.file });
        }
        if self.rows == 0 && self.chosen.is_none_or(|chosen| !chosen.is_empty()) && self.kept.is_some() {
            let dropped = (self.options.missing == Missing::Drop).then(|| "--missing drop".to_owned());
            let filters = self.plan.filters.iter().map(|(_, filter)| filter.to_string()).chain(dropped);
            let filters = filters.collect::<Vec<_>>().join(" and ");
            return Err(Error::AllFiltered { file: self.file, seen: self.seen, filters });
        }
        let target = self.labels.map(|labels| labels.finish(&self.file)).transpose()?;
        let Plan { mut names, inputs, .. } = self.plan;
        let columns = self.kinds.len();
        let (found, places): (Vec<_>, Vec<_>) =
            self.kinds.into_iter().map(|kind| kind.map(|kind| kind.finish()).unzip()).unzip();
        let one_hot = OneHot::new(places);
        let cols = one_hot.width();
        let (values, stored) = match self.inputs {
            Sink::Memory(values) => (expand(values, columns, &one_hot), None),
            Sink::Disk(spool) => (Vec::new(), Some(spool.finish(columns, one_hot)?)),
        };
        let name = |at: usize| self.options.features.as_ref().map_or(&names[inputs[at]], |names| &names[at]).clone();
        let categories = found.into_iter().enumerate().filter_map(|(at, found)| Some((name(at), found?))).collect();
        let table = Table {
            inputs: values,
            lists: None,
            stored,
            rows: self.rows,
            cols,
            categories,
            feature_names: inputs.iter().map(|&c| std::mem::take(&mut names[c])).collect(),
            target,
            groups: self.groups,
            weights: self.weights,
        };
        Ok(Built { table, kept: self.kept, seen: self.seen, labels: Vec::new() })
    }

    /// Takes the columns for categories whose cell in this row is text.
    fn decide<'f>(&mut self, place: Place, field: &impl Fn(usize) -> &'f [u8]) -> Result<(), Error> {
        self.undecided = false;
        for (&c, kind) in self.plan.inputs.iter().zip(&mut self.kinds) {
            let text = text(&self.file, place, c, field(c))?;
            if text.parse::<f64>().is_err() && !is_missing(text, &self.options.missing_as) {
                *kind = Some(Box::new(Categories::new(None)));
            }
        }
        Ok(())
    }

    fn is_chosen(&self, row: u64) -> bool {
        self.chosen.is_none_or(|chosen| chosen.binary_search(&row).is_ok())
    }

    fn keep(&mut self, row: u64) -> Result<(), Error> {
        self.rows += 1;
        if let Some(kept) = &mut self.kept {
            kept.push(row);
        }
        self.inputs.end_row(&self.file, row - self.before)
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

/// The number of a category, NaN for none of them: exact, since there are fewer than 2^24.
fn category(id: Option<u32>) -> f32 {
    id.map_or(f32::NAN, |id| id as f32)
}

/// Rows with an input for each category in the place of its number.
fn expand(mut inputs: Vec<f32>, columns: usize, one_hot: &OneHot) -> Vec<f32> {
    if one_hot.is_plain() {
        // What growing left over goes back only if it is worth a copy.
        if inputs.capacity() - inputs.len() > inputs.len() / 8 {
            inputs.shrink_to_fit();
        }
        return inputs;
    }
    let mut rows = vec![0.0; inputs.len() / columns * one_hot.width()];
    for (row, out) in inputs.chunks_exact(columns).zip(rows.chunks_exact_mut(one_hot.width())) {
        one_hot.row(row, out);
    }
    rows
}

/// A field as text, without the spaces around it: no number or name starts or ends in one.
fn text<'f>(file: &str, place: Place, column: usize, field: &'f [u8]) -> Result<&'f str, Error> {
    let (Place::Line(line) | Place::Row(line)) = place;
    let not_utf8 = |_| Error::NotUtf8 { file: file.to_owned(), line, field: column + 1 };
    std::str::from_utf8(field.trim_ascii()).map_err(not_utf8)
}

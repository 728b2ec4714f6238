//! Which column is what: inputs, target, group, filters, and those left out.

use super::encode::Categorical;
use super::error::{Error, list};
use super::filter::RowFilter;
use super::{Options, TargetColumn};
use std::collections::HashMap;

/// More columns than any table of numbers has (a picture of 512 × 512); it bounds what names cost in memory.
pub(crate) const MAX_COLUMNS: usize = 1 << 18;

/// Names that are taken for the target if nothing else is said.
const TARGET_NAMES: [&str; 3] = ["label", "target", "class"];

/// What every column of a file is for.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) names: Vec<String>,
    pub(crate) inputs: Vec<usize>,
    pub(crate) targets: Vec<usize>,
    /// Inputs that the user says are categories.
    pub(crate) categorical: Vec<usize>,
    pub(crate) group: Option<usize>,
    pub(crate) weight: Option<usize>,
    /// The column that decides (`None`: the row's number) and its condition.
    pub(crate) filters: Vec<(Option<usize>, &'a RowFilter)>,
}

impl<'a> Plan<'a> {
    /// `named` tells whether the names stand in the file; without, they are the columns' numbers. In an array (not `text`)
    /// nothing tells a target from an input: a column is one only where the user says so.
    pub(crate) fn new(
        file: &str,
        names: Vec<String>,
        (named, text): (bool, bool),
        options: &'a Options,
    ) -> Result<Self, Error> {
        let header = Header::new(file, &names);
        let ignored = header.ignored(options)?;
        header.check_names(&ignored)?;
        let group = options.group.as_deref().map(|name| header.find(name, "to group by")).transpose()?;
        let weight = options.weight.as_deref().map(|name| header.find(name, "the weights")).transpose()?;
        let filters = options
            .filters
            .iter()
            .map(|filter| match header.position(filter.column()) {
                None if filter.column() == "row" => Ok((None, filter)),
                None => Err(header.missing(filter.column(), "a row filter")),
                found => Ok((found, filter)),
            })
            .collect::<Result<_, _>>()?;

        let by_name = options
            .features
            .as_ref()
            .and_then(|wanted| wanted.iter().map(|name| header.input(name, &ignored)).collect::<Option<Vec<usize>>>());
        let mut taken = vec![false; names.len()];
        ignored.iter().chain(&group).chain(&weight).chain(by_name.iter().flatten()).for_each(|&c| taken[c] = true);
        let targets = match &options.target {
            TargetColumn::None => Vec::new(),
            _ if options.labels.is_some() => Vec::new(),
            TargetColumn::Columns(wanted) => {
                wanted.iter().map(|name| header.find(name, "the target")).collect::<Result<_, _>>()?
            }
            TargetColumn::Auto if !text => Vec::new(),
            TargetColumn::Auto => {
                let free = || (0..names.len()).rev().filter(|&c| !taken[c]);
                let called = free().find(|&c| TARGET_NAMES.iter().any(|t| names[c].eq_ignore_ascii_case(t)));
                called.or_else(|| free().next()).into_iter().collect()
            }
        };
        let (groups, weights) = (group.into_iter().collect(), weight.into_iter().collect());
        for (list, use_) in [(&ignored, "ignored"), (&groups, "the group"), (&weights, "the weights")] {
            if let Some(&both) = targets.iter().find(|&t| list.contains(t)) {
                return Err(header.twice(both, "the target", use_));
            }
        }
        for (i, t) in targets.iter().enumerate() {
            if targets[..i].contains(t) {
                return Err(header.twice(*t, "the target", "the target again"));
            }
        }
        targets.iter().for_each(|&c| taken[c] = true);

        let rest = || (0..names.len()).filter(|&c| !taken[c]).collect::<Vec<_>>();
        let inputs = match (&options.features, by_name) {
            (None, _) => rest(),
            (Some(_), Some(inputs)) => {
                if let Some(&both) = targets.iter().find(|&t| inputs.contains(t)) {
                    return Err(header.twice(both, "the target", "an input of the model"));
                }
                for (list, use_) in [(&ignored, "ignored"), (&groups, "the group"), (&weights, "the weights")] {
                    if let Some(&both) = list.iter().find(|c| inputs.contains(c)) {
                        return Err(header.twice(both, use_, "an input of the model"));
                    }
                }
                inputs
            }
            (Some(wanted), None) => {
                // One side has no names (numbers stand for them): then the order of the columns has to do.
                let numbered = wanted.iter().enumerate().all(|(i, name)| *name == (i + 1).to_string());
                if named
                    && !numbered
                    && let Some(missing) = wanted.iter().find(|name| !header.index.contains_key(name.as_str()))
                {
                    return Err(header.missing(missing, "an input of the model"));
                }
                let inputs = rest();
                if inputs.len() != wanted.len() {
                    let (found, expected) = (inputs.len(), wanted.len());
                    return Err(Error::FeatureCount { file: file.to_owned(), found, expected });
                }
                inputs
            }
        };
        if inputs.is_empty() {
            return Err(Error::NoInputs { file: file.to_owned() });
        }
        let mut categorical = Vec::new();
        if let Categorical::Columns(wanted) = &options.categorical {
            for name in wanted {
                let column = header.find(name, "categories")?;
                if !inputs.contains(&column) {
                    return Err(Error::NoInput { file: file.to_owned(), column: name.clone() });
                }
                categorical.push(column);
            }
        }
        Ok(Self { inputs, targets, categorical, group, weight, filters, names })
    }

    /// The plan for a file of labels: every column (of which a text file must have just one, or name it) is a target.
    pub(crate) fn of_labels(file: &str, names: Vec<String>, text: bool, options: &Options) -> Result<Self, Error> {
        let header = Header::new(file, &names);
        let targets = match &options.target {
            TargetColumn::Columns(wanted) => {
                wanted.iter().map(|name| header.find(name, "the target")).collect::<Result<_, _>>()?
            }
            _ if text && names.len() > 1 => {
                let called = TARGET_NAMES.iter().find_map(|t| names.iter().position(|n| n.eq_ignore_ascii_case(t)));
                vec![called.ok_or_else(|| header.missing("label", "the one with the labels; name it with --target"))?]
            }
            _ => (0..names.len()).collect(),
        };
        Ok(Self {
            inputs: Vec::new(),
            targets,
            categorical: Vec::new(),
            group: None,
            weight: None,
            filters: Vec::new(),
            names,
        })
    }
}

struct Header<'a> {
    file: &'a str,
    names: &'a [String],
    index: HashMap<&'a str, usize>,
}

impl<'a> Header<'a> {
    fn new(file: &'a str, names: &'a [String]) -> Self {
        // Backwards, so that of two columns of one name the first is found.
        let index = names.iter().enumerate().rev().map(|(c, name)| (name.as_str(), c)).collect();
        Self { file, names, index }
    }

    /// A column by its name, by its number counted from 1, or `last`.
    fn position(&self, name: &str) -> Option<usize> {
        let number = || match name {
            "last" => self.names.len().checked_sub(1),
            _ => name.parse::<usize>().ok()?.checked_sub(1).filter(|&c| c < self.names.len()),
        };
        self.index.get(name).copied().or_else(number)
    }

    /// The column of a model's input: of two with its name the one that is not ignored.
    fn input(&self, name: &str, ignored: &[usize]) -> Option<usize> {
        let first = *self.index.get(name)?;
        let free = |c: &usize| self.names[*c] == name && !ignored.contains(c);
        if ignored.contains(&first) { (first..self.names.len()).find(free).or(Some(first)) } else { Some(first) }
    }

    fn find(&self, name: &str, role: &'static str) -> Result<usize, Error> {
        self.position(name).ok_or_else(|| self.missing(name, role))
    }

    fn missing(&self, column: &str, role: &'static str) -> Error {
        Error::NoSuchColumn { file: self.file.to_owned(), column: column.to_owned(), role, available: list(self.names) }
    }

    fn twice(&self, column: usize, first: &'static str, second: &'static str) -> Error {
        Error::ColumnTwice { file: self.file.to_owned(), column: self.names[column].clone(), first, second }
    }

    fn ignored(&self, options: &Options) -> Result<Vec<usize>, Error> {
        let mut ignored = Vec::new();
        for name in &options.ignore {
            match self.position(name) {
                Some(column) => ignored.push(column),
                // A trained model's inputs are taken by name: what was ignored in training may be missing now.
                None if options.features.is_some() => {}
                None => return Err(self.missing(name, "to be ignored")),
            }
        }
        Ok(ignored)
    }

    fn check_names(&self, ignored: &[usize]) -> Result<(), Error> {
        let file = || self.file.to_owned();
        let mut left_out = vec![false; self.names.len()];
        ignored.iter().for_each(|&c| left_out[c] = true);
        // Of two columns of one name the index knows the first; if that one is left out, the others may still clash.
        let mut twins: HashMap<&str, usize> = HashMap::new();
        for (c, name) in self.names.iter().enumerate().filter(|(c, _)| !left_out[*c]) {
            if name.is_empty() {
                return Err(Error::UnnamedColumn { file: file(), column: c + 1 });
            }
            let first = self.index.get(name.as_str()).copied().unwrap_or(c);
            let earlier = if first == c {
                None
            } else if left_out[first] {
                twins.insert(name, c)
            } else {
                Some(first)
            };
            if let Some(first) = earlier {
                let name = super::error::clip(name.as_bytes());
                return Err(Error::DuplicateColumn { file: file(), name, first: first + 1, second: c + 1 });
            }
        }
        Ok(())
    }
}

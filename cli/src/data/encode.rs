//! Cells that are no numbers: a category becomes one input for each of the column's categories, 1 for its own and 0 for the
//! others; a missing cell becomes a stated number.
//!
//! What was learned from the training rows is an [`Encoding`], which a model keeps: new rows are read in the same way.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::error::{CellProblem, clip, list};

/// More categories than a column has that is no text of its own.
const MAX_CATEGORIES: usize = 4096;

/// What counts as missing, in upper or lower case: what pandas and R write, and the `?` of the UCI sets.
const MISSING: [&str; 9] = ["", "na", "n/a", "nan", "null", "none", "?", "#n/a", "<na>"];

/// How cells became numbers.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Encoding {
    /// Categories of each categorical column, in the order of their inputs.
    pub categories: BTreeMap<String, Vec<String>>,
    /// What happens to missing cells.
    pub missing: Missing,
    /// Texts that count as missing beside the usual ones.
    pub missing_as: Vec<String>,
    /// The number that stands for a missing cell of each input; empty if none may miss.
    pub fill: Vec<f32>,
}

impl Encoding {
    /// Whether all cells are numbers.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }

    /// Number of inputs that these columns become.
    #[must_use]
    pub fn width(&self, columns: &[String]) -> usize {
        columns.iter().map(|column| self.categories.get(column).map_or(1, Vec::len)).sum()
    }

    /// Names of the inputs that these columns become: `color=red` for a category.
    #[must_use]
    pub fn input_names(&self, columns: &[String]) -> Vec<String> {
        let names = |column: &String| match self.categories.get(column) {
            None => vec![column.clone()],
            Some(categories) => categories.iter().map(|category| format!("{column}={category}")).collect(),
        };
        columns.iter().flat_map(names).collect()
    }

    /// Puts its numbers in the place of missing cells (NaN) of rows.
    pub fn fill_in(&self, inputs: &mut [f32]) {
        if !self.fill.is_empty() {
            fill_in(&self.fill, inputs);
        }
    }
}

/// Puts numbers, one for each input, in the place of missing cells (NaN) of rows.
pub(crate) fn fill_in(fill: &[f32], inputs: &mut [f32]) {
    for row in inputs.chunks_mut(fill.len()) {
        for (value, fill) in row.iter_mut().zip(fill) {
            if value.is_nan() {
                *value = *fill;
            }
        }
    }
}

/// What happens to missing cells of inputs. A missing category is none of them under every policy that fills: all its inputs
/// are 0. Targets never miss.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum Missing {
    /// An error names the first one.
    #[default]
    Refuse,
    /// Its row is left out; a model's prediction for it is refused.
    Drop,
    /// The mean of the input's training rows.
    Mean,
    /// The median of the input's training rows (the mean of the two in the middle).
    Median,
    /// A number.
    Value(f32),
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Missing::Refuse => f.write_str("refuse"),
            Missing::Drop => f.write_str("drop"),
            Missing::Mean => f.write_str("mean"),
            Missing::Median => f.write_str("median"),
            Missing::Value(value) => write!(f, "{value}"),
        }
    }
}

/// Why a policy for missing cells cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("missing cells: {0:?} is none of refuse, drop, mean, median, or a number")]
pub struct MissingError(String);

impl FromStr for Missing {
    type Err = MissingError;

    fn from_str(text: &str) -> Result<Self, MissingError> {
        Ok(match text {
            "refuse" => Missing::Refuse,
            "drop" => Missing::Drop,
            "mean" => Missing::Mean,
            "median" => Missing::Median,
            number => {
                let value = number.parse().ok().filter(|value: &f32| value.is_finite());
                Missing::Value(value.ok_or_else(|| MissingError(clip(number.as_bytes())))?)
            }
        })
    }
}

impl TryFrom<String> for Missing {
    type Error = MissingError;

    fn try_from(text: String) -> Result<Self, MissingError> {
        text.parse()
    }
}

impl From<Missing> for String {
    fn from(missing: Missing) -> Self {
        missing.to_string()
    }
}

/// Whether a cell's text says that there is no value.
pub(crate) fn is_missing(text: &str, more: &[String]) -> bool {
    MISSING.iter().any(|word| word.eq_ignore_ascii_case(text)) || more.iter().any(|word| word == text)
}

/// Which columns are categories.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Categorical {
    /// None: text among the inputs is an error.
    #[default]
    None,
    /// Those whose cell in the first row read is text.
    Auto,
    /// These, by name or by number counted from 1.
    Columns(Vec<String>),
}

/// The categories of a column, gathered or known.
pub(crate) struct Categories {
    names: Vec<String>,
    ids: HashMap<String, u32>,
    known: bool,
}

impl Categories {
    /// Those of a trained model, or none yet.
    pub(crate) fn new(known: Option<&[String]>) -> Self {
        let names = known.unwrap_or_default().to_vec();
        let ids = (0..).zip(&names).map(|(id, name)| (name.clone(), id)).collect();
        Self { names, ids, known: known.is_some() }
    }

    /// The number of a category; `None` for one that is none of those known, where that is allowed.
    pub(crate) fn id(&mut self, name: &str, zeros: bool) -> Result<Option<u32>, CellProblem> {
        match self.ids.get(name) {
            Some(id) => Ok(Some(*id)),
            None if self.known && zeros => Ok(None),
            None if self.known => {
                Err(CellProblem::UnknownCategory { found: clip(name.as_bytes()), known: list(&self.names) })
            }
            None if self.names.len() == MAX_CATEGORIES => Err(CellProblem::TooManyCategories { limit: MAX_CATEGORIES }),
            None => {
                let id = self.names.len() as u32;
                self.names.push(name.to_owned());
                self.ids.insert(name.to_owned(), id);
                Ok(Some(id))
            }
        }
    }

    /// The categories in their order (that of a trained model, else by number or by text), and the place of each id.
    pub(crate) fn finish(self) -> (Vec<String>, Vec<u32>) {
        if self.known {
            let places = (0..self.names.len() as u32).collect();
            return (self.names, places);
        }
        let numbers: Option<Vec<f64>> = self.names.iter().map(|name| name.parse().ok()).collect();
        let order: Vec<usize> = match numbers {
            Some(numbers) => {
                let mut order: Vec<usize> = (0..numbers.len()).collect();
                order.sort_by(|a, b| {
                    numbers[*a].total_cmp(&numbers[*b]).then_with(|| self.names[*a].cmp(&self.names[*b]))
                });
                order
            }
            None => self.names.iter().zip(0..).collect::<BTreeSet<_>>().into_iter().map(|(_, id)| id).collect(),
        };
        let mut places = vec![0; order.len()];
        (0..).zip(&order).for_each(|(place, id)| places[*id] = place);
        (order.iter().map(|id| self.names[*id].clone()).collect(), places)
    }
}

/// What a row's columns become: numbers stay, the number of a category becomes an input for each of the column's categories.
#[derive(Debug)]
pub(crate) struct OneHot {
    /// Of each column the places of its categories; no columns if all are numbers.
    columns: Vec<Option<Vec<u32>>>,
    width: usize,
}

impl OneHot {
    /// The place of each category of the columns that have some.
    pub(crate) fn new(columns: Vec<Option<Vec<u32>>>) -> Self {
        let width = columns.iter().map(|places| places.as_ref().map_or(1, Vec::len)).sum();
        let columns = if columns.iter().all(Option::is_none) { Vec::new() } else { columns };
        Self { columns, width }
    }

    /// Whether all columns are numbers.
    pub(crate) fn is_plain(&self) -> bool {
        self.columns.is_empty()
    }

    /// Inputs of a row.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// The inputs of a row. What is NaN in the place of a category's number is none of the categories.
    pub(crate) fn row(&self, values: &[f32], out: &mut [f32]) {
        if self.is_plain() {
            return out.copy_from_slice(values);
        }
        let mut at = 0;
        for (value, places) in values.iter().zip(&self.columns) {
            let Some(places) = places else {
                out[at] = *value;
                at += 1;
                continue;
            };
            let out = &mut out[at..at + places.len()];
            out.fill(0.0);
            if let Some(place) = places.get(*value as usize).filter(|_| !value.is_nan()) {
                out[*place as usize] = 1.0;
            }
            at += places.len();
        }
    }
}

//! Turning a target column into classes or values.
//!
//! Whether labels are classes can be known only at the last row. Until then the text is kept in one string with the ends
//! of its pieces, which costs little more than the file itself; the outcome is decided once, in [`Labels::finish`].

use super::encode::is_missing;
use super::error::{CellProblem, Error, clip, list};
use super::{Target, Task};
use std::collections::{BTreeSet, HashMap};

/// More classes than any network of this kind has.
const MAX_CLASSES: usize = 65_536;

/// Labels as they come in, row by row.
pub(crate) struct Labels {
    kind: Kind,
    names: Vec<String>,
    all_whole: bool,
    all_numbers: bool,
    /// Whether there is a number, and whether there is a word that does not stand for a missing one.
    numbers: bool,
    words: bool,
}

enum Kind {
    /// The classes of a trained model.
    Known {
        classes: Vec<String>,
        by_name: HashMap<String, u32>,
        by_number: HashMap<i64, u32>,
        labels: Vec<u32>,
    },
    Values(Vec<f32>),
    /// To be decided; `asked` says that classes were asked for.
    Open {
        text: String,
        ends: Vec<usize>,
        asked: bool,
    },
    /// One-hot rows, or values: to be decided.
    Rows {
        values: Vec<f32>,
        hot: Vec<u32>,
        asked: bool,
        known: Option<Vec<String>>,
    },
}

impl Labels {
    /// Labels of target columns called `names`; `rows` if a row holds several numbers that may be one-hot classes.
    pub(crate) fn new(
        file: &str,
        names: Vec<String>,
        task: Task,
        known: Option<&[String]>,
        rows: bool,
    ) -> Result<Self, Error> {
        let kind = match (task, known) {
            (Task::Values, _) => Kind::Values(Vec::new()),
            (_, known) if rows => {
                let (asked, known) = (task == Task::Classes || known.is_some(), known.map(<[String]>::to_vec));
                if let Some(known) = &known
                    && known.len() != names.len()
                {
                    let (found, expected) = (names.len(), known.len());
                    return Err(Error::FeatureCount { file: file.to_owned(), found, expected });
                }
                Kind::Rows { values: Vec::new(), hot: Vec::new(), asked, known }
            }
            _ if names.len() > 1 && task == Task::Classes => {
                return Err(Error::SeveralTargets { file: file.to_owned(), count: names.len() });
            }
            _ if names.len() > 1 => Kind::Values(Vec::new()),
            (_, Some(classes)) => {
                let classes = classes.to_vec();
                let id = |i: usize| u32::try_from(i).unwrap_or(u32::MAX);
                let by_name = classes.iter().enumerate().map(|(i, name)| (name.clone(), id(i))).collect();
                let whole = |(i, name): (usize, &String)| Some((name.parse::<i64>().ok()?, id(i)));
                let by_number = classes.iter().enumerate().filter_map(whole).collect();
                Kind::Known { classes, by_name, by_number, labels: Vec::new() }
            }
            (task, None) => Kind::Open { text: String::new(), ends: Vec::new(), asked: task == Task::Classes },
        };
        Ok(Self { kind, names, all_whole: true, all_numbers: true, numbers: false, words: false })
    }

    /// Takes a text label of a row. A row of several targets calls it once for each.
    pub(crate) fn push_text(&mut self, label: &str) -> Result<(), CellProblem> {
        if label.is_empty() {
            return Err(CellProblem::Empty);
        }
        match &mut self.kind {
            Kind::Known { classes, by_name, by_number, labels } => {
                let known = by_name.get(label).or_else(|| by_number.get(&whole(label)?));
                labels.push(*known.ok_or_else(|| CellProblem::UnknownClass {
                    found: clip(label.as_bytes()),
                    known: list(classes),
                })?);
            }
            Kind::Values(values) | Kind::Rows { values, .. } => values.push(parse_value(label)?),
            Kind::Open { text, ends, asked } => {
                if label.parse::<f64>().is_err() {
                    (self.all_numbers, self.all_whole) = (false, false);
                    self.words |= !is_missing(label, &[]);
                } else {
                    self.numbers = true;
                    self.all_whole &= whole(label).is_some_and(|_| *asked || label.parse::<i64>().is_ok());
                    // As long as it can be a column of quantities, a number that is none must not become a class name.
                    if !*asked {
                        parse_value(label)?;
                    }
                }
                text.push_str(label);
                ends.push(text.len());
            }
        }
        Ok(())
    }

    /// Takes the numbers of a row of an array; `whole_type` if its elements are integers. The column of a problem is
    /// given with it.
    pub(crate) fn push_numbers(&mut self, row: &[f64], whole_type: bool) -> Result<(), (usize, CellProblem)> {
        if let Kind::Rows { values, hot, asked, .. } = &mut self.kind {
            let ones = row.iter().filter(|v| **v == 1.0).count();
            let others = row.iter().filter(|v| **v != 1.0 && **v != 0.0).count();
            if ones == 1 && others == 0 {
                let at = row.iter().position(|v| *v == 1.0).unwrap_or_default();
                hot.push(u32::try_from(at).unwrap_or(u32::MAX));
            } else if *asked {
                return Err((0, CellProblem::NotOneHot { ones, others }));
            } else {
                self.all_whole = false;
            }
            self.all_whole &= whole_type;
            for (c, v) in row.iter().enumerate() {
                values.push(narrow(*v).map_err(|problem| (c, problem))?);
            }
            return Ok(());
        }
        for (c, &v) in row.iter().enumerate() {
            let problem = |problem| (c, problem);
            match &mut self.kind {
                Kind::Values(values) => values.push(narrow(v).map_err(problem)?),
                _ if !v.is_finite() => return Err((c, CellProblem::NotFinite { found: v.to_string() })),
                Kind::Open { asked: false, .. } if !whole_type => {
                    // A float array holds quantities unless classes are asked for, whatever its values.
                    narrow(v).map_err(problem)?;
                    self.all_whole = false;
                    self.push_text(&v.to_string()).map_err(problem)?;
                }
                _ => {
                    let int = whole_f64(v).ok_or((c, CellProblem::NotAClass { found: v.to_string() }))?;
                    self.push_text(&int.to_string()).map_err(problem)?;
                }
            }
        }
        Ok(())
    }

    /// Decides what the labels are.
    pub(crate) fn finish(self, file: &str) -> Result<Target, Error> {
        let names = self.names;
        let column = || names.first().cloned().unwrap_or_default();
        let cols = names.len();
        match self.kind {
            Kind::Known { classes, labels, .. } => Ok(Target::Classes { labels, names: classes }),
            Kind::Values(values) => Ok(Target::Values { values, cols, names }),
            Kind::Rows { values, hot, asked, known } => {
                if asked || (self.all_whole && !hot.is_empty()) {
                    let names = known.unwrap_or_else(|| (0..cols).map(|c| c.to_string()).collect());
                    return Ok(Target::Classes { labels: hot, names });
                }
                Ok(Target::Values { values, cols, names })
            }
            Kind::Open { text, ends, asked } => {
                if self.all_numbers && !self.all_whole && !asked {
                    let values = pieces(&text, &ends).map(|label| parse_value(label).unwrap_or(f32::NAN)).collect();
                    return Ok(Target::Values { values, cols, names });
                }
                // Words are classes, also one called none; numbers and nothing but missing ones are quantities with gaps.
                if self.numbers && !self.all_numbers && !self.words {
                    let missing = pieces(&text, &ends).find(|label| is_missing(label, &[])).unwrap_or_default();
                    let (file, found) = (file.to_owned(), missing.to_owned());
                    return Err(Error::TargetsMissing { file, column: column(), found });
                }
                let too_many = || Error::TooManyClasses { file: file.to_owned(), column: column(), limit: MAX_CLASSES };
                if !self.all_whole {
                    return text_classes(&text, &ends, self.all_numbers).ok_or_else(too_many);
                }
                let distinct = distinct(pieces(&text, &ends).filter_map(whole));
                let rows = ends.len();
                if !asked && distinct.len() > 256 && distinct.len() > rows / 4 {
                    let distinct = distinct.len();
                    return Err(Error::ClassesOrValues { file: file.to_owned(), column: column(), distinct, rows });
                }
                if distinct.len() > MAX_CLASSES {
                    return Err(too_many());
                }
                Ok(whole_classes(&text, &ends, &distinct))
            }
        }
    }
}

fn pieces<'a>(text: &'a str, ends: &'a [usize]) -> impl Iterator<Item = &'a str> {
    std::iter::once(0).chain(ends.iter().copied()).zip(ends).map(|(start, &end)| &text[start..end])
}

/// The different ones. One by one, because collecting into a set first makes a list of all of them.
fn distinct<T: Ord>(items: impl Iterator<Item = T>) -> BTreeSet<T> {
    let mut set = BTreeSet::new();
    items.for_each(|item| {
        set.insert(item);
    });
    set
}

/// Classes called by whole numbers, in numeric order. Numbers that start at 0 and miss few are the classes' own numbers,
/// so a class that happens to be absent keeps its place; others (`-1` and `1`, years) are counted off.
fn whole_classes(text: &str, ends: &[usize], distinct: &BTreeSet<i64>) -> Target {
    let (first, last) = (distinct.first().copied().unwrap_or(0), distinct.last().copied().unwrap_or(0));
    let dense = first == 0 && usize::try_from(last).is_ok_and(|last| last < 4 * distinct.len() && last < MAX_CLASSES);
    let ids: Vec<i64> = if dense { (0..=last).collect() } else { distinct.iter().copied().collect() };
    let id = |n: i64| ids.binary_search(&n).ok().and_then(|i| u32::try_from(i).ok()).unwrap_or(0);
    let labels = pieces(text, ends).map(|label| id(whole(label).unwrap_or(0))).collect();
    Target::Classes { labels, names: ids.iter().map(i64::to_string).collect() }
}

/// Classes called by text, sorted; by numbers with a fraction, in numeric order.
fn text_classes(text: &str, ends: &[usize], numbers: bool) -> Option<Target> {
    let distinct = distinct(pieces(text, ends));
    if distinct.len() > MAX_CLASSES {
        return None;
    }
    let mut names: Vec<&str> = distinct.into_iter().collect();
    if numbers {
        let value = |name: &str| name.parse::<f64>().unwrap_or(f64::NAN);
        names.sort_by(|a, b| value(a).total_cmp(&value(b)));
    }
    let ids: HashMap<&str, u32> = (0..).zip(&names).map(|(i, name)| (*name, i)).collect();
    let labels = pieces(text, ends).filter_map(|label| ids.get(label).copied()).collect();
    Some(Target::Classes { labels, names: names.into_iter().map(str::to_owned).collect() })
}

/// The whole number a label stands for: `7`, and `7.0` or `7e0` as other tools write it.
fn whole(label: &str) -> Option<i64> {
    label.parse().ok().or_else(|| whole_f64(label.parse().ok()?))
}

fn whole_f64(value: f64) -> Option<i64> {
    // Beyond 2^53 neighbouring whole numbers share one float, and could not be told apart.
    (value.fract() == 0.0 && value.abs() <= 9_007_199_254_740_992.0).then_some(value as i64)
}

/// A finite number as f32.
pub(crate) fn parse_value(text: &str) -> Result<f32, CellProblem> {
    if text.is_empty() {
        return Err(CellProblem::Empty);
    }
    let found = || clip(text.as_bytes());
    match text.parse::<f32>() {
        Ok(value) if value.is_finite() => Ok(value),
        // The standard parser turns 1e999 into infinity; a spelled-out `inf` or `nan` has no digit.
        Ok(_) if text.bytes().any(|b| b.is_ascii_digit()) => Err(CellProblem::TooLarge { found: found() }),
        Ok(_) => Err(CellProblem::NotFinite { found: found() }),
        Err(_) => Err(CellProblem::NotANumber { found: found() }),
    }
}

/// A finite f64 as f32.
pub(crate) fn narrow(value: f64) -> Result<f32, CellProblem> {
    let narrow = value as f32;
    if narrow.is_finite() {
        Ok(narrow)
    } else if value.is_finite() {
        Err(CellProblem::TooLarge { found: format!("{value:e}") })
    } else {
        Err(CellProblem::NotFinite { found: value.to_string() })
    }
}

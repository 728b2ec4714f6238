//! Choosing rows: `subject=0..6`, `site=oslo,bergen`, `humidity!=..10,90..`, `row=0..1436`.

use std::fmt;
use std::str::FromStr;

/// A condition that a row must fulfil to be read.
///
/// Written `column=items` or `column!=items`; the items are separated by commas, and each is a value, or a range
/// `low..high` whose ends both belong to it and may be left out. `row` stands for the row's number, counted from 0,
/// unless the file has a column of that name.
#[derive(Clone, Debug, PartialEq)]
pub struct RowFilter {
    column: String,
    negated: bool,
    items: Vec<Item>,
    text: String,
}

#[derive(Clone, Debug, PartialEq)]
enum Item {
    Number(f64),
    Text(String),
    Range(f64, f64),
}

/// Why a row filter cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("row filter \"{text}\": {what}; write column=value, column=low..high or a list such as subject=0..6,9")]
pub struct FilterError {
    text: String,
    what: String,
}

impl FromStr for RowFilter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        let error = |what: &str| FilterError { text: text.to_owned(), what: what.to_owned() };
        let (left, right) = text.split_once('=').ok_or_else(|| error("has no \"=\""))?;
        let (column, negated) = match left.strip_suffix('!') {
            Some(column) => (column.trim(), true),
            None => (left.trim(), false),
        };
        if column.is_empty() {
            return Err(error("names no column"));
        }
        let items = right.split(',').map(|item| parse_item(item.trim()).map_err(|what| error(&what)));
        Ok(Self { column: column.to_owned(), negated, items: items.collect::<Result<_, _>>()?, text: text.to_owned() })
    }
}

fn parse_item(item: &str) -> Result<Item, String> {
    if item.is_empty() {
        return Err("has an empty value".to_owned());
    }
    if let Some((low, high)) = item.split_once("..") {
        let end = |text: &str, open: f64| match text.trim() {
            "" => Ok(open),
            text => {
                text.parse().ok().filter(|v: &f64| !v.is_nan()).ok_or_else(|| format!("\"{text}\" is not a number"))
            }
        };
        let (low, high) = (end(low, f64::NEG_INFINITY)?, end(high, f64::INFINITY)?);
        if low > high {
            return Err(format!("the range {item} is empty: its low end is above its high end"));
        }
        return Ok(Item::Range(low, high));
    }
    Ok(match item.parse::<f64>() {
        Ok(number) if number.is_finite() => Item::Number(number),
        _ => Item::Text(item.to_owned()),
    })
}

impl RowFilter {
    /// The column whose value decides.
    #[must_use]
    pub fn column(&self) -> &str {
        &self.column
    }

    /// Whether a row with this number in the column is read.
    #[must_use]
    pub fn passes_number(&self, value: f64) -> bool {
        self.negated
            != self.items.iter().any(|item| match item {
                Item::Number(number) => value == *number,
                Item::Range(low, high) => (*low..=*high).contains(&value),
                Item::Text(_) => false,
            })
    }

    /// Whether a row with this text in the column is read; `None` if a range is asked of what is no number.
    #[must_use]
    pub fn passes_text(&self, text: &str) -> Option<bool> {
        let number: Option<f64> = text.parse().ok();
        let mut any = false;
        for item in &self.items {
            any |= match item {
                Item::Text(wanted) => wanted == text,
                Item::Number(wanted) => number == Some(*wanted),
                Item::Range(low, high) => (*low..=*high).contains(&number?),
            };
        }
        Some(self.negated != any)
    }
}

impl fmt::Display for RowFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(text: &str) -> RowFilter {
        text.parse().unwrap()
    }

    #[test]
    fn ranges_lists_and_negation() {
        let f = filter("subject=0..2,7");
        assert_eq!(f.column(), "subject");
        assert_eq!((0..9).filter(|v| f.passes_number(f64::from(*v))).collect::<Vec<_>>(), [0, 1, 2, 7]);
        assert_eq!(f.passes_text("7.0"), Some(true));
        assert_eq!(f.passes_text("seven"), None);
        assert!(!filter("subject != 0..2, 7").passes_number(1.0));
        assert!(filter("t=..-3").passes_number(-1e30));
        assert!(filter("t=5..").passes_number(f64::INFINITY));
        assert!(!filter("t=..").passes_number(f64::NAN));
        assert_eq!(filter("site=oslo,7").passes_text("oslo"), Some(true));
        assert_eq!(filter("site=oslo,7").passes_text("bergen"), Some(false));
        assert_eq!(filter("a=b=c").passes_text("b=c"), Some(true));
    }

    #[test]
    fn what_cannot_be_understood_is_refused() {
        for bad in ["subject", "=1", "!=1", "a=", "a=1,,2", "a=x..3", "a=5..2", "a=nan.."] {
            let error = bad.parse::<RowFilter>().unwrap_err().to_string();
            assert!(error.contains(bad), "{error}");
        }
    }
}

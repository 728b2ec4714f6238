//! What can be wrong in one cell, and where it is.

use std::fmt;

/// A place in a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// The file, as the user named it.
    pub file: String,
    /// Line of a text file or row of an array.
    pub place: Place,
    /// Name of the column, or its number counted from 1.
    pub column: String,
}

/// How a row is pointed at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Line of a text file, counted from 1.
    Line(u64),
    /// Row of an array, counted from 0 as array tools do.
    Row(u64),
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Place::Line(line) => write!(f, "{}: line {line}, column \"{}\"", self.file, self.column),
            Place::Row(row) => write!(f, "{}: row {row} (counted from 0), column {}", self.file, self.column),
        }
    }
}

/// What is wrong in one cell.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CellProblem {
    /// Text where a number belongs.
    #[error("expected a number, found {found:?}")]
    NotANumber {
        /// The text.
        found: String,
    },
    /// Text in an input column.
    #[error(
        "expected a number, found {found:?}; inputs are numbers: make a text column inputs with --categorical, or leave it out with --ignore"
    )]
    TextInput {
        /// The text.
        found: String,
    },
    /// What stands for a missing value where none may be missing.
    #[error(
        "expected a number, found {found:?}, a missing value; fill the cell, or train with --missing, which says what stands for it"
    )]
    Missing {
        /// The text.
        found: String,
    },
    /// Nothing between two delimiters.
    #[error("expected a value, found nothing; fill the cell, or say with --missing what stands for it")]
    Empty,
    /// A target that is missing.
    #[error(
        "expected a target, found {}; no policy of --missing stands for one: leave the row out, or give it a target",
        if found.is_empty() { "nothing".to_owned() } else { format!("{found:?}, a missing value") }
    )]
    NoTarget {
        /// The text.
        found: String,
    },
    /// `nan` or `inf`.
    #[error("expected a finite number, found {found:?}")]
    NotFinite {
        /// The text or value.
        found: String,
    },
    /// A finite number beyond the largest 32-bit float.
    #[error("{found} is too large for a 32-bit float (at most 3.4e38); scale the column down")]
    TooLarge {
        /// The text or value.
        found: String,
    },
    /// A label the trained model does not know.
    #[error("unknown class {found:?}; the model knows {known}")]
    UnknownClass {
        /// The label.
        found: String,
        /// The class names, shortened.
        known: String,
    },
    /// A category that the trained model does not know.
    #[error("unknown category {found:?}; the model knows {known}; --unknown-category zeros takes it for none of them")]
    UnknownCategory {
        /// The text.
        found: String,
        /// The categories, shortened.
        known: String,
    },
    /// More different texts than any set of categories has.
    #[error("more than {limit} different texts: these are no categories; leave the column out with --ignore")]
    TooManyCategories {
        /// The most there may be.
        limit: usize,
    },
    /// A number that cannot be a class.
    #[error("expected a class as a whole number, found {found}; for quantities use --task values")]
    NotAClass {
        /// The number.
        found: String,
    },
    /// A row that should hold a single 1 and otherwise 0.
    #[error("expected one 1 and otherwise 0 (one-hot classes), found {ones} ones and {others} other values")]
    NotOneHot {
        /// Cells that are 1.
        ones: usize,
        /// Cells that are neither 0 nor 1.
        others: usize,
    },
}

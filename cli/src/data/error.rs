//! What can be wrong with a data file, said so that the user can mend it: which file, which line or row, which column,
//! what was found and what would be right.

use std::io;

mod cell;
mod packed;
mod svm;
mod text;

pub use cell::{Cell, CellProblem, Place};
pub use packed::PackedProblem;
pub use svm::SvmProblem;
pub(crate) use text::{clip, list};

/// Why data was not read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no such file.
    #[error("{file}: no such file")]
    NotFound {
        /// The file.
        file: String,
    },
    /// The path is a directory.
    #[error("{file}: is a directory; give a data file (CSV, NPY, NPZ, IDX or Parquet), or several as in folder/*.csv")]
    Directory {
        /// The path.
        file: String,
    },
    /// The system could not read the file.
    #[error("{file}: cannot be read: {source}")]
    Io {
        /// The file.
        file: String,
        /// The system's error.
        source: io::Error,
    },
    /// The file holds no byte (unpacked).
    #[error("{file}: is empty")]
    Empty {
        /// The file.
        file: String,
    },
    /// The file is of a kind that is not read.
    #[error("{file}: is {found}, not CSV, NPY, NPZ, IDX or Parquet; {advice}")]
    Kind {
        /// The file.
        file: String,
        /// What it is.
        found: &'static str,
        /// What to do.
        advice: &'static str,
    },
    /// A pattern of file names that cannot be read, or that nothing fits.
    #[error("{pattern}: {what}; * stands for any part of a name, as in logs/*.csv")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong.
        what: String,
    },
    /// Categories are asked of a column that is no input.
    #[error("{file}: column \"{column}\" cannot be categories: it is no input (target, group, or left out)")]
    NoInput {
        /// The file.
        file: String,
        /// The column.
        column: String,
    },
    /// Files of one set have different columns.
    #[error("{file}: {what}; files of one set have the same columns")]
    OtherColumns {
        /// The file.
        file: String,
        /// What it has, and what the first file has.
        what: String,
    },
    /// An archive has no such array, or none that is called like inputs.
    #[error(
        "{file}: {}; its arrays are {available}: name one behind a colon, as in data.npz:x",
        wanted.as_ref().map_or("no array is called x or x_train".to_owned(), |name| format!("has no array {name:?}"))
    )]
    NoSuchArray {
        /// The file.
        file: String,
        /// The name asked for.
        wanted: Option<String>,
        /// The arrays there are, shortened.
        available: String,
    },
    /// An array is asked of what is no archive.
    #[error("{file}: the name behind the colon is that of an array, but the file is no NPZ archive")]
    NoArchive {
        /// The file and the array.
        file: String,
    },
    /// A packed file cannot be unpacked.
    #[error("{file}: {problem}")]
    Packed {
        /// The file.
        file: String,
        /// What is wrong.
        problem: PackedProblem,
    },
    /// A line is absurdly long.
    #[error("{file}: line {line} is longer than {limit} bytes; is this a CSV file?")]
    LongLine {
        /// The file.
        file: String,
        /// The line, counted from 1.
        line: u64,
        /// The limit that was passed.
        limit: usize,
    },
    /// A quoted field has no end.
    #[error(
        "{file}: line {line}: a quoted field opens here and never closes; add the missing \" or double a \" inside"
    )]
    OpenQuote {
        /// The file.
        file: String,
        /// The line where the record starts, counted from 1.
        line: u64,
    },
    /// Text that is not UTF-8.
    #[error("{file}: line {line}, field {field}: the text is not UTF-8; save the file as UTF-8")]
    NotUtf8 {
        /// The file.
        file: String,
        /// The line, counted from 1.
        line: u64,
        /// The field, counted from 1.
        field: usize,
    },
    /// A line with too few or too many fields.
    #[error("{file}: line {line} has {found} fields, line {first} has {expected}")]
    Ragged {
        /// The file.
        file: String,
        /// The line, counted from 1.
        line: u64,
        /// Its fields.
        found: usize,
        /// The first record's line.
        first: u64,
        /// The first record's fields.
        expected: usize,
    },
    /// The first line may be names or data.
    #[error(
        "{file}: line {line} holds both numbers (\"{number}\") and text (\"{text}\"); say --header yes if they are \
         column names, --header no if they are data"
    )]
    UnclearHeader {
        /// The file.
        file: String,
        /// The line, counted from 1.
        line: u64,
        /// A field that is a number.
        number: String,
        /// A field that is none.
        text: String,
    },
    /// Two columns of one name.
    #[error("{file}: two columns are named \"{name}\" (columns {first} and {second}); rename one")]
    DuplicateColumn {
        /// The file.
        file: String,
        /// The name.
        name: String,
        /// First column, counted from 1.
        first: usize,
        /// Second column, counted from 1.
        second: usize,
    },
    /// A column without a name, often a row number written by a spreadsheet.
    #[error(
        "{file}: column {column} has no name in the header line (a row number written by another tool?); name it, or \
         leave it out with --ignore {column}"
    )]
    UnnamedColumn {
        /// The file.
        file: String,
        /// The column, counted from 1.
        column: usize,
    },
    /// A column that was asked for is not there.
    #[error("{file}: has no column \"{column}\" ({role}); its columns are {available}")]
    NoSuchColumn {
        /// The file.
        file: String,
        /// The name asked for.
        column: String,
        /// What it was wanted for.
        role: &'static str,
        /// The names there are, shortened.
        available: String,
    },
    /// One column is wanted for two things.
    #[error("{file}: column \"{column}\" cannot be both {first} and {second}")]
    ColumnTwice {
        /// The file.
        file: String,
        /// The column.
        column: String,
        /// One use.
        first: &'static str,
        /// The other use.
        second: &'static str,
    },
    /// The number of inputs is not the model's.
    #[error("{file}: has {found} input columns, the model takes {expected}")]
    FeatureCount {
        /// The file.
        file: String,
        /// Input columns in the file.
        found: usize,
        /// Inputs of the model.
        expected: usize,
    },
    /// Nothing is left to be an input.
    #[error("{file}: no input column is left beside the target and what is ignored")]
    NoInputs {
        /// The file.
        file: String,
    },
    /// More columns than any table has.
    #[error("{file}: a row has {found} values, at most {limit} are read; is the first dimension the rows?")]
    TooManyColumns {
        /// The file.
        file: String,
        /// Columns found.
        found: u64,
        /// Largest number.
        limit: usize,
    },
    /// Targets that are numbers where they are not missing.
    #[error(
        "{file}: column \"{column}\" holds numbers and {found:?}: targets never miss; leave those rows out, or give them a target"
    )]
    TargetsMissing {
        /// The file.
        file: String,
        /// The column.
        column: String,
        /// What stands where one is missing.
        found: String,
    },
    /// There is no row.
    #[error("{file}: holds no row of data")]
    NoRows {
        /// The file.
        file: String,
    },
    /// There are rows, and the filter lets none through.
    #[error("{file}: none of its {seen} rows passes {filters}")]
    AllFiltered {
        /// The file.
        file: String,
        /// Rows looked at.
        seen: u64,
        /// The filters.
        filters: String,
    },
    /// Data and labels do not belong together.
    #[error("{file} has {rows} rows, {labels_file} has {labels} labels; they must be equal")]
    RowsDiffer {
        /// The data file.
        file: String,
        /// Its rows.
        rows: u64,
        /// The label file.
        labels_file: String,
        /// Its rows.
        labels: u64,
    },
    /// An NPY or IDX header makes no sense.
    #[error("{file}: the {format} header is wrong: {what}")]
    Header {
        /// The file.
        file: String,
        /// `NPY` or `IDX`.
        format: &'static str,
        /// What is wrong.
        what: String,
    },
    /// An element type that is not read.
    #[error("{file}: the elements are {found}; {advice}")]
    ElementType {
        /// The file.
        file: String,
        /// The type.
        found: String,
        /// What to do.
        advice: &'static str,
    },
    /// The header promises another number of bytes than there are.
    #[error("{file}: the header promises {expected} bytes of data ({shape}), there are {found}")]
    Size {
        /// The file.
        file: String,
        /// Bytes promised.
        expected: u64,
        /// The shape promised.
        shape: String,
        /// Bytes there are, or how many at least.
        found: String,
    },
    /// A line of index lists is wrong.
    #[error("{file}: line {line}: {problem}")]
    Svm {
        /// The file.
        file: String,
        /// The line, counted from 1.
        line: u64,
        /// What is wrong.
        problem: SvmProblem,
    },
    /// An option that has no meaning for index lists.
    #[error("{file}: {option} does not go with index lists, whose lines hold a label and indices; leave it out")]
    SvmOption {
        /// The file.
        file: String,
        /// The option.
        option: &'static str,
    },
    /// What cannot be read row by row, as [`Options::stream`](super::Options::stream) asks.
    #[error("{file}: cannot be read with --stream: {what}; {advice}")]
    Stream {
        /// The file.
        file: String,
        /// Why not.
        what: &'static str,
        /// What to do.
        advice: &'static str,
    },
    /// Rows that are to stay on the disk cannot be written there.
    #[error(
        "{folder}: the rows of --stream cannot be kept there: {source} (after {written} bytes); name another folder \
         with --spool"
    )]
    Spool {
        /// The folder.
        folder: String,
        /// Bytes that were written.
        written: u64,
        /// The system's error.
        source: io::Error,
    },
    /// One cell is wrong.
    #[error("{cell}: {problem}")]
    Cell {
        /// Where.
        cell: Box<Cell>,
        /// What.
        problem: CellProblem,
    },
    /// Whole numbers that look like quantities.
    #[error(
        "{file}: the target \"{column}\" holds {distinct} different whole numbers in {rows} rows: if they are \
         quantities say --task values, if they are classes --task classes"
    )]
    ClassesOrValues {
        /// The file.
        file: String,
        /// The target column.
        column: String,
        /// How many different ones.
        distinct: usize,
        /// Rows.
        rows: usize,
    },
    /// More classes than any network of this kind has.
    #[error("{file}: the target \"{column}\" has more than {limit} classes; for quantities say --task values")]
    TooManyClasses {
        /// The file.
        file: String,
        /// The target column.
        column: String,
        /// Largest number.
        limit: usize,
    },
    /// Several target columns with classes.
    #[error("{file}: {count} target columns can only be values: say --task values, or name one column of classes")]
    SeveralTargets {
        /// The file.
        file: String,
        /// How many.
        count: usize,
    },
}

impl Error {
    pub(crate) fn cell(file: &str, place: Place, column: impl Into<String>, problem: CellProblem) -> Self {
        Self::Cell { cell: Box::new(Cell { file: file.to_owned(), place, column: column.into() }), problem }
    }
}

//! Reading tables of numbers: CSV, NPY, NPZ, IDX and Parquet files, plain or packed with gzip or zstd.
//!
//! [`read`] opens a file, tells its format by its first bytes, and gives a [`Table`]: inputs as 32-bit floats, row by row,
//! and a [`Target`] if there is one. Everything is read as a stream, no number found in a file is trusted before it was
//! checked, and every refusal names the file, the line or row, the column, what was found and what would be right.
//!
//! Text files: the delimiter (comma, semicolon or tab) and a header line are recognised; a header is what holds no numbers.
//! Columns are called by their names, or by their numbers counted from 1.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

mod array;
mod builder;
mod columns;
mod csv;
mod disk;
mod encode;
mod error;
mod fill;
mod filter;
mod idx;
mod labels;
mod npy;
mod npz;
#[cfg(feature = "parquet")]
mod parquet;
#[cfg(not(feature = "parquet"))]
#[path = "data/parquet_absent.rs"]
mod parquet;
mod set;
mod source;
mod spool;
mod svm;
mod unpack;
mod write;

pub use disk::StoredRows;
pub use encode::{Categorical, Encoding, Missing};
pub use error::{Cell, CellProblem, Error, PackedProblem, Place, SvmProblem};
pub use fill::FillError;
pub use filter::{FilterError, RowFilter};
pub use source::{Format, Source};
pub use unpack::Packing;
pub use write::{Predictions, npy_f32, npy_u32};

use set::Set;

/// Rows of numbers, and what is to be learned from them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// `rows × cols` numbers, row by row; none if the inputs are lists, or on the disk.
    pub inputs: Vec<f32>,
    /// The inputs as index lists, if the file has those.
    pub lists: Option<Lists>,
    /// The inputs on the disk, if they stay there ([`Options::stream`]).
    pub stored: Option<StoredRows>,
    /// Number of rows.
    pub rows: usize,
    /// Number of inputs of a row.
    pub cols: usize,
    /// Names of the columns that the inputs are made of; a file without names has their numbers, counted from 1. A
    /// categorical one is several inputs.
    pub feature_names: Vec<String>,
    /// Categories of each categorical column.
    pub categories: BTreeMap<String, Vec<String>>,
    /// What is to be learned, if the file or a label file says.
    pub target: Option<Target>,
    /// Which rows belong together, if a column says.
    pub groups: Option<Groups>,
    /// What each row weighs, if a column says.
    pub weights: Option<Vec<f32>>,
}

/// Rows of ones and zeros, each as the ascending list of the inputs that are 1, counted from 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lists {
    /// Where each row's list begins, and where the last one ends.
    pub offsets: Vec<usize>,
    /// The lists, one after the other.
    pub indices: Vec<u32>,
}

/// What is to be learned.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// One of several classes for each row.
    Classes {
        /// The class of each row, an index of `names`.
        labels: Vec<u32>,
        /// Names of the classes.
        names: Vec<String>,
    },
    /// One or more quantities for each row.
    Values {
        /// `rows × cols` numbers, row by row.
        values: Vec<f32>,
        /// Quantities of a row.
        cols: usize,
        /// Names of the quantities.
        names: Vec<String>,
    },
}

/// Rows that belong together, such as all measurements of one person: a split should not tear them apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Groups {
    /// The column that says so.
    pub column: String,
    /// The group of each row, an index of `names`.
    pub ids: Vec<u32>,
    /// The groups in the order they turn up.
    pub names: Vec<String>,
}

/// What the target is taken for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Task {
    /// Classes if the labels are text or whole numbers, values otherwise.
    #[default]
    Auto,
    /// Classes.
    Classes,
    /// Quantities.
    Values,
}

/// Where the target stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TargetColumn {
    /// In a text file the last column called `label`, `target` or `class`, else the last column; in an array nowhere.
    #[default]
    Auto,
    /// Nowhere.
    None,
    /// In these columns, by name, by number counted from 1, or `last`.
    Columns(Vec<String>),
}

/// Whether the first line of a text file holds names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Header {
    /// It does if no field is a number, and if some text stands above a number; unclear cases are an error.
    #[default]
    Auto,
    /// It does.
    Yes,
    /// It does not.
    No,
}

/// How to read a file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    /// Classes or values.
    pub task: Task,
    /// Where the target stands.
    pub target: TargetColumn,
    /// Columns to leave out, by name or number.
    pub ignore: Vec<String>,
    /// The column that says which rows belong together; it is no input.
    pub group: Option<String>,
    /// The column that says what each row weighs; it is no input.
    pub weight: Option<String>,
    /// Conditions every row must fulfil.
    pub filters: Vec<RowFilter>,
    /// A trained model's inputs: they are taken by name, in this order, and other columns are left out.
    pub features: Option<Vec<String>>,
    /// A trained model's classes: labels get their numbers, unknown ones are an error.
    pub classes: Option<Vec<String>>,
    /// A separate file with the labels, row for row.
    pub labels: Option<PathBuf>,
    /// Whether there is a header line.
    pub header: Header,
    /// Which columns of inputs are categories.
    pub categorical: Categorical,
    /// A trained model's categories, whose columns are known then: others are an error.
    pub categories: Option<BTreeMap<String, Vec<String>>>,
    /// A category that the model does not know is none of its own, and no error.
    pub unknown_as_zeros: bool,
    /// What happens to missing cells: where they are filled, they are NaN in the table ([`Encoding::fill_in`]).
    pub missing: Missing,
    /// Texts that count as missing beside the usual ones.
    pub missing_as: Vec<String>,
    /// Lets `nan` and `inf` through among the inputs.
    pub allow_nonfinite: bool,
    /// Inputs of a row of index lists [default: as many as the largest index says].
    pub width: Option<usize>,
    /// What the first input is called in index lists, 0 or 1 [default: 1, as svmlight and libsvm count].
    pub index_base: Option<u32>,
    /// Inputs stay on the disk: arrays of plain 32-bit floats where they are, all else as such in a spool file in this folder.
    pub stream: Option<PathBuf>,
}

/// Reads a data file, and the label file if the options name one. A path may mean several files, which are one set:
/// `day1.csv,day2.csv` or `logs/*.csv`, in the order of their names.
///
/// # Errors
/// [`Error`] says which file, line and column, what was found and what would be right.
pub fn read(path: impl AsRef<Path>, options: &Options) -> Result<Table, Error> {
    let path = path.as_ref();
    let open = |files: Vec<PathBuf>| files.into_iter().map(|file| Source::open(&file));
    let labels = options.labels.as_deref().map(|labels| Ok((labels.display().to_string(), set::files(labels)?)));
    let labels = labels.transpose()?;
    // What is wrong with the beginning of a label file is said before a large file is read; a pipe can be opened only once.
    for file in labels.iter().flat_map(|(_, files)| files) {
        let name = file.display().to_string();
        if Source::locate(&name, file)?.0.is_file() {
            Source::open(file)?;
        }
    }
    let mut built = Set::read(open(set::files(path)?), options, Part::Table)?;
    let (labels, files) = match labels {
        Some(labels) => labels,
        // An archive has inputs and labels side by side.
        None if options.target == TargetColumn::Auto && !built.labels.is_empty() => {
            (built.labels.join(","), built.labels.iter().map(PathBuf::from).collect())
        }
        None => return Ok(built.table),
    };
    let chosen = built.kept.take();
    let targets = Set::read(open(files), options, Part::Labels { chosen: chosen.as_deref() })?;
    built.with_labels(path.display().to_string(), labels, targets)
}

/// Reads data that is already in memory; `name` is what errors call it. `labels` are the bytes of a label file.
///
/// # Errors
/// As [`read`].
pub fn read_bytes(name: &str, bytes: &[u8], labels: Option<&[u8]>, options: &Options) -> Result<Table, Error> {
    let mut built = Set::read([Source::from_bytes(name, bytes)], options, Part::Table)?;
    let Some(labels) = labels else { return Ok(built.table) };
    let labels_name = options.labels.as_deref().map_or_else(|| "labels".into(), |p| p.display().to_string());
    let chosen = built.kept.take();
    let source = Source::from_bytes(&labels_name, labels);
    let targets = Set::read([source], options, Part::Labels { chosen: chosen.as_deref() })?;
    built.with_labels(name.to_owned(), labels_name, targets)
}

/// What is read from a file.
#[derive(Clone, Copy)]
enum Part<'a> {
    /// Inputs and, without a label file, the target.
    Table,
    /// The target of these rows (`None`: of all).
    Labels { chosen: Option<&'a [u64]> },
}

impl Table {
    /// The inputs, of any kind.
    ///
    /// # Errors
    /// For lists that are not ascending: none that was read.
    pub fn any_inputs(&self) -> Result<evenkeel::data::Source<'_>, evenkeel::Error> {
        use evenkeel::{data::Source, kernels::sparse::IndexLists};
        Ok(match (&self.lists, &self.stored) {
            (Some(lists), _) => Source::Lists(IndexLists::new(self.cols, &lists.offsets, &lists.indices)?),
            (None, Some(stored)) => Source::Stored(stored),
            (None, None) => Source::Values(&self.inputs),
        })
    }

    /// Puts a model's numbers in the place of missing cells.
    pub fn fill_in(&mut self, encoding: &Encoding) {
        match &mut self.stored {
            Some(stored) => stored.fill_in(&encoding.fill),
            None => encoding.fill_in(&mut self.inputs),
        }
    }

    /// The inputs of one row of numbers in memory.
    #[must_use]
    pub fn row(&self, row: usize) -> Option<&[f32]> {
        let start = row.checked_mul(self.cols)?;
        self.inputs.get(start..start.checked_add(self.cols)?)
    }

    /// The table of these rows, in this order; rows that are not there are passed over.
    #[must_use]
    pub fn select(&self, rows: &[usize]) -> Self {
        fn pick<T: Copy>(from: &[T], rows: &[usize], cols: usize) -> Vec<T> {
            rows.iter().filter_map(|r| from.get(r * cols..(r + 1) * cols)).flatten().copied().collect()
        }
        let rows: Vec<usize> = rows.iter().copied().filter(|r| *r < self.rows).collect();
        Self {
            inputs: pick(
                &self.inputs,
                &rows,
                if self.lists.is_some() || self.stored.is_some() { 0 } else { self.cols },
            ),
            stored: self.stored.as_ref().map(|stored| {
                let rows: Vec<u32> = rows.iter().filter_map(|row| u32::try_from(*row).ok()).collect();
                stored.subset(&rows)
            }),
            lists: self.lists.as_ref().map(|lists| {
                let mut picked = Lists { offsets: vec![0], indices: Vec::new() };
                for row in &rows {
                    let (start, end) = (lists.offsets[*row], lists.offsets[row + 1]);
                    picked.indices.extend_from_slice(&lists.indices[start..end]);
                    picked.offsets.push(picked.indices.len());
                }
                picked
            }),
            rows: rows.len(),
            cols: self.cols,
            feature_names: self.feature_names.clone(),
            categories: self.categories.clone(),
            target: self.target.as_ref().map(|target| match target {
                Target::Classes { labels, names } => {
                    Target::Classes { labels: pick(labels, &rows, 1), names: names.clone() }
                }
                Target::Values { values, cols, names } => {
                    Target::Values { values: pick(values, &rows, *cols), cols: *cols, names: names.clone() }
                }
            }),
            groups: self.groups.as_ref().map(|g| Groups { ids: pick(&g.ids, &rows, 1), ..g.clone() }),
            weights: self.weights.as_ref().map(|weights| pick(weights, &rows, 1)),
        }
    }
}

#[cfg(test)]
mod tests;

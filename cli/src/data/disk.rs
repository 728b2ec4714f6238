//! Rows of inputs that stay on the disk: in the files they come from, or in a spool file. Of each row only its place is in
//! memory.

use std::path::PathBuf;
use std::sync::Arc;

use evenkeel::Error;
use evenkeel::data::RowSource;
use evenkeel::host::rows::RowFile;

use super::encode::OneHot;

/// Rows of a table that are read when they are needed.
#[derive(Clone, Debug)]
pub struct StoredRows {
    files: Arc<Files>,
    /// Where each row is, counted through the files.
    rows: Vec<u32>,
    /// What stands for a missing cell of each input; empty if none may miss.
    fill: Vec<f32>,
}

/// The files, and what their numbers become.
#[derive(Debug)]
pub(crate) struct Files {
    pub(crate) parts: Vec<Part>,
    pub(crate) one_hot: OneHot,
    /// Bytes of the spool file, and its folder.
    pub(crate) spooled: (u64, PathBuf),
}

/// Rows in one file.
#[derive(Debug)]
pub(crate) struct Part {
    /// Number of its first row.
    pub(crate) first: u32,
    /// What the file is called.
    pub(crate) name: String,
    pub(crate) file: RowFile,
    /// Where in a row the inputs are; none if they are all of it.
    pub(crate) columns: Vec<usize>,
}

impl PartialEq for StoredRows {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.files, &other.files) && self.rows == other.rows && self.fill == other.fill
    }
}

impl StoredRows {
    pub(crate) fn new(files: Files, rows: Vec<u32>) -> Self {
        Self { files: Arc::new(files), rows, fill: Vec::new() }
    }

    /// These rows, in this order; rows that are not there are passed over.
    #[must_use]
    pub fn subset(&self, rows: &[u32]) -> Self {
        let rows = rows.iter().filter_map(|row| self.rows.get(*row as usize)).copied().collect();
        Self { rows, ..self.clone() }
    }

    /// Puts these numbers in the place of missing cells, one for each input; none leaves them.
    pub fn fill_in(&mut self, fill: &[f32]) {
        self.fill = fill.to_vec();
    }

    /// Where the inputs are, in words.
    #[must_use]
    pub fn place(&self) -> String {
        match &self.files.spooled {
            (0, _) => "inputs stay in their files".to_owned(),
            (bytes, folder) => {
                format!("inputs stay on the disk: {:.1} MB written to {}", *bytes as f64 / 1e6, folder.display())
            }
        }
    }
}

impl RowSource for StoredRows {
    fn rows(&self) -> usize {
        self.rows.len()
    }

    fn features(&self) -> usize {
        self.files.one_hot.width()
    }

    fn read(&self, rows: &[u32], out: &mut [f32]) -> Result<(), Error> {
        let place = |row: &u32| {
            let place = self.rows.get(*row as usize).copied();
            place.ok_or(Error::Read { row: *row as usize, why: "there is no such row" })
        };
        let places = rows.iter().map(place).collect::<Result<Vec<u32>, Error>>()?;
        self.files.read(&places, out)?;
        if !self.fill.is_empty() {
            super::encode::fill_in(&self.fill, out);
        }
        Ok(())
    }
}

impl Files {
    fn read(&self, rows: &[u32], out: &mut [f32]) -> Result<(), Error> {
        if let [only] = &self.parts[..]
            && only.columns.is_empty()
            && self.one_hot.is_plain()
        {
            return only.read(rows, out);
        }
        let width = self.one_hot.width();
        let (mut places, mut wanted, mut values, mut row) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (index, part) in self.parts.iter().enumerate() {
            let end = self.parts.get(index + 1).map_or(u32::MAX, |next| next.first);
            let here = || rows.iter().enumerate().filter(|(_, row)| (part.first..end).contains(*row));
            places.clear();
            places.extend(here().map(|(place, _)| place));
            wanted.clear();
            wanted.extend(here().map(|(_, row)| row - part.first));
            values.resize(wanted.len() * part.file.features(), 0.0);
            part.read(&wanted, &mut values)?;
            for (place, values) in places.iter().zip(values.chunks_exact(part.file.features())) {
                let out = &mut out[place * width..][..width];
                if part.columns.is_empty() {
                    self.one_hot.row(values, out);
                } else {
                    row.clear();
                    row.extend(part.columns.iter().map(|column| values[*column]));
                    self.one_hot.row(&row, out);
                }
            }
        }
        Ok(())
    }
}

impl Part {
    fn read(&self, rows: &[u32], out: &mut [f32]) -> Result<(), Error> {
        self.file.read_rows(rows, out).map_err(|(at, error)| {
            let row = rows.get(at).map_or(0, |row| *row as usize);
            let what = match error.kind() {
                std::io::ErrorKind::UnexpectedEof => "it has become shorter since it was opened".to_owned(),
                _ => error.to_string(),
            };
            // The library's errors hold no texts of their own; the command ends with this one.
            Error::Read { row, why: format!("{}: {what}", self.name).leak() }
        })
    }
}

//! Where the inputs of a table go while it is read: into memory, or with `--stream` to the disk.
//!
//! An array of plain 32-bit floats stays where it is. All else is written as such, row by row, into a spool file without a name:
//! whatever ends the program, its room is free again.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::disk::{Files, Part, StoredRows};
use super::encode::OneHot;
use super::error::Error;
use evenkeel::host::rows::RowFile;

/// Bytes that are written at once.
const WRITTEN: usize = 1 << 20;

/// Takes numbers row by row.
pub(crate) enum Sink {
    Memory(Vec<f32>),
    Disk(Box<Spool>),
}

/// Rows on their way to the disk.
pub(crate) struct Spool {
    folder: PathBuf,
    /// Made with the first row.
    file: Option<File>,
    waiting: Vec<u8>,
    written: u64,
    parts: Vec<Places>,
    /// Whether the rows that come are in their own file, in the last part; or in the last part of the spool file.
    state: State,
    /// Where each row taken is.
    rows: Vec<u32>,
    /// Number of the next row of the spool file.
    next: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Begun,
    InPlace,
    Spooled,
}

/// Rows of one file, or some of the spool file's.
struct Places {
    first: u64,
    name: String,
    /// The file with its rows, if it is not the spool file.
    file: Option<RowFile>,
    columns: Vec<usize>,
    /// First byte in the spool file.
    start: u64,
}

impl Sink {
    /// `folder`: of the spool file, if inputs are to stay on the disk.
    pub(crate) fn new(folder: Option<&Path>) -> Self {
        let Some(folder) = folder else { return Self::Memory(Vec::new()) };
        Self::Disk(Box::new(Spool {
            folder: folder.to_path_buf(),
            file: None,
            waiting: Vec::new(),
            written: 0,
            parts: Vec::new(),
            state: State::Begun,
            rows: Vec::new(),
            next: 0,
        }))
    }

    pub(crate) fn is_disk(&self) -> bool {
        matches!(self, Self::Disk(_))
    }

    /// Makes room for values that are sure to come.
    pub(crate) fn reserve(&mut self, values: usize) {
        if let Self::Memory(inputs) = self {
            inputs.reserve_exact(values);
        }
    }

    /// Rows of another file come next.
    pub(crate) fn next_file(&mut self) {
        if let Self::Disk(spool) = self
            && spool.state == State::InPlace
        {
            spool.state = State::Begun;
        }
    }

    /// The rows that come next stay in their own file, where the inputs are in these columns.
    pub(crate) fn in_place(&mut self, name: &str, file: RowFile, columns: Vec<usize>) {
        use evenkeel::data::RowSource as _;
        if let Self::Disk(spool) = self {
            let rows = file.rows() as u64;
            spool.part(name, Some(file), columns);
            spool.next += rows;
            spool.state = State::InPlace;
        }
    }

    /// Takes a value of a row.
    pub(crate) fn push(&mut self, value: f32) {
        match self {
            Self::Memory(values) => {
                // Grows by a quarter instead of doubling: a table of numbers is the largest thing in memory.
                if values.len() == values.capacity() {
                    values.reserve_exact((values.len() / 4).max(1 << 12));
                }
                values.push(value);
            }
            Self::Disk(spool) if spool.state == State::InPlace => {}
            Self::Disk(spool) => {
                if spool.state == State::Begun {
                    let name = format!("the rows kept in {}", spool.folder.display());
                    spool.part(&name, None, Vec::new());
                    spool.state = State::Spooled;
                }
                spool.waiting.extend_from_slice(&value.to_le_bytes());
            }
        }
    }

    /// The values of a row have come; it is row `row` of its file.
    pub(crate) fn end_row(&mut self, file: &str, row: u64) -> Result<(), Error> {
        let Self::Disk(spool) = self else { return Ok(()) };
        let place = match (spool.state, spool.parts.last()) {
            (State::InPlace, Some(part)) => part.first + row,
            _ => {
                spool.next += 1;
                spool.next - 1
            }
        };
        let place = u32::try_from(place).map_err(|_| Error::Stream {
            file: file.to_owned(),
            what: "a set has at most 4,294,967,295 rows",
            advice: "leave some of its files out",
        })?;
        spool.rows.push(place);
        if spool.waiting.len() >= WRITTEN { spool.write() } else { Ok(()) }
    }
}

impl Spool {
    /// The rows that come next belong together.
    fn part(&mut self, name: &str, file: Option<RowFile>, columns: Vec<usize>) {
        let start = self.written + self.waiting.len() as u64;
        self.parts.push(Places { first: self.next, name: name.to_owned(), file, columns, start });
    }

    fn error(&self, source: io::Error) -> Error {
        Error::Spool { folder: self.folder.display().to_string(), written: self.written, source }
    }

    fn write(&mut self) -> Result<(), Error> {
        let mut file = match self.file.take() {
            Some(file) => file,
            None => tempfile::tempfile_in(&self.folder).map_err(|error| self.error(error))?,
        };
        file.write_all(&self.waiting).map_err(|error| self.error(error))?;
        self.written += self.waiting.len() as u64;
        self.waiting.clear();
        self.file = Some(file);
        Ok(())
    }

    /// The rows, of `columns` values each where they were spooled.
    pub(crate) fn finish(mut self, columns: usize, one_hot: OneHot) -> Result<StoredRows, Error> {
        if !self.waiting.is_empty() {
            self.write()?;
        }
        let mut parts = Vec::with_capacity(self.parts.len());
        for part in std::mem::take(&mut self.parts) {
            let file = match (part.file, &self.file) {
                (Some(file), _) => file,
                (None, Some(spool)) => {
                    let rows = spool.try_clone().and_then(|file| RowFile::new(file, part.start, columns));
                    rows.map_err(|error| self.error(error))?
                }
                (None, None) => continue,
            };
            // Rows are numbered by 32 bits, or were refused: a part beyond has none.
            let Ok(first) = u32::try_from(part.first) else { continue };
            parts.push(Part { first, name: part.name, file, columns: part.columns });
        }
        self.rows.shrink_to_fit();
        Ok(StoredRows::new(Files { parts, one_hot, spooled: (self.written, self.folder) }, self.rows))
    }
}

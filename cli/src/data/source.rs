//! Opening a file, unpacking gzip on the way, and telling by the first bytes what it holds.
//!
//! Everything is read as a stream: no length found inside a file is believed before the bytes have come.

use super::error::Error;
use flate2::bufread::MultiGzDecoder;
use std::cell::Cell;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Cursor, ErrorKind, Read};
use std::path::Path;
use std::rc::Rc;

/// Bytes that any gzip file may unpack to.
const UNPACK_BASE: u64 = 64 << 20;
/// How many times its packed size a gzip file may unpack to on top of [`UNPACK_BASE`]. Tables of numbers reach 3 to 20,
/// gzip's own limit is 1,032.
const UNPACK_RATIO: u64 = 100;
/// How many bytes are looked at to tell the format.
const PEEK: usize = 512;

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Text, fields between delimiters.
    Csv,
    /// NumPy's array file.
    Npy,
    /// The array file of the MNIST data sets.
    Idx,
    /// Text, index lists in the form of svmlight and libsvm: told by the name.
    Svm,
}

/// An open, unpacked data file.
pub struct Source<'a> {
    name: String,
    reader: Box<dyn BufRead + 'a>,
    packed: bool,
    left: Option<u64>,
    format: Format,
}

impl Source<'static> {
    /// Opens a file; a FIFO or `/dev/stdin` is fine.
    ///
    /// # Errors
    /// If it is missing, unreadable, empty or of a kind that is not read.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let name = path.display().to_string();
        let io = |source: io::Error| match source.kind() {
            ErrorKind::NotFound => Error::NotFound { file: name.clone() },
            ErrorKind::IsADirectory => Error::Directory { file: name.clone() },
            _ => Error::Io { file: name.clone(), source },
        };
        let meta = fs::metadata(path).map_err(io)?;
        if meta.is_dir() {
            return Err(Error::Directory { file: name });
        }
        let file = File::open(path).map_err(io)?;
        Self::new(name.clone(), BufReader::with_capacity(1 << 16, file), meta.is_file().then_some(meta.len()))
    }
}

impl<'a> Source<'a> {
    /// Bytes in memory under a name for error messages.
    ///
    /// # Errors
    /// If they are empty or of a kind that is not read.
    pub fn from_bytes(name: &str, bytes: &'a [u8]) -> Result<Self, Error> {
        Self::new(name.to_owned(), bytes, Some(bytes.len() as u64))
    }

    fn new(name: String, raw: impl BufRead + 'a, len: Option<u64>) -> Result<Self, Error> {
        let mut plain = Self { name, reader: Box::new(raw), packed: false, left: len, format: Format::Csv };
        if plain.peek(PEEK)?.starts_with(&[0x1f, 0x8b]) {
            plain = plain.unpacked();
        }
        let start = plain.peek(PEEK)?;
        plain.format = format_of(&plain.name, &start)?;
        if matches!(plain.format, Format::Csv | Format::Svm) && start.starts_with(b"\xef\xbb\xbf") {
            plain.consume(3);
        }
        Ok(plain)
    }

    fn unpacked(self) -> Self {
        let taken = Rc::new(Cell::new(0));
        let counted = BufReader::new(Counted { inner: self.reader, taken: taken.clone() });
        let limited = Limited { inner: MultiGzDecoder::new(counted), taken, given: 0 };
        let reader = Box::new(BufReader::with_capacity(1 << 16, limited));
        Self { reader, packed: true, left: None, ..self }
    }

    /// The next bytes, at most so many, which stay to be read. Memory is taken as they come.
    pub(crate) fn peek(&mut self, count: usize) -> Result<Vec<u8>, Error> {
        let mut start = Vec::new();
        (&mut self.reader).take(count as u64).read_to_end(&mut start).map_err(|e| self.error(e))?;
        let rest = std::mem::replace(&mut self.reader, Box::new(io::empty()));
        self.reader = Box::new(Cursor::new(start.clone()).chain(rest));
        Ok(start)
    }

    /// The file's name for error messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the file holds.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// How many bytes are still to come, if that is known: not for packed files and pipes.
    #[must_use]
    pub fn left(&self) -> Option<u64> {
        self.left
    }

    /// The next bytes; none at the end of the file.
    ///
    /// # Errors
    /// If the file cannot be read or its packing is damaged.
    pub fn fill(&mut self) -> Result<&[u8], Error> {
        loop {
            match self.reader.fill_buf() {
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(self.error(e)),
                Ok(_) => break,
            }
        }
        // Asked twice because the borrow checker does not let the loop return it; the second call only looks.
        match self.reader.fill_buf() {
            Ok(bytes) => Ok(bytes),
            Err(source) => Err(Error::Io { file: self.name.clone(), source }),
        }
    }

    /// Marks bytes of [`fill`](Self::fill) as read.
    pub fn consume(&mut self, count: usize) {
        self.reader.consume(count);
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(count as u64);
        }
    }

    /// Fills `into` as far as the file goes and says how far.
    ///
    /// # Errors
    /// As [`fill`](Self::fill).
    pub fn read(&mut self, into: &mut [u8]) -> Result<usize, Error> {
        let mut done = 0;
        while done < into.len() {
            let bytes = self.fill()?;
            if bytes.is_empty() {
                break;
            }
            let count = bytes.len().min(into.len() - done);
            into[done..done + count].copy_from_slice(&bytes[..count]);
            self.consume(count);
            done += count;
        }
        Ok(done)
    }

    fn error(&self, source: io::Error) -> Error {
        let file = self.name.clone();
        if let Some(bomb) = source.get_ref().and_then(|e| e.downcast_ref::<Bomb>()) {
            return Error::GzipBomb { file, limit: bomb.0 };
        }
        match source.kind() {
            ErrorKind::UnexpectedEof if self.packed => Error::GzipCut { file },
            ErrorKind::InvalidInput | ErrorKind::InvalidData if self.packed => {
                Error::GzipDamaged { file, what: source.to_string() }
            }
            ErrorKind::IsADirectory => Error::Directory { file },
            _ => Error::Io { file, source },
        }
    }
}

fn format_of(name: &str, start: &[u8]) -> Result<Format, Error> {
    let file = || name.to_owned();
    let kind = |found, advice| Err(Error::Kind { file: file(), found, advice });
    const AS_CSV: &str = "save the table as CSV";
    match start {
        [] => Err(Error::Empty { file: file() }),
        [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => Ok(Format::Npy),
        [0, 0, 8 | 9 | 0x0b..=0x0e, 1..=255, ..] => Ok(Format::Idx),
        [b'P', b'K', 3 | 5, 4 | 6, ..] => {
            kind("a zip file (NPZ, or an Excel workbook)", "unpack it, or save the table as CSV")
        }
        [0x1f, 0x8b, ..] => kind("a gzip file inside a gzip file", "unpack it once with gunzip"),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => kind("text in UTF-16", "save it as UTF-8"),
        [0x89, b'P', b'N', b'G', ..] | [0xff, 0xd8, 0xff, ..] => {
            kind("a picture", "collect the pictures in an NPY or IDX file")
        }
        [b'P', b'A', b'R', b'1', ..] => kind("a Parquet file", AS_CSV),
        [0x89, b'H', b'D', b'F', ..] => kind("an HDF5 file", AS_CSV),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => kind("packed with zstd", "unpack it, or pack it with gzip"),
        [b'B', b'Z', b'h', ..] => kind("packed with bzip2", "unpack it, or pack it with gzip"),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => kind("packed with xz", "unpack it, or pack it with gzip"),
        [0x80, 2..=5, ..] => kind("a Python pickle", "save the array with numpy.save, or the table as CSV"),
        _ if start.contains(&0) => kind("binary data of an unknown kind", AS_CSV),
        _ => {
            let lower = name.to_ascii_lowercase();
            let bare = lower.strip_suffix(".gz").unwrap_or(&lower);
            if bare.ends_with(".npy") {
                kind(
                    "named .npy but does not start as NPY files do",
                    "save the array with numpy.save, or rename a CSV file to .csv",
                )
            } else if [".svm", ".svmlight", ".libsvm"].iter().any(|end| bare.ends_with(end)) {
                Ok(Format::Svm)
            } else {
                Ok(Format::Csv)
            }
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("unpacks to more than {0} bytes")]
struct Bomb(u64);

/// Counts the packed bytes taken, so that the limit also works on a pipe.
struct Counted<R> {
    inner: R,
    taken: Rc<Cell<u64>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(into)?;
        self.taken.set(self.taken.get() + count as u64);
        Ok(count)
    }
}

struct Limited<R> {
    inner: R,
    taken: Rc<Cell<u64>>,
    given: u64,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(into)?;
        self.given += count as u64;
        let limit = UNPACK_BASE + UNPACK_RATIO * self.taken.get();
        if self.given > limit { Err(io::Error::other(Bomb(limit))) } else { Ok(count) }
    }
}

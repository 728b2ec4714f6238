//! Opening a file, unpacking it on the way, and telling by the first bytes what it holds.
//!
//! Everything is read as a stream: no length found inside a file is believed before the bytes have come.

use super::error::{Error, PackedProblem};
use super::npz::{self, ReadSeek};
use super::unpack::{Bomb, Packing};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Cursor, ErrorKind, Read};
use std::path::{Path, PathBuf};

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
    /// Apache Parquet.
    Parquet,
}

/// An open, unpacked data file.
pub struct Source<'a> {
    name: String,
    reader: Box<dyn BufRead + 'a>,
    packing: Option<Packing>,
    left: Option<u64>,
    format: Format,
    labels: Option<String>,
    /// The file and its length, if it is read as it lies there.
    plain: Option<(PathBuf, u64)>,
    /// Whether all of it had to be taken into memory.
    whole: bool,
}

impl Source<'static> {
    /// Opens a file; a FIFO or `/dev/stdin` is fine. `data.npz:name` is an array of an archive.
    ///
    /// # Errors
    /// If it is missing, unreadable, empty or of a kind that is not read.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let name = path.display().to_string();
        let (file, member) = Self::locate(&name, path)?;
        Self::open_member(&name, file, member)
    }

    /// The file that a path means, and the array in it. Nothing is opened, so a pipe loses nothing.
    pub(crate) fn locate<'p>(name: &'p str, path: &'p Path) -> Result<(&'p Path, Option<&'p str>), Error> {
        if path.exists() {
            return Ok((path, None));
        }
        match name.rsplit_once(':').filter(|(file, _)| Path::new(file).is_file()) {
            Some((file, member)) => Ok((Path::new(file), Some(member))),
            None => Err(Error::NotFound { file: name.to_owned() }),
        }
    }

    fn open_member(name: &str, path: &Path, member: Option<&str>) -> Result<Self, Error> {
        let io = |source: io::Error| match source.kind() {
            ErrorKind::NotFound => Error::NotFound { file: name.to_owned() },
            ErrorKind::IsADirectory => Error::Directory { file: name.to_owned() },
            _ => Error::Io { file: name.to_owned(), source },
        };
        let meta = fs::metadata(path).map_err(io)?;
        if meta.is_dir() {
            return Err(Error::Directory { file: name.to_owned() });
        }
        let file = File::open(path).map_err(io)?;
        // Of a pipe there is no second reader: it would take bytes from the first.
        let again: Option<Box<dyn ReadSeek>> = match meta.is_file() {
            true => Some(Box::new(File::open(path).map_err(io)?)),
            false => None,
        };
        let len = meta.is_file().then_some(meta.len());
        let source = Self::new(name.to_owned(), BufReader::with_capacity(1 << 16, file), len, again, member)?;
        let plain = len.filter(|_| source.packing.is_none()).map(|len| (path.to_path_buf(), len));
        Ok(Self { plain, ..source })
    }
}

impl<'a> Source<'a> {
    /// Bytes in memory under a name for error messages.
    ///
    /// # Errors
    /// If they are empty or of a kind that is not read.
    pub fn from_bytes(name: &str, bytes: &'a [u8]) -> Result<Self, Error> {
        Self::new(name.to_owned(), bytes, Some(bytes.len() as u64), None, None)
    }

    /// `again`: the same file once more, to move about in.
    fn new(
        name: String,
        raw: impl BufRead + 'a,
        len: Option<u64>,
        again: Option<Box<dyn ReadSeek>>,
        member: Option<&str>,
    ) -> Result<Self, Error> {
        let mut plain = Self {
            name,
            reader: Box::new(raw),
            packing: None,
            left: len,
            format: Format::Csv,
            labels: None,
            plain: None,
            whole: false,
        };
        if let Some(packing) = Packing::of(&plain.peek(PEEK)?) {
            plain = Self { reader: packing.open(plain.reader), packing: Some(packing), left: None, ..plain };
        }
        if plain.peek(PEEK)?.starts_with(b"PK") {
            plain = plain.array(again, member)?;
        } else if member.is_some() {
            return Err(Error::NoArchive { file: plain.name });
        }
        let start = plain.peek(PEEK)?;
        plain.format = format_of(&plain.name, &start)?;
        if matches!(plain.format, Format::Csv | Format::Svm) && start.starts_with(b"\xef\xbb\xbf") {
            plain.consume(3);
        }
        Ok(plain)
    }

    /// An array of the archive that this is.
    fn array(mut self, again: Option<Box<dyn ReadSeek>>, member: Option<&str>) -> Result<Self, Error> {
        let archive = match (again, self.packing) {
            (Some(file), None) => file,
            _ => {
                self.whole = true;
                npz::in_memory(self.read_all()?)
            }
        };
        let array = npz::open(&self.name, archive, member)?;
        // The name has the array's already if the user gave it.
        let file =
            self.name.strip_suffix(&format!(":{}", array.name)).filter(|_| member.is_some()).unwrap_or(&self.name);
        let [name, labels] = [Some(&array.name), array.labels.as_ref()].map(|array| Some(format!("{file}:{}", array?)));
        let name = name.unwrap_or_default();
        let reader = Box::new(BufReader::with_capacity(1 << 16, array.reader));
        Ok(Self { name, reader, packing: Some(Packing::Zip), left: array.len, labels, ..self })
    }

    /// The array of the same archive that has its labels: `file:array`.
    pub(crate) fn labels(&self) -> Option<&str> {
        self.labels.as_deref()
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

    /// All bytes that are still to come.
    ///
    /// # Errors
    /// As [`fill`](Self::fill).
    pub(crate) fn read_all(&mut self) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        self.reader.read_to_end(&mut bytes).map_err(|error| self.error(error))?;
        Ok(bytes)
    }

    /// The file and the place in it where the next byte lies, if it is neither packed nor a pipe.
    pub(crate) fn place(&self) -> Option<(&Path, u64)> {
        let (path, len) = self.plain.as_ref()?;
        Some((path, len.checked_sub(self.left?)?))
    }

    /// Whether all of it had to be taken into memory.
    pub(crate) fn is_whole(&self) -> bool {
        self.whole
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
        if let (Some(bomb), Some(packing)) = (source.get_ref().and_then(|e| e.downcast_ref::<Bomb>()), self.packing) {
            return Error::Packed { file, problem: PackedProblem::Bomb { packing, limit: bomb.0 } };
        }
        match (source.kind(), self.packing) {
            (ErrorKind::UnexpectedEof, Some(packing)) => {
                Error::Packed { file, problem: PackedProblem::Cut { packing } }
            }
            (ErrorKind::InvalidInput | ErrorKind::InvalidData, Some(packing)) => {
                Error::Packed { file, problem: PackedProblem::Damaged { packing, what: source.to_string() } }
            }
            (ErrorKind::IsADirectory, _) => Error::Directory { file },
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
        start if Packing::of(start).is_some() => kind("packed twice", "unpack it once with gunzip or unzstd"),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => kind("text in UTF-16", "save it as UTF-8"),
        [0x89, b'P', b'N', b'G', ..] | [0xff, 0xd8, 0xff, ..] => {
            kind("a picture", "collect the pictures in an NPY or IDX file")
        }
        [b'P', b'A', b'R', b'1', ..] => Ok(Format::Parquet),
        [0x89, b'H', b'D', b'F', ..] => kind("an HDF5 file", AS_CSV),
        [b'B', b'Z', b'h', ..] => kind("packed with bzip2", "unpack it, or pack it with gzip or zstd"),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => kind("packed with xz", "unpack it, or pack it with gzip or zstd"),
        [0x80, 2..=5, ..] => kind("a Python pickle", "save the array with numpy.save, or the table as CSV"),
        _ if start.contains(&0) => kind("binary data of an unknown kind", AS_CSV),
        _ => {
            let lower = name.to_ascii_lowercase();
            let bare = [".gz", ".zst"].iter().find_map(|end| lower.strip_suffix(end)).unwrap_or(&lower);
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

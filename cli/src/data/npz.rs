//! NumPy's NPZ files: zip archives of NPY arrays.
//!
//! The archive's list says where an array's bytes lie; they are read from there as a stream. A path may name an array behind a
//! colon, `mnist.npz:x_test`. Without a name the only array is meant, or the one that is called like inputs.

use std::io::{self, BufReader, Cursor, ErrorKind, Read, Seek, SeekFrom, Take};

use flate2::CrcReader;
use flate2::bufread::DeflateDecoder;
use zip::{CompressionMethod, ZipArchive};

use super::error::{Error, list};
use super::unpack::{Bomb, limit};

/// What is read and moved about in.
pub(crate) trait ReadSeek: Read + Seek {}
impl<T: Read + Seek> ReadSeek for T {}

/// What the inputs are called, in the order of preference, and behind each what its labels are called.
const PAIRS: [(&str, &str); 6] =
    [("x_train", "y_train"), ("x", "y"), ("X", "y"), ("inputs", "targets"), ("data", "target"), ("data", "labels")];

/// An array of an archive.
pub(crate) struct Member {
    /// Its NPY file.
    pub(crate) reader: Box<dyn Read>,
    /// Its bytes, if the archive holds them as they are.
    pub(crate) len: Option<u64>,
    /// Its name.
    pub(crate) name: String,
    /// The array with its labels, if there is one.
    pub(crate) labels: Option<String>,
}

/// Opens the array `wanted`, or the one with the inputs.
pub(crate) fn open(file: &str, archive: Box<dyn ReadSeek>, wanted: Option<&str>) -> Result<Member, Error> {
    let damaged = |what: String| Error::Header { file: file.to_owned(), format: "NPZ", what };
    let mut zip = ZipArchive::new(BufReader::new(archive)).map_err(|error| damaged(error.to_string()))?;
    let names = zip.file_names().map(|name| name.map(|name| name.strip_suffix(".npy").map(str::to_owned)));
    let names: Vec<Option<String>> = names.collect::<Result<_, _>>().map_err(|error| damaged(error.to_string()))?;
    let arrays: Vec<&str> = names.iter().flatten().map(String::as_str).collect();
    let name = match (wanted, arrays.as_slice()) {
        (_, []) => {
            let advice = "save arrays with numpy.savez, or the table as CSV";
            return Err(Error::Kind { file: file.to_owned(), found: "a zip file without arrays", advice });
        }
        (Some(wanted), arrays) => arrays.iter().find(|name| **name == wanted),
        (None, [only]) => Some(only),
        (None, arrays) => PAIRS.iter().find_map(|(inputs, _)| arrays.iter().find(|name| *name == inputs)),
    };
    let Some(name) = name.map(|name| (*name).to_owned()) else {
        let wanted = wanted.map(str::to_owned);
        let arrays: Vec<String> = arrays.iter().map(|name| (*name).to_owned()).collect();
        return Err(Error::NoSuchArray { file: file.to_owned(), wanted, available: list(&arrays) });
    };
    let labels = labels_of(&name).into_iter().find(|labels| arrays.contains(&labels.as_str()));
    let at = names.iter().position(|other| other.as_deref() == Some(&name)).unwrap_or_default();
    let (start, packed, size, crc, method) = {
        let entry = zip.by_index_raw(at).map_err(|error| damaged(error.to_string()))?;
        let start = entry.data_start().ok_or_else(|| damaged(format!("the array {name} has no place")))?;
        if entry.encrypted() {
            return Err(damaged(format!("the array {name} is encrypted")));
        }
        (start, entry.compressed_size(), entry.size(), entry.crc32(), entry.compression())
    };
    let mut inner = zip.into_inner();
    let io = |source| Error::Io { file: file.to_owned(), source };
    let end = inner.seek(SeekFrom::End(0)).map_err(io)?;
    if end.saturating_sub(start) < packed {
        return Err(damaged(format!("the array {name} ends behind the file")));
    }
    inner.seek(SeekFrom::Start(start)).map_err(io)?;
    let packed_bytes = inner.take(packed);
    let (bytes, len): (Box<dyn Read>, _) = match method {
        CompressionMethod::Stored if packed == size => (Box::new(packed_bytes), Some(size)),
        CompressionMethod::Deflated => (Box::new(DeflateDecoder::new(BufReader::new(packed_bytes))), None),
        other => return Err(damaged(format!("the array {name} is packed in a way that is not read ({other})"))),
    };
    let reader = Checked { inner: CrcReader::new(bytes.take(size)), size, crc, limit: limit(packed), given: 0 };
    Ok(Member { reader: Box::new(reader), len, name, labels })
}

/// What the labels of an array may be called: as it is, with another first letter.
fn labels_of(name: &str) -> Vec<String> {
    let pairs = PAIRS.iter().filter(|(inputs, _)| *inputs == name).map(|(_, labels)| (*labels).to_owned());
    let letter = name.strip_prefix(['x', 'X']).map(|rest| format!("y{rest}"));
    pairs.chain(letter).collect()
}

/// Compares length and checksum at the end.
struct Checked {
    inner: CrcReader<Take<Box<dyn Read>>>,
    size: u64,
    crc: u32,
    limit: u64,
    given: u64,
}

impl Read for Checked {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(into)?;
        self.given += count as u64;
        if self.given > self.limit {
            return Err(io::Error::other(Bomb(self.limit)));
        }
        if count > 0 || into.is_empty() {
            return Ok(count);
        }
        if self.given < self.size {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        if self.inner.crc().sum() != self.crc {
            return Err(io::Error::new(ErrorKind::InvalidData, "the checksum does not match"));
        }
        Ok(0)
    }
}

/// Bytes in memory, to move about in.
pub(crate) fn in_memory(bytes: Vec<u8>) -> Box<dyn ReadSeek> {
    Box::new(Cursor::new(bytes))
}

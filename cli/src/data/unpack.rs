//! Packed files: gzip and zstd are unpacked as a stream, which stops where no table of numbers would go on.

use std::cell::Cell;
use std::error::Error as _;
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::rc::Rc;

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// Bytes that any packed file may unpack to.
const UNPACK_BASE: u64 = 64 << 20;
/// How many times its packed size a file may unpack to on top of [`UNPACK_BASE`]. Tables of numbers reach 3 to 20, gzip's
/// own limit is 1,032, zstd has none.
const UNPACK_RATIO: u64 = 100;
/// Memory that a zstd file may ask for. RFC 8878 (3.1.1.1.2) recommends that decoders give 8 MiB and encoders ask for no more.
const ZSTD_WINDOW: u64 = 8 << 20;

/// The most that `packed` bytes may unpack to.
pub(crate) fn limit(packed: u64) -> u64 {
    UNPACK_RATIO.saturating_mul(packed).saturating_add(UNPACK_BASE)
}

/// How a file is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// RFC 1952, one or more members.
    Gzip,
    /// RFC 8878, one or more frames.
    Zstd,
    /// A member of a zip archive, an array of an NPZ file.
    Zip,
}

impl Packing {
    /// What the first bytes say of a file that is packed as a whole.
    pub(crate) fn of(start: &[u8]) -> Option<Self> {
        match start {
            [0x1f, 0x8b, ..] => Some(Self::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(Self::Zstd),
            _ => None,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Zip => "zip",
        }
    }

    /// The command that unpacks it.
    #[must_use]
    pub fn tool(self) -> &'static str {
        match self {
            Self::Gzip => "gunzip",
            Self::Zstd => "unzstd",
            Self::Zip => "unzip",
        }
    }

    /// The unpacked bytes of `packed`.
    pub(crate) fn open<'a>(self, packed: Box<dyn BufRead + 'a>) -> Box<dyn BufRead + 'a> {
        let taken = Rc::new(Cell::new(0));
        let counted = BufReader::new(Counted { inner: packed, taken: taken.clone() });
        let inner: Box<dyn Read + 'a> = match self {
            Self::Gzip => Box::new(MultiGzDecoder::new(counted)),
            Self::Zstd => Box::new(Frames::new(counted)),
            // Members are found by the archive's list (`npz`), and counted there.
            Self::Zip => Box::new(counted),
        };
        Box::new(BufReader::with_capacity(1 << 16, Limited { inner, taken, given: 0 }))
    }
}

/// The frames of a zstd file, one after the other.
struct Frames<R> {
    source: R,
    decoder: FrameDecoder,
    /// Whether a frame has begun and not ended.
    inside: bool,
}

impl<R: BufRead> Frames<R> {
    fn new(source: R) -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(ZSTD_WINDOW);
        Self { source, decoder, inside: false }
    }

    /// Begins the next frame, over those that hold no data; `false` at the end of the file.
    fn begin(&mut self) -> io::Result<bool> {
        while !self.source.fill_buf()?.is_empty() {
            match self.decoder.reset(&mut self.source) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                    let length = u64::from(length);
                    if io::copy(&mut (&mut self.source).take(length), &mut io::sink())? < length {
                        return Err(ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(error) => return Err(damage(error)),
            }
        }
        Ok(false)
    }
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.inside && !self.begin()? {
                return Ok(0);
            }
            self.inside = true;
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                self.decoder.decode_blocks(&mut self.source, BlockDecodingStrategy::UptoBlocks(1)).map_err(damage)?;
            }
            let count = self.decoder.read(into)?;
            if count > 0 || into.is_empty() {
                return Ok(count);
            }
            let written = self.decoder.get_checksum_from_data();
            if written.is_some() && written != self.decoder.get_calculated_checksum() {
                return Err(io::Error::new(ErrorKind::InvalidData, "the checksum of a frame does not match"));
            }
            self.inside = false;
        }
    }
}

/// The decoder's error as one of reading: cut off, or damaged.
fn damage(error: FrameDecoderError) -> io::Error {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(read) = inner.downcast_ref::<io::Error>()
            && read.kind() == ErrorKind::UnexpectedEof
        {
            return ErrorKind::UnexpectedEof.into();
        }
        cause = inner.source();
    }
    io::Error::new(ErrorKind::InvalidData, error.to_string())
}

/// What a file that unpacks to absurdly much stops with: the limit that was passed.
#[derive(Debug, thiserror::Error)]
#[error("unpacks to more than {0} bytes")]
pub(crate) struct Bomb(pub(crate) u64);

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
        let limit = limit(self.taken.get());
        if self.given > limit { Err(io::Error::other(Bomb(limit))) } else { Ok(count) }
    }
}

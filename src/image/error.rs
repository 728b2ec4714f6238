//! Why bytes are not an image.

use core::fmt;

/// What [`Image::new`](super::Image::new) refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ImageError {
    /// This machine is big-endian.
    BigEndian,
    /// The bytes do not begin at a multiple of 64.
    Misaligned,
    /// Fewer bytes than a header has.
    TooShort {
        /// Bytes given.
        len: usize,
    },
    /// The first four bytes are not `KEEL`.
    Magic,
    /// Another version of the format.
    FormatVersion {
        /// The image's.
        found: u16,
    },
    /// Another version of the numeric contract: the outputs would have other bits than promised.
    NumericContract {
        /// The image's.
        found: u16,
    },
    /// The image was cut off, or something follows it.
    Length {
        /// The length that the header states.
        declared: u64,
        /// Bytes given.
        found: u64,
    },
    /// The bytes were changed.
    Checksum {
        /// The checksum in the header.
        stored: u32,
        /// The checksum of the bytes.
        computed: u32,
    },
    /// A field of the header is out of its range.
    Header {
        /// Which.
        field: &'static str,
    },
    /// A field of an operation's record is out of its range.
    Record {
        /// The operation, from 0.
        op: usize,
        /// Which field.
        field: &'static str,
    },
    /// An operation's inputs are not what the one before gives; for the index after the last operation: the outputs
    /// are not the header's.
    Widths {
        /// The operation, from 0.
        op: usize,
        /// Features that come in.
        given: usize,
        /// Features it wants.
        wanted: usize,
    },
    /// A section does not lie where it must, or ends behind the image.
    Section {
        /// The operation, from 0.
        op: usize,
        /// `weights`, `bias`, or `scale and shift`.
        part: &'static str,
    },
    /// A NaN or an infinity among the parameters.
    NonFinite {
        /// The operation, from 0.
        op: usize,
        /// `weights`, `bias`, or `scale and shift`.
        part: &'static str,
        /// Position in the section, in values.
        index: usize,
    },
    /// Padding inside a section, or between two, is not zero.
    Padding,
    /// The metadata do not fill their place exactly, or the number of class names is not that of the outputs.
    Metadata,
    /// A class name or the note is not UTF-8.
    Text,
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            ImageError::BigEndian => {
                f.write_str("images are little-endian and used where they lie: a big-endian machine cannot run them")
            }
            ImageError::Misaligned => f.write_str(
                "the image does not begin at a multiple of 64 bytes: wrap include_bytes! in Aligned, or copy the bytes into AlignedBytes",
            ),
            ImageError::TooShort { len } => {
                write!(f, "{len} bytes are too short for an image: was the file cut off?")
            }
            ImageError::Magic => f.write_str("this is not a .keel image: give a file that `evenkeel export` wrote"),
            ImageError::FormatVersion { found } => write!(
                f,
                "the image has format version {found}, this evenkeel reads {}: export it again, or use another version of evenkeel",
                super::FORMAT_VERSION
            ),
            ImageError::NumericContract { found } => write!(
                f,
                "the image was made for numeric contract {found}, this evenkeel computes by {}: export it again, or use another version of evenkeel",
                super::NUMERIC_CONTRACT
            ),
            ImageError::Length { declared, found } => write!(
                f,
                "the image should have {declared} bytes but {found} were given: pass exactly the image, copy it again if it was cut off"
            ),
            ImageError::Checksum { stored, computed } => write!(
                f,
                "the image is damaged (checksum {computed:08x}, should be {stored:08x}): copy or export it again"
            ),
            ImageError::Header { field } => {
                write!(f, "the image's header is invalid ({field}): export it again")
            }
            ImageError::Record { op, field } => {
                write!(f, "operation {op} of the image is invalid ({field}): export it again")
            }
            ImageError::Widths { op, given, wanted } => write!(
                f,
                "operation {op} of the image wants {wanted} features but gets {given}: export it again"
            ),
            ImageError::Section { op, part } => {
                write!(f, "the {part} of operation {op} lie outside their place in the image: export it again")
            }
            ImageError::NonFinite { op, part, index } => {
                write!(f, "value {index} of the {part} of operation {op} is NaN or infinite: export a sound network")
            }
            ImageError::Padding => f.write_str("padding of the image is not zero: export it again"),
            ImageError::Metadata => f.write_str("the metadata of the image are inconsistent: export it again"),
            ImageError::Text => f.write_str("a text in the image is not UTF-8: export it again"),
        }
    }
}

impl core::error::Error for ImageError {}

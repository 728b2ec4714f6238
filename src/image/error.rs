//! Why bytes are not an image.

use core::fmt;

use super::message::Message;

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

impl ImageError {
    /// The message, for the compiler too: [`include_model!`](crate::include_model) shows it.
    #[must_use]
    pub const fn message(&self) -> Message {
        match *self {
            ImageError::BigEndian => {
                Message::new("images are little-endian and used where they lie: a big-endian machine cannot run them")
            }
            ImageError::Misaligned => Message::new(
                "the image does not begin at a multiple of 64 bytes: wrap include_bytes! in Aligned, or copy the bytes into AlignedBytes",
            ),
            ImageError::TooShort { len } => {
                Message::new("").number(len as u64).text(" bytes are too short for an image: was the file cut off?")
            }
            ImageError::Magic => Message::new("this is not a .keel image: give a file that `evenkeel export` wrote"),
            ImageError::FormatVersion { found } => Message::new("the image has format version ")
                .number(found as u64)
                .text(", this evenkeel reads 1 to ")
                .number(super::FORMAT_VERSION as u64)
                .text(": export it again, or use another version of evenkeel"),
            ImageError::NumericContract { found } => Message::new("the image was made for numeric contract ")
                .number(found as u64)
                .text(", this evenkeel computes by ")
                .number(super::NUMERIC_CONTRACT as u64)
                .text(": export it again, or use another version of evenkeel"),
            ImageError::Length { declared, found } => Message::new("the image should have ")
                .number(declared)
                .text(" bytes but ")
                .number(found)
                .text(" were given: pass exactly the image, copy it again if it was cut off"),
            ImageError::Checksum { stored, computed } => Message::new("the image is damaged (checksum ")
                .hex(computed)
                .text(", should be ")
                .hex(stored)
                .text("): copy or export it again"),
            ImageError::Header { field } => {
                Message::new("the image's header is invalid (").text(field).text("): export it again")
            }
            ImageError::Record { op, field } => Message::new("operation ")
                .number(op as u64)
                .text(" of the image is invalid (")
                .text(field)
                .text("): export it again"),
            ImageError::Widths { op, given, wanted } => Message::new("operation ")
                .number(op as u64)
                .text(" of the image wants ")
                .number(wanted as u64)
                .text(" features but gets ")
                .number(given as u64)
                .text(": export it again"),
            ImageError::Section { op, part } => Message::new("the ")
                .text(part)
                .text(" of operation ")
                .number(op as u64)
                .text(" lie outside their place in the image: export it again"),
            ImageError::NonFinite { op, part, index } => Message::new("value ")
                .number(index as u64)
                .text(" of the ")
                .text(part)
                .text(" of operation ")
                .number(op as u64)
                .text(" is NaN or infinite: export a sound network"),
            ImageError::Padding => Message::new("padding of the image is not zero: export it again"),
            ImageError::Metadata => Message::new("the metadata of the image are inconsistent: export it again"),
            ImageError::Text => Message::new("a text in the image is not UTF-8: export it again"),
        }
    }
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message().as_str())
    }
}

impl core::error::Error for ImageError {}

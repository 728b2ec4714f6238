//! Everything that is checked about an image's bytes, in one `const` pass.
//!
//! Must not panic on any bytes (`read`). All sizes are `u64`; a number becomes a
//! `usize` only after it was found to lie within the slice, or within [`MAX_WIDTH`].

use super::codes::{CODES, activation_of, is_parameter};
use super::read::{metadata, section, u16_at, u32_at, u64_at};
use super::{
    ALIGN, FORMAT_VERSION, HEADER, Image, ImageError, MAGIC, MAX_OPS, NUMERIC_CONTRACT, RECORD, STANDARDISED, Sections,
    at, checksum, vector_bytes, weight_bytes,
};
use crate::kernels::panels;
use crate::layer::{Activation, MAX_WIDTH, padded};
use crate::simd::LANES;

/// `?` in a `const fn`.
macro_rules! check {
    ($result:expr) => {
        match $result {
            Ok(value) => value,
            Err(error) => return Err(error),
        }
    };
}

/// Returns the error unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $error:expr) => {
        if !$condition {
            return Err($error);
        }
    };
}

/// Checks a whole image but for where it lies.
pub(super) const fn image(bytes: &[u8]) -> Result<Image<'_>, ImageError> {
    ensure!(cfg!(target_endian = "little"), ImageError::BigEndian);
    ensure!(bytes.len() >= HEADER, ImageError::TooShort { len: bytes.len() });
    ensure!(u32_at(bytes, 0) == u32::from_le_bytes(MAGIC), ImageError::Magic);
    // Versions come before the length and the checksum, which a later format may keep elsewhere.
    let version = u16_at(bytes, at::VERSION);
    ensure!(version >= 1 && version <= FORMAT_VERSION, ImageError::FormatVersion { found: version });
    let found = u16_at(bytes, at::CONTRACT);
    ensure!(found == NUMERIC_CONTRACT, ImageError::NumericContract { found });
    let (declared, found) = (u64_at(bytes, at::LENGTH), bytes.len() as u64);
    ensure!(declared == found, ImageError::Length { declared, found });
    let (stored, computed) = (u32_at(bytes, at::CHECKSUM), checksum(bytes));
    ensure!(stored == computed, ImageError::Checksum { stored, computed });

    let ops = u32_at(bytes, at::OPS) as usize;
    let inputs = u32_at(bytes, at::INPUTS) as usize;
    let outputs = u32_at(bytes, at::OUTPUTS) as usize;
    let scratch_width = u32_at(bytes, at::SCRATCH) as usize;
    ensure!(ops <= MAX_OPS, ImageError::Header { field: "number of operations" });
    ensure!(is_width(inputs), ImageError::Header { field: "inputs" });
    ensure!(is_width(outputs), ImageError::Header { field: "outputs" });
    ensure!(u32_at(bytes, at::FLAGS) & !STANDARDISED == 0, ImageError::Header { field: "flags" });
    ensure!(u64_at(bytes, at::RESERVED) == 0, ImageError::Header { field: "reserved" });
    ensure!(u32_at(bytes, at::TABLE) as usize == HEADER, ImageError::Header { field: "offset of operations" });
    let metadata = (HEADER + RECORD * ops) as u64;
    ensure!(u32_at(bytes, at::METADATA) as u64 == metadata, ImageError::Header { field: "offset of metadata" });
    let texts = metadata + u32_at(bytes, at::METADATA_LEN) as u64;
    let mut sections = Sections::after(texts);
    let payload = sections.end;
    ensure!(u32_at(bytes, at::PAYLOAD) as u64 == payload, ImageError::Header { field: "offset of payload" });
    ensure!(payload <= bytes.len() as u64, ImageError::Header { field: "offset of payload" });
    check!(check_metadata(bytes, outputs));
    ensure!(is_zero(bytes, texts, payload), ImageError::Padding);

    let mut width = inputs;
    let mut widest = padded(inputs);
    let mut least = 1;
    let mut op = 0;
    while op < ops {
        let record = check!(Record::check(bytes, op));
        if record.version() > least {
            least = record.version();
        }
        ensure!(record.inputs == width, ImageError::Widths { op, given: width, wanted: record.inputs });
        check!(check_sections(bytes, op, &record, &mut sections));
        width = record.outputs;
        if padded(width) > widest {
            widest = padded(width);
        }
        op += 1;
    }
    ensure!(width == outputs, ImageError::Widths { op, given: width, wanted: outputs });
    // An image is of the oldest version that has all its operations, so that older readers take it, and it stays canonical.
    ensure!(version == least, ImageError::Header { field: "format version" });
    ensure!(scratch_width == widest, ImageError::Header { field: "row length of the scratch" });
    ensure!(sections.end == bytes.len() as u64, ImageError::Header { field: "length" });
    Ok(Image { bytes, ops, inputs, outputs, scratch_width })
}

const fn is_width(width: usize) -> bool {
    width >= 1 && width <= MAX_WIDTH
}

/// What an operation does.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Dense { f16: bool },
    ScaleShift,
    Activation,
    Softmax,
    LogSoftmax,
    PRelu,
    LayerNorm { eps: f32 },
}

/// An operation's record, as numbers.
#[derive(Clone, Copy)]
pub(crate) struct Record {
    pub(crate) kind: Kind,
    pub(crate) activation: Option<Activation>,
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    pub(crate) weights: u64,
    pub(crate) bias: u64,
}

impl Record {
    /// The record of a checked image.
    pub(crate) const fn read(bytes: &[u8], op: usize) -> Self {
        let at = HEADER + RECORD * op;
        let codes = u32_at(bytes, at).to_le_bytes();
        let kind = match codes[0] {
            1 => Kind::Dense { f16: codes[1] == 1 },
            2 => Kind::ScaleShift,
            3 => Kind::Activation,
            4 => Kind::Softmax,
            6 => Kind::LayerNorm { eps: f32::from_bits(u32_at(bytes, at + 4)) },
            7 => Kind::PRelu,
            _ => Kind::LogSoftmax,
        };
        Self {
            kind,
            activation: activation_of(codes[2], f32::from_bits(u32_at(bytes, at + 4))),
            inputs: u32_at(bytes, at + 8) as usize,
            outputs: u32_at(bytes, at + 12) as usize,
            weights: u64_at(bytes, at + 16),
            bias: u64_at(bytes, at + 24),
        }
    }

    /// The record, if all its fields are in range by themselves.
    const fn check(bytes: &[u8], op: usize) -> Result<Self, ImageError> {
        let at = HEADER + RECORD * op;
        let codes = u32_at(bytes, at).to_le_bytes();
        let record = Self::read(bytes, op);
        ensure!(codes[0] >= 1 && codes[0] <= 7, ImageError::Record { op, field: "kind" });
        let most = if matches!(record.kind, Kind::Dense { .. }) { 1 } else { 0 };
        ensure!(codes[1] <= most, ImageError::Record { op, field: "type of weights" });
        let (least, most) = match record.kind {
            Kind::Dense { .. } => (0, CODES),
            Kind::Activation => (1, CODES),
            _ => (0, 0),
        };
        ensure!(codes[2] >= least && codes[2] <= most, ImageError::Record { op, field: "activation" });
        ensure!(codes[3] == 0, ImageError::Record { op, field: "reserved" });
        let parameter = u32_at(bytes, at + 4);
        let (valid, field) = match record.kind {
            Kind::LayerNorm { eps } => (record.activation.is_none() && eps > 0.0 && eps <= 1.0, "eps"),
            _ => (is_parameter(record.activation, parameter), "parameter of the activation"),
        };
        ensure!(valid, ImageError::Record { op, field });
        ensure!(is_width(record.inputs), ImageError::Record { op, field: "inputs" });
        let same = matches!(record.kind, Kind::Dense { .. }) || record.inputs == record.outputs;
        ensure!(is_width(record.outputs) && same, ImageError::Record { op, field: "outputs" });
        Ok(record)
    }
}

/// Checks that an operation's sections are the next ones, with sound contents.
const fn check_sections(bytes: &[u8], op: usize, record: &Record, sections: &mut Sections) -> Result<(), ImageError> {
    let vector = vector_bytes(record.outputs);
    match record.kind {
        Kind::Dense { f16 } => {
            let len = weight_bytes(record.inputs, record.outputs, f16);
            let weights = check!(take(bytes, op, "weights", record.weights, len, sections));
            check!(finite(weights, op, "weights", f16));
            ensure!(lanes_are_zero(weights, record, f16), ImageError::Padding);
            if record.bias != 0 {
                let bias = check!(take(bytes, op, "bias", record.bias, vector, sections));
                check!(finite(bias, op, "bias", false));
                ensure!(is_zero(bias, 4 * record.outputs as u64, vector), ImageError::Padding);
            }
        }
        Kind::ScaleShift => {
            let parts = check!(take(bytes, op, "scale and shift", record.weights, 3 * vector, sections));
            check!(finite(parts, op, "scale and shift", false));
            let mut part = 0;
            while part < 3 {
                let padding = part * vector + 4 * record.outputs as u64;
                part += 1;
                ensure!(is_zero(parts, padding, part * vector), ImageError::Padding);
            }
            ensure!(record.bias == 0, ImageError::Record { op, field: "offset of bias" });
        }
        Kind::PRelu => {
            let slopes = check!(take(bytes, op, "slopes", record.weights, vector, sections));
            check!(finite(slopes, op, "slopes", false));
            ensure!(is_zero(slopes, 4 * record.outputs as u64, vector), ImageError::Padding);
            ensure!(record.bias == 0, ImageError::Record { op, field: "offset of bias" });
        }
        Kind::LayerNorm { .. } => {
            let parts = check!(take(bytes, op, "scale and shift", record.weights, 2 * vector, sections));
            check!(finite(parts, op, "scale and shift", false));
            let used = 4 * record.outputs as u64;
            ensure!(is_zero(parts, used, vector) && is_zero(parts, vector + used, 2 * vector), ImageError::Padding);
            ensure!(record.bias == 0, ImageError::Record { op, field: "offset of bias" });
        }
        Kind::Activation | Kind::Softmax | Kind::LogSoftmax => {
            ensure!(record.weights == 0, ImageError::Record { op, field: "offset of weights" });
            ensure!(record.bias == 0, ImageError::Record { op, field: "offset of bias" });
        }
    }
    Ok(())
}

/// The next section, if that is what the record says.
const fn take<'a>(
    bytes: &'a [u8],
    op: usize,
    part: &'static str,
    offset: u64,
    len: u64,
    sections: &mut Sections,
) -> Result<&'a [u8], ImageError> {
    let before = sections.end;
    let start = sections.place(len);
    match section(bytes, start, len) {
        Some(section) if start == offset => {
            ensure!(is_zero(bytes, before, start), ImageError::Padding);
            Ok(section)
        }
        _ => Err(ImageError::Section { op, part }),
    }
}

/// Checks that no value has the largest exponent, by its upper bytes: plain indices are what the compiler's own
/// interpreter runs fastest. (Into arrays of four or two, where they cannot panic.)
const fn finite(section: &[u8], op: usize, part: &'static str, f16: bool) -> Result<(), ImageError> {
    let mut index = 0;
    if f16 {
        let (values, _) = section.as_chunks::<2>();
        while index < values.len() {
            ensure!(values[index][1] & 0x7c != 0x7c, ImageError::NonFinite { op, part, index });
            index += 1;
        }
        return Ok(());
    }
    let (values, _) = section.as_chunks::<4>();
    while index < values.len() {
        let finite = values[index][3] & 0x7f != 0x7f || values[index][2] & 0x80 == 0;
        ensure!(finite, ImageError::NonFinite { op, part, index });
        index += 1;
    }
    Ok(())
}

/// Whether the lanes of the last panel that belong to no output (three at most) are zero.
const fn lanes_are_zero(weights: &[u8], record: &Record, f16: bool) -> bool {
    let outputs = record.outputs;
    let spare = panels::lanes(outputs) - outputs;
    if spare == 0 {
        return true;
    }
    let size: u64 = if f16 { 2 } else { 4 };
    let panel = outputs / LANES;
    let mut input = 0;
    while input < record.inputs {
        let group =
            (panel * LANES) as u64 * record.inputs as u64 + input as u64 * panels::panel_width(outputs, panel) as u64;
        let first = size * (group + (outputs % LANES) as u64);
        if !is_zero(weights, first, first + size * spare as u64) {
            return false;
        }
        input += 1;
    }
    true
}

/// Whether the bytes from `start` to `end` exist and are zero.
const fn is_zero(bytes: &[u8], start: u64, end: u64) -> bool {
    let Some(mut rest) = section(bytes, start, end.saturating_sub(start)) else { return false };
    while let [byte, tail @ ..] = rest {
        if *byte != 0 {
            return false;
        }
        rest = tail;
    }
    true
}

const fn check_metadata(bytes: &[u8], outputs: usize) -> Result<(), ImageError> {
    // An empty section would read as no names.
    ensure!(u32_at(bytes, at::METADATA_LEN) >= 8, ImageError::Metadata);
    let (count, mut texts) = metadata(bytes);
    ensure!(count == 0 || count == outputs, ImageError::Metadata);
    let mut left = count + 1;
    while left > 0 {
        let Some(text) = texts.take_bytes() else { return Err(ImageError::Metadata) };
        ensure!(core::str::from_utf8(text).is_ok(), ImageError::Text);
        left -= 1;
    }
    ensure!(texts.rest.is_empty(), ImageError::Metadata);
    Ok(())
}

// A section's start is a multiple of 64, and so is the image's: its values are aligned.
const _: () = assert!(ALIGN.is_multiple_of(align_of::<f32>()) && HEADER.is_multiple_of(ALIGN));

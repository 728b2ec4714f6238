//! The image format (`.keel`): a folded network as bytes that run where they lie.
//!
//! An image is written once by [`export`](crate::export) and then only borrowed: [`Image::new`] checks everything
//! about the bytes and copies none of them. All numbers are little-endian, all weights lie as the kernels read them,
//! so flash, a mapped file and a heap buffer serve alike, if they start at a multiple of 64 bytes ([`Aligned`],
//! `AlignedBytes`).
//!
//! | bytes | field | |
//! |---|---|---|
//! | 0..4 | magic | `KEEL` |
//! | 4..6 | format version, `u16` | the oldest that has all its operations, at most [`FORMAT_VERSION`] |
//! | 6..8 | numeric contract version, `u16` | [`NUMERIC_CONTRACT`]: which bits the image promises |
//! | 8..16 | length of the image, `u64` | |
//! | 16..20 | checksum, `u32` | CRC-32 (IEEE) of all bytes but these four |
//! | 20..24 | number of operations, `u32` | at most [`MAX_OPS`] |
//! | 24..28, 28..32 | inputs and outputs, `u32` each | 1 to [`MAX_WIDTH`](crate::layer::MAX_WIDTH) |
//! | 32..36 | row length of the scratch, `u32` | the widest row, padded to sixteen |
//! | 36..40 | flags, `u32` | bit 0: the standardisation of the inputs is folded in |
//! | 40..44 | offset of the operations, `u32` | 64 |
//! | 44..48, 48..52 | offset and length of the metadata, `u32` each | directly after the operations |
//! | 52..56 | offset of the payload, `u32` | the next multiple of 64 |
//! | 56..64 | reserved | 0 |
//!
//! Each operation is a record of 32 bytes:
//!
//! | bytes | field | |
//! |---|---|---|
//! | 0 | kind | 1 dense, 2 scale and shift, 3 activation, 4 softmax, 5 log-softmax; since version 2: 6 layer norm, 7 PReLU |
//! | 1 | weights | 0 `f32`, 1 `f16` (dense only) |
//! | 2 | activation | 0 none, 1 relu, 2 leaky relu, 3 sigmoid, 4 tanh, 5 gelu, 6 silu (dense: applied last); since version 2: 7 elu, 8 selu, 9 celu, 10 gelu's tanh form, 11 softplus, 12 softsign, 13 hard sigmoid, 14 hard swish, 15 relu6, 16 mish, 17 thresholded relu |
//! | 3 | reserved | 0 |
//! | 4..8 | parameter of the activation, `f32` | slope, alpha, beta or theta; eps of a layer norm; 0 if it has none |
//! | 8..12, 12..16 | inputs and outputs, `u32` each | equal, but for dense |
//! | 16..24 | offset of weights, of centre, scale and shift, of a layer norm's scale and shift, or of slopes, `u64` | 0: none |
//! | 24..32 | offset of bias, `u64` | 0: none |
//!
//! Metadata: the number of class names (`u32`: none, or as many as outputs), then each name and at last a free text,
//! as `u32` length and UTF-8.
//!
//! Payload: the sections of the operations in their order, each at the next multiple of 64: weights as
//! [`panels`] has them, a bias as `f32` padded with zeros to sixteen, centre, scale and shift likewise in one section, and slopes. Gaps are zero. So the same network has one image only, and no two sections can overlap.
//!
//! Checking is `const`: [`include_model!`](crate::include_model) has an image checked by the compiler.

mod check;
mod codes;
mod crc;
mod edit;
mod error;
mod message;
mod op;
#[cfg(feature = "alloc")]
mod owned;
mod read;
pub mod uses;

pub use crc::checksum;
pub use edit::ImageMut;
pub use error::ImageError;
pub use message::Message;
pub use op::{Op, Weights};
#[cfg(feature = "alloc")]
pub use owned::AlignedBytes;

use crate::kernels::panels;
use crate::layer::{MAX_LAYERS, padded};
pub(crate) use check::{Kind, Record};
pub(crate) use codes::code_of;

/// The first four bytes.
pub const MAGIC: [u8; 4] = *b"KEEL";
/// The newest format this crate writes; it reads all from 1 on.
///
/// Version 2 (2026-11-23) has more activations, and PReLU. An image is of the oldest version that has all its operations.
pub const FORMAT_VERSION: u16 = 2;
/// The numeric contract whose bits an image of this crate gives: order of sums, polynomials, layout of panels.
pub const NUMERIC_CONTRACT: u16 = 1;
/// Alignment of an image and of every section in it, in bytes: a cache line, and the widest vector register.
pub const ALIGN: usize = 64;
/// The largest number of operations: one per layer, and a scale and shift for the inputs.
pub const MAX_OPS: usize = MAX_LAYERS + 1;

/// Bytes of the header.
pub(crate) const HEADER: usize = 64;
/// Bytes of one operation's record.
pub(crate) const RECORD: usize = 32;
/// Where the header's fields lie.
pub(crate) mod at {
    pub(crate) const VERSION: usize = 4;
    pub(crate) const CONTRACT: usize = 6;
    pub(crate) const LENGTH: usize = 8;
    pub(crate) const CHECKSUM: usize = 16;
    pub(crate) const OPS: usize = 20;
    pub(crate) const INPUTS: usize = 24;
    pub(crate) const OUTPUTS: usize = 28;
    pub(crate) const SCRATCH: usize = 32;
    pub(crate) const FLAGS: usize = 36;
    pub(crate) const TABLE: usize = 40;
    pub(crate) const METADATA: usize = 44;
    pub(crate) const METADATA_LEN: usize = 48;
    pub(crate) const PAYLOAD: usize = 52;
    pub(crate) const RESERVED: usize = 56;
}
/// Flag: the standardisation of the inputs is folded in.
pub(crate) const STANDARDISED: u32 = 1;

/// Bytes (or any value) at a multiple of 64.
///
/// `include_bytes!` promises no alignment; `&Aligned(*include_bytes!("model.keel"))` does, and coerces to the
/// `&Aligned<[u8]>` that [`Image::from_aligned`] takes. [`include_model!`](crate::include_model) does both.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct Aligned<T: ?Sized>(
    /// The value.
    pub T,
);

/// Places the payload's sections: one behind the other, each at a multiple of 64.
///
/// In `u64`, where no network of at most [`MAX_OPS`] operations of at most [`MAX_WIDTH`] can overflow.
#[derive(Clone, Copy)]
pub(crate) struct Sections {
    /// Where the last one ended.
    pub(crate) end: u64,
}

impl Sections {
    /// The first section may begin at or after `end`.
    pub(crate) const fn after(end: u64) -> Self {
        Self { end: end.next_multiple_of(ALIGN as u64) }
    }

    /// The offset of the next section, of `len` bytes.
    pub(crate) const fn place(&mut self, len: u64) -> u64 {
        let start = self.end.next_multiple_of(ALIGN as u64);
        self.end = start + len;
        start
    }
}

/// Bytes of a dense layer's weights.
pub(crate) const fn weight_bytes(inputs: usize, outputs: usize, f16: bool) -> u64 {
    inputs as u64 * panels::lanes(outputs) as u64 * if f16 { 2 } else { 4 }
}

/// Bytes of a bias, centre, scale or shift.
pub(crate) const fn vector_bytes(features: usize) -> u64 {
    4 * padded(features) as u64
}

/// A checked image, borrowing its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Image<'a> {
    bytes: &'a [u8],
    ops: usize,
    inputs: usize,
    outputs: usize,
    scratch_width: usize,
}

impl<'a> Image<'a> {
    /// Checks `bytes`, which must be one whole image at a multiple of 64 bytes, and borrows them.
    ///
    /// Takes one pass over the bytes. What is checked: magic, versions, length, checksum, every field and offset,
    /// that widths join, that every weight is finite and all padding zero, and that texts are UTF-8.
    ///
    /// # Errors
    /// [`ImageError`] says what is wrong; [`ImageError::Misaligned`] only where the bytes lie.
    pub fn new(bytes: &'a [u8]) -> Result<Self, ImageError> {
        if !(bytes.as_ptr() as usize).is_multiple_of(ALIGN) {
            return Err(ImageError::Misaligned);
        }
        check::image(bytes)
    }

    /// As [`Image::new`], for bytes whose type says that they are aligned: usable in a `const`.
    ///
    /// Checking costs the compiler some six seconds per megabyte; above 250 KB it wants
    /// `#[allow(long_running_const_eval)]` on the item. At run time it is three milliseconds per megabyte.
    ///
    /// # Errors
    /// [`ImageError`] says what is wrong.
    pub const fn from_aligned(bytes: &'a Aligned<[u8]>) -> Result<Self, ImageError> {
        check::image(&bytes.0)
    }

    /// An image whose bytes were checked before.
    #[cfg(feature = "ffi")]
    pub(crate) const fn checked_before(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            ops: read::u32_at(bytes, at::OPS) as usize,
            inputs: read::u32_at(bytes, at::INPUTS) as usize,
            outputs: read::u32_at(bytes, at::OUTPUTS) as usize,
            scratch_width: read::u32_at(bytes, at::SCRATCH) as usize,
        }
    }

    /// The first `ops` operations of the image, over the same bytes and with the same scratch.
    ///
    /// Its outputs are what those layers give to the ones behind, which may be trained anew on the device while the
    /// front stays in flash ([`export::refold`](crate::export::refold)). Texts and checksum remain those of the whole image.
    ///
    /// ```
    /// mod xor {
    ///     evenkeel::include_model!(concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/seeds/image/xor.keel"));
    /// }
    /// let front = xor::IMAGE.front(xor::IMAGE.op_count() - 1)?;
    /// assert_eq!((front.inputs(), front.outputs(), front.ops().len()), (2, 4, 1));
    /// assert!(xor::IMAGE.front(3).is_err());
    /// # Ok::<(), evenkeel::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Ops`](crate::Error::Ops) if the image has fewer operations.
    pub const fn front(&self, ops: usize) -> Result<Self, crate::Error> {
        if ops > self.ops {
            return Err(crate::Error::Ops { ops, found: self.ops });
        }
        Ok(Self { ops, outputs: self.width_before(ops), ..*self })
    }

    /// The image's bytes.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Number of input features.
    #[must_use]
    pub const fn inputs(&self) -> usize {
        self.inputs
    }

    /// Number of output features.
    #[must_use]
    pub const fn outputs(&self) -> usize {
        self.outputs
    }

    /// The widest row anywhere in the network, padded to sixteen.
    #[must_use]
    pub const fn scratch_width(&self) -> usize {
        self.scratch_width
    }

    /// Whether the standardisation of the inputs is folded in: then the network takes raw values.
    #[must_use]
    pub const fn is_standardised(&self) -> bool {
        read::u32_at(self.bytes, at::FLAGS) & STANDARDISED != 0
    }

    /// Number of operations.
    #[must_use]
    pub const fn op_count(&self) -> usize {
        self.ops
    }

    /// Width of the rows that enter operation `op`; of the outputs, for the number of operations or more.
    #[must_use]
    pub const fn width_before(&self, op: usize) -> usize {
        if op < self.ops { Record::read(self.bytes, op).inputs } else { self.outputs }
    }

    /// The record of operation `op`, which the image has.
    pub(crate) const fn record(&self, op: usize) -> Record {
        Record::read(self.bytes, op)
    }

    /// The operations, in order.
    pub fn ops(&self) -> impl ExactSizeIterator<Item = Op<'a>> + use<'a> {
        let image = *self;
        (0..image.ops).map(move |index| image.op(Record::read(image.bytes, index)))
    }

    /// The operation of a record, with its sections cast to numbers.
    ///
    /// The sections were found to be inside the image and aligned when it was checked; should they not be, they come
    /// out empty, and the kernels refuse them.
    fn op(&self, record: Record) -> Op<'a> {
        let Record { inputs, outputs, activation, .. } = record;
        let vector = |offset| cast(read::section(self.bytes, offset, vector_bytes(outputs)));
        match (record.kind, activation) {
            (Kind::Dense { f16 }, _) => {
                let weights = read::section(self.bytes, record.weights, weight_bytes(inputs, outputs, f16));
                let weights = if f16 { Weights::F16(cast(weights)) } else { Weights::F32(cast(weights)) };
                let bias = if record.bias == 0 { None } else { Some(vector(record.bias)) };
                Op::Dense { inputs, outputs, weights, bias, activation }
            }
            (Kind::ScaleShift, _) => {
                let [center, scale, shift] =
                    [0, 1, 2].map(|part| vector(record.weights.saturating_add(part * vector_bytes(outputs))));
                Op::ScaleShift { features: outputs, center, scale, shift }
            }
            (Kind::PRelu, _) => Op::PRelu { features: outputs, slopes: vector(record.weights) },
            (Kind::LayerNorm { eps }, _) => {
                let [scale, shift] =
                    [0, 1].map(|part| vector(record.weights.saturating_add(part * vector_bytes(outputs))));
                Op::LayerNorm { features: outputs, eps, scale, shift }
            }
            (Kind::Softmax, _) => Op::Softmax { features: outputs },
            (Kind::Activation, Some(activation)) => Op::Activation { features: outputs, activation },
            (Kind::LogSoftmax, _) | (Kind::Activation, None) => Op::LogSoftmax { features: outputs },
        }
    }

    /// The stored checksum: two images with the same one are the same, unless somebody meant them to look so.
    #[must_use]
    pub const fn checksum(&self) -> u32 {
        read::u32_at(self.bytes, at::CHECKSUM)
    }

    /// Number of class names: 0, or the number of outputs.
    #[must_use]
    pub const fn classes(&self) -> usize {
        read::metadata(self.bytes).0
    }

    /// The names of the outputs: none, or as many as there are outputs.
    pub fn class_names(&self) -> impl ExactSizeIterator<Item = &'a str> + use<'a> {
        let (count, mut texts) = read::metadata(self.bytes);
        (0..count).map(move |_| texts.take().unwrap_or(""))
    }

    /// The name of output `class`, if outputs have names.
    #[must_use]
    pub const fn class_name(&self, class: usize) -> Option<&'a str> {
        let (count, mut texts) = read::metadata(self.bytes);
        if class >= count {
            return None;
        }
        let mut before = 0;
        while before < class {
            texts.take();
            before += 1;
        }
        texts.take()
    }

    /// The free text, for instance where the network comes from.
    #[must_use]
    pub fn note(&self) -> &'a str {
        let (count, mut texts) = read::metadata(self.bytes);
        for _ in 0..count {
            texts.take();
        }
        texts.take().unwrap_or("")
    }
}

/// A section as numbers; empty if there is none.
fn cast<T: bytemuck::Pod>(section: Option<&[u8]>) -> &[T] {
    section.and_then(|section| bytemuck::try_cast_slice(section).ok()).unwrap_or(&[])
}

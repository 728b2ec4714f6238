//! The C interface: inference on an image, with memory that the caller owns. `include/evenkeel.h` is its header.
//!
//! Core ring. `ffi/` builds it as a static library. C cannot promise what a slice promises, so whatever can be looked
//! at is looked at before anything is touched: null pointers, alignment, lengths, buffers that overlap, a network that was
//! never opened. What cannot be seen from here, that the memory behind a pointer is as long as said, stands in the header.
//! Functions return a [`Status`] and never unwind.
//!
//! The one place of `unsafe` besides `simd`: what C hands in are pointers, which become slices in `shared` and `exclusive`.
#![allow(unsafe_code)]

use core::ffi::{CStr, c_char};

use crate::image::{ALIGN, ImageError};
use crate::{Error, Image, Level, Net, Serial};

/// What a function says. Numbers stay what they are; new ones may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[repr(i32)]
pub enum Status {
    /// Done.
    Ok = 0,
    /// A pointer is null.
    Null = 1,
    /// A pointer is not aligned for what it points to.
    Misaligned = 2,
    /// A length does not fit the network.
    Length = 3,
    /// Two buffers share memory.
    Overlap = 4,
    /// The network was not opened, or changed since.
    NotOpen = 5,
    /// No class has this index, or classes have no names.
    NoClass = 6,
    /// Images are little-endian, this machine is not.
    BigEndian = 16,
    /// The image does not begin at a multiple of 64 bytes.
    ImageMisaligned = 17,
    /// Fewer bytes than a header has.
    ImageTooShort = 18,
    /// These bytes are no image.
    ImageMagic = 19,
    /// The image has another version of the format.
    ImageVersion = 20,
    /// The image was made for another numeric contract.
    ImageContract = 21,
    /// The image was cut off, or something follows it.
    ImageLength = 22,
    /// The image was changed.
    ImageChecksum = 23,
    /// A field of the image is out of its range.
    ImageField = 24,
    /// A NaN or an infinity among the parameters.
    ImageValue = 25,
    /// A text in the image is not what it must be.
    ImageText = 26,
    /// Refused for a reason that has no number yet.
    Other = 127,
}

impl Status {
    /// All of them.
    pub const ALL: [Status; 19] = {
        use Status::*;
        [
            Ok,
            Null,
            Misaligned,
            Length,
            Overlap,
            NotOpen,
            NoClass,
            BigEndian,
            ImageMisaligned,
            ImageTooShort,
            ImageMagic,
            ImageVersion,
            ImageContract,
            ImageLength,
            ImageChecksum,
            ImageField,
            ImageValue,
            ImageText,
            Other,
        ]
    };

    /// What is wrong, and what would be right.
    #[must_use]
    pub const fn message(self) -> &'static CStr {
        match self {
            Status::Ok => c"done",
            Status::Null => c"a pointer is null",
            Status::Misaligned => c"a pointer is not aligned: floats lie at multiples of 4 bytes",
            Status::Length => {
                c"a length does not fit: whole rows of input, as many of output, and evenkeel_scratch values"
            }
            Status::Overlap => c"two buffers share memory: input, output, scratch and image need places of their own",
            Status::NotOpen => c"the network was not opened: call evenkeel_open first and look at what it returns",
            Status::NoClass => c"there is no class of this index, or the image has no names",
            Status::BigEndian => c"images are little-endian: a big-endian machine cannot run them",
            Status::ImageMisaligned => c"the image does not begin at a multiple of 64 bytes: use EVENKEEL_ALIGNED",
            Status::ImageTooShort => c"too few bytes for an image: was it cut off?",
            Status::ImageMagic => c"this is no image: give what evenkeel export wrote",
            Status::ImageVersion => c"the image has another format version: export it again, or use another evenkeel",
            Status::ImageContract => {
                c"the image has another numeric contract: export it again, or use another evenkeel"
            }
            Status::ImageLength => c"the length is not the one that the image states: pass exactly the image",
            Status::ImageChecksum => c"the image is damaged: copy or export it again",
            Status::ImageField => c"a field of the image is invalid: export it again",
            Status::ImageValue => c"a parameter of the image is NaN or infinite: export a sound network",
            Status::ImageText => c"a text of the image is invalid: export it again",
            Status::Other => c"refused; this version has no number for the reason",
        }
    }
}

impl From<ImageError> for Status {
    fn from(error: ImageError) -> Self {
        match error {
            ImageError::BigEndian => Status::BigEndian,
            ImageError::Misaligned => Status::ImageMisaligned,
            ImageError::TooShort { .. } => Status::ImageTooShort,
            ImageError::Magic => Status::ImageMagic,
            ImageError::FormatVersion { .. } => Status::ImageVersion,
            ImageError::NumericContract { .. } => Status::ImageContract,
            ImageError::Length { .. } => Status::ImageLength,
            ImageError::Checksum { .. } => Status::ImageChecksum,
            ImageError::Header { .. }
            | ImageError::Record { .. }
            | ImageError::Widths { .. }
            | ImageError::Section { .. }
            | ImageError::Padding => Status::ImageField,
            ImageError::NonFinite { .. } => Status::ImageValue,
            ImageError::Metadata | ImageError::Text => Status::ImageText,
        }
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        match error {
            Error::Length { .. } => Status::Length,
            _ => Status::Other,
        }
    }
}

/// `evenkeel_net`: an image that was checked. The caller owns it, and may copy and forget it.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Opened {
    image: *const u8,
    length: usize,
    /// A function of the two above: memory that was not set by [`evenkeel_open`] has another value.
    seal: usize,
}

impl Opened {
    fn seal_of(image: *const u8, length: usize) -> usize {
        (image as usize).rotate_left(7) ^ length ^ 0x6b65_656c
    }
}

/// Whether `count` values of type `T` may lie at `values`.
fn check<T>(values: *const T, count: usize) -> Result<(), Status> {
    if values.is_null() {
        return Err(Status::Null);
    }
    if !values.is_aligned() {
        return Err(Status::Misaligned);
    }
    let bytes = count.checked_mul(size_of::<T>()).filter(|bytes| isize::try_from(*bytes).is_ok());
    match bytes.and_then(|bytes| (values as usize).checked_add(bytes)) {
        Some(_) => Ok(()),
        None => Err(Status::Length),
    }
}

/// The values at a pointer, to read.
///
/// # Safety
/// They are there, and nobody writes to them while the result is used.
unsafe fn shared<'a, T: bytemuck::Pod>(values: *const T, count: usize) -> Result<&'a [T], Status> {
    check(values, count)?;
    // SAFETY: not null, aligned, at most `isize::MAX` bytes and not around the end of the address space, as `check` found.
    // That the values are there, and that nobody writes to them, the caller promises; any bits are a value of a `Pod`.
    Ok(unsafe { core::slice::from_raw_parts(values, count) })
}

/// The values at a pointer, to write.
///
/// # Safety
/// They are there, and nobody else uses them while the result is used; what was never set is not read from it.
unsafe fn exclusive<'a, T: bytemuck::Pod>(values: *mut T, count: usize) -> Result<&'a mut [T], Status> {
    check(values, count)?;
    // SAFETY: as in `shared`; that nobody else uses the values, the caller promises.
    Ok(unsafe { core::slice::from_raw_parts_mut(values, count) })
}

/// The network that was opened.
///
/// # Safety
/// `net` is null or points to an [`Opened`]; if [`evenkeel_open`] set it, the image is still there, unchanged.
unsafe fn network<'a>(net: *const Opened) -> Result<Net<'a>, Status> {
    check(net, 1)?;
    // SAFETY: not null and aligned; the caller promises that an `Opened` is there. Each of its fields may have any bits.
    let Opened { image, length, seal } = unsafe { *net };
    if image.is_null() || seal != Opened::seal_of(image, length) {
        return Err(Status::NotOpen);
    }
    // SAFETY: the seal says that these are the bytes that were given to `evenkeel_open`; the caller promises that they are
    // still there and stay as they are.
    let bytes = unsafe { shared(image, length) }?;
    Ok(Net::new(Image::checked_before(bytes)))
}

/// Whether two ranges of memory have a byte in common.
fn overlap<T, U>(a: *const T, a_count: usize, b: *const U, b_count: usize) -> bool {
    let (a, b) = (a as usize, b as usize);
    a < b.saturating_add(b_count.saturating_mul(size_of::<U>()))
        && b < a.saturating_add(a_count.saturating_mul(size_of::<T>()))
}

fn status(result: Result<(), Status>) -> Status {
    match result {
        Ok(()) => Status::Ok,
        Err(status) => status,
    }
}

/// Checks `length` bytes at `image` and sets `net`. On a refusal `net` becomes one that is not open.
///
/// # Safety
/// `net` is null or may be written. `image` is null or `length` bytes are there, and stay as they are while `net` or a copy
/// of it is used.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evenkeel_open(net: *mut Opened, image: *const u8, length: usize) -> Status {
    status(check(net, 1).and_then(|()| {
        // SAFETY: the caller promises that the bytes are there and stay as they are.
        let bytes = unsafe { shared(image, length) };
        let checked = bytes.and_then(|bytes| Ok(Image::new(bytes)?));
        let opened = match checked {
            Ok(_) => Opened { image, length, seal: Opened::seal_of(image, length) },
            Err(_) => Opened { image: core::ptr::null(), length: 0, seal: 0 },
        };
        // SAFETY: not null and aligned, and the caller promises that it may be written; an `Opened` has nothing to drop.
        unsafe { net.write(opened) };
        checked.map(|_| ())
    }))
}

/// Values of a row that goes in; 0 if `net` is not open.
///
/// # Safety
/// `net` is null or points to an `evenkeel_net`; if it was opened, the image is still there, unchanged.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evenkeel_inputs(net: *const Opened) -> usize {
    // SAFETY: the caller's promise is the one that is asked for.
    unsafe { network(net) }.map_or(0, |net| net.inputs())
}

/// Values of a row that comes out; 0 if `net` is not open.
///
/// # Safety
/// As [`evenkeel_inputs`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evenkeel_outputs(net: *const Opened) -> usize {
    // SAFETY: the caller's promise is the one that is asked for.
    unsafe { network(net) }.map_or(0, |net| net.outputs())
}

/// Values of scratch for `rows` rows at a time; 0 if `net` is not open.
///
/// # Safety
/// As [`evenkeel_inputs`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evenkeel_scratch(net: *const Opened, rows: usize) -> usize {
    // SAFETY: the caller's promise is the one that is asked for.
    unsafe { network(net) }.map_or(0, |net| net.scratch_len(rows))
}

/// Runs the network on as many rows as `input` holds; all lengths in values, as [`Net::infer`] has them. A refusal leaves
/// `output` as it was.
///
/// # Safety
/// `net` as for [`evenkeel_inputs`]. Each pointer is null or points to as many values as its length says; nobody
/// else writes to `input`, or uses `output` and `scratch`, while the function runs.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evenkeel_run(
    net: *const Opened,
    input: *const f32,
    input_length: usize,
    output: *mut f32,
    output_length: usize,
    scratch: *mut f32,
    scratch_length: usize,
) -> Status {
    let run = || {
        // SAFETY: the caller's promise is the one that is asked for.
        let net = unsafe { network(net) }?;
        check(input, input_length)?;
        check(output, output_length)?;
        check(scratch, scratch_length)?;
        let image = net.image().bytes();
        if overlap(input, input_length, output, output_length)
            || overlap(input, input_length, scratch, scratch_length)
            || overlap(output, output_length, scratch, scratch_length)
            || overlap(image.as_ptr(), image.len(), output, output_length)
            || overlap(image.as_ptr(), image.len(), scratch, scratch_length)
        {
            return Err(Status::Overlap);
        }
        // SAFETY: the caller promises that the values are there and nobody writes to them; what is written here does not
        // overlap them, as was just seen.
        let input = unsafe { shared(input, input_length) }?;
        // SAFETY: the caller promises that the values are there and nobody else uses them; they do not overlap the input,
        // the image or each other. Inference writes each value of both before it reads it.
        let (output, scratch) = unsafe { (exclusive(output, output_length)?, exclusive(scratch, scratch_length)?) };
        Ok(net.infer(Level::detect(), &Serial, input, output, scratch)?)
    };
    status(run())
}

/// Index of the first of the largest values; `length`, which is no index, if there are none or `row` is invalid.
///
/// # Safety
/// `row` is null or points to `length` values.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evenkeel_best(row: *const f32, length: usize) -> usize {
    // SAFETY: the caller's promise is the one that is asked for.
    match unsafe { shared(row, length) } {
        Ok(row) if !row.is_empty() => crate::train::loss::best(row),
        _ => length,
    }
}

/// The name of class `index`: UTF-8 inside the image, `length` bytes with no zero behind them.
///
/// # Safety
/// `net` as for [`evenkeel_inputs`]; `name` and `length` are null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evenkeel_class_name(
    net: *const Opened,
    index: usize,
    name: *mut *const c_char,
    length: *mut usize,
) -> Status {
    let find = || {
        // SAFETY: the caller's promise is the one that is asked for.
        let net = unsafe { network(net) }?;
        check(name, 1)?;
        check(length, 1)?;
        let text = net.image().class_name(index).ok_or(Status::NoClass)?;
        // SAFETY: neither is null, both are aligned, and the caller promises that they may be written.
        unsafe {
            name.write(text.as_ptr().cast());
            length.write(text.len());
        }
        Ok(())
    };
    status(find())
}

/// What a status means, as one line of ASCII with a zero at its end; of any number.
#[unsafe(no_mangle)]
pub extern "C" fn evenkeel_message(status: i32) -> *const c_char {
    let known = Status::ALL.into_iter().find(|known| *known as i32 == status);
    known.map_or(c"no status of evenkeel", Status::message).as_ptr()
}

// The alignment of an image is checked by `Image::new`; this is what `EVENKEEL_ALIGNED` in the header says.
const _: () = assert!(ALIGN == 64);

//! An image whose weights may be replaced, as long as it stays an image.

use super::{Image, ImageError, at, checksum};

/// A checked image in memory that may be written to: [`set_tail`](ImageMut::set_tail) gives it new weights.
#[derive(Debug)]
pub struct ImageMut<'a> {
    bytes: &'a mut [u8],
    ops: usize,
    inputs: usize,
    outputs: usize,
    scratch_width: usize,
}

impl<'a> ImageMut<'a> {
    /// Checks `bytes` as [`Image::new`] does.
    ///
    /// # Errors
    /// As [`Image::new`].
    pub fn new(bytes: &'a mut [u8]) -> Result<Self, ImageError> {
        let Image { ops, inputs, outputs, scratch_width, .. } = Image::new(bytes)?;
        Ok(Self { bytes, ops, inputs, outputs, scratch_width })
    }

    /// The image as it is now; nothing has to be checked again.
    #[must_use]
    pub const fn image(&self) -> Image<'_> {
        let Self { ops, inputs, outputs, scratch_width, .. } = *self;
        Image { bytes: self.bytes, ops, inputs, outputs, scratch_width }
    }

    /// Replaces a stored number by one that an image may hold there.
    pub(crate) fn put(&mut self, at: usize, value: &[u8]) {
        if let Some(place) = self.bytes.get_mut(at..).and_then(|rest| rest.get_mut(..value.len())) {
            place.copy_from_slice(value);
        }
    }

    /// Renews the checksum.
    pub(crate) fn seal(&mut self) {
        let crc = checksum(self.bytes);
        self.put(at::CHECKSUM, &crc.to_le_bytes());
    }
}

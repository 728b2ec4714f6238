//! Image bytes on the heap.

use alloc::vec::Vec;
use core::ops::{Deref, DerefMut};

use super::ALIGN;

/// Owned bytes that begin at a multiple of 64, as an image must.
///
/// Read a file into one to view it: `AlignedBytes::from(&bytes[..])`, or [`AlignedBytes::zeroed`] and `read_exact`.
#[derive(Debug)]
pub struct AlignedBytes {
    /// Longer than needed by what alignment may take; never grows, so its address stays.
    bytes: Vec<u8>,
    start: usize,
    len: usize,
}

impl AlignedBytes {
    /// `len` zeros.
    #[must_use]
    pub fn zeroed(len: usize) -> Self {
        let bytes = alloc::vec![0; len.saturating_add(ALIGN - 1)];
        let start = (bytes.as_ptr() as usize).wrapping_neg() % ALIGN;
        Self { bytes, start, len }
    }
}

impl Deref for AlignedBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[self.start..][..self.len]
    }
}

impl DerefMut for AlignedBytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..][..self.len]
    }
}

impl AsRef<[u8]> for AlignedBytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl From<&[u8]> for AlignedBytes {
    fn from(bytes: &[u8]) -> Self {
        let mut copy = Self::zeroed(bytes.len());
        copy.copy_from_slice(bytes);
        copy
    }
}

// Not derived: the copy of the vector has its own address, hence its own start.
impl Clone for AlignedBytes {
    fn clone(&self) -> Self {
        Self::from(&**self)
    }
}

impl PartialEq for AlignedBytes {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for AlignedBytes {}

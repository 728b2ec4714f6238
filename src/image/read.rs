//! Readers of numbers, sections and texts, for the check and for what a checked image is asked.
//!
//! Must not panic on any bytes: reads return nothing, or zero, beyond the end.

use super::at;

/// `N` bytes from `at` on.
const fn read<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    match bytes.split_at_checked(at) {
        Some((_, rest)) => match rest.first_chunk() {
            Some(chunk) => Some(*chunk),
            None => None,
        },
        None => None,
    }
}

/// The number at `at`, 0 if the bytes end before.
pub(super) const fn u32_at(bytes: &[u8], at: usize) -> u32 {
    match read(bytes, at) {
        Some(bytes) => u32::from_le_bytes(bytes),
        None => 0,
    }
}

pub(super) const fn u16_at(bytes: &[u8], at: usize) -> u16 {
    match read(bytes, at) {
        Some(bytes) => u16::from_le_bytes(bytes),
        None => 0,
    }
}

pub(super) const fn u64_at(bytes: &[u8], at: usize) -> u64 {
    match read(bytes, at) {
        Some(bytes) => u64::from_le_bytes(bytes),
        None => 0,
    }
}

/// `len` bytes from `start` on, if there are as many.
pub(super) const fn section(bytes: &[u8], start: u64, len: u64) -> Option<&[u8]> {
    match start.checked_add(len) {
        // Both fit a `usize`, as the slice's length does.
        Some(end) if end <= bytes.len() as u64 => match bytes.split_at_checked(start as usize) {
            Some((_, rest)) => match rest.split_at_checked(len as usize) {
                Some((section, _)) => Some(section),
                None => None,
            },
            None => None,
        },
        _ => None,
    }
}

/// Texts one after the other, each with its length before it.
#[derive(Clone, Copy)]
pub(super) struct Texts<'a> {
    pub(super) rest: &'a [u8],
}

impl<'a> Texts<'a> {
    /// The next text's bytes.
    pub(super) const fn take_bytes(&mut self) -> Option<&'a [u8]> {
        let Some((len, rest)) = self.rest.split_first_chunk() else { return None };
        let len = u32::from_le_bytes(*len);
        if len as u64 > rest.len() as u64 {
            return None;
        }
        match rest.split_at_checked(len as usize) {
            Some((text, rest)) => {
                self.rest = rest;
                Some(text)
            }
            None => None,
        }
    }

    /// The next text.
    pub(super) const fn take(&mut self) -> Option<&'a str> {
        match self.take_bytes() {
            Some(text) => match core::str::from_utf8(text) {
                Ok(text) => Some(text),
                Err(_) => None,
            },
            None => None,
        }
    }
}

/// Number of class names, and the texts.
pub(super) const fn metadata(bytes: &[u8]) -> (usize, Texts<'_>) {
    let start = u32_at(bytes, at::METADATA) as u64;
    let rest = match section(bytes, start, u32_at(bytes, at::METADATA_LEN) as u64) {
        Some(section) => section,
        None => &[],
    };
    match rest.split_first_chunk() {
        Some((count, rest)) => (u32::from_le_bytes(*count) as usize, Texts { rest }),
        None => (0, Texts { rest }),
    }
}

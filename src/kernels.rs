//! The arithmetic: each kernel one generic function over [`Simd`](crate::simd::Simd), each with a safe slice entry.
//!
//! A kernel does not allocate, does not know about layers or networks, and divides its own work through
//! [`Split`](crate::split::Split). The order of every sum is the numeric contract's (`DESIGN.md`), so an entry's
//! result depends on its arguments and on whether the level is exact, on nothing else.
//!
//! Activations lie in groups of sixteen features ([`groups`]), the last one filled up ([`padded`](crate::layer::padded));
//! what fills it up is zero where a dense layer or a loss writes, and stays finite everywhere.

pub mod accumulate;
pub mod activation;
pub mod batchnorm;
pub mod dense;
pub mod dropout;
pub mod groups;
pub mod layernorm;
pub mod math;
pub mod noise;
pub mod panels;
pub mod reduce;
pub mod softmax;
pub mod sparse;

/// Length of the chains that sums over an inner dimension or over rows are made of (numeric contract, 2 and 3).
pub const BLOCK: usize = 256;

/// Bytes that leave room for others in the second cache of most machines. A guess: it decides the order of visits, never a
/// result.
pub(crate) const SECOND_CACHE: usize = 1 << 20;

/// `len` values from `start` on. Every entry has checked its lengths, so they are there; should they not be, nothing comes
/// out. Unlike an index it has no panic, which firmware would have to link.
#[inline(always)]
pub(crate) fn part<T>(values: &[T], start: usize, len: usize) -> &[T] {
    values.get(start..).and_then(|rest| rest.get(..len)).unwrap_or_default()
}

//! Kernels: each written once over [`Simd`](crate::simd::Simd), with a slice entry that takes a [`Level`](crate::Level).

pub mod dropout;
pub mod math;

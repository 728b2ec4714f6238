//! evenkeel
#![no_std]
#![deny(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

pub mod error;
pub mod export;
pub mod image;
pub mod infer;
pub mod kernels;
pub mod layer;
pub mod plan;
pub mod simd;
pub mod split;

pub use error::Error;
pub use simd::Level;

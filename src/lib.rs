//! evenkeel
#![no_std]
#![deny(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

pub mod error;
pub mod init;
pub mod kernels;
pub mod rng;
pub mod simd;

pub use error::Error;
pub use simd::Level;

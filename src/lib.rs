//! evenkeel
#![no_std]
#![deny(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

#[cfg(feature = "alloc")]
pub mod data;
pub mod error;
#[cfg(feature = "alloc")]
pub mod fit;
#[cfg(feature = "std")]
pub mod host;
pub mod init;
#[cfg(feature = "safetensors")]
pub mod interchange;
pub mod kernels;
pub mod layer;
#[cfg(feature = "alloc")]
pub mod memory;
#[cfg(feature = "alloc")]
pub mod model;
pub mod plan;
pub mod rng;
pub mod simd;
pub mod split;
#[cfg(feature = "alloc")]
pub mod text;
pub mod train;

#[cfg(feature = "alloc")]
pub use data::{Dataset, Labels, View};
pub use error::Error;
#[cfg(feature = "alloc")]
pub use fit::{History, Trainer};
pub use init::Init;
pub use layer::{Activation, BatchNorm, Layer, Network};
#[cfg(feature = "alloc")]
pub use model::Mlp;
pub use simd::Level;
pub use split::Serial;
pub use train::{EarlyStopping, Loss, Optimizer, Schedule, Targets};

//! Train, fold and run dense neural networks on any CPU, with the same bits everywhere.
//!
//! The flow, top to bottom: `data` yields rows, [`plan`] lays out memory, [`train`] changes parameters through
//! [`kernels`], `fit` repeats that until it is time to stop, [`metrics`] say what came of it, [`export`] folds batch norms
//! and packs an [`image`], [`infer`] runs the image. `examples/quickstart.rs` is that flow on one page.
//!
//! ```
//! use evenkeel::{Dataset, EarlyStopping, Init, Labels, Level, Loss, Mlp, Serial, Trainer};
//!
//! // Two features; the class is whether their sum is positive.
//! let inputs: Vec<f32> = (0..400).map(|i| ((i * 37) % 101) as f32 / 50.0 - 1.0).collect();
//! let labels = inputs.chunks(2).map(|x| u32::from(x[0] + x[1] > 0.0)).collect();
//! let data = Dataset { inputs, features: 2, labels: Labels::Classes(labels) };
//! let (train, held_out) = data.hold_out(0.25, 1, 0);
//! let (train, validation) = (data.subset(&train), data.subset(&held_out));
//!
//! let mut net = Mlp::input(2).dense(16).batch_norm().relu().dropout(0.1).dense(2).build()?;
//! net.init(Init::HeNormal, 1);
//! let trainer = Trainer::new(Loss::CrossEntropy).epochs(40).early_stopping(EarlyStopping::patience(8));
//! let history = trainer.fit(&mut net, train.view()?, Some(validation.view()?))?;
//! assert!(history.best().unwrap().val_accuracy.unwrap() > 0.9);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Three rings
//!
//! | ring | feature | has |
//! |---|---|---|
//! | core | none, `ffi` | kernels, the training step, folding, images, inference: no heap, no OS, caller-owned memory; C |
//! | | `toolbox` | optimisers, penalties, losses, layers and activations beyond the basic ones; part of `alloc` |
//! | alloc | `alloc` | the owned `Mlp`, data sets, `Trainer` with history, export to bytes |
//! | std | `std` (default), `rayon` (default), `safetensors` | threads, choice of the CPU level at run time, checkpoints |
//!
//! A module uses its own ring or an inner one.
//!
//! # The same bits
//!
//! A multiply-add rounds once, the order of every sum follows from the shape alone, functions such as `exp` are
//! polynomials of our own, and random numbers are a function of their position. So on every [`Level`] with a fused
//! multiply-add ([`Level::is_exact`]) any number of threads, any batch size and any machine give the same result, bit
//! by bit. The payload and sign of a NaN are the only freedom.
#![no_std]
#![deny(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

#[cfg(feature = "alloc")]
pub mod data;
pub mod error;
pub mod export;
#[cfg(feature = "ffi")]
pub mod ffi;
#[cfg(feature = "alloc")]
pub mod fit;
#[cfg(feature = "std")]
pub mod host;
pub mod image;
#[doc(hidden)]
pub mod include;
pub mod infer;
pub mod init;
#[cfg(feature = "safetensors")]
pub mod interchange;
pub mod kernels;
pub mod layer;
#[cfg(feature = "alloc")]
pub mod memory;
pub mod metrics;
#[cfg(feature = "alloc")]
pub mod model;
pub mod plan;
mod quantile;
pub mod rng;
pub mod simd;
pub mod split;
#[cfg(feature = "alloc")]
pub mod text;
pub mod train;

/// Whether optimisers, losses, layers and activations beyond the basic ones are compiled in: firmware that picks them at run time
/// would carry the code of all. Where a network, a loss or an image comes in, what is not there is refused with
/// [`Error::Toolbox`].
pub(crate) const TOOLBOX: bool = cfg!(feature = "toolbox");

#[cfg(feature = "alloc")]
pub use data::{Dataset, Labels, SparseDataset, View};
pub use error::Error;
#[cfg(feature = "alloc")]
pub use fit::{History, Trainer};
pub use image::Image;
pub use infer::Net;
pub use init::Init;
pub use layer::{Activation, BatchNorm, Layer, Network, PRelu};
#[cfg(feature = "alloc")]
pub use model::Mlp;
pub use simd::Level;
pub use split::Serial;
pub use train::{EarlyStopping, Loss, Optimizer, Schedule, Targets};

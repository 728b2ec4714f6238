//! From a trained network to an image, in three passes that need no heap: batch norms and input standardisation are
//! folded into the dense layers ([`fold`]), the results narrowed to `f32` or `f16` ([`narrow`]), and everything
//! written as bytes ([`pack`]).
//!
//! On a device, [`write_image`] folds what was just fine-tuned into a buffer of [`image_len`] bytes, and [`refold`] trains
//! the last layers of an image that was folded before; with a heap,
//! `export` returns the bytes and a report.

mod error;
pub mod fold;
pub mod layout;
pub mod narrow;
#[cfg(feature = "alloc")]
mod owned;
pub mod pack;
pub mod refold;

#[cfg(feature = "alloc")]
pub use owned::{Report, export};

pub use error::FoldError;
pub use fold::Standardisation;
pub use layout::{Options, Precisions, image_len};
pub use narrow::{Narrowing, Precision};
pub use pack::{DenseReport, write_image};

use crate::error::{Error, check_len};

/// How far outputs are from reference outputs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Deviation {
    /// The largest absolute difference.
    pub max: f64,
    /// The mean absolute difference.
    pub mean: f64,
    /// The largest absolute reference output: what to compare the differences with.
    pub scale: f64,
}

impl Deviation {
    /// Compares the outputs of an image with those of the network it was made from, on the same rows.
    ///
    /// A NaN or infinity in only one of them makes `max` and `mean` infinite; equal infinities, or two NaN, differ
    /// by 0.
    ///
    /// # Errors
    /// [`Error::Length`] if the slices differ in length.
    pub fn between(reference: &[f32], outputs: &[f32]) -> Result<Self, Error> {
        check_len("outputs", reference.len(), outputs.len())?;
        let mut result = Self::default();
        let mut sum = 0.0;
        for (reference, output) in reference.iter().zip(outputs) {
            let same = reference == output || (reference.is_nan() && output.is_nan());
            let difference = f64::from(*output) - f64::from(*reference);
            let difference = match (same, difference.is_finite()) {
                (true, _) => 0.0,
                (false, true) => difference.abs(),
                (false, false) => f64::INFINITY,
            };
            result.max = result.max.max(difference);
            result.scale = result.scale.max(f64::from(reference.abs()));
            sum += difference;
        }
        if !reference.is_empty() {
            result.mean = sum / reference.len() as f64;
        }
        Ok(result)
    }
}

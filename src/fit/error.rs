//! Why training failed, and where.

use alloc::string::String;
use core::fmt;

use crate::error::Error;

/// Why training failed.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum FitError {
    /// Something does not fit together; found before the first step. Or, in the middle of a run, a stored row cannot be read
    /// ([`Error::Read`]): the run is that of the batch before, and can go on.
    Setup(Error),
    /// The loss, a gradient or a statistic became NaN or infinite: parameters are those before this batch. Or a
    /// weight did (`what` says so), in the last update of an epoch: then they are as they came out.
    NonFinite {
        /// In what it was found first.
        what: &'static str,
        /// Index of the layer where it began.
        layer: usize,
        /// Kind of that layer.
        name: String,
        /// Epoch, from 0.
        epoch: u32,
        /// Batch of the epoch, from 0.
        batch: usize,
    },
    /// A figure of the trainer is outside its range.
    Parameter {
        /// Which one, and its range.
        what: &'static str,
    },
}

impl From<Error> for FitError {
    fn from(error: Error) -> Self {
        FitError::Setup(error)
    }
}

impl fmt::Display for FitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FitError::Setup(error) => error.fmt(f),
            FitError::NonFinite { what, layer, name, epoch, batch } => write!(
                f,
                "training diverged: NaN or infinity in the {what} of layer {layer} ({name}), epoch {}, batch {}. Try a smaller learning rate, gradient clipping, or \
                 standardised inputs",
                epoch + 1,
                batch + 1
            ),
            FitError::Parameter { what } => write!(f, "{what}"),
        }
    }
}

impl core::error::Error for FitError {}

pub(super) fn located(error: Error, layers: &[crate::layer::Layer], epoch: u32, batch: usize) -> FitError {
    match error {
        Error::NonFinite { what, layer } => {
            let name = layers.get(layer).map_or("network", |layer| layer.name()).into();
            FitError::NonFinite { what, layer, name, epoch, batch }
        }
        other => FitError::Setup(other),
    }
}

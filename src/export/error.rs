//! Why a network cannot become an image.

use core::fmt;

use super::narrow::Precision;

/// Why a network cannot be folded, narrowed or packed.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum FoldError {
    /// A slice does not have the length that the network or its image asks for.
    Length {
        /// Which argument.
        what: &'static str,
        /// The length asked for.
        expected: usize,
        /// The length given.
        found: usize,
    },
    /// The image would not fit the address space or its format.
    TooLarge,
    /// A batch norm whose running statistics no batch has ever updated: they are still the initial 0 and 1.
    NeverUpdated {
        /// The batch norm's index.
        layer: usize,
    },
    /// A running variance is negative, NaN or infinite.
    Variance {
        /// The batch norm's index.
        layer: usize,
        /// The feature.
        feature: usize,
        /// Its variance.
        value: f32,
    },
    /// A parameter is NaN or infinite.
    NonFinite {
        /// The layer's index.
        layer: usize,
        /// `weight`, `bias`, `scale`, `shift`, `running mean` or `batch count`.
        what: &'static str,
        /// The output feature.
        output: usize,
        /// The input feature of a weight.
        input: Option<usize>,
    },
    /// A mean or factor of the input standardisation is NaN or infinite.
    Standardisation {
        /// The input feature.
        feature: usize,
    },
    /// A folded value is too large for its type, or NaN because a factor was.
    Overflow {
        /// The layer's index: a dense layer, or the first of a run that stays scale and shift.
        layer: usize,
        /// The output feature.
        output: usize,
        /// The input feature of a weight; `None` for a bias, scale or shift.
        input: Option<usize>,
        /// The folded value.
        value: f64,
        /// The type.
        precision: Precision,
    },
}

impl fmt::Display for FoldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            FoldError::Length { what, expected, found } => {
                write!(f, "{what}: {found} given, {expected} wanted")
            }
            FoldError::TooLarge => {
                f.write_str("the image would be too large: use fewer or narrower layers, or shorter texts")
            }
            FoldError::NeverUpdated { layer } => write!(
                f,
                "the running statistics of layer {layer} (bn) were never updated: train, or recalibrate, before exporting"
            ),
            FoldError::Variance { layer, feature, value } => write!(
                f,
                "layer {layer} (bn) has running variance {value} for feature {feature}, it must be finite and not negative: recalibrate the statistics"
            ),
            FoldError::NonFinite { layer, what, output, input } => {
                write!(f, "layer {layer} has a {what} that is NaN or infinite (output {output}")?;
                if let Some(input) = input {
                    write!(f, ", input {input}")?;
                }
                f.write_str("): restore an earlier state of the training")
            }
            FoldError::Standardisation { feature } => write!(
                f,
                "the standardisation of input {feature} is NaN or infinite: use a factor of 1 for constant columns"
            ),
            FoldError::Overflow { layer, output, input, value, precision } => {
                write!(f, "layer {layer}, output {output}, ")?;
                match input {
                    Some(input) => write!(f, "input {input}: the folded weight")?,
                    None => f.write_str("the folded bias, scale or shift")?,
                }
                let name = precision.name();
                let advice = match precision {
                    Precision::F16 => "export this layer as f32",
                    Precision::F32 => "train with weight decay or rescale the data",
                };
                write!(f, " {value:e} does not fit {name}: {advice}")
            }
        }
    }
}

impl core::error::Error for FoldError {}

/// Compares a length with the one asked for.
pub(super) fn check_len(what: &'static str, expected: usize, found: usize) -> Result<(), FoldError> {
    if expected == found { Ok(()) } else { Err(FoldError::Length { what, expected, found }) }
}

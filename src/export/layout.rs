//! What an image is to contain, and where in it everything will lie.

use super::error::FoldError;
use super::fold::{Run, Standardisation, Step, Steps};
use super::narrow::Precision;
use crate::image::{HEADER, RECORD, Sections, vector_bytes, weight_bytes};
use crate::layer::{Layer, Network};

/// What an image should contain besides the network. The default is `f32`, no standardisation and no texts.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Options<'a> {
    /// How weights are stored.
    pub precision: Precisions<'a>,
    /// Preparation of the inputs to fold in: then the image takes raw values.
    pub standardisation: Option<Standardisation<'a>>,
    /// Names of the outputs: none, or one for each.
    pub class_names: &'a [&'a str],
    /// A free text, for instance where the network comes from.
    pub note: &'a str,
}

/// The precisions of the dense layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precisions<'a> {
    /// The same for all.
    All(Precision),
    /// One for each dense layer, in their order.
    Each(&'a [Precision]),
}

impl Default for Precisions<'_> {
    fn default() -> Self {
        Self::All(Precision::F32)
    }
}

impl Precisions<'_> {
    /// That of the dense layer number `dense`; in range, as the number was compared.
    pub(super) const fn of(&self, dense: usize) -> Precision {
        match self {
            Self::All(precision) => *precision,
            Self::Each(precisions) => precisions[dense],
        }
    }
}

/// Where things lie in an image.
pub(super) struct Layout {
    pub(super) ops: usize,
    pub(super) metadata_len: usize,
    pub(super) payload: u64,
    pub(super) len: usize,
}

/// Whether a dense step stores a bias.
pub(super) const fn has_bias(network: &Network<'_>, layer: usize, before: &Run, after: &Run) -> bool {
    let own = matches!(network.layers()[layer], Layer::Dense { bias: true, .. });
    own || !before.is_identity || !after.is_identity
}

/// Bytes of the metadata; on overflow the largest number, which is refused.
const fn metadata_len(options: &Options<'_>) -> usize {
    let mut len = 4_usize.saturating_add(4).saturating_add(options.note.len());
    let mut index = 0;
    while index < options.class_names.len() {
        len = len.saturating_add(4).saturating_add(options.class_names[index].len());
        index += 1;
    }
    len
}

/// Counts the operations and places their sections.
pub(super) const fn layout(network: &Network<'_>, options: &Options<'_>) -> Result<Layout, FoldError> {
    let names = options.class_names.len();
    if names != 0 && names != network.outputs() {
        return Err(FoldError::Length { what: "class names", expected: network.outputs(), found: names });
    }
    let (mut ops, mut dense) = (0, 0);
    let mut steps = Steps::new(*network, options.standardisation.is_some());
    while let Some(step) = steps.step() {
        ops += 1;
        if let Step::Dense { .. } = step {
            dense += 1;
        }
    }
    if let Precisions::Each(precisions) = options.precision
        && precisions.len() != dense
    {
        return Err(FoldError::Length { what: "precisions", expected: dense, found: precisions.len() });
    }
    let metadata_len = metadata_len(options);
    let table = HEADER + RECORD * ops;
    // Offsets before the payload are `u32`.
    if metadata_len as u64 > u32::MAX as u64 - table as u64 - 64 {
        return Err(FoldError::TooLarge);
    }
    let mut sections = Sections::after((table + metadata_len) as u64);
    let payload = sections.end;
    let mut steps = Steps::new(*network, options.standardisation.is_some());
    let mut dense = 0;
    while let Some(step) = steps.step() {
        match step {
            Step::Dense { layer, before, after, .. } => {
                let (inputs, outputs) = (network.width_before(layer), network.width_before(layer + 1));
                let f16 = matches!(options.precision.of(dense), Precision::F16);
                sections.place(weight_bytes(inputs, outputs, f16));
                if has_bias(network, layer, &before, &after) {
                    sections.place(vector_bytes(outputs));
                }
                dense += 1;
            }
            Step::ScaleShift { run } => {
                sections.place(3 * vector_bytes(network.width_before(run.first)));
            }
            Step::Layer { layer } => {
                if let Layer::PRelu(_) = network.layers()[layer] {
                    sections.place(vector_bytes(network.width_before(layer)));
                }
                if let Layer::LayerNorm(_) = network.layers()[layer] {
                    sections.place(2 * vector_bytes(network.width_before(layer)));
                }
            }
        }
    }
    if sections.end > usize::MAX as u64 {
        return Err(FoldError::TooLarge);
    }
    Ok(Layout { ops, metadata_len, payload, len: sections.end as usize })
}

/// Length of a network's image in bytes.
///
/// # Errors
/// [`FoldError::Length`] if the number of class names or precisions does not fit, [`FoldError::TooLarge`].
pub const fn image_len(network: &Network<'_>, options: &Options<'_>) -> Result<usize, FoldError> {
    match layout(network, options) {
        Ok(layout) => Ok(layout.len),
        Err(error) => Err(error),
    }
}

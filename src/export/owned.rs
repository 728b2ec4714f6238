//! Export with a heap: the image's bytes and a report.

use alloc::vec::Vec;

use super::{DenseReport, Deviation, FoldError, Options, image_len, write_image};
use crate::image::AlignedBytes;
use crate::layer::Network;

/// What export did.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Report {
    /// Each dense layer, in order.
    pub layers: Vec<DenseReport>,
    /// Bytes of the unfolded network: parameters and running statistics as `f32`, with their padding.
    pub bytes_before: usize,
    /// Bytes of the image.
    pub bytes_after: usize,
    /// What folding and narrowing did to the outputs on probe data, if measured: set it to
    /// [`Deviation::between`] the outputs of the network and of the image.
    pub probe: Option<Deviation>,
}

/// Folds a network and returns its image.
///
/// `params` and `state` are the training's, as `plan` lays them out.
///
/// # Errors
/// [`FoldError`] says which layer and value cannot be folded or stored.
pub fn export(
    network: &Network<'_>,
    params: &[f32],
    state: &[f32],
    options: &Options<'_>,
) -> Result<(AlignedBytes, Report), FoldError> {
    // Before the image is allocated: with the right number of parameters its size is theirs, not a hostile one.
    super::error::check_len("parameters", network.params_len(), params.len())?;
    let mut bytes = AlignedBytes::zeroed(image_len(network, options)?);
    let mut layers = Vec::new();
    write_image(network, params, state, options, &mut bytes, |layer| layers.push(layer))?;
    let bytes_before = size_of::<f32>() * (params.len() + state.len());
    let bytes_after = bytes.len();
    Ok((bytes, Report { layers, bytes_before, bytes_after, probe: None }))
}

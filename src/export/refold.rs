//! Fine-tuning of an image: its front stays where it is, its last layers train, and what they learned is written back.
//!
//! An image is folded, so its dense operations are plain dense layers, with their weights as training has them. The last
//! of them become a network of their own ([`tail_layers`]), which trains on what the operations before compute
//! ([`Image::front`]), be they in flash. Afterwards there are three ways to go on inferring:
//!
//! - the session itself: front, then `Session::predict`;
//! - a copy of the image in RAM, into which [`ImageMut::set_tail`] writes the new weights: one image again, valid and with
//!   its checksum;
//! - where RAM has no room for a copy, an image of the tail alone ([`write_image`](super::write_image)) behind the front of
//!   the one in flash.
//!
//! With `f32` weights all three give the same bits.
//!
//! A network that is not folded, with its batch norms, is trained as it is and packed by `write_image`, on the device too.

use super::error::{FoldError, check_len};
use super::narrow::{Narrowing, Precision};
use crate::error::Error;
use crate::image::{Image, ImageMut, Kind, Op, Weights, vector_bytes};
use crate::kernels::panels;
use crate::layer::{Layer, LayerNorm, Network};
use crate::simd::LANES;

/// How many layers the operations from `first` on are: a dense operation with an activation is two.
#[must_use]
pub const fn tail_len(image: &Image<'_>, first: usize) -> usize {
    let (mut count, mut op) = (0, first);
    while op < image.op_count() {
        let record = image.record(op);
        count += 1 + (matches!(record.kind, Kind::Dense { .. }) && record.activation.is_some()) as usize;
        op += 1;
    }
    count
}

/// The operations from `first` on as `N` layers, [`tail_len`] of them, with [`Image::width_before`] inputs.
///
/// # Errors
/// [`Error::Ops`] if there is no operation `first`, [`Error::Length`] for another `N`, [`Error::Tail`] for a scale and shift
/// among them.
pub const fn tail_layers<const N: usize>(image: &Image<'_>, first: usize) -> Result<[Layer; N], Error> {
    if first >= image.op_count() {
        return Err(Error::Ops { ops: first, found: image.op_count() });
    }
    let expected = tail_len(image, first);
    if N != expected {
        return Err(Error::Length { what: "layers of the tail", expected, found: N });
    }
    let mut layers = [Layer::Softmax; N];
    let (mut next, mut op) = (0, first);
    while op < image.op_count() {
        let record = image.record(op);
        layers[next] = match (record.kind, record.activation) {
            (Kind::Dense { .. }, _) => Layer::Dense { outputs: record.outputs, bias: record.bias != 0 },
            (Kind::Softmax, _) => Layer::Softmax,
            (Kind::Activation, Some(activation)) => Layer::Activation(activation),
            (Kind::LogSoftmax, _) | (Kind::Activation, None) => Layer::LogSoftmax,
            (Kind::LayerNorm { eps }, _) => Layer::LayerNorm(LayerNorm { eps }),
            (Kind::ScaleShift, _) => return Err(Error::Tail { op }),
        };
        next += 1;
        if let (Kind::Dense { .. }, Some(activation)) = (record.kind, record.activation) {
            layers[next] = Layer::Activation(activation);
            next += 1;
        }
        op += 1;
    }
    Ok(layers)
}

/// Copies the weights of the operations from `first` on to the parameters of the `tail` network, `f16` widened.
///
/// # Errors
/// [`Error::Ops`] or [`Error::Tail`] as [`tail_layers`], [`Error::Length`] if `tail` is not the network of these operations or
/// `params` has not its length; nothing has been written then.
pub fn read_tail(image: &Image<'_>, first: usize, tail: &Network<'_>, params: &mut [f32]) -> Result<(), Error> {
    check_tail(image, first, tail)?;
    crate::error::check_len("parameters", tail.params_len(), params.len())?;
    params.fill(0.0);
    let mut nodes = tail.nodes().filter(|node| node.layer.has_parameters());
    for op in image.ops().skip(first) {
        if let Op::LayerNorm { scale, shift, .. } = op {
            let Some(node) = nodes.next() else { break };
            for (part, values) in [(node.weights, scale), (node.bias, shift)] {
                part.of_mut(params).iter_mut().zip(values).for_each(|(place, value)| *place = *value);
            }
            continue;
        }
        let Op::Dense { weights, bias, .. } = op else { continue };
        let Some(node) = nodes.next() else { break };
        let place = node.weights.of_mut(params).iter_mut();
        match weights {
            Weights::F32(weights) => place.zip(weights).for_each(|(place, weight)| *place = *weight),
            Weights::F16(weights) => {
                place.zip(weights).for_each(|(place, bits)| *place = half::f16::from_bits(*bits).to_f32_const());
            }
        }
        node.bias.of_mut(params).iter_mut().zip(bias.unwrap_or_default()).for_each(|(place, bias)| *place = *bias);
    }
    Ok(())
}

/// Whether `tail` is the network of the operations from `first` on.
fn check_tail(image: &Image<'_>, first: usize, tail: &Network<'_>) -> Result<(), Error> {
    let ops = image.op_count();
    if first >= ops {
        return Err(Error::Ops { ops: first, found: ops });
    }
    crate::error::check_len("layers of the tail", tail_len(image, first), tail.layers().len())?;
    crate::error::check_len("inputs of the tail", image.width_before(first), tail.inputs())?;
    let mut layers = tail.layers().iter().enumerate();
    let mut next = |op: usize| layers.next().ok_or(Error::Ops { ops: op, found: ops });
    for op in first..ops {
        let record = image.record(op);
        let (index, layer) = next(op)?;
        let fits = match (record.kind, *layer) {
            (Kind::ScaleShift, _) => return Err(Error::Tail { op }),
            (Kind::Dense { .. }, Layer::Dense { outputs, bias }) => {
                outputs == record.outputs && bias == (record.bias != 0)
            }
            (Kind::LayerNorm { eps }, Layer::LayerNorm(ln)) => eps.to_bits() == ln.eps.to_bits(),
            (Kind::Activation, Layer::Activation(kind)) => record.activation == Some(kind),
            (Kind::Softmax, Layer::Softmax) | (Kind::LogSoftmax, Layer::LogSoftmax) => true,
            _ => false,
        };
        if !fits {
            return Err(Error::Layer { layer: index, name: layer.name() });
        }
        if let (Kind::Dense { .. }, Some(activation)) = (record.kind, record.activation) {
            let (index, layer) = next(op)?;
            if *layer != Layer::Activation(activation) {
                return Err(Error::Layer { layer: index, name: layer.name() });
            }
        }
    }
    Ok(())
}

/// Why weights were not written.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum RefoldError {
    /// The network is not the tail of the image.
    Tail(Error),
    /// A parameter cannot be stored.
    Weight(FoldError),
}

impl core::fmt::Display for RefoldError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            RefoldError::Tail(error) => write!(f, "not the last layers of this image: {error}"),
            RefoldError::Weight(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for RefoldError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            RefoldError::Tail(error) => Some(error),
            RefoldError::Weight(error) => Some(error),
        }
    }
}

impl ImageMut<'_> {
    /// Writes the parameters of the `tail` network into the operations from `first` on, each in the precision that it
    /// has, and renews the checksum. Returns what rounding to `f16` has cost.
    ///
    /// # Errors
    /// [`RefoldError::Tail`] if `tail` is not the network of these operations, [`RefoldError::Weight`] for a parameter that
    /// is not finite or does not fit; nothing has been written then.
    pub fn set_tail(&mut self, first: usize, tail: &Network<'_>, params: &[f32]) -> Result<Narrowing, RefoldError> {
        check_tail(&self.image(), first, tail).map_err(RefoldError::Tail)?;
        check_len("parameters", tail.params_len(), params.len()).map_err(RefoldError::Weight)?;
        // All are looked at before any is written.
        let mut narrowing = Narrowing::default();
        self.each(first, tail, params, &mut narrowing, |_, _, _| {})?;
        self.each(first, tail, params, &mut Narrowing::default(), Self::put)?;
        self.seal();
        Ok(narrowing)
    }

    /// Calls `then(self, offset, value)` for every stored value; padding is zero, whatever the parameters hold there.
    fn each(
        &mut self,
        first: usize,
        tail: &Network<'_>,
        params: &[f32],
        narrowing: &mut Narrowing,
        mut then: impl FnMut(&mut Self, usize, &[u8]),
    ) -> Result<(), RefoldError> {
        let mut nodes = tail.nodes().filter(|node| node.layer.has_parameters());
        for op in first..self.image().op_count() {
            let record = self.image().record(op);
            if let Kind::LayerNorm { .. } = record.kind {
                let Some(node) = nodes.next() else { break };
                let starts = [record.weights, record.weights + vector_bytes(record.outputs)];
                for ((part, what), start) in [(node.weights, "scale"), (node.bias, "shift")].into_iter().zip(starts) {
                    for (output, value) in part.of(params).iter().enumerate() {
                        let value = if output < record.outputs { *value } else { 0.0 };
                        if !value.is_finite() {
                            let error = FoldError::NonFinite { layer: node.index, what, output, input: None };
                            return Err(RefoldError::Weight(error));
                        }
                        then(self, start as usize + 4 * output, &value.to_le_bytes());
                    }
                }
                continue;
            }
            let Kind::Dense { f16 } = record.kind else { continue };
            let Some(node) = nodes.next() else { break };
            let (inputs, outputs) = (record.inputs, record.outputs);
            let weights = node.weights.of(params);
            for panel in 0..panels::panels(outputs) {
                let width = panels::panel_width(outputs, panel);
                for input in 0..inputs {
                    for lane in 0..width {
                        let output = panel * LANES + lane;
                        let place = panel * LANES * inputs + input * width + lane;
                        let value = if output < outputs { weights[place] } else { 0.0 };
                        let start = record.weights as usize;
                        let bad = || wrong(node.index, output, Some(input), value, f16);
                        if f16 {
                            let narrow = narrowing.narrow_f16(f64::from(value)).ok_or_else(bad)?;
                            then(self, start + 2 * place, &narrow.to_bits().to_le_bytes());
                        } else {
                            let value = if value.is_finite() { value } else { return Err(bad()) };
                            then(self, start + 4 * place, &value.to_le_bytes());
                        }
                    }
                }
            }
            for (output, value) in node.bias.of(params).iter().enumerate() {
                let value = if output < outputs { *value } else { 0.0 };
                if !value.is_finite() {
                    return Err(wrong(node.index, output, None, value, false));
                }
                then(self, record.bias as usize + 4 * output, &value.to_le_bytes());
            }
        }
        Ok(())
    }
}

fn wrong(layer: usize, output: usize, input: Option<usize>, value: f32, f16: bool) -> RefoldError {
    RefoldError::Weight(if value.is_finite() {
        let precision = if f16 { Precision::F16 } else { Precision::F32 };
        FoldError::Overflow { layer, output, input, value: f64::from(value), precision }
    } else {
        FoldError::NonFinite { layer, what: if input.is_some() { "weight" } else { "bias" }, output, input }
    })
}

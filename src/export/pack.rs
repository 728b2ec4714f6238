//! Writing the image: each operation's sections and record, where `layout` has found room for them, the header last.
//!
//! The layout is `image`'s; see there. An image that was not finished has no magic and no checksum.

use super::error::{FoldError, check_len};
use super::fold::{Fold, Run, Step, Steps};
use super::layout::{Layout, Options, has_bias, layout};
use super::narrow::{Narrowing, Precision};
use crate::image::{
    HEADER, MAGIC, NUMERIC_CONTRACT, RECORD, Record, STANDARDISED, Sections, at, checksum, code_of, vector_bytes,
    weight_bytes,
};
use crate::kernels::panels;
use crate::layer::{Activation, Layer, Network, PRelu, padded};
use crate::simd::LANES;

/// What folding and narrowing did to a dense layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DenseReport {
    /// The layer's index.
    pub layer: usize,
    /// Input features.
    pub inputs: usize,
    /// Output features.
    pub outputs: usize,
    /// Whether anything was folded into it.
    pub folded: bool,
    /// How its weights are stored.
    pub precision: Precision,
    /// Errors of the stored weights, against the folded ones in `f64`.
    pub weights: Narrowing,
}

/// Folds a network and writes its image to `out`, which must have [`image_len`](super::image_len) bytes.
///
/// `params` and `state` are the training's, as `plan` lays them out. `report` is called for each dense layer in
/// order. To be run where it lies, `out` must begin at a multiple of 64 bytes.
///
/// # Errors
/// [`FoldError`] says which layer and value cannot be folded or stored. If a length is wrong or a parameter unsound,
/// nothing has been written; if a folded value overflows, `out` is left without a valid header.
pub fn write_image(
    network: &Network<'_>,
    params: &[f32],
    state: &[f32],
    options: &Options<'_>,
    out: &mut [u8],
    mut report: impl FnMut(DenseReport),
) -> Result<(), FoldError> {
    let layout = layout(network, options)?;
    check_len("bytes of the image", layout.len, out.len())?;
    let fold = Fold::new(*network, params, state, options.standardisation)?;
    out.fill(0);
    let mut writer = Writer { out, sections: Sections::after(layout.payload), record: HEADER, version: 1 };
    let mut steps = Steps::new(*network, options.standardisation.is_some());
    let mut dense = 0;
    while let Some(step) = steps.step() {
        match step {
            Step::Dense { layer, before, after, activation } => {
                let precision = options.precision.of(dense);
                dense += 1;
                report(writer.dense(&fold, (layer, before, after), activation, precision)?);
            }
            Step::ScaleShift { run } => writer.scale_shift(&fold, &run)?,
            Step::Layer { layer } if matches!(network.layers()[layer], Layer::LayerNorm(_)) => {
                writer.layer_norm(&fold, layer, params)?;
            }
            Step::Layer { layer } => {
                let features = network.width_before(layer);
                if let Layer::PRelu(PRelu { shared, .. }) = network.layers()[layer] {
                    writer.prelu(&fold, layer, shared)?;
                    continue;
                }
                let (kind, activation) = match network.layers()[layer] {
                    Layer::Activation(activation) => (3, Some(activation)),
                    Layer::Softmax => (4, None),
                    _ => (5, None),
                };
                writer.record(kind, 0, activation, (features, features), (0, 0));
            }
        }
    }
    writer.metadata(options);
    writer.header(network, &layout, options.standardisation.is_some());
    Ok(())
}

/// The image being written, and where the next section and record go.
struct Writer<'o> {
    out: &'o mut [u8],
    sections: Sections,
    record: usize,
    /// The oldest format that has all operations so far.
    version: u16,
}

impl Writer<'_> {
    /// The layout has found room for everything; a `put` behind the end would do nothing.
    fn put<const N: usize>(&mut self, at: usize, bytes: [u8; N]) {
        if let Some(place) = self.out.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
            *place = bytes;
        }
    }

    fn dense(
        &mut self,
        fold: &Fold<'_>,
        (layer, before, after): (usize, Run, Run),
        activation: Option<Activation>,
        precision: Precision,
    ) -> Result<DenseReport, FoldError> {
        let node = fold.network.node(layer);
        let (inputs, outputs) = (node.inputs, node.outputs);
        let f16 = precision == Precision::F16;
        let size = if f16 { 2 } else { 4 };
        let weights_at = self.sections.place(weight_bytes(inputs, outputs, f16));
        let biased = has_bias(&fold.network, layer, &before, &after);
        let bias_at = if biased { self.sections.place(vector_bytes(outputs)) } else { 0 };
        let mut narrowing = Narrowing::default();
        for panel in 0..panels::panels(outputs) {
            let width = panels::panel_width(outputs, panel);
            let start = weights_at as usize + size * panel * LANES * inputs;
            let bias = fold.panel((&node, &before, &after), panel, |input, weights| {
                let mut stored = [0.0; LANES];
                for (lane, value) in weights.iter().copied().take(width).enumerate() {
                    let at = start + size * (input * width + lane);
                    let overflow = || FoldError::Overflow {
                        layer,
                        output: panel * LANES + lane,
                        input: Some(input),
                        value,
                        precision,
                    };
                    if f16 {
                        let narrow = narrowing.narrow_f16(value).ok_or_else(overflow)?;
                        self.put(at, narrow.to_bits().to_le_bytes());
                        stored[lane] = narrow.to_f64_const();
                    } else {
                        let narrow = narrowing.narrow_f32(value).ok_or_else(overflow)?;
                        self.put(at, narrow.to_le_bytes());
                        stored[lane] = f64::from(narrow);
                    }
                }
                Ok(stored)
            })?;
            if biased {
                self.vector(bias_at, layer, panel, &bias)?;
            }
        }
        self.record(1, u8::from(f16), activation, (inputs, outputs), (weights_at, bias_at));
        let folded = !(before.is_identity && after.is_identity);
        Ok(DenseReport { layer, inputs, outputs, folded, precision, weights: narrowing })
    }

    fn scale_shift(&mut self, fold: &Fold<'_>, run: &Run) -> Result<(), FoldError> {
        let features = fold.network.width_before(run.first);
        let bytes = vector_bytes(features);
        let start = self.sections.place(3 * bytes);
        for group in 0..panels::panels(features) {
            let affine = fold.affine(run, group);
            let used = LANES.min(features - group * LANES);
            for (at, mut values) in (start..).step_by(bytes as usize).zip([affine.center, affine.scale, affine.shift]) {
                values[used..].fill(0.0);
                self.vector(at, run.first, group, &values)?;
            }
        }
        self.record(2, 0, None, (features, features), (start, 0));
        Ok(())
    }

    fn prelu(&mut self, fold: &Fold<'_>, layer: usize, shared: bool) -> Result<(), FoldError> {
        let features = fold.network.width_before(layer);
        let start = self.sections.place(vector_bytes(features));
        for group in 0..panels::panels(features) {
            let mut values = [0.0; LANES];
            for (lane, value) in values.iter_mut().enumerate().take(features - group * LANES) {
                *value = fold.slope(layer, shared, group * LANES + lane);
            }
            self.vector(start, layer, group, &values)?;
        }
        self.record(7, 0, None, (features, features), (start, 0));
        Ok(())
    }

    /// Scale and shift as they are, and eps in the record's place for a slope.
    fn layer_norm(&mut self, fold: &Fold<'_>, layer: usize, params: &[f32]) -> Result<(), FoldError> {
        let node = fold.network.node(layer);
        let bytes = vector_bytes(node.inputs);
        let start = self.sections.place(2 * bytes);
        for (at, part) in (start..).step_by(bytes as usize).zip([node.weights, node.bias]) {
            for (group, values) in part.of(params).chunks_exact(LANES).enumerate() {
                let used = LANES.min(node.inputs - group * LANES);
                let mut vector = [0.0; LANES];
                vector.iter_mut().zip(values).take(used).for_each(|(out, value)| *out = f64::from(*value));
                self.vector(at, layer, group, &vector)?;
            }
        }
        let at = self.record;
        self.record(6, 0, None, (node.inputs, node.inputs), (start, 0));
        if let Layer::LayerNorm(ln) = node.layer {
            self.put(at + 4, ln.eps.to_le_bytes());
        }
        Ok(())
    }

    /// Sixteen values of a bias, slopes, centre, scale or shift.
    fn vector(&mut self, at: u64, layer: usize, group: usize, values: &[f64; LANES]) -> Result<(), FoldError> {
        for (lane, value) in values.iter().copied().enumerate() {
            let output = group * LANES + lane;
            let narrow = Narrowing::default().narrow_f32(value);
            let precision = Precision::F32;
            let narrow = narrow.ok_or(FoldError::Overflow { layer, output, input: None, value, precision })?;
            self.put(at as usize + 4 * output, narrow.to_le_bytes());
        }
        Ok(())
    }

    fn record(
        &mut self,
        kind: u8,
        weights: u8,
        activation: Option<Activation>,
        (inputs, outputs): (usize, usize),
        (weights_at, bias_at): (u64, u64),
    ) {
        let (code, parameter) = activation.map_or((0, 0.0), code_of);
        let at = self.record;
        self.put(at, [kind, weights, code, 0]);
        self.put(at + 4, parameter.to_le_bytes());
        self.put(at + 8, (inputs as u32).to_le_bytes());
        self.put(at + 12, (outputs as u32).to_le_bytes());
        self.put(at + 16, weights_at.to_le_bytes());
        self.put(at + 24, bias_at.to_le_bytes());
        self.version = self.version.max(Record::read(self.out, (at - HEADER) / RECORD).version());
        self.record = at + RECORD;
    }

    /// Names and note, after the last record.
    fn metadata(&mut self, options: &Options<'_>) {
        let mut at = self.record;
        self.put(at, (options.class_names.len() as u32).to_le_bytes());
        at += 4;
        for text in options.class_names.iter().chain([&options.note]) {
            self.put(at, (text.len() as u32).to_le_bytes());
            at += 4;
            if let Some(place) = self.out.get_mut(at..at + text.len()) {
                place.copy_from_slice(text.as_bytes());
            }
            at += text.len();
        }
    }

    fn header(&mut self, network: &Network<'_>, layout: &Layout, standardised: bool) {
        let metadata = HEADER + RECORD * layout.ops;
        self.put(0, MAGIC);
        self.put(at::VERSION, self.version.to_le_bytes());
        self.put(at::CONTRACT, NUMERIC_CONTRACT.to_le_bytes());
        self.put(at::LENGTH, (layout.len as u64).to_le_bytes());
        self.put(at::OPS, (layout.ops as u32).to_le_bytes());
        self.put(at::INPUTS, (network.inputs() as u32).to_le_bytes());
        self.put(at::OUTPUTS, (network.outputs() as u32).to_le_bytes());
        self.put(at::SCRATCH, (padded(network.max_width()) as u32).to_le_bytes());
        self.put(at::FLAGS, (if standardised { STANDARDISED } else { 0 }).to_le_bytes());
        self.put(at::TABLE, (HEADER as u32).to_le_bytes());
        self.put(at::METADATA, (metadata as u32).to_le_bytes());
        self.put(at::METADATA_LEN, (layout.metadata_len as u32).to_le_bytes());
        self.put(at::PAYLOAD, (layout.payload as u32).to_le_bytes());
        self.put(at::CHECKSUM, checksum(self.out).to_le_bytes());
    }
}

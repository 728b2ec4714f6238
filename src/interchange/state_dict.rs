//! A network as the `state_dict` of the same `torch.nn.Sequential`.

use std::collections::BTreeMap;
use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

use super::InterchangeError;
use super::file::{File, Tensor, write};
use crate::kernels::panels;
use crate::layer::{Layer, Network, padded};
use crate::memory::Buffer;
use crate::model::{Mlp, Standardize};
use crate::text;
use crate::train::{batches_seen, set_batches_seen};

/// The file of a network: loadable by PyTorch, and by [`read`].
///
/// # Errors
/// [`InterchangeError::Format`] if the tensors cannot be written.
pub fn to_bytes(model: &Mlp) -> Result<Vec<u8>, InterchangeError> {
    to_bytes_with(model, "")
}

/// As [`to_bytes`], with a free text that [`note`](super::note) reads back, for instance where the network comes from.
///
/// # Errors
/// As [`to_bytes`].
pub fn to_bytes_with(model: &Mlp, note: &str) -> Result<Vec<u8>, InterchangeError> {
    write(&tensors(model), metadata(model, note)?)
}

/// Reads a network whose text the file carries (a file that [`to_bytes`] or [`super::resume::to_bytes`] wrote).
///
/// # Errors
/// [`InterchangeError::NoNetwork`] for a file of another program; others if the file is not sound.
pub fn read(bytes: &[u8]) -> Result<Mlp, InterchangeError> {
    let mut file = File::read(bytes)?;
    let model = read_model(&mut file)?;
    finish(file)?;
    Ok(model)
}

/// Loads a file's parameters and statistics into a network given by its layers: also a file that PyTorch wrote.
///
/// Standardisation and class names are taken from the file if it has them. Without `num_batches_tracked` (PyTorch
/// before 0.4) the statistics count as those of one batch; a batch norm without scale and shift gets 1 and 0.
///
/// # Errors
/// [`InterchangeError`] names the tensor that is missing, superfluous or of another shape; `model` is unchanged then.
pub fn load(model: &mut Mlp, bytes: &[u8]) -> Result<(), InterchangeError> {
    let mut file = File::read(bytes)?;
    let mut loaded = model.clone();
    fill(&mut loaded, &mut file)?;
    apply_metadata(&mut loaded, &file)?;
    finish(file)?;
    *model = loaded;
    Ok(())
}

/// What a run adds to the file is no concern of a reader of weights.
fn finish(mut file: File<'_>) -> Result<(), InterchangeError> {
    if file.metadata.contains_key(super::resume::KEY) {
        file.drop_prefix("run.");
    }
    file.finish()
}

pub(super) fn read_model(file: &mut File<'_>) -> Result<Mlp, InterchangeError> {
    let (Some(net), Some(inputs)) = (file.metadata.get("evenkeel.net"), file.metadata.get("evenkeel.inputs")) else {
        return Err(InterchangeError::NoNetwork);
    };
    let problem = |key: &str, problem: String| InterchangeError::Metadata { key: key.into(), problem };
    let layers = text::parse(net).map_err(|error| problem("evenkeel.net", error.to_string()))?;
    let inputs = inputs.parse().map_err(|_| problem("evenkeel.inputs", format!("{inputs:?} is not a number")))?;
    let network = Network::new(inputs, &layers).map_err(|error| problem("evenkeel.net", error.to_string()))?;
    check_shapes(&network, file)?;
    let mut model = Mlp::new(inputs, layers).map_err(|error| problem("evenkeel.net", error.to_string()))?;
    fill(&mut model, file)?;
    apply_metadata(&mut model, file)?;
    Ok(model)
}

pub(super) fn tensors(model: &Mlp) -> BTreeMap<String, Tensor> {
    let mut tensors = BTreeMap::new();
    for node in model.network().nodes() {
        let mut insert = |name: &str, tensor| tensors.insert(format!("{}.{name}", node.index), tensor);
        match node.layer {
            Layer::Dense { outputs, .. } => {
                let mut matrix = std::vec![0.0; outputs * node.inputs];
                panels::unpack(node.inputs, outputs, node.weights.of(&model.params), &mut matrix);
                insert("weight", Tensor::f32(std::vec![outputs, node.inputs], &matrix));
                if node.bias.len > 0 {
                    insert("bias", Tensor::f32(std::vec![outputs], &node.bias.of(&model.params)[..outputs]));
                }
            }
            Layer::BatchNorm(_) => {
                let width = node.inputs;
                let state = node.state.of(&model.state);
                let vector = |values: &[f32]| Tensor::f32(std::vec![width], &values[..width]);
                insert("weight", vector(node.weights.of(&model.params)));
                insert("bias", vector(node.bias.of(&model.params)));
                insert("running_mean", vector(state));
                insert("running_var", vector(&state[padded(width)..]));
                insert("num_batches_tracked", Tensor::i64(batches_seen(state) as i64));
            }
            Layer::LayerNorm(_) => {
                let vector = |values: &[f32]| Tensor::f32(std::vec![node.inputs], &values[..node.inputs]);
                insert("weight", vector(node.weights.of(&model.params)));
                insert("bias", vector(node.bias.of(&model.params)));
            }
            _ => {}
        }
    }
    tensors
}

pub(super) fn metadata(model: &Mlp, note: &str) -> Result<BTreeMap<String, String>, InterchangeError> {
    let mut metadata = BTreeMap::new();
    if !note.is_empty() {
        metadata.insert(super::NOTE.into(), note.into());
    }
    metadata.insert("evenkeel.net".into(), text::print(model.layers()));
    metadata.insert("evenkeel.inputs".into(), model.network().inputs().to_string());
    let json = |key: &str, value: serde_json::Result<String>| {
        value.map_err(|error| InterchangeError::Metadata { key: key.into(), problem: error.to_string() })
    };
    if let Some(Standardize { mean, inv_std }) = &model.standardize {
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<u32>>();
        let value = serde_json::to_string(&[bits(mean), bits(inv_std)]);
        metadata.insert("evenkeel.standardize".into(), json("evenkeel.standardize", value)?);
    }
    if !model.classes.is_empty() {
        let value = serde_json::to_string(&model.classes);
        metadata.insert("evenkeel.classes".into(), json("evenkeel.classes", value)?);
    }
    Ok(metadata)
}

fn apply_metadata(model: &mut Mlp, file: &File<'_>) -> Result<(), InterchangeError> {
    let problem = |key: &str, problem: &str| InterchangeError::Metadata { key: key.into(), problem: problem.into() };
    if let Some(text) = file.metadata.get("evenkeel.standardize") {
        let key = "evenkeel.standardize";
        let [mean, inv_std]: [Vec<u32>; 2] =
            serde_json::from_str(text).map_err(|error| problem(key, &error.to_string()))?;
        let inputs = model.network().inputs();
        if mean.len() != inputs || inv_std.len() != inputs {
            return Err(problem(key, "the number of means and deviations is not the number of inputs"));
        }
        let values = |bits: Vec<u32>| bits.into_iter().map(f32::from_bits).collect();
        let (mean, inv_std): (Vec<f32>, Vec<f32>) = (values(mean), values(inv_std));
        if !mean.iter().chain(&inv_std).all(|value| value.is_finite()) {
            return Err(problem(key, "a mean or a deviation is NaN or infinite"));
        }
        model.standardize = Some(Standardize { mean, inv_std });
    }
    if let Some(text) = file.metadata.get("evenkeel.classes") {
        let key = "evenkeel.classes";
        let classes: Vec<String> = serde_json::from_str(text).map_err(|error| problem(key, &error.to_string()))?;
        let outputs = model.network().outputs();
        if classes.len() != outputs && (outputs, classes.len()) != (1, 2) {
            return Err(problem(key, &format!("{} names for {outputs} outputs", classes.len())));
        }
        model.classes = classes;
    }
    Ok(())
}

/// Refuses a file whose tensors are not the network's, before any memory is taken for the network: what a header
/// claims costs nothing, what it holds is no larger than the file.
///
/// # Errors
/// [`InterchangeError::Missing`] or [`InterchangeError::Shape`], and those of a damaged file.
pub fn check_fits(bytes: &[u8], network: &Network<'_>) -> Result<(), InterchangeError> {
    check_shapes(network, &File::read(bytes)?)
}

fn check_shapes(network: &Network<'_>, file: &File<'_>) -> Result<(), InterchangeError> {
    for node in network.nodes() {
        let name = |part: &str| format!("{}.{part}", node.index);
        match node.layer {
            Layer::Dense { outputs, bias } => {
                file.check_shape(&name("weight"), &[outputs, node.inputs])?;
                if bias {
                    file.check_shape(&name("bias"), &[outputs])?;
                }
            }
            Layer::BatchNorm(_) => {
                file.check_shape(&name("running_mean"), &[node.inputs])?;
                file.check_shape(&name("running_var"), &[node.inputs])?;
            }
            Layer::LayerNorm(_) => {
                file.check_shape(&name("weight"), &[node.inputs])?;
                file.check_shape(&name("bias"), &[node.inputs])?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn fill(model: &mut Mlp, file: &mut File<'_>) -> Result<(), InterchangeError> {
    let layers = model.layers().to_vec();
    let network = Network::trusted(model.network().inputs(), &layers);
    let (params, state): (&mut Buffer, &mut Buffer) = (&mut model.params, &mut model.state);
    for node in network.nodes() {
        let name = |part: &str| format!("{}.{part}", node.index);
        match node.layer {
            Layer::Dense { outputs, bias } => {
                let matrix = file.require(&name("weight"), &[outputs, node.inputs])?;
                panels::pack(node.inputs, outputs, &matrix, node.weights.of_mut(params));
                if bias {
                    let values = file.require(&name("bias"), &[outputs])?;
                    node.bias.of_mut(params)[..outputs].copy_from_slice(&values);
                }
            }
            Layer::BatchNorm(_) => {
                let width = node.inputs;
                let gamma = file.take(&name("weight"), &[width])?.unwrap_or_else(|| std::vec![1.0; width]);
                let beta = file.take(&name("bias"), &[width])?.unwrap_or_else(|| std::vec![0.0; width]);
                node.weights.of_mut(params)[..width].copy_from_slice(&gamma);
                node.bias.of_mut(params)[..width].copy_from_slice(&beta);
                let state = node.state.of_mut(state);
                state[..width].copy_from_slice(&file.require(&name("running_mean"), &[width])?);
                let var = file.require(&name("running_var"), &[width])?;
                if let Some(at) = var.iter().position(|var| *var < 0.0) {
                    let problem =
                        format!("has {} as value {at} (counted from 0), a variance is never negative", var[at]);
                    return Err(InterchangeError::Value { name: name("running_var"), problem });
                }
                state[padded(width)..][..width].copy_from_slice(&var);
                let batches = file.take_count(&name("num_batches_tracked"))?.unwrap_or(1);
                set_batches_seen(state, batches);
            }
            Layer::LayerNorm(_) => {
                let width = node.inputs;
                node.weights.of_mut(params)[..width].copy_from_slice(&file.require(&name("weight"), &[width])?);
                node.bias.of_mut(params)[..width].copy_from_slice(&file.require(&name("bias"), &[width])?);
            }
            _ => {}
        }
    }
    Ok(())
}

/// Number of inputs of the network in a file that does not say it: the width of the first dense layer's weights, or
/// of the batch norms before it.
///
/// # Errors
/// [`InterchangeError::Missing`] if the first layer with parameters is not in the file.
pub fn input_width(bytes: &[u8], layers: &[Layer]) -> Result<usize, InterchangeError> {
    let file = File::read(bytes)?;
    let first = layers.iter().position(Layer::has_parameters);
    let Some(first) = first else { return Err(InterchangeError::NoNetwork) };
    let part = if matches!(layers[first], Layer::BatchNorm(_)) { "running_mean" } else { "weight" };
    file.width(&format!("{first}.{part}"))
}

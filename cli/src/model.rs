//! Reading models of every kind: folder of a run, image, checkpoint, file of PyTorch.

use std::path::{Path, PathBuf};

use evenkeel::data::Source;
use evenkeel::export::{Deviation, Options, Precision, Precisions, Report, Standardisation, export};
use evenkeel::image::AlignedBytes;
use evenkeel::image::Op;
use evenkeel::interchange::{self, InterchangeError, resume, state_dict};
use evenkeel::split::Split;
use evenkeel::{Image, Layer, Level, Loss, Mlp, Net, text};
use serde::{Deserialize, Serialize};

use crate::data::Encoding;
use crate::error::{Failure, Kind};
use crate::rows::Names;

/// What an image or a checkpoint says about itself beside the network: kept as JSON in its free text.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Note {
    /// The unfolded network.
    pub net: String,
    /// Names of the inputs, if the training data had any.
    pub features: Vec<String>,
    /// How cells that are no numbers became some.
    #[serde(skip_serializing_if = "Encoding::is_plain")]
    pub encoding: Encoding,
    /// The loss it was trained with.
    pub loss: String,
    /// Names of two classes that share one output: its 0 and its 1. Otherwise each output has a name of its own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pair: Vec<String>,
}

impl Note {
    /// Names of inputs beyond this number (pictures) are not worth their room.
    const MOST_FEATURES: usize = 4096;

    /// What a trained network says.
    #[must_use]
    pub fn new(model: &Mlp, features: &[String], encoding: &Encoding, loss: Loss) -> Self {
        let features = if features.len() <= Self::MOST_FEATURES { features.to_vec() } else { Vec::new() };
        let encoding = encoding.clone();
        Self { features, encoding, loss: loss.to_string(), ..Self::default() }.for_network(model)
    }

    /// The same for a network that was read back, or changed.
    #[must_use]
    pub fn for_network(mut self, model: &Mlp) -> Self {
        self.net = text::print(model.layers());
        self.pair = if model.network().outputs() == 1 { model.classes.clone() } else { Vec::new() };
        self.for_inputs(model.network().inputs())
    }

    /// Without what does not fit a model with so many inputs.
    #[must_use]
    pub fn for_inputs(mut self, inputs: usize) -> Self {
        if !self.features.is_empty() && self.encoding.width(&self.features) != inputs {
            self.features.clear();
        }
        if !self.encoding.fill.is_empty() && self.encoding.fill.len() != inputs {
            self.encoding = Encoding::default();
        }
        self
    }

    /// The note of an image or a checkpoint; empty if it is somebody else's text.
    #[must_use]
    pub fn read(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_default()
    }

    /// The loss, if it is known.
    #[must_use]
    pub fn loss(&self) -> Option<Loss> {
        self.loss.parse().ok()
    }

    /// As JSON.
    ///
    /// # Errors
    /// Never: it is text and lists of text.
    pub fn json(&self) -> Result<String, Failure> {
        serde_json::to_string(self).map_err(|error| Failure::new(Kind::Export, error))
    }
}

/// What the outputs of a model are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Plain numbers: logits, or the values themselves.
    Plain,
    /// The model ends with softmax, or with the sigmoid of a single output.
    Probabilities,
    /// The model ends with log-softmax.
    LogProbabilities,
}

/// A model to run, and what it says about itself.
#[derive(Debug)]
pub struct Model {
    /// How it is stored.
    pub kind: Stored,
    /// The file it was read from.
    pub path: PathBuf,
    /// Its note.
    pub note: Note,
    /// Names of its classes.
    pub classes: Vec<String>,
    /// Inputs of a row.
    pub inputs: usize,
    /// Outputs of a row.
    pub outputs: usize,
    /// What the outputs are.
    pub ending: Ending,
}

/// The two ways to store a network.
#[derive(Debug)]
pub enum Stored {
    /// A folded image.
    Image(AlignedBytes),
    /// A network as it was trained.
    Network(Box<Mlp>),
}

/// The bytes of a file.
///
/// # Errors
/// If it cannot be read.
pub fn bytes(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| Failure::at(Kind::Model, path, format_args!("cannot be read: {error}")))
}

/// The file that a path means: in a run's folder the one of this name.
///
/// # Errors
/// If the folder has none.
pub fn file_of(path: &Path, name: &str) -> Result<PathBuf, Failure> {
    if !path.is_dir() {
        return Ok(path.to_path_buf());
    }
    let file = path.join(name);
    let checkpoint = path.join("checkpoint.safetensors");
    if !file.exists() && checkpoint.exists() {
        let message = format!(
            "has no {name}: its run is not over; go on with it by evenkeel train --from {}, or name the checkpoint",
            checkpoint.display()
        );
        return Err(Failure::at(Kind::Model, path, message));
    }
    Ok(file)
}

/// Reads a model: a run's folder (its image), an image, or a checkpoint. `net` describes a checkpoint that another
/// program wrote.
///
/// # Errors
/// For a file that is none of these.
pub fn read(path: &Path, net: Option<&str>) -> Result<Model, Failure> {
    let path = file_of(path, "model.keel")?;
    let bytes = bytes(&path)?;
    if bytes.starts_with(b"KEEL") {
        return of_image(path, AlignedBytes::from(&bytes[..]));
    }
    let (mlp, note) = network(&path, &bytes, net, None)?;
    let ending = match mlp.layers().last() {
        Some(Layer::Softmax) => Ending::Probabilities,
        Some(Layer::LogSoftmax) => Ending::LogProbabilities,
        Some(Layer::Activation(evenkeel::Activation::Sigmoid)) if mlp.network().outputs() == 1 => Ending::Probabilities,
        _ => Ending::Plain,
    };
    let (inputs, outputs) = (mlp.network().inputs(), mlp.network().outputs());
    let (classes, kind) = (mlp.classes.clone(), Stored::Network(Box::new(mlp)));
    Ok(Model { kind, path, note, classes, inputs, outputs, ending })
}

/// The model in an image's bytes.
///
/// # Errors
/// If they are no image, or a damaged one.
pub fn of_image(path: PathBuf, bytes: AlignedBytes) -> Result<Model, Failure> {
    let image = Image::new(&bytes).map_err(|error| Failure::at(Kind::Model, &path, error))?;
    let (inputs, outputs) = (image.inputs(), image.outputs());
    let note = Note::read(image.note()).for_inputs(inputs);
    let names: Vec<String> = image.class_names().map(str::to_owned).collect();
    let classes = if names.is_empty() { note.pair.clone() } else { names };
    let sigmoid = Some(evenkeel::Activation::Sigmoid);
    let ending = match image.ops().last() {
        Some(Op::Softmax { .. }) => Ending::Probabilities,
        Some(Op::LogSoftmax { .. }) => Ending::LogProbabilities,
        Some(Op::Dense { activation, .. }) if activation == sigmoid && outputs == 1 => Ending::Probabilities,
        Some(Op::Activation { activation, .. }) if Some(activation) == sigmoid && outputs == 1 => Ending::Probabilities,
        _ => Ending::Plain,
    };
    Ok(Model { kind: Stored::Image(bytes), path, note, classes, inputs, outputs, ending })
}

/// Refuses what is no safetensors file before its reader complains about JSON.
///
/// # Errors
/// Says what the file should be.
pub fn check_is_checkpoint(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    if bytes.get(8) == Some(&b'{') {
        return Ok(());
    }
    let message = "neither an image (.keel) nor a checkpoint (.safetensors), or a damaged one";
    Err(Failure::at(Kind::Model, path, message))
}

/// Reads a checkpoint's network.
///
/// # Errors
/// For a damaged file, one of another network, or one that does not say its network when none is given.
pub fn network(path: &Path, bytes: &[u8], net: Option<&str>, inputs: Option<usize>) -> Result<(Mlp, Note), Failure> {
    check_is_checkpoint(path, bytes)?;
    let fails = |error: &dyn std::fmt::Display| Failure::at(Kind::Model, path, error);
    let Some(net) = net else {
        let model = match resume::read(bytes) {
            Ok(resume::Saved::Network(model)) => model,
            Ok(resume::Saved::Run(run)) => run.model,
            Err(error @ InterchangeError::NoNetwork) => {
                return Err(fails(&format_args!("{error}: --net \"dense(64) bn relu dense(10)\"")));
            }
            Err(error) => return Err(fails(&error)),
        };
        let note = Note::read(&interchange::note(bytes).map_err(|error| fails(&error))?).for_network(&model);
        return Ok((model, note));
    };
    let layers = text::parse(net).map_err(|error| Failure::new(Kind::Usage, format_args!("--net: {error}")))?;
    let inputs = match inputs {
        Some(inputs) => inputs,
        None => state_dict::input_width(bytes, &layers).map_err(|error| fails(&error))?,
    };
    let network = evenkeel::Network::new(inputs, &layers)?;
    state_dict::check_fits(bytes, &network).map_err(|error| fails(&error))?;
    let mut model = Mlp::new(inputs, layers)?;
    state_dict::load(&mut model, bytes).map_err(|error| fails(&error))?;
    let note = Note::read(&interchange::note(bytes).map_err(|error| fails(&error))?).for_network(&model);
    Ok((model, note))
}

/// Folds a network and measures what that did to the outputs of `probe` (raw rows), if there are any.
///
/// # Errors
/// If it cannot be folded.
pub fn fold(
    model: &Mlp,
    precision: Precision,
    note: &Note,
    probe: Option<Source<'_>>,
    level: Level,
    split: &impl Split,
) -> Result<(AlignedBytes, Report), Failure> {
    let mut classes: Vec<&str> = model.classes.iter().map(String::as_str).collect();
    if classes.len() != model.network().outputs() {
        classes.clear();
    }
    let note = note.json()?;
    let options = Options {
        precision: Precisions::All(precision),
        standardisation: model
            .standardize
            .as_ref()
            .map(|standardize| Standardisation { mean: &standardize.mean, inv_std: &standardize.inv_std }),
        class_names: &classes,
        note: &note,
    };
    let (image, mut report) = export(&model.network(), &model.params, &model.state, &options)?;
    if let Some(probe) = probe.filter(|probe| probe.rows(model.network().inputs()) > 0) {
        let reference = model.predict_any(level, split, probe)?;
        let outputs = run(&image, level, split, probe, 256)?;
        report.probe = Some(Deviation::between(&reference, &outputs)?);
    }
    Ok((image, report))
}

/// Outputs of an image for raw rows, `batch` rows at a time.
///
/// # Errors
/// If the rows do not fit the image.
pub fn run(
    image: &[u8],
    level: Level,
    split: &impl Split,
    inputs: Source<'_>,
    batch: usize,
) -> Result<Vec<f32>, Failure> {
    let image = Image::new(image).map_err(|error| Failure::new(Kind::Model, error))?;
    let net = Net::new(image);
    let rows = inputs.rows(net.inputs());
    let mut outputs = vec![0.0; rows * net.outputs()];
    let mut scratch = vec![0.0; net.scratch_len(batch.clamp(1, rows.max(1)))];
    match inputs {
        Source::Values(values) => net.infer(level, split, values, &mut outputs, &mut scratch)?,
        Source::Lists(lists) => net.infer_lists(level, split, lists, &mut outputs, &mut scratch)?,
        Source::Stored(_) => {
            let mut left = &mut outputs[..];
            inputs.blocks(net.inputs(), &mut |block| {
                let out = left.split_off_mut(..block.len() / net.inputs() * net.outputs()).unwrap_or_default();
                net.infer(level, split, block, out, &mut scratch)
            })?;
        }
    }
    Ok(outputs)
}

impl Model {
    /// What it says about its data.
    #[must_use]
    pub fn names(&self) -> Names<'_> {
        let encoding = Some(&self.note.encoding);
        Names { features: &self.note.features, classes: &self.classes, inputs: self.inputs, encoding }
    }

    /// Raw outputs of the last layer for rows of raw inputs.
    ///
    /// # Errors
    /// If the rows do not fit.
    pub fn run(&self, level: Level, split: &impl Split, inputs: Source<'_>, batch: usize) -> Result<Vec<f32>, Failure> {
        match &self.kind {
            Stored::Image(bytes) => run(bytes, level, split, inputs, batch),
            Stored::Network(model) => Ok(model.predict_any(level, split, inputs)?),
        }
    }

    /// The class that a row of outputs means.
    #[must_use]
    pub fn class(&self, row: &[f32]) -> usize {
        match row {
            [value] => usize::from(*value > if self.ending == Ending::Probabilities { 0.5 } else { 0.0 }),
            row => evenkeel::train::loss::best(row),
        }
    }
}

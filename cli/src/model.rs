//! Reading models of every kind: folder of a run, image, checkpoint, file of PyTorch.

use std::path::{Path, PathBuf};

use evenkeel::export::{Deviation, Options, Precision, Precisions, Report, Standardisation, export};
use evenkeel::image::AlignedBytes;
use evenkeel::interchange::{resume, state_dict};
use evenkeel::split::Split;
use evenkeel::{Image, Level, Mlp, Net, text};
use serde::{Deserialize, Serialize};

use crate::error::{Failure, Kind};

/// What an image says about itself beside the network: kept as JSON in its free text.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Note {
    /// The unfolded network.
    pub net: String,
    /// Names of the inputs, if the training data had any.
    pub features: Vec<String>,
    /// The loss it was trained with.
    pub loss: String,
}

impl Note {
    /// The note of an image; empty if it is somebody else's text.
    #[must_use]
    pub fn of(image: &Image<'_>) -> Self {
        serde_json::from_str(image.note()).unwrap_or_default()
    }
}

/// A model to run.
#[derive(Debug)]
pub enum Model {
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

/// Reads a model: a run's folder (its image), an image, or a checkpoint. `net` and `inputs` describe a checkpoint that
/// another program wrote.
///
/// # Errors
/// For a file that is none of these.
pub fn read(path: &Path, net: Option<&str>, inputs: Option<usize>) -> Result<(Model, PathBuf), Failure> {
    let path = if path.is_dir() { path.join("model.keel") } else { path.to_path_buf() };
    let bytes = bytes(&path)?;
    if bytes.starts_with(b"KEEL") {
        let image = AlignedBytes::from(&bytes[..]);
        Image::new(&image).map_err(|error| Failure::at(Kind::Model, &path, error))?;
        return Ok((Model::Image(image), path));
    }
    if bytes.len() < 8 || bytes.get(8) != Some(&b'{') {
        let message = "neither an image (.keel) nor a checkpoint (.safetensors), or a damaged one";
        return Err(Failure::at(Kind::Model, &path, message));
    }
    let model = network(&path, &bytes, net, inputs)?;
    Ok((Model::Network(Box::new(model)), path))
}

/// Reads a checkpoint's network.
///
/// # Errors
/// For a damaged file, one of another network, or one that does not say its network when none is given.
pub fn network(path: &Path, bytes: &[u8], net: Option<&str>, inputs: Option<usize>) -> Result<Mlp, Failure> {
    let fails = |error: &dyn std::fmt::Display| Failure::at(Kind::Model, path, error);
    let Some(net) = net else {
        return match resume::read(bytes) {
            Ok(resume::Saved::Network(model)) => Ok(model),
            Ok(resume::Saved::Run(run)) => Ok(run.model),
            Err(error @ evenkeel::interchange::InterchangeError::NoNetwork) => {
                Err(fails(&format_args!("{error}: --net \"dense(64) bn relu dense(10)\"")))
            }
            Err(error) => Err(fails(&error)),
        };
    };
    let layers = text::parse(net).map_err(|error| Failure::new(Kind::Usage, error))?;
    let inputs = match inputs {
        Some(inputs) => inputs,
        None => state_dict::input_width(bytes, &layers).map_err(|error| fails(&error))?,
    };
    let mut model = Mlp::new(inputs, layers)?;
    state_dict::load(&mut model, bytes).map_err(|error| fails(&error))?;
    Ok(model)
}

/// Folds a network and measures what that did to the outputs of `probe` (raw rows), if there are any.
///
/// # Errors
/// If it cannot be folded.
pub fn fold(
    model: &Mlp,
    precision: Precision,
    note: &Note,
    probe: Option<&[f32]>,
    level: Level,
    split: &impl Split,
) -> Result<(AlignedBytes, Report), Failure> {
    let classes: Vec<&str> = model.classes.iter().map(String::as_str).collect();
    let note = serde_json::to_string(note).map_err(|error| Failure::new(Kind::Export, error))?;
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
    if let Some(probe) = probe.filter(|probe| !probe.is_empty()) {
        let reference = model.predict(level, split, probe)?;
        let outputs = run(&image, level, split, probe, 256)?;
        report.probe = Some(Deviation::between(&reference, &outputs)?);
    }
    Ok((image, report))
}

/// Outputs of an image for raw rows, `batch` rows at a time.
///
/// # Errors
/// If the rows do not fit the image.
pub fn run(image: &[u8], level: Level, split: &impl Split, inputs: &[f32], batch: usize) -> Result<Vec<f32>, Failure> {
    let image = Image::new(image).map_err(|error| Failure::new(Kind::Model, error))?;
    let net = Net::new(image);
    let rows = inputs.len() / net.inputs();
    let mut outputs = vec![0.0; rows * net.outputs()];
    let mut scratch = vec![0.0; net.scratch_len(batch.clamp(1, rows.max(1)))];
    net.infer(level, split, inputs, &mut outputs, &mut scratch)?;
    Ok(outputs)
}

impl Model {
    /// Number of inputs and outputs.
    ///
    /// # Errors
    /// Never after [`read`].
    pub fn shape(&self) -> Result<(usize, usize), Failure> {
        match self {
            Model::Image(bytes) => {
                let image = Image::new(bytes).map_err(|error| Failure::new(Kind::Model, error))?;
                Ok((image.inputs(), image.outputs()))
            }
            Model::Network(model) => Ok((model.network().inputs(), model.network().outputs())),
        }
    }

    /// Names of the classes, and what else the model says about itself.
    ///
    /// # Errors
    /// Never after [`read`].
    pub fn texts(&self) -> Result<(Vec<String>, Note), Failure> {
        match self {
            Model::Image(bytes) => {
                let image = Image::new(bytes).map_err(|error| Failure::new(Kind::Model, error))?;
                Ok((image.class_names().map(str::to_owned).collect(), Note::of(&image)))
            }
            Model::Network(model) => {
                Ok((model.classes.clone(), Note { net: text::print(model.layers()), ..Note::default() }))
            }
        }
    }

    /// Raw outputs of the last layer for rows of raw inputs.
    ///
    /// # Errors
    /// If the rows do not fit.
    pub fn outputs(&self, level: Level, split: &impl Split, inputs: &[f32], batch: usize) -> Result<Vec<f32>, Failure> {
        match self {
            Model::Image(bytes) => run(bytes, level, split, inputs, batch),
            Model::Network(model) => Ok(model.predict(level, split, inputs)?),
        }
    }
}

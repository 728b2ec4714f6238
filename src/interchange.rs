//! Checkpoints in the safetensors format: what PyTorch reads and writes, and what a run needs to go on.
//!
//! | module | file | holds |
//! |---|---|---|
//! | [`state_dict`] | `model.safetensors` | the tensors of the same `torch.nn.Sequential`'s `state_dict`, nothing else |
//! | [`resume`] | `checkpoint.safetensors` | the same, and moments, best weights and counters of a run |
//!
//! Layer `i` of the network is module `i` of the `Sequential`: `0.weight` is `[outputs, inputs]`, `1.running_mean`,
//! `1.num_batches_tracked` and so on. The network's text, input standardisation and class names travel in the
//! file's metadata, where PyTorch does not look. Files written here carry a CRC-32 of every byte and are refused if
//! it does not fit; files of others have none.

pub mod resume;
pub mod state_dict;

mod file;

use std::format;
use std::string::String;
use std::vec::Vec;

/// What a header says about a tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// Its name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// The type of its values: `f32`, `bf16`, `i64` and so on.
    pub dtype: String,
}

/// The tensors of any safetensors file, in alphabetical order.
///
/// # Errors
/// [`InterchangeError::Format`] or [`InterchangeError::Checksum`] for a damaged file.
pub fn tensors(bytes: &[u8]) -> Result<Vec<TensorInfo>, InterchangeError> {
    Ok(file::File::read(bytes)?.describe())
}

/// The free text that a file written here carries; empty if it has none.
///
/// # Errors
/// As [`tensors`].
pub fn note(bytes: &[u8]) -> Result<String, InterchangeError> {
    Ok(file::File::read(bytes)?.metadata.remove(NOTE).unwrap_or_default())
}

/// The metadata key of [`note`].
const NOTE: &str = "evenkeel.note";

/// Why a checkpoint cannot be read, or not into this network.
#[derive(Debug)]
#[non_exhaustive]
pub enum InterchangeError {
    /// Not a safetensors file, or a damaged one.
    Format(String),
    /// The checksum does not fit: a byte has changed since the file was written.
    Checksum,
    /// A tensor that the network needs is not there.
    Missing {
        /// Its name.
        name: String,
        /// The names that are there.
        found: Vec<String>,
    },
    /// A tensor has another shape than the network asks for.
    Shape {
        /// Its name.
        name: String,
        /// The shape that the network asks for.
        expected: Vec<usize>,
        /// The shape in the file.
        found: Vec<usize>,
    },
    /// A tensor holds a value that a network cannot use, or values of a type that it cannot take.
    Value {
        /// Its name.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Tensors that no layer of the network wants.
    Unwanted(Vec<String>),
    /// The file does not say which network it belongs to, and none was given.
    NoNetwork,
    /// Metadata that cannot be understood.
    Metadata {
        /// Its key.
        key: String,
        /// What is wrong.
        problem: String,
    },
}

impl core::fmt::Display for InterchangeError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            InterchangeError::Format(problem) => write!(f, "not a sound safetensors file: {problem}"),
            InterchangeError::Checksum => {
                f.write_str("the checksum does not fit: the file was damaged or changed after it was written")
            }
            InterchangeError::Missing { name, found } => write!(
                f,
                "tensor {} is missing; the file has {}: does it belong to another network?",
                shown(name),
                list(found)
            ),
            InterchangeError::Shape { name, expected, found } => {
                let (name, found) = (shown(name), clipped(&format!("{found:?}"), 80));
                write!(f, "tensor {name} has shape {found}, the network needs {expected:?}")
            }
            InterchangeError::Value { name, problem } => write!(f, "tensor {} {problem}", shown(name)),
            InterchangeError::Unwanted(names) => {
                write!(f, "no layer of the network wants {}: does the file belong to another one?", list(names))
            }
            InterchangeError::NoNetwork => f.write_str(
                "the file does not say what network it belongs to (another program wrote it): give its layers as text",
            ),
            InterchangeError::Metadata { key, problem } => write!(f, "metadata {key}: {problem}"),
        }
    }
}

impl core::error::Error for InterchangeError {}

/// A name as it can be shown: control characters escaped, no longer than a line.
fn shown(name: &str) -> String {
    clipped(&format!("{}", name.escape_debug()), 60)
}

fn clipped(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        None => text.into(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

/// The first names, and how many more there are.
fn list(names: &[String]) -> String {
    const SHOWN: usize = 12;
    let mut text = names.iter().take(SHOWN).map(|name| shown(name)).collect::<Vec<_>>().join(", ");
    if names.is_empty() {
        text.push_str("no tensors");
    } else if names.len() > SHOWN {
        text.push_str(&format!(" and {} more", names.len() - SHOWN));
    }
    text
}

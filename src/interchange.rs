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

use std::string::String;
use std::vec::Vec;

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
                "tensor {name} is missing; the file has {}: does it belong to another network?",
                if found.is_empty() { "no tensors".into() } else { found.join(", ") }
            ),
            InterchangeError::Shape { name, expected, found } => {
                write!(f, "tensor {name} has shape {found:?}, the network needs {expected:?}")
            }
            InterchangeError::Unwanted(names) => {
                write!(f, "no layer of the network wants {}: does the file belong to another one?", names.join(", "))
            }
            InterchangeError::NoNetwork => f.write_str(
                "the file does not say what network it belongs to (another program wrote it): give its layers as text",
            ),
            InterchangeError::Metadata { key, problem } => write!(f, "metadata {key}: {problem}"),
        }
    }
}

impl core::error::Error for InterchangeError {}

//! What a run starts from: nothing, weights, or itself.

use std::path::{Path, PathBuf};

use evenkeel::Mlp;
use evenkeel::interchange::{self, InterchangeError, resume};

use crate::data::Encoding;
use crate::model::Note;
use crate::options::TrainOptions;

/// What a run starts from.
#[derive(Clone, Debug)]
pub enum Origin {
    /// New weights.
    New,
    /// The weights of a file, and what it says about their data.
    Weights(Box<Mlp>, Note),
    /// A run that goes on, what it says about its data, and the file that held it.
    Run(Box<resume::Resume>, Note, PathBuf),
}

impl Origin {
    /// What the bytes of a safetensors file of this program hold.
    ///
    /// # Errors
    /// If they are damaged, or of another program.
    pub fn read(path: &Path, bytes: &[u8]) -> Result<Self, InterchangeError> {
        let saved = resume::read(bytes)?;
        let note = Note::read(&interchange::note(bytes)?);
        Ok(match saved {
            resume::Saved::Run(run) => {
                let note = note.for_network(&run.model);
                Self::Run(Box::new(run), note, path.to_path_buf())
            }
            resume::Saved::Network(model) => {
                let note = note.for_network(&model);
                Self::Weights(Box::new(model), note)
            }
        })
    }

    /// The network to begin with, and what is said about its data.
    pub(super) fn known(&self) -> Option<(&Mlp, &Note)> {
        match self {
            Self::New => None,
            Self::Weights(model, note) => Some((model, note)),
            Self::Run(run, note, _) => Some((&run.model, note)),
        }
    }

    /// How the network's inputs were made of columns; nothing if the file does not say, or the options choose anew.
    pub(super) fn encoding(&self, options: &TrainOptions) -> Option<Encoding> {
        let (_, note) = self.known().filter(|(_, note)| !note.features.is_empty() || !note.encoding.is_plain())?;
        if note.encoding.categories.is_empty() && options.categorical.is_some() {
            return None;
        }
        let mut encoding = note.encoding.clone();
        if let Some(missing) = options.missing.filter(|missing| *missing != encoding.missing) {
            (encoding.missing, encoding.fill) = (missing, Vec::new());
        }
        Some(encoding)
    }
}

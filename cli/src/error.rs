//! What can go wrong in the command, and the exit code of each kind.

use std::fmt;
use std::path::Path;

/// A failure with the message a user reads.
#[derive(Debug)]
pub struct Failure {
    /// What kind it is.
    pub kind: Kind,
    /// What is wrong, where, and what to do.
    pub message: String,
}

/// Kinds of failure; the discriminant is the exit code, as `evenkeel --help` and the README list them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Options that do not fit together, or a network text with a mistake.
    Usage = 2,
    /// A data file that cannot be read.
    Data = 3,
    /// A model, checkpoint or image that cannot be read, or is of another shape.
    Model = 4,
    /// Training diverged.
    Diverged = 5,
    /// A network that cannot be folded.
    Export = 6,
    /// A file or folder that cannot be written.
    Write = 7,
    /// Stopped by Ctrl-C; the checkpoint has been written.
    Interrupted = 130,
}

impl Failure {
    /// A failure of this kind.
    ///
    /// The message becomes one line, whatever a file's name or a library's text brings along.
    pub fn new(kind: Kind, message: impl fmt::Display) -> Self {
        let message = message.to_string();
        let words = message.split(['\n', '\r']).map(str::trim).filter(|line| !line.is_empty());
        Self { kind, message: words.collect::<Vec<_>>().join(" ") }
    }

    /// A failure about a file.
    pub fn at(kind: Kind, path: &Path, message: impl fmt::Display) -> Self {
        Self::new(kind, format_args!("{}: {message}", path.display()))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl From<crate::data::Error> for Failure {
    fn from(error: crate::data::Error) -> Self {
        let kind = if matches!(error, crate::data::Error::Spool { .. }) { Kind::Write } else { Kind::Data };
        Self::new(kind, error)
    }
}

impl From<crate::atomic::SaveError> for Failure {
    fn from(error: crate::atomic::SaveError) -> Self {
        Self::new(Kind::Write, error)
    }
}

impl From<evenkeel::Error> for Failure {
    fn from(error: evenkeel::Error) -> Self {
        let kind = match error {
            evenkeel::Error::Label { .. } | evenkeel::Error::Read { .. } => Kind::Data,
            evenkeel::Error::NonFinite { .. } => Kind::Model,
            _ => Kind::Usage,
        };
        Self::new(kind, error)
    }
}

impl From<evenkeel::export::FoldError> for Failure {
    fn from(error: evenkeel::export::FoldError) -> Self {
        Self::new(Kind::Export, error)
    }
}

impl From<evenkeel::fit::FitError> for Failure {
    fn from(error: evenkeel::fit::FitError) -> Self {
        let kind = match error {
            evenkeel::fit::FitError::NonFinite { .. } => Kind::Diverged,
            evenkeel::fit::FitError::Setup(error @ evenkeel::Error::Read { .. }) => return error.into(),
            _ => Kind::Usage,
        };
        Self::new(kind, error)
    }
}

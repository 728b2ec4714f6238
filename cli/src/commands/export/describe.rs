//! What a program wants to know about an image, ready to be written into sources.
//!
//! An image's texts may be a stranger's: none goes into a source but as a string with everything unusual escaped, or after
//! the network's own parser has read it.

use evenkeel::{Image, text};

use super::scratch_of;
use crate::error::{Failure, Kind};
use crate::model::{Ending, Model};

/// An image and what it says about itself.
pub(super) struct Described<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) image: Image<'a>,
    pub(super) scratch: usize,
    /// Names of the inputs; empty if they are not known.
    pub(super) features: Vec<String>,
    /// Names of the classes; empty if they have none.
    pub(super) classes: &'a [String],
    /// How the class is read from the outputs, if they mean classes.
    pub(super) rule: Option<Rule>,
    /// Lines for people.
    pub(super) about: Vec<String>,
    /// What the outputs are.
    pub(super) outputs: &'static str,
}

/// From outputs to a class.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Rule {
    /// The largest output.
    Largest,
    /// Class 1 if the single output is above this.
    Above(&'static str),
}

impl<'a> Described<'a> {
    pub(super) fn new(model: &'a Model, bytes: &'a [u8]) -> Result<Self, Failure> {
        let image = Image::new(bytes).map_err(|error| Failure::at(Kind::Model, &model.path, error))?;
        let loss = model.note.loss();
        let classified = !model.classes.is_empty() || loss.is_some_and(|loss| loss.takes_classes() || loss.is_binary());
        let rule = match (classified, model.outputs, model.ending) {
            (false, ..) => None,
            (true, 1, Ending::Probabilities) => Some(Rule::Above("0.5")),
            (true, 1, _) => Some(Rule::Above("0.0")),
            (true, ..) => Some(Rule::Largest),
        };
        let outputs = match (model.ending, rule) {
            (Ending::Probabilities, _) => "probabilities",
            (Ending::LogProbabilities, _) => "logarithms of probabilities",
            (Ending::Plain, Some(Rule::Largest)) => "a score for each class",
            (Ending::Plain, Some(Rule::Above(_))) => "a score, positive for class 1",
            (Ending::Plain, None) => "plain values",
        };
        let mut about = Vec::new();
        if let Ok(layers) = text::parse(&model.note.net) {
            about.push(format!("Trained as {}.", text::print(&layers)));
        }
        if image.is_standardised() {
            about.push("Rows are raw values: the standardisation of the inputs is folded in.".into());
        }
        let mut features = model.note.encoding.input_names(&model.note.features);
        if features.len() != model.inputs {
            features.clear();
        }
        Ok(Self { bytes, image, scratch: scratch_of(image), features, classes: &model.classes, rule, about, outputs })
    }
}

/// Lower-case ASCII letters, digits and underscores; begins with a letter.
pub(super) fn identifier(stem: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
    let name: String = stem.chars().map(plain).collect();
    if name.starts_with(|c: char| c.is_ascii_lowercase()) { name } else { format!("model_{name}") }
}

/// Literals with commas, in lines of at most 118 columns with four blanks in front.
pub(super) fn wrapped(literals: impl Iterator<Item = String>) -> String {
    let (mut text, mut column) = (String::new(), 0);
    for literal in literals {
        let width = literal.chars().count() + 2;
        if column == 0 || column + width > 118 {
            text += if column == 0 { "    " } else { "\n    " };
            column = 4;
        } else {
            text.push(' ');
        }
        text += &literal;
        text.push(',');
        column += width;
    }
    text
}

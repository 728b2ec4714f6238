//! What stands in parentheses.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::layer::Dialect;

/// The arguments of one layer (or of an optimiser, or a schedule): by position first, then by name.
pub(crate) struct Arguments<'a> {
    layer: &'a str,
    parts: Vec<&'a str>,
}

impl<'a> Arguments<'a> {
    pub(crate) fn new(layer: &'a str, text: &'a str) -> Self {
        Self { layer, parts: text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect() }
    }

    fn take(&mut self, name: &str) -> Option<&'a str> {
        let named = self.parts.iter().position(|part| part.split_once('=').is_some_and(|(key, _)| key.trim() == name));
        if let Some(at) = named {
            return self.parts.remove(at).split_once('=').map(|(_, value)| value.trim());
        }
        let positional = self.parts.first().is_some_and(|part| !part.contains('='));
        positional.then(|| self.parts.remove(0))
    }

    /// An argument that is only given by its name.
    pub(super) fn named(&mut self, name: &str) -> Option<&'a str> {
        let at = self.parts.iter().position(|part| part.split_once('=').is_some_and(|(key, _)| key.trim() == name))?;
        self.parts.remove(at).split_once('=').map(|(_, value)| value.trim())
    }

    /// The dialect, first or by name.
    pub(super) fn dialect(&mut self, layer: &str, default: Dialect) -> Result<Dialect, String> {
        match self.take("dialect") {
            None => Ok(default),
            Some("torch") => Ok(Dialect::Torch),
            Some("keras") => Ok(Dialect::Keras),
            Some(other) => {
                Err(format!("{layer} takes torch or keras, or named arguments such as eps=1e-5, not {other:?}"))
            }
        }
    }

    pub(crate) fn optional<T: core::str::FromStr>(&mut self, name: &str, default: T) -> Result<T, String> {
        match self.take(name) {
            None => Ok(default),
            Some(text) => self.read(name, text),
        }
    }

    pub(crate) fn required<T: core::str::FromStr>(&mut self, name: &str, wanted: &str) -> Result<T, String> {
        match self.take(name) {
            None => Err(format!("{} needs {wanted}", self.layer)),
            Some(text) => self.read(name, text),
        }
    }

    pub(super) fn read<T: core::str::FromStr>(&self, name: &str, text: &str) -> Result<T, String> {
        text.parse().map_err(|_| format!("{text:?} is not a value for {name} of {}", self.layer))
    }

    pub(crate) fn finish(self) -> Result<(), String> {
        match self.parts.first() {
            None => Ok(()),
            Some(part) => Err(format!("{} does not take {part:?}", self.layer)),
        }
    }
}

//! What host and device both compute: the device runs it, and so does the host (`tests/firmware.rs` includes this file by
//! its path, for which it has to be a `mod.rs`).
//!
//! Inputs, targets, initial weights and the order of everything are functions of constants, so that the results alone need
//! to be stored. All memory is the caller's.

pub(crate) mod golden;
mod inference;
mod training;

use evenkeel::{Error, Level, Net};

/// What a value belongs to; where a level rounds twice, each has its own bound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Stage {
    /// Outputs of an image.
    Inference,
    /// What training leads to.
    Training,
}

/// Takes the results, in the order in which they are computed.
pub(crate) trait Sink {
    /// Values of the run `run`, called `part`.
    fn floats(&mut self, stage: Stage, run: &str, part: &str, values: &[f32]);
    /// The same in double precision.
    fn doubles(&mut self, stage: Stage, run: &str, part: &str, values: &[f64]);
}

/// The images: file names without their ending. `tests/firmware.rs` says what is in them.
pub(crate) const IMAGES: [&str; 6] = ["plain-f32", "plain-f16", "every-f32", "every-f16", "wide-f32", "wide-f16"];

/// Results of all images.
pub(crate) fn images(
    level: Level,
    nets: &[Net<'_>; IMAGES.len()],
    memory: &mut [f32],
    sink: &mut dyn Sink,
) -> Result<(), Error> {
    IMAGES.iter().zip(nets).try_for_each(|(name, net)| inference::run(level, name, net, memory, sink))
}

/// Results of all trainings.
pub(crate) fn training(level: Level, memory: &mut [f32], sink: &mut dyn Sink) -> Result<(), Error> {
    training::RECIPES.iter().try_for_each(|recipe| recipe.run(level, memory, sink))
}

/// Values of memory that [`images`] takes.
pub(crate) const IMAGES_MEMORY: usize = inference::MEMORY;
/// Values of memory that [`training`] takes.
pub(crate) const TRAINING_MEMORY: usize = training::memory(&training::RECIPES);

/// Cuts memory into pieces.
struct Memory<'m>(&'m mut [f32]);

impl<'m> Memory<'m> {
    /// The next `len` values, all 0.
    fn take(&mut self, len: usize) -> Result<&'m mut [f32], Error> {
        let rest = core::mem::take(&mut self.0);
        let found = rest.len();
        let (piece, rest) =
            rest.split_at_mut_checked(len).ok_or(Error::Length { what: "memory of the run", expected: len, found })?;
        self.0 = rest;
        piece.fill(0.0);
        Ok(piece)
    }
}

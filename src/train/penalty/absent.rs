//! In place of `passes`, where the feature `toolbox` is off: everything is refused.

use super::Constraint;
use crate::Level;
use crate::error::Error;
use crate::split::Split;

/// Refused without the feature `toolbox`.
///
/// # Errors
/// [`Error::Toolbox`], always.
pub fn add_l1(_: Level, _: &impl Split, _: (f32, f32), _: &[f32], _: &mut [f32]) -> Result<(), Error> {
    Err(Error::Toolbox)
}

pub(in crate::train) fn shrink(_: Level, _: &impl Split, _: f32, _: &mut [f32]) -> Result<(), Error> {
    Err(Error::Toolbox)
}

/// Refused without the feature `toolbox`.
///
/// # Errors
/// [`Error::Toolbox`], always.
pub fn constrain(_: Level, _: &impl Split, _: Constraint, _: (usize, usize), _: &mut [f32]) -> Result<(), Error> {
    Err(Error::Toolbox)
}

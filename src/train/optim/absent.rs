//! In place of `more`, where the feature `toolbox` is off: an optimiser beyond SGD and Adam is refused.

use super::Optimizer;
use super::factors::Factors;
use crate::Level;
use crate::error::Error;
use crate::split::Split;

/// The moments of an optimiser that is not there.
#[derive(Clone, Copy, Debug)]
pub(super) struct More(u8);

impl More {
    pub(super) fn of(optimizer: &Optimizer, _: u64, _: f32) -> Self {
        Self(optimizer.moments() as u8)
    }

    pub(super) fn moments(&self) -> usize {
        usize::from(self.0)
    }

    pub(super) fn set_share(&mut self, _: f32) {}

    pub(super) fn decays(&self) -> bool {
        false
    }

    pub(super) fn drop_decay(&mut self) {}

    pub(super) fn by_layer(&self) -> bool {
        false
    }
}

pub(super) fn step(
    _: Level,
    _: &impl Split,
    _: More,
    _: Factors,
    _: &mut [f32],
    _: &[f32],
    _: [&mut [f32]; 3],
) -> Result<(), Error> {
    Err(Error::Toolbox)
}

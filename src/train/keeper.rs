//! Early stopping that keeps the best weights, in an array of the caller.

use super::{EarlyStopping, Session, StopState, stop::Verdict};
use crate::error::{Error, check_len};
use crate::plan::Plan;
use crate::split::Split;

/// Judges each epoch (or whatever a device calls one), keeps what training has changed when it is the best so far, and
/// puts it back at the end. Frozen parameters and statistics are not kept: they do not change.
#[derive(Debug)]
pub struct Keeper<'m> {
    stopping: EarlyStopping,
    stop: StopState,
    epoch: u32,
    best: &'m mut [f32],
}

impl<'m> Keeper<'m> {
    /// `best` has [`Plan::best_len`] values, contents irrelevant.
    ///
    /// # Errors
    /// [`Error::Length`] if it has not.
    pub fn new(stopping: EarlyStopping, best: &'m mut [f32], plan: &Plan) -> Result<Self, Error> {
        check_len("best weights", plan.best_len(), best.len())?;
        Ok(Self { stopping, stop: StopState::default(), epoch: 0, best })
    }

    /// Judges the value of the next epoch, and keeps the weights if it is the best.
    ///
    /// # Errors
    /// [`Error::Length`] if the session is of another plan.
    pub fn observe<P: Split>(&mut self, session: &Session<'_, P>, value: f64) -> Result<Verdict, Error> {
        check_len("best weights", session.plan().best_len(), self.best.len())?;
        let verdict = self.stopping.observe(&mut self.stop, self.epoch, value);
        self.epoch = self.epoch.saturating_add(1);
        if verdict.improved {
            let (params, state) = session.weights();
            let (frozen, still) = begin(session.plan());
            let (best_params, best_state) = self.best.split_at_mut(session.plan().trained);
            best_params.copy_from_slice(&params[frozen..]);
            best_state.copy_from_slice(&state[still..]);
        }
        Ok(verdict)
    }

    /// The best value and its epoch, counted from 0.
    #[must_use]
    pub const fn best(&self) -> Option<(f64, u32)> {
        self.stop.best
    }

    /// Puts the best weights in place of the present ones; false if there are none, as nothing was observed but NaN.
    ///
    /// # Errors
    /// [`Error::Length`] if the session is of another plan.
    pub fn restore<P: Split>(&self, session: &mut Session<'_, P>) -> Result<bool, Error> {
        let plan = *session.plan();
        check_len("best weights", plan.best_len(), self.best.len())?;
        if self.stop.best.is_none() {
            return Ok(false);
        }
        let (frozen, still) = begin(&plan);
        let (best_params, best_state) = self.best.split_at(plan.trained);
        let (params, state) = session.weights_mut();
        params[frozen..].copy_from_slice(best_params);
        state[still..].copy_from_slice(best_state);
        Ok(true)
    }
}

/// Where the parameters and the state that change begin.
const fn begin(plan: &Plan) -> (usize, usize) {
    (plan.params - plan.trained, plan.state - plan.moving)
}

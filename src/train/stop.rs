//! Early stopping, with the arguments and the semantics of Keras' callback.
//!
//! One deliberate difference: a NaN is never an improvement. In Keras a NaN in the first monitored epoch becomes
//! the best value for ever.

/// Whether smaller or larger values are better.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Smaller is better (losses).
    #[default]
    Min,
    /// Larger is better (accuracies).
    Max,
}

/// When to stop; the defaults are Keras'.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EarlyStopping {
    /// Whether smaller or larger values are better.
    pub mode: Mode,
    /// Epochs without improvement after which training stops. 0 and 1 both stop at the first.
    pub patience: u32,
    /// A value must be better than the best by more than this (its absolute value is taken).
    pub min_delta: f64,
    /// A value that must be beaten as well before the patience starts anew.
    pub baseline: Option<f64>,
    /// Epochs before this one (counted from 0) are not looked at.
    pub start_from_epoch: u32,
}

impl EarlyStopping {
    /// Stops after `patience` epochs without a smaller value.
    #[must_use]
    pub const fn patience(patience: u32) -> Self {
        Self { mode: Mode::Min, patience, min_delta: 0.0, baseline: None, start_from_epoch: 0 }
    }
}

impl Default for EarlyStopping {
    fn default() -> Self {
        Self::patience(0)
    }
}

/// What is remembered between epochs; plain values, so it can be stored and restored.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StopState {
    /// The best value and its epoch.
    pub best: Option<(f64, u32)>,
    /// Epochs since the last improvement that counted.
    pub wait: u32,
}

/// What to do after an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// This epoch is the best so far: keep its weights.
    pub improved: bool,
    /// Stop now.
    pub stop: bool,
}

impl EarlyStopping {
    fn better(&self, value: f64, than: f64) -> bool {
        let margin = self.min_delta.abs();
        match self.mode {
            Mode::Min => value < than - margin,
            Mode::Max => value > than + margin,
        }
    }

    /// Judges the monitored value of `epoch` (counted from 0).
    pub fn observe(&self, state: &mut StopState, epoch: u32, value: f64) -> Verdict {
        if epoch < self.start_from_epoch {
            return Verdict { improved: false, stop: false };
        }
        state.wait = state.wait.saturating_add(1);
        let improved = match state.best {
            None => !value.is_nan(),
            Some((best, _)) => self.better(value, best),
        };
        if improved {
            state.best = Some((value, epoch));
            if self.baseline.is_none_or(|baseline| self.better(value, baseline)) {
                state.wait = 0;
            }
        }
        Verdict { improved, stop: !improved && state.wait >= self.patience && epoch > 0 }
    }
}

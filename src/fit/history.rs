//! What a run tells: the figures of each epoch, which of them decides, and what an observer hears.

use alloc::vec::Vec;

use crate::train::Mode;

/// Which figure of an epoch early stopping looks at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Monitor {
    /// Validation loss; training loss if there is no validation data.
    #[default]
    ValLoss,
    /// Validation accuracy; training accuracy if there is no validation data.
    ValAccuracy,
    /// Training loss.
    Loss,
    /// Training accuracy.
    Accuracy,
}

impl Monitor {
    /// Whether smaller or larger is better.
    #[must_use]
    pub const fn mode(self) -> Mode {
        match self {
            Monitor::ValLoss | Monitor::Loss => Mode::Min,
            Monitor::ValAccuracy | Monitor::Accuracy => Mode::Max,
        }
    }

    /// Its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Monitor::ValLoss => "val-loss",
            Monitor::ValAccuracy => "val-accuracy",
            Monitor::Loss => "loss",
            Monitor::Accuracy => "accuracy",
        }
    }

    pub(super) fn value(self, epoch: &EpochRecord) -> f64 {
        match self {
            Monitor::ValLoss => epoch.val_loss.unwrap_or(epoch.loss),
            Monitor::ValAccuracy => epoch.val_accuracy.or(epoch.accuracy).unwrap_or(f64::NAN),
            Monitor::Loss => epoch.loss,
            Monitor::Accuracy => epoch.accuracy.unwrap_or(f64::NAN),
        }
    }
}

/// Figures of one epoch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EpochRecord {
    /// Epoch, from 0.
    pub epoch: u32,
    /// Mean training loss over the epoch's batches, as they were when each was trained on.
    pub loss: f64,
    /// Share of training rows predicted right in the same passes; `None` for losses without classes.
    pub accuracy: Option<f64>,
    /// Mean loss of the validation data after the epoch.
    pub val_loss: Option<f64>,
    /// Share of validation rows predicted right.
    pub val_accuracy: Option<f64>,
    /// Learning rate of the epoch's last step.
    pub lr: f32,
}

impl EpochRecord {
    /// The generalisation gap: validation loss minus training loss.
    #[must_use]
    pub fn gap(&self) -> Option<f64> {
        self.val_loss.map(|val_loss| val_loss - self.loss)
    }
}

/// All epochs of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// In order.
    pub epochs: Vec<EpochRecord>,
    /// The epoch whose monitored figure was best.
    pub best_epoch: Option<u32>,
    /// The epoch after which early stopping ended the run.
    pub stopped_epoch: Option<u32>,
}

impl History {
    /// The record of the best epoch, else the last one.
    #[must_use]
    pub fn best(&self) -> Option<&EpochRecord> {
        let best = self.best_epoch.and_then(|best| self.epochs.iter().find(|epoch| epoch.epoch == best));
        best.or(self.epochs.last())
    }
}

/// What an observer hears.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// After each batch.
    Batch {
        /// Epoch, from 0.
        epoch: u32,
        /// Batches done in it.
        done: usize,
        /// Batches of an epoch.
        of: usize,
        /// Rows done in it.
        rows: u64,
        /// Mean loss of the epoch so far.
        loss: f64,
    },
    /// After each epoch.
    Epoch {
        /// Its figures.
        record: &'a EpochRecord,
        /// Whether it is the best so far.
        improved: bool,
        /// Whether early stopping ends the run here.
        stops: bool,
    },
}

/// How a call of [`Run::fit`](super::Run::fit) ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// All epochs are done.
    Epochs,
    /// Early stopping.
    Stopped,
    /// The observer asked to stop; calling again goes on with the same bits.
    Interrupted,
}

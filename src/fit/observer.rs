//! Hooks into a run: what happens at the beginning and the end of epochs and batches, without a fork of the loop.
//!
//! ```
//! use core::ops::ControlFlow;
//! use evenkeel::fit::{BatchEnd, Observer, Run};
//! use evenkeel::{Dataset, Init, Labels, Loss, Mlp, Serial, Trainer};
//!
//! /// Stops as soon as a batch's loss is small.
//! struct SmallEnough(f64);
//!
//! impl Observer for SmallEnough {
//!     fn batch_ends(&mut self, batch: &BatchEnd) -> ControlFlow<()> {
//!         if batch.loss < self.0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
//!     }
//! }
//!
//! let inputs = (0..64).map(|i| (i % 7) as f32 - 3.0).collect::<Vec<f32>>();
//! let targets = inputs.iter().map(|x| 2.0 * x).collect();
//! let data = Dataset { inputs, features: 1, labels: Labels::Values(targets) };
//! let mut net = Mlp::input(1).dense(1).build()?;
//! net.init(Init::HeNormal, 1);
//! let mut run = Run::new(net, Trainer { lr: 0.1, ..Trainer::new(Loss::MeanSquaredError) })?;
//! run.fit_observed(data.view()?, None, &Serial, &mut SmallEnough(0.5))?;
//! assert!(run.progress.step < 100);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use alloc::vec::Vec;
use core::ops::ControlFlow;

use super::history::{EpochRecord, Event};

/// Looks at a run while it goes on. Every hook has a default that does nothing, and a run that is only looked at has the
/// bits of one that is not.
///
/// To break is to interrupt: the run can be stored and goes on with the same bits when it is called again. In a run that is
/// taken up within an epoch, [`epoch_begins`](Self::epoch_begins) is not heard again.
pub trait Observer {
    /// Before the first batch of epoch `epoch` (from 0).
    fn epoch_begins(&mut self, epoch: u32) -> ControlFlow<()> {
        let _ = epoch;
        ControlFlow::Continue(())
    }

    /// Before each batch: the learning rate of step `step` (from 0), where `planned` is the schedule's.
    ///
    /// Another rate changes the run, and is not stored with it: a run that is taken up again needs the same observer for
    /// the same bits. What is negative or not finite ends the run with
    /// [`FitError::Parameter`](super::FitError::Parameter).
    fn rate(&mut self, step: u64, planned: f32) -> f32 {
        let _ = step;
        planned
    }

    /// After each batch.
    fn batch_ends(&mut self, batch: &BatchEnd) -> ControlFlow<()> {
        let _ = batch;
        ControlFlow::Continue(())
    }

    /// After each epoch, its validation included.
    fn epoch_ends(&mut self, epoch: &EpochEnd<'_>) -> ControlFlow<()> {
        let _ = epoch;
        ControlFlow::Continue(())
    }
}

/// What a batch came to.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct BatchEnd {
    /// Epoch, from 0.
    pub epoch: u32,
    /// Batch of the epoch, from 0.
    pub batch: usize,
    /// Batches of an epoch.
    pub of: usize,
    /// Step of the run, from 0.
    pub step: u64,
    /// Learning rate of the step.
    pub lr: f32,
    /// Rows of the batch.
    pub rows: u64,
    /// Mean loss of the batch, before its step.
    pub loss: f64,
    /// Rows done in the epoch, with this batch.
    pub epoch_rows: u64,
    /// Mean loss of the epoch so far.
    pub epoch_loss: f64,
}

/// What an epoch came to.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct EpochEnd<'a> {
    /// Its figures.
    pub record: &'a EpochRecord,
    /// Whether it is the best so far.
    pub improved: bool,
    /// Whether early stopping ends the run here.
    pub stops: bool,
    /// The parameters as they are now, laid out as [`Plan`](crate::plan::Plan) says.
    pub params: &'a [f32],
    /// The running statistics.
    pub state: &'a [f32],
}

/// All of them, one after the other: the first one that breaks ends the round, and each one's rate is what the next one
/// is given.
impl<'a> Observer for Vec<&'a mut (dyn Observer + 'a)> {
    fn epoch_begins(&mut self, epoch: u32) -> ControlFlow<()> {
        self.iter_mut().try_for_each(|observer| observer.epoch_begins(epoch))
    }

    fn rate(&mut self, step: u64, planned: f32) -> f32 {
        self.iter_mut().fold(planned, |planned, observer| observer.rate(step, planned))
    }

    fn batch_ends(&mut self, batch: &BatchEnd) -> ControlFlow<()> {
        self.iter_mut().try_for_each(|observer| observer.batch_ends(batch))
    }

    fn epoch_ends(&mut self, epoch: &EpochEnd<'_>) -> ControlFlow<()> {
        self.iter_mut().try_for_each(|observer| observer.epoch_ends(epoch))
    }
}

/// An observer made of a closure that hears [`Event`]s.
pub struct Listener<'a>(pub &'a mut dyn FnMut(Event<'_>) -> ControlFlow<()>);

impl core::fmt::Debug for Listener<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Listener")
    }
}

impl Observer for Listener<'_> {
    fn batch_ends(&mut self, batch: &BatchEnd) -> ControlFlow<()> {
        let (epoch, done, of) = (batch.epoch, batch.batch + 1, batch.of);
        (self.0)(Event::Batch { epoch, done, of, rows: batch.epoch_rows, loss: batch.epoch_loss })
    }

    fn epoch_ends(&mut self, epoch: &EpochEnd<'_>) -> ControlFlow<()> {
        let EpochEnd { record, improved, stops, .. } = *epoch;
        (self.0)(Event::Epoch { record, improved, stops })
    }
}

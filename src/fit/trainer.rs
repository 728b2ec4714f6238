//! How to train: every setting with its default.

use core::ops::ControlFlow;

use super::observer::Listener;
use super::{FitError, History, Monitor, Observer, Run};
use crate::Level;
use crate::data::View;
use crate::layer::Network;
use crate::model::Mlp;
use crate::plan::Scope;
use crate::train::{Averaging, EarlyStopping, Loss, Optimizer, Rules, Schedule};

/// How to train.
#[derive(Clone, Copy, Debug)]
pub struct Trainer {
    /// Loss, optimiser, penalties, clipping.
    pub rules: Rules,
    /// Base learning rate.
    pub lr: f32,
    /// How it changes.
    pub schedule: Schedule,
    /// Epochs (or a part of one) over which the rate rises linearly to its base.
    pub warmup_epochs: f32,
    /// Most epochs to train.
    pub epochs: u32,
    /// Rows of a batch.
    pub batch: usize,
    /// Rows that are computed at a time, if less than a batch: the same bits in less memory
    /// ([`Session::step_in_parts`](crate::train::Session::step_in_parts)).
    pub part: Option<usize>,
    /// What is trained; the rest stays as it is.
    pub scope: Scope,
    /// Seed of shuffling and dropout.
    pub seed: u64,
    /// Whether rows come in a new order each epoch.
    pub shuffle: bool,
    /// Mixup's `alpha`: each row of a batch is mixed with another, in a share drawn for the batch from Beta(`alpha`, `alpha`)
    /// (Zhang et al. 2018, where 0.1 to 0.4 suit); 0, the default, mixes nothing. Classes are mixed as two targets
    /// ([`Mixed`](crate::train::Mixed)), values and weights as the inputs are.
    pub mixup: f32,
    /// Deviation of the Gaussian noise added to the inputs of each batch of training, after standardisation
    /// ([`jitter`](crate::train::augment::jitter)); 0, the default, adds none.
    pub jitter: f32,
    /// When to stop early.
    pub early_stopping: Option<EarlyStopping>,
    /// What early stopping looks at, and what "best" means.
    pub monitor: Monitor,
    /// Whether an average of the weights is kept beside them. Once it has begun, it is what is validated, judged by early
    /// stopping, kept as the best, and left in the network at the end, with the running statistics of its batch norms
    /// estimated anew over the training rows after each epoch ([`Mlp::recalibrate`], in the batches of the training, in the
    /// order of the data); the training loss is that of the weights themselves. Epochs before the average begins are
    /// not looked at.
    pub averaging: Averaging,
    /// Whether the network ends with the weights of its best epoch.
    pub restore_best: bool,
    /// Instructions to use.
    pub level: Level,
}

impl Trainer {
    /// Adam at 0.001, batches of 32 rows, 50 epochs, shuffled, the best epoch's weights restored.
    #[must_use]
    pub fn new(loss: Loss) -> Self {
        Self {
            rules: Rules::new(loss, Optimizer::ADAM),
            lr: 1e-3,
            schedule: Schedule::Constant,
            warmup_epochs: 0.0,
            epochs: 50,
            batch: 32,
            part: None,
            scope: Scope::ALL,
            seed: 0,
            shuffle: true,
            mixup: 0.0,
            jitter: 0.0,
            early_stopping: None,
            monitor: Monitor::ValLoss,
            averaging: Averaging::None,
            restore_best: true,
            level: Level::detect(),
        }
    }

    /// Sets the optimiser and its base learning rate.
    #[must_use]
    pub fn optimizer(mut self, optimizer: Optimizer, lr: f32) -> Self {
        (self.rules.optimizer, self.lr) = (optimizer, lr);
        self
    }

    /// Sets the number of epochs.
    #[must_use]
    pub fn epochs(mut self, epochs: u32) -> Self {
        self.epochs = epochs;
        self
    }

    /// Sets the rows of a batch.
    #[must_use]
    pub fn batch(mut self, batch: usize) -> Self {
        self.batch = batch;
        self
    }

    /// Trains layer `first` and those behind it; the layers before stay as they are.
    #[must_use]
    pub fn from_layer(mut self, first: usize) -> Self {
        self.scope.first = first;
        self
    }

    /// Keeps an average of the weights.
    #[must_use]
    pub fn averaging(mut self, averaging: Averaging) -> Self {
        self.averaging = averaging;
        self
    }

    /// Stops early; the mode is the monitor's.
    #[must_use]
    pub fn early_stopping(mut self, stop: EarlyStopping) -> Self {
        self.early_stopping = Some(stop);
        self
    }

    /// Trains `net` from where it is and leaves it with its final (or best) weights.
    ///
    /// # Errors
    /// As [`Run::fit`].
    pub fn fit(&self, net: &mut Mlp, train: View<'_>, validation: Option<View<'_>>) -> Result<History, FitError> {
        self.fit_observed(net, train, validation, &mut Listener(&mut |_| ControlFlow::Continue(())))
    }

    /// As [`fit`](Self::fit), with every hook of an [`Observer`]. Where it breaks, training ends with the weights of then.
    ///
    /// # Errors
    /// As [`Run::fit_observed`].
    pub fn fit_observed(
        &self,
        net: &mut Mlp,
        train: View<'_>,
        validation: Option<View<'_>>,
        observer: &mut dyn Observer,
    ) -> Result<History, FitError> {
        let mut run = Run::new(net.clone(), *self)?;
        #[cfg(feature = "rayon")]
        let split = crate::host::pool::Global;
        #[cfg(not(feature = "rayon"))]
        let split = crate::split::Serial;
        run.fit_observed(train, validation, &split, observer)?;
        *net = run.model;
        Ok(run.history)
    }
}

pub(crate) fn check_trainer(trainer: &Trainer, network: &Network<'_>) -> Result<(), FitError> {
    let fails = |what| Err(FitError::Parameter { what });
    if let Some(mistake) = trainer.rules.optimizer.mistake() {
        return fails(mistake);
    }
    if !(trainer.lr > 0.0 && trainer.lr.is_finite()) {
        return fails("the learning rate must be a positive number");
    }
    if let Some(mistake) = trainer.rules.mistake(Some(network)) {
        return fails(mistake);
    }
    if trainer.averaging != Averaging::None && trainer.rules.optimizer.averages() {
        return fails("the schedule-free optimiser averages by itself: choose it, or an average of the weights");
    }
    if !trainer.averaging.is_valid() {
        return fails("the decay of the averaged weights lies in [0, 1)");
    }
    if trainer.part == Some(0) {
        return fails("a part of a batch has at least one row");
    }
    if !(trainer.warmup_epochs >= 0.0 && trainer.warmup_epochs.is_finite()) {
        return fails("the warm-up must be 0 or a positive number of epochs");
    }
    if !(trainer.mixup >= 0.0 && trainer.mixup.is_finite()) {
        return fails("mixup's alpha must be 0 or a positive number");
    }
    if !(trainer.jitter >= 0.0 && trainer.jitter.is_finite()) {
        return fails("the deviation of the noise on the inputs must be 0 or a positive number");
    }
    if let Some(mistake) = trainer.schedule.mistake() {
        return fails(mistake);
    }
    if trainer.schedule.cycles_momentum() && trainer.rules.optimizer.with_momentum(0.9).is_none() {
        return fails("the schedule changes the momentum, but the optimiser has none to change: leave momentum out");
    }
    let clip = match trainer.rules.clip {
        crate::train::Clip::None => true,
        crate::train::Clip::Norm(limit) | crate::train::Clip::Value(limit) => limit > 0.0,
    };
    if clip { Ok(()) } else { fails("the clipping limit must be positive") }
}

//! One step of training over memory that the caller owns: forward, loss, backward, update. Nothing else.
//!
//! [`Session`] holds the plan and borrows the buffers; a step allocates nothing, cannot panic, and leaves the
//! parameters untouched if the loss or a gradient is not finite. Epochs, shuffling and stopping are `fit`'s.
//!
//! On a device every length is a constant, and the arrays are static or on the stack ([`Arrays`]). Here a network's last
//! layer learns from a stream of single rows; the layers before it are frozen, and the best weights are kept:
//!
//! ```
//! use evenkeel::kernels::panels::pack;
//! use evenkeel::plan::{Plan, Scope};
//! use evenkeel::train::{Batch, Keeper, Moment, Rules, Session};
//! use evenkeel::{EarlyStopping, Layer, Level, Loss, Network, Optimizer, Serial, Targets};
//!
//! const LAYERS: [Layer; 3] = [Layer::dense(16), Layer::Activation(evenkeel::Activation::Relu), Layer::dense(2)];
//! const NETWORK: Network<'_> = match Network::new(4, &LAYERS) {
//!     Ok(network) => network,
//!     Err(_) => panic!("these layers do not fit together"),
//! };
//! const SCOPE: Scope = Scope::last_dense(&NETWORK, 1);
//! const PLAN: Plan = NETWORK.plan_in(SCOPE, 1);
//! const OPTIMIZER: Optimizer = Optimizer::ADAM;
//!
//! let mut arrays: evenkeel::arrays!(PLAN, OPTIMIZER) = evenkeel::train::Arrays::new();
//! let mut best = [0.0; PLAN.best_len()];
//! // On a device, the weights that the laptop trained; here, made up.
//! for node in NETWORK.nodes() {
//!     if let Layer::Dense { outputs, .. } = node.layer {
//!         let matrix: [f32; 64] = core::array::from_fn(|at| libm::cosf(3.0 * at as f32));
//!         pack(node.inputs, outputs, &matrix[..node.inputs * outputs], node.weights.of_mut(&mut arrays.params));
//!     }
//! }
//! let rules = Rules::new(Loss::CrossEntropy, OPTIMIZER);
//! let mut session = Session::with_scope(NETWORK, SCOPE, 1, arrays.buffers(), Level::detect(), &Serial)?;
//! let mut keeper = Keeper::new(EarlyStopping::patience(5), &mut best, session.plan())?;
//! let mut losses = [0.0; 2];
//! for step in 0..400 {
//!     // A sensor's row, and the class that the wearer told.
//!     let row = [0.0, 1.0, 2.0, 3.0].map(|phase| libm::sinf(step as f32 * 0.7 + phase));
//!     let label = [u32::from(row[0] > 0.0)];
//!     let batch = Batch { inputs: &row, targets: Targets::Classes(&label), rows: 1 };
//!     let score = session.step(batch, &rules, Moment { seed: 1, step, lr: 0.01 })?;
//!     losses[1] += score.loss;
//!     if step % 100 == 99 {
//!         if step == 99 {
//!             losses[0] = losses[1];
//!         }
//!         if keeper.observe(&session, losses[1])?.stop {
//!             break;
//!         }
//!         losses[1] = if step == 399 { losses[1] } else { 0.0 };
//!     }
//! }
//! keeper.restore(&mut session)?;
//! assert!(losses[1] < 0.5 * losses[0]);
//! # Ok::<(), evenkeel::Error>(())
//! ```

pub mod loss;
pub mod optim;
pub mod stop;

mod arrays;
mod backward;
mod forward;
mod keeper;
mod parts;

use crate::Level;
use crate::error::{Error, check_len};
use crate::kernels::groups::from_groups;
use crate::layer::{Layer, Network};
use crate::plan::{Plan, Scope};
use crate::split::Split;
use parts::Norms;

pub use arrays::Arrays;
#[cfg(feature = "safetensors")]
pub(crate) use forward::{batches_seen, set_batches_seen};
pub use keeper::Keeper;
pub use loss::{Loss, Score, Targets};
pub use optim::{Optimizer, Schedule};
pub use stop::{EarlyStopping, Mode, StopState};

/// What one step does with its gradients.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rules {
    /// What is minimised.
    pub loss: Loss,
    /// How parameters change.
    pub optimizer: Optimizer,
    /// `l2 * w` is added to the gradient of each penalised parameter (`weight_decay` of PyTorch's SGD and Adam).
    pub l2: f32,
    /// Whether L2 and AdamW's decay also reach biases and batch norm's scale and shift. PyTorch does that by
    /// default; penalising only dense weights (false) is the usual advice.
    pub decay_all: bool,
    /// Limit on the gradients.
    pub clip: Clip,
}

impl Rules {
    /// Adam on a loss, with no penalty and no clipping.
    #[must_use]
    pub const fn new(loss: Loss, optimizer: Optimizer) -> Self {
        Self { loss, optimizer, l2: 0.0, decay_all: false, clip: Clip::None }
    }
}

/// Gradient clipping.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Clip {
    /// None.
    #[default]
    None,
    /// All gradients are scaled down so that their common Euclidean norm is at most this
    /// (`torch.nn.utils.clip_grad_norm_`).
    Norm(f32),
    /// Each gradient is cut to at most this size.
    Value(f32),
}

/// The rows of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// Rows of as many values as the network has inputs, one after the other.
    pub inputs: &'a [f32],
    /// Their targets.
    pub targets: Targets<'a>,
    /// Number of rows.
    pub rows: usize,
}

/// Where in the run a step is: dropout and the optimiser are pure functions of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moment {
    /// Seed of the run.
    pub seed: u64,
    /// Steps done before this one.
    pub step: u64,
    /// Learning rate of this step.
    pub lr: f32,
}

/// The buffers of a training run; lengths as [`Plan`] says.
#[derive(Debug)]
pub struct Buffers<'m> {
    /// Weights, biases, batch-norm scale and shift.
    pub params: &'m mut [f32],
    /// Running statistics.
    pub state: &'m mut [f32],
    /// Gradients, as long as the parameters that are trained ([`Plan::trained`]).
    pub gradients: &'m mut [f32],
    /// The optimiser's moments, [`Optimizer::moments_len`]; zero at the start.
    pub moments: &'m mut [f32],
    /// Scratch, [`Plan::work_len`].
    pub work: &'m mut [f32],
}

/// Executes steps of one network.
#[derive(Debug)]
pub struct Session<'m, P> {
    network: Network<'m>,
    plan: Plan,
    buffers: Buffers<'m>,
    level: Level,
    split: &'m P,
    /// A batch of which parts have come.
    begun: Option<parts::Begun>,
}

impl<'m, P: Split> Session<'m, P> {
    /// Borrows the buffers for batches of at most `batch` rows; all layers train.
    ///
    /// # Errors
    /// [`Error::Length`] names the buffer whose length is not the plan's.
    pub fn new(
        network: Network<'m>,
        batch: usize,
        buffers: Buffers<'m>,
        level: Level,
        split: &'m P,
    ) -> Result<Self, Error> {
        Self::planned(network, network.plan(batch), buffers, level, split)
    }

    /// Borrows the buffers for batches of at most `batch` rows; what `scope` says is trained, the rest stays as it is.
    ///
    /// # Errors
    /// [`Error::Scope`] if nothing would be trained, [`Error::Length`] names the buffer whose length is not that of
    /// [`Network::plan_in`].
    pub fn with_scope(
        network: Network<'m>,
        scope: Scope,
        batch: usize,
        buffers: Buffers<'m>,
        level: Level,
        split: &'m P,
    ) -> Result<Self, Error> {
        let plan = network.plan_in(scope, batch);
        if plan.first == network.layers().len() {
            return Err(Error::Scope { first: scope.first, layers: plan.first });
        }
        Self::planned(network, plan, buffers, level, split)
    }

    fn planned(
        network: Network<'m>,
        plan: Plan,
        buffers: Buffers<'m>,
        level: Level,
        split: &'m P,
    ) -> Result<Self, Error> {
        check_len("parameters", plan.params, buffers.params.len())?;
        check_len("state", plan.state, buffers.state.len())?;
        check_len("gradients", plan.trained, buffers.gradients.len())?;
        check_len("work buffer", plan.work_len(), buffers.work.len())?;
        // The backward pass never writes the padding between layers, but norm and update read it.
        buffers.gradients.fill(0.0);
        Ok(Self { network, plan, buffers, level, split, begun: None })
    }

    /// Parameters and state, to read.
    #[must_use]
    pub fn weights(&self) -> (&[f32], &[f32]) {
        (self.buffers.params, self.buffers.state)
    }

    /// Parameters and state, to write (restoring the best ones).
    pub fn weights_mut(&mut self) -> (&mut [f32], &mut [f32]) {
        (self.buffers.params, self.buffers.state)
    }

    /// The plan that the buffers follow.
    #[must_use]
    pub const fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The optimiser's moments.
    #[must_use]
    pub fn moments(&self) -> &[f32] {
        self.buffers.moments
    }

    /// Gradients of the last step or [`differentiate`](Session::differentiate), in the layout of the parameters that are
    /// trained.
    #[must_use]
    pub fn gradients(&self) -> &[f32] {
        self.buffers.gradients
    }

    /// The first layer with a parameter or a running statistic that is NaN or infinite: a step checks loss, gradients
    /// and batch statistics, but an update can still overflow.
    #[must_use]
    pub fn non_finite_layer(&self) -> Option<usize> {
        let (params, state) = self.weights();
        let sound = |values: &[f32]| values.iter().all(|value| value.is_finite());
        let mut nodes = self.network.nodes();
        nodes
            .find(|node| {
                !(sound(node.weights.of(params)) && sound(node.bias.of(params)) && sound(node.state.of(state)))
            })
            .map(|node| node.index)
    }

    fn check(&self, batch: &Batch<'_>, loss: Loss) -> Result<(), Error> {
        if batch.rows == 0 || batch.rows > self.plan.batch {
            return Err(Error::BatchRows { rows: batch.rows, planned: self.plan.batch });
        }
        self.check_rows(batch, loss)
    }

    /// As [`check`](Self::check), for any number of rows.
    fn check_rows(&self, batch: &Batch<'_>, loss: Loss) -> Result<(), Error> {
        check_len("batch inputs", batch.rows.saturating_mul(self.network.inputs()), batch.inputs.len())?;
        check_output(&self.network, loss)?;
        batch.targets.check(loss, batch.rows, self.network.outputs())
    }

    /// Whether batch norms can train on batches of `rows` rows.
    fn check_batch_norms(&self, rows: usize) -> Result<(), Error> {
        for node in self.network.nodes_in(self.plan.scope) {
            let Layer::BatchNorm(_) = node.layer else { continue };
            if self.plan.scope.uses_batch(node.index) {
                if rows == 1 {
                    return Err(Error::BatchOfOne);
                }
            } else if forward::batches_seen(node.state.of(self.buffers.state)) == 0 {
                return Err(Error::NeverUpdated { layer: node.index });
            }
        }
        Ok(())
    }

    fn check_moments(&self, rules: &Rules) -> Result<(), Error> {
        check_len("optimiser moments", rules.optimizer.moments_len(&self.plan), self.buffers.moments.len())
    }

    /// One step of training; returns the batch's loss before the update.
    ///
    /// # Errors
    /// [`Error::NonFinite`] if the loss, a gradient or a batch norm's statistics are not finite: the layer where it began is named, and neither
    /// parameters nor running statistics have changed. [`Error::BatchOfOne`] for one row with batch norm,
    /// [`Error::NeverUpdated`] for a batch norm whose statistics are frozen before they were ever updated; other
    /// variants for a batch that does not fit.
    pub fn step(&mut self, batch: Batch<'_>, rules: &Rules, moment: Moment) -> Result<Score, Error> {
        self.check_moments(rules)?;
        let score = self.differentiate(batch, rules.loss, moment)?;
        self.change(batch.rows, rules, moment)?;
        Ok(score)
    }

    /// Clips the gradients of `rows` rows, moves running statistics and parameters.
    fn change(&mut self, rows: usize, rules: &Rules, moment: Moment) -> Result<(), Error> {
        let squares = self.plan.carve(self.buffers.work).squares;
        let (network, plan) = (&self.network, &self.plan);
        let scale = backward::clip(self.level, network, plan, rules.clip, squares, self.buffers.gradients)
            .ok_or_else(|| backward::first_non_finite_gradient(network, plan, self.buffers.gradients))?;
        forward::update_running(network, plan, rows, self.buffers.state, self.buffers.work)?;
        let factors = rules.optimizer.factors(moment.step, moment.lr, scale, rules.l2);
        self.update(factors, rules.decay_all)
    }

    /// Forward in training mode, loss and backward: fills [`gradients`](Session::gradients), changes nothing else.
    ///
    /// # Errors
    /// As [`step`](Session::step).
    pub fn differentiate(&mut self, batch: Batch<'_>, loss: Loss, moment: Moment) -> Result<Score, Error> {
        self.begun = None;
        self.check(&batch, loss)?;
        self.check_batch_norms(batch.rows)?;
        let pass = self.pass(Some(moment));
        let mut work = self.plan.carve(self.buffers.work);
        pass.run(&self.network, self.buffers.params, self.buffers.state, &batch, &mut work)?;
        let score = self.score(&batch, loss, (batch.rows, Score::default()))?;
        let mut work = self.plan.carve(self.buffers.work);
        let (params, gradients) = (&*self.buffers.params, &mut *self.buffers.gradients);
        backward::run(&pass, &self.network, &self.plan, params, batch.rows, None, &mut work, gradients)?;
        Ok(score)
    }

    fn pass(&self, training: Option<Moment>) -> forward::Pass<'m, P> {
        let (level, split, scope) = (self.level, self.split, self.plan.scope);
        forward::Pass { level, split, training, scope, before: 0, norms: Norms::OfBatch }
    }

    /// Loss and hits of a batch in inference mode: running statistics, no dropout. Overwrites the work buffer.
    ///
    /// # Errors
    /// For a batch that does not fit. A non-finite loss is returned as it is.
    pub fn evaluate(&mut self, batch: Batch<'_>, loss: Loss) -> Result<Score, Error> {
        self.check(&batch, loss)?;
        self.infer(&batch)?;
        Ok(self.losses(&batch, loss, (batch.rows, Score::default())))
    }

    /// Outputs of the unfolded network in inference mode: rows of as many values as the network has outputs.
    ///
    /// # Errors
    /// For a batch that does not fit, or [`Error::Length`] if `outputs` is not as many rows.
    pub fn predict(&mut self, inputs: &[f32], rows: usize, outputs: &mut [f32]) -> Result<(), Error> {
        if rows == 0 || rows > self.plan.batch {
            return Err(Error::BatchRows { rows, planned: self.plan.batch });
        }
        check_len("batch inputs", rows.saturating_mul(self.network.inputs()), inputs.len())?;
        check_len("outputs", rows.saturating_mul(self.network.outputs()), outputs.len())?;
        self.infer(&Batch { inputs, targets: Targets::Classes(&[]), rows })?;
        from_groups(rows, self.network.outputs(), self.outputs(rows), outputs);
        Ok(())
    }

    fn infer(&mut self, batch: &Batch<'_>) -> Result<(), Error> {
        let pass = self.pass(None);
        let mut work = self.plan.carve(self.buffers.work);
        pass.run(&self.network, self.buffers.params, self.buffers.state, batch, &mut work)
    }

    /// Outputs of the last pass, in groups.
    fn outputs(&self, rows: usize) -> &[f32] {
        let node = self.network.node_in(self.plan.scope, self.network.layers().len() - 1);
        let width = crate::layer::padded(node.outputs);
        &self.buffers.work[node.output * self.plan.batch..][..rows * width]
    }

    /// Score of the batch with what came before, if it is finite, and the gradient of the outputs.
    fn score(&mut self, batch: &Batch<'_>, loss: Loss, of: (usize, Score)) -> Result<Score, Error> {
        let score = self.losses(batch, loss, of);
        if score.loss.is_finite() {
            return Ok(score);
        }
        let work = self.plan.carve(self.buffers.work);
        Err(forward::first_non_finite(&self.network, self.plan.scope, batch, &work))
    }

    /// `of`: rows of the whole batch, and the score of those that came before.
    fn losses(&mut self, batch: &Batch<'_>, loss: Loss, of: (usize, Score)) -> Score {
        let node = self.network.node_in(self.plan.scope, self.network.layers().len() - 1);
        let width = crate::layer::padded(node.outputs);
        let work = self.plan.carve(self.buffers.work);
        let outputs = &work.activations[node.output * self.plan.batch..][..batch.rows * width];
        let delta = &mut work.delta[..batch.rows * width];
        loss::evaluate(self.level, self.split, loss, node.outputs, outputs, batch.targets, of, delta, work.row_losses)
    }

    fn update(&mut self, factors: optim::Factors, decay_all: bool) -> Result<(), Error> {
        let params = &mut self.buffers.params[self.plan.frozen()..];
        let (first, second) = match self.buffers.moments.len() / self.plan.trained.max(1) {
            0 => (&mut [] as &mut [f32], &mut [] as &mut [f32]),
            1 => (&mut self.buffers.moments[..], &mut [] as &mut [f32]),
            _ => self.buffers.moments.split_at_mut(self.plan.trained),
        };
        if decay_all || !factors.decays() {
            return optim::update(self.level, self.split, factors, params, self.buffers.gradients, first, second);
        }
        for node in self.network.nodes_in(self.plan.scope).skip(self.plan.first) {
            let penalised = matches!(node.layer, Layer::Dense { .. });
            for (part, penalised) in [(node.weights, penalised), (node.bias, false)] {
                let start = part.behind(self.plan.frozen()).start;
                let range = start..start + part.len.next_multiple_of(crate::simd::LANES);
                let factors = if penalised { factors } else { factors.without_decay() };
                optim::update(
                    self.level,
                    self.split,
                    factors,
                    &mut params[range.clone()],
                    &self.buffers.gradients[range.clone()],
                    first.get_mut(range.clone()).unwrap_or_default(),
                    second.get_mut(range).unwrap_or_default(),
                )?;
            }
        }
        Ok(())
    }
}

/// Whether a network's last layer suits a loss: the losses that contain softmax or sigmoid want plain logits.
///
/// # Errors
/// [`Error::OutputLayer`] names the layer to remove.
pub fn check_output(network: &Network<'_>, loss: Loss) -> Result<(), Error> {
    use crate::layer::Activation;
    let last = network.layers()[network.layers().len() - 1];
    let twice = match loss {
        Loss::CrossEntropy => matches!(last, Layer::Softmax | Layer::LogSoftmax),
        Loss::BinaryCrossEntropy => matches!(last, Layer::Activation(Activation::Sigmoid)),
        Loss::MeanSquaredError => false,
    };
    if twice { Err(Error::OutputLayer { name: last.name(), loss: loss.name() }) } else { Ok(()) }
}

//! A session: the plan, the buffers and the steps over them.

use super::loss::{self, Loss, Score, Targets};
use super::parts::{Begun, Norms};
use super::{AnyBatch, Buffers, Inputs, Moment, Rules, backward, check_output, forward, norms};
use crate::error::{Error, check_len};
use crate::kernels::groups::from_groups;
use crate::kernels::sparse::IndexLists;
use crate::layer::{Layer, Network, padded};
use crate::plan::{Plan, Scope};
use crate::split::Split;
use crate::{Level, TOOLBOX};

/// Executes steps of one network.
#[derive(Debug)]
pub struct Session<'m, P> {
    pub(super) network: Network<'m>,
    pub(super) plan: Plan,
    pub(super) buffers: Buffers<'m>,
    pub(super) level: Level,
    pub(super) split: &'m P,
    /// A batch of which parts have come.
    pub(super) begun: Option<Begun>,
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

    /// Borrows the buffers of a plan of this network.
    pub(crate) fn planned(
        network: Network<'m>,
        plan: Plan,
        buffers: Buffers<'m>,
        level: Level,
        split: &'m P,
    ) -> Result<Self, Error> {
        if !TOOLBOX && !network.is_basic() {
            return Err(Error::Toolbox);
        }
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

    pub(super) fn check(&self, batch: &AnyBatch<'_>, loss: Loss) -> Result<(), Error> {
        if batch.rows == 0 || batch.rows > self.plan.batch {
            return Err(Error::BatchRows { rows: batch.rows, planned: self.plan.batch });
        }
        self.check_rows(batch, loss)
    }

    /// As [`check`](Self::check), for any number of rows.
    pub(super) fn check_rows(&self, batch: &AnyBatch<'_>, loss: Loss) -> Result<(), Error> {
        if !TOOLBOX && batch.inputs.lists().is_some() {
            return Err(Error::Toolbox);
        }
        self.check_inputs(&batch.inputs, batch.rows)?;
        check_output(&self.network, loss)?;
        batch.targets.check(loss, batch.rows, self.network.outputs())
    }

    /// Whether inputs are `rows` rows of the network, of a kind that was planned.
    fn check_inputs(&self, inputs: &Inputs<'_>, rows: usize) -> Result<(), Error> {
        match inputs {
            Inputs::Values(_) if self.plan.scope.lists => Err(Error::ListsPlanned),
            Inputs::Values(values) => {
                check_len("batch inputs", rows.saturating_mul(self.network.inputs()), values.len())
            }
            Inputs::Lists(lists) => {
                let first = self.network.layers()[0];
                if !matches!(first, Layer::Dense { .. }) {
                    return Err(Error::ListsFirst { name: first.name() });
                }
                check_len("features of the index lists", self.network.inputs(), lists.features())?;
                check_len("index lists", rows, lists.len())
            }
        }
    }

    /// Whether batch norms can train on batches of `rows` rows.
    pub(super) fn check_batch_norms(&self, rows: usize) -> Result<(), Error> {
        for node in self.network.nodes_in(self.plan.scope) {
            let Layer::BatchNorm(_) = node.layer else { continue };
            if self.plan.scope.batch_norm_uses_batch(node.index, node.layer) {
                if rows == 1 {
                    return Err(Error::BatchOfOne);
                }
            } else if norms::batches_seen(node.state.of(self.buffers.state)) == 0 {
                return Err(Error::NeverUpdated { layer: node.index });
            }
        }
        Ok(())
    }

    pub(super) fn check_moments(&self, rules: &Rules) -> Result<(), Error> {
        if !TOOLBOX && rules.needs_more() {
            return Err(Error::Toolbox);
        }
        check_len("optimiser moments", rules.optimizer.moments_len(&self.plan), self.buffers.moments.len())
    }

    /// One step of training; returns the batch's loss before the update.
    ///
    /// # Errors
    /// [`Error::NonFinite`] if the loss, a gradient or a batch norm's statistics are not finite: the layer where it began is named, and neither
    /// parameters nor running statistics have changed. [`Error::BatchOfOne`] for one row with batch norm,
    /// [`Error::NeverUpdated`] for a batch norm whose statistics are frozen before they were ever updated; other
    /// variants for a batch that does not fit.
    pub fn step<'b>(&mut self, batch: impl Into<AnyBatch<'b>>, rules: &Rules, moment: Moment) -> Result<Score, Error> {
        let batch = batch.into();
        self.check_moments(rules)?;
        let score = self.differentiate(batch, rules.loss, moment)?;
        self.change(batch.rows, rules, moment)?;
        Ok(score)
    }

    /// Clips the gradients of `rows` rows, moves running statistics and parameters.
    pub(super) fn change(&mut self, rows: usize, rules: &Rules, moment: Moment) -> Result<(), Error> {
        let squares = self.plan.carve(self.buffers.work).squares;
        let (network, plan) = (&self.network, &self.plan);
        let scale = backward::clip(self.level, network, plan, rules.clip, squares, self.buffers.gradients)
            .ok_or_else(|| backward::first_non_finite_gradient(network, plan, self.buffers.gradients))?;
        norms::update_running(network, plan, rows, false, self.buffers.state, self.buffers.work)?;
        self.update(rules, moment, scale)
    }

    /// Forward in training mode, loss and backward: fills [`gradients`](Session::gradients), changes nothing else.
    ///
    /// # Errors
    /// As [`step`](Session::step).
    pub fn differentiate<'b>(
        &mut self,
        batch: impl Into<AnyBatch<'b>>,
        loss: Loss,
        moment: Moment,
    ) -> Result<Score, Error> {
        let batch = batch.into();
        self.begun = None;
        self.check(&batch, loss)?;
        self.check_batch_norms(batch.rows)?;
        let pass = self.pass(Some(moment), &batch.inputs);
        let mut work = self.plan.carve(self.buffers.work);
        pass.run(&self.network, self.buffers.params, self.buffers.state, &batch, &mut work)?;
        let score = self.score(&batch, loss, (batch.rows, Score::default()))?;
        let mut work = self.plan.carve(self.buffers.work);
        let (params, gradients) = (&*self.buffers.params, &mut *self.buffers.gradients);
        backward::run(&pass, &self.network, &self.plan, params, batch.rows, None, &mut work, gradients)?;
        Ok(score)
    }

    pub(super) fn pass<'b>(&self, training: Option<Moment>, inputs: &Inputs<'b>) -> forward::Pass<'b, P>
    where
        'm: 'b,
    {
        let (level, split, scope, lists) =
            (self.level, self.split, self.plan.scope, inputs.lists().filter(|_| TOOLBOX));
        forward::Pass { level, split, training, scope, lists, before: 0, norms: Norms::OfBatch, calibrates: false }
    }

    /// Loss and hits of a batch in inference mode: running statistics, no dropout. Overwrites the work buffer.
    ///
    /// # Errors
    /// For a batch that does not fit. A non-finite loss is returned as it is.
    pub fn evaluate<'b>(&mut self, batch: impl Into<AnyBatch<'b>>, loss: Loss) -> Result<Score, Error> {
        let batch = batch.into();
        self.check(&batch, loss)?;
        self.infer(&batch)?;
        Ok(self.losses(&batch, loss, (batch.rows, Score::default())))
    }

    /// Outputs of the unfolded network in inference mode: rows of as many values as the network has outputs.
    ///
    /// # Errors
    /// For a batch that does not fit, or [`Error::Length`] if `outputs` is not as many rows.
    pub fn predict(&mut self, inputs: &[f32], rows: usize, outputs: &mut [f32]) -> Result<(), Error> {
        self.predict_any(Inputs::Values(inputs), rows, outputs)
    }

    /// As [`predict`](Session::predict), for rows that are index lists.
    ///
    /// # Errors
    /// As [`predict`](Session::predict).
    pub fn predict_lists(&mut self, inputs: IndexLists<'_>, outputs: &mut [f32]) -> Result<(), Error> {
        self.predict_any(Inputs::Lists(inputs), inputs.len(), outputs)
    }

    pub(crate) fn predict_any(&mut self, inputs: Inputs<'_>, rows: usize, outputs: &mut [f32]) -> Result<(), Error> {
        if rows == 0 || rows > self.plan.batch {
            return Err(Error::BatchRows { rows, planned: self.plan.batch });
        }
        self.check_inputs(&inputs, rows)?;
        check_len("outputs", rows.saturating_mul(self.network.outputs()), outputs.len())?;
        self.infer(&AnyBatch { inputs, targets: Targets::Classes(&[]), rows })?;
        from_groups(rows, self.network.outputs(), self.outputs(rows), outputs);
        Ok(())
    }

    pub(super) fn infer(&mut self, batch: &AnyBatch<'_>) -> Result<(), Error> {
        let pass = self.pass(None, &batch.inputs);
        let mut work = self.plan.carve(self.buffers.work);
        pass.run(&self.network, self.buffers.params, self.buffers.state, batch, &mut work)
    }

    /// Outputs of the last pass, in groups.
    fn outputs(&self, rows: usize) -> &[f32] {
        let node = self.network.node_in(self.plan.scope, self.network.layers().len() - 1);
        let width = padded(node.outputs);
        &self.buffers.work[node.output * self.plan.batch..][..rows * width]
    }

    /// Score of the batch with what came before, if it is finite, and the gradient of the outputs.
    pub(super) fn score(&mut self, batch: &AnyBatch<'_>, loss: Loss, of: (usize, Score)) -> Result<Score, Error> {
        let score = self.losses(batch, loss, of);
        if score.loss.is_finite() {
            return Ok(score);
        }
        let work = self.plan.carve(self.buffers.work);
        Err(forward::first_non_finite(&self.network, self.plan.scope, batch, &work))
    }

    /// `of`: rows of the whole batch, and the score of those that came before.
    pub(super) fn losses(&mut self, batch: &AnyBatch<'_>, loss: Loss, of: (usize, Score)) -> Score {
        let node = self.network.node_in(self.plan.scope, self.network.layers().len() - 1);
        let width = padded(node.outputs);
        let work = self.plan.carve(self.buffers.work);
        let outputs = &work.activations[node.output * self.plan.batch..][..batch.rows * width];
        let delta = &mut work.delta[..batch.rows * width];
        loss::evaluate(self.level, self.split, loss, node.outputs, outputs, batch.targets, of, delta, work.row_losses)
    }
}

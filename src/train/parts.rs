//! Steps on a batch that comes in parts, with the bits of the whole batch.
//!
//! Two forms. [`Session::step_in_parts`] has all rows in the caller's memory, but works on as few at a time as planned: a
//! device keeps a batch of raw inputs, and activations of a single row. [`Session::accumulate`] takes parts of a stream as
//! they come and keeps none of them, until [`Session::apply`].
//!
//! Both rest on the same facts. A row's forward pass, and the gradient of its activations, do not depend on the other
//! rows; sums over rows are chains in ascending order, which can be taken up again (`kernels/accumulate`); and the
//! share of a row in the mean loss is known if the number of rows is. Only a batch norm with the statistics of its batch
//! joins the rows: nothing behind it can be computed before all rows have reached it, nothing before it before all
//! gradients have come back. So with `B` of them the rows go through the network `3 B + 1` times (twice to each for
//! its two sums, once back to each, once back to the first layer) and no activation has to be kept between. A stream
//! cannot do that, so it wants running statistics, or no batch norm.

use super::forward::Pass;
use super::{AnyBatch, Mean, Moment, Rules, Score, Session, backward, connect, norms};
use crate::error::Error;
use crate::kernels::{accumulate, batchnorm};
use crate::layer::{Layer, padded};
use crate::split::Split;
use crate::train::Loss;

/// Where batch norms with the statistics of their batch get them from.
#[derive(Clone, Copy)]
pub(super) enum Norms {
    /// The rows of this pass are the batch.
    OfBatch,
    /// The caches hold them.
    Known,
    /// The caches of the layers before `layer` hold them; there the rows are summed up, and the pass ends.
    SumUp { layer: usize, sums: Sums },
}

/// The two passes of statistics.
#[derive(Clone, Copy)]
pub(super) enum Sums {
    /// `Σx`
    Mean,
    /// `Σd` and `Σd²`
    Spread,
}

/// The layers whose gradients one sweep of the backward pass adds up.
#[derive(Clone, Copy)]
pub(super) struct Stretch {
    /// Layers from this one on have theirs.
    pub(super) done: usize,
    /// The last one; the sweep ends there.
    pub(super) until: usize,
    /// Rows of the whole batch.
    pub(super) total: usize,
}

/// A batch of which parts have come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Begun {
    rows: usize,
    total: usize,
    score: Score,
}

impl<P: Split> Session<'_, P> {
    /// As [`step`](Session::step), on a batch of any number of rows, computed in parts of at most the planned rows: the
    /// same bits in less memory. Batch norms see the whole batch.
    ///
    /// Takes as long as a step if no batch norm trains with the statistics of its batch; `B` of them cost `3 B` more
    /// forward passes and `B` more backward passes, so this pays where memory is short.
    ///
    /// # Errors
    /// As [`step`](Session::step); [`Error::Parts`] if the batch has more than 256 rows and the planned rows are not a
    /// multiple of 256.
    pub fn step_in_parts<'b>(
        &mut self,
        batch: impl Into<AnyBatch<'b>>,
        rules: &Rules,
        moment: Moment,
    ) -> Result<Score, Error> {
        let batch = batch.into();
        self.check_moments(rules)?;
        let score = self.differentiate_in_parts(batch, rules.loss, moment)?;
        self.change(batch.rows, rules, moment)?;
        Ok(score)
    }

    /// As [`differentiate`](Session::differentiate), in parts as [`step_in_parts`](Session::step_in_parts).
    ///
    /// # Errors
    /// As [`step_in_parts`](Session::step_in_parts).
    pub fn differentiate_in_parts<'b>(
        &mut self,
        batch: impl Into<AnyBatch<'b>>,
        loss: Loss,
        moment: Moment,
    ) -> Result<Score, Error> {
        let batch = batch.into();
        self.begun = None;
        let (total, planned) = (batch.rows, self.plan.batch);
        if total == 0 {
            return Err(Error::BatchRows { rows: 0, planned });
        }
        self.check_parts(total, planned.min(total))?;
        self.check_rows(&batch, loss)?;
        self.check_batch_norms(total)?;
        self.check_ghosts(total, planned)?;
        let mut pass = self.pass(Some(moment), &batch.inputs);
        self.all_statistics_in_parts(pass, &batch)?;
        pass.norms = Norms::Known;
        self.buffers.gradients.fill(0.0);
        let mut done = self.network.layers().len();
        let mut score = None;
        while done > self.plan.first || score.is_none() {
            let until = self.norm_before(done).unwrap_or(self.plan.first);
            let mut sum = Score::default();
            for (before, part) in self.parts(batch) {
                (pass.before, pass.lists) = (before, part.inputs.lists());
                let stretch = Stretch { done, until, total };
                sum = self.differentiate_part(pass, &part, loss, sum, stretch).map_err(|error| begin(error, &batch))?;
            }
            score.get_or_insert(sum);
            done = until.min(done.saturating_sub(1));
        }
        self.finish_gradients(moment);
        Ok(score.unwrap_or_default())
    }

    /// As [`evaluate`](Session::evaluate), on any number of rows, computed in parts of at most the planned rows.
    ///
    /// # Errors
    /// As [`evaluate`](Session::evaluate).
    pub fn evaluate_in_parts<'b>(&mut self, batch: impl Into<AnyBatch<'b>>, loss: Loss) -> Result<Score, Error> {
        let batch = batch.into();
        if batch.rows == 0 {
            return Err(Error::BatchRows { rows: 0, planned: self.plan.batch });
        }
        self.check_rows(&batch, loss)?;
        let mut score = Score::default();
        for (_, part) in self.parts(batch) {
            self.infer(&part)?;
            score = self.losses(&part, loss, (batch.rows, score));
        }
        Ok(score)
    }

    /// Adds a part of a batch of `total` rows to the gradients, and returns the score of all parts so far. The parts of a
    /// stream come one after the other, as many rows each as there are, up to the planned ones; with `total` rows
    /// [`apply`](Session::apply) makes the step. Nothing of a part has to be kept: this is gradient accumulation, with
    /// the bits of one step on all rows.
    ///
    /// [`evaluate`](Session::evaluate) and [`predict`](Session::predict) may be called between; any other step, or an
    /// error of this one, discards the parts. Dropout counts the rows of the batch, so `moment` should stay the same.
    ///
    /// # Errors
    /// As [`step`](Session::step); [`Error::BatchStatistics`] if a batch norm would need the other rows,
    /// [`Error::WeightSum`] if the losses are divided by the sum of all weights, which a part does not know
    /// ([`Mean::Scaled`] says it),
    /// [`Error::PartRows`] if there would be more than `total` rows, or `total` is not what the batch was begun with,
    /// [`Error::Parts`] if it is more than 256 rows and a part other than the last is not a multiple of 256.
    pub fn accumulate<'b>(
        &mut self,
        part: impl Into<AnyBatch<'b>>,
        total: usize,
        loss: Loss,
        moment: Moment,
    ) -> Result<Score, Error> {
        let part = part.into();
        let begun = self.begun.take();
        self.check(&part, loss)?;
        if let Some(layer) = self.norm_from(0) {
            return Err(Error::BatchStatistics { layer });
        }
        if let (Some((_, Mean::Weights)), true) = (part.targets.weights(), part.rows < total) {
            return Err(Error::WeightSum);
        }
        self.check_batch_norms(part.rows)?;
        let Begun { rows: before, total: begun_with, score } =
            begun.unwrap_or(Begun { rows: 0, total, score: Score::default() });
        let rows = before.saturating_add(part.rows);
        if rows > total || total != begun_with {
            return Err(Error::PartRows { rows, total: begun_with });
        }
        if rows < total {
            self.check_parts(total, part.rows)?;
        }
        if before == 0 {
            self.buffers.gradients.fill(0.0);
        }
        let pass = Pass { before, norms: Norms::Known, ..self.pass(Some(moment), &part.inputs) };
        let stretch = Stretch { done: self.network.layers().len(), until: self.plan.first, total };
        let score = self.differentiate_part(pass, &part, loss, score, stretch)?;
        self.begun = Some(Begun { rows, total, score });
        Ok(score)
    }

    /// The step of a batch whose parts have all come ([`accumulate`](Session::accumulate)); returns its score.
    ///
    /// # Errors
    /// [`Error::PartRows`] if rows are missing (the parts so far are kept), [`Error::NonFinite`] if a gradient is not
    /// finite, [`Error::Length`] for moments of another optimiser; parameters have not changed then.
    pub fn apply(&mut self, rules: &Rules, moment: Moment) -> Result<Score, Error> {
        self.check_moments(rules)?;
        let Some(Begun { rows, total, score }) = self.begun else {
            return Err(Error::PartRows { rows: 0, total: self.plan.batch });
        };
        if rows < total {
            return Err(Error::PartRows { rows, total });
        }
        self.begun = None;
        self.finish_gradients(moment);
        self.change(total, rules, moment)?;
        Ok(score)
    }

    pub(super) fn check_parts(&self, rows: usize, part: usize) -> Result<(), Error> {
        if accumulate::fits(rows, part) { Ok(()) } else { Err(Error::Parts { rows, part }) }
    }

    /// Ghost batches of a batch in parts would be divided between them.
    fn check_ghosts(&self, total: usize, planned: usize) -> Result<(), Error> {
        let layers = self.network.layers();
        let divided = |at: &usize| match layers[*at] {
            Layer::BatchNorm(bn) => self.joins_at(*at) && norms::ghost_of(bn, total).is_some(),
            _ => false,
        };
        match (0..layers.len()).find(divided) {
            Some(layer) if total > planned => Err(Error::GhostParts { layer }),
            _ => Ok(()),
        }
    }

    /// The first batch norm from layer `layer` on that takes its statistics from the batch.
    fn norm_from(&self, layer: usize) -> Option<usize> {
        let layers = self.network.layers();
        (layer..layers.len()).find(|at| self.joins_at(*at))
    }

    /// The last one before layer `layer`.
    fn norm_before(&self, layer: usize) -> Option<usize> {
        (0..layer).rev().find(|at| self.joins_at(*at))
    }

    fn joins_at(&self, layer: usize) -> bool {
        self.plan.scope.batch_norm_uses_batch(layer, self.network.layers()[layer])
    }

    /// The parts of a batch, each with the number of rows before it.
    fn parts<'b>(&self, batch: AnyBatch<'b>) -> impl Iterator<Item = (usize, AnyBatch<'b>)> + use<'b, P> {
        let (inputs, outputs, planned) = (self.network.inputs(), self.network.outputs(), self.plan.batch.max(1));
        let targets = batch.targets.settled();
        (0..batch.rows).step_by(planned).map(move |before| {
            let rows = planned.min(batch.rows - before);
            let targets = targets.part(before, rows, outputs);
            (before, AnyBatch { inputs: batch.inputs.part(inputs, before, rows), targets, rows })
        })
    }

    /// The statistics of all batch norms, in order.
    pub(super) fn all_statistics_in_parts(&mut self, pass: Pass<'_, P>, batch: &AnyBatch<'_>) -> Result<(), Error> {
        let mut norm = self.norm_from(0);
        while let Some(layer) = norm {
            self.statistics_in_parts(pass, batch, layer)?;
            norm = self.norm_from(layer + 1);
        }
        Ok(())
    }

    /// Both passes over all rows for the statistics of batch norm `layer`; those before it have theirs.
    fn statistics_in_parts(&mut self, pass: Pass<'_, P>, batch: &AnyBatch<'_>, layer: usize) -> Result<(), Error> {
        let node = self.network.node_in(self.plan.scope, layer);
        let Layer::BatchNorm(bn) = node.layer else { return Ok(()) };
        node.cache.of_mut(self.plan.carve(self.buffers.work).cache).fill(0.0);
        for sums in [Sums::Mean, Sums::Spread] {
            for (before, part) in self.parts(*batch) {
                let lists = part.inputs.lists();
                let pass = Pass { before, lists, norms: Norms::SumUp { layer, sums }, ..pass };
                let mut work = self.plan.carve(self.buffers.work);
                pass.run(&self.network, self.buffers.params, self.buffers.state, &part, &mut work)?;
            }
            let cache = node.cache.of_mut(self.plan.carve(self.buffers.work).cache);
            let cache = norms::split_renorm(cache, padded(node.inputs)).0;
            match sums {
                Sums::Mean => batchnorm::finish_mean(self.level, batch.rows, cache),
                Sums::Spread => batchnorm::finish_spread(self.level, batch.rows, bn.eps, cache),
            }
        }
        if let Some(renorm) = pass.renorm(&node, bn) {
            let cache = node.cache.of_mut(self.plan.carve(self.buffers.work).cache);
            let (params, state) = (&*self.buffers.params, &*self.buffers.state);
            norms::correct(self.level, &node, (bn, renorm), pass.training, params, state, cache)?;
        }
        Ok(())
    }

    /// Forward, loss and backward of a part; adds to the gradients of a stretch of layers.
    fn differentiate_part(
        &mut self,
        pass: Pass<'_, P>,
        part: &AnyBatch<'_>,
        loss: Loss,
        so_far: Score,
        stretch: Stretch,
    ) -> Result<Score, Error> {
        let mut work = self.plan.carve(self.buffers.work);
        pass.run(&self.network, self.buffers.params, self.buffers.state, part, &mut work)?;
        let score = self.score(part, loss, (stretch.total, so_far))?;
        let mut work = self.plan.carve(self.buffers.work);
        let (params, gradients) = (&*self.buffers.params, &mut *self.buffers.gradients);
        backward::run(&pass, &self.network, &self.plan, params, part.rows, Some(stretch), &mut work, gradients)?;
        Ok(score)
    }

    /// What a whole batch's backward pass does with the sums over its rows, after the last part.
    fn finish_gradients(&mut self, moment: Moment) {
        let work = self.plan.carve(self.buffers.work);
        norms::finish_scales(self.level, &self.network, &self.plan, &work, self.buffers.gradients);
        connect::finish(self.level, &self.network, &self.plan, moment, self.buffers.gradients);
        let squares = work.squares;
        backward::sum_squares(self.level, &self.network, &self.plan, squares, self.buffers.gradients);
    }
}

/// Through the statistics of a batch norm a bad input of one part shows in the outputs of all: it is where that began.
fn begin(error: Error, batch: &AnyBatch<'_>) -> Error {
    match error {
        Error::NonFinite { .. } if batch.inputs.non_finite() => Error::NonFinite { what: "input", layer: 0 },
        other => other,
    }
}

//! Running statistics estimated anew, for weights that have changed since they were collected: averaged weights, or those of a
//! network that goes to other data.

use super::norms::set_batches_seen;
use super::{AnyBatch, Inputs, Moment, Session, Targets, norms};
use crate::error::{Error, check_len};
use crate::layer::padded;
use crate::split::Split;

impl<P: Split> Session<'_, P> {
    /// Whether a batch norm takes its statistics from the batch.
    #[must_use]
    pub const fn joins_rows(&self) -> bool {
        self.plan.scope.joins_rows(&self.network)
    }

    /// Sets all running statistics that the session moves back to the beginning: mean 0, variance 1, no batch seen.
    pub fn forget_statistics(&mut self) {
        for node in self.network.nodes_in(self.plan.scope) {
            if self.plan.scope.batch_norm_uses_batch(node.index, node.layer) {
                let state = node.state.of_mut(self.buffers.state);
                state.fill(0.0);
                state[padded(node.inputs)..][..node.inputs].fill(1.0);
                set_batches_seen(state, 0);
            }
        }
    }

    /// Adds a batch to the running statistics, every batch counting alike whatever the momentum: after
    /// [`forget_statistics`](Self::forget_statistics) and `k` batches they are the plain averages of the `k` batches' means
    /// and variances (unbiased or not, as each layer says), as `torch.optim.swa_utils.update_bn` has them. The average is
    /// cumulative, `(1 - 1/k) run + (1/k) new` in `f32`.
    ///
    /// Each batch norm normalises by the statistics of the batch (a ghost batch norm by those of the whole batch, a renorm
    /// without its correction) and dropout and its kin do nothing, where `update_bn` would drop. Frozen batch norms stay
    /// as they are. Parameters do not change. Any number of rows, computed in parts if there are more than planned.
    ///
    /// # Errors
    /// [`Error::BatchOfOne`] for one row, [`Error::NonFinite`] for statistics that are not finite (nothing has changed
    /// then), [`Error::Length`] for inputs that are not so many rows, [`Error::Parts`] as for
    /// [`step_in_parts`](Self::step_in_parts).
    pub fn calibrate(&mut self, inputs: &[f32], rows: usize) -> Result<(), Error> {
        check_len("batch inputs", rows.saturating_mul(self.network.inputs()), inputs.len())?;
        self.calibrate_any(Inputs::Values(inputs), rows)
    }

    /// As [`calibrate`](Self::calibrate), for `rows` rows of either kind.
    pub(crate) fn calibrate_any(&mut self, inputs: Inputs<'_>, rows: usize) -> Result<(), Error> {
        self.begun = None;
        let planned = self.plan.batch;
        if rows == 0 {
            return Err(Error::BatchRows { rows: 0, planned });
        }
        if !self.joins_rows() {
            return Ok(());
        }
        self.check_batch_norms(rows)?;
        // Any moment: nothing random acts.
        let mut pass = self.pass(Some(Moment { seed: 0, step: 0, lr: 0.0 }), &inputs);
        pass.calibrates = true;
        let batch = AnyBatch { inputs, targets: Targets::Classes(&[]), rows };
        if rows <= planned {
            let mut work = self.plan.carve(self.buffers.work);
            pass.run(&self.network, self.buffers.params, self.buffers.state, &batch, &mut work)?;
        } else {
            self.check_parts(rows, planned)?;
            self.all_statistics_in_parts(pass, &batch)?;
        }
        norms::update_running(&self.network, &self.plan, rows, true, self.buffers.state, self.buffers.work)
    }
}

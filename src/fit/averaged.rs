//! Averaged weights of a run, and statistics estimated anew over a data set.

use alloc::vec::Vec;

use super::score::{Gather, check_lists, check_standardize};
use crate::Level;
use crate::data::{Batches, Source, View};
use crate::error::Error;
use crate::layer::{BatchNorm, Dialect, Layer, padded};
use crate::memory::Buffer;
use crate::model::Mlp;
use crate::split::Split;
use crate::train::{Averager, Averaging, Session, Targets, batches_seen};

/// Averaged weights, with running statistics of their own.
#[derive(Clone, Debug, PartialEq)]
pub struct Averaged {
    /// The averaged parameters.
    pub params: Buffer,
    /// Running statistics for them, as the last epoch's end has estimated them.
    pub state: Buffer,
    /// How many weights are in the average.
    pub count: u64,
}

impl Averaged {
    /// An empty average.
    pub(super) fn new(params: usize, state: &[f32]) -> Self {
        Self { params: Buffer::zeros(params), state: state.into(), count: 0 }
    }

    /// Takes in the session's weights.
    pub(super) fn take_in<P: Split>(&mut self, averaging: Averaging, session: &Session<'_, P>) -> Result<(), Error> {
        let mut averager = Averager::new(averaging, &mut self.params, self.count, session.plan())?;
        averager.take_in(session)?;
        self.count = averager.count();
        Ok(())
    }

    /// Exchanges weights and statistics with the session's.
    pub(super) fn exchange<P: Split>(&mut self, session: &mut Session<'_, P>) {
        let (params, state) = session.weights_mut();
        params.swap_with_slice(&mut self.params);
        state.swap_with_slice(&mut self.state);
    }
}

/// Estimates the session's running statistics anew: over all rows of `data` in their order, in batches of `batch` rows, each
/// counting alike.
pub(super) fn recalibrate<P: Split>(
    session: &mut Session<'_, P>,
    gather: &mut Gather,
    data: &View<'_>,
    batches: &Batches,
) -> Result<(), Error> {
    if !session.joins_rows() {
        return Ok(());
    }
    let rows: Vec<u32> = (0..data.rows() as u32).collect();
    session.forget_statistics();
    for index in 0..batches.count() {
        let batch = gather.batch(data, &rows[batches.range(index)])?;
        session.calibrate_any(batch.inputs, batch.rows)?;
    }
    Ok(())
}

impl Mlp {
    /// Estimates the running statistics of all batch norms (but frozen ones) anew over `inputs`, raw rows that are standardised
    /// as in training: for other data than the network was trained on, or for weights that were changed.
    ///
    /// The rows are cut in their order into batches of `batch` rows (a last batch of one joins the one before). Each batch
    /// goes through the network with the statistics of the batch and without dropout, and the new running mean and
    /// variance of each layer are the plain averages over the batches ([`Session::calibrate`]). With `batch` as large as
    /// the data they are the statistics of the data itself.
    ///
    /// # Errors
    /// [`Error::Length`] if the inputs are not whole rows, [`Error::BatchOfOne`] for batches of one row, [`Error::NonFinite`] for
    /// inputs or statistics that are not finite; the network is unchanged then.
    pub fn recalibrate(&mut self, level: Level, split: &impl Split, inputs: &[f32], batch: usize) -> Result<(), Error> {
        self.recalibrate_any(level, split, Source::Values(inputs), batch)
    }

    /// As [`recalibrate`](Self::recalibrate), for rows of any kind, wherever they are.
    ///
    /// # Errors
    /// As there, and [`Error::Length`], [`Error::ListsFirst`] or [`Error::ListsStandardized`] for lists that do not go with the
    /// network, [`Error::Read`] for rows that cannot be read.
    pub fn recalibrate_any(
        &mut self,
        level: Level,
        split: &impl Split,
        inputs: Source<'_>,
        batch: usize,
    ) -> Result<(), Error> {
        let network = self.network();
        let data = View { inputs, features: network.inputs(), targets: Targets::Values(&[]) };
        check_standardize(self)?;
        let lists = inputs.lists().is_some();
        inputs.check(network.inputs())?;
        if lists {
            check_lists(self)?;
        }
        let batches = Batches::plan(data.rows(), batch.min(data.rows().max(1)), network.has_batch_norm())?;
        let capacity = batches.largest();
        let mut gather = Gather::new(self.standardize.clone(), data.features, capacity, lists);
        self.state = self.with_session(level, split, lists, capacity, |session| {
            recalibrate(session, &mut gather, &data, &batches)?;
            Ok(session.weights().1.into())
        })?;
        Ok(())
    }

    /// The same network with its batch norms in another dialect, to train on as that library would: which variance the running
    /// one collects, and the running variances converted ([`BatchNorm::convert_variance`]), after batches of `rows` rows. The
    /// momentum is the share of the new batch in both, and eps belongs to what the network computes: they stay.
    ///
    /// # Errors
    /// None for a network that was made by [`Mlp::new`].
    pub fn to_dialect(&self, dialect: Dialect, rows: usize) -> Result<Self, Error> {
        let unbiased = dialect.batch_norm().unbiased;
        let layers = self.layers().iter().map(|layer| match *layer {
            Layer::BatchNorm(bn) => Layer::BatchNorm(BatchNorm { unbiased, ..bn }),
            other => other,
        });
        let mut other = Self::new(self.network().inputs(), layers.collect())?;
        (other.params, other.state) = (self.params.clone(), self.state.clone());
        (other.standardize, other.classes) = (self.standardize.clone(), self.classes.clone());
        for node in self.network().nodes() {
            if let Layer::BatchNorm(bn) = node.layer {
                let state = node.state.of_mut(&mut other.state);
                let batches = batches_seen(state);
                for var in &mut state[padded(node.inputs)..][..node.inputs] {
                    *var = bn.convert_variance(*var, unbiased, rows, batches);
                }
            }
        }
        Ok(other)
    }
}

//! A network on a whole data set in inference mode: loss and hits, or outputs.

use alloc::vec::Vec;

use super::batch::{Draw, Goals};
use crate::Level;
use crate::data::View;
use crate::error::Error;
use crate::memory::Buffer;
use crate::model::Mlp;
use crate::split::Split;
use crate::train::augment::jitter;
use crate::train::{Batch, Buffers, Loss, Score, Session, Targets};

pub(super) fn check_data(model: &Mlp, data: &View<'_>, loss: Loss) -> Result<(), Error> {
    let network = model.network();
    crate::error::check_len("features", network.inputs(), data.features)?;
    check_standardize(model)?;
    if data.rows() == 0 {
        return Err(Error::BatchRows { rows: 0, planned: 1 });
    }
    data.targets.check(loss, data.rows(), network.outputs())
}

/// The means and deviations, a public field, must be those of the network's inputs.
pub(super) fn check_standardize(model: &Mlp) -> Result<(), Error> {
    let Some(standardize) = &model.standardize else { return Ok(()) };
    let inputs = model.network().inputs();
    crate::error::check_len("means of the standardisation", inputs, standardize.mean.len())?;
    crate::error::check_len("factors of the standardisation", inputs, standardize.inv_std.len())
}

/// Collects the rows of a batch, standardised.
pub(super) struct Gather {
    standardize: Option<crate::model::Standardize>,
    features: usize,
    raw: Vec<f32>,
    inputs: Buffer,
    goals: Goals,
}

impl Gather {
    pub(super) fn new(standardize: Option<crate::model::Standardize>, features: usize, capacity: usize) -> Self {
        let inputs = Buffer::zeros(capacity * features);
        let raw = alloc::vec![0.0; features];
        Self { standardize, features, raw, inputs, goals: Goals::default() }
    }

    pub(super) fn batch(&mut self, data: &View<'_>, rows: &[u32]) -> Batch<'_> {
        let features = self.features;
        self.fill(data, rows);
        let targets = self.goals.of(data.targets, data.rows(), rows);
        Batch { inputs: &self.inputs[..rows.len() * features], targets, rows: rows.len() }
    }

    /// As [`batch`](Self::batch), mixed and with noise as the trainer says. Mixing comes first: the noise has its deviation.
    pub(super) fn training_batch(
        &mut self,
        data: &View<'_>,
        rows: &[u32],
        trainer: &super::Trainer,
        step: u64,
    ) -> Batch<'_> {
        self.fill(data, rows);
        let draw = Draw { seed: trainer.seed, step };
        let inputs = &mut self.inputs[..rows.len() * self.features];
        let targets = if trainer.mixup > 0.0 {
            self.goals.mixed(data.targets, data.rows(), rows, (trainer.mixup, draw), inputs)
        } else {
            self.goals.of(data.targets, data.rows(), rows)
        };
        if trainer.jitter > 0.0 {
            jitter(trainer.jitter, draw.seed, draw.step, 0, inputs);
        }
        Batch { inputs, targets, rows: rows.len() }
    }

    /// Copies the inputs of the rows.
    fn fill(&mut self, data: &View<'_>, rows: &[u32]) {
        let features = self.features;
        for (row, out) in rows.iter().zip(self.inputs.chunks_exact_mut(features)) {
            let row = &data.inputs[*row as usize * features..][..features];
            match &self.standardize {
                None => out.copy_from_slice(row),
                Some(standardize) => {
                    self.raw.copy_from_slice(row);
                    standardize.apply(&self.raw, out);
                }
            }
        }
    }
}

/// Loss and hits of a whole data set in inference mode.
pub(super) fn evaluate<P: Split>(
    session: &mut Session<'_, P>,
    gather: &mut Gather,
    data: &View<'_>,
    loss: Loss,
    capacity: usize,
) -> Result<Score, Error> {
    // One mean over the weights of all rows, not one for each batch.
    let data = &View { targets: data.targets.settled(), ..*data };
    let rows: Vec<u32> = (0..data.rows() as u32).collect();
    let mut total = Score::default();
    for rows in rows.chunks(capacity) {
        total = total.plus(session.evaluate_in_parts(gather.batch(data, rows), loss)?);
    }
    Ok(total)
}

impl Mlp {
    /// Rows evaluated at once by [`score`](Mlp::score) and [`predict`](Mlp::predict): no result depends on it.
    const ROWS: usize = 256;

    fn with_session<P: Split, T>(
        &self,
        level: Level,
        split: &P,
        then: impl FnOnce(&mut Session<'_, P>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let network = self.network();
        let (mut params, mut state) = (self.params.clone(), self.state.clone());
        let mut gradients = Buffer::zeros(params.len());
        let mut work = Buffer::zeros(network.plan(Self::ROWS).work_len());
        let buffers = Buffers {
            params: &mut params,
            state: &mut state,
            gradients: &mut gradients,
            moments: &mut [],
            work: &mut work,
        };
        then(&mut Session::new(network, Self::ROWS, buffers, level, split)?)
    }

    /// Loss and hits of a data set in inference mode (running statistics, no dropout), inputs standardised first.
    ///
    /// # Errors
    /// If the data does not fit the network or the loss.
    pub fn score(&self, level: Level, split: &impl Split, data: View<'_>, loss: Loss) -> Result<Score, Error> {
        check_data(self, &data, loss)?;
        let mut gather = Gather::new(self.standardize.clone(), data.features, Self::ROWS);
        self.with_session(level, split, |session| evaluate(session, &mut gather, &data, loss, Self::ROWS))
    }

    /// Raw outputs of the unfolded network for rows of inputs: rows of as many values as the network has outputs.
    ///
    /// # Errors
    /// [`Error::Length`] if the inputs are not whole rows.
    pub fn predict(&self, level: Level, split: &impl Split, inputs: &[f32]) -> Result<Vec<f32>, Error> {
        let (features, outputs) = (self.network().inputs(), self.network().outputs());
        let data = View::new(inputs, features, Targets::Values(&[]))?;
        check_standardize(self)?;
        let mut gather = Gather::new(self.standardize.clone(), features, Self::ROWS);
        self.with_session(level, split, |session| {
            let mut all = alloc::vec![0.0; data.rows() * outputs];
            let rows: Vec<u32> = (0..data.rows() as u32).collect();
            for (rows, out) in rows.chunks(Self::ROWS).zip(all.chunks_mut(Self::ROWS * outputs)) {
                let batch = gather.batch(&data, rows);
                session.predict(batch.inputs, batch.rows, out)?;
            }
            Ok(all)
        })
    }
}

//! A network on a whole data set in inference mode: loss and hits, or outputs.

use alloc::vec::Vec;

use super::batch::{Draw, Goals};
use crate::Level;
use crate::data::{Source, View};
use crate::error::Error;
use crate::kernels::sparse::IndexLists;
use crate::memory::Buffer;
use crate::model::Mlp;
use crate::plan::Scope;
use crate::split::Split;
use crate::train::augment::jitter;
use crate::train::{AnyBatch, Buffers, Inputs, Loss, Score, Session, Targets};

pub(super) fn check_data(model: &Mlp, data: &View<'_>, loss: Loss) -> Result<(), Error> {
    let network = model.network();
    crate::error::check_len("features", network.inputs(), data.features)?;
    data.inputs.check(data.features)?;
    check_standardize(model)?;
    if data.inputs.lists().is_some() {
        check_lists(model)?;
    }
    if data.rows() == 0 {
        return Err(Error::BatchRows { rows: 0, planned: 1 });
    }
    data.targets.check(loss, data.rows(), network.outputs())
}

/// Index lists are read by a dense layer, as they are.
pub(super) fn check_lists(model: &Mlp) -> Result<(), Error> {
    if model.standardize.is_some() {
        return Err(Error::ListsStandardized);
    }
    match model.layers().first() {
        Some(first) if !matches!(first, crate::Layer::Dense { .. }) => Err(Error::ListsFirst { name: first.name() }),
        _ => Ok(()),
    }
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
    offsets: Vec<usize>,
    indices: Vec<u32>,
    goals: Goals,
}

impl Gather {
    /// Room for `capacity` rows of `features` values, none if they are `lists`.
    pub(super) fn new(
        standardize: Option<crate::model::Standardize>,
        features: usize,
        capacity: usize,
        lists: bool,
    ) -> Self {
        let inputs = Buffer::zeros(if lists { 0 } else { capacity * features });
        let raw = alloc::vec![0.0; features];
        let (offsets, indices) = (Vec::new(), Vec::new());
        Self { standardize, features, raw, inputs, offsets, indices, goals: Goals::default() }
    }

    pub(super) fn batch(&mut self, data: &View<'_>, rows: &[u32]) -> Result<AnyBatch<'_>, Error> {
        let features = self.features;
        self.fill(data, rows)?;
        let targets = self.goals.of(data.targets, data.rows(), rows);
        let inputs = match data.inputs {
            // Rows of lists that were checked.
            Source::Lists(_) => Inputs::Lists(IndexLists::trusted(features, &self.offsets, &self.indices)),
            _ => Inputs::Values(&self.inputs[..rows.len() * features]),
        };
        Ok(AnyBatch { inputs, targets, rows: rows.len() })
    }

    /// As [`batch`](Self::batch), mixed and with noise as the trainer says. Mixing comes first: the noise has its deviation.
    /// Neither is done to lists ([`Run::advance`](super::Run::advance) refuses it).
    pub(super) fn training_batch(
        &mut self,
        data: &View<'_>,
        rows: &[u32],
        trainer: &super::Trainer,
        step: u64,
    ) -> Result<AnyBatch<'_>, Error> {
        if data.inputs.lists().is_some() {
            return self.batch(data, rows);
        }
        self.fill(data, rows)?;
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
        Ok(AnyBatch { inputs: Inputs::Values(inputs), targets, rows: rows.len() })
    }

    /// Copies, or reads, the inputs of the rows.
    fn fill(&mut self, data: &View<'_>, rows: &[u32]) -> Result<(), Error> {
        let features = self.features;
        match data.inputs {
            Source::Values(inputs) => {
                for (row, out) in rows.iter().zip(self.inputs.chunks_exact_mut(features)) {
                    let row = &inputs[*row as usize * features..][..features];
                    match &self.standardize {
                        None => out.copy_from_slice(row),
                        Some(standardize) => standardize.apply(row, out),
                    }
                }
            }
            Source::Stored(stored) => {
                let inputs = &mut self.inputs[..rows.len() * features];
                stored.read(rows, inputs)?;
                if let Some(standardize) = &self.standardize {
                    for row in inputs.chunks_exact_mut(features) {
                        self.raw.copy_from_slice(row);
                        standardize.apply(&self.raw, row);
                    }
                }
            }
            Source::Lists(lists) => {
                self.indices.clear();
                self.offsets.clear();
                self.offsets.push(0);
                for row in rows {
                    self.indices.extend_from_slice(lists.row(*row as usize));
                    self.offsets.push(self.indices.len());
                }
            }
        }
        Ok(())
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
        total = total.plus(session.evaluate_in_parts(gather.batch(data, rows)?, loss)?);
    }
    Ok(total)
}

impl Mlp {
    /// Rows evaluated at once by [`score`](Mlp::score) and [`predict`](Mlp::predict): no result depends on it.
    const ROWS: usize = 256;

    /// A session over copies of the weights, for up to `rows` rows at once.
    pub(super) fn with_session<P: Split, T>(
        &self,
        level: Level,
        split: &P,
        lists: bool,
        rows: usize,
        then: impl FnOnce(&mut Session<'_, P>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let network = self.network();
        let plan = network.plan_in(Scope { lists, ..Scope::ALL }, rows);
        let (mut params, mut state) = (self.params.clone(), self.state.clone());
        let mut gradients = Buffer::zeros(params.len());
        let mut work = Buffer::zeros(plan.work_len());
        let buffers = Buffers {
            params: &mut params,
            state: &mut state,
            gradients: &mut gradients,
            moments: &mut [],
            work: &mut work,
        };
        then(&mut Session::planned(network, plan, buffers, level, split)?)
    }

    /// Loss and hits of a data set in inference mode (running statistics, no dropout), inputs standardised first.
    ///
    /// # Errors
    /// If the data does not fit the network or the loss.
    pub fn score(&self, level: Level, split: &impl Split, data: View<'_>, loss: Loss) -> Result<Score, Error> {
        check_data(self, &data, loss)?;
        let lists = data.inputs.lists().is_some();
        let mut gather = Gather::new(self.standardize.clone(), data.features, Self::ROWS, lists);
        let rows = Self::ROWS;
        self.with_session(level, split, lists, rows, |session| evaluate(session, &mut gather, &data, loss, rows))
    }

    /// Raw outputs of the unfolded network for rows of inputs: rows of as many values as the network has outputs.
    ///
    /// # Errors
    /// [`Error::Length`] if the inputs are not whole rows.
    pub fn predict(&self, level: Level, split: &impl Split, inputs: &[f32]) -> Result<Vec<f32>, Error> {
        self.predict_any(level, split, Source::Values(inputs))
    }

    /// As [`predict`](Mlp::predict), for rows that are index lists.
    ///
    /// # Errors
    /// As [`predict_any`](Mlp::predict_any).
    pub fn predict_lists(&self, level: Level, split: &impl Split, inputs: IndexLists<'_>) -> Result<Vec<f32>, Error> {
        self.predict_any(level, split, Source::Lists(inputs))
    }

    /// As [`predict`](Mlp::predict), for rows of any kind, wherever they are. The outputs are in memory.
    ///
    /// # Errors
    /// [`Error::Length`] for rows of another number of features, [`Error::ListsFirst`] or [`Error::ListsStandardized`] for a
    /// network that cannot read lists, [`Error::Read`] for rows that cannot be read.
    pub fn predict_any(&self, level: Level, split: &impl Split, inputs: Source<'_>) -> Result<Vec<f32>, Error> {
        let (features, outputs) = (self.network().inputs(), self.network().outputs());
        check_standardize(self)?;
        inputs.check(features)?;
        let lists = inputs.lists().is_some();
        if lists {
            check_lists(self)?;
        }
        let data = View { inputs, features, targets: Targets::Values(&[]) };
        let mut gather = Gather::new(self.standardize.clone(), features, Self::ROWS, lists);
        self.with_session(level, split, lists, Self::ROWS, |session| {
            let mut all = alloc::vec![0.0; data.rows() * outputs];
            let rows: Vec<u32> = (0..data.rows() as u32).collect();
            for (rows, out) in rows.chunks(Self::ROWS).zip(all.chunks_mut(Self::ROWS * outputs)) {
                let batch = gather.batch(&data, rows)?;
                session.predict_any(batch.inputs, batch.rows, out)?;
            }
            Ok(all)
        })
    }
}

//! The last layer, in RAM, to be trained: a network of one dense layer on what the front gives.

use evenkeel::image::{Op, Weights};
use evenkeel::plan::Plan;
use evenkeel::rng::{Stream, shuffle};
use evenkeel::train::loss::Score;
use evenkeel::train::{Batch, Buffers, Moment, Rules, Session};
use evenkeel::{Layer, Level, Loss, Network, Optimizer, Serial, Targets};

use crate::{FRONT_IMAGE, MOST, Problem, motion};

/// Values that the front gives for a row.
pub(crate) const HIDDEN: usize = FRONT_IMAGE.outputs();

const LAYERS: [Layer; 1] = [Layer::dense(motion::OUTPUTS)];
const NETWORK: Network<'static> = match Network::new(HIDDEN, &LAYERS) {
    Ok(network) => network,
    Err(_) => panic!("the front and the classes make no layer"),
};
/// Rows of a step. How long the arrays of training are, the compiler knows.
const BATCH: usize = 16;
const PLAN: Plan = NETWORK.plan(BATCH);
const RULES: Rules = Rules::new(Loss::CrossEntropy, Optimizer::ADAM);
const RATE: f32 = 0.003;

/// All that training needs.
pub(crate) struct Memory {
    params: [f32; PLAN.params],
    gradients: [f32; PLAN.params],
    moments: [f32; RULES.optimizer.moments() * PLAN.params],
    work: [f32; PLAN.work_len()],
}

impl Memory {
    pub(crate) const fn new() -> Self {
        Self {
            params: [0.0; PLAN.params],
            gradients: [0.0; PLAN.params],
            moments: [0.0; RULES.optimizer.moments() * PLAN.params],
            work: [0.0; PLAN.work_len()],
        }
    }
}

/// The layer and the state of its training.
pub(crate) struct Head<'m> {
    session: Session<'m, Serial>,
    step: u64,
}

impl<'m> Head<'m> {
    /// The last layer as the image has it: image and training keep weights in the same order.
    pub(crate) fn new(memory: &'m mut Memory, level: Level) -> Result<Self, Problem> {
        let Some(Op::Dense { weights: Weights::F32(weights), bias: Some(bias), activation: None, .. }) =
            motion::image::IMAGE.ops().last()
        else {
            return Err(Problem::Head("the last layer is not a dense one with f32 weights and bias"));
        };
        let node = NETWORK.node(0);
        let Memory { params, gradients, moments, work } = memory;
        node.weights.of_mut(params).copy_from_slice(weights);
        node.bias.of_mut(params).copy_from_slice(bias);
        let buffers = Buffers { params, state: &mut [], gradients, moments, work };
        Ok(Self { session: Session::new(NETWORK, BATCH, buffers, level, &Serial)?, step: 0 })
    }

    /// One time through all rows, in an order of its own.
    pub(crate) fn epoch(&mut self, epoch: u32, features: &[[f32; HIDDEN]], labels: &[u32]) -> Result<(), Problem> {
        let mut order: [usize; MOST] = core::array::from_fn(|at| at);
        let order = &mut order[..features.len()];
        shuffle(Stream { seed: 1, stream: 0, step: epoch }, order);
        for some in order.chunks(BATCH) {
            let mut inputs = [0.0; BATCH * HIDDEN];
            let mut classes = [0; BATCH];
            for ((row, class), at) in inputs.chunks_exact_mut(HIDDEN).zip(&mut classes).zip(some) {
                row.copy_from_slice(&features[*at]);
                *class = labels[*at];
            }
            let rows = some.len();
            let targets = Targets::Classes(&classes[..rows]);
            let batch = Batch { inputs: &inputs[..rows * HIDDEN], targets, rows };
            self.session.step(batch, &RULES, Moment { seed: 1, step: self.step, lr: RATE })?;
            self.step += 1;
        }
        Ok(())
    }

    /// Mean loss.
    pub(crate) fn loss(&mut self, features: &[[f32; HIDDEN]], labels: &[u32]) -> Result<f64, Problem> {
        let mut score = Score::default();
        for (rows, labels) in features.chunks(BATCH).zip(labels.chunks(BATCH)) {
            let batch = Batch { inputs: rows.as_flattened(), targets: Targets::Classes(labels), rows: rows.len() };
            score = score.plus(self.session.evaluate(batch, RULES.loss)?);
        }
        Ok(score.mean_loss())
    }

    /// The outputs for one row of the front's.
    pub(crate) fn outputs(&mut self, hidden: &[f32; HIDDEN]) -> Result<[f32; motion::OUTPUTS], Problem> {
        let mut outputs = [0.0; motion::OUTPUTS];
        self.session.predict(hidden, 1, &mut outputs)?;
        Ok(outputs)
    }
}

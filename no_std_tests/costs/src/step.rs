//! A network that learns on the device: batch norm, ReLU and dropout, by Adam, its memory in arrays.

use evenkeel::train::{Batch, Buffers, Moment, Rules, Session};
use evenkeel::{Activation, BatchNorm, Error, Layer, Level, Loss, Network, Optimizer, Serial, Targets};

const LAYERS: &[Layer] = &[
    Layer::dense(16),
    Layer::BatchNorm(BatchNorm::TORCH),
    Layer::Activation(Activation::Relu),
    Layer::Dropout { rate: 0.2 },
    Layer::dense(4),
];
const NETWORK: Network<'static> = match Network::new(8, LAYERS) {
    Ok(network) => network,
    Err(_) => panic!("the layers do not fit"),
};
const ROWS: usize = 4;
const PARAMS: usize = NETWORK.plan(ROWS).params;
const STATE: usize = NETWORK.plan(ROWS).state;
const WORK: usize = NETWORK.plan(ROWS).work_len();

/// All that a run of training keeps: what the caller owns, whatever the library is.
pub(crate) struct Memory {
    params: [f32; PARAMS],
    state: [f32; STATE],
    gradients: [f32; PARAMS],
    moments: [f32; 2 * PARAMS],
    work: [f32; WORK],
}

impl Memory {
    pub(crate) const NEW: Self = Self {
        params: [0.1; PARAMS],
        state: [0.0; STATE],
        gradients: [0.0; PARAMS],
        moments: [0.0; 2 * PARAMS],
        work: [0.0; WORK],
    };
}

/// One step on a batch of four rows; the loss before it.
pub(crate) fn step(level: Level, memory: &mut Memory, inputs: &[f32; ROWS * 8], step: u64) -> Result<f64, Error> {
    let Memory { params, state, gradients, moments, work } = memory;
    let mut session = Session::new(NETWORK, ROWS, Buffers { params, state, gradients, moments, work }, level, &Serial)?;
    let batch = Batch { inputs, targets: Targets::Classes(&[0, 1, 2, 3]), rows: ROWS };
    let rules = Rules::new(Loss::CrossEntropy, Optimizer::ADAM);
    Ok(session.step(batch, &rules, Moment { seed: 1, step, lr: 0.01 })?.loss)
}

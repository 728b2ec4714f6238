//! Inference of one row, and training of a network with batch norm and dropout by Adam.
#![no_std]
#![no_main]

#[path = "../bare.rs"]
mod bare;

use core::hint::black_box;

use evenkeel::image::Aligned;
use evenkeel::infer::Single;
use evenkeel::train::{Batch, Buffers, Moment, Rules, Session};
use evenkeel::{Activation, BatchNorm, Error, Image, Layer, Level, Loss, Network, Optimizer, Serial, Targets};

const BYTES: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/digits-f32.keel")));
const IMAGE: Image<'static> = match Image::from_aligned(BYTES) {
    Ok(image) => image,
    Err(_) => panic!("the image is damaged"),
};
const NET: Single<'static, { IMAGE.uses() }> = match Single::new(IMAGE) {
    Ok(net) => net,
    Err(_) => panic!("the network uses more than it says"),
};

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

fn main() {
    let input = black_box([0.5; IMAGE.inputs()]);
    let (mut output, mut scratch) = ([0.0; IMAGE.outputs()], [0.0; NET.scratch_len()]);
    let done = NET.infer(Level::detect(), &input, &mut output, &mut scratch);
    black_box((done.is_ok(), output));
    black_box(train().is_ok());
}

fn train() -> Result<f32, Error> {
    const PARAMS: usize = NETWORK.plan(ROWS).params;
    const STATE: usize = NETWORK.plan(ROWS).state;
    const WORK: usize = NETWORK.plan(ROWS).work_len();
    let (mut params, mut state, mut gradients) = ([0.1; PARAMS], [0.0; STATE], [0.0; PARAMS]);
    let (mut moments, mut work) = ([0.0; 2 * PARAMS], [0.0; WORK]);
    let buffers = Buffers {
        params: &mut params,
        state: &mut state,
        gradients: &mut gradients,
        moments: &mut moments,
        work: &mut work,
    };
    let mut session = Session::new(NETWORK, ROWS, buffers, Level::detect(), &Serial)?;
    let inputs = black_box([0.5; ROWS * 8]);
    let targets = Targets::Classes(&[0, 1, 2, 3]);
    let rules = Rules::new(Loss::CrossEntropy, black_box(Optimizer::ADAM));
    let mut loss = 0.0;
    for step in 0..10 {
        let batch = Batch { inputs: &inputs, targets, rows: ROWS };
        loss = session.step(batch, &rules, Moment { seed: 1, step, lr: 0.01 })?.loss as f32;
    }
    Ok(loss)
}

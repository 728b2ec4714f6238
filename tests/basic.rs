//! A build without the feature `toolbox`: what it has no code for is refused, nothing is passed over.
#![cfg(not(feature = "toolbox"))]

use evenkeel::image::{Aligned, uses};
use evenkeel::infer::Single;
use evenkeel::kernels::dense::{self, Dense};
use evenkeel::kernels::groups::Rows;
use evenkeel::layer::{LayerNorm, NormMode};
use evenkeel::train::optim::update;
use evenkeel::train::{Batch, Buffers, Moment, Rules, Session};
use evenkeel::{Activation, BatchNorm, Error, Image, Layer, Level, Loss, Net, Network, Optimizer, Serial, Targets};

static ACTIVATIONS: &Aligned<[u8]> = &Aligned(*include_bytes!("../fuzz/seeds/image/activations.keel"));
static LAYER_NORM: &Aligned<[u8]> = &Aligned(*include_bytes!("../fuzz/seeds/image/layer_norm.keel"));
static PRELU: &Aligned<[u8]> = &Aligned(*include_bytes!("../fuzz/seeds/image/prelu.keel"));

#[test]
fn images() {
    for bytes in [ACTIVATIONS, LAYER_NORM, PRELU] {
        let net = Net::new(Image::from_aligned(bytes).unwrap());
        let (input, mut output) = (vec![0.5; net.inputs()], vec![7.0; net.outputs()]);
        let mut scratch = vec![0.0; net.scratch_len(1)];
        let refused = net.infer(Level::detect(), &Serial, &input, &mut output, &mut scratch);
        assert_eq!(refused, Err(Error::Toolbox));
        assert!(output.iter().all(|value| *value == 7.0));
    }
    // Who names an operation has it.
    let image = Image::from_aligned(ACTIVATIONS).unwrap();
    let single = Single::<{ uses::ALL }>::new(image).unwrap();
    let (mut output, mut scratch) = (vec![f32::NAN; image.outputs()], vec![0.0; single.scratch_len()]);
    single.infer(Level::detect(), &vec![0.5; image.inputs()], &mut output, &mut scratch).unwrap();
    assert!(output.iter().all(|value| value.is_finite()));
}

#[test]
fn optimisers() {
    let (mut params, mut first, mut second) = ([1.0; 16], [0.0; 16], [0.0; 16]);
    let factors = Optimizer::NADAM.factors(0, 0.1, 1.0, 0.0);
    let refused = update(Level::detect(), &Serial, factors, &mut params, &[1.0; 16], &mut first, &mut second);
    assert_eq!((refused, params), (Err(Error::Toolbox), [1.0; 16]));
}

#[test]
fn dense_kernels() {
    let dense = Dense { inputs: 1, outputs: 16, weights: &[1.0_f32; 16][..], bias: None };
    let (x, mut y) = ([1.0], [0.0; 16]);
    let mut with =
        |then| dense::forward_then(Level::detect(), &Serial, dense, Rows::plain(&x, 1, 1, 1).unwrap(), then, &mut y);
    assert_eq!(with(Some(Activation::Mish)), Err(Error::Toolbox));
    assert_eq!(with(Some(Activation::Gelu)), Ok(()));
}

/// One step of training, or what is wrong with it.
fn step(layers: &[Layer], rules: Rules) -> Result<(), Error> {
    let network = Network::new(2, layers).unwrap();
    let plan = network.plan(4);
    let (mut params, mut state) = (vec![0.1; plan.params], vec![0.0; plan.state]);
    let (mut gradients, mut work) = (vec![0.0; plan.trained], vec![0.0; plan.work_len()]);
    let mut moments = vec![0.0; rules.optimizer.moments_len(&plan)];
    let buffers = Buffers {
        params: &mut params,
        state: &mut state,
        gradients: &mut gradients,
        moments: &mut moments,
        work: &mut work,
    };
    let mut session = Session::new(network, 4, buffers, Level::detect(), &Serial)?;
    let batch = Batch { inputs: &[0.0, 1.0, 2.0, 3.0], targets: Targets::Values(&[0.0, 1.0]), rows: 2 };
    session.step(batch, &rules, Moment { seed: 1, step: 0, lr: 0.1 }).map(|_| ())
}

#[test]
fn training() {
    let basic = Rules::new(Loss::MeanSquaredError, Optimizer::ADAM);
    assert_eq!(step(&[Layer::dense(3), Layer::Activation(Activation::Tanh), Layer::dense(1)], basic), Ok(()));
    let ghost = BatchNorm { mode: NormMode::Ghost { rows: 8 }, ..BatchNorm::TORCH };
    for layer in [
        Layer::Activation(Activation::Elu { alpha: 1.0 }),
        Layer::LayerNorm(LayerNorm::TORCH),
        Layer::GaussianNoise { stddev: 0.1 },
        Layer::BatchNorm(ghost),
        Layer::PRelu(evenkeel::PRelu::TORCH),
    ] {
        assert_eq!(step(&[Layer::dense(3), layer, Layer::dense(1)], basic), Err(Error::Toolbox), "{}", layer.name());
    }
    for rules in [
        Rules::new(Loss::Huber { delta: 1.0 }, Optimizer::ADAM),
        Rules::new(Loss::MeanSquaredError, Optimizer::LION),
        Rules { l1: 0.1, ..basic },
    ] {
        assert_eq!(step(&[Layer::dense(1)], rules), Err(Error::Toolbox), "{rules:?}");
    }
}

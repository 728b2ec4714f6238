//! Everything that can be chosen learns a toy problem, and dropout at its ends does what it says.

use evenkeel::fit::EpochRecord;
use evenkeel::kernels::{dropout, panels};
use evenkeel::rng::{Purpose, Stream};
use evenkeel::train::{Batch, Buffers, Moment, Session};
use evenkeel::{Dataset, Init, Labels, Level, Loss, Mlp, Network, Optimizer, Serial, Targets, Trainer, text};

use crate::{assert_same, bits, blobs, net};

const NESTEROV: Optimizer = Optimizer::Sgd { momentum: 0.9, nesterov: true };
const MOMENTUM: Optimizer = Optimizer::Sgd { momentum: 0.9, nesterov: false };

fn fit(model: &mut Mlp, optimizer: Optimizer, lr: f32, loss: Loss, data: &Dataset) -> (EpochRecord, EpochRecord) {
    let trainer = Trainer::new(loss).optimizer(optimizer, lr).batch(16).epochs(30);
    let history = trainer.fit(model, data.view().unwrap(), data.view().ok()).unwrap();
    (history.epochs[0], *history.best().unwrap())
}

/// The data with targets for a loss: class indices, one of them as yes or no, or a smooth function of the inputs.
fn toy(loss: Loss) -> Dataset {
    let mut data = blobs(160, 4, 3, 0.4);
    data.labels = match loss {
        Loss::BinaryCrossEntropy => Labels::Values((0..160).map(|row| f32::from(row % 3 == 1)).collect()),
        Loss::MeanSquaredError => Labels::Values(data.inputs.chunks(4).map(|x| 0.5 * x[0] - x[1] * x[2]).collect()),
        _ => return data,
    };
    data
}

/// Each loss with each optimiser.
#[test]
fn losses_and_optimisers() {
    for loss in [Loss::CrossEntropy, Loss::BinaryCrossEntropy, Loss::MeanSquaredError] {
        let data = toy(loss);
        let layers = if loss == Loss::CrossEntropy { "dense(16) tanh dense(3)" } else { "dense(16) tanh dense(1)" };
        let rates = [(Optimizer::SGD, 0.3), (MOMENTUM, 0.05), (NESTEROV, 0.05)];
        for (optimizer, lr) in rates.into_iter().chain([(Optimizer::ADAM, 0.02), (Optimizer::ADAMW, 0.02)]) {
            let mut model = net(4, layers);
            model.init(Init::GlorotUniform, 5);
            let (first, best) = fit(&mut model, optimizer, lr, loss, &data);
            assert!(best.val_loss.unwrap() < 0.3 * first.loss, "{loss:?}, {optimizer:?}: {first:?} {best:?}");
            assert!(best.val_accuracy.is_none_or(|accuracy| accuracy > 0.95), "{loss:?}, {optimizer:?}: {best:?}");
        }
    }
}

/// A schedule that begins at 0: the first step moves nothing, and counts nothing in the average of the schedule-free form.
#[test]
fn a_rate_of_zero() {
    let data = toy(Loss::CrossEntropy);
    for name in
        ["schedule_free", "adam", "amsgrad", "nadam", "adamax", "rmsprop", "adagrad", "adadelta", "lion", "lamb"]
    {
        let mut model = net(4, "dense(16) tanh dense(3)");
        model.init(Init::GlorotUniform, 5);
        let schedule = "cyclic(0.5, floor=0)".parse().unwrap();
        let trainer =
            Trainer { schedule, ..Trainer::new(Loss::CrossEntropy) }.optimizer(name.parse().unwrap(), 0.02).epochs(3);
        let history = trainer.fit(&mut model, data.view().unwrap(), data.view().ok());
        assert!(history.as_ref().is_ok_and(|history| history.epochs.len() == 3), "{name}: {history:?}");
    }
}

/// Each initialiser, each activation.
#[test]
fn initialisers_and_activations() {
    let data = toy(Loss::CrossEntropy);
    let names = "glorot_uniform glorot_normal he_uniform he_normal lecun_uniform lecun_normal torch_linear orthogonal";
    for init in names.split(' ') {
        for kind in ["relu", "leaky_relu", "sigmoid", "tanh", "gelu", "silu", "bn relu dropout(0.1)"] {
            let mut model = Mlp::new(4, text::parse(&format!("dense(16) {kind} dense(3)")).unwrap()).unwrap();
            model.init(init.parse().unwrap(), 5);
            let (first, best) = fit(&mut model, Optimizer::ADAM, 0.02, Loss::CrossEntropy, &data);
            assert!(best.val_accuracy.unwrap() > 0.95, "{init}, {kind}: {first:?} {best:?}");
        }
    }
}

/// The less usual activations learn, too.
#[test]
fn more_activations() {
    let data = toy(Loss::CrossEntropy);
    let names = "elu selu celu gelu_tanh softplus softsign hard_sigmoid hard_swish relu6 mish thresholded_relu(0.1)";
    for kind in names.split_whitespace() {
        let mut model = Mlp::new(4, text::parse(&format!("dense(16) {kind} dense(3)")).unwrap()).unwrap();
        let (first, best) = fit(&mut model, Optimizer::ADAM, 0.02, Loss::CrossEntropy, &data);
        assert!(best.val_accuracy.unwrap() > 0.95, "{kind}: {first:?} {best:?}");
    }
}

/// Penalties keep weights smaller, L2 and decoupled decay alike, and leave biases alone unless asked.
#[test]
fn penalties() {
    let data = toy(Loss::CrossEntropy);
    let sum = |model: &Mlp| model.params.iter().map(|w| f64::from(*w) * f64::from(*w)).sum::<f64>();
    let train = |optimizer, l2, decay_all| {
        let mut model = net(4, "dense(16) tanh dense(3)");
        let mut trainer = Trainer::new(Loss::CrossEntropy).optimizer(optimizer, 0.02).epochs(30);
        (trainer.rules.l2, trainer.rules.decay_all) = (l2, decay_all);
        trainer.fit(&mut model, data.view().unwrap(), None).unwrap();
        model
    };
    let decay = |weight_decay| Optimizer::AdamW { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay };
    let free = train(Optimizer::ADAM, 0.0, false);
    assert_same(&free, &train(decay(0.0), 0.0, true), "a decay of 0");
    for decay_all in [false, true] {
        assert!(sum(&train(Optimizer::ADAM, 0.02, decay_all)) < 0.8 * sum(&free));
        assert!(sum(&train(decay(0.5), 0.0, decay_all)) < 0.8 * sum(&free));
    }
    assert_ne!(bits(&train(decay(0.5), 0.0, false).params), bits(&train(decay(0.5), 0.0, true).params));
}

/// Rate 0 is no dropout at all, by bits; rate 1 leaves only what the layers behind can learn from nothing.
#[test]
fn dropout_at_its_ends() {
    let data = blobs(48, 5, 3, 0.5);
    let trainer = Trainer::new(Loss::CrossEntropy).optimizer(Optimizer::SGD, 0.1).batch(16).epochs(4);
    let mut with = net(5, "dense(17) relu dropout(0) dense(3)");
    let mut without = net(5, "dense(17) relu dense(3)");
    without.params.copy_from_slice(&with.params);
    trainer.fit(&mut with, data.view().unwrap(), None).unwrap();
    trainer.fit(&mut without, data.view().unwrap(), None).unwrap();
    assert_same(&with, &without, "dropout(0)");

    let start = net(5, "dense(17) relu dropout(1) dense(3)");
    let mut model = start.clone();
    trainer.fit(&mut model, data.view().unwrap(), data.view().ok()).unwrap();
    let (first, last) = (start.network().node(0), start.network().node(3));
    for part in [first.weights, first.bias, last.weights] {
        assert_eq!(bits(part.of(&model.params)), bits(part.of(&start.params)), "nothing flows through dropout(1)");
    }
    assert_ne!(bits(last.bias.of(&model.params)), bits(last.bias.of(&start.params)));
    // Inference is another matter: there dropout does nothing.
    let outputs = model.predict(Level::detect(), &Serial, &data.inputs).unwrap();
    assert!(outputs.chunks(3).any(|row| row != &outputs[..3]));
}

/// The learning rate rises to its base over the warm-up.
#[test]
fn warm_up() {
    let data = blobs(40, 4, 3, 0.5);
    let mut trainer = Trainer::new(Loss::CrossEntropy).optimizer(Optimizer::SGD, 0.5).batch(10).epochs(5);
    trainer.warmup_epochs = 2.0;
    let history = trainer.fit(&mut net(4, "dense(3)"), data.view().unwrap(), None).unwrap();
    let rates: Vec<f32> = history.epochs.iter().map(|epoch| epoch.lr).collect();
    assert_eq!(rates, [0.25, 0.5, 0.5, 0.5, 0.5]);
}

/// Inputs of any scale, once standardised, train as well as tame ones.
#[test]
fn standardised_inputs() {
    let mut data = blobs(160, 4, 3, 0.4);
    for (at, x) in data.inputs.iter_mut().enumerate() {
        *x = [1e4, 1e-4, 300.0, 1.0][at % 4] * (*x + [5.0, 0.0, -40.0, 0.0][at % 4]);
    }
    let mut model = net(4, "dense(16) relu dense(3)");
    model.standardize = Some(evenkeel::model::Standardize::learn(&data.inputs, 4));
    let (_, best) = fit(&mut model, Optimizer::ADAM, 0.02, Loss::CrossEntropy, &data);
    assert!(best.val_accuracy.unwrap() > 0.95, "{best:?}");
}

/// Training's numbers of dropout's elements: lane `l` of row `r` in group `g` is `2³⁶ g + 16 r + l`, so neither the width
/// nor the other rows decide what is dropped, nor who does the work.
#[test]
fn dropout_numbers_its_elements_by_group() {
    let (moment, rate) = (Moment { seed: 77, step: 12, lr: 0.0 }, dropout::Rate::new(0.3).unwrap());
    let stream = Stream::new(moment.seed, Purpose::Dropout, 0, moment.step as u32);
    let layers = text::parse("dropout(0.3) dense(1, bias=false)").unwrap();
    let (mut elements, mut dropped) = (0, 0);
    for (width, rows) in [(1, 1), (7, 5), (16, 40), (33, 3), (33, 40), (100, 17)] {
        let network = Network::new(width, &layers).unwrap();
        let plan = network.plan(rows);
        let [mut params, mut gradients] = [plan.params, plan.params].map(|len| vec![0.0; len]);
        let mut work = vec![0.0; plan.work_len()];
        let (params, gradients, work) = (&mut params[..], &mut gradients[..], &mut work[..]);
        let buffers = Buffers { params, state: &mut [], gradients, moments: &mut [], work };
        let mut session = Session::new(network, rows, buffers, Level::detect(), &Serial).unwrap();
        let targets = vec![1.0; rows];
        for row in 0..rows {
            // One row of ones among zeros: the weights' gradient is 0 where that row's element was dropped.
            let mut inputs = vec![0.0; rows * width];
            inputs[row * width..][..width].fill(1.0);
            let batch = Batch { inputs: &inputs, targets: Targets::Values(&targets), rows };
            session.differentiate(batch, Loss::MeanSquaredError, moment).unwrap();
            for feature in 0..width {
                let found = session.gradients()[panels::position(width, 1, 0, feature)] != 0.0;
                let element = ((feature / 16) as u64) << 36 | (16 * row + feature % 16) as u64;
                let kept = u64::from(stream.word(element)) < rate.threshold();
                assert_eq!(found, kept, "feature {feature} of {width}, row {row} of {rows}");
                elements += 1;
                dropped += u32::from(!kept);
            }
        }
    }
    println!("{elements} elements, {dropped} dropped");
}

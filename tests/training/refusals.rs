//! What does not fit together is refused before the first step.

use evenkeel::fit::FitError;
use evenkeel::model::Standardize;
use evenkeel::train::schedule::{Anneal, Plateau, Threshold};
use evenkeel::train::{Batch, Buffers, Clip, Constraint, Dialect, LayerRates, Moment, Rules, Session};
use evenkeel::{Dataset, Error, Labels, Level, Loss, Mlp, Optimizer, Schedule, Serial, Targets, Trainer, View};

use crate::{assert_same, bits, blobs, net};

const NET: &str = "dense(8) bn relu dense(3)";

/// The error of a training that must not begin; the network must be as it was.
#[track_caller]
fn refused(layers: &str, trainer: Trainer, train: View<'_>, validation: Option<View<'_>>) -> FitError {
    let model = net(5, layers);
    let mut fitted = model.clone();
    let error = trainer.fit(&mut fitted, train, validation).unwrap_err();
    assert_same(&model, &fitted, "refused, yet changed");
    assert!(!error.to_string().is_empty());
    error
}

fn classes<'a>(inputs: &'a [f32], labels: &'static [u32]) -> View<'a> {
    View { inputs: evenkeel::data::Source::Values(inputs), features: 5, targets: Targets::Classes(labels) }
}

#[test]
fn data_that_does_not_fit() {
    let trainer = Trainer::new(Loss::CrossEntropy).batch(4);
    let inputs = [0.25_f32; 40];
    let good = classes(&inputs, &[0, 1, 2, 0, 1, 2, 0, 1]);
    let setup = |error: Error| FitError::Setup(error);
    let label = classes(&inputs, &[0, 1, 2, 0, 1, 3, 0, 1]);
    let found = refused(NET, trainer, label, None);
    assert_eq!(found, setup(Error::Label { row: 5, label: 3, classes: 3 }));
    assert!(found.to_string().contains("row 5 has label 3"), "{found}");
    let huge = classes(&inputs, &[0, 1, 2, 0, 1, 2, 0, u32::MAX]);
    assert_eq!(refused(NET, trainer, good, Some(huge)), setup(Error::Label { row: 7, label: u32::MAX, classes: 3 }));
    let few = classes(&inputs, &[0, 1]);
    assert_eq!(refused(NET, trainer, few, None), setup(Error::Length { what: "labels", expected: 8, found: 2 }));
    let narrow = View { features: 4, targets: Targets::Classes(&[0; 10]), ..good };
    assert_eq!(refused(NET, trainer, narrow, None), setup(Error::Length { what: "features", expected: 5, found: 4 }));
    assert_eq!(
        refused(NET, trainer, good, Some(narrow)),
        setup(Error::Length { what: "features", expected: 5, found: 4 })
    );
    let values = View { targets: Targets::Values(&inputs[..24]), ..good };
    assert_eq!(refused(NET, trainer, values, None), setup(Error::TargetKind { loss: "cross_entropy" }));
    let squares = Trainer::new(Loss::MeanSquaredError);
    assert_eq!(refused(NET, squares, good, None), setup(Error::TargetKind { loss: "mse" }));
    let short = View { targets: Targets::Values(&inputs[..16]), ..good };
    assert_eq!(refused(NET, squares, short, None), setup(Error::Length { what: "targets", expected: 24, found: 16 }));
    let none = classes(&[], &[]);
    assert_eq!(refused(NET, trainer, none, None), setup(Error::BatchRows { rows: 0, planned: 4 }));
    assert_eq!(refused(NET, trainer, good, Some(none)), setup(Error::BatchRows { rows: 0, planned: 1 }));
    assert_eq!(refused(NET, trainer.batch(0), good, None), setup(Error::BatchRows { rows: 0, planned: 0 }));
    // Raw views: not whole rows, targets for other rows, no features.
    assert!(View::new(&inputs[..39], 5, good.targets).is_err());
    assert!(View::new(&inputs, 5, Targets::Classes(&[0])).is_err());
    assert!(View::new(&inputs, 5, Targets::Values(&inputs[..9])).is_err());
    assert!(View::new(&inputs, 0, Targets::Classes(&[])).is_err());
    // What only public fields can say.
    let flat = View { features: 0, ..good };
    assert_eq!(flat.rows(), 0);
    assert_eq!(refused(NET, trainer, flat, None), setup(Error::BatchRows { rows: 0, planned: 4 }));
    assert!(matches!(refused(NET, trainer, good, Some(flat)), FitError::Setup(Error::Length { .. })));
    let unlabelled = Dataset { inputs: inputs.to_vec(), features: 5, labels: Labels::Classes(vec![1]) };
    assert!(unlabelled.subset(&[0, 3]).view().is_err());
    let mut model = net(5, NET);
    model.standardize = Some(Standardize { mean: vec![0.0; 5], inv_std: vec![1.0; 4] });
    let expected = Error::Length { what: "factors of the standardisation", expected: 5, found: 4 };
    assert_eq!(trainer.fit(&mut model, good, None), Err(setup(expected)));
    assert_eq!(model.predict(trainer.level, &Serial, &inputs), Err(expected));
}

#[test]
fn batch_norm_and_single_rows() {
    let trainer = Trainer::new(Loss::CrossEntropy);
    let data = blobs(9, 5, 3, 0.5);
    let (view, one) = (data.view().unwrap(), data.subset(&[4]));
    assert_eq!(refused(NET, trainer.batch(1), view, None), FitError::Setup(Error::BatchOfOne));
    assert_eq!(refused(NET, trainer, one.view().unwrap(), None), FitError::Setup(Error::BatchOfOne));
    assert!(FitError::Setup(Error::BatchOfOne).to_string().contains("batch norm"));
    // Without batch norm both are fine, and so is one row of validation data.
    for data in [&data, &one] {
        let mut model = net(5, "dense(8) relu dense(3)");
        let history = trainer.batch(1).epochs(3).fit(&mut model, data.view().unwrap(), one.view().ok()).unwrap();
        assert_eq!(history.epochs.len(), 3);
    }
}

#[test]
fn trainers_out_of_range() {
    let base = Trainer::new(Loss::CrossEntropy);
    let mut wrong = Vec::new();
    for lr in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        wrong.push(Trainer { lr, ..base });
    }
    for bad in [-1e-9, f32::NAN, f32::INFINITY] {
        let mut trainer = base;
        trainer.rules.l2 = bad;
        wrong.push(trainer);
        wrong.push(Trainer { warmup_epochs: bad, ..base });
        wrong.push(Trainer { schedule: Schedule::Cosine { floor: bad }, ..base });
        wrong.push(Trainer { schedule: Schedule::Step { every: 1, factor: bad }, ..base });
        wrong.push(base.optimizer(Optimizer::Sgd { momentum: bad, nesterov: false }, 0.1));
        wrong.push(base.optimizer(Optimizer::Adam { beta1: bad, beta2: 0.9, eps: 1e-8 }, 0.1));
        wrong.push(base.optimizer(Optimizer::Adam { beta1: 0.9, beta2: bad, eps: 1e-8 }, 0.1));
        wrong.push(base.optimizer(Optimizer::Adam { beta1: 0.9, beta2: 0.9, eps: bad }, 0.1));
        wrong.push(base.optimizer(Optimizer::AdamW { beta1: 0.9, beta2: 0.9, eps: 0.1, weight_decay: bad }, 0.1));
    }
    // Padding has no gradient: 0 / 0.
    wrong.push(base.optimizer(Optimizer::Adam { beta1: 0.9, beta2: 0.9, eps: 0.0 }, 0.1));
    wrong.push(base.optimizer(Optimizer::AdamW { beta1: 0.9, beta2: 0.9, eps: 0.0, weight_decay: 0.0 }, 0.1));
    for limit in [0.0, -1.0, f32::NAN] {
        for clip in [Clip::Norm(limit), Clip::Value(limit)] {
            let mut trainer = base;
            trainer.rules.clip = clip;
            wrong.push(trainer);
        }
    }
    wrong.push(Trainer { schedule: Schedule::Step { every: 0, factor: 0.5 }, ..base });
    for bad in [-1e-9, f32::NAN, f32::INFINITY] {
        let with = |change: &dyn Fn(&mut Rules)| {
            let mut trainer = base;
            change(&mut trainer.rules);
            trainer
        };
        wrong.push(with(&|rules| rules.l1 = bad));
        wrong.push(with(&|rules| rules.weight_decay = bad));
        wrong.push(with(&|rules| rules.constraint = Constraint::MaxNorm(bad)));
        wrong.push(with(&|rules| rules.constraint = Constraint::MinMaxNorm { min: 0.0, max: bad, rate: 1.0 }));
        wrong.push(with(&|rules| rules.constraint = Constraint::MinMaxNorm { min: bad, max: 1.0, rate: 1.0 }));
        wrong.push(with(&|rules| rules.constraint = Constraint::MinMaxNorm { min: 0.0, max: 1.0, rate: bad }));
        wrong.push(with(&|rules| rules.layer_rates = LayerRates::ONE.with(0, 1, bad).unwrap()));
        for optimizer in [
            Optimizer::RmsProp { alpha: bad, eps: 1e-8, momentum: 0.0, centered: false, dialect: Dialect::Torch },
            Optimizer::RmsProp { alpha: 0.9, eps: bad, momentum: 0.0, centered: false, dialect: Dialect::Keras },
            Optimizer::RmsProp { alpha: 0.9, eps: 1e-8, momentum: bad, centered: true, dialect: Dialect::Torch },
            Optimizer::Adagrad { eps: bad, start: 0.0, lr_decay: 0.0, dialect: Dialect::Torch },
            Optimizer::Adagrad { eps: 1e-8, start: bad, lr_decay: 0.0, dialect: Dialect::Torch },
            Optimizer::Adagrad { eps: 1e-8, start: 0.0, lr_decay: bad, dialect: Dialect::Keras },
            Optimizer::Adadelta { rho: bad, eps: 1e-6 },
            Optimizer::Adadelta { rho: 0.9, eps: bad },
            Optimizer::Nadam { beta1: 0.9, beta2: 0.999, eps: 1e-8, momentum_decay: bad },
            Optimizer::AmsGrad { beta1: 0.9, beta2: bad, eps: 1e-8, dialect: Dialect::Torch },
            Optimizer::Adamax { beta1: bad, beta2: 0.9, eps: 1e-8, dialect: Dialect::Torch },
            Optimizer::Lion { beta1: 0.9, beta2: bad },
            Optimizer::Lamb { beta1: 0.9, beta2: 0.999, eps: 1e-6, weight_decay: bad },
            Optimizer::ScheduleFree { beta1: 0.9, beta2: 0.999, eps: bad, weight_decay: 0.0 },
            Optimizer::KerasAdam { beta1: 0.9, beta2: 0.999, eps: bad },
        ] {
            wrong.push(base.optimizer(optimizer, 0.1));
        }
        for schedule in [
            Schedule::Exponential { gamma: bad, smooth: true },
            Schedule::Polynomial { epochs: 0, power: bad, floor: 0.0 },
            Schedule::Polynomial { epochs: 0, power: 1.0, floor: bad },
            Schedule::CosineRestarts { epochs: 1, longer: 1, lower: bad, floor: 0.0 },
            Schedule::Plateau(Plateau { factor: bad, ..Plateau::TORCH }),
            Schedule::Plateau(Plateau { floor: bad, ..Plateau::KERAS }),
            Schedule::Plateau(Plateau { threshold: Threshold::Absolute(bad.into()), ..Plateau::KERAS }),
        ] {
            wrong.push(Trainer { schedule, ..base });
        }
    }
    // What does not go together, and layers that are not there.
    let mut both = base.optimizer(Optimizer::ADAMW, 0.1);
    both.rules.weight_decay = 0.1;
    wrong.push(both);
    let mut averaged = base.optimizer(Optimizer::SCHEDULE_FREE, 0.1);
    averaged.rules.constraint = Constraint::UnitNorm;
    wrong.push(averaged);
    for layer in [2, 900] {
        let mut trainer = base;
        trainer.rules.layer_rates = LayerRates::ONE.with(layer, layer + 1, 0.5).unwrap();
        wrong.push(trainer);
    }
    let cycle = Schedule::OneCycle {
        rise: 0.3,
        div: 25.0,
        final_div: 1e4,
        anneal: Anneal::Cosine,
        three_phase: false,
        momentum: Some((0.85, 0.95)),
    };
    wrong.push(Trainer { schedule: cycle, ..base.optimizer(Optimizer::SGD, 0.1) });
    wrong.push(Trainer { schedule: cycle, ..base.optimizer(Optimizer::NADAM, 0.1) });
    wrong.push(base.optimizer(Optimizer::Sgd { momentum: 1.0, nesterov: false }, 0.1));
    wrong.push(base.optimizer(Optimizer::Sgd { momentum: 0.0, nesterov: true }, 0.1));
    let data = blobs(9, 5, 3, 0.5);
    for trainer in &wrong {
        let error = refused(NET, *trainer, data.view().unwrap(), None);
        assert!(matches!(error, FitError::Parameter { .. }), "{trainer:?}: {error}");
    }
    println!("{} trainers with a figure out of its range, all refused", wrong.len());
}

/// Binary cross-entropy wants probabilities.
#[test]
fn targets_that_are_no_probability() {
    for bad in [-0.25, 1.5, f32::NAN, f32::INFINITY] {
        let mut values = vec![1.0; 9];
        values[4] = bad;
        let data = Dataset { labels: Labels::Values(values), ..blobs(9, 5, 3, 0.5) };
        let error = refused("dense(1)", Trainer::new(Loss::BinaryCrossEntropy), data.view().unwrap(), None);
        assert!(matches!(error, FitError::Setup(Error::Probability { row: 4, .. })), "{error}");
    }
}

/// A last layer that the loss contains already.
#[test]
fn last_layers() {
    let data = blobs(9, 5, 3, 0.5);
    for (layers, name) in [("dense(3) softmax", "softmax"), ("dense(3) log_softmax", "log_softmax")] {
        let error = refused(layers, Trainer::new(Loss::CrossEntropy), data.view().unwrap(), None);
        assert_eq!(error, FitError::Setup(Error::OutputLayer { name, loss: "cross_entropy" }));
    }
    let values = Dataset { labels: Labels::Values(vec![0.5; 9]), ..data };
    let error = refused("dense(1) sigmoid", Trainer::new(Loss::BinaryCrossEntropy), values.view().unwrap(), None);
    assert_eq!(error, FitError::Setup(Error::OutputLayer { name: "sigmoid", loss: "bce" }));
}

/// A session refuses buffers of the wrong length and batches that do not fit, and survives a senseless limit.
#[test]
fn sessions() {
    let model: Mlp = net(5, NET);
    let network = model.network();
    let plan = network.plan(4);
    let lengths = [plan.params, plan.state, plan.params, 2 * plan.params, plan.work_len()];
    let (inputs, labels) = ([0.1_f32, 0.7, -0.3, 0.2, 0.5, -1.0, 0.3, 0.9, 0.4, 0.0], [0, 2]);
    let batch = Batch { inputs: &inputs, targets: Targets::Classes(&labels), rows: 2 };
    let moment = Moment { seed: 1, step: 0, lr: 0.1 };
    let mut rules = Rules::new(Loss::CrossEntropy, Optimizer::ADAM);
    for wrong in 0..5 {
        for change in [-1_isize, 1] {
            let mut lengths = lengths;
            lengths[wrong] = lengths[wrong].wrapping_add_signed(change);
            let mut all = lengths.map(|length| vec![0.0_f32; length]);
            let [params, state, gradients, moments, work] = &mut all;
            let buffers = Buffers { params, state, gradients, moments, work };
            let error = match Session::new(network, 4, buffers, Level::detect(), &Serial) {
                Err(error) => error,
                Ok(mut session) => session.step(batch, &rules, moment).unwrap_err(),
            };
            assert!(matches!(error, Error::Length { found, .. } if found == lengths[wrong]), "{error:?}");
        }
    }
    let mut all = lengths.map(|length| vec![0.0_f32; length]);
    let [params, state, gradients, moments, work] = &mut all;
    params.copy_from_slice(&model.params);
    state.copy_from_slice(&model.state);
    gradients.fill(f32::NAN);
    work.fill(f32::NAN);
    let buffers = Buffers { params, state, gradients, moments, work };
    let mut session = Session::new(network, 4, buffers, Level::detect(), &Serial).unwrap();
    for (rows, expected) in [(0, 4), (5, 4)] {
        let error = session.step(Batch { rows, ..batch }, &rules, moment).unwrap_err();
        assert_eq!(error, Error::BatchRows { rows, planned: expected });
    }
    assert_eq!(
        session.step(Batch { rows: 1, ..batch }, &rules, moment).unwrap_err(),
        Error::Length { what: "batch inputs", expected: 5, found: 10 }
    );
    for limit in [-1.0, f32::NAN, 0.5] {
        rules.clip = Clip::Value(limit);
        session.step(batch, &rules, moment).unwrap();
    }
    let sound = session.weights().0.iter().chain(session.moments()).all(|value| value.is_finite());
    assert!(sound, "rubbish in the borrowed buffers reached the weights");
    // Predictions: as many values as the rows have outputs, or none at all.
    for (rows, values, outputs) in [(2, 10, 0), (2, 10, 5), (2, 10, 7), (2, 10, 32), (2, 9, 6), (0, 0, 0), (5, 25, 15)]
    {
        let mut found = vec![7.25; outputs];
        let error = session.predict(&[0.5; 25][..values], rows, &mut found).unwrap_err();
        match error {
            Error::BatchRows { rows: refused, planned: 4 } => assert_eq!(refused, rows),
            Error::Length { what: "outputs", expected: 6, found } => assert_eq!(found, outputs),
            Error::Length { what: "batch inputs", expected: 10, found: 9 } => {}
            _ => panic!("{error:?}"),
        }
        assert!(found.iter().all(|value| *value == 7.25));
    }
    let mut found = [f32::NAN; 6];
    session.predict(&inputs, 2, &mut found).unwrap();
    // The rows lie one after the other: alone, each gives the same.
    for (row, found) in inputs.chunks(5).zip(found.chunks(3)) {
        let mut alone = [f32::NAN; 3];
        session.predict(row, 1, &mut alone).unwrap();
        assert_eq!(bits(&alone), bits(found));
    }
    // A batch beyond any memory has lengths beyond any slice.
    assert_eq!(network.plan(usize::MAX).work_len(), usize::MAX);
    let mut all = lengths.map(|length| vec![0.0_f32; length]);
    let [params, state, gradients, moments, work] = &mut all;
    let buffers = Buffers { params, state, gradients, moments, work };
    let error = Session::new(network, usize::MAX, buffers, Level::detect(), &Serial).unwrap_err();
    assert_eq!(error, Error::Length { what: "work buffer", expected: usize::MAX, found: lengths[4] });
}

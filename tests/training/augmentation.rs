//! Mixup, noise on the inputs, weights of rows and classes, and weights that suit the data.

use std::ops::ControlFlow;

use evenkeel::fit::{Finish, FitError, Run, score_outputs};
use evenkeel::layer::Layer;
use evenkeel::split::Split;
use evenkeel::train::augment::{jitter, mix, mixup_partners, mixup_share};
use evenkeel::train::{Batch, Buffers, Mean, Mixed, Moment, Session};
use evenkeel::{Dataset, Error, Labels, Level, Loss, Mlp, Optimizer, Serial, Targets, Trainer};

use crate::{assert_same, bits, blobs, net};

/// Largest distance between the empirical and the given distribution function.
fn distance(mut sample: Vec<f64>, cdf: impl Fn(f64) -> f64) -> f64 {
    sample.sort_by(f64::total_cmp);
    let count = sample.len() as f64;
    let steps = sample.iter().enumerate().map(|(at, x)| {
        let p = cdf(*x);
        (p - at as f64 / count).abs().max(((at + 1) as f64 / count - p).abs())
    });
    steps.fold(0.0, f64::max)
}

/// Beta(1/2), Beta(1) and Beta(2) have distribution functions in closed form; of others the first two moments.
#[test]
fn shares_of_mixup() {
    let draws = |alpha: f32| (0..20_000).map(move |step| f64::from(mixup_share(alpha, 5, step)));
    let limit = 1.95 / 20_000.0_f64.sqrt();
    let arcsine = |x: f64| x.sqrt().asin() * std::f64::consts::FRAC_2_PI;
    for (alpha, cdf) in [(0.5, arcsine as fn(f64) -> f64), (1.0, |x| x), (2.0, |x| x * x * (3.0 - 2.0 * x))] {
        let found = distance(draws(alpha).collect(), cdf);
        println!("Beta({alpha}, {alpha}): Kolmogorov-Smirnov distance {found:.4}, limit {limit:.4}");
        assert!(found < limit, "alpha {alpha}: {found}");
    }
    for alpha in [0.01_f32, 0.2, 0.4, 5.0, 50.0] {
        assert!(draws(alpha).all(|share| (0.0..=1.0).contains(&share)));
        let mean = draws(alpha).sum::<f64>() / 20_000.0;
        let variance = draws(alpha).map(|share| (share - 0.5).powi(2)).sum::<f64>() / 20_000.0;
        let expected = 1.0 / (4.0 * (2.0 * f64::from(alpha) + 1.0));
        assert!((mean - 0.5).abs() < 5.0 * (expected / 20_000.0).sqrt(), "alpha {alpha}: mean {mean}");
        assert!((variance / expected - 1.0).abs() < 0.06, "alpha {alpha}: variance {variance}, not {expected}");
    }
    assert_eq!(mixup_share(0.3, 5, 7).to_bits(), mixup_share(0.3, 5, 7).to_bits());
    assert_ne!(mixup_share(0.3, 5, 7), mixup_share(0.3, 6, 7));
}

#[test]
fn partners_of_mixup() {
    let mut counts = [[0_u32; 5]; 5];
    for step in 0..5000 {
        let mut partners = [0; 5];
        mixup_partners(3, step, &mut partners);
        let mut sorted = partners;
        sorted.sort_unstable();
        assert_eq!(sorted, [0, 1, 2, 3, 4]);
        partners.iter().enumerate().for_each(|(row, partner)| counts[row][*partner as usize] += 1);
    }
    // 1,000 each; the deviation of a count is 28.
    assert!(counts.as_flattened().iter().all(|count| count.abs_diff(1000) < 150), "{counts:?}");
}

#[test]
fn noise_on_the_inputs() {
    let mut noise = vec![1.0_f32; 40_000];
    jitter(0.25, 9, 3, 0, &mut noise);
    let cdf = |x: f64| 0.5 * libm::erfc(-(x - 1.0) / 0.25 * std::f64::consts::FRAC_1_SQRT_2);
    let found = distance(noise.iter().map(|x| f64::from(*x)).collect(), cdf);
    println!("noise of 40,000 values: Kolmogorov-Smirnov distance {found:.4}");
    assert!(found < 1.95 / 200.0, "{found}");
    // The same from any part.
    for first in [1, 16, 63, 64, 1000] {
        let mut part = vec![1.0; 100];
        jitter(0.25, 9, 3, first as u64, &mut part);
        assert_eq!(bits(&part), bits(&noise[first..][..100]));
    }
    let mut other = vec![1.0; 100];
    jitter(0.25, 9, 4, 0, &mut other);
    assert!(other.iter().zip(&noise).all(|(a, b)| a != b));
}

fn trainer(loss: Loss) -> Trainer {
    let mut trainer = Trainer::new(loss).optimizer(Optimizer::ADAM, 0.02).batch(16).epochs(3);
    (trainer.mixup, trainer.jitter, trainer.seed) = (0.3, 0.1, 21);
    trainer
}

fn train(model: &Mlp, trainer: Trainer, data: &Dataset, split: &impl Split) -> Run {
    let mut run = Run::new(model.clone(), trainer).unwrap();
    let view = data.view().unwrap();
    run.fit(view, Some(view), split, &mut |_| ControlFlow::Continue(())).unwrap();
    run
}

/// Data of each kind, weighted.
fn weighted_data() -> Vec<(Loss, Dataset)> {
    let data = blobs(75, 6, 4, 1.0);
    let weights: Vec<f32> = (0..75).map(|row| (row % 5) as f32 * 0.5).collect();
    let Labels::Classes(labels) = &data.labels else { unreachable!() };
    let hot: Vec<f32> = labels.iter().flat_map(|label| (0..4).map(move |class| f32::from(class == *label))).collect();
    let values = Dataset { labels: Labels::Values(hot), ..data.clone() };
    let losses = ["cross_entropy(0.1)", "focal", "multi_margin"].map(|text| (text, &data));
    let more = ["bce", "mse", "kl_div", "huber"].map(|text| (text, &values));
    let pair = |(text, data): (&str, &Dataset)| {
        let mean = if text.len() % 2 == 0 { Mean::Rows } else { Mean::Weights };
        (text.parse().unwrap(), data.clone().weighted(weights.clone(), mean).unwrap())
    };
    losses.into_iter().chain(more).map(pair).collect()
}

/// Threads, parts of batches, and a run broken off after any batch: the same bits, and others than without.
#[test]
fn augmented_training_has_its_bits() {
    let pools = [2, 3, 5].map(|threads| evenkeel::host::pool::Pool::new(threads).unwrap());
    for (loss, data) in weighted_data() {
        let model = net(6, "dense(18) bn relu dropout(0.2) dense(4)");
        let whole = train(&model, trainer(loss), &data, &Serial);
        for pool in &pools {
            assert_same(&train(&model, trainer(loss), &data, pool).model, &whole.model, &format!("{loss}, threads"));
        }
        for part in [1, 5, 16] {
            let trainer = Trainer { part: Some(part), ..trainer(loss) };
            assert_same(
                &train(&model, trainer, &data, &Serial).model,
                &whole.model,
                &format!("{loss}, parts of {part}"),
            );
        }
        let mut broken = Run::new(model.clone(), trainer(loss)).unwrap();
        let view = data.view().unwrap();
        while broken.fit(view, Some(view), &Serial, &mut |_| ControlFlow::Break(())).unwrap() == Finish::Interrupted {
            broken = reread(broken);
        }
        assert_same(&broken.model, &whole.model, &format!("{loss}, broken off"));
        assert_eq!(broken.history, whole.history);
        let (mut quiet, mut pure, mut even) = (trainer(loss), trainer(loss), data.clone());
        (quiet.jitter, pure.mixup) = (0.0, 0.0);
        if let Labels::Weighted(weighted) = even.labels {
            even.labels = weighted.labels;
        }
        for other in [train(&model, quiet, &data, &Serial), train(&model, pure, &data, &Serial)] {
            assert_ne!(bits(&other.model.params), bits(&whole.model.params), "{loss}");
        }
        assert_ne!(bits(&train(&model, trainer(loss), &even, &Serial).model.params), bits(&whole.model.params));
    }
}

/// The run as a checkpoint gives it back.
#[cfg(feature = "safetensors")]
fn reread(run: Run) -> Run {
    use evenkeel::interchange::resume::{Saved, read, to_bytes};
    let trainer = run.trainer;
    match read(&to_bytes(&run).unwrap()).unwrap() {
        Saved::Run(resume) => resume.with(trainer).unwrap(),
        Saved::Network(_) => unreachable!("a run was stored"),
    }
}

#[cfg(not(feature = "safetensors"))]
fn reread(run: Run) -> Run {
    run
}

/// One step of the trainer is the step that the public functions make.
#[test]
fn a_step_by_hand() {
    let data = blobs(30, 5, 3, 1.0);
    let model = net(5, "dense(9) tanh dense(3)");
    let trainer = Trainer { shuffle: false, ..trainer(Loss::CrossEntropy).batch(30).epochs(1) };
    let run = train(&model, trainer, &data, &Serial);
    let share = mixup_share(0.3, 21, 0);
    let mut partners = vec![0; 30];
    mixup_partners(21, 0, &mut partners);
    let mut inputs = data.inputs.clone();
    let mates: Vec<f32> = partners.iter().flat_map(|row| &data.inputs[*row as usize * 5..][..5]).copied().collect();
    mix(share, &mut inputs, &mates);
    jitter(0.1, 21, 0, 0, &mut inputs);
    let Labels::Classes(classes) = &data.labels else { unreachable!() };
    let others: Vec<u32> = partners.iter().map(|row| classes[*row as usize]).collect();
    let mut by_hand = model.clone();
    let layers = model.layers().to_vec();
    let network = evenkeel::Network::new(5, &layers).unwrap();
    let plan = network.plan(30);
    let (mut gradients, mut work) = (vec![0.0; plan.trained], vec![0.0; plan.work_len()]);
    let mut moments = vec![0.0; trainer.rules.optimizer.moments_len(&plan)];
    let buffers = Buffers {
        params: &mut by_hand.params,
        state: &mut by_hand.state,
        gradients: &mut gradients,
        moments: &mut moments,
        work: &mut work,
    };
    let mut session = Session::new(network, 30, buffers, trainer.level, &Serial).unwrap();
    let targets = Targets::Mixed(Mixed { classes, others: &others, share });
    let batch = Batch { inputs: &inputs, targets, rows: 30 };
    let score = session.step(batch, &trainer.rules, Moment { seed: 21, step: 0, lr: 0.02 }).unwrap();
    assert_same(&by_hand, &run.model, "a step by hand");
    assert_eq!(score.mean_loss(), run.history.epochs[0].loss);
}

/// A row that weighs two is a row that comes twice; the loss of a validation set is one mean over all its weights.
#[test]
fn weights_count_rows() {
    let data = blobs(40, 5, 3, 1.0);
    let model = net(5, "dense(7) tanh dense(3)");
    let weights: Vec<f32> = (0..40).map(|row| (row % 3) as f32).collect();
    let twice: Vec<u32> = (0..40).flat_map(|row| (0..row % 3).map(move |_| row)).collect();
    let repeated = data.subset(&twice);
    let weighted = data.clone().weighted(weights, Mean::Weights).unwrap();
    let loss = |data: &Dataset| {
        model.score(Level::detect(), &Serial, data.view().unwrap(), Loss::CrossEntropy).unwrap().mean_loss()
    };
    assert!((loss(&weighted) - loss(&repeated)).abs() < 1e-6, "{} {}", loss(&weighted), loss(&repeated));
    // In batches of 7 too, and as outputs that are there already.
    let run =
        train(&model, Trainer { epochs: 1, lr: 1e-9, ..Trainer::new(Loss::CrossEntropy).batch(7) }, &weighted, &Serial);
    assert!((run.history.epochs[0].val_loss.unwrap() - loss(&repeated)).abs() < 1e-5);
    let outputs = model.predict(Level::detect(), &Serial, &data.inputs).unwrap();
    let score = score_outputs(Level::detect(), Loss::CrossEntropy, 3, &outputs, weighted.view().unwrap().targets);
    assert!((score.unwrap().mean_loss() - loss(&weighted)).abs() < 1e-9);
}

#[test]
fn class_weights() {
    let mut data = blobs(12, 2, 3, 1.0);
    data.labels = Labels::Classes(vec![0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 3, 3]);
    // 12 / (3 classes that turn up * rows), as scikit-learn.
    assert_eq!(data.balanced(), [0.5, 2.0, 0.0, 2.0]);
    let weighted = data.clone().class_weighted(&data.balanced(), Mean::Rows).unwrap();
    let Labels::Weighted(labels) = &weighted.labels else { panic!("no weights") };
    assert_eq!(labels.weights, [0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 2.0, 2.0, 2.0, 2.0]);
    // On top of weights of rows, through subsets and splits.
    let both = weighted.clone().weighted((0..12).map(|row| row as f32).collect(), Mean::Weights).unwrap();
    let part = both.subset(&[9, 1]);
    let Labels::Weighted(labels) = &part.labels else { panic!("no weights") };
    assert_eq!((labels.weights.as_slice(), labels.mean), (&[18.0, 0.5][..], Mean::Weights));
    assert_eq!(weighted.hold_out(0.25, 3, 0), data.hold_out(0.25, 3, 0));
    // Two classes on one output.
    let bits = Dataset { labels: Labels::Values(vec![0.0, 1.0, 0.0, 0.0]), inputs: vec![0.0; 8], features: 2 };
    assert_eq!(bits.balanced(), [4.0 / 6.0, 2.0]);
    assert_eq!(data.clone().class_weighted(&[1.0; 3], Mean::Rows), Err(Error::ClassWeight { class: 3, weights: 3 }));
    let wrong = |weights: Vec<f32>| data.clone().weighted(weights, Mean::Rows).unwrap_err();
    assert_eq!(wrong(vec![1.0; 3]), Error::Length { what: "weights", expected: 12, found: 3 });
    assert_eq!(wrong(vec![0.0; 12]), Error::AllWeightsZero);
    let mut negative = vec![1.0; 12];
    negative[5] = -2.0;
    assert_eq!(wrong(negative), Error::Weight { row: 5, value: -2.0 });
}

#[test]
fn what_augmentation_refuses() {
    let model = net(3, "dense(1)");
    let refused = |trainer| Run::new(model.clone(), trainer).unwrap_err();
    for wrong in [-1.0, f32::NAN, f32::INFINITY] {
        let found = refused(Trainer { mixup: wrong, ..Trainer::new(Loss::MeanSquaredError) });
        assert!(matches!(found, FitError::Parameter { what } if what.contains("mixup")));
        let found = refused(Trainer { jitter: wrong, ..Trainer::new(Loss::MeanSquaredError) });
        assert!(matches!(found, FitError::Parameter { what } if what.contains("noise")));
    }
    let hinge = Trainer { mixup: 0.2, ..Trainer::new(Loss::Hinge) };
    assert_eq!(refused(hinge), FitError::Setup(Error::Mixup { loss: "hinge" }));
    let huber = Trainer::new(Loss::Huber { delta: -1.0 });
    assert_eq!(refused(huber), FitError::Setup(Error::LossParameter { loss: "huber" }));
}

/// A stream's parts cannot know the sum of all weights.
#[test]
fn accumulated_weights() {
    let layers = [Layer::dense(2)];
    let network = evenkeel::Network::new(2, &layers).unwrap();
    let plan = network.plan(2);
    let (mut params, mut gradients) = (vec![0.1; plan.params], vec![0.0; plan.trained]);
    let mut work = vec![0.0; plan.work_len()];
    let buffers =
        Buffers { params: &mut params, state: &mut [], gradients: &mut gradients, moments: &mut [], work: &mut work };
    let mut session = Session::new(network, 2, buffers, Level::detect(), &Serial).unwrap();
    let moment = Moment { seed: 0, step: 0, lr: 0.1 };
    let (inputs, labels, weights) = ([1.0, 2.0, -1.0, 0.5, 3.0, 1.0, 0.25, -2.0], [0, 1, 1, 0], [1.0, 0.5, 2.0, 1.5]);
    let part = |from: usize, mean| Batch {
        inputs: &inputs[2 * from..][..4],
        targets: Targets::Classes(&labels[from..][..2]).weighted(&weights[from..][..2], mean),
        rows: 2,
    };
    let refused = session.accumulate(part(0, Mean::Weights), 4, Loss::CrossEntropy, moment);
    assert_eq!(refused, Err(Error::WeightSum));
    let scaled = Mean::Scaled(4.0 / 5.0);
    session.accumulate(part(0, scaled), 4, Loss::CrossEntropy, moment).unwrap();
    let score = session.accumulate(part(2, scaled), 4, Loss::CrossEntropy, moment).unwrap();
    let streamed = session.gradients().to_vec();
    let whole =
        Batch { inputs: &inputs, targets: Targets::Classes(&labels).weighted(&weights, Mean::Weights), rows: 4 };
    assert_eq!(session.differentiate_in_parts(whole, Loss::CrossEntropy, moment), Ok(score));
    assert_eq!(bits(session.gradients()), bits(&streamed));
}

/// Every dense layer's outputs have variance 1 over the rows; of rows that are all the same none have.
#[test]
fn weights_that_suit_the_data() {
    let data = blobs(200, 12, 4, 2.0);
    let mut model = net(12, "dense(40) relu dense(30, bias=false) tanh dense(7) bn silu dropout(0.3) dense(4)");
    let pool = evenkeel::host::pool::Pool::new(3).unwrap();
    model.init_lsuv(Level::detect(), &Serial, &data.inputs, 5).unwrap();
    for end in [1, 3, 5, 9] {
        let mut front = Mlp::new(12, model.layers()[..end].to_vec()).unwrap();
        let len = front.params.len();
        front.params.copy_from_slice(&model.params[..len]);
        let state = front.state.len();
        front.state.copy_from_slice(&model.state[..state]);
        let outputs = front.predict(Level::detect(), &Serial, &data.inputs).unwrap();
        let mean = outputs.iter().map(|x| f64::from(*x)).sum::<f64>() / outputs.len() as f64;
        let variance = outputs.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / outputs.len() as f64;
        println!("lsuv, layer {}: variance {variance:.6}", end - 1);
        assert!((variance - 1.0).abs() < 1e-3, "layer {}: {variance}", end - 1);
    }
    let mut again = model.clone();
    for level in Level::available().filter(|level| level.is_exact() == Level::detect().is_exact()) {
        again.init_lsuv(level, &pool, &data.inputs, 5).unwrap();
        assert_same(&again, &model, &format!("lsuv on {level}"));
    }
    let same = [1.0; 24];
    assert_eq!(again.init_lsuv(Level::detect(), &Serial, &[0.0; 24], 5), Err(Error::NoVariance { layer: 0 }));
    assert!(again.init_lsuv(Level::detect(), &Serial, &same[..5], 5).is_err());
}

//! Losses and their gradients against the reference, by bits, through a session: row `r` of the inputs is the unit vector
//! `r` and the weights are the outputs. Then batches in parts and divided among threads.

use crate::common::threads::ways;
use crate::common::values::{Rng, Values};
use crate::common::{Tally, emulated, groups, rounds};
use evenkeel::kernels::panels;
use evenkeel::split::Split;
use evenkeel::train::loss::NAMES;
use evenkeel::train::{Batch, Buffers, Link, Loss, Mean, Mixed, Moment, Score, Session, Targets};
use evenkeel::{Error, Layer, Level, Network, Serial};

/// Every loss, with arguments other than the defaults too.
fn losses() -> Vec<Loss> {
    let others = "cross_entropy(0.1) bce(0.2) soft_cross_entropy(0.3) huber(0.3) smooth_l1(0.25) quantile(0.1) focal(0.5,2) \
                  focal(0,1) binary_focal(0) binary_focal(1.5,0.3) multi_margin(0.2) squared_multi_margin(2) poisson_rate(0.5) \
                  poisson_rate_full(0.5)";
    let all = NAMES.iter().map(|(_, loss)| *loss);
    all.chain(others.split_whitespace().map(|text| text.parse().unwrap())).collect()
}

/// What a batch's targets are made of.
struct Case {
    outputs: Vec<f32>,
    cols: usize,
    labels: Vec<u32>,
    others: Vec<u32>,
    values: Vec<f32>,
    weights: Vec<f32>,
}

impl Case {
    fn draw(rng: &mut Rng, loss: Loss, rows: usize, cols: usize) -> Self {
        let scale = rng.pick(&[1.0, 4.0, 30.0]);
        let positive = matches!(loss, Loss::PoissonRate { .. } | Loss::PoissonRateFull { .. });
        let output = |x: f32| if positive { x.abs() + 1e-3 } else { scale * x };
        let outputs = Values::Plain.vec(rng, rows * cols).into_iter().map(output).collect();
        let mut values = Values::Plain.vec(rng, rows * cols);
        for value in &mut values {
            *value = match (loss.takes(-0.5), loss.takes(0.5)) {
                (true, _) => 2.0 * *value,
                (_, true) => value.abs(),
                _ => rng.pick(&[-1.0, 0.0, 1.0]),
            };
        }
        if loss.link() == Link::Softmax {
            for row in values.chunks_mut(cols) {
                let sum: f32 = row.iter().sum();
                row.iter_mut().for_each(|value| *value = (*value / sum.max(1e-9)).min(1.0));
                // One-hot now and then, with its zeros.
                if rng.below(4) == 0 {
                    row.fill(0.0);
                    row[rng.below(cols)] = 1.0;
                }
            }
        }
        let mut label = || (0..rows).map(|_| rng.below(cols) as u32).collect();
        let (labels, others) = (label(), label());
        let weights = (0..rows).map(|_| rng.pick(&[0.0, 1.0, 0.3, 2.5])).collect();
        Self { outputs, cols, labels, others, values, weights }
    }

    fn rows(&self) -> usize {
        self.labels.len()
    }

    /// Plain, weighted under either mean, and for classes mixed.
    fn targets(&self, loss: Loss) -> Vec<Targets<'_>> {
        let mut all =
            vec![if loss.takes_classes() { Targets::Classes(&self.labels) } else { Targets::Values(&self.values) }];
        if loss.takes_classes() {
            for share in [0.0, 0.3, 1.0] {
                all.push(Targets::Mixed(Mixed { classes: &self.labels, others: &self.others, share }));
            }
        }
        for mean in [Mean::Rows, Mean::Weights, Mean::Scaled(0.7)] {
            all.push(all[0].weighted(&self.weights, mean));
            if loss.takes_classes() {
                all.push(all[2].weighted(&self.weights, mean));
            }
        }
        all
    }

    /// Score and gradient; `part` rows at a time.
    fn run(
        &self,
        level: Level,
        split: &impl Split,
        loss: Loss,
        targets: Targets<'_>,
        part: usize,
    ) -> (Score, Vec<f32>) {
        let (rows, cols) = (self.rows(), self.cols);
        let layers = [Layer::Dense { outputs: cols, bias: false }];
        let network = Network::new(rows, &layers).unwrap();
        let plan = network.plan(part);
        let turned: Vec<f32> = (0..cols * rows).map(|at| self.outputs[at % rows * cols + at / rows]).collect();
        let inputs: Vec<f32> = (0..rows * rows).map(|at| f32::from(at / rows == at % rows)).collect();
        let (mut params, mut gradients) = (vec![0.0; plan.params], vec![f32::NAN; plan.params]);
        let weights = network.node(0).weights;
        panels::pack(rows, cols, &turned, weights.of_mut(&mut params));
        let mut work = vec![f32::NAN; plan.work_len()];
        let buffers = Buffers {
            params: &mut params,
            state: &mut [],
            gradients: &mut gradients,
            moments: &mut [],
            work: &mut work,
        };
        let mut session = Session::new(network, part, buffers, level, split).unwrap();
        let batch = Batch { inputs: &inputs, targets, rows };
        let moment = Moment { seed: 0, step: 0, lr: 0.0 };
        let score = if part < rows {
            session.differentiate_in_parts(batch, loss, moment).unwrap()
        } else {
            session.differentiate(batch, loss, moment).unwrap()
        };
        let mut found = vec![0.0; cols * rows];
        panels::unpack(rows, cols, weights.of(session.gradients()), &mut found);
        // The product with the unit vectors has lost the sign of zeros.
        (score, (0..rows * cols).map(|at| found[at % cols * rows + at / cols] + 0.0).collect())
    }
}

#[test]
fn losses_by_bits() {
    let mut rng = Rng::new(81);
    for loss in losses() {
        let mut tally = Tally::new(loss.name());
        let shapes = [(1, 1), (1, 3), (2, 15), (3, 16), (2, 17), (5, 33), (40, 7), (33, 16), (3, 260)];
        for round in 0..rounds(3) {
            for (rows, cols) in shapes {
                if cols == 1 && loss.takes_classes() && round > 0 {
                    continue;
                }
                let case = Case::draw(&mut rng, loss, rows, cols);
                for targets in case.targets(loss) {
                    check(&mut tally, loss, &case, targets);
                }
            }
        }
        tally.finish();
    }
}

fn check(tally: &mut Tally, loss: Loss, case: &Case, targets: Targets<'_>) {
    let (rows, cols) = (case.rows(), case.cols);
    let scale = match targets.weights() {
        None => 1.0,
        Some((_, Mean::Rows)) => 1.0,
        Some((_, Mean::Scaled(scale))) => scale,
        Some((weights, Mean::Weights)) => {
            let sum: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
            if sum > 0.0 { (rows as f64 / sum) as f32 } else { 0.0 }
        }
    };
    for (reference, levels) in groups() {
        let (mut sum, mut gradient) = (0.0, Vec::new());
        for row in 0..rows {
            let z = &case.outputs[row * cols..][..cols];
            let whole = 1.0 / rows as f32;
            let mut slopes = vec![0.0; cols];
            let mut value = match targets.unweighted() {
                // The plain loss keeps the order of its own kernel: softmax, one taken off, the share.
                Targets::Classes(labels) if loss == Loss::CrossEntropy => {
                    let class = labels[row] as usize;
                    slopes = reference.softmax(z);
                    slopes[class] -= 1.0;
                    slopes.iter_mut().for_each(|slope| *slope *= whole);
                    reference.class_loss(loss, z, class, whole, &mut vec![0.0; cols])
                }
                Targets::Classes(labels) => reference.class_loss(loss, z, labels[row] as usize, whole, &mut slopes),
                Targets::Mixed(Mixed { classes, others, share }) => {
                    let rest = 1.0 - share;
                    let first = reference.class_loss(loss, z, classes[row] as usize, share * whole, &mut slopes);
                    let second = reference.class_loss(loss, z, others[row] as usize, rest * whole, &mut slopes);
                    share * first + rest * second
                }
                Targets::Values(values) => {
                    let (value, gradient) = reference.value_loss(loss, z, &values[row * cols..][..cols], rows);
                    slopes = gradient;
                    value
                }
                Targets::Weighted(_) => unreachable!(),
            };
            if let Some((weights, _)) = targets.weights() {
                let factor = weights[row] * scale;
                value *= factor;
                slopes.iter_mut().for_each(|slope| *slope *= factor);
            }
            sum += f64::from(value);
            gradient.extend(slopes.iter().map(|slope| slope + 0.0));
        }
        for level in levels {
            let (score, found) = case.run(level, &Serial, loss, targets, rows);
            let size = || format!("{loss}, {rows} rows of {cols}, {targets:?}");
            tally.compare(level, size, &found, &gradient);
            assert_eq!(score.loss.to_bits(), sum.to_bits(), "{} on {level}: {} not {sum}", size(), score.loss);
        }
    }
}

/// The bits of the whole batch from parts of it, and from any number of threads.
#[test]
fn losses_in_parts_and_threads() {
    let mut rng = Rng::new(82);
    let mut compared = 0;
    for (index, loss) in losses().into_iter().enumerate() {
        // An emulator keeps a megabyte or more of each thread that ever was.
        let threads = index == 0 || !emulated();
        for (rows, cols) in [(97, 3), (70, 20)] {
            let case = Case::draw(&mut rng, loss, rows, cols);
            for targets in case.targets(loss) {
                let level = Level::detect();
                let whole = case.run(level, &Serial, loss, targets, rows);
                for part in [1, 7, 64] {
                    assert!(
                        case.run(level, &Serial, loss, targets, part) == whole,
                        "{loss}, parts of {part}: {targets:?}"
                    );
                }
                for way in ways().into_iter().filter(|way| way.workers % 3 == 2 && (threads || !way.parallel)) {
                    assert!(case.run(level, &way, loss, targets, rows) == whole, "{loss}, {way:?}: {targets:?}");
                    compared += 1;
                }
            }
        }
    }
    println!("{compared} batches divided among workers, {} losses", losses().len());
}

/// Weights of 1 change nothing; those of 0 leave a row out.
#[test]
fn weights_of_one_and_zero() {
    let mut rng = Rng::new(83);
    for loss in losses() {
        let mut case = Case::draw(&mut rng, loss, 9, 5);
        let level = Level::detect();
        let plain = case.run(level, &Serial, loss, case.targets(loss)[0], 9);
        case.weights.fill(1.0);
        for mean in [Mean::Rows, Mean::Weights, Mean::Scaled(1.0)] {
            let weighted = case.targets(loss)[0].weighted(&case.weights, mean);
            assert!(case.run(level, &Serial, loss, weighted, 9) == plain, "{loss}, {mean:?}");
        }
        case.weights.fill(0.0);
        for mean in [Mean::Rows, Mean::Weights] {
            let (score, gradient) =
                case.run(level, &Serial, loss, case.targets(loss)[0].weighted(&case.weights, mean), 9);
            assert!(score.loss == 0.0 && gradient.iter().all(|slope| *slope == 0.0), "{loss}, {mean:?}");
            assert_eq!(score.hits, plain.0.hits);
        }
    }
}

/// What a loss does not take, with row and value.
#[test]
fn refusals_of_targets() {
    let loss = |text: &str| text.parse::<Loss>().unwrap();
    let values = |values: &[f32], text: &str| Targets::Values(values).check(loss(text), 2, 2);
    let half = [0.0, 1.0, 0.5, 1.0];
    for text in ["hinge", "squared_hinge", "soft_margin"] {
        assert_eq!(values(&half, text), Err(Error::Target { row: 1, value: 0.5, loss: loss(text).name() }));
    }
    let from_zero = "kl_div soft_cross_entropy binary_focal bce(0.1) msle poisson poisson_rate poisson_full";
    for text in from_zero.split(' ') {
        let found = values(&[0.0, -0.25, 1.0, 1.0], text);
        assert_eq!(found, Err(Error::Target { row: 0, value: -0.25, loss: loss(text).name() }));
        assert!(found.unwrap_err().to_string().contains("row 0 has target -0.25"));
        assert_eq!(values(&half, text), Ok(()));
        assert_eq!(values(&half[..3], text), Err(Error::Length { what: "targets", expected: 4, found: 3 }));
    }
    assert_eq!(values(&[0.0, -0.25, 1.0, 1.0], "bce"), Err(Error::Probability { row: 0, value: -0.25 }));
    for loss in losses() {
        let (classes, values) = (Targets::Classes(&[0, 1]), Targets::Values(&[1.0; 4]));
        let (right, wrong) = if loss.takes_classes() { (classes, values) } else { (values, classes) };
        assert_eq!(right.check(loss, 2, 2), Ok(()), "{loss}");
        assert_eq!(wrong.check(loss, 2, 2), Err(Error::TargetKind { loss: loss.name() }));
        for (weight, row) in [(-1.0, 1), (f32::NAN, 1), (f32::INFINITY, 1)] {
            let found = right.weighted(&[1.0, weight], Mean::Rows).check(loss, 2, 2);
            assert!(matches!(found, Err(Error::Weight { row: at, .. }) if at == row), "{loss}");
        }
        assert!(right.weighted(&[1.0], Mean::Rows).check(loss, 2, 2).is_err());
        assert!(right.weighted(&[1.0, 1.0], Mean::Scaled(f32::NAN)).check(loss, 2, 2).is_err());
    }
    let mixed = |share, others: &[u32]| {
        Targets::Mixed(Mixed { classes: &[0, 1], others, share }).check(Loss::CrossEntropy, 2, 2)
    };
    assert_eq!(mixed(0.5, &[1, 0]), Ok(()));
    assert_eq!(mixed(1.5, &[1, 0]), Err(Error::Share { value: 1.5 }));
    assert_eq!(mixed(0.5, &[1, 2]), Err(Error::Label { row: 1, label: 2, classes: 2 }));
    assert_eq!(mixed(0.5, &[1]), Err(Error::Length { what: "labels", expected: 2, found: 1 }));
    // Figures of the loss itself.
    for loss in [
        Loss::Huber { delta: 0.0 },
        Loss::SmoothL1 { beta: f32::NAN },
        Loss::Quantile { tau: 1.0 },
        Loss::BinaryFocal { gamma: -1.0, alpha: None },
        Loss::BinaryFocal { gamma: 1.0, alpha: Some(2.0) },
        Loss::SmoothedBinaryCrossEntropy { smoothing: 1.0 },
        Loss::PoissonRate { eps: 0.0 },
        Loss::PoissonRateFull { eps: f32::NAN },
    ] {
        let found = Targets::Values(&[1.0; 4]).check(loss, 2, 2);
        assert_eq!(found, Err(Error::LossParameter { loss: loss.name() }));
    }
}

#[test]
fn names_of_losses() {
    for loss in losses() {
        assert_eq!(loss.to_string().parse(), Ok(loss));
    }
    for (text, loss) in [
        ("cross-entropy", Loss::CrossEntropy),
        ("smooth-l1", Loss::SmoothL1 { beta: 1.0 }),
        ("huber(delta=2)", Loss::Huber { delta: 2.0 }),
        ("focal(alpha=1, gamma=0.5)", Loss::Focal { gamma: 0.5, alpha: 1.0 }),
        ("binary_focal(alpha=0.5)", Loss::BinaryFocal { gamma: 2.0, alpha: Some(0.5) }),
        ("cross_entropy(smoothing=0.1)", Loss::SmoothedCrossEntropy { smoothing: 0.1 }),
    ] {
        assert_eq!(text.parse(), Ok(loss), "{text}");
    }
    for text in ["", "MSE", "huber_", "hubers"] {
        assert_eq!(text.parse::<Loss>(), Err(Error::UnknownLoss), "{text}");
    }
    for text in
        ["huber(0)", "huber(1", "huber()", "huber(1, 2)", "mse(1)", "huber(gamma=1)", "quantile(x)", "focal(1, 2, 3)"]
    {
        assert!(matches!(text.parse::<Loss>(), Err(Error::LossParameter { .. })), "{text}");
    }
    assert!(Error::UnknownLoss.to_string().contains("squared_hinge, soft_margin, categorical_hinge"));
}

//! Against PyTorch and Keras: dropout's kin, layer norm, the modes of a batch norm, averages of weights.

use std::ops::ControlFlow;

use evenkeel::export::{Options, export};
use evenkeel::fit::Run;
use evenkeel::kernels::groups::{from_groups, to_groups};
use evenkeel::kernels::noise::{self, Alpha};
use evenkeel::kernels::{dropout, layernorm, panels};
use evenkeel::layer::padded;
use evenkeel::rng::{Purpose, Stream};
use evenkeel::train::average::average;
use evenkeel::train::{Averaging, Batch, Buffers, Moment, Rules, Session};
use evenkeel::{Dataset, Image, Labels, Level, Loss, Mlp, Net, Network, Optimizer, Serial, Targets, Trainer, text};

use crate::file::{File, Tally};
use crate::training::{load, tensors};

const SEED: u64 = 0x1_2345_6789;
const STEP: u32 = 5;

#[test]
pub(crate) fn dropouts_kin() {
    let file = File::open("norms");
    let (x, dy) = (file.f32("noise.x"), file.f32("noise.dy"));
    let stream = |purpose| Stream::new(SEED, purpose, 3, STEP);
    let (normals, drops) = (stream(Purpose::Noise), stream(Purpose::Dropout));
    let [mut numbers, mut gaussian, mut added, mut alpha, mut alpha_torch] = [(); 5].map(|()| Tally::default());
    for level in Level::available() {
        let after = |x: &[f32], f: &dyn Fn(&mut [f32])| {
            let mut x = x.to_vec();
            f(&mut x);
            x
        };
        let found = after(&x, &|z| noise::fill_normal(level, normals, 0, z));
        numbers.each(
            &format!("normal numbers on {level}"),
            &found,
            file.f64("noise.z64"),
            |i| file.f64("noise.z64")[i].abs(),
            1e-6,
        );
        let truth = |name: &str| file.f64(name);
        for rate in ["0.1", "0.5", "0.9"] {
            let deviation = noise::gaussian_deviation(rate.parse().unwrap()).unwrap();
            for (values, end) in [(&x, "y64"), (&dy, "dx64")] {
                let name = format!("noise.gaussian_dropout.{rate}.{end}");
                let found = after(values, &|x| noise::gaussian_dropout(level, x, deviation, normals, 0));
                gaussian.relative(&format!("{name} on {level}"), &found, truth(&name), 1e-6);
            }
        }
        for stddev in ["0.1", "1.0"] {
            let name = format!("noise.gaussian_noise.{stddev}");
            let stddev = stddev.parse().unwrap();
            let found = after(&x, &|x| noise::gaussian_noise(level, x, stddev, normals, 0));
            added.relative(&format!("{name} on {level}"), &found, truth(&format!("{name}.y64")), 1e-6);
            assert_eq!(file.f32(&format!("{name}.dx64")), dy, "the gradient passes as it is");
        }
        for rate in ["0.05", "0.3", "0.8"] {
            let made = Alpha::new(rate.parse().unwrap()).unwrap();
            let name = format!("noise.alpha_dropout.{rate}");
            let y = after(&x, &|x| noise::alpha_dropout(level, x, made, drops, 0));
            alpha.relative(&format!("{name}.y64 on {level}"), &y, truth(&format!("{name}.y64")), 1e-6);
            let dx = after(&dy, &|dy| noise::alpha_dropout_backward(level, dy, made, drops, 0));
            alpha.relative(&format!("{name}.dx64 on {level}"), &dx, truth(&format!("{name}.dx64")), 1e-6);
            // PyTorch's own answers, for each element kept and dropped; which it is here say the random words.
            let threshold = dropout::Rate::new(rate.parse().unwrap()).unwrap().threshold();
            let [kept, dropped] = ["kept", "dropped"].map(|what| truth(&format!("{name}.torch_{what}64")));
            let kept_at = |i: usize| u64::from(drops.word(i as u64)) < threshold;
            let expected: Vec<f64> = (0..x.len()).map(|i| if kept_at(i) { kept[i] } else { dropped[i] }).collect();
            alpha_torch.relative(&format!("{name} of PyTorch on {level}"), &y, &expected, 1e-6);
        }
    }
    numbers.note("gaussian_noise");
    gaussian.note("gaussian_dropout");
    added.note("gaussian_noise");
    alpha.note("alpha_dropout");
    alpha_torch.note("alpha_dropout");
}

#[test]
pub(crate) fn drop_connect() {
    let file = File::open("norms");
    let mut tally = Tally::default();
    for level in Level::available() {
        for case in 0..3 {
            let name = |part: &str| format!("dropconnect.{case}.{part}");
            let &[outputs, inputs] = file.shape(&name("w")) else { panic!("w is no matrix") };
            let [x, t, w, b] = ["x", "t", "w", "b"].map(|part| file.f32(&name(part)));
            let rows = x.len() / inputs;
            let rate = file.about[format!("dropconnect.{case}")]["rate"].as_f64().unwrap() as f32;
            let layers = text::parse(&format!("dropconnect({rate}) dense({outputs})")).unwrap();
            let network = Network::new(inputs, &layers).unwrap();
            let (node, plan) = (network.node(1), network.plan(rows));
            let mut params = vec![0.0; plan.params];
            panels::pack(inputs, outputs, &w, node.weights.of_mut(&mut params));
            node.bias.of_mut(&mut params)[..outputs].copy_from_slice(&b);
            let (mut gradients, mut work) = (vec![0.0; plan.trained], vec![f32::NAN; plan.work_len()]);
            let buffers = Buffers {
                params: &mut params,
                state: &mut [],
                gradients: &mut gradients,
                moments: &mut [],
                work: &mut work,
            };
            let mut session = Session::new(network, rows, buffers, level, &Serial).unwrap();
            let batch = Batch { inputs: &x, targets: Targets::Values(&t), rows };
            let moment = Moment { seed: SEED, step: u64::from(STEP), lr: 0.0 };
            let score = session.differentiate(batch, Loss::MeanSquaredError, moment).unwrap();
            let mut matrix = vec![0.0; w.len()];
            panels::unpack(inputs, outputs, node.weights.of(session.gradients()), &mut matrix);
            let bias = &node.bias.of(session.gradients())[..outputs];
            for (part, found) in [("loss64", &[score.mean_loss() as f32][..]), ("dw64", &matrix), ("db64", bias)] {
                tally.relative(&format!("{} on {level}", name(part)), found, file.f64(&name(part)), 1e-6);
            }
        }
    }
    tally.note("");
}

#[test]
pub(crate) fn layer_norm() {
    let file = File::open("norms");
    let [mut values, mut gradients] = [(); 2].map(|()| Tally::default());
    for level in Level::available() {
        for case in 0..6 {
            let name = |part: &str| format!("ln.{case}.{part}");
            let &[rows, cols] = file.shape(&name("x")) else { panic!("x is no batch of rows") };
            let grouped = |values: &[f32]| {
                let mut groups = vec![0.0; values.len() / cols * padded(cols)];
                to_groups(&Serial, values.len() / cols, cols, values, &mut groups);
                groups
            };
            let plain = |groups: &[f32]| {
                let mut values = vec![0.0; rows * cols];
                from_groups(rows, cols, groups, &mut values);
                values
            };
            let [x, dy, gamma, beta] = ["x", "dy", "gamma", "beta"].map(|part| grouped(&file.f32(&name(part))));
            // Keras takes the mean in `f32` whatever the type of the layer.
            for (dialect, eps, limit) in [("torch", 1e-5, 2e-6), ("keras", 1e-3, 1e-5)] {
                if !file.has(&name(&format!("{dialect}.y64"))) {
                    // Keras' own mean is too far off there.
                    continue;
                }
                let truth = |part: &str| file.f64(&name(&format!("{dialect}.{part}")));
                let what = |part: &str| format!("ln.{case}.{dialect}.{part} on {level}");
                let (mut y, mut statistics) = (vec![f32::NAN; x.len()], vec![f32::NAN; rows * layernorm::STATISTICS]);
                layernorm::forward(level, &Serial, (cols, rows), eps, &gamma, &beta, &x, &mut y, &mut statistics)
                    .unwrap();
                values.relative(&what("y64"), &plain(&y), truth("y64"), limit);
                let mut inferred = x.clone();
                layernorm::layer_norm(level, cols, rows, eps, &gamma, &beta, &mut inferred).unwrap();
                assert!(plain(&inferred).iter().zip(plain(&y)).all(|(a, b)| a.to_bits() == b.to_bits()));
                let mut dx = dy.clone();
                let [mut dgamma, mut dbeta] = [(); 2].map(|()| vec![f32::NAN; padded(cols)]);
                let mut sums = vec![f32::NAN; 2 * rows];
                layernorm::backward(
                    level,
                    (cols, rows),
                    &statistics,
                    &gamma,
                    &x,
                    &mut dx,
                    &mut dgamma,
                    &mut dbeta,
                    &mut sums,
                )
                .unwrap();
                // Relative to γ r max|dy|, the size of the terms, of which the gradient may be a small rest.
                let plain_x = file.f32(&name("x"));
                let inv_std = |row: usize| {
                    let row: Vec<f64> = plain_x[row * cols..][..cols].iter().map(|x| f64::from(*x)).collect();
                    let mean = row.iter().sum::<f64>() / cols as f64;
                    let var = row.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / cols as f64;
                    1.0 / (var + f64::from(eps)).sqrt()
                };
                let largest = |values: &[f32]| values.iter().fold(0.0_f64, |most, x| most.max(f64::from(x.abs())));
                let scale = largest(&gamma) * largest(&dy);
                gradients.each(&what("dx64"), &plain(&dx), truth("dx64"), |i| scale * inv_std(i / cols), limit);
                let sum = rows as f64 * largest(&dy) * largest(&y);
                gradients.scaled(&what("dgamma64"), &dgamma[..cols], truth("dgamma64"), sum, limit);
                gradients.scaled(&what("dbeta64"), &dbeta[..cols], truth("dbeta64"), sum, limit);
            }
        }
    }
    values.note("");
    gradients.note("");
}

/// Some steps of SGD from PyTorch's weights to PyTorch's weights.
fn trained(name: &str) {
    let file = File::open("norms");
    let net = file.about[name]["net"].as_str().unwrap().to_owned();
    let lr = file.about[name]["lr"].as_f64().unwrap() as f32;
    let layers = text::parse(&net).unwrap();
    let &[steps, rows, features] = file.shape(&format!("{name}.x")) else { panic!("x is no batch of rows") };
    let network = Network::new(features, &layers).unwrap();
    let (x, y) = (file.f32(&format!("{name}.x")), file.u32(&format!("{name}.y")));
    let mut tally = Tally::default();
    for level in Level::available() {
        let plan = network.plan(rows);
        let (mut params, mut state) = (vec![0.0; plan.params], vec![0.0; plan.state]);
        load(&network, &file, &format!("{name}.init."), &mut params, &mut state);
        let (mut gradients, mut work) = (vec![0.0; plan.trained], vec![f32::NAN; plan.work_len()]);
        let buffers = Buffers {
            params: &mut params,
            state: &mut state,
            gradients: &mut gradients,
            moments: &mut [],
            work: &mut work,
        };
        let mut session = Session::new(network, rows, buffers, level, &Serial).unwrap();
        let rules = Rules::new(Loss::CrossEntropy, Optimizer::Sgd { momentum: 0.0, nesterov: false });
        let mut losses = Vec::new();
        for step in 0..steps {
            let inputs = &x[step * rows * features..][..rows * features];
            let batch = Batch { inputs, targets: Targets::Classes(&y[step * rows..][..rows]), rows };
            let score = session.step(batch, &rules, Moment { seed: 0, step: step as u64, lr }).unwrap();
            losses.push(score.mean_loss() as f32);
        }
        tally.relative(&format!("{name}.losses on {level}"), &losses, file.f64(&format!("{name}.losses64")), 1e-5);
        let (params, state) = session.weights();
        for node in network.nodes() {
            for (part, found) in tensors(&node, params, state) {
                let what = format!("{name}.final.{}.{part}64", node.index);
                // A bias before a batch norm has no gradient but rounding: compare with the size of the weights.
                tally.scaled(
                    &format!("{what} on {level}"),
                    &found,
                    file.f64(&what),
                    1.0_f64.max(largest(&file, &what)),
                    1e-5,
                );
            }
        }
    }
    tally.note("");
}

fn largest(file: &File, name: &str) -> f64 {
    file.f64(name).iter().fold(0.0, |most, value| most.max(value.abs()))
}

#[test]
pub(crate) fn batch_norm_frozen_among_others() {
    trained("frozen");
}

#[test]
pub(crate) fn ghost_batch_norm() {
    trained("ghost");
    trained("ghost_joined");
}

#[test]
pub(crate) fn batch_renorm() {
    trained("renorm");
}

#[test]
pub(crate) fn layer_norm_in_training() {
    trained("layer_norm");
}

#[test]
pub(crate) fn averages_of_weights() {
    let file = File::open("norms");
    let about = &file.about["average"];
    let number = |key: &str| about[key].as_f64().unwrap();
    let layers = text::parse(about["net"].as_str().unwrap()).unwrap();
    let labels = Labels::Classes(file.u32("average.y"));
    let data = Dataset { inputs: file.f32("average.x"), features: 4, labels };
    let mut ema_of_keras = Tally::default();
    for level in Level::available() {
        let from = number("from") as u32;
        for (name, averaging) in [
            ("weights", Averaging::None),
            ("swa", Averaging::Swa { from }),
            ("ema", Averaging::Ema { decay: number("decay") }),
        ] {
            let mut model = Mlp::new(4, layers.clone()).unwrap();
            let network = Network::new(4, &layers).unwrap();
            load(&network, &file, "average.init.", &mut model.params, &mut model.state);
            let trainer = Trainer::new(Loss::CrossEntropy)
                .optimizer(Optimizer::Sgd { momentum: 0.0, nesterov: false }, number("lr") as f32)
                .batch(number("batch") as usize)
                .epochs(number("epochs") as u32)
                .averaging(averaging);
            let trainer = Trainer { shuffle: false, restore_best: false, level, ..trainer };
            let mut run = Run::new(model, trainer).unwrap();
            run.fit(data.view().unwrap(), None, &Serial, &mut |_| ControlFlow::Continue(())).unwrap();
            let mut tally = Tally::default();
            for node in network.nodes() {
                for (part, found) in tensors(&node, &run.model.params, &run.model.state) {
                    let what = format!("average.{name}.{}.{part}64", node.index);
                    let scale = 1.0_f64.max(largest(&file, &what));
                    tally.scaled(&format!("{what} on {level}"), &found, file.f64(&what), scale, 1e-5);
                }
            }
            tally.note(name);
        }
        let &[steps, width] = file.shape("keras_ema.weights") else { panic!("no steps") };
        let (weights, truth) = (file.f32("keras_ema.weights"), file.f64("keras_ema.average64"));
        let mut found = vec![f32::NAN; width];
        for step in 0..steps {
            let factor = Averaging::Ema { decay: number("decay") }.factor(step as u64);
            average(level, &Serial, factor, &weights[step * width..][..width], &mut found).unwrap();
            ema_of_keras.relative(&format!("step {step} on {level}"), &found, &truth[step * width..][..width], 1e-6);
        }
    }
    ema_of_keras.note("ema");
}

#[test]
pub(crate) fn recalibrated_statistics() {
    let file = File::open("norms");
    let layers = text::parse(file.about["recalibrate"]["net"].as_str().unwrap()).unwrap();
    let network = Network::new(4, &layers).unwrap();
    let mut tally = Tally::default();
    for level in Level::available() {
        let mut model = Mlp::new(4, layers.clone()).unwrap();
        load(&network, &file, "recalibrate.init.", &mut model.params, &mut model.state);
        let before = model.params.clone();
        for batch in [16, 70] {
            model.recalibrate(level, &Serial, &file.f32("average.x"), batch).unwrap();
            for node in network.nodes() {
                for (part, found) in tensors(&node, &model.params, &model.state) {
                    let what = format!("recalibrate.{batch}.{}.{part}64", node.index);
                    tally.relative(&format!("{what} on {level}"), &found, file.f64(&what), 1e-6);
                }
            }
        }
        assert_eq!(before[..], model.params[..]);
    }
    tally.note("");
}

/// Golden running statistics folded into the dense layer before, and run as an image: against the formula in `f64`.
#[test]
pub(crate) fn folded_running_statistics() {
    let file = File::open("bn");
    for n in ["n2", "n3", "n1000"] {
        let mut tally = Tally::default();
        for level in Level::available() {
            let [x, gamma, beta] = ["x", "gamma", "beta"].map(|name| file.f32(&format!("{n}.{name}")));
            let cols = gamma.len();
            for label in ["m0.1", "m0.01", "cumulative"] {
                let last = |name: &str| file.f32(&format!("{n}.{label}.{name}"))[2 * cols..].to_vec();
                let (mean, var) = (last("running_mean64"), last("running_var64"));
                let layers = text::parse(&format!("dense({cols}, bias=false) bn")).unwrap();
                let mut model = Mlp::new(cols, layers).unwrap();
                let [dense, bn] = [0, 1].map(|layer| model.network().node(layer));
                let identity: Vec<f32> = (0..cols * cols).map(|i| f32::from(i % (cols + 1) == 0)).collect();
                panels::pack(cols, cols, &identity, dense.weights.of_mut(&mut model.params));
                bn.weights.of_mut(&mut model.params)[..cols].copy_from_slice(&gamma);
                bn.bias.of_mut(&mut model.params)[..cols].copy_from_slice(&beta);
                let state = bn.state.of_mut(&mut model.state);
                state[..cols].copy_from_slice(&mean);
                state[padded(cols)..][..cols].copy_from_slice(&var);
                state[2 * padded(cols)] = 3.0;
                let (bytes, _) = export(&model.network(), &model.params, &model.state, &Options::default()).unwrap();
                let net = Net::new(Image::new(&bytes).unwrap());
                let (mut found, mut scratch) = (vec![f32::NAN; x.len()], vec![0.0; net.scratch_len(8)]);
                net.infer(level, &Serial, &x, &mut found, &mut scratch).unwrap();
                let wide = f64::from;
                let factor = |c: usize| wide(gamma[c]) / (wide(var[c]) + wide(1e-5_f32)).sqrt();
                let truth: Vec<f64> = x
                    .iter()
                    .enumerate()
                    .map(|(i, x)| (wide(*x) - wide(mean[i % cols])) * factor(i % cols) + wide(beta[i % cols]))
                    .collect();
                // What is added up, of which the result may be a small rest.
                let size = |i: usize| {
                    (wide(x[i].abs()) + wide(mean[i % cols].abs())) * factor(i % cols).abs()
                        + wide(beta[i % cols].abs())
                };
                tally.each(&format!("{n}.{label} folded on {level}"), &found, &truth, size, 2e-7);
            }
        }
        tally.note("");
    }
}

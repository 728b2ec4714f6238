//! Against PyTorch and Keras: training step by step, networks in inference, schedules, early stopping.
//!
//! Deviations are relative to the largest true value of the tensor (`f64` truth from the same `f32` inputs), and at most
//! 1e-5 where PyTorch's own `f32` result is not further away.

use evenkeel::kernels::panels;
use evenkeel::layer::padded;
use evenkeel::plan::Node;
use evenkeel::train::{Batch, Buffers, Clip, Mode, Moment, Rules, Session, StopState};
use evenkeel::{EarlyStopping, Layer, Level, Loss, Mlp, Network, Optimizer, Schedule, Serial, Targets, text};

use crate::file::{self, File, Tally};
use crate::table::{Unit, note};

/// A layer's tensors in PyTorch's names and layout.
pub(crate) fn tensors(node: &Node, params: &[f32], state: &[f32]) -> Vec<(&'static str, Vec<f32>)> {
    let width = node.inputs;
    match node.layer {
        Layer::Dense { outputs, bias } => {
            let mut matrix = vec![0.0; width * outputs];
            panels::unpack(width, outputs, node.weights.of(params), &mut matrix);
            let mut all = vec![("weight", matrix)];
            if bias {
                all.push(("bias", node.bias.of(params)[..outputs].to_vec()));
            }
            all
        }
        Layer::BatchNorm(_) => {
            let (mean, var) = node.state.of(state).split_at(padded(width));
            let (var, count) = var.split_at(padded(width));
            vec![
                ("weight", node.weights.of(params)[..width].to_vec()),
                ("bias", node.bias.of(params)[..width].to_vec()),
                ("running_mean", mean[..width].to_vec()),
                ("running_var", var[..width].to_vec()),
                ("num_batches_tracked", vec![count[0] + count[1] * (1 << 24) as f32]),
            ]
        }
        Layer::LayerNorm(_) => vec![
            ("weight", node.weights.of(params)[..width].to_vec()),
            ("bias", node.bias.of(params)[..width].to_vec()),
        ],
        _ => Vec::new(),
    }
}

/// Reads a `state_dict` whose names begin with `prefix`. Returns how many tensors it used.
pub(crate) fn load(network: &Network<'_>, file: &File, prefix: &str, params: &mut [f32], state: &mut [f32]) -> usize {
    let mut used = 0;
    for node in network.nodes() {
        let mut read = |name: &str| {
            let name = format!("{prefix}{}.{name}", node.index);
            used += usize::from(file.has(&name));
            file.has(&name).then(|| file.f32(&name))
        };
        let width = node.inputs;
        let (weight, bias) = (read("weight"), read("bias"));
        match node.layer {
            Layer::Dense { outputs, .. } => {
                panels::pack(width, outputs, &weight.unwrap(), node.weights.of_mut(params));
                if let Some(bias) = bias {
                    node.bias.of_mut(params)[..outputs].copy_from_slice(&bias);
                }
            }
            Layer::BatchNorm(_) => {
                let state = node.state.of_mut(state);
                node.weights.of_mut(params)[..width].copy_from_slice(&weight.unwrap_or(vec![1.0; width]));
                node.bias.of_mut(params)[..width].copy_from_slice(&bias.unwrap_or(vec![0.0; width]));
                state[..width].copy_from_slice(&read("running_mean").unwrap());
                state[padded(width)..][..width].copy_from_slice(&read("running_var").unwrap());
                state[2 * padded(width)] = read("num_batches_tracked").unwrap()[0];
            }
            Layer::LayerNorm(_) => {
                node.weights.of_mut(params)[..width].copy_from_slice(&weight.unwrap());
                node.bias.of_mut(params)[..width].copy_from_slice(&bias.unwrap());
            }
            Layer::PRelu(prelu) => {
                node.weights.of_mut(params)[..prelu.slopes(width)].copy_from_slice(&weight.unwrap());
            }
            _ => {}
        }
    }
    used
}

fn optimizer(file: &File, config: &str) -> Optimizer {
    let (beta1, beta2, eps) = (0.9, 0.999, 1e-8);
    match file.about["configs"][config]["optimiser"].as_str().unwrap() {
        "sgd" => Optimizer::Sgd {
            momentum: file.option(config, "momentum", 0.0),
            nesterov: file.about["configs"][config]["nesterov"] == true,
        },
        "adam" => Optimizer::Adam { beta1, beta2, eps },
        _ => Optimizer::AdamW { beta1, beta2, eps, weight_decay: file.option(config, "weight_decay", 0.01) },
    }
}

/// Ten steps of one network under one optimiser.
fn ten_steps(file: &File, config: &str, level: Level, tally: &mut Tally) {
    let loss = match file.about["loss"].as_str().unwrap() {
        "cross_entropy" => Loss::CrossEntropy,
        "mse" => Loss::MeanSquaredError,
        _ => Loss::BinaryCrossEntropy,
    };
    let net = file.about["net"].as_str().unwrap();
    let layers = text::parse(net).unwrap();
    let &[steps, rows, features] = file.shape("x") else { panic!("x is no batch of rows") };
    let network = Network::new(features, &layers).unwrap();
    let plan = network.plan(rows);
    let mut rules = Rules::new(loss, optimizer(file, config));
    rules.decay_all = true;
    if !matches!(rules.optimizer, Optimizer::AdamW { .. }) {
        rules.l2 = file.option(config, "weight_decay", 0.0);
    }
    let limit = file.option(config, "clip_norm", 0.0);
    rules.clip = if limit > 0.0 { Clip::Norm(limit) } else { Clip::None };
    let (mut params, mut state) = (vec![0.0; plan.params], vec![0.0; plan.state]);
    load(&network, file, "init.", &mut params, &mut state);
    let (mut gradients, mut work) = (vec![0.0; plan.params], vec![0.0; plan.work_len()]);
    let mut moments = vec![0.0; rules.optimizer.moments() * plan.params];
    let buffers = Buffers {
        params: &mut params,
        state: &mut state,
        gradients: &mut gradients,
        moments: &mut moments,
        work: &mut work,
    };
    let mut session = Session::new(network, rows, buffers, level, &Serial).unwrap();
    let (x, labels, values) = (file.f32("x"), file.u32("y"), file.f32("y"));
    let mut losses = Vec::new();
    let what = |tensor: &str| format!("{net} on {level}, {config}.{tensor}");
    for step in 0..steps {
        let inputs = &x[step * rows * features..][..rows * features];
        let width = rows * network.outputs();
        let targets = match loss {
            Loss::CrossEntropy => Targets::Classes(&labels[step * rows..][..rows]),
            _ => Targets::Values(&values[step * width..][..width]),
        };
        let lr = file.option(config, "lr", 0.0);
        let moment = Moment { seed: 0, step: step as u64, lr };
        let score = session.step(Batch { inputs, targets, rows }, &rules, moment).unwrap();
        losses.push(score.mean_loss() as f32);
        let norm = session.gradients().iter().map(|g| f64::from(*g) * f64::from(*g)).sum::<f64>().sqrt();
        if limit > 0.0 {
            let truth = file.f64(&format!("{config}.norm64"))[step];
            tally.relative(&what(&format!("norm of step {step}")), &[norm as f32], &[truth], 1e-5);
        }
        if step == 0 {
            // The step leaves the gradients as they were before clipping, which acts inside the update.
            let clipped = if limit > 0.0 { (f64::from(limit) / (norm + 1e-6)).min(1.0) as f32 } else { 1.0 };
            let prefix = if limit > 0.0 { format!("{config}.grad64") } else { "grad64".into() };
            let names = || file.names().filter(|name| name.starts_with(&format!("{prefix}.")));
            // Biases before a batch norm have the gradient 0: everything is scaled by the largest of all.
            let largest = names().flat_map(|name| file.f64(name)).fold(0.0_f64, |most, g| most.max(g.abs()));
            let mut compared = 0;
            for node in network.nodes() {
                for (name, mut found) in tensors(&node, session.gradients(), session.weights().1) {
                    if name != "weight" && name != "bias" {
                        continue;
                    }
                    found.iter_mut().for_each(|g| *g *= clipped);
                    let name = format!("{prefix}.{}.{name}", node.index);
                    tally.scaled(&what(&name), &found, file.f64(&name), largest, 1e-5);
                    compared += 1;
                }
            }
            assert_eq!(compared, names().count());
        }
    }
    tally.relative(&what("loss"), &losses, file.f64(&format!("{config}.loss64")), 1e-5);
    // A bias before a batch norm has the gradient 0, of which rounding leaves something; Adam divides by its size and
    // walks in any direction, and the running mean behind it follows. Nothing else depends on the two.
    let adrift = |index: usize, name: &str| {
        matches!(config, "adam" | "adamw")
            && (name == "bias" && matches!(layers.get(index + 1), Some(Layer::BatchNorm(_))) || name == "running_mean")
    };
    for node in network.nodes() {
        let (params, state) = session.weights();
        for (name, found) in tensors(&node, params, state) {
            if !adrift(node.index, name) {
                let name = format!("{config}.after64.{}.{name}", node.index);
                tally.relative(&what(&name), &found, file.f64(&name), 1e-5);
            }
        }
    }
}

#[test]
pub(crate) fn training_steps() {
    for net in ["train_relu_ce", "train_bn_ce", "train_tanh_mse", "train_gelu_bce"] {
        let file = File::open(net);
        for config in file.about["configs"].as_object().unwrap().keys() {
            let mut tally = Tally::default();
            Level::available().for_each(|level| ten_steps(&file, config, level, &mut tally));
            tally.note(config);
        }
    }
}

/// Trained networks, unfolded, in evaluation mode; the limit is 1e-5 of the largest output, or four times what
/// PyTorch's own `f32` result is off.
#[test]
pub(crate) fn inference() {
    let mut tally = Tally::default();
    let mut networks = 0;
    for entry in std::fs::read_dir(file::path("")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let Some(name) = name.strip_suffix(".cases.safetensors") else { continue };
        let (file, cases) = (File::open(name), File::open(&format!("{name}.cases")));
        // Without scale and shift: ours are then 1 and 0.
        let net = file.about["net"].as_str().unwrap().replace("(affine=false)", "");
        let inputs = file.about["inputs"].as_u64().unwrap() as usize;
        let mut model = Mlp::new(inputs, text::parse(&net).unwrap()).unwrap();
        let (mut params, mut state) = (model.params.to_vec(), model.state.to_vec());
        let used = load(&model.network(), &file, "", &mut params, &mut state);
        assert_eq!(used, file.names().count(), "{name} holds other tensors too");
        model.params.copy_from_slice(&params);
        model.state.copy_from_slice(&state);
        let limit = (4.0 * file.about["float32_error"].as_f64().unwrap()).max(1e-5);
        for level in Level::available() {
            let outputs = model.predict(level, &Serial, &cases.f32("input")).unwrap();
            tally.relative(&format!("{name} on {level}"), &outputs, cases.f64("output64"), limit);
        }
        networks += 1;
    }
    assert_eq!(networks, 17);
    tally.note("");
}

#[test]
pub(crate) fn schedules() {
    let file = file::json("schedules.json");
    let base = file["base_lr"].as_f64().unwrap() as f32;
    let mut left_out = Vec::new();
    for case in file["cases"].as_array().unwrap() {
        let truth: Vec<f64> = case["lr"].as_array().unwrap().iter().map(|lr| lr.as_f64().unwrap()).collect();
        let number = |key: &str| case[key].as_f64().unwrap_or(0.0);
        let name = case["schedule"].as_str().unwrap();
        // One step per epoch, so that our steps are PyTorch's epochs.
        let (schedule, steps) = match name {
            "step" => {
                (Schedule::Step { every: number("step_size") as u32, factor: number("gamma") as f32 }, truth.len())
            }
            "exponential" => (Schedule::Step { every: 1, factor: number("gamma") as f32 }, truth.len()),
            "cosine" => {
                (Schedule::Cosine { floor: (number("eta_min") / f64::from(base)) as f32 }, number("t_max") as usize)
            }
            // Ours begins at 1 / n of the base rate, which for n = 5 or 4 is not the 0.1 of these cases.
            _ => {
                left_out.push(name);
                continue;
            }
        };
        let found: Vec<f32> =
            (0..truth.len()).map(|step| schedule.rate(base, 0, step as u64, 1, steps as u64)).collect();
        let mut tally = Tally::default();
        tally.each(name, &found, &truth, |at| truth[at], 1e-6);
        tally.note(if name == "cosine" { "cosine" } else { "step" });
    }
    // PyTorch's LinearLR(start_factor=1/n, total_iters=n-1) is our warm-up of n steps.
    let truth: Vec<f64> = (0..12).map(|t| 0.1 * (0.25 + 0.75 * f64::from(t.min(3)) / 3.0)).collect();
    let found: Vec<f32> = (0..12).map(|step| Schedule::Constant.rate(0.1, 4, step, 1, 12)).collect();
    let mut tally = Tally::default();
    tally.each("warm-up", &found, &truth, |at| truth[at], 1e-6);
    tally.note("warm-up");
    assert!(left_out.iter().all(|name| name.starts_with("linear_warmup")));
}

#[test]
pub(crate) fn early_stopping() {
    let file = file::json("early_stopping.json");
    let cases = file["cases"].as_array().unwrap();
    let number = |value: &serde_json::Value| match value.as_str() {
        Some("nan") => f64::NAN,
        Some("inf") => f64::INFINITY,
        Some(other) => panic!("{other} is no number"),
        None => value.as_f64().unwrap(),
    };
    for case in cases {
        let stopping = EarlyStopping {
            mode: if case["mode"] == "min" { Mode::Min } else { Mode::Max },
            patience: case["patience"].as_u64().unwrap() as u32,
            min_delta: case["min_delta"].as_f64().unwrap(),
            baseline: case["baseline"].as_f64(),
            start_from_epoch: case["start_from_epoch"].as_u64().unwrap() as u32,
        };
        let mut state = StopState::default();
        let (mut stopped, mut kept) = (None, None);
        for (epoch, value) in (0..).zip(case["values"].as_array().unwrap()) {
            let verdict = stopping.observe(&mut state, epoch, number(value));
            kept = if verdict.improved { Some(epoch) } else { kept };
            if verdict.stop {
                stopped = Some(epoch);
                break;
            }
        }
        let name = &case["name"];
        let epoch = |key: &str| case[key].as_u64().map(|epoch| epoch as u32);
        assert_eq!(stopped, epoch("stop_epoch"), "{name}");
        assert_eq!((kept, state.best.map(|best| best.1)), (epoch("best_epoch"), epoch("best_epoch")), "{name}");
        assert_eq!(state.best.map(|best| best.0), case["best"].as_f64(), "{name}");
    }
    note("", (cases.len(), 3 * cases.len()), 0.0, Unit::Relative);
}

//! Optimisers, penalties, constraints, layer-wise rates and schedules against PyTorch, Keras and the papers' algorithms.

use evenkeel::train::optim::step;
use evenkeel::train::schedule::PlateauState;
use evenkeel::train::{Batch, Buffers, Clip, LayerRates, Mode, Moment, Rules, Session};
use evenkeel::{Level, Loss, Network, Optimizer, Schedule, Serial, Targets, text};
use serde_json::Value;

use crate::file::{self, File, Tally};
use crate::training::{load, tensors};

fn number(case: &Value, key: &str) -> f32 {
    case[key].as_f64().unwrap_or(0.0) as f32
}

/// Twelve steps on stored gradients, the rate another in each.
#[test]
pub(crate) fn optimizers() {
    let file = File::open("optimizers");
    let (start, gradients, rates) = (file.f32("start"), file.f32("gradients"), file.f32("rates"));
    let (len, padded) = (start.len(), start.len().next_multiple_of(16));
    let cases = file.about["cases"].as_array().unwrap();
    for (index, case) in cases.iter().enumerate() {
        let text = case["text"].as_str().unwrap();
        let optimizer: Optimizer = text.parse().unwrap();
        let mut tally = Tally::default();
        for level in Level::available() {
            let mut params = start.clone();
            params.resize(padded, 0.0);
            let mut moments = [0, 1, 2].map(|at| vec![0.0; if at < optimizer.moments() { padded } else { 0 }]);
            let truth = file.f64(&format!("{index}.after64"));
            for (t, lr) in rates.iter().enumerate() {
                let mut gradients = gradients[t * len..][..len].to_vec();
                gradients.resize(padded, 0.0);
                let factors = optimizer.factors(t as u64, *lr, 1.0, number(case, "l2"));
                let factors = match number(case, "weight_decay") {
                    0.0 => factors,
                    decay => factors.with_decay(*lr, decay),
                };
                let [a, b, c] = &mut moments;
                step(level, &Serial, factors, &mut params, &gradients, [a, b, c]).unwrap();
                let what = format!("{text} on {level}, step {t}");
                tally.relative(&what, &params[..len], &truth[t * len..][..len], 1e-5);
            }
        }
        let key = |rule| format!("{text} with {rule}");
        let of = |key: &str| case[key].as_f64().unwrap() > 0.0;
        match (of("l2"), of("weight_decay")) {
            (true, _) => tally.note(&key("l2")),
            (_, true) => tally.note(&key("weight_decay")),
            _ => tally.note(text),
        }
    }
    assert_eq!(cases.len(), 29);
}

fn rules_of(case: &Value) -> Rules {
    let mut rules = Rules::new(Loss::CrossEntropy, case["optimizer"].as_str().unwrap().parse().unwrap());
    (rules.l1, rules.l2) = (number(case, "l1"), number(case, "l2"));
    rules.weight_decay = number(case, "weight_decay");
    rules.decay_all = case["decay_all"] == true;
    if let Some(limit) = case["clip"].as_f64() {
        rules.clip = Clip::Norm(limit as f32);
    }
    if let Some(text) = case["constraint"].as_str() {
        rules.constraint = text.parse().unwrap();
    }
    for range in case["layer_rates"].as_array().into_iter().flatten() {
        let [first, end] = [0, 1].map(|at| range[at].as_u64().unwrap() as usize);
        rules.layer_rates = rules.layer_rates.with(first, end, range[2].as_f64().unwrap() as f32).unwrap();
    }
    assert_eq!(case["layer_rates"].is_null(), rules.layer_rates == LayerRates::ONE);
    rules
}

/// Twelve steps of a network under each rule.
#[test]
pub(crate) fn rules() {
    let file = File::open("rules");
    let layers = text::parse(file.about["net"].as_str().unwrap()).unwrap();
    let &[steps, rows, features] = file.shape("x") else { panic!("x is no batch of rows") };
    let network = Network::new(features, &layers).unwrap();
    let plan = network.plan(rows);
    let (x, labels) = (file.f32("x"), file.u32("y"));
    let cases = file.about["cases"].as_array().unwrap();
    for (index, case) in cases.iter().enumerate() {
        let (rules, name) = (rules_of(case), case["name"].as_str().unwrap());
        assert_eq!(rules.mistake(Some(&network)), None, "{name}");
        let mut tally = Tally::default();
        for level in Level::available() {
            let (mut params, mut state) = (vec![0.0; plan.params], vec![0.0; plan.state]);
            load(&network, &file, "init.", &mut params, &mut state);
            let (mut gradients, mut work) = (vec![0.0; plan.params], vec![0.0; plan.work_len()]);
            let mut moments = vec![0.0; rules.optimizer.moments_len(&plan)];
            let buffers = Buffers {
                params: &mut params,
                state: &mut state,
                gradients: &mut gradients,
                moments: &mut moments,
                work: &mut work,
            };
            let mut session = Session::new(network, rows, buffers, level, &Serial).unwrap();
            for step in 0..steps {
                let inputs = &x[step * rows * features..][..rows * features];
                let targets = Targets::Classes(&labels[step * rows..][..rows]);
                let warmup = case["warmup"].as_u64().unwrap_or(0);
                let lr = Schedule::Constant.rate(number(case, "lr"), warmup, step as u64, 1, steps as u64);
                session
                    .step(Batch { inputs, targets, rows }, &rules, Moment { seed: 0, step: step as u64, lr })
                    .unwrap();
                if rules.optimizer.averages() {
                    // There and back rounds nothing.
                    let before = session.weights().0.to_vec();
                    assert!(session.swap_weights(&rules.optimizer).unwrap());
                    assert!(step == 0 || before != session.weights().0);
                    assert!(session.swap_weights(&rules.optimizer).unwrap());
                    assert_eq!(before, session.weights().0);
                }
            }
            if case["evaluate"] == true {
                assert!(session.swap_weights(&rules.optimizer).unwrap());
            }
            for node in network.nodes() {
                let (params, state) = session.weights();
                for (tensor, found) in tensors(&node, params, state) {
                    let tensor = format!("{index}.after64.{}.{tensor}", node.index);
                    tally.relative(&format!("{name} on {level}: {tensor}"), &found, file.f64(&tensor), 1e-5);
                }
            }
        }
        tally.note(name);
    }
    assert_eq!(cases.len(), 14);
}

fn list(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|lr| lr.as_f64().unwrap()).collect()
}

#[test]
pub(crate) fn rates() {
    let file = file::json("rates.json");
    let base = file["base_lr"].as_f64().unwrap() as f32;
    for case in file["cases"].as_array().unwrap() {
        let name = case["text"].as_str().unwrap();
        let schedule: Schedule = name.parse().unwrap();
        let (truth, per_epoch) = (list(&case["lr"]), case["steps_per_epoch"].as_u64().unwrap());
        let steps = truth.len() as u64;
        let mut tally = Tally::default();
        let found: Vec<f32> = (0..steps).map(|step| schedule.rate(base, 0, step, per_epoch, steps)).collect();
        // Some end near 0, where PyTorch's own sums are not better than this.
        tally.each(name, &found, &truth, |at| truth[at].max(1e-9), 1e-6);
        assert_eq!(case["momentum"].is_null(), !schedule.cycles_momentum());
        if schedule.cycles_momentum() {
            let truth = list(&case["momentum"]);
            let found: Vec<f32> =
                (0..steps).map(|step| schedule.momentum(0, step, per_epoch, steps).unwrap()).collect();
            tally.each(name, &found, &truth, |at| truth[at], 1e-6);
        }
        tally.note(name);
    }
}

#[test]
pub(crate) fn plateaus() {
    let file = file::json("rates.json");
    let base = file["base_lr"].as_f64().unwrap() as f32;
    let (mut tally, mut changes) = (Tally::default(), 0);
    let plateaus = file["plateaus"].as_array().unwrap();
    for case in plateaus {
        let name = case["text"].as_str().unwrap();
        let Schedule::Plateau(plateau) = name.parse().unwrap() else { panic!("{name}") };
        let mode = if case["mode"] == "min" { Mode::Min } else { Mode::Max };
        let mut state = PlateauState::default();
        let mut found = Vec::new();
        for value in case["values"].as_array().unwrap() {
            found.push((f64::from(base) * state.share) as f32);
            let value = value.as_f64().unwrap_or_else(|| value.as_str().unwrap().parse().unwrap());
            changes += u32::from(plateau.observe(&mut state, mode, base, value));
        }
        let truth = list(&case["lr"]);
        tally.each(&format!("{name}, {}", case["mode"]), &found, &truth, |at| truth[at], 1e-6);
    }
    assert!(changes > 50);
    tally.note("plateau");
}

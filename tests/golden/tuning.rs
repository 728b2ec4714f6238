//! Against PyTorch: training a part of a network, with frozen layers, frozen statistics and batches of one row.

use evenkeel::plan::{Scope, Statistics};
use evenkeel::train::{Batch, Buffers, Moment, Rules, Session};
use evenkeel::{Level, Loss, Network, Optimizer, Serial, Targets, text};

use crate::file::{File, Tally};
use crate::training::{load, tensors};

#[test]
pub(crate) fn tuning_steps() {
    let file = File::open("tuning");
    let mut tally = Tally::default();
    let mut runs = 0;
    for (config, options) in file.about["configs"].as_object().unwrap() {
        let rows = options["rows"].as_u64().unwrap() as usize;
        let statistics = if options["running"] == true { Statistics::Running } else { Statistics::Batch };
        let scope = Scope { first: options["first"].as_u64().unwrap() as usize, statistics, lists: false };
        for level in Level::available() {
            ten_steps(&file, config, scope, rows, level, &mut tally);
            runs += 1;
        }
    }
    assert!(runs >= 4);
    tally.note("");
}

fn ten_steps(file: &File, config: &str, scope: Scope, rows: usize, level: Level, tally: &mut Tally) {
    let layers = text::parse(file.about["net"].as_str().unwrap()).unwrap();
    let &[steps, all_rows, features] = file.shape("x") else { panic!("x is no batch of rows") };
    let network = Network::new(features, &layers).unwrap();
    let plan = network.plan_in(scope, rows);
    let optimizer = Optimizer::Sgd { momentum: 0.9, nesterov: false };
    let (mut params, mut state) = (vec![0.0; plan.params], vec![0.0; plan.state]);
    load(&network, file, "init.", &mut params, &mut state);
    let (mut gradients, mut work) = (vec![0.0; plan.trained], vec![0.0; plan.work_len()]);
    let mut moments = vec![0.0; optimizer.moments_len(&plan)];
    let buffers = Buffers {
        params: &mut params,
        state: &mut state,
        gradients: &mut gradients,
        moments: &mut moments,
        work: &mut work,
    };
    let mut session = Session::with_scope(network, scope, rows, buffers, level, &Serial).unwrap();
    let (x, labels) = (file.f32("x"), file.u32("y"));
    let rules = Rules::new(Loss::CrossEntropy, optimizer);
    let what = |tensor: &str| format!("{config}.{tensor} on {level}");
    let mut losses = Vec::new();
    for step in 0..steps {
        let inputs = &x[step * all_rows * features..][..rows * features];
        let targets = Targets::Classes(&labels[step * all_rows..][..rows]);
        let moment = Moment { seed: 0, step: step as u64, lr: 0.05 };
        losses.push(session.step(Batch { inputs, targets, rows }, &rules, moment).unwrap().mean_loss() as f32);
        if step > 0 {
            continue;
        }
        // The gradients of all parameters, with zeros for the frozen ones.
        let mut all = vec![0.0; plan.params - plan.trained];
        all.extend_from_slice(session.gradients());
        let names = || file.names().filter(|name| name.starts_with(&format!("{config}.grad64.")));
        let largest = names().flat_map(|name| file.f64(name)).fold(0.0_f64, |most, g| most.max(g.abs()));
        let mut compared = 0;
        for node in network.nodes().skip(scope.first) {
            for (name, found) in tensors(&node, &all, session.weights().1) {
                if name == "weight" || name == "bias" {
                    let name = format!("{config}.grad64.{}.{name}", node.index);
                    tally.scaled(&what(&name), &found, file.f64(&name), largest, 1e-5);
                    compared += 1;
                }
            }
        }
        assert_eq!(compared, names().count(), "{config}: other tensors are trained");
    }
    tally.relative(&what("loss"), &losses, file.f64(&format!("{config}.loss64")), 1e-5);
    for node in network.nodes() {
        let (params, state) = session.weights();
        for (name, found) in tensors(&node, params, state) {
            let name = format!("{config}.after64.{}.{name}", node.index);
            tally.relative(&what(&name), &found, file.f64(&name), 1e-5);
        }
    }
}

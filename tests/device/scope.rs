//! Training the last layers, with the first ones frozen.

use evenkeel::plan::Scope;
use evenkeel::train::{Buffers, Moment, Session};
use evenkeel::{Level, Loss, Network, Optimizer, Serial};

use crate::{Setup, bits};

const NET: &str = "dense(17) bn relu dropout(0.5) dense(20) bn gelu dense(9) bn tanh dense(3)";

/// The frozen part of a network is another network's features: training the rest on them gives the same bits.
#[test]
fn a_frozen_front_is_inference() {
    let setup = Setup::new(6, NET, Loss::CrossEntropy, 24);
    let mut compared = 0;
    for level in Level::available() {
        // All behind the dropout, whose random numbers count the layers of its own network.
        for first in 4..=10 {
            let scope = Scope::from_layer(first);
            let after = setup.train((level, scope, 24), Optimizer::ADAM, 4, |session, rules, moment| {
                session.step(setup.batch(), rules, moment).unwrap()
            });
            let plan = setup.network().plan_in(scope, 24);
            let (frozen, frozen_state) = (setup.params.len() - plan.trained, state_before(&setup, first));
            assert_eq!(bits(&after.params[..frozen]), bits(&setup.params[..frozen]), "frozen parameters");
            assert_eq!(bits(&after.state[..frozen_state]), bits(&setup.state[..frozen_state]), "frozen statistics");
            let tail = Setup {
                layers: setup.layers[first..].to_vec(),
                inputs: setup.network().width_before(first),
                params: setup.params[frozen..].to_vec(),
                state: setup.state[frozen_state..].to_vec(),
                x: features(&setup, level, first),
                ..setup.clone()
            };
            let alone = tail.train((level, Scope::ALL, 24), Optimizer::ADAM, 4, |session, rules, moment| {
                session.step(tail.batch(), rules, moment).unwrap()
            });
            let what = format!("from layer {first} on {level}");
            assert_eq!(bits(&after.params[frozen..]), bits(&alone.params), "parameters {what}");
            assert_eq!(bits(&after.state[frozen_state..]), bits(&alone.state), "statistics {what}");
            assert_eq!(bits(&after.gradients), bits(&alone.gradients), "gradients {what}");
            assert_eq!(bits(&after.moments), bits(&alone.moments), "moments {what}");
            assert_eq!(after.score, alone.score, "score {what}");
            assert_ne!(bits(&after.params[frozen..]), bits(&setup.params[frozen..]), "nothing was trained {what}");
            compared += after.values();
        }
    }
    println!("frozen front: {compared} values compared by bits");
}

/// Values of the state before layer `first`.
fn state_before(setup: &Setup, first: usize) -> usize {
    setup.network().nodes().take(first).map(|node| node.state.len).sum()
}

/// What layer `first` gets in inference.
fn features(setup: &Setup, level: Level, first: usize) -> Vec<f32> {
    let front = Network::new(setup.inputs, &setup.layers[..first]).unwrap();
    let plan = front.plan(setup.rows);
    let (mut params, mut state) = (setup.params[..plan.params].to_vec(), setup.state[..plan.state].to_vec());
    let (mut gradients, mut work) = (vec![0.0; plan.trained], vec![0.0; plan.work_len()]);
    let (params, state, gradients, work) = (&mut params[..], &mut state[..], &mut gradients[..], &mut work[..]);
    let buffers = Buffers { params, state, gradients, moments: &mut [], work };
    let mut session = Session::new(front, setup.rows, buffers, level, &Serial).unwrap();
    let mut features = vec![0.0; setup.rows * front.outputs()];
    session.predict(&setup.x, setup.rows, &mut features).unwrap();
    features
}

/// Evaluation and prediction do not depend on what is frozen.
#[test]
fn inference_is_the_same_whatever_is_trained() {
    let setup = Setup::new(6, NET, Loss::CrossEntropy, 11);
    let optimizer = Optimizer::SGD;
    let look = |first: usize| {
        let mut outputs = vec![0.0; 11 * 3];
        let scope = Scope::from_layer(first);
        let after = setup.train((Level::detect(), scope, 11), optimizer, 1, |session, _, _| {
            session.predict(&setup.x, 11, &mut outputs).unwrap();
            session.evaluate(setup.batch(), Loss::CrossEntropy).unwrap()
        });
        (bits(&outputs), after.score)
    };
    for first in 1..=10 {
        assert_eq!(look(first), look(0), "layers before {first} frozen");
    }
}

/// What is frozen takes no gradients, no moments and, but for two rows, no activations.
#[test]
fn lengths_shrink() {
    let layers = evenkeel::text::parse("dense(64) bn relu dense(64) bn relu dense(64) bn relu dense(4)").unwrap();
    let network = Network::new(32, &layers).unwrap();
    let (all, last) = (network.plan(8), network.plan_in(Scope::last_dense(&network, 1), 8));
    assert_eq!(last.first, 9);
    assert_eq!((last.params, last.state), (all.params, all.state));
    // The last layer's weights, four lanes wide, and its bias in a whole group.
    assert_eq!(last.trained, 64 * 4 + 16);
    assert_eq!(Optimizer::ADAM.moments_len(&last), 2 * last.trained);
    // Two buffers of 64 features for the frozen layers, and the outputs.
    assert_eq!(last.activations, 8 * (64 + 64 + 16));
    assert_eq!(all.activations, 8 * (32 + 6 * 64 + 16));
    assert_eq!(last.delta, 8 * 16);
    assert_eq!((last.transposed, last.cache), (0, 5 * 64));
    assert!(3 * last.work_len() < all.work_len(), "{} {}", last.work_len(), all.work_len());
    println!(
        "32-64-64-64-4, 8 rows: {} values of work for all layers, {} for the last; gradients {} and {}",
        all.work_len(),
        last.work_len(),
        all.trained,
        last.trained
    );
}

/// One row at a time of a network with batch norms, whose statistics stay: it learns.
#[test]
fn learns_from_single_rows() {
    let rows = 40;
    let mut setup = Setup::new(4, "dense(16) bn relu dropout(0.1) dense(8) bn relu dense(2)", Loss::CrossEntropy, rows);
    setup.labels = setup.x.chunks(4).map(|x| u32::from(x[0] + x[1] > x[2])).collect();
    for scope in
        [Scope::ALL.with_running_statistics(), Scope::last_dense(&setup.network(), 2).with_running_statistics()]
    {
        let mut losses = Vec::new();
        setup.train((Level::detect(), scope, 1), Optimizer::SGD, 30, |session, rules, _| {
            let mut sum = 0.0;
            for row in 0..rows {
                let moment = Moment { seed: 4, step: (losses.len() * rows + row) as u64, lr: 0.02 };
                sum += session.step(setup.part(row, 1), rules, moment).unwrap().loss;
            }
            losses.push(sum / rows as f64);
            Default::default()
        });
        assert!(losses[29] < 0.5 * losses[0], "{scope:?}: {losses:?}");
        println!("batch 1, {scope:?}: loss {:.3} to {:.3} in 30 epochs", losses[0], losses[29]);
    }
}

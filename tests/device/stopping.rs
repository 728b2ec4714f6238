//! Early stopping with the best weights in an array.

use evenkeel::plan::{Plan, Scope};
use evenkeel::train::{Arrays, Buffers, Keeper, Moment, Session, StopState};
use evenkeel::{EarlyStopping, Error, Level, Loss, Network, Optimizer, Serial};

use crate::{Setup, bits};

/// For each scope: the weights of the best epoch come back, bit by bit, and nothing else changes.
#[test]
fn the_best_weights_come_back() {
    let setup = Setup::new(5, "dense(9) bn relu dense(8) bn tanh dense(3)", Loss::CrossEntropy, 12);
    let network = setup.network();
    let frozen = Scope::last_dense(&network, 2);
    let scopes = [Scope::ALL, frozen, frozen.with_running_statistics(), Scope::last_dense(&network, 1)];
    let lengths = scopes.map(|scope| network.plan_in(scope, 12).best_len());
    // Parameters and the last batch norm's statistics, parameters alone, the last layer's parameters.
    assert_eq!(lengths[0], network.params_len() + network.state_len());
    assert_eq!(lengths[1], 80 + 16 + 32 + 48 + 8 * 4 + 16, "9 * 8 weights fill five groups");
    assert_eq!(lengths[2], lengths[1] - 48);
    assert_eq!(lengths[3], 8 * 4 + 16);
    for scope in scopes {
        let mut best = vec![f32::NAN; network.plan_in(scope, 12).best_len()];
        let (mut of_best, mut stopped) = (None, None);
        let after = setup.train((Level::detect(), scope, 12), Optimizer::ADAM, 1, |session, rules, _| {
            let mut keeper = Keeper::new(EarlyStopping::patience(3), &mut best, session.plan()).unwrap();
            assert_eq!(keeper.restore(session), Ok(false), "nothing was observed");
            // Best at the third value.
            for (epoch, value) in [f64::NAN, 3.0, 1.0, 2.0, 1.0, f64::NAN, 0.1].into_iter().enumerate() {
                session.step(setup.batch(), rules, Moment { seed: 1, step: epoch as u64, lr: 0.01 }).unwrap();
                let (params, state) = session.weights();
                let now = (bits(params), bits(state));
                let verdict = keeper.observe(session, value).unwrap();
                assert_eq!(verdict.improved, epoch == 1 || epoch == 2, "{epoch}");
                if verdict.improved {
                    of_best = Some(now);
                }
                if verdict.stop {
                    stopped = Some(epoch);
                    break;
                }
            }
            assert_eq!(keeper.best(), Some((1.0, 2)));
            let (params, state) = session.weights();
            assert_ne!(Some((bits(params), bits(state))), of_best);
            assert_eq!(keeper.restore(session), Ok(true));
            Default::default()
        });
        assert_eq!(stopped, Some(5));
        assert_eq!(of_best, Some((bits(&after.params), bits(&after.state))), "{scope:?}");
        assert_ne!(bits(&after.params), bits(&setup.params));
    }
}

/// The same verdicts as `EarlyStopping` alone, which the golden cases of Keras check.
#[test]
fn judges_as_early_stopping() {
    let setup = Setup::new(2, "dense(2)", Loss::CrossEntropy, 2);
    let mut best = vec![0.0; setup.network().plan(2).best_len()];
    let stopping = EarlyStopping { min_delta: 0.25, start_from_epoch: 2, ..EarlyStopping::patience(2) };
    setup.train((Level::detect(), Scope::ALL, 2), Optimizer::SGD, 1, |session, _, _| {
        let mut keeper = Keeper::new(stopping, &mut best, session.plan()).unwrap();
        let mut alone = StopState::default();
        for (epoch, value) in (0..).zip([0.1, 0.2, 5.0, 4.9, 4.0, 3.9, 3.8, 3.7]) {
            assert_eq!(keeper.observe(session, value), Ok(stopping.observe(&mut alone, epoch, value)));
        }
        assert_eq!(keeper.best(), alone.best);
        Default::default()
    });
}

#[test]
fn lengths_are_checked() {
    const LAYERS: [evenkeel::Layer; 1] = [evenkeel::Layer::dense(2)];
    const NETWORK: Network<'_> = match Network::new(3, &LAYERS) {
        Ok(network) => network,
        Err(_) => panic!("no network"),
    };
    const PLAN: Plan = NETWORK.plan(1);
    let mut arrays: evenkeel::arrays!(PLAN, Optimizer::SGD) = Arrays::default();
    let mut best = [0.0; PLAN.best_len() + 1];
    let length = |found| Error::Length { what: "best weights", expected: PLAN.best_len(), found };
    let stopping = EarlyStopping::patience(1);
    assert_eq!(Keeper::new(stopping, &mut best, &PLAN).unwrap_err(), length(PLAN.best_len() + 1));
    let other = Setup::new(9, "dense(2)", Loss::CrossEntropy, 2);
    let plan = other.network().plan(2);
    let (mut params, mut gradients, mut work) =
        (vec![0.0; plan.params], vec![0.0; plan.trained], vec![0.0; plan.work_len()]);
    let (params, gradients, work) = (&mut params[..], &mut gradients[..], &mut work[..]);
    let buffers = Buffers { params, state: &mut [], gradients, moments: &mut [], work };
    let session = Session::new(other.network(), 2, buffers, Level::detect(), &Serial).unwrap();
    let mut keeper = Keeper::new(stopping, &mut best[..PLAN.best_len()], &PLAN).unwrap();
    let found = PLAN.best_len();
    let expected = Error::Length { what: "best weights", expected: plan.best_len(), found };
    assert_eq!(keeper.observe(&session, 1.0), Err(expected));
    // The right session is taken.
    let mut session = Session::new(NETWORK, 1, arrays.buffers(), Level::detect(), &Serial).unwrap();
    assert!(keeper.observe(&session, 1.0).unwrap().improved);
    assert_eq!(keeper.restore(&mut session), Ok(true));
}

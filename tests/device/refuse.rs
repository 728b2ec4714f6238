//! What training a part of a network, or a batch in parts, refuses: by type, with everything left as it was.

use evenkeel::plan::{Scope, Statistics};
use evenkeel::train::{Batch, Buffers, Moment, Score, Session, Targets};
use evenkeel::{Error, Level, Loss, Optimizer, Serial};

use crate::{Setup, bits};

const CE: Loss = Loss::CrossEntropy;
const MOMENT: Moment = Moment { seed: 1, step: 0, lr: 0.1 };
const RUNNING: Scope = Scope::ALL.with_running_statistics();

/// Runs `each` on a session; afterwards parameters and statistics are what they were.
fn unchanged(setup: &Setup, scope: Scope, planned: usize, each: impl Fn(&mut Session<'_, Serial>)) {
    let after = setup.train((Level::detect(), scope, planned), Optimizer::ADAM, 1, |session, _, _| {
        each(session);
        Score::default()
    });
    assert_eq!(bits(&after.params), bits(&setup.params));
    assert_eq!(bits(&after.state), bits(&setup.state));
    assert!(after.moments.iter().all(|moment| *moment == 0.0));
}

#[test]
fn nothing_to_train() {
    let setup = Setup::new(3, "dense(4) relu dropout(0.5)", Loss::MeanSquaredError, 2);
    let mut gradients = vec![];
    for first in [1, 2, 3, usize::MAX] {
        let scope = Scope::from_layer(first);
        let plan = setup.network().plan_in(scope, 2);
        assert_eq!((plan.trained, plan.first), (0, 3));
        let (mut params, mut work) = (setup.params.clone(), vec![0.0; plan.work_len()]);
        let buffers = Buffers {
            params: &mut params,
            state: &mut [],
            gradients: &mut gradients,
            moments: &mut [],
            work: &mut work,
        };
        let error = Session::with_scope(setup.network(), scope, 2, buffers, Level::detect(), &Serial).unwrap_err();
        assert_eq!(error, Error::Scope { first, layers: 3 });
        assert!(error.to_string().contains("nothing to train"), "{error}");
    }
    assert_eq!(Scope::last_dense(&setup.network(), 1), Scope::ALL);
    assert_eq!(Scope::last_dense(&setup.network(), 9), Scope::ALL);
    assert_eq!(Scope::last_dense(&setup.network(), 0), Scope::from_layer(3));
}

#[test]
fn buffers_of_another_scope() {
    let setup = Setup::new(3, "dense(4) relu dense(2)", CE, 2);
    let scope = Scope::from_layer(2);
    let (plan, all) = (setup.network().plan_in(scope, 2), setup.network().plan(2));
    let (mut params, mut work) = (setup.params.clone(), vec![0.0; plan.work_len()]);
    let mut gradients = vec![0.0; all.trained];
    let buffers =
        Buffers { params: &mut params, state: &mut [], gradients: &mut gradients, moments: &mut [], work: &mut work };
    let (expected, found) = (plan.trained, all.trained);
    let error = Session::with_scope(setup.network(), scope, 2, buffers, Level::detect(), &Serial).unwrap_err();
    assert_eq!(error, Error::Length { what: "gradients", expected, found });
}

/// Statistics that no batch has updated cannot be kept; two rows are needed for those of a batch.
#[test]
fn statistics() {
    let mut setup = Setup::new(3, "dense(4) bn dense(5) bn dense(2)", CE, 2);
    unchanged(&setup, Scope::ALL, 2, |session| {
        assert_eq!(
            session.step_in_parts(setup.part(0, 1), &crate::rules(CE, Optimizer::ADAM), MOMENT),
            Err(Error::BatchOfOne)
        );
        assert_eq!(session.accumulate(setup.part(0, 1), 2, CE, MOMENT), Err(Error::BatchStatistics { layer: 1 }));
    });
    unchanged(&setup, Scope::from_layer(2), 2, |session| {
        assert_eq!(session.accumulate(setup.part(0, 1), 2, CE, MOMENT), Err(Error::BatchStatistics { layer: 3 }));
    });
    let count = setup.network().nodes().nth(3).map(|node| node.state.start + node.state.len - 16).unwrap();
    setup.state[count] = 0.0;
    for (scope, layer) in [(RUNNING, 3), (Scope::from_layer(4), 3), (Scope::from_layer(2).with_running_statistics(), 3)]
    {
        unchanged(&setup, scope, 2, |session| {
            let error = Err(Error::NeverUpdated { layer });
            let rules = crate::rules(CE, Optimizer::ADAM);
            assert_eq!(session.step(setup.batch(), &rules, MOMENT), error);
            assert_eq!(session.step_in_parts(setup.batch(), &rules, MOMENT), error);
            if scope.statistics == Statistics::Running {
                assert_eq!(session.accumulate(setup.batch(), 2, CE, MOMENT), error);
            }
        });
    }
}

#[test]
fn parts_that_do_not_fit() {
    let setup = Setup::new(3, "dense(4) relu dense(2)", CE, 600);
    let rules = crate::rules(CE, Optimizer::ADAM);
    unchanged(&setup, Scope::ALL, 100, |session| {
        let error = Err(Error::Parts { rows: 600, part: 100 });
        assert_eq!(session.step_in_parts(setup.batch(), &rules, MOMENT), error);
        assert_eq!(session.accumulate(setup.part(0, 100), 600, CE, MOMENT), error);
        assert_eq!(session.apply(&rules, MOMENT), Err(Error::PartRows { rows: 0, total: 100 }), "nothing was begun");
        let none = Batch { inputs: &[], targets: Targets::Classes(&[]), rows: 0 };
        assert_eq!(session.step_in_parts(none, &rules, MOMENT), Err(Error::BatchRows { rows: 0, planned: 100 }));
        assert_eq!(session.accumulate(none, 9, CE, MOMENT), Err(Error::BatchRows { rows: 0, planned: 100 }));
        let short = Batch { inputs: &setup.x[..8], ..setup.part(0, 3) };
        let error = Err(Error::Length { what: "batch inputs", expected: 9, found: 8 });
        assert_eq!(session.step_in_parts(short, &rules, MOMENT), error);

        // An incomplete batch makes no step; a row too many ends it.
        session.accumulate(setup.part(0, 10), 25, CE, MOMENT).unwrap();
        assert_eq!(session.apply(&rules, MOMENT), Err(Error::PartRows { rows: 10, total: 25 }));
        session.accumulate(setup.part(10, 10), 25, CE, MOMENT).unwrap();
        let error = Err(Error::PartRows { rows: 26, total: 25 });
        assert_eq!(session.accumulate(setup.part(20, 6), 25, CE, MOMENT), error);
        assert_eq!(session.apply(&rules, MOMENT), Err(Error::PartRows { rows: 0, total: 100 }));
        session.accumulate(setup.part(0, 10), 25, CE, MOMENT).unwrap();
        let error = Err(Error::PartRows { rows: 20, total: 25 });
        assert_eq!(session.accumulate(setup.part(10, 10), 26, CE, MOMENT), error);
    });
    unchanged(&setup, Scope::ALL, 256, |session| {
        session.accumulate(setup.part(0, 256), 600, CE, MOMENT).unwrap();
        // Inside a chain only the last part may end.
        let error = Err(Error::Parts { rows: 600, part: 255 });
        assert_eq!(session.accumulate(setup.part(256, 255), 600, CE, MOMENT), error);
    });
}

/// A number that is not finite in any part: nothing changes, and the next batch is not touched by it.
#[test]
fn non_finite_parts() {
    let net = "dense(8) relu dense(6) bn tanh dense(2)";
    let mut bad = Setup::new(3, net, CE, 9);
    bad.x[7 * 3 + 1] = f32::NAN;
    let error = Error::NonFinite { what: "input", layer: 0 };
    let rules = crate::rules(CE, Optimizer::ADAM);
    unchanged(&bad, Scope::ALL, 2, |session| {
        assert_eq!(session.step_in_parts(bad.batch(), &rules, MOMENT), Err(error));
    });
    let good = Setup::new(3, net, CE, 9);
    let level = Level::detect();
    for scope in [RUNNING, Scope::from_layer(4).with_running_statistics()] {
        unchanged(&bad, scope, 3, |session| {
            session.accumulate(bad.part(0, 3), 9, CE, MOMENT).unwrap();
            session.accumulate(bad.part(3, 3), 9, CE, MOMENT).unwrap();
            assert_eq!(session.accumulate(bad.part(6, 3), 9, CE, MOMENT), Err(error));
            assert_eq!(session.apply(&rules, MOMENT), Err(Error::PartRows { rows: 0, total: 3 }));
        });
        let whole = good.train((level, scope, 9), Optimizer::ADAM, 1, |session, rules, moment| {
            session.step(good.batch(), rules, moment).unwrap()
        });
        let after_failure = good.train((level, scope, 9), Optimizer::ADAM, 1, |session, rules, moment| {
            session.accumulate(bad.part(0, 8), 9, CE, moment).unwrap_err();
            session.accumulate(good.part(0, 8), 9, CE, moment).unwrap();
            session.accumulate(good.part(8, 1), 9, CE, moment).unwrap();
            session.apply(rules, moment).unwrap()
        });
        after_failure.assert_same(&whole, "after a failed part");
    }
    // A variance beyond `f32`: found in the sums of the parts.
    let mut wide = Setup::new(2, "bn dense(2)", CE, 6);
    wide.x.iter_mut().step_by(2).enumerate().for_each(|(row, x)| *x = if row % 2 == 0 { 3e38 } else { -3e38 });
    unchanged(&wide, Scope::ALL, 2, |session| {
        let found = session.step_in_parts(wide.batch(), &rules, MOMENT);
        assert_eq!(found, Err(Error::NonFinite { what: "statistics", layer: 0 }));
    });
}

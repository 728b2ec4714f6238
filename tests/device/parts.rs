//! A batch in parts has the bits of the whole batch.

use evenkeel::plan::{Scope, Statistics};
use evenkeel::{Level, Loss, Optimizer};
use proptest::prelude::*;

use crate::Setup;

const CE: Loss = Loss::CrossEntropy;
const MSE: Loss = Loss::MeanSquaredError;
const BCE: Loss = Loss::BinaryCrossEntropy;
const RUNNING: Scope = Scope::ALL.with_running_statistics();

/// Three steps on the whole batch and in parts of each size; returns the values compared.
fn compare(setup: &Setup, scope: Scope, parts: &[usize], optimizer: Optimizer) -> usize {
    let mut compared = 0;
    for level in Level::available() {
        let whole = setup.train((level, scope, setup.rows), optimizer, 3, |session, rules, moment| {
            session.step(setup.batch(), rules, moment).unwrap()
        });
        assert!(whole.score.loss.is_finite() && whole.score.rows == setup.rows as u64);
        for part in parts {
            let what = format!("{} rows in parts of {part} on {level}, {:?}, {scope:?}", setup.rows, setup.layers);
            let in_parts = setup.train((level, scope, *part), optimizer, 3, |session, rules, moment| {
                session.step_in_parts(setup.batch(), rules, moment).unwrap()
            });
            in_parts.assert_same(&whole, &what);
            compared += whole.values();
        }
    }
    compared
}

/// Networks without batch norm, with one and with several, at every place; dropout, and sums beyond a chain.
#[test]
fn step_in_parts_has_the_bits_of_a_step() {
    let nets = [
        (5, "dense(17) relu dropout(0.3) dense(3)", CE),
        (3, "dense(1)", MSE),
        (5, "dense(17) bn relu dropout(0.3) dense(3)", CE),
        (17, "bn dense(20) bn gelu dense(33) bn tanh dropout(0.2) dense(2)", BCE),
        (5, "relu bn bn(keras) dense(3) softmax", MSE),
        (4, "dense(9, bias=false) silu bn dense(3) log_softmax bn(momentum=none)", MSE),
    ];
    let mut compared = 0;
    for (inputs, net, loss) in nets {
        for (rows, parts) in [(7, &[1, 2, 3, 6, 7, 20][..]), (33, &[1, 16, 32]), (256, &[1, 32, 100]), (300, &[256])] {
            let setup = Setup::new(inputs, net, loss, rows);
            compared += compare(&setup, Scope::ALL, parts, Optimizer::ADAM);
            compared += compare(&setup, RUNNING, parts, Optimizer::SGD);
        }
        let setup = Setup::new(inputs, net, loss, 1100);
        compared += compare(&setup, Scope::ALL, &[256, 512], Optimizer::ADAM);
    }
    println!("steps in parts: {compared} values compared by bits");
}

/// Layer norm, noise and masked weights, and the modes of a batch norm.
#[test]
fn parts_of_the_other_layers() {
    let nets = [
        (5, "dense(17) ln relu dense(33) ln gelu dense(3)", CE),
        (17, "ln dense(20) gaussian_dropout(0.3) bn alpha_dropout(0.2) tanh gaussian_noise(0.1) dense(2)", BCE),
        (5, "dropconnect(0.5) dense(17) bn relu dropconnect(0.3) dense(20, bias=false) ln dense(3)", CE),
        (5, "dense(17) bn(renorm=true, r_max=2, d_max=1, renorm_from=0, r_until=2, d_until=2) relu bn dense(3)", CE),
        (5, "bn(renorm=true, renorm_from=1, r_until=3, d_until=3) dense(20) bn(frozen=true) relu dense(3)", CE),
        (5, "dense(9) bn(ghost=300) relu dense(3)", CE),
    ];
    let mut compared = 0;
    for (inputs, net, loss) in nets {
        for (rows, parts) in [(7, &[1, 2, 3, 6, 20][..]), (33, &[1, 16, 32]), (256, &[32]), (300, &[256])] {
            let setup = Setup::new(inputs, net, loss, rows);
            compared += compare(&setup, Scope::ALL, parts, Optimizer::ADAM);
            compared += compare(&setup, RUNNING, parts, Optimizer::SGD);
            compared += compare(&setup, Scope::from_layer(2), parts, Optimizer::SGD);
        }
    }
    println!("steps in parts, other layers: {compared} values compared by bits");
}

/// A ghost batch norm divides a batch itself.
#[test]
fn ghosts_do_not_come_in_parts() {
    let setup = Setup::new(5, "dense(17) bn(ghost=8) relu dense(3)", CE, 20);
    setup.train((Level::detect(), Scope::ALL, 10), Optimizer::SGD, 1, |session, rules, moment| {
        let refused = session.step_in_parts(setup.batch(), rules, moment);
        assert_eq!(refused, Err(evenkeel::Error::GhostParts { layer: 1 }));
        // As many rows as one ghost batch and one more are one.
        session.step_in_parts(setup.part(0, 9), rules, moment).unwrap()
    });
}

/// With frozen layers before a batch norm, and before a dense layer.
#[test]
fn parts_of_a_frozen_network() {
    let setup = Setup::new(5, "dense(17) bn relu dropout(0.5) dense(12) bn gelu dropout(0.2) dense(3)", CE, 40);
    for first in 1..=8 {
        for statistics in [Statistics::Batch, Statistics::Running] {
            compare(&setup, Scope { first, statistics, lists: false }, &[1, 7, 16], Optimizer::ADAMW);
        }
    }
}

/// Parts that come and go, of whatever sizes.
#[test]
fn a_stream_has_the_bits_of_a_step() {
    let setup = Setup::new(6, "dense(17) bn relu dropout(0.3) dense(3)", CE, 29);
    for level in Level::available() {
        let optimizer = Optimizer::Sgd { momentum: 0.9, nesterov: true };
        let whole = setup.train((level, RUNNING, 29), optimizer, 3, |session, rules, moment| {
            session.step(setup.batch(), rules, moment).unwrap()
        });
        for sizes in [&[1; 29][..], &[8, 8, 8, 5], &[1, 2, 3, 4, 5, 6, 8], &[29]] {
            let planned = *sizes.iter().max().unwrap();
            let streamed = setup.train((level, RUNNING, planned), optimizer, 3, |session, rules, moment| {
                let mut before = 0;
                for size in sizes {
                    let score = session.accumulate(setup.part(before, *size), 29, CE, moment).unwrap();
                    before += size;
                    assert_eq!(score.rows, before as u64);
                    // A look at how it is going must not disturb the sums.
                    session.evaluate(setup.part(0, 1), CE).unwrap();
                }
                session.apply(rules, moment).unwrap()
            });
            streamed.assert_same(&whole, &format!("parts of {sizes:?} on {level}"));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if crate::emulated() { 8 } else { 96 }, ..ProptestConfig::default() })]

    /// Any widths, rows and part.
    #[test]
    fn any_shape(
        inputs in 1_usize..40,
        widths in prop::collection::vec(1_usize..40, 1..4),
        norms in prop::collection::vec(any::<bool>(), 4),
        rows in 2_usize..90,
        part in 1_usize..90,
        first in 0_usize..5,
        running in any::<bool>(),
    ) {
        let mut net = String::new();
        for (width, norm) in widths.iter().zip(&norms) {
            net += &format!("dense({width}) {} leaky_relu dropout(0.25) ", if *norm { "bn" } else { "" });
        }
        net += "dense(2)";
        let setup = Setup::new(inputs, &net, CE, rows);
        let first = first.min(setup.layers.len() - 1);
        let statistics = if running { Statistics::Running } else { Statistics::Batch };
        compare(&setup, Scope { first, statistics, lists: false }, &[part], Optimizer::ADAM);
    }
}

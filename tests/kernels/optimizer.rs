//! Optimisers against a scalar step by bits: several steps, all lengths of groups, every level, any split.

use crate::common::reference::Reference;
use crate::common::values::{Rng, Values};
use crate::common::{Tally, groups};
use evenkeel::split::Serial;
use evenkeel::train::Optimizer;
use evenkeel::train::optim::update;

/// Parameter, gradient and moments of one place.
struct Place {
    param: f32,
    first: f32,
    second: f32,
}

/// One step of one parameter, from the formulae in PyTorch's documentation, a multiply-add where the contract has one.
fn step(r: Reference, optimizer: Optimizer, t: i32, lr: f32, scale: f32, l2: f32, gradient: f32, at: &mut Place) {
    let g = r.fma(at.param, l2, gradient * scale);
    let adam = |at: &mut Place, beta1: f32, beta2: f32, eps: f32, decay: f64| {
        let (b1, b2) = (seven_places(beta1), seven_places(beta2));
        at.first = r.fma(g - at.first, (1.0 - b1) as f32, at.first);
        at.second = r.fma(g * (1.0 - b2) as f32, g, at.second * beta2);
        let rate = (f64::from(lr) / (1.0 - libm::pow(b1, f64::from(t)))) as f32;
        let root = (1.0 / (1.0 - libm::pow(b2, f64::from(t))).sqrt()) as f32;
        let kept = at.param * (1.0 - f64::from(lr) * decay) as f32;
        at.param = r.fma(at.first / r.fma(at.second.sqrt(), root, eps), -rate, kept);
    };
    match optimizer {
        Optimizer::Sgd { momentum: 0.0, .. } => at.param = r.fma(g, -lr, at.param),
        Optimizer::Sgd { momentum, nesterov } => {
            at.first = r.fma(at.first, momentum, g);
            let towards = if nesterov { r.fma(at.first, momentum, g) } else { at.first };
            at.param = r.fma(towards, -lr, at.param);
        }
        Optimizer::Adam { beta1, beta2, eps } => adam(at, beta1, beta2, eps, 0.0),
        Optimizer::AdamW { beta1, beta2, eps, weight_decay } => {
            adam(at, beta1, beta2, eps, f64::from(weight_decay));
        }
        _ => unreachable!("a new optimiser wants its reference here"),
    }
}

/// Betas are the decimal numbers they were written as.
fn seven_places(value: f32) -> f64 {
    format!("{value:.7}").parse().expect("a number")
}

#[test]
fn optimisers_equal_a_scalar_step() {
    let rng = &mut Rng::new(31);
    let mut tally = Tally::new("optimiser steps");
    let optimisers = [
        Optimizer::SGD,
        Optimizer::Sgd { momentum: 0.9, nesterov: false },
        Optimizer::Sgd { momentum: 0.9, nesterov: true },
        Optimizer::ADAM,
        Optimizer::ADAMW,
    ];
    for optimizer in optimisers {
        for len in [0, 16, 48, 64, 16 * 1024, 16 * 1025, 16 * 2050] {
            let start = Values::Plain.vec(rng, len);
            let gradients: Vec<Vec<f32>> = (0..3).map(|_| Values::Hard.vec(rng, len)).collect();
            let (lr, scale, l2) = (0.01, rng.pick(&[1.0, 0.3]), rng.pick(&[0.0, 0.001]));
            for (reference, levels) in groups() {
                let mut places: Vec<Place> =
                    start.iter().map(|param| Place { param: *param, first: 0.0, second: 0.0 }).collect();
                for (t, gradients) in (1..).zip(&gradients) {
                    for (at, gradient) in places.iter_mut().zip(gradients) {
                        step(reference, optimizer, t, lr, scale, l2, *gradient, at);
                    }
                }
                let expected: Vec<f32> = places.iter().map(|place| place.param).collect();
                for level in levels {
                    let mut params = start.clone();
                    let moments = optimizer.moments();
                    let mut first = vec![0.0; if moments > 0 { len } else { 0 }];
                    let mut second = vec![0.0; if moments > 1 { len } else { 0 }];
                    for (t, gradients) in (0..).zip(&gradients) {
                        let factors = optimizer.factors(t, lr, scale, l2);
                        update(level, &Serial, factors, &mut params, gradients, &mut first, &mut second)
                            .expect("the lengths are right");
                    }
                    tally.compare(level, || format!("{optimizer:?}, {len} values"), &params, &expected);
                }
            }
        }
    }
    tally.finish();
}

/// The first step of Adam moves every parameter by the rate, however small that is.
#[test]
fn adam_keeps_small_rates() {
    for lr in [0.001, 1.2345678e-5, 3.6e-9, 1e-12] {
        let (mut params, mut first, mut second) = ([0.0; 16], [0.0; 16], [0.0; 16]);
        let factors = Optimizer::ADAM.factors(0, lr, 1.0, 0.0);
        update(evenkeel::Level::detect(), &Serial, factors, &mut params, &[1.0; 16], &mut first, &mut second).unwrap();
        assert!((params[0] + lr).abs() <= 3e-7 * lr, "{lr}: {}", params[0]);
        // 1 - 0.9 and 1 - 0.999 as PyTorch has them.
        assert_eq!((first[0], second[0]), (0.1, 0.001));
    }
}

#[test]
fn wrong_lengths_are_refused() {
    let level = evenkeel::Level::detect();
    for (gradients, first, second) in [(15, 16, 16), (16, 0, 16), (16, 16, 0), (16, 17, 16), (0, 16, 16)] {
        let mut params = [1.0; 16];
        let factors = Optimizer::ADAM.factors(0, 0.1, 1.0, 0.0);
        let (gradients, mut first, mut second) = (vec![1.0; gradients], vec![0.0; first], vec![0.0; second]);
        assert!(update(level, &Serial, factors, &mut params, &gradients, &mut first, &mut second).is_err());
        assert_eq!(params, [1.0; 16]);
    }
}

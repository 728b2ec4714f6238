//! Against PyTorch and Keras: every loss by name, weights, label smoothing, mixed classes, and the laws of initial weights.

use evenkeel::init::{Law, Nonlinearity};
use evenkeel::train::{Mean, Mixed};
use evenkeel::{Init, Level, Loss, Targets};

use crate::file::{File, Tally, json};
use crate::table::{Unit, note};
use crate::values::through_a_session;

/// What a row of the file is about.
#[derive(PartialEq)]
enum Kind {
    Plain,
    Smoothed,
    Weighted,
    Mixed,
}

/// All rows of a kind, on every level, loss and gradient.
fn compare(kind: Kind, key: fn(&Loss, &str) -> String) {
    let file = File::open("objectives");
    for row in file.about["rows"].as_array().unwrap() {
        let word = |key: &str| row[key].as_str().unwrap();
        let (prefix, library) = (word("key"), word("library"));
        let loss: Loss = word("loss").parse().unwrap();
        assert_eq!(loss.to_string().parse(), Ok(loss));
        let of = match (row["mean"].is_null(), row["share"].is_null()) {
            (true, true) if library.contains("label_smoothing") => Kind::Smoothed,
            (true, true) => Kind::Plain,
            (false, _) => Kind::Weighted,
            _ => Kind::Mixed,
        };
        if of != kind {
            continue;
        }
        let mut tally = Tally::default();
        for shape in row["shapes"].as_array().unwrap().iter().map(|shape| shape.as_str().unwrap()) {
            let tensor = |part: &str| format!("{prefix}.{shape}.{part}");
            let (outputs, cols) = (file.f32(&tensor("z")), file.shape(&tensor("z"))[1]);
            let (labels, given) = (file.u32(&tensor("t")), file.f32(&tensor("t")));
            let others = if file.has(&tensor("others")) { file.u32(&tensor("others")) } else { Vec::new() };
            let weights = if file.has(&tensor("w")) { file.f32(&tensor("w")) } else { Vec::new() };
            let mut targets = match (loss.takes_classes(), row["share"].as_f64()) {
                (true, Some(share)) => Targets::Mixed(Mixed { classes: &labels, others: &others, share: share as f32 }),
                (true, None) => Targets::Classes(&labels),
                _ => Targets::Values(&given),
            };
            if let Some(mean) = row["mean"].as_str() {
                targets = targets.weighted(&weights, if mean == "rows" { Mean::Rows } else { Mean::Weights });
            }
            let (truth, slopes) = (file.f64(&tensor("loss64")), file.f64(&tensor("grad64")));
            let largest = slopes.iter().fold(0.0_f64, |most, slope| most.max(slope.abs()));
            for level in Level::available() {
                let (value, gradient) = through_a_session(level, loss, &outputs, cols, targets);
                let what = format!("{loss} ({library}), {shape} on {level}");
                tally.each(&what, &[value], truth, |_| truth[0].abs().max(0.1), 1e-6);
                tally.each(&what, &gradient, slopes, |_| largest.max(1e-3), 2e-6);
            }
        }
        tally.note(&key(&loss, library));
    }
}

#[test]
pub(crate) fn losses_of_other_libraries() {
    compare(Kind::Plain, |loss, _| loss.to_string());
}

#[test]
pub(crate) fn smoothed_losses() {
    compare(Kind::Smoothed, |loss, _| loss.to_string());
}

/// Weights of rows and of classes.
#[test]
pub(crate) fn weighted_losses() {
    compare(Kind::Weighted, |_, library| library.into());
}

/// Rows of two classes each.
#[test]
pub(crate) fn mixed_classes() {
    compare(Kind::Mixed, |_, _| String::new());
}

/// Bounds and deviations that the libraries compute, each to nine digits; PyTorch's in `f64`.
#[test]
pub(crate) fn laws_of_initial_weights() {
    let file = json("initialisers.json");
    for case in file["laws"].as_array().unwrap() {
        let number = |key: &str| case[key].as_f64().unwrap();
        let text = case["init"].as_str().unwrap();
        let init: Init = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(init.to_string().parse(), Ok(init), "{text}");
        let law = init.law(number("inputs") as usize, number("outputs") as usize).unwrap();
        let pairs: Vec<(f64, f64)> = match (case["law"].as_str().unwrap(), law) {
            ("uniform", Law::Uniform { low, high }) => vec![(low, number("low")), (high, number("high"))],
            ("normal", Law::Normal { mean, std }) => vec![(mean, number("mean")), (std, number("std"))],
            ("truncated", Law::Truncated { mean, std, low, high }) => {
                vec![(mean, number("mean")), (std, number("std")), (low, number("low")), (high, number("high"))]
            }
            (theirs, ours) => panic!("{text}: {ours:?}, not {theirs}"),
        };
        let mut worst = 0.0_f64;
        for (found, truth) in &pairs {
            let deviation = (found - truth).abs() / truth.abs().max(1e-3);
            // Our arguments are `f32`: 0.05 is one that both round.
            assert!(deviation < 1e-7, "{text}: {found}, not {truth}");
            worst = worst.max(deviation);
        }
        note(text, (1, pairs.len()), worst, Unit::Relative);
    }
}

/// `calculate_gain` of PyTorch.
#[test]
pub(crate) fn gains() {
    let file = json("initialisers.json");
    let gains = file["gains"].as_array().unwrap();
    let mut worst = 0.0_f64;
    for gain in gains {
        let of = match gain["of"].as_str().unwrap() {
            "linear" => Nonlinearity::Linear,
            "sigmoid" => Nonlinearity::Sigmoid,
            "tanh" => Nonlinearity::Tanh,
            "relu" => Nonlinearity::Relu,
            "selu" => Nonlinearity::Selu,
            _ => Nonlinearity::LeakyRelu { slope: gain["a"].as_f64().unwrap() as f32 },
        };
        let truth = gain["gain"].as_f64().unwrap();
        worst = worst.max((of.gain() - truth).abs());
        assert!(worst < 1e-9, "{of:?}: {}, not {truth}", of.gain());
    }
    note("", (gains.len(), gains.len()), worst, Unit::Relative);
}

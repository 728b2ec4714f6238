//! The less usual activations against 50 digits and against PyTorch's `float32`.

use evenkeel::kernels::{activation, prelu};
use evenkeel::layer::padded;
use evenkeel::{Activation, Level, Serial};

use crate::file::{File, Tally, ulp};
use crate::values::{pad, unpad};

fn activations() -> [(&'static str, Activation); 15] {
    [
        ("elu", Activation::Elu { alpha: 1.0 }),
        ("elu_0.3", Activation::Elu { alpha: 0.3 }),
        ("selu", Activation::Selu),
        ("celu", Activation::Celu { alpha: 1.0 }),
        ("celu_2.5", Activation::Celu { alpha: 2.5 }),
        ("gelu_tanh", Activation::GeluTanh),
        ("softplus", Activation::Softplus { beta: 1.0 }),
        ("softplus_2", Activation::Softplus { beta: 2.0 }),
        ("softplus_0.7", Activation::Softplus { beta: 0.7 }),
        ("softsign", Activation::Softsign),
        ("hard_sigmoid", Activation::HardSigmoid),
        ("hard_swish", Activation::HardSwish),
        ("relu6", Activation::Relu6),
        ("mish", Activation::Mish),
        ("thresholded_relu_1", Activation::ThresholdedRelu { theta: 1.0 }),
    ]
}

/// PyTorch's answers, but where they overflow and the truth does not (at 3.4e38, times 6 or cubed), the truth.
fn where_finite(theirs: &[f64], truth: &[f64]) -> Vec<f64> {
    let pairs = theirs.iter().zip(truth);
    pairs.map(|(t, truth)| if t.is_finite() || truth.abs() > f64::from(f32::MAX) { *t } else { *truth }).collect()
}

#[test]
pub(crate) fn more_activations_and_gradients() {
    let file = File::open("units");
    let (x, dy) = (file.f32("x"), file.f32("dy"));
    let (inputs, upstream) = (pad(&x, x.len()), pad(&dy, x.len()));
    let named: Vec<_> =
        file.about["elementwise"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert_eq!(named, activations().map(|(name, _)| name));
    for (name, kind) in activations() {
        let (mut value, mut gradient) = (Tally::default(), Tally::default());
        for level in Level::available() {
            let what = format!("{name} on {level}");
            let (mut y, mut dx) = (inputs.clone(), upstream.clone());
            activation::forward(level, &Serial, kind, &mut y);
            let truth = file.f64(&format!("{name}.y64"));
            value.each(&what, &y[..x.len()], truth, |at| ulp(truth[at]), 4.0);
            let saved = if kind.keeps_input() { &inputs } else { &y };
            activation::backward(level, &Serial, kind, saved, &mut dx).unwrap();
            // What PyTorch answers in float32, to its own error.
            let theirs = file.f64(&format!("{name}.y"));
            let theirs = where_finite(theirs, truth);
            let error = file.about["float32_error"][name].as_f64().unwrap();
            let mut beside = Tally::default();
            beside.each(&what, &y[..x.len()], &theirs, |at| truth[at].abs().max(1e-30), error + 1e-6);
            let truth = file.f64(&format!("{name}.dx64"));
            gradient.each(&what, &dx[..x.len()], truth, |at| f64::from(dy[at].abs()), 1e-6);
            let theirs = file.f64(&format!("{name}.dx"));
            let theirs = where_finite(theirs, truth);
            beside.each(&what, &dx[..x.len()], &theirs, |at| f64::from(dy[at].abs()), 2e-6);
        }
        value.note_ulp(kind.name());
        gradient.note(kind.name());
    }
}

/// PReLU: outputs, gradients of the inputs and of the slopes, shared and of each feature.
#[test]
pub(crate) fn prelu_and_gradients() {
    let file = File::open("units");
    let [mut values, mut inputs, mut slopes] = [Tally::default(), Tally::default(), Tally::default()];
    for (case, shared) in [("shared", true), ("each", false)] {
        for (rows, features) in [(1, 1), (7, 5), (33, 37)] {
            let tensor = |part: &str| format!("prelu.{case}.{rows}x{features}.{part}");
            let (x, dy) = (pad(&file.f32(&tensor("x")), features), pad(&file.f32(&tensor("upstream")), features));
            let mut weights = file.f32(&tensor("slopes"));
            weights.resize(prelu::slopes_len(features, shared), 0.0);
            for level in Level::available() {
                let what = format!("{case} {rows}x{features} on {level}");
                let mut y = x.clone();
                prelu::forward(level, features, rows, shared, &weights, &mut y).unwrap();
                values.relative(&what, &unpad(&y, features), file.f64(&tensor("y64")), 1e-6);
                let (mut dx, mut sums) = (dy.clone(), vec![0.0; padded(features)]);
                prelu::backward(level, features, (0, rows), shared, &weights, &x, &mut dx, &mut sums).unwrap();
                inputs.relative(&what, &unpad(&dx, features), file.f64(&tensor("dx64")), 1e-6);
                let found = if shared { vec![prelu::across(level, &sums)] } else { sums[..features].to_vec() };
                slopes.relative(&what, &found, file.f64(&tensor("dslope64")), 2e-6);
            }
        }
    }
    for tally in [values, inputs, slopes] {
        tally.note("");
    }
}

//! Gradients of whole networks against an `f64` twin.
//!
//! Every parameter of every network is moved by ±1e-6 in the twin; the slope of the twin's loss is compared with the
//! library's gradient and with the twin's own backward pass. Limits are those of PyTorch's `gradcheck` (atol 1e-5, rtol
//! 1e-3): as they stand for the twin, and for the library's `f32` results with the absolute part scaled by the largest
//! gradient of the network, since what cancels to nothing leaves rounding errors of the size of its terms.
//! `EVENKEEL_EMULATED=1` moves every 29th parameter of a layer only, and still compares all with the twin's backward pass.
//! Networks of which a part is frozen, or the statistics of the batch norms, are checked in the same way.
//! The library's results are held to the twin's exact gradients far more tightly, to 2e-5 of the largest gradient (two rows under a batch norm cancel the most).

mod check;
mod twin;

use check::{Extra, check_all, check_scopes, check_targets};
use evenkeel::plan::Scope;
use evenkeel::train::{Link, Loss, Mean};

const CE: Loss = Loss::CrossEntropy;
const BCE: Loss = Loss::BinaryCrossEntropy;
const MSE: Loss = Loss::MeanSquaredError;

/// Widths at, below and above a group of sixteen, and one over two groups; with and without bias.
#[test]
fn dense() {
    let nets = [
        (1, "dense(1)", MSE),
        (1, "dense(3)", CE),
        (3, "dense(1, bias=false)", BCE),
        (3, "dense(16) dense(3)", CE),
        (16, "dense(17, bias=false) dense(16)", MSE),
        (17, "dense(33) dense(1)", BCE),
        (33, "dense(16, bias=false) dense(17, bias=false) dense(3, bias=false)", CE),
        (33, "dense(33)", CE),
        (16, "dense(1) dense(33) dense(1) dense(17)", MSE),
    ];
    check_all("dense", &nets, &[1, 2, 5, 17]);
}

/// Each activation hidden, at the input and (for losses on plain outputs) at the end.
#[test]
fn activations() {
    let mut nets = Vec::new();
    for name in ["relu", "leaky_relu", "leaky_relu(0.3)", "sigmoid", "tanh", "gelu", "silu"] {
        nets.push((3, format!("dense(17) {name} dense(3)"), CE));
        nets.push((17, format!("{name} dense(16) {name} dense(1)"), BCE));
        nets.push((16, format!("dense(33) {name}"), MSE));
        nets.push((3, format!("dense(5) {name} {name} dense(2)"), MSE));
    }
    let nets: Vec<_> = nets.iter().map(|(inputs, net, loss)| (*inputs, net.as_str(), *loss)).collect();
    check_all("activations", &nets, &[2, 5, 17]);
}

/// The less usual activations in the same places, with their parameters.
#[test]
fn more_activations() {
    let mut nets = Vec::new();
    let names = "elu elu(0.4) selu celu celu(1.7) gelu_tanh softplus softplus(2.5) softsign hard_sigmoid hard_swish relu6 \
                 mish thresholded_relu(0.1)";
    for name in names.split_whitespace() {
        nets.push((3, format!("dense(17) {name} dense(3)"), CE));
        nets.push((17, format!("{name} dense(16) {name} dropout(0.2) dense(1)"), BCE));
        nets.push((16, format!("dense(33) {name}"), MSE));
        nets.push((3, format!("dense(5) bn {name} {name} dense(2)"), MSE));
    }
    let nets: Vec<_> = nets.iter().map(|(inputs, net, loss)| (*inputs, net.as_str(), *loss)).collect();
    check_all("more activations", &nets, &[2, 5, 17]);
}

/// PReLU's slopes, shared and of each feature, everywhere; in frozen parts, with dropout and softmax behind it.
#[test]
fn prelu() {
    let mut nets = Vec::new();
    for name in ["prelu", "prelu(shared=false)"] {
        nets.push((3, format!("dense(17) {name} dense(3)"), CE, Scope::ALL));
        nets.push((17, format!("{name} dense(16) bn {name} dropout(0.3) dense(1)"), BCE, Scope::ALL));
        nets.push((33, format!("dense(33) {name}"), MSE, Scope::ALL));
        nets.push((5, format!("{name} {name} tanh"), MSE, Scope::ALL));
        nets.push((6, format!("dense(20) bn relu {name} softmax {name} log_softmax"), MSE, Scope::ALL));
        nets.push((6, format!("dense(20) {name} dense(18) {name} relu dense(3)"), CE, Scope::from_layer(2)));
        nets.push((6, format!("dense(20) {name} dense(18) {name} relu dense(3)"), CE, Scope::from_layer(3)));
        nets.push((6, format!("{name} dense(20) gelu {name} dense(3)"), CE, Scope::from_layer(1)));
    }
    let nets: Vec<_> = nets.iter().map(|(inputs, net, loss, scope)| (*inputs, net.as_str(), *loss, *scope)).collect();
    check_scopes("PReLU", &nets, &[2, 5, 17]);
    check_scopes("PReLU of long batches", &nets[..1], &[256, 257, 300]);
    check_scopes("PReLU of long batches, each", &nets[8..9], &[256, 257, 300]);
}

/// Batch norm everywhere: hidden, at the input, at the end, before and after an activation, in chains.
#[test]
fn batch_norm() {
    let nets = [
        (3, "dense(17) bn relu dense(3)", CE),
        (16, "dense(16, bias=false) bn(keras) tanh dense(1)", BCE),
        (17, "bn dense(3)", CE),
        (33, "bn dense(16) sigmoid bn dense(3)", MSE),
        (3, "dense(17) relu bn dense(3)", CE),
        (3, "dense(17) gelu bn leaky_relu(0.1) bn dense(3)", CE),
        (5, "bn bn dense(5) bn bn(eps=0.01, momentum=none) silu dense(2)", MSE),
        (1, "bn dense(1)", BCE),
        (3, "dense(3) bn", MSE),
        (3, "bn", CE),
        (16, "dense(33) bn gelu dense(17) bn relu dense(3)", CE),
        (4, "tanh bn dense(3)", CE),
    ];
    check_all("batch norm", &nets, &[2, 5, 17]);
}

/// Scale, shift and what lies before them through frozen statistics, down to a batch of one row: where others get the sign
/// wrong.
#[test]
fn frozen_statistics() {
    let running = Scope::ALL.with_running_statistics();
    let nets = [
        (3, "dense(17) bn relu dense(3)", CE, running),
        (17, "bn dense(3)", CE, running),
        (1, "bn dense(1)", BCE, running),
        (3, "dense(3) bn", MSE, running),
        (5, "bn bn dense(5) bn bn(eps=0.01, momentum=none) silu dense(2)", MSE, running),
        (16, "dense(33) bn gelu dense(17) bn(keras) tanh dropout(0.3) dense(3)", CE, running),
        (4, "dense(20, bias=false) leaky_relu bn dropout(0.5) dense(3)", CE, running),
        (3, "dense(17) bn sigmoid bn dense(3) log_softmax", MSE, running),
    ];
    check_scopes("frozen statistics", &nets, &[1, 2, 5, 17]);
    check_scopes("frozen statistics of long batches", &nets[..2], &[256, 257, 300]);
}

/// The last layers, with the first ones frozen: their batch norms keep their statistics, their dropout does nothing.
#[test]
fn frozen_layers() {
    let net = "dense(17) bn relu dropout(0.5) dense(12) bn gelu dropout(0.3) dense(3)";
    let of = |first| [Scope::from_layer(first), Scope::from_layer(first).with_running_statistics()];
    let nets: Vec<_> = (1..=8).flat_map(of).map(|scope| (6, net, CE, scope)).collect();
    check_scopes("frozen layers", &nets, &[2, 5, 17]);
    let nets = [
        (6, "relu dropout(0.2) dense(5) softmax dense(2)", BCE, Scope::from_layer(1)),
        (20, "bn dense(5) tanh dense(40) silu dropout(0.2) dense(2)", MSE, Scope::from_layer(4)),
        (3, "dense(40) relu dense(2) relu dense(33) sigmoid log_softmax dense(2)", CE, Scope::from_layer(7)),
    ];
    check_scopes("frozen layers of other kinds", &nets, &[1, 2, 17]);
}

/// Dropout with its counter fixed: after each activation kind, at the input, before batch norm, at rates 0 and 1.
#[test]
fn dropout() {
    let nets = [
        (3, "dense(17) relu dropout(0.5) dense(3)", CE),
        (16, "dense(33) leaky_relu dropout(0.2) dense(3)", CE),
        (17, "dense(16) tanh dropout(0.3) dense(1)", BCE),
        (17, "dense(16) sigmoid dropout(0.3) dense(2)", MSE),
        (5, "dense(17) gelu dropout(0.1) dense(3)", CE),
        (5, "dense(17) silu dropout(0.9) dense(3)", CE),
        (33, "dropout(0.2) dense(3)", CE),
        (33, "dropout(0.2) tanh dropout(0.2) dropout(0.1) dense(3)", CE),
        (5, "dense(17) dropout(0.25) relu dropout(0.5) relu dense(3)", CE),
        (5, "dense(17) bn relu dropout(0.5) dense(16) bn dropout(0.1) sigmoid dense(3)", CE),
        (5, "dense(17) dropout(0) dense(3)", CE),
        (5, "dense(17) dropout(1) dense(3)", CE),
        (3, "dense(17) dropout(0.5)", MSE),
    ];
    check_all("dropout", &nets, &[2, 5, 17]);
}

/// Softmax and log-softmax as hidden and last layers, under the squared error.
#[test]
fn softmax() {
    let nets = [
        (3, "dense(17) softmax", MSE),
        (16, "dense(3) softmax dense(2)", CE),
        (17, "softmax dense(1)", BCE),
        (3, "dense(33) log_softmax", MSE),
        (16, "dense(16) log_softmax dense(2)", CE),
        (17, "log_softmax dense(3)", MSE),
        (3, "dense(1) softmax", MSE),
        (5, "dense(17) softmax bn dropout(0.2) log_softmax", MSE),
        (5, "dense(17) bn tanh softmax softmax dense(2)", CE),
    ];
    check_all("softmax", &nets, &[2, 5, 17]);
}

/// Batches beyond the 256 rows of one chain of sums.
#[test]
fn long_batches() {
    let nets = [
        (3, "dense(17) relu dense(3)", CE),
        (16, "dense(16) bn tanh dropout(0.2) dense(1)", BCE),
        (17, "bn dense(5) gelu bn dense(3)", MSE),
        (5, "dense(33, bias=false) bn silu dense(3) log_softmax", MSE),
        (3, "dense(16) sigmoid dropout(0.5) dense(3) softmax", MSE),
        (1, "dense(3) leaky_relu bn dense(17)", CE),
    ];
    check_all("long batches", &nets, &[256, 257, 300]);
}

/// An inner dimension beyond one chain of 256.
#[test]
fn wide_rows() {
    check_all("wide rows", &[(300, "dense(3) tanh dense(2)", CE), (3, "dense(270) relu dense(2)", CE)], &[5]);
}

/// Dropout's kin with their numbers fixed by the counter, where each may work in place and where not.
#[test]
fn noise() {
    let mut nets = Vec::new();
    for name in ["gaussian_dropout(0.3)", "gaussian_noise(0.2)", "alpha_dropout(0.2)"] {
        nets.push((3, format!("dense(17) {name} relu dense(3)"), CE));
        nets.push((16, format!("dense(33) relu {name} dense(3)"), CE));
        nets.push((17, format!("{name} dense(16) bn {name} tanh dense(1)"), BCE));
        nets.push((5, format!("dense(17) sigmoid {name} {name} dropout(0.2) dense(2)"), MSE));
        nets.push((5, format!("dense(17) ln {name} gelu dense(2) {name}"), MSE));
    }
    for text in ["gaussian_dropout(0)", "gaussian_noise(0)", "alpha_dropout(0)", "alpha_dropout(1)"] {
        nets.push((5, format!("dense(17) {text} dense(3)"), CE));
    }
    for (inputs, text) in [
        (3, "dropconnect(0.5) dense(17) relu dense(3)"),
        (16, "dense(33) relu dropconnect(0.3) dense(17, bias=false) tanh dropconnect(0.1) dense(3)"),
        (17, "dense(5) bn relu dropconnect(0.5) dense(3)"),
        (17, "dense(5) dropconnect(1) dense(3)"),
        (17, "dense(5) dropout(0.5) dropconnect(0) dense(3)"),
    ] {
        nets.push((inputs, text.into(), CE));
    }
    let nets: Vec<_> = nets.iter().map(|(inputs, net, loss)| (*inputs, net.as_str(), *loss)).collect();
    check_all("dropout's kin", &nets, &[2, 17]);
    check_all("dropout's kin in long batches", &nets[..4], &[257]);
    let net =
        "dropconnect(0.5) dense(17) gaussian_dropout(0.3) dropconnect(0.5) dense(12) gaussian_noise(0.1) dense(3)";
    let nets: Vec<_> = (1..=4).map(|first| (6, net, CE, Scope::from_layer(first))).collect();
    check_scopes("dropout's kin behind frozen layers", &nets, &[2, 17]);
}

/// Layer norm everywhere a batch norm may be, of one row too, and behind frozen layers.
#[test]
fn layer_norm() {
    let nets = [
        (3, "dense(17) ln relu dense(3)", CE),
        (16, "dense(16, bias=false) ln(keras) tanh dense(1)", BCE),
        (17, "ln dense(3)", CE),
        (33, "ln dense(16) sigmoid ln dense(3)", MSE),
        (3, "dense(17) gelu ln leaky_relu(0.1) ln dense(3)", CE),
        (5, "ln dense(5) ln ln(eps=0.01) silu dense(2)", MSE),
        (3, "dense(5) ln", MSE),
        (7, "ln", CE),
        (16, "dense(33) ln gelu dropout(0.2) dense(17) ln relu dropout(0.3) dense(3)", CE),
        (4, "tanh ln dense(3)", CE),
    ];
    check_all("layer norm", &nets, &[1, 2, 5, 17]);
    check_all("layer norm beside batch norm", &[(5, "ln bn dense(17) bn ln silu dense(2)", MSE)], &[2, 17]);
    check_all("layer norm in long batches", &nets[..3], &[256, 257, 300]);
    let net = "dense(17) ln relu dense(40) ln gelu dense(3) ln";
    let nets: Vec<_> = (1..=7).map(|first| (6, net, CE, Scope::from_layer(first))).collect();
    check_scopes("layer norm with frozen layers", &nets, &[1, 17]);
}

/// The modes of a batch norm: one frozen among others, ghost batches, and renorm at limits that bind and that do not.
#[test]
fn batch_norm_modes() {
    let nets = [
        (3, "dense(17) bn(frozen=true) relu dense(3)", CE),
        (16, "bn(frozen=true) dense(33) bn gelu dense(17) bn(frozen=true) relu dense(3)", CE),
        (3, "dense(17) bn(ghost=8) relu dense(3)", CE),
        (17, "bn(ghost=8) dense(33) bn(keras, ghost=9) tanh dropout(0.2) dense(1)", BCE),
        (3, "dense(20) bn(renorm=true) relu dense(3)", CE),
        (3, "dense(20) bn(renorm=true, renorm_from=0, r_until=10, d_until=20) relu dense(3)", CE),
        (17, "bn(renorm=true, r_max=1.1, d_max=0.1, renorm_from=0, r_until=1, d_until=1) dense(3)", MSE),
        (
            5,
            "dense(33) bn(keras, renorm=true, r_max=9, d_max=9, renorm_from=0, r_until=1, d_until=1) silu bn dense(2)",
            MSE,
        ),
    ];
    check_all("batch norm's modes", &nets, &[2, 5, 9, 10, 17, 26]);
    check_all("batch norm's modes in long batches", &nets[2..], &[257, 300]);
    let running = Scope::ALL.with_running_statistics();
    let nets: Vec<_> = nets.iter().map(|(inputs, net, loss)| (*inputs, *net, *loss, running)).collect();
    check_scopes("batch norm's modes with frozen statistics", &nets, &[1, 17]);
}

/// Every loss, over one, three and more than sixteen outputs.
#[test]
fn losses() {
    let texts = "mae, huber(0.5), smooth_l1(0.3), log_cosh, quantile(0.8), poisson, poisson_full, kl_div, soft_cross_entropy(0), \
                 soft_cross_entropy(0.2), cross_entropy(0.1), bce(0.1), focal(2;0.25), focal(0.5;1), binary_focal(2), \
                 binary_focal(0.5;0.7), hinge, squared_hinge, soft_margin, categorical_hinge, multi_margin(1), \
                 squared_multi_margin(0.5), cosine_similarity, cosine_embedding, mape, msle";
    for text in texts.split(", ") {
        let loss: Loss = text.trim().replace(';', ",").parse().unwrap();
        let mut nets = vec![(5, "dense(17) tanh dense(3)", loss), (3, "dense(33)", loss)];
        // One output of a row that is one class or one direction says nothing.
        if loss.link() != Link::Softmax && !text.starts_with("cosine") {
            nets.push((4, "dense(6) tanh dense(1)", loss));
        }
        check_all(&loss.to_string(), &nets, &[1, 5, 17]);
    }
    for text in ["poisson_rate", "poisson_rate_full"] {
        check_all(text, &[(5, "dense(17) tanh dense(3) sigmoid", text.parse().unwrap())], &[1, 5, 17]);
    }
}

/// Weights of rows under both means, rows of two classes, and both.
#[test]
fn weights_and_mixed_classes() {
    let loss = |text: &str| text.parse::<Loss>().unwrap();
    let net = "dense(17) bn tanh dense(5)";
    let all =
        ["cross_entropy", "cross_entropy(0.1)", "bce", "mse", "huber", "kl_div", "focal", "hinge", "cosine_embedding"];
    let nets: Vec<_> = all.iter().map(|text| (4, net, loss(text), Scope::ALL)).collect();
    for mean in [Mean::Rows, Mean::Weights, Mean::Scaled(0.7)] {
        check_targets(&format!("weights, {mean:?}"), &nets, &[2, 17], Extra::Weights(mean));
    }
    let classes =
        ["cross_entropy", "cross_entropy(0.2)", "focal", "categorical_hinge", "multi_margin", "squared_multi_margin"];
    let nets: Vec<_> = classes.iter().map(|text| (4, net, loss(text), Scope::ALL)).collect();
    for share in [0.0, 0.3, 1.0] {
        check_targets(&format!("two classes, share {share}"), &nets, &[2, 17], Extra::Mixed(share));
    }
    check_targets("two classes and weights", &nets, &[2, 17], Extra::Both(0.4, Mean::Weights));
}

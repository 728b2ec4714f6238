//! Layers as text.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::layer::{Activation, BatchNorm, Layer, LayerNorm, NormMode, PRelu, Renorm};

/// Writes layers as text that [`parse`](super::parse) reads back as the same layers.
#[must_use]
pub fn print(layers: &[Layer]) -> String {
    let words: Vec<String> = layers.iter().map(word).collect();
    words.join(" ")
}

fn word(layer: &Layer) -> String {
    match *layer {
        Layer::Dense { outputs, bias: true } => format!("dense({outputs})"),
        Layer::Dense { outputs, bias: false } => format!("dense({outputs}, bias=false)"),
        Layer::BatchNorm(bn) => batch_norm_word(bn),
        Layer::LayerNorm(LayerNorm::TORCH) => String::from("ln"),
        Layer::LayerNorm(LayerNorm::KERAS) => String::from("ln(keras)"),
        Layer::LayerNorm(LayerNorm { eps }) => format!("ln(eps={eps})"),
        Layer::GaussianDropout { rate } => format!("gaussian_dropout({rate})"),
        Layer::GaussianNoise { stddev } => format!("gaussian_noise({stddev})"),
        Layer::AlphaDropout { rate } => format!("alpha_dropout({rate})"),
        Layer::DropConnect { rate } => format!("dropconnect({rate})"),
        Layer::Activation(Activation::LeakyRelu { slope }) => format!("leaky_relu({slope})"),
        Layer::Activation(Activation::Elu { alpha }) if alpha != 1.0 => format!("elu({alpha})"),
        Layer::Activation(Activation::Celu { alpha }) if alpha != 1.0 => format!("celu({alpha})"),
        Layer::Activation(Activation::Softplus { beta }) if beta != 1.0 => format!("softplus({beta})"),
        Layer::Activation(Activation::ThresholdedRelu { theta }) => format!("thresholded_relu({theta})"),
        Layer::PRelu(PRelu { shared: false, init: 0.25 }) => String::from("prelu(shared=false)"),
        Layer::PRelu(PRelu { shared: true, init }) if init != 0.25 => format!("prelu(init={init})"),
        Layer::PRelu(PRelu { shared: false, init }) => format!("prelu(shared=false, init={init})"),
        Layer::Dropout { rate } => format!("dropout({rate})"),
        ref layer => layer.name().to_string(),
    }
}

fn batch_norm_word(bn: BatchNorm) -> String {
    let mut arguments = Vec::new();
    match (BatchNorm { mode: NormMode::Batch, ..bn }) {
        BatchNorm::TORCH => {}
        BatchNorm::KERAS => arguments.push(String::from("keras")),
        BatchNorm { eps, momentum, unbiased, .. } => {
            let momentum = momentum.map_or(String::from("none"), |momentum| momentum.to_string());
            arguments.push(format!("eps={eps}, momentum={momentum}, unbiased={unbiased}"));
        }
    }
    match bn.mode {
        NormMode::Batch => {}
        NormMode::Frozen => arguments.push(String::from("frozen=true")),
        NormMode::Ghost { rows } => arguments.push(format!("ghost={rows}")),
        NormMode::Renorm(Renorm::PAPER) => arguments.push(String::from("renorm=true")),
        NormMode::Renorm(Renorm { r_max, d_max, start, r_end, d_end }) => arguments.push(format!(
            "renorm=true, r_max={r_max}, d_max={d_max}, renorm_from={start}, r_until={r_end}, d_until={d_end}"
        )),
    }
    if arguments.is_empty() { String::from("bn") } else { format!("bn({})", arguments.join(", ")) }
}

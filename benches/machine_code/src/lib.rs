//! Every kernel of evenkeel, compiled as a program would have it. Nothing here is ever run: it is read.
//!
//! `scripts/machine-code` guards what the compiler makes of it, `scripts/arm-throughput` reckons how fast that is.

use evenkeel::kernels::dense::{self, Dense};
use evenkeel::kernels::dropout::{self, Rate};
use evenkeel::kernels::groups::Rows;
use evenkeel::kernels::{activation, batchnorm, math, reduce, softmax};
use evenkeel::rng::{self, Stream};
use evenkeel::train::optim::{self, Factors};
use evenkeel::{Activation, Error, Level, Serial};

#[cfg(feature = "whole")]
mod whole;

/// On AArch64 the portable level has the instructions of `neon` too and would end up in the same functions.
fn only(level: Level) -> Level {
    #[cfg(target_arch = "aarch64")]
    assert!(level.name() == "neon");
    level
}

macro_rules! entries {
    ($($name:ident($($arg:ident: $type:ty),*) $(-> $result:ty)? = $kernel:path;)*) => {
        $(#[unsafe(no_mangle)]
        pub fn $name(level: Level, $($arg: $type),*) $(-> $result)? {
            $kernel(only(level), $($arg),*)
        })*
    };
}

entries! {
    dense_f32(split: &Serial, dense: Dense<'_, f32>, x: Rows<'_>, y: &mut [f32]) -> Result<(), Error> = dense::forward;
    dense_f16(split: &Serial, dense: Dense<'_, u16>, x: Rows<'_>, y: &mut [f32]) -> Result<(), Error> = dense::forward;
    dense_then(
        split: &Serial, dense: Dense<'_, f32>, x: Rows<'_>, then: Option<Activation>, y: &mut [f32]
    ) -> Result<(), Error> = dense::forward_then;
    dense_f16_then(
        split: &Serial, dense: Dense<'_, u16>, x: Rows<'_>, then: Option<Activation>, y: &mut [f32]
    ) -> Result<(), Error> = dense::forward_then;
    dense_plain(split: &Serial, dense: Dense<'_, f32>, x: Rows<'_>, y: &mut [f32]) -> Result<(), Error>
        = dense::forward_plain;
    dense_f16_plain(split: &Serial, dense: Dense<'_, u16>, x: Rows<'_>, y: &mut [f32]) -> Result<(), Error>
        = dense::forward_plain;
    weight_gradient(
        split: &Serial, shape: (usize, usize), rows: usize, x: &[f32], dy: &[f32], gradient: &mut [f32]
    ) -> Result<(), Error> = dense::weight_gradient;
    input_gradient(
        split: &Serial, shape: (usize, usize), weights: &[f32], rows: usize, dy: &[f32], transposed: &mut [f32],
        dx: &mut [f32]
    ) -> Result<(), Error> = dense::input_gradient;
    bias_gradient(split: &Serial, rows: usize, dy: &[f32], gradient: &mut [f32]) -> Result<(), Error>
        = dense::bias_gradient;
    batchnorm_statistics(split: &Serial, rows: usize, eps: f32, x: &[f32], cache: &mut [f32]) -> Result<(), Error>
        = batchnorm::statistics;
    batchnorm_normalize(
        split: &Serial, rows: usize, cache: &[f32], gamma: &[f32], beta: &[f32], x: &[f32], y: &mut [f32]
    ) -> Result<(), Error> = batchnorm::normalize;
    batchnorm_backward(
        split: &Serial, rows: usize, cache: &[f32], gamma: &[f32], x: &[f32], dy: &mut [f32], dgamma: &mut [f32],
        dbeta: &mut [f32]
    ) -> Result<(), Error> = batchnorm::backward;
    batchnorm_freeze(eps: f32, mean: &[f32], var: &[f32], cache: &mut [f32]) -> Result<(), Error> = batchnorm::freeze;
    dropout_in_place(x: &mut [f32], rate: Rate, stream: Stream, first: u64) = dropout::dropout;
    dropout_between(x: &[f32], y: &mut [f32], rate: Rate, stream: Stream, first: u64) -> Result<(), Error>
        = dropout::dropout_to;
    fill_words(stream: Stream, first: u64, out: &mut [u32]) = rng::fill_u32;
    fill_units(stream: Stream, first: u64, out: &mut [f32]) = rng::fill_unit;
    optimizer_update(
        split: &Serial, factors: Factors, params: &mut [f32], gradients: &[f32], first: &mut [f32], second: &mut [f32]
    ) -> Result<(), Error> = optim::update;
    activation_forward(split: &Serial, activation: Activation, x: &mut [f32]) = activation::forward;
    activation_backward(split: &Serial, activation: Activation, saved: &[f32], dy: &mut [f32]) -> Result<(), Error>
        = activation::backward;
    softmax_forward(cols: usize, rows: usize, x: &mut [f32]) -> Result<(), Error> = softmax::softmax;
    softmax_backward(cols: usize, rows: usize, y: &[f32], dy: &mut [f32]) -> Result<(), Error>
        = softmax::softmax_backward;
    log_softmax_forward(cols: usize, rows: usize, x: &mut [f32]) -> Result<(), Error> = softmax::log_softmax;
    log_softmax_backward(cols: usize, rows: usize, y: &[f32], dy: &mut [f32]) -> Result<(), Error>
        = softmax::log_softmax_backward;
    norm(x: &[f32]) -> f64 = reduce::norm;
    exp(x: &mut [f32]) = math::exp_f32;
    log(x: &mut [f32]) = math::log_f32;
    sigmoid(x: &mut [f32]) = math::sigmoid_f32;
    tanh(x: &mut [f32]) = math::tanh_f32;
    gelu(x: &mut [f32]) = math::gelu_f32;
    silu(x: &mut [f32]) = math::silu_f32;
}

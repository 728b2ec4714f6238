//! Elementwise non-linearities and their gradients, in place, at any length of whole groups.

mod more;

use super::math;
use crate::error::{Error, check_len};
use crate::layer::Activation;
use crate::simd::{LANES, Simd, level::kernel};
use crate::split::Split;
use crate::{Level, TOOLBOX};

/// Values of a task: elementwise work is handed out in pieces of 64 KiB.
const TASK: usize = 1 << 14;

/// Applies `activation` to whole groups of sixteen values; a rest shorter than a group is left alone.
pub fn forward(level: Level, split: &impl Split, activation: Activation, x: &mut [f32]) {
    split.run([x], [TASK], &|_, [x]| {
        if is_usual(activation) { usual_forward(level, activation, x) } else { more::forward(level, activation, x) }
    });
}

/// Multiplies `dy` by the derivative. `saved` is the layer's input if [`Activation::keeps_input`], else its output;
/// it must be as long as `dy` (surplus is ignored).
///
/// # Errors
/// [`Error::Length`] if `saved` is shorter than `dy`.
pub fn backward(
    level: Level,
    split: &impl Split,
    activation: Activation,
    saved: &[f32],
    dy: &mut [f32],
) -> Result<(), Error> {
    check_len("saved activations", dy.len(), saved.len().min(dy.len()))?;
    split.run([dy], [TASK], &|task, [dy]| {
        let saved = &saved[task * TASK..];
        if is_usual(activation) {
            usual_backward(level, activation, saved, dy);
        } else {
            more::backward(level, activation, saved, dy);
        }
    });
    Ok(())
}

/// Refuses what networks and images cannot have in this build.
pub(crate) fn check_compiled(activation: Option<Activation>) -> Result<(), Error> {
    match activation {
        Some(activation) if !TOOLBOX && !is_usual(activation) => Err(Error::Toolbox),
        _ => Ok(()),
    }
}

/// [`forward`] of what networks and images may have in this build.
pub(crate) fn forward_compiled(
    level: Level,
    split: &impl Split,
    activation: Activation,
    x: &mut [f32],
) -> Result<(), Error> {
    check_compiled(Some(activation))?;
    split.run([x], [TASK], &|_, [x]| some_forward(level, activation, x));
    Ok(())
}

/// [`forward`] on the calling thread, of an activation that has been checked.
#[inline]
pub(crate) fn some_forward(level: Level, activation: Activation, x: &mut [f32]) {
    if is_usual(activation) {
        usual_forward(level, activation, x);
    } else if TOOLBOX {
        more::forward(level, activation, x);
    }
}

/// [`backward`] on the calling thread, of an activation that has been checked.
#[inline]
pub(crate) fn some_backward(level: Level, activation: Activation, saved: &[f32], dy: &mut [f32]) {
    if is_usual(activation) {
        usual_backward(level, activation, saved, dy);
    } else if TOOLBOX {
        more::backward(level, activation, saved, dy);
    }
}

/// Whether an activation's loops stand here; the others are functions of their own (`more`), so that these stay small.
#[inline(always)]
const fn is_usual(activation: Activation) -> bool {
    activation.is_basic()
}

kernel! { fn usual_forward(activation: Activation, x: &mut [f32]) = usual_forward_body; }
kernel! { fn usual_backward(activation: Activation, saved: &[f32], dy: &mut [f32]) = usual_backward_body; }

/// The whole of [`forward`] at a level, for an activation that is a constant.
#[inline(always)]
pub(crate) fn forward_body<S: Simd>(s: S, activation: Activation, x: &mut [f32]) {
    if is_usual(activation) { usual_forward_body(s, activation, x) } else { more::forward_body(s, activation, x) }
}

#[inline(always)]
fn map<S: Simd>(s: S, x: &mut [f32], f: impl Fn(S::F32) -> S::F32) {
    for group in x.as_chunks_mut::<LANES>().0 {
        s.store(f(s.load(group)), group);
    }
}

#[inline(always)]
fn usual_forward_body<S: Simd>(s: S, activation: Activation, x: &mut [f32]) {
    let zero = s.splat(0.0);
    match activation {
        // `max` keeps its first argument on NaN and on zeros: NaN passes through, as in PyTorch.
        Activation::Relu => map(s, x, |x| s.max(x, zero)),
        Activation::LeakyRelu { slope } => {
            let slope = s.splat(slope);
            map(s, x, |x| s.select(s.lt(x, zero), s.mul(x, slope), x));
        }
        Activation::Sigmoid => map(s, x, |x| math::sigmoid(s, x)),
        Activation::Tanh => map(s, x, |x| math::tanh(s, x)),
        Activation::Gelu => map(s, x, |x| math::gelu(s, x)),
        Activation::Silu => map(s, x, |x| math::silu(s, x)),
        // In `more`.
        _ => {}
    }
}

#[inline(always)]
fn zip<S: Simd>(s: S, saved: &[f32], dy: &mut [f32], f: impl Fn(S::F32, S::F32) -> S::F32) {
    for (saved, dy) in saved.as_chunks::<LANES>().0.iter().zip(dy.as_chunks_mut::<LANES>().0) {
        s.store(f(s.load(saved), s.load(dy)), dy);
    }
}

#[inline(always)]
fn usual_backward_body<S: Simd>(s: S, activation: Activation, saved: &[f32], dy: &mut [f32]) {
    let (zero, one) = (s.splat(0.0), s.splat(1.0));
    match activation {
        Activation::Relu => zip(s, saved, dy, |y, dy| s.select(s.lt(zero, y), dy, zero)),
        Activation::LeakyRelu { slope } => {
            let slope = s.splat(slope);
            zip(s, saved, dy, |y, dy| s.select(s.lt(zero, y), dy, s.mul(dy, slope)));
        }
        Activation::Sigmoid => zip(s, saved, dy, |y, dy| s.mul(dy, s.mul(y, s.sub(one, y)))),
        Activation::Tanh => zip(s, saved, dy, |y, dy| s.mul(dy, s.mul(s.sub(one, y), s.add(one, y)))),
        Activation::Gelu => zip(s, saved, dy, |x, dy| s.mul(dy, math::gelu_derivative(s, x))),
        Activation::Silu => zip(s, saved, dy, |x, dy| s.mul(dy, math::silu_derivative(s, x))),
        _ => {}
    }
}

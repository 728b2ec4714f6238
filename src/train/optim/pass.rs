//! One step over slices: which kernel for which rule, and the kernels of SGD and Adam.

use super::factors::{Factors, Rule};
use super::more;
use crate::Level;
use crate::error::{Error, check_len};
use crate::simd::{LANES, Simd, level::kernel};
use crate::split::Split;
use crate::train::penalty;

/// Values of a task: large enough to be worth handing out, small enough to balance.
pub(super) const TASK: usize = 1 << 14;

/// One step of an optimiser with at most two moments, see [`step`].
///
/// # Errors
/// As [`step`].
pub fn update(
    level: Level,
    split: &impl Split,
    factors: Factors,
    params: &mut [f32],
    gradients: &[f32],
    first: &mut [f32],
    second: &mut [f32],
) -> Result<(), Error> {
    step(level, split, factors, params, gradients, [first, second, &mut []])
}

/// One step over a slice of parameters: whole groups of sixteen, the gradients as long, and as many moments as
/// [`Optimizer::moments`](super::Optimizer::moments) says as long, the others empty.
///
/// [`Lamb`](super::Optimizer::Lamb) measures the slice as one layer. The moments of
/// [`ScheduleFree`](super::Optimizer::ScheduleFree) begin as the parameters, zeros, and the parameters; those of all others
/// as zeros.
///
/// # Errors
/// [`Error::Length`] if a slice has another length; nothing has been written then.
pub fn step(
    level: Level,
    split: &impl Split,
    factors: Factors,
    params: &mut [f32],
    gradients: &[f32],
    moments: [&mut [f32]; 3],
) -> Result<(), Error> {
    let len = params.len();
    check_len("parameters", len.next_multiple_of(LANES), len)?;
    check_len("gradients", len, gradients.len())?;
    let count = factors.moments();
    for (index, moment) in moments.iter().enumerate() {
        let name = ["first moments", "second moments", "third moments"][index];
        check_len(name, if index < count { len } else { 0 }, moment.len())?;
    }
    let [first, second, third] = moments;
    if let Rule::Sgd { .. } = factors.rule
        && factors.keep != 1.0
    {
        penalty::shrink(level, split, factors.keep, params)?;
    }
    match factors.rule {
        Rule::Sgd { momentum: 0.0, .. } => split.run([params], [TASK], &|task, [params]| {
            plain(level, factors, params, &gradients[task * TASK..][..params.len()]);
        }),
        Rule::Sgd { .. } => split.run([params, first], [TASK; 2], &|task, [params, first]| {
            with_momentum(level, factors, params, &gradients[task * TASK..][..params.len()], first);
        }),
        Rule::Adam { .. } => split.run([params, first, second], [TASK; 3], &|task, [params, first, second]| {
            adam(level, factors, params, &gradients[task * TASK..][..params.len()], first, second);
        }),
        Rule::More(rule) => return more::step(level, split, rule, factors, params, gradients, [first, second, third]),
    }
    Ok(())
}

kernel! { fn plain(factors: Factors, params: &mut [f32], gradients: &[f32]) = plain_body; }
kernel! {
    fn with_momentum(factors: Factors, params: &mut [f32], gradients: &[f32], velocity: &mut [f32]) = momentum_body;
}
kernel! {
    fn adam(
        factors: Factors, params: &mut [f32], gradients: &[f32], first: &mut [f32], second: &mut [f32],
    ) = adam_body;
}

/// The gradient as the rule sees it: scaled, with the L2 term.
#[inline(always)]
pub(super) fn gradient<S: Simd>(s: S, factors: &Factors, gradient: &[f32; LANES], param: S::F32) -> S::F32 {
    let scaled = s.mul(s.load(gradient), s.splat(factors.scale));
    s.mul_add(param, s.splat(factors.l2), scaled)
}

#[inline(always)]
fn plain_body<S: Simd>(s: S, factors: Factors, params: &mut [f32], gradients: &[f32]) {
    let Rule::Sgd { lr, .. } = factors.rule else { return };
    for (p, g) in params.as_chunks_mut::<LANES>().0.iter_mut().zip(gradients.as_chunks::<LANES>().0) {
        let param = s.load(p);
        let g = gradient(s, &factors, g, param);
        s.store(s.mul_add(g, s.splat(-lr), param), p);
    }
}

#[inline(always)]
fn momentum_body<S: Simd>(s: S, factors: Factors, params: &mut [f32], gradients: &[f32], velocity: &mut [f32]) {
    let Rule::Sgd { momentum, nesterov, lr } = factors.rule else { return };
    let groups = params.as_chunks_mut::<LANES>().0.iter_mut().zip(gradients.as_chunks::<LANES>().0);
    for ((p, g), v) in groups.zip(velocity.as_chunks_mut::<LANES>().0) {
        let param = s.load(p);
        let g = gradient(s, &factors, g, param);
        let next = s.mul_add(s.load(v), s.splat(momentum), g);
        s.store(next, v);
        let step = if nesterov { s.mul_add(next, s.splat(momentum), g) } else { next };
        s.store(s.mul_add(step, s.splat(-lr), param), p);
    }
}

#[inline(always)]
fn adam_body<S: Simd>(
    s: S,
    factors: Factors,
    params: &mut [f32],
    gradients: &[f32],
    first: &mut [f32],
    second: &mut [f32],
) {
    let Rule::Adam { rest1, beta2, rest2, rate, root, eps, keep } = factors.rule else { return };
    let groups = params.as_chunks_mut::<LANES>().0.iter_mut().zip(gradients.as_chunks::<LANES>().0);
    let moments = first.as_chunks_mut::<LANES>().0.iter_mut().zip(second.as_chunks_mut::<LANES>().0);
    for ((p, g), (m, v)) in groups.zip(moments) {
        let param = s.load(p);
        let g = gradient(s, &factors, g, param);
        let mean = s.load(m);
        let mean = s.mul_add(s.sub(g, mean), s.splat(rest1), mean);
        let square = s.mul_add(s.mul(g, s.splat(rest2)), g, s.mul(s.load(v), s.splat(beta2)));
        s.store(mean, m);
        s.store(square, v);
        let spread = s.mul_add(s.sqrt(square), s.splat(root), s.splat(eps));
        let param = s.mul(param, s.splat(keep));
        s.store(s.mul_add(s.div(mean, spread), s.splat(-rate), param), p);
    }
}

//! LAMB: two passes over a layer, because the size of its step follows from all of its parameters.

use super::formulas::{Formula, mean_square, towards};
use super::pass::TASK;
use crate::Level;
use crate::kernels::BLOCK;
use crate::kernels::reduce;
use crate::kernels::softmax::fold_sum;
use crate::simd::{LANES, Simd, level::kernel};
use crate::split::Split;

#[derive(Clone, Copy, Debug)]
pub(super) struct Lamb {
    pub(super) rest1: f32,
    pub(super) beta2: f32,
    pub(super) rest2: f32,
    /// Corrects the bias of the first moment.
    pub(super) correct: f32,
    /// Corrects that of the root of the second.
    pub(super) root: f32,
    pub(super) eps: f32,
    pub(super) decay: f32,
    pub(super) lr: f32,
}

/// The first pass: moments only.
impl Formula<2> for Lamb {
    #[inline(always)]
    fn step<S: Simd>(&self, s: S, param: S::F32, g: S::F32, [mean, v]: [S::F32; 2]) -> (S::F32, [S::F32; 2]) {
        (param, [towards(s, mean, g, self.rest1), mean_square(s, v, g, self.beta2, self.rest2)])
    }
}

impl Lamb {
    /// The step before it is given its size.
    #[inline(always)]
    fn direction<S: Simd>(&self, s: S, param: S::F32, mean: S::F32, v: S::F32) -> S::F32 {
        let spread = s.mul_add(s.sqrt(v), s.splat(self.root), s.splat(self.eps));
        s.mul_add(param, s.splat(self.decay), s.div(s.mul(mean, s.splat(self.correct)), spread))
    }
}

/// The layer's rate is the learning rate times this: norm of the parameters by norm of the step, 1 if either is 0.
#[must_use]
pub fn trust(params: f64, step: f64) -> f64 {
    if params > 0.0 && step > 0.0 { params / step } else { 1.0 }
}

/// The second pass, over moments that the first has moved.
pub(super) fn apply(
    level: Level,
    split: &impl Split,
    lamb: Lamb,
    params: &mut [f32],
    first: &mut [f32],
    second: &mut [f32],
) {
    let trust = trust(reduce::norm(level, params), libm::sqrt(direction_squares(level, lamb, params, first, second)));
    let rate = (f64::from(lamb.lr) * trust) as f32;
    split.run([params, first, second], [TASK; 3], &|_, [params, first, second]| {
        go(level, lamb, rate, params, first, second);
    });
}

kernel! { fn direction_squares(lamb: Lamb, params: &[f32], first: &[f32], second: &[f32]) -> f64 = squares_body; }
kernel! { fn go(lamb: Lamb, rate: f32, params: &mut [f32], first: &[f32], second: &[f32]) = go_body; }

/// Chains of 256 groups, as the norm of gradients has them.
#[inline(always)]
fn squares_body<S: Simd>(s: S, lamb: Lamb, params: &[f32], first: &[f32], second: &[f32]) -> f64 {
    let chain = BLOCK * LANES;
    let mut total = 0.0;
    for ((params, first), second) in params.chunks(chain).zip(first.chunks(chain)).zip(second.chunks(chain)) {
        let mut acc = s.splat(0.0);
        let moments = first.as_chunks::<LANES>().0.iter().zip(second.as_chunks::<LANES>().0);
        for (p, (m, v)) in params.as_chunks::<LANES>().0.iter().zip(moments) {
            let step = lamb.direction(s, s.load(p), s.load(m), s.load(v));
            acc = s.mul_add(step, step, acc);
        }
        total += f64::from(fold_sum(s, acc));
    }
    total
}

#[inline(always)]
fn go_body<S: Simd>(s: S, lamb: Lamb, rate: f32, params: &mut [f32], first: &[f32], second: &[f32]) {
    let moments = first.as_chunks::<LANES>().0.iter().zip(second.as_chunks::<LANES>().0);
    for (p, (m, v)) in params.as_chunks_mut::<LANES>().0.iter_mut().zip(moments) {
        let param = s.load(p);
        let step = lamb.direction(s, param, s.load(m), s.load(v));
        s.store(s.mul_add(step, s.splat(-rate), param), p);
    }
}

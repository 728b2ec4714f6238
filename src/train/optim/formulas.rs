//! The optimisers' formulae for sixteen parameters, and one loop that takes any of them over slices.

use super::factors::Factors;
use super::pass::gradient;
use crate::simd::{Group, Kernel, LANES, Simd};

/// What happens to sixteen parameters with `N` moments each.
pub(super) trait Formula<const N: usize>: Copy + Send + Sync {
    /// The parameters (shrunk already) and moments after the step.
    fn step<S: Simd>(&self, s: S, param: S::F32, gradient: S::F32, moments: [S::F32; N]) -> (S::F32, [S::F32; N]);
}

/// A formula over slices of the same length.
pub(super) struct Over<'a, F, const N: usize> {
    pub(super) formula: F,
    pub(super) factors: Factors,
    pub(super) params: &'a mut [f32],
    pub(super) gradients: &'a [f32],
    pub(super) moments: [&'a mut [f32]; N],
}

/// The groups of a slice, to write.
#[inline(always)]
fn groups(values: &mut [f32]) -> core::slice::IterMut<'_, Group> {
    values.as_chunks_mut::<LANES>().0.iter_mut()
}

impl<F: Formula<1>> Kernel for Over<'_, F, 1> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let [first] = self.moments;
        let places = groups(self.params).zip(self.gradients.as_chunks::<LANES>().0);
        for ((p, g), a) in places.zip(groups(first)) {
            let param = s.load(p);
            let g = gradient(s, &self.factors, g, param);
            let shrunk = s.mul(param, s.splat(self.factors.keep));
            let (param, [next]) = self.formula.step(s, shrunk, g, [s.load(a)]);
            s.store(next, a);
            s.store(param, p);
        }
    }
}

impl<F: Formula<2>> Kernel for Over<'_, F, 2> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let [first, second] = self.moments;
        let places = groups(self.params).zip(self.gradients.as_chunks::<LANES>().0);
        for ((p, g), (a, b)) in places.zip(groups(first).zip(groups(second))) {
            let param = s.load(p);
            let g = gradient(s, &self.factors, g, param);
            let shrunk = s.mul(param, s.splat(self.factors.keep));
            let (param, next) = self.formula.step(s, shrunk, g, [s.load(a), s.load(b)]);
            s.store(next[0], a);
            s.store(next[1], b);
            s.store(param, p);
        }
    }
}

impl<F: Formula<3>> Kernel for Over<'_, F, 3> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let [first, second, third] = self.moments;
        let places = groups(self.params).zip(self.gradients.as_chunks::<LANES>().0);
        for ((p, g), ((a, b), c)) in places.zip(groups(first).zip(groups(second)).zip(groups(third))) {
            let param = s.load(p);
            let g = gradient(s, &self.factors, g, param);
            let shrunk = s.mul(param, s.splat(self.factors.keep));
            let (param, next) = self.formula.step(s, shrunk, g, [s.load(a), s.load(b), s.load(c)]);
            s.store(next[0], a);
            s.store(next[1], b);
            s.store(next[2], c);
            s.store(param, p);
        }
    }
}

/// `mean + rest (g - mean)`
#[inline(always)]
pub(super) fn towards<S: Simd>(s: S, mean: S::F32, g: S::F32, rest: f32) -> S::F32 {
    s.mul_add(s.sub(g, mean), s.splat(rest), mean)
}

/// `decay v + rest g²`
#[inline(always)]
pub(super) fn mean_square<S: Simd>(s: S, v: S::F32, g: S::F32, decay: f32, rest: f32) -> S::F32 {
    s.mul_add(s.mul(g, s.splat(rest)), g, s.mul(v, s.splat(decay)))
}

/// `param - rate x`
#[inline(always)]
fn down<S: Simd>(s: S, param: S::F32, x: S::F32, rate: f32) -> S::F32 {
    s.mul_add(x, s.splat(-rate), param)
}

#[derive(Clone, Copy, Debug)]
pub(super) struct AmsGrad {
    pub(super) rest1: f32,
    pub(super) beta2: f32,
    pub(super) rest2: f32,
    pub(super) rate: f32,
    pub(super) root: f32,
    pub(super) eps: f32,
}

impl Formula<3> for AmsGrad {
    #[inline(always)]
    fn step<S: Simd>(&self, s: S, param: S::F32, g: S::F32, [mean, v, most]: [S::F32; 3]) -> (S::F32, [S::F32; 3]) {
        let mean = towards(s, mean, g, self.rest1);
        let v = mean_square(s, v, g, self.beta2, self.rest2);
        let most = s.max(most, v);
        let spread = s.mul_add(s.sqrt(most), s.splat(self.root), s.splat(self.eps));
        (down(s, param, s.div(mean, spread), self.rate), [mean, v, most])
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Nadam {
    pub(super) rest1: f32,
    pub(super) beta2: f32,
    pub(super) rest2: f32,
    pub(super) of_gradient: f32,
    pub(super) of_mean: f32,
    pub(super) root: f32,
    pub(super) eps: f32,
}

impl Formula<2> for Nadam {
    #[inline(always)]
    fn step<S: Simd>(&self, s: S, param: S::F32, g: S::F32, [mean, v]: [S::F32; 2]) -> (S::F32, [S::F32; 2]) {
        let mean = towards(s, mean, g, self.rest1);
        let v = mean_square(s, v, g, self.beta2, self.rest2);
        let spread = s.mul_add(s.sqrt(v), s.splat(self.root), s.splat(self.eps));
        let step = s.mul_add(mean, s.splat(self.of_mean), s.mul(g, s.splat(self.of_gradient)));
        (s.sub(param, s.div(step, spread)), [mean, v])
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Adamax {
    pub(super) rest1: f32,
    pub(super) beta2: f32,
    /// Added before and after the maximum is taken: one of the two is 0.
    pub(super) before: f32,
    pub(super) after: f32,
    pub(super) rate: f32,
}

impl Formula<2> for Adamax {
    #[inline(always)]
    fn step<S: Simd>(&self, s: S, param: S::F32, g: S::F32, [mean, most]: [S::F32; 2]) -> (S::F32, [S::F32; 2]) {
        let mean = towards(s, mean, g, self.rest1);
        let size = s.add(s.max(g, s.sub(s.splat(0.0), g)), s.splat(self.before));
        let most = s.max(s.mul(most, s.splat(self.beta2)), size);
        (down(s, param, s.div(mean, s.add(most, s.splat(self.after))), self.rate), [mean, most])
    }
}

/// All four forms: with or without velocity, centred or not.
#[derive(Clone, Copy, Debug)]
pub(super) struct RmsProp {
    pub(super) alpha: f32,
    pub(super) rest: f32,
    /// Added under and after the root: one of the two is 0.
    pub(super) under: f32,
    pub(super) after: f32,
    pub(super) momentum: f32,
    /// The rate is applied before the velocity or after it: one of the two is 1.
    pub(super) early: f32,
    pub(super) late: f32,
}

impl RmsProp {
    #[inline(always)]
    fn square<S: Simd>(&self, s: S, v: S::F32, g: S::F32) -> S::F32 {
        mean_square(s, v, g, self.alpha, self.rest)
    }

    /// The gradient divided by the root of `square`.
    #[inline(always)]
    fn divided<S: Simd>(&self, s: S, g: S::F32, square: S::F32) -> S::F32 {
        s.div(g, s.add(s.sqrt(s.add(square, s.splat(self.under))), s.splat(self.after)))
    }

    /// `v - mean²`, which rounding could leave below 0 where all gradients are equal.
    #[inline(always)]
    fn variance<S: Simd>(&self, s: S, v: S::F32, mean: S::F32) -> S::F32 {
        s.max(s.sub(v, s.mul(mean, mean)), s.splat(0.0))
    }

    #[inline(always)]
    fn velocity<S: Simd>(&self, s: S, velocity: S::F32, step: S::F32) -> S::F32 {
        s.mul_add(velocity, s.splat(self.momentum), s.mul(step, s.splat(self.early)))
    }

    #[inline(always)]
    fn alone<S: Simd>(&self, s: S, param: S::F32, step: S::F32) -> S::F32 {
        // One of the two factors is 1.
        down(s, param, step, self.early * self.late)
    }
}

impl Formula<1> for RmsProp {
    #[inline(always)]
    fn step<S: Simd>(&self, s: S, param: S::F32, g: S::F32, [v]: [S::F32; 1]) -> (S::F32, [S::F32; 1]) {
        let v = self.square(s, v, g);
        (self.alone(s, param, self.divided(s, g, v)), [v])
    }
}

/// RMSprop with a velocity, the second moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moving(pub(super) RmsProp);

impl Formula<2> for Moving {
    #[inline(always)]
    fn step<S: Simd>(&self, s: S, param: S::F32, g: S::F32, [v, velocity]: [S::F32; 2]) -> (S::F32, [S::F32; 2]) {
        let v = self.0.square(s, v, g);
        let velocity = self.0.velocity(s, velocity, self.0.divided(s, g, v));
        (down(s, param, velocity, self.0.late), [v, velocity])
    }
}

/// RMSprop with a mean of the gradients, the last moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Centred(pub(super) RmsProp);

impl Formula<2> for Centred {
    #[inline(always)]
    fn step<S: Simd>(&self, s: S, param: S::F32, g: S::F32, [v, mean]: [S::F32; 2]) -> (S::F32, [S::F32; 2]) {
        let (v, mean) = (self.0.square(s, v, g), towards(s, mean, g, self.0.rest));
        let step = self.0.divided(s, g, self.0.variance(s, v, mean));
        (self.0.alone(s, param, step), [v, mean])
    }
}

impl Formula<3> for Centred {
    #[inline(always)]
    fn step<S: Simd>(&self, s: S, param: S::F32, g: S::F32, moments: [S::F32; 3]) -> (S::F32, [S::F32; 3]) {
        let [v, velocity, mean] = moments;
        let (v, mean) = (self.0.square(s, v, g), towards(s, mean, g, self.0.rest));
        let step = self.0.divided(s, g, self.0.variance(s, v, mean));
        let velocity = self.0.velocity(s, velocity, step);
        (down(s, param, velocity, self.0.late), [v, velocity, mean])
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Adagrad {
    /// Added under and after the root; the sum itself begins with 0.
    pub(super) under: f32,
    pub(super) after: f32,
    pub(super) rate: f32,
}

impl Formula<1> for Adagrad {
    #[inline(always)]
    fn step<S: Simd>(&self, s: S, param: S::F32, g: S::F32, [sum]: [S::F32; 1]) -> (S::F32, [S::F32; 1]) {
        let sum = s.mul_add(g, g, sum);
        let root = s.add(s.sqrt(s.add(sum, s.splat(self.under))), s.splat(self.after));
        (down(s, param, s.div(g, root), self.rate), [sum])
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Adadelta {
    pub(super) rho: f32,
    pub(super) rest: f32,
    pub(super) eps: f32,
    pub(super) lr: f32,
}

impl Formula<2> for Adadelta {
    #[inline(always)]
    fn step<S: Simd>(&self, s: S, param: S::F32, g: S::F32, [v, steps]: [S::F32; 2]) -> (S::F32, [S::F32; 2]) {
        let v = mean_square(s, v, g, self.rho, self.rest);
        let root = |x: S::F32| s.sqrt(s.add(x, s.splat(self.eps)));
        let step = s.mul(s.div(root(steps), root(v)), g);
        let steps = mean_square(s, steps, step, self.rho, self.rest);
        (down(s, param, step, self.lr), [v, steps])
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Lion {
    pub(super) beta1: f32,
    pub(super) rest1: f32,
    pub(super) beta2: f32,
    pub(super) rest2: f32,
    pub(super) lr: f32,
}

impl Formula<1> for Lion {
    #[inline(always)]
    fn step<S: Simd>(&self, s: S, param: S::F32, g: S::F32, [mean]: [S::F32; 1]) -> (S::F32, [S::F32; 1]) {
        let direction = s.mul_add(mean, s.splat(self.beta1), s.mul(g, s.splat(self.rest1)));
        let mean = s.mul_add(mean, s.splat(self.beta2), s.mul(g, s.splat(self.rest2)));
        (down(s, param, sign(s, direction), self.lr), [mean])
    }
}

/// 1, -1, or 0 for zeros.
#[inline(always)]
pub(crate) fn sign<S: Simd>(s: S, x: S::F32) -> S::F32 {
    let zero = s.splat(0.0);
    let above = s.select(s.lt(zero, x), s.splat(1.0), zero);
    s.select(s.lt(x, zero), s.splat(-1.0), above)
}

/// Moments: the point that steps (z), the mean square, and the average (x); the parameter lies between z and x.
#[derive(Clone, Copy, Debug)]
pub(super) struct ScheduleFree {
    pub(super) beta1: f32,
    pub(super) beta2: f32,
    pub(super) rest2: f32,
    pub(super) root: f32,
    pub(super) eps: f32,
    pub(super) decay: f32,
    pub(super) lr: f32,
    /// What the new point counts in the average.
    pub(super) share: f32,
}

impl Formula<3> for ScheduleFree {
    #[inline(always)]
    fn step<S: Simd>(&self, s: S, param: S::F32, g: S::F32, [point, v, average]: [S::F32; 3]) -> (S::F32, [S::F32; 3]) {
        let v = mean_square(s, v, g, self.beta2, self.rest2);
        let spread = s.mul_add(s.sqrt(v), s.splat(self.root), s.splat(self.eps));
        let step = s.mul_add(param, s.splat(self.decay), s.div(g, spread));
        let point = down(s, point, step, self.lr);
        let average = towards(s, average, point, self.share);
        (towards(s, point, average, self.beta1), [point, v, average])
    }
}

//! Optimisers against a scalar step by bits: several steps, all lengths of groups, every level, any split.

use crate::common::reference::Reference;
use crate::common::threads::{Order, Threads};
use crate::common::values::{Rng, Values};
use crate::common::{Tally, groups};
use evenkeel::split::Serial;
use evenkeel::train::optim::{step, update};
use evenkeel::train::{Dialect, Optimizer};

/// Parameter and moments of one place.
#[derive(Clone, Copy)]
struct Place {
    param: f32,
    moments: [f32; 3],
}

/// The constants of a step of all places.
#[derive(Clone, Copy)]
struct Step {
    r: Reference,
    optimizer: Optimizer,
    t: i32,
    lr: f32,
    scale: f32,
    l2: f32,
    decay: f32,
    /// What this step counts in a schedule-free average.
    share: f32,
}

/// Betas are the decimal numbers they were written as.
fn seven_places(value: f32) -> f64 {
    format!("{value:.7}").parse().expect("a number")
}

impl Step {
    fn rest(beta: f32) -> f32 {
        (1.0 - seven_places(beta)) as f32
    }

    fn correct(&self, beta: f32) -> f64 {
        1.0 - libm::pow(seven_places(beta), f64::from(self.t))
    }

    fn square(&self, old: f32, g: f32, beta: f32) -> f32 {
        self.r.fma(g * Self::rest(beta), g, old * beta)
    }

    fn mean(&self, old: f32, g: f32, beta: f32) -> f32 {
        self.r.fma(g - old, Self::rest(beta), old)
    }

    fn spread(&self, square: f32, beta2: f32, eps: f32) -> f32 {
        self.r.fma(square.sqrt(), (1.0 / self.correct(beta2).sqrt()) as f32, eps)
    }

    /// Keras adds eps before the correction: that is so much after it.
    fn early(&self, dialect: Dialect, eps: f32, beta2: f32) -> f32 {
        match dialect {
            Dialect::Torch => eps,
            Dialect::Keras => (f64::from(eps) * (1.0 / self.correct(beta2).sqrt())) as f32,
        }
    }

    /// Nadam's shares one by one: this step's, the next one's, the product so far.
    fn shares(&self, beta1: f32, decay: f32) -> (f64, f64, f64) {
        let beta1 = seven_places(beta1);
        let share = |t: i32| beta1 * (1.0 - 0.5 * libm::pow(0.96, f64::from(t) * f64::from(decay)));
        ((share(self.t)), share(self.t + 1), (1..=self.t).map(share).product())
    }

    /// One step of one parameter, from the formulae of PyTorch's and Keras' documentation or of the papers, a multiply-add where
    /// the contract has one. LAMB's is in two parts, see `lamb`.
    fn go(&self, gradient: f32, at: &mut Place) {
        let r = self.r;
        let g = r.fma(at.param, self.l2, gradient * self.scale);
        let rate = |beta1: f32| (f64::from(self.lr) / self.correct(beta1)) as f32;
        let kept = (1.0 - f64::from(self.lr) * f64::from(self.decay)) as f32;
        let raw = at.param;
        let [a, b, c] = &mut at.moments;
        let p = &mut at.param;
        if !matches!(self.optimizer, Optimizer::Sgd { .. }) {
            *p *= kept;
        }
        match self.optimizer {
            Optimizer::Sgd { momentum, nesterov } => {
                // Shrunk first, then everything else.
                *p = raw * kept;
                let g = r.fma(*p, self.l2, gradient * self.scale);
                *a = if momentum == 0.0 { g } else { r.fma(*a, momentum, g) };
                let towards = if nesterov { r.fma(*a, momentum, g) } else { *a };
                *p = r.fma(towards, -self.lr, *p);
            }
            Optimizer::Adam { beta1, beta2, eps } => {
                (*a, *b) = (self.mean(*a, g, beta1), self.square(*b, g, beta2));
                *p = r.fma(*a / self.spread(*b, beta2, eps), -rate(beta1), *p);
            }
            Optimizer::KerasAdam { beta1, beta2, eps } => {
                (*a, *b) = (self.mean(*a, g, beta1), self.square(*b, g, beta2));
                let eps = self.early(Dialect::Keras, eps, beta2);
                *p = r.fma(*a / self.spread(*b, beta2, eps), -rate(beta1), *p);
            }
            Optimizer::AdamW { beta1, beta2, eps, weight_decay } => {
                (*a, *b) = (self.mean(*a, g, beta1), self.square(*b, g, beta2));
                *p *= (1.0 - f64::from(self.lr) * f64::from(weight_decay)) as f32;
                *p = r.fma(*a / self.spread(*b, beta2, eps), -rate(beta1), *p);
            }
            Optimizer::AmsGrad { beta1, beta2, eps, dialect } => {
                (*a, *b) = (self.mean(*a, g, beta1), self.square(*b, g, beta2));
                *c = if *c < *b { *b } else { *c };
                let eps = self.early(dialect, eps, beta2);
                *p = r.fma(*a / self.spread(*c, beta2, eps), -rate(beta1), *p);
            }
            Optimizer::Nadam { beta1, beta2, eps, momentum_decay } => {
                (*a, *b) = (self.mean(*a, g, beta1), self.square(*b, g, beta2));
                let (now, next, product) = self.shares(beta1, momentum_decay);
                let lr = f64::from(self.lr);
                let of_gradient = (lr * (1.0 - now) / (1.0 - product)) as f32;
                let of_mean = (lr * next / (1.0 - product * next)) as f32;
                *p -= r.fma(*a, of_mean, g * of_gradient) / self.spread(*b, beta2, eps);
            }
            Optimizer::Adamax { beta1, beta2, eps, dialect } => {
                *a = self.mean(*a, g, beta1);
                let (before, after) = if dialect == Dialect::Keras { (0.0, eps) } else { (eps, 0.0) };
                let (old, size) = (*b * beta2, g.abs() + before);
                *b = if old < size { size } else { old };
                *p = r.fma(*a / (*b + after), -rate(beta1), *p);
            }
            Optimizer::RmsProp { alpha, eps, momentum, centered, dialect } => {
                *a = self.square(*a, g, alpha);
                let mean = if momentum == 0.0 { &mut *b } else { c };
                let mut square = *a;
                if centered {
                    *mean = self.mean(*mean, g, alpha);
                    let variance = *a - *mean * *mean;
                    square = if variance < 0.0 { 0.0 } else { variance };
                }
                let step = match dialect {
                    Dialect::Torch => g / (square.sqrt() + eps),
                    Dialect::Keras => g / (square + eps).sqrt(),
                };
                if momentum == 0.0 {
                    *p = r.fma(step, -self.lr, *p);
                } else if dialect == Dialect::Torch {
                    *b = r.fma(*b, momentum, step);
                    *p = r.fma(*b, -self.lr, *p);
                } else {
                    *b = r.fma(*b, momentum, step * self.lr);
                    *p -= *b;
                }
            }
            Optimizer::Adagrad { eps, start, lr_decay, dialect } => {
                *a = r.fma(g, g, *a);
                let root = match dialect {
                    Dialect::Torch => (*a + start).sqrt() + eps,
                    Dialect::Keras => (*a + (f64::from(start) + f64::from(eps)) as f32).sqrt(),
                };
                let lr = (f64::from(self.lr) / (1.0 + f64::from(self.t - 1) * f64::from(lr_decay))) as f32;
                *p = r.fma(g / root, -lr, *p);
            }
            Optimizer::Adadelta { rho, eps } => {
                *a = self.square(*a, g, rho);
                let step = (*b + eps).sqrt() / (*a + eps).sqrt() * g;
                *b = self.square(*b, step, rho);
                *p = r.fma(step, -self.lr, *p);
            }
            Optimizer::Lion { beta1, beta2 } => {
                let direction = r.fma(*a, beta1, g * Self::rest(beta1));
                let sign = f32::from(i8::from(direction > 0.0) - i8::from(direction < 0.0));
                *a = r.fma(*a, beta2, g * Self::rest(beta2));
                *p = r.fma(sign, -self.lr, *p);
            }
            Optimizer::Lamb { beta1, beta2, .. } => {
                (*a, *b) = (self.mean(*a, g, beta1), self.square(*b, g, beta2));
            }
            Optimizer::ScheduleFree { beta1, beta2, eps, weight_decay } => {
                *b = self.square(*b, g, beta2);
                let step = r.fma(*p, weight_decay, g / self.spread(*b, beta2, eps));
                *a = r.fma(step, -self.lr, *a);
                *c = r.fma(*a - *c, self.share, *c);
                *p = r.fma(*c - *a, beta1, *a);
            }
            _ => unreachable!("a new optimiser wants its reference here"),
        }
    }

    /// The second part of LAMB: all places are one layer.
    fn lamb(&self, places: &mut [Place]) {
        let Optimizer::Lamb { beta1, beta2, eps, weight_decay } = self.optimizer else { return };
        let correct = (1.0 / self.correct(beta1)) as f32;
        let steps: Vec<f32> = places
            .iter()
            .map(|at| {
                let [mean, square, _] = at.moments;
                self.r.fma(at.param, weight_decay, mean * correct / self.spread(square, beta2, eps))
            })
            .collect();
        let params: Vec<f32> = places.iter().map(|at| at.param).collect();
        let (size, length) = (self.norm(&params), self.norm(&steps));
        let trust = if size > 0.0 && length > 0.0 { size / length } else { 1.0 };
        let rate = (f64::from(self.lr) * trust) as f32;
        for (at, step) in places.iter_mut().zip(steps) {
            at.param = self.r.fma(step, -rate, at.param);
        }
    }

    /// Chains of 256 groups in sixteen lanes, folded lane by lane, added in f64.
    fn norm(&self, values: &[f32]) -> f64 {
        let mut total = 0.0;
        for chain in values.chunks(256 * 16) {
            let mut lanes = [0.0_f32; 16];
            for (at, value) in chain.iter().enumerate() {
                lanes[at % 16] = self.r.fma(*value, *value, lanes[at % 16]);
            }
            for half in [8, 4, 2, 1] {
                for lane in 0..half {
                    lanes[lane] += lanes[lane + half];
                }
            }
            total += f64::from(lanes[0]);
        }
        total.sqrt()
    }
}

/// Every optimiser in every form.
fn optimisers() -> Vec<Optimizer> {
    let mut all = vec![
        Optimizer::SGD,
        Optimizer::Sgd { momentum: 0.9, nesterov: false },
        Optimizer::Sgd { momentum: 0.9, nesterov: true },
        Optimizer::ADAM,
        Optimizer::ADAMW,
        Optimizer::KERAS_ADAM,
        Optimizer::NADAM,
        Optimizer::Nadam { beta1: 0.8, beta2: 0.99, eps: 1e-7, momentum_decay: 1.0 },
        Optimizer::ADADELTA,
        Optimizer::LION,
        Optimizer::LAMB,
        Optimizer::SCHEDULE_FREE,
        Optimizer::ScheduleFree { beta1: 0.0, beta2: 0.99, eps: 1e-7, weight_decay: 0.1 },
    ];
    for dialect in [Dialect::Torch, Dialect::Keras] {
        all.push(Optimizer::AmsGrad { beta1: 0.9, beta2: 0.5, eps: 1e-7, dialect });
        all.push(Optimizer::Adamax { beta1: 0.9, beta2: 0.999, eps: 1e-7, dialect });
        for (start, lr_decay) in [(0.0, 0.0), (0.1, 0.5)] {
            all.push(Optimizer::Adagrad { eps: 1e-7, start, lr_decay, dialect });
        }
        for (momentum, centered) in [(0.0, false), (0.9, false), (0.0, true), (0.9, true)] {
            all.push(Optimizer::RmsProp { alpha: 0.9, eps: 1e-7, momentum, centered, dialect });
        }
    }
    all
}

#[test]
fn optimisers_equal_a_scalar_step() {
    let rng = &mut Rng::new(31);
    let mut tally = Tally::new("optimiser steps");
    for optimizer in optimisers() {
        for len in [0, 16, 48, 64, 16 * 1024, 16 * 1025, 16 * 2050] {
            let start = Values::Plain.vec(rng, len);
            let gradients: Vec<Vec<f32>> = (0..3).map(|_| Values::Hard.vec(rng, len)).collect();
            let (lr, scale, l2) = (0.01, rng.pick(&[1.0, 0.3]), rng.pick(&[0.0, 0.001]));
            let decay = if matches!(optimizer, Optimizer::AdamW { .. }) { 0.0 } else { rng.pick(&[0.0, 0.05]) };
            for (r, levels) in groups() {
                let free = optimizer.averages();
                let fresh = |param: f32| if free { [param, 0.0, param] } else { [0.0; 3] };
                let mut places: Vec<Place> =
                    start.iter().map(|param| Place { param: *param, moments: fresh(*param) }).collect();
                let mut all: Vec<Vec<Place>> = Vec::new();
                for (t, gradients) in (1..).zip(&gradients) {
                    let share = [1.0, 0.25, 0.4][t as usize - 1];
                    let step = Step { r, optimizer, t, lr, scale, l2, decay, share };
                    places.iter_mut().zip(gradients).for_each(|(at, gradient)| step.go(*gradient, at));
                    step.lamb(&mut places);
                    all.push(places.clone());
                }
                for level in levels {
                    let mut params = start.clone();
                    let mut moments = [0, 1, 2].map(|index| match index < optimizer.moments() {
                        true if free && index != 1 => start.clone(),
                        true => vec![0.0; len],
                        false => Vec::new(),
                    });
                    for (t, gradients) in (0..).zip(&gradients) {
                        let mut factors = optimizer.factors(t, lr, scale, l2).with_share([1.0, 0.25, 0.4][t as usize]);
                        if decay != 0.0 {
                            factors = factors.with_decay(lr, decay);
                        }
                        let [a, b, c] = &mut moments;
                        step(level, &Serial, factors, &mut params, gradients, [a, b, c])
                            .expect("the lengths are right");
                        let expected = &all[t as usize];
                        let what = || format!("{optimizer:?}, {len} values, step {t}");
                        let found: Vec<f32> = expected.iter().map(|place| place.param).collect();
                        tally.compare(level, what, &params, &found);
                        for (index, moment) in moments.iter().enumerate().take(optimizer.moments()) {
                            let found: Vec<f32> = expected.iter().map(|place| place.moments[index]).collect();
                            tally.compare(level, || format!("moment {index} of {}", what()), moment, &found);
                        }
                    }
                }
            }
        }
    }
    tally.finish();
}

/// Whatever the number of threads, and padding stays zero.
#[test]
fn threads_and_padding_change_nothing() {
    let rng = &mut Rng::new(32);
    let len = 16 * 5000;
    let (start, gradients) = (Values::Plain.vec(rng, len), Values::Plain.vec(rng, len));
    for optimizer in optimisers() {
        let run = |split: &dyn Fn([&mut [f32]; 4], &[f32])| {
            let mut params = start.clone();
            let mut gradients = gradients.clone();
            for at in (0..len).filter(|at| at % 16 > 12) {
                (params[at], gradients[at]) = (0.0, 0.0);
            }
            let mut moments = [0, 1, 2].map(|index| vec![0.0; if index < optimizer.moments() { len } else { 0 }]);
            for _ in 0..3 {
                let [a, b, c] = &mut moments;
                split([&mut params, a, b, c], &gradients);
            }
            // Adamax' maximum of sizes is at least its eps, of a padding too.
            assert!(params.iter().enumerate().all(|(at, value)| at % 16 <= 12 || *value == 0.0), "{optimizer:?}");
            params
        };
        let level = evenkeel::Level::detect();
        let factors = optimizer.factors(0, 0.01, 1.0, 0.001).with_decay(0.01, 0.1);
        let serial = run(&|[p, a, b, c], g| step(level, &Serial, factors, p, g, [a, b, c]).unwrap());
        for workers in [2, 3, 8] {
            let threads = Threads { workers, order: Order::Strided, parallel: true };
            let parallel = run(&|[p, a, b, c], g| step(level, &threads, factors, p, g, [a, b, c]).unwrap());
            assert!(serial.iter().zip(&parallel).all(|(a, b)| a.to_bits() == b.to_bits()), "{optimizer:?}, {workers}");
        }
    }
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

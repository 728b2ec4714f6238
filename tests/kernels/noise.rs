//! Normal numbers and dropout's kin: bits against the reference, for any start and length, and what many draws look like.

use crate::common::values::{Rng, Values};
use crate::common::{Tally, groups, rounds};
use evenkeel::Level;
use evenkeel::kernels::dropout::Rate;
use evenkeel::kernels::noise::{self, Alpha};
use evenkeel::rng::{Purpose, Stream};

#[test]
fn bits() {
    let (groups, rng) = (groups(), &mut Rng::new(71));
    let names = ["normal numbers", "Gaussian dropout", "Gaussian noise", "alpha dropout", "its gradient"];
    let mut tallies = names.map(Tally::new);
    for round in 0..rounds(300) {
        let stream = Stream::new(rng.below(1 << 30) as u64, Purpose::Noise, rng.below(9) as u32, round as u32);
        let (first, len) = (rng.below(300) as u64 + rng.pick(&[0, 1 << 36, u64::MAX >> 7]), rng.below(400));
        let values = rng.pick(&[Values::Plain, Values::Hard, Values::NonFinite]);
        let x = values.vec(rng, len);
        let rate = rng.pick(&[0.0, 0.05, 0.5, 0.9]);
        let deviation = noise::gaussian_deviation(rate).unwrap();
        let alpha = Alpha::new(rate).unwrap();
        let threshold = Rate::new(rate).unwrap().threshold();
        let keep = 1.0 - f64::from(rate);
        let limit = -1.758_099_340_847_376_6_f64;
        let a = 1.0 / (keep * (1.0 + f64::from(rate) * limit * limit)).sqrt();
        let b = -a * f64::from(rate) * limit;
        let size = || format!("{values:?} values, {len} from {first}, rate {rate}");
        for (reference, levels) in &groups {
            let word = |i: usize| stream.word(first + i as u64);
            let z = |i: usize| reference.normal_number(word(i));
            let kept = |i: usize| u64::from(word(i)) < threshold;
            let each = |f: &dyn Fn(usize, f32) -> f32| x.iter().enumerate().map(|(i, x)| f(i, *x)).collect::<Vec<_>>();
            let unchanged = threshold > u64::from(u32::MAX);
            let expected = [
                each(&|i, _| z(i)),
                each(&|i, x| x * reference.fma(deviation, z(i), 1.0)),
                each(&|i, x| reference.fma(deviation, z(i), x)),
                each(&|i, x| match (unchanged, kept(i)) {
                    (true, _) => x,
                    (_, true) => reference.fma(a as f32, x, b as f32),
                    _ => (a * limit + b) as f32,
                }),
                each(&|i, dy| match (unchanged, kept(i)) {
                    (true, _) => dy,
                    (_, true) => a as f32 * dy,
                    _ => 0.0,
                }),
            ];
            for level in levels {
                let all: [&dyn Fn(&mut [f32], u64); 5] = [
                    &|x, first| noise::fill_normal(*level, stream, first, x),
                    &|x, first| noise::gaussian_dropout(*level, x, deviation, stream, first),
                    &|x, first| noise::gaussian_noise(*level, x, deviation, stream, first),
                    &|x, first| noise::alpha_dropout(*level, x, alpha, stream, first),
                    &|x, first| noise::alpha_dropout_backward(*level, x, alpha, stream, first),
                ];
                for ((kernel, expected), tally) in all.into_iter().zip(&expected).zip(&mut tallies) {
                    let mut whole = x.clone();
                    kernel(&mut whole, first);
                    tally.compare(*level, size, &whole, expected);
                    // However the range is cut.
                    let mut cut = x.clone();
                    let at = len / 3;
                    kernel(&mut cut[..at], first);
                    kernel(&mut cut[at..], first + at as u64);
                    tally.compare(*level, size, &cut, expected);
                }
            }
        }
    }
    tallies.into_iter().for_each(Tally::finish);
}

/// The share of a normal distribution below `-t`.
fn below(t: f64) -> f64 {
    0.5 * libm::erfc(t * core::f64::consts::FRAC_1_SQRT_2)
}

/// A normal number is the quantile of its word: the distribution function gives the word's share back. Over the whole range,
/// and all words of both tails.
#[test]
fn normal_numbers_are_quantiles() {
    let mut worst = (0.0_f64, 0.0);
    let words = (0..1_u64 << 32)
        .step_by(1 + 4_294_967_296 / 4_000_000)
        .chain(0..100_000)
        .chain((1 << 31) - 1000..(1 << 31) + 1000);
    let mut count = 0;
    for (reference, _) in groups() {
        let mut last: Option<(u64, f32)> = None;
        for word in words.clone() {
            let z = f64::from(reference.normal_number(word as u32));
            let upper = word >= 1 << 31;
            let share = ((if upper { (1_u64 << 32) - 1 - word } else { word }) as f64 + 0.5) / 4_294_967_296.0;
            // Newton's step from z to the exact quantile, relative to it.
            let density = (-0.5 * z * z).exp() / core::f64::consts::TAU.sqrt();
            let error = (below(z.abs()) - share) / density / z.abs();
            assert_eq!(upper, z > 0.0, "{word}");
            if error.abs() > worst.0.abs() {
                worst = (error, z);
            }
            if let Some((before, value)) = last.filter(|(before, _)| *before + 5000 < word) {
                assert!(f64::from(value) < z, "not ascending from {before} to {word}");
            }
            last = Some((word, z as f32));
            count += 1;
        }
    }
    println!("normal numbers: {count} words, largest relative error {:.1e} at {:.3}", worst.0, worst.1);
    assert!(worst.0.abs() < 6e-7, "{worst:?}");
}

/// Mean, variance, skewness, kurtosis and the shares beyond one to four deviations, within four of their standard errors.
#[test]
fn moments_of_many_draws() {
    const COUNT: usize = 1 << 20;
    let level = Level::detect();
    let n = COUNT as f64;
    let within = |what: &str, found: f64, expected: f64, deviation: f64| {
        let sigmas = (found - expected) / deviation;
        println!("{what}: {found:.6}, expected {expected:.6}, off by {sigmas:+.2} standard errors");
        assert!(sigmas.abs() < 4.0, "{what}: {found}, not {expected}");
    };
    for step in 0..3 {
        let mut z = vec![0.0; COUNT];
        noise::fill_normal(level, Stream::new(7, Purpose::Noise, 2, step), 0, &mut z);
        let moment = |k: i32| z.iter().map(|z| f64::from(*z).powi(k)).sum::<f64>() / n;
        within("mean", moment(1), 0.0, (1.0 / n).sqrt());
        within("variance", moment(2), 1.0, (2.0 / n).sqrt());
        within("third moment", moment(3), 0.0, (15.0 / n).sqrt());
        within("fourth moment", moment(4), 3.0, (96.0 / n).sqrt());
        for t in 1..=4 {
            let share = z.iter().filter(|z| f64::from(z.abs()) > f64::from(t)).count() as f64 / n;
            let p = 2.0 * below(f64::from(t));
            within(&format!("beyond {t} deviations"), share, p, (p * (1.0 - p) / n).sqrt());
        }
        let neighbours = z.windows(2).map(|z| f64::from(z[0]) * f64::from(z[1])).sum::<f64>() / n;
        within("neighbours", neighbours, 0.0, (1.0 / n).sqrt());
    }
    // What the layers promise: mean and variance of standard normal inputs.
    let rate = 0.2;
    let mut x = vec![0.0; COUNT];
    noise::fill_normal(level, Stream::new(8, Purpose::Init, 0, 0), 0, &mut x);
    let stream = Stream::new(9, Purpose::Noise, 1, 4);
    let moments = |x: &[f32]| {
        let mean = x.iter().map(|x| f64::from(*x)).sum::<f64>() / n;
        (mean, x.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / n)
    };
    let mut y = x.clone();
    noise::alpha_dropout(level, &mut y, Alpha::new(rate).unwrap(), stream, 0);
    let (mean, var) = moments(&y);
    within("mean after alpha dropout", mean, 0.0, (1.0 / n).sqrt());
    // The fourth moment of a kept or dropped value is below 6.
    within("variance after alpha dropout", var, 1.0, (5.0 / n).sqrt());
    let mut y = vec![3.0; COUNT];
    noise::gaussian_dropout(level, &mut y, noise::gaussian_deviation(rate).unwrap(), stream, 0);
    let (mean, var) = moments(&y);
    within("mean after Gaussian dropout of 3", mean, 3.0, (9.0 * 0.25 / n).sqrt());
    within("its variance", var, 9.0 * 0.25, 9.0 * 0.25 * (2.0 / n).sqrt());
}

#[test]
fn rates_outside_their_range_are_refused() {
    for rate in [-0.1, 1.5, f32::NAN] {
        assert!(noise::gaussian_deviation(rate).is_err() && Alpha::new(rate).is_err(), "{rate}");
    }
    assert!(noise::gaussian_deviation(1.0).is_err());
    let mut x = [f32::NAN, 1.0, f32::INFINITY];
    noise::alpha_dropout(Level::detect(), &mut x, Alpha::new(1.0).unwrap(), Stream::new(0, Purpose::Dropout, 0, 0), 0);
    assert_eq!(x, [0.0; 3]);
}

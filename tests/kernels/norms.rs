//! Layer norm, batch renorm, averages of weights: bits against the reference, wrong lengths refused.

use crate::common::layout::{group, ungroup};
use crate::common::reference::Column;
use crate::common::threads::{Order, Threads};
use crate::common::values::{Rng, Values, sizes};
use crate::common::{Tally, groups, levels, rounds};
use evenkeel::error::Error;
use evenkeel::kernels::{batchnorm, layernorm};
use evenkeel::layer::padded;
use evenkeel::split::Serial;
use evenkeel::train::average::average;

/// Rows as they are, without padding.
fn rows_of(cols: usize, x: &[f32]) -> Vec<&[f32]> {
    x.chunks_exact(padded(cols)).map(|row| &row[..cols]).collect()
}

#[test]
fn layer_norm() {
    let (groups, rng) = (groups(), &mut Rng::new(61));
    let mut tallies =
        ["layer norm", "layer norm, input gradient", "layer norm, gradients of scale and shift"].map(Tally::new);
    for _ in 0..rounds(4) {
        for cols in sizes() {
            let rows = if cols > 200 { 1 + rng.below(4) } else { 1 + rng.below(300) };
            for values in [Values::Plain, Values::Hard, Values::NonFinite] {
                check(&mut tallies, &groups, rng, (rows, cols), values);
            }
        }
    }
    tallies.into_iter().for_each(Tally::finish);
}

fn check(
    tallies: &mut [Tally; 3],
    groups: &[crate::common::Group],
    rng: &mut Rng,
    (rows, cols): (usize, usize),
    values: Values,
) {
    let (eps, width) = (rng.pick(&[1e-5, 1e-3]), padded(cols));
    let [mut x, dy] = [(); 2].map(|()| values.padded_rows(rng, rows, cols));
    if rng.below(4) == 0 {
        // Far from zero.
        x.chunks_exact_mut(width).for_each(|row| row[..cols].iter_mut().for_each(|x| *x += 1e5));
    }
    let [gamma, beta] = [(); 2].map(|()| Values::Plain.padded_rows(rng, 1, cols));
    let size = || format!("{values:?} values, {rows} rows of {cols}");
    for (reference, levels) in groups {
        let pad = |rows: Vec<Vec<f32>>| {
            rows.into_iter()
                .flat_map(|mut row| {
                    row.resize(width, 0.0);
                    row
                })
                .collect::<Vec<f32>>()
        };
        let (plain_x, plain_dy) = (rows_of(cols, &x), rows_of(cols, &dy));
        let y = pad(plain_x.iter().map(|x| reference.layer_norm(eps, &gamma, &beta, x)).collect());
        let dx = plain_x.iter().zip(&plain_dy).map(|(x, dy)| reference.layer_norm_input(eps, &gamma, x, dy));
        let dx = pad(dx.collect());
        let sums = |f: usize| reference.layer_norm_parameters(eps, &plain_x, &plain_dy, f);
        // The sums of all features of every large shape would take minutes.
        let features: Vec<usize> = (0..cols).step_by(1 + cols * rows / 5000).collect();
        let expected: Vec<f32> = features.iter().flat_map(|f| <[f32; 2]>::from(sums(*f))).collect();
        for level in levels {
            let mut spoiled = x.clone();
            for row in spoiled.chunks_exact_mut(width) {
                row[cols..].fill(3e3);
            }
            let (grouped, mut found) = (group(cols, &spoiled), vec![f32::NAN; x.len()]);
            let mut statistics = vec![f32::NAN; rows * layernorm::STATISTICS];
            let threads = Threads { workers: 1 + rows % 5, order: Order::Reversed, parallel: false };
            let shape = (cols, rows);
            layernorm::forward(*level, &threads, shape, eps, &gamma, &beta, &grouped, &mut found, &mut statistics)
                .unwrap();
            let only = |found: &[f32]| {
                let mut rows = ungroup(cols, found);
                rows.chunks_exact_mut(width).for_each(|row| row[cols..].fill(0.0));
                rows
            };
            tallies[0].compare(*level, size, &only(&found), &y);
            let mut inferred = grouped.clone();
            layernorm::layer_norm(*level, cols, rows, eps, &gamma, &beta, &mut inferred).unwrap();
            tallies[0].compare(*level, size, &only(&inferred), &y);

            let (mut found, [mut dgamma, mut dbeta]) = (group(cols, &dy), [(); 2].map(|()| vec![f32::NAN; width]));
            let mut scratch = vec![f32::NAN; 2 * rows];
            layernorm::backward(
                *level,
                shape,
                &statistics,
                &gamma,
                &grouped,
                &mut found,
                &mut dgamma,
                &mut dbeta,
                &mut scratch,
            )
            .unwrap();
            tallies[1].compare(*level, size, &ungroup(cols, &found), &dx);
            let found: Vec<f32> = features.iter().flat_map(|f| [dgamma[*f], dbeta[*f]]).collect();
            tallies[2].compare(*level, size, &found, &expected);
        }
    }
}

#[test]
fn layer_norm_refuses_wrong_lengths() {
    let (level, x, vector) = (levels()[0], [1.0; 96], [1.0; 32]);
    let run = |x_len: usize, gamma: usize, cols: usize, rows: usize| {
        let mut y = x[..x_len].to_vec();
        let result = layernorm::layer_norm(level, cols, rows, 1e-5, &vector[..gamma], &vector, &mut y);
        assert!(result.is_ok() || y == x[..x_len], "something was written");
        result
    };
    assert!(run(96, 32, 20, 3).is_ok());
    for (x, gamma, cols, rows) in [(95, 32, 20, 3), (96, 16, 20, 3), (96, 32, 0, 3), (96, 32, 20, 2)] {
        assert!(matches!(run(x, gamma, cols, rows), Err(Error::Length { .. })), "{x} {gamma} {cols} {rows}");
    }
}

#[test]
fn renorm() {
    let (groups, rng) = (groups(), &mut Rng::new(62));
    let mut tallies = ["batch renorm, corrections", "batch renorm, gradient of the scale"].map(Tally::new);
    for _ in 0..rounds(200) {
        let (rows, width) = (2 + rng.below(300), 16 * (1 + rng.below(4)));
        let values = rng.pick(&[Values::Plain, Values::Hard, Values::NonFinite]);
        let x = values.vec(rng, rows * width);
        let limits = rng.pick(&[(1.0, 0.0), (1.5, 0.5), (3.0, 5.0)]);
        let [mean, gamma, beta, dgamma, dbeta] = [(); 5].map(|()| values.vec(rng, width));
        let var: Vec<f32> = values.vec(rng, width).iter().map(|v| v.abs()).collect();
        let (eps, size) = (1e-5, || format!("{values:?} values, {rows} rows of {width}"));
        for (reference, levels) in &groups {
            let each: Vec<[f32; 4]> = (0..width)
                .map(|j| {
                    let c: Column = reference.statistics(width, j, eps, &x);
                    reference.renorm(c, eps, limits, (mean[j], var[j]), (gamma[j], beta[j]))
                })
                .collect();
            let expected: Vec<f32> = (0..4).flat_map(|part| each.iter().map(move |each| each[part])).collect();
            let scale = |j: usize| reference.fma(each[j][0], dgamma[j], each[j][1] * dbeta[j]);
            for level in levels {
                let mut cache = vec![f32::NAN; batchnorm::cache_len(width)];
                batchnorm::statistics(*level, &Serial, rows, eps, &group(width, &x), &mut cache).unwrap();
                let mut found = vec![f32::NAN; batchnorm::corrections_len(width)];
                batchnorm::renorm(*level, &cache, eps, limits, (&mean, &var), (&gamma, &beta), &mut found).unwrap();
                tallies[0].compare(*level, size, &found, &expected);
                let mut sums = dgamma.clone();
                batchnorm::renorm_gamma(*level, &found, &dbeta, &mut sums);
                tallies[1].compare(*level, size, &sums, &(0..width).map(scale).collect::<Vec<_>>());
                let short =
                    batchnorm::renorm(*level, &cache, eps, limits, (&mean[1..], &var), (&gamma, &beta), &mut found);
                assert!(matches!(short, Err(Error::Length { what: "running mean", .. })));
            }
        }
    }
    tallies.into_iter().for_each(Tally::finish);
}

#[test]
fn averages() {
    let (groups, rng, mut tally) = (groups(), &mut Rng::new(63), Tally::new("average of weights"));
    for len in sizes().chain([0, 16_384, 16_385, 40_000]) {
        for values in [Values::Plain, Values::Hard, Values::NonFinite] {
            let [weights, before] = [(); 2].map(|()| values.vec(rng, len));
            let factor = rng.pick(&[1.0, 0.5, 0.001, 1.0 / 3.0]);
            for (reference, levels) in &groups {
                let step = |(w, a): (&f32, &f32)| if factor == 1.0 { *w } else { reference.fma(w - a, factor, *a) };
                let expected: Vec<f32> = weights.iter().zip(&before).map(step).collect();
                for level in levels {
                    for workers in [1, 3] {
                        let threads = Threads { workers, order: Order::Reversed, parallel: false };
                        let mut found = before.clone();
                        average(*level, &threads, factor, &weights, &mut found).unwrap();
                        tally.compare(
                            *level,
                            || format!("{values:?}, {len} values, factor {factor}"),
                            &found,
                            &expected,
                        );
                    }
                }
            }
        }
    }
    tally.finish();
}

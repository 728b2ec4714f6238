//! PReLU: values, gradients of inputs and slopes.

use crate::common::layout::group;
use crate::common::values::{Rng, Values, sizes};
use crate::common::{Tally, groups, rounds};
use evenkeel::Level;
use evenkeel::kernels::prelu;
use evenkeel::layer::padded;

#[test]
fn covering() {
    let (groups, rng) = (groups(), &mut Rng::new(47));
    let mut tallies = ["PReLU", "PReLU, gradients", "PReLU, slopes", "PReLU, shared slope"].map(Tally::new);
    for _ in 0..rounds(1) {
        for features in sizes().filter(|features| (1..70).contains(features)) {
            for (rows, shared) in [(1, true), (3, false), (255, true), (257, false), (300, true)] {
                let values = rng.pick(&[Values::Plain, Values::Hard]);
                let x = values.padded_rows(rng, rows, features);
                let dy = values.padded_rows(rng, rows, features);
                let mut slopes = vec![0.0; prelu::slopes_len(features, shared)];
                let count = if shared { 1 } else { features };
                slopes[..count].copy_from_slice(&values.vec(rng, count));
                let slope = |feature: usize| slopes[if shared { 0 } else { feature }];
                let width = padded(features);
                let size = || format!("{values:?} values, {rows} rows of {features}, shared: {shared}");
                for (reference, levels) in &groups {
                    let (mut y, mut dx) = (x.clone(), dy.clone());
                    for (i, (y, dx)) in y.iter_mut().zip(&mut dx).enumerate() {
                        if *y <= 0.0 {
                            (*y, *dx) = (slope(i % width) * *y, slope(i % width) * *dx);
                        }
                    }
                    let sums = reference.slope_gradient(width, &x, &dy);
                    let total = reference.across(&sums);
                    for level in levels {
                        let (x, dy) = (group(features, &x), group(features, &dy));
                        let mut found = x.clone();
                        prelu::forward(*level, features, rows, shared, &slopes, &mut found).unwrap();
                        tallies[0].compare(*level, size, &found, &group(features, &y));
                        let (mut found, mut added) = (dy.clone(), vec![0.0; width]);
                        prelu::backward(*level, features, (0, rows), shared, &slopes, &x, &mut found, &mut added)
                            .unwrap();
                        tallies[1].compare(*level, size, &found, &group(features, &dx));
                        tallies[2].compare(*level, size, &added, &sums);
                        tallies[3].compare(*level, size, &[prelu::across(*level, &added)], &[total]);
                    }
                }
            }
        }
    }
    tallies.into_iter().for_each(Tally::finish);
}

#[test]
fn wrong_lengths_are_refused() {
    let level = Level::detect();
    let (x, good) = ([1.0; 32], [2.0; 32]);
    for (slopes, values, sums) in [(15, 32, 32), (32, 31, 32), (32, 32, 16), (16, 32, 32)] {
        let (mut dy, mut sum) = (good[..values].to_vec(), vec![3.0; sums]);
        let slopes = vec![0.5; slopes];
        assert!(prelu::backward(level, 17, (0, 1), false, &slopes, &x, &mut dy, &mut sum).is_err());
        assert!(dy.iter().all(|dy| *dy == 2.0) && sum.iter().all(|sum| *sum == 3.0));
    }
    assert!(prelu::forward(level, 17, 1, false, &[0.5; 16], &mut good.clone()).is_err());
    assert!(prelu::forward(level, 17, 1, true, &[0.5; 32], &mut good.clone()).is_err());
    assert!(prelu::forward(level, 17, 2, true, &[0.5; 16], &mut good.clone()).is_err());
}

//! Batch norm: statistics, output, gradients, and data that loses digits if summed carelessly.

use crate::common::layout::{group, ungroup};
use crate::common::reference::Column;
use crate::common::threads::{Order, Threads};
use crate::common::values::{ROWS, Rng, Values, sizes};
use crate::common::{Group, Tally, groups, rounds, same};
use evenkeel::Level;
use evenkeel::kernels::batchnorm;
use evenkeel::split::Serial;

/// The cache as the columns it describes: five groups of sixteen for each sixteen features.
fn columns(cache: &[f32]) -> Vec<Column> {
    let column = |index: usize| {
        let part = |part: usize| cache[index / 16 * 80 + part * 16 + index % 16];
        Column { shift: part(0), inv_std: part(1), offset: part(2), mean: part(3), var: part(4) }
    };
    (0..cache.len() / 5).map(column).collect()
}

fn flat(columns: &[Column]) -> Vec<f32> {
    columns.iter().flat_map(|c| [c.shift, c.inv_std, c.offset, c.mean, c.var]).collect()
}

/// One shape at every level: statistics, output, both gradients, running statistics, frozen statistics.
pub(crate) fn check(
    tallies: &mut [Tally; 4],
    groups: &[Group],
    rng: &mut Rng,
    (rows, width): (usize, usize),
    values: Values,
) {
    let [statistics, output, gradients, running] = tallies;
    let eps = rng.pick(&[1e-5, 1e-3, 1e-8]);
    let [x, dy] = [0, 1].map(|_| values.vec(rng, rows * width));
    let [gamma, beta, mean, var] = [0, 1, 2, 3].map(|_| values.vec(rng, width));
    let size = || format!("{values:?} values, {rows} rows of {width}");
    for (reference, levels) in groups {
        let all: Vec<Column> = (0..width).map(|column| reference.statistics(width, column, eps, &x)).collect();
        let expected_parameters: Vec<(f32, f32)> =
            (0..width).map(|column| reference.norm_parameters(all[column], width, column, &x, &dy)).collect();
        let mut expected_y = vec![0.0; x.len()];
        let mut expected_dx = vec![0.0; x.len()];
        for (at, x) in x.iter().enumerate() {
            let c = at % width;
            expected_y[at] = reference.normalize(all[c], gamma[c], beta[c], *x);
            expected_dx[at] = reference.norm_input(all[c], gamma[c], expected_parameters[c], rows, *x, dy[at]);
        }
        let (x, dy) = (group(width, &x), group(width, &dy));
        for level in levels {
            let mut cache = vec![f32::NAN; batchnorm::cache_len(width)];
            batchnorm::statistics(*level, &Serial, rows, eps, &x, &mut cache).expect("the lengths are right");
            statistics.compare(*level, size, &flat(&columns(&cache)), &flat(&all));

            let mut y = vec![f32::NAN; x.len()];
            batchnorm::normalize(*level, &Serial, rows, &cache, &gamma, &beta, &x, &mut y)
                .expect("the lengths are right");
            output.compare(*level, size, &ungroup(width, &y), &expected_y);

            for workers in [1, 3] {
                let split = Threads { workers, order: Order::Reversed, parallel: false };
                let (mut y, mut at_once) = (vec![f32::NAN; x.len()], vec![f32::NAN; cache.len()]);
                batchnorm::forward(*level, &split, rows, eps, &gamma, &beta, &x, &mut y, &mut at_once)
                    .expect("the lengths are right");
                output.compare(*level, || size() + ", at once", &ungroup(width, &y), &expected_y);
                statistics.compare(*level, || size() + ", at once", &flat(&columns(&at_once)), &flat(&all));
            }

            let mut dx = dy.clone();
            let (mut dgamma, mut dbeta) = (vec![f32::NAN; width], vec![f32::NAN; width]);
            batchnorm::backward(*level, &Serial, rows, &cache, &gamma, &x, &mut dx, &mut dgamma, &mut dbeta)
                .expect("the lengths are right");
            let (expected_dgamma, expected_dbeta): (Vec<f32>, Vec<f32>) = expected_parameters.iter().copied().unzip();
            gradients.compare(*level, || size() + ", dgamma", &dgamma, &expected_dgamma);
            gradients.compare(*level, || size() + ", dbeta", &dbeta, &expected_dbeta);
            gradients.compare(*level, || size() + ", dx", &ungroup(width, &dx), &expected_dx);

            let (mut new_mean, mut new_var) = (mean.clone(), var.clone());
            batchnorm::update_running(&cache, rows, 0.1, true, &mut new_mean, &mut new_var)
                .expect("the lengths are right");
            let bessel = rows as f32 / (rows - 1) as f32;
            let keep = 1.0 - 0.1_f32;
            let expected: Vec<f32> = (0..width).map(|c| keep * mean[c] + 0.1 * all[c].mean).collect();
            running.compare(*level, || size() + ", mean", &new_mean, &expected);
            let expected: Vec<f32> = (0..width).map(|c| keep * var[c] + 0.1 * (all[c].var * bessel)).collect();
            running.compare(*level, || size() + ", variance", &new_var, &expected);

            batchnorm::freeze(*level, eps, &mean, &var, &mut cache).expect("the lengths are right");
            let frozen = |c: usize| {
                let inv_std = 1.0 / (var[c] + eps).sqrt();
                Column { shift: mean[c], inv_std, offset: 0.0, mean: mean[c], var: var[c] }
            };
            let expected: Vec<Column> = (0..width).map(frozen).collect();
            running.compare(*level, || size() + ", frozen", &flat(&columns(&cache)), &flat(&expected));

            let mut dx = dy.clone();
            batchnorm::backward_frozen(*level, &Serial, rows, &cache, &gamma, &x, &mut dx, &mut dgamma, &mut dbeta)
                .expect("the lengths are right");
            let (plain_x, plain_dy) = (ungroup(width, &x), ungroup(width, &dy));
            let sums = |c: usize| reference.norm_parameters(frozen(c), width, c, &plain_x, &plain_dy);
            let (expected_dgamma, expected_dbeta): (Vec<f32>, Vec<f32>) = (0..width).map(sums).unzip();
            let through =
                |(at, dy): (usize, &f32)| reference.norm_input_frozen(frozen(at % width), gamma[at % width], *dy);
            let expected_dx: Vec<f32> = plain_dy.iter().enumerate().map(through).collect();
            gradients.compare(*level, || size() + ", frozen dgamma", &dgamma, &expected_dgamma);
            gradients.compare(*level, || size() + ", frozen dbeta", &dbeta, &expected_dbeta);
            gradients.compare(*level, || size() + ", frozen dx", &ungroup(width, &dx), &expected_dx);
        }
    }
}

pub(crate) fn tallies() -> [Tally; 4] {
    ["batch norm: statistics", "batch norm: output", "batch norm: gradients", "batch norm: running statistics"]
        .map(Tally::new)
}

#[test]
fn covering() {
    let (groups, rng, mut tallies) = (groups(), &mut Rng::new(21), tallies());
    for _ in 0..rounds(2) {
        for rows in sizes().chain(ROWS).filter(|rows| *rows > 1) {
            let width = 16 * (1 + rng.below(if rows > 100 { 5 } else { 17 }));
            for values in [Values::Plain, Values::Hard, Values::NonFinite] {
                check(&mut tallies, &groups, rng, (rows, width), values);
            }
        }
    }
    tallies.into_iter().for_each(Tally::finish);
}

/// What the statistics should be, in `f64`.
fn exact(x: &[f32]) -> (f64, f64) {
    let n = x.len() as f64;
    let mean = x.iter().map(|x| f64::from(*x)).sum::<f64>() / n;
    let var = x.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / n;
    (mean, var)
}

/// Relative, but not finer than the grid of subnormals, on which each square and the quotient are rounded; two
/// infinities agree.
fn relative(found: f32, exact: f64) -> f64 {
    let grid = 2.0_f64.powi(-149);
    if same(found, exact as f32) {
        return 0.0;
    }
    ((f64::from(found) - exact).abs() - 2.0 * grid).max(0.0) / exact.abs().max(grid)
}

#[test]
fn hard_data() {
    let rng = &mut Rng::new(22);
    // Twelve uniform numbers make a normal one, nearly.
    let mut normal = || (0..12).map(|_| f64::from(rng.unit())).sum::<f64>() / 2.0;
    let mut largest = (0.0, 0.0);
    for rows in [2, 3, 100, 256, 1000, 5000] {
        let data: [(&str, Vec<f32>); 10] = [
            ("constant 1e6", vec![1e6; rows]),
            ("constant 0.1", vec![0.1; rows]),
            ("constant zero", vec![0.0; rows]),
            ("mean 1e6, deviation 1", (0..rows).map(|_| (1e6 + normal()) as f32).collect()),
            ("mean 1e6, deviation 1, rising", (0..rows).map(|r| (1e6 + r as f64 / rows as f64) as f32).collect()),
            ("mean 3, deviation 1e-3", (0..rows).map(|_| (3.0 + 1e-3 * normal()) as f32).collect()),
            ("outlier 1e30", (0..rows).map(|r| if r == 1 { 1e30 } else { normal() as f32 }).collect()),
            ("outlier 1e15", (0..rows).map(|r| if r == 1 { 1e15 } else { normal() as f32 }).collect()),
            ("subnormals", (0..rows).map(|_| f32::from_bits(rng_bits(normal()))).collect()),
            ("smallest normals", (0..rows).map(|_| ((1.0 + 0.1 * normal()) * 1e-37) as f32).collect()),
        ];
        // One group: the same as plain rows of sixteen.
        let mut x = vec![0.0; rows * 16];
        for (row, x) in x.chunks_exact_mut(16).enumerate() {
            for (value, column) in x.iter_mut().zip(&data) {
                *value = column.1[row];
            }
        }
        for level in Level::available() {
            let mut cache = vec![f32::NAN; batchnorm::cache_len(16)];
            batchnorm::statistics(level, &Serial, rows, 1e-5, &x, &mut cache).expect("the lengths are right");
            let mut y = vec![f32::NAN; x.len()];
            batchnorm::normalize(level, &Serial, rows, &cache, &[1.0; 16], &[0.0; 16], &x, &mut y)
                .expect("the lengths are right");
            let mut dx = vec![0.5; x.len()];
            let (mut dgamma, mut dbeta) = ([0.0; 16], [0.0; 16]);
            batchnorm::backward(level, &Serial, rows, &cache, &[1.0; 16], &x, &mut dx, &mut dgamma, &mut dbeta)
                .expect("the lengths are right");
            assert!(
                ![&cache, &y, &dx, &dgamma.to_vec()].iter().any(|v| v.iter().any(|v| v.is_nan())),
                "NaN at {level}"
            );
            for (found, (name, column)) in columns(&cache).iter().zip(&data) {
                let (mean, var) = exact(column);
                let mean_error = relative(found.mean, mean);
                // A constant column has no variance to be relative to: its rounding error is measured by the mean's.
                let var_error = if var == 0.0 {
                    f64::from(found.var) / (mean * mean).max(1e-300)
                } else {
                    relative(found.var, var)
                };
                largest = (mean_error.max(largest.0), var_error.max(largest.1));
                assert!(
                    mean_error <= 1e-5 && var_error <= 1e-5,
                    "{level}, {rows} rows, {name}: {found:?}, not {mean}, {var}"
                );
            }
        }
    }
    println!("hard columns: relative error of the mean at most {:.1e}, of the variance {:.1e}", largest.0, largest.1);
}

/// The bits of a positive subnormal or zero, spread like `normal`.
fn rng_bits(normal: f64) -> u32 {
    ((normal * 1e6) as i64).unsigned_abs() as u32 & 0x007f_ffff
}

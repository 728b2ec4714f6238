//! Penalties and constraints against one weight at a time, by bits.

use crate::common::reference::{Reference, pack, place};
use crate::common::threads::ways;
use crate::common::values::{Rng, Values};
use crate::common::{Tally, groups, rounds};
use evenkeel::split::Serial;
use evenkeel::train::Constraint;
use evenkeel::train::penalty::{add_l1, constrain};

#[test]
fn l1_equals_one_gradient_at_a_time() {
    let rng = &mut Rng::new(41);
    let mut tally = Tally::new("L1 penalty");
    for len in [0, 16, 48, 16 * 1024, 16 * 1025] {
        let mut params = Values::Hard.vec(rng, len);
        for (at, value) in [0.0, -0.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY].into_iter().enumerate() {
            if at < len {
                params[at] = value;
            }
        }
        let gradients = Values::Hard.vec(rng, len);
        let (scale, l1) = (rng.pick(&[1.0, 0.3]), rng.pick(&[0.01, 1e-30, 7.5]));
        for (reference, levels) in groups() {
            let one = |(p, g): (&f32, &f32)| {
                let sign = if *p > 0.0 {
                    1.0
                } else if *p < 0.0 {
                    -1.0
                } else {
                    0.0
                };
                reference.fma(sign, l1, g * scale)
            };
            let expected: Vec<f32> = params.iter().zip(&gradients).map(one).collect();
            for level in levels {
                let mut found = gradients.clone();
                add_l1(level, &Serial, (scale, l1), &params, &mut found).unwrap();
                tally.compare(level, || format!("{len} values"), &found, &expected);
                assert!(len == 0 || add_l1(level, &Serial, (scale, l1), &params, &mut found[1..]).is_err());
            }
        }
    }
    tally.finish();
}

/// The factor of a unit, from the formulae of Keras' constraints without its epsilon.
fn factor(constraint: Constraint, norm: f64) -> f32 {
    let wanted = match constraint {
        Constraint::MaxNorm(limit) => norm.min(f64::from(limit)),
        Constraint::UnitNorm => 1.0,
        Constraint::MinMaxNorm { min, max, rate } => {
            let inside = norm.clamp(f64::from(min), f64::from(max));
            if inside == norm { norm } else { norm + f64::from(rate) * (inside - norm) }
        }
        _ => norm,
    };
    if norm == 0.0 || !norm.is_finite() { 1.0 } else { (wanted / norm) as f32 }
}

/// A unit's sum of squares: chains of 256 inputs, added.
fn squares(r: Reference, row: &[f32]) -> f32 {
    let mut total = None;
    for block in row.chunks(256) {
        let chain = block.iter().fold(0.0, |acc, w| r.fma(*w, *w, acc));
        total = Some(total.map_or(chain, |total: f32| total + chain));
    }
    total.unwrap_or(0.0)
}

fn constraints() -> [Constraint; 6] {
    [
        Constraint::MaxNorm(1.5),
        Constraint::NonNegative,
        Constraint::UnitNorm,
        Constraint::MinMaxNorm { min: 0.5, max: 2.0, rate: 1.0 },
        Constraint::MinMaxNorm { min: 3.0, max: 3.0, rate: 0.25 },
        Constraint::None,
    ]
}

#[test]
fn constraints_equal_one_unit_at_a_time() {
    let rng = &mut Rng::new(42);
    let mut tally = Tally::new("constraints");
    let mut shapes = vec![(1, 1), (3, 4), (16, 16), (255, 17), (256, 5), (257, 40), (700, 33), (5, 300)];
    shapes.extend((0..rounds(40)).map(|_| (1 + rng.below(600), 1 + rng.below(70))));
    for shape @ (inputs, outputs) in shapes {
        let mut matrix = Values::Plain.vec(rng, inputs * outputs);
        let size = rng.pick(&[1.0, 0.01, 30.0]);
        matrix.iter_mut().for_each(|w| *w *= size);
        // A unit of zeros, and one that is nearly beyond a single.
        matrix[..inputs].fill(if outputs > 2 { 0.0 } else { -0.25 });
        if outputs > 3 {
            matrix[inputs..2 * inputs].fill(3e19);
        }
        let weights = pack(shape, &matrix);
        for constraint in constraints() {
            for (reference, levels) in groups() {
                let mut expected = weights.clone();
                for (output, row) in matrix.chunks(inputs).enumerate() {
                    let norm = f64::from(squares(reference, row)).sqrt();
                    for (input, w) in row.iter().enumerate() {
                        expected[place(shape, output, input)] = match constraint {
                            Constraint::NonNegative => {
                                if *w < 0.0 {
                                    0.0
                                } else {
                                    *w
                                }
                            }
                            _ => w * factor(constraint, norm),
                        };
                    }
                }
                for level in levels {
                    let mut found = weights.clone();
                    constrain(level, &Serial, constraint, shape, &mut found).unwrap();
                    tally.compare(level, || format!("{constraint:?} on {inputs} by {outputs}"), &found, &expected);
                }
            }
            let level = evenkeel::Level::detect();
            let mut serial = weights.clone();
            constrain(level, &Serial, constraint, shape, &mut serial).unwrap();
            for way in ways().into_iter().filter(|way| way.workers % 3 == 2) {
                let mut found = weights.clone();
                constrain(level, &way, constraint, shape, &mut found).unwrap();
                assert!(found.iter().zip(&serial).all(|(a, b)| a.to_bits() == b.to_bits()), "{constraint:?}, {way:?}");
            }
            let mut short = weights[1..].to_vec();
            assert!(constrain(level, &Serial, constraint, shape, &mut short).is_err());
        }
    }
    tally.finish();
}

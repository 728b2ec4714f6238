//! Sums over a whole slice.

use super::{BLOCK, softmax::fold_sum};
use crate::Level;
use crate::simd::{LANES, Simd, level::kernel};

/// Euclidean norm of `x`, whose length is a multiple of sixteen. Not finite only if a value is not.
///
/// Chains of 256 groups in sixteen lanes, folded in the fixed tree and added up in `f64`.
#[must_use]
pub fn norm(level: Level, x: &[f32]) -> f64 {
    let squares = sum_of_squares(level, x);
    if squares.is_finite() || x.iter().any(|value| !value.is_finite()) {
        return libm::sqrt(squares);
    }
    // Finite values whose squares overflow an f32.
    libm::sqrt(x.iter().map(|value| f64::from(*value) * f64::from(*value)).sum())
}

kernel! { fn sum_of_squares(x: &[f32]) -> f64 = sum_of_squares_body; }

#[inline(always)]
fn sum_of_squares_body<S: Simd>(s: S, x: &[f32]) -> f64 {
    let mut total = 0.0;
    for groups in x.as_chunks::<LANES>().0.chunks(BLOCK) {
        let mut acc = s.splat(0.0);
        for group in groups {
            let value = s.load(group);
            acc = s.mul_add(value, value, acc);
        }
        total += f64::from(fold_sum(s, acc));
    }
    total
}

//! Sums over a whole slice.

use super::{BLOCK, softmax::fold_sum};
use crate::Level;
use crate::simd::{LANES, Simd, level::kernel};

/// Euclidean norm of `x`. Not finite only if a value is not.
///
/// Chains of 256 groups in sixteen lanes, folded in the fixed tree and added up in `f64`.
#[must_use]
pub fn norm(level: Level, x: &[f32]) -> f64 {
    norm_from(sum_of_squares(level, x), x)
}

/// The norm of `x` from the sum of its squares, which may have overflowed an `f32` though the values are finite.
pub(crate) fn norm_from(squares: f64, x: &[f32]) -> f64 {
    if squares.is_finite() || x.iter().any(|value| !value.is_finite()) {
        return libm::sqrt(squares);
    }
    libm::sqrt(x.iter().map(|value| f64::from(*value) * f64::from(*value)).sum())
}

kernel! { pub(crate) fn sum_of_squares(x: &[f32]) -> f64 = sum_of_squares_body; }

#[inline(always)]
fn sum_of_squares_body<S: Simd>(s: S, x: &[f32]) -> f64 {
    let (groups, ragged) = x.as_chunks::<LANES>();
    let (chains, rest) = groups.as_chunks::<BLOCK>();
    // Four chains side by side: each addition waits for the one before it.
    let (four, single) = chains.as_chunks::<4>();
    let mut total = 0.0;
    for chains in four {
        let mut acc = [s.splat(0.0); 4];
        for g in 0..BLOCK {
            for c in 0..4 {
                let value = s.load(&chains[c][g]);
                acc[c] = s.mul_add(value, value, acc[c]);
            }
        }
        for acc in acc {
            total += f64::from(fold_sum(s, acc));
        }
    }
    for groups in single.iter().map(|chain| &chain[..]).chain([rest]) {
        let mut acc = s.splat(0.0);
        for group in groups {
            let value = s.load(group);
            acc = s.mul_add(value, value, acc);
        }
        if groups.len() < BLOCK && !ragged.is_empty() {
            // The last chain takes what is no whole group with it.
            let mut group = [0.0; LANES];
            group[..ragged.len()].copy_from_slice(ragged);
            let value = s.load(&group);
            acc = s.mul_add(value, value, acc);
        }
        total += f64::from(fold_sum(s, acc));
    }
    total
}

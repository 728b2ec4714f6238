//! A single row where a vector is sixteen values in memory: panel after panel, the inner loop the level's own.
//!
//! Sums grow where the outputs will be. Written to be small, in code and on the stack, and without a path to a panic:
//! what is not there (a checked layer has it all) is left out.

use super::super::{BLOCK, panels};
use super::{Dense, Last, Weight};
use crate::simd::{Group, LANES, Simd};

/// One row times the panels from `first` on, as many as `y` has groups.
#[inline(always)]
pub(super) fn one_row<S: Simd, W: Weight>(
    s: S,
    dense: Dense<'_, W>,
    then: Last,
    first: usize,
    x: &[f32],
    y: &mut [Group],
) {
    let lanes = panels::lanes(dense.outputs);
    let bias = dense.bias.unwrap_or_default().as_chunks().0;
    for (panel, y) in (first..).zip(y) {
        let before = lanes.min(panel * LANES);
        let width = LANES.min(lanes - before);
        let weights = dense.weights.get(before * dense.inputs..).unwrap_or_default();
        *y = [0.0; LANES];
        // The first block is the total: adding it to +0.0 would lose the sign of a -0.0.
        // Not chunks of the weights, which would divide by a width that the compiler takes for 0 and link a panic.
        let mut rest = weights;
        let mut blocks = x.chunks(BLOCK).map(|x| {
            let (now, later) = rest.split_at_checked(BLOCK * width).unwrap_or((rest, &[]));
            rest = later;
            (x, now)
        });
        if let Some((x, weights)) = blocks.next() {
            W::dot_lanes(s, width, x, weights, y);
        }
        for (x, weights) in blocks {
            let mut block = [0.0; LANES];
            W::dot_lanes(s, width, x, weights, &mut block);
            add(y, &block);
        }
        if let Some(bias) = bias.get(panel) {
            add(y, bias);
        }
        if then == Last::Relu {
            y.iter_mut().filter(|y| **y < 0.0).for_each(|y| *y = 0.0);
        }
        // The lanes that a narrow panel has not.
        y.iter_mut().skip(width).for_each(|y| *y = 0.0);
    }
}

#[inline(always)]
fn add(y: &mut Group, other: &Group) {
    y.iter_mut().zip(other).for_each(|(y, other)| *y += *other);
}

//! Losses of a whole row of outputs with a whole row of targets: distributions, and directions.

use super::classes::log_of;
use super::standard::{best, best_of};
use crate::kernels::math;
use crate::kernels::softmax::{fold_sum, groups_of_row, groups_of_row_mut, masked, max_and_sum};
use crate::simd::{Group, LANES, Simd, level::kernel};

/// Up to sixteen targets as a vector.
#[inline(always)]
fn load<S: Simd>(s: S, values: &[f32]) -> S::F32 {
    let mut target: Group = [0.0; LANES];
    target[..values.len()].copy_from_slice(values);
    s.load(&target)
}

kernel! {
    /// Cross-entropy between targets and the softmax of the outputs; less the targets' own entropy if `divergence`.
    pub(super) fn distributions(
        smoothing: f32, divergence: bool, cols: usize, batch: usize, outputs: &[f32], values: &[f32],
        delta: &mut [f32], losses: &mut [f32],
    ) = distributions_body;
}

#[inline(always)]
fn distributions_body<S: Simd>(
    s: S,
    smoothing: f32,
    divergence: bool,
    cols: usize,
    batch: usize,
    outputs: &[f32],
    values: &[f32],
    delta: &mut [f32],
    losses: &mut [f32],
) {
    let rows = losses.len() / 2;
    let share = s.splat(1.0 / batch as f32);
    let (zero, keep, each) = (s.splat(0.0), s.splat(1.0 - smoothing), s.splat(smoothing / cols as f32));
    let (outputs, delta) = (outputs.as_chunks::<LANES>().0, delta.as_chunks_mut::<LANES>().0);
    for (row, (values, losses)) in values.chunks_exact(cols).zip(losses.chunks_exact_mut(2)).enumerate() {
        let logits = || groups_of_row(outputs, rows, row);
        let (max, sum) = max_and_sum(s, logits(), cols);
        let log_sum = s.splat(log_of(s, sum));
        let (mut loss, mut mass) = (zero, zero);
        for (g, ((logits, delta), values)) in
            logits().zip(groups_of_row_mut(delta, rows, row)).zip(values.chunks(LANES)).enumerate()
        {
            let distance = s.sub(s.load(logits), s.splat(max));
            let t = masked(s, s.add(s.mul(load(s, values), keep), each), g, cols, 0.0);
            let mut cost = s.sub(log_sum, distance);
            if divergence {
                cost = s.add(cost, math::log(s, t));
            }
            // A target of 0 costs nothing, whatever the logarithms are.
            let term = s.select(s.lt(zero, t), s.mul(t, cost), zero);
            (loss, mass) = (s.add(loss, masked(s, term, g, cols, 0.0)), s.add(mass, t));
            s.store(t, delta);
        }
        losses[0] = fold_sum(s, loss);
        losses[1] = if best_of(logits().flatten().take(cols).copied()) == best(values) { 1.0 } else { 0.0 };
        let mass = s.splat(fold_sum(s, mass));
        for (g, (logits, delta)) in logits().zip(groups_of_row_mut(delta, rows, row)).enumerate() {
            let probability = s.div(math::exp(s, s.sub(s.load(logits), s.splat(max))), s.splat(sum));
            let slope = s.sub(s.mul(probability, mass), s.load(delta));
            s.store(masked(s, s.mul(slope, share), g, cols, 0.0), delta);
        }
    }
}

/// Squared lengths below this count as this, as in Keras and in PyTorch's loss.
const SHORTEST: f32 = 1e-12;

kernel! {
    /// `offset - cos(outputs, targets)`
    pub(super) fn cosine(
        offset: f32, cols: usize, batch: usize, outputs: &[f32], values: &[f32], delta: &mut [f32], losses: &mut [f32],
    ) = cosine_body;
}

#[inline(always)]
fn cosine_body<S: Simd>(
    s: S,
    offset: f32,
    cols: usize,
    batch: usize,
    outputs: &[f32],
    values: &[f32],
    delta: &mut [f32],
    losses: &mut [f32],
) {
    let rows = losses.len() / 2;
    let share = 1.0 / batch as f32;
    let (outputs, delta) = (outputs.as_chunks::<LANES>().0, delta.as_chunks_mut::<LANES>().0);
    for (row, (values, losses)) in values.chunks_exact(cols).zip(losses.chunks_exact_mut(2)).enumerate() {
        let pairs = || groups_of_row(outputs, rows, row).zip(values.chunks(LANES));
        let mut sums = [s.splat(0.0); 3];
        for (g, (z, values)) in pairs().enumerate() {
            let (z, t) = (masked(s, s.load(z), g, cols, 0.0), load(s, values));
            sums = [s.mul_add(z, t, sums[0]), s.mul_add(z, z, sums[1]), s.mul_add(t, t, sums[2])];
        }
        let [product, own, other] = sums.map(|sum| fold_sum(s, sum));
        // Roots of each: their product could overflow where the lengths do not.
        let [own, other] = [own, other].map(|square| if square < SHORTEST { SHORTEST } else { square });
        let mut roots: Group = [0.0; LANES];
        (roots[0], roots[1]) = (own, other);
        let lengths = s.sqrt(s.load(&roots));
        s.store(lengths, &mut roots);
        let inverse = 1.0 / (roots[0] * roots[1]);
        let cosine = product * inverse;
        losses[0] = offset - cosine;
        losses[1] = 0.0;
        // A length that is held at the shortest does not change with the outputs.
        let back = if own == SHORTEST { 0.0 } else { cosine / own };
        let (along, back) = (s.splat(-inverse * share), s.splat(back * share));
        for (g, ((z, values), delta)) in pairs().zip(groups_of_row_mut(delta, rows, row)).enumerate() {
            let slope = s.mul_add(load(s, values), along, s.mul(s.load(z), back));
            s.store(masked(s, slope, g, cols, 0.0), delta);
        }
    }
}

//! The three losses most networks train with, each a kernel of its own: cross-entropy, and squared error and binary
//! cross-entropy over outputs.

use crate::kernels::math;
use crate::kernels::softmax::{fold_sum, groups_of_row, groups_of_row_mut, masked, max_and_sum};
use crate::simd::{Group, LANES, Simd, level::kernel};

kernel! {
    pub(super) fn cross_entropy(
        cols: usize, batch: usize, outputs: &[f32], labels: &[u32], delta: &mut [f32], losses: &mut [f32],
    ) = cross_entropy_body;
}

#[inline(always)]
fn cross_entropy_body<S: Simd>(
    s: S,
    cols: usize,
    batch: usize,
    outputs: &[f32],
    labels: &[u32],
    delta: &mut [f32],
    losses: &mut [f32],
) {
    let rows = labels.len();
    let share = s.splat(1.0 / batch as f32);
    let (outputs, delta) = (outputs.as_chunks::<LANES>().0, delta.as_chunks_mut::<LANES>().0);
    for (row, (label, losses)) in labels.iter().zip(losses.chunks_exact_mut(2)).enumerate() {
        let label = *label as usize;
        let logits = || groups_of_row(outputs, rows, row);
        let (max, sum) = max_and_sum(s, logits(), cols);
        // -log softmax, subtracted in two steps: `max + log sum` would round away a small log.
        let mut log_sum: Group = [0.0; LANES];
        s.store(math::log(s, s.splat(sum)), &mut log_sum);
        let (place, lane) = (label / LANES * rows + row, label % LANES);
        losses[0] = log_sum[0] - (outputs[place][lane] - max);
        losses[1] = if best_of(logits().flatten().take(cols).copied()) == label { 1.0 } else { 0.0 };
        for (g, (logits, delta)) in logits().zip(groups_of_row_mut(delta, rows, row)).enumerate() {
            let probability = s.div(math::exp(s, s.sub(s.load(logits), s.splat(max))), s.splat(sum));
            s.store(masked(s, probability, g, cols, 0.0), delta);
        }
        delta[place][lane] -= 1.0;
        for delta in groups_of_row_mut(delta, rows, row) {
            s.store(s.mul(s.load(delta), share), delta);
        }
    }
}

/// Index of the largest value, the first of equals; 0 if all are NaN.
#[must_use]
pub fn best(row: &[f32]) -> usize {
    best_of(row.iter().copied())
}

pub(super) fn best_of(row: impl Iterator<Item = f32>) -> usize {
    let (mut at, mut largest) = (0, f32::NAN);
    for (index, value) in row.enumerate() {
        if value > largest || (largest.is_nan() && !value.is_nan()) {
            (at, largest) = (index, value);
        }
    }
    at
}

kernel! {
    pub(super) fn elementwise(
        binary: bool, cols: usize, batch: usize, outputs: &[f32], values: &[f32], delta: &mut [f32],
        losses: &mut [f32],
    ) = elementwise_body;
}

/// The losses that are a mean over outputs: squared error, and binary cross-entropy if `binary`.
#[inline(always)]
fn elementwise_body<S: Simd>(
    s: S,
    binary: bool,
    cols: usize,
    batch: usize,
    outputs: &[f32],
    values: &[f32],
    delta: &mut [f32],
    losses: &mut [f32],
) {
    let rows = losses.len() / 2;
    let share = s.splat(1.0 / (batch as f32 * cols as f32));
    let zero = s.splat(0.0);
    let (outputs, delta) = (outputs.as_chunks::<LANES>().0, delta.as_chunks_mut::<LANES>().0);
    for (row, (values, losses)) in values.chunks_exact(cols).zip(losses.chunks_exact_mut(2)).enumerate() {
        let mut sum = zero;
        let mut hits = 0.0;
        let groups = groups_of_row(outputs, rows, row).zip(groups_of_row_mut(delta, rows, row));
        for (g, ((output, delta), values)) in groups.zip(values.chunks(LANES)).enumerate() {
            let mut target: Group = [0.0; LANES];
            target[..values.len()].copy_from_slice(values);
            let (z, t) = (s.load(output), s.load(&target));
            let (term, slope) = if binary {
                // max(z, 0) - z t + log(1 + exp(-|z|)): no overflow for any z.
                let term = s.add(s.sub(s.max(z, zero), s.mul(z, t)), math::log1p_exp_neg(s, z));
                hits += output.iter().zip(values).filter(|(z, t)| (**z > 0.0) == (**t > 0.5)).count() as f32;
                (term, s.sub(math::sigmoid(s, z), t))
            } else {
                let difference = s.sub(z, t);
                (s.mul(difference, difference), s.add(difference, difference))
            };
            sum = s.add(sum, masked(s, term, g, cols, 0.0));
            s.store(masked(s, s.mul(slope, share), g, cols, 0.0), delta);
        }
        losses[0] = fold_sum(s, sum) / cols as f32;
        losses[1] = hits / cols as f32;
    }
}

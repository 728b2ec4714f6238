//! Losses of a whole row of outputs with one class as target, or with two that are mixed.
//!
//! A loss adds its gradient to the row's ([`ClassTerm`]), so that a row of two classes is the loss of the one and the loss
//! of the other, each with its share. The kernel around it is written once. Sums across a row: numeric contract, 5.

use super::standard::best_of;
use crate::kernels::math;
use crate::kernels::softmax::{fold_sum, groups_of_row, groups_of_row_mut, masked, max_and_sum};
use crate::simd::{Group, LANES, Simd, level::kernel};

/// The outputs of one row.
#[derive(Clone, Copy)]
pub(super) struct Row<'a> {
    outputs: &'a [Group],
    rows: usize,
    row: usize,
    cols: usize,
}

impl<'a> Row<'a> {
    #[inline(always)]
    fn groups(&self) -> impl Iterator<Item = &'a Group> + Clone + use<'a> {
        groups_of_row(self.outputs, self.rows, self.row)
    }

    #[inline(always)]
    fn gradient<'d>(&self, delta: &'d mut [Group]) -> impl Iterator<Item = &'d mut Group> + use<'d> {
        groups_of_row_mut(delta, self.rows, self.row)
    }

    /// Where an output stands.
    #[inline(always)]
    fn place(&self, col: usize) -> (usize, usize) {
        (col / LANES * self.rows + self.row, col % LANES)
    }

    #[inline(always)]
    fn output(&self, col: usize) -> f32 {
        let (place, lane) = self.place(col);
        self.outputs[place][lane]
    }
}

/// The loss of a row.
pub(super) trait ClassTerm: Copy {
    /// The loss of class `label`; adds `share` times its gradient to the row's.
    fn add<S: Simd>(self, s: S, row: Row<'_>, label: usize, share: f32, delta: &mut [Group]) -> f32;
}

kernel! {
    /// `others` are the second classes, which have `1 - share` of the loss; without them, `share` is 1.
    pub(super) fn by_class<L: ClassTerm>(
        term: L, cols: usize, batch: usize, outputs: &[f32], labels: &[u32], others: Option<&[u32]>, share: f32,
        delta: &mut [f32], losses: &mut [f32],
    ) = by_class_body;
}

#[inline(always)]
fn by_class_body<S: Simd, L: ClassTerm>(
    s: S,
    term: L,
    cols: usize,
    batch: usize,
    outputs: &[f32],
    labels: &[u32],
    others: Option<&[u32]>,
    share: f32,
    delta: &mut [f32],
    losses: &mut [f32],
) {
    let rows = labels.len();
    let whole = 1.0 / batch as f32;
    let (outputs, delta) = (outputs.as_chunks::<LANES>().0, delta.as_chunks_mut::<LANES>().0);
    for (index, losses) in losses.chunks_exact_mut(2).enumerate() {
        let row = Row { outputs, rows, row: index, cols };
        row.gradient(delta).for_each(|delta| *delta = [0.0; LANES]);
        let guess = best_of(row.groups().flatten().take(cols).copied());
        let hit = |label: usize| if guess == label { 1.0 } else { 0.0 };
        let label = labels[index] as usize;
        match others {
            None => {
                losses[0] = term.add(s, row, label, whole, delta);
                losses[1] = hit(label);
            }
            Some(others) => {
                let (other, rest) = (others[index] as usize, 1.0 - share);
                let first = term.add(s, row, label, share * whole, delta);
                let second = term.add(s, row, other, rest * whole, delta);
                losses[0] = share * first + rest * second;
                losses[1] = share * hit(label) + rest * hit(other);
            }
        }
    }
}

/// Cross-entropy with `smoothing` of the target spread over all classes.
#[derive(Clone, Copy)]
pub(super) struct Smoothed {
    pub(super) smoothing: f32,
}

/// `log x` of a number.
#[inline(always)]
pub(super) fn log_of<S: Simd>(s: S, x: f32) -> f32 {
    let mut lanes: Group = [0.0; LANES];
    s.store(math::log(s, s.splat(x)), &mut lanes);
    lanes[0]
}

impl ClassTerm for Smoothed {
    #[inline(always)]
    fn add<S: Simd>(self, s: S, row: Row<'_>, label: usize, share: f32, delta: &mut [Group]) -> f32 {
        let (max, sum) = max_and_sum(s, row.groups(), row.cols);
        let log_sum = log_of(s, sum);
        let keep = 1.0 - self.smoothing;
        let mut value = keep * (log_sum - (row.output(label) - max));
        let mut each = 0.0;
        if self.smoothing > 0.0 {
            let mut distances = s.splat(0.0);
            for (g, logits) in row.groups().enumerate() {
                distances = s.add(distances, masked(s, s.sub(s.load(logits), s.splat(max)), g, row.cols, 0.0));
            }
            value += self.smoothing * (log_sum - fold_sum(s, distances) / row.cols as f32);
            each = self.smoothing / row.cols as f32;
        }
        for (g, (logits, delta)) in row.groups().zip(row.gradient(delta)).enumerate() {
            let probability = s.div(math::exp(s, s.sub(s.load(logits), s.splat(max))), s.splat(sum));
            let slope = masked(s, s.sub(probability, s.splat(each)), g, row.cols, 0.0);
            s.store(s.mul_add(slope, s.splat(share), s.load(delta)), delta);
        }
        let (place, lane) = row.place(label);
        delta[place][lane] -= keep * share;
        value
    }
}

/// Cross-entropy times `alpha (1 - p)^gamma`.
#[derive(Clone, Copy)]
pub(super) struct Focal {
    pub(super) gamma: f32,
    pub(super) alpha: f32,
}

impl ClassTerm for Focal {
    #[inline(always)]
    fn add<S: Simd>(self, s: S, row: Row<'_>, label: usize, share: f32, delta: &mut [Group]) -> f32 {
        let (max, sum) = max_and_sum(s, row.groups(), row.cols);
        let log_p = (row.output(label) - max) - log_of(s, sum);
        // The others' share of the sum: 1 minus the rounded p would have no digits left of a small rest.
        let mut others = s.splat(0.0);
        for (g, logits) in row.groups().enumerate() {
            let power = math::exp(s, s.sub(s.load(logits), s.splat(max)));
            others = s.add(others, except(s, masked(s, power, g, row.cols, 0.0), g, label));
        }
        let (log_p, gamma) = (f64::from(log_p), f64::from(self.gamma));
        let rest = (f64::from(fold_sum(s, others)) / f64::from(sum)).min(1.0);
        let weight = f64::from(self.alpha) * libm::pow(rest, gamma);
        // d/d(log p) of -(1 - p)^gamma log p, in which (log p) / (1 - p) tends to -1.
        let ratio = if rest > 0.0 { log_p / rest } else { -1.0 };
        let slope = (weight * (1.0 - gamma * (1.0 - rest) * ratio)) as f32 * share;
        for (g, (logits, delta)) in row.groups().zip(row.gradient(delta)).enumerate() {
            let probability = s.div(math::exp(s, s.sub(s.load(logits), s.splat(max))), s.splat(sum));
            s.store(s.mul_add(masked(s, probability, g, row.cols, 0.0), s.splat(slope), s.load(delta)), delta);
        }
        let (place, lane) = row.place(label);
        delta[place][lane] -= slope;
        (-weight * log_p) as f32
    }
}

/// The lanes of group `g`, 0 in that of output `col`.
#[inline(always)]
fn except<S: Simd>(s: S, v: S::F32, g: usize, col: usize) -> S::F32 {
    if g != col / LANES {
        return v;
    }
    let mut lanes: Group = [0.0; LANES];
    s.store(v, &mut lanes);
    lanes[col % LANES] = 0.0;
    s.load(&lanes)
}

/// `Σ max(margin - z[label] + z[i], 0)^p / outputs` over the other outputs; `p` is 1, or 2 if `SQUARED`.
#[derive(Clone, Copy)]
pub(super) struct MultiMargin<const SQUARED: bool> {
    pub(super) margin: f32,
}

impl<const SQUARED: bool> ClassTerm for MultiMargin<SQUARED> {
    #[inline(always)]
    fn add<S: Simd>(self, s: S, row: Row<'_>, label: usize, share: f32, delta: &mut [Group]) -> f32 {
        let zero = s.splat(0.0);
        let (own, each) = (s.splat(row.output(label)), s.splat(share / row.cols as f32));
        let (mut sum, mut slopes) = (zero, zero);
        for (g, (z, delta)) in row.groups().zip(row.gradient(delta)).enumerate() {
            let over = s.add(s.sub(s.splat(self.margin), own), s.load(z));
            let over = except(s, masked(s, s.max(over, zero), g, row.cols, 0.0), g, label);
            let (term, slope) = if SQUARED {
                (s.mul(over, over), s.add(over, over))
            } else {
                (over, s.select(s.lt(zero, over), s.splat(1.0), zero))
            };
            (sum, slopes) = (s.add(sum, term), s.add(slopes, slope));
            s.store(s.mul_add(slope, each, s.load(delta)), delta);
        }
        let (place, lane) = row.place(label);
        delta[place][lane] -= fold_sum(s, slopes) * (share / row.cols as f32);
        fold_sum(s, sum) / row.cols as f32
    }
}

/// `max(1 - z[label] + max(0, largest other), 0)`
#[derive(Clone, Copy)]
pub(super) struct CategoricalHinge;

impl ClassTerm for CategoricalHinge {
    #[inline(always)]
    fn add<S: Simd>(self, _: S, row: Row<'_>, label: usize, share: f32, delta: &mut [Group]) -> f32 {
        let (mut rival, mut largest) = (label, 0.0);
        for (col, value) in row.groups().flatten().take(row.cols).enumerate() {
            // A NaN wins, so that it shows in the loss.
            if col != label && (*value > largest || value.is_nan()) {
                (rival, largest) = (col, *value);
            }
        }
        let value = (largest - row.output(label)) + 1.0;
        if value <= 0.0 {
            return 0.0;
        }
        let (place, lane) = row.place(label);
        delta[place][lane] -= share;
        if rival != label {
            let (place, lane) = row.place(rival);
            delta[place][lane] += share;
        }
        value
    }
}

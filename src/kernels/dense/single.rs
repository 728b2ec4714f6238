//! A single row: the weights are read once, so several panels or blocks are summed at once to keep loads in flight.

use super::super::{BLOCK, panels, part};
use super::{Dense, Last, Weight, little};
use crate::simd::{LANES, Simd, level::kernel};

kernel! {
    /// One row times the panels from `first` on, as many as `y` has groups.
    pub(crate) fn one_row<W: Weight>(
        dense: Dense<'_, W>, then: Last, first: usize, x: &[f32], y: &mut [f32],
    ) = one_row_body
}

#[inline(always)]
fn one_row_body<S: Simd, W: Weight>(s: S, dense: Dense<'_, W>, then: Last, first: usize, x: &[f32], y: &mut [f32]) {
    let (y, _) = y.as_chunks_mut::<LANES>();
    if S::REGISTERS == 1 {
        return little::one_row(s, dense, then, first, x, y);
    }
    let (groups, _) = dense.weights.as_chunks::<LANES>();
    let bias = dense.bias.map(|bias| bias.as_chunks::<LANES>().0);
    let finish = |sum: S::F32, panel: usize| {
        let sum = match bias.and_then(|bias| bias.get(panel)) {
            Some(bias) => s.add(sum, s.load(bias)),
            None => sum,
        };
        if then == Last::Relu { s.max(sum, s.splat(0.0)) } else { sum }
    };
    let full = dense.full_panels().saturating_sub(first).min(y.len());
    let mut done = 0;
    // As many chains as hide the latency of an addition: panels first, as they share what is loaded of the row.
    macro_rules! at_once {
        ($panels:literal, $($blocks:literal)*) => {
            while done + $panels <= full {
                let weights: [&[[W; LANES]]; $panels] =
                    core::array::from_fn(|p| part(groups, (first + done + p) * dense.inputs, dense.inputs));
                let mut sums = Sums { total: [s.splat(0.0); $panels], rest: x, at: 0 };
                $(while sums.blocks::<W, $blocks>(s, &weights) {})*
                sums.last(s, &weights);
                for p in 0..$panels {
                    if let Some(y) = y.get_mut(done + p) {
                        s.store(finish(sums.total[p], first + done + p), y);
                    }
                }
                done += $panels;
            }
        };
    }
    if S::REGISTERS >= 32 {
        at_once!(8, 1);
        at_once!(6, 1);
        at_once!(4, 1);
        at_once!(3, 2 1);
        at_once!(2, 4 3 2 1);
        at_once!(1, 4 3 2 1);
    } else if S::REGISTERS >= 8 {
        at_once!(4, 1);
        at_once!(2, 2 1);
        at_once!(1, 4 2 1);
    } else {
        at_once!(1, 1);
    }
    for (p, y) in y.iter_mut().enumerate().skip(done) {
        let width = panels::panel_width(dense.outputs, first + p);
        let sum = narrow_row(s, dense.panel(first + p), width, x);
        s.store(finish(sum, first + p), y);
        y[width..].fill(0.0);
    }
}

/// The sums of `P` panels over the row so far.
struct Sums<'x, S: Simd, const P: usize> {
    total: [S::F32; P],
    /// What is left of the row, and where it begins.
    rest: &'x [f32],
    at: usize,
}

impl<S: Simd, const P: usize> Sums<'_, S, P> {
    /// `B` whole blocks side by side, if there are so many left.
    #[inline(always)]
    fn blocks<W: Weight, const B: usize>(&mut self, s: S, panels: &[&[[W; LANES]]; P]) -> bool {
        let Some((x, rest)) = self.rest.split_at_checked(B * BLOCK) else { return false };
        let (x, _) = x.as_chunks::<BLOCK>();
        let weights: [&[[[W; LANES]; BLOCK]]; P] = self.panels(panels, B * BLOCK).map(|panel| panel.as_chunks().0);
        if P == 1 && weights[0].len() < B {
            return false;
        }
        let mut acc = [[s.splat(0.0); P]; B];
        for k in 0..BLOCK {
            for b in 0..B {
                let value = s.splat(x[b][k]);
                for p in 0..P {
                    acc[b][p] = s.mul_add(value, W::load(s, &weights[p][b][k]), acc[b][p]);
                }
            }
        }
        for acc in acc {
            self.add(s, acc);
            self.at += BLOCK;
        }
        self.rest = rest;
        true
    }

    /// The next `len` inputs of the panels.
    #[inline(always)]
    fn panels<'w, W: Weight>(&self, panels: &[&'w [[W; LANES]]; P], len: usize) -> [&'w [[W; LANES]]; P] {
        if P == 1 {
            // Small cores have nothing else, and no panic is to be linked there.
            return panels.map(|panel| part(panel, self.at, len));
        }
        // With a panic the compiler knows the lengths behind, and keeps the loop's registers for the sums.
        panels.map(|panel| &panel[self.at..][..len])
    }

    /// The last block, if it is not whole.
    #[inline(always)]
    fn last<W: Weight>(&mut self, s: S, panels: &[&[[W; LANES]]; P]) {
        let x = self.rest;
        if x.is_empty() {
            return;
        }
        let weights = self.panels(panels, x.len());
        let mut acc = [s.splat(0.0); P];
        if P == 1 {
            // Without an index there is no panic to link.
            for (x, weights) in x.iter().zip(weights[0]) {
                acc[0] = s.mul_add(s.splat(*x), W::load(s, weights), acc[0]);
            }
        } else {
            for (k, x) in x.iter().enumerate() {
                let value = s.splat(*x);
                for p in 0..P {
                    acc[p] = s.mul_add(value, W::load(s, &weights[p][k]), acc[p]);
                }
            }
        }
        self.add(s, acc);
    }

    #[inline(always)]
    fn add(&mut self, s: S, block: [S::F32; P]) {
        for p in 0..P {
            // The first block is the total: adding it to +0.0 would lose the sign of a -0.0.
            self.total[p] = if self.at == 0 { block[p] } else { s.add(self.total[p], block[p]) };
        }
    }
}

/// One row over the narrow last panel of `width` lanes.
#[inline(always)]
fn narrow_row<S: Simd, W: Weight>(s: S, weights: &[W], width: usize, x: &[f32]) -> S::F32 {
    match width {
        4 => narrow_row_of::<S, W, 4>(s, weights, x),
        8 => narrow_row_of::<S, W, 8>(s, weights, x),
        _ => narrow_row_of::<S, W, 12>(s, weights, x),
    }
}

/// Some blocks side by side. Sixteen weights are loaded at steps of the width; the last few, as a copy.
#[inline(always)]
fn narrow_row_of<S: Simd, W: Weight, const WIDTH: usize>(s: S, weights: &[W], x: &[f32]) -> S::F32 {
    let mut total = s.splat(0.0);
    let mut at = 0;
    macro_rules! side_by_side {
        ($blocks:literal) => {
            // The last input of these blocks must have sixteen weights behind it too.
            while let (Some(x), Some(weights)) = (
                x.get(at..).and_then(|x| x.first_chunk::<{ $blocks * BLOCK }>()),
                weights.get(at * WIDTH..).and_then(|rest| rest.get(..($blocks * BLOCK - 1) * WIDTH + LANES)),
            ) {
                let mut acc = [s.splat(0.0); $blocks];
                for k in 0..BLOCK {
                    for b in 0..$blocks {
                        let k = b * BLOCK + k;
                        let Some(group) = weights[k * WIDTH..].first_chunk() else { break };
                        acc[b] = s.mul_add(s.splat(x[k]), W::load(s, group), acc[b]);
                    }
                }
                for (b, acc) in acc.into_iter().enumerate() {
                    total = if at + b == 0 { acc } else { s.add(total, acc) };
                }
                at += $blocks * BLOCK;
            }
        };
    }
    if S::REGISTERS >= 8 {
        side_by_side!(4);
        side_by_side!(3);
        side_by_side!(2);
    }
    side_by_side!(1);
    for x in x.get(at..).unwrap_or_default().chunks(BLOCK) {
        let mut acc = s.splat(0.0);
        let mut stored = weights.get(at * WIDTH..).unwrap_or_default();
        // Those with sixteen weights behind them, then the last few.
        let quick = ((stored.len() + WIDTH).saturating_sub(LANES) / WIDTH).min(x.len());
        let (quick, slow) = x.split_at_checked(quick).unwrap_or((x, &[]));
        for x in quick {
            let Some(group) = stored.first_chunk() else { break };
            acc = s.mul_add(s.splat(*x), W::load(s, group), acc);
            stored = stored.get(WIDTH..).unwrap_or_default();
        }
        for (x, stored) in slow.iter().zip(stored.chunks_exact(WIDTH)) {
            let mut group = [W::zeroed(); LANES];
            group.iter_mut().zip(stored).for_each(|(lane, value)| *lane = *value);
            acc = s.mul_add(s.splat(*x), W::load(s, &group), acc);
        }
        total = if at == 0 { acc } else { s.add(total, acc) };
        at += x.len();
    }
    total
}

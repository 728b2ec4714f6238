//! Outputs of a dense layer on index lists.

use super::IndexLists;
use crate::Level;
use crate::error::{Error, check_len};
use crate::kernels::dense::{Dense, Last, Weight, panels_per_task};
use crate::kernels::{BLOCK, activation, panels};
use crate::layer::{Activation, padded};
use crate::simd::{Group, LANES, Simd, level::kernel};
use crate::split::Split;

/// `y = x Wᵀ + b`, then the activation: the bits of [`dense::forward_then`](crate::kernels::dense::forward_then) on the same rows as
/// zeros and ones, if the weights are finite. The output is in groups of sixteen features.
///
/// # Errors
/// [`Error::Length`] if a slice does not have the length that the shape asks for; nothing has been written then.
pub fn forward_then<W: Weight>(
    level: Level,
    split: &impl Split,
    dense: Dense<'_, W>,
    x: IndexLists<'_>,
    then: Option<Activation>,
    y: &mut [f32],
) -> Result<(), Error> {
    activation::check_compiled(then)?;
    dense.check()?;
    check_len("input features", dense.inputs, x.features())?;
    check_len("output", x.len().saturating_mul(padded(dense.outputs)), y.len())?;
    let block = x.len().saturating_mul(LANES).max(1);
    let per_task = panels_per_task(dense.outputs, x.ones(), split.workers());
    let (last, then) = match then {
        Some(Activation::Relu) => (Last::Relu, None),
        other => (Last::Nothing, other),
    };
    split.run([y], [per_task.saturating_mul(block)], &|task, [y]| {
        some_panels(level, dense, last, task * per_task, x, y);
        if let Some(then) = then {
            activation::some_forward(level, then, y);
        }
    });
    Ok(())
}

kernel! {
    /// The panels from `first` on, as many as `y` has blocks. Arguments have been checked.
    pub(crate) fn some_panels<W: Weight>(
        dense: Dense<'_, W>, last: Last, first: usize, x: IndexLists<'_>, y: &mut [f32],
    ) = some_panels_body
}

#[inline(always)]
fn some_panels_body<S: Simd, W: Weight>(
    s: S,
    dense: Dense<'_, W>,
    last: Last,
    first: usize,
    x: IndexLists<'_>,
    y: &mut [f32],
) {
    let (y, _) = y.as_chunks_mut::<LANES>();
    let bias = dense.bias.map(|bias| bias.as_chunks::<LANES>().0);
    for (panel, y) in (first..).zip(y.chunks_mut(x.len().max(1))) {
        let weights = dense.panel(panel);
        let bias = bias.and_then(|bias| bias.get(panel)).map(|bias| s.load(bias));
        let finish = |total: S::F32| {
            let sum = if let Some(bias) = bias { s.add(total, bias) } else { total };
            if last == Last::Relu { s.max(sum, s.splat(0.0)) } else { sum }
        };
        match panels::panel_width(dense.outputs, panel) {
            LANES => {
                let (weights, _) = weights.as_chunks::<LANES>();
                if S::REGISTERS >= 8 {
                    // The rows that are left over, and a single row, do without the others' shares.
                    let left = x.len() % if S::REGISTERS >= 16 { 4 } else { 2 };
                    let whole = x.len() - left;
                    let (y, last) = y.split_at_mut(whole.min(y.len()));
                    if S::REGISTERS >= 16 {
                        rows_at_once::<S, W, 4>(s, weights, x.part(0, whole), &finish, y);
                    } else {
                        rows_at_once::<S, W, 2>(s, weights, x.part(0, whole), &finish, y);
                    }
                    rows_at_once::<S, W, 1>(s, weights, x.part(whole, left), &finish, last);
                } else {
                    let weight = |index: u32| weights.get(index as usize).map(|group| W::load(s, group));
                    for (row, y) in y.iter_mut().enumerate() {
                        s.store(finish(sum(s, x.row(row), weight)), y);
                    }
                }
            }
            width => {
                let group = |index: u32| -> Option<S::F32> {
                    let rest = weights.get(index as usize * width..)?;
                    // Sixteen at once take the next inputs' weights along, into lanes that are zeroed below.
                    if let Some(group) = rest.first_chunk() {
                        return Some(W::load(s, group));
                    }
                    let mut group = [W::zeroed(); LANES];
                    group.iter_mut().zip(rest.get(..width)?).for_each(|(lane, value)| *lane = *value);
                    Some(W::load(s, &group))
                };
                for (row, y) in y.iter_mut().enumerate() {
                    s.store(finish(sum(s, x.row(row), group)), y);
                    y.iter_mut().skip(width).for_each(|lane| *lane = 0.0);
                }
            }
        }
    }
}

/// Listed inputs of a row for which the shares are worked out at a time.
const PIECE: usize = 256;

/// For each listed input, the share of the chain so far that goes into the total, and the share that is kept: 0 and 1, or at the
/// first input of a block 1 and 0.
///
/// Where a block ends is what a CPU cannot guess, and a wrong guess costs more than all else. So there is no branch, and as a
/// compiler may make one of a choice between two numbers, they lie in memory.
struct Shares {
    into_total: [f32; PIECE],
    kept: [f32; PIECE],
}

impl Shares {
    const NONE: Self = Self { into_total: [0.0; PIECE], kept: [0.0; PIECE] };

    /// Those of the piece of a list that comes after input `before`.
    #[inline(always)]
    fn fill(&mut self, before: u32, piece: &[u32]) {
        let Some(first) = piece.first() else { return };
        let same = |one: u32, other: u32| f32::from(u8::from(one / BLOCK as u32 == other / BLOCK as u32));
        self.kept[0] = same(before, *first);
        self.into_total[0] = 1.0 - self.kept[0];
        let shares = self.kept[1..].iter_mut().zip(&mut self.into_total[1..]);
        for ((kept, into_total), pair) in shares.zip(piece.windows(2)) {
            *kept = same(pair[0], pair[1]);
            *into_total = 1.0 - *kept;
        }
    }
}

/// All rows over a full panel, `L` at a time, as the chain of one waits for each addition.
///
/// Times 1 is exact, times 0 is a zero that adds nothing (see above; a chain that so becomes -0.0 still adds nothing to a total
/// that never is). Only an infinite chain is spoiled, and then the row's sum is not finite: it is taken again, with branches.
#[inline(always)]
fn rows_at_once<S: Simd, W: Weight, const L: usize>(
    s: S,
    weights: &[[W; LANES]],
    x: IndexLists<'_>,
    finish: &impl Fn(S::F32) -> S::F32,
    y: &mut [Group],
) {
    // Small cores, which are not to link a panic, do not come here.
    let weight = |index: u32| W::load(s, &weights[index as usize]);
    if y.is_empty() {
        return;
    }
    let mut shares = [Shares::NONE; L];
    for (first, y) in (0..).step_by(L).zip(y.chunks_mut(L)) {
        let rows: [&[u32]; L] = core::array::from_fn(|r| x.row(first + r));
        let longest = rows.iter().map(|row| row.len()).max().unwrap_or_default();
        let mut totals = [s.splat(0.0); L];
        let mut accs = [s.splat(0.0); L];
        for start in (0..longest).step_by(PIECE) {
            let pieces: [&[u32]; L] = core::array::from_fn(|r| {
                let rest = rows[r].get(start..).unwrap_or_default();
                &rest[..rest.len().min(PIECE)]
            });
            for r in 0..L {
                let before = rows[r].get(start.saturating_sub(1)).copied().unwrap_or_default();
                shares[r].fill(before, pieces[r]);
            }
            let common = pieces.iter().fold(PIECE, |common, piece| common.min(piece.len()));
            let lists: [&[u32]; L] = core::array::from_fn(|r| &pieces[r][..common]);
            let into: [&[f32]; L] = core::array::from_fn(|r| &shares[r].into_total[..common]);
            let kept: [&[f32]; L] = core::array::from_fn(|r| &shares[r].kept[..common]);
            for k in 0..common {
                for r in 0..L {
                    totals[r] = s.mul_add(accs[r], s.splat(into[r][k]), totals[r]);
                    accs[r] = s.mul_add(accs[r], s.splat(kept[r][k]), weight(lists[r][k]));
                }
            }
            // What some rows have more than the shortest.
            for r in 0..L {
                let (mut total, mut acc) = (totals[r], accs[r]);
                for ((index, into), kept) in
                    pieces[r].iter().zip(&shares[r].into_total).zip(&shares[r].kept).skip(common)
                {
                    total = s.mul_add(acc, s.splat(*into), total);
                    acc = s.mul_add(acc, s.splat(*kept), weight(*index));
                }
                (totals[r], accs[r]) = (total, acc);
            }
        }
        // Not over `y` with an index: then totals and chains would be in memory, not in registers.
        for r in 0..L {
            let Some(y) = y.get_mut(r) else { break };
            let mut sum = s.add(totals[r], accs[r]);
            s.store(sum, y);
            if y.iter().any(|value| !value.is_finite()) {
                sum = self::sum(s, rows[r], |index| Some(weight(index)));
            }
            s.store(finish(sum), y);
        }
    }
}

/// The listed weights' sum: a chain in each block of 256 inputs, blocks added in order.
#[inline(always)]
fn sum<S: Simd>(s: S, list: &[u32], weight: impl Fn(u32) -> Option<S::F32>) -> S::F32 {
    let (mut total, mut acc) = (s.splat(0.0), s.splat(0.0));
    let mut end = BLOCK as u32;
    for index in list {
        if *index >= end {
            total = s.add(total, acc);
            acc = s.splat(0.0);
            end = (*index | (BLOCK as u32 - 1)).wrapping_add(1);
        }
        if let Some(weight) = weight(*index) {
            acc = s.add(acc, weight);
        }
    }
    s.add(total, acc)
}

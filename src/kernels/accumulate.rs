//! Sums over rows that go on from one part of a batch to the next.
//!
//! The chains of the contract run over the rows in ascending order, 256 to a chain, so a part of a batch takes them up
//! where the part before left them: with the same bits as all rows at once. What is stored between two parts is the
//! chain itself as long as the first 256 rows last, and the total of whole chains afterwards; so beyond 256 rows a part
//! must be whole chains ([`fits`]). The first part finds zeros.
//!
//! Must not depend on layers or networks.

use super::{BLOCK, panels};
use crate::simd::{Group, LANES, Simd, level::kernel};

/// Whether a batch of `total` rows may come in parts of `part` rows (the last one shorter).
#[must_use]
pub const fn fits(total: usize, part: usize) -> bool {
    part > 0 && (total <= BLOCK || part >= total || part.is_multiple_of(BLOCK))
}

/// One chain's rows of a part.
#[derive(Clone, Copy)]
pub(crate) struct Chain {
    /// First row, in the part.
    pub(crate) start: usize,
    pub(crate) len: usize,
    /// Whether it is added to the total; else the total is a chain that it continues.
    pub(crate) adds: bool,
}

/// The chains of a part of `rows` rows with `before` rows of the batch before it.
#[inline(always)]
pub(crate) fn chains(before: usize, rows: usize) -> impl Iterator<Item = Chain> {
    let mut start = 0;
    core::iter::from_fn(move || {
        let place = (before + start) % BLOCK;
        let len = (BLOCK - place).min(rows - start);
        let chain = Chain { start, len, adds: place == 0 && before + start > 0 };
        start += len;
        (len > 0).then_some(chain)
    })
}

kernel! {
    /// Adds to the weight gradients of the panels from `first` on, as many as `gradient` holds; `x` and `dy` are all groups
    /// of the layer's input and of its output's gradient.
    pub(crate) fn weights(
        shape: (usize, usize), first: usize, before: usize, rows: usize, x: &[f32], dy: &[f32], gradient: &mut [f32],
    ) = weights_body
}

#[inline(always)]
fn weights_body<S: Simd>(
    s: S,
    (inputs, outputs): (usize, usize),
    first: usize,
    before: usize,
    rows: usize,
    x: &[f32],
    dy: &[f32],
    gradient: &mut [f32],
) {
    let (x, dy) = (x.as_chunks::<LANES>().0, dy.as_chunks::<LANES>().0);
    for (panel, gradient) in gradient.chunks_mut(LANES * inputs).enumerate() {
        let panel = first + panel;
        let width = panels::panel_width(outputs, panel);
        let dy = &dy[panel * rows..][..rows];
        for chain in chains(before, rows) {
            let dy = &dy[chain.start..][..chain.len];
            for input in (0..inputs).step_by(4) {
                let x = &x[input / LANES * rows + chain.start..][..chain.len];
                let (lane, some) = (input % LANES, (inputs - input).min(4));
                let places = &mut gradient[input * width..][..some * width];
                // A rest of one to three inputs takes the lanes beside it along: they are the padding of a group.
                let sums = four_inputs(s, chain.adds, lane, x, dy, width, places);
                for (place, sums) in places.chunks_exact_mut(width).zip(sums) {
                    place.copy_from_slice(&sums[..width]);
                }
            }
        }
    }
}

/// Four inputs from lane `lane` of their group on, a multiple of four, by one panel.
#[inline(always)]
fn four_inputs<S: Simd>(
    s: S,
    adds: bool,
    lane: usize,
    x: &[Group],
    dy: &[Group],
    width: usize,
    stored: &[f32],
) -> [Group; 4] {
    let mut totals = [[0.0; LANES]; 4];
    for (total, stored) in totals.iter_mut().zip(stored.chunks_exact(width)) {
        total[..width].copy_from_slice(stored);
    }
    let start = if adds { [[0.0; LANES]; 4] } else { totals };
    let mut sums = [s.load(&start[0]), s.load(&start[1]), s.load(&start[2]), s.load(&start[3])];
    // Changes nothing, but shows that no index can be out of range.
    let lane = lane.min(LANES - 4);
    for (x, dy) in x.iter().zip(dy) {
        let dy = s.load(dy);
        for t in 0..4 {
            sums[t] = s.mul_add(s.splat(x[lane + t]), dy, sums[t]);
        }
    }
    for (total, sum) in totals.iter_mut().zip(sums) {
        let sum = if adds { s.add(s.load(total), sum) } else { sum };
        s.store(sum, total);
    }
    totals
}

kernel! {
    /// Adds the rows of as many groups as `sums` has.
    pub(crate) fn column_sums(before: usize, rows: usize, groups: &[f32], sums: &mut [f32]) = column_sums_body
}

#[inline(always)]
fn column_sums_body<S: Simd>(s: S, before: usize, rows: usize, groups: &[f32], sums: &mut [f32]) {
    let (groups, _) = groups.as_chunks::<LANES>();
    for (sum, rows_of) in sums.as_chunks_mut::<LANES>().0.iter_mut().zip(groups.chunks_exact(rows.max(1))) {
        let [total] = continued(s, before, [s.load(sum)], rows_of.len(), |r, [acc]| [s.add(acc, s.load(&rows_of[r]))]);
        s.store(total, sum);
    }
}

/// Takes `N` totals on over `rows` more rows; `add(row, chains)` adds a row to the chains.
#[inline(always)]
pub(crate) fn continued<S: Simd, const N: usize>(
    s: S,
    before: usize,
    totals: [S::F32; N],
    rows: usize,
    add: impl Fn(usize, [S::F32; N]) -> [S::F32; N],
) -> [S::F32; N] {
    let mut totals = totals;
    for chain in chains(before, rows) {
        let mut acc = if chain.adds { [s.splat(0.0); N] } else { totals };
        for r in chain.start..chain.start + chain.len {
            acc = add(r, acc);
        }
        for n in 0..N {
            totals[n] = if chain.adds { s.add(totals[n], acc[n]) } else { acc[n] };
        }
    }
    totals
}

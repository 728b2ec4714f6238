//! The inner loops of the forward product: a register tile of some rows and some panels, and the narrow last panel.

use super::super::{BLOCK, panels};
use super::{Dense, Weight};
use crate::simd::{LANES, Simd};

/// `N` full panels from `first` on, each as one group of sixteen weights per input.
#[inline(always)]
pub(super) fn full_panels<'a, W: Weight, const N: usize>(dense: Dense<'a, W>, first: usize) -> [&'a [[W; LANES]]; N] {
    let (groups, _) = dense.weights.as_chunks::<LANES>();
    core::array::from_fn(|p| &groups[(first + p) * dense.inputs..][..dense.inputs])
}

/// All blocks of one row over `P` panels.
#[inline(always)]
pub(super) fn row_tile<S: Simd, W: Weight, const P: usize>(
    s: S,
    x: &[f32],
    panels: [&[[W; LANES]]; P],
    mut write: impl FnMut(usize, S::F32),
) {
    let mut total = [s.splat(0.0); P];
    for (block, x) in x.chunks(BLOCK).enumerate() {
        let panels = panels.map(|panel| &panel[block * BLOCK..][..x.len()]);
        let mut acc = [s.splat(0.0); P];
        if P == 1 {
            acc[0] = W::dot_panel(s, x, panels[0], acc[0]);
        } else {
            let mut tile = [acc];
            register_tile(s, [x], panels, &mut tile);
            [acc] = tile;
        }
        for p in 0..P {
            total[p] = if block == 0 { acc[p] } else { s.add(total[p], acc[p]) };
        }
    }
    for (p, total) in total.into_iter().enumerate() {
        write(p, total);
    }
}

/// One row over the narrow last panel: groups of sixteen are loaded at steps of its width, and what the lanes
/// beyond it collect is thrown away.
#[inline(always)]
pub(super) fn narrow_row<S: Simd, W: Weight>(s: S, dense: Dense<'_, W>, panel: usize, x: &[f32]) -> S::F32 {
    let width = panels::panel_width(dense.outputs, panel);
    let weights = &dense.weights[panel * LANES * dense.inputs..][..width * dense.inputs];
    let mut total = s.splat(0.0);
    for (block, x) in x.chunks(BLOCK).enumerate() {
        let mut acc = s.splat(0.0);
        for (k, x) in x.iter().enumerate() {
            let at = (block * BLOCK + k) * width;
            let group = match weights[at..].first_chunk::<LANES>() {
                Some(group) => W::load(s, group),
                None => {
                    let mut group = [W::zeroed(); LANES];
                    group[..width].copy_from_slice(&weights[at..at + width]);
                    W::load(s, &group)
                }
            };
            acc = s.mul_add(s.splat(*x), group, acc);
        }
        total = if block == 0 { acc } else { s.add(total, acc) };
    }
    keep_lanes(s, total, width)
}

/// The first `width` lanes of `v`, the others zero.
#[inline(always)]
pub(super) fn keep_lanes<S: Simd>(s: S, v: S::F32, width: usize) -> S::F32 {
    let mut lanes = [0.0; LANES];
    s.store(v, &mut lanes);
    lanes[width..].fill(0.0);
    s.load(&lanes)
}

/// `acc[r][p] += Σ_k x[r][k] * panels[p][k]`, each a chain over the whole slices (at most one block).
///
/// Bounds are checked once, by cutting every slice to the same length: the loop compiles to loads and multiply-adds.
#[inline(always)]
pub(super) fn register_tile<S: Simd, W: Weight, const R: usize, const P: usize>(
    s: S,
    x: [&[f32]; R],
    panels: [&[[W; LANES]]; P],
    acc: &mut [[S::F32; P]; R],
) {
    let len = panels[0].len();
    let x = x.map(|row| &row[..len]);
    let panels = panels.map(|panel| &panel[..len]);
    let mut sum = *acc;
    for k in 0..len {
        let weights: [S::F32; P] = core::array::from_fn(|p| W::load(s, &panels[p][k]));
        for r in 0..R {
            let value = s.splat(x[r][k]);
            for p in 0..P {
                sum[r][p] = s.mul_add(value, weights[p], sum[r][p]);
            }
        }
    }
    *acc = sum;
}

//! The inner loops: a register tile of some rows and some panels, over one block of the inner dimension.

use super::Weight;
use crate::simd::{Group, LANES, Simd};

/// `Σ_k x[r][k] * panels[p][k]`, each a chain from +0.0 over the panels' length.
///
/// `x` is `[group of sixteen k][row][lane]`, groups `step` rows apart. A group at a time: all offsets inside it are
/// constants, so the loop compiles to loads and multiply-adds.
#[inline(always)]
pub(super) fn tile<S: Simd, W: Weight, const R: usize, const P: usize>(
    s: S,
    x: &[Group],
    step: usize,
    panels: [&[[W; LANES]]; P],
) -> [[S::F32; P]; R] {
    let mut sums = [[s.splat(0.0); P]; R];
    if S::REGISTERS == 1 {
        // Sums live in memory there, but for the length of this call.
        for (x, weights) in x.iter().step_by(step.max(1)).zip(panels[0].chunks(LANES)) {
            sums[0][0] = W::dot_panel(s, &x[..weights.len()], weights, sums[0][0]);
        }
        return sums;
    }
    let len = panels[0].len();
    let whole = panels.map(|panel| {
        let groups = panel.as_chunks::<LANES>().0;
        // One panel is as long as itself: without the index there is no panic to link.
        if P == 1 { groups } else { &groups[..len / LANES] }
    });
    for g in 0..whole[0].len() {
        let Some(x) = x.get(g * step..).and_then(|x| x.first_chunk::<R>()) else { break };
        let panels = whole.map(|panel| &panel[g]);
        for k in 0..LANES {
            let weights: [S::F32; P] = core::array::from_fn(|p| W::load(s, &panels[p][k]));
            multiply_add(s, x, k, weights, &mut sums);
        }
    }
    let rest = panels.map(|panel| panel.as_chunks::<LANES>().1);
    if let Some(x) = x.get(len / LANES * step..).and_then(|x| x.first_chunk::<R>()) {
        for k in 0..len % LANES {
            let weights: [S::F32; P] = core::array::from_fn(|p| W::load(s, &rest[p][k]));
            multiply_add(s, x, k, weights, &mut sums);
        }
    }
    sums
}

/// As [`tile`], of rows that lie apart and one panel.
#[inline(always)]
pub(super) fn plain_tile<S: Simd, W: Weight, const R: usize>(
    s: S,
    x: [&[f32]; R],
    panel: &[[W; LANES]],
) -> [[S::F32; 1]; R] {
    let mut sums = [[s.splat(0.0); 1]; R];
    let len = x.iter().map(|row| row.len()).min().unwrap_or(0);
    let x = x.map(|row| &row[..len]);
    for (k, weights) in panel[..len].iter().enumerate() {
        let weights = W::load(s, weights);
        for r in 0..R {
            sums[r][0] = s.mul_add(s.splat(x[r][k]), weights, sums[r][0]);
        }
    }
    sums
}

#[inline(always)]
fn multiply_add<S: Simd, const R: usize, const P: usize>(
    s: S,
    x: &[Group; R],
    k: usize,
    weights: [S::F32; P],
    sums: &mut [[S::F32; P]; R],
) {
    for r in 0..R {
        let value = s.splat(x[r][k]);
        for p in 0..P {
            sums[r][p] = s.mul_add(value, weights[p], sums[r][p]);
        }
    }
}

//! The narrow last panel by itself. As full panels have it, most lanes would be multiplied for nothing: here lanes are sixteen
//! inputs (of the weight gradient) or sixteen rows (of the outputs), and all have the same few outputs.

use super::super::{BLOCK, groups::Rows};
use super::Last;
use crate::simd::{Group, Kernel, LANES, Simd};

/// Outputs at a time: the width of a panel is a multiple of it.
const QUAD: usize = 4;

/// The gradient of a panel of `width` lanes, fewer than sixteen.
pub(super) struct NarrowPanel<'a> {
    pub(super) inputs: usize,
    pub(super) rows: usize,
    /// `[group of inputs][row]`
    pub(super) x: &'a [Group],
    /// A group for each row.
    pub(super) dy: &'a [Group],
    pub(super) width: usize,
    /// `[input][lane]`, `width` lanes.
    pub(super) gradient: &'a mut [f32],
}

impl Kernel for NarrowPanel<'_> {
    type Output = ();
    /// Blocks of rows, four outputs, four groups of inputs: as many sums as one transposition takes.
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { inputs, rows, x, dy, width, gradient } = self;
        let groups = inputs.div_ceil(LANES);
        for start in (0..rows).step_by(BLOCK) {
            let block = start..rows.min(start + BLOCK);
            let dy = &dy[block.clone()];
            for quad in (0..width).step_by(QUAD) {
                for first in (0..groups).step_by(4) {
                    let count = 4.min(groups - first);
                    let group = |g: usize| &x[(first + g) * rows..][block.clone()];
                    let mut sums = [[s.splat(0.0); QUAD]; 4];
                    if S::REGISTERS >= 32 && count == 4 {
                        sums = quads(s, [group(0), group(1), group(2), group(3)], dy, quad);
                    } else {
                        for (g, sums) in sums.iter_mut().enumerate().take(count) {
                            [*sums] = quads(s, [group(g)], dy, quad);
                        }
                    }
                    let places = &mut gradient[first * LANES * width..];
                    write(s, sums, start > 0, (inputs - first * LANES, width, quad), places);
                }
            }
        }
    }
}

/// `[group][output]`, lanes are inputs: chains over the rows of a block.
#[inline(always)]
fn quads<S: Simd, const G: usize>(s: S, x: [&[Group]; G], dy: &[Group], quad: usize) -> [[S::F32; QUAD]; G] {
    let mut sums = [[s.splat(0.0); QUAD]; G];
    let mut x = x;
    for x in &mut x {
        *x = &x[..dy.len()];
    }
    // Changes nothing, but shows that no index can be out of range.
    let quad = quad.min(LANES - QUAD);
    for (r, dy) in dy.iter().enumerate() {
        let mut lanes = [s.splat(0.0); G];
        for g in 0..G {
            lanes[g] = s.load(&x[g][r]);
        }
        for o in 0..QUAD {
            let value = s.splat(dy[quad + o]);
            for g in 0..G {
                sums[g][o] = s.mul_add(value, lanes[g], sums[g][o]);
            }
        }
    }
    sums
}

/// Stores the sums of four groups of inputs, or adds them to what earlier blocks left. `inputs` are left from the first group on.
#[inline(always)]
fn write<S: Simd>(
    s: S,
    sums: [[S::F32; QUAD]; 4],
    add: bool,
    (inputs, width, quad): (usize, usize, usize),
    places: &mut [f32],
) {
    let mut all = [s.splat(0.0); LANES];
    all.copy_from_slice(sums.as_flattened());
    for (lane, values) in s.transpose(all).into_iter().enumerate() {
        let mut outputs = [0.0; LANES];
        s.store(values, &mut outputs);
        for (g, outputs) in outputs.as_chunks::<QUAD>().0.iter().enumerate() {
            let input = g * LANES + lane;
            let place = places.get_mut(input * width + quad..).and_then(|place| place.first_chunk_mut::<QUAD>());
            if let (true, Some(place)) = (input < inputs, place) {
                for (place, output) in place.iter_mut().zip(outputs) {
                    *place = if add { *place + *output } else { *output };
                }
            }
        }
    }
}

/// The outputs of a narrow last panel for many rows, sixteen at a time: their inputs are turned, so that lanes are rows.
pub(super) struct NarrowRows<'a> {
    pub(super) inputs: usize,
    pub(super) width: usize,
    /// `[input][lane]`, `width` lanes.
    pub(super) weights: &'a [f32],
    /// Of the panel's lanes, if there is one.
    pub(super) bias: Option<&'a Group>,
    pub(super) then: Last,
    pub(super) x: Rows<'a>,
    /// Groups of the output, `step` from row to row.
    pub(super) y: &'a mut [Group],
    pub(super) step: usize,
}

impl Kernel for NarrowRows<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let mut panel = self;
        if panel.width == QUAD {
            narrow_rows::<S, 1>(s, &mut panel);
        } else if S::REGISTERS >= 32 {
            narrow_rows::<S, 2>(s, &mut panel);
        }
    }
}

/// A panel of `Q` times four lanes: twice sixteen rows in turns, as four sums wait for each other, unless each is several
/// registers anyway.
#[inline(always)]
fn narrow_rows<S: Simd, const Q: usize>(s: S, panel: &mut NarrowRows<'_>) {
    let mut row = 0;
    while row < panel.x.len() {
        if S::PIECES == 1 && panel.x.len() - row > LANES {
            rows_from::<S, Q, 2>(s, panel, row);
            row += 2 * LANES;
        } else {
            rows_from::<S, Q, 1>(s, panel, row);
            row += LANES;
        }
    }
}

/// `N` times sixteen rows, or as many as there are from `row` on.
#[inline(always)]
fn rows_from<S: Simd, const Q: usize, const N: usize>(s: S, panel: &mut NarrowRows<'_>, row: usize) {
    let NarrowRows { inputs, weights, bias, then, x, y, step, .. } = panel;
    let (inputs, step) = (*inputs, *step);
    let weights: &[[[f32; QUAD]; Q]] = weights.as_chunks().0.as_chunks().0;
    let rows = |n: usize| LANES.min(x.len().saturating_sub(row + n * LANES));
    let mut totals = [[[s.splat(0.0); QUAD]; Q]; N];
    for start in (0..inputs).step_by(BLOCK) {
        let mut sums = [[[s.splat(0.0); QUAD]; Q]; N];
        let (whole, rest) = weights[start..inputs.min(start + BLOCK)].as_chunks::<LANES>();
        for (g, weights) in whole.iter().enumerate() {
            for n in 0..N {
                let turned = s.transpose(sixteen_rows(s, x, (row + n * LANES, rows(n)), start / LANES + g));
                for k in 0..LANES {
                    for q in 0..Q {
                        for o in 0..QUAD {
                            sums[n][q][o] = s.mul_add(turned[k], s.splat(weights[k][q][o]), sums[n][q][o]);
                        }
                    }
                }
            }
        }
        for n in 0..N {
            if !rest.is_empty() {
                let turned = s.transpose(sixteen_rows(s, x, (row + n * LANES, rows(n)), start / LANES + whole.len()));
                for (x, weights) in turned.into_iter().zip(rest) {
                    for q in 0..Q {
                        for o in 0..QUAD {
                            sums[n][q][o] = s.mul_add(x, s.splat(weights[q][o]), sums[n][q][o]);
                        }
                    }
                }
            }
            for q in 0..Q {
                for o in 0..QUAD {
                    totals[n][q][o] = if start > 0 { s.add(totals[n][q][o], sums[n][q][o]) } else { sums[n][q][o] };
                }
            }
        }
    }
    for n in 0..N {
        let mut outputs = [s.splat(0.0); LANES];
        for q in 0..Q {
            for o in 0..QUAD {
                let mut sum = totals[n][q][o];
                if let Some(bias) = bias {
                    sum = s.add(sum, s.splat(bias[q * QUAD + o]));
                }
                outputs[q * QUAD + o] = if *then == Last::Relu { s.max(sum, s.splat(0.0)) } else { sum };
            }
        }
        let places = y.get_mut((row + n * LANES) * step..).unwrap_or_default().iter_mut().step_by(step.max(1));
        for (output, place) in s.transpose(outputs).into_iter().zip(places.take(rows(n))) {
            s.store(output, place);
        }
    }
}

/// Group `g` of sixteen rows; zeros for those beyond the last.
#[inline(always)]
fn sixteen_rows<S: Simd>(s: S, x: &Rows<'_>, (row, rows): (usize, usize), g: usize) -> [S::F32; LANES] {
    let mut all = [s.splat(0.0); LANES];
    if let (Some(groups), LANES) = (x.groups(), rows) {
        if let Some(groups) = groups.get(g * x.len() + row..).and_then(|groups| groups.first_chunk::<LANES>()) {
            for r in 0..LANES {
                all[r] = s.load(&groups[r]);
            }
            return all;
        }
    } else if rows == LANES
        && (g + 1) * LANES <= x.features()
        && let Some(plain) = x.plain_rows::<LANES>(row, g * LANES, LANES)
    {
        for r in 0..LANES {
            all[r] = plain[r].first_chunk().map_or(all[r], |sixteen| s.load(sixteen));
        }
        return all;
    }
    let mut copies = [[0.0; LANES]; LANES];
    for (r, copy) in copies.iter_mut().enumerate().take(rows) {
        let values = x.sixteen(row + r, g).unwrap_or_default();
        copy.iter_mut().zip(values).for_each(|(copy, value)| *copy = *value);
    }
    for r in 0..LANES {
        all[r] = s.load(&copies[r]);
    }
    all
}

//! The inner loops: a register tile of some rows and some panels, over one block of the inner dimension.

use super::ahead::{Ahead, ask_for};
use super::{Dense, Last, Weight};
use crate::kernels::{BLOCK, groups::Rows, panels};
use crate::simd::{Group, Kernel, LANES, Simd};

/// Groups from one panel to the next, and from one row to the next, of the output.
#[derive(Clone, Copy)]
pub(super) struct Out {
    pub(super) panel: usize,
    pub(super) row: usize,
}

/// What tiles work on.
#[derive(Clone, Copy)]
pub(super) struct Block<'a, W> {
    pub(super) dense: Dense<'a, W>,
    pub(super) then: Last,
    /// Inputs: one block of them or several.
    pub(super) start: usize,
    pub(super) len: usize,
    /// The first panel of the output.
    pub(super) first: usize,
    pub(super) out: Out,
    /// Whether weights and outputs are beyond the second cache.
    pub(super) far: bool,
}

impl<'a, W> Block<'a, W> {
    /// The same for tiles that have the weights from elsewhere.
    #[inline(always)]
    pub(super) fn widened(&self) -> Block<'a, f32> {
        let Dense { inputs, outputs, bias, .. } = self.dense;
        let dense = Dense { inputs, outputs, weights: &[], bias };
        let Block { then, start, len, first, out, far, .. } = *self;
        Block { dense, then, start, len, first, out, far }
    }
}

/// The rows of a batch, or a copy of a part of them, whose first row and input are those of the batch.
#[derive(Clone, Copy)]
pub(super) struct Source<'x> {
    pub(super) x: Rows<'x>,
    pub(super) row: usize,
    pub(super) input: usize,
}

/// Tiles of `R` rows by `P` panels, one after the other: `count` of them, from `row` on.
pub(super) struct Tiles<'t, W, const R: usize, const P: usize> {
    pub(super) block: &'t Block<'t, W>,
    pub(super) from: &'t Source<'t>,
    pub(super) row: usize,
    pub(super) count: usize,
    pub(super) panel: usize,
    pub(super) weights: [&'t [[W; LANES]]; P],
    /// Weights that are wanted after these tiles, by their bytes; none where they follow in memory.
    pub(super) next: [&'t [u8]; P],
    pub(super) y: &'t mut [Group],
}

/// The output's places of a tile, each with its sum. They lie one after the other by rows in groups, and by panels in plain rows.
/// A macro, as closures around so many sums are not inlined.
macro_rules! in_memory {
    ($block:ident, $panel:ident, $row:ident, $y:expr, $sums:expr, ($sum:ident, $place:ident) => $then:expr) => {
        let (out, sums) = ($block.out, $sums);
        let y = $y.get_mut(($panel - $block.first) * out.panel + $row * out.row..).unwrap_or_default();
        if out.row == 1 {
            for p in 0..P {
                let Some(places) = y.get_mut(p * out.panel..).and_then(|y| y.first_chunk_mut::<R>()) else { return };
                for r in 0..R {
                    let ($sum, $place) = (&mut sums[r][p], &mut places[r]);
                    $then
                }
            }
        } else {
            for r in 0..R {
                let Some(places) = y.get_mut(r * out.row..).and_then(|y| y.first_chunk_mut::<P>()) else { return };
                for p in 0..P {
                    let ($sum, $place) = (&mut sums[r][p], &mut places[p]);
                    $then
                }
            }
        }
    };
}

impl<W: Weight, const R: usize, const P: usize> Kernel for Tiles<'_, W, R, P> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { block, from, row, count, panel, weights, next, y } = self;
        let Source { x, row: first_row, input } = *from;
        let mut ahead = Ahead::new::<S>(next, count, weights[0].len());
        // Without totals to keep for later blocks a tile begins and ends sooner, which a small product is made of.
        if S::REGISTERS >= 8 && S::PIECES <= 2 && weights[0].len() <= BLOCK {
            for tile_of in 0..count {
                let row = row + tile_of * R;
                ask_for::<S, W, R, P>(s, block, panel, row, y);
                ahead.next_tile::<S>();
                let mut sums: [[S::F32; P]; R] = tile(s, &x, row - first_row, block.start - input, weights, &mut ahead);
                add_earlier(s, block, panel, row, &mut sums, y);
                write(s, block, panel, row, sums, y);
            }
            return;
        }
        let mut totals = [[[0.0; LANES]; P]; R];
        for tile_of in 0..count {
            let row = row + tile_of * R;
            ask_for::<S, W, R, P>(s, block, panel, row, y);
            ahead.next_tile::<S>();
            if block.start > 0 {
                in_memory!(block, panel, row, y, &mut totals, (total, place) => *total = *place);
            }
            let (mut weights, mut start) = (weights, block.start);
            loop {
                let mut now: [&[[W; LANES]]; P] = [&[]; P];
                for p in 0..P {
                    (now[p], weights[p]) = weights[p].split_at(BLOCK.min(weights[p].len()));
                }
                let mut sums: [[S::F32; P]; R] = tile(s, &x, row - first_row, start - input, now, &mut ahead);
                if start > 0 {
                    for r in 0..R {
                        for p in 0..P {
                            sums[r][p] = s.add(s.load(&totals[r][p]), sums[r][p]);
                        }
                    }
                }
                start += BLOCK;
                if weights[0].is_empty() {
                    write(s, block, panel, row, sums, y);
                    break;
                }
                for r in 0..R {
                    for p in 0..P {
                        s.store(sums[r][p], &mut totals[r][p]);
                    }
                }
            }
        }
    }
}

/// Inputs ahead of the multiply-adds whose weights are asked for: what comes from the second cache or from memory is
/// there in time, also across the borders of pages, where the processor's own guesses end. Not for a panel by itself, whose
/// tile loads as often as it multiplies.
const AHEAD: usize = 16;

/// One input of all rows by its weights in all panels. A macro, as closures of this size are not inlined.
macro_rules! multiply_add {
    ($s:ident, $sums:ident, $r:ident => $x:expr, $p:ident => $weights:expr) => {
        let mut weights = [$s.splat(0.0); P];
        for $p in 0..P {
            let place: &[W; LANES] = &$weights;
            if P > 1 {
                $s.prefetch(core::ptr::from_ref(place).wrapping_add(AHEAD).cast());
            }
            weights[$p] = W::load($s, place);
        }
        for $r in 0..R {
            let value = $s.splat($x);
            for p in 0..P {
                $sums[$r][p] = $s.mul_add(value, weights[p], $sums[$r][p]);
            }
        }
    };
}

/// `Σ_k x[r][k] * panels[p][k]` of the `R` rows from `row` on, each a chain from +0.0 over the panels' length; `start` is
/// the rows' first input, a multiple of sixteen.
#[inline(always)]
fn tile<S: Simd, W: Weight, const R: usize, const P: usize>(
    s: S,
    x: &Rows<'_>,
    row: usize,
    start: usize,
    panels: [&[[W; LANES]]; P],
    ahead: &mut Ahead<'_, P>,
) -> [[S::F32; P]; R] {
    match x.groups() {
        Some(groups) => {
            let groups = groups.get(start / LANES * x.len() + row..).unwrap_or_default();
            grouped_tile(s, groups, x.len(), panels, ahead)
        }
        None => match x.plain_rows(row, start, panels[0].len()) {
            Some(rows) => plain_tile(s, rows, panels, ahead),
            None => [[s.splat(0.0); P]; R],
        },
    }
}

/// `x` is `[group of sixteen k][row][lane]`, groups `step` rows apart. A group at a time: all offsets inside it are
/// constants, so the loop compiles to loads and multiply-adds.
#[inline(always)]
fn grouped_tile<S: Simd, W: Weight, const R: usize, const P: usize>(
    s: S,
    x: &[Group],
    step: usize,
    panels: [&[[W; LANES]]; P],
    ahead: &mut Ahead<'_, P>,
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
        ahead.ask(s);
        for k in 0..LANES {
            multiply_add!(s, sums, r => x[r][k], p => panels[p][k]);
        }
    }
    let rest = panels.map(|panel| panel.as_chunks::<LANES>().1);
    if let Some(x) = x.get(len / LANES * step..).and_then(|x| x.first_chunk::<R>()) {
        for k in 0..len % LANES {
            multiply_add!(s, sums, r => x[r][k], p => rest[p][k]);
        }
    }
    sums
}

/// Rows that lie anywhere, each at least as long as the panels.
#[inline(always)]
fn plain_tile<S: Simd, W: Weight, const R: usize, const P: usize>(
    s: S,
    x: [&[f32]; R],
    panels: [&[[W; LANES]]; P],
    ahead: &mut Ahead<'_, P>,
) -> [[S::F32; P]; R] {
    let mut sums = [[s.splat(0.0); P]; R];
    let (mut x, mut panels, len) = (x, panels, panels[0].len());
    for row in &mut x {
        *row = &row[..len];
    }
    for panel in &mut panels {
        *panel = &panel[..len];
    }
    if S::REGISTERS == 1 {
        sums[0][0] = W::dot_panel(s, x[0], panels[0], sums[0][0]);
        return sums;
    }
    if S::REGISTERS < 8 {
        // One panel there. Looked up and not indexed, as the compiler keeps a panic for the index.
        for (k, weights) in panels[0].iter().enumerate() {
            let weights = W::load(s, weights);
            for r in 0..R {
                let value = x[r].get(k).copied().unwrap_or_default();
                sums[r][0] = s.mul_add(s.splat(value), weights, sums[r][0]);
            }
        }
        return sums;
    }
    if S::REGISTERS < 32 {
        for k in 0..len {
            multiply_add!(s, sums, r => x[r][k], p => panels[p][k]);
        }
        return sums;
    }
    if P > 1 {
        let mut start = 0;
        while start < len {
            ahead.ask(s);
            let end = (start + LANES).min(len);
            for k in start..end {
                multiply_add!(s, sums, r => x[r][k], p => panels[p][k]);
            }
            start = end;
        }
        return sums;
    }
    let mut stored = [[0.0; LANES]; R];
    s.apart(OnePanel { x, weights: panels[0], sums: &mut stored });
    for r in 0..R {
        sums[r][0] = s.load(&stored[r]);
    }
    sums
}

/// Plain rows by one panel where registers are many: they leave some for four inputs at a time, and need it, as finding eight
/// rows takes as long as reading them once. A function of its own, which has the places of the rows from memory: inside a larger
/// one the compiler knows that they are equally far apart, computes every place from the first, and runs out of registers.
struct OnePanel<'t, W, const R: usize> {
    x: [&'t [f32]; R],
    weights: &'t [[W; LANES]],
    sums: &'t mut [Group; R],
}

impl<W: Weight, const R: usize> Kernel for OnePanel<'_, W, R> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        const P: usize = 1;
        let Self { x, weights, sums: stored } = self;
        let mut sums = [[s.splat(0.0)]; R];
        let len = weights.len();
        let mut four: [&[[f32; 4]]; R] = [&[]; R];
        for r in 0..R {
            four[r] = &x[r].as_chunks().0[..len / 4];
        }
        let (groups, rest): (&[[[W; LANES]; 4]], _) = weights.as_chunks();
        for f in 0..len / 4 {
            for k in 0..4 {
                multiply_add!(s, sums, r => four[r][f][k], _p => groups[f][k]);
            }
        }
        for (k, weights) in rest.iter().enumerate() {
            multiply_add!(s, sums, r => x[r][len / 4 * 4 + k], _p => *weights);
        }
        for r in 0..R {
            s.store(sums[r][0], &mut stored[r]);
        }
    }
}

/// What earlier blocks left in the output, plus the sums of the first block since. Blocks are added one by one, in order.
#[inline(always)]
pub(super) fn add_earlier<S: Simd, W: Weight, const R: usize, const P: usize>(
    s: S,
    block: &Block<'_, W>,
    panel: usize,
    row: usize,
    sums: &mut [[S::F32; P]; R],
    y: &mut [Group],
) {
    if block.start > 0 {
        in_memory!(block, panel, row, y, sums, (sum, place) => *sum = s.add(s.load(place), *sum));
    }
}

/// Writes a tile's sums, after the last block with the bias. Step by step over all sums: what is decided once is not asked for
/// each.
#[inline(always)]
pub(super) fn write<S: Simd, W: Weight, const R: usize, const P: usize>(
    s: S,
    block: &Block<'_, W>,
    panel: usize,
    row: usize,
    sums: [[S::F32; P]; R],
    y: &mut [Group],
) {
    let mut sums = sums;
    if block.start + block.len == block.dense.inputs {
        if let Some(bias) = block.dense.bias.and_then(|bias| bias.as_chunks().0.get(panel..)?.first_chunk::<P>()) {
            for p in 0..P {
                let bias = s.load(&bias[p]);
                for r in 0..R {
                    sums[r][p] = s.add(sums[r][p], bias);
                }
            }
        }
        if block.then == Last::Relu {
            for sum in sums.as_flattened_mut() {
                *sum = s.max(*sum, s.splat(0.0));
            }
        }
    }
    in_memory!(block, panel, row, y, &mut sums, (sum, place) => s.store(*sum, place));
    // Only the last panel may be narrow.
    let width = panels::panel_width(block.dense.outputs, panel + P - 1);
    if width < LANES {
        let out = block.out;
        let y = y.get_mut((panel - block.first) * out.panel + row * out.row..).unwrap_or_default();
        for place in y.iter_mut().skip((P - 1) * out.panel).step_by(out.row.max(1)).take(R) {
            place[width..].fill(0.0);
        }
    }
}

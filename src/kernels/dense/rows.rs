//! Many rows at once: blocks of the inner dimension, register tiles of rows and panels.
//!
//! A tile reads its rows as `[group of inputs][row][lane]`. Where the activations already lie like that, it reads them
//! in place: a few panels at a time over all rows, so that a block of weights stays in the first cache. Plain rows are
//! first copied, a tile's rows of one block of inputs, and then meet all panels, so that the copy pays.

use super::super::{BLOCK, SECOND_CACHE, groups::Rows, panels, part};
use super::buffers::{Narrow, copy_tile, with_zeros};
use super::tile::{plain_tile, tile};
use super::{Dense, Last, MANY, Weight, rows_stay};
use crate::Level;
use crate::simd::{Group, LANES, Simd, level::kernel};

/// Groups from one panel to the next, and from one row to the next, of the output.
#[derive(Clone, Copy)]
pub(super) struct Out {
    pub(super) panel: usize,
    pub(super) row: usize,
}

/// Rows of a tile where all outputs are in one panel: sums of more rows than usual fill the registers.
const TALL: usize = 16;

/// `count` panels from `first` on; `y` begins with panel `first`.
pub(super) fn many_rows<W: Weight>(
    level: Level,
    dense: Dense<'_, W>,
    then: Last,
    first: usize,
    count: usize,
    x: Rows<'_>,
    y: &mut [f32],
    out: Out,
) {
    // Filling the buffers with zeros takes as long as a small product: they are as large as they must be.
    let block = BLOCK.min(dense.inputs);
    let registers = registers(level);
    let copied = if x.groups().is_some() || is_direct(registers, &x, count) { 0 } else { x.len() };
    let copy = copied.min(tile_size(registers).0) * block.div_ceil(LANES);
    let narrow = if first + count > dense.full_panels() && !is_little(registers) { block } else { 0 };
    with_zeros::<{ tile_size(7).0 * BLOCK / LANES }, 64, { tile_size(32).0 * BLOCK / LANES }, Group>(copy, |copy| {
        with_zeros::<16, 32, BLOCK, [W; LANES]>(narrow, |narrow| {
            many_rows_with(level, dense, then, first, count, x, y, out, copy, narrow);
        });
    });
}

kernel! { fn registers() -> usize = registers_body; }

#[inline(always)]
fn registers_body<S: Simd>(_: S) -> usize {
    S::REGISTERS
}

/// Whether the level may be a microcontroller's, whose whole memory may be 16 KiB.
const fn is_little(registers: usize) -> bool {
    registers < 8
}

/// Whether tiles read plain rows where they lie: what only one panel reads needs no copy.
fn is_direct(registers: usize, x: &Rows<'_>, panels: usize) -> bool {
    registers >= 32 && x.groups().is_none() && panels == 1
}

kernel! {
    fn many_rows_with<W: Weight>(
        dense: Dense<'_, W>, then: Last, first: usize, count: usize, x: Rows<'_>, y: &mut [f32], out: Out,
        copy: &mut [Group], narrow: &mut [[W; LANES]],
    ) = many_rows_body
}

/// Rows and panels of a tile, by the size of the register file: sums, a panel each of weights, one splat.
const fn tile_size(registers: usize) -> (usize, usize) {
    match registers {
        32.. => (8, 3),
        8.. => (6, 1),
        2.. => (2, 1),
        _ => (1, 1),
    }
}

/// Rows of the next tile of `left`: spread evenly, as a short last tile would leave most of the register file idle.
const fn rows_of_tile(registers: usize, left: usize, panels: usize) -> usize {
    if registers >= 32 && panels == 1 && left >= TALL {
        return TALL;
    }
    let tiles = left.div_ceil(tile_size(registers).0);
    left.div_ceil(if tiles > 0 { tiles } else { 1 })
}

/// What a tile works on.
#[derive(Clone, Copy)]
pub(super) struct Block<'a, W> {
    pub(super) dense: Dense<'a, W>,
    then: Last,
    /// Inputs of the block.
    start: usize,
    len: usize,
    /// The first panel of the output.
    first: usize,
    out: Out,
}

#[inline(always)]
fn many_rows_body<S: Simd, W: Weight>(
    s: S,
    dense: Dense<'_, W>,
    then: Last,
    first: usize,
    count: usize,
    x: Rows<'_>,
    y: &mut [f32],
    out: Out,
    copy: &mut [Group],
    narrow: &mut [[W; LANES]],
) {
    let (_, most_panels) = tile_size(S::REGISTERS);
    let (y, _) = y.as_chunks_mut::<LANES>();
    let mut narrow = Narrow::new(narrow);
    let grouped = x.groups();
    // Long plain rows are read from end to end if all weights stay in the second cache meanwhile.
    let cached = dense.inputs * count * LANES * size_of::<W>() <= SECOND_CACHE;
    let row_by_row = grouped.is_none() && dense.inputs > 8 * BLOCK && cached;
    // A few panels at a time over all rows, if the rows stay in the second cache; else (or if they must be copied) as many
    // as a tile can meet while their weights stay there.
    let rows_stay = rows_stay(x.len(), dense.inputs);
    let direct = is_direct(S::REGISTERS, &x, count);
    let last = first + count;
    let mut panel = first;
    while panel < last {
        let left = last - panel;
        let span = match grouped {
            Some(_) if rows_stay => some(left, most_panels),
            _ => left.div_ceil(left.div_ceil(MANY).max(1)),
        };
        let end = panel + span;
        let (mut start, mut row) = (0, 0);
        while start < dense.inputs && row < x.len() {
            let block = Block { dense, then, start, len: BLOCK.min(dense.inputs - start), first, out };
            let rows = rows_of_tile(S::REGISTERS, x.len() - row, if direct { usize::MAX } else { end - panel });
            if direct {
                direct_tile(s, &block, panel, &x, row, rows, &mut narrow, y);
            }
            let (x_tile, step) = match grouped {
                Some(groups) => (groups.get(start / LANES * x.len() + row..).unwrap_or_default(), x.len()),
                None if direct => (&[][..], 0),
                None => (copy_tile(&x, row, rows, (block.start, block.len), copy), rows),
            };
            let mut panel = if direct { end } else { panel };
            while panel < end {
                panel += panels_of_tile(s, &block, panel, end, x_tile, step, row, rows, &mut narrow, y);
            }
            (start, row) = match row_by_row {
                true if block.start + block.len < dense.inputs => (start + BLOCK, row),
                true => (0, row + rows),
                false if row + rows < x.len() => (start, row + rows),
                false => (start + BLOCK, 0),
            };
        }
        panel = end;
    }
}

/// How many of `left` panels come next, `most` at once: three and one would be worse than two and two.
#[inline(always)]
fn some(left: usize, most: usize) -> usize {
    if left == most + 1 && most > 2 { most - 1 } else { left.min(most) }
}

/// A tile of plain rows and a single panel: what is read once needs no copy.
#[inline(always)]
fn direct_tile<S: Simd, W: Weight>(
    s: S,
    block: &Block<'_, W>,
    panel: usize,
    x: &Rows<'_>,
    row: usize,
    rows: usize,
    narrow: &mut Narrow<'_, W>,
    y: &mut [Group],
) {
    let width = panels::panel_width(block.dense.outputs, panel);
    let full = block.dense.full_panels();
    let weights = if panel < full {
        full_panels::<W, 1>(block, panel)[0]
    } else {
        narrow.block(&block.dense, panel, (block.start, block.len))
    };
    macro_rules! sized {
        ($($rows:literal)*) => {
            match rows {
                $($rows => {
                    let mut tile: [&[f32]; $rows] = [&[]; $rows];
                    for (r, values) in tile.iter_mut().enumerate() {
                        let row = x.row(row + r).and_then(|row| row.get(block.start..)?.get(..block.len));
                        *values = row.unwrap_or_default();
                    }
                    let sums: [[S::F32; 1]; $rows] = plain_tile(s, tile, weights);
                    write(s, block, panel, row, sums, width, y);
                })*
                _ => {}
            }
        };
    }
    sized!(8 7 6 5 4 3 2 1);
}

/// The next panels of a tile; returns how many.
#[inline(always)]
fn panels_of_tile<S: Simd, W: Weight>(
    s: S,
    block: &Block<'_, W>,
    panel: usize,
    end: usize,
    x: &[Group],
    step: usize,
    row: usize,
    rows: usize,
    narrow: &mut Narrow<'_, W>,
    y: &mut [Group],
) -> usize {
    let full = block.dense.full_panels().min(end);
    let (_, most) = tile_size(S::REGISTERS);
    macro_rules! sized {
        ($panels:literal, $weights:expr, $width:expr, $($rows:literal)*) => {
            match rows {
                $($rows => {
                    let sums: [[S::F32; $panels]; $rows] = tile(s, x, step, $weights);
                    write(s, block, panel, row, sums, $width, y);
                })*
                _ => {}
            }
        };
    }
    macro_rules! one_panel {
        ($weights:expr, $width:expr) => {
            if S::REGISTERS >= 32 {
                sized!(1, $weights, $width, 16 8 7 6 5 4 3 2 1)
            } else if S::REGISTERS >= 8 {
                sized!(1, $weights, $width, 6 5 4 3 2 1)
            } else if S::REGISTERS > 1 {
                sized!(1, $weights, $width, 2 1)
            } else {
                sized!(1, $weights, $width, 1)
            }
        };
    }
    let now = if panel < full { some(full - panel, most) } else { 1 };
    if S::REGISTERS >= 32 && now == 3 {
        sized!(3, full_panels(block, panel), LANES, 8 7 6 5 4 3 2 1);
    } else if S::REGISTERS >= 32 && now == 2 {
        sized!(2, full_panels(block, panel), LANES, 8 7 6 5 4 3 2 1);
    } else if is_little(S::REGISTERS) && panel >= full {
        macro_rules! narrow_rows {
            ($($rows:literal)*) => {
                match rows {
                    $($rows => {
                        let (sums, width) = narrow_tile::<S, W, $rows>(s, block, panel, x, step);
                        write(s, block, panel, row, sums, width, y);
                    })*
                    _ => {}
                }
            };
        }
        if S::REGISTERS > 1 {
            narrow_rows!(2 1);
        } else {
            narrow_rows!(1);
        }
    } else {
        let width = panels::panel_width(block.dense.outputs, panel);
        let weights = if panel < full {
            full_panels::<W, 1>(block, panel)[0]
        } else {
            narrow.block(&block.dense, panel, (block.start, block.len))
        };
        one_panel!([weights], width);
    }
    now
}

/// A tile by the narrow last panel without room for a block of it: sixteen inputs at a time are brought to full width.
#[inline(always)]
fn narrow_tile<S: Simd, W: Weight, const R: usize>(
    s: S,
    block: &Block<'_, W>,
    panel: usize,
    x: &[Group],
    step: usize,
) -> ([[S::F32; 1]; R], usize) {
    let width = panels::panel_width(block.dense.outputs, panel);
    let stored = part(block.dense.panel(panel), block.start * width, block.len * width);
    let width = width.max(1);
    let mut sums = [[s.splat(0.0)]; R];
    for (x, stored) in x.chunks(step.max(1)).zip(stored.chunks(LANES * width)) {
        let mut weights = [[W::zeroed(); LANES]; LANES];
        for (group, stored) in weights.iter_mut().zip(stored.chunks_exact(width)) {
            group.iter_mut().zip(stored).for_each(|(lane, value)| *lane = *value);
        }
        let weights = part(&weights, 0, stored.len() / width);
        for (sum, x) in sums.iter_mut().zip(x) {
            sum[0] = W::dot_panel(s, part(x, 0, weights.len()), weights, sum[0]);
        }
    }
    (sums, width)
}

/// The block's weights of `P` full panels.
#[inline(always)]
fn full_panels<'a, W: Weight, const P: usize>(block: &Block<'a, W>, panel: usize) -> [&'a [[W; LANES]]; P] {
    let (groups, _) = block.dense.weights.as_chunks::<LANES>();
    core::array::from_fn(|p| part(groups, (panel + p) * block.dense.inputs + block.start, block.len))
}

/// Adds a tile's sums to the output, and the bias after the last block.
#[inline(always)]
fn write<S: Simd, W: Weight, const R: usize, const P: usize>(
    s: S,
    block: &Block<'_, W>,
    panel: usize,
    row: usize,
    sums: [[S::F32; P]; R],
    width: usize,
    y: &mut [Group],
) {
    let last = block.start + block.len == block.dense.inputs;
    let relu = last && block.then == Last::Relu;
    let bias = if last { block.dense.bias.map(|bias| bias.as_chunks::<LANES>().0) } else { None };
    for p in 0..P {
        let bias = bias.and_then(|bias| bias.get(panel + p)).map(|bias| s.load(bias));
        let at = (panel + p - block.first) * block.out.panel + row * block.out.row;
        let y = y.get_mut(at..).unwrap_or_default();
        for (sums, y) in sums.iter().zip(y.iter_mut().step_by(block.out.row.max(1))) {
            let mut sum = sums[p];
            if block.start > 0 {
                sum = s.add(s.load(y), sum);
            }
            if let Some(bias) = bias {
                sum = s.add(sum, bias);
            }
            if relu {
                sum = s.max(sum, s.splat(0.0));
            }
            s.store(sum, y);
            if width < LANES {
                y[width..].fill(0.0);
            }
        }
    }
}

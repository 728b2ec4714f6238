//! Many rows at once: blocks of the inner dimension, register tiles of rows and panels.
//!
//! A tile reads its rows where they lie, in groups or as plain rows. A few panels at a time meet all rows, with all inputs if
//! those stay in the second cache, else with one block of inputs after the other ([`Order`]).

use super::super::{BLOCK, SECOND_CACHE, groups::Rows, panels, part};
use super::buffers::{Copied, Narrow, Wide, with_zeros};
use super::narrow::NarrowRows;
use super::order::{COPIED, Order};
use super::tile::{Block, Out, Source, Tiles, add_earlier, write};
use super::{Dense, Last, NARROW_OUTPUTS, TOGETHER, Weight, ends_narrow, second_cache, some};
use crate::Level;
use crate::simd::{Group, LANES, Simd, level::kernel};

/// Rows of a tile where all outputs are in one panel: sums of more rows than usual fill the registers.
const TALL: usize = 16;

/// The same with two panels.
const HIGH: usize = 12;

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
    let registers = registers(level);
    let order = Order::new(registers, second_cache(level), &x, dense.inputs, count);
    if is_little(registers) {
        return many_rows_with(level, dense, then, first, count, x, y, out, order, &mut [], &mut [], &mut []);
    }
    let full = first + count <= dense.full_panels();
    if full && dense.inputs <= BLOCK && order.rows == x.len() && W::full(&[]).is_some() {
        return one_block(level, dense, then, first, count, x, y, out);
    }
    // Filling the buffer with zeros takes as long as a small product: it is as large as it must be.
    let none = full || takes_apart(registers, &dense, (first, count), x.len());
    let narrow = if none { 0 } else { BLOCK.min(dense.inputs) };
    let panels = if widens::<W>(registers, x.len()) { count.min(tile_size(registers).1) } else { 0 };
    let wide = panels * BLOCK.min(dense.inputs);
    let copied = if order.copies { COPIED } else { 0 };
    with_zeros::<16, 128, BLOCK, [W; LANES]>(narrow, |narrow| {
        with_zeros::<BLOCK, { 2 * BLOCK }, { TOGETHER * BLOCK }, Group>(wide, |wide| {
            with_zeros::<0, 0, COPIED, Group>(copied, |copied| {
                many_rows_with(level, dense, then, first, count, x, y, out, order, narrow, wide, copied);
            });
        });
    });
}

kernel! {
    fn one_block<W: Weight>(
        dense: Dense<'_, W>, then: Last, first: usize, count: usize, x: Rows<'_>, y: &mut [f32], out: Out,
    ) = one_block_body
}

/// All panels full, and the inputs one block: what is small is done before the general case has begun.
#[inline(always)]
fn one_block_body<S: Simd, W: Weight>(
    s: S,
    dense: Dense<'_, W>,
    then: Last,
    first: usize,
    count: usize,
    x: Rows<'_>,
    y: &mut [f32],
    out: Out,
) {
    if is_little(S::REGISTERS) {
        return;
    }
    let (y, _) = y.as_chunks_mut::<LANES>();
    let (groups, _) = dense.weights.as_chunks::<LANES>();
    let block = &Block { dense, then, start: 0, len: dense.inputs, first, out, far: false };
    let from = &Source { x, row: 0, input: 0 };
    let (mut panel, end) = (first, first + count);
    while panel < end {
        let now = some(end - panel, tile_size(S::REGISTERS).1);
        let mut row = 0;
        for (size, count) in tiles_of(S::REGISTERS, x.len(), now, now == 1 && x.groups().is_some()) {
            if count == 0 {
                continue;
            }
            macro_rules! tiles {
                ($panels:literal, $($rows:literal)*) => {{
                    let mut weights: [&[[W; LANES]]; $panels] = [&[]; $panels];
                    for p in 0..$panels {
                        weights[p] = part(groups, (panel + p) * dense.inputs, dense.inputs);
                    }
                    let next = [&[][..]; $panels];
                    match size {
                        $($rows => s.apart(Tiles::<W, $rows, $panels> { block, from, row, count, panel, weights, next, y }),)*
                        _ => {}
                    }
                }};
            }
            if S::REGISTERS < 32 {
                tiles!(1, 6 5 4 3 2 1);
            } else if now == 3 {
                tiles!(3, 8 7 6 5 4 3 2 1);
            } else if now == 2 {
                tiles!(2, 12 11 10 9 8 7 6 5 4 3 2 1);
            } else {
                tiles!(1, 16 8 7 6 5 4 3 2 1);
            }
            row += size * count;
        }
        panel += now;
    }
}

kernel! { fn registers() -> usize = registers_body; }

#[inline(always)]
fn registers_body<S: Simd>(_: S) -> usize {
    S::REGISTERS
}

/// Whether the level may be a microcontroller's, whose whole memory may be 16 KiB.
pub(super) const fn is_little(registers: usize) -> bool {
    registers < 8
}

kernel! {
    fn many_rows_with<W: Weight>(
        dense: Dense<'_, W>, then: Last, first: usize, count: usize, x: Rows<'_>, y: &mut [f32], out: Out,
        order: Order, narrow: &mut [[W; LANES]], wide: &mut [Group], copied: &mut [Group],
    ) = many_rows_body
}

/// Whether the last of `count` panels from `first` on is so narrow, and the rows so many, that it is cheaper by itself: turning
/// the inputs costs as much as eight lanes. Only where that is a matter of registers, and weights need no widening.
#[inline(always)]
fn takes_apart<W: Weight>(registers: usize, dense: &Dense<'_, W>, (first, count): (usize, usize), rows: usize) -> bool {
    let most = if registers >= 32 { NARROW_OUTPUTS } else { LANES / 4 };
    !is_little(registers)
        && rows >= LANES
        && W::full(dense.weights).is_some()
        && ends_narrow(dense.outputs, first, count, most)
}

/// Whether weights of half precision are widened before tiles meet them: from two tiles on.
#[inline(always)]
fn widens<W: Weight>(registers: usize, rows: usize) -> bool {
    W::full(&[]).is_none() && !is_little(registers) && rows > tile_size(registers).0
}

/// Rows and panels of a tile, by the size of the register file: sums, a panel each of weights, one splat.
pub(super) const fn tile_size(registers: usize) -> (usize, usize) {
    match registers {
        32.. => (8, 3),
        8.. => (6, 1),
        2.. => (2, 1),
        _ => (1, 1),
    }
}

/// Sizes of the tiles of `rows` rows by `panels` panels, and how many have each. Spread evenly, as a short last tile would leave
/// most of the register file idle.
const fn tiles_of(registers: usize, rows: usize, panels: usize, tall: bool) -> [(usize, usize); 3] {
    let (talls, rest) = if registers >= 32 && tall { (rows / TALL, rows % TALL) } else { (0, rows) };
    let most = if registers >= 32 && panels == 2 { HIGH } else { tile_size(registers).0 };
    let tiles = rest.div_ceil(most);
    if tiles == 0 {
        return [(TALL, talls), (0, 0), (0, 0)];
    }
    // The rows that full tiles would have too many are spread over the tiles, without a division: it takes as long as a tile
    // of a small product.
    let (mut size, mut missing) = (most, tiles * most - rest);
    while missing >= tiles {
        size -= 1;
        missing -= tiles;
    }
    if missing == 0 {
        return [(TALL, talls), (size, tiles), (0, 0)];
    }
    [(TALL, talls), (size, tiles - missing), (size - 1, missing)]
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
    order: Order,
    narrow: &mut [[W; LANES]],
    wide: &mut [Group],
    copied: &mut [Group],
) {
    let (_, most_panels) = tile_size(S::REGISTERS);
    let (y, _) = y.as_chunks_mut::<LANES>();
    let mut buffers = (Narrow::new(narrow), Wide::new(wide));
    let mut copied = Copied::new(copied);
    let is_plain = x.groups().is_none();
    // A tile goes on from block to block, so that its sums never leave the first cache, if the weights of its panels stay in
    // the second cache until the next tile. Long plain rows are read from end to end so.
    let bytes = dense.inputs * LANES * size_of::<W>();
    let whole = order.inputs >= dense.inputs;
    let near = bytes * most_panels <= S::SECOND_CACHE && whole
        || bytes * count <= SECOND_CACHE && is_plain && dense.inputs > 8 * BLOCK;
    // Beyond the second cache the next weights and the places of the outputs are asked for ahead.
    let far = S::REGISTERS >= 32 && (x.len() + dense.inputs) * count * LANES * size_of::<f32>() > SECOND_CACHE;
    let widens = widens::<W>(S::REGISTERS, x.len());
    // Of widened panels there is one block at a time.
    let goes_on = near && !widens;
    let mut last = first + count;
    if takes_apart(S::REGISTERS, &dense, (first, count), x.len()) {
        last -= 1;
        let y = y.get_mut((last - first) * out.panel..).unwrap_or_default();
        let bias = dense.bias.and_then(|bias| bias.as_chunks().0.get(last));
        let (inputs, width, weights) =
            (dense.inputs, panels::panel_width(dense.outputs, last), W::full(dense.panel(last)).unwrap_or_default());
        s.apart(NarrowRows { inputs, width, weights, bias, then, x, y, step: out.row });
    }
    let everything = Source { x, row: 0, input: 0 };
    // No ranges with steps, which divide: a small product takes as long as two or three divisions.
    let mut first_row = 0;
    while first_row < x.len() {
        let rows = order.rows.min(x.len() - first_row);
        let mut panel = first;
        while panel < last {
            let left = last - panel;
            let full = dense.full_panels().saturating_sub(panel).min(left);
            let span = if whole || full == 0 { some(left, most_panels) } else { full };
            let end = panel + span;
            let sizes = tiles_of(S::REGISTERS, rows, span.min(most_panels), span == 1 && !is_plain);
            // Of a narrow panel there is one block at a time.
            let is_full = end <= dense.full_panels();
            let mut start = 0;
            while start < dense.inputs {
                let left = dense.inputs - start;
                let step = if is_full && !widens && !whole { order.inputs } else { BLOCK };
                let len = if is_full && (goes_on || S::REGISTERS >= 8 && !widens && left <= step + BLOCK / 2) {
                    left
                } else {
                    step.min(left)
                };
                let block = Block { dense, then, start, len, first, out, far };
                // Not compiled where there is no room for it.
                let copy =
                    if is_little(S::REGISTERS) { None } else { copied.block(s, &x, (first_row, rows), (start, len)) };
                let from = copy.as_ref().unwrap_or(&everything);
                let mut panel = panel;
                while panel < end {
                    let (mut row, mut now) = (first_row, 1);
                    for (size, count) in sizes {
                        if count > 0 {
                            now = panels_of_tiles(s, &block, panel, end, from, row, (size, count), &mut buffers, y);
                            row += size * count;
                        }
                    }
                    panel += now;
                }
                start += len;
            }
            panel = end;
        }
        first_row += rows;
    }
}

/// `count` tiles of `size` rows by the next panels; returns how many panels.
#[inline(always)]
fn panels_of_tiles<S: Simd, W: Weight>(
    s: S,
    block: &Block<'_, W>,
    panel: usize,
    end: usize,
    from: &Source<'_>,
    row: usize,
    (size, count): (usize, usize),
    (narrow, wide): &mut (Narrow<'_, W>, Wide<'_>),
    y: &mut [Group],
) -> usize {
    let full = block.dense.full_panels();
    let (_, most) = tile_size(S::REGISTERS);
    let now = some(end - panel, most);
    // Block by block, the next panels' weights are far from these.
    let (groups, _) = block.dense.weights.as_chunks::<LANES>();
    let asks = block.len < block.dense.inputs || block.far;
    let far = S::PREFETCHES && asks && panel + 2 * now <= end.min(full);
    let next = |p: usize| -> &[u8] {
        let first = (panel + now + p) * block.dense.inputs + block.start;
        if far { bytemuck::cast_slice(part(groups, first, block.len)) } else { &[] }
    };
    macro_rules! sized {
        ($panels:literal, $weights:expr, $($rows:literal)*) => {{
            let weights: [&[[W; LANES]]; $panels] = $weights;
            let mut coming: [&[u8]; $panels] = [&[]; $panels];
            for p in 0..$panels {
                coming[p] = next(p);
            }
            let next = coming;
            if W::full(&[]).is_none() && !is_little(S::REGISTERS) && count > 1 {
                let block = block.widened();
                if let Some(weights) = wide.block(s, (panel, block.start), weights) {
                    let block = &block;
                    match size {
                        $($rows => s.apart(Tiles::<f32, $rows, $panels> { block, from, row, count, panel, weights, next, y }),)*
                        _ => {}
                    }
                    return $panels;
                }
            }
            match size {
                $($rows => s.apart(Tiles::<W, $rows, $panels> { block, from, row, count, panel, weights, next, y }),)*
                _ => {}
            }
        }};
    }
    if S::REGISTERS >= 32 && now == 3 {
        sized!(3, some_weights(block, panel, narrow), 8 7 6 5 4 3 2 1);
    } else if S::REGISTERS >= 32 && now == 2 {
        sized!(2, some_weights(block, panel, narrow), 12 11 10 9 8 7 6 5 4 3 2 1);
    } else if is_little(S::REGISTERS) && panel >= full {
        for tile in 0..count {
            let row = row + tile * size;
            if S::REGISTERS > 1 && size == 2 {
                let mut sums: [[S::F32; 1]; 2] = narrow_tile(s, block, panel, &from.x, row);
                add_earlier(s, block, panel, row, &mut sums, y);
                write(s, block, panel, row, sums, y);
            } else {
                let mut sums: [[S::F32; 1]; 1] = narrow_tile(s, block, panel, &from.x, row);
                add_earlier(s, block, panel, row, &mut sums, y);
                write(s, block, panel, row, sums, y);
            }
        }
    } else {
        if S::REGISTERS >= 32 {
            sized!(1, some_weights(block, panel, narrow), 16 8 7 6 5 4 3 2 1);
        } else if S::REGISTERS >= 8 {
            sized!(1, some_weights(block, panel, narrow), 6 5 4 3 2 1);
        } else if S::REGISTERS > 1 {
            sized!(1, some_weights(block, panel, narrow), 2 1);
        } else {
            sized!(1, some_weights(block, panel, narrow), 1);
        }
    }
    now
}

/// A tile by the narrow last panel without room for a block of it: sixteen inputs at a time are brought to full width.
#[inline(always)]
fn narrow_tile<S: Simd, W: Weight, const R: usize>(
    s: S,
    block: &Block<'_, W>,
    panel: usize,
    x: &Rows<'_>,
    row: usize,
) -> [[S::F32; 1]; R] {
    let width = panels::panel_width(block.dense.outputs, panel);
    let stored = part(block.dense.panel(panel), block.start * width, block.len * width);
    let width = width.max(1);
    let mut sums = [[s.splat(0.0)]; R];
    for (g, stored) in stored.chunks(LANES * width).enumerate() {
        let mut weights = [[W::zeroed(); LANES]; LANES];
        for (group, stored) in weights.iter_mut().zip(stored.chunks_exact(width)) {
            group.iter_mut().zip(stored).for_each(|(lane, value)| *lane = *value);
        }
        let weights = part(&weights, 0, stored.len() / width);
        for (r, sum) in sums.iter_mut().enumerate() {
            let Some(x) = x.sixteen(row + r, block.start / LANES + g) else { continue };
            sum[0] = W::dot_panel(s, part(x, 0, weights.len().min(x.len())), weights, sum[0]);
        }
    }
    sums
}

/// The block's weights of `P` panels.
#[inline(always)]
fn some_weights<'a, W: Weight, const P: usize>(
    block: &Block<'a, W>,
    panel: usize,
    narrow: &'a mut Narrow<'_, W>,
) -> [&'a [[W; LANES]]; P] {
    let (groups, _) = block.dense.weights.as_chunks::<LANES>();
    let mut panels: [&[[W; LANES]]; P] = [&[]; P];
    let full = P.min(block.dense.full_panels().saturating_sub(panel));
    for (p, weights) in panels.iter_mut().enumerate().take(full) {
        *weights = part(groups, (panel + p) * block.dense.inputs + block.start, block.len);
    }
    if full < P {
        panels[P - 1] = narrow.block(&block.dense, panel + P - 1, (block.start, block.len));
    }
    panels
}

//! A dense layer on rows that are lists of indices: the features that are 1, all others being 0 (multi-hot, a bag of words).
//!
//! One listed input is one group of sixteen weights of each panel, so the layer reads the listed rows of its weights and
//! nothing else, and its weight gradient is written there only. **The bits are those of the dense form** on the same zeros
//! and ones, as long as weights and gradients are finite. The argument, for one lane of one output (`DESIGN.md`, contract, 3):
//!
//! 1. A chain starts from +0.0 and never holds -0.0. A sum rounded to nearest is -0.0 only if both terms are -0.0 (a
//!    difference of equal numbers is +0.0, and a sum of two `f32` never underflows: it is a multiple of the smallest
//!    subnormal, so exact where it is small). By induction one of the two, the chain, never is.
//! 2. A term of 0: `fma(0, w, acc)` with finite `w` is `acc + ±0.0`, which is `acc` for every `acc` but -0.0. So it may be
//!    left out. For an infinite or NaN `w` it is NaN: there the dense form spoils every row, this one the rows that list it.
//! 3. A term of 1: `fma(1, w, acc)` is `acc + w` rounded once; a level that rounds twice rounds the exact product `w` first,
//!    which changes nothing. So it may be an addition, on every level.
//! 4. A block of 256 inputs of which none is listed has the sum +0.0. Totals are sums of chains, so by 1 never -0.0, and adding
//!    +0.0 changes nothing: empty blocks may be left out too. For the same reason the total may start from +0.0, where the
//!    contract says that the first block's sum *is* the first total.
//!
//! Over rows, in the weight gradient, it is the same with `dy` for `w`. A gradient that nothing listed is exactly +0.0.
//!
//! Does not allocate and has no path to a panic; must not depend on layers or networks.

use super::accumulate::{Chain, chains};
use super::dense::{Dense, Last, Weight, panels_per_task};
use super::{BLOCK, activation, panels, part};
use crate::Level;
use crate::error::{Error, check_len};
use crate::layer::{Activation, MAX_WIDTH, padded};
use crate::simd::{Group, Kernel, LANES, Simd, level::kernel};
use crate::split::Split;

/// Rows of ones and zeros, each as the ascending list of the features that are 1.
///
/// The lists lie one after the other in `indices`; row `r` is `indices[offsets[r]..offsets[r + 1]]`, so there is one offset
/// more than rows. A list may be empty.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IndexLists<'a> {
    offsets: &'a [usize],
    indices: &'a [u32],
    features: usize,
}

impl<'a> IndexLists<'a> {
    /// Looks at every index once.
    ///
    /// # Errors
    /// [`Error::Widths`] for no features or too many, [`Error::Offsets`] for offsets that do not ascend from 0 to the number of
    /// indices, [`Error::Index`] for one beyond the features, [`Error::IndexOrder`] for one that is not larger than the one
    /// before it: twice the same feature would mean a 2.
    pub fn new(features: usize, offsets: &'a [usize], indices: &'a [u32]) -> Result<Self, Error> {
        if features == 0 || features > MAX_WIDTH {
            return Err(Error::Widths { inputs: features, layers: 0 });
        }
        let mut end = 0;
        for (at, offset) in offsets.iter().enumerate() {
            let wrong = if at == 0 { *offset != 0 } else { *offset < end || *offset > indices.len() };
            if wrong {
                return Err(Error::Offsets { at, offset: *offset, before: end, indices: indices.len() });
            }
            end = *offset;
        }
        if offsets.is_empty() || end != indices.len() {
            let at = offsets.len().saturating_sub(1);
            return Err(Error::Offsets { at, offset: end, before: end, indices: indices.len() });
        }
        let lists = Self { offsets, indices, features };
        for row in 0..lists.len() {
            let mut before = None;
            for (position, index) in lists.row(row).iter().enumerate() {
                if *index as usize >= features {
                    return Err(Error::Index { row, position, index: *index, features });
                }
                if let Some(before) = before.filter(|before| before >= index) {
                    return Err(Error::IndexOrder { row, position, index: *index, before });
                }
                before = Some(*index);
            }
        }
        Ok(lists)
    }

    /// Lists whose every row was part of checked ones.
    #[cfg(feature = "alloc")]
    pub(crate) const fn trusted(features: usize, offsets: &'a [usize], indices: &'a [u32]) -> Self {
        Self { offsets, indices, features }
    }

    /// Number of rows.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// Whether there is no row.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Features of a row, listed or not.
    #[must_use]
    pub const fn features(&self) -> usize {
        self.features
    }

    /// Number of ones in all rows.
    #[must_use]
    pub fn ones(&self) -> usize {
        match (self.offsets.first(), self.offsets.last()) {
            (Some(first), Some(last)) => last.saturating_sub(*first),
            _ => 0,
        }
    }

    /// The list of a row; empty if there is no such row.
    #[inline(always)]
    #[must_use]
    pub fn row(&self, row: usize) -> &'a [u32] {
        match part(self.offsets, row, 2) {
            [start, end] => part(self.indices, *start, end.saturating_sub(*start)),
            _ => &[],
        }
    }

    /// `count` rows from `first` on, none if there are not so many.
    #[must_use]
    pub fn part(&self, first: usize, count: usize) -> Self {
        Self { offsets: part(self.offsets, first, count.saturating_add(1)), ..*self }
    }

    /// Writes the rows as zeros and ones, [`features`](Self::features) values each, as far as `plain` has room.
    pub fn write_plain(&self, plain: &mut [f32]) {
        plain.fill(0.0);
        for (row, plain) in plain.chunks_exact_mut(self.features.max(1)).enumerate() {
            for index in self.row(row) {
                if let Some(value) = plain.get_mut(*index as usize) {
                    *value = 1.0;
                }
            }
        }
    }
}

/// `y = x Wᵀ + b`, then the activation: the bits of [`dense::forward_then`](super::dense::forward_then) on the same rows as
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
                    rows_at_once::<S, W, 2>(s, weights, x, finish, y);
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

/// A row on its way through its list.
struct Walk<'x, S: Simd> {
    row: usize,
    rest: &'x [u32],
    before: u32,
    total: S::F32,
    acc: S::F32,
}

impl<'x, S: Simd> Walk<'x, S> {
    fn new(s: S, x: &IndexLists<'x>, row: usize) -> Self {
        Self { row, rest: x.row(row), before: 0, total: s.splat(0.0), acc: s.splat(0.0) }
    }
}

/// Adds the weight of an input. Where a block ends is what a CPU cannot guess, and a wrong guess costs more than all else; so
/// there is no branch: the chain times 1 or 0 goes into the total, the chain times 0 or 1 gets the weight.
///
/// Times 1 is exact, times 0 is a zero that adds nothing (see above; a chain that so becomes -0.0 still adds nothing to a total
/// that never is). Only an infinite chain is spoiled, and then the row's sum is not finite.
#[inline(always)]
fn step<S: Simd>(s: S, index: u32, weight: S::F32, before: &mut u32, total: &mut S::F32, acc: &mut S::F32) {
    /// What of a chain goes into the total, and what is kept of it: side by side, whichever of the two places it begins.
    const SHARES: [f32; 3] = [0.0, 1.0, 0.0];
    let ends = usize::from(*before / BLOCK as u32 != index / BLOCK as u32);
    *before = index;
    *total = s.mul_add(*acc, s.splat(SHARES[ends]), *total);
    *acc = s.mul_add(*acc, s.splat(SHARES[ends + 1]), weight);
}

/// All rows over a full panel, `L` at a time, as the chain of one waits for each addition: a row that is done makes room for
/// the next one. Two are best, also where there are registers for more vectors: the addresses need as many of the others.
#[inline(always)]
fn rows_at_once<S: Simd, W: Weight, const L: usize>(
    s: S,
    weights: &[[W; LANES]],
    x: IndexLists<'_>,
    finish: impl Fn(S::F32) -> S::F32,
    y: &mut [Group],
) {
    // Small cores, which are not to link a panic, do not come here.
    let weight = |index: u32| W::load(s, &weights[index as usize]);
    let mut end = |walk: &Walk<'_, S>| {
        let Some(y) = y.get_mut(walk.row) else { return };
        let mut sum = s.add(walk.total, walk.acc);
        s.store(sum, y);
        if y.iter().any(|value| !value.is_finite()) {
            sum = self::sum(s, x.row(walk.row), |index| Some(weight(index)));
        }
        s.store(finish(sum), y);
    };
    let mut walks: [Walk<'_, S>; L] = core::array::from_fn(|row| Walk::new(s, &x, row));
    let mut next = walks.len();
    loop {
        for walk in &mut walks {
            while walk.rest.is_empty() && walk.row < x.len() {
                end(walk);
                *walk = Walk::new(s, &x, next);
                next += 1;
            }
        }
        let common = walks.iter().fold(usize::MAX, |common, walk| common.min(walk.rest.len()));
        if common == 0 {
            // The last rows end one by one: a walk without a row has nothing left.
            let Some(walk) = walks.iter_mut().find(|walk| !walk.rest.is_empty()) else { return };
            let (mut before, mut total, mut acc) = (walk.before, walk.total, walk.acc);
            for index in walk.rest {
                step(s, *index, weight(*index), &mut before, &mut total, &mut acc);
            }
            (walk.rest, walk.total, walk.acc) = (&[], total, acc);
            continue;
        }
        let mut befores: [u32; L] = core::array::from_fn(|w| walks[w].before);
        let mut totals: [S::F32; L] = core::array::from_fn(|w| walks[w].total);
        let mut accs: [S::F32; L] = core::array::from_fn(|w| walks[w].acc);
        let lists: [&[u32]; L] = core::array::from_fn(|w| &walks[w].rest[..common]);
        for k in 0..common {
            for w in 0..L {
                let index = lists[w][k];
                step(s, index, weight(index), &mut befores[w], &mut totals[w], &mut accs[w]);
            }
        }
        for w in 0..L {
            walks[w].rest = &walks[w].rest[common..];
            (walks[w].before, walks[w].total, walks[w].acc) = (befores[w], totals[w], accs[w]);
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

/// Gradient of the weights, written (not added) in panel layout: the bits of
/// [`dense::weight_gradient`](super::dense::weight_gradient) on the same rows as zeros and ones, if `dy` is finite.
///
/// `dy` is in groups, `padded(outputs)` values for each row, those beyond the last output zero.
///
/// # Errors
/// [`Error::Length`] or [`Error::Shape`] if a slice does not have the length that the shape asks for.
pub fn weight_gradient(
    level: Level,
    split: &impl Split,
    (inputs, outputs): (usize, usize),
    x: IndexLists<'_>,
    dy: &[f32],
    gradient: &mut [f32],
) -> Result<(), Error> {
    super::dense::check_shape(inputs, outputs)?;
    check_len("input features", inputs, x.features())?;
    check_len("output gradient", x.len().saturating_mul(padded(outputs)), dy.len())?;
    check_len("weight gradient", panels::weight_len(inputs, outputs), gradient.len())?;
    let per_task = panels_per_task(outputs, x.ones(), split.workers());
    split.run([gradient], [per_task * LANES * inputs], &|task, [gradient]| {
        let first = task * per_task;
        let dy = dy.get(first * LANES * x.len()..).unwrap_or_default();
        gradient.fill(0.0);
        add_weights(level, (inputs, outputs), first, 0, x, dy, gradient);
    });
    Ok(())
}

kernel! {
    /// Adds to the weight gradients of the panels from `first` on, as many as `gradient` holds; `dy` begins with panel
    /// `first`, `before` rows of the batch have been added already ([`accumulate`](super::accumulate)).
    pub(crate) fn add_weights(
        shape: (usize, usize), first: usize, before: usize, x: IndexLists<'_>, dy: &[f32], gradient: &mut [f32],
    ) = add_weights_body
}

#[inline(always)]
fn add_weights_body<S: Simd>(
    s: S,
    (inputs, outputs): (usize, usize),
    first: usize,
    before: usize,
    x: IndexLists<'_>,
    dy: &[f32],
    gradient: &mut [f32],
) {
    let rows = x.len();
    let (dy, _) = dy.as_chunks::<LANES>();
    for (panel, gradient) in gradient.chunks_mut((LANES * inputs).max(1)).enumerate() {
        let dy = part(dy, panel * rows, rows);
        for chain in chains(before, rows) {
            match panels::panel_width(outputs, first + panel) {
                4 => add_chain::<S, 4>(s, x, dy, chain, gradient),
                8 => add_chain::<S, 8>(s, x, dy, chain, gradient),
                12 => add_chain::<S, 12>(s, x, dy, chain, gradient),
                _ => add_chain::<S, LANES>(s, x, dy, chain, gradient),
            }
        }
    }
}

/// The rows of one chain. While the total is the chain itself, they are added where they belong, in any part of the
/// gradient; later chains have to be sums of their own.
#[inline(always)]
fn add_chain<S: Simd, const WIDTH: usize>(s: S, x: IndexLists<'_>, dy: &[Group], chain: Chain, gradient: &mut [f32]) {
    let (places, _) = gradient.as_chunks_mut::<WIDTH>();
    if chain.adds {
        return if S::REGISTERS >= 8 {
            s.apart(Later::<WIDTH, 1024> { x, dy, chain, places })
        } else {
            s.apart(Later::<WIDTH, 64> { x, dy, chain, places })
        };
    }
    for (row, dy) in dy.iter().enumerate().skip(chain.start).take(chain.len) {
        for index in x.row(row) {
            if let Some(place) = places.get_mut(*index as usize) {
                add(s, place, dy);
            }
        }
    }
}

/// Adds as many lanes as the place has.
#[inline(always)]
fn add<S: Simd, const WIDTH: usize>(s: S, place: &mut [f32; WIDTH], dy: &Group) {
    if let Some(place) = place.first_chunk_mut::<LANES>() {
        s.store(s.add(s.load(place), s.load(dy)), place);
    } else {
        place.iter_mut().zip(dy).for_each(|(place, dy)| *place += *dy);
    }
}

/// A chain that is added to the total: `INPUTS` inputs at a time, whose sums are near and not too many for the stack (64 KiB,
/// or 4 on a small core, where batches of more than 256 rows are rare).
struct Later<'a, const WIDTH: usize, const INPUTS: usize> {
    x: IndexLists<'a>,
    dy: &'a [Group],
    chain: Chain,
    places: &'a mut [[f32; WIDTH]],
}

impl<const WIDTH: usize, const INPUTS: usize> Kernel for Later<'_, WIDTH, INPUTS> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { x, dy, chain, places } = self;
        let (x, dy) = (x.part(chain.start, chain.len), part(dy, chain.start, chain.len));
        // How much of each row's list is done: a chain has no more rows than a block.
        let mut done = [0_u32; BLOCK];
        for (places, end) in places.chunks_mut(INPUTS).zip((INPUTS..).step_by(INPUTS)) {
            let mut sums = [[0.0; WIDTH]; INPUTS];
            for ((row, dy), done) in dy.iter().enumerate().zip(&mut done) {
                let rest = x.row(row).get(*done as usize..).unwrap_or_default();
                for index in rest.iter().take_while(|index| (**index as usize) < end) {
                    add(s, &mut sums[*index as usize % INPUTS], dy);
                    *done += 1;
                }
            }
            for (place, sum) in places.iter_mut().zip(&sums) {
                if let (Some(place), Some(sum)) = (place.first_chunk_mut::<LANES>(), sum.first_chunk::<LANES>()) {
                    s.store(s.add(s.load(place), s.load(sum)), place);
                } else {
                    place.iter_mut().zip(sum).for_each(|(place, sum)| *place += *sum);
                }
            }
        }
    }
}

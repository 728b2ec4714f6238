//! Gradient of a dense layer's weights on index lists.

use super::IndexLists;
use crate::Level;
use crate::error::{Error, check_len};
use crate::kernels::accumulate::{Chain, chains};
use crate::kernels::dense::{check_shape, panels_per_task};
use crate::kernels::{BLOCK, panels, part};
use crate::layer::padded;
use crate::simd::{Group, Kernel, LANES, Simd, level::kernel};
use crate::split::Split;

/// Gradient of the weights, written (not added) in panel layout: the bits of
/// [`dense::weight_gradient`](crate::kernels::dense::weight_gradient) on the same rows as zeros and ones, if `dy` is finite.
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
    check_shape(inputs, outputs)?;
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
    /// `first`, `before` rows of the batch have been added already ([`accumulate`](crate::kernels::accumulate)).
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
        let lanes = s.load(dy);
        for index in x.row(row) {
            if let Some(place) = places.get_mut(*index as usize) {
                add(s, place, lanes, dy);
            }
        }
    }
}

/// Adds as many lanes as the place has: `lanes`, which were loaded from `dy`.
#[inline(always)]
fn add<S: Simd, const WIDTH: usize>(s: S, place: &mut [f32; WIDTH], lanes: S::F32, dy: &Group) {
    if let Some(place) = place.first_chunk_mut::<LANES>() {
        s.store(s.add(s.load(place), lanes), place);
    } else {
        place.iter_mut().zip(dy).for_each(|(place, dy)| *place += *dy);
    }
}

/// Sums on the stack, none across two lines of a cache.
#[repr(align(64))]
struct Aligned<const WIDTH: usize, const INPUTS: usize>([[f32; WIDTH]; INPUTS]);

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
        let mut sums = Aligned([[0.0; WIDTH]; INPUTS]);
        for (places, end) in places.chunks_mut(INPUTS).zip((INPUTS..).step_by(INPUTS)) {
            for ((row, dy), done) in dy.iter().enumerate().zip(&mut done) {
                let rest = x.row(row).get(*done as usize..).unwrap_or_default();
                let (lanes, mut count) = (s.load(dy), 0);
                for index in rest.iter().take_while(|index| (**index as usize) < end) {
                    add(s, &mut sums.0[*index as usize % INPUTS], lanes, dy);
                    count += 1;
                }
                *done += count;
            }
            for (place, sum) in places.iter_mut().zip(&mut sums.0) {
                if let (Some(place), Some(sum)) = (place.first_chunk_mut::<LANES>(), sum.first_chunk_mut::<LANES>()) {
                    s.store(s.add(s.load(place), s.load(sum)), place);
                    s.store(s.splat(0.0), sum);
                } else {
                    place.iter_mut().zip(sum).for_each(|(place, sum)| *place += core::mem::take(sum));
                }
            }
        }
    }
}

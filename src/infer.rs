//! Inference on an image: borrows the bytes, works in the caller's scratch, allocates nothing.
//!
//! Needs only `image` and the kernels. A row's result does not depend on the rows it came with, nor on the length of
//! the scratch, nor on the threads (numeric contract).

mod lists;
mod single;

pub use single::Single;

use crate::TOOLBOX;
use crate::error::{Error, check_len};
use crate::image::{Image, Op, Weights};
use crate::kernels::dense::{self, Dense};
use crate::kernels::groups::{Rows, from_groups, to_groups};
use crate::kernels::{BLOCK, SECOND_CACHE, activation, layernorm, part, prelu, softmax};
use crate::layer::padded;
use crate::simd::{LANES, Level, Simd, level::kernel};
use crate::split::{Serial, Split};

/// A network ready to run.
#[derive(Clone, Copy, Debug)]
pub struct Net<'a> {
    image: Image<'a>,
}

impl<'a> Net<'a> {
    /// The network of a checked image. There is nothing left to prepare, so this costs nothing.
    #[must_use]
    pub const fn new(image: Image<'a>) -> Self {
        Self { image }
    }

    /// The image.
    #[must_use]
    pub const fn image(&self) -> &Image<'a> {
        &self.image
    }

    /// Number of input features.
    #[must_use]
    pub const fn inputs(&self) -> usize {
        self.image.inputs()
    }

    /// Number of output features.
    #[must_use]
    pub const fn outputs(&self) -> usize {
        self.image.outputs()
    }

    /// Length of the scratch for `rows` rows at a time, in values: two rows of the widest layer for each.
    ///
    /// One row's worth is enough for any number of rows; the weights are then read once per row. With more, they are
    /// read once for as many rows as fit: a few hundred are best, more change nothing. Threads that share the rows of a
    /// batch each take their part of the scratch.
    #[must_use]
    pub const fn scratch_len(&self, rows: usize) -> usize {
        (2 * self.image.scratch_width()).saturating_mul(rows)
    }

    /// Runs the network on as many rows as `input` holds.
    ///
    /// `input`: rows of [`inputs`](Net::inputs) values, `output`: as many rows of [`outputs`](Net::outputs) values,
    /// both without padding. `scratch`: at least [`scratch_len(1)`](Net::scratch_len) values, contents irrelevant;
    /// it decides how many rows go through the layers together, never a result. NaN and infinity pass through.
    ///
    /// # Errors
    /// [`Error::Length`] if there is no row or a part of one, if `output` has not the same number of rows, or if
    /// `scratch` is too short; nothing has been written then.
    pub fn infer(
        &self,
        level: Level,
        split: &impl Split,
        input: &[f32],
        output: &mut [f32],
        scratch: &mut [f32],
    ) -> Result<(), Error> {
        // Never 0 in a checked image; said for the divisions, which would link a panic into firmware.
        let (inputs, outputs) = (self.inputs().max(1), self.outputs().max(1));
        let rows = input.len() / inputs;
        check_len("input", rows.max(1) * inputs, input.len())?;
        check_len("output", rows.saturating_mul(outputs), output.len())?;
        let one = self.scratch_len(1).max(1);
        let found = scratch.len();
        let too_short = Error::Length { what: "scratch", expected: one, found };
        if found < one {
            return Err(too_short);
        }
        let tasks = self.tasks(rows, split.workers()).min(scratch.len() / one);
        if tasks < 2 {
            let at_once = evenly(rows, self.at_once().min(scratch.len() / one));
            let scratch = scratch.get_mut(..at_once.saturating_mul(one)).ok_or(too_short)?;
            return self.rows(level, split, input, output, scratch);
        }
        // Each task takes its rows through all layers, with no other to wait for. What could fail is looked at here: a
        // task has nobody to tell.
        self.image.ops().try_for_each(|op| check_op(&op))?;
        let per_task = rows.div_ceil(tasks);
        let at_once = evenly(per_task, self.at_once().min(scratch.len() / one / tasks));
        split.run([output, scratch], [per_task * outputs, at_once * one], &|task, [output, scratch]| {
            let input = part(input, task * per_task * inputs, output.len() / outputs * inputs);
            let _checked = self.rows(level, &Serial, input, output, scratch);
        });
        Ok(())
    }

    /// How many tasks may share the rows of a batch; 1 divides each layer instead.
    ///
    /// Weights beyond the caches are better read by one thread each in part than by all threads in whole, unless there
    /// are rows enough to make up for it.
    fn tasks(&self, rows: usize, workers: usize) -> usize {
        /// Multiply-adds worth handing to another thread: some ten microseconds.
        const WORTH: usize = 1 << 18;
        const CACHED: usize = 8 << 20;
        let weights = self.image.bytes().len();
        let tasks = (weights / 4).saturating_mul(rows) / WORTH;
        let tasks = tasks.min(workers).min(rows);
        if weights > CACHED && rows < 128 * workers { 1 } else { tasks }
    }

    /// Rows that go through the layers together: as many as make good use of the weights, and as few as leave room
    /// for them in the second cache, if they fit there at all.
    fn at_once(&self) -> usize {
        if self.image.bytes().len() > 3 * SECOND_CACHE / 2 {
            return BLOCK;
        }
        (SECOND_CACHE / 4 / self.scratch_len(1).max(1)).clamp(24, BLOCK)
    }

    /// All rows, as many at once as the scratch holds.
    fn rows(
        &self,
        level: Level,
        split: &impl Split,
        input: &[f32],
        output: &mut [f32],
        scratch: &mut [f32],
    ) -> Result<(), Error> {
        let at_once = scratch.len() / self.scratch_len(1).max(1);
        let (half, found) = (at_once * self.image.scratch_width(), scratch.len());
        let too_short = Error::Length { what: "scratch", expected: half, found };
        let (current, next) = scratch.split_at_mut_checked(half).ok_or(too_short)?;
        let (inputs, outputs) = ((at_once * self.inputs()).max(1), (at_once * self.outputs()).max(1));
        for (x, y) in input.chunks(inputs).zip(output.chunks_mut(outputs)) {
            self.chunk(level, split, x, y, current, next)?;
        }
        Ok(())
    }

    /// Some rows through all layers. A dense operation reads `current` (or the caller's rows) and writes `next`, which
    /// then change places; all others work in place.
    fn chunk<'s>(
        &self,
        level: Level,
        split: &impl Split,
        input: &[f32],
        output: &mut [f32],
        mut current: &'s mut [f32],
        mut next: &'s mut [f32],
    ) -> Result<(), Error> {
        let rows = input.len() / self.inputs().max(1);
        let mut in_scratch = false;
        for op in self.image.ops() {
            if let Op::Dense { inputs, outputs, weights, bias, activation } = op {
                let x = if in_scratch {
                    Rows::grouped(first(current, rows, inputs)?, rows, inputs)?
                } else {
                    Rows::plain(input, rows, inputs, inputs)?
                };
                let y = first(next, rows, outputs)?;
                match weights {
                    Weights::F32(weights) => {
                        let dense = Dense { inputs, outputs, weights, bias };
                        dense::forward_then(level, split, dense, x, activation, y)?;
                    }
                    Weights::F16(weights) => {
                        let dense = Dense { inputs, outputs, weights, bias };
                        dense::forward_then(level, split, dense, x, activation, y)?;
                    }
                }
                (current, next) = (next, current);
            } else {
                if !in_scratch {
                    to_groups(split, rows, self.inputs(), input, first(current, rows, self.inputs())?);
                }
                in_place(level, split, op, rows, current)?;
            }
            in_scratch = true;
        }
        if in_scratch {
            from_groups(rows, self.outputs(), current, output);
        } else {
            output.iter_mut().zip(input).for_each(|(output, input)| *output = *input);
        }
        Ok(())
    }
}

/// As much of a scratch as `rows` rows of `features` values take in groups.
fn first(scratch: &mut [f32], rows: usize, features: usize) -> Result<&mut [f32], Error> {
    let (expected, found) = (rows.saturating_mul(padded(features)), scratch.len());
    scratch.get_mut(..expected).ok_or(Error::Length { what: "scratch", expected, found })
}

/// Rows at once, at most `most` of them, such that the last time is not much shorter than the others.
fn evenly(rows: usize, most: usize) -> usize {
    rows.div_ceil(rows.div_ceil(most.max(1)).max(1)).max(1)
}

/// Whether an operation's vectors have the lengths of its shape: always, in an image that was checked.
fn check_op(op: &Op<'_>) -> Result<(), Error> {
    match *op {
        Op::Dense { inputs, outputs, weights: Weights::F32(weights), bias, .. } => {
            Dense { inputs, outputs, weights, bias }.check()
        }
        Op::Dense { inputs, outputs, weights: Weights::F16(weights), bias, .. } => {
            Dense { inputs, outputs, weights, bias }.check()
        }
        Op::ScaleShift { features, center, scale, shift } => {
            let width = padded(features);
            check_len("center", width, center.len())?;
            check_len("scale", width, scale.len())?;
            check_len("shift", width, shift.len())
        }
        Op::PRelu { features, slopes } => check_len("slopes", padded(features), slopes.len()),
        Op::LayerNorm { features, scale, shift, .. } => {
            check_len("scale", padded(features), scale.len())?;
            check_len("shift", padded(features), shift.len())
        }
        Op::Activation { .. } | Op::Softmax { .. } | Op::LogSoftmax { .. } => Ok(()),
    }
}

/// An operation on `rows` rows in groups.
fn in_place(level: Level, split: &impl Split, op: Op<'_>, rows: usize, x: &mut [f32]) -> Result<(), Error> {
    match op {
        Op::ScaleShift { features, center, scale, shift } => {
            check_op(&op)?;
            scale_shift(level, rows, center, scale, shift, first(x, rows, features)?);
            Ok(())
        }
        Op::Activation { features, activation } => {
            activation::forward_compiled(level, split, activation, first(x, rows, features)?)
        }
        Op::PRelu { features, slopes } if TOOLBOX => {
            prelu::forward(level, features, rows, false, slopes, first(x, rows, features)?)
        }
        Op::Softmax { features } => softmax::softmax(level, features, rows, first(x, rows, features)?),
        Op::LogSoftmax { features } => softmax::log_softmax(level, features, rows, first(x, rows, features)?),
        Op::LayerNorm { features, eps, scale, shift } if TOOLBOX => {
            layernorm::layer_norm(level, features, rows, eps, scale, shift, first(x, rows, features)?)
        }
        Op::PRelu { .. } | Op::LayerNorm { .. } => Err(Error::Toolbox),
        Op::Dense { .. } => Ok(()),
    }
}

kernel! {
    fn scale_shift(rows: usize, center: &[f32], scale: &[f32], shift: &[f32], x: &mut [f32]) = scale_shift_body
}

/// `(x - center) * scale + shift`
#[inline(always)]
fn scale_shift_body<S: Simd>(s: S, rows: usize, center: &[f32], scale: &[f32], shift: &[f32], x: &mut [f32]) {
    let [center, scale, shift] = [center, scale, shift].map(|vector| vector.as_chunks::<LANES>().0);
    let vectors = center.iter().zip(scale).zip(shift);
    for (x, ((center, scale), shift)) in x.as_chunks_mut::<LANES>().0.chunks_exact_mut(rows.max(1)).zip(vectors) {
        let (center, scale, shift) = (s.load(center), s.load(scale), s.load(shift));
        for x in x {
            s.store(s.mul_add(s.sub(s.load(x), center), scale, shift), x);
        }
    }
}

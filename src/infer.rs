//! Inference on an image: borrows the bytes, works in the caller's scratch, allocates nothing.
//!
//! Needs only `image` and the kernels. A row's result does not depend on the rows it came with, nor on the length of
//! the scratch, nor on the threads (numeric contract).

use crate::error::{Error, check_len};
use crate::image::{Image, Op, Weights};
use crate::kernels::{activation, dense, softmax};
use crate::layer::padded;
use crate::simd::{LANES, Level, Simd, level::kernel};
use crate::split::Split;

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
    /// read once for as many rows as fit: some tens are best for a single thread, as both weights and rows stay in
    /// the cache.
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
        let (inputs, outputs) = (self.inputs(), self.outputs());
        let rows = input.len() / inputs;
        check_len("input", rows.max(1) * inputs, input.len())?;
        check_len("output", rows.saturating_mul(outputs), output.len())?;
        if scratch.len() < self.scratch_len(1) {
            return Err(Error::Length { what: "scratch", expected: self.scratch_len(1), found: scratch.len() });
        }
        let at_once = rows.min(scratch.len() / self.scratch_len(1));
        let (current, next) = scratch.split_at_mut(at_once * self.image.scratch_width());
        for (x, y) in input.chunks(at_once * inputs).zip(output.chunks_mut(at_once * outputs)) {
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
        let rows = input.len() / self.inputs();
        let mut in_scratch = false;
        for op in self.image.ops() {
            if let Op::Dense { inputs, outputs, weights, bias, activation } = op {
                let (x, stride) =
                    if in_scratch { (&current[..rows * padded(inputs)], padded(inputs)) } else { (input, inputs) };
                let y = &mut next[..rows * padded(outputs)];
                match weights {
                    Weights::F32(weights) => {
                        let dense = dense::Dense { inputs, outputs, weights, bias };
                        dense::forward(level, split, dense, rows, x, stride, y)?;
                    }
                    Weights::F16(weights) => {
                        let dense = dense::Dense { inputs, outputs, weights, bias };
                        dense::forward(level, split, dense, rows, x, stride, y)?;
                    }
                }
                if let Some(kind) = activation {
                    activation::forward(level, split, kind, y);
                }
                (current, next) = (next, current);
            } else {
                if !in_scratch {
                    copy_rows(input, self.inputs(), self.inputs(), current, padded(self.inputs()));
                }
                in_place(level, split, op, rows, current)?;
            }
            in_scratch = true;
        }
        let outputs = self.outputs();
        if in_scratch {
            copy_rows(current, padded(outputs), outputs, output, outputs);
        } else {
            output.copy_from_slice(input);
        }
        Ok(())
    }
}

/// An operation on `rows` padded rows.
fn in_place(level: Level, split: &impl Split, op: Op<'_>, rows: usize, x: &mut [f32]) -> Result<(), Error> {
    match op {
        Op::ScaleShift { features, center, scale, shift } => {
            let width = padded(features);
            check_len("center", width, center.len())?;
            check_len("scale", width, scale.len())?;
            check_len("shift", width, shift.len())?;
            let per_task = dense::rows_per_task(rows, split.workers());
            split.run([&mut x[..rows * width]], [per_task * width], &|_, [x]| {
                scale_shift(level, center, scale, shift, x)
            });
            Ok(())
        }
        Op::Activation { features, activation } => {
            activation::forward(level, split, activation, &mut x[..rows * padded(features)]);
            Ok(())
        }
        Op::Softmax { features } => softmax::softmax(level, features, &mut x[..rows * padded(features)]),
        Op::LogSoftmax { features } => softmax::log_softmax(level, features, &mut x[..rows * padded(features)]),
        Op::Dense { .. } => Ok(()),
    }
}

/// Copies `cols` values of each row, from rows of `from` values to rows of `to` whose rest becomes zero.
fn copy_rows(x: &[f32], from: usize, cols: usize, y: &mut [f32], to: usize) {
    for (x, y) in x.chunks_exact(from).zip(y.chunks_exact_mut(to)) {
        let (values, padding) = y.split_at_mut(cols);
        values.copy_from_slice(&x[..cols]);
        padding.fill(0.0);
    }
}

kernel! { fn scale_shift(center: &[f32], scale: &[f32], shift: &[f32], x: &mut [f32]) = scale_shift_body; }

/// `(x - center) * scale + shift`
#[inline(always)]
fn scale_shift_body<S: Simd>(s: S, center: &[f32], scale: &[f32], shift: &[f32], x: &mut [f32]) {
    let [center, scale, shift] = [center, scale, shift].map(|vector| vector.as_chunks::<LANES>().0);
    for row in x.chunks_exact_mut(scale.len() * LANES) {
        let vectors = center.iter().zip(scale).zip(shift);
        for (x, ((center, scale), shift)) in row.as_chunks_mut::<LANES>().0.iter_mut().zip(vectors) {
            let centered = s.sub(s.load(x), s.load(center));
            s.store(s.mul_add(centered, s.load(scale), s.load(shift)), x);
        }
    }
}

//! Inference on rows that are index lists: the first layer reads the listed rows of its weights, the others run as ever.
//!
//! An image is the same for both kinds of rows. Its first operation has to be a dense layer, as it is for every network that
//! begins with one: batch norms and a standardisation of the inputs are folded into it.

use super::{Net, check_op, evenly, first, in_place};
use crate::error::{Error, check_len};
use crate::image::{Op, Weights};
use crate::kernels::dense::{self, Dense};
use crate::kernels::groups::{Rows, from_groups};
use crate::kernels::sparse::{self, IndexLists};
use crate::simd::Level;
use crate::split::{Serial, Split};

impl Net<'_> {
    /// As [`infer`](Net::infer), for rows that are index lists: the bits of the same zeros and ones as plain rows, if the
    /// first layer's weights are finite.
    ///
    /// # Errors
    /// As [`infer`](Net::infer); [`Error::ListsFirst`] if the image begins with something else than a dense layer.
    pub fn infer_lists(
        &self,
        level: Level,
        split: &impl Split,
        input: IndexLists<'_>,
        output: &mut [f32],
        scratch: &mut [f32],
    ) -> Result<(), Error> {
        let (rows, outputs) = (input.len(), self.outputs().max(1));
        check_len("features of the index lists", self.inputs(), input.features())?;
        check_len("output", rows.max(1).saturating_mul(outputs), output.len())?;
        let one = self.scratch_len(1).max(1);
        if scratch.len() < one {
            return Err(Error::Length { what: "scratch", expected: one, found: scratch.len() });
        }
        let name = match self.image().ops().next() {
            Some(Op::Dense { .. }) => "",
            Some(Op::Activation { .. }) => "an activation",
            Some(Op::ScaleShift { .. }) => "a scale and shift",
            _ => "a softmax",
        };
        if !name.is_empty() {
            return Err(Error::ListsFirst { name });
        }
        // What could fail is looked at here: a task has nobody to tell.
        self.image().ops().try_for_each(|op| check_op(&op))?;
        let tasks = self.tasks(rows, split.workers()).min(scratch.len() / one).max(1);
        let per_task = rows.div_ceil(tasks);
        let at_once = evenly(per_task, self.at_once().min(scratch.len() / one / tasks));
        if tasks < 2 {
            let length = Error::Length { what: "scratch", expected: at_once.saturating_mul(one), found: scratch.len() };
            let scratch = scratch.get_mut(..at_once.saturating_mul(one)).ok_or(length)?;
            return self.lists(level, split, input, output, scratch);
        }
        split.run([output, scratch], [per_task * outputs, at_once * one], &|task, [output, scratch]| {
            let input = input.part(task * per_task, output.len() / outputs);
            let _checked = self.lists(level, &Serial, input, output, scratch);
        });
        Ok(())
    }

    /// All rows, as many at once as the scratch holds.
    fn lists(
        &self,
        level: Level,
        split: &impl Split,
        input: IndexLists<'_>,
        output: &mut [f32],
        scratch: &mut [f32],
    ) -> Result<(), Error> {
        let at_once = (scratch.len() / self.scratch_len(1).max(1)).max(1);
        let (half, found) = (at_once * self.image().scratch_width(), scratch.len());
        let too_short = Error::Length { what: "scratch", expected: half, found };
        let (current, next) = scratch.split_at_mut_checked(half).ok_or(too_short)?;
        let outputs = (at_once * self.outputs()).max(1);
        for (part, output) in output.chunks_mut(outputs).enumerate() {
            let input = input.part(part * at_once, output.len() / self.outputs().max(1));
            self.some_lists(level, split, input, output, current, next)?;
        }
        Ok(())
    }

    /// Some rows through all layers; see [`chunk`](Net::chunk).
    fn some_lists<'s>(
        &self,
        level: Level,
        split: &impl Split,
        input: IndexLists<'_>,
        output: &mut [f32],
        mut current: &'s mut [f32],
        mut next: &'s mut [f32],
    ) -> Result<(), Error> {
        let rows = input.len();
        for (index, op) in self.image().ops().enumerate() {
            let Op::Dense { inputs, outputs, weights, bias, activation: then } = op else {
                in_place(level, split, op, rows, current)?;
                continue;
            };
            let y = first(next, rows, outputs)?;
            if index == 0 {
                match weights {
                    Weights::F32(weights) => {
                        sparse::forward_then(level, split, Dense { inputs, outputs, weights, bias }, input, then, y)?;
                    }
                    Weights::F16(weights) => {
                        sparse::forward_then(level, split, Dense { inputs, outputs, weights, bias }, input, then, y)?;
                    }
                }
            } else {
                let x = Rows::grouped(first(current, rows, inputs)?, rows, inputs)?;
                match weights {
                    Weights::F32(weights) => {
                        dense::forward_then(level, split, Dense { inputs, outputs, weights, bias }, x, then, y)?;
                    }
                    Weights::F16(weights) => {
                        dense::forward_then(level, split, Dense { inputs, outputs, weights, bias }, x, then, y)?;
                    }
                }
            }
            (current, next) = (next, current);
        }
        from_groups(rows, self.outputs(), current, output);
        Ok(())
    }
}

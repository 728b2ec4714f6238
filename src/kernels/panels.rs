//! The weight layout: panels of sixteen output features, `[panel][input][lane]`.
//!
//! The last panel is as narrow as a multiple of four allows, so one output costs four lanes. Lanes beyond the last
//! output are zero and stay zero: their gradients are. The same layout serves training, the image and inference.

use crate::simd::{LANES, Simd, level::kernel};

/// Number of panels of `outputs` features.
#[must_use]
pub const fn panels(outputs: usize) -> usize {
    outputs.div_ceil(LANES)
}

/// Stored lanes of all panels together: `outputs` rounded up to a multiple of four.
#[must_use]
pub const fn lanes(outputs: usize) -> usize {
    outputs.next_multiple_of(4)
}

/// Stored values of a weight matrix.
#[must_use]
pub const fn weight_len(inputs: usize, outputs: usize) -> usize {
    // On a 32-bit machine two valid widths may overflow: no slice has the length that then comes out.
    inputs.saturating_mul(lanes(outputs))
}

/// Width of panel `panel`: sixteen, except perhaps for the last.
#[must_use]
pub const fn panel_width(outputs: usize, panel: usize) -> usize {
    let left = lanes(outputs) - panel * LANES;
    if left < LANES { left } else { LANES }
}

/// Position of the weight from `input` to `output`.
#[must_use]
pub const fn position(inputs: usize, outputs: usize, output: usize, input: usize) -> usize {
    let panel = output / LANES;
    panel * LANES * inputs + input * panel_width(outputs, panel) + output % LANES
}

kernel! {
    /// Writes part of the transposed matrix, again in panels: `[group of inputs][output][lane]`, full panels of sixteen.
    ///
    /// `transposed` holds `16 * outputs` values for each group of inputs, from group `first` on. This is what the input
    /// gradient multiplies by.
    pub(crate) fn transpose(
        shape: (usize, usize), weights: &[f32], first: usize, transposed: &mut [f32],
    ) = transpose_body
}

#[inline(always)]
fn transpose_body<S: Simd>(
    s: S,
    (inputs, outputs): (usize, usize),
    weights: &[f32],
    first: usize,
    transposed: &mut [f32],
) {
    let (out, _) = transposed.as_chunks_mut::<LANES>();
    for (group, out) in out.chunks_exact_mut(outputs).enumerate() {
        let start = (first + group) * LANES;
        let count = LANES.min(inputs.saturating_sub(start));
        for (panel, out) in out.chunks_mut(LANES).enumerate() {
            let width = panel_width(outputs, panel);
            let stored = &weights[panel * LANES * inputs + start * width..][..count * width];
            // Known lengths, and no value that is moved as a whole: a block takes 64 registers of AVX2.
            let whole = if width == LANES { stored.as_chunks::<LANES>().0.first_chunk::<LANES>() } else { None };
            if let (Some(stored), Some(out)) = (whole, out.first_chunk_mut::<LANES>()) {
                let mut block = [s.splat(0.0); LANES];
                for k in 0..LANES {
                    // The next panel is a row of the matrix away: nothing guesses that.
                    s.prefetch(stored[k].as_ptr().wrapping_add(LANES * inputs).cast());
                    block[k] = s.load(&stored[k]);
                }
                let turned = s.transpose(block);
                for k in 0..LANES {
                    s.store(turned[k], &mut out[k]);
                }
                continue;
            }
            let mut block = [[0.0; LANES]; LANES];
            for (row, stored) in block.iter_mut().zip(stored.chunks_exact(width)) {
                row[..width].copy_from_slice(stored);
            }
            for (lane, out) in out.iter_mut().enumerate() {
                *out = core::array::from_fn(|row| block[row][lane]);
            }
        }
    }
}

/// Copies a matrix `[outputs][inputs]` (PyTorch's layout) into panels.
pub fn pack(inputs: usize, outputs: usize, matrix: &[f32], weights: &mut [f32]) {
    weights.fill(0.0);
    for (output, row) in matrix.chunks_exact(inputs).take(outputs).enumerate() {
        for (input, value) in row.iter().enumerate() {
            weights[position(inputs, outputs, output, input)] = *value;
        }
    }
}

/// Copies panels into a matrix `[outputs][inputs]`.
pub fn unpack(inputs: usize, outputs: usize, weights: &[f32], matrix: &mut [f32]) {
    for (output, row) in matrix.chunks_exact_mut(inputs).take(outputs).enumerate() {
        for (input, value) in row.iter_mut().enumerate() {
            *value = weights[position(inputs, outputs, output, input)];
        }
    }
}

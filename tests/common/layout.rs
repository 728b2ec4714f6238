//! Between the reference's rows and the kernels' groups: what the reference computes stays row after row.

use evenkeel::kernels::groups::{from_groups, to_groups};
use evenkeel::layer::padded;
use evenkeel::split::Serial;

/// Rows of `padded(cols)` values as groups of sixteen features, the padding with them.
pub(crate) fn group(cols: usize, rows: &[f32]) -> Vec<f32> {
    let width = padded(cols);
    let mut groups = vec![f32::NAN; rows.len()];
    to_groups(&Serial, rows.len() / width, width, rows, &mut groups);
    groups
}

/// Groups as rows of `padded(cols)` values, the padding with them.
pub(crate) fn ungroup(cols: usize, groups: &[f32]) -> Vec<f32> {
    let width = padded(cols);
    let mut rows = vec![f32::NAN; groups.len()];
    from_groups(groups.len() / width, width, groups, &mut rows);
    rows
}

/// Rows `stride` apart as groups. The lanes beyond the last column are NaN: nobody may read them.
pub(crate) fn group_strided(rows: usize, cols: usize, stride: usize, x: &[f32]) -> Vec<f32> {
    let width = padded(cols);
    let mut wide = vec![f32::NAN; rows * width];
    for (row, wide) in wide.chunks_exact_mut(width).enumerate() {
        wide[..cols].copy_from_slice(&x[row * stride..][..cols]);
    }
    group(cols, &wide)
}

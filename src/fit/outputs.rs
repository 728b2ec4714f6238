//! Loss and hits of outputs that are there already, whoever computed them.

use alloc::vec;

use crate::Level;
use crate::error::{Error, check_len};
use crate::kernels::groups::to_groups;
use crate::layer::{MAX_WIDTH, padded};
use crate::memory::Buffer;
use crate::split::Serial;
use crate::train::{Loss, Score, Targets, loss};

/// Loss and hits of rows of `cols` outputs, as training would count them.
///
/// # Errors
/// [`Error::Length`] if the outputs are not whole rows; as [`Targets::check`].
pub fn score_outputs(
    level: Level,
    loss: Loss,
    cols: usize,
    outputs: &[f32],
    targets: Targets<'_>,
) -> Result<Score, Error> {
    /// Rows at a time.
    const ROWS: usize = 256;
    if cols == 0 || cols > MAX_WIDTH {
        return Err(Error::Length { what: "columns of outputs", expected: cols.clamp(1, MAX_WIDTH), found: cols });
    }
    let rows = outputs.len() / cols;
    check_len("outputs", rows * cols, outputs.len())?;
    targets.check(loss, rows, cols)?;
    let targets = targets.settled();
    let width = padded(cols);
    let (mut groups, mut delta) = (Buffer::zeros(ROWS.min(rows) * width), Buffer::zeros(ROWS.min(rows) * width));
    let mut losses = vec![0.0; 2 * ROWS.min(rows)];
    let mut score = Score::default();
    for (part, outputs) in outputs.chunks(ROWS * cols).enumerate() {
        let count = outputs.len() / cols;
        let groups = &mut groups[..count * width];
        to_groups(&Serial, count, cols, outputs, groups);
        let targets = targets.part(part * ROWS, count, cols);
        let of = (rows, score);
        let delta = &mut delta[..count * width];
        score = loss::evaluate(level, &Serial, loss, cols, groups, targets, of, delta, &mut losses);
    }
    Ok(score)
}

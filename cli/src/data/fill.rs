//! What stands for missing cells, learned from rows wherever they are: some passes over them, a few figures of each input.

use evenkeel::Error;
use evenkeel::data::Source;

use super::encode::Missing;

/// Why nothing can stand for a missing cell.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum FillError {
    /// An input (from 0) has no value in any row.
    #[error("input {0} (counted from 0) has no value")]
    NoValue(usize),
    /// The rows cannot be read.
    #[error(transparent)]
    Rows(#[from] Error),
}

impl Missing {
    /// What stands for a missing cell of each of `cols` inputs, learned from rows; in `f64`, row by row, rounded once.
    ///
    /// # Errors
    /// [`FillError::NoValue`] for the first input without any value, [`FillError::Rows`] for rows that cannot be read.
    pub fn learn(self, rows: Source<'_>, cols: usize) -> Result<Vec<f32>, FillError> {
        match self {
            Missing::Refuse | Missing::Drop => Ok(Vec::new()),
            Missing::Value(value) => Ok(vec![value; cols]),
            Missing::Mean => {
                let mut sums = vec![(-0.0_f64, 0_u64); cols];
                rows.blocks(cols, &mut |block| {
                    for row in block.chunks_exact(cols) {
                        for ((sum, count), value) in sums.iter_mut().zip(row).filter(|(_, value)| !value.is_nan()) {
                            *sum += f64::from(*value);
                            *count += 1;
                        }
                    }
                    Ok(())
                })?;
                let mean = |(col, (sum, count)): (usize, &(f64, u64))| match count {
                    0 => Err(FillError::NoValue(col)),
                    count => Ok((sum / *count as f64) as f32),
                };
                sums.iter().enumerate().map(mean).collect()
            }
            Missing::Median => {
                let mut medians = Vec::with_capacity(cols);
                while medians.len() < cols {
                    let some = medians.len()..cols.min(medians.len() + Ranks::TOGETHER);
                    medians.extend(Ranks::new(some.len()).medians(rows, cols, some)?);
                }
                Ok(medians)
            }
        }
    }
}

/// The two values in the middle of some columns, found byte by byte: each pass counts the next byte of those values that
/// begin as the one looked for.
struct Ranks {
    columns: Vec<[Rank; 2]>,
}

#[derive(Clone)]
struct Rank {
    /// The bytes found.
    prefix: u32,
    /// How many of the values that begin with them are smaller.
    rank: u64,
    /// How often each next byte turns up.
    counts: Vec<u32>,
}

impl Ranks {
    /// Columns looked at in one pass: 2 KB each.
    const TOGETHER: usize = 4096;

    fn new(columns: usize) -> Self {
        let rank = Rank { prefix: 0, rank: 0, counts: vec![0; 256] };
        Self { columns: vec![[rank.clone(), rank]; columns] }
    }

    fn medians(mut self, rows: Source<'_>, cols: usize, some: std::ops::Range<usize>) -> Result<Vec<f32>, FillError> {
        for pass in 0..4 {
            let shift = 24 - 8 * pass;
            rows.blocks(cols, &mut |block| {
                for row in block.chunks_exact(cols) {
                    for (ranks, value) in self.columns.iter_mut().zip(&row[some.clone()]) {
                        let key = key(*value);
                        for rank in ranks.iter_mut().filter(|_| !value.is_nan()) {
                            if u64::from(key) >> (shift + 8) == u64::from(rank.prefix) {
                                rank.counts[(key >> shift) as usize & 255] += 1;
                            }
                        }
                    }
                }
                Ok(())
            })?;
            for (col, ranks) in some.clone().zip(&mut self.columns) {
                for (upper, rank) in ranks.iter_mut().enumerate() {
                    if pass == 0 {
                        let values: u64 = rank.counts.iter().map(|count| u64::from(*count)).sum();
                        let last = values.checked_sub(1).ok_or(FillError::NoValue(col))?;
                        rank.rank = (last + upper as u64) / 2;
                    }
                    rank.next();
                }
            }
        }
        let mean =
            |[low, high]: &[Rank; 2]| ((f64::from(value(low.prefix)) + f64::from(value(high.prefix))) / 2.0) as f32;
        Ok(self.columns.iter().map(mean).collect())
    }
}

impl Rank {
    /// Finds the next byte.
    fn next(&mut self) {
        for (byte, count) in (0..).zip(&mut self.counts) {
            let count = u64::from(std::mem::take(count));
            if self.rank < count {
                self.prefix = self.prefix << 8 | byte;
                break;
            }
            self.rank -= count;
        }
        self.counts.fill(0);
    }
}

/// A number whose order is that of the values, `total_cmp`.
fn key(value: f32) -> u32 {
    let bits = value.to_bits();
    if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
}

/// The value of a [`key`].
fn value(key: u32) -> f32 {
    f32::from_bits(if key >> 31 == 1 { key ^ 1 << 31 } else { !key })
}

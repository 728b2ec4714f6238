//! Rows in a file, read by their place: sets larger than memory.

use std::fs::File;
use std::vec::Vec;
use std::{format, io};

use crate::data::RowSource;
use crate::error::Error;

#[cfg(not(any(unix, windows)))]
#[path = "rows/other.rs"]
mod place;
#[cfg(unix)]
#[path = "rows/unix.rs"]
mod place;
#[cfg(windows)]
#[path = "rows/windows.rs"]
mod place;

/// A file of rows of little-endian `f32` values, one after the other: a [`RowSource`] that reads them by their place. The
/// file is not taken into memory; it must stay as it is while it is used.
///
/// ```
/// use evenkeel::data::View;
/// use evenkeel::host::rows::RowFile;
/// use evenkeel::model::Standardize;
/// use evenkeel::{Loss, Mlp, Targets, Trainer};
///
/// let rows: Vec<f32> = (0..300).map(|at| (at * 37 % 101) as f32).collect();
/// let labels: Vec<u32> = (0..100).map(|row| row % 2).collect();
/// # let folder = std::env::temp_dir().join(format!("evenkeel-rows-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// let path = folder.join("rows.f32");
/// std::fs::write(&path, rows.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>())?;
///
/// let stored = RowFile::new(std::fs::File::open(&path)?, 0, 3)?;
/// let on_disk = View::stored(&stored, Targets::Classes(&labels))?;
/// let in_memory = View::new(&rows, 3, Targets::Classes(&labels))?;
/// let trained = |data: View<'_>| -> Result<Mlp, Box<dyn std::error::Error>> {
///     let mut net = Mlp::input(3).dense(8).batch_norm().relu().dropout(0.2).dense(2).build()?;
///     net.standardize = Some(Standardize::learn_from(data.inputs, 3)?);
///     Trainer::new(Loss::CrossEntropy).epochs(3).fit(&mut net, data, None)?;
///     Ok(net)
/// };
/// assert_eq!(trained(on_disk)?, trained(in_memory)?);
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct RowFile {
    file: File,
    start: u64,
    features: usize,
    rows: usize,
}

impl RowFile {
    /// Bytes between two rows that are read along, because one call of the system costs more than copying them.
    const GAP: u64 = 4096;
    /// Most bytes that are read at once for rows that are not neighbours in the order asked for.
    const SPAN: u64 = 1 << 18;

    /// The rows from byte `start` to the end of the file.
    ///
    /// # Errors
    /// What the system says; [`InvalidData`](io::ErrorKind::InvalidData) if that are not whole rows of `features` values, at most
    /// `u32::MAX` of them.
    pub fn new(file: File, start: u64, features: usize) -> io::Result<Self> {
        let bytes = file.metadata()?.len().saturating_sub(start);
        let width = 4 * features as u64;
        match bytes.checked_div(width).and_then(|rows| u32::try_from(rows).ok()) {
            Some(rows) if bytes % width == 0 => Ok(Self { file, start, features, rows: rows as usize }),
            _ => {
                let what = format!("{bytes} bytes are not whole rows of {features} 32-bit floats, or too many of them");
                Err(io::Error::new(io::ErrorKind::InvalidData, what))
            }
        }
    }

    /// As [`RowSource::read`], with the system's own error.
    ///
    /// # Errors
    /// What the system says, with the place in `rows` of a row that it was asked for;
    /// [`UnexpectedEof`](io::ErrorKind::UnexpectedEof) for rows beyond the end of the file.
    pub fn read_rows(&self, rows: &[u32], out: &mut [f32]) -> Result<(), (usize, io::Error)> {
        let features = self.features;
        if out.len() != rows.len() * features {
            let what = "the room is not that of the rows";
            return Err((0, io::Error::new(io::ErrorKind::InvalidInput, what)));
        }
        let width = 4 * features as u64;
        let mut order: Vec<u32> = (0..rows.len() as u32).collect();
        let row = |at: &u32| rows[*at as usize];
        // Batches of file order are in order already.
        if !rows.is_sorted() {
            order.sort_unstable_by_key(|at| row(at));
        }
        let mut span = Vec::new();
        let mut rest = &order[..];
        while let [head, ..] = rest {
            let first = row(head);
            let near = |pair: &[u32]| {
                let (before, next) = (u64::from(row(&pair[0])), u64::from(row(&pair[1])));
                next.saturating_sub(before + 1) * width <= Self::GAP
                    && (next + 1 - u64::from(first)) * width <= Self::SPAN
            };
            let count = 1 + rest.windows(2).take_while(|pair| near(pair)).count();
            let group;
            (group, rest) = rest.split_at(count);
            let fails = |error| (*head as usize, error);
            if let [only] = group {
                self.read_from(first, &mut out[*only as usize * features..][..features]).map_err(fails)?;
                continue;
            }
            let last = row(&group[count - 1]);
            span.resize((last - first + 1) as usize * features, 0.0);
            self.read_from(first, &mut span).map_err(fails)?;
            for at in group {
                let values = &span[(row(at) - first) as usize * features..][..features];
                out[*at as usize * features..][..features].copy_from_slice(values);
            }
        }
        Ok(())
    }

    /// Reads neighbours.
    fn read_from(&self, first: u32, out: &mut [f32]) -> io::Result<()> {
        let start = self.start + u64::from(first) * 4 * self.features as u64;
        place::read_exact_at(&self.file, bytemuck::cast_slice_mut(out), start)?;
        // Nothing where numbers are little-endian anyway.
        out.iter_mut().for_each(|value| *value = f32::from_bits(u32::from_le(value.to_bits())));
        Ok(())
    }
}

impl RowSource for RowFile {
    fn rows(&self) -> usize {
        self.rows
    }

    fn features(&self) -> usize {
        self.features
    }

    fn read(&self, rows: &[u32], out: &mut [f32]) -> Result<(), Error> {
        let told = |(at, error): (usize, io::Error)| {
            let row = rows.get(at).map_or(0, |row| *row as usize);
            let why = match error.kind() {
                io::ErrorKind::UnexpectedEof => "the file ends before it",
                io::ErrorKind::PermissionDenied => "permission denied",
                io::ErrorKind::InvalidInput => "the room is not that of the rows",
                _ => "the system cannot read the file",
            };
            Error::Read { row, why }
        };
        self.read_rows(rows, out).map_err(told)
    }
}

#[cfg(test)]
mod tests {
    use std::vec;

    use super::*;

    /// Any rows, in any order, with gaps, twice: the bits that were written.
    #[test]
    fn rows_by_their_place() {
        let folder = std::env::temp_dir().join(format!("evenkeel-row-file-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("rows");
        for (features, count) in [(1, 9000_u32), (7, 3000), (1500, 40), (70_000, 3)] {
            let value = |at: usize| f32::from_bits(0x3f80_0000 ^ (at as u32).wrapping_mul(2_654_435_761) >> 9);
            let all: Vec<f32> = (0..features * count as usize).map(value).collect();
            let bytes: Vec<u8> = b"head".iter().copied().chain(all.iter().flat_map(|v| v.to_le_bytes())).collect();
            std::fs::write(&path, &bytes).unwrap();
            let file = RowFile::new(File::open(&path).unwrap(), 4, features).unwrap();
            assert_eq!((file.rows(), file.features()), (count as usize, features));
            let shuffled = crate::data::order(count as usize, 3, 0, true);
            let sparse: Vec<u32> = (0..count).filter(|row| row % 37 < 2).collect();
            let twice = vec![count - 1, 0, 0, count - 1, count / 2];
            for rows in [(0..count).collect(), (0..count).rev().collect(), shuffled, sparse, twice, vec![]] {
                let mut out = vec![f32::NAN; rows.len() * features];
                file.read(&rows, &mut out).unwrap();
                let expected: Vec<f32> =
                    rows.iter().flat_map(|row| &all[*row as usize * features..][..features]).copied().collect();
                assert!(out == expected, "{features} features, {} rows", rows.len());
            }
            // What was cut off is named, also where it is read along with others.
            File::options().write(true).open(&path).unwrap().set_len(bytes.len() as u64 - 1).unwrap();
            let error = file.read(&[0, count - 1], &mut vec![0.0; 2 * features]).unwrap_err();
            assert!(matches!(error, Error::Read { why: "the file ends before it", .. }), "{error}");
            assert!(file.read(&[0], &mut vec![0.0; features]).is_ok());
            assert!(RowFile::new(File::open(&path).unwrap(), 4, features).is_err());
        }
        assert!(RowFile::new(File::open(&path).unwrap(), 0, 0).is_err());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}

//! Stored results, and how others compare with them.
//!
//! A file begins with [`MAGIC`]. For each call of a sink there follow: the number of values (`u32`), bytes of a value (4 or 8),
//! length of the name (one byte each), the name `run: part`, the values. All numbers are little-endian, and nothing is
//! aligned.

use core::fmt;

use super::{Sink, Stage};

pub(crate) const MAGIC: &[u8; 8] = b"KEELGOLD";

/// How far a level that rounds twice may be from the stored values, as a share of the largest value of a part: some
/// roundings (of 6e-8) of a few layers; and what becomes of them in twelve steps of training.
pub(crate) const INFERENCE_BOUND: f64 = 1e-6;
pub(crate) const TRAINING_BOUND: f64 = 4e-6;

/// A sink that compares with stored results.
pub(crate) struct Comparison<'g> {
    level: &'g str,
    exact: bool,
    /// What has not been compared yet.
    rest: &'g [u8],
    values: usize,
    differ: usize,
    /// The largest deviation of inference and of training, as a share of the part's largest value.
    deviations: [f64; 2],
    /// The first part that differs, or where file and results do not belong together.
    first: Option<&'g str>,
    fits: bool,
}

impl<'g> Comparison<'g> {
    /// Nothing compared yet. An exact level must have the stored bits, others may deviate.
    pub(crate) fn new(level: &'g str, exact: bool) -> Self {
        let (values, differ, deviations) = (0, 0, [0.0; 2]);
        Self { level, exact, rest: &[], values, differ, deviations, first: None, fits: true }
    }

    /// Goes on with a file, after everything of the last one.
    pub(crate) fn go_on(&mut self, file: &'g [u8]) {
        let rest = file.strip_prefix(MAGIC);
        self.fits &= self.rest.is_empty() && rest.is_some();
        self.rest = rest.unwrap_or_default();
    }

    /// Whether everything stored was compared and is as it must be on this level.
    pub(crate) fn passed(&self) -> bool {
        let [inference, training] = self.deviations;
        let close = inference <= INFERENCE_BOUND && training <= TRAINING_BOUND;
        let same = if self.exact { self.differ == 0 } else { close };
        self.fits && self.rest.is_empty() && self.values > 0 && same
    }

    /// The stored values of the next part, if it is the one asked for.
    fn next(&mut self, run: &str, part: &str, count: usize, size: usize) -> Option<(&'g str, &'g [u8])> {
        let (head, rest) = self.rest.split_first_chunk::<6>()?;
        let [a, b, c, d, stored_size, name] = *head;
        let (name, rest) = rest.split_at_checked(name.into())?;
        let name = core::str::from_utf8(name).ok()?;
        let right = name.strip_prefix(run)?.strip_prefix(": ")? == part;
        let fits = u32::from_le_bytes([a, b, c, d]) as usize == count && usize::from(stored_size) == size;
        if !(right && fits) {
            return None;
        }
        let (values, rest) = rest.split_at_checked(count * size)?;
        self.rest = rest;
        Some((name, values))
    }

    /// Compares values with stored ones, both widened, which is exact.
    fn compare(&mut self, stage: Stage, name: &'g str, pairs: impl Iterator<Item = (f64, f64)>) {
        let (mut off, mut scale) = (0.0_f64, 0.0_f64);
        for (got, stored) in pairs {
            self.values += 1;
            if got.to_bits() != stored.to_bits() {
                self.differ += 1;
                self.first = self.first.or(Some(name));
            }
            let difference = (got - stored).abs();
            off = off.max(if difference.is_finite() { difference } else { f64::INFINITY });
            scale = scale.max(stored.abs());
        }
        let deviation = if off > 0.0 { off / scale } else { 0.0 };
        let largest = &mut self.deviations[usize::from(stage == Stage::Training)];
        *largest = largest.max(deviation);
    }

    /// Remembers that a part was computed which is not what the file has next.
    fn misfit(&mut self) {
        self.fits = false;
    }
}

impl Sink for Comparison<'_> {
    fn floats(&mut self, stage: Stage, run: &str, part: &str, values: &[f32]) {
        let Some((name, stored)) = self.next(run, part, values.len(), 4) else { return self.misfit() };
        let stored = stored.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
        self.compare(stage, name, values.iter().zip(stored).map(|(got, stored)| (f64::from(*got), f64::from(stored))));
    }

    fn doubles(&mut self, stage: Stage, run: &str, part: &str, values: &[f64]) {
        let Some((name, stored)) = self.next(run, part, values.len(), 8) else { return self.misfit() };
        let stored = stored.as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes));
        self.compare(stage, name, values.iter().copied().zip(stored));
    }
}

/// One line that says what was compared and what came out.
impl fmt::Display for Comparison<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "golden, {}: {} values compared", self.level, self.values)?;
        if self.exact {
            write!(f, " by bits, {} differ", self.differ)?;
            if let Some(first) = self.first {
                write!(f, ", the first in {first}")?;
            }
        } else {
            let [inference, training] = self.deviations;
            write!(f, ", off by {inference:.1e} of the scale in inference (bound {INFERENCE_BOUND:e})")?;
            write!(f, ", {training:.1e} after training (bound {TRAINING_BOUND:e})")?;
        }
        if !self.fits || !self.rest.is_empty() {
            f.write_str("; the golden file does not have these parts")?;
        }
        Ok(())
    }
}

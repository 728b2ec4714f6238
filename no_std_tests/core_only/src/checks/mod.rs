//! Checks with known answers: the firmware runs them, and so does the host (`tests/simd.rs` includes this file by its
//! path, for which it has to be a `mod.rs`).
//!
//! A check computes something from inputs that it makes itself and hashes the bits of the result. The answers are
//! constants, so a device that agrees with them agrees with every other machine. To add one: a module here, a line in
//! [`all`], and the constants that the host test prints. The smallest board has 16 KiB of RAM.

mod dense;
pub(crate) mod numbers;
mod simd;

use evenkeel::Level;

/// What a check found.
#[derive(Clone, Copy)]
pub(crate) struct Outcome {
    pub(crate) name: &'static str,
    pub(crate) got: u32,
    pub(crate) expected: u32,
}

/// Runs every check on `level` and hands each outcome to `report`.
pub(crate) fn all(level: Level, report: &mut dyn FnMut(Outcome)) {
    simd::run(level, report);
    dense::run(level, report);
}

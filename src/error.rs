//! One small error type for the core ring: `Copy`, no heap, every variant names what was wrong.

use core::fmt;

/// What a core function refuses.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// The level's name is none of `portable`, `avx2`, `avx512`, `neon`, `fpu`.
    UnknownLevel,
    /// This CPU (or, without `std`, this build) does not have the level's instructions.
    LevelUnavailable {
        /// The level asked for.
        level: &'static str,
    },
    /// A dropout rate is a probability.
    DropoutRate {
        /// The rate asked for.
        rate: f32,
    },
    /// The initialiser's name is none of those listed at [`Init`](crate::init::Init).
    UnknownInit,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Error::UnknownLevel => {
                f.write_str("unknown SIMD level: choose portable, avx2, avx512, neon or fpu (EVENKEEL_LEVEL)")
            }
            Error::LevelUnavailable { level } => write!(
                f,
                "this CPU does not have the instructions of level {level}: choose another one or leave EVENKEEL_LEVEL unset"
            ),
            Error::DropoutRate { rate } => write!(f, "dropout rate {rate} is not in [0, 1]"),
            Error::UnknownInit => f.write_str(
                "unknown initialiser: choose zeros, constant(c), torch_linear, orthogonal, orthogonal(gain), \
                 or glorot, he or lecun followed by _uniform or _normal",
            ),
        }
    }
}

impl core::error::Error for Error {}

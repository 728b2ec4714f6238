//! Which instruction set to use: found out once, then carried around as a [`Level`].

use core::fmt;

use super::Simd;
use crate::error::Error;

/// A computation written once over [`Simd`]; [`Level::run`] instantiates it for the instruction set at hand.
pub trait Kernel {
    /// What it returns.
    type Output;
    /// The computation. Must be `#[inline(always)]`, as everything below it that takes the token.
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// An instruction set that this CPU is known to have.
///
/// Having a value is the proof: the constructors ask the CPU (under `std`) or the build (without). All *exact*
/// levels give the same bits; see [`Level::is_exact`].
#[derive(Clone, Copy, Debug)]
pub struct Level(pub(super) Isa);

/// Writes out the table of levels: the enum, the look-up by name, the name, and the entry.
macro_rules! levels {
    ($($name:literal => $isa:ident($token:ty) on $machine:meta,)*) => {
        #[derive(Clone, Copy, Debug)]
        pub(super) enum Isa {
            $(#[cfg($machine)] $isa($token),)*
        }

        /// Every level's name, best last; a build can find only those of its own architecture.
        const NAMES: &[&str] = &[$($name),*];

        impl Level {
            fn find(name: &str) -> Option<Level> {
                match name {
                    $(#[cfg($machine)] $name => <$token>::detect().map(|token| Level(Isa::$isa(token))),)*
                    _ => None,
                }
            }

            /// The best level of this machine.
            ///
            /// Under `std` the CPU is asked (about 100 ns; keep the value). Without, the features the build enables
            /// decide: the answer is a constant.
            #[must_use]
            #[inline]
            pub fn detect() -> Level {
                let mut best = Level::LEAST;
                $(#[cfg($machine)] if let Some(token) = <$token>::detect() { best = Level(Isa::$isa(token)); })*
                best
            }

            /// The name, as [`Level::by_name`] takes it.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self.0 {
                    $(#[cfg($machine)] Isa::$isa(_) => $name,)*
                }
            }

            /// Runs `kernel` with this level's instructions.
            ///
            /// Enter once per layer and worker task: features do not cross into other threads, and the entry is a
            /// call.
            #[inline]
            pub fn run<K: Kernel>(self, kernel: K) -> K::Output {
                match self.0 {
                    $(#[cfg($machine)] Isa::$isa(token) => token.enter(kernel),)*
                }
            }
        }
    };
}

// One row per level, slowest first. The conditions are those of the `mod` lines in `simd.rs`.
levels! {
    "portable" => Portable(super::portable::Portable) on any(feature = "levels", not(any(
        all(target_arch = "arm", target_abi = "eabihf", not(target_has_atomic = "64")),
        all(any(target_arch = "riscv32", target_arch = "riscv64"), target_feature = "f"),
    ))),
    "fpu" => Fpu(super::fpu::Fpu) on any(
        all(target_arch = "arm", target_abi = "eabihf", not(target_has_atomic = "64")),
        all(any(target_arch = "riscv32", target_arch = "riscv64"), target_feature = "f"),
    ),
    "neon" => Neon(super::neon::Neon) on target_arch = "aarch64",
    "avx2" => Avx2(super::avx2::Avx2) on any(target_arch = "x86", target_arch = "x86_64"),
    "avx512" => Avx512(super::avx512::Avx512) on any(target_arch = "x86", target_arch = "x86_64"),
}

impl Level {
    /// Every level of this machine, slowest first.
    pub fn available() -> impl Iterator<Item = Level> {
        NAMES.iter().filter_map(|name| Level::find(name))
    }

    /// The level called `name`: `portable`, `avx2`, `avx512`, `neon` or `fpu`.
    ///
    /// # Errors
    /// [`Error::UnknownLevel`] if there is no such name, [`Error::LevelUnavailable`] if this CPU (or, without `std`,
    /// this build) does not have it. There is no fallback.
    pub fn by_name(name: &str) -> Result<Level, Error> {
        let known = NAMES.iter().find(|known| **known == name).ok_or(Error::UnknownLevel)?;
        Level::find(known).ok_or(Error::LevelUnavailable { level: known })
    }

    /// The level that the variable `EVENKEEL_LEVEL` asks for, else the best one.
    ///
    /// # Errors
    /// As [`Level::by_name`] if the variable is set to something else than an available level.
    #[cfg(feature = "std")]
    pub fn from_env() -> Result<Level, Error> {
        match std::env::var("EVENKEEL_LEVEL") {
            Ok(name) => Level::by_name(&name),
            Err(std::env::VarError::NotPresent) => Ok(Level::detect()),
            Err(std::env::VarError::NotUnicode(_)) => Err(Error::UnknownLevel),
        }
    }

    /// Whether multiply-adds round once here: all exact levels, on all machines, give the same bits.
    #[must_use]
    pub fn is_exact(self) -> bool {
        struct Fused;
        impl Kernel for Fused {
            type Output = bool;
            #[inline(always)]
            fn run<S: Simd>(self, _: S) -> bool {
                S::FUSED
            }
        }
        self.run(Fused)
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Declares `fn name(level: Level, arguments…)` that runs the generic body `name::<S>(simd, arguments…)`.
///
/// `kernel!(/// docs … pub fn relu(x: &mut [f32]) = body);`
macro_rules! kernel {
    (
        $(#[$meta:meta])*
        $vis:vis fn $name:ident $(<$g:ident: $bound:ident>)? ($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)?
            = $body:path $(;)?
    ) => {
        $(#[$meta])*
        $vis fn $name $(<$g: $bound>)? (level: $crate::simd::Level, $($arg: $ty),*) $(-> $ret)? {
            struct Call<T>(T);
            impl $(<$g: $bound>)? $crate::simd::Kernel for Call<($($ty,)*)> {
                type Output = $crate::simd::level::kernel!(@output $($ret)?);
                #[inline(always)]
                fn run<S: $crate::simd::Simd>(self, simd: S) -> Self::Output {
                    let ($($arg,)*) = self.0;
                    $body(simd, $($arg),*)
                }
            }
            level.run(Call(($($arg,)*)))
        }
    };
    (@output) => { () };
    (@output $ret:ty) => { $ret };
}
pub(crate) use kernel;

//! What the kernel tests and the benches share: the slow reference, test values, levels to run and the count of what
//! was compared.

pub(crate) mod layout;
pub(crate) mod norms;
pub(crate) mod reference;
pub(crate) mod threads;
pub(crate) mod values;

use evenkeel::Level;
use reference::Reference;

/// Set (to anything) where an emulator runs the tests: fewer shapes, the same code.
pub(crate) fn emulated() -> bool {
    std::env::var_os("EVENKEEL_EMULATED").is_some()
}

/// `full` rounds of a loop over shapes, a few of them under an emulator.
pub(crate) fn rounds(full: usize) -> usize {
    if emulated() { full.div_ceil(16) } else { full }
}

/// Levels that must give the same bits, and the reference they are compared with.
pub(crate) type Group = (Reference, Vec<Level>);

/// The levels of this machine, those that share a reference together: computing it is the slow part.
pub(crate) fn groups() -> Vec<Group> {
    let (exact, other): (Vec<_>, Vec<_>) = Level::available().partition(|level| level.is_exact());
    [exact, other]
        .into_iter()
        .filter(|levels| !levels.is_empty())
        .map(|levels| (Reference::of(levels[0]), levels))
        .collect()
}

/// The levels of this machine.
pub(crate) fn levels() -> Vec<Level> {
    Level::available().collect()
}

/// Whether two results agree: the same bits, or both NaN (payload and sign of a NaN are not promised).
pub(crate) fn same(a: f32, b: f32) -> bool {
    a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
}

/// Counts cases, values and differing bits of one kernel; fails at the end, and says where the first difference was.
pub(crate) struct Tally {
    kernel: &'static str,
    cases: u64,
    values: u64,
    differing_bits: u64,
    first: Option<String>,
    quiet: bool,
}

impl Tally {
    pub(crate) fn new(kernel: &'static str) -> Self {
        Self { kernel, cases: 0, values: 0, differing_bits: 0, first: None, quiet: false }
    }

    /// One that prints nothing unless it fails.
    pub(crate) fn quiet(kernel: &'static str) -> Self {
        Self { quiet: true, ..Self::new(kernel) }
    }

    /// One case: all values of a result.
    pub(crate) fn compare(&mut self, level: Level, size: impl Fn() -> String, found: &[f32], expected: &[f32]) {
        assert_eq!(found.len(), expected.len(), "{} at {level}, {}: length", self.kernel, size());
        self.cases += 1;
        self.values += found.len() as u64;
        for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
            if !same(*found, *expected) {
                self.differing_bits += u64::from((found.to_bits() ^ expected.to_bits()).count_ones());
                self.first.get_or_insert_with(|| {
                    format!("{} at {level}, {}, value {index}: {found:e}, expected {expected:e}", self.kernel, size())
                });
            }
        }
    }

    fn counts(&self) -> String {
        let Self { kernel, cases, values, differing_bits, .. } = self;
        format!("{kernel}: {cases} cases (kernel, size, level), {values} values, {differing_bits} differing bits")
    }

    /// Prints the counts; panics if anything differed.
    pub(crate) fn finish(self) {
        if !self.quiet {
            println!("{}", self.counts());
        }
        if let Some(first) = self.first {
            panic!("{} differing bits, the first: {first}", self.differing_bits);
        }
        assert!(self.cases > 0, "{}: nothing was compared", self.kernel);
    }
}

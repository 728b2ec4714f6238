//! Reading at a place: one call of the system, from any thread.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

pub(super) fn read_exact_at(file: &File, out: &mut [u8], start: u64) -> io::Result<()> {
    file.read_exact_at(out, start)
}

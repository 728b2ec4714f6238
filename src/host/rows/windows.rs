//! Reading at a place: the position that it moves is used by nobody.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::windows::fs::FileExt;

pub(super) fn read_exact_at(file: &File, mut out: &mut [u8], mut start: u64) -> io::Result<()> {
    while !out.is_empty() {
        match file.seek_read(out, start) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => (out, start) = (&mut out[count..], start + count as u64),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

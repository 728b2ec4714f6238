//! Reading at a place where the system has no call for it: to move there and to read must not be torn apart by another
//! thread.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::{Mutex, PoisonError};

static MOVING: Mutex<()> = Mutex::new(());

pub(super) fn read_exact_at(mut file: &File, out: &mut [u8], start: u64) -> io::Result<()> {
    let _moving = MOVING.lock().unwrap_or_else(PoisonError::into_inner);
    file.seek(SeekFrom::Start(start))?;
    file.read_exact(out)
}

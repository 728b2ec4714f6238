//! Saving a file whole or not at all.
//!
//! The bytes go to a temporary file beside the target, are pushed to the disk, and only then take the target's name in
//! one step; last, the directory itself is pushed to the disk so that the new name survives a power cut. Whoever looks
//! at the target, at any moment and after any failure, finds the old bytes or the new ones.
//!
//! A saver holds a lock on its temporary file. A temporary file nobody holds was left by a process that was killed, and
//! the next save of the same target removes it; two savers at work at once leave each other's alone.
//!
//! Needs only the standard library. Every step goes through [`Disk`], so that tests can make each one fail.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, TryLockError};
use std::hash::{DefaultHasher, Hasher};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Why a file was not saved. Unless it says otherwise, what stood under the name before still stands there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SaveError {
    /// The path ends in no file name (`/`, `..`, empty).
    #[error("cannot save to \"{}\": it names no file; give a file name", .path.display())]
    NoName {
        /// The path asked for.
        path: PathBuf,
    },
    /// The path is a directory.
    #[error("cannot save to {}: it is a directory; give a file name inside it", .path.display())]
    Directory {
        /// The path asked for.
        path: PathBuf,
    },
    /// The path is a device, a pipe or a socket, which no rename can replace.
    #[error("cannot save to {}: it is not an ordinary file (a device or pipe?); give a file name", .path.display())]
    NotAFile {
        /// The path asked for.
        path: PathBuf,
    },
    /// The file exists and is write-protected.
    #[error("cannot save to {}: the file is write-protected; allow writing to it or choose another name", .path.display())]
    Protected {
        /// The path asked for.
        path: PathBuf,
    },
    /// The directory that should hold the file does not exist.
    #[error("cannot save to {}: the directory {} does not exist; create it first", .path.display(), .parent.display())]
    NoDirectory {
        /// The path asked for.
        path: PathBuf,
        /// The directory that is missing.
        parent: PathBuf,
    },
    /// The path is a symbolic link that leads nowhere.
    #[error("cannot save to {}: it is a symbolic link that leads nowhere; remove the link or repair it", .path.display())]
    DanglingLink {
        /// The path asked for.
        path: PathBuf,
    },
    /// The system refused one step.
    #[error("cannot save {}: {step} failed: {source}; {advice}", .path.display())]
    Step {
        /// The path asked for.
        path: PathBuf,
        /// What was being done, in words.
        step: &'static str,
        /// What the user can do about it.
        advice: &'static str,
        /// The system's own error.
        source: io::Error,
    },
    /// The new file stands under its name, but the directory could not be pushed to the disk.
    #[error(
        "saved {}, but pushing its directory to the disk failed: {source}; the new file is in place and may be lost \
         if the power goes now",
        .path.display()
    )]
    NotSynced {
        /// The path asked for.
        path: PathBuf,
        /// The system's own error.
        source: io::Error,
    },
}

/// The steps of a save, so that a test can make each one fail.
pub trait Disk {
    /// An open temporary file.
    type File: Write;
    /// Creates a file that must not exist yet.
    ///
    /// # Errors
    /// The system's error; `AlreadyExists` if the name is taken.
    fn create_new(&self, path: &Path) -> io::Result<Self::File>;
    /// Marks the file as in use, without waiting.
    ///
    /// # Errors
    /// If another process holds it, or the file system knows no locks.
    fn lock(&self, file: &Self::File) -> Result<(), TryLockError>;
    /// Pushes the file's bytes and length to the disk.
    ///
    /// # Errors
    /// The system's error.
    fn sync(&self, file: &Self::File) -> io::Result<()>;
    /// Gives a file another name, replacing what had it.
    ///
    /// # Errors
    /// The system's error.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Pushes a directory's names to the disk.
    ///
    /// # Errors
    /// The system's error.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
}

/// The real disk.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    type File = File;

    fn create_new(&self, path: &Path) -> io::Result<File> {
        File::create_new(path)
    }

    fn lock(&self, file: &File) -> Result<(), TryLockError> {
        file.try_lock()
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    #[cfg(unix)]
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        match File::open(dir)?.sync_all() {
            // Some network and FUSE file systems have no such operation: then there is nothing to wait for.
            Err(e) if matches!(e.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => Ok(()),
            other => other,
        }
    }

    // Elsewhere a directory cannot be opened as a file; the rename itself is journalled by the file system.
    #[cfg(not(unix))]
    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }
}

/// Saves `bytes` under `path`: afterwards the file holds all of them, or what it held before.
///
/// A symbolic link is followed, so the link stays and the file it names is replaced. The new file has the permissions of
/// any new file (the process's umask decides).
///
/// # Errors
/// [`SaveError`] names the path, the step that failed and what to do.
pub fn write_atomically(path: impl AsRef<Path>, bytes: &[u8]) -> Result<(), SaveError> {
    write_on(&RealDisk, path.as_ref(), bytes)
}

/// [`write_atomically`] on a disk of the caller's choice.
///
/// # Errors
/// As [`write_atomically`].
pub fn write_on<D: Disk>(disk: &D, path: &Path, bytes: &[u8]) -> Result<(), SaveError> {
    let target = target_of(path)?;
    let (dir, name) = (parent_of(&target), target.file_name().unwrap_or_default());
    let stem = temp_stem(name);
    // Before writing: what a killed run left may be just the room this save needs.
    remove_leftovers(&dir, &stem);

    let failed = |step, source: io::Error| {
        let advice = advice(&source);
        SaveError::Step { path: path.to_path_buf(), step, advice, source }
    };
    let (temp, mut file) =
        create_temp(disk, &dir, &stem).map_err(|e| failed("creating a temporary file beside it", e))?;
    let written = file
        .write_all(bytes)
        .and_then(|()| file.flush())
        .map_err(|e| failed("writing", e))
        .and_then(|()| disk.sync(&file).map_err(|e| failed("pushing the bytes to the disk", e)))
        .and_then(|()| disk.rename(&temp, &target).map_err(|e| failed("giving the new file its name", e)));
    // Closed first: some systems do not remove an open file.
    drop(file);
    if let Err(error) = written {
        let _ = fs::remove_file(&temp);
        return Err(error);
    }
    disk.sync_dir(&dir).map_err(|source| SaveError::NotSynced { path: path.to_path_buf(), source })
}

/// Where the bytes really go: links followed, and everything refused that a rename would destroy or cannot replace.
fn target_of(path: &Path) -> Result<PathBuf, SaveError> {
    let owned = || path.to_path_buf();
    let Ok(link_or_file) = fs::symlink_metadata(path) else {
        if path.file_name().is_none() {
            return Err(SaveError::NoName { path: owned() });
        }
        let parent = parent_of(path);
        // Other obstacles (no permission, name too long) keep the system's own words when the file is created.
        return match fs::metadata(&parent) {
            Err(e) if e.kind() == ErrorKind::NotFound => Err(SaveError::NoDirectory { path: owned(), parent }),
            _ => Ok(owned()),
        };
    };
    let target = if link_or_file.is_symlink() {
        fs::canonicalize(path).map_err(|_| SaveError::DanglingLink { path: owned() })?
    } else {
        owned()
    };
    match fs::metadata(&target) {
        Ok(meta) if meta.is_dir() => Err(SaveError::Directory { path: owned() }),
        Ok(meta) if !meta.is_file() => Err(SaveError::NotAFile { path: owned() }),
        Ok(meta) if meta.permissions().readonly() => Err(SaveError::Protected { path: owned() }),
        _ => Ok(target),
    }
}

fn parent_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

/// The start of the names of all temporary files of one target.
fn temp_stem(name: &OsStr) -> OsString {
    let mut stem = OsString::from(".");
    if name.len() <= 200 {
        stem.push(name);
    } else {
        // A file name ends at 255 bytes on most systems; a name near that limit still needs room for the suffix.
        let mut hash = DefaultHasher::new();
        hash.write(name.as_encoded_bytes());
        stem.push(format!("{:016x}", hash.finish()));
    }
    stem.push(".tmp-");
    stem
}

fn create_temp<D: Disk>(disk: &D, dir: &Path, stem: &OsStr) -> io::Result<(PathBuf, D::File)> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let mut last = io::Error::from(ErrorKind::AlreadyExists);
    for _ in 0..100 {
        let mut name = stem.to_os_string();
        name.push(format!("{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
        let temp = dir.join(name);
        match disk.create_new(&temp) {
            Ok(file) => {
                // Between creation and lock another saver may have taken the file for a leftover and removed it; then
                // the name is gone and the next round makes a new one. A file system without locks goes without.
                let taken = matches!(disk.lock(&file), Err(TryLockError::WouldBlock));
                if !taken && temp.exists() {
                    return Ok((temp, file));
                }
            }
            Err(e) if e.kind() == ErrorKind::AlreadyExists => last = e,
            Err(e) => return Err(e),
        }
    }
    Err(last)
}

/// Removes temporary files of this target that no living process holds. Failing to is no reason not to save.
fn remove_leftovers(dir: &Path, stem: &OsStr) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(rest) = name.as_encoded_bytes().strip_prefix(stem.as_encoded_bytes()) else { continue };
        // Only names this module makes: digits, a dash, digits. And only plain files: never follow a link from here.
        let ours = rest.split(|&b| b == b'-').count() == 2 && rest.iter().all(|b| b.is_ascii_digit() || *b == b'-');
        if !ours || !entry.file_type().is_ok_and(|t| t.is_file()) {
            continue;
        }
        let Ok(file) = File::options().write(true).open(entry.path()) else { continue };
        if file.try_lock().is_ok() {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "free some room or save elsewhere; the old file is untouched"
        }
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            "save where you may write, or change the directory's permissions"
        }
        ErrorKind::InvalidFilename => "choose a shorter or simpler name",
        _ => "nothing was changed; try again or save elsewhere",
    }
}

#[cfg(test)]
mod tests;

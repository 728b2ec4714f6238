//! Every step made to fail, real obstacles, leftovers of the dead and two savers at once.

use super::*;
use std::cell::Cell;
use std::rc::Rc;

/// Counts operations and fails the one asked for; writes are cut short and interrupted on the way.
struct Faulty {
    left: Rc<Cell<u32>>,
    ops: Rc<Cell<u32>>,
}

struct FaultyFile {
    file: File,
    left: Rc<Cell<u32>>,
    ops: Rc<Cell<u32>>,
    interrupt: bool,
}

fn step(left: &Cell<u32>, ops: &Cell<u32>) -> io::Result<()> {
    ops.set(ops.get() + 1);
    match left.get() {
        0 => Err(io::Error::from(ErrorKind::StorageFull)),
        n => {
            left.set(n - 1);
            Ok(())
        }
    }
}

impl Write for FaultyFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.interrupt = !self.interrupt;
        if self.interrupt {
            return Err(io::Error::from(ErrorKind::Interrupted));
        }
        step(&self.left, &self.ops)?;
        self.file.write(&bytes[..bytes.len().min(7)])
    }

    fn flush(&mut self) -> io::Result<()> {
        step(&self.left, &self.ops)
    }
}

impl Disk for Faulty {
    type File = FaultyFile;

    fn create_new(&self, path: &Path) -> io::Result<FaultyFile> {
        step(&self.left, &self.ops)?;
        let file = RealDisk.create_new(path)?;
        Ok(FaultyFile { file, left: self.left.clone(), ops: self.ops.clone(), interrupt: false })
    }

    fn lock(&self, _: &FaultyFile) -> Result<(), TryLockError> {
        // A file system without locks must not stop a save.
        Err(TryLockError::Error(ErrorKind::Unsupported.into()))
    }

    fn sync(&self, file: &FaultyFile) -> io::Result<()> {
        step(&self.left, &self.ops)?;
        RealDisk.sync(&file.file)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        step(&self.left, &self.ops)?;
        RealDisk.rename(from, to)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        step(&self.left, &self.ops)?;
        RealDisk.sync_dir(dir)
    }
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn writes_and_replaces() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.keel");
    write_atomically(&path, b"one").unwrap();
    write_atomically(&path, b"").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"");
    write_atomically(&path, b"three").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"three");
    assert_eq!(names(dir.path()), ["model.keel"]);
}

#[test]
fn every_failing_step_leaves_old_or_new_and_no_litter() {
    let (old, new) = (b"old bytes".as_slice(), b"thirty new bytes, give or take".as_slice());
    let mut points = 0;
    for n in 0.. {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m");
        fs::write(&path, old).unwrap();
        let disk = Faulty { left: Rc::new(Cell::new(n)), ops: Rc::new(Cell::new(0)) };
        let result = write_on(&disk, &path, new);
        assert_eq!(names(dir.path()), ["m"], "litter after failing step {n}");
        let now = fs::read(&path).unwrap();
        match result {
            Ok(()) => {
                assert_eq!(now, new);
                break;
            }
            Err(SaveError::NotSynced { .. }) => assert_eq!(now, new),
            Err(error) => {
                assert_eq!(now, old);
                assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
                assert!(error.to_string().contains("free some room"), "{error}");
            }
        }
        points += 1;
    }
    // create, five short writes, flush, sync, rename, sync of the directory
    assert_eq!(points, 10);
}

#[test]
fn refuses_what_is_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir(at("folder")).unwrap();
    assert!(matches!(write_atomically(at("folder"), b"x"), Err(SaveError::Directory { .. })));
    assert!(matches!(write_atomically(at("none/m"), b"x"), Err(SaveError::NoDirectory { .. })));
    assert!(matches!(write_atomically("", b"x"), Err(SaveError::NoName { .. })));
    assert!(matches!(write_atomically("/", b"x"), Err(SaveError::Directory { .. })));
    fs::write(at("file"), b"kept").unwrap();
    assert!(matches!(write_atomically(at("file/m"), b"x"), Err(SaveError::Step { .. })));
    assert_eq!(fs::read(at("file")).unwrap(), b"kept");
    let error = write_atomically(at(&"n".repeat(300)), b"x").unwrap_err().to_string();
    assert!(error.contains("giving the new file its name") && error.contains("shorter"), "{error}");
    assert!(matches!(write_atomically(at("nul\0"), b"x"), Err(SaveError::Step { .. })));
    write_atomically(at(&"n".repeat(250)), b"x").unwrap();
    assert_eq!(names(dir.path()).len(), 3);
}

#[test]
fn a_write_protected_file_stays() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m");
    fs::write(&path, b"kept").unwrap();
    let mut permissions = fs::metadata(&path).unwrap().permissions();
    permissions.set_readonly(true);
    fs::set_permissions(&path, permissions).unwrap();
    let error = write_atomically(&path, b"x").unwrap_err();
    assert!(matches!(error, SaveError::Protected { .. }));
    assert_eq!(fs::read(&path).unwrap(), b"kept");
}

#[cfg(unix)]
#[test]
fn links_are_followed_and_devices_refused() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir(at("real")).unwrap();
    fs::write(at("real/m"), b"old").unwrap();
    symlink(at("real/m"), at("link")).unwrap();
    write_atomically(at("link"), b"new").unwrap();
    assert!(fs::symlink_metadata(at("link")).unwrap().is_symlink());
    assert_eq!(fs::read(at("real/m")).unwrap(), b"new");
    symlink(at("nowhere"), at("dangling")).unwrap();
    assert!(matches!(write_atomically(at("dangling"), b"x"), Err(SaveError::DanglingLink { .. })));
    assert!(matches!(write_atomically("/dev/null", b"x"), Err(SaveError::NotAFile { .. })));

    fs::write(at("plain"), b"").unwrap();
    write_atomically(at("ours"), b"").unwrap();
    let mode = |name: &str| fs::metadata(at(name)).unwrap().permissions().mode();
    assert_eq!(mode("ours"), mode("plain"), "the umask decides, as for any new file");
}

#[test]
fn the_dead_are_cleared_away_and_the_living_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::write(at(".m.tmp-4000000-0"), b"half").unwrap();
    fs::write(at(".m.tmp-notes"), b"someone else's").unwrap();
    fs::write(at(".mm.tmp-4000000-0"), b"another target's").unwrap();
    let living = File::create_new(at(".m.tmp-4000001-7")).unwrap();
    living.try_lock().unwrap();
    write_atomically(at("m"), b"x").unwrap();
    assert_eq!(names(dir.path()), [".m.tmp-4000001-7", ".m.tmp-notes", ".mm.tmp-4000000-0", "m"]);
    drop(living);
    write_atomically(at("m"), b"y").unwrap();
    assert_eq!(names(dir.path()), [".m.tmp-notes", ".mm.tmp-4000000-0", "m"]);
}

#[test]
fn savers_at_once_leave_one_whole_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m");
    std::thread::scope(|scope| {
        for id in 0..4_u8 {
            let path = &path;
            scope.spawn(move || (0..50).for_each(|_| write_atomically(path, &[id; 10_000]).unwrap()));
        }
    });
    let bytes = fs::read(&path).unwrap();
    assert_eq!(bytes.len(), 10_000);
    assert!(bytes.iter().all(|b| *b == bytes[0]));
    assert_eq!(names(dir.path()), ["m"]);
}

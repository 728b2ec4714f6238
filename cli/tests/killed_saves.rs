//! Savers killed at any moment: the file is always whole, and nothing is left behind after the next save.

use evenkeel_cli::atomic::write_atomically;
use std::fs;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

const DIR: &str = "EVENKEEL_TEST_SAVE_DIR";
const SIZE: usize = 2 << 20;

/// Not a test of its own: what the child process runs until it is killed.
#[test]
fn child_that_saves_for_ever() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let path = std::path::Path::new(&dir).join("model.keel");
    let start = Instant::now();
    // The parent kills it long before; should the parent die, it must not go on for ever.
    for i in (0..=u8::MAX).cycle().take_while(|_| start.elapsed() < Duration::from_secs(60)) {
        write_atomically(&path, &vec![i; SIZE]).unwrap();
    }
}

#[test]
fn a_killed_save_leaves_a_whole_file_and_no_litter() {
    let kills: u32 = std::env::var("EVENKEEL_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(25);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.keel");
    write_atomically(&path, &vec![7; SIZE]).unwrap();
    let mut left = 0;
    for i in 0..kills {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_that_saves_for_ever"])
            .env(DIR, dir.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        sleep(Duration::from_micros(5_000 + u64::from(i) * 7_919 % 40_000));
        child.kill().unwrap();
        child.wait().unwrap();
        let bytes = fs::read(&path).unwrap();
        assert_eq!(bytes.len(), SIZE);
        assert!(bytes.iter().all(|b| *b == bytes[0]), "neither the old nor the new file");
        left = left.max(fs::read_dir(dir.path()).unwrap().count() - 1);
    }
    assert!(left <= 1, "each saver clears away what the one before it left");
    write_atomically(&path, b"done").unwrap();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    println!("{kills} kills: 0 broken files, at most {left} temporary file left, 0 after the next save");
}

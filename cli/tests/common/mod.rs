//! Running the built command and looking at what it did.

// Each test file uses some of it.
#![allow(dead_code, unreachable_pub)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// How the command ended, and what it said.
#[derive(Debug)]
pub struct Done {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// The command, to be run in `dir`. It takes the caller's `EVENKEEL_LEVEL`, so that all of these tests can be run on each level.
pub fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeel"));
    command.args(args).current_dir(dir).stdin(Stdio::null());
    command
}

pub fn done(output: Output) -> Done {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("output is UTF-8");
    Done { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}

pub fn run(dir: &Path, args: &[&str]) -> Done {
    done(command(dir, args).output().expect("the command runs"))
}

/// Runs what must succeed; gives its standard output.
pub fn ok(dir: &Path, args: &[&str]) -> String {
    let done = run(dir, args);
    assert_eq!(done.code, 0, "{args:?}: {done:?}");
    done.out
}

/// Runs what must be refused with this exit code: one line on standard error that names `needle`, no panic, and every
/// file in `dir` as it was.
pub fn refused(dir: &Path, args: &[&str], code: i32, needle: &str) -> String {
    let before = snapshot(dir);
    let done = run(dir, args);
    is_refusal(&done, args, code, needle);
    assert!(snapshot(dir) == before, "{args:?} changed files");
    done.err
}

pub fn is_refusal(done: &Done, args: &[&str], code: i32, needle: &str) {
    assert_eq!(done.code, code, "{args:?}: {done:?}");
    assert!(done.err.starts_with("error: ") && done.err.ends_with('\n'), "{args:?}: {}", done.err);
    assert_eq!(done.err.lines().count(), 1, "{args:?}: {}", done.err);
    assert!(done.err.contains(needle), "{args:?}: no {needle:?} in {}", done.err);
    assert!(!done.err.contains("panicked") && done.err.len() < 1000, "{args:?}: {}", done.err);
}

/// All files below a folder.
pub fn snapshot(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.extend(snapshot(&path));
        } else {
            files.insert(path.clone(), std::fs::read(&path).unwrap_or_default());
        }
    }
    files
}

/// The files of a run that must not depend on anything but data, options and seed.
pub fn results(run: &Path) -> Vec<Vec<u8>> {
    let read = |name| std::fs::read(run.join(name)).unwrap_or_else(|error| panic!("{}/{name}: {error}", run.display()));
    ["model.keel", "model.safetensors", "checkpoint.safetensors"].into_iter().map(read).collect()
}

/// Xorshift: the same on every machine and every day.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() >> 16) as usize % n
    }

    /// From 0 to 1.
    pub fn share(&mut self) -> f32 {
        self.below(1 << 20) as f32 / (1 << 20) as f32
    }
}

/// Three clouds of points in four dimensions: `rows` lines under the header `a,b,c,d,KIND`, classes by name.
pub fn clouds(rows: usize) -> String {
    let mut random = Random(7);
    let mut text = String::from("a,b,c,d,kind\n");
    for row in 0..rows {
        let class = row % 3;
        for input in 0..4 {
            let centre = if input == class { 30.0 } else { 3.0 };
            let _ = write!(text, "{:.3},", centre + 8.0 * (random.share() - 0.5));
        }
        let _ = writeln!(text, "{}", ["ash", "birch", "cedar"][class]);
    }
    text
}

pub const NET: &str = "dense(8) bn relu dropout(0.1) dense(3)";

/// A folder with `clouds.csv` and a short finished run in `run`.
pub fn trained() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(dir.path().join("clouds.csv"), clouds(90)).expect("written");
    ok(dir.path(), &train_clouds("run"));
    dir
}

/// The arguments of that run.
pub fn train_clouds(out: &str) -> Vec<&str> {
    let mut args = vec!["train", "--data", "clouds.csv", "--net", NET, "--epochs", "4", "--batch", "16"];
    args.extend(["--test-split", "0.2", "--lr", "0.01", "--out", out]);
    args
}

/// The lines of `--json`, each an object with an event.
pub fn events(out: &str) -> Vec<serde_json::Value> {
    let parse = |line: &str| {
        let value: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(value["event"].is_string(), "{line}");
        value
    };
    out.lines().map(parse).collect()
}

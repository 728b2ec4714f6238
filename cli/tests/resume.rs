//! Stopping and going on: by Ctrl-C, by `kill -9`, with more epochs. The bits are those of a run that never stopped.

#![cfg(unix)]

mod common;

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::{NET, Random, clouds, command, events, ok, results, run, snapshot};

const EPOCHS: usize = 40;

/// Enough work that it can be interrupted; a checkpoint after every epoch.
fn train(out: &str) -> Vec<&str> {
    let mut args = vec!["train", "--data", "clouds.csv", "--net", NET, "--epochs", "40", "--batch", "8", "--out", out];
    args.extend(["--patience", "0", "--schedule", "cosine(0.1)", "--lr", "0.01", "--l2", "0.0001"]);
    args.extend(["--init", "glorot_uniform"]);
    args.extend(["--checkpoint-seconds", "0", "--json", "--threads", "2"]);
    args
}

fn data(rows: usize) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("clouds.csv"), clouds(rows)).unwrap();
    dir
}

/// Starts the command and waits until so many epochs are done.
fn start(dir: &Path, args: &[&str], epochs: usize) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut child = command(dir, args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut seen = 0;
    let mut line = String::new();
    while seen < epochs && out.read_line(&mut line).unwrap() > 0 {
        seen += usize::from(line.contains("\"event\":\"epoch\""));
        line.clear();
    }
    (child, out)
}

fn signal(child: &Child, name: &str) {
    let kill = format!("kill -{name} {}", child.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
}

#[test]
fn ctrl_c_leaves_a_checkpoint_to_go_on_from() {
    let dir = data(600);
    let dir = dir.path();
    ok(dir, &train("whole"));
    let (mut child, mut out) = start(dir, &train("run"), 5);
    signal(&child, "INT");
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{said}");
    assert!(said.contains("stopped; go on with: evenkeel train --from run/checkpoint.safetensors"), "{said}");
    assert_eq!(events(&rest).last().unwrap()["code"], 130);
    assert!(!dir.join("run/model.keel").exists());
    let shown = events(&ok(dir, &["inspect", "run/checkpoint.safetensors", "--json"]));
    let done = shown[0]["run"]["epochs"].as_u64().unwrap();
    assert!((5..EPOCHS as u64).contains(&done), "{done} epochs done");

    // As the message says, with nothing repeated.
    let out = ok(dir, &["train", "--from", "run/checkpoint.safetensors", "--json", "--threads", "1"]);
    let epochs = events(&out).iter().filter(|event| event["event"] == "epoch").count();
    assert_eq!(epochs as u64, EPOCHS as u64 - done);
    assert!(results(&dir.join("run")) == results(&dir.join("whole")));
    // The configuration is that of a run from the start.
    let config = |run: &str| std::fs::read_to_string(dir.join(run).join("config.toml")).unwrap();
    assert_eq!(config("run"), config("whole"));
    // The curves and the history know all epochs.
    assert_eq!(std::fs::read_to_string(dir.join("run/history.csv")).unwrap().lines().count(), EPOCHS + 1);

    // A run that is over can be taken up again without harm; a folder stands for its checkpoint.
    let before = snapshot(&dir.join("run"));
    let out = ok(dir, &["train", "--from", "run", "--json"]);
    assert!(events(&out).iter().all(|event| event["event"] != "epoch"));
    assert!(snapshot(&dir.join("run")) == before);
}

/// With one batch an epoch every stop is behind the last batch, before the validation.
#[test]
fn ctrl_c_after_the_last_batch_of_an_epoch() {
    let dir = data(60);
    let dir = dir.path();
    let args = ["train", "--data", "clouds.csv", "--net", NET, "--batch", "1000", "--epochs", "1000000", "--json"];
    let (mut child, out) = start(dir, &[&args[..], &["--patience", "0"]].concat(), 3);
    signal(&child, "INT");
    drop(out);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let out = ok(dir, &["train", "--from", "run", "--epochs", "1", "--json"]);
    assert_eq!(events(&out).last().unwrap()["event"], "result");
}

#[test]
fn kill_9_at_any_moment() {
    let dir = data(300);
    let dir = dir.path();
    ok(dir, &train("whole"));
    let expected = results(&dir.join("whole"));
    let mut random = Random(u64::from(std::process::id()) << 20 | 1);
    let kills: usize = std::env::var("EVENKEEL_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(5);
    let mut at = Vec::new();
    for _ in 0..kills {
        let (mut child, out) = start(dir, &train("run"), 1 + random.below(EPOCHS - 2));
        std::thread::sleep(Duration::from_micros(random.below(8000) as u64));
        child.kill().unwrap();
        child.wait().unwrap();
        drop(out);
        let shown = events(&ok(dir, &["inspect", "run/checkpoint.safetensors", "--json"]));
        at.push(shown[0]["run"]["epochs"].as_u64().unwrap());
        ok(dir, &["train", "--from", "run", "--quiet"]);
        assert!(results(&dir.join("run")) == expected, "killed after epoch {at:?}");
        let left: Vec<_> =
            std::fs::read_dir(dir.join("run")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left.len(), 7, "litter: {left:?}");
        std::fs::remove_dir_all(dir.join("run")).unwrap();
    }
    println!("killed {kills} times, after epochs {at:?}: always the same bits in the end");
}

/// Ten epochs and then thirty are forty: the best epoch's weights are what a run ends with, not what it goes on from.
#[test]
fn more_epochs_go_on_from_the_last_one() {
    let dir = data(120);
    let dir = dir.path();
    let constant = |out, epochs| {
        let mut args = train(out);
        args.retain(|argument| *argument != "--json");
        let at = args.iter().position(|argument| *argument == "cosine(0.1)").unwrap();
        args[at] = "constant";
        let at = args.iter().position(|argument| *argument == "40").unwrap();
        args[at] = epochs;
        args
    };
    ok(dir, &constant("whole", "40"));
    ok(dir, &constant("run", "10"));
    ok(dir, &["train", "--from", "run", "--epochs", "40"]);
    assert!(results(&dir.join("run")) == results(&dir.join("whole")));
}

/// A run that early stopping ended stays ended, unless it is given more patience.
#[test]
fn more_patience_goes_on() {
    let dir = data(120);
    let dir = dir.path();
    let args = |out, patience| {
        let mut args = vec!["train", "--data", "clouds.csv", "--net", NET, "--out", out, "--patience", patience];
        args.extend(["--epochs", "30", "--min-delta", "0.5", "--batch", "16", "--json"]);
        args
    };
    let end = |out: String| events(&out).last().unwrap().clone();
    let short = end(ok(dir, &args("run", "2")));
    assert_eq!(short["stopped_early"], true);
    let again = end(ok(dir, &["train", "--from", "run", "--json"]));
    assert_eq!(again["epochs"], short["epochs"]);
    let whole = end(ok(dir, &args("whole", "6")));
    let longer = end(ok(dir, &["train", "--from", "run", "--patience", "6", "--json"]));
    assert!(whole["epochs"].as_u64() > short["epochs"].as_u64());
    assert_eq!((&longer["epochs"], &longer["best_epoch"]), (&whole["epochs"], &whole["best_epoch"]));
    assert!(results(&dir.join("run")) == results(&dir.join("whole")));
}

#[test]
fn a_huge_number_of_epochs_can_be_stopped() {
    let dir = data(60);
    let dir = dir.path();
    let mut args = train("run");
    let at = args.iter().position(|argument| *argument == "40").unwrap();
    args[at] = "4294967295";
    let (mut child, _out) = start(dir, &args, 3);
    signal(&child, "INT");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let done = run(dir, &["train", "--from", "run", "--epochs", "1", "--quiet"]);
    assert_eq!(done.code, 0, "{done:?}");
}

//! Inputs that stay on the disk: every file of a run has the bits of the run in memory, whatever the format; and what goes wrong
//! while it trains leaves a run that can go on.

mod common;

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use common::{Random, command, done, is_refusal, ok, refused, results};
use evenkeel_cli::data::{npy_f32, npy_u32};

const NET: &str = "dense(12) bn relu dropout(0.2) dense(9) ln gelu dense(3)";
const COLUMNS: usize = 6;

/// Rows of six numbers, of which some are missing, a weight and a class.
fn rows(count: usize, missing: bool) -> Vec<(Vec<f32>, usize)> {
    let mut random = Random(11);
    let row = |row| {
        let class = row % 3;
        let mut values: Vec<f32> =
            (0..COLUMNS).map(|at| if at % 3 == class { 4.0 } else { 1.0 } + 5.0 * random.share()).collect();
        if missing && row % 7 == 2 {
            values[random.below(COLUMNS)] = f32::NAN;
        }
        (values, class)
    };
    (0..count).map(row).collect()
}

/// As text, with two columns of words, one of weights and one of groups.
fn csv(rows: &[(Vec<f32>, usize)]) -> String {
    let mut text = String::from("a,colour,b,c,d,place,e,f,weight,person,kind\n");
    for (row, (values, class)) in rows.iter().enumerate() {
        let cells: Vec<String> =
            values.iter().map(|value| if value.is_nan() { "NA".to_owned() } else { value.to_string() }).collect();
        let colour = ["red", "green", "blue", "?"][(row * 7 + class) % 4];
        let place = ["north", "south"][row / 3 % 2];
        let [a, b, c, d, e, f] = &cells[..] else { panic!("{COLUMNS} columns") };
        let (weight, person) = (1 + row % 3, row % 5);
        let _ =
            writeln!(text, "{a},{colour},{b},{c},{d},{place},{e},{f},{weight},{person},{}", ["x", "y", "z"][*class]);
    }
    text
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

/// Writes the same rows in every format.
fn files(dir: &Path) {
    let write = |name: &str, bytes: &[u8]| std::fs::write(dir.join(name), bytes).unwrap();
    let (all, held) = (rows(330, true), rows(60, true));
    write("all.csv", csv(&all).as_bytes());
    write("held.csv", csv(&held).as_bytes());
    write("all.csv.gz", &gzip(csv(&all).as_bytes()));
    write("part-1.csv", csv(&all[..150]).as_bytes());
    write("part-2.csv", csv(&all[150..]).as_bytes());
    let whole = rows(330, false);
    let array = |rows: &[(Vec<f32>, usize)]| {
        npy_f32(&rows.iter().flat_map(|(values, _)| values.clone()).collect::<Vec<f32>>(), COLUMNS)
    };
    let labels =
        |rows: &[(Vec<f32>, usize)]| npy_u32(&rows.iter().map(|(_, class)| *class as u32).collect::<Vec<u32>>());
    write("x.npy", &array(&whole));
    write("y.npy", &labels(&whole));
    write("x-missing.npy", &array(&all));
    for (index, part) in [&whole[..100], &whole[100..101], &whole[101..]].into_iter().enumerate() {
        write(&format!("x{index}.npy"), &array(part));
        write(&format!("y{index}.npy"), &labels(part));
    }
    write("x1.npy.gz", &gzip(&array(&whole[100..101])));
    let wide: Vec<f32> =
        whole.iter().flat_map(|(values, class)| [&values[..], &[*class as f32, 0.5]].concat()).collect();
    write("wide.npy", &npy_f32(&wide, COLUMNS + 2));
}

/// Each run in memory, and streamed with one thread and with two.
fn same(dir: &Path, what: &str, options: &[&str]) {
    let train = |out: &str, more: &[&str]| {
        let mut args = vec!["train", "--net", NET, "--epochs", "3", "--batch", "32", "--quiet", "--out", out];
        args.extend(options);
        args.extend(more);
        ok(dir, &args);
        results(&dir.join(out))
    };
    let memory = train("memory", &[]);
    for threads in ["1", "2"] {
        assert!(train("streamed", &["--stream", "--threads", threads]) == memory, "{what}, {threads} threads");
    }
}

#[test]
fn every_format_with_the_bits_of_memory() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    files(dir);
    let words = ["--categorical", "auto", "--missing", "median", "--ignore", "weight,person"];
    for data in ["all.csv", "all.csv.gz", "part-1.csv,part-2.csv", "part-*.csv"] {
        same(dir, data, &[&["--data", data, "--test-split", "0.1"], &words[..]].concat());
    }
    let weighted = ["--data", "all.csv", "--categorical", "colour,place", "--missing", "mean"];
    same(
        dir,
        "weights and a group",
        &[&weighted[..], &["--weight-column", "weight", "--test-group", "person=3", "--class-weight", "balanced"]]
            .concat(),
    );
    let dropped = ["--data", "all.csv", "--missing", "drop", "--ignore", "colour,place,weight,person"];
    same(dir, "dropped", &[&dropped[..], &["--test-fold", "2/4", "--mixup", "0.3", "--jitter", "0.1"]].concat());
    same(
        dir,
        "other files and rows",
        &[
            &words[..],
            &["--data", "all.csv", "--test", "held.csv", "--where", "row=0..249"],
            &["--validation-where", "row=250..329"],
        ]
        .concat(),
    );
    for data in [
        &["--data", "x.npy", "--labels", "y.npy"][..],
        &["--data", "x?.npy", "--labels", "y?.npy"],
        &["--data", "x0.npy,x1.npy.gz,x2.npy", "--labels", "y0.npy,y1.npy,y2.npy"],
        &["--data", "wide.npy", "--target", "7", "--task", "classes", "--ignore", "8"],
        &["--data", "wide.npy", "--target", "7", "--task", "classes", "--where", "3=2..5"],
        &["--data", "x-missing.npy", "--labels", "y.npy", "--missing", "mean"],
        &["--data", "x-missing.npy", "--labels", "y.npy", "--missing", "drop", "--swa", "1"],
        &["--data", "x.npy", "--labels", "y.npy", "--init", "lsuv", "--standardize", "false", "--micro-batch", "8"],
    ] {
        same(dir, &data.join(" "), data);
    }
}

#[test]
fn the_other_commands_and_runs_taken_up() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    files(dir);
    let data = ["--data", "all.csv", "--categorical", "auto", "--missing", "median", "--ignore", "weight,person"];
    let train = |out: &str, epochs: &str, more: &[&str]| {
        let args = ["train", "--net", NET, "--batch", "32", "--quiet", "--out", out, "--epochs", epochs];
        ok(dir, &[&args, &data[..], more].concat());
    };
    train("memory", "6", &[]);
    train("streamed", "6", &["--stream"]);
    assert!(std::fs::read_to_string(dir.join("streamed/config.toml")).unwrap().contains("stream = true"));
    let on = |command: &str, model: &str, more: &[&str]| ok(dir, &[&[command, model], more].concat());
    for model in ["streamed", "streamed/model.safetensors"] {
        let expected = on("predict", model, &["--data", "held.csv"]);
        assert_eq!(on("predict", model, &["--data", "held.csv", "--stream"]), expected);
        assert_eq!(
            on("predict", model, &["--data", "all.csv", "--stream", "--batch", "7"]),
            on("predict", model, &["--data", "all.csv"])
        );
        let expected = on("eval", model, &["--data", "held.csv"]);
        assert_eq!(on("eval", model, &["--data", "held.csv", "--stream"]), expected);
    }
    assert_eq!(on("eval", "streamed", &[]), on("eval", "memory", &[]));
    let again = |out: &str, more: &[&str]| {
        on("recalibrate", "memory", &[&["--data", "held.csv", "--batch", "25", "--out", out], more].concat());
        std::fs::read(dir.join(out)).unwrap()
    };
    assert_eq!(again("a.safetensors", &[]), again("b.safetensors", &["--stream"]));
    let curve = |more: &[&str]| {
        let args = ["find-lr", "--net", NET, "--steps", "12", "--json", "--out", "lr.svg"];
        ok(dir, &[&args, &data[..], more].concat())
    };
    assert_eq!(curve(&[]), curve(&["--stream"]));
    let folds = |out: &str, more: &[&str]| {
        let args = ["cv", "--folds", "3", "--net", NET, "--epochs", "2", "--quiet", "--out", out];
        ok(dir, &[&args, &data[..], more].concat());
        (1..=3).map(|fold| results(&dir.join(out).join(format!("fold-{fold}")))).collect::<Vec<_>>()
    };
    assert!(folds("cv-memory", &[]) == folds("cv-streamed", &["--stream"]));

    // Stopped and taken up, as it was and the other way.
    for (out, before, after) in [
        ("half", "--stream", "--stream"),
        ("over", "--stream=false", "--stream"),
        ("back", "--stream", "--stream=false"),
    ] {
        let spool: &[&str] = if before == "--stream" { &["--spool", "."] } else { &[] };
        train(out, "2", &[&[before], spool].concat());
        let checkpoint = format!("{out}/checkpoint.safetensors");
        ok(dir, &["train", "--from", &checkpoint, "--epochs", "6", "--quiet", after]);
        assert!(results(&dir.join(out)) == results(&dir.join("memory")), "{out}");
    }
}

/// Long enough to be caught in the middle, with a checkpoint after every epoch.
const LONG_RUN: [&str; 12] = [
    "train",
    "--net",
    NET,
    "--quiet",
    "--epochs",
    "500",
    "--patience",
    "0",
    "--batch",
    "8",
    "--checkpoint-seconds",
    "0",
];

/// Killed while it trains: nothing of the spool is left, and the run goes on to the same bits.
#[test]
fn killed_and_taken_up() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    files(dir);
    std::fs::create_dir(dir.join("spool")).unwrap();
    let mut args = LONG_RUN.to_vec();
    args.extend(["--data", "all.csv", "--ignore", "colour,place,weight,person", "--missing", "median"]);
    ok(dir, &[&args[..], &["--out", "whole"]].concat());
    args.extend(["--out", "killed", "--stream", "--spool", "spool"]);
    let mut child = command(dir, &args).stderr(Stdio::null()).spawn().unwrap();
    wait_for_epochs(&dir.join("killed"), 5);
    child.kill().unwrap();
    assert!(!child.wait().unwrap().success(), "it was over before it was killed");
    #[cfg(unix)]
    assert_eq!(std::fs::read_dir(dir.join("spool")).unwrap().count(), 0, "the spool file has no name");
    ok(dir, &["train", "--from", "killed/checkpoint.safetensors", "--quiet"]);
    assert!(results(&dir.join("killed")) == results(&dir.join("whole")));
}

fn wait_for_epochs(run: &Path, epochs: usize) {
    let began = Instant::now();
    while std::fs::read_to_string(run.join("history.csv")).unwrap_or_default().lines().count() <= epochs {
        assert!(began.elapsed() < Duration::from_secs(120), "no epochs in {}", run.display());
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The file is cut off while it is trained on: the error names it, the run is saved, and goes on when the file is whole again.
#[test]
fn a_file_that_becomes_shorter() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    files(dir);
    let mut args = LONG_RUN.to_vec();
    args.extend(["--data", "x.npy", "--labels", "y.npy", "--swa", "2"]);
    ok(dir, &[&args[..], &["--out", "whole"]].concat());
    args.extend(["--out", "cut", "--stream"]);
    let child = command(dir, &args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for_epochs(&dir.join("cut"), 5);
    let bytes = std::fs::read(dir.join("x.npy")).unwrap();
    File::options().write(true).open(dir.join("x.npy")).unwrap().set_len(bytes.len() as u64 / 2).unwrap();
    let ended = done(child.wait_with_output().unwrap());
    is_refusal(&ended, &args, 3, "x.npy: it has become shorter since it was opened");
    assert!(ended.err.contains("--from cut/checkpoint.safetensors"), "{}", ended.err);
    // Before it trains, the file is refused as in memory.
    refused(dir, &["train", "--from", "cut/checkpoint.safetensors"], 3, "the header promises");
    std::fs::write(dir.join("x.npy"), bytes).unwrap();
    ok(dir, &["train", "--from", "cut/checkpoint.safetensors", "--quiet"]);
    assert!(results(&dir.join("cut")) == results(&dir.join("whole")));
}

#[test]
fn what_cannot_stream_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    files(dir);
    let train = |data: &[&str], code, words: &str| {
        refused(dir, &[&["train", "--out", "run", "--stream"], data].concat(), code, words);
    };
    std::fs::write(dir.join("lists.svm"), "1 1:1 4:1\n0 2:1\n1 3:1 4:1\n0 1:1\n").unwrap();
    train(&["--data", "lists.svm"], 3, "lists.svm: cannot be read with --stream: index lists are kept in memory");
    let mut columns = npy_f32(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 2);
    let at = columns.windows(5).position(|word| word == b"False").unwrap();
    columns[at..at + 5].copy_from_slice(b"True ");
    std::fs::write(dir.join("columns.npy"), columns).unwrap();
    train(&["--data", "columns.npy", "--target", "2"], 3, "ascontiguousarray");
    let plain = ["--data", "all.csv", "--ignore", "colour,place,weight,person", "--missing", "0"];
    train(&[&plain[..], &["--spool", "nowhere"]].concat(), 7, "nowhere: the rows of --stream cannot be kept there");
    refused(dir, &[&["train", "--out", "run"], &plain[..], &["--spool", "."]].concat(), 2, "add --stream");
    refused(dir, &["predict", "run", "--spool", "."], 4, "");
    // What is wrong in a cell is said as in memory.
    let nothing = ["--data", "all.csv", "--ignore", "colour,place,weight,person"];
    let in_memory = refused(dir, &[&["train", "--out", "run"], &nothing[..]].concat(), 3, "expected a number");
    assert_eq!(in_memory, refused(dir, &[&["train", "--out", "run", "--stream"], &nothing[..]].concat(), 3, "line"));
    let bad = npy_f32(&[1.0, f32::INFINITY, 3.0, 0.0, 1.0, 1.0], 2);
    std::fs::write(dir.join("bad.npy"), bad).unwrap();
    train(&["--data", "bad.npy", "--target", "2"], 3, "row 0");
}

/// A disk that takes no more, here because of a limit on the size of files.
#[cfg(unix)]
#[test]
fn a_disk_that_is_full() {
    let dir = tempfile::tempdir().unwrap();
    files(dir.path());
    let options = "train --data all.csv --ignore colour,place,weight,person --missing 0 --out run --stream --spool .";
    let script = format!("trap '' XFSZ; ulimit -f 8; exec {} {options}", env!("CARGO_BIN_EXE_evenkeel"));
    let before = common::snapshot(dir.path());
    let ended = done(std::process::Command::new("sh").args(["-c", &script]).current_dir(dir.path()).output().unwrap());
    is_refusal(&ended, &[options], 7, ".: the rows of --stream cannot be kept there: ");
    assert!(common::snapshot(dir.path()) == before);
}

/// A set much larger than what the run takes; beside it the same run in memory.
#[cfg(target_os = "linux")]
#[test]
fn memory_does_not_grow_with_the_data() {
    const FEATURES: usize = 512;
    let megabytes: usize = std::env::var("EVENKEEL_STREAM_MB").ok().and_then(|n| n.parse().ok()).unwrap_or(96);
    let count = megabytes * 1_000_000 / (4 * FEATURES);
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let mut random = Random(3);
    let block: Vec<f32> = (0..997 * FEATURES).map(|_| random.share()).collect();
    let header = npy_f32(&vec![0.0; FEATURES], FEATURES);
    let shape = format!("({count}, {FEATURES})");
    let mut head = header[..header.len() - 4 * FEATURES].to_vec();
    let at = head.windows(2).position(|pair| pair == b"(1").unwrap();
    let end = at + head[at..].iter().position(|byte| *byte == b')').unwrap() + 1;
    head.splice(at..end, shape.bytes());
    // The header stays as long as it says.
    let padding = head.iter().rposition(|byte| *byte != b' ' && *byte != b'\n').unwrap() + 1;
    head.splice(padding..padding + shape.len() - (end - at), []);
    assert_eq!(head.len(), header.len() - 4 * FEATURES);
    let mut file = std::io::BufWriter::new(File::create(dir.join("x.npy")).unwrap());
    file.write_all(&head).unwrap();
    for row in 0..count {
        let values = &block[row % 997 * FEATURES..][..FEATURES];
        values.iter().for_each(|value| file.write_all(&value.to_le_bytes()).unwrap());
    }
    file.flush().unwrap();
    drop(file);
    let classes: Vec<u32> = (0..count as u32).map(|row| row % 4).collect();
    std::fs::write(dir.join("y.npy"), npy_u32(&classes)).unwrap();
    let peak = |more: &[&str]| {
        let args =
            ["train", "--data", "x.npy", "--labels", "y.npy", "--net", "dense(32) bn relu dense(4)", "--epochs", "1"];
        let args = [&args[..], &["--batch", "256", "--quiet", "--threads", "2"], more].concat();
        let mut child = command(dir, &args).stderr(Stdio::piped()).spawn().unwrap();
        let (status, mut peak) = (format!("/proc/{}/status", child.id()), 0);
        while child.try_wait().unwrap().is_none() {
            let text = std::fs::read_to_string(&status).unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<usize>().ok());
            peak = peak.max(kilobytes.unwrap_or(0));
            std::thread::sleep(Duration::from_millis(2));
        }
        let ended = done(child.wait_with_output().unwrap());
        assert_eq!(ended.code, 0, "{ended:?}");
        peak as f64 / 1000.0
    };
    let streamed = peak(&["--stream", "--out", "streamed"]);
    let memory = peak(&["--out", "memory"]);
    println!("{megabytes} MB of rows: peak of {streamed:.1} MB streamed, {memory:.1} MB in memory");
    assert!(results(&dir.join("streamed")) == results(&dir.join("memory")));
    assert!(streamed < 48.0 && memory > megabytes as f64, "{streamed} MB streamed, {memory} MB in memory");
}

//! Losses, weights of rows and classes, label smoothing, mixup, noise and initial weights, from the command line to the
//! report, and on after a stop.

mod common;

use std::fmt::Write as _;
use std::path::Path;

use common::{Random, clouds, ok, refused, results};
use serde_json::Value;

/// Rows of two inputs with a weight, two classes, and quantities: `x,y,w,pair,count,a,b`.
fn mixed(rows: usize) -> String {
    let mut random = Random(11);
    let mut text = String::from("x,y,w,pair,count,a,b\n");
    for _ in 0..rows {
        let [x, y] = [0, 1].map(|_| 4.0 * random.share() - 2.0);
        let (pair, count) = (if x + y > 0.0 { "yes" } else { "no" }, (2.0 + x).round());
        let share = 0.5 + 0.2 * x;
        let weight = 0.5 + random.share();
        let _ = writeln!(text, "{x:.3},{y:.3},{weight:.3},{pair},{count},{share:.4},{:.4}", 1.0 - share);
    }
    text
}

fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("clouds.csv"), clouds(90)).unwrap();
    std::fs::write(dir.path().join("mixed.csv"), mixed(120)).unwrap();
    dir
}

fn report(dir: &Path, run: &str) -> Value {
    serde_json::from_slice(&std::fs::read(dir.join(run).join("report.json")).unwrap()).unwrap()
}

/// Everything at once, broken off after half of the epochs and gone on with: the files of a run that never stopped.
#[test]
fn options_are_kept_and_go_on() {
    let dir = folder();
    let dir = dir.path();
    let all = [
        "--target",
        "pair",
        "--ignore",
        "count,a,b",
        "--weight-column",
        "w",
        "--weight-mean",
        "weights",
        "--class-weight",
        "no:1,yes:2.5",
        "--label-smoothing",
        "0.1",
        "--mixup",
        "0.2",
        "--jitter",
        "0.05",
        "--init",
        "lsuv",
        "--net",
        "dense(9) tanh bn dropout(0.1) dense(2)",
        "--batch",
        "16",
        "--patience",
        "0",
    ];
    let train = |out: &str, epochs: &str, more: &[&str]| {
        let mut args = vec!["train", "--data", "mixed.csv", "--out", out, "--epochs", epochs];
        args.extend(more);
        ok(dir, &args);
    };
    train("whole", "6", &all);
    train("run", "3", &all);
    let config = std::fs::read_to_string(dir.join("run/config.toml")).unwrap();
    for line in [
        "weight-column = \"w\"",
        "weight-mean = \"weights\"",
        "class-weight = \"no:1,yes:2.5\"",
        "label-smoothing = 0.1",
        "mixup = 0.2",
        "jitter = 0.05",
        "init = \"lsuv\"",
        "loss = \"cross-entropy(0.1)\"",
    ] {
        assert!(config.contains(line), "no {line} in {config}");
    }
    ok(dir, &["train", "--from", "run", "--epochs", "6"]);
    assert!(results(&dir.join("run")) == results(&dir.join("whole")), "other bits after a stop");
    // And each of them matters.
    for (at, without) in [8, 10, 12, 14, 16].into_iter().enumerate() {
        let mut others = all.to_vec();
        others.drain(without..without + 2);
        let out = format!("without-{at}");
        train(&out, "6", &others);
        assert!(results(&dir.join(&out)) != results(&dir.join("whole")), "without {}", all[without]);
    }
}

/// Weights of 1 change nothing at all.
#[test]
fn weights_of_one() {
    let dir = folder();
    let dir = dir.path();
    let plain = ["train", "--data", "clouds.csv", "--net", common::NET, "--epochs", "2", "--out"];
    ok(dir, &[&plain[..], &["plain"]].concat());
    ok(dir, &[&plain[..], &["ones", "--class-weight", "birch:1"]].concat());
    assert!(results(&dir.join("plain"))[..2] == results(&dir.join("ones"))[..2]);
}

/// Every loss trains, and `eval` on the image gives the loss of the report.
#[test]
fn every_loss() {
    let dir = folder();
    let dir = dir.path();
    let classes = [
        "cross-entropy",
        "cross-entropy(0.2)",
        "focal",
        "categorical-hinge",
        "multi-margin(0.5)",
        "squared-multi-margin",
    ];
    let pairs = ["bce", "bce(0.1)", "binary-focal(2, 0.25)", "hinge", "squared_hinge", "soft-margin"];
    let values = [
        "mse",
        "mae",
        "huber(0.5)",
        "smooth_l1",
        "log-cosh",
        "mape",
        "msle",
        "quantile(tau=0.9)",
        "poisson",
        "kl-div",
        "soft-cross-entropy",
        "cosine-similarity",
        "cosine-embedding",
    ];
    let mut runs: Vec<(&str, Vec<&str>)> = Vec::new();
    classes.iter().for_each(|loss| runs.push((loss, vec!["--data", "clouds.csv", "--net", "dense(8) relu dense(3)"])));
    for loss in pairs {
        runs.push((
            loss,
            vec![
                "--data",
                "mixed.csv",
                "--target",
                "pair",
                "--ignore",
                "count,a,b,w",
                "--net",
                "dense(8) relu dense(1)",
            ],
        ));
    }
    for loss in values {
        let more = ["--target", "a,b", "--ignore", "pair,count,w", "--net", "dense(8) relu dense(2)"];
        runs.push((loss, [&["--data", "mixed.csv"][..], &more].concat()));
    }
    let rates = ["--target", "count", "--ignore", "pair,a,b,w", "--net", "dense(8) relu dense(1) sigmoid"];
    runs.push(("poisson-rate", [&["--data", "mixed.csv"][..], &rates].concat()));
    for (loss, options) in &runs {
        let train = ["train", "--loss", loss, "--epochs", "3", "--out", "run"];
        ok(dir, &[&train[..], options].concat());
        let stated = report(dir, "run")["training"]["loss"].as_f64().or(report(dir, "run")["train"]["loss"].as_f64());
        let out = ok(dir, &["eval", "run", "--json"]);
        let event: Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
        let sets = event["sets"].as_array().unwrap();
        let found = sets.iter().find(|set| set["set"] == "training").unwrap()["loss"].as_f64().unwrap();
        let stated = stated.unwrap();
        assert!(
            (found - stated).abs() <= 2e-5 * stated.abs().max(0.1),
            "{loss}: {found} of the image, {stated} reported"
        );
        std::fs::remove_dir_all(dir.join("run")).unwrap();
    }
    println!("{} losses trained and evaluated", runs.len());
}

/// Initial weights by the names of both libraries.
#[test]
fn initial_weights() {
    let dir = folder();
    let dir = dir.path();
    let mut seen = Vec::new();
    for init in [
        "kaiming_uniform(fan_out, tanh)",
        "xavier_normal(2)",
        "trunc_normal(0, 0.1, -0.05, 0.2)",
        "sparse(0.5, 0.3)",
        "lsuv",
    ] {
        let net = "dense(8) relu dense(3)";
        ok(dir, &["train", "--data", "clouds.csv", "--init", init, "--net", net, "--epochs", "1", "--out", "run"]);
        assert!(std::fs::read_to_string(dir.join("run/config.toml")).unwrap().contains(init));
        let weights = std::fs::read(dir.join("run/model.safetensors")).unwrap();
        assert!(!seen.contains(&weights), "{init}");
        seen.push(weights);
        std::fs::remove_dir_all(dir.join("run")).unwrap();
    }
}

#[test]
fn what_is_refused() {
    let dir = folder();
    let dir = dir.path();
    let clouds = ["train", "--data", "clouds.csv"];
    let mixed = ["train", "--data", "mixed.csv", "--target", "pair", "--ignore", "count,a,b"];
    let usage = [
        (&clouds[..], &["--class-weight", "oak:2"][..], "there is no class oak; the classes are ash, birch, cedar"),
        (&clouds, &["--class-weight", "ash:-1"], "is no weight"),
        (&clouds, &["--class-weight", "ash"], "CLASS:WEIGHT"),
        (&clouds, &["--weight-mean", "rows"], "--weight-mean"),
        (&clouds, &["--label-smoothing", "1"], "from 0 to below 1"),
        (&clouds, &["--loss", "focal", "--label-smoothing", "0.1"], "--label-smoothing belongs to"),
        (&clouds, &["--loss", "hinge"], "--loss hinge wants two classes"),
        (&clouds, &["--init", "dirac"], "unknown initialiser"),
        (&mixed, &["--loss", "hinge", "--mixup", "0.2"], "leave mixup out"),
        (&mixed, &["--mixup", "-1"], "mixup's alpha"),
        (&mixed, &["--jitter", "nan"], "noise on the inputs"),
    ];
    for (start, more, needle) in usage {
        refused(dir, &[start, more].concat(), 2, needle);
    }
    let done = common::run(dir, &["train", "--loss", "hubert"]);
    assert!(done.code == 2 && done.err.contains("unknown loss"), "{done:?}");
    refused(dir, &[&clouds[..], &["--weight-column", "w"]].concat(), 3, "no column \"w\" (the weights)");
    std::fs::write(dir.join("bad.csv"), "x,w,label\n1,1,a\n2,-1,b\n3,1,a\n4,1,b\n").unwrap();
    let bad = ["train", "--data", "bad.csv", "--weight-column", "w"];
    refused(dir, &bad, 3, "row 1 has weight -1");
}

/// Rows that count twice or not at all: every figure is that of the rows written out as often.
#[test]
fn weights_in_eval() {
    let dir = folder();
    let dir = dir.path();
    let lines: Vec<String> = clouds(90).lines().map(String::from).collect();
    let (mut weighted, mut repeated) = (format!("{},often\n", lines[0]), format!("{}\n", lines[0]));
    for (row, line) in lines[1..].iter().enumerate() {
        let often = [1, 0, 2, 3][row % 4];
        let _ = writeln!(weighted, "{line},{often}");
        (0..often).for_each(|_| repeated = format!("{repeated}{line}\n"));
    }
    std::fs::write(dir.join("weighted.csv"), weighted).unwrap();
    std::fs::write(dir.join("repeated.csv"), repeated).unwrap();
    for loss in ["cross-entropy", "focal"] {
        let args =
            ["train", "--data", "clouds.csv", "--loss", loss, "--epochs", "2", "--net", "dense(5) relu dense(3)"];
        ok(dir, &[&args[..], &["--out", loss, "--quiet"]].concat());
        let figures = |more: &[&str]| -> Value {
            let out = ok(dir, &[&["eval", loss, "--json"], more].concat());
            serde_json::from_str(out.lines().last().unwrap()).unwrap()
        };
        let by_weight =
            figures(&["--data", "weighted.csv", "--target", "kind", "--weight-column", "often", "--metrics", "all"]);
        let written_out = figures(&["--data", "repeated.csv", "--metrics", "all"]);
        assert_eq!((by_weight["weight_column"].as_str(), by_weight["rows"].as_u64()), (Some("often"), Some(90)));
        assert!(written_out["weight_column"].is_null());
        let near = |a: &Value, b: &Value| (a.as_f64().unwrap() - b.as_f64().unwrap()).abs() < 1e-9;
        for key in ["loss", "accuracy"] {
            assert!(near(&by_weight[key], &written_out[key]), "{loss}, {key}: {by_weight} {written_out}");
        }
        let (a, b) = (&by_weight["metrics"], &written_out["metrics"]);
        assert_eq!(a["confusion"], b["confusion"]);
        for (key, word) in
            [("precision", "macro"), ("f1", "weighted"), ("roc_auc", "weighted"), ("average_precision", "macro")]
        {
            assert!(near(&a[key][word], &b[key][word]), "{loss}, {key}: {a} {b}");
        }
        assert!(
            near(&a["log_loss"], &b["log_loss"])
                && near(&a["calibration_error"]["expected"], &b["calibration_error"]["expected"])
        );
        // Without being asked, every row counts once.
        let plain = figures(&["--data", "weighted.csv", "--target", "kind", "--ignore", "often"]);
        assert!(!near(&plain["loss"], &by_weight["loss"]), "{plain}");
    }
    let shown = ok(dir, &["eval", "focal", "--data", "weighted.csv", "--target", "kind", "--weight-column", "often"]);
    assert!(shown.contains("weighted by often"), "{shown}");
    refused(dir, &["eval", "focal", "--data", "weighted.csv", "--weight-column", "never"], 3, "never");
}

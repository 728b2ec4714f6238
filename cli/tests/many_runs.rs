//! Sweeps, cross-validation, the search for a learning rate, and comparing what came of them.

#![cfg(unix)]

mod common;

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use common::{Random, clouds, command, events, ok, refused, results, run};
use serde_json::Value;

const GRID: &str = "data = \"clouds.csv\"\nepochs = 25\nbatch = 8\npatience = 0\ncheckpoint-seconds = 0\ntest-split = 0.2\n\
                    lr = [0.03, 0.01, 0.003]\nseed = [1, 2, 3, 4]\n\
                    net = [\"dense(8) bn relu dropout(0.1) dense(3)\", \"dense(3)\"]\n";

fn folder(rows: usize, grid: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("clouds.csv"), clouds(rows)).unwrap();
    std::fs::write(dir.path().join("grid.toml"), grid).unwrap();
    dir
}

fn text(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn last(out: &str) -> Value {
    events(out).pop().unwrap()
}

/// Runs of a folder that are over.
fn over(out: &Path) -> usize {
    let entries = std::fs::read_dir(out).into_iter().flatten().flatten();
    entries.filter(|entry| entry.path().join("report.json").exists()).count()
}

#[test]
fn a_sweep_killed_and_taken_up_gives_the_same_table() {
    let dir = folder(240, GRID);
    let dir = dir.path();
    let args = |out| ["sweep", "grid.toml", "--out", out, "--threads", "2", "--quiet"];
    ok(dir, &args("whole"));
    let table = text(dir.join("whole/results.csv"));
    assert_eq!(table.lines().count(), 25);
    assert!(table.starts_with("run,lr,net,seed,status,epochs,best_epoch,stopped_early,train_loss,"), "{table}");
    let losses: Vec<f64> =
        table.lines().skip(1).map(|line| line.split(',').nth(10).unwrap().parse().unwrap()).collect();
    assert!(losses.windows(2).all(|pair| pair[0] <= pair[1]), "best validation loss first: {losses:?}");

    let kills: usize = std::env::var("EVENKEEL_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(4);
    let mut random = Random(u64::from(std::process::id()) << 20 | 1);
    let mut at = Vec::new();
    for kill in 0..kills {
        let before = over(&dir.join("run"));
        let wanted = (before + 1).max(24 * (kill + 1) / (kills + 2));
        let mut child = command(dir, &args("run")).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let begun = Instant::now();
        while over(&dir.join("run")) < wanted && child.try_wait().unwrap().is_none() {
            assert!(begun.elapsed() < Duration::from_secs(120));
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_micros(random.below(20_000) as u64));
        child.kill().unwrap();
        child.wait().unwrap();
        at.push(over(&dir.join("run")));
    }
    assert!(at[0] < 24, "{at:?}");
    let resumed = run(dir, &args("run"));
    assert_eq!(resumed.code, 0, "{resumed:?}");
    assert_eq!(text(dir.join("run/results.csv")), table, "killed after {at:?} of 24 runs");
    for number in 1..=24 {
        let folder = format!("{number:03}");
        assert!(results(&dir.join("run").join(&folder)) == results(&dir.join("whole").join(&folder)), "{folder}");
    }
    // Once more there is nothing to do; on one thread the table is the same.
    ok(dir, &args("run"));
    ok(dir, &["sweep", "grid.toml", "--out", "single", "--threads", "1", "--quiet"]);
    for out in ["run", "single"] {
        assert_eq!(text(dir.join(out).join("results.csv")), table, "{out}");
    }
    println!("24 runs, killed {kills} times after {at:?} of them: the same table");
}

/// Runs of many epochs, so that none is over: all stop after their batch, and the message says how to go on.
#[test]
fn ctrl_c_ends_a_sweep() {
    let dir = folder(90, "data = \"clouds.csv\"\nepochs = 1000000\npatience = 0\nseed = [1, 2, 3]\n");
    let dir = dir.path();
    let args = ["sweep", "grid.toml", "--threads", "2", "--quiet"];
    let mut child = command(dir, &args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let begun = Instant::now();
    while !(dir.join("sweep/001/checkpoint.safetensors").exists()
        && dir.join("sweep/002/checkpoint.safetensors").exists())
    {
        assert!(begun.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(2));
    }
    let kill = format!("kill -INT {}", child.id());
    assert!(std::process::Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    let mut said = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{said}");
    let message = "stopped after 0 of 3 runs; go on with: evenkeel sweep grid.toml --out sweep";
    assert!(said.contains(message) && said.lines().count() == 1, "{said}");
    assert!(!dir.join("sweep/003").exists() && !dir.join("sweep/results.csv").exists());
}

#[test]
fn what_a_sweep_says_and_refuses() {
    let grid = "data = \"clouds.csv\"\nepochs = 3\npatience = 0\nmonitor = \"val-accuracy\"\nlr = [1e30, 0.01]\noptimizer = \"sgd\"\n";
    let dir = folder(90, grid);
    let dir = dir.path();
    let out = ok(dir, &["sweep", "grid.toml", "--json"]);
    let end = last(&out);
    assert_eq!((&end["event"], &end["monitor"]), (&"sweep".into(), &"val-accuracy".into()));
    // The one that diverged comes last.
    assert_eq!((&end["runs"][0]["status"], &end["runs"][1]["status"]), (&"done".into(), &"diverged".into()), "{end}");
    assert_eq!(events(&out).iter().filter(|event| event["event"] == "run").count(), 2);
    let table = text(dir.join("sweep/results.csv"));
    ok(dir, &["sweep", "grid.toml", "--quiet"]);
    assert_eq!(text(dir.join("sweep/results.csv")), table);
    // Each run is one like any other.
    ok(dir, &["predict", "sweep/002", "--data", "clouds.csv"]);
    ok(dir, &["train", "--from", "sweep/002", "--epochs", "4", "--quiet"]);

    std::fs::write(dir.join("other.toml"), "data = \"clouds.csv\"\nlr = [0.1, 0.2]\nepochs = 1\n").unwrap();
    refused(dir, &["sweep", "other.toml"], 2, "holds other runs");
    refused(dir, &["sweep", "none.toml", "--out", "n"], 2, "none.toml");
    std::fs::write(dir.join("slip.toml"), "epoch = [1, 2]\n").unwrap();
    refused(dir, &["sweep", "slip.toml", "--out", "n"], 2, "unknown field `epoch`");
    std::fs::write(dir.join("missing.toml"), "data = \"none.csv\"\nepochs = [1, 2]\n").unwrap();
    let done = run(dir, &["sweep", "missing.toml", "--out", "n", "--quiet"]);
    assert!(done.code == 3 && done.err.contains("none.csv") && done.err.contains("run 00"), "{done:?}");
}

/// Four people; the class follows from the inputs alone.
fn people() -> String {
    let mut random = Random(11);
    let mut text = String::from("person,a,b,kind\n");
    for row in 0..120 {
        let (a, b) = (random.share(), random.share());
        let person = ["ann", "bob", "cem", "dan"][row % 4];
        text.push_str(&format!("{person},{a},{b},{}\n", if a > b { "up" } else { "down" }));
    }
    text
}

#[test]
fn cross_validation() {
    let dir = folder(90, "");
    let dir = dir.path();
    std::fs::write(dir.join("people.csv"), people()).unwrap();
    let common = ["--epochs", "15", "--lr", "0.02", "--net", "dense(8) relu dense(2)", "--seed", "3"];
    let args = [&["cv", "--data", "people.csv", "--ignore", "person", "--folds", "4", "--json"][..], &common].concat();
    let end = last(&ok(dir, &args));
    let folds = end["folds"].as_array().unwrap();
    assert_eq!((folds.len(), &end["event"]), (4, &"cv".into()));
    let rows: u64 = folds.iter().map(|fold| fold["test"]["rows"].as_u64().unwrap()).sum();
    assert_eq!(rows, 120, "every row is tested on once");
    let accuracies: Vec<f64> = folds.iter().map(|fold| fold["test"]["accuracy"].as_f64().unwrap()).collect();
    let mean = accuracies.iter().sum::<f64>() / 4.0;
    assert!((end["means"]["test_accuracy"]["mean"].as_f64().unwrap() - mean).abs() < 1e-12 && mean > 0.7, "{end}");
    let deviation = (accuracies.iter().map(|a| (a - mean).powi(2)).sum::<f64>() / 3.0).sqrt();
    assert!((end["means"]["test_accuracy"]["standard_deviation"].as_f64().unwrap() - deviation).abs() < 1e-12);
    assert_eq!(text(dir.join("cv/curves.svg")).matches("class=\"val\"").count(), 2);

    // A fold's folder knows its own rows: eval repeats its figures, its configuration the run, and so does train.
    let eval = last(&ok(dir, &["eval", "cv/fold-2", "--json", "--metrics", "none"]));
    let test = eval["sets"].as_array().unwrap().iter().find(|set| set["set"] == "test").unwrap();
    assert_eq!((&test["rows"], &test["accuracy"]), (&folds[1]["test"]["rows"], &folds[1]["test"]["accuracy"]));
    let again = ["train", "--data", "people.csv", "--ignore", "person", "--test-fold", "2/4", "--out", "again"];
    ok(dir, &[&again[..], &common, &["--quiet"]].concat());
    assert!(results(&dir.join("again")) == results(&dir.join("cv/fold-2")));

    let args =
        [&["cv", "--data", "people.csv", "--leave-one-group-out", "person", "--out", "logo"][..], &common].concat();
    let shown = ok(dir, &args);
    assert!(shown.contains("person=cem") && shown.contains("± deviation"), "{shown}");
    let report: Value = serde_json::from_str(&text(dir.join("logo/report.json"))).unwrap();
    let sizes: Vec<u64> =
        report["folds"].as_array().unwrap().iter().map(|fold| fold["test"]["rows"].as_u64().unwrap()).collect();
    assert_eq!(sizes, [30, 30, 30, 30]);
    // The standardisation of a fold has not seen the rows held out: the same run on a file without them has the same.
    let others: String =
        people().lines().filter(|line| !line.starts_with("bob")).map(|line| format!("{line}\n")).collect();
    std::fs::write(dir.join("others.csv"), others).unwrap();
    let bob: String = people()
        .lines()
        .filter(|line| line.starts_with("bob") || line.starts_with("person"))
        .map(|line| format!("{line}\n"))
        .collect();
    std::fs::write(dir.join("bob.csv"), bob).unwrap();
    let apart = ["train", "--data", "others.csv", "--ignore", "person", "--test", "bob.csv", "--out", "apart"];
    ok(dir, &[&apart[..], &common, &["--quiet"]].concat());
    let weights = |run: &str| std::fs::read(dir.join(run).join("model.keel")).unwrap();
    assert!(weights("apart") == weights("logo/group-2"));

    refused(dir, &["cv", "--data", "people.csv", "--folds", "1"], 2, "at least 2");
    refused(dir, &["cv", "--data", "people.csv", "--test-split", "0.1"], 2, "--test-split");
    refused(dir, &["cv", "--data", "people.csv", "--leave-one-group-out", "city"], 3, "city");
    refused(dir, &["train", "--data", "people.csv", "--ignore", "person", "--test-fold", "0/3"], 2, "counted from 1");
    refused(dir, &["train", "--data", "people.csv", "--ignore", "person", "--test-fold", "3"], 2, "such as 2/5");
    refused(dir, &["train", "--data", "people.csv", "--test-group", "person=eve"], 2, "no row");
    refused(
        dir,
        &["train", "--data", "people.csv", "--test-group", "person=ann", "--test-fold", "1/3"],
        2,
        "choose one",
    );
}

#[test]
fn comparing_runs() {
    let dir = folder(90, "");
    let dir = dir.path();
    for (out, lr) in [("slow", "0.001"), ("fast", "0.03")] {
        ok(dir, &["train", "--data", "clouds.csv", "--epochs", "6", "--lr", lr, "--out", out, "--quiet"]);
    }
    let end = last(&ok(dir, &["compare", "slow", "fast", "--json"]));
    let report: Value = serde_json::from_str(&text(dir.join("fast/report.json"))).unwrap();
    assert_eq!(end["runs"][1]["best_epoch"], report["best_epoch"]);
    assert_eq!(end["runs"][0]["options"], serde_json::json!({ "lr": "0.001" }));
    let (shown, picture) = (ok(dir, &["compare", "slow", "fast", "--out", "two.svg"]), text(dir.join("two.svg")));
    assert!(shown.contains("0.03") && shown.lines().next().unwrap().ends_with("lr"), "{shown}");
    assert!(picture.contains(">slow · lr 0.001</text>") && picture.contains(">fast · lr 0.03</text>"));
    // Two panels, training and validation of two runs in each.
    assert_eq!(picture.matches("<path class=\"line\"").count(), 8);
    assert_eq!(picture.matches("<text").count(), picture.matches("</text>").count());
    // A run that is not over has no report.
    std::fs::remove_file(dir.join("slow/report.json")).unwrap();
    let partial = last(&ok(dir, &["compare", "slow", "--json"]));
    assert_eq!(partial["runs"][0]["best_epoch"], end["runs"][0]["best_epoch"]);
    refused(dir, &["compare", "nowhere"], 4, "nowhere");
    std::fs::write(dir.join("bad.csv"), "epoch\n1\n").unwrap();
    refused(dir, &["compare", "bad.csv"], 4, "header");
}

#[test]
fn finding_a_rate() {
    let dir = folder(240, "");
    let dir = dir.path();
    let args =
        ["find-lr", "--data", "clouds.csv", "--optimizer", "sgd", "--highest", "1e4", "--lowest", "1e-4", "--json"];
    let end = last(&ok(dir, &[&args[..], &["--batch", "16"]].concat()));
    let points = end["points"].as_array().unwrap();
    assert!(points.len() > 20 && points.len() <= 100, "{}", points.len());
    let rate = |name: &str| end[name].as_f64().unwrap();
    assert!((1e-4..1e3).contains(&rate("steepest")) && (1e-5..1e3).contains(&rate("tenth_of_lowest")), "{end}");
    let picture = text(dir.join("lr.svg"));
    assert!(picture.contains("steepest descent") && picture.matches("<path").count() == 2);
    // Nothing but the picture; no bit depends on threads.
    let again = last(&ok(dir, &[&args[..], &["--batch", "16", "--threads", "3"]].concat()));
    assert_eq!(again["points"], end["points"]);
    assert_eq!(std::fs::read_dir(dir).unwrap().count(), 3);
    refused(dir, &["find-lr", "--data", "clouds.csv", "--steps", "1"], 2, "at least 2 steps");
    refused(dir, &["find-lr", "--data", "clouds.csv", "--lowest", "20"], 2, "lowest below the highest");
}

#[test]
fn metrics_of_a_model() {
    let dir = common::trained();
    let dir = dir.path();
    let end = last(&ok(dir, &["eval", "run", "--data", "clouds.csv", "--json", "--metrics", "all"]));
    let metrics = &end["metrics"];
    let (accuracy, loss) = (end["accuracy"].as_f64().unwrap(), end["loss"].as_f64().unwrap());
    // With one class a row, F1 of all rows together is the accuracy; log loss is the loss.
    assert!((metrics["f1"]["micro"].as_f64().unwrap() - accuracy).abs() < 1e-12);
    assert!((metrics["log_loss"].as_f64().unwrap() - loss).abs() < 1e-5, "{metrics} {loss}");
    let diagonal: u64 = (0..3).map(|at| metrics["confusion"][at][at].as_u64().unwrap()).sum();
    assert!((diagonal as f64 / 90.0 - accuracy).abs() < 1e-12);
    assert!(metrics["mae"].is_null() && metrics["top_k"]["k"] == 2);
    assert_eq!(metrics["classes"][1]["class"], "birch");
    let shown = ok(dir, &["eval", "run", "--data", "clouds.csv"]);
    for word in ["precision", "ROC AUC", "calibration error, 15 bins", "confusion", "birch"] {
        assert!(shown.contains(word), "{word}: {shown}");
    }
    assert_eq!(ok(dir, &["eval", "run", "--data", "clouds.csv", "--metrics", "none"]).lines().count(), 1);
    let chosen = ok(dir, &["eval", "run", "--data", "clouds.csv", "--metrics", "roc-auc,top-1"]);
    assert!(chosen.contains("ROC AUC") && !chosen.contains("recall") && chosen.contains("1 likeliest"), "{chosen}");
    ok(dir, &["eval", "run", "--confusion", "confusion.svg"]);
    assert!(text(dir.join("confusion-test.svg")).matches("<rect").count() == 10);
    refused(dir, &["eval", "run", "--metrics", "auc"], 2, "no metric is called");

    // Two classes on one output, and quantities.
    std::fs::write(dir.join("people.csv"), people()).unwrap();
    for loss in ["bce", "soft_margin"] {
        let net = "dense(8) relu dense(1)";
        let args = ["train", "--data", "people.csv", "--ignore", "person", "--loss", loss, "--net", net];
        ok(dir, &[&args[..], &["--epochs", "20", "--lr", "0.03", "--out", loss, "--quiet"]].concat());
        let end = last(&ok(dir, &["eval", loss, "--data", "people.csv", "--json"]));
        assert!(end["metrics"]["roc_auc"]["macro"].as_f64().unwrap() > 0.9, "{end}");
        assert!((end["metrics"]["log_loss"].as_f64().unwrap() - end["loss"].as_f64().unwrap()).abs() < 1e-5);
    }
    // Margins can be ranked, but are no probabilities.
    let args =
        ["train", "--data", "people.csv", "--ignore", "person", "--loss", "hinge", "--net", "dense(8) relu dense(1)"];
    ok(dir, &[&args[..], &["--epochs", "20", "--lr", "0.03", "--out", "hinge", "--quiet"]].concat());
    let end = last(&ok(dir, &["eval", "hinge", "--data", "people.csv", "--json"]));
    assert!(end["metrics"]["roc_auc"]["macro"].as_f64().unwrap() > 0.9, "{end}");
    assert!((end["metrics"]["recall"]["micro"].as_f64().unwrap() - end["accuracy"].as_f64().unwrap()).abs() < 1e-12);
    assert!(end["metrics"]["log_loss"].is_null() && end["metrics"]["calibration_error"].is_null());
    let args = ["train", "--data", "people.csv", "--ignore", "person,kind", "--target", "b", "--epochs", "2"];
    ok(dir, &[&args[..], &["--out", "mse", "--quiet"]].concat());
    let end = last(&ok(dir, &["eval", "mse", "--data", "people.csv", "--target", "b", "--json"]));
    let rmse = end["metrics"]["rmse"].as_f64().unwrap();
    assert!((rmse * rmse - end["loss"].as_f64().unwrap()).abs() < 1e-6 && end["metrics"]["r2"].is_number(), "{end}");
    refused(dir, &["eval", "mse", "--data", "people.csv", "--target", "b", "--confusion", "c.svg"], 2, "quantities");
}

/// Without a file `eval` reads the run's own sets: weights of classes belong to training, and what is said of rows names its file.
#[test]
fn metrics_of_a_runs_own_sets() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let mut random = Random(5);
    let weighted: String = people()
        .lines()
        .map(|line| {
            let weight = if line.starts_with("person") { "w".into() } else { random.share().to_string() };
            format!("{line},{weight}\n")
        })
        .collect();
    std::fs::write(dir.join("people.csv"), weighted).unwrap();
    let train = ["train", "--data", "people.csv", "--target", "kind", "--ignore", "person", "--weight-column", "w"];
    let rest = ["--epochs", "3", "--validation-split", "0", "--class-weight", "up:5", "--label-smoothing", "0.1"];
    ok(dir, &[&train[..], &rest, &["--quiet"]].concat());
    // The training rows are all rows.
    let figures = |args: &[&str]| {
        let end = last(&ok(dir, &[args, &["--metrics", "f1", "--json"]].concat()));
        [end["loss"].as_f64(), end["accuracy"].as_f64(), end["metrics"]["f1"]["macro"].as_f64()].map(Option::unwrap)
    };
    let data = ["--data", "people.csv", "--target", "kind", "--weight-column", "w"];
    let near = |a: [f64; 3], b: [f64; 3]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6);
    let (own, named) =
        (figures(&["eval", "run", "--weight-column", "w"]), figures(&[&["eval", "run"], &data[..]].concat()));
    assert!(near(own, named), "{own:?} {named:?}");
    let focal = figures(&["eval", "run", "--weight-column", "w", "--loss", "focal"]);
    let named = figures(&[&["eval", "run", "--loss", "focal"], &data[..]].concat());
    assert!(near(focal, named) && (focal[0] - own[0]).abs() > 0.01, "{focal:?} {named:?} {own:?}");
    for (option, value) in
        [("--target", "kind"), ("--where", "row=0..9"), ("--ignore", "a"), ("--labels", "people.csv")]
    {
        refused(dir, &["eval", "run", option, value], 2, "--data people.csv");
    }
}

/// A group is left out by its name, whatever a filter of rows would make of that name.
#[test]
fn groups_by_their_names() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let names = ["a", "b", "a,b", "1", "1.0", "2..3", "x..y", "c=d"];
    let mut text = String::from("x,site,kind\n");
    for row in 0..96 {
        text.push_str(&format!("{},\"{}\",{}\n", row % 7, names[row % 8], ["up", "down"][row / 8 % 2]));
    }
    std::fs::write(dir.join("sites.csv"), text).unwrap();
    let args = ["cv", "--data", "sites.csv", "--leave-one-group-out", "site", "--epochs", "1", "--net", "dense(2)"];
    let end = last(&ok(dir, &[&args[..], &["--json"]].concat()));
    let folds = end["folds"].as_array().unwrap();
    assert!(folds.len() == 8 && folds.iter().all(|fold| fold["test"]["rows"] == 12), "{end}");
    // What is no group's name is a filter.
    let rows = |group: &str| {
        let args =
            ["train", "--data", "sites.csv", "--test-group", group, "--epochs", "1", "--net", "dense(2)", "--json"];
        last(&ok(dir, &args))["test"]["rows"].as_u64()
    };
    assert_eq!((rows("site=1,a"), rows("site!=a")), (Some(36), Some(84)));
    refused(dir, &["train", "--data", "sites.csv", "--test-group", "site=y..x"], 2, "row filter");
    refused(dir, &["train", "--data", "sites.csv", "--test-group", "site"], 2, "row filter");
}

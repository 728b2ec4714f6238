//! Every kind of data and loss from training to prediction, and what `--json` says about it.

mod common;

use std::collections::HashSet;
use std::fmt::Write as _;
use std::path::Path;

use common::{Random, clouds, events, ok, refused, run, train_clouds, trained};
use serde_json::Value;

fn last(out: &str) -> Value {
    events(out).pop().unwrap()
}

/// Rows of a CSV, the header apart.
fn table(text: &str) -> (Vec<&str>, Vec<Vec<&str>>) {
    let mut lines = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
    (lines.next().unwrap(), lines.collect())
}

#[test]
fn classes_and_probabilities() {
    let dir = trained();
    let dir = dir.path();
    let (head, rows) = table(&*ok(dir, &["predict", "run", "--data", "clouds.csv", "--probabilities"]).leak());
    assert_eq!(head, ["p(ash)", "p(birch)", "p(cedar)"]);
    assert_eq!(rows.len(), 90);
    for row in &rows {
        let shares: Vec<f64> = row.iter().map(|share| share.parse().unwrap()).collect();
        assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-5 && shares.iter().all(|share| *share >= 0.0));
    }
    let (head, classes) = table(&*ok(dir, &["predict", "run", "--data", "clouds.csv", "--classes"]).leak());
    assert_eq!(head, ["class"]);
    let text = clouds(90);
    let (_, truth) = table(&text);
    let right = classes.iter().zip(&truth).filter(|(class, row)| class[0] == row[4]).count();
    assert!(right > 80, "{right} of 90");
    let both = ok(dir, &["predict", "run", "--data", "clouds.csv", "--classes", "--probabilities"]);
    assert!(both.starts_with("class,p(ash),p(birch),p(cedar)\n"), "{both}");
    ok(dir, &["predict", "run", "--data", "clouds.csv", "--classes", "--out", "ids.npy"]);
    assert_eq!(std::fs::read(dir.join("ids.npy")).unwrap().len() % 64, 90 * 4 % 64);
}

/// Inputs go by name: the label may be there or not, the columns in any order, others beside them.
#[test]
fn columns_go_by_name() {
    let dir = trained();
    let dir = dir.path();
    let text = clouds(90);
    let (_, rows) = table(&text);
    let write = |name: &str, head: &str, line: &dyn Fn(&[&str]) -> String| {
        let lines: Vec<String> = rows.iter().map(|row| line(row)).collect();
        std::fs::write(dir.join(name), format!("{head}\n{}\n", lines.join("\n"))).unwrap();
    };
    write("bare.csv", "a,b,c,d", &|row| row[..4].join(","));
    write("mixed.csv", "kind,d,note,b,a,c", &|r| [r[4], r[3], "x", r[1], r[0], r[2]].join(","));
    write("more.csv", "a,b,c,d,e", &|row| format!("{},7", row[..4].join(",")));
    for model in ["run", "run/model.safetensors", "run/checkpoint.safetensors"] {
        let expected = ok(dir, &["predict", model, "--data", "clouds.csv"]);
        for file in ["bare.csv", "mixed.csv", "more.csv"] {
            assert_eq!(ok(dir, &["predict", model, "--data", file]), expected, "{model} {file}");
        }
        let eval = |file: &str, extra: &[&str]| {
            let out = ok(dir, &[&["eval", model, "--json", "--data", file][..], extra].concat());
            let value = last(&out);
            (value["accuracy"].as_f64(), value["loss"].as_f64(), value["rows"].as_u64())
        };
        assert_eq!(eval("mixed.csv", &["--target", "kind"]), eval("clouds.csv", &[]));
    }
    // What is wrong is said of the inputs, not of a label that is not wanted.
    write("bad.csv", "a,b,c,d,kind", &|row| row.join(",").replacen('.', "x", 1));
    refused(dir, &["predict", "run", "--data", "bad.csv"], 3, "line 2, column \"a\"");
    // Without names the order counts.
    write("plain.csv", &rows[0][..4].join(","), &|row| row[..4].join(","));
    assert_eq!(ok(dir, &["predict", "run", "--data", "plain.csv"]).lines().count(), 92);
    write("wide.csv", "1,2,3,4,5,6", &|_| "1,2,3,4,5,6".into());
    refused(dir, &["predict", "run", "--data", "wide.csv"], 3, "wide.csv");
}

fn line(dir: &Path, rows: usize) {
    let mut random = Random(3);
    let mut text = String::from("x1,x2,y\n");
    for _ in 0..rows {
        let (a, b) = (random.share(), random.share());
        let _ = writeln!(text, "{a},{b},{}", 3.0 * a - 2.0 * b + 0.5);
    }
    std::fs::write(dir.join("line.csv"), text).unwrap();
}

#[test]
fn regression() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    line(dir, 200);
    let net = "dense(16) bn tanh dense(1)";
    let args = ["train", "--data", "line.csv", "--net", net, "--epochs", "60", "--lr", "0.02", "--json"];
    let end = last(&ok(dir, &[&args[..], &["--test-split", "0.2", "--batch", "16"]].concat()));
    assert!(end["test"]["loss"].as_f64().unwrap() < 0.05, "{end}");
    assert!(end["test"]["accuracy"].is_null() && end["loss"] == "mse");
    let eval = last(&ok(dir, &["eval", "run", "--data", "line.csv", "--json"]));
    assert!(eval["loss"].as_f64().unwrap() < 0.05 && eval["accuracy"].is_null(), "{eval}");
    // On the run's own sets: the figures that training ended with.
    let sets = last(&ok(dir, &["eval", "run", "--json"]));
    for (set, name) in sets["sets"].as_array().unwrap().iter().zip(["train", "validation", "test"]) {
        let (a, b) = (set["loss"].as_f64().unwrap(), end[name]["loss"].as_f64().unwrap());
        assert!((a - b).abs() < 1e-5 && set["rows"] == end[name]["rows"], "{name}: {a} {b}");
    }
    refused(dir, &["predict", "run", "--data", "line.csv", "--probabilities"], 2, "no probabilities");
    refused(dir, &["predict", "run", "--data", "line.csv", "--classes"], 2, "is no class");
    // Two values a row.
    let args = ["train", "--data", "line.csv", "--target", "y,x2", "--epochs", "2", "--out", "two", "--json"];
    let end = last(&ok(dir, &args));
    assert_eq!((end["outputs"].as_u64(), end["inputs"].as_u64()), (Some(2), Some(1)));
    ok(dir, &["eval", "two", "--data", "line.csv", "--target", "y,x2"]);
    refused(dir, &["eval", "two", "--data", "line.csv", "--target", "y"], 3, "1 target values a row");
    // Several seeds: mean and spread of the loss, since there is no accuracy.
    let args = ["train", "--data", "line.csv", "--epochs", "1", "--repeat", "2", "--out", "many", "--json"];
    let end = last(&ok(dir, &args));
    assert!(end["event"] == "summary" && end["accuracies"].is_null() && end["mean"].as_f64() > Some(0.0), "{end}");
    assert_eq!((end["runs"].as_array().unwrap().len(), end["losses"].as_array().unwrap().len()), (2, 2));
    assert!(dir.join("many/seed-2/model.keel").exists());
}

#[test]
fn two_classes_on_one_output() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let text = clouds(150).replace("cedar", "ash");
    std::fs::write(dir.join("two.csv"), &text).unwrap();
    let args =
        ["train", "--data", "two.csv", "--loss", "bce", "--epochs", "30", "--lr", "0.01", "--batch", "16", "--json"];
    let end = last(&ok(dir, &[&args[..], &["--test-split", "0.2"]].concat()));
    assert_eq!((&end["loss"], end["outputs"].as_u64()), (&"bce".into(), Some(1)));
    assert!(end["test"]["accuracy"].as_f64().unwrap() > 0.9, "{end}");
    assert_eq!(end["same_class"]["equal"], end["same_class"]["rows"]);
    // Stratified: a third of the rows held out are birches, as of all rows.
    let held = ok(dir, &["predict", "run", "--data", "two.csv", "--classes"]);
    assert_eq!(
        held.lines().skip(1).map(str::to_owned).collect::<HashSet<_>>(),
        ["ash", "birch"].map(str::to_owned).into()
    );
    assert!(ok(dir, &["predict", "run", "--data", "two.csv", "--probabilities"]).starts_with("p(birch)\n"));
    // Also where only one of the two turns up, and from each file of the run.
    let only: Vec<&str> = text.lines().filter(|line| !line.ends_with("ash")).collect();
    std::fs::write(dir.join("birches.csv"), only.join("\n")).unwrap();
    for model in ["run", "run/model.safetensors", "run/checkpoint.safetensors"] {
        let eval = last(&ok(dir, &["eval", model, "--data", "birches.csv", "--json"]));
        assert!(eval["accuracy"].as_f64().unwrap() > 0.9 && eval["loss"].as_f64().unwrap() < 0.5, "{model}: {eval}");
    }
    let (train, eval) = (&end["train"], last(&ok(dir, &["eval", "run", "--json"])));
    assert!((train["loss"].as_f64().unwrap() - eval["sets"][0]["loss"].as_f64().unwrap()).abs() < 1e-5);
    // The run goes on with its classes in the same order.
    ok(dir, &["train", "--from", "run/checkpoint.safetensors", "--epochs", "32"]);
}

/// Persons in training are not those in the test.
#[test]
fn groups_are_kept_apart() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let text = clouds(120);
    let mut lines = text.lines();
    let mut grouped = format!("person,{}\n", lines.next().unwrap());
    lines.enumerate().for_each(|(row, line)| writeln!(grouped, "{},{line}", row / 12).unwrap());
    std::fs::write(dir.join("people.csv"), grouped).unwrap();
    let args = ["train", "--data", "people.csv", "--ignore", "person", "--epochs", "3", "--json", "--batch", "16"];
    let choice = ["--where", "person=0..6", "--validation-where", "person=7", "--test-where", "person=8..9"];
    let out = ok(dir, &[&args[..], &choice].concat());
    let end = last(&out);
    let rows = |set: &str| end[set]["rows"].as_u64();
    assert_eq!((rows("train"), rows("validation"), rows("test")), (Some(84), Some(12), Some(24)));
    assert_eq!(end["inputs"], 4);
    let mut overlapping = choice;
    overlapping[5] = "person=6..9";
    refused(dir, &[&args[..], &overlapping].concat(), 2, "share 12 rows");
    let eval = last(&ok(dir, &["eval", "run", "--data", "people.csv", "--where", "person=8..9", "--json"]));
    assert_eq!((&eval["accuracy"], &eval["rows"]), (&end["test"]["accuracy"], &end["test"]["rows"]));
}

/// Pictures as IDX with labels beside them, packed or not, and arrays as NPY.
#[test]
fn arrays() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let mut random = Random(5);
    let mut pictures = vec![0, 0, 8, 3, 0, 0, 0, 60, 0, 0, 0, 2, 0, 0, 0, 3];
    let mut labels = vec![0, 0, 8, 1, 0, 0, 0, 60];
    for row in 0..60_u8 {
        let class = row % 4;
        (0..6).for_each(|at| pictures.push(if at == class { 200 } else { 20 } + random.below(40) as u8));
        labels.push(class);
    }
    std::fs::write(dir.join("x.idx"), &pictures).unwrap();
    std::fs::write(dir.join("y.idx"), &labels).unwrap();
    let values: Vec<f32> = pictures[16..].iter().map(|byte| f32::from(*byte)).collect();
    std::fs::write(dir.join("x.npy"), evenkeel_cli::data::npy_f32(&values, 6)).unwrap();
    let ids: Vec<u32> = labels[8..].iter().map(|byte| u32::from(*byte)).collect();
    std::fs::write(dir.join("y.npy"), evenkeel_cli::data::npy_u32(&ids)).unwrap();
    let mut images = Vec::new();
    for kind in ["idx", "npy"] {
        let (x, y) = (format!("x.{kind}"), format!("y.{kind}"));
        let args =
            ["train", "--data", &x, "--labels", &y, "--epochs", "8", "--batch", "8", "--lr", "0.01", "--out", kind];
        ok(dir, &args);
        images.push(std::fs::read(dir.join(kind).join("model.keel")).unwrap());
        let eval = last(&ok(dir, &["eval", kind, "--data", &x, "--labels", &y, "--json"]));
        assert!(eval["accuracy"].as_f64().unwrap() > 0.8, "{eval}");
    }
    assert!(images[0] == images[1], "the same rows from both formats");
    refused(dir, &["eval", "idx", "--data", "x.idx"], 2, "--labels");
    refused(dir, &["train", "--data", "x.idx"], 2, "--labels");
    std::fs::write(dir.join("few.idx"), [0, 0, 8, 1, 0, 0, 0, 2, 1, 0]).unwrap();
    refused(dir, &["train", "--data", "x.idx", "--labels", "few.idx"], 3, "60 rows");
    let cut = &pictures[..pictures.len() - 1];
    std::fs::write(dir.join("cut.idx"), cut).unwrap();
    refused(dir, &["train", "--data", "cut.idx", "--labels", "y.idx"], 3, "cut.idx");
    let nine: Vec<u8> = labels[..8].iter().copied().chain(labels[8..].iter().map(|label| label * 3)).collect();
    std::fs::write(dir.join("nine.idx"), nine).unwrap();
    refused(dir, &["eval", "idx", "--data", "x.idx", "--labels", "nine.idx"], 3, "unknown class \"6\"");
}

/// The last object has every figure that a person is shown.
#[test]
fn json_holds_what_people_see() {
    let dir = trained();
    let dir = dir.path();
    let mut args = train_clouds("json");
    let shown = ok(dir, &args);
    args.push("--json");
    let events = events(&ok(dir, &args));
    let kinds: Vec<&str> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["start", "epoch", "epoch", "epoch", "epoch", "result"]);
    let end = events.last().unwrap();
    let mut known = HashSet::new();
    numbers(end, &mut known);
    for text in ["set", "epoch", "loss", "val_loss", "accuracy", "val_accuracy", "gap", "lr", "seconds", "best"] {
        assert!(text == "set" || !events[1][text].is_null(), "{text}: {}", events[1]);
    }
    // Every number on the screen, rounded as there, is one of the object's; seconds differ from run to run.
    let words = shown.replace([',', '(', ')', ':'], " ");
    let fits = |word: &str| {
        let decimals = word.split_once('.').map_or(0, |(_, digits)| digits.len());
        known.iter().any(|value| {
            let value: f64 = value.parse().unwrap();
            [value, 100.0 * value]
                .iter()
                .any(|value| format!("{value:.decimals$}") == word || format!("{value:.1e}") == word)
        })
    };
    for line in words.lines().filter(|line| !line.starts_with("image") && !line.starts_with("curves")) {
        let line = line.split(" in ").next().unwrap();
        for word in line.split_whitespace().filter(|word| word.parse::<f64>().is_ok()) {
            assert!(fits(word), "{word} of {line:?} is not in {end}");
        }
    }
    for file in ["image", "curves"] {
        assert!(dir.join(end[file].as_str().unwrap()).is_file() && shown.contains(&format!("\n{file}")));
    }
    let report: Value = serde_json::from_slice(&std::fs::read(dir.join("json/report.json")).unwrap()).unwrap();
    assert_eq!((&report["train"], &report["fold"]), (&end["train"], &end["fold"]));
    // The other commands.
    for args in [
        &["eval", "run"][..],
        &["eval", "run", "--data", "clouds.csv"],
        &["predict", "run", "--data", "clouds.csv", "--out", "o.csv"],
        &["predict", "run", "--data", "clouds.csv", "--classes"],
        &["inspect", "run"],
        &["inspect", "run/checkpoint.safetensors"],
        &["export", "run", "--data", "clouds.csv"],
    ] {
        let args = [args, &["--json"]].concat();
        let end = last(&ok(dir, &args));
        assert_eq!(end["event"], args[0], "{end}");
    }
    let out = ok(dir, &["predict", "run", "--data", "clouds.csv", "--classes", "--probabilities", "--json"]);
    let rows = common::events(&out);
    assert_eq!((rows.len(), rows[1]["class"].is_string()), (91, true));
    assert_eq!(rows[0]["values"].as_array().unwrap().len(), 3);
}

fn numbers(value: &Value, into: &mut HashSet<String>) {
    match value {
        Value::Number(number) => {
            into.insert(number.to_string());
        }
        Value::Array(values) => values.iter().for_each(|value| numbers(value, into)),
        Value::Object(fields) => fields.values().for_each(|value| numbers(value, into)),
        Value::String(text) => {
            into.extend(
                text.split(|c: char| !c.is_ascii_digit() && c != '.')
                    .filter(|w| w.parse::<f64>().is_ok())
                    .map(String::from),
            );
        }
        _ => {}
    }
}

#[test]
fn without_validation_data_it_says_so() {
    let dir = trained();
    let dir = dir.path();
    let args = ["train", "--data", "clouds.csv", "--epochs", "2", "--validation-split", "0", "--out", "all"];
    let done = run(dir, &args);
    assert!(done.code == 0 && done.err.contains("warning: no validation data"), "{done:?}");
    assert!(run(dir, &[&args[..], &["--quiet"]].concat()).err.is_empty());
    assert!(!run(dir, &[&args[..], &["--patience", "0"]].concat()).err.contains("warning"));
    let out = ok(dir, &[&args[..], &["--json"]].concat());
    assert!(events(&out).iter().any(|event| event["event"] == "warning"));
    assert!(last(&out)["validation"].is_null());
}

/// Options are looked at after they were joined with those of a file: some have a meaning beside those only.
#[test]
fn options_beside_those_of_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    std::fs::write(dir.join("clouds.csv"), clouds(60)).unwrap();
    let base = "data = \"clouds.csv\"\noptimizer = \"sgd\"\nclass-weight = \"balanced\"\nstream = true\nlabel-smoothing = 0.1\n";
    std::fs::write(dir.join("base.toml"), format!("{base}epochs = 300\npatience = 1\nnet = \"dense(3)\"\n")).unwrap();
    let config = |out: &str| std::fs::read_to_string(dir.join(out).join("config.toml")).unwrap();
    let more = ["--momentum", "0.5", "--nesterov", "true", "--weight-mean", "weights", "--spool", ".", "--swa", "250"];
    ok(dir, &[&["train", "--config", "base.toml", "--out", "a", "--quiet"], &more[..]].concat());
    assert!(
        config("a").contains("momentum = 0.5") && config("a").contains("weight-mean = \"weights\""),
        "{}",
        config("a")
    );
    ok(dir, &["find-lr", "--config", "base.toml", "--momentum", "0.5"]);
    // Another loss leaves the smoothing of the one before behind.
    ok(dir, &["train", "--config", "base.toml", "--loss", "focal", "--out", "b", "--quiet"]);
    assert!(!config("b").contains("smoothing"), "{}", config("b"));
    ok(dir, &["train", "--from", "b", "--momentum", "0.5", "--epochs", "301", "--quiet"]);
    assert!(config("b").contains("momentum = 0.5"), "{}", config("b"));
    refused(dir, &["train", "--config", "base.toml", "--optimizer", "adam", "--momentum", "0.5"], 2, "--optimizer sgd");
}

/// The softmax of one output is 1 whatever it learns.
#[test]
fn a_distribution_has_several_columns() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let rows: Vec<String> = (0..30).map(|row| format!("{row},{},{}\n", row % 2, 1 - row % 2)).collect();
    std::fs::write(dir.join("shares.csv"), format!("a,p,q\n{}", rows.concat())).unwrap();
    for loss in ["soft-cross-entropy", "kl-div"] {
        let train = ["train", "--data", "shares.csv", "--epochs", "1", "--quiet", "--loss", loss];
        refused(dir, &[&train[..], &["--target", "p"]].concat(), 2, "a probability for each class");
        ok(dir, &[&train[..], &["--target", "p,q"]].concat());
        refused(dir, &["eval", "run", "--data", "shares.csv", "--target", "p"], 2, "a probability for each class");
    }
}

//! `--micro-batch`, `--swa`, `--ema`, `--dialect` and `recalibrate`, through the command.

mod common;

use common::{clouds, ok, refused, results};

const NET: &str = "dense(16) bn relu dropout(0.2) dense(12) ln gaussian_noise(0.1) relu dense(3)";

fn data(rows: usize) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("clouds.csv"), clouds(rows)).unwrap();
    dir
}

fn train<'a>(out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec!["train", "--data", "clouds.csv", "--net", NET, "--epochs", "6", "--out", out, "--quiet"];
    args.extend(["--patience", "0", "--lr", "0.01", "--checkpoint-seconds", "0"]);
    args.extend(more);
    args
}

/// 8 times 32 rows have the bits of 256, with a batch norm that sees them all; so have 100 rows at a time.
#[test]
fn micro_batches_have_the_bits_of_the_batch() {
    let dir = data(800);
    let dir = dir.path();
    ok(dir, &train("whole", &["--batch", "256"]));
    let whole = results(&dir.join("whole"));
    for part in ["32", "100", "256", "1000"] {
        ok(dir, &train("parts", &["--batch", "256", "--micro-batch", part]));
        assert!(results(&dir.join("parts")) == whole, "micro-batches of {part} rows");
    }
    ok(dir, &train("smaller", &["--batch", "32"]));
    assert!(results(&dir.join("smaller")) != whole, "a batch of 32 rows is another training");
    refused(dir, &train("never", &["--micro-batch", "0"]), 2, "--micro-batch");
    refused(dir, &train("never", &["--batch", "512", "--micro-batch", "32"]), 2, "multiple of 256");
}

/// An averaged run that is stopped and goes on has the bits of one that was not; the average is what is exported.
#[test]
fn averages_go_on() {
    let dir = data(300);
    let dir = dir.path();
    ok(dir, &train("plain", &[]));
    for (name, option) in [("swa", ["--swa", "2"]), ("ema", ["--ema", "0.9"])] {
        ok(dir, &train(name, &option));
        let whole = results(&dir.join(name));
        assert!(whole[1] != results(&dir.join("plain"))[1], "the network that is left is the average");
        // Half as many epochs, then on to the end.
        let half = format!("{name}-half");
        let mut args = train(&half, &option);
        let at = args.iter().position(|arg| *arg == "6").unwrap();
        args[at] = "3";
        ok(dir, &args);
        let checkpoint = format!("{half}/checkpoint.safetensors");
        ok(dir, &["train", "--from", &checkpoint, "--epochs", "6", "--quiet"]);
        assert!(results(&dir.join(&half)) == whole, "{name}: stopped after 3 epochs and continued");
    }
    refused(dir, &train("never", &["--swa", "1", "--ema", "0.9"]), 2, "choose one of --swa and --ema");
    refused(dir, &train("never", &["--ema", "1"]), 2, "--ema");
}

#[test]
fn recalibrate_writes_statistics_of_the_rows() {
    let dir = data(300);
    let dir = dir.path();
    ok(dir, &train("run", &[]));
    let before = std::fs::read(dir.join("run/model.safetensors")).unwrap();
    let said = ok(dir, &["recalibrate", "run", "--data", "clouds.csv", "--batch", "64"]);
    assert!(said.contains("300 rows") && said.contains("batches of 64"), "{said}");
    assert!(std::fs::read(dir.join("run/model.safetensors")).unwrap() == before, "what was read stays");
    let written = dir.join("run/model-recalibrated.safetensors");
    // By the library.
    let table = evenkeel_cli::data::read(dir.join("clouds.csv"), &evenkeel_cli::data::Options::default()).unwrap();
    let mut model = evenkeel::interchange::state_dict::read(&before).unwrap();
    let level = evenkeel::Level::from_env().unwrap();
    model.recalibrate(level, &evenkeel::Serial, &table.inputs, 64).unwrap();
    let found = evenkeel::interchange::state_dict::read(&std::fs::read(&written).unwrap()).unwrap();
    assert_eq!(found, model);
    assert_ne!(found.state, evenkeel::interchange::state_dict::read(&before).unwrap().state);
    ok(dir, &["export", "run/model-recalibrated.safetensors", "--out", "again.keel", "--data", "clouds.csv"]);
    ok(dir, &["eval", "again.keel", "--data", "clouds.csv"]);
    refused(dir, &["recalibrate", "run/model.keel", "--data", "clouds.csv"], 2, "folded away");
    refused(dir, &["recalibrate", "run", "--data", "clouds.csv", "--batch", "1"], 3, "batch of one row");
}

#[test]
fn dialects() {
    let dir = data(200);
    let dir = dir.path();
    let config = |run: &str| std::fs::read_to_string(dir.join(run).join("config.toml")).unwrap();
    let short = |out: &str, more: &[&str]| {
        let mut args: Vec<String> =
            ["train", "--data", "clouds.csv", "--epochs", "2", "--quiet", "--out", out].map(String::from).into();
        args.extend(more.iter().map(|arg| (*arg).to_string()));
        ok(dir, &args.iter().map(String::as_str).collect::<Vec<_>>());
    };
    short("keras", &["--dialect", "keras", "--net", "dense(8) bn ln bn(torch) dense(3)"]);
    assert!(config("keras").contains("net = \"dense(8) bn(keras) ln(keras) bn dense(3)\""), "{}", config("keras"));
    assert!(!config("keras").contains("dialect"));
    short("again", &["--config", "keras/config.toml"]);
    assert!(results(&dir.join("again")) == results(&dir.join("keras")), "its configuration repeats it");
    short("standard", &["--dialect", "keras"]);
    assert!(config("standard").contains("dense(64) bn(keras) relu"), "{}", config("standard"));
    // Weights of the other dialect go on in this one.
    short("torch", &["--net", "dense(8) bn relu dense(3)"]);
    short("on", &["--from", "torch/model.safetensors", "--dialect", "keras"]);
    let net = "dense(8) bn(eps=0.00001, momentum=0.1, unbiased=false) relu dense(3)";
    assert!(config("on").contains(net), "{}", config("on"));
}

//! The same bytes whatever the threads, the instructions, the batch and the way the data came; and again from the
//! configuration that a run leaves.

mod common;

use std::path::Path;

use common::{clouds, command, ok, results, train_clouds, trained};

#[test]
fn threads_and_levels() {
    let dir = trained();
    let dir = dir.path();
    let mut expected = None;
    let mut configurations = Vec::new();
    for level in ["portable", "avx2", "avx512", "neon"] {
        for threads in ["1", "2", "3"] {
            let mut args = train_clouds("other");
            args.extend(["--threads", threads]);
            let output = command(dir, &args).env("EVENKEEL_LEVEL", level).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            if output.status.code() == Some(2) && said.contains("does not have the instructions") {
                continue;
            }
            assert!(output.status.success(), "{said}");
            // Without fused multiply-add the portable level stays close, but not equal by bits.
            if level == "portable" && !evenkeel::Level::by_name("portable").unwrap().is_exact() {
                continue;
            }
            let args = ["predict", "other", "--data", "clouds.csv", "--threads", threads];
            let output = command(dir, &args).env("EVENKEEL_LEVEL", level).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let found = (results(&dir.join("other")), output.stdout);
            assert!(*expected.get_or_insert_with(|| found.clone()) == found, "level {level}, {threads} threads");
            configurations.push(format!("{level} × {threads}"));
        }
    }
    println!("{} configurations, one set of bytes: {}", configurations.len(), configurations.join(", "));
    assert!(configurations.len() >= 3 || cfg!(not(any(target_arch = "x86_64", target_arch = "aarch64"))));
}

#[test]
fn predictions() {
    let dir = trained();
    let dir = dir.path();
    let whole = ok(dir, &["predict", "run", "--data", "clouds.csv"]);
    for batch in ["1", "7", "89", "100000"] {
        assert_eq!(ok(dir, &["predict", "run", "--data", "clouds.csv", "--batch", batch]), whole);
    }
    // The folded network answers nearly as the one it was made of, which says the same from either file.
    let unfolded = ok(dir, &["predict", "run/model.safetensors", "--data", "clouds.csv"]);
    assert_eq!(ok(dir, &["predict", "run/checkpoint.safetensors", "--data", "clouds.csv"]).lines().count(), 91);
    let numbers = |text: &str| -> Vec<f32> {
        text.lines().skip(1).flat_map(|line| line.split(',')).map(|number| number.parse().unwrap()).collect()
    };
    let scale = numbers(&whole).into_iter().fold(0.0, |scale: f32, value| scale.max(value.abs()));
    for (a, b) in numbers(&whole).iter().zip(numbers(&unfolded)) {
        assert!((a - b).abs() <= 1e-5 * scale, "{a} {b}");
    }
    // The same rows as an array, and the answers as one.
    let table = evenkeel_cli::data::read(dir.join("clouds.csv"), &evenkeel_cli::data::Options::default()).unwrap();
    std::fs::write(dir.join("rows.npy"), evenkeel_cli::data::npy_f32(&table.inputs, 4)).unwrap();
    assert_eq!(ok(dir, &["predict", "run", "--data", "rows.npy"]), whole);
    ok(dir, &["predict", "run", "--data", "rows.npy", "--out", "a.npy"]);
    ok(dir, &["predict", "run", "--data", "clouds.csv", "--out", "b.npy"]);
    let bytes = |name: &str| std::fs::read(dir.join(name)).unwrap();
    assert!(bytes("a.npy") == bytes("b.npy"));
    let values = evenkeel_cli::data::npy_f32(&numbers(&whole), 3);
    assert!(bytes("a.npy") == values, "CSV and NPY hold the same bits");
    ok(dir, &["predict", "run", "--data", "clouds.csv", "--out", "c.csv"]);
    assert_eq!(String::from_utf8(bytes("c.csv")).unwrap(), whole);
}

/// `export` of what a run leaves is the image that it left.
#[test]
fn export_repeats_the_image() {
    let dir = trained();
    let dir = dir.path();
    ok(dir, &["export", "run"]);
    let bytes = |name: &str| std::fs::read(dir.join(name)).unwrap();
    assert!(bytes("run/model-f32.keel") == bytes("run/model.keel"));
    // Also elsewhere, by itself.
    std::fs::create_dir(dir.join("moved")).unwrap();
    std::fs::copy(dir.join("run/model.safetensors"), dir.join("moved/net.safetensors")).unwrap();
    ok(dir, &["export", "moved/net.safetensors", "--out", "moved/net.keel", "--data", "clouds.csv"]);
    assert!(bytes("moved/net.keel") == bytes("run/model.keel"));
    let mut args = train_clouds("half");
    args.extend(["--weights", "f16"]);
    ok(dir, &args);
    ok(dir, &["export", "run", "--weights", "f16"]);
    assert!(bytes("run/model-f16.keel") == bytes("half/model.keel"));
    assert!(bytes("run/model-f16.keel").len() < bytes("run/model.keel").len());
}

#[test]
fn the_configuration_repeats_the_run() {
    let dir = trained();
    let dir = dir.path();
    let config = std::fs::read_to_string(dir.join("run/config.toml")).unwrap();
    for key in ["data", "net", "loss", "optimizer", "lr", "seed", "validation-split", "test-split", "standardize"] {
        assert!(config.contains(&format!("\n{key} = ")), "{key} is not in\n{config}");
    }
    assert!(config.contains("data = \"clouds.csv\"") && config.contains("lr = 0.01\n"), "{config}");
    let again = |from: &str, to: &str| {
        ok(dir, &["train", "--config", &format!("{from}/config.toml"), "--out", to]);
        assert!(results(&dir.join(from)) == results(&dir.join(to)), "{from} {to}");
        let config = |run: &str| std::fs::read_to_string(dir.join(run).join("config.toml")).unwrap();
        assert_eq!(config(from), config(to));
    };
    again("run", "other");
    // What the command line says wins.
    ok(dir, &["train", "--config", "run/config.toml", "--out", "seed", "--seed", "2"]);
    assert!(results(&dir.join("seed")) != results(&dir.join("run")));

    // Every option away from its default, and a start from weights.
    let variants: [&[&str]; 5] = [
        &[
            "--optimizer",
            "sgd",
            "--momentum",
            "0.8",
            "--nesterov",
            "true",
            "--schedule",
            "step(2, 0.5)",
            "--warmup",
            "1.5",
        ],
        &[
            "--optimizer",
            "adamw",
            "--weight-decay",
            "0.05",
            "--clip-norm",
            "0.7",
            "--decay-all",
            "true",
            "--l2",
            "1e-3",
        ],
        &["--from", "run/model.safetensors", "--shuffle", "false", "--clip-value", "0.3", "--restore-best", "false"],
        &["--where", "a=..20", "--test-where", "a=25..", "--ignore", "d", "--standardize", "false", "--weights", "f16"],
        &["--validation", "clouds.csv", "--monitor", "val-accuracy", "--baseline", "0.1", "--init", "orthogonal(1.5)"],
    ];
    for (index, variant) in variants.iter().enumerate() {
        let (first, second) = (format!("first{index}"), format!("second{index}"));
        let mut args = vec!["train", "--data", "clouds.csv", "--epochs", "3", "--out", &first];
        if index == 3 {
            // Only two of the classes are left to train on.
            std::fs::write(dir.join("pair.csv"), pair()).unwrap();
            args[2] = "pair.csv";
        }
        args.extend(*variant);
        ok(dir, &args);
        again(&first, &second);
    }
    assert_same_digits(dir);
}

fn pair() -> String {
    clouds(90).replace("cedar", "ash").replace("ash", "oak")
}

/// Without a data file: the digits that ship inside.
fn assert_same_digits(dir: &Path) {
    ok(dir, &["train", "--epochs", "1", "--net", "dense(12) relu dense(10)", "--out", "digits"]);
    ok(dir, &["train", "--config", "digits/config.toml", "--out", "digits2"]);
    assert!(results(&dir.join("digits")) == results(&dir.join("digits2")));
}

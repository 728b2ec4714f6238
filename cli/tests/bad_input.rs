//! Files and options that cannot be used: one clear message, the documented exit code, no panic, earlier files whole.

mod common;

use std::io::Write;
use std::path::Path;

use common::{clouds, command, done, events, is_refusal, ok, refused, run, snapshot, trained};

fn write(dir: &Path, name: &str, bytes: impl AsRef<[u8]>) {
    std::fs::write(dir.join(name), bytes).unwrap();
}

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

/// What is refused as data: the same by `train`, `eval` and `predict`.
#[test]
fn data_files() {
    let dir = trained();
    let dir = dir.path();
    let good = clouds(12);
    let packed = gz(good.as_bytes());
    write(dir, "empty.csv", "");
    write(dir, "header.csv", "a,b,c,d,kind\n");
    write(dir, "ragged.csv", good.replacen("cedar\n", "cedar,1\n", 1));
    write(dir, "text.csv", good.replacen("\n3", "\nthree", 1));
    write(dir, "nan.csv", format!("{good}nan,1,1,1,ash\n"));
    write(dir, "huge.csv", format!("{good}1e999,1,1,1,ash\n"));
    write(dir, "cut.csv.gz", &packed[..packed.len() - 9]);
    let mut flipped = packed.clone();
    flipped[40] ^= 1;
    write(dir, "flipped.csv.gz", &flipped);
    write(dir, "quote.csv", format!("{good}\"1,1,1,1,ash\n"));
    write(dir, "picture.csv", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0");
    for (file, needle) in [
        ("none.csv", "none.csv"),
        ("empty.csv", "empty"),
        ("header.csv", "no row"),
        ("ragged.csv", "line 4"),
        ("text.csv", "column \"a\": expected a number"),
        ("nan.csv", "line 14"),
        ("huge.csv", "line 14"),
        ("cut.csv.gz", "cut.csv.gz"),
        ("flipped.csv.gz", "flipped.csv.gz"),
        ("quote.csv", "quote"),
        ("picture.csv", "picture.csv"),
        (".", "directory"),
    ] {
        for args in [
            &["train", "--data", file, "--out", "run"][..],
            &["train", "--data", "clouds.csv", "--test", file, "--out", "run"],
            &["train", "--data", "clouds.csv", "--validation", file, "--out", "run"],
            &["eval", "run", "--data", file],
            &["predict", "run", "--data", file, "--out", "out.csv"],
        ] {
            let message = refused(dir, args, 3, needle);
            assert!(message.contains(file), "{message}");
        }
    }
    refused(dir, &["train", "--data", "clouds.csv", "--labels", "empty.csv"], 3, "empty");
    refused(dir, &["train", "--data", "clouds.csv", "--target", "species"], 3, "species");
    refused(dir, &["train", "--data", "clouds.csv", "--ignore", "a,b,c,d"], 3, "no input");
    refused(dir, &["train", "--data", "clouds.csv", "--where", "a=1000.."], 3, "none of its 90 rows");
    refused(dir, &["train", "--data", "clouds.csv", "--where", "a"], 2, "row filter");
}

#[test]
fn labels() {
    let dir = trained();
    let dir = dir.path();
    // A class that the model does not have.
    let unknown = clouds(12).replacen("birch", "oak", 1);
    write(dir, "unknown.csv", &unknown);
    for args in [
        &["eval", "run", "--data", "unknown.csv"][..],
        &["train", "--data", "clouds.csv", "--test", "unknown.csv", "--out", "run"],
        &["train", "--data", "clouds.csv", "--validation", "unknown.csv", "--out", "run"],
        &["train", "--data", "unknown.csv", "--from", "run/model.safetensors", "--out", "other"],
    ] {
        let message = refused(dir, args, 3, "oak");
        assert!(message.contains("line 3"), "{message}");
    }
    // To predict, a label is neither wanted nor in the way.
    ok(dir, &["predict", "run", "--data", "unknown.csv"]);
    // Too few outputs for the classes.
    refused(dir, &["train", "--data", "clouds.csv", "--net", "dense(2)", "--out", "run"], 2, "end it with dense(3)");
    write(dir, "same.csv", "a,b,kind\n1,2,x\n3,4,x\n5,6,x\n");
    refused(dir, &["train", "--data", "same.csv", "--out", "run"], 3, "nothing to tell apart");
    write(dir, "half.csv", "a,b,y\n1,2,0.5\n3,4,1.5\n5,6,0.25\n");
    refused(dir, &["train", "--data", "half.csv", "--loss", "bce", "--out", "run"], 3, "from 0 to 1");
    refused(dir, &["train", "--data", "clouds.csv", "--loss", "bce", "--out", "run"], 2, "two classes");
    refused(dir, &["train", "--data", "clouds.csv", "--loss", "mse", "--out", "run"], 3, "ash");
    // Numbers beyond the outputs of a model that has no names.
    write(dir, "numbers.csv", "a,b,label\n1,2,0\n3,4,5\n");
    write(dir, "small.csv", "a,b,label\n1,2,0\n3,4,1\n5,6,1\n7,9,0\n");
    ok(dir, &["train", "--data", "small.csv", "--net", "dense(2)", "--epochs", "1", "--out", "small"]);
    refused(dir, &["eval", "small", "--data", "numbers.csv"], 3, "line 3");
}

#[test]
fn options() {
    let dir = trained();
    let dir = dir.path();
    let train = |extra: &[&'static str], needle: &str| {
        let mut args = vec!["train", "--data", "clouds.csv", "--out", "run"];
        args.extend(extra);
        refused(dir, &args, 2, needle);
    };
    train(&["--net", "dense(8) rleu dense(3)"], "did you mean relu");
    train(&["--net", "dense(8"], "not closed");
    train(&["--net", "dense(0)"], "layer 0 (dense)");
    train(&["--net", "dense(3) softmax"], "remove the last layer");
    train(&["--net", "dense(1048576) dense(1048576) dense(1048576) dense(3)"], "GB of memory");
    train(&["--lr", "nan"], "learning rate");
    train(&["--lr", "-1"], "learning rate");
    train(&["--lr", "0"], "learning rate");
    train(&["--lr", "quick"], "quick");
    train(&["--validation-split", "1.5"], "from 0 to below 1");
    train(&["--validation-split", "1"], "from 0 to below 1");
    train(&["--validation-split", "-0.1"], "from 0 to below 1");
    train(&["--validation-split", "nan"], "from 0 to below 1");
    train(&["--validation-split", "0.999"], "leaves no rows");
    train(&["--test-split", "2"], "from 0 to below 1");
    train(&["--test-split", "0.2", "--test", "clouds.csv"], "choose one");
    train(&["--batch", "1"], "batch norm cannot train on a batch of one row");
    train(&["--batch", "0"], "--batch");
    train(&["--epochs", "0"], "--epochs");
    train(&["--epochs", "99999999999"], "--epochs");
    train(&["--seed", "-1"], "--seed");
    train(&["--seed", "18446744073709551615"], "--seed");
    train(&["--momentum", "0.9"], "--optimizer sgd");
    train(&["--optimizer", "sgd", "--momentum", "1"], "[0, 1)");
    train(&["--optimizer", "adamm"], "known are sgd, adam");
    train(&["--optimizer", "rmsprop(alpha=1)"], "[0, 1)");
    train(&["--optimizer", "rmsprop(keras", "--lr", "1"], "not closed");
    train(&["--weight-decay", "2"], "[0, 1]");
    train(&["--optimizer", "schedule_free", "--max-norm", "2"], "schedule_free");
    train(&["--l1", "-1"], "L1");
    train(&["--max-norm", "0"], "positive");
    train(&["--max-norm", "1", "--constraint", "unit_norm"], "choose one");
    train(&["--constraint", "narrow"], "expected none, max_norm");
    train(&["--layer-lr", "0:1"], "0=0.1,3..6=0.5");
    train(&["--layer-lr", "0=-1"], "0=0.1,3..6=0.5");
    train(&["--layer-lr", "900=1"], "layers without parameters");
    train(&["--schedule", "one_cycle(momentum=0.85..0.95)", "--optimizer", "adagrad"], "leave momentum out");
    train(&["--net", "dropconnect(0.5) relu dense(3)"], "a dense layer right behind it");
    train(&["--swa", "5", "--epochs", "5"], "--swa begins after the last of the --epochs");
    train(&["--clip-norm", "1", "--clip-value", "1"], "choose one");
    train(&["--clip-norm", "-1"], "clipping");
    train(&["--l2", "nan"], "L2");
    train(&["--schedule", "stairs"], "expected constant");
    train(&["--schedule", "step(0.5, 2)"], "not a value for every");
    train(&["--init", "magic"], "unknown initialiser");
    train(&["--monitor", "accuracy", "--loss", "mse", "--target", "a", "--ignore", "kind"], "has no accuracy");
    train(&["--min-delta", "nan"], "--min-delta");
    train(&["--labels", "x.csv", "--data", "clouds.csv", "--data", "y"], "--data");
    train(&["--validation-labels", "x.csv"], "needs --validation");
    train(&["--validation-where", "a=1..2"], "--where");
    train(&["--where", "a=0..31", "--test-where", "a=29..40"], "share");
    train(&["--threads", "1000000"], "at most 1024");
    train(&["--threads", "many"], "many");
    train(&["--checkpoint-seconds", "-1"], "--checkpoint-seconds");
    train(&["--config", "none.toml"], "none.toml");
    train(&["--standartize", "false"], "--standardize");
    refused(dir, &["train", "--from", "run", "--dialect", "keras"], 2, "begin with its model.safetensors");
    refused(dir, &["train", "--labels", "x.csv"], 2, "needs --data");
    refused(dir, &["predict"], 2, "MODEL");
    refused(dir, &["predict", "run", "--batch", "0"], 2, "--batch");
    refused(dir, &["fly"], 2, "fly");
    write(dir, "wrong.toml", "seed = 3\nepoch = 5\n");
    refused(dir, &["train", "--config", "wrong.toml"], 2, "line 2: unknown field `epoch`");
    write(dir, "broken.toml", "seed = \n");
    refused(dir, &["train", "--config", "broken.toml"], 2, "broken.toml: line 1");
    write(dir, "type.toml", "seed = \"three\"\n");
    refused(dir, &["train", "--config", "type.toml"], 2, "type.toml: line 1");
    for (level, needle) in [("sse9", "unknown SIMD level"), ("", "unknown SIMD level"), ("neon", "level neon")] {
        if level == "neon" && cfg!(target_arch = "aarch64") {
            continue;
        }
        let output = command(dir, &["inspect", "run"]).env("EVENKEEL_LEVEL", level).output().unwrap();
        is_refusal(&done(output), &["EVENKEEL_LEVEL", level], 2, needle);
    }
}

#[test]
fn batches_of_one() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    // 33 rows to train on in batches of 16: with batch norm the last one joins the batch before.
    write(dir, "odd.csv", clouds(33));
    let common = ["train", "--data", "odd.csv", "--validation-split", "0", "--epochs", "2", "--batch", "16", "--quiet"];
    for net in ["dense(4) bn relu dense(3)", "dense(4) relu dense(3)"] {
        ok(dir, &[&common[..], &["--net", net]].concat());
    }
    write(dir, "one.csv", clouds(1).as_str());
    write(dir, "pair.csv", clouds(2).as_str());
    refused(dir, &["train", "--data", "one.csv", "--validation-split", "0"], 3, "nothing to tell apart");
    ok(dir, &["train", "--data", "pair.csv", "--validation-split", "0", "--epochs", "1"]);
    write(dir, "value.csv", "a,y\n1,0.5\n");
    let lonely = ["train", "--data", "value.csv", "--validation-split", "0", "--net"];
    refused(dir, &[&lonely[..], &["dense(2) bn dense(1)"]].concat(), 2, "batch of one");
    ok(dir, &[&lonely[..], &["dense(1)", "--epochs", "1"]].concat());
    // One row at a time through a network with batch norm, once it is trained.
    ok(dir, &["predict", "run", "--data", "value.csv", "--batch", "1"]);
}

#[test]
fn models() {
    let dir = trained();
    let dir = dir.path();
    let image = std::fs::read(dir.join("run/model.keel")).unwrap();
    let checkpoint = std::fs::read(dir.join("run/checkpoint.safetensors")).unwrap();
    write(dir, "cut.keel", &image[..image.len() / 2]);
    write(dir, "long.keel", [&image[..], &[0; 64]].concat());
    write(dir, "empty.keel", "");
    write(dir, "short.keel", "KEEL");
    write(dir, "cut.safetensors", &checkpoint[..checkpoint.len() - 1]);
    write(dir, "huge.safetensors", [&(1_u64 << 60).to_le_bytes()[..], b"{\"a\":1}"].concat());
    write(dir, "bare.safetensors", [&2_u64.to_le_bytes()[..], b"{}"].concat());
    std::fs::create_dir(dir.join("nothing")).unwrap();
    for (model, needle) in [
        ("none.keel", "none.keel"),
        ("nothing", "model.keel"),
        ("clouds.csv", "neither an image"),
        ("empty.keel", "neither an image"),
        ("short.keel", "short.keel"),
        ("cut.keel", "cut.keel"),
        ("long.keel", "long.keel"),
        ("cut.safetensors", "cut.safetensors"),
        ("huge.safetensors", "huge.safetensors"),
        ("run/history.csv", "neither an image"),
    ] {
        for args in [
            &["eval", model, "--data", "clouds.csv"][..],
            &["predict", model, "--data", "clouds.csv", "--out", "out.csv"],
            &["inspect", model],
        ] {
            refused(dir, args, 4, needle);
        }
    }
    for model in ["none.safetensors", "cut.safetensors", "huge.safetensors", "clouds.csv"] {
        refused(dir, &["train", "--data", "clouds.csv", "--from", model], 4, model);
        refused(dir, &["export", model], 4, model);
    }
    refused(dir, &["eval", "bare.safetensors", "--data", "clouds.csv"], 4, "--net");
    refused(dir, &["export", "bare.safetensors", "--net", "dense(3)"], 4, "0.weight is missing");
    refused(dir, &["train", "--from", "run/model.keel", "--out", "new"], 4, "model.keel");
    refused(dir, &["export", "run/model.keel"], 2, "image already");
    // A model of other data.
    write(dir, "narrow.csv", "a,b,kind\n1,2,ash\n3,4,birch\n");
    refused(dir, &["eval", "run", "--data", "narrow.csv"], 3, "\"c\"");
    refused(dir, &["predict", "run", "--data", "narrow.csv"], 3, "\"c\"");
    refused(dir, &["eval", "run/model.safetensors", "--data", "narrow.csv"], 3, "\"c\"");
    // A checkpoint of another network, and of other data.
    let from = ["train", "--data", "clouds.csv", "--from", "run/model.safetensors", "--out", "new"];
    refused(dir, &[&from[..], &["--net", "dense(5) dense(3)"]].concat(), 2, "not that of --net");
    refused(dir, &[&from[..], &["--init", "zeros"]].concat(), 2, "--init");
    refused(dir, &[&from[..], &["--standardize", "false"]].concat(), 2, "--standardize");
    refused(dir, &["train", "--from", "run/model.safetensors", "--out", "new"], 3, "has no column \"a\"");
    refused(dir, &["train", "--data", "clouds.csv", "--from", "run/model.safetensors"], 2, "overwrite");
    for (extra, needle) in [
        (&["--net", "dense(3)"][..], "not that of --net"),
        (&["--seed", "9"], "seed is 1"),
        (&["--batch", "8"], "batch size is 16"),
        (&["--optimizer", "sgd"], "optimiser is adam"),
        (&["--shuffle", "false"], "shuffling"),
        (&["--data", "odd.csv"], "same data"),
        (&["--standardize", "false"], "--standardize"),
        (&["--repeat", "2"], "--repeat"),
        (&["--init", "zeros"], "--init"),
    ] {
        write(dir, "odd.csv", clouds(33));
        let args = [&["train", "--from", "run/checkpoint.safetensors", "--out", "new"][..], extra].concat();
        refused(dir, &args, 2, needle);
    }
    // A run whose configuration is gone, and a run without an image.
    std::fs::create_dir(dir.join("alone")).unwrap();
    std::fs::copy(dir.join("run/checkpoint.safetensors"), dir.join("alone/checkpoint.safetensors")).unwrap();
    refused(dir, &["train", "--from", "alone"], 2, "--config");
    refused(dir, &["eval", "alone", "--data", "clouds.csv"], 4, "its run is not over");
    ok(dir, &["eval", "alone/checkpoint.safetensors", "--data", "clouds.csv"]);
}

#[test]
fn places_that_cannot_be_written() {
    let dir = trained();
    let dir = dir.path();
    write(dir, "file", "in the way");
    std::fs::create_dir(dir.join("folder.csv")).unwrap();
    for out in ["file", "file/run", "/proc/run", "/dev/null"] {
        refused(dir, &["train", "--data", "clouds.csv", "--epochs", "1", "--out", out], 7, out);
    }
    refused(dir, &["train", "--data", "clouds.csv", "--out", ""], 2, "--out");
    for out in ["file/out.csv", "none/out.npy", "folder.csv", "/dev/null", "/proc/out.csv"] {
        refused(dir, &["predict", "run", "--data", "clouds.csv", "--out", out], 7, out);
    }
    refused(dir, &["export", "run", "--out", "none/model.keel"], 7, "none");
    // A file of the run that cannot be replaced, found before the first epoch.
    std::fs::create_dir_all(dir.join("blocked/checkpoint.safetensors")).unwrap();
    let args = ["train", "--data", "clouds.csv", "--out", "blocked", "--quiet"];
    is_refusal(&run(dir, &args), &args, 7, "checkpoint.safetensors");
}

#[test]
fn divergence_is_named_and_leaves_a_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    write(dir, "clouds.csv", clouds(90));
    let net = "dense(8) relu dense(3)";
    let train = ["train", "--data", "clouds.csv", "--net", net, "--epochs", "5", "--quiet", "--batch", "16"];
    let args = [&train[..], &["--lr", "1e30", "--optimizer", "sgd", "--standardize", "false"]].concat();
    let failed = run(dir, &args);
    is_refusal(&failed, &args, 5, "epoch 1, batch");
    assert!(failed.err.contains("--from run/checkpoint.safetensors") && failed.err.contains("layer"), "{}", failed.err);
    let inspected = ok(dir, &["inspect", "run/checkpoint.safetensors"]);
    assert!(inspected.contains("after 0 epochs"), "{inspected}");
}

/// Infinite weights do not replace the checkpoint from which the message says to go on.
#[test]
fn weights_that_overflow_leave_the_checkpoint_before_them() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    write(dir, "clouds.csv", clouds(90));
    let train = ["train", "--data", "clouds.csv", "--net", "dense(8) dense(3)", "--quiet", "--batch", "1000"];
    let huge = ["--optimizer", "sgd", "--momentum", "0", "--lr", "3e38", "--standardize", "false"];
    let args = [&train[..], &huge].concat();
    is_refusal(&run(dir, &args), &args, 5, "--from run/checkpoint.safetensors");
    ok(dir, &["train", "--from", "run", "--lr", "0.001", "--epochs", "2", "--quiet"]);
}

/// A run begun in the folder of an earlier one: the old model is not scored on the new run's rows.
#[test]
fn a_model_of_an_earlier_run_is_not_taken_for_the_new_one() {
    let dir = trained();
    let dir = dir.path();
    let train = ["train", "--data", "clouds.csv", "--net", "dense(8) dense(3)", "--quiet", "--batch", "1000"];
    let huge = ["--optimizer", "sgd", "--momentum", "0", "--lr", "3e38", "--standardize", "false", "--seed", "9"];
    assert_eq!(run(dir, &[&train[..], &huge].concat()).code, 5);
    let args = ["eval", "run"];
    is_refusal(&run(dir, &args), &args, 4, "earlier run");
    ok(dir, &["eval", "run", "--data", "clouds.csv"]);
}

#[test]
fn errors_as_json() {
    let dir = trained();
    let dir = dir.path();
    for (args, code) in [
        (&["--json", "train", "--data", "none.csv"][..], 3),
        (&["eval", "run", "--json", "--batch", "x"], 2),
        (&["inspect", "none.keel", "--json"], 4),
    ] {
        let before = snapshot(dir);
        let failed = run(dir, args);
        is_refusal(&failed, args, code, "");
        let events = events(&failed.out);
        let last = events.last().unwrap();
        assert_eq!((&last["event"], &last["code"]), (&"error".into(), &code.into()), "{last}");
        assert_eq!(failed.err.trim_end(), format!("error: {}", last["message"].as_str().unwrap()));
        assert!(snapshot(dir) == before);
    }
}

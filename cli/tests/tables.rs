//! Tables as people have them: words among the numbers, cells missing, several files, archives, packed.

mod common;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use common::{Random, ok, refused, run};

/// Rows whose class depends on a number and a category, with cells missing.
fn table(rows: usize, seed: u64) -> (String, Vec<[f32; 3]>, Vec<u32>) {
    let mut random = Random(seed);
    let (mut text, mut plain, mut labels) = (String::from("weight,site,age,kind\n"), Vec::new(), Vec::new());
    let sites = ["oslo", "bergen", "narvik"];
    for row in 0..rows {
        let (weight, site, age) = (random.next() % 100, (random.next() % 3) as usize, random.next() % 50);
        let label = u32::from(weight as usize + 30 * site > 70);
        let missing = row % 11 == 3;
        let shown = if missing { String::from("NA") } else { age.to_string() };
        writeln!(text, "{weight},{},{shown},{}", sites[site], ["low", "high"][label as usize]).unwrap();
        plain.push([weight as f32, site as f32, if missing { f32::NAN } else { age as f32 }]);
        labels.push(label);
    }
    (text, plain, labels)
}

/// Trains for 30 epochs, unless `args` say otherwise.
fn trained(dir: &Path, out: &str, args: &[&str]) {
    let epochs: &[&str] = if args.contains(&"--epochs") { &[] } else { &["--epochs", "30"] };
    let fixed = [
        "--net",
        "dense(8) relu dense(2)",
        "--seed",
        "3",
        "--lr",
        "0.03",
        "--quiet",
        "--validation-split",
        "0.2",
        "--out",
        out,
    ];
    ok(dir, &[&["train"], args, epochs, &fixed].concat());
}

#[test]
fn words_and_missing_cells_go_with_the_model() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let (text, ..) = table(300, 7);
    fs::write(dir.join("sites.csv"), &text).unwrap();
    refused(dir, &["train", "--data", "sites.csv"], 3, "--categorical");
    let missing = refused(dir, &["train", "--data", "sites.csv", "--categorical", "auto"], 3, "line 5, column \"age\"");
    assert!(missing.contains("--missing") && !missing.contains("--categorical"), "{missing}");
    let data = ["--data", "sites.csv", "--categorical", "auto", "--missing", "median"];
    trained(dir, "run", &data);
    let shown = ok(dir, &["inspect", "run/model.keel"]);
    assert!(shown.contains("5 inputs"), "{shown}");
    assert!(
        shown.contains("categories of site: bergen, narvik, oslo") && shown.contains("missing inputs: median"),
        "{shown}"
    );
    // The same table again, now with its columns in another order, one more, and without the target.
    let (mut other, mut asked) = (String::from("extra,age,site,weight\n"), String::new());
    for line in text.lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        writeln!(other, "word,{},{},{}", cells[2], cells[1], cells[0]).unwrap();
        writeln!(asked, "{}", cells[3]).unwrap();
    }
    fs::write(dir.join("other.csv"), &other).unwrap();
    let classes = ok(dir, &["predict", "run", "--data", "other.csv", "--classes"]);
    assert_eq!(classes, ok(dir, &["predict", "run", "--data", "sites.csv", "--classes"]));
    let right = classes.lines().skip(1).zip(asked.lines()).filter(|(found, asked)| found == asked).count();
    assert!(right > 270, "{right} of 300 right");
    let by_network = ok(dir, &["predict", "run/model.safetensors", "--data", "other.csv", "--classes"]);
    assert_eq!(classes, by_network);
    // The run's own sets are read as they were.
    let eval = ok(dir, &["eval", "run"]);
    assert!(eval.contains("240 rows") || eval.contains("training"), "{eval}");
    let unknown = other.replacen("oslo", "paris", 1);
    fs::write(dir.join("unknown.csv"), unknown).unwrap();
    refused(dir, &["predict", "run", "--data", "unknown.csv"], 3, "unknown category \"paris\"");
    ok(dir, &["predict", "run", "--data", "unknown.csv", "--unknown-category", "zeros"]);
    // A run that goes on reads its rows as before: it ends as one that was never stopped.
    ok(dir, &["train", "--from", "run/checkpoint.safetensors", "--epochs", "32", "--quiet"]);
    trained(dir, "longer", &[&data[..], &["--epochs", "32"]].concat());
    let network = |run: &str| fs::read(dir.join(run).join("model.safetensors")).unwrap();
    assert!(network("run") == network("longer"));
    refused(dir, &["train", "--data", "sites.csv", "--missing", "often"], 2, "none of refuse");
}

#[test]
fn the_same_rows_give_the_same_network_from_any_file() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let mut random = Random(5);
    let rows: Vec<[f32; 3]> = (0..200).map(|_| [0; 3].map(|_| (random.next() % 1000) as f32 / 64.0)).collect();
    let labels: Vec<u32> = rows.iter().map(|row| u32::from(row[0] + row[1] > row[2] + 8.0)).collect();
    let line = |(row, label): (&[f32; 3], &u32)| format!("{},{},{},{label}\n", row[0], row[1], row[2]);
    let lines: Vec<String> = rows.iter().zip(&labels).map(line).collect();
    let header = "a,b,c,label\n";
    fs::write(dir.join("all.csv"), format!("{header}{}", lines.concat())).unwrap();
    fs::write(dir.join("part1.csv"), format!("{header}{}", lines[..77].concat())).unwrap();
    fs::write(dir.join("part2.csv"), format!("{header}{}", lines[77..].concat())).unwrap();
    let packed = stored_zstd(&fs::read(dir.join("all.csv")).unwrap());
    fs::write(dir.join("all.csv.zst"), packed).unwrap();
    trained(dir, "run", &["--data", "all.csv"]);
    let expected = fs::read(dir.join("run/model.safetensors")).unwrap();
    for data in ["part?.csv", "part1.csv,part2.csv", "all.csv.zst"] {
        trained(dir, "again", &["--data", data]);
        assert!(fs::read(dir.join("again/model.safetensors")).unwrap() == expected, "{data}");
    }
    assert_eq!(run(dir, &["eval", "run", "--data", "part*.csv"]).code, 0);
}

/// A zstd frame of stored blocks: what any packer may write.
fn stored_zstd(bytes: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58];
    let blocks: Vec<&[u8]> = bytes.chunks(1 << 10).collect();
    for (at, block) in blocks.iter().enumerate() {
        let head = (block.len() as u32) << 3 | u32::from(at + 1 == blocks.len());
        frame.extend(&head.to_le_bytes()[..3]);
        frame.extend(*block);
    }
    frame
}

/// Weights of a file know their columns, categories and numbers for missing cells: where training begins with them, the table's
/// order is no matter, and what they do not know is named.
#[test]
fn weights_take_their_columns_along() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let (text, ..) = table(300, 7);
    fs::write(dir.join("sites.csv"), &text).unwrap();
    let mut other = String::from("age,extra,site,weight,kind\n");
    for line in text.lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        writeln!(other, "{},7,{},{},{}", cells[2], cells[1], cells[0], cells[3]).unwrap();
    }
    fs::write(dir.join("other.csv"), &other).unwrap();
    fs::write(dir.join("renamed.csv"), text.replace("oslo", "paris")).unwrap();
    fs::write(dir.join("fewer.csv"), text.replace("oslo", "bergen")).unwrap();
    let words = ["--categorical", "auto", "--missing", "median"];
    trained(dir, "run", &[&["--data", "sites.csv"], &words[..]].concat());
    let tune = ["train", "--from", "run/model.safetensors", "--epochs", "3", "--seed", "3", "--quiet"];
    let network = |out: &str| fs::read(dir.join(out).join("model.safetensors")).unwrap();
    for (out, data) in [("a", "sites.csv"), ("b", "other.csv")] {
        ok(dir, &[&tune[..], &["--data", data, "--out", out]].concat());
    }
    assert!(network("a") == network("b"));
    // A run that goes on reads them so too.
    ok(dir, &["train", "--from", "a", "--epochs", "5", "--quiet"]);
    ok(dir, &["train", "--from", "b", "--data", "sites.csv", "--epochs", "5", "--quiet"]);
    assert!(network("a") == network("b"));
    // A category that no row has keeps its input; one that is new has none.
    ok(dir, &[&tune[..], &["--data", "fewer.csv", "--out", "c"]].concat());
    refused(dir, &[&tune[..], &["--data", "renamed.csv", "--out", "d"]].concat(), 3, "unknown category \"paris\"");
    ok(dir, &[&tune[..], &["--data", "renamed.csv", "--unknown-category", "zeros", "--out", "d"]].concat());
    // Another policy is learned from the new rows.
    ok(dir, &[&tune[..], &["--data", "sites.csv", "--missing", "mean", "--out", "e"]].concat());
    assert!(ok(dir, &["inspect", "e"]).contains("missing inputs: mean"));
    refused(dir, &[&tune[..], &["--data", "sites.csv", "--missing", "refuse", "--out", "f"]].concat(), 3, "--missing");
}

/// An input of the model is nothing else, and not the column of its name that was left out.
#[test]
fn inputs_of_a_model_and_columns_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let rows: Vec<String> = (0..60).map(|row| format!("{},{},{},{}\n", row % 7, row % 5, row % 3, row % 2)).collect();
    fs::write(dir.join("twins.csv"), format!("a,b,a,target\n{}", rows.concat())).unwrap();
    fs::write(dir.join("plain.csv"), format!("left,b,a,target\n{}", rows.concat())).unwrap();
    for (data, out) in [("twins.csv", "twins"), ("plain.csv", "plain")] {
        trained(dir, out, &["--data", data, "--ignore", "1", "--epochs", "3"]);
        ok(dir, &["train", "--from", out, "--epochs", "5", "--quiet"]);
    }
    let network = |out: &str| fs::read(dir.join(out).join("model.safetensors")).unwrap();
    assert!(network("twins") == network("plain"));
    let predict = |run, data| ok(dir, &["predict", run, "--data", data, "--ignore", "1"]);
    assert_eq!(predict("twins", "twins.csv"), predict("plain", "plain.csv"));
    refused(dir, &["predict", "plain", "--data", "plain.csv", "--ignore", "b"], 3, "both ignored and an input");
    let tune =
        ["train", "--from", "plain/model.safetensors", "--data", "plain.csv", "--ignore", "left", "--out", "new"];
    for (option, value) in [("--test-group", "b=1"), ("--weight-column", "b")] {
        refused(dir, &[&tune[..], &[option, value]].concat(), 3, "and an input of the model");
    }
}

/// No policy stands for a target.
#[test]
fn targets_do_not_miss() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    for (name, targets) in [("empty", ["x", "", "y"]), ("numbers", ["1.5", "NA", "2"]), ("words", ["x", "none", "y"])] {
        let rows: Vec<String> = (0..12).map(|row| format!("{row},{}\n", targets[row % 3])).collect();
        fs::write(dir.join(name).with_extension("csv"), format!("a,target\n{}", rows.concat())).unwrap();
    }
    for missing in ["refuse", "mean", "drop"] {
        let refuses = |data, needle| refused(dir, &["train", "--data", data, "--missing", missing], 3, needle);
        assert!(refuses("empty.csv", "line 3, column \"target\"").contains("found nothing"));
        refuses("numbers.csv", "\"NA\"");
        if missing != "refuse" {
            refuses("words.csv", "line 3, column \"target\"");
        }
    }
    ok(dir, &["train", "--data", "words.csv", "--net", "dense(3)", "--epochs", "1", "--quiet"]);
    assert!(ok(dir, &["inspect", "run"]).contains("classes none, x, y"));
}

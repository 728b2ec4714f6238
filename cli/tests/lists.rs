//! Index lists from training to prediction: the bits of the same rows as numbers; and what is wrong with a file is said.

mod common;

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use common::{Random, ok, refused, results};
use evenkeel::data::Source;
use evenkeel_cli::data::{Options, Target, read_bytes};

const WORDS: usize = 300;

/// Rows over `WORDS` words: the first half of them speaks for class 1, the other for class 0. The first row is empty.
fn texts(rows: usize, seed: u64) -> Vec<(usize, Vec<usize>)> {
    let mut random = Random(seed);
    (0..rows)
        .map(|row| {
            let label = random.below(2);
            let mut list: Vec<usize> = (0..if row == 0 { 0 } else { 4 + random.below(12) })
                .map(|_| if random.below(3) > 0 { random.below(150) + 150 * (1 - label) } else { random.below(WORDS) })
                .collect();
            list.sort_unstable();
            list.dedup();
            (label, list)
        })
        .collect()
}

fn svm(rows: &[(usize, Vec<usize>)], base: usize) -> String {
    let mut text = String::from("# label, then the words that the text has\n");
    for (label, list) in rows {
        let _ = write!(text, "{label}");
        list.iter().for_each(|index| {
            let _ = write!(text, " {}:1", index + base);
        });
        text.push('\n');
    }
    text
}

fn csv(rows: &[(usize, Vec<usize>)]) -> String {
    let mut text: String = (0..WORDS).map(|word| format!("w{word},")).collect();
    text.push_str("label\n");
    for (label, list) in rows {
        (0..WORDS).for_each(|word| text.push_str(if list.contains(&word) { "1," } else { "0," }));
        let _ = writeln!(text, "{label}");
    }
    text
}

const NET: &str = "dense(16) relu dropout(0.5) dense(16) relu dropout(0.5) dense(1)";
const TRAIN: [&str; 14] = [
    "--net",
    NET,
    "--loss",
    "bce",
    "--batch",
    "100",
    "--lr",
    "0.01",
    "--seed",
    "7",
    "--patience",
    "3",
    "--quiet",
    "--epochs",
];

fn train(dir: &Path, data: &[&str], epochs: &str) {
    let mut args = vec!["train"];
    args.extend(data);
    args.extend(TRAIN);
    args.push(epochs);
    ok(dir, &args);
}

#[test]
fn from_training_to_prediction_with_the_bits_of_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let (rows, held) = (texts(700, 1), texts(200, 2));
    std::fs::write(dir.join("train.csv"), csv(&rows)).unwrap();
    std::fs::write(dir.join("test.csv"), csv(&held)).unwrap();
    std::fs::write(dir.join("train.svm"), svm(&rows, 1)).unwrap();
    std::fs::write(dir.join("test.svm"), svm(&held, 1)).unwrap();
    std::fs::write(dir.join("zero.svm"), svm(&rows, 0)).unwrap();
    std::fs::write(dir.join("zero-test.svm"), svm(&held, 0)).unwrap();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(svm(&rows, 1).as_bytes()).unwrap();
    std::fs::write(dir.join("packed.libsvm.gz"), packed.finish().unwrap()).unwrap();

    let numbers = ["--data", "train.csv", "--test", "test.csv", "--standardize", "false", "--out", "numbers"];
    train(dir, &numbers, "8");
    let lists = ["--data", "train.svm", "--test", "test.svm", "--width", "300", "--out", "lists"];
    train(dir, &lists, "8");
    let weights = |run: &str| {
        let bytes = std::fs::read(dir.join(run).join("model.safetensors")).unwrap();
        // The metadata has the names of the columns, which lists have not.
        let header = u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
        bytes[8 + header..].to_vec()
    };
    assert!(!weights("lists").is_empty() && weights("lists") == weights("numbers"), "other weights than from numbers");
    let curve = |run: &str| {
        let text = std::fs::read_to_string(dir.join(run).join("history.csv")).unwrap();
        let line = |line: &str| line.rsplit_once(',').map(|(figures, _seconds)| figures.to_owned());
        text.lines().map(line).collect::<Vec<_>>()
    };
    assert_eq!(curve("lists"), curve("numbers"));

    // Threads, another way to count, and packed: the same files.
    for (number, data) in [
        &["--data", "train.svm", "--test", "test.svm", "--width", "300", "--threads", "1"][..],
        &["--data", "train.svm", "--test", "test.svm", "--width", "300", "--threads", "3"],
        &["--data", "packed.libsvm.gz", "--test", "test.svm", "--width", "300"],
        &["--data", "zero.svm", "--test", "zero-test.svm", "--width", "300", "--index-base", "0"],
    ]
    .into_iter()
    .enumerate()
    {
        let out = format!("again-{number}");
        train(dir, &[data, &["--out", &out]].concat(), "8");
        assert!(results(&dir.join("lists")) == results(&dir.join(&out)), "{data:?}");
    }

    // A run that was stopped goes on with the same bits.
    let half = ["--data", "train.svm", "--test", "test.svm", "--width", "300", "--out", "half"];
    train(dir, &half, "3");
    ok(dir, &["train", "--from", "half/checkpoint.safetensors", "--epochs", "8", "--quiet"]);
    assert!(results(&dir.join("lists")) == results(&dir.join("half")), "resumed");

    // Scores and outputs.
    let shown = ok(dir, &["eval", "lists", "--data", "test.svm"]);
    let figures = |text: &str| text.split("  ").next().unwrap().to_owned();
    assert_eq!(figures(&shown), figures(&ok(dir, &["eval", "numbers", "--data", "test.csv"])));
    ok(dir, &["eval", "lists"]);
    let outputs = ok(dir, &["predict", "lists", "--data", "test.svm"]);
    assert_eq!(outputs.lines().count(), 201);
    for (model, data) in [
        ("lists", "test.csv"),
        ("lists/model.safetensors", "test.svm"),
        ("numbers", "test.svm"),
        ("numbers", "test.csv"),
    ] {
        let ignored: &[&str] = if data == "test.csv" { &["--ignore", "label"] } else { &[] };
        let found = ok(dir, &[&["predict", model, "--data", data], ignored].concat());
        assert_eq!(found, outputs, "{model} on {data}");
    }
    ok(dir, &["export", "lists", "--weights", "f16", "--data", "test.svm", "--out", "half.keel"]);
    ok(dir, &["predict", "half.keel", "--data", "test.svm", "--classes", "--probabilities"]);
    let accuracy: f64 = {
        let classes = ok(dir, &["predict", "lists", "--data", "test.svm", "--classes"]);
        let classes: Vec<usize> =
            classes.lines().skip(1).map(|line| line.split(',').next().unwrap().parse().unwrap()).collect();
        let hits = classes.iter().zip(&held).filter(|(class, (label, _))| *class == label).count();
        hits as f64 / 200.0
    };
    assert!(accuracy > 0.9, "learned {accuracy}");
}

/// Each mistake in a file, with the words that name it.
#[test]
fn mistakes_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let good = "1 1:1 4:1\n0 2:1\n1 3:1 4:1\n0 1:1\n";
    for (line, words) in [
        ("1 2:1 2:1", "line 5: index 2 comes after 2"),
        ("1 3:1 2:1", "line 5: index 2 comes after 3"),
        ("1 0:1", "--index-base 0"),
        ("1 1:0.5", "line 5: index 1 has the value \"0.5\""),
        ("1 1:", "has the value \"\""),
        ("1 1:nan", "has the value \"nan\""),
        ("1 1:0", "has the value \"0\""),
        ("1 1048577:1", "beyond the 1048576 inputs"),
        ("1 99999999999999999999999:1", "beyond the 1048576 inputs"),
        ("1 word", "expected index:1, found \"word\""),
        ("1 -1:1", "expected a whole number"),
        ("1 +1:1", "expected a whole number"),
        ("1 1.0:1", "expected a whole number"),
        ("1 :1", "expected a whole number"),
        ("1 qid:3 1:1", "qid"),
        ("1:1 2:1", "begins with \"1:1\""),
        ("nan 1:1", "column \"label\""),
    ] {
        std::fs::write(dir.join("bad.svm"), format!("{good}{line}\n")).unwrap();
        refused(dir, &["train", "--data", "bad.svm", "--out", "run"], 3, words);
    }
    let (file, train) = ("good.svm", ["train", "--data", "good.svm", "--out", "run"]);
    std::fs::write(dir.join(file), good).unwrap();
    let refuses = |more: &[&str], code, words: &str| refused(dir, &[&train[..], more].concat(), code, words);
    refuses(&["--width", "3"], 3, "index 4 is beyond the 3 inputs, the last is 3");
    refuses(&["--standardize", "true"], 2, "not standardised");
    refuses(&["--net", "bn dense(2)"], 2, "dense layer first");
    refuses(&["--jitter", "0.1"], 2, "--jitter");
    refuses(&["--categorical", "auto"], 3, "--categorical");
    for option in ["--ignore", "--target"] {
        refuses(&[option, "1"], 3, option);
    }
    refuses(&["--where", "row=0..2"], 3, "--where");
    refuses(&["--test-group", "a=1"], 3, "--test-group");
    refuses(&["--header", "yes"], 3, "--header");
    refuses(&["--labels", "good.svm"], 3, "--labels");
    refuses(&["--index-base", "2"], 2, "--index-base");
    std::fs::write(dir.join("numbers.csv"), "a,b,c,d,label\n1,0,0,1,1\n0,1,0,0,0\n").unwrap();
    std::fs::write(dir.join("more.svm"), good).unwrap();
    refused(dir, &["train", "--data", "good.svm,more.svm", "--out", "run"], 3, "another file");
    refuses(&["--validation", "numbers.csv"], 2, "all sets are of one kind");
    std::fs::write(dir.join("wide.svm"), "1 5:1\n0 1:1\n").unwrap();
    refuses(&["--test", "wide.svm"], 3, "index 5 is beyond the 4 inputs");
    for (text, words) in [("# nothing\n\n", "no row"), ("1\n0\n1\n", "--width")] {
        std::fs::write(dir.join("none.svm"), text).unwrap();
        refused(dir, &["train", "--data", "none.svm", "--out", "run"], 3, words);
    }
    // A trained model knows its width.
    let mut args = train.to_vec();
    args.extend(["--validation-split", "0", "--epochs", "2", "--net", "dense(2)", "--quiet"]);
    ok(dir, &args);
    refused(dir, &["predict", "run", "--data", "wide.svm"], 3, "index 5 is beyond the 4 inputs");
    refused(dir, &["eval", "run", "--data", "wide.svm"], 3, "index 5 is beyond the 4 inputs");
}

/// Thousands of damaged files: refused in words, or read as lists that hold.
#[test]
fn damaged_files() {
    let mut random = Random(99);
    let good = svm(&texts(20, 3), 1);
    let (mut read, mut refusals) = (0, 0);
    for _ in 0..6000 {
        let mut bytes = good.clone().into_bytes();
        for _ in 0..1 + random.below(4) {
            let at = random.below(bytes.len());
            match random.below(4) {
                0 => bytes[at] = random.below(256) as u8,
                1 => bytes[at] = b"0123456789:# \n\r\t-+.e"[random.below(20)],
                2 => bytes.truncate(at.max(1)),
                _ => {
                    let copy = bytes[at..(at + random.below(40)).min(bytes.len())].to_vec();
                    bytes.splice(at..at, copy);
                }
            }
        }
        let options = Options { width: [None, Some(300)][random.below(2)], ..Options::default() };
        match read_bytes("d.svm", &bytes, None, &options) {
            Err(error) => {
                assert!(error.to_string().len() < 1000);
                refusals += 1;
            }
            Ok(table) => {
                let Source::Lists(lists) = table.any_inputs().unwrap() else { panic!("no lists") };
                let labels = match table.target.clone().unwrap() {
                    Target::Classes { labels, .. } => labels.len(),
                    Target::Values { values, .. } => values.len(),
                };
                assert_eq!((lists.len(), labels), (table.rows, table.rows));
                read += 1;
            }
        }
    }
    println!("damaged index lists: {refusals} refused, {read} read");
    assert!(refusals > 1000 && read > 100, "{refusals} refused, {read} read");
}

//! The stored results that firmware repeats (`no_std_tests/golden`): they are what this machine computes, on each level.
//!
//! `EVENKEEL_BLESS=1 cargo test --test firmware` writes them anew; look at the difference before you keep it.

use std::fs;
use std::path::PathBuf;

use evenkeel::export::{Options, Precision, Precisions, export};
use evenkeel::image::AlignedBytes;
use evenkeel::rng::{Purpose, Stream, unit};
use evenkeel::{Dataset, Error, Image, Init, Labels, Level, Loss, Mlp, Net, Trainer, text};

/// What firmware runs.
#[path = "../no_std_tests/golden/src/runs/mod.rs"]
mod runs;

use runs::golden::{Comparison, MAGIC};
use runs::{IMAGES, Sink, Stage};

/// The networks of the images, in pairs with `f32` and `f16` weights. Between them: every operation and activation, a
/// batch norm that stays, dense layers without bias, narrow last panels, rows longer than a block of sums.
const NETWORKS: [(&str, usize, &str); 3] = [
    ("plain", 24, "dense(40) bn relu dropout(0.2) dense(19) bn relu dropout(0.1) dense(10) softmax"),
    (
        "every",
        18,
        "tanh bn gelu dense(21) silu dense(20) sigmoid dense(18, bias=false) leaky_relu(0.1) dense(17) bn tanh \
         dense(16) gelu dense(7) log_softmax",
    ),
    ("wide", 300, "dense(5) relu dense(1) sigmoid"),
];

fn path(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/no_std_tests/golden")).join(name)
}

fn exact_level() -> Level {
    Level::available().filter(|level| level.is_exact()).last().expect("a level whose multiply-add rounds once")
}

/// A network trained for some epochs, so that its statistics are moved and its outputs apart.
fn trained(inputs: usize, layers: &str) -> Mlp {
    let mut net = Mlp::new(inputs, text::parse(layers).unwrap()).unwrap();
    net.init(Init::HeNormal, 4);
    let words = Stream::new(2026, Purpose::Shuffle, 0, 0);
    let rows = 96;
    let values: Vec<f32> = (0..(rows * inputs) as u64).map(|at| 4.0 * unit(words.word(at)) - 2.0).collect();
    let outputs = net.network().outputs();
    let targets = values.chunks(inputs).flat_map(|row| {
        let first = &row[..outputs.max(2)];
        let largest = (0..first.len()).max_by(|a, b| first[*a].total_cmp(&first[*b])).unwrap();
        (0..outputs).map(move |output| f32::from(output == largest))
    });
    let data = Dataset { labels: Labels::Values(targets.collect()), inputs: values, features: inputs };
    let trainer = Trainer { level: exact_level(), ..Trainer::new(Loss::MeanSquaredError).batch(32).epochs(8) };
    trainer.fit(&mut net, data.view().unwrap(), None).unwrap();
    net
}

/// The images in the order of [`IMAGES`].
fn images() -> Vec<AlignedBytes> {
    let images = NETWORKS.iter().flat_map(|(_, inputs, layers)| {
        let net = trained(*inputs, layers);
        [Precision::F32, Precision::F16].map(|precision| {
            let options = Options { precision: Precisions::All(precision), ..Options::default() };
            export(&net.network(), &net.params, &net.state, &options).unwrap().0
        })
    });
    images.collect()
}

/// A sink that writes a file.
struct Writer(Vec<u8>);

impl Writer {
    fn head(&mut self, run: &str, part: &str, count: usize, size: u8) {
        let name = format!("{run}: {part}");
        self.0.extend((count as u32).to_le_bytes());
        self.0.extend([size, name.len() as u8]);
        self.0.extend(name.as_bytes());
    }
}

impl Sink for Writer {
    fn floats(&mut self, _: Stage, run: &str, part: &str, values: &[f32]) {
        assert!(values.iter().all(|value| value.is_finite()), "{run}, {part}: a value to compare is not finite");
        self.head(run, part, values.len(), 4);
        values.iter().for_each(|value| self.0.extend(value.to_le_bytes()));
    }

    fn doubles(&mut self, _: Stage, run: &str, part: &str, values: &[f64]) {
        assert!(values.iter().all(|value| value.is_finite()), "{run}, {part}: a value to compare is not finite");
        self.head(run, part, values.len(), 8);
        values.iter().for_each(|value| self.0.extend(value.to_le_bytes()));
    }
}

/// The files of results.
const RESULTS: [&str; 2] = ["images.golden", "training.golden"];

/// The results of file `file` of [`RESULTS`].
fn run(file: usize, level: Level, images: &[AlignedBytes], sink: &mut dyn Sink) -> Result<(), Error> {
    let mut memory = vec![f32::NAN; [runs::IMAGES_MEMORY, runs::TRAINING_MEMORY][file]];
    match file {
        0 => {
            let nets: [Net<'_>; IMAGES.len()] = std::array::from_fn(|at| Net::new(Image::new(&images[at]).unwrap()));
            runs::images(level, &nets, &mut memory, sink)
        }
        _ => runs::training(level, &mut memory, sink),
    }
}

/// All files with what must be in them.
fn files(level: Level) -> Vec<(String, Vec<u8>)> {
    let images = images();
    let results = (0..RESULTS.len()).map(|file| {
        let mut writer = Writer(MAGIC.to_vec());
        run(file, level, &images, &mut writer).unwrap();
        (RESULTS[file].to_owned(), writer.0)
    });
    let results: Vec<_> = results.collect();
    let names = IMAGES.map(|name| format!("images/{name}.keel"));
    names.into_iter().zip(images.iter().map(|image| image.to_vec())).chain(results).collect()
}

fn stored(name: &str) -> Vec<u8> {
    fs::read(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn files_are_up_to_date() {
    for (name, bytes) in files(exact_level()) {
        if std::env::var_os("EVENKEEL_BLESS").is_some() {
            fs::write(path(&name), &bytes).unwrap();
        }
        let message = "if that is meant, write it anew: EVENKEEL_BLESS=1 cargo test --test firmware";
        assert!(bytes == stored(&name), "no_std_tests/golden/{name} is not what {} computes; {message}", exact_level());
    }
}

/// Compares a level with results.
fn compare<'g>(level: Level, files: [&'g [u8]; 2]) -> Comparison<'g> {
    let images = IMAGES.map(|name| AlignedBytes::from(&stored(&format!("images/{name}.keel"))[..]));
    let mut comparison = Comparison::new(level.name(), level.is_exact());
    for (file, bytes) in files.into_iter().enumerate() {
        comparison.go_on(bytes);
        run(file, level, &images, &mut comparison).unwrap();
    }
    comparison
}

#[test]
fn every_level_agrees() {
    if std::env::var_os("EVENKEEL_BLESS").is_some() {
        // The files are being written.
        return;
    }
    let files = RESULTS.map(stored);
    // The first line would stand behind the name of the test.
    println!();
    for level in Level::available() {
        let comparison = compare(level, files.each_ref().map(|file| &file[..]));
        println!("{comparison}");
        assert!(comparison.passed(), "{comparison}");
    }
}

/// A comparison that nothing can fail would prove nothing.
#[test]
fn damage_is_found() {
    if std::env::var_os("EVENKEEL_BLESS").is_some() {
        return;
    }
    let [images, training] = RESULTS.map(stored);
    let refused = |files: [&[u8]; 2], what: &str| {
        let comparison = compare(exact_level(), files);
        assert!(!comparison.passed(), "{what}: {comparison}");
    };
    for at in (0..training.len()).step_by(training.len() / 40).chain([training.len() - 1]) {
        let mut damaged = training.clone();
        damaged[at] ^= 1;
        refused([&images, &damaged], &format!("a bit of byte {at} turned"));
    }
    refused([&images, &training[..training.len() - 1]], "a byte missing");
    refused([&images, &[&training[..], &[0]].concat()], "a byte too many");
    refused([&training, &images], "files exchanged");
    refused([&[], &training], "an empty file");
}

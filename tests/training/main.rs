//! Training as a whole: learning, stopping, interruption, bad numbers, memory.

#[cfg(feature = "rayon")]
mod augmentation;
mod averages;
mod failures;
mod interrupted;
mod learning;
#[cfg(feature = "rayon")]
mod lists;
mod memory;
mod observers;
mod odd;
mod refusals;
mod stopping;
#[cfg(feature = "rayon")]
mod stored;

use evenkeel::rng::{Purpose, Stream, unit};
use evenkeel::{Dataset, Init, Labels, Mlp, text};

const SEED: u64 = 0x5eed_0000_0000_0001;

/// A number in [-1, 1), a pure function of its arguments.
fn number(stream: u32, index: usize) -> f32 {
    2.0 * unit(Stream::new(SEED, Purpose::Init, stream, 1).word(index as u64)) - 1.0
}

/// Rows around one centre per class, in the order 0, 1, 2, 0, …
fn blobs(rows: usize, features: usize, classes: u32, spread: f32) -> Dataset {
    let class = |row: usize| row as u32 % classes;
    let centre = |class: u32, feature: usize| number(900, class as usize * features + feature);
    let input = |row, feature| centre(class(row), feature) + spread * number(901, row * features + feature);
    let inputs = (0..rows).flat_map(|row| (0..features).map(move |feature| input(row, feature))).collect();
    Dataset { inputs, features, labels: Labels::Classes((0..rows).map(class).collect()) }
}

fn net(inputs: usize, layers: &str) -> Mlp {
    let mut net = Mlp::new(inputs, text::parse(layers).unwrap()).unwrap();
    net.init(Init::HeNormal, 3);
    net
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[track_caller]
fn assert_same(a: &Mlp, b: &Mlp, what: &str) {
    assert!(bits(&a.params) == bits(&b.params), "parameters differ: {what}");
    assert!(bits(&a.state) == bits(&b.state), "running statistics differ: {what}");
}

//! What dropout and its kin do: masks and normal numbers from the library's random words.

use evenkeel::kernels::panels;
use evenkeel::rng::{Purpose, Stream};

use super::{Mode, TwinLayer};

impl TwinLayer {
    /// Whether noise acts on this layer.
    pub(super) fn acts(&self, mode: Mode) -> bool {
        matches!(mode.of(self.index, false), Mode::Train { .. })
    }

    /// What a DropConnect before this dense layer multiplies each weight by: the element is the place in the panels.
    pub(super) fn weight_factors(&self, mode: Mode) -> Vec<f64> {
        let Mode::Train { seed, step } = mode.of(self.index.saturating_sub(1), false) else {
            return vec![1.0; self.inputs * self.outputs];
        };
        let Some(rate) = self.connect else { return vec![1.0; self.inputs * self.outputs] };
        let keep = 1.0 - f64::from(rate);
        let stream = Stream::new(seed, Purpose::DropConnect, self.index as u32 - 1, step as u32);
        let kept = |element: usize| f64::from(stream.word(element as u64)) < libm::floor(keep * 4_294_967_296.0);
        let places = (0..self.outputs).flat_map(|output| (0..self.inputs).map(move |input| (output, input)));
        let element = |(output, input)| panels::position(self.inputs, self.outputs, output, input);
        places.map(|place| if kept(element(place)) { 1.0 / keep } else { 0.0 }).collect()
    }

    pub(super) fn masked(&self, mode: Mode) -> Vec<f64> {
        let factors = self.weight_factors(mode);
        self.params
            .iter()
            .zip(factors)
            .map(|(weight, factor)| if factor == 0.0 { 0.0 } else { weight * factor })
            .collect()
    }

    /// Standard normal numbers, one for each value: the quantile of each element's word, by bisection of the distribution.
    pub(super) fn normals(&self, rows: usize, mode: Mode) -> Vec<f64> {
        let Mode::Train { seed, step } = mode.of(self.index, false) else { return vec![0.0; rows * self.inputs] };
        let stream = Stream::new(seed, Purpose::Noise, self.index as u32, step as u32);
        let element = |row: usize, col: usize| ((col / 16) as u64) << 36 | (row * 16 + col % 16) as u64;
        let each = (0..rows).flat_map(|row| (0..self.inputs).map(move |col| (row, col)));
        each.map(|(row, col)| known_quantile(stream.word(element(row, col)))).collect()
    }

    /// What dropout multiplies each value by: each group of sixteen features has a stretch of the stream to itself.
    pub(super) fn mask(&self, rate: f32, rows: usize, mode: Mode) -> Vec<f64> {
        let Mode::Train { seed, step } = mode.of(self.index, false) else { return vec![1.0; rows * self.inputs] };
        let keep = 1.0 - f64::from(rate);
        let threshold = libm::floor(keep * 4_294_967_296.0);
        let stream = Stream::new(seed, Purpose::Dropout, self.index as u32, step as u32);
        let element = |row: usize, col: usize| ((col / 16) as u64) << 36 | (row * 16 + col % 16) as u64;
        let kept = |row, col| f64::from(stream.word(element(row, col))) < threshold;
        let each = (0..rows).flat_map(|row| (0..self.inputs).map(move |col| (row, col)));
        each.map(|(row, col)| if kept(row, col) { 1.0 / keep } else { 0.0 }).collect()
    }
}

/// [`normal_quantile`], asked for the same words again and again.
fn known_quantile(word: u32) -> f64 {
    thread_local! {
        static KNOWN: std::cell::RefCell<std::collections::HashMap<u32, f64>> = Default::default();
    }
    KNOWN.with_borrow_mut(|known| *known.entry(word).or_insert_with(|| normal_quantile(word)))
}

/// The standard normal number below which a share `(word + 1/2) / 2^32` lies.
fn normal_quantile(word: u32) -> f64 {
    let upper = word >= 1 << 31;
    let tail = (f64::from(if upper { !word } else { word }) + 0.5) / 4_294_967_296.0;
    let (mut low, mut high) = (0.0, 8.0);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        let above = 0.5 * libm::erfc(middle * core::f64::consts::FRAC_1_SQRT_2);
        if above > tail { low = middle } else { high = middle }
    }
    if upper { low } else { -low }
}

/// `-λα` of SELU.
pub(super) const SELU_LIMIT: f64 = -1.758_099_340_847_376_6;

/// Scale and shift of alpha dropout.
pub(super) fn alpha(rate: f64, acts: bool) -> (f64, f64) {
    if !acts {
        return (1.0, 0.0);
    }
    let a = 1.0 / libm::sqrt((1.0 - rate) * (1.0 + rate * SELU_LIMIT * SELU_LIMIT));
    (a, -a * rate * SELU_LIMIT)
}

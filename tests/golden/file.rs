//! Reads golden files, and measures how far a result is from one. `README.md` here says what is in them.

use std::collections::BTreeMap;

use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

use crate::table::{Unit, note};

/// A golden file, all its tensors widened (exactly) to `f64`.
pub(crate) struct File {
    name: String,
    tensors: BTreeMap<String, (Vec<usize>, Vec<f64>)>,
    pub(crate) about: Value,
}

pub(crate) fn path(name: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

pub(crate) fn json(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(path(name)).unwrap()).unwrap()
}

impl File {
    pub(crate) fn open(name: &str) -> Self {
        let name = format!("{name}.safetensors");
        let bytes = std::fs::read(path(&name)).unwrap();
        let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
        let about = metadata.metadata().as_ref().unwrap()["golden"].as_str();
        let about = serde_json::from_str(about).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let tensors = tensors.iter().map(|(name, view)| {
            let data = view.data();
            let values = match view.dtype() {
                Dtype::F32 => data.as_chunks().0.iter().map(|bytes| f64::from(f32::from_le_bytes(*bytes))).collect(),
                Dtype::F64 => data.as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect(),
                Dtype::I64 => data.as_chunks().0.iter().map(|bytes| i64::from_le_bytes(*bytes) as f64).collect(),
                other => panic!("{name} is {other:?}"),
            };
            (name.to_string(), (view.shape().to_vec(), values))
        });
        Self { name, tensors: tensors.collect(), about }
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    fn tensor(&self, name: &str) -> &(Vec<usize>, Vec<f64>) {
        self.tensors.get(name).unwrap_or_else(|| panic!("{} has no {name}", self.name))
    }

    pub(crate) fn shape(&self, name: &str) -> &[usize] {
        &self.tensor(name).0
    }

    pub(crate) fn f64(&self, name: &str) -> &[f64] {
        &self.tensor(name).1
    }

    /// A tensor that was stored as `f32`.
    pub(crate) fn f32(&self, name: &str) -> Vec<f32> {
        self.f64(name).iter().map(|value| *value as f32).collect()
    }

    pub(crate) fn u32(&self, name: &str) -> Vec<u32> {
        self.f64(name).iter().map(|value| *value as u32).collect()
    }

    /// A number from the options of a configuration, or what it is if left out.
    pub(crate) fn option(&self, config: &str, key: &str, default: f64) -> f32 {
        self.about["configs"][config][key].as_f64().unwrap_or(default) as f32
    }
}

/// How far results are from the golden ones.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) vectors: usize,
    pub(crate) values: usize,
    /// The largest deviation.
    pub(crate) worst: f64,
}

impl Tally {
    /// Compares a vector; each deviation is divided by `scale`. Infinities must be equal, NaN is never right.
    pub(crate) fn scaled(&mut self, what: &str, found: &[f32], truth: &[f64], scale: f64, limit: f64) {
        self.each(what, found, truth, |_| scale, limit);
    }

    /// Compares a vector; deviations are relative to its largest true value, or to the smallest normal `f32`.
    pub(crate) fn relative(&mut self, what: &str, found: &[f32], truth: &[f64], limit: f64) {
        let largest = truth.iter().fold(f64::from(f32::MIN_POSITIVE), |most, value| most.max(value.abs()));
        self.scaled(what, found, truth, largest, limit);
    }

    /// Compares value by value; `scale` says for each index what its deviation is divided by.
    pub(crate) fn each(&mut self, what: &str, found: &[f32], truth: &[f64], scale: impl Fn(usize) -> f64, limit: f64) {
        assert_eq!(found.len(), truth.len(), "{what}");
        for (at, (found, truth)) in found.iter().zip(truth).enumerate() {
            let same = f64::from(*found) == *truth || *found == *truth as f32;
            let deviation = if same { 0.0 } else { (f64::from(*found) - truth).abs() / scale(at) };
            assert!(deviation <= limit, "{what}[{at}]: {found:e}, not {truth:e}; deviation {deviation:.1e}");
            self.worst = self.worst.max(deviation);
        }
        self.vectors += 1;
        self.values += found.len();
    }

    /// Hands what was compared to the table, under a name of evenkeel's or, if it is empty, for every row of the test.
    pub(crate) fn note(&self, key: &str) {
        note(key, (self.vectors, self.values), self.worst, Unit::Relative);
    }

    /// As [`note`](Self::note), for deviations in ulp.
    pub(crate) fn note_ulp(&self, key: &str) {
        note(key, (self.vectors, self.values), self.worst, Unit::Ulp);
    }
}

/// The spacing of `f32` at a value: one ulp.
pub(crate) fn ulp(value: f64) -> f64 {
    let value = (value.abs() as f32).clamp(f32::MIN_POSITIVE, f32::MAX / 2.0);
    f64::from(f32::from_bits(value.to_bits() + 1) - value)
}

//! Weights of rows and of classes, kept with the targets they belong to.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::Labels;
use crate::error::{Error, check_len};
use crate::train::{Mean, Targets};

/// Labels with a weight for each row.
#[derive(Clone, Debug, PartialEq)]
pub struct WeightedLabels {
    /// The labels.
    pub labels: Labels,
    /// One weight per row, 0 or positive.
    pub weights: Vec<f32>,
    /// What the losses of a batch are divided by.
    pub mean: Mean,
}

impl Labels {
    /// The labels, borrowed.
    #[must_use]
    pub fn targets(&self) -> Targets<'_> {
        match self {
            Labels::Classes(labels) => Targets::Classes(labels),
            Labels::Values(values) => Targets::Values(values),
            Labels::Weighted(weighted) => weighted.labels.targets().weighted(&weighted.weights, weighted.mean),
        }
    }

    /// The labels without their weights.
    #[must_use]
    pub fn unweighted(&self) -> &Self {
        match self {
            Labels::Weighted(weighted) => weighted.labels.unweighted(),
            labels => labels,
        }
    }

    /// The labels of these of `all` rows; rows that do not exist are left out.
    #[must_use]
    pub fn subset(&self, rows: &[usize], all: usize) -> Self {
        fn pick<T: Copy>(from: &[T], rows: &[usize]) -> Vec<T> {
            rows.iter().filter_map(|row| from.get(*row)).copied().collect()
        }
        match self {
            Labels::Classes(labels) => Labels::Classes(pick(labels, rows)),
            Labels::Values(values) => {
                let width = values.len() / all.max(1);
                let row = |row: &usize| values.get(row.checked_mul(width)?..).and_then(|values| values.get(..width));
                Labels::Values(rows.iter().filter_map(row).flatten().copied().collect())
            }
            Labels::Weighted(weighted) => Labels::Weighted(Box::new(WeightedLabels {
                labels: weighted.labels.subset(rows, all),
                weights: pick(&weighted.weights, rows),
                mean: weighted.mean,
            })),
        }
    }

    /// Class of a row: its label, or for values the 0 or 1 that its first output stands for.
    pub(super) fn class(&self, row: usize, rows: usize) -> u32 {
        match self.unweighted() {
            Labels::Classes(labels) => labels.get(row).copied().unwrap_or(0),
            Labels::Values(values) => {
                let width = values.len() / rows.max(1);
                u32::from(values.get(row * width).is_some_and(|value| *value > 0.5))
            }
            Labels::Weighted(_) => 0,
        }
    }
}

impl Labels {
    /// As [`Dataset::weighted`](super::Dataset::weighted), of `rows` rows with these labels.
    ///
    /// # Errors
    /// As [`Dataset::weighted`](super::Dataset::weighted).
    pub fn weighted(self, rows: usize, weights: Vec<f32>, mean: Mean) -> Result<Self, Error> {
        check_len("weights", rows, weights.len())?;
        let wrong = |weight: &f32| !(*weight >= 0.0 && weight.is_finite());
        if let Some(row) = weights.iter().position(wrong) {
            return Err(Error::Weight { row, value: weights[row] });
        }
        if weights.iter().all(|weight| *weight == 0.0) {
            return Err(Error::AllWeightsZero);
        }
        let (labels, weights) = match self {
            Labels::Weighted(before) => {
                let products = before.weights.iter().zip(&weights).map(|(a, b)| a * b).collect();
                (before.labels, products)
            }
            labels => (labels, weights),
        };
        Ok(Labels::Weighted(Box::new(WeightedLabels { labels, weights, mean })))
    }

    /// As [`Dataset::class_weighted`](super::Dataset::class_weighted), of `rows` rows with these labels.
    ///
    /// # Errors
    /// As [`Dataset::class_weighted`](super::Dataset::class_weighted).
    pub fn class_weighted(self, rows: usize, weights: &[f32], mean: Mean) -> Result<Self, Error> {
        let weight = |row| {
            let class = self.class(row, rows);
            weights.get(class as usize).copied().ok_or(Error::ClassWeight { class, weights: weights.len() })
        };
        let weights = (0..rows).map(weight).collect::<Result<Vec<f32>, Error>>()?;
        self.weighted(rows, weights, mean)
    }

    /// As [`Dataset::balanced`](super::Dataset::balanced), of `rows` rows with these labels.
    #[must_use]
    pub fn balanced(&self, rows: usize) -> Vec<f32> {
        let mut counts: Vec<usize> = Vec::new();
        for row in 0..rows {
            let class = self.class(row, rows) as usize;
            // A label is any number before it is checked against a network.
            if class < crate::layer::MAX_WIDTH {
                counts.resize(counts.len().max(class + 1), 0);
                counts[class] += 1;
            }
        }
        let classes = counts.iter().filter(|count| **count > 0).count();
        let weight = |count: &usize| match count {
            0 => 0.0,
            count => (rows as f64 / (classes as f64 * *count as f64)) as f32,
        };
        counts.iter().map(weight).collect()
    }
}

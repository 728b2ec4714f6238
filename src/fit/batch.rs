//! The targets of a batch, collected row by row, and what training does to a batch before it is learned.

use alloc::vec::Vec;

use crate::memory::Buffer;
use crate::train::augment::{mix, mixup_partners, mixup_share};
use crate::train::loss::Goal;
use crate::train::{Mean, Mixed, Targets};

/// Where in a run a batch is: what is drawn for it is a function of that.
#[derive(Clone, Copy, Debug)]
pub(super) struct Draw {
    pub(super) seed: u64,
    pub(super) step: u64,
}

/// The targets of a batch.
#[derive(Default)]
pub(super) struct Goals {
    labels: Vec<u32>,
    others: Vec<u32>,
    values: Vec<f32>,
    weights: Vec<f32>,
    partners: Vec<u32>,
    /// What the rows, their values or weights are mixed with.
    mates: Buffer,
}

impl Goals {
    /// The targets of these rows, of `all` there are.
    pub(super) fn of(&mut self, targets: Targets<'_>, all: usize, rows: &[u32]) -> Targets<'_> {
        let mean = self.fill(targets, all, rows);
        let goal = match targets.goal() {
            Goal::Classes(_) => Targets::Classes(&self.labels),
            Goal::Values(_) => Targets::Values(&self.values),
            Goal::Mixed(Mixed { share, .. }) => {
                Targets::Mixed(Mixed { classes: &self.labels, others: &self.others, share })
            }
        };
        match mean {
            Some(mean) => goal.weighted(&self.weights, mean),
            None => goal,
        }
    }

    /// Mixes each row with another one of the batch, inputs and targets: two classes for a class, values and weights as the
    /// inputs. The targets are not mixed yet.
    pub(super) fn mixed(
        &mut self,
        targets: Targets<'_>,
        all: usize,
        rows: &[u32],
        (alpha, draw): (f32, Draw),
        inputs: &mut [f32],
    ) -> Targets<'_> {
        let mean = self.fill(targets, all, rows);
        let share = mixup_share(alpha, draw.seed, draw.step);
        self.partners.resize(rows.len(), 0);
        mixup_partners(draw.seed, draw.step, &mut self.partners);
        let (partners, mates) = (&self.partners, &mut self.mates);
        let mut mix_rows = |x: &mut [f32]| {
            let width = x.len() / rows.len().max(1);
            // No values, or no weights.
            if width == 0 {
                return;
            }
            if mates.len() < x.len() {
                *mates = Buffer::zeros(x.len());
            }
            for (partner, mate) in partners.iter().zip(mates.chunks_exact_mut(width)) {
                mate.copy_from_slice(&x[*partner as usize * width..][..width]);
            }
            mix(share, x, mates);
        };
        mix_rows(inputs);
        mix_rows(&mut self.values);
        mix_rows(&mut self.weights);
        let goal = match targets.goal() {
            Goal::Values(_) => Targets::Values(&self.values),
            _ => {
                self.others.clear();
                self.others.extend(self.partners.iter().map(|partner| self.labels[*partner as usize]));
                Targets::Mixed(Mixed { classes: &self.labels, others: &self.others, share })
            }
        };
        match mean {
            Some(mean) => goal.weighted(&self.weights, mean),
            None => goal,
        }
    }

    /// Copies what belongs to these rows; says what weighted losses are divided by.
    fn fill(&mut self, targets: Targets<'_>, all: usize, rows: &[u32]) -> Option<Mean> {
        self.values.clear();
        self.weights.clear();
        let pick = |from: &[u32], to: &mut Vec<u32>| {
            to.clear();
            to.extend(rows.iter().map(|row| from[*row as usize]));
        };
        match targets.goal() {
            Goal::Classes(labels) => pick(labels, &mut self.labels),
            Goal::Mixed(Mixed { classes, others, .. }) => {
                pick(classes, &mut self.labels);
                pick(others, &mut self.others);
            }
            Goal::Values(values) => {
                let width = values.len() / all.max(1);
                self.values.extend(rows.iter().flat_map(|row| &values[*row as usize * width..][..width]));
            }
        }
        let (weights, mean) = targets.weights()?;
        self.weights.extend(rows.iter().map(|row| weights[*row as usize]));
        Some(mean)
    }
}

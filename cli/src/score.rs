//! Loss and accuracy from a model's outputs, whatever the model ends with.
//!
//! In double precision, since here nothing has to repeat the bits of the training.

use evenkeel::train::Link;
use evenkeel::{Labels, Level, Loss};

use crate::error::{Failure, Kind};
use crate::model::{Ending, Model};
use crate::report::Figures;
use crate::rows::Rows;

/// Compares outputs with labels.
///
/// # Errors
/// [`Kind::Data`] for labels that the model cannot give.
pub fn score(model: &Model, values: &[f32], rows: &Rows, loss: Loss) -> Result<Figures, Failure> {
    let (outputs, count) = (model.outputs, rows.set.rows());
    let fails = |message: String| Err(Failure::new(Kind::Data, format_args!("{}: {message}", rows.name)));
    if !matches!(loss, Loss::CrossEntropy | Loss::BinaryCrossEntropy | Loss::MeanSquaredError) {
        return by_library(model, values, rows, loss);
    }
    let (sum, hits) = match rows.set.labels().unweighted() {
        Labels::Classes(labels) if outputs == 1 => {
            if let Some(row) = labels.iter().position(|label| *label > 1) {
                return fails(format!(
                    "row {row} (counted from 0) has class {}, the model tells two apart",
                    labels[row]
                ));
            }
            let pairs = || values.iter().zip(labels.iter().map(|label| *label as f32));
            let hits = values.iter().zip(labels).filter(|(z, label)| model.class(&[**z]) == **label as usize).count();
            (pairs().map(|(z, t)| binary(*z, t, model.ending)).sum(), Some(hits as f64))
        }
        Labels::Classes(labels) => {
            if let Some(row) = labels.iter().position(|label| *label as usize >= outputs) {
                let label = labels[row];
                return fails(format!("row {row} (counted from 0) has class {label}, the model has {outputs} outputs"));
            }
            let pairs = || values.chunks(outputs).zip(labels.iter().map(|label| *label as usize));
            let hits = pairs().filter(|(row, label)| model.class(row) == *label).count();
            (pairs().map(|(row, label)| cross_entropy(row, label, model.ending)).sum::<f64>(), Some(hits as f64))
        }
        Labels::Values(targets) if targets.len() == values.len() => {
            let pairs = || values.iter().zip(targets);
            let share = 1.0 / outputs as f64;
            if loss == Loss::BinaryCrossEntropy {
                let hits = pairs().filter(|(z, t)| (model.class(&[**z]) == 1) == (**t > 0.5)).count();
                let sum: f64 = pairs().map(|(z, t)| binary(*z, *t, model.ending)).sum();
                (share * sum, Some(share * hits as f64))
            } else {
                (share * pairs().map(|(y, t)| f64::from(y - t).powi(2)).sum::<f64>(), None)
            }
        }
        other => {
            let per_row = if let Labels::Values(targets) = other { targets.len() / count.max(1) } else { 0 };
            return fails(format!(
                "{per_row} target values a row, the model has {outputs} outputs: name them with --target"
            ));
        }
    };
    let mean = |sum: f64| sum / count.max(1) as f64;
    Ok(Figures { rows: count as u64, loss: mean(sum), accuracy: hits.map(mean) })
}

/// The losses that only training has: by its own kernels, from the outputs turned back into what those take.
fn by_library(model: &Model, values: &[f32], rows: &Rows, loss: Loss) -> Result<Figures, Failure> {
    let mut values = values.to_vec();
    if model.ending == Ending::Probabilities {
        let plain: fn(f32) -> f32 = match loss.link() {
            // Softmax of the logarithms of probabilities gives them back; so does sigmoid of the logarithm of their odds.
            Link::Softmax => |p| p.max(f32::MIN_POSITIVE).ln(),
            Link::Sigmoid => |p| (p.max(f32::MIN_POSITIVE) / (1.0 - p).max(f32::MIN_POSITIVE)).ln(),
            Link::None => |value| value,
        };
        values.iter_mut().for_each(|value| *value = plain(*value));
    }
    let targets = rows.set.labels().targets().unweighted();
    let score = evenkeel::fit::score_outputs(Level::detect(), loss, model.outputs, &values, targets)
        .map_err(|error| Failure::new(Kind::Data, format_args!("{}: {error}", rows.name)))?;
    Ok(Figures::of(score, loss))
}

fn cross_entropy(row: &[f32], label: usize, ending: Ending) -> f64 {
    match ending {
        Ending::Probabilities => -f64::from(row[label]).ln(),
        Ending::LogProbabilities => -f64::from(row[label]),
        Ending::Plain => {
            let max = row.iter().fold(f32::NEG_INFINITY, |max, value| max.max(*value));
            let sum: f64 = row.iter().map(|value| f64::from(value - max).exp()).sum();
            sum.ln() - f64::from(row[label] - max)
        }
    }
}

fn binary(output: f32, target: f32, ending: Ending) -> f64 {
    let (z, t) = (f64::from(output), f64::from(target));
    match ending {
        Ending::Probabilities => {
            // As PyTorch: a logarithm below -100 counts as -100, so that a certain mistake is not infinitely bad.
            let log = |p: f64| p.ln().max(-100.0);
            -(t * log(z) + (1.0 - t) * log(1.0 - z))
        }
        _ => z.max(0.0) - z * t + (-z.abs()).exp().ln_1p(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_loss_from_logits_probabilities_and_logarithms() {
        let logits = [1.5_f32, -0.25, 3.0];
        let sum: f32 = logits.iter().map(|z| z.exp()).sum();
        let shares = logits.map(|z| z.exp() / sum);
        let logs = shares.map(f32::ln);
        for label in 0..3 {
            let plain = cross_entropy(&logits, label, Ending::Plain);
            assert!((plain - cross_entropy(&shares, label, Ending::Probabilities)).abs() < 1e-6);
            assert!((plain - cross_entropy(&logs, label, Ending::LogProbabilities)).abs() < 1e-6);
        }
        for (z, t) in [(2.0_f32, 1.0), (-3.0, 1.0), (0.5, 0.25)] {
            let p = 1.0 / (1.0 + (-z).exp());
            assert!((binary(z, t, Ending::Plain) - binary(p, t, Ending::Probabilities)).abs() < 1e-6);
        }
        assert_eq!(binary(0.0, 1.0, Ending::Probabilities), 100.0);
    }
}

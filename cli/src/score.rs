//! Loss and accuracy from a model's outputs, whatever the model ends with.
//!
//! In double precision, since here nothing has to repeat the bits of the training.

use evenkeel::train::Link;
use evenkeel::{Labels, Level, Loss, Targets};

use crate::error::{Failure, Kind};
use crate::model::{Ending, Model};
use crate::report::Figures;
use crate::rows::Rows;

/// Compares outputs with labels: mean loss and hits, of weighted rows if there are `weights`.
///
/// # Errors
/// [`Kind::Data`] for labels that the model cannot give.
pub fn score(
    model: &Model,
    values: &[f32],
    (rows, weights): (&Rows, Option<&[f32]>),
    loss: Loss,
) -> Result<Figures, Failure> {
    if matches!(loss, Loss::CrossEntropy | Loss::BinaryCrossEntropy | Loss::MeanSquaredError) {
        let each = each_row(model, values, rows, loss)?;
        let weight = |row: usize| weights.map_or(1.0, |weights| f64::from(weights[row]));
        let all = (0..each.len()).map(weight).sum::<f64>().max(f64::MIN_POSITIVE);
        let sum =
            |of: fn(&(f64, f64)) -> f64| each.iter().enumerate().map(|(row, each)| weight(row) * of(each)).sum::<f64>();
        let counts = loss != Loss::MeanSquaredError || matches!(rows.set.labels().unweighted(), Labels::Classes(_));
        let accuracy = counts.then(|| sum(|row| row.1) / all);
        return Ok(Figures { rows: each.len() as u64, loss: sum(|row| row.0) / all, accuracy });
    }
    let values = taken_by(model, values, loss);
    let targets = rows.set.labels().targets().unweighted();
    let score = |values: &[f32], targets| {
        evenkeel::fit::score_outputs(Level::detect(), loss, model.outputs, values, targets)
            .map_err(|error| Failure::new(Kind::Data, format_args!("{}: {error}", rows.name)))
    };
    let Some(weights) = weights else { return Ok(Figures::of(score(&values, targets)?, loss)) };
    let (mut all, mut sum, mut hits) = (0.0, 0.0, 0.0);
    for (row, (values, weight)) in values.chunks(model.outputs).zip(weights).enumerate() {
        let targets = match targets {
            Targets::Classes(labels) => Targets::Classes(&labels[row..=row]),
            Targets::Values(targets) if targets.len() == weights.len() * model.outputs => {
                Targets::Values(&targets[row * model.outputs..][..model.outputs])
            }
            other => other,
        };
        let (one, weight) = (score(values, targets)?, f64::from(*weight));
        (all, sum, hits) = (all + weight, sum + weight * one.loss, hits + weight * one.hits);
    }
    let accuracy = loss.has_accuracy().then(|| hits / all);
    Ok(Figures { rows: weights.len() as u64, loss: sum / all, accuracy })
}

/// Loss and hit of each row, of the losses that are computed here.
fn each_row(model: &Model, values: &[f32], rows: &Rows, loss: Loss) -> Result<Vec<(f64, f64)>, Failure> {
    let (outputs, count) = (model.outputs, rows.set.rows());
    let fails = |message: String| Err(Failure::new(Kind::Data, format_args!("{}: {message}", rows.name)));
    let hit = |hit: bool| f64::from(u8::from(hit));
    Ok(match rows.set.labels().unweighted() {
        Labels::Classes(labels) if outputs == 1 => {
            if let Some(row) = labels.iter().position(|label| *label > 1) {
                return fails(format!(
                    "row {row} (counted from 0) has class {}, the model tells two apart",
                    labels[row]
                ));
            }
            let of = |(z, label): (&f32, &u32)| {
                (binary(*z, *label as f32, model.ending), hit(model.class(&[*z]) == *label as usize))
            };
            values.iter().zip(labels).map(of).collect()
        }
        Labels::Classes(labels) => {
            if let Some(row) = labels.iter().position(|label| *label as usize >= outputs) {
                let label = labels[row];
                return fails(format!("row {row} (counted from 0) has class {label}, the model has {outputs} outputs"));
            }
            let of = |(row, label): (&[f32], &u32)| {
                (cross_entropy(row, *label as usize, model.ending), hit(model.class(row) == *label as usize))
            };
            values.chunks(outputs).zip(labels).map(of).collect()
        }
        Labels::Values(targets) if targets.len() == values.len() => {
            let of = |z: f32, t: f32| match loss {
                Loss::BinaryCrossEntropy => (binary(z, t, model.ending), hit((model.class(&[z]) == 1) == (t > 0.5))),
                _ => (f64::from(z - t).powi(2), 0.0),
            };
            let row = |(z, t): (&[f32], &[f32])| {
                let each = z.iter().zip(t).map(|(z, t)| of(*z, *t));
                let (loss, hits) = each.fold((0.0, 0.0), |(loss, hits), (l, h)| (loss + l, hits + h));
                (loss / outputs as f64, hits / outputs as f64)
            };
            values.chunks(outputs).zip(targets.chunks(outputs)).map(row).collect()
        }
        other => {
            let per_row = if let Labels::Values(targets) = other { targets.len() / count.max(1) } else { 0 };
            return fails(format!(
                "{per_row} target values a row, the model has {outputs} outputs: name them with --target"
            ));
        }
    })
}

/// The outputs turned back into what the library's own kernels take, for the losses that only training has.
fn taken_by(model: &Model, values: &[f32], loss: Loss) -> Vec<f32> {
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
    values
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

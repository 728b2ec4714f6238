//! Losses in `f64`, from their formulae. Their slopes by the outputs are central differences here: what the library
//! derived by hand is not derived again.

use evenkeel::train::{Loss, Mean, Mixed, Targets};

use super::{log_softmax, sigmoid};

/// The loss of a row with one class.
fn of_class(kind: Loss, z: &[f64], class: usize) -> f64 {
    let others = || z.iter().enumerate().filter(|(i, _)| *i != class).map(|(_, z)| *z);
    match kind {
        Loss::CrossEntropy => -log_softmax(z)[class],
        Loss::SmoothedCrossEntropy { smoothing } => {
            let (log, smoothing) = (log_softmax(z), f64::from(smoothing));
            let target = |i: usize| (1.0 - smoothing) * f64::from(i == class) + smoothing / z.len() as f64;
            -log.iter().enumerate().map(|(i, log)| target(i) * log).sum::<f64>()
        }
        Loss::Focal { gamma, alpha } => {
            let log = log_softmax(z)[class];
            -f64::from(alpha) * (1.0 - log.exp()).powf(gamma.into()) * log
        }
        Loss::CategoricalHinge => (1.0 - z[class] + others().fold(0.0, f64::max)).max(0.0),
        Loss::MultiMargin { margin } => {
            others().map(|other| (f64::from(margin) - z[class] + other).max(0.0)).sum::<f64>() / z.len() as f64
        }
        Loss::SquaredMultiMargin { margin } => {
            others().map(|other| (f64::from(margin) - z[class] + other).max(0.0).powi(2)).sum::<f64>() / z.len() as f64
        }
        other => unreachable!("{other} takes no classes"),
    }
}

fn stirling(t: f64) -> f64 {
    if t > 1.0 { t * t.ln() - t + 0.5 * (std::f64::consts::TAU * t).ln() } else { 0.0 }
}

/// The loss of one output.
fn of_output(kind: Loss, z: f64, t: f64) -> Option<f64> {
    let (d, entropy) = (z - t, |t: f64| z.max(0.0) - z * t + libm::log1p(libm::exp(-z.abs())));
    Some(match kind {
        Loss::BinaryCrossEntropy => entropy(t),
        Loss::SmoothedBinaryCrossEntropy { smoothing } => {
            entropy(t * (1.0 - f64::from(smoothing)) + f64::from(smoothing) / 2.0)
        }
        Loss::BinaryFocal { gamma, alpha } => {
            let off = t * sigmoid(-z) + (1.0 - t) * sigmoid(z);
            let weight = alpha.map_or(1.0, |alpha| f64::from(alpha) * t + (1.0 - f64::from(alpha)) * (1.0 - t));
            weight * off.powf(gamma.into()) * entropy(t)
        }
        Loss::MeanSquaredError => d * d,
        Loss::MeanAbsoluteError => d.abs(),
        Loss::Huber { delta } => {
            let delta = f64::from(delta);
            if d.abs() < delta { 0.5 * d * d } else { delta * (d.abs() - 0.5 * delta) }
        }
        Loss::SmoothL1 { beta } => {
            let beta = f64::from(beta);
            if d.abs() < beta { 0.5 * d * d / beta } else { d.abs() - 0.5 * beta }
        }
        Loss::LogCosh => d.cosh().ln(),
        Loss::MeanAbsolutePercentageError => 100.0 * d.abs() / t.abs().max(1e-7),
        Loss::MeanSquaredLogarithmicError => (z.max(1e-7).ln_1p() - t.max(1e-7).ln_1p()).powi(2),
        Loss::Quantile { tau } => (-f64::from(tau) * d).max((1.0 - f64::from(tau)) * d),
        Loss::Poisson => z.exp() - t * z,
        Loss::PoissonFull => z.exp() - t * z + stirling(t),
        Loss::PoissonRate { eps } => z - t * (z + f64::from(eps)).ln(),
        Loss::PoissonRateFull { eps } => z - t * (z + f64::from(eps)).ln() + stirling(t),
        Loss::Hinge => (1.0 - z * if t > 0.0 { 1.0 } else { -1.0 }).max(0.0),
        Loss::SquaredHinge => (1.0 - z * if t > 0.0 { 1.0 } else { -1.0 }).max(0.0).powi(2),
        Loss::SoftMargin => (z * if t > 0.0 { -1.0 } else { 1.0 }).exp().ln_1p(),
        _ => return None,
    })
}

/// The loss of a row with a value for each output.
fn of_values(kind: Loss, z: &[f64], t: &[f64]) -> f64 {
    let terms: Option<Vec<f64>> = z.iter().zip(t).map(|(z, t)| of_output(kind, *z, *t)).collect();
    if let Some(terms) = terms {
        return terms.iter().sum::<f64>() / z.len() as f64;
    }
    let pairs = || z.iter().zip(t);
    match kind {
        Loss::SoftCrossEntropy { smoothing } => {
            let smoothing = f64::from(smoothing);
            let target = |t: f64| (1.0 - smoothing) * t + smoothing / z.len() as f64;
            -log_softmax(z).iter().zip(t).map(|(log, t)| target(*t) * log).sum::<f64>()
        }
        Loss::KlDivergence => {
            log_softmax(z).iter().zip(t).map(|(log, t)| if *t > 0.0 { t * (t.ln() - log) } else { 0.0 }).sum()
        }
        Loss::CosineSimilarity | Loss::CosineEmbedding => {
            let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
            let cosine = pairs().map(|(z, t)| z * t).sum::<f64>() / (dot(z, z) * dot(t, t)).sqrt();
            f64::from(kind == Loss::CosineEmbedding) - cosine
        }
        other => unreachable!("{other} takes classes"),
    }
}

/// The mean loss of rows of `cols` outputs, and its gradient.
pub(crate) fn loss(kind: Loss, outputs: &[f64], targets: Targets<'_>, cols: usize) -> (f64, Vec<f64>) {
    const STEP: f64 = 1e-6;
    let rows = outputs.len() / cols;
    let weights: Vec<f64> = match targets.weights() {
        None => vec![1.0; rows],
        Some((weights, mean)) => {
            let sum: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
            let factor = match mean {
                Mean::Rows => 1.0,
                Mean::Weights => rows as f64 / sum,
                Mean::Scaled(scale) => scale.into(),
            };
            weights.iter().map(|weight| f64::from(*weight) * factor).collect()
        }
    };
    let of_row = |row: usize, z: &[f64]| match targets.unweighted() {
        Targets::Classes(labels) => of_class(kind, z, labels[row] as usize),
        Targets::Mixed(Mixed { classes, others, share }) => {
            f64::from(share) * of_class(kind, z, classes[row] as usize)
                + (1.0 - f64::from(share)) * of_class(kind, z, others[row] as usize)
        }
        Targets::Values(values) => {
            let t: Vec<f64> = values[row * cols..][..cols].iter().map(|t| f64::from(*t)).collect();
            of_values(kind, z, &t)
        }
        Targets::Weighted(_) => unreachable!("without weights"),
    };
    let (mut sum, mut gradient) = (0.0, Vec::new());
    for (row, z) in outputs.chunks_exact(cols).enumerate() {
        let factor = weights[row] / rows as f64;
        sum += factor * of_row(row, z);
        for col in 0..cols {
            let at = |step: f64| {
                let mut moved = z.to_vec();
                moved[col] += step;
                of_row(row, &moved)
            };
            gradient.push(factor * (at(STEP) - at(-STEP)) / (2.0 * STEP));
        }
    }
    (sum, gradient)
}

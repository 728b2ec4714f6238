//! The end of a run: the same figures for people and as JSON.

use std::path::PathBuf;

use evenkeel::export::{Precision, Report};
use evenkeel::train::{Loss, Score};
use serde_json::{Value, json};

use crate::show::{Show, percent};

/// Figures of one data set, in inference mode.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// Rows.
    pub rows: u64,
    /// Mean loss.
    pub loss: f64,
    /// Share predicted right, for classes.
    pub accuracy: Option<f64>,
}

impl Figures {
    /// Of a score.
    #[must_use]
    pub fn of(score: Score, loss: Loss) -> Self {
        let accuracy = loss.has_accuracy().then(|| score.accuracy());
        Self { rows: score.rows, loss: score.mean_loss(), accuracy }
    }

    /// As JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({ "rows": self.rows, "loss": self.loss, "accuracy": self.accuracy })
    }

    /// As text.
    #[must_use]
    pub fn text(&self) -> String {
        match self.accuracy {
            Some(accuracy) => format!("accuracy {:>8}, loss {:.4}  ({} rows)", percent(accuracy), self.loss, self.rows),
            None => format!("loss {:.6}  ({} rows)", self.loss, self.rows),
        }
    }
}

/// What was trained, on what.
#[derive(Clone, Debug)]
pub struct About {
    /// The data.
    pub data: String,
    /// The network as text.
    pub net: String,
    /// Its inputs.
    pub inputs: usize,
    /// Its outputs.
    pub outputs: usize,
    /// Its trained values.
    pub parameters: usize,
    /// The instructions used.
    pub level: &'static str,
    /// The seed.
    pub seed: u64,
    /// The loss.
    pub loss: &'static str,
}

/// All that a run ends with.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What was trained.
    pub about: About,
    /// Training data.
    pub train: Figures,
    /// Validation data.
    pub validation: Option<Figures>,
    /// Test data.
    pub test: Option<Figures>,
    /// Epochs done.
    pub epochs: u32,
    /// The best one, from 1: its weights are those of the model.
    pub best_epoch: Option<u32>,
    /// Whether early stopping ended the run.
    pub stopped_early: bool,
    /// Seconds of training.
    pub seconds: f64,
    /// What folding did.
    pub fold: Report,
    /// The rows on which the image was compared with the network.
    pub probe: String,
    /// Rows with the same class from image and network, and all of them.
    pub same_class: Option<(usize, usize)>,
    /// The folder.
    pub out: PathBuf,
    /// How the image stores weights.
    pub weights: Precision,
}

impl Outcome {
    /// Validation minus training: loss, and accuracy in the same sense (positive is overfitting).
    fn gap(&self) -> Option<(f64, Option<f64>)> {
        let validation = self.validation?;
        let accuracy = self.train.accuracy.zip(validation.accuracy).map(|(train, validation)| train - validation);
        Some((validation.loss - self.train.loss, accuracy))
    }

    /// As JSON; `docs/json.md` explains the fields.
    #[must_use]
    pub fn json(&self) -> Value {
        let gap = self.gap();
        let file = |name: &str| self.out.join(name).display().to_string();
        json!({
            "data": self.about.data,
            "net": self.about.net,
            "inputs": self.about.inputs,
            "outputs": self.about.outputs,
            "parameters": self.about.parameters,
            "level": self.about.level,
            "seed": self.about.seed,
            "loss": self.about.loss,
            "train": self.train.json(),
            "validation": self.validation.map(|figures| figures.json()),
            "test": self.test.map(|figures| figures.json()),
            "gap": gap.map(|(loss, accuracy)| json!({ "loss": loss, "accuracy": accuracy })),
            "epochs": self.epochs,
            "best_epoch": self.best_epoch,
            "stopped_early": self.stopped_early,
            "seconds": self.seconds,
            "fold": fold_json(&self.fold, self.weights),
            "probe": self.probe,
            "same_class": self.same_class.map(|(equal, all)| json!({ "equal": equal, "rows": all })),
            "image": file("model.keel"),
            "curves": file("curves.svg"),
            "out": self.out.display().to_string(),
        })
    }

    /// Tells people.
    pub fn show(&self, show: Show) {
        let how = if self.stopped_early { "stopped early" } else { "ran to the end" };
        let best = self.best_epoch.map_or(String::new(), |best| format!(", weights of epoch {best}"));
        show.line(format_args!("{how} after {} epochs in {:.1} s{best}", self.epochs, self.seconds));
        show.line(format_args!("  training    {}", self.train.text()));
        for (name, figures) in [("validation", &self.validation), ("test", &self.test)] {
            if let Some(figures) = figures {
                show.line(format_args!("  {name:<11} {}", figures.text()));
            }
        }
        if let Some((loss, accuracy)) = self.gap() {
            let points = accuracy.map_or(String::new(), |gap| format!("accuracy {:.2} points, ", 100.0 * gap));
            show.line(format_args!("  gap         {points}loss {loss:.4} (validation against training)"));
        }
        show_fold(show, &self.fold, self.weights);
        if let Some((equal, all)) = self.same_class {
            show.line(format_args!(
                "  same class from image and unfolded network on {equal} of {all} rows of {}",
                self.probe
            ));
        }
        let file = |name: &str| self.out.join(name).display().to_string();
        show.line(format_args!("image   {}", file("model.keel")));
        show.line(format_args!("curves  {}", file("curves.svg")));
        show.line(format_args!("folder  {}: model, checkpoint, history, report and configuration", self.out.display()));
    }
}

/// All layers together.
struct Summary {
    /// Dense layers that took in something.
    folded: usize,
    /// Largest relative error of a weight.
    largest: f64,
    /// Weights that became 0.
    lost: usize,
}

impl Summary {
    fn of(fold: &Report) -> Self {
        Self {
            folded: fold.layers.iter().filter(|layer| layer.folded).count(),
            largest: fold.layers.iter().map(|layer| layer.weights.max_relative).fold(0.0, f64::max),
            lost: fold.layers.iter().map(|layer| layer.weights.zeros).sum(),
        }
    }
}

/// The fold report as JSON.
#[must_use]
pub fn fold_json(fold: &Report, weights: Precision) -> Value {
    let layers: Vec<Value> = fold
        .layers
        .iter()
        .map(|layer| {
            json!({
                "layer": layer.layer, "inputs": layer.inputs, "outputs": layer.outputs, "folded": layer.folded,
                "weights": layer.precision.name(), "max_abs_error": layer.weights.max_abs,
                "max_relative_error": layer.weights.max_relative, "underflows": layer.weights.zeros,
                "subnormals": layer.weights.subnormals,
            })
        })
        .collect();
    let Summary { folded, largest, lost } = Summary::of(fold);
    json!({
        "weights": weights.name(), "layers": layers, "dense_layers": fold.layers.len(), "folded_layers": folded,
        "max_relative_error": largest, "underflows": lost, "bytes_before": fold.bytes_before, "bytes_after": fold.bytes_after,
        "output_deviation": fold.probe.map(|probe| json!({ "max": probe.max, "mean": probe.mean, "scale": probe.scale })),
    })
}

/// The fold report for people.
pub fn show_fold(show: Show, fold: &Report, weights: Precision) {
    let Summary { folded, largest, lost } = Summary::of(fold);
    show.line(format_args!(
        "folded into {folded} of {} dense layers as {}: {} -> {} bytes, largest weight error {largest:.1e} relative, {lost} underflows",
        fold.layers.len(),
        weights.name(),
        fold.bytes_before,
        fold.bytes_after
    ));
    if let Some(probe) = fold.probe {
        show.line(format_args!(
            "  outputs deviate by at most {:.1e}, {:.1e} on average, of a scale of {:.1}",
            probe.max, probe.mean, probe.scale
        ));
    }
}

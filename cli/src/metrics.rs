//! The metrics of `eval`: what is computed of a set, chosen by `--metrics`, as table and as JSON.

use std::str::FromStr;

use evenkeel::metrics::{self, Average, Bin, Confusion, Ranking, Scores, Truth, ranking};
use evenkeel::train::Link;
use evenkeel::{Error, Labels, Loss};
use serde_json::{Value, json};

use crate::rows::Rows;
use crate::show::percent;
use crate::table::{TextTable, figure, weight};

/// Bins of the calibration error, as Guo et al. (2017) have them.
const BINS: usize = 15;
/// Beyond so many classes the tables of classes and the confusion matrix are shown only if they are asked for.
const MOST_CLASSES: usize = 20;

/// What `--metrics` chooses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// Names of [`NAMES`]; `None` for all that suit the data.
    names: Option<Vec<&'static str>>,
    /// The `k` of top-k.
    k: Option<usize>,
}

/// All names but `top-K`.
const NAMES: [&str; 11] =
    ["precision", "recall", "f1", "roc-auc", "pr-auc", "log-loss", "ece", "classes", "confusion", "errors", "r2"];

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.trim() == "all" {
            return Ok(Self::default());
        }
        let mut choice = Self { names: Some(Vec::new()), k: None };
        for word in text.split(',').map(str::trim).filter(|word| *word != "none") {
            let top = word.strip_prefix("top-").and_then(|k| k.parse::<usize>().ok()).filter(|k| *k > 0);
            let name = NAMES.iter().find(|name| **name == word || matches!((word, **name), ("mae" | "rmse", "errors")));
            match (top, name) {
                (Some(k), _) => choice.k = Some(k),
                (None, Some(name)) => choice.names.get_or_insert_default().push(name),
                (None, None) => {
                    let names = "top-K, precision, recall, f1, roc-auc, pr-auc, log-loss, ece, classes, confusion, mae, \
                                 rmse, r2, all and none";
                    return Err(format!("no metric is called \"{word}\"; there are {names}"));
                }
            }
        }
        Ok(choice)
    }
}

impl Choice {
    fn has(&self, name: &str) -> bool {
        self.names.as_ref().is_none_or(|names| names.contains(&name))
    }

    fn named(&self, name: &str) -> bool {
        self.names.as_ref().is_some_and(|names| names.contains(&name))
    }

    /// Whether any is wanted.
    #[must_use]
    pub fn any(&self) -> bool {
        self.k.is_some() || self.names.as_ref().is_none_or(|names| !names.is_empty())
    }
}

/// The metrics of a set.
#[derive(Clone, Debug)]
pub enum Measured {
    /// Of classes.
    Classes(Box<Classes>),
    /// Of quantities.
    Quantities(metrics::Quantities),
    /// Several targets of 0 to 1 a row: there is loss and accuracy only.
    Nothing,
}

/// The metrics of classes.
#[derive(Clone, Debug)]
pub struct Classes {
    /// Their names.
    pub names: Vec<String>,
    /// `[truth][predicted]`: rows, or their weights.
    pub counts: Vec<f64>,
    /// Macro, weighted, micro.
    averages: [Scores; 3],
    each: Vec<(Scores, Ranking)>,
    /// Of two classes the second's, of more the macro and weighted averages.
    roc_auc: [Option<f64>; 2],
    average_precision: [f64; 2],
    /// Of probabilities; margins have none.
    log_loss: Option<f64>,
    calibration: Option<metrics::Calibration>,
    top: Option<(usize, f64)>,
}

/// Compares a model's outputs with the labels, each row with its weight if there are `weights`. `values` are what `loss` makes of the outputs:
/// probabilities, margins or quantities; `predicted` is the class of each row.
///
/// # Errors
/// For outputs that are not finite, and labels that the model cannot give.
pub fn measure(
    values: &[f32],
    predicted: &[u32],
    (rows, weights): (&Rows, Option<&[f32]>),
    loss: Loss,
    names: &[String],
    choice: &Choice,
) -> Result<Measured, Error> {
    let count = rows.set.rows();
    let outputs = values.len() / count.max(1);
    let labels = match rows.set.labels().unweighted() {
        Labels::Classes(labels) => labels.clone(),
        Labels::Values(targets) if !loss.has_accuracy() => {
            return Ok(Measured::Quantities(metrics::quantities(values, truth(targets, weights), outputs)?));
        }
        Labels::Values(targets)
            if outputs == 1 && matches!(loss, Loss::Hinge | Loss::SquaredHinge | Loss::SoftMargin) =>
        {
            targets.iter().map(|target| u32::from(*target > 0.0)).collect()
        }
        Labels::Values(targets) if outputs == 1 && targets.iter().all(|target| [0.0, 1.0].contains(target)) => {
            targets.iter().map(|target| u32::from(*target == 1.0)).collect()
        }
        _ => return Ok(Measured::Nothing),
    };
    let classes = outputs.max(2);
    let labels = truth(&labels, weights);
    let mut counts = vec![0.0; classes * classes];
    let mut confusion = Confusion::new(classes, &mut counts)?;
    confusion.add_all(labels, predicted)?;
    let averages = [Average::Macro, Average::Weighted, Average::Micro].map(|average| confusion.average(average, 0.0));
    let scores: Vec<Scores> = (0..classes).map(|class| confusion.class(class, 0.0)).collect();
    let mut order = vec![0; count];
    let probable = loss.link() != Link::None;
    // One output speaks for class 1; for class 0 what is left, or the other side of the margin.
    let other = |value: f32| if probable { 1.0 - value } else { -value };
    let wide: Vec<f32> =
        if outputs == 1 { values.iter().flat_map(|value| [other(*value), *value]).collect() } else { values.to_vec() };
    let rankings: Result<Vec<Ranking>, Error> = (0..classes)
        .map(|class| match (outputs, class) {
            (1, 1) => ranking::binary(values, labels, &mut order),
            _ => ranking::one_vs_rest(&wide, classes, labels, class, &mut order),
        })
        .collect();
    let rankings = rankings?;
    let (roc_auc, average_precision) = if classes == 2 {
        ([rankings[1].roc_auc; 2], [rankings[1].average_precision; 2])
    } else {
        let mean = |average| ranking::averaged(&wide, classes, labels, average, &mut vec![0; count]);
        let (plain, weighted) = (mean(Average::Macro)?, mean(Average::Weighted)?);
        ([plain.roc_auc, weighted.roc_auc], [plain.average_precision, weighted.average_precision])
    };
    let k = choice.k.or((choice.names.is_none() && classes > 2).then(|| 5.min(classes - 1)));
    let top = k.map(|k| Ok::<_, Error>((k, metrics::top_k(&wide, classes, labels, k)?))).transpose()?;
    let named = |class: usize| names.get(class).cloned().unwrap_or_else(|| class.to_string());
    Ok(Measured::Classes(Box::new(Classes {
        names: (0..classes).map(named).collect(),
        averages,
        each: scores.into_iter().zip(rankings).collect(),
        roc_auc,
        average_precision,
        log_loss: probable.then(|| metrics::log_loss(values, outputs, labels)).transpose()?,
        calibration: probable
            .then(|| metrics::calibration(values, outputs, labels, &mut [Bin::default(); BINS]))
            .transpose()?,
        top,
        counts,
    })))
}

fn truth<'a, T>(values: &'a [T], weights: Option<&'a [f32]>) -> Truth<'a, T> {
    weights.map_or_else(|| values.into(), |weights| Truth::weighted(values, weights))
}

/// A number of rows, or their weight, as JSON: whole numbers as such.
fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value < 9e15 { (value as u64).into() } else { value.into() }
}

impl Measured {
    /// The chosen ones for people; empty if there are none. Unless `full`, tables of classes only if they are named.
    #[must_use]
    pub fn text(&self, choice: &Choice, full: bool) -> String {
        match self {
            Measured::Classes(classes) => classes.text(choice, full),
            Measured::Quantities(of) => {
                let mut table = TextTable::new(["", ""], 1);
                if choice.has("errors") {
                    table.row(["mean absolute error (MAE)".into(), figure(Some(of.mae))]);
                    table.row(["root of the mean squared error (RMSE)".into(), figure(Some(of.rmse))]);
                }
                if choice.has("r2") {
                    table.row(["share of the variance explained (R²)".into(), figure(of.r2)]);
                }
                table.text("  ").trim_start_matches('\n').trim_end().into()
            }
            Measured::Nothing => String::new(),
        }
    }

    /// The chosen ones as JSON; the others are null.
    #[must_use]
    pub fn json(&self, choice: &Choice) -> Value {
        let mut all = json!({
            "precision": null, "recall": null, "f1": null, "roc_auc": null, "average_precision": null, "log_loss": null,
            "calibration_error": null, "top_k": null, "classes": null, "confusion": null, "mae": null, "rmse": null,
            "r2": null,
        });
        match self {
            Measured::Classes(classes) => classes.fill(choice, &mut all),
            Measured::Quantities(of) => {
                if choice.has("errors") {
                    (all["mae"], all["rmse"]) = (of.mae.into(), of.rmse.into());
                }
                if choice.has("r2") {
                    all["r2"] = of.r2.into();
                }
            }
            Measured::Nothing => {}
        }
        all
    }
}

impl Classes {
    fn text(&self, choice: &Choice, full: bool) -> String {
        let mut blocks = Vec::new();
        let two = self.names.len() == 2;
        let mut table = TextTable::new(["", "macro", "weighted", "micro"], 1);
        let of: [(&str, &str, fn(&Scores) -> f64); 3] =
            [("precision", "precision", |s| s.precision), ("recall", "recall", |s| s.recall), ("f1", "F1", |s| s.f1)];
        let mut any = false;
        for (_, title, value) in of.into_iter().filter(|(name, ..)| choice.has(name)) {
            any = true;
            let figures = self.averages.iter().map(|scores| figure(Some(value(scores))));
            table.row([title.to_owned()].into_iter().chain(figures));
        }
        let areas =
            [("roc-auc", "ROC AUC", self.roc_auc), ("pr-auc", "average precision", self.average_precision.map(Some))];
        for (_, title, values) in areas.into_iter().filter(|(name, ..)| !two && choice.has(name)) {
            any = true;
            table.row([title.to_owned(), figure(values[0]), figure(values[1])]);
        }
        if any {
            blocks.push(table.text("  "));
        }
        let mut lines = TextTable::new(["", ""], 1);
        if let Some((k, share)) = self.top {
            lines.row([format!("among the {k} likeliest classes"), percent(share)]);
        }
        for (_, title, values) in areas.into_iter().filter(|(name, ..)| two && choice.has(name)) {
            lines.row([format!("{title} of {}", self.names[1]), figure(values[0])]);
        }
        if let Some(log_loss) = self.log_loss.filter(|_| choice.has("log-loss")) {
            lines.row(["log loss".into(), figure(Some(log_loss))]);
        }
        if let Some(calibration) = self.calibration.filter(|_| choice.has("ece")) {
            lines.row([format!("calibration error, {BINS} bins"), figure(Some(calibration.expected))]);
        }
        blocks.push(lines.text("  ").trim_start_matches('\n').trim_end().to_owned());
        let few = full && self.names.len() <= MOST_CLASSES;
        if choice.named("classes") || choice.has("classes") && few {
            blocks.push(self.class_table());
        }
        if choice.named("confusion") || choice.has("confusion") && few {
            blocks.push(self.confusion_table());
        }
        blocks.retain(|block| !block.is_empty());
        blocks.join("\n")
    }

    fn class_table(&self) -> String {
        let mut table =
            TextTable::new(["class", "precision", "recall", "F1", "ROC AUC", "average precision", "rows"], 1);
        for (name, (scores, ranking)) in self.names.iter().zip(&self.each) {
            let figures = [
                Some(scores.precision),
                Some(scores.recall),
                Some(scores.f1),
                ranking.roc_auc,
                Some(ranking.average_precision),
            ];
            let figures = figures.map(figure);
            table.row([name.clone()].into_iter().chain(figures).chain([weight(scores.support)]));
        }
        table.text("  ")
    }

    fn confusion_table(&self) -> String {
        let head = ["confusion".to_owned()].into_iter().chain(self.names.iter().cloned());
        let mut table = TextTable::new(head, 1);
        for (name, counts) in self.names.iter().zip(self.counts.chunks(self.names.len())) {
            table.row([name.clone()].into_iter().chain(counts.iter().copied().map(weight)));
        }
        format!("{}\n  (rows: what they are, columns: what they were taken for)", table.text("  "))
    }

    fn fill(&self, choice: &Choice, all: &mut Value) {
        let three = |value: fn(&Scores) -> f64| {
            let [a, b, c] = self.averages.each_ref().map(value);
            json!({ "macro": a, "weighted": b, "micro": c })
        };
        let two = |values: [Option<f64>; 2]| json!({ "macro": values[0], "weighted": values[1] });
        let mut put = |name: &str, key: &str, value: Value| {
            if choice.has(name) {
                all[key] = value;
            }
        };
        put("precision", "precision", three(|scores| scores.precision));
        put("recall", "recall", three(|scores| scores.recall));
        put("f1", "f1", three(|scores| scores.f1));
        put("roc-auc", "roc_auc", two(self.roc_auc));
        put("pr-auc", "average_precision", two(self.average_precision.map(Some)));
        put("log-loss", "log_loss", self.log_loss.into());
        let error = self.calibration.map(|c| json!({ "expected": c.expected, "largest": c.largest, "bins": BINS }));
        put("ece", "calibration_error", error.into());
        let each = self.names.iter().zip(&self.each).map(|(name, (scores, ranking))| {
            json!({
                "class": name, "precision": scores.precision, "recall": scores.recall, "f1": scores.f1,
                "rows": number(scores.support), "roc_auc": ranking.roc_auc, "average_precision": ranking.average_precision,
            })
        });
        put("classes", "classes", each.collect());
        let row = |counts: &[f64]| counts.iter().copied().map(number).collect::<Vec<_>>();
        let matrix: Vec<_> = self.counts.chunks(self.names.len()).map(row).collect();
        put("confusion", "confusion", json!(matrix));
        if let Some((k, share)) = self.top {
            all["top_k"] = json!({ "k": k, "accuracy": share });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_read() {
        let choice: Choice = "f1, top-3,mae".parse().unwrap();
        assert!(choice.has("f1") && choice.has("errors") && !choice.has("recall") && choice.k == Some(3));
        assert!(!"none".parse::<Choice>().unwrap().any() && "all".parse::<Choice>().unwrap().has("r2"));
        for wrong in ["top-0", "auc", "f1,,recall", "top-"] {
            assert!(wrong.parse::<Choice>().unwrap_err().contains("there are top-K"), "{wrong}");
        }
    }
}

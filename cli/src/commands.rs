//! `eval`, `predict`, `export` and `inspect`.

use std::path::{Path, PathBuf};

use evenkeel::export::Precision;
use evenkeel::host::pool::Pool;
use evenkeel::image::{Image, Weights};
use evenkeel::infer::Net;
use evenkeel::train::loss::best;
use evenkeel::{Level, kernels, text};
use serde_json::{Value, json};

use crate::atomic::write_atomically;
use crate::data::{Predictions, Target, npy_f32, npy_u32};
use crate::error::{Failure, Kind};
use crate::model::{self, Model, Note};
use crate::options::TrainOptions;
use crate::report::{fold_json, show_fold};
use crate::rows;
use crate::show::{Show, percent};

/// What all commands on a model share.
#[derive(Debug)]
pub struct Context<'a> {
    /// Threads.
    pub pool: &'a Pool,
    /// Instructions.
    pub level: Level,
    /// What is said.
    pub show: Show,
}

/// A model and the rows it is run on.
#[derive(Debug)]
pub struct Source<'a> {
    /// Folder, image or checkpoint.
    pub model: &'a Path,
    /// The network of a foreign checkpoint.
    pub net: Option<&'a str>,
    /// Data, labels, target, filter.
    pub data: &'a TrainOptions,
    /// Rows at a time.
    pub batch: usize,
}

/// `eval`: loss and accuracy on labelled data.
///
/// # Errors
/// For files that cannot be read or do not fit together.
pub fn eval(context: &Context<'_>, source: &Source<'_>) -> Result<(), Failure> {
    let (model, path) = model::read(source.model, source.net, None)?;
    let (classes, note) = model.texts()?;
    let (table, name) = rows::read_for_model(source.data, &note.features, &classes, true)?;
    let (_, outputs) = check_width(&model, &path, table.cols, &name)?;
    let values = context.pool.enter(|| model.outputs(context.level, context.pool, &table.inputs, source.batch))?;
    let (loss, accuracy) = match &table.target {
        Some(Target::Classes { labels, .. }) if outputs > 1 => {
            let hits = values.chunks(outputs).zip(labels).filter(|(row, label)| best(row) == **label as usize).count();
            if let Some(row) = labels.iter().position(|label| *label as usize >= outputs) {
                let message = format!("{name}: row {row} has class {}, the model has {outputs} outputs", labels[row]);
                return Err(Failure::new(Kind::Data, message));
            }
            let loss = values.chunks(outputs).zip(labels).map(|(row, label)| cross_entropy(row, *label as usize)).sum();
            (Some(mean(loss, table.rows)), Some(hits as f64 / table.rows as f64))
        }
        Some(Target::Classes { labels, .. }) => {
            let hits = values.iter().zip(labels).filter(|(z, label)| (**z > 0.0) == (**label > 0)).count();
            (None, Some(hits as f64 / table.rows as f64))
        }
        Some(Target::Values { values: targets, cols, .. }) if *cols == outputs => {
            let squares = values.iter().zip(targets).map(|(y, t)| f64::from(y - t).powi(2)).sum();
            (Some(mean(squares, table.rows * outputs)), None)
        }
        Some(Target::Values { cols, .. }) => {
            let message = format!("{name} has {cols} target values a row, the model has {outputs} outputs");
            return Err(Failure::new(Kind::Data, message));
        }
        None => return Err(Failure::new(Kind::Usage, format_args!("{name} has no labels: name them with --labels"))),
    };
    let shown = accuracy.map_or(String::new(), |accuracy| format!("accuracy {}", percent(accuracy)));
    let loss_shown =
        loss.map_or(String::new(), |loss| format!("{}loss {loss:.5}", if shown.is_empty() { "" } else { ", " }));
    context.show.line(format_args!("{shown}{loss_shown}  ({} rows of {name})", table.rows));
    context.show.event(
        "eval",
        json!({ "model": path.display().to_string(), "data": name, "rows": table.rows, "accuracy": accuracy, "loss": loss }),
    );
    Ok(())
}

fn mean(sum: f64, count: usize) -> f64 {
    sum / count.max(1) as f64
}

/// Cross-entropy of a row of logits.
fn cross_entropy(row: &[f32], label: usize) -> f64 {
    let max = row.iter().fold(f32::NEG_INFINITY, |max, value| max.max(*value));
    let sum: f64 = row.iter().map(|value| f64::from(value - max).exp()).sum();
    sum.ln() - f64::from(row[label] - max)
}

fn check_width(model: &Model, path: &Path, cols: usize, name: &str) -> Result<(usize, usize), Failure> {
    let (inputs, outputs) = model.shape()?;
    if cols != inputs {
        let message = format!("the model takes {inputs} inputs, {name} has {cols}: leave columns out with --ignore");
        return Err(Failure::at(Kind::Data, path, message));
    }
    Ok((inputs, outputs))
}

/// What `predict` writes.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// CSV or NPY, by the name's end; `None` prints CSV.
    pub out: Option<&'a Path>,
    /// Softmax (sigmoid for one output) of the outputs.
    pub probabilities: bool,
    /// The class of each row.
    pub classes: bool,
}

/// `predict`: outputs for rows of data.
///
/// # Errors
/// For files that cannot be read, written, or do not fit together.
pub fn predict(context: &Context<'_>, source: &Source<'_>, wanted: Wanted<'_>) -> Result<(), Failure> {
    let (model, path) = model::read(source.model, source.net, None)?;
    let (classes, note) = model.texts()?;
    // The target column, if the file has one, is no input; a file without one is as welcome.
    let (table, name) = match rows::read_for_model(source.data, &note.features, &classes, false) {
        Ok(read) if read.0.cols == model.shape()?.0 => read,
        _ => rows::read_for_model(source.data, &note.features, &classes, true)?,
    };
    let (_, outputs) = check_width(&model, &path, table.cols, &name)?;
    let mut values = context.pool.enter(|| model.outputs(context.level, context.pool, &table.inputs, source.batch))?;
    let ids: Vec<u32> = values
        .chunks(outputs)
        .map(|row| if outputs == 1 { u32::from(row[0] > 0.0) } else { best(row) as u32 })
        .collect();
    if wanted.probabilities {
        probabilities(context.level, outputs, &mut values)?;
    }
    let names: Vec<String> = match classes.len() == outputs && wanted.probabilities {
        true => classes.iter().map(|name| format!("p({name})")).collect(),
        false => (0..outputs).map(|output| format!("output_{output}")).collect(),
    };
    let class_names = if classes.is_empty() { Vec::new() } else { classes };
    let only_classes = wanted.classes && !wanted.probabilities;
    let is_npy = wanted.out.is_some_and(|out| out.extension().is_some_and(|end| end.eq_ignore_ascii_case("npy")));
    let bytes = match (is_npy, only_classes) {
        (true, true) => npy_u32(&ids),
        (true, false) => npy_f32(&values, outputs),
        (false, _) => Predictions {
            names: if only_classes { &[] } else { &names },
            values: if only_classes { &[] } else { &values },
            classes: wanted.classes.then_some((&ids[..], &class_names[..])),
        }
        .to_csv(),
    };
    let Some(out) = wanted.out else {
        context.show.line(String::from_utf8_lossy(&bytes).trim_end());
        return Ok(());
    };
    write_atomically(out, &bytes)?;
    context.show.line(format_args!("{} rows of {name} -> {}", table.rows, out.display()));
    context.show.event("predict", json!({ "rows": table.rows, "outputs": outputs, "out": out.display().to_string() }));
    Ok(())
}

/// Softmax of each row, or sigmoid of a single output, by the library's own kernels.
fn probabilities(level: Level, outputs: usize, values: &mut [f32]) -> Result<(), Failure> {
    let width = evenkeel::layer::padded(outputs);
    for row in values.chunks_mut(outputs) {
        let mut wide = vec![0.0; width];
        wide[..outputs].copy_from_slice(row);
        if outputs == 1 {
            let serial = evenkeel::Serial;
            kernels::activation::forward(level, &serial, evenkeel::Activation::Sigmoid, &mut wide);
        } else {
            kernels::softmax::softmax(level, outputs, &mut wide)?;
        }
        row.copy_from_slice(&wide[..outputs]);
    }
    Ok(())
}

/// `export`: a checkpoint becomes an image.
///
/// # Errors
/// For files that cannot be read or written, and networks that cannot be folded.
pub fn export(
    context: &Context<'_>,
    source: &Source<'_>,
    inputs: Option<usize>,
    weights: Precision,
    out: Option<&Path>,
) -> Result<(), Failure> {
    let path = match source.model.is_dir() {
        true => source.model.join("model.safetensors"),
        false => source.model.to_path_buf(),
    };
    let bytes = model::bytes(&path)?;
    if bytes.starts_with(b"KEEL") {
        let message = "is an image already; export starts from model.safetensors";
        return Err(Failure::at(Kind::Usage, &path, message));
    }
    let net = model::network(&path, &bytes, source.net, inputs)?;
    // Names of the inputs travel in the image of the same run.
    let features = std::fs::read(path.with_file_name("model.keel"))
        .ok()
        .map(|bytes| evenkeel::image::AlignedBytes::from(&bytes[..]))
        .and_then(|image| Image::new(&image).ok().map(|image| Note::of(&image)))
        .unwrap_or_default();
    let note = Note { net: text::print(net.layers()), ..features };
    let probe = match &source.data.data {
        None => None,
        Some(_) => {
            let (table, name) = rows::read_for_model(source.data, &note.features, &net.classes, true)?;
            check_width(&Model::Network(Box::new(net.clone())), &path, table.cols, &name)?;
            Some(table.inputs)
        }
    };
    let (image, report) = model::fold(&net, weights, &note, probe.as_deref(), context.level, context.pool)?;
    let out = out.map_or_else(|| path.with_file_name(format!("model-{}.keel", weights.name())), Path::to_path_buf);
    write_atomically(&out, &image)?;
    show_fold(context.show, &report, weights);
    context.show.line(format_args!("image   {}", out.display()));
    let mut fields = fold_json(&report, weights);
    if let Some(fields) = fields.as_object_mut() {
        fields.insert("out".into(), out.display().to_string().into());
    }
    context.show.event("export", fields);
    Ok(())
}

/// `inspect`: what is in a file.
///
/// # Errors
/// For a file that cannot be read.
pub fn inspect(show: Show, path: &Path) -> Result<(), Failure> {
    let (model, path): (Model, PathBuf) = model::read(path, None, None)?;
    match &model {
        Model::Image(bytes) => inspect_image(show, &path, bytes),
        Model::Network(net) => {
            let layers: Vec<Value> = net
                .network()
                .nodes()
                .map(|node| json!({ "layer": node.index, "kind": node.layer.name(), "inputs": node.inputs, "outputs": node.outputs }))
                .collect();
            show.line(format_args!("{}: {}", path.display(), text::print(net.layers())));
            show.line(format_args!(
                "{} inputs, {} outputs, {} parameters, inputs {}standardised, {} class names",
                net.network().inputs(),
                net.network().outputs(),
                net.parameters(),
                if net.standardize.is_some() { "" } else { "not " },
                net.classes.len()
            ));
            show.event(
                "inspect",
                json!({
                    "file": path.display().to_string(), "net": text::print(net.layers()), "layers": layers,
                    "parameters": net.parameters(), "classes": net.classes, "standardised": net.standardize.is_some(),
                }),
            );
            Ok(())
        }
    }
}

fn inspect_image(show: Show, path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let image = Image::new(bytes).map_err(|error| Failure::at(Kind::Model, path, error))?;
    let scratch = Net::new(image).scratch_len(1);
    show.line(format_args!(
        "{}: {} bytes, {} inputs, {} outputs, scratch {} values a row ({} bytes)",
        path.display(),
        bytes.len(),
        image.inputs(),
        image.outputs(),
        scratch,
        4 * scratch
    ));
    let note = Note::of(&image);
    if !note.net.is_empty() {
        show.line(format_args!("trained as {}", note.net));
    }
    let mut ops = Vec::new();
    for (index, op) in image.ops().enumerate() {
        let (text, value) = describe(&op);
        show.line(format_args!("  {index:>2}  {text}"));
        ops.push(value);
    }
    let classes: Vec<&str> = image.class_names().collect();
    if !classes.is_empty() {
        show.line(format_args!("classes {}", classes.join(", ")));
    }
    show.event(
        "inspect",
        json!({
            "file": path.display().to_string(), "bytes": bytes.len(), "inputs": image.inputs(), "outputs": image.outputs(),
            "scratch_values": scratch, "standardised": image.is_standardised(), "ops": ops, "classes": classes,
            "net": note.net, "features": note.features,
        }),
    );
    Ok(())
}

fn describe(op: &evenkeel::image::Op<'_>) -> (String, Value) {
    use evenkeel::image::Op;
    match op {
        Op::Dense { inputs, outputs, weights, bias, activation } => {
            let (kind, bytes) = match weights {
                Weights::F32(weights) => ("f32", 4 * weights.len()),
                Weights::F16(weights) => ("f16", 2 * weights.len()),
            };
            let then = activation.map_or("none", |activation| activation.name());
            let text = format!("dense {inputs} -> {outputs}, {kind} ({bytes} bytes), activation {then}");
            let value = json!({
                "kind": "dense", "inputs": inputs, "outputs": outputs, "weights": kind, "bytes": bytes,
                "bias": bias.is_some(), "activation": then,
            });
            (text, value)
        }
        Op::ScaleShift { features, .. } => named("scale_shift", *features),
        Op::Activation { features, activation } => named(activation.name(), *features),
        Op::Softmax { features } => named("softmax", *features),
        Op::LogSoftmax { features } => named("log_softmax", *features),
        _ => named("unknown", 0),
    }
}

fn named(kind: &str, features: usize) -> (String, Value) {
    (format!("{kind} of {features}"), json!({ "kind": kind, "features": features }))
}

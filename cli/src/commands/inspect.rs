//! `inspect`: what is in a file.

use std::path::Path;

use evenkeel::image::{Image, Op, Weights};
use evenkeel::interchange::{self, InterchangeError, TensorInfo, resume};
use evenkeel::{Mlp, Net, text};
use serde_json::{Value, json};

use crate::error::{Failure, Kind};
use crate::model::{self, Note, Stored};
use crate::show::Show;

/// Shows what is in an image or a checkpoint.
///
/// # Errors
/// For a file that cannot be read.
pub fn inspect(show: Show, path: &Path) -> Result<(), Failure> {
    let path = model::file_of(path, "model.keel")?;
    let bytes = model::bytes(&path)?;
    let fails = |error: InterchangeError| Failure::at(Kind::Model, &path, error);
    if !bytes.starts_with(b"KEEL") {
        model::check_is_checkpoint(&path, &bytes)?;
        return match resume::read(&bytes) {
            Ok(resume::Saved::Network(net)) => inspect_network(show, &path, &bytes, &net, None),
            Ok(resume::Saved::Run(run)) => inspect_network(show, &path, &bytes, &run.model, Some(&run)),
            Err(InterchangeError::NoNetwork) => {
                inspect_tensors(show, &path, &interchange::tensors(&bytes).map_err(fails)?);
                Ok(())
            }
            Err(error) => Err(fails(error)),
        };
    }
    match model::read(&path, None)?.kind {
        Stored::Image(bytes) => inspect_image(show, &path, &bytes),
        Stored::Network(_) => Ok(()),
    }
}

fn inspect_network(
    show: Show,
    path: &Path,
    bytes: &[u8],
    net: &Mlp,
    run: Option<&resume::Resume>,
) -> Result<(), Failure> {
    let note = interchange::note(bytes).map_err(|error| Failure::at(Kind::Model, path, error))?;
    let note = Note::read(&note).for_network(net);
    let layers: Vec<Value> = net
        .network()
        .nodes()
        .map(|node| {
            json!({
                "layer": node.index, "kind": node.layer.name(), "inputs": node.inputs, "outputs": node.outputs,
            })
        })
        .collect();
    let (inputs, outputs) = (net.network().inputs(), net.network().outputs());
    show.line(format_args!("{}: {}", path.display(), text::print(net.layers())));
    show.line(format_args!(
        "{inputs} inputs, {outputs} outputs, {} parameters, inputs {}standardised",
        net.parameters(),
        if net.standardize.is_some() { "" } else { "not " },
    ));
    if !net.classes.is_empty() {
        show.line(format_args!("classes {}", net.classes.join(", ")));
    }
    let progress = run.map(|run| (run.progress(), run.has_stopped()));
    if let Some((progress, stopped)) = progress {
        let (epoch, batch, step) = (progress.epoch, progress.batch, progress.step);
        let how = if stopped { "stopped early" } else { "can go on" };
        show.line(format_args!("a run after {epoch} epochs and {batch} batches ({step} steps), {how}"));
    }
    show.event(
        "inspect",
        json!({
            "file": path.display().to_string(), "net": note.net, "inputs": inputs, "outputs": outputs, "layers": layers,
            "parameters": net.parameters(), "classes": net.classes, "standardised": net.standardize.is_some(),
            "features": note.features, "encoding": note.encoding, "loss": note.loss,
            "run": progress.map(|(progress, stopped)| json!({
                "epochs": progress.epoch, "batches": progress.batch, "steps": progress.step, "stopped_early": stopped,
            })),
        }),
    );
    Ok(())
}

/// A file of another program says names and shapes, not what network they belong to.
fn inspect_tensors(show: Show, path: &Path, tensors: &[TensorInfo]) {
    show.line(format_args!("{}: {} tensors, the network is not said", path.display(), tensors.len()));
    for TensorInfo { name, shape, dtype } in tensors {
        show.line(format_args!("  {}  {dtype} {shape:?}", name.escape_debug()));
    }
    let list = |tensor: &TensorInfo| json!({ "name": tensor.name, "shape": tensor.shape, "dtype": tensor.dtype });
    let tensors: Vec<Value> = tensors.iter().map(list).collect();
    show.event("inspect", json!({ "file": path.display().to_string(), "net": null, "tensors": tensors }));
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
    let note = Note::read(image.note());
    if !note.net.is_empty() {
        show.line(format_args!("trained as {}", note.net));
    }
    for (column, categories) in &note.encoding.categories {
        show.line(format_args!("categories of {column}: {}", categories.join(", ")));
    }
    if !note.encoding.fill.is_empty() {
        show.line(format_args!("missing inputs: {}", note.encoding.missing));
    }
    let mut ops = Vec::new();
    for (index, op) in image.ops().enumerate() {
        let (text, value) = describe(&op);
        show.line(format_args!("  {index:>2}  {text}"));
        ops.push(value);
    }
    let named: Vec<&str> = image.class_names().collect();
    let classes = if named.is_empty() { note.pair.iter().map(String::as_str).collect() } else { named };
    if !classes.is_empty() {
        show.line(format_args!("classes {}", classes.join(", ")));
    }
    show.event(
        "inspect",
        json!({
            "file": path.display().to_string(), "bytes": bytes.len(), "inputs": image.inputs(), "outputs": image.outputs(),
            "scratch_values": scratch, "standardised": image.is_standardised(), "ops": ops, "classes": classes,
            "net": note.net, "features": note.features, "encoding": note.encoding, "loss": note.loss,
        }),
    );
    Ok(())
}

fn describe(op: &Op<'_>) -> (String, Value) {
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
        Op::LayerNorm { features, .. } => named("layer_norm", *features),
        Op::Softmax { features } => named("softmax", *features),
        Op::LogSoftmax { features } => named("log_softmax", *features),
        _ => named("unknown", 0),
    }
}

fn named(kind: &str, features: usize) -> (String, Value) {
    (format!("{kind} of {features}"), json!({ "kind": kind, "features": features }))
}

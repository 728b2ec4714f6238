//! `recalibrate`: running statistics of batch norms estimated anew.

use std::path::Path;

use evenkeel::interchange::state_dict;
use serde_json::json;

use super::{Context, Source};
use crate::atomic::write_atomically;
use crate::error::{Failure, Kind};
use crate::model;
use crate::rows::{self, Names};

/// `recalibrate`: estimates the running statistics of a checkpoint's batch norms anew on rows of data, and writes the network to
/// `out`; the file that was read stays as it is.
///
/// # Errors
/// For files that cannot be read or written, a network without batch norms, and rows that do not fit it.
pub fn recalibrate(context: &Context<'_>, source: &Source<'_>, out: Option<&Path>) -> Result<(), Failure> {
    let path = model::file_of(source.model, "model.safetensors")?;
    let bytes = model::bytes(&path)?;
    let refuse = |message: &str| Err(Failure::at(Kind::Usage, &path, message));
    if bytes.starts_with(b"KEEL") {
        return refuse("is an image, its batch norms are folded away: name the run's folder or its model.safetensors");
    }
    let (mut net, note) = model::network(&path, &bytes, source.net, None)?;
    if !net.network().has_batch_norm() {
        return refuse("has no batch norm whose running statistics could be estimated");
    }
    let (inputs, encoding) = (net.network().inputs(), Some(&note.encoding));
    let names = Names { features: &note.features, classes: &net.classes, inputs, encoding };
    let (table, name) = rows::read_inputs(source.data, names, inputs)?;
    let inputs = table.any_inputs()?;
    let (rows, batch) = (table.rows, source.batch.min(table.rows));
    context
        .pool
        .enter(|| net.recalibrate_any(context.level, context.pool, inputs, batch))
        .map_err(|error| Failure::new(Kind::Data, format_args!("{name}, batches of {batch} rows: {error}")))?;
    let out = match out {
        Some(out) => out.to_path_buf(),
        None => path.with_file_name("model-recalibrated.safetensors"),
    };
    let bytes = state_dict::to_bytes_with(&net, &note.json()?).map_err(|error| Failure::new(Kind::Write, error))?;
    write_atomically(&out, &bytes)?;
    context.show.line(format_args!(
        "statistics of {rows} rows of {name}, averaged over batches of {batch} -> {}",
        out.display()
    ));
    context
        .show
        .event("recalibrate", json!({ "rows": rows, "batch": batch, "data": name, "out": out.display().to_string() }));
    Ok(())
}

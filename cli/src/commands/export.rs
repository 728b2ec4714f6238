//! `export`: a checkpoint becomes an image; an image becomes a file, a Rust module, or C.

use std::path::{Path, PathBuf};

use evenkeel::export::Precision;
use evenkeel::image::AlignedBytes;
use evenkeel::{Image, Net};
use serde_json::{Value, json};

use super::{Context, Source};
use crate::atomic::write_atomically;
use crate::error::{Failure, Kind};
use crate::model::{self, Model};
use crate::options::FormatName;
use crate::report::{fold_json, show_fold};
use crate::rows::{self, Names};

mod c;
mod describe;
mod rust;

use describe::Described;

/// What `export` is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Export<'a> {
    /// Inputs of a checkpoint that another program wrote.
    pub inputs: Option<usize>,
    /// How weights are stored; those of an image stay as they are.
    pub weights: Option<Precision>,
    /// What is written.
    pub format: FormatName,
    /// Where.
    pub out: Option<&'a Path>,
}

/// `export`: folds a checkpoint, and writes the image in the format asked for.
///
/// # Errors
/// For files that cannot be read or written, and networks that cannot be folded.
pub fn export(context: &Context<'_>, source: &Source<'_>, wanted: Export<'_>) -> Result<(), Failure> {
    let path = model::file_of(source.model, "model.safetensors")?;
    let bytes = model::bytes(&path)?;
    let is_image = bytes.starts_with(b"KEEL");
    let weights = wanted.weights.unwrap_or(Precision::F32);
    let (image, report) = if is_image {
        refuse_for_image(&path, source, wanted)?;
        (AlignedBytes::from(&bytes[..]), None)
    } else {
        let (net, note) = model::network(&path, &bytes, source.net, wanted.inputs)?;
        let probe = match &source.data.data {
            None => None,
            Some(_) => {
                let inputs = net.network().inputs();
                let encoding = Some(&note.encoding);
                let names = Names { features: &note.features, classes: &net.classes, inputs, encoding };
                Some(rows::read_inputs(source.data, names, inputs)?.0)
            }
        };
        let probe = probe.as_ref().map(|table| table.any_inputs()).transpose()?;
        let fold = || model::fold(&net, weights, &note, probe, context.level, context.pool);
        let folded = context.pool.enter(fold).map_err(|failure| Failure::at(failure.kind, &path, failure))?;
        (folded.0, Some(folded.1))
    };
    let out = match wanted.out {
        Some(out) => out.to_path_buf(),
        None => path.with_file_name(default_name(&path, is_image, weights, wanted.format)),
    };
    let described = model::of_image(path, image)?;
    let files = match wanted.format {
        FormatName::Image => vec![(out.clone(), bytes_of(&described).to_vec())],
        FormatName::Rust => rust::files(&out, &Described::new(&described, bytes_of(&described))?)?,
        FormatName::C => c::files(&out, &Described::new(&described, bytes_of(&described))?)?,
    };
    // What others include comes first: a file that names another one never stands alone.
    for (path, bytes) in &files {
        write_atomically(path, bytes)?;
    }
    if let Some(report) = &report {
        show_fold(context.show, report, weights);
    }
    for (path, _) in files.iter().rev() {
        let what = match path.extension().and_then(|end| end.to_str()) {
            Some("rs") => "module",
            Some("c") => "source",
            Some("h") => "header",
            _ => "image",
        };
        context.show.line(format_args!("{what:<7} {}", path.display()));
    }
    let mut fields = report.map_or_else(nothing_folded, |report| fold_json(&report, weights));
    fields["format"] = format!("{:?}", wanted.format).to_lowercase().into();
    fields["out"] = Value::from(out.display().to_string());
    fields["files"] = files.iter().rev().map(|(path, _)| path.display().to_string()).collect();
    context.show.event("export", fields);
    Ok(())
}

/// The bytes of an image that was read.
fn bytes_of(model: &Model) -> &[u8] {
    match &model.kind {
        model::Stored::Image(bytes) => bytes,
        model::Stored::Network(_) => &[],
    }
}

/// What makes no sense for an image, which is folded already.
fn refuse_for_image(path: &Path, source: &Source<'_>, wanted: Export<'_>) -> Result<(), Failure> {
    let refuse = |message: &str| Err(Failure::at(Kind::Usage, path, message));
    if wanted.format == FormatName::Image {
        return refuse("is an image already; export starts from model.safetensors, or give --format rust or c");
    }
    if wanted.weights.is_some() {
        return refuse(
            "is an image, whose weights stay as they are: leave out --weights, or start from model.safetensors",
        );
    }
    if source.data.data.is_some() || source.net.is_some() || wanted.inputs.is_some() {
        return refuse("is an image, so nothing is folded: leave out --data, --net and --inputs");
    }
    Ok(())
}

/// The file's name where none is given. Modules and C files have names that can be identifiers.
fn default_name(path: &Path, is_image: bool, weights: Precision, format: FormatName) -> PathBuf {
    let stem = match path.file_stem() {
        Some(stem) if is_image => stem.to_string_lossy().into_owned(),
        _ => format!("model-{}", weights.name()),
    };
    match format {
        FormatName::Image => format!("{stem}.keel"),
        FormatName::Rust => format!("{}.rs", describe::identifier(&stem)),
        FormatName::C => format!("{}.c", describe::identifier(&stem)),
    }
    .into()
}

/// `out` and the file beside it, if `out` ends as it must.
fn pair(out: &Path, format: &str, end: &str, other: &str) -> Result<(PathBuf, String), Failure> {
    let stem = out.file_stem().and_then(|stem| stem.to_str());
    match stem {
        Some(stem) if out.extension().is_some_and(|found| found == end) => Ok((out.with_extension(other), stem.into())),
        _ => {
            let message = format!("--format {format} writes a file whose name ends in .{end}, and .{other} beside it");
            Err(Failure::at(Kind::Usage, out, message))
        }
    }
}

/// The fields of a fold where there was none.
fn nothing_folded() -> Value {
    json!({
        "weights": null, "layers": null, "dense_layers": null, "folded_layers": null, "max_relative_error": null,
        "underflows": null, "bytes_before": null, "bytes_after": null, "output_deviation": null,
    })
}

/// Length of the scratch for one row.
fn scratch_of(image: Image<'_>) -> usize {
    Net::new(image).scratch_len(1)
}

//! All commands but `train`; `eval` and `predict` here.

use std::path::Path;

use evenkeel::host::pool::Pool;
use evenkeel::train::Link;
use evenkeel::{Level, Loss, kernels};
use serde_json::json;

use crate::atomic::write_atomically;
use crate::data::{Predictions, npy_f32, npy_u32};
use crate::error::{Failure, Kind};
use crate::metrics::{Choice, Measured, measure};
use crate::model::{self, Ending, Model};
use crate::options::TrainOptions;
use crate::report::Figures;
use crate::rows::{self, Names, Rows};
use crate::score::score;
use crate::show::Show;

mod compare;
mod cv;
mod export;
mod find_lr;
mod inspect;
mod many;
mod recalibrate;
mod sweep;

pub use compare::compare;
pub use cv::{Folds, cv};
pub use export::{Export, export};
pub use find_lr::find_lr;
pub use inspect::inspect;
pub use recalibrate::recalibrate;
pub use sweep::sweep;

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

/// A later run into the same folder has replaced the configuration, but not yet the model: its rows held out may be
/// rows that this model was trained on.
fn refuse_older(model: &Path, config: &Path) -> Result<(), Failure> {
    let written = |path: &Path| std::fs::metadata(path).and_then(|file| file.modified()).ok();
    match (written(model), written(config)) {
        (Some(model_written), Some(config_written)) if model_written < config_written => {
            let message = "is older than the config.toml beside it, so of an earlier run than the one begun in this \
                           folder: go on with that one, or name the rows with --data";
            Err(Failure::at(Kind::Model, model, message))
        }
        _ => Ok(()),
    }
}

/// What is said of data goes with a file of data: the run's own sets are read as they were in training.
fn refuse_without_data(asked: &TrainOptions, run: &TrainOptions) -> Result<(), Failure> {
    let options = [
        ("--labels", asked.labels.is_some()),
        ("--target", asked.target.is_some()),
        ("--header", asked.header.is_some()),
        ("--ignore", asked.ignore.is_some()),
        ("--index-base", asked.index_base.is_some()),
        ("--unknown-category", asked.unknown_category.is_some()),
        ("--where", asked.filter.is_some()),
    ];
    let Some((option, _)) = options.into_iter().find(|(_, given)| *given) else { return Ok(()) };
    let file = run.data.as_ref().map_or_else(|| "FILE".into(), |data| data.display().to_string());
    let message = format!("{option} says something of the rows in a file: name it too, --data {file}");
    Err(Failure::new(Kind::Usage, message))
}

/// `eval`: loss and accuracy on labelled data; without data on the sets of the model's own run, if it lies in its folder.
///
/// # Errors
/// For files that cannot be read or do not fit together.
pub fn eval(
    context: &Context<'_>,
    source: &Source<'_>,
    choice: &Choice,
    picture: Option<&Path>,
) -> Result<(), Failure> {
    let model = model::read(source.model, source.net)?;
    let names = model.names();
    let folder = model.path.parent().unwrap_or(Path::new(""));
    let config = folder.join("config.toml");
    // The built-in digits cannot be named.
    let digits = || crate::train::read_config(&config).is_ok_and(|run| run.data.is_none());
    let named = source.data.data.is_some() || source.data.filter.is_some() && digits();
    let column = source.data.weight_column.as_deref();
    let (sets, loss): (Vec<(&str, Rows)>, Loss) = if named || !config.is_file() {
        let (rows, loss) = rows::read_labelled(source.data, names, model.note.loss(), model.outputs)?;
        (vec![("data", rows)], loss)
    } else {
        refuse_older(&model.path, &config)?;
        let mut options = crate::train::read_config(&config)?;
        refuse_without_data(source.data, &options)?;
        if source.data.loss.is_some() {
            (options.loss, options.label_smoothing) = (source.data.loss, None);
        }
        // These weigh in training only.
        options.class_weight = None;
        options.weight_column = column.map(String::from).or(options.weight_column);
        options.stream = source.data.stream.or(options.stream);
        options.spool = source.data.spool.clone().or(options.spool).filter(|_| options.stream == Some(true));
        let sets = rows::read(&options, Names { features: &[], ..names })?;
        let named = [("training", Some(sets.train)), ("validation", sets.validation), ("test", sets.test)];
        (named.into_iter().filter_map(|(name, rows)| Some((name, rows?))).collect(), sets.loss)
    };
    let mut scores = Vec::new();
    for (which, rows) in &sets {
        if rows.set.features() != model.inputs {
            let (found, wanted) = (rows.set.features(), model.inputs);
            let message = format!(
                "{} has {found} columns of inputs, the model takes {wanted}: --ignore leaves some out",
                rows.name
            );
            return Err(Failure::new(Kind::Data, message));
        }
        let inputs = rows.set.inputs()?;
        let run = || model.run(context.level, context.pool, inputs, source.batch);
        let mut values = context.pool.enter(run)?;
        // The weights that training had are no reason to weigh here: they are asked for.
        let weights = column.and_then(|_| rows.set.labels().targets().weights()).map(|(weights, _)| weights);
        let figures = score(&model, &values, (rows, weights), loss)?;
        let head = if sets.len() == 1 { String::new() } else { format!("{which:<11} ") };
        let weighted = column.map(|column| format!(", weighted by {column}")).unwrap_or_default();
        context.show.line(format_args!("{head}{}  {}{weighted}", figures.text(), rows.name));
        let wanted = choice.any() || picture.is_some();
        let measured = if wanted { of_set(context, &model, &mut values, (rows, weights), loss, choice) } else { None };
        // Of several sets the last one, the test rows, is told in full.
        let full = scores.len() + 1 == sets.len();
        let text = measured.as_ref().map(|measured| measured.text(choice, full)).unwrap_or_default();
        if !text.is_empty() {
            context.show.line(text);
        }
        if let (Some(picture), Some(measured)) = (picture, &measured) {
            let picture = if sets.len() == 1 { picture.to_path_buf() } else { named_picture(picture, which) };
            draw(context, measured, rows, &picture)?;
        }
        let metrics = measured.map(|measured| measured.json(choice));
        scores.push((*which, rows.name.as_str(), figures, metrics));
    }
    let one = |(which, name, figures, metrics): &(&str, &str, Figures, Option<serde_json::Value>)| {
        let mut value = figures.json();
        value["metrics"] = metrics.clone().into();
        value["set"] = (*which).into();
        value["data"] = (*name).into();
        value
    };
    let mut fields = match scores.as_slice() {
        [only] => one(only),
        _ => json!({ "set": null, "data": null, "rows": null, "accuracy": null, "loss": null, "metrics": null }),
    };
    fields["model"] = model.path.display().to_string().into();
    fields["weight_column"] = column.into();
    fields["sets"] = scores.iter().map(one).collect();
    context.show.event("eval", fields);
    Ok(())
}

/// The metrics of a set; a warning where the outputs have none.
fn of_set(
    context: &Context<'_>,
    model: &Model,
    values: &mut [f32],
    (rows, weights): (&Rows, Option<&[f32]>),
    loss: Loss,
    choice: &Choice,
) -> Option<Measured> {
    let classes: Vec<u32> = values.chunks(model.outputs).map(|row| model.class(row) as u32).collect();
    let made = match loss {
        loss if loss.link() != Link::None => probabilities(context.level, model, values),
        // Outputs are logarithms of rates.
        Loss::Poisson | Loss::PoissonFull => {
            values.iter_mut().for_each(|value| *value = f64::from(*value).exp() as f32);
            Ok(())
        }
        _ => Ok(()),
    };
    let measured = made.and_then(|()| Ok(measure(values, &classes, (rows, weights), loss, &model.classes, choice)?));
    measured.map_err(|error| context.show.warn(&format!("{}: {error}", rows.name))).ok()
}

/// `confusion.svg` of several sets is `confusion-test.svg` and so on.
fn named_picture(picture: &Path, set: &str) -> std::path::PathBuf {
    let stem = picture.file_stem().unwrap_or_default().to_string_lossy();
    picture.with_file_name(format!("{stem}-{set}.svg"))
}

fn draw(context: &Context<'_>, measured: &Measured, rows: &Rows, picture: &Path) -> Result<(), Failure> {
    let Measured::Classes(classes) = measured else {
        return Err(Failure::new(Kind::Usage, "--confusion draws classes: this model answers with quantities"));
    };
    let svg = crate::curves::matrix::svg(&rows.name, &classes.names, &classes.counts);
    write_atomically(picture, svg.as_bytes())?;
    context.show.line(format_args!("  confusion matrix drawn to {}", picture.display()));
    Ok(())
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
    let model = model::read(source.model, source.net)?;
    let outputs = model.outputs;
    if let Some(loss) = model.note.loss().filter(|loss| wanted.classes && outputs == 1 && !loss.has_accuracy()) {
        let message = format!("the model was trained under the loss {}: its output is no class", loss.name());
        return Err(Failure::at(Kind::Usage, &model.path, message));
    }
    let (table, name) = rows::read_inputs(source.data, model.names(), model.inputs)?;
    let inputs = table.any_inputs()?;
    let run = || model.run(context.level, context.pool, inputs, source.batch);
    let mut values = context.pool.enter(run)?;
    let ids: Vec<u32> = values.chunks(outputs).map(|row| model.class(row) as u32).collect();
    if wanted.probabilities {
        probabilities(context.level, &model, &mut values)?;
    }
    let only_classes = wanted.classes && !wanted.probabilities;
    let names: Vec<String> = match (only_classes, wanted.probabilities, model.classes.as_slice()) {
        (true, ..) => Vec::new(),
        (_, true, [_, one]) if outputs == 1 => vec![format!("p({one})")],
        (_, true, names) if names.len() == outputs => names.iter().map(|name| format!("p({name})")).collect(),
        _ => (0..outputs).map(|output| format!("output_{output}")).collect(),
    };
    if only_classes {
        values.clear();
    }
    let is_npy = wanted.out.is_some_and(|out| out.extension().is_some_and(|end| end.eq_ignore_ascii_case("npy")));
    let classes = wanted.classes.then_some((&ids[..], &model.classes[..]));
    let bytes = match (is_npy, only_classes) {
        (true, true) => npy_u32(&ids),
        (true, false) => npy_f32(&values, outputs),
        (false, _) => Predictions { names: &names, values: &values, classes }.to_csv(),
    };
    let mut end = json!({
        "rows": table.rows, "outputs": outputs, "data": name, "model": model.path.display().to_string(), "out": null,
    });
    match wanted.out {
        None => {
            context.show.line(String::from_utf8_lossy(&bytes).trim_end());
            for row in 0..if context.show.json { table.rows } else { 0 } {
                let mut fields = json!({ "row": row, "class": null, "values": null });
                if wanted.classes {
                    let id = ids[row] as usize;
                    fields["class"] = model.classes.get(id).map_or_else(|| id.to_string(), Clone::clone).into();
                }
                if !only_classes {
                    fields["values"] = values[row * outputs..][..outputs].into();
                }
                context.show.event("prediction", fields);
            }
        }
        Some(out) => {
            write_atomically(out, &bytes)?;
            context.show.line(format_args!("{} rows of {name} -> {}", table.rows, out.display()));
            end["out"] = out.display().to_string().into();
        }
    }
    context.show.event("predict", end);
    Ok(())
}

/// Softmax of each row, or sigmoid of a single output, by the library's own kernels; nothing where the model ends so.
fn probabilities(level: Level, model: &Model, values: &mut [f32]) -> Result<(), Failure> {
    let outputs = model.outputs;
    let width = evenkeel::layer::padded(outputs);
    if model.ending == Ending::Probabilities {
        return Ok(());
    }
    let link = model.note.loss().map(|loss| loss.link());
    if link == Some(Link::None) {
        let message =
            format!("the model was trained under the loss {}: its outputs are no probabilities", model.note.loss);
        return Err(Failure::at(Kind::Usage, &model.path, message));
    }
    for row in values.chunks_mut(outputs) {
        let mut wide = vec![0.0; width];
        wide[..outputs].copy_from_slice(row);
        if outputs == 1 || link == Some(Link::Sigmoid) {
            let serial = evenkeel::Serial;
            kernels::activation::forward(level, &serial, evenkeel::Activation::Sigmoid, &mut wide);
        } else {
            // The softmax of log-softmax is the softmax of what that was taken of.
            kernels::softmax::softmax(level, outputs, 1, &mut wide)?;
        }
        row.copy_from_slice(&wide[..outputs]);
    }
    Ok(())
}

//! Rows for a trained model: its columns, classes and categories are known.

use evenkeel::Loss;

use super::part::Part;
use super::{Rows, data_options, dataset, loss_of, suit};
use crate::data::{self, Encoding, Missing, Table, Target, TargetColumn, Task};
use crate::error::{Failure, Kind};
use crate::options::TrainOptions;

/// What a trained model says about its data; empty lists say nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Names<'a> {
    /// Names of its inputs, in its order.
    pub features: &'a [String],
    /// Names of its classes.
    pub classes: &'a [String],
    /// How many inputs it has: the width of index lists. 0 says nothing.
    pub inputs: usize,
    /// How cells that are no numbers become some; `None` if that is to be learned.
    pub encoding: Option<&'a Encoding>,
}

impl Names<'_> {
    pub(super) fn narrow(&self, options: data::Options) -> data::Options {
        let list = |names: &[String]| (!names.is_empty()).then(|| names.to_vec());
        let width = (self.inputs > 0).then_some(self.inputs).or(options.width);
        let mut narrowed =
            data::Options { features: list(self.features), classes: list(self.classes), width, ..options };
        if let Some(encoding) = self.encoding {
            narrowed.categories = Some(encoding.categories.clone());
            narrowed.missing = encoding.missing;
            for text in &encoding.missing_as {
                if !narrowed.missing_as.contains(text) {
                    narrowed.missing_as.push(text.clone());
                }
            }
        }
        narrowed
    }
}

/// Reads labelled rows for a trained model: columns and classes are its own. A model without names of classes counts them
/// from 0, whichever of them turn up in the file. `loss` is the one it was trained with, if it says so.
///
/// # Errors
/// For a file that cannot be read or has no labels.
pub fn read_labelled(
    options: &TrainOptions,
    model: Names<'_>,
    loss: Option<Loss>,
    outputs: usize,
) -> Result<(Rows, Loss), Failure> {
    let options = TrainOptions { loss: options.loss.or(loss.map(Into::into)), ..options.clone() };
    let loss = options.loss.map(Into::into);
    options.check()?;
    let part = Part::of(&options);
    let mut table = part.read(&model.narrow(data_options(&options)))?;
    if model.classes.is_empty() && matches!(table.target, Some(Target::Classes { .. })) {
        let counted: Vec<String> = (0..outputs.max(2)).map(|class| class.to_string()).collect();
        table = part.read(&Names { classes: &counted, ..model }.narrow(data_options(&options)))?;
    }
    let loss = match &table.target {
        // Two classes on one output.
        Some(Target::Classes { .. }) if loss.is_none() && outputs == 1 => Loss::BinaryCrossEntropy,
        _ => loss_of(&table, loss)?.0,
    };
    let mut rows = Rows { set: dataset(table, &options, &part.name())?, name: part.name() };
    suit(rows.set.labels_mut(), loss);
    if let Some(encoding) = model.encoding {
        rows.set.fill_in(encoding);
    }
    Ok((rows, loss))
}

/// Reads the inputs of rows for a trained model that takes `inputs` of them. Labels are neither wanted nor in the way:
/// a target column that is named, or the last one if there is one column more than inputs, is left out.
///
/// # Errors
/// For a file that cannot be read, or has another number of columns.
pub fn read_inputs(options: &TrainOptions, model: Names<'_>, inputs: usize) -> Result<(Table, String), Failure> {
    options.check()?;
    let part = Part { labels: None, ..Part::of(options) };
    let mut plain = model.narrow(data_options(options));
    plain.classes = None;
    if plain.missing == Missing::Drop {
        // Each row gets its prediction.
        plain.missing = Missing::Refuse;
    }
    if let TargetColumn::Columns(columns) = std::mem::take(&mut plain.target) {
        plain.ignore.extend(columns);
    }
    plain.target = TargetColumn::None;
    let with_target = data::Options { target: TargetColumn::Auto, task: Task::Auto, ..plain.clone() };
    let filtered = part.filtered(plain)?;
    let first = part.read_filtered(&filtered);
    let mut table = match first {
        Ok(table) if table.cols == inputs => table,
        // Labels in the way: one column too many, or text among the numbers.
        first if options.target.is_none() => match (part.read_filtered(&part.filtered(with_target)?), first) {
            (Ok(table), _) if table.cols == inputs => table,
            (_, Ok(table)) => table,
            (Ok(_) | Err(data::Error::FeatureCount { .. }), Err(error)) | (Err(error), Err(_)) => {
                return Err(error.into());
            }
        },
        first => first?,
    };
    if table.cols != inputs {
        let (name, found) = (part.name(), table.cols);
        let message =
            format!("{name} has {found} columns of inputs, the model takes {inputs}: --ignore leaves some out");
        return Err(Failure::new(Kind::Data, message));
    }
    if let Some(encoding) = model.encoding {
        table.fill_in(encoding);
    }
    Ok((table, part.name()))
}

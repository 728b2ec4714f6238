//! From data files to the three sets of a run: training, validation, test.

use std::path::{Path, PathBuf};

use evenkeel::data::SparseDataset;
use evenkeel::{Dataset, Labels, Loss};

use crate::data::{self, Categorical, Encoding, Groups, Header, Missing, RowFilter, Table, Target, TargetColumn, Task};
use crate::digits;
use crate::error::{Failure, Kind};
use crate::options::{LossName, TrainOptions, UnknownName};

mod set;

pub use set::Set;

/// Where rows come from, and what they mean.
#[derive(Clone, Debug)]
pub struct Rows {
    /// The rows.
    pub set: Set,
    /// What the file is called in reports.
    pub name: String,
}

/// The sets of a run.
#[derive(Clone, Debug)]
pub struct Sets {
    /// What is trained on.
    pub train: Rows,
    /// What early stopping looks at.
    pub validation: Option<Rows>,
    /// What is looked at once, at the end.
    pub test: Option<Rows>,
    /// Names of the inputs, empty if the file has none.
    pub features: Vec<String>,
    /// How cells that are no numbers became some.
    pub encoding: Encoding,
    /// Names of the classes, empty for values.
    pub classes: Vec<String>,
    /// Outputs that the network must have.
    pub outputs: usize,
    /// The loss.
    pub loss: Loss,
}

/// Rows that are held out: the split's number, so that validation and test are drawn independently.
const VALIDATION: u32 = 0;
const TEST: u32 = 1;

/// Reads all sets that the options name. `model` is what a trained model says about its data.
///
/// # Errors
/// For files that cannot be read and shares that leave nothing to train on.
pub fn read(options: &TrainOptions, model: Names<'_>) -> Result<Sets, Failure> {
    options.check()?;
    let group = options.test_group.as_deref().map(Group::parse).transpose()?;
    let base = data::Options {
        group: group.as_ref().map(|group| group.column.clone()),
        ..model.narrow(data_options(options))
    };
    let main =
        Part { file: options.data.as_deref(), labels: options.labels.as_deref(), rows: options.filter.as_deref() };
    let table = main.read(&base)?;
    let name = main.name();
    let (features, has_names) = (table.feature_names.clone(), !numbered(&table.feature_names));
    let classes = match &table.target {
        Some(Target::Classes { names, .. }) => names.clone(),
        Some(Target::Values { .. }) => Vec::new(),
        None => {
            let message = format!("{name} has no labels: name their file with --labels, or the column with --target");
            return Err(Failure::new(Kind::Usage, message));
        }
    };
    let mut encoding = Encoding {
        categories: table.categories.clone(),
        missing: base.missing,
        missing_as: base.missing_as.clone(),
        fill: Vec::new(),
    };
    // Further files are read with the classes and columns of the first.
    let further = data::Options {
        classes: (!classes.is_empty()).then(|| classes.clone()),
        features: has_names.then(|| features.clone()),
        width: Some(table.cols),
        categories: Some(encoding.categories.clone()),
        ..base
    };
    let asked = options.loss.map(Loss::from);
    let (loss, outputs) = loss_of(&table, asked)?;
    let lists = table.lists.is_some();
    let loss = options.smoothed(loss)?;
    if let [only] = classes.as_slice() {
        let message = format!("all rows of {name} are of class {only}: there is nothing to tell apart");
        return Err(Failure::new(Kind::Data, message));
    }
    let groups = table.groups.clone();
    let mut train = Rows { set: dataset(table, options, &name)?, name };
    let mut test = main.further(&options.test, &options.test_labels, &options.test_where, &further, options)?;
    let mut validation =
        main.further(&options.validation, &options.validation_labels, &options.validation_where, &further, options)?;
    if let (Some(group), Some(groups)) = (&group, &groups) {
        test = Some(group.hold_out(&mut train, groups)?);
    }
    if let Some(fold) = &options.test_fold {
        test = Some(hold_out_fold(&mut train, fold, options.seed())?);
    }
    if test.is_none() {
        test = hold_out(&mut train, options.test_share(), options.seed(), TEST)?;
    }
    if validation.is_none() {
        validation = hold_out(&mut train, options.validation_share(), options.seed(), VALIDATION)?;
    }
    encoding.fill = match model.encoding {
        Some(encoding) => encoding.fill.clone(),
        None => encoding.missing.learn(train.set.values(), train.set.features()).map_err(|input| {
            let name = encoding.input_names(&features).get(input).cloned().unwrap_or_default();
            let message = format!("input {name} has no value in any training row: leave it out with --ignore");
            Failure::new(Kind::Data, message)
        })?,
    };
    for rows in [Some(&mut train), validation.as_mut(), test.as_mut()].into_iter().flatten() {
        if matches!(rows.set, Set::Lists(_)) != lists {
            let [kind, other] = if lists { ["numbers", "index lists"] } else { ["index lists", "numbers"] };
            let message =
                format!("{} holds {kind}, the training rows are {other}: all sets are of one kind", rows.name);
            return Err(Failure::new(Kind::Usage, message));
        }
        suit(rows.set.labels_mut(), loss);
        encoding.fill_in(rows.set.values_mut());
    }
    if let Some(weights) = options.class_weights(&classes, || train.set.balanced())? {
        let mean = options.mean();
        train.set = train.set.class_weighted(&weights, mean).map_err(|error| Failure::new(Kind::Data, error))?;
    }
    let features = if has_names { features } else { Vec::new() };
    Ok(Sets { train, validation, test, features, encoding, classes, outputs, loss })
}

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
    fn narrow(&self, options: data::Options) -> data::Options {
        let list = |names: &[String]| (!names.is_empty()).then(|| names.to_vec());
        let width = (self.inputs > 0).then_some(self.inputs).or(options.width);
        let mut narrowed =
            data::Options { features: list(self.features), classes: list(self.classes), width, ..options };
        if let Some(encoding) = self.encoding {
            narrowed.categories = Some(encoding.categories.clone());
            narrowed.missing = encoding.missing;
            narrowed.missing_as.extend_from_slice(&encoding.missing_as);
        }
        narrowed
    }

    /// Puts the model's numbers in the place of missing cells.
    fn fill_in(&self, inputs: &mut [f32]) {
        if let Some(encoding) = self.encoding {
            encoding.fill_in(inputs);
        }
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
    let part =
        Part { file: options.data.as_deref(), labels: options.labels.as_deref(), rows: options.filter.as_deref() };
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
    model.fill_in(rows.set.values_mut());
    Ok((rows, loss))
}

/// Reads the inputs of rows for a trained model that takes `inputs` of them. Labels are neither wanted nor in the way:
/// a target column that is named, or the last one if there is one column more than inputs, is left out.
///
/// # Errors
/// For a file that cannot be read, or has another number of columns.
pub fn read_inputs(options: &TrainOptions, model: Names<'_>, inputs: usize) -> Result<(Table, String), Failure> {
    options.check()?;
    let part = Part { file: options.data.as_deref(), labels: None, rows: options.filter.as_deref() };
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
    model.fill_in(&mut table.inputs);
    Ok((table, part.name()))
}

/// Names that only count the columns.
fn numbered(names: &[String]) -> bool {
    names.iter().enumerate().all(|(index, name)| *name == (index + 1).to_string())
}

fn data_options(options: &TrainOptions) -> data::Options {
    let list = |text: &Option<String>| -> Vec<String> {
        text.iter().flat_map(|text| text.split(',')).map(|word| word.trim().to_owned()).collect()
    };
    data::Options {
        header: options.header.map(Header::from).unwrap_or_default(),
        task: match (options.task, options.loss.map(Loss::from)) {
            (Some(task), _) => task.into(),
            (None, Some(loss)) if loss.takes_classes() => Task::Classes,
            (None, Some(loss)) if !loss.is_binary() => Task::Values,
            _ => Task::Auto,
        },
        target: match &options.target {
            None => TargetColumn::Auto,
            Some(_) => TargetColumn::Columns(list(&options.target)),
        },
        ignore: list(&options.ignore),
        width: options.width,
        index_base: options.index_base,
        categorical: match options.categorical.as_deref() {
            None => Categorical::None,
            Some("auto") => Categorical::Auto,
            Some(_) => Categorical::Columns(list(&options.categorical)),
        },
        missing: options.missing.unwrap_or_default(),
        missing_as: list(&options.missing_as),
        unknown_as_zeros: options.unknown_category == Some(UnknownName::Zeros),
        weight: options.weight_column.clone(),
        ..data::Options::default()
    }
}

/// One file, or some rows of it.
#[derive(Clone, Copy)]
struct Part<'a> {
    file: Option<&'a Path>,
    labels: Option<&'a Path>,
    rows: Option<&'a str>,
}

impl Part<'_> {
    fn name(&self) -> String {
        self.file.map_or_else(|| digits::NAME.into(), |path| path.display().to_string())
    }

    fn filtered(&self, options: data::Options) -> Result<data::Options, Failure> {
        let mut options = data::Options { labels: self.labels.map(Path::to_path_buf), ..options };
        if let Some(rows) = self.rows {
            options.filters.push(filter(rows)?);
        }
        Ok(options)
    }

    fn read_filtered(&self, options: &data::Options) -> Result<Table, data::Error> {
        match self.file {
            None => digits::read(options),
            Some(file) => data::read(file, options),
        }
    }

    fn read(&self, options: &data::Options) -> Result<Table, Failure> {
        Ok(self.read_filtered(&self.filtered(options.clone())?)?)
    }

    /// The rows to validate or to test on: a file of their own, or other rows of this one.
    fn further(
        &self,
        file: &Option<PathBuf>,
        labels: &Option<PathBuf>,
        rows: &Option<String>,
        options: &data::Options,
        train: &TrainOptions,
    ) -> Result<Option<Rows>, Failure> {
        let part = match (file, rows) {
            (None, None) => return Ok(None),
            (Some(file), rows) => Part { file: Some(file), labels: labels.as_deref(), rows: rows.as_deref() },
            (None, Some(rows)) => {
                self.refuse_overlap(rows, options)?;
                Part { rows: Some(rows), ..*self }
            }
        };
        let name = part.rows.map_or_else(|| part.name(), |rows| format!("{} where {rows}", part.name()));
        Ok(Some(Rows { set: dataset(part.read(options)?, train, &name)?, name }))
    }

    /// Rows that are trained on prove nothing when they are tested on.
    fn refuse_overlap(&self, rows: &str, options: &data::Options) -> Result<(), Failure> {
        let Some(trained) = self.rows else {
            let message = "name the training rows with --where too: they must not overlap the rows held out";
            return Err(Failure::new(Kind::Usage, message));
        };
        let mut both = self.filtered(data::Options { classes: None, ..options.clone() })?;
        both.filters.push(filter(rows)?);
        match self.read_filtered(&both) {
            Err(data::Error::AllFiltered { .. }) => Ok(()),
            Err(error) => Err(error.into()),
            Ok(table) => {
                let count = table.rows;
                let message = format!("--where {trained} and {rows} share {count} rows: rows held out must be others");
                Err(Failure::new(Kind::Usage, message))
            }
        }
    }
}

fn filter(text: &str) -> Result<RowFilter, Failure> {
    text.parse().map_err(|error| Failure::new(Kind::Usage, error))
}

/// The loss that suits a target, and the number of outputs it asks for.
fn loss_of(table: &Table, asked: Option<Loss>) -> Result<(Loss, usize), Failure> {
    match &table.target {
        Some(Target::Classes { names, .. }) => match asked.unwrap_or(Loss::CrossEntropy) {
            loss if loss.is_binary() && names.len() == 2 => Ok((loss, 1)),
            loss if loss.is_binary() => {
                let (count, name) = (names.len(), LossName(loss));
                let message =
                    format!("--loss {name} wants two classes or values from 0 to 1, the data has {count} classes");
                Err(Failure::new(Kind::Usage, message))
            }
            loss => Ok((loss, names.len())),
        },
        Some(Target::Values { values, cols, .. }) => {
            let loss = asked.unwrap_or(Loss::MeanSquaredError);
            let outside = values.iter().position(|value| !loss.takes(*value));
            if let (Loss::BinaryCrossEntropy, Some(at)) = (loss, outside) {
                let (row, value) = (at / cols, values[at]);
                let message = format!("--loss bce wants targets from 0 to 1, row {row} (counted from 0) has {value}");
                return Err(Failure::new(Kind::Data, message));
            }
            Ok((loss, *cols))
        }
        None => Err(Failure::new(Kind::Usage, "the data has no target: name its column with --target, or --labels")),
    }
}

/// A table as the library takes it.
fn dataset(table: Table, options: &TrainOptions, name: &str) -> Result<Set, Failure> {
    let labels = match table.target {
        Some(Target::Classes { labels, .. }) => Labels::Classes(labels),
        Some(Target::Values { values, .. }) => Labels::Values(values),
        None => return Err(Failure::new(Kind::Usage, "the data has no target: name its column with --target")),
    };
    let features = table.cols;
    let set = Dataset { inputs: table.inputs, features, labels };
    if let Some(data::Lists { offsets, indices }) = table.lists {
        return Ok(Set::Lists(SparseDataset { offsets, indices, features, labels: set.labels }));
    }
    let Some(weights) = table.weights else { return Ok(Set::Plain(set)) };
    let weighted = set.weighted(weights, options.mean());
    Ok(Set::Plain(weighted.map_err(|error| Failure::new(Kind::Data, format_args!("{name}: {error}")))?))
}

/// Two classes on one output are its 0 and 1; done after the splits, which go by class.
fn suit(labels: &mut Labels, loss: Loss) {
    match labels {
        Labels::Weighted(weighted) => suit(&mut weighted.labels, loss),
        Labels::Classes(classes) if loss.is_binary() => {
            *labels = Labels::Values(classes.iter().map(|label| *label as f32).collect());
        }
        _ => {}
    }
}

/// The group that is tested on: `subject=3`, or several as a row filter has them.
struct Group {
    column: String,
    value: String,
    filter: RowFilter,
}

impl Group {
    fn parse(text: &str) -> Result<Self, Failure> {
        let filter = filter(text)?;
        let value = text.split_once('=').map_or("", |(_, value)| value).trim().to_owned();
        Ok(Self { column: filter.column().to_owned(), value, filter })
    }

    fn hold_out(&self, rows: &mut Rows, groups: &Groups) -> Result<Rows, Failure> {
        let is_held = |name: &String| *name == self.value || self.filter.passes_text(name) == Some(true);
        let held: Vec<bool> = groups.names.iter().map(is_held).collect();
        let of_group = |(_, id): &(u32, &u32)| held.get(**id as usize).copied().unwrap_or(false);
        let held: Vec<u32> = (0..).zip(&groups.ids).filter(of_group).map(|(row, _)| row).collect();
        let name = format!("the rows of {} where {}", rows.name, self.filter);
        if held.is_empty() || held.len() == rows.set.rows() {
            let which = if held.is_empty() { "no row" } else { "every row" };
            let message = format!("--test-group {}: {which} of {} is of it", self.filter, rows.name);
            return Err(Failure::new(Kind::Usage, message));
        }
        take_out(rows, &held, name)
    }
}

/// Fold `K/N` of the rows.
fn hold_out_fold(rows: &mut Rows, fold: &str, seed: u64) -> Result<Rows, Failure> {
    let wrong = |why: &str| Failure::new(Kind::Usage, format_args!("--test-fold {fold}: {why}"));
    let numbers = fold.split_once('/').and_then(|(k, n)| Some((k.trim().parse().ok()?, n.trim().parse().ok()?)));
    let (k, n): (usize, usize) = numbers.ok_or_else(|| wrong("expected fold and number of folds, such as 2/5"))?;
    let folds = rows.set.folds(n, seed).map_err(|error| wrong(&error.to_string()))?;
    let held = k.checked_sub(1).and_then(|k| folds.get(k)).ok_or_else(|| wrong("folds are counted from 1"))?;
    let name = format!("fold {k} of {n} of {}", rows.name);
    take_out(rows, held, name)
}

/// Moves rows to a set of their own.
fn take_out(rows: &mut Rows, held: &[u32], name: String) -> Result<Rows, Failure> {
    let taken = Rows { set: rows.set.subset(held)?, name };
    rows.set = rows.set.subset(&evenkeel::data::others(rows.set.rows(), held))?;
    Ok(taken)
}

/// The groups of the training file, in the order they turn up.
///
/// # Errors
/// For a file that cannot be read or has no such column.
pub fn groups(options: &TrainOptions, column: &str) -> Result<Vec<String>, Failure> {
    let base = data::Options { group: Some(column.to_owned()), ..data_options(options) };
    let part =
        Part { file: options.data.as_deref(), labels: options.labels.as_deref(), rows: options.filter.as_deref() };
    let name = part.name();
    let groups = part.read(&base)?.groups.map(|groups| groups.names).unwrap_or_default();
    if groups.len() < 2 {
        let message = format!("{name}: column \"{column}\" has {} group, leaving one out takes two", groups.len());
        return Err(Failure::new(Kind::Data, message));
    }
    Ok(groups)
}

fn hold_out(rows: &mut Rows, share: f64, seed: u64, which: u32) -> Result<Option<Rows>, Failure> {
    let (kept, held) = rows.set.hold_out(share, seed, which);
    if held.is_empty() {
        return Ok(None);
    }
    let purpose = if which == TEST { "test" } else { "validation" };
    if kept.is_empty() {
        let message = format!("--{purpose}-split {share} leaves no rows of {} to train on", rows.name);
        return Err(Failure::new(Kind::Usage, message));
    }
    let held = Rows { set: rows.set.subset(&held)?, name: format!("the {purpose} rows of {}", rows.name) };
    rows.set = rows.set.subset(&kept)?;
    Ok(Some(held))
}

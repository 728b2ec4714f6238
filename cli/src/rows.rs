//! From data files to the three sets of a run: training, validation, test.

use evenkeel::data::SparseDataset;
use evenkeel::train::Link;
use evenkeel::{Dataset, Labels, Loss};

use crate::data::{self, Categorical, Encoding, Header, Table, Target, TargetColumn, Task};
use crate::error::{Failure, Kind};
use crate::options::{LossName, TrainOptions, UnknownName};

mod held;
mod names;
mod part;
mod set;

pub use names::{Names, read_inputs, read_labelled};
pub use set::{Set, StoredSet};

use held::{Group, TEST, VALIDATION, hold_out, hold_out_fold};
use part::Part;

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

/// Reads all sets that the options name. `model` is what a trained model says about its data.
///
/// # Errors
/// For files that cannot be read and shares that leave nothing to train on.
pub fn read(options: &TrainOptions, model: Names<'_>) -> Result<Sets, Failure> {
    options.check()?;
    let group = options.test_group.as_deref().map(Group::parse).transpose()?;
    let base = data::Options {
        group: group.as_ref().map(|group| group.column.to_owned()),
        ..model.narrow(data_options(options))
    };
    let main = Part::of(options);
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
    encoding.fill = match model.encoding.map(|encoding| &encoding.fill).filter(|fill| !fill.is_empty()) {
        Some(fill) => fill.clone(),
        None if lists => Vec::new(),
        None => encoding.missing.learn(train.set.inputs()?, train.set.features()).map_err(|error| match error {
            data::FillError::Rows(error) => error.into(),
            data::FillError::NoValue(input) => {
                let name = encoding.input_names(&features).get(input).cloned().unwrap_or_default();
                let message = format!("input {name} has no value in any training row: leave it out with --ignore");
                Failure::new(Kind::Data, message)
            }
        })?,
    };
    for rows in [Some(&mut train), validation.as_mut(), test.as_mut()].into_iter().flatten() {
        if rows.set.is_lists() != lists {
            let [kind, other] = if lists { ["numbers", "index lists"] } else { ["index lists", "numbers"] };
            let message =
                format!("{} holds {kind}, the training rows are {other}: all sets are of one kind", rows.name);
            return Err(Failure::new(Kind::Usage, message));
        }
        suit(rows.set.labels_mut(), loss);
        rows.set.fill_in(&encoding);
    }
    if let Some(weights) = options.class_weights(&classes, || train.set.balanced())? {
        let mean = options.mean();
        train.set = train.set.class_weighted(&weights, mean).map_err(|error| Failure::new(Kind::Data, error))?;
    }
    let features = if has_names { features } else { Vec::new() };
    Ok(Sets { train, validation, test, features, encoding, classes, outputs, loss })
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
        stream: (options.stream == Some(true)).then(|| options.spool.clone().unwrap_or_else(std::env::temp_dir)),
        ..data::Options::default()
    }
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
            if *cols == 1 && loss.link() == Link::Softmax {
                let message = format!(
                    "--loss {} wants a probability for each class, the data has one target a row: name all their columns \
                     with --target, or take --loss cross-entropy for classes",
                    LossName(loss)
                );
                return Err(Failure::new(Kind::Usage, message));
            }
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
    if let Some(data::Lists { offsets, indices }) = table.lists {
        return Ok(Set::Lists(SparseDataset { offsets, indices, features, labels }));
    }
    let labels = match table.weights {
        None => labels,
        Some(weights) => labels
            .weighted(table.rows, weights, options.mean())
            .map_err(|error| Failure::new(Kind::Data, format_args!("{name}: {error}")))?,
    };
    Ok(match table.stored {
        Some(rows) => Set::Stored(StoredSet { rows, labels }),
        None => Set::Plain(Dataset { inputs: table.inputs, features, labels }),
    })
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

/// The groups of the training file, in the order they turn up.
///
/// # Errors
/// For a file that cannot be read or has no such column.
pub fn groups(options: &TrainOptions, column: &str) -> Result<Vec<String>, Failure> {
    let base = data::Options { group: Some(column.to_owned()), ..data_options(options) };
    let part = Part::of(options);
    let name = part.name();
    let groups = part.read(&base)?.groups.map(|groups| groups.names).unwrap_or_default();
    if groups.len() < 2 {
        let message = format!("{name}: column \"{column}\" has {} group, leaving one out takes two", groups.len());
        return Err(Failure::new(Kind::Data, message));
    }
    Ok(groups)
}

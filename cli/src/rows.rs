//! From data files to the three sets of a run: training, validation, test.

use std::path::{Path, PathBuf};

use evenkeel::{Dataset, Labels, Loss};

use crate::data::{self, Table, Target, TargetColumn, Task};
use crate::digits;
use crate::error::{Failure, Kind};
use crate::options::TrainOptions;

/// Where rows come from, and what they mean.
#[derive(Clone, Debug)]
pub struct Rows {
    /// The rows.
    pub set: Dataset,
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

/// Reads all sets that the options name. `classes` and `features` are those of a model that is trained further.
///
/// # Errors
/// For files that cannot be read and shares that leave nothing to train on.
pub fn read(options: &TrainOptions, classes: Option<Vec<String>>) -> Result<Sets, Failure> {
    let base = data_options(options, classes)?;
    let main =
        Part { file: options.data.as_deref(), labels: options.labels.as_deref(), rows: options.filter.as_deref() };
    let table = main.read(&base)?;
    let name = options.data.as_deref().map_or(digits::NAME.into(), |path| path.display().to_string());
    let (features, has_names) = (table.feature_names.clone(), !numbered(&table.feature_names));
    let classes = match &table.target {
        Some(Target::Classes { names, .. }) => names.clone(),
        Some(Target::Values { .. }) => Vec::new(),
        None => {
            let message = format!("{name} has no labels: name their file with --labels, or the column with --target");
            return Err(Failure::new(Kind::Usage, message));
        }
    };
    // Further files are read with the classes and columns of the first.
    let further = data::Options {
        classes: (!classes.is_empty()).then(|| classes.clone()),
        features: has_names.then(|| features.clone()),
        ..base
    };
    let (train, loss, outputs) = dataset(table, options)?;
    let read = |file: &Option<PathBuf>, labels: &Option<PathBuf>, rows: &Option<String>| match (file, rows) {
        (None, None) => Ok(None),
        _ => {
            let part = Part {
                file: file.as_deref().or(main.file),
                labels: if file.is_some() { labels.as_deref() } else { main.labels },
                rows: rows.as_deref(),
            };
            if file.is_none() && options.filter.is_none() {
                let message = "name the training rows with --where too: they must not overlap the rows held out";
                return Err(Failure::new(Kind::Usage, message));
            }
            let (set, ..) = dataset(part.read(&further)?, options)?;
            let name = file.as_ref().map_or(name.clone(), |file| file.display().to_string());
            Ok(Some(Rows { set, name }))
        }
    };
    let mut test = read(&options.test, &options.test_labels, &options.test_where)?;
    let mut validation = read(&options.validation, &options.validation_labels, &options.validation_where)?;
    let mut train = Rows { set: train, name };
    let test_share = options.test_split.unwrap_or(if options.data.is_none() && test.is_none() { 0.2 } else { 0.0 });
    if test.is_none() {
        test = hold_out(&mut train, test_share, options.seed(), TEST, "--test-split")?;
    }
    if validation.is_none() {
        let share = options.validation_split.unwrap_or(0.1);
        validation = hold_out(&mut train, share, options.seed(), VALIDATION, "--validation-split")?;
    }
    let features = if has_names { features } else { Vec::new() };
    Ok(Sets { train, validation, test, features, classes, outputs, loss })
}

/// Reads rows for a trained model: columns and classes are its own.
///
/// # Errors
/// For a file that cannot be read.
pub fn read_for_model(
    options: &TrainOptions,
    features: &[String],
    classes: &[String],
    with_target: bool,
) -> Result<(Table, String), Failure> {
    let mut base = data_options(options, (!classes.is_empty()).then(|| classes.to_vec()))?;
    base.features = (!features.is_empty()).then(|| features.to_vec());
    if !with_target {
        base.target = TargetColumn::None;
    }
    let part =
        Part { file: options.data.as_deref(), labels: options.labels.as_deref(), rows: options.filter.as_deref() };
    let name = options.data.as_deref().map_or(digits::NAME.into(), |path| path.display().to_string());
    Ok((part.read(&base)?, name))
}

/// Names that only count the columns.
fn numbered(names: &[String]) -> bool {
    names.iter().enumerate().all(|(index, name)| *name == (index + 1).to_string())
}

fn data_options(options: &TrainOptions, classes: Option<Vec<String>>) -> Result<data::Options, Failure> {
    let list = |text: &Option<String>| -> Vec<String> {
        text.iter().flat_map(|text| text.split(',')).map(|word| word.trim().to_owned()).collect()
    };
    Ok(data::Options {
        task: match options.loss.map(Loss::from) {
            Some(Loss::CrossEntropy) => Task::Classes,
            Some(Loss::MeanSquaredError) => Task::Values,
            _ => Task::Auto,
        },
        target: match &options.target {
            None => TargetColumn::Auto,
            Some(_) => TargetColumn::Columns(list(&options.target)),
        },
        ignore: list(&options.ignore),
        classes,
        ..data::Options::default()
    })
}

/// One file, or some rows of it.
struct Part<'a> {
    file: Option<&'a Path>,
    labels: Option<&'a Path>,
    rows: Option<&'a str>,
}

impl Part<'_> {
    fn read(&self, options: &data::Options) -> Result<Table, Failure> {
        let mut options = data::Options { labels: self.labels.map(Path::to_path_buf), ..options.clone() };
        if let Some(rows) = self.rows {
            let filter = rows.parse().map_err(|error| Failure::new(Kind::Usage, error))?;
            options.filters.push(filter);
        }
        Ok(match self.file {
            None => digits::read(&options)?,
            Some(file) => data::read(file, &options)?,
        })
    }
}

/// A table as the library takes it, with the loss and the number of outputs that suit its target.
fn dataset(table: Table, options: &TrainOptions) -> Result<(Dataset, Loss, usize), Failure> {
    let asked = options.loss.map(Loss::from);
    let (labels, loss, outputs) = match table.target {
        Some(Target::Classes { labels, names }) => match asked.unwrap_or(Loss::CrossEntropy) {
            Loss::BinaryCrossEntropy if names.len() == 2 => {
                (Labels::Values(labels.iter().map(|label| *label as f32).collect()), Loss::BinaryCrossEntropy, 1)
            }
            Loss::BinaryCrossEntropy => {
                let message =
                    format!("--loss bce wants two classes or values from 0 to 1, the data has {} classes", names.len());
                return Err(Failure::new(Kind::Usage, message));
            }
            loss => (Labels::Classes(labels), loss, names.len()),
        },
        Some(Target::Values { values, cols, .. }) => {
            (Labels::Values(values), asked.unwrap_or(Loss::MeanSquaredError), cols)
        }
        None => return Err(Failure::new(Kind::Usage, "the data has no target: name its column with --target")),
    };
    Ok((Dataset { inputs: table.inputs, features: table.cols, labels }, loss, outputs))
}

fn hold_out(rows: &mut Rows, share: f64, seed: u64, which: u32, option: &str) -> Result<Option<Rows>, Failure> {
    if !(0.0..1.0).contains(&share) {
        return Err(Failure::new(Kind::Usage, format_args!("{option} {share}: a share from 0 to below 1 is wanted")));
    }
    let (kept, held) = rows.set.hold_out(share, seed, which);
    if kept.is_empty() {
        return Err(Failure::new(Kind::Usage, format_args!("{option} {share} leaves no rows to train on")));
    }
    if held.is_empty() {
        return Ok(None);
    }
    let held =
        Rows { set: rows.set.subset(&held), name: format!("{} of {}", option.trim_start_matches('-'), rows.name) };
    rows.set = rows.set.subset(&kept);
    Ok(Some(held))
}

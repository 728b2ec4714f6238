//! The beginning of a run: options from everywhere, the network new or from a file, the data, and every check that can
//! be made before the first file is written.

use std::path::{Path, PathBuf};

use evenkeel::data::{Batches, order};
use evenkeel::fit::{Run, Trainer};
use evenkeel::interchange::{InterchangeError, resume};
use evenkeel::kernels::accumulate::fits;
use evenkeel::layer::NormMode;
use evenkeel::model::Standardize;
use evenkeel::{Error, Layer, Level, Mlp, Network, Serial, text};

use crate::error::{Failure, Kind};
use crate::history;
use crate::model::{self, Note};
use crate::options::TrainOptions;
use crate::rows::{self, Names, Sets};
use crate::train::Origin;

/// What to train, and where the results go.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The options, merged.
    pub options: TrainOptions,
    /// What to start from.
    pub origin: Origin,
    /// The folder for results.
    pub out: PathBuf,
}

impl Plan {
    /// Merges the command line, `config`, and what lies beside the checkpoint that `--from` names.
    ///
    /// # Errors
    /// For files that cannot be read and options that do not fit together.
    pub fn new(given: &TrainOptions, config: Option<&Path>, out: Option<&Path>) -> Result<Self, Failure> {
        let base = config.map(read_config).transpose()?;
        let mut options = match &base {
            Some(base) => given.over(base)?,
            None => given.clone(),
        };
        spell_out(&mut options)?;
        let Some(from) = options.from.clone() else {
            return Ok(Self { options, origin: Origin::New, out: folder(out)? });
        };
        if given.init.is_some() {
            let message = "--init makes new weights, --from brings them: choose one";
            return Err(Failure::new(Kind::Usage, message));
        }
        let from = model::file_of(&from, "checkpoint.safetensors")?;
        let bytes = model::bytes(&from)?;
        model::check_is_checkpoint(&from, &bytes)?;
        let origin = match Origin::read(&from, &bytes) {
            Err(InterchangeError::NoNetwork) => {
                let (model, note) = model::network(&from, &bytes, options.net.as_deref(), None)?;
                Origin::Weights(Box::new(model), note)
            }
            origin => origin.map_err(|error| Failure::at(Kind::Model, &from, error))?,
        };
        let net = origin.known().map(|(model, _)| model.layers().to_vec()).unwrap_or_default();
        let beside = from.parent().unwrap_or(Path::new(""));
        let out = match (&origin, out, &base) {
            (Origin::Run(..), None, None) => beside.to_path_buf(),
            (_, out, _) => folder(out)?,
        };
        if matches!(origin, Origin::Run(..)) {
            let base = match base {
                Some(base) => base,
                None => {
                    let config = beside.join("config.toml");
                    if !config.is_file() {
                        let message = "the run's config.toml does not lie beside it: name it with --config";
                        return Err(Failure::at(Kind::Usage, &from, message));
                    }
                    read_config(&config)?
                }
            };
            if given.dialect.is_some() && given.net.is_none() {
                let message =
                    "--dialect converts weights, and a run goes on as it is: begin with its model.safetensors";
                return Err(Failure::at(Kind::Usage, &from, message));
            }
            options = given.over(&base)?;
            spell_out(&mut options)?;
            // The run began where its configuration says; this checkpoint is only a stop on the way.
            (options.from, options.init) = (base.from, base.init);
        } else if from.canonicalize().ok() == out.join("model.safetensors").canonicalize().ok() {
            let message = format!(
                "training would overwrite the weights it starts from: name another folder than {} with --out",
                out.display()
            );
            return Err(Failure::at(Kind::Usage, &from, message));
        }
        let asked = options.net.as_deref().map(parse_net).transpose()?;
        if asked.is_some_and(|asked| asked != net) {
            let message = format!("its network is {}, not that of --net: leave --net out", text::print(&net));
            return Err(Failure::at(Kind::Usage, &from, message));
        }
        Ok(Self { options, origin, out })
    }
}

fn folder(out: Option<&Path>) -> Result<PathBuf, Failure> {
    match out {
        None => Ok(PathBuf::from("run")),
        Some(out) if out.as_os_str().is_empty() => Err(Failure::new(Kind::Usage, "--out is empty: name a folder")),
        Some(out) => Ok(out.to_path_buf()),
    }
}

/// Reads `config.toml`.
///
/// # Errors
/// [`Kind::Usage`] with the line.
pub fn read_config(path: &Path) -> Result<TrainOptions, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::at(Kind::Usage, path, format_args!("cannot be read: {error}")))?;
    toml::from_str(&text).map_err(|error: toml::de::Error| {
        let line = error.span().map_or(1, |span| text.get(..span.start).unwrap_or("").matches('\n').count() + 1);
        Failure::at(Kind::Usage, path, format_args!("line {line}: {}", error.message()))
    })
}

/// Writes the dialect into the network's text, if there is one: from there on it stands for itself.
fn spell_out(options: &mut TrainOptions) -> Result<(), Failure> {
    if let (Some(net), Some(dialect)) = (&options.net, options.dialect) {
        let layers = text::parse_in(net, dialect.into())
            .map_err(|error| Failure::new(Kind::Usage, format_args!("--net: {error}")))?;
        (options.net, options.dialect) = (Some(text::print(&layers)), None);
    }
    Ok(())
}

fn parse_net(net: &str) -> Result<Vec<evenkeel::Layer>, Failure> {
    text::parse(net).map_err(|error| Failure::new(Kind::Usage, format_args!("--net: {error}")))
}

/// A run that can begin.
pub(crate) struct Started {
    pub(crate) sets: Sets,
    pub(crate) run: Run,
    pub(super) note: Note,
    /// The options with every default filled in, for `config.toml`.
    pub(super) resolved: TrainOptions,
    /// Seconds of the epochs done before.
    pub(super) seconds: Vec<f64>,
}

/// Reads the data and makes the run.
pub(crate) fn start(options: &TrainOptions, origin: &Origin, level: Level) -> Result<Started, Failure> {
    options.check()?;
    // Columns and categories are those that the weights are of, wherever they stand in the file.
    let encoding = origin.encoding(options);
    let names = origin.known().map_or_else(Names::default, |(model, note)| Names {
        features: &note.features,
        classes: &model.classes,
        inputs: model.network().inputs(),
        encoding: encoding.as_ref(),
    });
    let sets = rows::read(options, names)?;
    let trainer = options.trainer(sets.loss, level)?;
    let inputs = sets.train.set.features();
    let mut seconds = Vec::new();
    let run = match origin {
        Origin::New => {
            let layers = match (options.net.as_deref(), options.dialect) {
                (None, Some(dialect)) => text::parse_in(&standard_net(sets.outputs), dialect.into())
                    .map_err(|error| Failure::new(Kind::Usage, error))?,
                (net, _) => parse_net(net.unwrap_or(&standard_net(sets.outputs)))?,
            };
            check_ends(&Network::new(inputs, &layers)?, &sets)?;
            check_memory(&Network::new(inputs, &layers)?, &trainer)?;
            let mut model = Mlp::new(inputs, layers)?;
            if !options.init_is_lsuv() {
                model.init(options.init()?, options.seed());
            }
            model.classes.clone_from(&sets.classes);
            // Lists are taken as they are, numbers are standardised unless the options say otherwise.
            if options.standardize.unwrap_or(!sets.train.set.is_lists()) {
                model.standardize = Some(standardisation(&sets)?);
            }
            if options.init_is_lsuv() {
                suit_to_data(&mut model, &sets, options, level)?;
            }
            Run::new(model, trainer)?
        }
        Origin::Weights(model, _) => {
            check_ends(&model.network(), &sets)?;
            check_memory(&model.network(), &trainer)?;
            let mut model = match options.dialect {
                Some(dialect) => model.to_dialect(dialect.into(), options.batch())?,
                None => (**model).clone(),
            };
            model.classes.clone_from(&sets.classes);
            match (&model.standardize, options.standardize) {
                (None, Some(true)) => model.standardize = Some(standardisation(&sets)?),
                (Some(_), Some(false)) => return Err(standardised()),
                _ => {}
            }
            Run::new(model, trainer)?
        }
        Origin::Run(run, _, path) => {
            check_ends(&run.model.network(), &sets)?;
            if options.standardize.is_some_and(|asked| asked != run.model.standardize.is_some()) {
                return Err(standardised());
            }
            if let Some(folder) = path.parent()
                && let Ok(bytes) = std::fs::read(folder.join("history.csv"))
                && let Ok((epochs, _)) = history::from_csv("history.csv", &bytes)
            {
                seconds = epochs.iter().map(|epoch| epoch.seconds).collect();
            }
            let run = resume::Resume::clone(run).with(trainer).map_err(|error| {
                let message = format!("{error}; --from model.safetensors starts a new run from its weights");
                Failure::at(Kind::Usage, path, message)
            })?;
            check_position(&run, &sets, path)?;
            run
        }
    };
    check_fit(&run, &sets)?;
    check_lists(&run, &sets)?;
    let resolved = options.resolved(sets.loss, text::print(run.model.layers()), run.model.standardize.is_some());
    let note = Note::new(&run.model, &sets.features, &sets.encoding, sets.loss);
    Ok(Started { sets, run, note, resolved, seconds })
}

/// Weights after the first rows of the first epoch: a file's own order may go by class.
fn suit_to_data(model: &mut Mlp, sets: &Sets, options: &TrainOptions, level: Level) -> Result<(), Failure> {
    const ROWS: usize = 256;
    let mut rows = order(sets.train.set.rows(), options.seed(), 0, true);
    rows.truncate(ROWS);
    let rows = sets.train.set.subset(&rows)?;
    let suited = model.init_lsuv(level, &Serial, &rows.as_values()?, options.seed());
    suited.map_err(|error| Failure::new(Kind::Data, format_args!("--init lsuv: {error}")))
}

fn standard_net(outputs: usize) -> String {
    format!("dense(64) bn relu dropout(0.2) dense(64) bn relu dropout(0.2) dense({outputs})")
}

/// Mean and deviation of the training rows.
fn standardisation(sets: &Sets) -> Result<Standardize, Failure> {
    if sets.train.set.is_lists() {
        let why =
            "index lists are not standardised: their zeros would become other numbers, and all of them would count";
        return Err(Failure::new(Kind::Usage, format_args!("--standardize true: {why}")));
    }
    Ok(Standardize::learn_from(sets.train.set.inputs()?, sets.train.set.features())?)
}

fn standardised() -> Failure {
    let message = "--standardize: the weights to start from were trained the other way; leave the option out";
    Failure::new(Kind::Usage, message)
}

/// The network's ends must be the data's.
fn check_ends(network: &Network<'_>, sets: &Sets) -> Result<(), Failure> {
    let (inputs, outputs) = (network.inputs(), network.outputs());
    let mut problem = None;
    if inputs != sets.train.set.features() {
        problem =
            Some(format!("the network takes {inputs} inputs, {} has {}", sets.train.name, sets.train.set.features()));
    } else if outputs != sets.outputs {
        let what = match sets.loss {
            loss if loss.takes_classes() => "classes",
            loss if loss.is_binary() && !sets.classes.is_empty() => "output for two classes under the loss",
            _ => "target values a row",
        };
        problem = Some(format!(
            "the network ends with {outputs} outputs, {} has {} {what}: end it with dense({})",
            sets.train.name, sets.outputs, sets.outputs
        ));
    }
    problem.map_or(Ok(()), |message| Err(Failure::new(Kind::Usage, message)))
}

/// What training keeps of every parameter must fit into the memory, before any of it is taken.
fn check_memory(network: &Network<'_>, trainer: &Trainer) -> Result<(), Failure> {
    // Parameters, gradients, moments, and the best epoch's.
    let copies = 3 + trainer.rules.optimizer.moments();
    let bytes = network.params_len().saturating_mul(4 * copies);
    if Vec::<u8>::new().try_reserve_exact(bytes).is_ok() {
        return Ok(());
    }
    let (parameters, gigabytes) = (network.params_len(), bytes as f64 / 1e9);
    let message = format!(
        "the network has {parameters} parameters, training it takes {gigabytes:.0} GB of memory, more than there is"
    );
    Err(Failure::new(Kind::Usage, message))
}

/// A run stopped within an epoch goes on there: the data must still have as many batches.
fn check_position(run: &Run, sets: &Sets, path: &Path) -> Result<(), Failure> {
    let batches =
        Batches::plan(sets.train.set.rows(), run.trainer.batch, run.trainer.scope.joins_rows(&run.model.network()))?;
    let steps = u64::from(run.progress.epoch) * batches.count() as u64 + run.progress.batch as u64;
    // All batches of an epoch done is a position too: the validation comes next.
    if run.progress.batch <= batches.count() && run.progress.step == steps {
        return Ok(());
    }
    let message = format!(
        "the run has done {} steps in {} epochs, which does not fit {} rows to train on: are they the same data?",
        run.progress.step,
        run.progress.epoch,
        sets.train.set.rows()
    );
    Err(Failure::at(Kind::Usage, path, message))
}

/// Index lists are read by a dense layer, as they are.
fn check_lists(run: &Run, sets: &Sets) -> Result<(), Failure> {
    let first = run.model.layers().first();
    let problem = match first {
        _ if !sets.train.set.is_lists() => return Ok(()),
        _ if run.trainer.mixup > 0.0 || run.trainer.jitter > 0.0 => {
            let message = "--mixup and --jitter make other numbers of ones and zeros: they do not go with index lists";
            return Err(Failure::new(Kind::Usage, message));
        }
        _ if run.model.standardize.is_some() => evenkeel::Error::ListsStandardized,
        Some(first) if !matches!(first, evenkeel::Layer::Dense { .. }) => {
            evenkeel::Error::ListsFirst { name: first.name() }
        }
        _ => return Ok(()),
    };
    Err(Failure::new(Kind::Usage, format_args!("{}: {problem}", sets.train.name)))
}

/// Whether all batches can be computed in parts of so many rows.
fn check_parts(network: &Network<'_>, batches: &Batches, part: usize) -> Result<(), Failure> {
    let refuse = |error: Error| Err(Failure::new(Kind::Usage, format_args!("--micro-batch {part}: {error}")));
    let lengths = || (0..batches.count()).map(|index| batches.range(index).len());
    if let Some(rows) = lengths().find(|rows| !fits(*rows, part.min(*rows))) {
        return refuse(Error::Parts { rows, part });
    }
    let ghosts = |layer: &Layer| matches!(layer, Layer::BatchNorm(bn) if matches!(bn.mode, NormMode::Ghost { rows } if lengths().any(|len| len > rows + 1)));
    match network.layers().iter().position(ghosts) {
        Some(layer) if part < batches.largest() => refuse(Error::GhostParts { layer }),
        _ => Ok(()),
    }
}

/// What the first step would refuse, before files are written.
fn check_fit(run: &Run, sets: &Sets) -> Result<(), Failure> {
    let outputs = run.model.network().outputs();
    let (rows, network) = (sets.train.set.rows(), run.model.network());
    let joins = run.trainer.scope.joins_rows(&network);
    let batches = Batches::plan(rows, run.trainer.batch, joins).map_err(|error| {
        Failure::new(Kind::Usage, format_args!("--batch {} of {rows} rows: {error}", run.trainer.batch))
    })?;
    if let Some(part) = run.trainer.part {
        check_parts(&network, &batches, part)?;
    }
    for rows in [Some(&sets.train), sets.validation.as_ref(), sets.test.as_ref()].into_iter().flatten() {
        let view = rows.set.view()?;
        view.targets
            .check(run.trainer.rules.loss, view.rows(), outputs)
            .map_err(|error| Failure::new(Kind::Data, format_args!("{}: {error}", rows.name)))?;
        if rows.set.features() != sets.train.set.features() {
            let (found, expected) = (rows.set.features(), sets.train.set.features());
            let message = format!("{}: {found} inputs, the training rows have {expected}", rows.name);
            return Err(Failure::new(Kind::Data, message));
        }
    }
    Ok(())
}

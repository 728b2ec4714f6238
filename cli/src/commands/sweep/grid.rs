//! The grid of a sweep: a TOML file with options of `train`, of which those with a list are varied.

use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::super::many::Wanted;
use super::check;
use crate::error::{Failure, Kind};
use crate::options::TrainOptions;

/// More runs than anybody waits for; a slip in the grid rather than a wish.
const MOST_RUNS: usize = 100_000;

/// A grid as it was read.
#[derive(Clone, Debug)]
pub(super) struct Grid {
    path: PathBuf,
    fixed: Table,
    /// Options with their values, in alphabetical order; the last one changes fastest.
    varied: Vec<(String, Vec<Value>)>,
}

impl Grid {
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Failure::at(Kind::Usage, path, format_args!("cannot be read: {error}")))?;
        let table: Table = toml::from_str(&text).map_err(|error: toml::de::Error| {
            let line = error.span().map_or(1, |span| text.get(..span.start).unwrap_or("").matches('\n').count() + 1);
            Failure::at(Kind::Usage, path, format_args!("line {line}: {}", error.message()))
        })?;
        let (mut fixed, mut varied) = (Table::new(), Vec::new());
        for (key, value) in table {
            match value {
                Value::Array(values) if values.is_empty() => {
                    return Err(Failure::at(Kind::Usage, path, format_args!("{key} = [] has no value")));
                }
                Value::Array(values) => varied.push((key, values)),
                Value::Table(_) => {
                    let message = format!("[{key}]: write options one a line, such as lr = [0.01, 0.001]");
                    return Err(Failure::at(Kind::Usage, path, message));
                }
                value => {
                    fixed.insert(key, value);
                }
            }
        }
        let grid = Self { path: path.to_path_buf(), fixed, varied };
        if grid.varied.is_empty() {
            let message = "no option has a list of values to try: write some, such as lr = [0.01, 0.001]";
            return Err(Failure::at(Kind::Usage, path, message));
        }
        if grid.varied.iter().any(|(key, _)| key == "monitor") {
            let message = "monitor has several values, but the table is sorted by one: choose it";
            return Err(Failure::at(Kind::Usage, path, message));
        }
        Ok(grid)
    }

    /// Names of the options that are varied.
    pub(super) fn axes(&self) -> Vec<&str> {
        self.varied.iter().map(|(key, _)| key.as_str()).collect()
    }

    /// The values of run `at`, as text.
    pub(super) fn values(&self, at: usize) -> Vec<String> {
        self.chosen(at).map(|(_, value)| shown(value)).collect()
    }

    fn chosen(&self, at: usize) -> impl Iterator<Item = (&str, &Value)> {
        let mut rest = at;
        let mut chosen: Vec<(&str, &Value)> = Vec::new();
        for (key, values) in self.varied.iter().rev() {
            chosen.push((key, &values[rest % values.len()]));
            rest /= values.len();
        }
        chosen.into_iter().rev()
    }

    /// The same grid in one form: what lies in a folder is compared with it.
    pub(super) fn canonical(&self) -> Result<String, Failure> {
        let mut table = self.fixed.clone();
        table.extend(self.varied.iter().map(|(key, values)| (key.clone(), Value::Array(values.clone()))));
        let text = toml::to_string(&table).map_err(|error| Failure::new(Kind::Write, error))?;
        Ok(format!("# evenkeel sweep THIS_FILE --out FOLDER repeats the sweep.\n{text}"))
    }

    /// All combinations, each checked.
    pub(super) fn runs(&self) -> Result<Vec<Wanted>, Failure> {
        let count = self.varied.iter().try_fold(1_usize, |count, (_, values)| count.checked_mul(values.len()));
        let count = count.filter(|count| *count <= MOST_RUNS).ok_or_else(|| {
            Failure::at(Kind::Usage, &self.path, format_args!("the grid has more than {MOST_RUNS} runs"))
        })?;
        let width = (count.ilog10() as usize + 1).max(3);
        (0..count)
            .map(|at| {
                let mut table = self.fixed.clone();
                table.extend(self.chosen(at).map(|(key, value)| (key.to_owned(), value.clone())));
                let options: TrainOptions = table.try_into().map_err(|error: toml::de::Error| {
                    // Not the list of all options.
                    let message = error.message().split(", expected one of").next().unwrap_or_default().to_owned();
                    let message = format!("{message} (evenkeel train --help lists all options, without their --)");
                    Failure::at(Kind::Usage, &self.path, message)
                })?;
                let name: Vec<String> = self.chosen(at).map(|(key, value)| format!("{key}={}", shown(value))).collect();
                let name = name.join(" ");
                check(&options, &name)?;
                Ok(Wanted { folder: format!("{:0width$}", at + 1), name, options })
            })
            .collect()
    }
}

/// A value without the quotes of text.
fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(text: &str) -> Result<Grid, Failure> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("grid.toml");
        std::fs::write(&path, text).unwrap();
        Grid::read(&path)
    }

    #[test]
    fn every_combination_once() {
        let grid = grid("seed = [1, 2, 3]\nepochs = 4\nlr = [0.1, 1]\nnet = [\"dense(3)\", \"dense(4)\"]\n").unwrap();
        let runs = grid.runs().unwrap();
        assert_eq!((grid.axes(), runs.len()), (vec!["lr", "net", "seed"], 12));
        assert_eq!(runs[0].name, "lr=0.1 net=dense(3) seed=1");
        assert_eq!((runs[11].name.as_str(), runs[11].folder.as_str()), ("lr=1 net=dense(4) seed=3", "012"));
        assert_eq!((runs[7].options.lr, runs[7].options.seed, runs[7].options.epochs), (Some(1.0), Some(2), Some(4)));
        assert_eq!(runs.iter().map(|run| &run.name).collect::<std::collections::HashSet<_>>().len(), 12);
        assert_eq!(grid.canonical().unwrap(), grid.canonical().unwrap());
    }

    /// scikit-learn's combinations in its order.
    #[test]
    fn runs_of_a_parameter_grid() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden/flow.json");
        let file: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let options = file["grid"]["options"].as_object().unwrap();
        let text: String = options.iter().map(|(key, values)| format!("{key} = {values}\n")).collect();
        let runs = grid(&text).unwrap().runs().unwrap();
        let truth = file["grid"]["runs"].as_array().unwrap();
        assert_eq!(runs.len(), truth.len());
        for (run, truth) in runs.iter().zip(truth) {
            let (batch, optimizer) = (truth["batch"].as_u64().unwrap(), truth["optimizer"].as_str().unwrap());
            assert_eq!(run.name, format!("batch={batch} lr={} optimizer={optimizer}", truth["lr"]));
        }
    }

    #[test]
    fn a_slip_is_named() {
        for (text, needle) in [
            ("epochs = 4", "no option has a list"),
            ("lrr = [1, 2]", "unknown field `lrr`"),
            ("lr = []", "lr = [] has no value"),
            ("[grid]\nlr = [1]", "write options one a line"),
            ("lr = [1\n\n", "line"),
            ("monitor = [\"loss\", \"accuracy\"]", "choose it"),
            ("epochs = [3, 0]", "epochs=0: --epochs must be at least 1"),
            ("lr = [0.1, \"fast\"]", "invalid type"),
        ] {
            let error = grid(text).and_then(|grid| grid.runs()).unwrap_err();
            assert!(error.message.contains(needle) && error.message.len() < 300, "{text}: {error}");
        }
    }
}

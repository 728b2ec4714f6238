//! `docs/names.md` and its tests: every row has one, every name is known, and what was compared is printed row by row.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::path::Path;

use evenkeel::train::Constraint;
use evenkeel::{Init, Loss, Optimizer, Schedule, text};

/// What a test compared under a key: a name of evenkeel's, or nothing where the whole test belongs to each of its rows.
struct Entry {
    test: &'static str,
    key: String,
    vectors: usize,
    values: usize,
    deviation: f64,
    unit: Unit,
}

/// What a deviation is counted in.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Unit {
    /// Parts of the value, or of the scale that the test says.
    Relative,
    /// Spacings of `f32` at the value.
    Ulp,
}

thread_local! {
    static ENTRIES: RefCell<Vec<Entry>> = const { RefCell::new(Vec::new()) };
}

/// Writes down what was compared, for the table.
pub(crate) fn note(key: &str, (vectors, values): (usize, usize), deviation: f64, unit: Unit) {
    let entry = Entry { test: "", key: key.into(), vectors, values, deviation, unit };
    ENTRIES.with_borrow_mut(|entries| entries.push(entry));
}

macro_rules! tests {
    ($($module:ident::$name:ident),* $(,)?) => {
        [$((concat!(stringify!($module), "::", stringify!($name)), crate::$module::$name as fn())),*]
    };
}

/// The tests of this directory that compare with stored results.
const TESTS: [(&str, fn()); 48] = tests![
    flow::balanced_classes,
    flow::clipped_values,
    flow::drawn_matrices,
    flow::dropout,
    flow::folds,
    flow::hooks,
    flow::initial_matrices,
    flow::noise_on_the_inputs,
    flow::rate_finder,
    flow::standardised_inputs,
    lists::index_lists,
    metrics::metrics_of_classes,
    metrics::metrics_of_quantities,
    metrics::metrics_of_scores,
    metrics::weighted_metrics,
    norms::averages_of_weights,
    norms::batch_norm_frozen_among_others,
    norms::batch_renorm,
    norms::drop_connect,
    norms::dropouts_kin,
    norms::folded_running_statistics,
    norms::ghost_batch_norm,
    norms::layer_norm,
    norms::layer_norm_in_training,
    norms::recalibrated_statistics,
    objectives::gains,
    objectives::laws_of_initial_weights,
    objectives::losses_of_other_libraries,
    objectives::mixed_classes,
    objectives::smoothed_losses,
    objectives::weighted_losses,
    optimizers::optimizers,
    optimizers::plateaus,
    optimizers::rates,
    optimizers::rules,
    training::early_stopping,
    training::inference,
    training::schedules,
    training::training_steps,
    tuning::tuning_steps,
    units::more_activations_and_gradients,
    units::prelu_and_gradients,
    values::activations_and_gradients,
    values::batch_norm_as_in_keras,
    values::batch_norm_as_in_pytorch,
    values::batch_norm_on_hard_columns,
    values::losses_and_gradients,
    values::softmax_rows,
];

/// A row of the tables in `docs/names.md`.
struct Row {
    section: String,
    /// Names of evenkeel's, as they stand between backticks.
    names: Vec<String>,
    /// `file::function` of each test; those of this directory without their path.
    tests: Vec<String>,
    /// Which of the tests' keys belong to the row, if it is not those that its names begin with.
    keys: Vec<String>,
}

fn root(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn between_backticks(cell: &str) -> impl Iterator<Item = String> {
    cell.split('`').skip(1).step_by(2).map(String::from)
}

/// All rows of all tables that have a column of evenkeel's names.
fn rows(page: &str) -> Vec<Row> {
    let (mut rows, mut section, mut columns) = (Vec::new(), String::new(), None);
    for line in page.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            section = title.to_owned();
        }
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        if !line.starts_with('|') {
            columns = None;
        } else if let Some((ours, test)) = columns {
            if !line.starts_with("|---") {
                let (tests, keys) = between_backticks(cells[test]).partition(|token: &String| token.contains("::"));
                let names: Vec<String> = between_backticks(cells[ours]).collect();
                assert!(!names.is_empty(), "{section}: no name of ours in {line}");
                rows.push(Row { section: section.clone(), names, tests, keys });
            }
        } else {
            let ours = cells.iter().position(|cell| cell.starts_with("evenkeel"));
            let test = cells.iter().position(|cell| *cell == "test");
            columns = ours.map(|ours| (ours, test.unwrap_or_else(|| panic!("{section}: no column of tests"))));
        }
    }
    rows
}

/// A name without its arguments.
fn base(name: &str) -> &str {
    name.split(['(', ' ', '=']).next().unwrap_or(name)
}

impl Row {
    fn takes(&self, entry: &Entry) -> bool {
        let of = |name: &String| base(name) == base(&entry.key);
        self.tests.iter().any(|test| test == entry.test)
            && match self.keys.as_slice() {
                [] => entry.key.is_empty() || self.names.iter().any(of),
                keys => keys.iter().any(|key| entry.key.contains(key.as_str())),
            }
    }
}

/// Every row of the page: vectors, values, largest deviation.
#[test]
pub(crate) fn every_row_of_the_names() {
    let page = std::fs::read_to_string(root("docs/names.md")).unwrap();
    let mut entries = Vec::new();
    for (test, run) in TESTS {
        run();
        let new = ENTRIES.take();
        assert!(!new.is_empty(), "{test} has compared nothing");
        entries.extend(new.into_iter().map(|entry| Entry { test, ..entry }));
    }
    let (mut out, mut section, mut stored) = (String::new(), String::new(), 0);
    let mut sections: Vec<(&str, Vec<&Entry>)> = Vec::new();
    let (mut otherwise, mut problems, rows) = (Vec::new(), Vec::new(), rows(&page));
    for row in &rows {
        if row.section != section {
            section.clone_from(&row.section);
            writeln!(out, "\n{section:<58} {:>7} {:>9}  largest deviation", "vectors", "values").unwrap();
        }
        let name = row.names.join(", ");
        let name = if name.len() > 54 { format!("{}…", name.split_at(name.floor_char_boundary(53)).0) } else { name };
        for test in row.tests.iter().filter(|test| !test.contains('/')) {
            if !TESTS.iter().any(|(known, _)| known == test) {
                problems.push(format!("{section}, {name}: no test is called {test}"));
            } else if !entries.iter().any(|entry| entry.test == test && row.takes(entry)) {
                problems.push(format!("{section}, {name}: {test} compares nothing under that name"));
            }
        }
        if row.tests.is_empty() {
            problems.push(format!("{section}, {name}: no test"));
        }
        let of_row: Vec<&Entry> = entries.iter().filter(|entry| row.takes(entry)).collect();
        if of_row.is_empty() {
            otherwise.push(format!("  {name}: {}", row.tests.join(", ")));
            continue;
        }
        stored += 1;
        match sections.last_mut() {
            Some((last, of)) if *last == row.section => of.extend(&of_row),
            _ => sections.push((&row.section, of_row.clone())),
        }
        let sum = |of: fn(&Entry) -> usize| of_row.iter().map(|entry| of(entry)).sum::<usize>();
        writeln!(out, "  {name:<56} {:>7} {:>9}  {}", sum(|e| e.vectors), sum(|e| e.values), worst(&of_row)).unwrap();
    }
    let all: Vec<&Entry> = entries.iter().collect();
    let (vectors, values) = (all.iter().map(|e| e.vectors).sum::<usize>(), all.iter().map(|e| e.values).sum::<usize>());
    writeln!(out, "\n{:<58} {:>7} {:>9}  largest deviation", "all rows of", "vectors", "values").unwrap();
    for (section, of) in &mut sections {
        // A test that several rows share counts once.
        of.sort_by_key(|entry| std::ptr::from_ref(*entry));
        of.dedup_by_key(|entry| std::ptr::from_ref(*entry));
        let sum = |what: fn(&Entry) -> usize| of.iter().map(|entry| what(entry)).sum::<usize>();
        writeln!(out, "  {section:<56} {:>7} {:>9}  {}", sum(|e| e.vectors), sum(|e| e.values), worst(of)).unwrap();
    }
    writeln!(out, "\n{stored} rows, {vectors} vectors, {values} values; largest deviation {}", worst(&all)).unwrap();
    writeln!(
        out,
        "\n{} rows that other tests look at: without a twin, by bits, by law, or in the command:",
        otherwise.len()
    )
    .unwrap();
    println!("{out}{}", otherwise.join("\n"));
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// The largest deviations, of each unit.
fn worst(entries: &[&Entry]) -> String {
    let of = |unit| entries.iter().filter(move |e| e.unit == unit).map(|e| e.deviation).reduce(f64::max);
    match (of(Unit::Relative), of(Unit::Ulp)) {
        (Some(0.0), None) => "none".into(),
        (Some(relative), None) => format!("{relative:.1e}"),
        (None, Some(ulp)) => format!("{ulp:.2} ulp"),
        (Some(0.0), Some(0.0)) => "none".into(),
        (Some(relative), Some(ulp)) => format!("{relative:.1e}; {ulp:.2} ulp"),
        (None, None) => String::new(),
    }
}

/// Whether a parser of the section knows a name.
fn known(section: &str, name: &str) -> bool {
    let plain = base(name);
    let ways = [
        name.to_owned(),
        plain.to_owned(),
        format!("{plain}(0.5)"),
        format!("{plain}(2)"),
        format!("{plain}(2, 0.5)"),
        format!("{plain}(2, 2, 0.5)"),
    ];
    let any = |reads: fn(&str) -> bool| ways.iter().any(|way| reads(way));
    match section {
        "Activations" | "Dropout and its kin" | "Normalisation" => {
            any(|text| text::parse(&format!("dense(4) {text} dense(2)")).is_ok())
        }
        "Penalties, constraints, averaging" => any(|text| text.parse::<Constraint>().is_ok()),
        "Initialisers" => name == "lsuv" || any(|text| text.parse::<Init>().is_ok()),
        "Targets and inputs: smoothing, mixup, noise" | "Losses" => any(|text| text.parse::<Loss>().is_ok()),
        "Optimisers" => any(|text| text.parse::<Optimizer>().is_ok()),
        "Learning-rate schedules" => any(|text| text.parse::<Schedule>().is_ok()),
        _ => false,
    }
}

/// All of the library's source.
fn source(folder: &Path, all: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.extension() {
            None => source(&path, all),
            Some(_) => all.push_str(&std::fs::read_to_string(&path).unwrap()),
        }
    }
}

/// Every name of ours is read by its parser or stands in the source, and every test that the page names is there. Options
/// and commands are looked at by the command's own tests.
#[test]
pub(crate) fn names_and_tests_are_there() {
    let page = std::fs::read_to_string(root("docs/names.md")).unwrap();
    let mut all = String::new();
    source(&root("src"), &mut all);
    let (mut looked_at, mut problems) = (0, Vec::new());
    for row in rows(&page) {
        let section = &row.section;
        for name in row.names.iter().filter(|name| !name.starts_with("--") && !name.starts_with("evenkeel ")) {
            if name.contains("::") || name.starts_with(char::is_uppercase) {
                let path: Vec<&str> = base(name).split("::").collect();
                for part in &path {
                    let stands = all.match_indices(part).any(|(at, _)| {
                        let letter = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
                        !letter(all[..at].chars().next_back()) && !letter(all[at + part.len()..].chars().next())
                    });
                    if !stands {
                        problems.push(format!("{section}: {name} is nowhere in src/"));
                    }
                }
            } else if section != "Metrics" && !known(section, name) {
                problems.push(format!("{section}: no parser knows {name}"));
            }
            looked_at += 1;
        }
        for test in row.tests.iter().filter(|test| test.contains('/')) {
            let (file, function) = test.split_once("::").unwrap();
            let text = std::fs::read_to_string(root(file)).unwrap_or_default();
            let before = text.split_once(&format!("fn {function}(")).map(|(before, _)| before.trim_end());
            if !before.is_some_and(|before| before.ends_with("#[test]")) {
                problems.push(format!("{section}: there is no test {test}"));
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(looked_at > 150, "{looked_at}");
}

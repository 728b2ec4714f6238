//! One trained network, one hash: on every exact level, with any threads, evaluated in any batches, on x86-64 and on
//! AArch64.
//!
//! On AArch64 through an emulator:
//!
//! ```text
//! CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
//! CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64-static -cpu max" \
//! cargo test --target aarch64-unknown-linux-gnu --test same_bits -- --nocapture
//! ```
#![cfg(feature = "rayon")]

use std::ops::ControlFlow;

use evenkeel::fit::Run;
use evenkeel::host::pool::{Global, Pool};
use evenkeel::rng::{Purpose, Stream, unit};
use evenkeel::split::Split;
use evenkeel::train::Clip;
use evenkeel::{Dataset, EarlyStopping, Init, Labels, Level, Loss, Mlp, Optimizer, Schedule, Serial, Trainer, text};
use sha2::{Digest, Sha256};

/// What the recipes below lead to on every machine with a fused multiply-add; found the same on x86-64 (AVX2, AVX-512) and
/// AArch64 (NEON, and portable vectors). It changes with the numeric contract or with the recipes.
const HASH: &str = "da8a86588a3a8cc195df136404528089bba0c9d653281afe798bb4d205d9facc";

const ROWS: usize = 603;
const VALIDATION: usize = 203;

/// A network, its data and how it is trained.
struct Recipe {
    model: Mlp,
    trainer: Trainer,
    train: Dataset,
    validation: Dataset,
}

/// Rows of random numbers, labelled by which of their features is largest; no arithmetic that could round.
fn data(rows: usize, features: usize, classes: usize, values: bool, stream: u32) -> Dataset {
    let words = Stream::new(2026, Purpose::Init, stream, 0);
    let inputs: Vec<f32> = (0..(rows * features) as u64).map(|i| 2.0 * unit(words.word(i)) - 1.0).collect();
    let largest = |row: &[f32]| (0..classes).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap_or(0);
    let labels = inputs.chunks(features).map(largest);
    let labels = if values {
        Labels::Values(labels.flat_map(|label| (0..classes).map(move |class| f32::from(class == label))).collect())
    } else {
        Labels::Classes(labels.map(|label| label as u32).collect())
    };
    Dataset { inputs, features, labels }
}

/// Between them: every activation, both batch-norm dialects, dropout, all optimisers, all losses, clipping, penalties, a
/// schedule, early stopping, rows beyond 256 in a batch and features beyond 256 in a row, odd widths.
fn recipes() -> Vec<Recipe> {
    let nesterov = Optimizer::Sgd { momentum: 0.9, nesterov: true };
    let plans = [
        (
            20,
            "dense(48) bn relu dropout(0.2) dense(33) bn tanh dropout(0.3) dense(5)",
            Loss::CrossEntropy,
            Optimizer::ADAM,
            32,
        ),
        (270, "bn(keras) dense(35, bias=false) bn gelu dropout(0.1) dense(3)", Loss::CrossEntropy, nesterov, 300),
        (
            20,
            "dense(17) silu dense(19) sigmoid bn dense(4) log_softmax dense(1)",
            Loss::BinaryCrossEntropy,
            Optimizer::ADAMW,
            50,
        ),
        (
            9,
            "dense(64) leaky_relu(0.2) bn(eps=0.01, momentum=none) dense(6) softmax",
            Loss::MeanSquaredError,
            Optimizer::SGD,
            64,
        ),
    ];
    let recipe = |(at, (features, layers, loss, optimizer, batch)): (usize, (usize, &str, Loss, Optimizer, usize))| {
        let mut model = Mlp::new(features, text::parse(layers).unwrap()).unwrap();
        model.init([Init::HeNormal, Init::GlorotUniform, Init::Orthogonal { gain: 1.0 }, Init::TorchLinear][at], 7);
        let lr = if at == 3 { 0.3 } else { 0.01 };
        let mut trainer = Trainer::new(loss).optimizer(optimizer, lr).batch(batch).epochs(4);
        trainer.seed = at as u64;
        match at {
            0 => trainer.schedule = Schedule::Cosine { floor: 0.05 },
            1 => (trainer.rules.clip, trainer.rules.l2) = (Clip::Norm(0.5), 1e-3),
            2 => trainer.rules.clip = Clip::Value(0.05),
            _ => trainer = trainer.early_stopping(EarlyStopping::patience(3)),
        }
        let (classes, values) = (model.network().outputs(), loss != Loss::CrossEntropy);
        let train = data(ROWS, features, classes, values, 2 * at as u32);
        let validation = data(VALIDATION, features, classes, values, 2 * at as u32 + 1);
        Recipe { model, trainer, train, validation }
    };
    plans.into_iter().enumerate().map(recipe).collect()
}

/// Trains; returns the run, ended.
fn train(recipe: &Recipe, level: Level, split: &impl Split) -> Run {
    let mut run = Run::new(recipe.model.clone(), Trainer { level, ..recipe.trainer }).unwrap();
    let (train, validation) = (recipe.train.view().unwrap(), recipe.validation.view().ok());
    run.fit(train, validation, split, &mut |_| ControlFlow::Continue(())).unwrap();
    run
}

fn add(hash: &mut Sha256, values: &[f32]) {
    values.iter().for_each(|value| hash.update(value.to_bits().to_le_bytes()));
}

/// Everything a run ends with, and what its network answers when asked for `batch` rows at a time.
fn digest(hash: &mut Sha256, run: &Run, recipe: &Recipe, level: Level, split: &impl Split, batch: usize) {
    for values in [&run.model.params, &run.model.state, &run.moments] {
        add(hash, values);
    }
    for epoch in &run.history.epochs {
        hash.update(epoch.loss.to_bits().to_le_bytes());
        hash.update(epoch.val_loss.unwrap().to_bits().to_le_bytes());
    }
    for rows in recipe.validation.inputs.chunks(batch * recipe.validation.features) {
        add(hash, &run.model.predict(level, split, rows).unwrap());
    }
}

fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The hashes of one level and split: one for each evaluation batch.
fn hashes(recipes: &[Recipe], level: Level, split: &impl Split) -> Vec<String> {
    let runs: Vec<Run> = recipes.iter().map(|recipe| train(recipe, level, split)).collect();
    let hash = |batch| {
        let mut hash = Sha256::new();
        recipes.iter().zip(&runs).for_each(|(recipe, run)| digest(&mut hash, run, recipe, level, split, batch));
        hex(hash)
    };
    [1, 7, 64, VALIDATION].map(hash).to_vec()
}

fn exact_levels() -> impl Iterator<Item = Level> {
    Level::available().filter(|level| level.is_exact())
}

#[test]
fn one_hash() {
    let recipes = recipes();
    let mut configurations = 0;
    let mut check = |level: Level, threads: &str, hashes: Vec<String>| {
        for hash in &hashes {
            assert_eq!(hash, HASH, "on {level} with {threads}");
        }
        configurations += hashes.len();
    };
    let mut names = Vec::new();
    for level in exact_levels() {
        names.push(level.name());
        check(level, "one thread", hashes(&recipes, level, &Serial));
        check(level, "the global pool", hashes(&recipes, level, &Global));
        for threads in [1, 2, 3, 8] {
            let pool = Pool::new(threads).unwrap();
            check(level, &format!("{threads} threads"), hashes(&recipes, level, &pool));
        }
    }
    // Without any exact level there is nothing to compare, which a test must not pass over in silence.
    assert!(configurations > 0, "this machine has no exact level");
    println!("{HASH}: {configurations} configurations on levels {}", names.join(", "));
}

/// Levels that round twice may differ, but not by much; and they too do not depend on the threads.
#[test]
fn inexact_levels_come_close() {
    let recipes = recipes();
    let Some(exact) = exact_levels().next() else { return };
    for level in Level::available().filter(|level| !level.is_exact()) {
        let pool = Pool::new(3).unwrap();
        assert_eq!(hashes(&recipes, level, &pool), hashes(&recipes, level, &Serial), "{level} depends on the threads");
        for recipe in &recipes {
            let (run, other) = (train(recipe, level, &Serial), train(recipe, exact, &Serial));
            for (a, b) in run.history.epochs.iter().zip(&other.history.epochs) {
                assert!((a.loss - b.loss).abs() <= 1e-3 * b.loss, "{level}: {a:?}, {exact}: {b:?}");
            }
        }
    }
}

/// Two trainings at once, on the global pool, on one pool, inside a foreign one and nested in its tasks: as if alone.
#[test]
fn at_once_and_nested() {
    let recipes = recipes();
    let level = exact_levels().next().unwrap_or(Level::PORTABLE);
    let hash = |at: usize, run: &Run| {
        let mut hash = Sha256::new();
        digest(&mut hash, run, &recipes[at], level, &Serial, 64);
        hex(hash)
    };
    let alone: Vec<String> = (0..2).map(|at| hash(at, &train(&recipes[at], level, &Serial))).collect();
    let mut compared = 0;
    let mut same = |runs: [Run; 2], what: &str| {
        for (at, run) in runs.iter().enumerate() {
            assert_eq!(hash(at, run), alone[at], "{what}");
            compared += 1;
        }
    };
    let (first, second) = (&recipes[0], &recipes[1]);
    let threads = |one: &(dyn Fn() -> Run + Sync), two: &(dyn Fn() -> Run + Sync)| {
        std::thread::scope(|scope| {
            let (one, two) = (scope.spawn(one), scope.spawn(two));
            [one.join().unwrap(), two.join().unwrap()]
        })
    };
    same(threads(&|| train(first, level, &Global), &|| train(second, level, &Global)), "two threads, global pool");
    let pool = Pool::new(3).unwrap();
    same(threads(&|| train(first, level, &pool), &|| train(second, level, &pool)), "two threads, one pool");

    let foreign = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    let both = |split: &(dyn Fn(&Recipe) -> Run + Sync)| {
        let (one, two) = foreign.install(|| rayon::join(|| split(first), || split(second)));
        [one, two]
    };
    same(both(&|recipe| train(recipe, level, &Global)), "inside a foreign pool");
    same(both(&|recipe| train(recipe, level, &pool)), "in a pool of its own, called from a foreign one");
    same(both(&|recipe| pool.enter(|| train(recipe, level, &Global))), "entered from a foreign pool");
    same(both(&|recipe| pool.enter(|| train(recipe, level, &pool))), "a pool inside itself");
    println!("{compared} trainings at once or nested equal those alone");
}

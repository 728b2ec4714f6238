//! Rows that are read when they are needed: the bits of the same rows in memory, also of a run in which reading fails and that
//! goes on later.

use std::fs::File;
use std::io::Write as _;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};

use evenkeel::data::{RowSource, Source, View};
use evenkeel::fit::{FitError, Listener, RateSearch, Run};
use evenkeel::host::pool::Pool;
use evenkeel::host::rows::RowFile;
use evenkeel::model::Standardize;
use evenkeel::train::Averaging;
use evenkeel::{Dataset, Error, Level, Loss, Mlp, Optimizer, Trainer};

use super::{assert_same, bits, blobs, net};

/// A file of the rows that nobody else finds.
fn stored(data: &Dataset, name: &str) -> RowFile {
    let path = std::env::temp_dir().join(format!("evenkeel-stored-{name}-{}", std::process::id()));
    let mut file = File::create(&path).unwrap();
    data.inputs.iter().for_each(|value| file.write_all(&value.to_le_bytes()).unwrap());
    let rows = RowFile::new(File::open(&path).unwrap(), 0, data.features).unwrap();
    std::fs::remove_file(&path).unwrap();
    rows
}

/// The rows until so many calls have been made.
#[derive(Debug)]
struct Failing<'a> {
    rows: &'a RowFile,
    left: AtomicUsize,
}

impl RowSource for Failing<'_> {
    fn rows(&self) -> usize {
        self.rows.rows()
    }

    fn features(&self) -> usize {
        self.rows.features()
    }

    fn read(&self, rows: &[u32], out: &mut [f32]) -> Result<(), Error> {
        let gone = Error::Read { row: 7, why: "gone" };
        let left = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        left.map_err(|_| gone)?;
        self.rows.read(rows, out)
    }
}

const NET: &str = "dense(24) bn relu dropout(0.3) dense(17) bn gelu dense(3)";

fn trainers() -> Vec<(&'static str, Trainer)> {
    let base = Trainer::new(Loss::CrossEntropy).optimizer(Optimizer::ADAM, 0.01).epochs(4).batch(48);
    vec![
        ("plain", base),
        ("in order", Trainer { shuffle: false, ..base }),
        ("mixup and jitter", Trainer { mixup: 0.3, jitter: 0.1, ..base }),
        ("parts", Trainer { part: Some(16), ..base }),
        ("swa", Trainer { averaging: Averaging::Swa { from: 1 }, ..base }),
        ("ema", Trainer { averaging: Averaging::Ema { decay: 0.9 }, ..base }),
        (
            "schedule-free",
            Trainer { rules: evenkeel::train::Rules::new(Loss::CrossEntropy, Optimizer::SCHEDULE_FREE), ..base },
        ),
    ]
}

fn model(data: Source<'_>, features: usize) -> Mlp {
    let mut model = net(features, NET);
    model.standardize = Some(Standardize::learn_from(data, features).unwrap());
    model
}

#[test]
fn the_bits_of_rows_in_memory() {
    let (train, held) = (blobs(500, 21, 3, 2.0), blobs(130, 21, 3, 2.0));
    let (train_file, held_file) = (stored(&train, "train"), stored(&held, "held"));
    let memory = (train.view().unwrap(), held.view().unwrap());
    let disk = (
        View::stored(&train_file, train.labels.targets()).unwrap(),
        View::stored(&held_file, held.labels.targets()).unwrap(),
    );
    assert_eq!(model(memory.0.inputs, 21).standardize, model(disk.0.inputs, 21).standardize);
    for (name, trainer) in trainers() {
        let run = |(train, held): (View<'_>, View<'_>), threads| {
            let pool = Pool::new(threads).unwrap();
            let mut run = Run::new(model(train.inputs, 21), trainer).unwrap();
            run.fit(train, Some(held), &pool, &mut |_| ControlFlow::Continue(())).unwrap();
            run
        };
        let expected = run(memory, 1);
        for threads in [1, 2] {
            let found = run(disk, threads);
            assert_same(&expected.model, &found.model, name);
            assert!(expected.moments == found.moments && expected.history == found.history, "{name}");
        }
        let (level, pool) = (Level::detect(), Pool::new(2).unwrap());
        let (mut a, mut b) = (expected.model.clone(), expected.model);
        a.recalibrate(level, &pool, &train.inputs, 100).unwrap();
        b.recalibrate_any(level, &pool, disk.0.inputs, 100).unwrap();
        assert_same(&a, &b, "recalibrated");
        let outputs = a.predict(level, &pool, &held.inputs).unwrap();
        assert_eq!(bits(&outputs), bits(&a.predict_any(level, &pool, disk.1.inputs).unwrap()));
        let loss = Loss::CrossEntropy;
        assert_eq!(a.score(level, &pool, memory.1, loss).unwrap(), a.score(level, &pool, disk.1, loss).unwrap());
        if name == "plain" {
            let search = RateSearch { steps: 12, ..RateSearch::default() };
            let curve = |view: View<'_>| search.run(&model(view.inputs, 21), &trainer, view, &pool).unwrap().points;
            assert_eq!(curve(memory.0), curve(disk.0));
        }
    }
}

/// Wherever reading fails, in a batch, while statistics are renewed or in the validation: the run has ended before, and goes on
/// to the bits of one that had no trouble.
#[test]
fn a_run_goes_on_after_rows_that_could_not_be_read() {
    let (train, held) = (blobs(150, 9, 3, 2.0), blobs(100, 9, 3, 2.0));
    let (train_file, held_file) = (stored(&train, "again"), stored(&held, "again-held"));
    let targets = (train.labels.targets(), held.labels.targets());
    let sound = (View::stored(&train_file, targets.0).unwrap(), View::stored(&held_file, targets.1).unwrap());
    let pool = Pool::new(1).unwrap();
    let mut failures = 0;
    for (name, trainer) in trainers() {
        let begun = Run::new(model(sound.0.inputs, 9), trainer).unwrap();
        let quiet = &mut |_: evenkeel::fit::Event<'_>| ControlFlow::Continue(());
        let mut expected = begun.clone();
        expected.fit(sound.0, Some(sound.1), &pool, quiet).unwrap();
        for calls in 0..40 {
            let train = Failing { rows: &train_file, left: AtomicUsize::new(calls) };
            let held = Failing { rows: &held_file, left: AtomicUsize::new(calls / 3) };
            let train = View::stored(&train, targets.0).unwrap();
            let held = View::stored(&held, targets.1).unwrap();
            let mut run = begun.clone();
            match run.advance(train, Some(held), &pool, &mut Listener(quiet)) {
                Ok(_) => continue,
                Err(error) => assert_eq!(error, FitError::Setup(Error::Read { row: 7, why: "gone" }), "{name}"),
            }
            failures += 1;
            run.fit(sound.0, Some(sound.1), &pool, quiet).unwrap();
            assert_same(&expected.model, &run.model, &format!("{name}, failed after {calls} calls"));
            assert!(expected.history == run.history && expected.averaged == run.averaged, "{name}, {calls} calls");
        }
    }
    assert!(failures > 100, "{failures}");
}

#[test]
fn what_does_not_fit_is_refused() {
    let data = blobs(30, 5, 3, 1.0);
    let file = stored(&data, "refused");
    let targets = data.labels.targets();
    let short = evenkeel::Targets::Classes(&[0, 1]);
    assert!(matches!(View::stored(&file, short), Err(Error::Length { what: "labels", .. })));
    let (level, serial) = (Level::detect(), evenkeel::Serial);
    let mut wide = net(6, "dense(4) bn dense(3)");
    let expected = Error::Length { what: "features of the stored rows", expected: 6, found: 5 };
    assert_eq!(wide.predict_any(level, &serial, Source::Stored(&file)), Err(expected));
    assert_eq!(wide.recalibrate_any(level, &serial, Source::Stored(&file), 10), Err(expected));
    assert_eq!(Standardize::learn_from(Source::Stored(&file), 6), Err(expected));
    let view = View::stored(&file, targets).unwrap();
    // What only public fields can say.
    let other = View { features: 6, ..view };
    let trainer = Trainer::new(Loss::CrossEntropy);
    assert_eq!(trainer.fit(&mut wide.clone(), other, None), Err(FitError::Setup(expected)));
    assert_eq!(wide.score(level, &serial, other, Loss::CrossEntropy), Err(expected));
}

//! Training, scoring and inference on index lists: the bits of the same rows as zeros and ones.

use std::ops::ControlFlow;

use evenkeel::data::SparseDataset;
use evenkeel::export::{Options, Precision, Precisions, export};
use evenkeel::fit::{Finish, FitError, Run};
use evenkeel::host::pool::Pool;
use evenkeel::kernels::sparse::IndexLists;
use evenkeel::memory::Buffer;
use evenkeel::model::Standardize;
use evenkeel::plan::Scope;
use evenkeel::rng::{Purpose, Stream};
use evenkeel::train::{Batch, Buffers, Clip, ListBatch, Moment, Rules, Score, Session};
use evenkeel::{
    Dataset, EarlyStopping, Error, Image, Labels, Level, Loss, Mlp, Net, Optimizer, Serial, Targets, Trainer,
};

use crate::{assert_same, bits, net};

/// Rows over `features` words, of which each row has a few; some words speak for class 1, others for class 0. Row 3 is empty.
pub(crate) fn texts(rows: usize, features: usize, seed: u32) -> SparseDataset {
    let words = Stream::new(77, Purpose::Init, seed, 2);
    let mut at = 0;
    let mut below = |n: u32| {
        at += 1;
        (u64::from(words.word(at)) * u64::from(n) >> 32) as u32
    };
    let mut data = SparseDataset::new(features, Labels::Classes(Vec::new()));
    let mut labels = Vec::new();
    for row in 0..rows {
        let label = below(2);
        let mut list: Vec<u32> = (0..if row == 3 { 0 } else { 3 + below(9) })
            .map(|_| {
                let word = below(features as u32);
                // Two of three times a word of the class's own parity.
                if below(3) > 0 { word / 2 * 2 + label } else { word }.min(features as u32 - 1)
            })
            .collect();
        list.sort_unstable();
        list.dedup();
        data.push(&list);
        labels.push(label);
    }
    data.labels = Labels::Classes(labels);
    data
}

/// The same rows as zeros and ones.
pub(crate) fn plain(data: &SparseDataset) -> Dataset {
    let mut inputs = vec![f32::NAN; data.rows() * data.features];
    data.lists().unwrap().write_plain(&mut inputs);
    Dataset { inputs, features: data.features, labels: data.labels.clone() }
}

/// What a session leaves: parameters, state, gradients, moments, and the last score.
type Left = (Vec<u32>, Vec<u32>, Vec<u32>, Vec<u32>, Score);

/// Three steps; `lists` says whether there is room for plain rows.
fn steps(
    model: &Mlp,
    (level, scope, planned, lists): (Level, Scope, usize, bool),
    mut step: impl FnMut(&mut Session<'_, Pool>, &Rules, Moment) -> Score,
) -> Left {
    let mut model = model.clone();
    let layers = model.layers().to_vec();
    let network = evenkeel::Network::new(model.network().inputs(), &layers).unwrap();
    let scope = if lists { scope.with_lists() } else { scope };
    let plan = network.plan_in(scope, planned);
    let mut rules = Rules::new(Loss::CrossEntropy, Optimizer::ADAMW);
    (rules.l2, rules.clip) = (1e-3, Clip::Norm(0.5));
    let (mut gradients, mut moments) = (Buffer::zeros(plan.trained), Buffer::zeros(2 * plan.trained));
    let mut work = Buffer::zeros(plan.work_len());
    // Nothing may be read that was not written.
    work.fill(f32::NAN);
    let buffers = Buffers {
        params: &mut model.params,
        state: &mut model.state,
        gradients: &mut gradients,
        moments: &mut moments,
        work: &mut work,
    };
    let pool = Pool::new(2).unwrap();
    let mut session = Session::with_scope(network, scope, planned, buffers, level, &pool).unwrap();
    let mut score = Score::default();
    for at in 0..3 {
        score = step(&mut session, &rules, Moment { seed: 5, step: at, lr: 0.01 });
    }
    let (params, state) = session.weights();
    (bits(params), bits(state), bits(session.gradients()), bits(session.moments()), score)
}

/// Whole batches, batches in parts, parts of a stream; all layers and frozen ones; with and without batch norm and dropout.
#[test]
fn steps_have_the_bits_of_plain_rows() {
    let nets = [
        "dense(16) relu dropout(0.5) dense(16) relu dropout(0.5) dense(2)",
        "dense(5) dense(2)",
        "dense(2, bias=false)",
        "dense(37, bias=false) bn tanh dropout(0.3) dense(2)",
        "dense(9) gelu bn dense(2) log_softmax",
    ];
    let mut compared = 0;
    for (at, layers) in nets.into_iter().enumerate() {
        for rows in [30, 256, 700] {
            let data = texts(rows, 530, at as u32);
            let dense = plain(&data);
            let Labels::Classes(labels) = &data.labels else { unreachable!() };
            let (lists, targets) = (data.lists().unwrap(), Targets::Classes(labels));
            let mut model = net(530, layers);
            let mut loss = Loss::CrossEntropy;
            if layers.ends_with("log_softmax") {
                loss = Loss::MeanSquaredError;
            }
            let values: Vec<f32> = labels.iter().flat_map(|label| [0.5, *label as f32]).collect();
            let targets = if loss == Loss::CrossEntropy { targets } else { Targets::Values(&values) };
            // Frozen batch norms want statistics that were updated once.
            if model.network().has_batch_norm() {
                let mut trainer = Trainer::new(loss).epochs(1).batch(64);
                trainer.restore_best = false;
                let mut dense = dense.clone();
                if loss != Loss::CrossEntropy {
                    dense.labels = Labels::Values(values.clone());
                }
                trainer.fit(&mut model, dense.view().unwrap(), None).unwrap();
            }
            let batch = Batch { inputs: &dense.inputs, targets, rows };
            let list_batch = ListBatch { inputs: lists, targets };
            for level in Level::available() {
                for first in 0..model.layers().len() {
                    let scope = Scope::from_layer(first);
                    if model.network().plan_in(scope, 1).first == model.layers().len() {
                        continue;
                    }
                    let whole = steps(&model, (level, scope, rows, false), |session, rules, moment| {
                        session.step(batch, &Rules { loss, ..*rules }, moment).unwrap()
                    });
                    let mut check = |what: &str, found: Left| {
                        assert!(found == whole, "{what}: {layers}, {rows} rows, from layer {first} on {level}");
                        compared += found.0.len() + found.2.len();
                    };
                    for room in [true, false] {
                        check(
                            "a step",
                            steps(&model, (level, scope, rows, room), |session, rules, moment| {
                                session.step(list_batch, &Rules { loss, ..*rules }, moment).unwrap()
                            }),
                        );
                    }
                    let part = if rows > 256 { 256 } else { 11 };
                    check(
                        "in parts",
                        steps(&model, (level, scope, part, true), |session, rules, moment| {
                            session.step_in_parts(list_batch, &Rules { loss, ..*rules }, moment).unwrap()
                        }),
                    );
                    if scope.joins_rows(&model.network()) {
                        continue;
                    }
                    check(
                        "a stream",
                        steps(&model, (level, scope, part, true), |session, rules, moment| {
                            for start in (0..rows).step_by(part) {
                                let count = part.min(rows - start);
                                let targets = match targets {
                                    Targets::Classes(labels) => Targets::Classes(&labels[start..][..count]),
                                    Targets::Values(values) => Targets::Values(&values[2 * start..][..2 * count]),
                                    other => other,
                                };
                                let part = ListBatch { inputs: lists.part(start, count), targets };
                                session.accumulate(part, rows, loss, moment).unwrap();
                            }
                            session.apply(&Rules { loss, ..*rules }, moment).unwrap()
                        }),
                    );
                }
            }
        }
    }
    println!("steps on index lists: {compared} values compared by bits");
}

/// Whole runs with shuffling, validation and early stopping, broken off and continued; and what is asked of the network then.
#[test]
fn runs_have_the_bits_of_plain_rows() {
    let (data, held) = (texts(400, 300, 20), texts(90, 300, 21));
    let (dense, dense_held) = (plain(&data), plain(&held));
    let (view, validation) = (data.view().unwrap(), held.view().unwrap());
    let model = net(300, "dense(16) relu dropout(0.4) dense(8) relu dense(2)");
    let mut trainer = Trainer::new(Loss::CrossEntropy).batch(48).epochs(12).early_stopping(EarlyStopping::patience(2));
    trainer.seed = 9;
    let go_on = &mut |_: evenkeel::fit::Event<'_>| ControlFlow::Continue(());
    for (part, first) in [(None, 0), (Some(7), 0), (None, 2)] {
        (trainer.part, trainer.scope.first) = (part, first);
        let mut expected = Run::new(model.clone(), trainer).unwrap();
        let finish = expected.fit(dense.view().unwrap(), Some(dense_held.view().unwrap()), &Serial, go_on).unwrap();
        for threads in [1, 2, 3] {
            let pool = Pool::new(threads).unwrap();
            let mut run = Run::new(model.clone(), trainer).unwrap();
            assert_eq!(run.fit(view, Some(validation), &pool, go_on).unwrap(), finish);
            assert_same(&run.model, &expected.model, "lists");
            assert_eq!(run.history, expected.history);
        }
        let (mut run, mut event) = (Run::new(model.clone(), trainer).unwrap(), 0);
        let broken = run.fit(view, Some(validation), &Serial, &mut |_| {
            event += 1;
            if event == 13 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert_eq!(broken, Ok(Finish::Interrupted));
        run.fit(view, Some(validation), &Serial, go_on).unwrap();
        assert_same(&run.model, &expected.model, "lists, broken off");
        let trained = &run.model;
        let level = trainer.level;
        let score = trained.score(level, &Serial, validation, Loss::CrossEntropy).unwrap();
        assert_eq!(score, trained.score(level, &Serial, dense_held.view().unwrap(), Loss::CrossEntropy).unwrap());
        assert!(first > 0 || score.accuracy() > 0.8, "learned {}", score.accuracy());
        let outputs = trained.predict_lists(level, &Serial, held.lists().unwrap()).unwrap();
        assert_eq!(bits(&outputs), bits(&trained.predict(level, &Serial, &dense_held.inputs).unwrap()));
    }
}

/// The same image runs both kinds of rows; a standardisation that it was trained with is folded away.
#[test]
fn images_have_the_bits_of_plain_rows() {
    let data = texts(600, 700, 30);
    let dense = plain(&data);
    let mut compared = 0;
    for (layers, standardize) in [
        ("dense(16) relu dropout(0.5) dense(16) relu dense(1)", false),
        ("dense(20, bias=false) bn silu dense(3) softmax", true),
        ("dense(4)", false),
    ] {
        let mut model = net(700, layers);
        if standardize {
            model.standardize = Some(Standardize::learn(&dense.inputs, 700));
            let mut dense = dense.clone();
            dense.labels = Labels::Values(vec![0.3; 1800]);
            Trainer::new(Loss::MeanSquaredError).epochs(1).fit(&mut model, dense.view().unwrap(), None).unwrap();
        }
        for precision in [Precision::F32, Precision::F16] {
            let standardisation = model.standardize.as_ref().map(|standardize| evenkeel::export::Standardisation {
                mean: &standardize.mean,
                inv_std: &standardize.inv_std,
            });
            let options = Options { precision: Precisions::All(precision), standardisation, ..Options::default() };
            let (image, _) = export(&model.network(), &model.params, &model.state, &options).unwrap();
            let net = Net::new(Image::new(&image).unwrap());
            for level in Level::available() {
                for (rows, room, threads) in [(1, 1, 1), (600, 1, 1), (600, 64, 1), (600, 256, 3), (599, 600, 2)] {
                    let pool = Pool::new(threads).unwrap();
                    let mut scratch = vec![f32::NAN; net.scratch_len(room)];
                    let (mut y, mut expected) = (vec![0.0; rows * net.outputs()], vec![1.0; rows * net.outputs()]);
                    net.infer(level, &pool, &dense.inputs[..rows * 700], &mut expected, &mut scratch).unwrap();
                    scratch.fill(f32::NAN);
                    net.infer_lists(level, &pool, data.lists().unwrap().part(0, rows), &mut y, &mut scratch).unwrap();
                    assert_eq!(bits(&y), bits(&expected), "{layers} on {level}, {rows} rows, {threads} threads");
                    compared += y.len();
                }
            }
        }
    }
    println!("images on index lists: {compared} outputs compared by bits");
}

/// What does not fit is named, before anything happens.
#[test]
fn refusals() {
    let data = texts(20, 12, 40);
    let (view, dense) = (data.view().unwrap(), plain(&data));
    let fit = |model: &Mlp, validation| {
        let trainer = Trainer::new(Loss::CrossEntropy).epochs(1);
        trainer.fit(&mut model.clone(), view, validation).map(|_| ()).unwrap_err()
    };
    let plain_net = net(12, "dense(2)");
    let mut standardised = plain_net.clone();
    standardised.standardize = Some(Standardize::learn(&dense.inputs, 12));
    assert_eq!(fit(&standardised, None), FitError::Setup(Error::ListsStandardized));
    let name = "bn";
    assert_eq!(fit(&net(12, "bn dense(2)"), None), FitError::Setup(Error::ListsFirst { name }));
    assert_eq!(fit(&plain_net, Some(dense.view().unwrap())), FitError::Setup(Error::ListsPlanned));
    let features = Error::Length { what: "features", expected: 13, found: 12 };
    assert_eq!(fit(&net(13, "dense(2)"), None), FitError::Setup(features));
    let lists = data.lists().unwrap();
    let level = Level::detect();
    assert_eq!(standardised.predict_lists(level, &Serial, lists), Err(Error::ListsStandardized));
    let features = Error::Length { what: "features of the index lists", expected: 13, found: 12 };
    assert_eq!(net(13, "dense(2)").predict_lists(level, &Serial, lists), Err(features));
    let name = "relu";
    assert_eq!(net(12, "relu dense(2)").predict_lists(level, &Serial, lists), Err(Error::ListsFirst { name }));

    // A session planned for lists has no room for plain rows.
    let labels = Targets::Classes(&[0, 1]);
    let model = steps(&plain_net, (level, Scope::ALL, 2, true), |session, rules, moment| {
        let batch = Batch { inputs: &dense.inputs[..24], targets: labels, rows: 2 };
        assert_eq!(session.step(batch, rules, moment), Err(Error::ListsPlanned));
        let one = ListBatch { inputs: lists.part(0, 1), targets: labels };
        assert_eq!(session.step(one, rules, moment), Err(Error::Length { what: "labels", expected: 1, found: 2 }));
        let wide = IndexLists::new(13, &[0, 1, 1], &[12]).unwrap();
        let wide = ListBatch { inputs: wide, targets: labels };
        let error = Error::Length { what: "features of the index lists", expected: 12, found: 13 };
        assert_eq!(session.step(wide, rules, moment), Err(error));
        Score::default()
    });
    assert_eq!(model.0, bits(&plain_net.params));

    // Nothing is written where lengths are wrong, and an image that begins otherwise says so.
    let (image, _) = export(&plain_net.network(), &plain_net.params, &plain_net.state, &Options::default()).unwrap();
    let image = Net::new(Image::new(&image).unwrap());
    let mut scratch = vec![0.0; image.scratch_len(1)];
    let mut y = [7.0; 40];
    let error = image.infer_lists(level, &Serial, lists, &mut y[1..], &mut scratch).unwrap_err();
    assert_eq!(error, Error::Length { what: "output", expected: 40, found: 39 });
    let error = image.infer_lists(level, &Serial, lists, &mut y, &mut scratch[1..]).unwrap_err();
    assert!(matches!(error, Error::Length { what: "scratch", .. }));
    let error = image.infer_lists(level, &Serial, lists.part(0, 0), &mut [], &mut scratch).unwrap_err();
    assert_eq!(error, Error::Length { what: "output", expected: 2, found: 0 });
    assert_eq!(y, [7.0; 40]);
    let other = net(12, "tanh dense(2)");
    let (other, _) = export(&other.network(), &other.params, &other.state, &Options::default()).unwrap();
    let other = Net::new(Image::new(&other).unwrap());
    let error = other.infer_lists(level, &Serial, lists, &mut y, &mut vec![0.0; other.scratch_len(1)]).unwrap_err();
    assert_eq!(error, Error::ListsFirst { name: "an activation" });
}

/// Splits and subsets take whole lists with their labels.
#[test]
fn subsets() {
    let data = texts(100, 50, 50);
    let dense = plain(&data);
    let (kept, held) = data.hold_out(0.2, 3, 0);
    assert_eq!((kept.clone(), held.clone()), dense.hold_out(0.2, 3, 0));
    for rows in [kept, held, vec![7, 7, 3, 99, 100]] {
        assert_eq!(plain(&data.subset(&rows).unwrap()), dense.subset(&rows));
    }
    let broken = SparseDataset { indices: vec![3, 3], offsets: vec![0, 2], ..data.clone() };
    let error = Error::IndexOrder { row: 0, position: 1, index: 3, before: 3 };
    assert_eq!(broken.view().map(|_| ()), Err(error));
    assert_eq!(broken.subset(&[0]).map(|_| ()), Err(error));
    let short = SparseDataset { labels: Labels::Classes(vec![0; 99]), ..data };
    assert_eq!(short.view().map(|_| ()), Err(Error::Length { what: "labels", expected: 100, found: 99 }));
}

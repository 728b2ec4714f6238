//! Runs as files: what a stored run needs to go on, and what it refuses to go on with.

use std::ops::ControlFlow;

use evenkeel::fit::{Event, Finish, Listener, Run};
use evenkeel::interchange::{InterchangeError, note, resume, state_dict};
use evenkeel::{Dataset, EarlyStopping, Init, Labels, Loss, Mlp, Optimizer, Serial, Trainer, text};

use crate::files::{split, with_header};

/// Puts the right checksum into a file that was changed: CRC-32 with its own eight digits as zeros.
pub(crate) fn signed(bytes: &[u8]) -> Vec<u8> {
    let key = b"\"evenkeel.crc32\":\"";
    let at = bytes.windows(key.len()).position(|window| window == key).expect("a checksum") + key.len();
    let mut bytes = bytes.to_vec();
    bytes[at..at + 8].copy_from_slice(b"00000000");
    let digits = format!("{:08x}", crc32fast::hash(&bytes));
    bytes[at..at + 8].copy_from_slice(digits.as_bytes());
    bytes
}

pub(crate) fn data() -> Dataset {
    let inputs: Vec<f32> = (0..150).map(|at| ((at * 7919) % 101) as f32 / 50.0 - 1.0).collect();
    let labels = inputs.chunks(3).map(|row| u32::from(row[0] > row[1]) + u32::from(row[2] > 0.5)).collect();
    Dataset { inputs, features: 3, labels: Labels::Classes(labels) }
}

pub(crate) fn trainer() -> Trainer {
    let mut trainer = Trainer::new(Loss::CrossEntropy).epochs(6).batch(8).early_stopping(EarlyStopping::patience(40));
    trainer.seed = u64::MAX;
    trainer
}

pub(crate) fn run() -> Run {
    let mut net = Mlp::new(3, text::parse("dense(6) bn relu dropout(0.2) dense(3)").unwrap()).unwrap();
    net.init(Init::HeNormal, 5);
    net.classes = ["a", "b", "\u{1f6a2}\n\"c\""].map(String::from).into();
    Run::new(net, trainer()).unwrap()
}

/// Advances by so many batches.
fn advance(run: &mut Run, batches: usize) -> Finish {
    let data = data();
    let mut left = batches;
    let mut observe = |event: Event<'_>| {
        left -= usize::from(matches!(event, Event::Batch { .. }));
        if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    run.advance(data.view().unwrap(), Some(data.view().unwrap()), &Serial, &mut Listener(&mut observe)).unwrap()
}

fn reread(run: &Run) -> Run {
    match resume::read(&resume::to_bytes(run).unwrap()).unwrap() {
        resume::Saved::Run(saved) => saved.with(run.trainer).unwrap(),
        resume::Saved::Network(_) => panic!("a run"),
    }
}

/// Stored after every single batch, the run ends with the bytes of one that never was.
#[test]
fn stored_after_each_batch() {
    let mut whole = run();
    assert_ne!(advance(&mut whole, usize::MAX), Finish::Interrupted);
    for batches in 1..42 {
        let mut parts = run();
        assert_eq!(advance(&mut parts, batches), Finish::Interrupted, "{batches}");
        let mut parts = reread(&parts);
        advance(&mut parts, usize::MAX);
        assert_eq!(resume::to_bytes(&parts).unwrap(), resume::to_bytes(&whole).unwrap(), "stored after {batches}");
    }
    let mut parts = run();
    while advance(&mut parts, 1) == Finish::Interrupted {
        parts = reread(&parts);
    }
    assert_eq!(resume::to_bytes(&parts).unwrap(), resume::to_bytes(&whole).unwrap());
    assert_eq!(reread(&whole).history, whole.history);
    whole.restore_best();
    parts.restore_best();
    assert_eq!(state_dict::to_bytes(&parts.model).unwrap(), state_dict::to_bytes(&whole.model).unwrap());
}

/// Every optimiser, and every schedule with a memory: stored and read back, a run goes on with the bits of one that never was.
/// And the file is the network that was evaluated, of an optimiser that averages too.
#[test]
fn every_optimiser_and_schedule_goes_on() {
    let cases = [
        ("sgd(momentum=0.9)", "one_cycle(momentum=0.85..0.95)"),
        ("adam(keras)", "cyclic(up=0.75, floor=0.1, momentum=0.8..0.9)"),
        ("amsgrad", "plateau(factor=0.5, patience=0, cooldown=1, threshold=0.5, mode=abs)"),
        ("nadam", "plateau(keras, factor=0.5, patience=1, threshold=0.5)"),
        ("adamax", "cosine_restarts(2)"),
        ("rmsprop", "polynomial(4)"),
        ("rmsprop(momentum=0.9, centered=true)", "exponential(0.9)"),
        ("adagrad(keras)", "constant"),
        ("adadelta", "constant"),
        ("lion", "constant"),
        ("lamb", "constant"),
        ("schedule_free", "constant"),
        ("schedule_free(weight_decay=0.1)", "plateau(factor=0.5, patience=0, threshold=0.5, mode=abs)"),
    ];
    let (data, mut changes) = (data(), 0);
    for (optimizer, schedule) in cases {
        let mut trainer = trainer();
        trainer.rules.optimizer = optimizer.parse().unwrap();
        (trainer.schedule, trainer.lr) = (schedule.parse().unwrap(), 0.03);
        trainer.rules.l1 = 1e-4;
        trainer.rules.layer_rates = trainer.rules.layer_rates.with(0, 1, 0.5).unwrap();
        if !trainer.rules.optimizer.averages() {
            trainer.rules.weight_decay = 0.01;
            trainer.rules.constraint = "max_norm(1.5)".parse().unwrap();
        }
        let fresh = || Run::new(run().model, trainer).unwrap();
        let mut whole = fresh();
        assert_ne!(advance(&mut whole, usize::MAX), Finish::Interrupted);
        let bytes = resume::to_bytes(&whole).unwrap();
        for batches in [1, 6, 7, 8, 20, 35, 41] {
            let mut parts = fresh();
            assert_eq!(advance(&mut parts, batches), Finish::Interrupted);
            let mut parts = reread(&parts);
            advance(&mut parts, usize::MAX);
            assert!(resume::to_bytes(&parts).unwrap() == bytes, "{optimizer}, {schedule}, stored after {batches}");
        }
        let last = whole.history.epochs.last().unwrap();
        let stored = state_dict::read(&bytes).unwrap();
        let score = stored.score(trainer.level, &Serial, data.view().unwrap(), Loss::CrossEntropy).unwrap();
        assert!((score.mean_loss() - last.val_loss.unwrap()).abs() < 1e-12, "{optimizer}");
        assert_eq!(stored.params == whole.model.params, !trainer.rules.optimizer.averages(), "{optimizer}");
        assert!(stored.params == whole.evaluation_weights());
        let rates: Vec<f32> = whole.history.epochs.iter().map(|epoch| epoch.lr).collect();
        changes += u32::from(rates.iter().any(|lr| *lr != rates[0]));
        // What ends the run is the best epoch, as it was validated.
        let best = whole.history.best().unwrap().val_loss.unwrap();
        whole.restore_best();
        let score = whole.model.score(trainer.level, &Serial, data.view().unwrap(), Loss::CrossEntropy).unwrap();
        assert!((score.mean_loss() - best).abs() < 1e-12, "{optimizer}");
        // And without a best one, the weights that were evaluated last.
        whole.best = None;
        whole.model = fresh().model;
        whole.model.params = resume_params(&bytes, trainer);
        whole.restore_best();
        assert!(whole.model.params == stored.params, "{optimizer}");
    }
    assert!(changes >= 8, "the plateaus must have been reached: {changes}");
}

/// The training weights of a stored run.
fn resume_params(bytes: &[u8], trainer: Trainer) -> evenkeel::memory::Buffer {
    match resume::read(bytes).unwrap() {
        resume::Saved::Run(saved) => saved.with(trainer).unwrap().model.params,
        resume::Saved::Network(_) => panic!("a run"),
    }
}

/// Files of before there were plateaus hold none.
#[test]
fn runs_without_a_plateau_are_read() {
    let mut part = run();
    advance(&mut part, 10);
    let bytes = resume::to_bytes(&part).unwrap();
    let (header, data) = split(&bytes);
    let from = r#"\"plateau\":[null,0,0,1.0],"#;
    assert!(header.contains(from), "{header}");
    let older = signed(&with_header(&header.replacen(from, "", 1), &data));
    let resume::Saved::Run(saved) = resume::read(&older).unwrap() else { panic!("a run") };
    let mut older = saved.with(part.trainer).unwrap();
    assert_eq!(older.progress, part.progress);
    advance(&mut older, usize::MAX);
    advance(&mut part, usize::MAX);
    assert!(resume::to_bytes(&older).unwrap() == resume::to_bytes(&part).unwrap());
    for to in [r#"\"plateau\":[null,0,0,1.5],"#, r#"\"plateau\":[null,-1,0,1.0],"#, r#"\"plateau\":7,"#] {
        let broken = signed(&with_header(&header.replacen(from, to, 1), &data));
        assert!(matches!(resume::read(&broken), Err(InterchangeError::Metadata { .. })), "{to}");
    }
}

#[test]
fn other_recipes_are_refused() {
    let mut part = run();
    advance(&mut part, 10);
    let bytes = resume::to_bytes_with(&part, "note").unwrap();
    assert_eq!(note(&bytes).unwrap(), "note");
    // As a file of weights it serves as well.
    assert!(state_dict::read(&bytes).unwrap() == part.model);
    let with = |change: &dyn Fn(&mut Trainer)| {
        let resume::Saved::Run(saved) = resume::read(&bytes).unwrap() else { panic!("a run") };
        let mut trainer = trainer();
        change(&mut trainer);
        saved.with(trainer).map(drop).map_err(|error| error.to_string())
    };
    for (change, needle) in [
        (&(|t: &mut Trainer| t.seed = 1) as &dyn Fn(&mut Trainer), "the run's seed is 18446744073709551615"),
        (&|t| t.batch = 9, "batch size is 8, it cannot go on with 9"),
        (&|t| t.shuffle = false, "shuffling"),
        (&|t| t.rules.optimizer = Optimizer::ADAMW, "optimiser is adam, it cannot go on with adamw"),
        (&|t| t.rules.optimizer = Optimizer::SGD, "sgd without momentum"),
        (&|t| t.rules.loss = Loss::MeanSquaredError, "loss is cross_entropy"),
        (&|t| t.rules.optimizer = Optimizer::KERAS_ADAM, "adam of Keras"),
        (&|t| t.rules.optimizer = Optimizer::NADAM, "nadam"),
        (&|t| t.rules.l1 = -1.0, "L1 penalty"),
    ] {
        assert!(with(change).unwrap_err().contains(needle), "{needle}");
    }
    with(&|t| (t.lr, t.epochs, t.early_stopping) = (0.5, 900, None)).unwrap();
}

/// Counters and figures that no run can have, under a right checksum.
#[test]
fn states_that_no_run_can_have() {
    let mut part = run();
    advance(&mut part, 20);
    let sound = resume::to_bytes(&part).unwrap();
    let (header, data) = split(&sound);
    assert!(matches!(resume::read(&signed(&sound)), Ok(resume::Saved::Run(_))));
    for (from, to) in [
        (r#"\"epoch\":2"#, r#"\"epoch\":4294967295"#),
        (r#"\"epoch\":2"#, r#"\"epoch\":3"#),
        (r#"\"epoch\":2"#, r#"\"epoch\":-1"#),
        (r#"\"epoch\":2"#, r#"\"epoch\":2.5"#),
        (r#"\"step\":20"#, r#"\"step\":18446744073709551615"#),
        (r#"\"step\":20"#, r#"\"step\":\"20\""#),
        (r#"\"batch\":"#, r#"\"batch\":18446744073709551615,\"b\":"#),
        (r#"\"rows\":"#, r#"\"rows\":18446744073709551615,\"r\":"#),
        (r#"\"wait\":"#, r#"\"wait\":4294967296,\"w\":"#),
        (r#"\"wait\":"#, r#"\"weight\":"#),
        (r#"\"best\":["#, r#"\"best\":[\"NaN\",1,"#),
        (r#"\"best\":["#, r#"\"best\":[0.5,2,"#),
        (r#"\"best_epoch\":"#, r#"\"best_epoch\":7,\"b\":"#),
        (r#"\"stopped_epoch\":null"#, r#"\"stopped_epoch\":2"#),
        (r#"\"stopped_epoch\":null"#, r#"\"stopped_epoch\":\"no\""#),
        (r#"\"epochs\":[["#, r#"\"epochs\":[[1,0.1,null,null,null,0.1],["#),
        (r#"\"epochs\":[["#, r#"\"epochs\":7,\"e\":[["#),
        (r#"\"seed\":"#, r#"\"seed\":-1,\"s\":"#),
        (r#"\"optimizer\":\"adam\""#, r#"\"optimizer\":7"#),
    ] {
        assert!(header.contains(from), "{from} is not in {header}");
        let changed = signed(&with_header(&header.replacen(from, to, 1), &data));
        match resume::read(&changed) {
            Err(InterchangeError::Metadata { .. }) => {}
            other => panic!("{to}: {other:?}"),
        }
    }
    // Tensors of a run that are missing, or of another network.
    for (from, to) in
        [("run.moments", "run.movement"), ("run.best.params", "run.best.porridge"), ("run.best.state", "run.past")]
    {
        let changed = signed(&with_header(&header.replacen(from, to, 1), &data));
        assert!(resume::read(&changed).is_err(), "{to}");
    }
}

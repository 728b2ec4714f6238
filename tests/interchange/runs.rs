//! Runs as files: what a stored run needs to go on, and what it refuses to go on with.

use std::ops::ControlFlow;

use evenkeel::fit::{Event, Finish, Run};
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
    run.advance(data.view().unwrap(), Some(data.view().unwrap()), &Serial, &mut observe).unwrap()
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

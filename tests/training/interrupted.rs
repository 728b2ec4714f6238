//! A run broken off and continued is the run that never was, by bits.

use std::ops::ControlFlow;

use evenkeel::fit::{Finish, Run};
use evenkeel::rng::{Purpose, Stream};
use evenkeel::train::Clip;
use evenkeel::{EarlyStopping, Loss, Optimizer, Schedule, Serial, Trainer};

use crate::{assert_same, bits, blobs, net};

fn trainer(optimizer: Optimizer) -> Trainer {
    let mut trainer = Trainer::new(Loss::CrossEntropy).optimizer(optimizer, 0.02).batch(16).epochs(12);
    trainer.schedule = Schedule::Cosine { floor: 0.01 };
    trainer.warmup_epochs = 1.5;
    trainer.seed = 11;
    trainer.rules.clip = Clip::Norm(0.7);
    trainer.rules.l2 = 1e-4;
    trainer
}

#[test]
fn continued_is_uninterrupted() {
    // 150 rows in batches of 16: the last has 6; noisy enough for early stopping to have something to do.
    let (data, validation) = (blobs(150, 7, 4, 1.5), blobs(41, 7, 4, 1.7));
    let (view, validation) = (data.view().unwrap(), validation.view().unwrap());
    let model = net(7, "dense(18) bn relu dropout(0.3) dense(9) bn tanh dropout(0.1) dense(4)");
    let nesterov = Optimizer::Sgd { momentum: 0.9, nesterov: true };
    let (mut breaks, mut runs, mut stopped) = (0, 0, 0);
    for (optimizer, patience) in [(Optimizer::ADAM, None), (Optimizer::ADAMW, Some(1)), (nesterov, Some(3))] {
        let mut trainer = trainer(optimizer);
        trainer.early_stopping = patience.map(EarlyStopping::patience);
        let mut whole = Run::new(model.clone(), trainer).unwrap();
        let finish = whole.fit(view, Some(validation), &Serial, &mut |_| ControlFlow::Continue(())).unwrap();
        stopped += u32::from(finish == Finish::Stopped);
        for seed in 0..6 {
            // Breaks at one event in eight, batches' and epochs' alike; at every event for seed 0.
            let words = Stream::new(seed, Purpose::Init, 0, 0);
            let mut event = 0;
            let mut run = Run::new(model.clone(), trainer).unwrap();
            let last = loop {
                let result = run.fit(view, Some(validation), &Serial, &mut |_| {
                    event += 1;
                    let breaks = seed == 0 || words.word(event).is_multiple_of(8);
                    if breaks { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                });
                match result.unwrap() {
                    Finish::Interrupted => breaks += 1,
                    other => break other,
                }
                // Goes on as a copy; what it was copied from is trained elsewhere and must have no influence.
                let copy = run.clone();
                let mut one_more = 2;
                run.fit(view, Some(validation), &Serial, &mut |_| {
                    one_more -= 1;
                    if one_more == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                })
                .unwrap();
                run = copy;
            };
            assert_eq!(last, finish);
            assert_same(&run.model, &whole.model, "interrupted and continued");
            assert_eq!(bits(&run.moments), bits(&whole.moments));
            assert_eq!(run.progress, whole.progress);
            assert_eq!(run.history, whole.history);
            let (best, whole_best) = (run.best.as_ref().unwrap(), whole.best.as_ref().unwrap());
            assert_eq!((bits(&best.0), bits(&best.1)), (bits(&whole_best.0), bits(&whole_best.1)));
            runs += 1;
        }
        // A run that has ended stays as it is.
        let after = whole.clone();
        assert_eq!(whole.fit(view, Some(validation), &Serial, &mut |_| ControlFlow::Continue(())), Ok(finish));
        assert_same(&whole.model, &after.model, "called again after its end");
        assert_eq!(whole.history, after.history);
    }
    assert!(stopped > 0, "no run was stopped early");
    println!("{runs} runs, interrupted {breaks} times in all, equal the uninterrupted ones");
}

/// One break, at every possible moment, the last batch of an epoch included, is heard.
#[test]
fn every_break_is_heard() {
    let data = blobs(20, 5, 3, 0.5);
    let view = data.view().unwrap();
    // Three epochs of two batches: nine events, of which the very last finds nothing left to break off.
    for at in 1..9 {
        let mut run = Run::new(net(5, "dense(3)"), Trainer::new(Loss::CrossEntropy).batch(10).epochs(3)).unwrap();
        let mut events = 0;
        let finish = run.fit(view, None, &Serial, &mut |_| {
            events += 1;
            if events == at { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert_eq!((finish, events), (Ok(Finish::Interrupted), at));
    }
}

/// What was best so far is the best of one figure: under another it would mean nothing.
#[cfg(feature = "safetensors")]
#[test]
fn goes_on_with_the_same_figure() {
    use evenkeel::fit::{Listener, Monitor};
    use evenkeel::interchange::resume::{Saved, read, to_bytes};

    let data = blobs(24, 5, 3, 0.3);
    let trainer = Trainer { epochs: 2, ..Trainer::new(Loss::CrossEntropy) };
    let mut run = Run::new(net(5, "dense(3)"), trainer).unwrap();
    run.advance(data.view().unwrap(), None, &Serial, &mut Listener(&mut |_| ControlFlow::Continue(()))).unwrap();
    let Saved::Run(saved) = read(&to_bytes(&run).unwrap()).unwrap() else { panic!("not a run") };
    let error = saved.clone().with(Trainer { monitor: Monitor::Accuracy, ..trainer }).unwrap_err();
    assert!(error.to_string().contains("monitored figure is val-loss"), "{error}");
    assert_eq!(saved.with(Trainer { epochs: 4, ..trainer }).unwrap().progress, run.progress);
}

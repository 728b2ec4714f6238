//! Early stopping, restoring the best epoch, and the history.

use std::ops::ControlFlow;

use evenkeel::fit::{Event, Finish, Monitor, Run};
use evenkeel::{Dataset, EarlyStopping, Labels, Level, Loss, Mlp, Optimizer, Serial, Trainer};

use crate::{assert_same, blobs, net};

const NET: &str = "dense(32) bn relu dropout(0.1) dense(3)";

/// Few rows, one label in five wrong: training learns them by heart, validation gets worse after a while.
fn noise(rows: usize, shift: usize) -> Dataset {
    let mut data = blobs(rows + shift, 6, 3, 1.5).subset(&(shift as u32..(rows + shift) as u32).collect::<Vec<_>>());
    if let Labels::Classes(labels) = &mut data.labels {
        labels.iter_mut().enumerate().for_each(|(row, label)| *label = (*label + u32::from(row % 5 == 0)) % 3);
    }
    data
}

fn trainer() -> Trainer {
    Trainer::new(Loss::CrossEntropy).optimizer(Optimizer::ADAM, 0.01).batch(8).epochs(40)
}

/// The network after exactly `epochs` epochs, nothing restored.
fn after(epochs: u32, data: &Dataset) -> Mlp {
    let mut model = net(6, NET);
    let trainer = Trainer { restore_best: false, ..trainer().epochs(epochs) };
    trainer.fit(&mut model, data.view().unwrap(), None).unwrap();
    model
}

/// The best epoch's weights and statistics come back, whether training was stopped or ended by itself.
#[test]
fn restores_the_best_epoch() {
    let (data, validation) = (noise(40, 0), noise(60, 100));
    for stopping in [None, Some(EarlyStopping::patience(5)), Some(EarlyStopping::patience(1000))] {
        for monitor in [Monitor::ValLoss, Monitor::ValAccuracy, Monitor::Loss, Monitor::Accuracy] {
            let trainer = Trainer { early_stopping: stopping, monitor, ..trainer() };
            let mut run = Run::new(net(6, NET), trainer).unwrap();
            let mut improved = Vec::new();
            let finish = run.fit(data.view().unwrap(), validation.view().ok(), &Serial, &mut |event| {
                if let Event::Epoch { record, improved: true, .. } = event {
                    improved.push(record.epoch);
                }
                ControlFlow::Continue(())
            });
            let history = &run.history;
            let best = history.best_epoch.unwrap();
            assert_eq!(improved.last(), Some(&best));
            assert_same(&run.model, &after(best + 1, &data), "not the best epoch's");
            let stops = history.stopped_epoch.is_some();
            assert_eq!(finish, Ok(if stops { Finish::Stopped } else { Finish::Epochs }));
            assert_eq!(history.epochs.len() as u32, history.stopped_epoch.map_or(40, |epoch| epoch + 1));
            if let (Some(EarlyStopping { patience: 5, .. }), Some(stopped)) = (stopping, history.stopped_epoch) {
                assert_eq!(stopped, best + 5);
            }
            if monitor == Monitor::ValLoss {
                assert!(best > 0 && best < 39 && stops == stopping.is_some_and(|stop| stop.patience == 5), "{best}");
                // The record says what the restored network answers.
                let score = run.model.score(Level::detect(), &Serial, validation.view().unwrap(), Loss::CrossEntropy);
                let (score, record) = (score.unwrap(), history.best().unwrap());
                assert_eq!(record.epoch, best);
                assert!((score.mean_loss() - record.val_loss.unwrap()).abs() < 1e-12);
                assert_eq!(Some(score.accuracy()), record.val_accuracy);
            }
        }
    }
}

/// Without restoring, the last weights stay, and none are kept.
#[test]
fn keeps_the_last_epoch_if_asked() {
    let (data, validation) = (noise(40, 0), noise(60, 100));
    let mut run = Run::new(net(6, NET), Trainer { restore_best: false, ..trainer() }).unwrap();
    run.fit(data.view().unwrap(), validation.view().ok(), &Serial, &mut |_| ControlFlow::Continue(())).unwrap();
    assert!(run.best.is_none() && run.history.best_epoch.is_some());
    assert_same(&run.model, &after(40, &data), "not the last epoch's");
}

/// The gap between validation and training loss opens as the labels are learnt by heart.
#[test]
fn history_shows_the_gap() {
    let (data, validation) = (noise(40, 0), noise(60, 100));
    let history = trainer().epochs(80).fit(&mut net(6, NET), data.view().unwrap(), validation.view().ok()).unwrap();
    let (first, last) = (history.epochs[0], history.epochs[79]);
    assert_eq!(first.gap(), Some(first.val_loss.unwrap() - first.loss));
    assert!(last.gap().unwrap() > first.gap().unwrap() + 0.5, "{first:?} {last:?}");
    assert!(last.loss < 0.5 * first.loss && last.accuracy > first.accuracy);
    assert!(history.epochs.iter().enumerate().all(|(at, epoch)| epoch.epoch as usize == at && epoch.lr == 0.01));
    // Without validation data there is no gap, and the monitor takes the training figures.
    let alone = trainer().epochs(3).fit(&mut net(6, NET), data.view().unwrap(), None).unwrap();
    assert!(alone.epochs.iter().all(|epoch| epoch.gap().is_none() && epoch.val_accuracy.is_none()));
    assert_eq!(alone.best_epoch, Some(2));
    assert_eq!(alone.best().unwrap().epoch, 2);
}

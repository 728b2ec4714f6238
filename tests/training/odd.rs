//! Small or odd data sets, and odd splits, do what is stated.

use std::ops::ControlFlow;

use evenkeel::fit::{Event, Finish, Run};
use evenkeel::split::Split;
use evenkeel::{Dataset, EarlyStopping, Labels, Loss, Optimizer, Serial, Trainer};

use crate::{assert_same, blobs, net};

const NET: &str = "dense(8) bn relu dense(3)";

/// Sizes of the batches of one epoch.
fn batch_sizes(layers: &str, rows: usize, batch: usize) -> Vec<u64> {
    let data = blobs(rows, 5, 3, 0.5);
    let mut run = Run::new(net(5, layers), Trainer::new(Loss::CrossEntropy).batch(batch).epochs(1)).unwrap();
    let mut sizes = vec![0];
    let finish = run.fit(data.view().unwrap(), None, &Serial, &mut |event| {
        if let Event::Batch { rows, .. } = event {
            sizes.push(rows);
        }
        ControlFlow::Continue(())
    });
    assert_eq!(finish, Ok(Finish::Epochs));
    sizes.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

/// A last batch of one row joins the one before if there is batch norm; batches larger than the data are cut.
#[test]
fn batch_plans() {
    assert_eq!(batch_sizes(NET, 9, 4), [4, 5]);
    assert_eq!(batch_sizes("dense(3)", 9, 4), [4, 4, 1]);
    assert_eq!(batch_sizes(NET, 3, 2), [3]);
    assert_eq!(batch_sizes(NET, 10, 4), [4, 4, 2]);
    assert_eq!(batch_sizes(NET, 9, 1000), [9]);
    assert_eq!(batch_sizes(NET, 9, usize::MAX), [9]);
    assert_eq!(batch_sizes("dense(3)", 1, 1000), [1]);
}

/// One class only, and equal labels among several: the loss goes to zero, nothing breaks.
#[test]
fn little_to_learn() {
    for (outputs, label) in [(1, 0), (3, 2)] {
        let data = Dataset { labels: Labels::Classes(vec![label; 12]), ..blobs(12, 5, 3, 0.5) };
        let mut model = net(5, &format!("dense(8) bn relu dense({outputs})"));
        let trainer = Trainer::new(Loss::CrossEntropy).optimizer(Optimizer::ADAM, 0.05).batch(4).epochs(60);
        let stop = EarlyStopping::patience(u32::MAX);
        let history = trainer.early_stopping(stop).fit(&mut model, data.view().unwrap(), data.view().ok()).unwrap();
        let last = history.best().unwrap();
        assert!(last.val_loss.unwrap() < 0.01 && last.val_accuracy == Some(1.0), "{last:?}");
        assert!(model.params.iter().all(|value| value.is_finite()));
    }
}

/// No epochs: nothing happens, and nothing fails.
#[test]
fn no_epochs() {
    let (data, model) = (blobs(9, 5, 3, 0.5), net(5, NET));
    let mut fitted = model.clone();
    let history = Trainer::new(Loss::CrossEntropy).epochs(0).fit(&mut fitted, data.view().unwrap(), None).unwrap();
    assert_eq!(history, evenkeel::History::default());
    assert_same(&model, &fitted, "no epochs");
}

/// Any [`Split`] will do, also one that claims no workers; and a slice with chunks to spare keeps them.
#[test]
fn strange_splits() {
    struct Idle;
    impl Split for Idle {
        fn workers(&self) -> usize {
            0
        }
        fn run<const N: usize>(
            &self,
            outputs: [&mut [f32]; N],
            chunk: [usize; N],
            task: &(impl Fn(usize, [&mut [f32]; N]) + Sync),
        ) {
            Serial.run(outputs, chunk, task);
        }
    }
    let data = blobs(40, 5, 3, 0.3);
    let run = Run::new(net(5, NET), Trainer::new(Loss::CrossEntropy).epochs(2)).unwrap();
    let (mut idle, mut serial) = (run.clone(), run);
    let view = data.view().unwrap();
    idle.fit(view, Some(view), &Idle, &mut |_| ControlFlow::Continue(())).unwrap();
    serial.fit(view, Some(view), &Serial, &mut |_| ControlFlow::Continue(())).unwrap();
    assert_same(&serial.model, &idle.model, "no workers");

    fn surplus(split: &impl Split) {
        let (mut short, mut long) = ([0.0; 10], [0.0; 20]);
        split.run([&mut short, &mut long], [5, 5], &|_, slices| {
            for slice in slices {
                assert_eq!(slice.len(), 5);
                slice.fill(1.0);
            }
        });
        assert!(short == [1.0; 10] && long[..10] == [1.0; 10] && long[10..] == [0.0; 10]);
    }
    surplus(&Serial);
    #[cfg(feature = "rayon")]
    surplus(&evenkeel::host::pool::Global);
}

/// Labels are only checked against a network: splitting must cope with any.
#[test]
fn labels_of_any_size_are_split() {
    let labels = (0..40).map(|row| [0, u32::MAX, 4_000_000_000, 7][row % 4]).collect();
    let data = Dataset { labels: Labels::Classes(labels), ..blobs(40, 5, 3, 0.5) };
    let (kept, held) = data.hold_out(0.2, 1, 0);
    assert_eq!((kept.len(), held.len()), (32, 8));
    assert_eq!(held.iter().filter(|row| **row % 4 == 1).count(), 2);
}

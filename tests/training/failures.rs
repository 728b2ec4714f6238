//! Numbers gone wrong: what is reported, and that nothing bad reaches the weights.

use std::ops::ControlFlow;

use evenkeel::fit::{Event, Finish, FitError, Monitor, Run};
use evenkeel::train::Clip;
use evenkeel::{Dataset, EarlyStopping, Init, Labels, Loss, Mlp, Optimizer, Serial, Trainer};

use crate::{assert_same, bits, blobs, net, number};

const NET: &str = "dense(8) bn relu dropout(0.2) dense(3)";

fn plain(loss: Loss) -> Trainer {
    let mut trainer = Trainer::new(loss).batch(4).epochs(3);
    trainer.shuffle = false;
    trainer
}

/// Trains until it fails. Then trains anew, stops just before the batch that failed, and compares: the failed step has
/// left no trace in parameters, running statistics and moments.
#[track_caller]
fn diverges(model: &Mlp, trainer: Trainer, data: &Dataset) -> (&'static str, usize, u32, usize) {
    let view = data.view().unwrap();
    let mut run = Run::new(model.clone(), trainer).unwrap();
    let mut good = 0;
    let error = run.fit(view, None, &Serial, &mut |event| {
        good += usize::from(matches!(event, Event::Batch { .. }));
        ControlFlow::Continue(())
    });
    let Err(FitError::NonFinite { what, layer, epoch, batch, ref name }) = error else {
        panic!("{error:?} after {good} batches")
    };
    assert_eq!(name, model.layers()[layer].name());
    let text = error.unwrap_err().to_string();
    assert!(text.contains(what) && text.contains(&format!("batch {}", batch + 1)), "{text}");
    if what != "weight" {
        let mut replay = Run::new(model.clone(), trainer).unwrap();
        let mut left = good;
        if good > 0 {
            let finish = replay.fit(view, None, &Serial, &mut |event| {
                left -= usize::from(matches!(event, Event::Batch { .. }));
                if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            assert_eq!(finish, Ok(Finish::Interrupted));
        }
        assert_same(&run.model, &replay.model, "a failed step left a trace");
        assert_eq!(bits(&run.moments), bits(&replay.moments));
        assert_eq!(run.progress.step, replay.progress.step);
        assert!(run.model.params.iter().chain(run.model.state.iter()).all(|value| value.is_finite()) || good == 0);
    }
    (what, layer, epoch, batch)
}

/// NaN and infinities in one input value, in the second batch.
#[test]
fn inputs() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for layers in [NET, "bn dense(3)", "dense(3)", "tanh dense(5) gelu dense(3)"] {
            let mut data = blobs(12, 5, 3, 0.5);
            data.inputs[5 * 5 + 2] = bad;
            if layers.starts_with("tanh") && bad.is_infinite() {
                // A finite tanh of infinity is no error.
                Trainer::fit(&plain(Loss::CrossEntropy), &mut net(5, layers), data.view().unwrap(), None).unwrap();
                continue;
            }
            let found = diverges(&net(5, layers), plain(Loss::CrossEntropy), &data);
            assert_eq!(found, ("input", 0, 0, 1), "{bad} into {layers}");
        }
    }
}

#[test]
fn target_values() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut values = vec![0.5; 12];
        values[6] = bad;
        let data = Dataset { labels: Labels::Values(values), ..blobs(12, 5, 3, 0.5) };
        let found = diverges(&net(5, "dense(8) relu dense(1)"), plain(Loss::MeanSquaredError), &data);
        assert_eq!(found, ("loss", 2, 0, 1));
    }
}

/// The layer whose weight is bad is named.
#[test]
fn weights() {
    for (layer, what) in [(0, "output"), (1, "output"), (4, "output")] {
        for bad in [f32::NAN, f32::INFINITY] {
            let mut model = net(5, NET);
            let weights = model.network().node(layer).weights;
            weights.of_mut(&mut model.params)[..8].fill(bad);
            let (found, named, epoch, batch) = diverges(&model, plain(Loss::CrossEntropy), &blobs(12, 5, 3, 0.5));
            assert_eq!((found, named, epoch, batch), (what, layer, 0, 0), "{bad} in layer {layer}");
        }
    }
}

/// A learning rate of 1e30 leads to an error within three epochs, whatever the optimiser, not to NaN weights.
#[test]
fn learning_rates() {
    let data = blobs(12, 5, 3, 0.5);
    let momentum = Optimizer::Sgd { momentum: 0.9, nesterov: true };
    for optimizer in [Optimizer::SGD, momentum, Optimizer::ADAM, Optimizer::ADAMW] {
        for layers in [NET, "dense(8) relu dense(3)", "dense(4) gelu dense(4) relu dense(3)"] {
            for clip in [Clip::None, Clip::Norm(1.0), Clip::Value(0.1)] {
                let mut trainer = plain(Loss::CrossEntropy).optimizer(optimizer, 1e30).epochs(20);
                trainer.rules.clip = clip;
                diverges(&net(5, layers), trainer, &data);
            }
        }
    }
}

/// An update that overflows in the very last step: the run fails and no such weights become the best ones.
#[test]
fn last_update() {
    let data = blobs(12, 5, 3, 0.5);
    for epochs in [1, 2] {
        let trainer = plain(Loss::CrossEntropy).optimizer(Optimizer::ADAM, f32::MAX).batch(12).epochs(epochs);
        let model = net(5, NET);
        assert_eq!(diverges(&model, trainer, &data), ("weight", 0, 0, 0));
        let mut run = Run::new(model.clone(), trainer).unwrap();
        run.fit(data.view().unwrap(), None, &Serial, &mut |_| ControlFlow::Continue(())).unwrap_err();
        assert!(run.best.is_none());
        let mut fitted = model.clone();
        trainer.fit(&mut fitted, data.view().unwrap(), None).unwrap_err();
        assert_same(&fitted, &model, "a failed fit leaves the network as it was");
    }
}

/// Sizes at which sums, squares or variances overflow.
#[test]
fn huge_inputs() {
    for (size, layers, what) in [
        (1e30, "bn dense(3)", "statistics"),
        (1e25, NET, "statistics"),
        (3e38, "dense(8, bias=false) dense(3)", "output"),
        (3e38, "bn dense(3)", "output"),
    ] {
        let mut data = blobs(12, 5, 3, 0.5);
        data.inputs.iter_mut().for_each(|x| *x = x.signum() * size);
        let mut model = net(5, layers);
        model.init(Init::Constant(0.7), 0);
        let (found, ..) = diverges(&model, plain(Loss::CrossEntropy), &data);
        assert_eq!(found, what, "{size} into {layers}");
    }
}

/// Data that says nothing: constant columns, zeros, subnormal numbers. No NaN anywhere.
#[test]
fn dull_inputs() {
    for value in [0.0, 1.0, 1e-40, 1e6] {
        for layers in [NET, "bn dense(3)", "bn bn dense(4) softmax dense(3)"] {
            let mut data = blobs(12, 5, 3, 0.5);
            data.inputs.fill(value);
            let mut model = net(5, layers);
            let history = plain(Loss::CrossEntropy).fit(&mut model, data.view().unwrap(), data.view().ok()).unwrap();
            assert!(history.epochs.iter().all(|epoch| epoch.loss.is_finite() && epoch.val_loss.unwrap().is_finite()));
            assert!(model.params.iter().chain(model.state.iter()).all(|value| value.is_finite()));
        }
    }
}

/// Validation data with a NaN: training goes on, but no epoch counts as the best, so none is restored.
#[test]
fn validation_never_a_number() {
    let data = blobs(12, 5, 3, 0.5);
    let mut validation = blobs(6, 5, 3, 0.5);
    validation.inputs[7] = f32::NAN;
    let trainer = plain(Loss::CrossEntropy).epochs(9).early_stopping(EarlyStopping::patience(4));
    let mut model = net(5, NET);
    let history = trainer.fit(&mut model, data.view().unwrap(), validation.view().ok()).unwrap();
    assert!(history.epochs.iter().all(|epoch| epoch.val_loss.unwrap().is_nan() && epoch.loss.is_finite()));
    assert_eq!((history.best_epoch, history.stopped_epoch, history.epochs.len()), (None, Some(3), 4));
    assert!(model.params.iter().chain(model.state.iter()).all(|value| value.is_finite()));
    // The last weights stay: those of four epochs without validation.
    let mut plain_model = net(5, NET);
    let mut same = trainer.epochs(4);
    (same.early_stopping, same.restore_best) = (None, false);
    same.fit(&mut plain_model, data.view().unwrap(), None).unwrap();
    assert_same(&model, &plain_model, "nothing is restored");
}

/// Accuracy as the monitor of a loss without classes is no number either: nothing is ever the best.
#[test]
fn monitor_without_a_value() {
    let values = (0..12).map(|i| number(7, i)).collect();
    let data = Dataset { labels: Labels::Values(values), ..blobs(12, 5, 3, 0.5) };
    let mut trainer = plain(Loss::MeanSquaredError);
    trainer.monitor = Monitor::ValAccuracy;
    let mut model = net(5, "dense(4) tanh dense(1)");
    let history = trainer.fit(&mut model, data.view().unwrap(), data.view().ok()).unwrap();
    assert_eq!(history.best_epoch, None);
    assert!(model.params.iter().all(|value| value.is_finite()));
}

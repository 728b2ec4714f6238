//! Averages of weights: what is validated and kept, whatever divides the work, and interrupted at any moment.

use std::ops::ControlFlow;

use evenkeel::fit::{Finish, Listener, Run};
use evenkeel::kernels::batchnorm;
use evenkeel::layer::{BatchNorm, Dialect};
use evenkeel::rng::{Purpose, Stream};
use evenkeel::train::Averaging;
use evenkeel::{EarlyStopping, Level, Loss, Mlp, Optimizer, Serial, Trainer};

use crate::{assert_same, bits, blobs, net};

const NET: &str = "dense(18) bn relu dropout(0.3) dense(9) ln gaussian_noise(0.1) tanh dense(4)";
const KINDS: [Averaging; 2] = [Averaging::Swa { from: 4 }, Averaging::Ema { decay: 0.95 }];

fn trainer(averaging: Averaging) -> Trainer {
    let mut trainer = Trainer::new(Loss::CrossEntropy).optimizer(Optimizer::ADAM, 0.02).batch(16).epochs(9);
    trainer.seed = 11;
    trainer.averaging(averaging)
}

/// The figures of each epoch, the best weights and the end are those of the averaged weights with statistics of their own.
#[test]
fn the_average_is_what_is_validated_and_kept() {
    let (data, validation) = (blobs(150, 7, 4, 1.5), blobs(41, 7, 4, 1.7));
    let (train, held_out) = (data.view().unwrap(), validation.view().unwrap());
    let level = Level::detect();
    for averaging in KINDS {
        // The same training without an average gives the weights at the end of each epoch.
        let mut plain = Run::new(net(7, NET), trainer(Averaging::None)).unwrap();
        let mut averaged = Run::new(net(7, NET), trainer(averaging)).unwrap();
        let mut mean = vec![0.0_f64; plain.model.params.len()];
        let mut best: Option<(f64, Mlp)> = None;
        for epoch in 0..9 {
            for run in [&mut plain, &mut averaged] {
                run.trainer.epochs = epoch + 1;
                run.advance(train, Some(held_out), &Serial, &mut Listener(&mut |_| ControlFlow::Continue(()))).unwrap();
            }
            // What trains is not changed by the average beside it.
            assert_same(&averaged.model, &plain.model, "weights beside an average");
            let begun = averaged.averaged.as_ref().filter(|averaged| averaged.count > 0);
            let record = averaged.history.epochs[epoch as usize];
            assert_eq!(record.loss.to_bits(), plain.history.epochs[epoch as usize].loss.to_bits());
            let Some(average) = begun else {
                assert!(matches!(averaging, Averaging::Swa { from } if epoch < from));
                assert_eq!(record, plain.history.epochs[epoch as usize]);
                assert!(averaged.best.is_none(), "epoch {epoch} is before the average");
                continue;
            };
            if let Averaging::Swa { from } = averaging {
                let count = f64::from(epoch - from) + 1.0;
                for ((mean, weight), found) in mean.iter_mut().zip(plain.model.params.iter()).zip(average.params.iter())
                {
                    *mean += (f64::from(*weight) - *mean) / count;
                    assert!((f64::from(*found) - *mean).abs() <= 1e-6 * mean.abs().max(0.1), "{found} {mean}");
                }
            }
            let mut model = averaged.model.clone();
            model.params.copy_from_slice(&average.params);
            model.recalibrate(level, &Serial, &data.inputs, 16).unwrap();
            assert_eq!(bits(&model.state), bits(&average.state), "statistics of the averaged weights");
            let score = model.score(level, &Serial, held_out, Loss::CrossEntropy).unwrap();
            assert_eq!(Some(score.accuracy()), record.val_accuracy);
            let loss = record.val_loss.unwrap();
            assert!((score.mean_loss() - loss).abs() <= 1e-12 * loss, "{} {loss}", score.mean_loss());
            if best.as_ref().is_none_or(|(least, _)| loss < *least) {
                best = Some((loss, model));
            }
        }
        averaged.restore_best();
        assert_same(&averaged.model, &best.unwrap().1, "the best averaged weights");
        // Without the best: the last average.
        let mut last = Run::new(net(7, NET), Trainer { restore_best: false, ..trainer(averaging) }).unwrap();
        last.fit(train, Some(held_out), &Serial, &mut |_| ControlFlow::Continue(())).unwrap();
        let average = averaged.averaged.as_ref().unwrap();
        assert_eq!(bits(&last.model.params), bits(&average.params));
        assert_eq!(bits(&last.model.state), bits(&average.state));
    }
}

#[test]
fn what_makes_no_average_is_refused() {
    for (averaging, optimizer) in [
        (Averaging::Ema { decay: 1.0 }, Optimizer::ADAM),
        (Averaging::Ema { decay: f64::NAN }, Optimizer::ADAM),
        (Averaging::Swa { from: 0 }, Optimizer::SCHEDULE_FREE),
    ] {
        assert!(Run::new(net(5, "dense(3)"), trainer(averaging).optimizer(optimizer, 0.01)).is_err(), "{averaging:?}");
    }
}

/// Early stopping waits for the average to begin.
#[test]
fn no_stop_before_the_average() {
    let data = blobs(60, 5, 3, 0.5);
    let mut trainer = trainer(Averaging::Swa { from: 5 }).early_stopping(EarlyStopping::patience(1));
    trainer.lr = 1e-9;
    let mut run = Run::new(net(5, "dense(3)"), trainer).unwrap();
    run.fit(data.view().unwrap(), None, &Serial, &mut |_| ControlFlow::Continue(())).unwrap();
    assert!(run.history.epochs.len() > 5 && run.history.best_epoch >= Some(5), "{:?}", run.history.best_epoch);
}

#[test]
fn interrupted_and_stored_is_uninterrupted() {
    let (data, validation) = (blobs(70, 7, 4, 1.5), blobs(21, 7, 4, 1.7));
    let (view, validation) = (data.view().unwrap(), validation.view().unwrap());
    let mut breaks = 0;
    for averaging in KINDS {
        for restore_best in [true, false] {
            let trainer = Trainer { restore_best, part: Some(8), ..trainer(averaging) };
            let mut whole = Run::new(net(7, NET), trainer).unwrap();
            whole.fit(view, Some(validation), &Serial, &mut |_| ControlFlow::Continue(())).unwrap();
            let words = Stream::new(3, Purpose::Init, 0, 0);
            let (mut event, mut run) = (0, Run::new(net(7, NET), trainer).unwrap());
            loop {
                let finish = run.fit(view, Some(validation), &Serial, &mut |_| {
                    event += 1;
                    let breaks = words.word(event).is_multiple_of(3);
                    if breaks { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                });
                if finish.unwrap() != Finish::Interrupted {
                    break;
                }
                breaks += 1;
                run = stored(run, trainer);
            }
            assert_same(&run.model, &whole.model, "stored and continued");
            assert_eq!(run.averaged, whole.averaged);
            assert_eq!(run.history, whole.history);
        }
    }
    assert!(breaks > 20, "{breaks}");
    println!("interrupted and stored {breaks} times");
}

/// The run, written and read back.
#[cfg(feature = "safetensors")]
fn stored(run: Run, trainer: Trainer) -> Run {
    use evenkeel::interchange::resume::{Saved, read, to_bytes};
    let Saved::Run(saved) = read(&to_bytes(&run).unwrap()).unwrap() else { panic!("not a run") };
    let other = Trainer { averaging: Averaging::Ema { decay: 0.5 }, ..trainer };
    assert!(saved.clone().with(other).unwrap_err().to_string().contains("averaging of the weights"));
    saved.with(trainer).unwrap()
}

#[cfg(not(feature = "safetensors"))]
fn stored(run: Run, _: Trainer) -> Run {
    run
}

/// The dialects' running variances, there and back: the first batches under both, then the conversion.
#[test]
fn dialects_convert_losslessly() {
    let (rows, width) = (13, 16);
    let x: Vec<f32> = (0..40 * rows * width).map(|i| crate::number(5, i) * 3.0).collect();
    for momentum in [Some(0.1), Some(0.01), None] {
        let torch = BatchNorm { momentum, ..BatchNorm::TORCH };
        let keras = BatchNorm { momentum, ..BatchNorm::KERAS };
        let [mut torch_var, mut keras_var, mut mean] = [vec![1.0; width], vec![1.0; width], vec![0.0; width]];
        let mut cache = vec![0.0; batchnorm::cache_len(width)];
        let mut worst = 0.0_f64;
        for (batch, x) in (1..).zip(x.chunks_exact(rows * width)) {
            batchnorm::statistics(Level::detect(), &Serial, rows, 1e-5, x, &mut cache).unwrap();
            let factor = momentum.unwrap_or(1.0 / batch as f32);
            for (unbiased, var) in [(true, &mut torch_var), (false, &mut keras_var)] {
                batchnorm::update_running(&cache, rows, factor, unbiased, &mut mean, var).unwrap();
            }
            for (torch_var, keras_var) in torch_var.iter().zip(&keras_var) {
                let there = torch.convert_variance(*torch_var, false, rows, batch);
                let back = keras.convert_variance(there, true, rows, batch);
                let off = |a: f32, b: f32| f64::from((a - b).abs() / b);
                worst = worst.max(off(there, *keras_var));
                assert!(off(back, *torch_var) <= 2.0 * f64::from(f32::EPSILON), "{back} {torch_var}");
                assert_eq!(torch.convert_variance(*torch_var, true, rows, batch), *torch_var);
            }
        }
        println!("momentum {momentum:?}: PyTorch's variances as Keras collects them, off by at most {worst:.1e}");
        assert!(worst < 3e-6);
    }
    // Momentum: every share there and back.
    for bits in (0.000_1_f32.to_bits()..=1.0_f32.to_bits()).step_by(997) {
        let bn = BatchNorm { momentum: Some(f32::from_bits(bits)), ..BatchNorm::TORCH };
        assert_eq!(bn.with_keras_momentum(bn.keras_momentum().unwrap()), bn);
    }
    let model = net(5, "bn dense(3) bn(keras) dense(2)");
    let keras = model.to_dialect(Dialect::Keras, 32).unwrap();
    assert_eq!(
        evenkeel::text::print(keras.layers()),
        "bn(eps=0.00001, momentum=0.1, unbiased=false) dense(3) bn(keras) dense(2)"
    );
}

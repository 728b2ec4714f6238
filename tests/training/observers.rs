//! Hooks, the learning-rate finder, cross-validation.

use core::ops::ControlFlow;

use evenkeel::data::group_folds;
use evenkeel::fit::{
    BatchEnd, CrossValidation, EpochEnd, Finish, FitError, Observer, RateSearch, Run, cross_validate,
    mean_and_deviation,
};
use evenkeel::{Loss, Optimizer, Schedule, Serial, Trainer};

use crate::{assert_same, blobs, net};

/// Writes down what it hears, and may break.
#[derive(Default)]
struct Diary {
    begun: Vec<u32>,
    batches: Vec<BatchEnd>,
    /// Loss of the record, and a parameter of then.
    ended: Vec<(f64, f32)>,
    break_at_step: Option<u64>,
    rate: Option<f32>,
}

impl Observer for Diary {
    fn epoch_begins(&mut self, epoch: u32) -> ControlFlow<()> {
        self.begun.push(epoch);
        ControlFlow::Continue(())
    }

    fn rate(&mut self, _: u64, planned: f32) -> f32 {
        self.rate.unwrap_or(planned)
    }

    fn batch_ends(&mut self, batch: &BatchEnd) -> ControlFlow<()> {
        self.batches.push(*batch);
        if self.break_at_step == Some(batch.step) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn epoch_ends(&mut self, epoch: &EpochEnd<'_>) -> ControlFlow<()> {
        self.ended.push((epoch.record.loss, epoch.params[0]));
        ControlFlow::Continue(())
    }
}

const NET: &str = "dense(9) bn relu dropout(0.2) dense(3)";

fn trainer() -> Trainer {
    Trainer { schedule: Schedule::Cosine { floor: 0.1 }, ..Trainer::new(Loss::CrossEntropy).epochs(4).batch(16) }
}

fn observed(diary: &mut dyn Observer) -> (Run, Finish) {
    let data = blobs(70, 5, 3, 0.8);
    let mut run = Run::new(net(5, NET), trainer()).unwrap();
    let finish = run.fit_observed(data.view().unwrap(), data.view().ok(), &Serial, diary).unwrap();
    (run, finish)
}

#[test]
fn hooks_come_in_order_and_change_no_bit() {
    let mut diary = Diary::default();
    let (run, _) = observed(&mut diary);
    let mut plain = net(5, NET);
    let data = blobs(70, 5, 3, 0.8);
    let history = trainer().fit(&mut plain, data.view().unwrap(), data.view().ok()).unwrap();
    assert_same(&run.model, &plain, "looked at or not");
    assert_eq!(run.history, history);
    assert_eq!(diary.begun, [0, 1, 2, 3]);
    assert_eq!(diary.batches.iter().map(|batch| batch.step).collect::<Vec<_>>(), (0..20).collect::<Vec<_>>());
    let last = diary.batches[19];
    assert_eq!((last.epoch, last.batch, last.of, last.rows, last.epoch_rows), (3, 4, 5, 6, 70));
    assert_eq!(
        diary.ended.iter().map(|end| end.0).collect::<Vec<_>>(),
        history.epochs.iter().map(|e| e.loss).collect::<Vec<_>>()
    );
    assert_eq!(history.epochs[3].lr, last.lr);
    // The mean of the batches' own losses is the epoch's.
    let mean = diary.batches[15..].iter().map(|b| b.loss * b.rows as f64).sum::<f64>() / 70.0;
    assert!(
        (mean - history.epochs[3].loss).abs() < 1e-12 && mean == last.epoch_loss
            || (mean - last.epoch_loss).abs() < 1e-12
    );
    assert!(diary.ended.windows(2).all(|pair| pair[0].1 != pair[1].1), "parameters of each epoch");
}

#[test]
fn a_break_in_the_middle_is_taken_up() {
    let data = blobs(70, 5, 3, 0.8);
    let (view, validation) = (data.view().unwrap(), data.view().ok());
    let whole = observed(&mut Diary::default()).0;
    for step in [0, 4, 7, 19] {
        let mut diary = Diary { break_at_step: Some(step), ..Diary::default() };
        let (mut run, finish) = observed(&mut diary);
        assert_eq!(finish, Finish::Interrupted);
        diary.break_at_step = None;
        run.fit_observed(view, validation, &Serial, &mut diary).unwrap();
        assert_same(&run.model, &whole.model, "stopped and taken up");
        assert_eq!(diary.begun, [0, 1, 2, 3], "no epoch begins twice");
        assert_eq!(diary.batches.len(), 20);
    }
}

#[test]
fn observers_in_a_list_and_rates() {
    let (mut first, mut second) = (Diary { rate: Some(0.25), ..Diary::default() }, Diary::default());
    {
        let mut both: Vec<&mut dyn Observer> = vec![&mut first, &mut second];
        observed(&mut both);
    }
    assert_eq!(first.batches, second.batches);
    assert!(second.batches.iter().all(|batch| batch.lr == 0.25));
    let data = blobs(70, 5, 3, 0.8);
    for rate in [f32::NAN, -0.1, f32::INFINITY] {
        let mut run = Run::new(net(5, NET), trainer()).unwrap();
        let mut diary = Diary { rate: Some(rate), ..Diary::default() };
        let error = run.fit_observed(data.view().unwrap(), None, &Serial, &mut diary).unwrap_err();
        assert!(matches!(error, FitError::Parameter { .. }));
        assert_eq!((run.progress.step, diary.batches.len()), (0, 0));
    }
    // A rate of 0 trains nothing but the statistics.
    let mut run = Run::new(net(5, NET), trainer()).unwrap();
    let before = run.model.params.clone();
    run.fit_observed(data.view().unwrap(), None, &Serial, &mut Diary { rate: Some(0.0), ..Diary::default() }).unwrap();
    assert!(*run.model.params == *before && *run.model.state != *net(5, NET).state);
}

#[test]
fn the_finder_ramps_smooths_and_stops() {
    let data = blobs(90, 5, 3, 0.5);
    let search = RateSearch { lowest: 1e-4, highest: 1e4, steps: 60, ..RateSearch::default() };
    let trainer = Trainer::new(Loss::CrossEntropy).batch(16).optimizer(Optimizer::SGD, 0.1);
    let model = net(5, "dense(16) relu dense(3)");
    let curve = search.run(&model, &trainer, data.view().unwrap(), &Serial).unwrap();
    assert!(curve.diverged && curve.points.len() < 60 && curve.points.len() > 20, "{}", curve.points.len());
    // The formulas, written out.
    let (mut best, mut weights) = (f64::INFINITY, 0.0);
    for (step, point) in curve.points.iter().enumerate() {
        let lr = 1e-4 * 1e8_f64.powf(step as f64 / 59.0);
        assert!((f64::from(point.lr) / lr - 1.0).abs() < 1e-6);
        let forgetting: Vec<f64> = (0..=step).map(|i| 0.02 * 0.98_f64.powi((step - i) as i32)).collect();
        weights = forgetting.iter().sum::<f64>();
        let mean = forgetting.iter().zip(&curve.points).map(|(w, p)| w * p.loss).sum::<f64>() / weights;
        assert!((mean - point.smoothed).abs() < 1e-9 * mean.abs().max(1.0), "{mean} {}", point.smoothed);
        best = best.min(point.smoothed);
        assert_eq!(point.smoothed > 4.0 * best, step + 1 == curve.points.len());
    }
    assert!(weights < 1.0);
    let (steepest, tenth) = (curve.steepest().unwrap(), curve.tenth_of_lowest().unwrap());
    assert!(curve.points.iter().any(|point| point.lr == steepest));
    let lowest = curve.points[6..].iter().min_by(|a, b| a.smoothed.total_cmp(&b.smoothed)).unwrap();
    assert_eq!(tenth, lowest.lr / 10.0);
    // Both train; the rate that diverged does not.
    for lr in [steepest, tenth] {
        let mut fitted = model.clone();
        let history = Trainer { lr, ..trainer }.epochs(10).fit(&mut fitted, data.view().unwrap(), None).unwrap();
        assert!(history.epochs[9].loss < 0.7 * history.epochs[0].loss, "{lr}");
    }
    // The same again: the model that was given is as it was.
    assert_eq!(search.run(&model, &trainer, data.view().unwrap(), &Serial).unwrap(), curve);
}

#[test]
fn the_finder_refuses() {
    let data = blobs(20, 5, 3, 0.5);
    let run = |search: RateSearch| {
        let model = net(5, "dense(3)");
        search.run(&model, &Trainer::new(Loss::CrossEntropy), data.view().unwrap(), &Serial)
    };
    let sound = RateSearch::default();
    for wrong in [
        RateSearch { lowest: 0.0, ..sound },
        RateSearch { lowest: 11.0, ..sound },
        RateSearch { highest: f32::NAN, ..sound },
        RateSearch { steps: 1, ..sound },
        RateSearch { smoothing: 1.0, ..sound },
        RateSearch { divergence: 1.0, ..sound },
    ] {
        assert!(matches!(run(wrong), Err(FitError::Parameter { .. })), "{wrong:?}");
    }
    let curve = run(RateSearch { highest: 1e-6, ..sound }).unwrap();
    assert_eq!((curve.points.len(), curve.points[99].lr, curve.diverged), (100, 1e-6, false));
}

#[test]
fn cross_validation_sees_no_row_that_it_is_scored_on() {
    let mut data = blobs(90, 5, 3, 0.6);
    // Rows of the first fold are far away: a standardisation that saw them would be another one.
    let folds = data.folds(3, 1).unwrap();
    for row in &folds[0] {
        data.inputs[*row as usize * 5..][..5].iter_mut().for_each(|x| *x += 100.0);
    }
    let trainer = Trainer::new(Loss::CrossEntropy).epochs(20).batch(16);
    let mut heard = [0; 3];
    let results = cross_validate(
        &data,
        &folds,
        CrossValidation::default(),
        &trainer,
        &Serial,
        &mut |_| Ok(net(5, "dense(8) relu dense(3)")),
        &mut |fold, _| {
            heard[fold] += 1;
            ControlFlow::Continue(())
        },
    )
    .unwrap();
    let mean = |fold: usize| results[fold].model.standardize.as_ref().unwrap().mean[0];
    assert!(mean(0).abs() < 2.0 && mean(1) > 30.0 && mean(2) > 30.0);
    assert!(heard.iter().all(|count| *count == heard[0] && *count > 20));
    for (result, held) in results.iter().zip(&folds) {
        assert_eq!(result.score.rows, held.len() as u64);
        let rest = data.subset(&evenkeel::data::others(90, held));
        let (kept, _) = rest.hold_out(0.1, trainer.seed, 0);
        let learned = evenkeel::model::Standardize::learn(&rest.subset(&kept).inputs, 5);
        assert_eq!(result.model.standardize.as_ref(), Some(&learned));
    }
    let lost = results[0].score.mean_loss() / results[1].score.mean_loss();
    assert!(lost > 2.0, "rows that are far away are hard only for the model that has not seen them: {lost}");
    // Leave one group out, as many models as groups.
    let groups: Vec<u32> = (0..90).map(|row| row / 23).collect();
    let folds = group_folds(&groups).unwrap();
    assert_eq!(folds.iter().map(Vec::len).collect::<Vec<_>>(), [23, 23, 23, 21]);
    assert_eq!(mean_and_deviation(&[1.0, 2.0, 3.0]), (2.0, 1.0));
    assert_eq!(mean_and_deviation(&[4.0]), (4.0, 0.0));
}

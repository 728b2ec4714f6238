//! Against scikit-learn: every metric, with ties, missing classes and other degenerate cases.

use std::collections::BTreeMap;

use evenkeel::Error;
use evenkeel::metrics::{
    Average, Bin, Confusion, Scores, Truth, calibration, classes, log_loss, quantities, ranking, top_k,
};

use crate::file::File;
use crate::table::{Unit, note};

/// For each metric: vectors, values, largest relative deviation.
#[derive(Default)]
struct Rows(BTreeMap<&'static str, (usize, usize, f64)>);

impl Rows {
    /// `None` is scikit-learn's NaN.
    #[track_caller]
    fn compare(&mut self, metric: &'static str, case: &str, found: &[Option<f64>], truth: &[f64]) {
        assert_eq!(found.len(), truth.len(), "{metric} of {case}");
        let row = self.0.entry(metric).or_default();
        for (found, truth) in found.iter().zip(truth) {
            let found = found.unwrap_or(f64::NAN);
            assert_eq!(found.is_nan(), truth.is_nan(), "{metric} of {case}: {found}, not {truth}");
            let deviation = if truth.is_nan() { 0.0 } else { (found - truth).abs() / truth.abs().max(1.0) };
            assert!(deviation <= 1e-13, "{metric} of {case}: {found}, not {truth}");
            row.2 = row.2.max(deviation);
        }
        row.0 += 1;
        row.1 += found.len();
    }

    fn note(&self) {
        for (metric, (vectors, values, deviation)) in &self.0 {
            note(metric, (*vectors, *values), *deviation, Unit::Relative);
        }
    }
}

fn cases<'a>(file: &'a File, kind: &str) -> Vec<(&'a str, &'a serde_json::Value)> {
    let cases = file.about["cases"][kind].as_object().unwrap();
    cases.iter().map(|(name, about)| (name.as_str(), about)).collect()
}

fn figures(scores: Scores) -> [Option<f64>; 3] {
    [scores.precision, scores.recall, scores.f1].map(Some)
}

#[test]
pub(crate) fn metrics_of_classes() {
    let file = File::open("metrics");
    let mut rows = Rows::default();
    for (case, about) in cases(&file, "classes") {
        let count = about["classes"].as_u64().unwrap() as usize;
        let of = |name: &str| file.f64(&format!("{case}.{name}"));
        let (truth, predicted) = (file.u32(&format!("{case}.truth")), file.u32(&format!("{case}.predicted")));
        let mut counts = vec![9.0; count * count];
        let mut confusion = Confusion::new(count, &mut counts).unwrap();
        confusion.add_all(&truth, &predicted).unwrap();
        let found: Vec<_> = (0..count * count).map(|at| Some(confusion.count(at / count, at % count))).collect();
        rows.compare("confusion", case, &found, of("confusion"));
        rows.compare("accuracy", case, &[confusion.accuracy()], of("accuracy64"));
        rows.compare("accuracy", case, &[classes::accuracy(&truth, &predicted).ok()], of("accuracy64"));
        let support: Vec<_> = (0..count).map(|class| Some(confusion.class(class, 0.0).support)).collect();
        rows.compare("of a class: support", case, &support, of("support64"));
        for (word, zero) in [("zero", 0.0), ("one", 1.0), ("nan", f64::NAN)] {
            let each: Vec<_> = (0..count).flat_map(|class| figures(confusion.class(class, zero))).collect();
            rows.compare("of a class: precision recall f1", case, &each, of(&format!("class_{word}64")));
            for (name, average, metric) in [
                ("macro", Average::Macro, "macro: precision recall f1"),
                ("weighted", Average::Weighted, "weighted: precision recall f1"),
                ("micro", Average::Micro, "micro: precision recall f1"),
            ] {
                let found = figures(confusion.average(average, zero));
                rows.compare(metric, case, &found, of(&format!("{name}_{word}64")));
            }
        }
    }
    rows.note();
}

#[test]
pub(crate) fn metrics_of_scores() {
    let file = File::open("metrics");
    let mut rows = Rows::default();
    for (case, about) in cases(&file, "scores") {
        let count = about["classes"].as_u64().unwrap() as usize;
        let of = |name: &str| file.f64(&format!("{case}.{name}"));
        let (truth, scores) = (file.u32(&format!("{case}.truth")), file.f32(&format!("{case}.scores")));
        let mut order = vec![7; truth.len()];
        let mut found = Vec::new();
        for class in 0..count {
            let one = match count {
                1 => ranking::binary(&scores, &truth, &mut order).unwrap(),
                _ => ranking::one_vs_rest(&scores, count, &truth, class, &mut order).unwrap(),
            };
            found.push([one.roc_auc, Some(one.average_precision), one.pr_auc]);
        }
        let rankings = of("rankings64");
        for (at, metric) in ["roc-auc", "pr-auc", "trapezoids"].into_iter().enumerate() {
            let column: Vec<_> = found.iter().map(|row| row[at]).collect();
            let truth: Vec<_> = rankings.iter().skip(at).step_by(3).copied().collect();
            rows.compare(metric, case, &column, &truth);
        }
        rows.compare("log-loss", case, &[log_loss(&scores, count, &truth).ok()], of("log_loss64"));
        for (name, bins) in [("ece_164", 1), ("ece_1064", 10), ("ece_1564", 15)] {
            let mut bins = vec![Bin::default(); bins];
            let error = calibration(&scores, count, &truth, &mut bins).unwrap();
            rows.compare("ece", case, &[Some(error.expected), Some(error.largest)], of(name));
            assert_eq!(bins.iter().map(|bin| bin.rows).sum::<f64>(), truth.len() as f64);
        }
        if count == 1 {
            continue;
        }
        let found: Vec<_> = (1..=count).map(|k| top_k(&scores, count, &truth, k).ok()).collect();
        rows.compare("top-k", case, &found, of("top_k64"));
        for (name, average) in [("macro64", Average::Macro), ("weighted64", Average::Weighted)] {
            let mean = ranking::averaged(&scores, count, &truth, average, &mut order).unwrap();
            let found = [mean.roc_auc, Some(mean.average_precision)];
            rows.compare("one against the rest", case, &found, of(name));
        }
    }
    rows.note();
}

#[test]
pub(crate) fn metrics_of_quantities() {
    let file = File::open("metrics");
    let mut rows = Rows::default();
    for (case, about) in cases(&file, "quantities") {
        let outputs = about["outputs"].as_u64().unwrap() as usize;
        let (answers, targets) = (file.f32(&format!("{case}.answers")), file.f32(&format!("{case}.targets")));
        let found = quantities(&answers, &targets, outputs).unwrap();
        let truth = file.f64(&format!("{case}.figures64"));
        rows.compare("MAE", case, &[Some(found.mae)], &truth[..1]);
        rows.compare("RMSE", case, &[Some(found.rmse)], &truth[1..2]);
        rows.compare("R²", case, &[found.r2], &truth[2..]);
    }
    rows.note();
}

/// `sample_weight`; and weights of 1 are none.
#[test]
pub(crate) fn weighted_metrics() {
    let file = File::open("metrics");
    let mut rows = Rows::default();
    for (case, about) in cases(&file, "weighted") {
        let count = about["classes"].as_u64().unwrap() as usize;
        let of = |name: &str| file.f64(&format!("{case}.{name}"));
        let [labels, predicted] = ["truth", "predicted"].map(|name| file.u32(&format!("{case}.{name}")));
        let [scores, weights] = ["scores", "w"].map(|name| file.f32(&format!("{case}.{name}")));
        let truth = Truth::weighted(&labels, &weights);
        let mut counts = vec![9.0; count * count];
        let mut confusion = Confusion::new(count, &mut counts).unwrap();
        confusion.add_all(truth, &predicted).unwrap();
        let all = |at| Some(confusion.count(at / count, at % count));
        rows.compare("confusion", case, &(0..count * count).map(all).collect::<Vec<_>>(), of("confusion64"));
        rows.compare("accuracy", case, &[confusion.accuracy()], of("accuracy64"));
        rows.compare("accuracy", case, &[classes::accuracy(truth, &predicted).ok()], of("accuracy64"));
        let scored = (0..count).map(|class| confusion.class(class, 0.0));
        let each: Vec<_> = scored.flat_map(|of| [of.precision, of.recall, of.f1, of.support].map(Some)).collect();
        rows.compare("of a class: precision recall f1", case, &each, of("class64"));
        for (name, average, metric) in [
            ("macro64", Average::Macro, "macro: precision recall f1"),
            ("weighted64", Average::Weighted, "weighted: precision recall f1"),
            ("micro64", Average::Micro, "micro: precision recall f1"),
        ] {
            rows.compare(metric, case, &figures(confusion.average(average, 0.0)), of(name));
        }
        let mut order = vec![7; labels.len()];
        let mut rank = |class| ranking::one_vs_rest(&scores, count, truth, class, &mut order).unwrap();
        let found: Vec<_> =
            (0..count).map(&mut rank).flat_map(|one| [one.roc_auc, Some(one.average_precision), one.pr_auc]).collect();
        rows.compare("roc-auc pr-auc trapezoids", case, &found, of("rankings64"));
        for (name, average) in [("averaged_macro64", Average::Macro), ("averaged_weighted64", Average::Weighted)] {
            let mean = ranking::averaged(&scores, count, truth, average, &mut order).unwrap();
            rows.compare("one against the rest", case, &[mean.roc_auc, Some(mean.average_precision)], of(name));
        }
        rows.compare("log-loss", case, &[log_loss(&scores, count, truth).ok()], of("log_loss64"));
        let found: Vec<_> = (1..=count).map(|k| top_k(&scores, count, truth, k).ok()).collect();
        rows.compare("top-k", case, &found, of("top_k64"));
        let mut bins = [Bin::default(); 15];
        if about["whole"] == true {
            let error = calibration(&scores, count, truth, &mut bins).unwrap();
            rows.compare("ece", case, &[Some(error.expected), Some(error.largest)], of("ece64"));
        }
        let ones = vec![1.0; labels.len()];
        let same = Truth::weighted(&labels, &ones);
        assert_eq!(log_loss(&scores, count, same), log_loss(&scores, count, &labels));
        assert_eq!(top_k(&scores, count, same, 1), top_k(&scores, count, &labels, 1));
        let [a, b] = [same, Truth::from(&labels)].map(|truth| calibration(&scores, count, truth, &mut bins).unwrap());
        assert_eq!(a, b);
        let [a, b] = [same, Truth::from(&labels)]
            .map(|truth| ranking::one_vs_rest(&scores, count, truth, 0, &mut order).unwrap());
        assert_eq!(a, b);
    }
    for (case, about) in cases(&file, "weighted_quantities") {
        let [answers, targets, weights] = ["answers", "targets", "w"].map(|name| file.f32(&format!("{case}.{name}")));
        let outputs = about["outputs"].as_u64().unwrap() as usize;
        let found = quantities(&answers, Truth::weighted(&targets, &weights), outputs).unwrap();
        let truth = file.f64(&format!("{case}.figures64"));
        rows.compare("mae rmse r2", case, &[Some(found.mae), Some(found.rmse), found.r2], truth);
        let same = quantities(&answers, Truth::weighted(&targets, &vec![1.0; weights.len()]), outputs);
        assert_eq!(same, quantities(&answers, &targets, outputs));
    }
    rows.note();
    let [negative, endless, none] = [[1.0, -1.0], [1.0, f32::INFINITY], [0.0, 0.0]];
    let of = |weights: &[f32]| top_k(&[0.5; 4], 2, Truth::weighted(&[0, 1], weights), 1);
    assert_eq!(of(&negative), Err(Error::Weight { row: 1, value: -1.0 }));
    assert_eq!(of(&endless), Err(Error::Weight { row: 1, value: f32::INFINITY }));
    assert_eq!(of(&none), Err(Error::AllWeightsZero));
    assert_eq!(of(&[1.0]), Err(Error::Length { what: "weights", expected: 2, found: 1 }));
}

/// No length, label or number that comes in leads to a panic, and each refusal says what it is about.
#[test]
pub(crate) fn metrics_refuse() {
    let mut order = [0; 3];
    let said = |error: Error| error.to_string();
    assert!(Confusion::new(3, &mut [0.0; 8]).is_err());
    assert!(Confusion::new(0, &mut []).is_err());
    assert!(Confusion::new(usize::MAX, &mut [0.0; 9]).is_err());
    let mut counts = [0.0; 4];
    let mut confusion = Confusion::new(2, &mut counts).unwrap();
    assert_eq!((confusion.accuracy(), confusion.total()), (None, 0.0));
    assert_eq!(confusion.average(Average::Macro, 0.25).recall, 0.25);
    assert_eq!(confusion.add(0, 2), Err(Error::Label { row: 0, label: 2, classes: 2 }));
    assert!(confusion.add_all(&[0, 1], &[0]).is_err());
    assert_eq!((confusion.count(5, 0), confusion.class(9, 0.0).support), (0.0, 0.0));
    for (scores, classes, truth) in
        [(&[0.5; 3][..], 2, &[0; 3][..]), (&[0.5; 6], 2, &[2; 3]), (&[], 2, &[]), (&[], 0, &[0])]
    {
        assert!(top_k(scores, classes, truth, 1).is_err());
        assert!(log_loss(scores, classes, truth).is_err());
        assert!(calibration(scores, classes, truth, &mut [Bin::default(); 2]).is_err());
        assert!(ranking::averaged(scores, classes, truth, Average::Macro, &mut order).is_err());
    }
    let nan = [0.5, f32::NAN, 0.25];
    assert_eq!(said(ranking::binary(&nan, &[0, 1, 0], &mut order).unwrap_err()), "no metric: a score is NaN");
    assert!(ranking::binary(&[0.5; 3], &[0, 1, 0], &mut [0; 2]).is_err());
    assert!(ranking::one_vs_rest(&[0.5; 6], 2, &[0, 1, 0], 2, &mut order).is_err());
    assert!(ranking::averaged(&[0.5; 6], 2, &[0, 1, 0], Average::Micro, &mut order).is_err());
    assert!(top_k(&[0.5; 6], 2, &[0, 1, 0], 0).is_err());
    assert!(log_loss(&[1.5; 3], 1, &[0, 1, 0]).is_err());
    assert!(calibration(&[0.5; 3], 1, &[0, 1, 0], &mut []).is_err());
    for (answers, targets, outputs) in
        [(&[1.0; 3][..], &[1.0; 2][..], 1), (&[1.0; 3], &[1.0; 3], 2), (&[], &[], 1), (&[1.0], &[1.0], 0)]
    {
        assert!(quantities(answers, targets, outputs).is_err());
    }
    assert!(quantities(&[f32::INFINITY; 2], &[1.0; 2], 1).is_err());
}

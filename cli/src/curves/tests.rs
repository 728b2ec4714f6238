//! Pictures of ordinary and of odd runs. With `EVENKEEL_CURVES_DIR` set they are also written there to be looked at.

use super::*;

fn epoch(epoch: u32, loss: f64, val: Option<f64>, metric: Option<f64>, val_metric: Option<f64>) -> Epoch {
    Epoch { epoch, loss, val_loss: val, metric, val_metric, lr: 1e-3, seconds: 0.1 }
}

/// A run that learns, then overfits; the noise is the same each time.
fn run(epochs: u32, scale: f64) -> Vec<Epoch> {
    let mut seed = 12345_u32;
    let mut noise = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(seed >> 8) / f64::from(1 << 24) - 0.5
    };
    (1..=epochs)
        .map(|n| {
            let t = f64::from(n) / f64::from(epochs);
            let loss = scale * (2.2 * (-7.0 * t).exp() + 0.03 + 0.01 * noise());
            let val = scale * (2.1 * (-6.0 * t).exp() + 0.12 + 0.18 * (t - 0.45).max(0.0) + 0.02 * noise());
            let (acc, val_acc) =
                (1.0 - 0.85 * (-8.0 * t).exp(), 0.972 - 0.8 * (-7.0 * t).exp() - 0.02 * (t - 0.5).max(0.0));
            epoch(n, loss, Some(val), Some(acc - 0.003), Some(val_acc + 0.005 * noise()))
        })
        .collect()
}

fn draw(name: &str, title: &str, metric_name: &str, epochs: &[Epoch], best_epoch: Option<u32>) -> String {
    let picture = svg(&Curves { title, metric_name, epochs, best_epoch });
    if let Some(dir) = std::env::var_os("EVENKEEL_CURVES_DIR") {
        std::fs::write(std::path::Path::new(&dir).join(format!("{name}.svg")), &picture).unwrap();
    }
    for word in ["NaN", "inf", "nan"] {
        assert!(!picture.contains(&format!(" {word}")) && !picture.contains(&format!("\"{word}")), "{name}: {word}");
    }
    assert_eq!(picture.matches("<text").count(), picture.matches("</text>").count());
    picture
}

fn best(epochs: &[Epoch]) -> Option<u32> {
    epochs.iter().min_by(|a, b| a.val_loss.unwrap().total_cmp(&b.val_loss.unwrap())).map(|e| e.epoch)
}

#[test]
fn an_ordinary_run() {
    let e = run(60, 1.0);
    let picture = draw("ordinary", "digits, 64-128-10, Adam", "accuracy", &e, best(&e));
    assert!(picture.contains(&format!("best: epoch {}", best(&e).unwrap())));
    assert!(picture.contains("class=\"gap\"") && picture.contains("100 %") && picture.contains("Accuracy"));
    let e = run(1000, 150.0);
    let picture = draw("thousand", "1,000 epochs", "accuracy", &e, best(&e));
    assert!(picture.len() < 200_000, "{}", picture.len());
    draw("early", "best early", "accuracy", &e[..400], Some(20));
}

/// Positive where the training rows do better, as in the report.
#[test]
fn the_gap_has_its_sign() {
    let fitted = [epoch(1, 0.25, Some(0.5), Some(0.75), Some(0.5))];
    let picture = draw("overfitted", "", "accuracy", &fitted, Some(1));
    assert!(picture.contains("gap 0.2500<") && picture.contains("gap 25.00 %"), "{picture}");
    let dropped = [epoch(1, 0.5, Some(0.25), Some(0.5), Some(0.75))];
    let picture = draw("dropout", "", "accuracy", &dropped, Some(1));
    assert!(picture.contains("gap −0.2500<") && picture.contains("gap −25.00 %"), "{picture}");
}

#[test]
fn a_regression_with_a_metric_below_zero() {
    let e: Vec<_> = run(30, 4e-4)
        .into_iter()
        .map(|e| Epoch { metric: Some(e.metric.unwrap() * 3.0 - 2.0), val_metric: None, ..e })
        .collect();
    let picture = draw("regression", "house prices", "R²", &e, Some(30));
    assert!(!picture.contains('%') || picture.contains("100%"), "only accuracies are in percent");
}

#[test]
fn no_validation_no_metric_one_epoch_none() {
    let e: Vec<_> =
        run(12, 1.0).into_iter().map(|e| Epoch { val_loss: None, metric: None, val_metric: None, ..e }).collect();
    let picture = draw("plain", "training only", "accuracy", &e, None);
    assert!(!picture.contains("Accuracy") && !picture.contains("validation</text>"));
    draw("one", "one epoch", "accuracy", &run(1, 1.0), Some(1));
    draw("two", "two epochs", "accuracy", &run(2, 1.0), Some(2));
    assert!(draw("none", "none", "accuracy", &[], Some(3)).contains("no epoch was finished"));
}

#[test]
fn numbers_gone_wrong() {
    let mut e = run(20, 1.0);
    (e[11].loss, e[11].val_loss) = (f64::INFINITY, Some(f64::NAN));
    e[15..].iter_mut().for_each(|e| e.loss = f64::NAN);
    let picture = draw("broken", "a <run> & its \"end\"\u{1}", "accuracy", &e, Some(9));
    assert!(picture.contains("a &lt;run&gt; &amp; its &quot;end&quot;\u{fffd}"));
    assert!(picture.contains("training not finite at epoch 12, validation not finite at epoch 12"));
    let flat = |v: f64| (1..=5).map(|n| epoch(n, v, Some(v), Some(v), Some(v))).collect::<Vec<_>>();
    for (i, v) in
        [0.0, 1.0, -3.0, 1e16, f64::MAX, f64::MIN, f64::MIN_POSITIVE, f64::NAN, f64::INFINITY].into_iter().enumerate()
    {
        draw(&format!("flat{i}"), "flat", "accuracy", &flat(v), Some(5));
    }
    let wild = [epoch(1, f64::MAX, Some(f64::MIN), None, None), epoch(2, 0.0, Some(1e-300), None, None)];
    draw("wild", &"long title ".repeat(30), "", &wild, Some(2));
    draw(
        "numbers",
        "odd epoch numbers",
        "x",
        &[epoch(u32::MAX, 1.0, None, None, None), epoch(0, 2.0, None, None, None)],
        Some(0),
    );
}

//! Several runs in one picture: validation as lines, training dashed, one colour for each run.

use std::fmt::Write as _;

use super::panel::{self, BOTTOM, Panel, Series, TOP, curve};
use super::{HEIGHT, PANEL_WIDTH, STYLE, axis::Axis, escape};
use crate::history::Epoch;

/// A run to draw.
#[derive(Clone, Debug)]
pub struct Overlaid<'a> {
    /// Its line in the legend.
    pub name: String,
    /// Its epochs.
    pub epochs: &'a [Epoch],
    /// The epoch that gets a dot.
    pub best: Option<u32>,
}

/// Told apart by colour-blind readers as far as ten colours can be.
const COLOURS: [&str; 10] =
    ["#1f6fb4", "#d95f02", "#2a9d5c", "#b5359c", "#8a6d00", "#17a2b8", "#c0392b", "#6a51a3", "#555f69", "#e6a700"];
/// Runs beyond this number are drawn but have no line in the legend.
const MOST_KEYS: usize = 60;

/// Draws the runs.
#[must_use]
pub fn svg(title: &str, metric_name: &str, runs: &[Overlaid<'_>]) -> String {
    let all = || runs.iter().flat_map(|run| run.epochs);
    let span = (all().map(|e| e.epoch).min().unwrap_or(1), all().map(|e| e.epoch).max().unwrap_or(1));
    let has_metric = all().any(|e| e.metric.is_some() || e.val_metric.is_some());
    let share = metric_name.to_lowercase().contains("accuracy");
    let width = PANEL_WIDTH * if has_metric { 2.0 } else { 1.0 };
    let keys = runs.len().min(MOST_KEYS);
    let height = HEIGHT + 18.0 * (keys + usize::from(runs.len() > keys)) as f64 + 12.0;
    let (left, title) = (panel::MARGIN_LEFT, escape(title, 100));
    let mut out = String::with_capacity(64 << 10);
    let _ = write!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         role=\"img\">\n<title>{title}</title>\n<style>\n{STYLE}\
         .train .line {{ stroke-width: 1.2; stroke-dasharray: 4 4; opacity: .6 }}\n.val .line {{ stroke-width: 1.8 }}\n\
         </style>\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text class=\"title\" x=\"{left}\" y=\"36\">{title}</text>\n\
         <text class=\"summary\" x=\"{left}\" y=\"58\">lines: validation, dashed: training, dots: the best epochs</text>\n"
    );
    type Value = fn(&Epoch) -> Option<f64>;
    let panels: [(&str, f64, bool, Value, Value); 2] = [
        ("Loss", 0.0, false, |e| Some(e.loss), |e| e.val_loss),
        (metric_name, PANEL_WIDTH, share, |e| e.metric, |e| e.val_metric),
    ];
    for (name, left, share, train, val) in panels.into_iter().take(if has_metric { 2 } else { 1 }) {
        let nothing = || Series { name: "", points: Vec::new() };
        let name = super::capital(name);
        let frame = Panel { title: &name, series: [nothing(), nothing()], left, span, best: None, share };
        let y_axis = Axis::over(all().flat_map(|e| [train(e), val(e)]).flatten(), share);
        frame.frame(&mut out, &y_axis);
        let y = |v: f64| BOTTOM - y_axis.place(v) * (BOTTOM - TOP);
        for (class, value) in [("train", train), ("val", val)] {
            let _ = writeln!(out, "<g class=\"{class}\">");
            for (at, run) in runs.iter().enumerate() {
                let points = run.epochs.iter().filter_map(|e| Some((f64::from(e.epoch), value(e)?))).collect();
                let series = Series { name: "", points };
                curve(&mut out, &series, COLOURS[at % COLOURS.len()], |epoch| frame.x(epoch), y);
            }
            out.push_str("</g>\n");
        }
        for (at, run) in runs.iter().enumerate() {
            let best = run.epochs.iter().find(|e| Some(e.epoch) == run.best);
            let value = best.and_then(|e| val(e).or(train(e))).filter(|v| v.is_finite());
            if let (Some(best), Some(value)) = (best, value) {
                let (x, y, colour) = (frame.x(f64::from(best.epoch)), y(value), COLOURS[at % COLOURS.len()]);
                let _ =
                    writeln!(out, "<circle class=\"dot\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4.6\" fill=\"{colour}\"/>");
            }
        }
    }
    for (at, run) in runs.iter().take(keys).enumerate() {
        let (y, colour) = (HEIGHT + 18.0 * at as f64 + 4.0, COLOURS[at % COLOURS.len()]);
        let _ = writeln!(
            out,
            "<line x1=\"{left}\" x2=\"{}\" y1=\"{}\" y2=\"{}\" stroke=\"{colour}\" stroke-width=\"3\"/>\
             <text class=\"key\" x=\"{}\" y=\"{y}\">{}</text>",
            left + 20.0,
            y - 4.0,
            y - 4.0,
            left + 28.0,
            escape(&run.name, if has_metric { 160 } else { 78 })
        );
    }
    if runs.len() > keys {
        let y = HEIGHT + 18.0 * keys as f64 + 4.0;
        let _ = writeln!(out, "<text x=\"{left}\" y=\"{y}\">and {} more</text>", runs.len() - keys);
    }
    out.push_str("</svg>\n");
    out
}

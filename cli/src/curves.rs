//! The curves of a training run as one SVG picture: loss on the left, the metric on the right.
//!
//! Drawn by hand rather than with a plotting library: without a font engine those guess at the width of text, and the
//! shaded gap, the marked best epoch and the legend in the panel's head would be drawn by hand there as well. The text
//! uses the reader's own sans-serif font and halos instead of boxes, so no width has to be known.

use crate::history::Epoch;
use std::fmt::Write as _;

mod axis;
pub mod matrix;
pub mod overlay;
mod panel;
pub mod rates;

use panel::{Panel, Series};

/// A picture to draw.
#[derive(Clone, Copy, Debug)]
pub struct Curves<'a> {
    /// Heading.
    pub title: &'a str,
    /// What the metric is called, such as `accuracy`; shares from 0 to 1 of that name are shown in percent.
    pub metric_name: &'a str,
    /// The epochs in order.
    pub epochs: &'a [Epoch],
    /// Number of the epoch whose weights are kept.
    pub best_epoch: Option<u32>,
}

/// Height of the picture; the width is that of one or two panels.
const HEIGHT: f64 = 470.0;
const PANEL_WIDTH: f64 = 590.0;

/// Draws the picture. Any numbers will do: what is not finite leaves a hole in its curve and a mark below.
#[must_use]
pub fn svg(curves: &Curves<'_>) -> String {
    let e = curves.epochs;
    let series = |train: fn(&Epoch) -> Option<f64>, val: fn(&Epoch) -> Option<f64>| {
        let points = |value: fn(&Epoch) -> Option<f64>| -> Vec<(f64, f64)> {
            e.iter().filter_map(|e| Some((f64::from(e.epoch), value(e)?))).collect()
        };
        [Series { name: "training", points: points(train) }, Series { name: "validation", points: points(val) }]
    };
    let has_metric = e.iter().any(|e| e.metric.is_some() || e.val_metric.is_some());
    let metric_title = capital(curves.metric_name);
    let span = (e.iter().map(|e| e.epoch).min().unwrap_or(1), e.iter().map(|e| e.epoch).max().unwrap_or(1));
    let best = curves.best_epoch.filter(|best| e.iter().any(|e| e.epoch == *best));
    let panel = |title, series, left, share| Panel { title, series, left, span, best, share };
    let mut panels = vec![panel("Loss", series(|e| Some(e.loss), |e| e.val_loss), 0.0, false)];
    if has_metric {
        let of_metric = series(|e| e.metric, |e| e.val_metric);
        let in_bounds =
            of_metric.iter().flat_map(|s| &s.points).all(|(_, v)| !v.is_finite() || (0.0..=1.0).contains(v));
        let share = curves.metric_name.to_lowercase().contains("accuracy") && in_bounds;
        panels.push(panel(&metric_title, of_metric, PANEL_WIDTH, share));
    }

    let left = panel::MARGIN_LEFT;
    let width = PANEL_WIDTH * panels.len() as f64;
    let title = escape(curves.title, 44 * panels.len());
    let share = panels.last().is_some_and(|panel| panel.share);
    let summary = escape(&summary(curves, best, share), 82 * panels.len());
    let mut out = String::with_capacity(16 << 10);
    // Writing to a string cannot fail.
    let _ = write!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{HEIGHT}\" viewBox=\"0 0 {width} {HEIGHT}\" \
         role=\"img\">\n<title>{title}</title>\n<desc>{summary}</desc>\n<style>\n{STYLE}</style>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text class=\"title\" x=\"{left}\" y=\"36\">{title}</text>\n\
         <text class=\"summary\" x=\"{left}\" y=\"58\">{summary}</text>\n"
    );
    panels.iter().for_each(|panel| panel.draw(&mut out));
    out.push_str("</svg>\n");
    out
}

const STYLE: &str = "\
text { font-family: Inter, 'Segoe UI', 'Helvetica Neue', Helvetica, Arial, 'DejaVu Sans', sans-serif; fill: #57606a; font-size: 12px }
.title { font-size: 18px; font-weight: 600; fill: #1f2328 }
.summary { font-size: 12.5px }
.head { font-size: 14px; font-weight: 600; fill: #1f2328 }
.key { fill: #1f2328 }
.halo { stroke: #fff; stroke-width: 4px; stroke-linejoin: round; paint-order: stroke }
.mark { fill: #1f2328; font-weight: 600 }
.bad { fill: #b42318; stroke: none }
.grid { stroke: #e6e9ed; stroke-width: 1 }
.axis { stroke: #8c959f; stroke-width: 1 }
.best { stroke: #57606a; stroke-width: 1.2; stroke-dasharray: 5 4 }
.line { fill: none; stroke-width: 2.2; stroke-linejoin: round; stroke-linecap: round }
.dot { stroke: #fff; stroke-width: 1.8 }
.gap { fill: #d95f02; fill-opacity: .1 }
";

/// The line under the heading: what the run came to.
fn summary(curves: &Curves<'_>, best: Option<u32>, share: bool) -> String {
    let Some(last) = curves.epochs.last() else { return "no epoch was finished".to_owned() };
    let Some(at) = curves.epochs.iter().find(|e| Some(e.epoch) == best) else {
        return format!("{} epochs, training loss {}", last.epoch, axis::short(last.loss));
    };
    let mut text = format!("best epoch {} of {}", at.epoch, last.epoch);
    let _ = write!(text, " · loss: training {}", axis::short(at.loss));
    if let Some(val) = at.val_loss {
        let _ = write!(text, ", validation {}", axis::short(val));
        if (val - at.loss).is_finite() {
            let _ = write!(text, ", gap {}", axis::short(val - at.loss));
        }
    }
    if let Some((kind, value)) = at.val_metric.map(|v| ("validation", v)).or(at.metric.map(|v| ("training", v))) {
        let _ = write!(text, " · {kind} {} {}", curves.metric_name, axis::shown(value, share));
    }
    text
}

fn capital(name: &str) -> String {
    let mut chars = name.chars();
    chars.next().map_or_else(|| "Metric".to_owned(), |first| first.to_uppercase().chain(chars).collect())
}

/// Text for XML: at most so many characters, none that XML forbids.
fn escape(text: &str, limit: usize) -> String {
    let mut out = String::with_capacity(text.len().min(4 * limit));
    for (i, c) in text.chars().enumerate() {
        if i == limit {
            out.push('…');
            break;
        }
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\t' | '\n' | '\r' => out.push(' '),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests;

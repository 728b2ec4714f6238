//! The picture of a search for a learning rate: loss over the logarithm of the rate.

use std::fmt::Write as _;

use evenkeel::fit::RateCurve;

use super::panel::{BOTTOM, MARGIN_LEFT, TOP, thin};
use super::{HEIGHT, STYLE, axis, axis::Axis};

const WIDTH: f64 = 720.0;

/// Draws the search; `marks` are the suggestions, with their names.
#[must_use]
pub fn svg(curve: &RateCurve, marks: &[(&str, f32)]) -> String {
    // What lies far above the beginning would flatten everything else.
    let begin = curve.points.first().map_or(1.0, |point| point.smoothed);
    let least = curve.points.iter().map(|p| p.smoothed).fold(begin, f64::min);
    let most = begin + 0.5 * (begin - least).max(0.2 * begin.abs()).max(1e-9);
    let seen = |value: f64| value.is_finite().then(|| value.min(most));
    let smoothed: Vec<(f64, f64)> =
        curve.points.iter().filter_map(|p| Some((f64::from(p.lr).log10(), seen(p.smoothed)?))).collect();
    let raw: Vec<(f64, f64)> =
        curve.points.iter().filter_map(|p| Some((f64::from(p.lr).log10(), seen(p.loss)?))).collect();
    let y_axis = Axis::over(smoothed.iter().chain(&raw).map(|p| p.1), false);
    let (low, high) = (smoothed.first().map_or(-7.0, |p| p.0), smoothed.last().map_or(1.0, |p| p.0));
    let (left, right) = (MARGIN_LEFT, WIDTH - 26.0);
    let x = |log: f64| left + 8.0 + (log - low) / (high - low).max(1e-9) * (right - left - 16.0);
    let y = |v: f64| BOTTOM - y_axis.place(v) * (BOTTOM - TOP);
    let mut out = String::new();
    let said: Vec<String> = marks.iter().map(|(name, lr)| format!("{name}: {lr:.2e}")).collect();
    let said = said.join(" · ");
    let _ = write!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         role=\"img\">\n<title>Loss over the learning rate</title>\n<desc>{said}</desc>\n<style>\n{STYLE}</style>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text class=\"title\" x=\"{left}\" y=\"36\">Loss over the learning rate</text>\n\
         <text class=\"summary\" x=\"{left}\" y=\"58\">{said}</text>\n\
         <text class=\"head\" x=\"{left}\" y=\"96\">Loss of each batch, and smoothed</text>\n"
    );
    for (value, text) in y_axis.ticks(false) {
        let _ = writeln!(
            out,
            "<line class=\"grid\" x1=\"{left}\" x2=\"{right}\" y1=\"{0:.1}\" y2=\"{0:.1}\"/>\
             <text text-anchor=\"end\" x=\"{1:.1}\" y=\"{2:.1}\">{text}</text>",
            y(value),
            left - 9.0,
            y(value) + 4.2
        );
    }
    let _ = writeln!(out, "<line class=\"axis\" x1=\"{left}\" x2=\"{right}\" y1=\"{BOTTOM}\" y2=\"{BOTTOM}\"/>");
    for power in low.ceil() as i32..=high.floor() as i32 {
        let at = x(f64::from(power));
        let _ = writeln!(
            out,
            "<line class=\"axis\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{BOTTOM}\" y2=\"{}\"/>\
             <text text-anchor=\"middle\" x=\"{at:.1}\" y=\"{}\">1e{power}</text>",
            BOTTOM + 5.0,
            BOTTOM + 20.0
        );
    }
    let _ = writeln!(
        out,
        "<text text-anchor=\"middle\" x=\"{}\" y=\"{}\">learning rate</text>",
        (left + right) / 2.0,
        BOTTOM + 42.0
    );
    for (points, style) in
        [(&raw, "stroke=\"#8c959f\" style=\"stroke-width: 1; opacity: .6\""), (&smoothed, "stroke=\"#1f6fb4\"")]
    {
        if points.len() > 1 {
            let _ = write!(out, "<path class=\"line\" {style} d=\"M");
            for (x, y) in thin(points.iter().map(|p| (x(p.0), y(p.1)))) {
                let _ = write!(out, "{x:.1} {y:.1} ");
            }
            out.push_str("\"/>\n");
        }
    }
    for (at, (name, lr)) in marks.iter().enumerate() {
        let near = x(f64::from(*lr).log10()).clamp(left, right);
        let (anchor, beside) = if near > (left + right) / 2.0 { ("end", near - 6.0) } else { ("start", near + 6.0) };
        let _ = writeln!(
            out,
            "<line class=\"best\" x1=\"{near:.1}\" x2=\"{near:.1}\" y1=\"{TOP}\" y2=\"{BOTTOM}\"/>\
             <text class=\"mark halo\" text-anchor=\"{anchor}\" x=\"{beside:.1}\" y=\"{:.1}\">{name} {}</text>",
            TOP + 14.0 + 18.0 * at as f64,
            axis::short(f64::from(*lr))
        );
    }
    out.push_str("</svg>\n");
    out
}

//! One panel: axes, the two curves with the gap between them, the best epoch.

use super::axis::{Axis, epoch_ticks, shown};
use super::{HEIGHT, PANEL_WIDTH, escape};
use std::fmt::Write as _;

pub(super) const TOP: f64 = 118.0;
pub(super) const BOTTOM: f64 = HEIGHT - 56.0;
pub(super) const MARGIN_LEFT: f64 = 76.0;
const MARGIN_RIGHT: f64 = 26.0;

/// Blue and orange of equal weight, told apart by colour-blind readers too.
const COLOURS: [&str; 2] = ["#1f6fb4", "#d95f02"];

/// One curve: epoch and value of each point.
pub(super) struct Series {
    pub(super) name: &'static str,
    pub(super) points: Vec<(f64, f64)>,
}

impl Series {
    fn at(&self, epoch: f64) -> Option<f64> {
        self.points.iter().find(|p| p.0 == epoch).map(|p| p.1).filter(|v| v.is_finite())
    }

    /// Points of the picture along the curve, close to each other.
    fn dense(&self, x: impl Fn(f64) -> f64, y: impl Fn(f64) -> f64) -> impl Iterator<Item = (f64, f64)> {
        let pairs = self.points.iter().zip(self.points.iter().skip(1).chain(self.points.last()));
        pairs.filter(|(a, b)| a.1.is_finite() && b.1.is_finite()).flat_map(move |(a, b)| {
            let (from, to) = ((x(a.0), y(a.1)), (x(b.0), y(b.1)));
            let steps = ((to.0 - from.0).hypot(to.1 - from.1) / 5.0).ceil().max(1.0);
            (0..steps as u32).map(move |i| {
                let t = f64::from(i) / steps;
                (from.0 + t * (to.0 - from.0), from.1 + t * (to.1 - from.1))
            })
        })
    }

    fn first_not_finite(&self) -> Option<String> {
        let (epoch, _) = self.points.iter().find(|p| !p.1.is_finite())?;
        Some(format!("{} not finite at epoch {epoch}", self.name))
    }
}

pub(super) struct Panel<'a> {
    pub(super) title: &'a str,
    /// Training and validation.
    pub(super) series: [Series; 2],
    pub(super) left: f64,
    /// First and last epoch.
    pub(super) span: (u32, u32),
    pub(super) best: Option<u32>,
    /// Shares from 0 to 1, shown in percent.
    pub(super) share: bool,
}

impl Panel<'_> {
    pub(super) fn draw(&self, out: &mut String) {
        let y_axis = Axis::over(self.series.iter().flat_map(|s| &s.points).map(|p| p.1), self.share);
        let y = |v: f64| BOTTOM - y_axis.place(v) * (BOTTOM - TOP);
        let x = |epoch: f64| self.x(epoch);
        self.frame(out, &y_axis);
        self.gap(out, x, y);
        let near = self.best.map(|b| x(f64::from(b)));
        if let Some(at) = near {
            let _ = writeln!(out, "<line class=\"best\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{BOTTOM}\"/>");
        }
        for (series, colour) in self.series.iter().zip(COLOURS) {
            curve(out, series, colour, x, y);
        }
        if let (Some(best), Some(at)) = (self.best, near) {
            self.mark(out, best, at, y);
        }
        self.key(out);
    }

    pub(super) fn x(&self, epoch: f64) -> f64 {
        let (first, last) = (f64::from(self.span.0), f64::from(self.span.1));
        let (left, right) = (self.left + MARGIN_LEFT, self.left + PANEL_WIDTH - MARGIN_RIGHT);
        if first == last {
            (left + right) / 2.0
        } else {
            left + 8.0 + (epoch - first) / (last - first) * (right - left - 16.0)
        }
    }

    pub(super) fn frame(&self, out: &mut String, y_axis: &Axis) {
        let (left, right) = (self.left + MARGIN_LEFT, self.left + PANEL_WIDTH - MARGIN_RIGHT);
        let _ = writeln!(out, "<text class=\"head\" x=\"{left}\" y=\"96\">{}</text>", escape(self.title, 30));
        for (value, text) in y_axis.ticks(self.share) {
            let y = BOTTOM - y_axis.place(value) * (BOTTOM - TOP);
            let _ = writeln!(
                out,
                "<line class=\"grid\" x1=\"{left}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text text-anchor=\"end\" x=\"{:.1}\" y=\"{:.1}\">{text}</text>",
                left - 9.0,
                y + 4.2
            );
        }
        let _ = writeln!(out, "<line class=\"axis\" x1=\"{left}\" x2=\"{right}\" y1=\"{BOTTOM}\" y2=\"{BOTTOM}\"/>");
        for epoch in epoch_ticks(self.span.0, self.span.1) {
            let x = self.x(f64::from(epoch));
            let _ = writeln!(
                out,
                "<line class=\"axis\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{BOTTOM}\" y2=\"{}\"/>\
                 <text text-anchor=\"middle\" x=\"{x:.1}\" y=\"{}\">{epoch}</text>",
                BOTTOM + 5.0,
                BOTTOM + 20.0
            );
        }
        let not_finite: Vec<String> = self.series.iter().filter_map(Series::first_not_finite).collect();
        let (y, text) = (BOTTOM + 42.0, not_finite.join(", "));
        let (anchor, x) = if text.is_empty() { ("middle", (left + right) / 2.0) } else { ("start", left + 8.0) };
        let _ = writeln!(
            out,
            "<text text-anchor=\"{anchor}\" x=\"{x}\" y=\"{y}\">epoch</text>\
             <text class=\"bad\" text-anchor=\"end\" x=\"{right}\" y=\"{y}\">{text}</text>"
        );
    }

    /// Shades what lies between the curves, piece by piece where both have values.
    fn gap(&self, out: &mut String, x: impl Fn(f64) -> f64, y: impl Fn(f64) -> f64) {
        let [train, val] = &self.series;
        let val_of: std::collections::HashMap<u64, f64> = val.points.iter().map(|p| (p.0.to_bits(), p.1)).collect();
        let pairs: Vec<_> = train
            .points
            .iter()
            .map(|&(epoch, t)| (epoch, t, val_of.get(&epoch.to_bits()).copied().unwrap_or(f64::NAN)))
            // A shade needs no more points than the picture has columns.
            .step_by(train.points.len().div_ceil(1200).max(1))
            .collect();
        for piece in pairs.split(|(_, t, v)| !t.is_finite() || !v.is_finite()).filter(|piece| piece.len() > 1) {
            out.push_str("<path class=\"gap\" d=\"M");
            let there = piece.iter().map(|p| (p.0, p.1));
            let back = piece.iter().rev().map(|p| (p.0, p.2));
            for (epoch, value) in there.chain(back) {
                let _ = write!(out, "{:.1} {:.1} ", x(epoch), y(value));
            }
            out.push_str("Z\"/>\n");
        }
    }

    /// Dots on the curves at the best epoch, and what they stand for.
    fn mark(&self, out: &mut String, best: u32, at: f64, y: impl Fn(f64) -> f64) {
        let epoch = f64::from(best);
        let values = self.series.each_ref().map(|s| s.at(epoch));
        for (value, colour) in values.iter().zip(COLOURS) {
            if let Some(v) = value {
                let _ = writeln!(
                    out,
                    "<circle class=\"dot\" cx=\"{at:.1}\" cy=\"{:.1}\" r=\"4.6\" fill=\"{colour}\"/>",
                    y(*v)
                );
            }
        }
        let mut lines: Vec<(String, Option<&str>)> = vec![(format!("best: epoch {best}"), None)];
        for ((series, value), colour) in self.series.iter().zip(values).zip(COLOURS) {
            lines.extend(value.map(|v| (format!("{} {}", series.name, shown(v, self.share)), Some(colour))));
        }
        if let [Some(train), Some(val)] = values {
            // As the report counts it: positive where the training rows do better, lower in loss, higher in accuracy.
            let gap = if self.share { train - val } else { val - train };
            lines.push((format!("gap {}", shown(gap, self.share)), None));
        }
        let (right_side, top) = self.free_place(at, 17.0 * lines.len() as f64, y);
        let (anchor, x) = if right_side { ("start", at + 10.0) } else { ("end", at - 10.0) };
        let mut y = top + 13.0;
        for (text, colour) in lines {
            let class = if text.starts_with("best") { "mark halo" } else { "halo" };
            let fill = colour.map(|c| format!(" style=\"fill: {c}\"")).unwrap_or_default();
            let _ = writeln!(
                out,
                "<text class=\"{class}\" text-anchor=\"{anchor}\" x=\"{x:.1}\" y=\"{y:.1}\"{fill}>{text}</text>"
            );
            y += 17.0;
        }
    }

    /// Where words of this height beside the line `at` hide least of the curves: whether to its right, and their top.
    fn free_place(&self, at: f64, height: f64, y: impl Fn(f64) -> f64) -> (bool, f64) {
        const WIDTH: f64 = 140.0;
        let (left, right) = (self.left + MARGIN_LEFT, self.left + PANEL_WIDTH - MARGIN_RIGHT);
        let mut places = Vec::new();
        for top in [TOP + 2.0, BOTTOM - height - 6.0, (TOP + BOTTOM - height) / 2.0] {
            for right_side in [true, false] {
                let from = if right_side { at + 4.0 } else { at - 4.0 - WIDTH };
                if from >= left && from + WIDTH <= right {
                    let covers = |p: &(f64, f64)| {
                        (from..from + WIDTH).contains(&p.0) && (top - 6.0..top + height + 6.0).contains(&p.1)
                    };
                    let hidden =
                        self.series.iter().map(|s| s.dense(|e| self.x(e), &y).filter(covers).count()).sum::<usize>();
                    places.push((hidden, right_side, top));
                }
            }
        }
        places.into_iter().min_by_key(|p| p.0).map_or((true, TOP), |(_, right_side, top)| (right_side, top))
    }

    /// The legend in the panel's head, from the right.
    fn key(&self, out: &mut String) {
        let mut right = self.left + PANEL_WIDTH - MARGIN_RIGHT;
        for (series, colour) in self.series.iter().zip(COLOURS).rev().filter(|(s, _)| !s.points.is_empty()) {
            // About six and a half units a letter in any font; a little more or less only moves the right edge.
            let from = right - series.name.len() as f64 * 6.5 - 28.0;
            let _ = writeln!(
                out,
                "<line x1=\"{:.1}\" x2=\"{:.1}\" y1=\"92\" y2=\"92\" stroke=\"{colour}\" stroke-width=\"3\" \
                 stroke-linecap=\"round\"/><text class=\"key\" x=\"{:.1}\" y=\"96\">{}</text>",
                from,
                from + 20.0,
                from + 28.0,
                series.name
            );
            right = from - 20.0;
        }
    }
}

/// A curve, broken where a value is missing; a point that stands alone is a dot.
pub(super) fn curve(out: &mut String, series: &Series, colour: &str, x: impl Fn(f64) -> f64, y: impl Fn(f64) -> f64) {
    for piece in series.points.split(|p| !p.1.is_finite()).filter(|piece| !piece.is_empty()) {
        let points = thin(piece.iter().map(|p| (x(p.0), y(p.1))));
        if let [(x, y)] = points[..] {
            let _ = writeln!(out, "<circle class=\"dot\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"{colour}\"/>");
            continue;
        }
        let _ = write!(out, "<path class=\"line\" stroke=\"{colour}\" d=\"M");
        for (x, y) in points {
            let _ = write!(out, "{x:.1} {y:.1} ");
        }
        out.truncate(out.trim_end().len());
        out.push_str("\"/>\n");
    }
}

/// Of the points in one column of the picture only the first, the lowest, the highest and the last show.
pub(super) fn thin(points: impl Iterator<Item = (f64, f64)>) -> Vec<(f64, f64)> {
    let mut out: Vec<(f64, f64)> = Vec::new();
    let mut column: Vec<(f64, f64)> = Vec::new();
    let mut flush = |column: &mut Vec<(f64, f64)>| {
        if column.len() > 4 {
            let by_height = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
            let low = column.iter().min_by(by_height).copied();
            let high = column.iter().max_by(by_height).copied();
            let ends = [column.first().copied(), low, high, column.last().copied()];
            out.extend(ends.into_iter().flatten());
        } else {
            out.extend_from_slice(column);
        }
        column.clear();
    };
    for point in points {
        if column.first().is_some_and(|first| (first.0 - point.0).abs() >= 0.75) {
            flush(&mut column);
        }
        column.push(point);
    }
    flush(&mut column);
    out
}

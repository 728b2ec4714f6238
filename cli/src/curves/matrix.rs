//! A confusion matrix as a picture: the darker a cell, the larger its share of the class's rows.

use std::fmt::Write as _;

use super::{STYLE, escape};
use crate::table::weight;

/// Cells beyond this number of classes are too small for a number.
const MOST_NUMBERS: usize = 32;

/// Draws `counts` (or weights), `[truth][predicted]`, of classes called `names`.
#[must_use]
pub fn svg(title: &str, names: &[String], counts: &[f64]) -> String {
    let classes = names.len().max(1);
    let cell = (640.0 / classes as f64).clamp(6.0, 64.0);
    // About six and a half units a letter in any font.
    let longest = names.iter().map(|name| name.chars().count().min(24)).max().unwrap_or(1) as f64;
    let (left, top) = (60.0 + 6.5 * longest, 110.0 + 3.5 * longest);
    let side = cell * classes as f64;
    let (width, height) = ((left + side + 40.0).max(480.0), top + side + 40.0);
    let title = escape(title, 60);
    let mut out = String::new();
    let _ = write!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" viewBox=\"0 0 {width:.0} \
         {height:.0}\" role=\"img\">\n<title>{title}</title>\n<style>\n{STYLE}</style>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n<text class=\"title\" x=\"24\" y=\"36\">{title}</text>\n\
         <text class=\"summary\" x=\"24\" y=\"58\">rows: what they are, columns: what they were taken for; darker is a larger \
         share of the row</text>\n"
    );
    for (row, (name, counts)) in names.iter().zip(counts.chunks(classes)).enumerate() {
        let total: f64 = counts.iter().sum();
        let y = top + row as f64 * cell;
        let _ = writeln!(
            out,
            "<text class=\"key\" text-anchor=\"end\" x=\"{:.1}\" y=\"{:.1}\">{}</text>\
             <text class=\"key\" transform=\"translate({:.1} {:.1}) rotate(-35)\">{}</text>",
            left - 8.0,
            y + cell / 2.0 + 4.0,
            escape(name, 24),
            left + row as f64 * cell + cell / 2.0,
            top - 8.0,
            escape(name, 24)
        );
        for (column, count) in counts.iter().enumerate() {
            let share = if total > 0.0 { count / total } else { 0.0 };
            // Right answers blue, wrong ones orange, as the curves' colours.
            let colour = if row == column { "#1f6fb4" } else { "#d95f02" };
            let x = left + column as f64 * cell;
            let _ = writeln!(
                out,
                "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{cell:.1}\" height=\"{cell:.1}\" fill=\"{colour}\" \
                 fill-opacity=\"{share:.3}\" stroke=\"#e6e9ed\"/>"
            );
            if classes <= MOST_NUMBERS && *count > 0.0 {
                let ink = if share > 0.55 { "#fff" } else { "#1f2328" };
                let _ = writeln!(
                    out,
                    "<text text-anchor=\"middle\" x=\"{:.1}\" y=\"{:.1}\" style=\"fill: {ink}\">{}</text>",
                    x + cell / 2.0,
                    y + cell / 2.0 + 4.0,
                    weight(*count)
                );
            }
        }
    }
    out.push_str("</svg>\n");
    out
}

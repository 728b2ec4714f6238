//! Tables for people: columns as wide as their longest entry, the first to the left, numbers to the right.

/// A table.
#[derive(Clone, Debug, Default)]
pub struct TextTable {
    rows: Vec<Vec<String>>,
    /// Columns that are text, to the left.
    left: usize,
}

impl TextTable {
    /// A table with a head; its first `left` columns are text.
    pub fn new<S: Into<String>>(head: impl IntoIterator<Item = S>, left: usize) -> Self {
        Self { rows: vec![head.into_iter().map(Into::into).collect()], left }
    }

    /// Adds a row; it may be shorter than the head.
    pub fn row<S: Into<String>>(&mut self, row: impl IntoIterator<Item = S>) {
        self.rows.push(row.into_iter().map(Into::into).collect());
    }

    /// The lines, each behind `indent`.
    #[must_use]
    pub fn text(&self, indent: &str) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let length = |row: &Vec<String>, column: usize| row.get(column).map_or(0, |text| text.chars().count());
        let widths: Vec<usize> =
            (0..columns).map(|column| self.rows.iter().map(|row| length(row, column)).max().unwrap_or(0)).collect();
        let mut lines = Vec::new();
        for row in &self.rows {
            let mut line = String::from(indent);
            for (column, text) in row.iter().enumerate() {
                let width = widths[column];
                let gap = if column == 0 { "" } else { "  " };
                let cell = if column < self.left { format!("{text:<width$}") } else { format!("{text:>width$}") };
                line.push_str(gap);
                line.push_str(&cell);
            }
            lines.push(line.trim_end().to_owned());
        }
        lines.join("\n")
    }
}

/// A figure in a table; a dash for one that there is not.
#[must_use]
pub fn figure(value: Option<f64>) -> String {
    match value {
        None => "–".into(),
        Some(value) if value.is_nan() => "–".into(),
        Some(value) if value == 0.0 || (1e-3..1e5).contains(&value.abs()) => format!("{value:.4}"),
        Some(value) => format!("{value:.3e}"),
    }
}

/// A number of rows, or their weight.
#[must_use]
pub fn weight(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value:.0}") } else { figure(Some(value)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = TextTable::new(["class", "rows"], 1);
        table.row(["é", "1000"]);
        table.row(["longer", "7"]);
        table.row(["short"]);
        assert_eq!(table.text("  "), "  class   rows\n  é       1000\n  longer     7\n  short");
        assert_eq!([Some(0.5), None, Some(f64::NAN), Some(1e-7)].map(figure), ["0.5000", "–", "–", "1.000e-7"]);
        assert_eq!([0.0, 12.0, 200_000.0, 0.25].map(weight), ["0", "12", "200000", "0.2500"]);
    }
}

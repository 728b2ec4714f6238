//! Numbers in a line that is written again and again: short, and always about as wide.

/// Four significant digits, always about as wide.
pub(super) fn short(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() {
        value.to_string().to_lowercase()
    } else if size != 0.0 && !(1e-3..1e5).contains(&size) {
        format!("{value:.3e}")
    } else if size < 10.0 {
        format!("{value:.4}")
    } else {
        format!("{value:.2}")
    }
}

/// A time: milliseconds below a tenth of a second.
pub(super) fn seconds(value: f64) -> String {
    if value < 0.0995 { format!("{:.1} ms", value * 1e3) } else { format!("{value:.2} s") }
}

/// Rows per second: plain, or in thousands or millions.
pub(super) fn rate(rows: f64) -> String {
    match rows {
        r if r >= 1e6 => format!("{:.2}M rows/s", r / 1e6),
        r if r >= 1e4 => format!("{:.1}k rows/s", r / 1e3),
        r => format!("{r:.0} rows/s"),
    }
}

#[cfg(test)]
mod tests {
    use super::{rate, short};

    #[test]
    fn numbers_stay_short() {
        let shown: Vec<String> = [0.0, 0.12345, 12.345, 123_456.0, 1e-9, f64::NAN, f64::INFINITY].map(short).into();
        assert_eq!(shown, ["0.0000", "0.1235", "12.35", "1.235e5", "1.000e-9", "nan", "inf"]);
        assert_eq!([123.0, 45_678.0, 3.2e6].map(rate), ["123 rows/s", "45.7k rows/s", "3.20M rows/s"]);
    }
}

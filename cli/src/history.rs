//! The record of a training run, one line per epoch, and its file `history.csv`.
//!
//! Numbers are written in the shortest form that reads back as the same bits; a value that was not measured is an empty
//! field, one that went wrong is `nan` or `inf`.

use csv::{ReaderBuilder, StringRecord, WriterBuilder};

/// What one epoch of training measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Epoch {
    /// Number of the epoch, counted from 1.
    pub epoch: u32,
    /// Mean loss over the training rows.
    pub loss: f64,
    /// Mean loss over the validation rows, if there are any.
    pub val_loss: Option<f64>,
    /// The metric (for example accuracy) over the training rows, if one is measured.
    pub metric: Option<f64>,
    /// The metric over the validation rows.
    pub val_metric: Option<f64>,
    /// Learning rate at the end of the epoch.
    pub lr: f64,
    /// Seconds the epoch took.
    pub seconds: f64,
}

/// What is wrong with a history file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HistoryError {
    /// The header line is not a history's.
    #[error(
        "{file}: line 1: expected the header epoch,loss,val_loss,<metric>,val_<metric>,lr,seconds, found \"{found}\""
    )]
    Header {
        /// The file.
        file: String,
        /// Its first line.
        found: String,
    },
    /// A field does not hold what its column asks for.
    #[error("{file}: line {line}, column \"{column}\": expected {expected}, found \"{found}\"")]
    Field {
        /// The file.
        file: String,
        /// Line number, counted from 1.
        line: u64,
        /// Name of the column.
        column: String,
        /// What would be right.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// The file cannot be read as CSV.
    #[error("{file}: {source}")]
    Csv {
        /// The file.
        file: String,
        /// The CSV reader's error.
        source: csv::Error,
    },
}

/// The text of `history.csv`. `metric_name` (such as `accuracy`) names the two metric columns.
#[must_use]
pub fn to_csv(epochs: &[Epoch], metric_name: &str) -> String {
    let mut out = WriterBuilder::new().from_writer(Vec::new());
    let optional = |value: Option<f64>| value.map_or_else(String::new, number);
    let header = ["epoch", "loss", "val_loss", metric_name, &format!("val_{metric_name}"), "lr", "seconds"];
    // Writing to memory fails only if a record's length changes, which the fixed arrays rule out.
    let _ = out.write_record(header);
    for e in epochs {
        let _ = out.write_record([
            e.epoch.to_string(),
            number(e.loss),
            optional(e.val_loss),
            optional(e.metric),
            optional(e.val_metric),
            number(e.lr),
            number(e.seconds),
        ]);
    }
    String::from_utf8(out.into_inner().unwrap_or_default()).unwrap_or_default()
}

/// Reads a history back: the epochs and the metric's name. `file` is the name that errors show.
///
/// # Errors
/// [`HistoryError`] names file, line and column.
pub fn from_csv(file: &str, bytes: &[u8]) -> Result<(Vec<Epoch>, String), HistoryError> {
    let csv_error = |source| HistoryError::Csv { file: file.to_owned(), source };
    let mut reader = ReaderBuilder::new().has_headers(false).from_reader(bytes);
    let mut records = reader.records();
    let header = records.next().transpose().map_err(csv_error)?.unwrap_or_default();
    let fields: Vec<&str> = header.iter().collect();
    let metric = match fields[..] {
        ["epoch", "loss", "val_loss", m, val_m, "lr", "seconds"] if val_m.strip_prefix("val_") == Some(m) => {
            m.to_owned()
        }
        _ => return Err(HistoryError::Header { file: file.to_owned(), found: fields.join(",") }),
    };
    let mut epochs = Vec::new();
    for (index, record) in records.enumerate() {
        let record = record.map_err(csv_error)?;
        // One record per line: no field of a history can hold a line break.
        let row = Row { file, line: index as u64 + 2, header: &header, record: &record };
        epochs.push(Epoch {
            epoch: row.field(0).parse().map_err(|_| row.error(0, "a whole number"))?,
            loss: row.number(1)?,
            val_loss: row.optional(2)?,
            metric: row.optional(3)?,
            val_metric: row.optional(4)?,
            lr: row.number(5)?,
            seconds: row.number(6)?,
        });
    }
    Ok((epochs, metric))
}

struct Row<'a> {
    file: &'a str,
    line: u64,
    header: &'a StringRecord,
    record: &'a StringRecord,
}

impl Row<'_> {
    fn field(&self, column: usize) -> &str {
        self.record.get(column).unwrap_or_default()
    }

    fn number(&self, column: usize) -> Result<f64, HistoryError> {
        self.field(column).parse().map_err(|_| self.error(column, "a number"))
    }

    fn optional(&self, column: usize) -> Result<Option<f64>, HistoryError> {
        if self.field(column).is_empty() { Ok(None) } else { self.number(column).map(Some) }
    }

    fn error(&self, column: usize, expected: &'static str) -> HistoryError {
        HistoryError::Field {
            file: self.file.to_owned(),
            line: self.line,
            column: self.header.get(column).unwrap_or_default().to_owned(),
            expected,
            found: self.field(column).to_owned(),
        }
    }
}

/// Shortest text that reads back as the same number; an exponent where plain digits would run long.
fn number(value: f64) -> String {
    let size = value.abs();
    if value.is_nan() {
        "nan".to_owned()
    } else if size.is_finite() && size != 0.0 && !(1e-4..1e16).contains(&size) {
        format!("{value:e}")
    } else {
        value.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EPOCH: Epoch =
        Epoch { epoch: 1, loss: 0.5, val_loss: None, metric: Some(0.25), val_metric: None, lr: 1e-5, seconds: 2.0 };

    #[test]
    fn writes_what_a_spreadsheet_reads() {
        assert_eq!(
            to_csv(&[EPOCH], "accuracy"),
            "epoch,loss,val_loss,accuracy,val_accuracy,lr,seconds\n1,0.5,,0.25,,1e-5,2\n"
        );
    }

    #[test]
    fn names_the_wrong_cell() {
        let text = "epoch,loss,val_loss,r2,val_r2,lr,seconds\n1,0.5,,,,1,2\n2,abc,,,,1,2\n";
        let error = from_csv("h.csv", text.as_bytes()).unwrap_err().to_string();
        assert_eq!(error, "h.csv: line 3, column \"loss\": expected a number, found \"abc\"");
        assert!(matches!(from_csv("h.csv", b"a,b\n"), Err(HistoryError::Header { .. })));
        assert!(matches!(from_csv("h.csv", b""), Err(HistoryError::Header { .. })));
        let ragged = "epoch,loss,val_loss,r2,val_r2,lr,seconds\n1,0.5\n";
        assert!(matches!(from_csv("h.csv", ragged.as_bytes()), Err(HistoryError::Csv { .. })));
    }

    proptest! {
        #[test]
        fn reads_back_the_same_bits(bits in prop::collection::vec(any::<[u64; 6]>(), 0..20), some in any::<u8>()) {
            let epochs: Vec<Epoch> = bits.iter().enumerate().map(|(i, b)| {
                // One NaN stands for all: its payload means nothing.
                let f = |k: usize| { let v = f64::from_bits(b[k]); if v.is_nan() { f64::NAN } else { v } };
                let opt = |k: usize| (some >> k & 1 == 1).then(|| f(k));
                Epoch { epoch: i as u32 + 1, loss: f(0), val_loss: opt(1), metric: opt(2), val_metric: opt(3), lr: f(4), seconds: f(5) }
            }).collect();
            let (back, metric) = from_csv("h", to_csv(&epochs, "a,\"b\"").as_bytes()).unwrap();
            prop_assert_eq!(metric, "a,\"b\"");
            let all = |e: &Epoch| [Some(e.loss), e.val_loss, e.metric, e.val_metric, Some(e.lr), Some(e.seconds)].map(|v| v.map(f64::to_bits));
            prop_assert_eq!(back.iter().map(all).collect::<Vec<_>>(), epochs.iter().map(all).collect::<Vec<_>>());
        }

        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = from_csv("h", &bytes);
        }
    }
}

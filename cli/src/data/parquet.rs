//! Apache Parquet files: flat tables, read row by row.
//!
//! A number goes on as the text that names it exactly, so that a table and the CSV file of it give the same rows; nothing is a
//! missing cell.

use std::cell::Cell;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row};

use super::columns::MAX_COLUMNS;
use super::error::{Error, Place};
use super::set::Set;
use super::source::Source;

/// Reads a Parquet file. Its list of contents stands at its end, so what is packed or comes through a pipe is taken into memory.
pub(crate) fn read(mut source: Source<'_>, set: &mut Set<'_>) -> Result<(), Error> {
    let file = source.name().to_owned();
    let wrong = |error: ParquetError| Error::Header { file: file.clone(), format: "Parquet", what: error.to_string() };
    let reader: Box<dyn FileReader> = match source.place() {
        Some((path, _)) => {
            let opened = File::open(path).map_err(|source| Error::Io { file: file.clone(), source })?;
            Box::new(guarded(|| SerializedFileReader::new(opened)).map_err(wrong)?)
        }
        None if set.options().stream.is_some() => {
            let what = "a Parquet file that is itself packed, or comes through a pipe, can only be read from memory";
            return Err(Error::Stream { file, what, advice: "unpack it into a file" });
        }
        None => {
            let bytes = Bytes::from(source.read_all()?);
            Box::new(guarded(|| SerializedFileReader::new(bytes)).map_err(wrong)?)
        }
    };
    let schema = reader.metadata().file_metadata().schema_descr();
    if schema.num_columns() > MAX_COLUMNS {
        let found = schema.num_columns() as u64;
        return Err(Error::TooManyColumns { file, found, limit: MAX_COLUMNS });
    }
    if let Some(nested) = schema.root_schema().get_fields().iter().find(|field| !field.is_primitive()) {
        return Err(Error::ElementType {
            file: file.clone(),
            found: format!("a list or group (column {:?})", nested.name()),
            advice: "make each of its values a column",
        });
    }
    let names: Vec<String> = schema.columns().iter().map(|column| column.name().to_owned()).collect();
    let columns = names.len();
    let builder = set.begin(&file, names, true, true)?;
    let mut fields: Vec<String> = vec![String::new(); columns];
    let mut rows = guarded(|| reader.get_row_iter(None)).map_err(wrong)?;
    for number in 0.. {
        let Some(row) = guarded(|| rows.next().transpose()).map_err(wrong)? else { break };
        fill(&row, &mut fields).map_err(|(found, advice)| Error::ElementType {
            file: file.clone(),
            found: found.to_owned(),
            advice,
        })?;
        builder.push_text(Place::Row(number), |c| fields[c].as_bytes())?;
    }
    Ok(())
}

/// What the reader says. On some damaged files it panics (version 60, lengths inside a page): here that is an error as any
/// other, and nothing is printed.
fn guarded<T>(work: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, ParquetError> {
    thread_local! {
        static GUARDED: Cell<bool> = const { Cell::new(false) };
    }
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = take_hook();
        set_hook(Box::new(move |panic| {
            if !GUARDED.get() {
                usual(panic);
            }
        }));
    });
    GUARDED.set(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(false);
    result.unwrap_or_else(|_| Err(ParquetError::General("the file is damaged".to_owned())))
}

/// The cells of a row as texts.
fn fill(row: &Row, fields: &mut [String]) -> Result<(), (&'static str, &'static str)> {
    use std::fmt::Write as _;
    for ((_, value), field) in row.get_column_iter().zip(fields) {
        field.clear();
        let written = match value {
            Field::Null => Ok(()),
            Field::Bool(value) => write!(field, "{}", u8::from(*value)),
            Field::Byte(value) => write!(field, "{value}"),
            Field::Short(value) => write!(field, "{value}"),
            Field::Int(value) => write!(field, "{value}"),
            Field::Long(value) => write!(field, "{value}"),
            Field::UByte(value) => write!(field, "{value}"),
            Field::UShort(value) => write!(field, "{value}"),
            Field::UInt(value) => write!(field, "{value}"),
            Field::ULong(value) => write!(field, "{value}"),
            Field::Float16(value) => write!(field, "{value}"),
            Field::Float(value) => write!(field, "{value}"),
            Field::Double(value) => write!(field, "{value}"),
            Field::Str(text) => write!(field, "{text}"),
            Field::Decimal(_) => return Err(("decimals", "save them as floating-point numbers")),
            Field::Bytes(_) => return Err(("bytes", "save text as UTF-8 strings, or each number as a column")),
            Field::Date(_)
            | Field::TimeMillis(_)
            | Field::TimeMicros(_)
            | Field::TimestampMillis(_)
            | Field::TimestampMicros(_) => return Err(("dates or times", "save them as numbers")),
            _ => return Err(("lists or groups", "make each of their values a column")),
        };
        // Writing to a string does not fail.
        written.map_err(|_| ("a cell that cannot be written", "save the table as CSV"))?;
    }
    Ok(())
}

//! Parquet files, where their reader was left out.

use super::error::Error;
use super::set::Set;
use super::source::Source;

/// Refuses a Parquet file.
pub(crate) fn read(source: Source<'_>, _: &mut Set<'_>) -> Result<(), Error> {
    let advice = "install the command with --features parquet, or save the table as CSV";
    Err(Error::Kind { file: source.name().to_owned(), found: "a Parquet file", advice })
}

//! A file, or some rows of it.

use std::path::{Path, PathBuf};

use super::{Rows, dataset};
use crate::data::{self, RowFilter, Table};
use crate::digits;
use crate::error::{Failure, Kind};
use crate::options::TrainOptions;

/// One file, or some rows of it.
#[derive(Clone, Copy)]
pub(super) struct Part<'a> {
    pub(super) file: Option<&'a Path>,
    pub(super) labels: Option<&'a Path>,
    pub(super) rows: Option<&'a str>,
}

impl<'a> Part<'a> {
    /// The rows that the options name first.
    pub(super) fn of(options: &'a TrainOptions) -> Self {
        Self { file: options.data.as_deref(), labels: options.labels.as_deref(), rows: options.filter.as_deref() }
    }

    pub(super) fn name(&self) -> String {
        self.file.map_or_else(|| digits::NAME.into(), |path| path.display().to_string())
    }

    pub(super) fn filtered(&self, options: data::Options) -> Result<data::Options, Failure> {
        let mut options = data::Options { labels: self.labels.map(Path::to_path_buf), ..options };
        if let Some(rows) = self.rows {
            options.filters.push(filter(rows)?);
        }
        Ok(options)
    }

    pub(super) fn read_filtered(&self, options: &data::Options) -> Result<Table, data::Error> {
        match self.file {
            None => digits::read(options),
            Some(file) => data::read(file, options),
        }
    }

    pub(super) fn read(&self, options: &data::Options) -> Result<Table, Failure> {
        Ok(self.read_filtered(&self.filtered(options.clone())?)?)
    }

    /// The rows to validate or to test on: a file of their own, or other rows of this one.
    pub(super) fn further(
        &self,
        file: &Option<PathBuf>,
        labels: &Option<PathBuf>,
        rows: &Option<String>,
        options: &data::Options,
        train: &TrainOptions,
    ) -> Result<Option<Rows>, Failure> {
        let part = match (file, rows) {
            (None, None) => return Ok(None),
            (Some(file), rows) => Part { file: Some(file), labels: labels.as_deref(), rows: rows.as_deref() },
            (None, Some(rows)) => {
                self.refuse_overlap(rows, options)?;
                Part { rows: Some(rows), ..*self }
            }
        };
        let name = part.rows.map_or_else(|| part.name(), |rows| format!("{} where {rows}", part.name()));
        Ok(Some(Rows { set: dataset(part.read(options)?, train, &name)?, name }))
    }

    /// Rows that are trained on prove nothing when they are tested on.
    fn refuse_overlap(&self, rows: &str, options: &data::Options) -> Result<(), Failure> {
        let Some(trained) = self.rows else {
            let message = "name the training rows with --where too: they must not overlap the rows held out";
            return Err(Failure::new(Kind::Usage, message));
        };
        let mut both = self.filtered(data::Options { classes: None, ..options.clone() })?;
        both.filters.push(filter(rows)?);
        match self.read_filtered(&both) {
            Err(data::Error::AllFiltered { .. }) => Ok(()),
            Err(error) => Err(error.into()),
            Ok(table) => {
                let count = table.rows;
                let message = format!("--where {trained} and {rows} share {count} rows: rows held out must be others");
                Err(Failure::new(Kind::Usage, message))
            }
        }
    }
}

pub(super) fn filter(text: &str) -> Result<RowFilter, Failure> {
    text.parse().map_err(|error| Failure::new(Kind::Usage, error))
}

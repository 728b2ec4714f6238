//! Several files as one set.

use std::path::{Path, PathBuf};

use super::builder::{Builder, Built};
use super::columns::Plan;
use super::error::Error;
use super::source::{Format, Source};
use super::{Options, Part, csv, idx, npy, parquet, svm};

/// The files that a path means: itself if it exists, else those of a list with commas, else those that a pattern such as
/// `logs/*.csv` fits, in the order of their names.
pub(crate) fn files(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let Some(text) = path.to_str().filter(|text| !path.exists() && text.contains([',', '*', '?', '['])) else {
        return Ok(vec![path.to_path_buf()]);
    };
    let mut files = Vec::new();
    for pattern in text.split(',').map(str::trim) {
        if Path::new(pattern).exists() || !pattern.contains(['*', '?', '[']) {
            files.push(pattern.into());
            continue;
        }
        let wrong = |what: String| Error::Pattern { pattern: pattern.to_owned(), what };
        let before = files.len();
        for file in glob::glob(pattern).map_err(|error| wrong(error.to_string()))? {
            let file =
                file.map_err(|error| Error::Io { file: error.path().display().to_string(), source: error.into() })?;
            if !file.is_dir() {
                files.push(file);
            }
        }
        if files.len() == before {
            return Err(wrong("no file fits".to_owned()));
        }
    }
    Ok(files)
}

/// Files on their way into one table.
pub(crate) struct Set<'a> {
    options: &'a Options,
    part: Part<'a>,
    builder: Option<Builder<'a>>,
}

impl<'a> Set<'a> {
    /// Reads the files one after the other.
    pub(crate) fn read<'s>(
        sources: impl IntoIterator<Item = Result<Source<'s>, Error>>,
        options: &'a Options,
        part: Part<'a>,
    ) -> Result<Built, Error> {
        let mut set = Self { options, part, builder: None };
        let mut lists = None;
        let (mut labels, mut count) = (Vec::new(), 0);
        for source in sources {
            let source = source?;
            labels.extend(source.labels().map(str::to_owned));
            let last = source.name().to_owned();
            if options.stream.is_some() && source.is_whole() {
                let what = "an archive that is itself packed, or comes through a pipe, can only be read from memory";
                return Err(Error::Stream { file: last, what, advice: "unpack it into a file" });
            }
            count += 1;
            match source.format() {
                Format::Csv => csv::read(source, &mut set)?,
                Format::Npy => npy::read(source, &mut set)?,
                Format::Idx => idx::read(source, &mut set)?,
                Format::Parquet => parquet::read(source, &mut set)?,
                Format::Svm => {
                    let refuse = |option| Err(Error::SvmOption { file: source.name().to_owned(), option });
                    match part {
                        Part::Labels { .. } => return refuse("--labels"),
                        Part::Table if count > 1 => return refuse("another file"),
                        Part::Table => lists = Some(svm::read(source, options)?),
                    }
                    continue;
                }
            }
            if lists.is_some() {
                return Err(Error::SvmOption { file: last, option: "another file" });
            }
        }
        if let Some(lists) = lists {
            return Ok(lists);
        }
        let mut built = set.builder.map(Builder::finish).transpose()?.unwrap_or_default();
        // An archive without labels among those with some: then they come from elsewhere.
        built.labels = if labels.len() == count { labels } else { Vec::new() };
        Ok(built)
    }

    /// What the user asked for.
    pub(crate) fn options(&self) -> &'a Options {
        self.options
    }

    /// A file's columns are known, its rows come next. `named` tells whether the names stand in the file; without, they are
    /// the columns' numbers. `text`: fields are text, else a row is one of an array.
    pub(crate) fn begin(
        &mut self,
        file: &str,
        names: Vec<String>,
        named: bool,
        text: bool,
    ) -> Result<&mut Builder<'a>, Error> {
        let builder = match self.builder.take() {
            Some(mut builder) => {
                builder.next_file(file, &names, named)?;
                builder
            }
            None => {
                let (plan, chosen) = match self.part {
                    Part::Table => (Plan::new(file, names, (named, text), self.options)?, None),
                    Part::Labels { chosen } => (Plan::of_labels(file, names, text, self.options)?, chosen),
                };
                Builder::new(file, plan, self.options, chosen, (named, !text))?
            }
        };
        Ok(self.builder.insert(builder))
    }
}

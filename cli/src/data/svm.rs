//! Index lists as text, in the form of svmlight and libsvm: a row a line, its label and then `index:1` for each feature that
//! is 1. Indices ascend; `#` begins a comment.
//!
//! Only ones: a feature that is listed is 1, all others are 0. Other values are refused by line and index, as are indices
//! that stand twice or beyond the width, and `qid`.

use std::str;

use super::builder::Built;
use super::error::{Error, SvmProblem, clip};
use super::labels::Labels;
use super::source::Source;
use super::{Lists, Options, Table, TargetColumn};
use evenkeel::layer::MAX_WIDTH;

/// Longest line, as in other text files.
const MAX_LINE: usize = 16 << 20;

/// Reads a file of index lists with its labels.
pub(crate) fn read(mut source: Source<'_>, options: &Options) -> Result<Built, Error> {
    let file = source.name().to_owned();
    refuse_options(&file, options)?;
    if options.stream.is_some() {
        let what = "index lists are kept in memory, where they take 4 bytes for each one";
        return Err(Error::Stream { file, what, advice: "leave --stream out" });
    }
    let wanted = options.target != TargetColumn::None;
    let mut labels = wanted
        .then(|| Labels::new(&file, vec!["label".to_owned()], options.task, options.classes.as_deref(), false))
        .transpose()?;
    let base = options.index_base.unwrap_or(1);
    // Of a file that says the width itself, the largest index counts.
    let (limit, mut largest) = (options.width.unwrap_or(MAX_WIDTH), 0);
    let mut lists = Lists { offsets: vec![0], indices: Vec::new() };
    let (mut text, mut line) = (Vec::new(), 0);
    while read_line(&mut source, &mut text, line + 1)? {
        line += 1;
        let fails = |problem| Error::Svm { file: file.clone(), line, problem };
        let row = text.split(|byte| *byte == b'#').next().unwrap_or_default();
        let row = str::from_utf8(row).map_err(|_| Error::NotUtf8 { file: file.clone(), line, field: 1 })?;
        let mut words = row.split_ascii_whitespace();
        let Some(label) = words.next() else { continue };
        if label.contains(':') {
            return Err(fails(SvmProblem::NoLabel { found: clip(label.as_bytes()) }));
        }
        if let Some(labels) = &mut labels {
            let place = super::Place::Line(line);
            labels.push_text(label).map_err(|problem| Error::cell(&file, place, "label", problem))?;
        }
        let mut before: Option<u32> = None;
        for word in words {
            let index = entry(word, base, limit).map_err(fails)?;
            let written = u64::from(index) + u64::from(base);
            if let Some(before) = before.filter(|before| *before >= index) {
                let before = u64::from(before) + u64::from(base);
                return Err(fails(SvmProblem::Order { index: written, before }));
            }
            (before, largest) = (Some(index), largest.max(index as usize + 1));
            lists.indices.push(index);
        }
        lists.offsets.push(lists.indices.len());
    }
    let rows = lists.offsets.len() - 1;
    if rows == 0 {
        return Err(Error::NoRows { file });
    }
    let cols = options.width.unwrap_or(largest);
    if cols == 0 {
        return Err(Error::Svm { file, line, problem: SvmProblem::NoIndex });
    }
    let target = labels.map(|labels| labels.finish(&file)).transpose()?;
    let table = Table { rows, cols, target, lists: Some(lists), ..Table::default() };
    Ok(Built { table, seen: rows as u64, ..Built::default() })
}

/// What has no meaning for a file of index lists.
fn refuse_options(file: &str, options: &Options) -> Result<(), Error> {
    let option = if options.labels.is_some() {
        "--labels"
    } else if matches!(options.target, TargetColumn::Columns(_)) {
        "--target"
    } else if !options.filters.is_empty() {
        "--where"
    } else if !options.ignore.is_empty() {
        "--ignore"
    } else if options.categorical != super::Categorical::None {
        "--categorical"
    } else if options.weight.is_some() {
        "--weight-column"
    } else if options.group.is_some() {
        "a group (--test-group, --leave-one-group-out)"
    } else if options.header != super::Header::Auto {
        "--header"
    } else {
        return Ok(());
    };
    Err(Error::SvmOption { file: file.to_owned(), option })
}

/// The index of `index:1`, counted from 0.
fn entry(word: &str, base: u32, limit: usize) -> Result<u32, SvmProblem> {
    let found = || clip(word.as_bytes());
    let Some((index, value)) = word.split_once(':') else { return Err(SvmProblem::NotAPair { found: found() }) };
    if index == "qid" {
        return Err(SvmProblem::Query);
    }
    if index.is_empty() || !index.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(SvmProblem::NotAnIndex { found: found() });
    }
    // What does not fit an integer is beyond every width.
    let index: u64 = index.parse().unwrap_or(u64::MAX);
    let Some(place) = index.checked_sub(u64::from(base)) else { return Err(SvmProblem::Zero) };
    if place >= limit as u64 {
        return Err(SvmProblem::Beyond { index, width: limit, last: limit as u64 - 1 + u64::from(base) });
    }
    if value.parse::<f64>().ok() != Some(1.0) {
        return Err(SvmProblem::NotOne { index, found: clip(value.as_bytes()) });
    }
    Ok(place as u32)
}

/// Reads a line without its end; `false` at the end of the file.
fn read_line(source: &mut Source<'_>, text: &mut Vec<u8>, line: u64) -> Result<bool, Error> {
    text.clear();
    let mut any = false;
    loop {
        let bytes = source.fill()?;
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let count = end.map_or(bytes.len(), |at| at + 1);
        text.extend_from_slice(&bytes[..end.unwrap_or(bytes.len())]);
        source.consume(count);
        any |= count > 0;
        if text.len() > MAX_LINE {
            return Err(Error::LongLine { file: source.name().to_owned(), line, limit: MAX_LINE });
        }
        if end.is_some() || count == 0 {
            return Ok(any);
        }
    }
}

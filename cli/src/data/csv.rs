//! Text files.
//!
//! Lines are cut here, so that their numbers are right, their length is bounded and a quote that never closes is noticed;
//! what quotes mean inside a line is `csv-core`'s business.

use super::Header;
use super::columns::MAX_COLUMNS;
use super::error::{Error, Place, clip};
use super::set::Set;
use super::source::Source;
use csv_core::{ReadRecordResult, Reader, ReaderBuilder, Terminator};

/// Longest line, and longest record of several lines.
const MAX_LINE: usize = 16 << 20;

/// Reads a text file.
pub(crate) fn read(source: Source<'_>, set: &mut Set<'_>) -> Result<(), Error> {
    let file = source.name().to_owned();
    let mut records = Records::new(source);
    let Some(first) = records.next()? else { return Err(Error::NoRows { file }) };
    let columns = first.len();
    let second = records.next()?;
    let named = is_header(&file, &first, second.as_ref(), set.options().header)?;
    let names = if named { first.names(&file)? } else { (1..=columns).map(|c| c.to_string()).collect() };
    let first_line = first.line;
    let builder = set.begin(&file, names, named, true)?;
    let mut push = |record: &Record| {
        if record.len() != columns {
            let (line, found) = (record.line, record.len());
            return Err(Error::Ragged { file: file.clone(), line, found, first: first_line, expected: columns });
        }
        builder.push_text(Place::Line(record.line), |c| record.field(c))
    };
    if !named {
        push(&first)?;
    }
    if let Some(mut record) = second {
        push(&record)?;
        while records.read(&mut record)? {
            push(&record)?;
        }
    }
    Ok(())
}

/// Whether the first record holds names.
fn is_header(file: &str, first: &Record, second: Option<&Record>, header: Header) -> Result<bool, Error> {
    match header {
        Header::Yes => return Ok(true),
        Header::No => return Ok(false),
        Header::Auto => {}
    }
    let is_number = |field: &[u8]| {
        let field = field.trim_ascii();
        std::str::from_utf8(field).is_ok_and(|text| text.parse::<f64>().is_ok())
    };
    let numbers = (0..first.len()).filter(|&c| is_number(first.field(c))).count();
    if numbers == 0 || numbers == first.len() {
        return Ok(numbers == 0);
    }
    // Both: `1,2,3,label` above numbers is a header, `5.1,3.5,setosa` above more of its kind is data.
    if let Some(second) = second.filter(|second| second.len() == first.len()) {
        let text_above_number = |c: &usize| !is_number(first.field(*c)) && is_number(second.field(*c));
        let texts_named = (0..first.len()).find(|c| !first.field(*c).trim_ascii().is_empty() && text_above_number(c));
        if texts_named.is_some() {
            return Ok(true);
        }
    }
    let find =
        |number: bool| (0..first.len()).map(|c| first.field(c)).find(|f| is_number(f) == number).unwrap_or_default();
    let (number, text) = (clip(find(true)), clip(find(false)));
    Err(Error::UnclearHeader { file: file.to_owned(), line: first.line, number, text })
}

/// One record: its fields one after the other and where they end.
#[derive(Default)]
struct Record {
    line: u64,
    text: Vec<u8>,
    ends: Vec<usize>,
    count: usize,
}

impl Record {
    fn len(&self) -> usize {
        self.count
    }

    fn field(&self, c: usize) -> &[u8] {
        let start = if c == 0 { 0 } else { self.ends[c - 1] };
        &self.text[start..self.ends[c]]
    }

    fn names(&self, file: &str) -> Result<Vec<String>, Error> {
        let name = |c: usize| {
            let text = std::str::from_utf8(self.field(c).trim_ascii());
            text.map(str::to_owned).map_err(|_| Error::NotUtf8 { file: file.to_owned(), line: self.line, field: c + 1 })
        };
        (0..self.len()).map(name).collect()
    }
}

/// The records of a file, one by one.
struct Records<'a> {
    source: Source<'a>,
    parser: Option<Reader>,
    /// The line being read, and how many were read.
    text: Vec<u8>,
    lines: u64,
}

impl<'a> Records<'a> {
    fn new(source: Source<'a>) -> Self {
        Self { source, parser: None, text: Vec::new(), lines: 0 }
    }

    fn next(&mut self) -> Result<Option<Record>, Error> {
        let mut record = Record::default();
        Ok(self.read(&mut record)?.then_some(record))
    }

    /// Reads the next record that is not an empty line; `false` at the end of the file.
    fn read(&mut self, record: &mut Record) -> Result<bool, Error> {
        loop {
            if !self.read_line()? {
                return Ok(false);
            }
            if self.text != b"\n" {
                break;
            }
        }
        let mut parser = match self.parser.take() {
            Some(parser) => parser,
            None => ReaderBuilder::new().delimiter(delimiter(&self.text)).terminator(Terminator::Any(b'\n')).build(),
        };
        record.line = self.lines;
        let (mut text_len, mut ends_len) = (0, 0);
        loop {
            let mut input = &self.text[..];
            let complete = loop {
                let (result, taken, wrote, ended) =
                    parser.read_record(input, &mut record.text[text_len..], &mut record.ends[ends_len..]);
                input = &input[taken..];
                text_len += wrote;
                ends_len += ended;
                if ends_len > MAX_COLUMNS {
                    let (file, found) = (self.source.name().to_owned(), ends_len as u64);
                    return Err(Error::TooManyColumns { file, found, limit: MAX_COLUMNS });
                }
                match result {
                    ReadRecordResult::OutputFull => record.text.resize((record.text.len() * 2).max(256), 0),
                    ReadRecordResult::OutputEndsFull => record.ends.resize((record.ends.len() * 2).max(32), 0),
                    ReadRecordResult::InputEmpty => break false,
                    ReadRecordResult::Record | ReadRecordResult::End => break true,
                }
            };
            if complete {
                break;
            }
            // The line ended inside quotes: the record goes on in the next one.
            if text_len > MAX_LINE || !self.read_line()? {
                return Err(Error::OpenQuote { file: self.source.name().to_owned(), line: record.line });
            }
        }
        record.count = ends_len;
        self.parser = Some(parser);
        Ok(true)
    }

    /// Reads a line, makes it end in a plain `\n`, and counts it; `false` at the end of the file.
    fn read_line(&mut self) -> Result<bool, Error> {
        self.text.clear();
        loop {
            let bytes = self.source.fill()?;
            let end = bytes.iter().position(|&b| b == b'\n');
            let count = end.map_or(bytes.len(), |at| at + 1);
            self.text.extend_from_slice(&bytes[..count]);
            self.source.consume(count);
            if self.text.len() > MAX_LINE {
                let (file, line) = (self.source.name().to_owned(), self.lines + 1);
                return Err(Error::LongLine { file, line, limit: MAX_LINE });
            }
            if end.is_some() || count == 0 {
                break;
            }
        }
        if self.text.is_empty() {
            return Ok(false);
        }
        self.lines += 1;
        self.text.pop_if(|b| *b == b'\n');
        self.text.pop_if(|b| *b == b'\r');
        self.text.push(b'\n');
        Ok(true)
    }
}

/// The delimiter of a file by its first line: the most frequent of the usual three outside quotes.
fn delimiter(line: &[u8]) -> u8 {
    let mut quoted = false;
    let mut counts = [(b',', 0), (b';', 0), (b'\t', 0)];
    for &b in line {
        quoted ^= b == b'"';
        if !quoted && let Some((_, count)) = counts.iter_mut().find(|(d, _)| *d == b) {
            *count += 1;
        }
    }
    // The comma comes last in the order of equals, and the last of equals wins.
    counts.iter().rev().max_by_key(|(_, count)| *count).map_or(b',', |(d, _)| *d)
}

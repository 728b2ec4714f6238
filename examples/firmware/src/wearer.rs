//! Samples of one person: lines of `subject,label,` and the features, in the order of the recordings.

use semihosting::fs::File;
use semihosting::io::Read;

use crate::{Problem, motion};

/// One window of motion.
pub(crate) struct Sample {
    /// From 1.
    pub(crate) number: usize,
    /// What the person did.
    pub(crate) label: usize,
    /// Windows of the same recording before this one.
    pub(crate) position: usize,
    pub(crate) values: [f32; motion::INPUTS],
}

/// The file, read line by line.
pub(crate) struct Wearer {
    file: File,
    buffer: [u8; 1024],
    filled: usize,
    /// Bytes of the buffer that belong to lines read before.
    used: usize,
    line: usize,
    /// Label and position of the sample before.
    last: Option<(usize, usize)>,
}

impl Wearer {
    pub(crate) fn open() -> Result<Self, Problem> {
        let what = "cannot be opened: step 2 of the README makes it";
        let file = File::open(c"wearer.csv").map_err(|_| Problem::Wearer { line: 0, what })?;
        let mut wearer = Self { file, buffer: [0; 1024], filled: 0, used: 0, line: 0, last: None };
        // Names of the columns.
        wearer.advance()?;
        Ok(wearer)
    }

    fn problem(&self, what: &'static str) -> Problem {
        Problem::Wearer { line: self.line, what }
    }

    /// Moves to the next line; gives its range in the buffer.
    fn advance(&mut self) -> Result<Option<(usize, usize)>, Problem> {
        self.line += 1;
        self.buffer.copy_within(self.used..self.filled, 0);
        self.filled -= self.used;
        self.used = 0;
        loop {
            if let Some(end) = self.buffer[..self.filled].iter().position(|byte| *byte == b'\n') {
                self.used = end + 1;
                return Ok(Some((0, end)));
            }
            let read = match self.file.read(&mut self.buffer[self.filled..]) {
                Ok(read) => read,
                Err(_) => return Err(self.problem("cannot be read")),
            };
            match (read, self.filled) {
                (0, 0) => return Ok(None),
                (0, 1024) => return Err(self.problem("longer than 1023 bytes")),
                (0, _) => return Err(self.problem("the file was cut off")),
                (read, _) => self.filled += read,
            }
        }
    }

    /// The next sample; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Sample>, Problem> {
        let Some((start, end)) = self.advance()? else { return Ok(None) };
        let text = core::str::from_utf8(&self.buffer[start..end]).map_err(|_| self.problem("not text"))?;
        let mut fields = text.split(',');
        let label = fields.nth(1).and_then(|label| label.parse().ok()).filter(|label| *label < motion::CLASSES.len());
        let label: usize = label.ok_or_else(|| self.problem("the second column is no class"))?;
        let mut values = [0.0; motion::INPUTS];
        for value in &mut values {
            let field = fields.next().and_then(|field| field.trim().parse::<f32>().ok());
            *value = field.filter(|value| value.is_finite()).ok_or_else(|| self.problem("a number is missing"))?;
        }
        if fields.next().is_some() {
            return Err(self.problem("too many columns"));
        }
        let position = match self.last {
            Some((before, position)) if before == label => position + 1,
            _ => 0,
        };
        self.last = Some((label, position));
        Ok(Some(Sample { number: self.line - 1, label, position, values }))
    }
}

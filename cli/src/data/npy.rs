//! NumPy's NPY files.
//!
//! Read by hand: the `npyz` crate believes the header's length (up to 4 GiB) before it has seen the bytes and parses the
//! header by recursion without a limit. The header is a Python dictionary, of which NumPy writes three fixed entries.

use super::array::{self, Element, Layout};
use super::error::{Error, clip};
use super::set::Set;
use super::source::Source;

/// Longest header; NumPy itself refuses more than 10,000 bytes.
const MAX_HEADER: usize = 1 << 16;

/// Reads an NPY file.
pub(crate) fn read(mut source: Source<'_>, set: &mut Set<'_>) -> Result<(), Error> {
    let layout = header(&mut source)?;
    array::read(source, &layout, set)
}

fn header(source: &mut Source<'_>) -> Result<Layout, Error> {
    let file = source.name().to_owned();
    let wrong = |what: String| Error::Header { file: file.clone(), format: "NPY", what };
    let cut = || wrong("the file ends inside it".to_owned());
    let mut start = [0; 8];
    if source.read(&mut start)? < 8 {
        return Err(cut());
    }
    let mut len = [0; 4];
    let len_bytes = match start[6] {
        1 => 2,
        2 | 3 => 4,
        other => return Err(wrong(format!("format version {other} is unknown (1 to 3 are read)"))),
    };
    if source.read(&mut len[..len_bytes])? < len_bytes {
        return Err(cut());
    }
    let len = u32::from_le_bytes(len);
    let len = usize::try_from(len)
        .ok()
        .filter(|len| *len <= MAX_HEADER)
        .ok_or_else(|| wrong(format!("it claims {len} bytes, {MAX_HEADER} are the most that is read")))?;
    let mut text = vec![0; len];
    if source.read(&mut text)? < len {
        return Err(cut());
    }
    let text = std::str::from_utf8(&text).map_err(|_| wrong("it is not text".to_owned()))?;
    let fields = Fields::parse(text).map_err(wrong)?;
    let (big_endian, element) = element(&file, &fields.descr)?;
    Ok(Layout { element, big_endian, fortran: fields.fortran, dims: fields.shape })
}

fn element(file: &str, descr: &str) -> Result<(bool, Element), Error> {
    let refuse = |found: &str, advice| {
        Err(Error::ElementType {
            file: file.to_owned(),
            found: format!("{found} ({})", clip(descr.as_bytes())),
            advice,
        })
    };
    let (order, kind) = match descr.as_bytes() {
        [order @ (b'<' | b'>' | b'=' | b'|'), kind @ ..] => (*order, kind),
        kind => (b'=', kind),
    };
    let element = match kind {
        b"b1" | b"?" => Element::Bool,
        b"u1" => Element::U8,
        b"i1" => Element::I8,
        b"u2" => Element::U16,
        b"i2" => Element::I16,
        b"u4" => Element::U32,
        b"i4" => Element::I32,
        b"u8" => Element::U64,
        b"i8" => Element::I64,
        b"f2" => Element::F16,
        b"f4" => Element::F32,
        b"f8" => Element::F64,
        [b'O', ..] => {
            return refuse("Python objects, kept as a pickle", "save plain numbers with array.astype(\"f4\")");
        }
        [b'S' | b'U' | b'a', ..] => return refuse("text", "save text labels as CSV, or as numbers"),
        [b'c', ..] => return refuse("complex numbers", "save real and imaginary part as two columns"),
        [b'M' | b'm', ..] => return refuse("dates or times", "save them as numbers"),
        [b'[', ..] => return refuse("records with named fields", "save one plain array, or the table as CSV"),
        _ => return refuse("of an unknown type", "save the array with array.astype(\"f4\")"),
    };
    // Files carry their byte order; `=` would be the writer's, which was little-endian on any machine of today.
    Ok((order == b'>', element))
}

/// The three entries of the header.
struct Fields {
    descr: String,
    fortran: bool,
    shape: Vec<u64>,
}

impl Fields {
    fn parse(text: &str) -> Result<Self, String> {
        let mut s = Scanner { rest: text };
        let (mut descr, mut fortran, mut shape) = (None, None, None);
        s.expect('{')?;
        while !s.take('}') {
            let key = s.string()?;
            s.expect(':')?;
            match key {
                "descr" if descr.is_none() => descr = Some(s.descr()?),
                "fortran_order" if fortran.is_none() => fortran = Some(s.boolean()?),
                "shape" if shape.is_none() => shape = Some(s.shape()?),
                _ => return Err(format!("unexpected or repeated entry \"{}\"", clip(key.as_bytes()))),
            }
            if !s.take(',') {
                s.expect('}')?;
                break;
            }
        }
        if !s.rest.trim().is_empty() {
            return Err("there is something behind the closing brace".to_owned());
        }
        let missing = |name: &str| format!("the entry \"{name}\" is missing");
        Ok(Self {
            descr: descr.ok_or_else(|| missing("descr"))?,
            fortran: fortran.ok_or_else(|| missing("fortran_order"))?,
            shape: shape.ok_or_else(|| missing("shape"))?,
        })
    }
}

struct Scanner<'a> {
    rest: &'a str,
}

impl<'a> Scanner<'a> {
    fn take(&mut self, wanted: char) -> bool {
        let rest = self.rest.trim_start().strip_prefix(wanted);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn expect(&mut self, wanted: char) -> Result<(), String> {
        if self.take(wanted) { Ok(()) } else { Err(format!("expected {wanted:?}{}", self.found())) }
    }

    fn found(&self) -> String {
        match self.rest.trim() {
            "" => ", found its end".to_owned(),
            rest => format!(", found \"{}\"", clip(rest.as_bytes())),
        }
    }

    fn string(&mut self) -> Result<&'a str, String> {
        let text = self.rest.trim_start();
        let quote = text.chars().next().filter(|q| matches!(q, '\'' | '"'));
        let parts = quote.and_then(|quote| text[1..].split_once(quote));
        let (string, rest) = parts.ok_or_else(|| format!("expected a quoted text{}", self.found()))?;
        self.rest = rest;
        Ok(string)
    }

    /// The element type; a list of fields is only named, as it will be refused.
    fn descr(&mut self) -> Result<String, String> {
        if !self.rest.trim_start().starts_with('[') {
            return self.string().map(str::to_owned);
        }
        let list = self.rest.trim_start();
        let end = list.rfind(']').ok_or("a list has no end")?;
        self.rest = &list[end + 1..];
        Ok(list[..=end].to_owned())
    }

    fn boolean(&mut self) -> Result<bool, String> {
        for (word, value) in [("True", true), ("False", false)] {
            if let Some(rest) = self.rest.trim_start().strip_prefix(word) {
                self.rest = rest;
                return Ok(value);
            }
        }
        Err(format!("expected True or False{}", self.found()))
    }

    fn shape(&mut self) -> Result<Vec<u64>, String> {
        let mut dims = Vec::new();
        self.expect('(')?;
        while !self.take(')') {
            let text = self.rest.trim_start();
            let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
            let number = text[..digits].parse();
            dims.push(number.map_err(|_| format!("expected a dimension as a whole number{}", self.found()))?);
            // Python 2 wrote long numbers with an L.
            self.rest = text[digits..].strip_prefix('L').unwrap_or(&text[digits..]);
            if !self.take(',') {
                self.expect(')')?;
                break;
            }
        }
        Ok(dims)
    }
}

//! Arrays of numbers: what NPY and IDX files have in common once the header is read.

use super::builder::Builder;
use super::columns::MAX_COLUMNS;
use super::error::Error;
use super::set::Set;
use super::source::Source;
use half::f16;

/// Type of an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Element {
    Bool,
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F16,
    F32,
    F64,
}

impl Element {
    fn size(self) -> usize {
        match self {
            Self::Bool | Self::U8 | Self::I8 => 1,
            Self::U16 | Self::I16 | Self::F16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }

    fn is_whole(self) -> bool {
        !matches!(self, Self::F16 | Self::F32 | Self::F64)
    }

    /// The number in the first `size` of eight little-endian bytes.
    fn decode(self, b: [u8; 8]) -> f64 {
        let low4 = [b[0], b[1], b[2], b[3]];
        match self {
            Self::Bool => f64::from(u8::from(b[0] != 0)),
            Self::U8 => f64::from(b[0]),
            Self::I8 => f64::from(b[0] as i8),
            Self::U16 => f64::from(u16::from_le_bytes([b[0], b[1]])),
            Self::I16 => f64::from(i16::from_le_bytes([b[0], b[1]])),
            Self::U32 => f64::from(u32::from_le_bytes(low4)),
            Self::I32 => f64::from(i32::from_le_bytes(low4)),
            Self::U64 => u64::from_le_bytes(b) as f64,
            Self::I64 => i64::from_le_bytes(b) as f64,
            Self::F16 => f16::from_le_bytes([b[0], b[1]]).to_f64(),
            Self::F32 => f64::from(f32::from_le_bytes(low4)),
            Self::F64 => f64::from_le_bytes(b),
        }
    }
}

/// What a header says.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) element: Element,
    pub(crate) big_endian: bool,
    /// First dimension fastest, as Fortran keeps arrays.
    pub(crate) fortran: bool,
    pub(crate) dims: Vec<u64>,
}

impl Layout {
    fn shape(&self) -> String {
        self.dims.iter().map(u64::to_string).collect::<Vec<_>>().join(" × ")
    }

    /// Bytes of all elements, if that is a number.
    fn size(&self) -> Option<u64> {
        self.dims.iter().try_fold(self.element.size() as u64, |product, &dim| product.checked_mul(dim))
    }

    fn wrong_size(&self, file: &str, found: String) -> Error {
        Error::Size { file: file.to_owned(), expected: self.size().unwrap_or(u64::MAX), shape: self.shape(), found }
    }
}

/// Reads the elements; the source stands behind the header.
pub(crate) fn read(mut source: Source<'_>, layout: &Layout, set: &mut Set<'_>) -> Result<(), Error> {
    let file = source.name().to_owned();
    let (rows, cols) = check_size(&source, layout)?;
    let row_bytes = cols * layout.element.size();
    // Of a packed file's length nothing is known. Before columns get names, one row of them must be there.
    if source.left().is_none() {
        let found = source.peek(row_bytes)?.len();
        if found < row_bytes {
            return Err(layout.wrong_size(&file, found.to_string()));
        }
    }
    let names = (1..=cols).map(|c| c.to_string()).collect();
    let builder = set.begin(&file, names, false, false)?;
    let by_column = layout.fortran && layout.dims.len() > 1 && rows > 1;
    if by_column && builder.is_disk() {
        let what = "its rows are not one after the other (Fortran order)";
        let advice = "save it with numpy.save(file, numpy.ascontiguousarray(array))";
        return Err(Error::Stream { file, what, advice });
    }
    if layout.element == Element::F32
        && !layout.big_endian
        && !(layout.fortran && layout.dims.len() > 1)
        && let Some((path, start)) = source.place()
    {
        builder.in_place(path, start)?;
    }
    read_rows(&mut source, layout, (rows, cols), builder)
}

/// Rows and columns, if the header's shape is possible and the file, as far as its length is known, holds it.
fn check_size(source: &Source<'_>, layout: &Layout) -> Result<(u64, usize), Error> {
    let file = || source.name().to_owned();
    let [rows, rest @ ..] = &layout.dims[..] else {
        return Err(Error::ElementType {
            file: file(),
            found: "a single number (an array without dimensions)".to_owned(),
            advice: "the first dimension must be the rows",
        });
    };
    let cols = rest.iter().try_fold(1_u64, |product, &dim| product.checked_mul(dim)).unwrap_or(u64::MAX);
    if *rows == 0 {
        return Err(Error::NoRows { file: file() });
    }
    if cols == 0 {
        return Err(Error::NoInputs { file: file() });
    }
    match (layout.size(), source.left()) {
        (Some(size), Some(left)) if size != left => return Err(layout.wrong_size(source.name(), left.to_string())),
        (None, _) => {
            let what = format!("the shape {} is larger than any file", layout.shape());
            return Err(Error::Header { file: file(), format: "array", what });
        }
        _ => {}
    }
    match usize::try_from(cols) {
        Ok(cols) if cols <= MAX_COLUMNS => Ok((*rows, cols)),
        _ => Err(Error::TooManyColumns { file: file(), found: cols, limit: MAX_COLUMNS }),
    }
}

fn read_rows(
    source: &mut Source<'_>,
    layout: &Layout,
    (rows, cols): (u64, usize),
    builder: &mut Builder<'_>,
) -> Result<(), Error> {
    let whole = layout.element.is_whole();
    if source.left().is_some()
        && let Ok(rows) = usize::try_from(rows)
    {
        // The file was found to hold exactly these rows.
        builder.reserve(rows);
    }
    let mut numbers = Numbers::new(source, layout);
    if layout.fortran && layout.dims.len() > 1 && rows > 1 {
        let order = column_order(&layout.dims[1..], cols);
        let mut all = Vec::new();
        let mut chunk = vec![0.0; 4096];
        let mut left = u128::from(rows) * cols as u128;
        while left > 0 {
            let count = usize::try_from(left).unwrap_or(usize::MAX).min(chunk.len());
            numbers.read(&mut chunk[..count])?;
            // Kept as f32 and f64 alike take room; an array of whole numbers up to 2^53 needs the latter.
            all.extend_from_slice(&chunk[..count]);
            left -= count as u128;
        }
        let rows = all.len() / cols;
        let mut row = vec![0.0; cols];
        for r in 0..rows {
            order.iter().enumerate().for_each(|(stored, &c)| row[c] = all[stored * rows + r]);
            builder.push_numbers(&row, whole)?;
        }
    } else {
        let order = if layout.fortran { column_order(&layout.dims[1..], cols) } else { Vec::new() };
        let (mut row, mut sorted) = (vec![0.0; cols], vec![0.0; order.len()]);
        for _ in 0..rows {
            numbers.read(&mut row)?;
            order.iter().zip(&row).for_each(|(&c, v)| sorted[c] = *v);
            builder.push_numbers(if order.is_empty() { &row } else { &sorted }, whole)?;
        }
    }
    numbers.end()
}

/// Where the columns of a Fortran-ordered array belong: the stored ones count up in the first of `dims`, the table's in
/// the last, as the flattened rows of any other file do.
fn column_order(dims: &[u64], cols: usize) -> Vec<usize> {
    let dims: Vec<usize> = dims.iter().map(|&d| usize::try_from(d).unwrap_or(1)).collect();
    let place = |mut stored: usize| {
        let mut stride = cols;
        let mut place = 0;
        for &dim in &dims {
            stride /= dim;
            place += stored % dim * stride;
            stored /= dim;
        }
        place
    };
    (0..cols).map(place).collect()
}

/// Elements of a source, one after the other.
struct Numbers<'s, 'a, 'l> {
    source: &'s mut Source<'a>,
    layout: &'l Layout,
    bytes: Vec<u8>,
    read: u64,
}

impl<'s, 'a, 'l> Numbers<'s, 'a, 'l> {
    fn new(source: &'s mut Source<'a>, layout: &'l Layout) -> Self {
        Self { source, layout, bytes: Vec::new(), read: 0 }
    }

    fn read(&mut self, into: &mut [f64]) -> Result<(), Error> {
        let (element, size) = (self.layout.element, self.layout.element.size());
        self.bytes.resize(into.len() * size, 0);
        let count = self.source.read(&mut self.bytes)?;
        self.read += count as u64;
        if count < self.bytes.len() {
            return Err(self.layout.wrong_size(self.source.name(), self.read.to_string()));
        }
        for (number, bytes) in into.iter_mut().zip(self.bytes.chunks_exact(size)) {
            let mut eight = [0; 8];
            eight[..size].copy_from_slice(bytes);
            if self.layout.big_endian {
                eight[..size].reverse();
            }
            *number = element.decode(eight);
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), Error> {
        if self.source.fill()?.is_empty() {
            return Ok(());
        }
        Err(self.layout.wrong_size(self.source.name(), "more".to_owned()))
    }
}

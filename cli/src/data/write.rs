//! Writing predictions: CSV for people and spreadsheets, NPY for programs. Both as bytes, so that they reach the disk whole
//! through [`crate::atomic`].

use csv::WriterBuilder;

/// What a model said about each row.
#[derive(Clone, Copy, Debug)]
pub struct Predictions<'a> {
    /// Names of the outputs, one per column.
    pub names: &'a [String],
    /// `rows × names.len()` numbers, row by row.
    pub values: &'a [f32],
    /// The class of each row and the classes' names, if the model tells classes apart.
    pub classes: Option<(&'a [u32], &'a [String])>,
}

impl Predictions<'_> {
    /// As CSV with a header line: a column `class` if there are classes, then the outputs.
    ///
    /// Numbers are in the shortest form that reads back as the same bits.
    #[must_use]
    pub fn to_csv(&self) -> Vec<u8> {
        let mut out = WriterBuilder::new().flexible(true).from_writer(Vec::new());
        let class_header = self.classes.map(|_| "class");
        // Writing to memory does not fail, and `flexible` lets any number of fields pass.
        let _ = out.write_record(class_header.into_iter().chain(self.names.iter().map(String::as_str)));
        let cols = self.names.len();
        let rows = match self.classes {
            Some((ids, _)) => ids.len(),
            None => self.values.len().checked_div(cols).unwrap_or(0),
        };
        for row in 0..rows {
            if let Some((ids, names)) = self.classes {
                let id = ids[row];
                let name = usize::try_from(id).ok().and_then(|id| names.get(id));
                let _ = out.write_field(name.map_or_else(|| id.to_string(), Clone::clone));
            }
            for value in self.values.iter().skip(row * cols).take(cols) {
                let _ = out.write_field(number(*value));
            }
            let _ = out.write_record(None::<&[u8]>);
        }
        out.into_inner().unwrap_or_default()
    }
}

/// Shortest text that reads back as the same number; an exponent where plain digits would run long.
fn number(value: f32) -> String {
    let size = value.abs();
    if value.is_nan() {
        "nan".to_owned()
    } else if size.is_finite() && size != 0.0 && !(1e-4..1e7).contains(&size) {
        format!("{value:e}")
    } else {
        value.to_string()
    }
}

/// An NPY file of `rows × cols` 32-bit floats; `values` hold them row by row.
#[must_use]
pub fn npy_f32(values: &[f32], cols: usize) -> Vec<u8> {
    let rows = values.len().checked_div(cols).unwrap_or(0);
    let mut out = npy_header("<f4", &format!("({rows}, {cols})"), values.len());
    values.iter().take(rows * cols).for_each(|v| out.extend(v.to_le_bytes()));
    out
}

/// An NPY file of one 32-bit whole number per row, such as class numbers.
#[must_use]
pub fn npy_u32(values: &[u32]) -> Vec<u8> {
    let mut out = npy_header("<u4", &format!("({},)", values.len()), values.len());
    values.iter().for_each(|v| out.extend(v.to_le_bytes()));
    out
}

fn npy_header(descr: &str, shape: &str, values: usize) -> Vec<u8> {
    let text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
    // NumPy wants magic, version, length and text to fill whole blocks of 64 bytes, the last one a line break.
    let len = (10 + text.len() + 1).next_multiple_of(64) - 10;
    let mut out = Vec::with_capacity(10 + len + values * 4);
    out.extend(b"\x93NUMPY\x01\x00");
    // The text is at most three fixed words and two numbers long, far below 2^16.
    out.extend((len as u16).to_le_bytes());
    out.extend(format!("{text:<width$}\n", width = len - 1).bytes());
    out
}

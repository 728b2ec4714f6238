//! IDX files, as the MNIST sets come: two zero bytes, element type, number of dimensions, dimensions, elements, all
//! big-endian.

use super::array::{self, Element, Layout};
use super::error::Error;
use super::set::Set;
use super::source::Source;

/// Reads an IDX file.
pub(crate) fn read(mut source: Source<'_>, set: &mut Set<'_>) -> Result<(), Error> {
    let layout = header(&mut source)?;
    array::read(source, &layout, set)
}

fn header(source: &mut Source<'_>) -> Result<Layout, Error> {
    let mut magic = [0; 4];
    let wrong = |file: &str, what: String| Error::Header { file: file.to_owned(), format: "IDX", what };
    if source.read(&mut magic)? < 4 {
        return Err(wrong(source.name(), "the file ends inside it".to_owned()));
    }
    let element = match magic[2] {
        0x08 => Element::U8,
        0x09 => Element::I8,
        0x0b => Element::I16,
        0x0c => Element::I32,
        0x0d => Element::F32,
        0x0e => Element::F64,
        other => return Err(wrong(source.name(), format!("element type 0x{other:02x} does not exist"))),
    };
    let mut dims = vec![0; usize::from(magic[3])];
    for dim in &mut dims {
        let mut bytes = [0; 4];
        if source.read(&mut bytes)? < 4 {
            return Err(wrong(source.name(), "the file ends inside its dimensions".to_owned()));
        }
        *dim = u64::from(u32::from_be_bytes(bytes));
    }
    Ok(Layout { element, big_endian: true, fortran: false, dims })
}

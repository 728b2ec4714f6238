//! Safetensors files, read and written by the format's own crate, not by the code that is tested.

use std::collections::HashMap;
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};

/// A tensor: type, shape, bytes.
pub(crate) type Tensor = (Dtype, Vec<usize>, Vec<u8>);

/// The bytes of a golden file.
pub(crate) fn golden(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All tensors of a file.
pub(crate) fn read(bytes: &[u8]) -> HashMap<String, Tensor> {
    let file = SafeTensors::deserialize(bytes).expect("a sound file");
    let owned = |view: TensorView<'_>| (view.dtype(), view.shape().to_vec(), view.data().to_vec());
    file.tensors().into_iter().map(|(name, view)| (name, owned(view))).collect()
}

/// A file of these tensors, as another program writes it.
pub(crate) fn write(tensors: &HashMap<String, Tensor>) -> Vec<u8> {
    let views = tensors.iter().map(|(name, (dtype, shape, bytes))| {
        (name.clone(), TensorView::new(*dtype, shape.clone(), bytes).expect("a sound tensor"))
    });
    serialize(views, None).expect("a file")
}

/// A file with this header, whatever it claims.
pub(crate) fn with_header(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data].concat()
}

/// The header of a sound file, and its data.
pub(crate) fn split(bytes: &[u8]) -> (String, Vec<u8>) {
    let len = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")) as usize;
    (String::from_utf8(bytes[8..8 + len].to_vec()).expect("text"), bytes[8 + len..].to_vec())
}

/// A tensor's values.
pub(crate) fn f32s((dtype, _, bytes): &Tensor) -> Vec<f32> {
    assert_eq!(*dtype, Dtype::F32);
    bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

/// A tensor's values in double precision.
pub(crate) fn f64s((dtype, _, bytes): &Tensor) -> Vec<f64> {
    assert_eq!(*dtype, Dtype::F64);
    bytes.as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect()
}

//! The bytes of a safetensors file: tensors and metadata in, tensors and metadata out, with a checksum of ours.

use std::collections::{BTreeMap, HashMap};
use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

use safetensors::tensor::{Dtype, SafeTensors, TensorView, View};

use super::{InterchangeError, TensorInfo};
use crate::memory::Buffer;
use crc32fast::hash as crc32;

/// The key of the checksum in the metadata: CRC-32 of the whole file with these eight digits as zeros.
const KEY: &str = "evenkeel.crc32";
const ZEROS: &str = "00000000";

/// A tensor to write.
pub(super) struct Tensor {
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    pub(super) bytes: Vec<u8>,
}

impl Tensor {
    pub(super) fn f32(shape: Vec<usize>, values: &[f32]) -> Self {
        Self { dtype: Dtype::F32, shape, bytes: values.iter().flat_map(|value| value.to_le_bytes()).collect() }
    }

    pub(super) fn i64(value: i64) -> Self {
        Self { dtype: Dtype::I64, shape: Vec::new(), bytes: value.to_le_bytes().to_vec() }
    }
}

impl View for &Tensor {
    fn dtype(&self) -> Dtype {
        self.dtype
    }
    fn shape(&self) -> &[usize] {
        &self.shape
    }
    fn data(&self) -> std::borrow::Cow<'_, [u8]> {
        (&self.bytes).into()
    }
    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

/// The bytes of a file.
pub(super) fn write(
    tensors: &BTreeMap<String, Tensor>,
    metadata: BTreeMap<String, String>,
) -> Result<Vec<u8>, InterchangeError> {
    let mut metadata: HashMap<String, String> = metadata.into_iter().collect();
    metadata.insert(KEY.to_string(), ZEROS.to_string());
    // The crate writes metadata in the order of a hash map; ours is sorted, so that equal runs write equal bytes.
    let bytes = safetensors::serialize(tensors, Some(metadata.clone())).map_err(format_error)?;
    let mut bytes = sorted_metadata(bytes, metadata)?;
    let at = checksum_position(&bytes).ok_or_else(|| InterchangeError::Format("no place for the checksum".into()))?;
    let digits = format!("{:08x}", crc32(&bytes));
    bytes[at..at + 8].copy_from_slice(digits.as_bytes());
    Ok(bytes)
}

/// Replaces the header's metadata by the same in alphabetical order.
fn sorted_metadata(bytes: Vec<u8>, metadata: HashMap<String, String>) -> Result<Vec<u8>, InterchangeError> {
    let (header, data) = split_header(&bytes)?;
    let mut header: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(header).map_err(format_error)?;
    let sorted: BTreeMap<String, String> = metadata.into_iter().collect();
    header.insert("__metadata__".into(), serde_json::to_value(sorted).map_err(format_error)?);
    let mut header = serde_json::to_vec(&header).map_err(format_error)?;
    // Data begins at a multiple of 64, so that a mapped file can be used in place.
    header.resize((header.len() + 8).next_multiple_of(64) - 8, b' ');
    let mut result = Vec::with_capacity(8 + header.len() + data.len());
    result.extend((header.len() as u64).to_le_bytes());
    result.extend(header);
    result.extend(data);
    Ok(result)
}

fn split_header(bytes: &[u8]) -> Result<(&[u8], &[u8]), InterchangeError> {
    let short =
        || InterchangeError::Format(format!("only {} bytes, or a header that is longer than the file", bytes.len()));
    let (len, rest) = bytes.split_first_chunk::<8>().ok_or_else(short)?;
    let len = usize::try_from(u64::from_le_bytes(*len)).map_err(|_| short())?;
    rest.split_at_checked(len).ok_or_else(short)
}

fn checksum_position(bytes: &[u8]) -> Option<usize> {
    let needle = format!("\"{KEY}\":\"");
    let (header, _) = split_header(bytes).ok()?;
    let at = header.windows(needle.len()).position(|window| window == needle.as_bytes())? + needle.len();
    (at + 8 <= header.len()).then_some(at + 8)
}

/// The crates' messages may quote the file: shortened, so that a damaged one does not flood the screen.
fn format_error(error: impl ToString) -> InterchangeError {
    InterchangeError::Format(super::clipped(&error.to_string(), 300))
}

/// A file that has been read.
pub(super) struct File<'a> {
    tensors: BTreeMap<String, TensorView<'a>>,
    pub(super) metadata: HashMap<String, String>,
}

impl<'a> File<'a> {
    /// Checks and reads a file.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, InterchangeError> {
        let (header, _) = split_header(bytes)?;
        if header.first() != Some(&b'{') {
            return Err(InterchangeError::Format("the header does not begin with {".into()));
        }
        refuse_duplicates(header)?;
        let (_, parsed) = SafeTensors::read_metadata(bytes).map_err(format_error)?;
        let metadata = parsed.metadata().clone().unwrap_or_default();
        if metadata.keys().any(|key| key.starts_with("evenkeel")) {
            check(bytes, metadata.get(KEY))?;
        }
        let tensors = SafeTensors::deserialize(bytes).map_err(format_error)?;
        Ok(Self { tensors: tensors.tensors().into_iter().collect(), metadata })
    }

    /// Name, shape and type of every tensor.
    pub(super) fn describe(&self) -> Vec<TensorInfo> {
        let info = |(name, view): (&String, &TensorView<'_>)| TensorInfo {
            name: name.clone(),
            shape: view.shape().to_vec(),
            dtype: format!("{:?}", view.dtype()).to_lowercase(),
        };
        self.tensors.iter().map(info).collect()
    }

    /// Refuses a tensor that is missing or has another shape, before anything is allocated for it.
    pub(super) fn check_shape(&self, name: &str, expected: &[usize]) -> Result<(), InterchangeError> {
        let view = self.tensors.get(name).ok_or_else(|| self.missing(name))?;
        if view.shape() == expected {
            return Ok(());
        }
        let (expected, found) = (expected.to_vec(), view.shape().to_vec());
        Err(InterchangeError::Shape { name: name.to_string(), expected, found })
    }

    /// The names of all tensors.
    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        self.tensors.keys()
    }

    /// Takes a tensor's values as `f32`, if it is there.
    pub(super) fn take(&mut self, name: &str, expected: &[usize]) -> Result<Option<Vec<f32>>, InterchangeError> {
        let Some(view) = self.tensors.remove(name) else { return Ok(None) };
        if view.shape() != expected {
            let (expected, found) = (expected.to_vec(), view.shape().to_vec());
            return Err(InterchangeError::Shape { name: name.to_string(), expected, found });
        }
        values(name, &view).map(Some)
    }

    /// Takes a tensor that must be there.
    pub(super) fn require(&mut self, name: &str, expected: &[usize]) -> Result<Vec<f32>, InterchangeError> {
        match self.take(name, expected)? {
            Some(values) => Ok(values),
            None => Err(self.missing(name)),
        }
    }

    /// Takes a vector of any length, if it is there.
    pub(super) fn take_flat(&mut self, name: &str) -> Result<Option<Buffer>, InterchangeError> {
        let Some(len) = self.tensors.get(name).map(|view| view.shape().iter().product()) else { return Ok(None) };
        Ok(self.take(name, &[len])?.map(|values| Buffer::from(values.as_slice())))
    }

    /// Takes a vector that must be there.
    pub(super) fn require_flat(&mut self, name: &str) -> Result<Buffer, InterchangeError> {
        match self.take_flat(name)? {
            Some(values) => Ok(values),
            None => Err(self.missing(name)),
        }
    }

    /// The last dimension of a tensor.
    pub(super) fn width(&self, name: &str) -> Result<usize, InterchangeError> {
        let view = self.tensors.get(name).ok_or_else(|| self.missing(name))?;
        view.shape().last().copied().ok_or_else(|| self.missing(name))
    }

    fn missing(&self, name: &str) -> InterchangeError {
        InterchangeError::Missing { name: name.to_string(), found: self.names().cloned().collect() }
    }

    /// Forgets the tensors whose names begin with `prefix`.
    pub(super) fn drop_prefix(&mut self, prefix: &str) {
        self.tensors.retain(|name, _| !name.starts_with(prefix));
    }

    /// Takes a whole number that is not negative, if it is there.
    pub(super) fn take_count(&mut self, name: &str) -> Result<Option<u64>, InterchangeError> {
        let Some(view) = self.tensors.remove(name) else { return Ok(None) };
        let wrong = |problem: String| InterchangeError::Value { name: name.to_string(), problem };
        let Ok(bytes) = <[u8; 8]>::try_from(view.data()) else {
            return Err(wrong(format!("is not one 64-bit whole number but {:?} of {:?}", view.shape(), view.dtype())));
        };
        if view.dtype() != Dtype::I64 {
            return Err(wrong(format!("is of type {:?}, a 64-bit whole number is wanted", view.dtype())));
        }
        let count = i64::from_le_bytes(bytes);
        u64::try_from(count).map(Some).map_err(|_| wrong(format!("is {count}, a count is never negative")))
    }

    /// Refuses what has not been taken.
    pub(super) fn finish(self) -> Result<(), InterchangeError> {
        if self.tensors.is_empty() {
            Ok(())
        } else {
            Err(InterchangeError::Unwanted(self.tensors.into_keys().collect()))
        }
    }
}

/// Compares the checksum in the metadata with that of the bytes.
fn check(bytes: &[u8], stored: Option<&String>) -> Result<(), InterchangeError> {
    let at = checksum_position(bytes).ok_or(InterchangeError::Checksum)?;
    let mut crc = crc32fast::Hasher::new();
    crc.update(&bytes[..at]);
    crc.update(ZEROS.as_bytes());
    crc.update(&bytes[at + ZEROS.len()..]);
    if stored == Some(&format!("{:08x}", crc.finalize())) { Ok(()) } else { Err(InterchangeError::Checksum) }
}

/// Two entries of one name, at any depth, would show different things to different readers.
fn refuse_duplicates(header: &[u8]) -> Result<(), InterchangeError> {
    struct Unique;
    impl<'de> serde::Deserialize<'de> for Unique {
        fn deserialize<D: serde::Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
            reader.deserialize_any(Unique)
        }
    }
    impl<'de> serde::de::Visitor<'de> for Unique {
        type Value = Self;
        fn expecting(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
            f.write_str("a table of tensors")
        }
        fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
            let mut seen = std::collections::HashSet::new();
            while let Some(name) = map.next_key::<String>()? {
                map.next_value::<Unique>()?;
                if let Some(name) = seen.replace(name) {
                    let name = super::shown(&name);
                    return Err(serde::de::Error::custom(format!("{name} stands twice in the header")));
                }
            }
            Ok(self)
        }
        fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Self, A::Error> {
            while seq.next_element::<Unique>()?.is_some() {}
            Ok(self)
        }
        fn visit_str<E>(self, _: &str) -> Result<Self, E> {
            Ok(self)
        }
        fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
            Ok(self)
        }
        fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
            Ok(self)
        }
        fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
            Ok(self)
        }
        fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
            Ok(self)
        }
        fn visit_unit<E>(self) -> Result<Self, E> {
            Ok(self)
        }
    }
    serde_json::from_slice::<Unique>(header).map(drop).map_err(format_error)
}

fn values(name: &str, view: &TensorView<'_>) -> Result<Vec<f32>, InterchangeError> {
    let data = view.data();
    let values = match view.dtype() {
        Dtype::F32 => data.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
        Dtype::F64 => data.as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes) as f32).collect(),
        Dtype::F16 => data.as_chunks::<2>().0.iter().map(|bytes| half::f16::from_le_bytes(*bytes).to_f32()).collect(),
        Dtype::BF16 => data.as_chunks::<2>().0.iter().map(|bytes| half::bf16::from_le_bytes(*bytes).to_f32()).collect(),
        other => {
            let problem = format!("is of type {other:?}, a floating-point type is wanted");
            return Err(InterchangeError::Value { name: name.to_string(), problem });
        }
    };
    sound(name, values)
}

/// No NaN, no infinity: a network with one of them answers nothing else.
fn sound(name: &str, values: Vec<f32>) -> Result<Vec<f32>, InterchangeError> {
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(values),
        Some(at) => {
            let problem = format!("has {} as value {at} (counted from 0), it must be finite in 32 bits", values[at]);
            Err(InterchangeError::Value { name: name.to_string(), problem })
        }
    }
}

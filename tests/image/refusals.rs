//! One cause for each error.

use evenkeel::image::{ImageError, checksum};

use crate::exercise::image::mend;
use crate::{everything, refused};

/// One cause for each error, with the checksum mended where it is not the cause.
#[test]
fn every_refusal_is_typed() {
    let seed = everything();
    let with = |at: usize, bytes: &[u8]| {
        let mut copy = seed.to_vec();
        copy[at..at + bytes.len()].copy_from_slice(bytes);
        let sum = checksum(&copy);
        copy[16..20].copy_from_slice(&sum.to_le_bytes());
        refused(&copy)
    };
    let header = |field| ImageError::Header { field };
    let record = |op, field| ImageError::Record { op, field };
    assert_eq!(refused(&[]), ImageError::TooShort { len: 0 });
    assert_eq!(refused(&seed[..63]), ImageError::TooShort { len: 63 });
    assert_eq!(refused(&[0; 64]), ImageError::Magic);
    assert_eq!(
        refused(b"PK\x03\x04 a zip file that is longer than the sixty-four bytes of a header"),
        ImageError::Magic
    );
    assert_eq!(with(4, &[0, 0]), ImageError::FormatVersion { found: 0 });
    assert_eq!(with(4, &[0, 1]), ImageError::FormatVersion { found: 256 });
    assert_eq!(with(6, &[2, 0]), ImageError::NumericContract { found: 2 });
    let found = seed.len() as u64;
    assert_eq!(with(8, &[0xff; 8]), ImageError::Length { declared: u64::MAX, found });
    let mut copy = seed.to_vec();
    copy[70] ^= 1;
    assert!(matches!(refused(&copy), ImageError::Checksum { .. }));

    let huge = &[0xff; 4];
    assert_eq!(with(20, huge), header("number of operations"));
    assert_eq!(with(24, &[0; 4]), header("inputs"));
    assert_eq!(with(28, huge), header("outputs"));
    assert_eq!(with(32, &[0; 4]), header("row length of the scratch"));
    assert_eq!(with(36, &[2]), header("flags"));
    assert_eq!(with(40, huge), header("offset of operations"));
    assert_eq!(with(44, huge), header("offset of metadata"));
    assert_eq!(with(48, huge), header("offset of payload"));
    assert_eq!(with(52, huge), header("offset of payload"));
    assert_eq!(with(63, &[1]), header("reserved"));
    assert_eq!(with(24, &[5]), ImageError::Widths { op: 0, given: 5, wanted: 4 });
    assert_eq!(with(28, &[4]), ImageError::Metadata);

    // Operation 0 is the scale and shift of the inputs, 1 SiLU, 2 scale and shift, 3 leaky ReLU, then dense.
    let at = |op: usize| 64 + 32 * op;
    assert_eq!(with(at(0), &[0]), record(0, "kind"));
    assert_eq!(with(at(0), &[8]), record(0, "kind"));
    assert_eq!(with(at(0) + 1, &[1]), record(0, "type of weights"));
    assert_eq!(with(at(4) + 1, &[2]), record(4, "type of weights"));
    assert_eq!(with(at(0) + 2, &[1]), record(0, "activation"));
    assert_eq!(with(at(1) + 2, &[0]), record(1, "activation"));
    assert_eq!(with(at(1) + 2, &[18]), record(1, "activation"));
    // Codes of version 2 in an image of version 1, and the other way round.
    assert_eq!(with(at(1) + 2, &[7]), header("format version"));
    assert_eq!(with(4, &[2, 0]), header("format version"));
    assert_eq!(with(4, &[3, 0]), ImageError::FormatVersion { found: 3 });
    assert_eq!(with(at(1) + 3, &[1]), record(1, "reserved"));
    assert_eq!(with(at(1) + 4, &1_f32.to_le_bytes()), record(1, "parameter of the activation"));
    for slope in [-1.0, -0.0, f32::INFINITY, f32::NAN] {
        assert_eq!(with(at(3) + 4, &slope.to_le_bytes()), record(3, "parameter of the activation"));
    }
    assert_eq!(with(at(1) + 8, huge), record(1, "inputs"));
    assert_eq!(with(at(1) + 12, &[0; 4]), record(1, "outputs"));
    assert_eq!(with(at(1) + 12, &[5]), record(1, "outputs"));
    assert_eq!(with(at(1) + 16, &[64]), record(1, "offset of weights"));
    assert_eq!(with(at(1) + 24, &[64]), record(1, "offset of bias"));
    assert_eq!(with(at(0) + 24, &[64]), record(0, "offset of bias"));
    assert_eq!(with(at(4) + 8, &[5]), ImageError::Widths { op: 4, given: 4, wanted: 5 });
    assert_eq!(with(at(4) + 16, &[0; 8]), ImageError::Section { op: 4, part: "weights" });
    assert_eq!(with(at(4) + 16, &[0xff; 8]), ImageError::Section { op: 4, part: "weights" });
    assert_eq!(with(at(5) + 24, &[0xff; 8]), ImageError::Section { op: 5, part: "bias" });
    assert_eq!(with(at(0) + 16, &[0; 8]), ImageError::Section { op: 0, part: "scale and shift" });

    let offset = |at: usize| u64::from_le_bytes(seed[at..at + 8].try_into().unwrap()) as usize;
    let non_finite = |op, part, index| ImageError::NonFinite { op, part, index };
    let (scale, weights, wide, bias) = (offset(at(0) + 16), offset(at(4) + 16), offset(at(5) + 16), offset(at(5) + 24));
    assert_eq!(with(scale + 4 * 17, &f32::INFINITY.to_le_bytes()), non_finite(0, "scale and shift", 17));
    assert_eq!(with(weights + 2 * 3, &0x7c00_u16.to_le_bytes()), non_finite(4, "weights", 3));
    assert_eq!(with(weights + 2 * 3, &0xfe01_u16.to_le_bytes()), non_finite(4, "weights", 3));
    assert_eq!(with(wide + 4 * 5, &f32::NAN.to_le_bytes()), non_finite(5, "weights", 5));
    assert_eq!(with(bias + 4 * 16, &f32::NEG_INFINITY.to_le_bytes()), non_finite(5, "bias", 16));
    // Lanes of no output: six outputs lie in eight lanes; seventeen in sixteen and four, the last panel after 6 × 16.
    assert_eq!(with(weights + 2 * (8 + 6), &[1]), ImageError::Padding);
    assert_eq!(with(wide + 4 * (6 * 16 + 5 * 4 + 3), &[1]), ImageError::Padding);
    assert_eq!(with(bias + 4 * 17, &[1]), ImageError::Padding);
    assert_eq!(with(scale + 4 * (16 + 4), &[1]), ImageError::Padding);
    assert_eq!(with(wide - 1, &[1]), ImageError::Padding);

    let metadata = u32::from_le_bytes(seed[44..48].try_into().unwrap()) as usize;
    assert_eq!(with(metadata, &[2]), ImageError::Metadata);
    assert_eq!(with(metadata, huge), ImageError::Metadata);
    assert_eq!(with(metadata + 4, huge), ImageError::Metadata);
    assert_eq!(with(metadata + 4, &[4]), ImageError::Metadata);
    assert_eq!(with(metadata + 8, &[0xff]), ImageError::Text);
    // Cutting a character in two.
    assert_eq!(with(48, &[seed[48] - 1]), ImageError::Metadata);
    // An image without its last section.
    let mut short = seed[..seed.len() - 64].to_vec();
    mend(&mut short);
    assert!(matches!(refused(&short), ImageError::Section { part: "bias", .. }));
    let mut long = [&seed, &[0; 64][..]].concat();
    mend(&mut long);
    assert_eq!(refused(&long), header("length"));
}

//! Damage of every kind, and what somebody might make of an image.

use std::collections::BTreeSet;

use evenkeel::export::Options;
use evenkeel::image::{Image, ImageError};
use evenkeel::layer::Layer;

use crate::exercise::image::{mend, view};
use crate::{Random, image_of, refused, seeds, small};

/// H2: every truncation, every changed byte, every edit of a thousand bytes.
#[test]
fn all_damage_is_refused() {
    let small = small();
    let mut copy = small.clone();
    for at in 0..copy.len() {
        for change in 1..=255 {
            copy[at] = small[at] ^ change;
            assert!(Image::new(&copy).is_err(), "byte {at} changed by {change:02x}");
        }
        copy[at] = small[at];
    }
    assert!(copy == small && Image::new(&copy).is_ok());
    let changes = 255 * small.len();

    let large = image_of(40, &[Layer::dense(100), Layer::dense(10)], &Options::default());
    let mut copy = large.clone();
    let mut random = Random(2);
    for at in 0..copy.len() {
        copy[at] ^= 1 + random.below(255) as u8;
        assert!(Image::new(&copy).is_err(), "byte {at}");
        copy[at] = large[at];
    }
    let mut truncations = 0;
    for image in [&small, &large] {
        for len in 0..image.len() {
            assert!(Image::new(&image[..len]).is_err(), "{len} of {}", image.len());
            truncations += 1;
        }
        let longer = [image, &[0][..]].concat();
        assert!(matches!(refused(&longer), ImageError::Length { .. }));
    }
    for _ in 0..2000 {
        let mut copy = large.clone();
        for _ in 0..1000 {
            let at = random.below(copy.len());
            copy[at] ^= 1 + random.below(255) as u8;
        }
        assert!(Image::new(&copy).is_err());
    }
    println!(
        "refused: {changes} single bytes (all of {}), {} (one change each of {}), {truncations} truncations, 2000 edits of 1000 bytes",
        small.len(),
        large.len(),
        large.len()
    );
}

/// H1: fields and values set to what hurts, the checksum mended: a typed error or an image that runs.
#[test]
fn mended_corruption_is_refused_or_runs() {
    const INTERESTING: [u64; 22] = [
        0,
        1,
        2,
        3,
        4,
        5,
        6,
        7,
        15,
        16,
        17,
        32,
        63,
        64,
        65,
        0x10_0000,
        0x10_0001,
        0x7f80_0000,
        0x7fff_ffff,
        0xffff_ffff,
        0x8000_0000_0000_0000,
        u64::MAX,
    ];
    let seeds = seeds();
    let mut random = Random(3);
    let (mut valid, mut kinds) = (0, BTreeSet::new());
    const CASES: usize = 60_000;
    for case in 0..CASES {
        let mut bytes = seeds[case % seeds.len()].1.to_vec();
        let records = 64..u32::from_le_bytes(bytes[44..48].try_into().unwrap()) as usize;
        for _ in 0..1 + random.below(3) {
            // Half the cases in header and records, on field boundaries.
            let at = match random.below(6) {
                0 => 20 + 4 * random.below(11),
                1 | 2 if !records.is_empty() => records.start + 4 * random.below(records.len() / 4),
                _ => random.below(bytes.len()),
            };
            let width = [1, 2, 4, 8][random.below(4)];
            let end = (at + width).min(bytes.len());
            let mut word = [0; 8];
            word[..end - at].copy_from_slice(&bytes[at..end]);
            let old = u64::from_le_bytes(word);
            let new = match random.below(5) {
                0 | 1 => INTERESTING[random.below(INTERESTING.len())],
                2 => old.wrapping_add(1),
                3 => old.wrapping_sub(1),
                _ => random.bits(),
            };
            bytes[at..end].copy_from_slice(&new.to_le_bytes()[..end - at]);
        }
        if random.below(8) == 0 {
            bytes.truncate(random.below(bytes.len() + 1));
        } else if random.below(8) == 0 {
            let more = bytes.len() + random.below(200);
            bytes.resize(more, random.below(3) as u8);
        }
        mend(&mut bytes);
        match view(&bytes) {
            Ok(()) => valid += 1,
            Err(error) => {
                assert!(!matches!(error, ImageError::Checksum { .. } | ImageError::Length { .. } | ImageError::Magic));
                kinds.insert(format!("{error:?}").split_whitespace().next().unwrap().to_owned());
            }
        }
    }
    println!("{CASES} cases, {valid} of them images, the others refused as {kinds:?}");
    assert!(valid > 1000 && kinds.len() >= 8);
}

//! The same bits as on the host: inference and training of stored recipes, compared with stored results.
//!
//! On every level of the machine. Where a multiply-add rounds once each value must have the stored bits, else each must
//! lie within a bound. Prints a line for each level; ends with status 0 or 1. The smallest board (Cortex-M0, 16 KiB) has
//! recipes of its own, the others run those and larger ones.
#![no_std]
#![no_main]

mod runs;

use board::println;
use evenkeel::{Error, Image, Level, Net, image::Aligned};
use runs::golden::Comparison;

board::start!(run);

/// An image that the compiler has checked.
macro_rules! image {
    ($file:literal) => {{
        const BYTES: &Aligned<[u8]> = &Aligned(*include_bytes!($file));
        const NET: Net<'static> = match Image::from_aligned(BYTES) {
            Ok(image) => Net::new(image),
            Err(_) => panic!("the image is damaged"),
        };
        NET
    }};
}

static NETS: [Net<'static>; runs::IMAGES.len()] = [
    image!("../images/plain-f32.keel"),
    image!("../images/plain-f16.keel"),
    image!("../images/every-f32.keel"),
    image!("../images/every-f16.keel"),
    image!("../images/wide-f32.keel"),
    image!("../images/wide-f16.keel"),
];

const SMALL: &[u8] = include_bytes!("../small.golden");

/// Everything that the boards with more memory run.
#[cfg(not(small))]
mod size {
    pub(crate) const MEMORY: usize = if super::runs::LARGE_MEMORY > super::runs::SMALL_MEMORY {
        super::runs::LARGE_MEMORY
    } else {
        super::runs::SMALL_MEMORY
    };
    pub(crate) const LARGE: Option<&[u8]> = Some(include_bytes!("../large.golden"));
}

#[cfg(small)]
mod size {
    pub(crate) const MEMORY: usize = super::runs::SMALL_MEMORY;
    pub(crate) const LARGE: Option<&[u8]> = None;
}

fn run() -> bool {
    let mut memory = [0.0; size::MEMORY];
    let mut passed = true;
    for level in Level::available() {
        let mut comparison = Comparison::new(level.name(), level.is_exact(), SMALL);
        match all(level, &mut memory, &mut comparison) {
            Ok(()) => println!("{comparison}"),
            Err(error) => println!("golden, {level}: {error}"),
        }
        passed &= comparison.passed();
    }
    passed
}

fn all<'g>(level: Level, memory: &mut [f32], comparison: &mut Comparison<'g>) -> Result<(), Error> {
    runs::small(level, &NETS, memory, comparison)?;
    if let Some(large) = size::LARGE {
        comparison.go_on(large);
        runs::large(level, memory, comparison)?;
    }
    Ok(())
}

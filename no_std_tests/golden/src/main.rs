//! The same bits as on the host: inference and training of stored recipes, compared with stored results.
//!
//! On every level of the machine. Where a multiply-add rounds once each value must have the stored bits, else each must
//! lie within a bound. Prints a line for each level; ends with status 0 or 1. The feature `images` alone is for the smallest
//! board (Cortex-M0, 256 KiB of flash and 16 KiB of RAM).
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

const IMAGES: &[u8] = include_bytes!("../images.golden");
const TRAINING: &[u8] = include_bytes!("../training.golden");
/// As much memory as the most demanding run takes.
const MEMORY: usize = {
    let training = if cfg!(feature = "training") { runs::TRAINING_MEMORY } else { 0 };
    if training > runs::IMAGES_MEMORY { training } else { runs::IMAGES_MEMORY }
};

fn run() -> bool {
    let mut memory = [0.0; MEMORY];
    let mut passed = true;
    for level in Level::available() {
        let mut comparison = Comparison::new(level.name(), level.is_exact());
        match all(level, &mut memory, &mut comparison) {
            Ok(()) => println!("{comparison}"),
            Err(error) => println!("golden, {level}: {error}"),
        }
        passed &= comparison.passed();
    }
    passed
}

fn all(level: Level, memory: &mut [f32], comparison: &mut Comparison<'_>) -> Result<(), Error> {
    if cfg!(feature = "images") {
        comparison.go_on(IMAGES);
        runs::images(level, &NETS, memory, comparison)?;
    }
    if cfg!(feature = "training") {
        comparison.go_on(TRAINING);
        runs::training(level, memory, comparison)?;
    }
    Ok(())
}

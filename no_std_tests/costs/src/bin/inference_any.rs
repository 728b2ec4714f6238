//! Any image, checked when it comes, any number of rows.
#![no_std]
#![no_main]

#[path = "../bare.rs"]
mod bare;

use core::hint::black_box;

use evenkeel::image::Aligned;
use evenkeel::{Image, Level, Net, Serial};

static BYTES: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/digits-f32.keel")));

fn main() {
    let input = black_box([0.5; 64]);
    let (mut output, mut scratch) = ([0.0; 10], [0.0; 128]);
    let done = match Image::new(black_box(&BYTES.0)) {
        Ok(image) => Net::new(image).infer(Level::detect(), &Serial, &input, &mut output, &mut scratch).is_ok(),
        Err(_) => false,
    };
    black_box((done, output));
}

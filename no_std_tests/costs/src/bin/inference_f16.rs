//! As `inference`, with weights in half precision.
#![no_std]
#![no_main]

#[path = "../bare.rs"]
mod bare;
#[path = "../digits.rs"]
mod digits;

use core::hint::black_box;

use evenkeel::Level;
use evenkeel::image::Aligned;

digits::network!("digits-f16.keel");

fn main() {
    infer();
}

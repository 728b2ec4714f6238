//! One row through a dense network with ReLU, whose image the compiler has checked.
#![no_std]
#![no_main]

#[path = "../bare.rs"]
mod bare;
#[path = "../digits.rs"]
mod digits;

use core::hint::black_box;

use evenkeel::Level;
use evenkeel::image::Aligned;

digits::network!("digits-f32.keel");

fn main() {
    infer();
}

//! Inference of one row, and training of a network with batch norm and dropout by Adam.
#![no_std]
#![no_main]

#[path = "../bare.rs"]
mod bare;
#[path = "../digits.rs"]
mod digits;
#[path = "../step.rs"]
mod step;

use core::hint::black_box;

use evenkeel::Level;
use evenkeel::image::Aligned;

digits::network!("digits-f32.keel");

fn main() {
    infer();
    let mut memory = step::Memory::NEW;
    for number in 0..10 {
        let loss = step::step(Level::detect(), &mut memory, &black_box([0.5; 32]), number);
        black_box(loss.ok());
    }
}

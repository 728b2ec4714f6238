//! How many instructions and how much stack inference of one row takes, counted by the emulator.
//!
//! Run by `scripts/firmware-costs`, with the emulator's clock tied to the instructions; the numbers are no cycles.
#![no_std]
#![no_main]

#[path = "../board.rs"]
mod board;
#[path = "../meter.rs"]
mod meter;

use evenkeel::image::{Aligned, uses};
use evenkeel::infer::Single;
use evenkeel::{Image, Level};
use semihosting::println;

/// The images; the larger ones where the board has the flash.
macro_rules! images {
    ($($(#[$meta:meta])* $name:literal, $macs:expr;)*) => {
        [$($(#[$meta])* ($name, $macs, {
            static IMAGE: &Aligned<[u8]> =
                &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/", $name, ".keel")));
            &IMAGE.0
        }),)*]
    };
}

/// Dense layers with ReLU, in either precision.
type Dense<'a> = Single<'a, { uses::DENSE_F32 | uses::DENSE_F16 | uses::RELU }>;

#[cfg(large)]
const AD01: u32 = 640 * 128 + 3 * 128 * 128 + 128 * 8 + 8 * 128 + 3 * 128 * 128 + 128 * 640;
const DIGITS: u32 = 64 * 64 + 64 * 10;
/// The widest row, and the scratch for it.
#[cfg(large)]
const WIDTHS: (usize, usize) = (640, 1280);
#[cfg(not(large))]
const WIDTHS: (usize, usize) = (64, 128);

fn main() {
    let images: &[(&str, u32, &[u8])] = &images! {
        #[cfg(large)] "ad01-f32", AD01;
        #[cfg(large)] "ad01-f16", AD01;
        "digits-f32", DIGITS;
        "digits-f16", DIGITS;
    };
    let mut meter = meter::Meter::new();
    let level = Level::detect();
    println!("level {level}");
    for (name, macs, bytes) in images {
        let Ok(net) = Image::new(bytes).map(Dense::new) else { panic!("{name} is damaged") };
        let Ok(net) = net else { panic!("{name} has other operations than dense and ReLU") };
        let (mut input, mut output, mut scratch) = ([0.0; WIDTHS.0], [0.0; WIDTHS.0], [0.0; WIDTHS.1]);
        for (i, x) in input.iter_mut().enumerate() {
            *x = (i % 16) as f32 / 16.0 - 0.3;
        }
        let (input, output) = (&input[..net.image().inputs()], &mut output[..net.image().outputs()]);
        let mut refused = false;
        let mut infer = || refused |= net.infer(level, input, output, &mut scratch).is_err();
        let instructions = meter.instructions(&mut infer);
        let stack = meter::stack(&mut infer);
        if refused || !output.iter().any(|y| *y != 0.0) {
            panic!("{name}: no answer");
        }
        println!("{name}: {instructions} instructions for {macs} multiply-adds, {stack} bytes of stack");
    }
}

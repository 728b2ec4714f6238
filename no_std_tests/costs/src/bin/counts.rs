//! How many instructions and how much stack inference of one row takes, counted by the emulator.
//!
//! Run by `scripts/firmware-costs`, with the emulator's clock tied to the instructions; the numbers are no cycles.
#![no_std]
#![no_main]

#[path = "../meter.rs"]
mod meter;

use evenkeel::image::{Aligned, uses};
use evenkeel::infer::Single;
use evenkeel::{Image, Level};
use semihosting::{println, process};

#[cfg(target_arch = "arm")]
use cortex_m_rt::entry;
#[cfg(target_arch = "riscv32")]
use riscv_rt::entry;

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    println!("{info}");
    process::exit(1)
}

/// A fault must end the program, not hang the emulator.
#[cfg(target_arch = "arm")]
#[cortex_m_rt::exception]
unsafe fn HardFault(frame: &cortex_m_rt::ExceptionFrame) -> ! {
    println!("hard fault at {:#x}", frame.pc());
    process::exit(1)
}

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

const AD01: u32 = 640 * 128 + 3 * 128 * 128 + 128 * 8 + 8 * 128 + 3 * 128 * 128 + 128 * 640;
const DIGITS: u32 = 64 * 64 + 64 * 10;

#[entry]
fn main() -> ! {
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
        let mut input = [0.0; 640];
        let (mut output, mut scratch) = ([0.0; 640], [0.0; 1280]);
        for (i, x) in input.iter_mut().enumerate() {
            *x = (i % 16) as f32 / 16.0 - 0.3;
        }
        let (input, output) = (&input[..net.image().inputs()], &mut output[..net.image().outputs()]);
        let mut refused = false;
        let mut infer = || refused |= net.infer(level, input, output, &mut scratch).is_err();
        let instructions = meter.instructions(&mut infer);
        let stack = meter::stack(&mut infer);
        if refused || !output.iter().any(|y| *y != 0.0) {
            println!("{name}: no answer");
            process::exit(1)
        }
        let thousandths = u64::from(instructions) * 1000 / u64::from(*macs);
        println!(
            "{name}: {instructions} instructions, {}.{:03} for each of {macs} multiply-adds, {stack} bytes of stack",
            thousandths / 1000,
            thousandths % 1000
        );
    }
    process::exit(0)
}

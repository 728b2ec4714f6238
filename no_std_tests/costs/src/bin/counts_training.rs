//! How many instructions and how much stack a step of training takes, counted by the emulator.
#![no_std]
#![no_main]

#[path = "../board.rs"]
mod board;
#[path = "../meter.rs"]
mod meter;
#[path = "../step.rs"]
mod step;

use evenkeel::Level;
use semihosting::println;

fn main() {
    let mut meter = meter::Meter::new();
    let level = Level::detect();
    println!("level {level}");
    let mut memory = step::Memory::NEW;
    let inputs: [f32; 32] = core::array::from_fn(|i| (i * 7 % 13) as f32 / 8.0);
    let mut learned = true;
    let mut step = || learned &= step::step(level, &mut memory, &inputs, 0).is_ok();
    let instructions = meter.instructions(&mut step);
    let stack = meter::stack(&mut step);
    if !learned {
        panic!("training was refused");
    }
    println!(
        "training-step: {instructions} instructions, {stack} bytes of stack, {} of memory",
        size_of::<step::Memory>()
    );
}

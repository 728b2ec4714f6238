//! The core ring on a bare machine: no allocator, no operating system. That it links is half of the test.
//!
//! Prints each level, each check that failed and the count; ends with status 0 or 1 by semihosting.
#![no_std]
#![no_main]

mod checks;

use evenkeel::Level;
use semihosting::{println, process};

#[cfg(target_arch = "arm")]
use cortex_m_rt::entry;
#[cfg(target_arch = "riscv32")]
use riscv_rt::entry;

/// A fault must end the program, not hang the emulator.
#[cfg(target_arch = "arm")]
#[cortex_m_rt::exception]
unsafe fn HardFault(frame: &cortex_m_rt::ExceptionFrame) -> ! {
    println!("hard fault at {:#x}", frame.pc());
    process::exit(1)
}

#[entry]
fn main() -> ! {
    let (mut passed, mut failed) = (0, 0);
    for level in Level::available() {
        println!("level {level}, {}", if level.is_exact() { "exact" } else { "rounding twice" });
        checks::all(level, &mut |outcome| {
            if outcome.got == outcome.expected {
                passed += 1;
            } else {
                failed += 1;
                println!("{}: got {:#010x}, expected {:#010x}", outcome.name, outcome.got, outcome.expected);
            }
        });
    }
    println!("{passed} passed, {failed} failed");
    process::exit(i32::from(failed != 0))
}

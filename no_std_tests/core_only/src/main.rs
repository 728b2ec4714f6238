//! The core ring on a bare machine: no allocator, no operating system. That it links is half of the test.
//!
//! Prints each level, each check that failed and the count; ends with status 0 or 1.
#![no_std]
#![no_main]

mod checks;

use board::println;
use evenkeel::Level;

board::start!(run);

fn run() -> bool {
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
    println!("core_only: {passed} checks passed, {failed} failed");
    failed == 0
}

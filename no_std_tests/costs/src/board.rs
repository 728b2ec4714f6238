//! What a measuring program stands on: start-up code, and words and an exit code for the emulator's host.

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

#[entry]
fn start() -> ! {
    super::main();
    process::exit(0)
}

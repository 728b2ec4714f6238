//! What a program of known size stands on: its board's start-up code, and a handler that drops the message of a panic.

#[cfg(target_arch = "arm")]
use cortex_m_rt::entry;
#[cfg(target_arch = "riscv32")]
use riscv_rt::entry;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {
        core::hint::spin_loop();
    }
}

#[entry]
fn start() -> ! {
    super::main();
    loop {
        core::hint::spin_loop();
    }
}

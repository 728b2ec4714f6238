//! `libevenkeel.a`: the functions of `include/evenkeel.h` for a C linker.
//!
//! ```sh
//! cargo build --release --target thumbv7em-none-eabihf    # firmware: no heap, no operating system
//! cargo build --release --features std                    # this machine: instructions chosen at run time
//! ```
#![cfg_attr(not(feature = "std"), no_std)]
#![forbid(unsafe_code)]

// The functions are the engine's; naming it here links it.
pub use engine::ffi;

/// Where a defect of the library would end, as no function panics on what it is given: a watchdog finds it.
#[cfg(not(feature = "std"))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {
        core::hint::spin_loop();
    }
}

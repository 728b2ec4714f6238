//! What the bare-metal programs share: where they start, how they print and how they end.
//!
//! A program names its function with [`start!`]; whether that returns true is its exit status. On Arm and RISC-V
//! printing and ending go through semihosting, so the emulator's exit status is the program's own. On WebAssembly the
//! host gives a function that takes a byte (`run-wasm`). The memory map of the board is `build.rs`'s.
#![no_std]

#[cfg(target_arch = "arm")]
#[doc(hidden)]
pub use cortex_m_rt::entry;
#[cfg(target_arch = "riscv32")]
#[doc(hidden)]
pub use riscv_rt::entry;

#[cfg(target_os = "none")]
pub use semihosting::{print, println};

/// Ends the program.
#[cfg(target_os = "none")]
pub fn exit(passed: bool) -> ! {
    semihosting::process::exit(i32::from(!passed))
}

/// A fault must end the program, not hang the emulator.
#[cfg(target_arch = "arm")]
#[cortex_m_rt::exception]
unsafe fn HardFault(_: &cortex_m_rt::ExceptionFrame) -> ! {
    semihosting::process::exit(3)
}

/// `start!(run)`: the program is `fn run() -> bool`, which says whether all went well.
#[cfg(target_os = "none")]
#[macro_export]
macro_rules! start {
    ($run:path) => {
        #[$crate::entry]
        fn main() -> ! {
            $crate::exit($run())
        }
    };
}

/// `start!(run)`: the program is `fn run() -> bool`, which says whether all went well.
#[cfg(target_arch = "wasm32")]
#[macro_export]
macro_rules! start {
    ($run:path) => {
        #[unsafe(export_name = "run")]
        extern "C" fn start_of_the_program() -> i32 {
            i32::from(!$run())
        }
    };
}

#[cfg(target_arch = "wasm32")]
mod wasm {
    use core::fmt;

    #[link(wasm_import_module = "host")]
    unsafe extern "C" {
        /// Prints a byte.
        safe fn put(byte: u32);
    }

    /// Where `println!` writes.
    pub struct Console;

    impl fmt::Write for Console {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            text.bytes().for_each(|byte| put(u32::from(byte)));
            Ok(())
        }
    }

    /// Prints where it was and traps: the host then ends with a failure.
    #[cfg(feature = "panic")]
    #[panic_handler]
    fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
        crate::println!("{info}");
        core::arch::wasm32::unreachable()
    }
}

#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub use wasm::Console;

/// Prints a line.
#[cfg(target_arch = "wasm32")]
#[macro_export]
macro_rules! println {
    ($($argument:tt)*) => {{
        use core::fmt::Write as _;
        let _written = writeln!($crate::Console, $($argument)*);
    }};
}

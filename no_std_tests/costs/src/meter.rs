//! Counts instructions by the board's clock, and bytes of stack by painting it.

use core::hint::black_box;

/// The clock, and how fast it runs.
pub(crate) struct Meter {
    clock: Clock,
    /// Ticks of [`LOOP`] instructions.
    calibration: u32,
}

/// Instructions of the loop that the clock is compared with.
const LOOP: u32 = 1_000_000;

impl Meter {
    pub(crate) fn new() -> Self {
        let mut meter = Self { clock: Clock::new(), calibration: 1 };
        meter.calibration = meter.ticks(&mut || known_loop(LOOP / 2));
        meter
    }

    /// Instructions of `work`, to about two.
    pub(crate) fn instructions(&mut self, work: &mut dyn FnMut()) -> u32 {
        let ticks = u64::from(self.ticks(work));
        let rest = u64::from(self.calibration) / 2;
        ((ticks * u64::from(LOOP) + rest) / u64::from(self.calibration)) as u32
    }

    fn ticks(&mut self, work: &mut dyn FnMut()) -> u32 {
        let begin = self.clock.now();
        work();
        self.clock.since(begin)
    }
}

/// Two instructions, `turns` times.
#[inline(never)]
fn known_loop(turns: u32) {
    // SAFETY: counts a register down to zero and touches nothing else.
    unsafe {
        #[cfg(target_arch = "arm")]
        core::arch::asm!("2:", "subs {n}, {n}, #1", "bne 2b", n = inout(reg) turns => _, options(nomem, nostack));
        #[cfg(target_arch = "riscv32")]
        core::arch::asm!("2:", "addi {n}, {n}, -1", "bnez {n}, 2b", n = inout(reg) turns => _, options(nomem, nostack));
    }
}

/// SysTick: 24 bits, at the core's clock.
#[cfg(target_arch = "arm")]
struct Clock(cortex_m::peripheral::SYST);

#[cfg(target_arch = "arm")]
impl Clock {
    fn new() -> Self {
        use cortex_m::peripheral::{Peripherals, syst::SystClkSource};
        let Some(mut peripherals) = Peripherals::take() else { panic!("the clock is taken once") };
        peripherals.SYST.set_clock_source(SystClkSource::Core);
        peripherals.SYST.set_reload(0x00ff_ffff);
        peripherals.SYST.clear_current();
        peripherals.SYST.enable_counter();
        Self(peripherals.SYST)
    }

    fn now(&mut self) -> u32 {
        // From the top again, so that the longest work fits; the flag tells whether it did.
        self.0.clear_current();
        let _ = self.0.has_wrapped();
        cortex_m::peripheral::SYST::get_current()
    }

    fn since(&mut self, begin: u32) -> u32 {
        let now = cortex_m::peripheral::SYST::get_current();
        begin.wrapping_sub(now) & 0x00ff_ffff
    }
}

/// The cycle counter, which the emulator advances by instructions.
#[cfg(target_arch = "riscv32")]
struct Clock;

#[cfg(target_arch = "riscv32")]
impl Clock {
    fn new() -> Self {
        Self
    }

    fn now(&mut self) -> u32 {
        riscv::register::mcycle::read() as u32
    }

    fn since(&mut self, begin: u32) -> u32 {
        self.now().wrapping_sub(begin)
    }
}

/// Bytes of stack that `work` takes, its caller's frame not counted.
///
/// The stack below is painted, then the deepest place that lost its paint is found. The paint is a word that no
/// activation is likely to be.
#[inline(never)]
pub(crate) fn stack(work: &mut dyn FnMut()) -> usize {
    const PAINT: u32 = 0xa5c3_96e1;
    const WORDS: usize = if cfg!(large) { 8192 } else { 1536 };
    let top: *mut u32;
    // SAFETY: reads a register.
    unsafe {
        #[cfg(target_arch = "arm")]
        core::arch::asm!("mov {}, sp", out(reg) top, options(nomem, nostack));
        #[cfg(target_arch = "riscv32")]
        core::arch::asm!("mv {}, sp", out(reg) top, options(nomem, nostack));
    }
    let bottom = top.wrapping_sub(WORDS);
    for word in 0..WORDS {
        // SAFETY: free stack, below everything that is in use and above the static data, which all boards have room
        // for: no interrupt is enabled, and this loop calls nothing.
        unsafe { bottom.add(word).write_volatile(PAINT) };
    }
    black_box(work)();
    // SAFETY: as above; what was written there is plain words.
    let untouched = (0..WORDS).take_while(|word| unsafe { bottom.add(*word).read_volatile() } == PAINT).count();
    if untouched == 0 {
        panic!("more than {} bytes of stack", 4 * WORDS);
    }
    4 * (WORDS - untouched)
}

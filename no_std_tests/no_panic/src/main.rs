//! No panic is linked into inference: this program checks an image and runs it, and has no symbol of a panic.
//!
//! The image and the rows are hidden from the compiler, so what it leaves out it leaves out for any image: every operation,
//! `f32` and `f16` weights, one row and several. `scripts/cross-tests` builds it for release, looks for symbols, and
//! runs it: that it ends with 0 says that the outputs are right. With the feature `panicking` a symbol must be found.
#![no_std]
#![no_main]

use core::hint::black_box;

use evenkeel::{Image, Level, Net, Serial, image::Aligned};

board::start!(run);

const BYTES: &Aligned<[u8]> = &Aligned(*include_bytes!("../../golden/images/every-f32.keel"));
const ROWS: usize = 2;

/// Never linked.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    board::exit(false)
}

/// Runs the image row by row and all rows at once, which must give the same.
fn run() -> bool {
    let (mut input, mut outputs, mut scratch) = ([0.0; 128], [[0.0; 128]; 2], [0.0; 1024]);
    for (at, x) in (0_u8..).zip(&mut input) {
        *x = f32::from(at % 13) - 6.0;
    }
    infer(black_box(&BYTES.0), black_box(&mut input), black_box(&mut outputs), black_box(&mut scratch)).is_some()
}

#[inline(never)]
fn infer(bytes: &[u8], input: &mut [f32], outputs: &mut [[f32; 128]; 2], scratch: &mut [f32]) -> Option<()> {
    let net = Net::new(Image::new(bytes).ok()?);
    let [one, all] = outputs;
    let (one, all) = (one.get_mut(..ROWS * net.outputs())?, all.get_mut(..ROWS * net.outputs())?);
    let input = input.get(..ROWS * net.inputs())?;
    for level in Level::available() {
        for (input, output) in input.chunks(net.inputs().max(1)).zip(one.chunks_mut(net.outputs().max(1))) {
            net.infer(level, &Serial, input, output, scratch).ok()?;
        }
        net.infer(level, &Serial, input, all, scratch).ok()?;
        let same = one.iter().zip(&*all).all(|(one, all)| one.to_bits() == all.to_bits());
        let sound = same && one.iter().any(|value| *value != 0.0) && one.iter().all(|value| value.is_finite());
        sound.then_some(())?;
    }
    #[cfg(feature = "panicking")]
    black_box(scratch[input.len()]);
    Some(())
}

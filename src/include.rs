//! [`include_model!`](crate::include_model): an image as a module of constants, checked while compiling.
//!
//! Core ring. What the macro expands to is public because it has to be; only the macro itself is documented.

use crate::Level;
use crate::image::{Aligned, Image, Message};
use crate::infer::Single;

/// Includes an image (`.keel`) in the program: checked and aligned while compiling, its shapes as constants.
///
/// Stands where items stand, best in a module of its own. The path counts from the file that names it, as that of
/// `include_bytes!`; `concat!(env!("OUT_DIR"), "/model.keel")` will do too. What it defines:
///
/// | item | |
/// |---|---|
/// | `INPUTS`, `OUTPUTS`: `usize` | values of a row that goes in, of one that comes out |
/// | `SCRATCH`: `usize` | values of scratch that one row needs |
/// | `CLASSES: [&str; …]` | names of the outputs; an empty array if the image has none |
/// | `run(&[f32; INPUTS], &mut [f32; SCRATCH]) -> [f32; OUTPUTS]` | the outputs for one row |
/// | `NET: Net<'static>` | the network, for batches and threads ([`Net::infer`](crate::Net::infer)) |
/// | `IMAGE: Image<'static>`, `BYTES` | the checked image, and its bytes at a multiple of 64, `LENGTH` of them |
///
/// `BYTES` is the only copy: weights are read where the linker puts constants, on a microcontroller in flash. A file that
/// is missing, cut off, damaged, of another version or not an image at all is a compile error that says so, and so is
/// an array of another length; therefore `run` has nothing left to refuse. It brings code for the image's own operations
/// and no others ([`Single`](crate::infer::Single)). Checking costs the compiler some six seconds per megabyte.
///
/// ```
/// mod xor {
///     evenkeel::include_model!(concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/seeds/image/xor.keel"));
/// }
///
/// let mut scratch = [0.0; xor::SCRATCH];
/// let [output] = xor::run(&[0.0, 1.0], &mut scratch);
/// assert!(output > 0.5);
/// let [output] = xor::run(&[1.0, 1.0], &mut scratch);
/// assert!(output < 0.5);
/// ```
///
/// This one does not compile, for `lib.rs` is no image:
///
/// ```compile_fail
/// mod wrong {
///     evenkeel::include_model!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/lib.rs"));
/// }
/// ```
#[macro_export]
macro_rules! include_model {
    ($path:expr $(,)?) => {
        /// Length of the image in bytes.
        #[allow(dead_code)]
        pub const LENGTH: usize = ::core::include_bytes!($path).len();
        /// The image's bytes.
        #[allow(dead_code)]
        pub static BYTES: $crate::image::Aligned<[u8; LENGTH]> = $crate::image::Aligned(*::core::include_bytes!($path));
        /// The image, checked by the compiler.
        #[allow(dead_code, long_running_const_eval)]
        pub const IMAGE: $crate::Image<'static> = $crate::include::image($path, &BYTES);
        /// The network, for batches and threads.
        #[allow(dead_code)]
        pub const NET: $crate::Net<'static> = $crate::Net::new(IMAGE);
        /// Values of a row that goes in.
        #[allow(dead_code)]
        pub const INPUTS: usize = IMAGE.inputs();
        /// Values of a row that comes out.
        #[allow(dead_code)]
        pub const OUTPUTS: usize = IMAGE.outputs();
        /// Values of scratch that one row needs.
        #[allow(dead_code)]
        pub const SCRATCH: usize = NET.scratch_len(1);
        /// Names of the outputs; empty if the image has none.
        #[allow(dead_code)]
        pub const CLASSES: [&str; IMAGE.classes()] = $crate::include::classes(&IMAGE);
        /// The outputs for one row. What `scratch` holds does not matter.
        #[allow(dead_code)]
        pub fn run(input: &[f32; INPUTS], scratch: &mut [f32; SCRATCH]) -> [f32; OUTPUTS] {
            const SINGLE: $crate::infer::Single<'static, { IMAGE.uses() }> = $crate::include::single(IMAGE);
            $crate::include::run(&SINGLE, input, scratch)
        }
    };
}

/// The image of a file, or a panic (in a `const` a compile error) with the file and what is wrong with it.
#[must_use]
pub const fn image<'a>(path: &str, bytes: &'a Aligned<[u8]>) -> Image<'a> {
    match Image::from_aligned(bytes) {
        Ok(image) => image,
        Err(error) => panic!("{}", Message::new(path).text(": ").text(error.message().as_str()).as_str()),
    }
}

/// The class names of an image that has `N` of them.
#[must_use]
pub const fn classes<'a, const N: usize>(image: &Image<'a>) -> [&'a str; N] {
    let mut names = [""; N];
    let mut class = 0;
    while class < N {
        if let Some(name) = image.class_name(class) {
            names[class] = name;
        }
        class += 1;
    }
    names
}

/// The image for one row at a time; `USES` are its own operations.
#[must_use]
pub const fn single<const USES: u32>(image: Image<'_>) -> Single<'_, USES> {
    match Single::new(image) {
        Ok(single) => single,
        Err(_) => panic!("the image has operations that it does not name"),
    }
}

/// One row through a network of `I` inputs and `O` outputs, which needs `S` values of scratch.
#[must_use]
pub fn run<const USES: u32, const I: usize, const O: usize, const S: usize>(
    net: &Single<'_, USES>,
    input: &[f32; I],
    scratch: &mut [f32; S],
) -> [f32; O] {
    // The lengths are the image's own, by the types: nothing is refused. Should a defect of the library ever make it so,
    // no number comes out that could be taken for an answer.
    let mut output = [f32::NAN; O];
    let _fits = net.infer(Level::detect(), input, &mut output, scratch);
    output
}

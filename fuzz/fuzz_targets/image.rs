//! Arbitrary bytes as an image, as they are and with the checksum mended.
#![no_main]

#[path = "../exercise.rs"]
mod exercise;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = exercise::image::view(bytes);
    let mut mended = bytes.to_vec();
    exercise::image::mend(&mut mended);
    let _ = exercise::image::view(&mended);
});

//! One row through a dense network with ReLU, whose image the compiler has checked.
#![no_std]
#![no_main]

#[path = "../bare.rs"]
mod bare;

use core::hint::black_box;

use evenkeel::image::Aligned;
use evenkeel::infer::Single;
use evenkeel::{Image, Level};

const BYTES: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/digits-f32.keel")));
const IMAGE: Image<'static> = match Image::from_aligned(BYTES) {
    Ok(image) => image,
    Err(_) => panic!("the image is damaged"),
};
const NET: Single<'static, { IMAGE.uses() }> = match Single::new(IMAGE) {
    Ok(net) => net,
    Err(_) => panic!("the network uses more than it says"),
};

fn main() {
    let input = black_box([0.5; IMAGE.inputs()]);
    let (mut output, mut scratch) = ([0.0; IMAGE.outputs()], [0.0; NET.scratch_len()]);
    let done = NET.infer(Level::detect(), &input, &mut output, &mut scratch);
    black_box((done.is_ok(), output));
}

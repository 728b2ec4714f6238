//! A network of 64, 64 and 10 features, as firmware has it.

/// `NET`, the network of a file that the compiler has checked, and `infer()`, a row through it.
macro_rules! network {
    ($file:literal) => {
        const BYTES: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/", $file)));
        const IMAGE: evenkeel::Image<'static> = match evenkeel::Image::from_aligned(BYTES) {
            Ok(image) => image,
            Err(_) => panic!("the image is damaged"),
        };
        const NET: evenkeel::infer::Single<'static, { IMAGE.uses() }> = match evenkeel::infer::Single::new(IMAGE) {
            Ok(net) => net,
            Err(_) => panic!("the network uses more than it says"),
        };

        fn infer() {
            let input = black_box([0.5; IMAGE.inputs()]);
            let (mut output, mut scratch) = ([0.0; IMAGE.outputs()], [0.0; NET.scratch_len()]);
            let done = NET.infer(Level::detect(), &input, &mut output, &mut scratch);
            black_box((done.is_ok(), output));
        }
    };
}
pub(crate) use network;

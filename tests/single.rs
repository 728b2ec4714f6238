//! `infer::Single`: the bits of `Net`, and what it refuses.

use evenkeel::image::{Aligned, uses};
use evenkeel::infer::Single;
use evenkeel::{Error, Image, Level, Net, Serial};

/// The seeds of the image's fuzz target: between them they have every operation.
macro_rules! seeds {
    ($($name:literal)*) => {
        [$(($name, &Aligned(*include_bytes!(concat!("../fuzz/seeds/image/", $name, ".keel"))) as &Aligned<[u8]>)),*]
    };
}
const SEEDS: [(&str, &Aligned<[u8]>); 8] =
    seeds!("everything" "f16" "identity" "scale" "xor" "activations" "prelu" "layer_norm");

#[test]
fn one_row_has_the_bits_of_a_batch_on_every_level() {
    let mut used = 0;
    for (name, bytes) in SEEDS {
        let image = Image::from_aligned(bytes).unwrap();
        used |= image.uses();
        let (all, batch) = (Single::<{ uses::ALL }>::new(image).unwrap(), Net::new(image));
        for level in Level::available() {
            for seed in 0..20 {
                let value = |i: usize| ((i * 37 + seed * 101) % 201) as f32 / 50.0 - 2.0;
                let mut input: Vec<f32> = (0..image.inputs()).map(value).collect();
                if seed == 19 {
                    input[0] = f32::NAN;
                }
                let mut expected = vec![0.0; image.outputs()];
                let mut scratch = vec![7.0; batch.scratch_len(1)];
                batch.infer(level, &Serial, &input, &mut expected, &mut scratch).unwrap();
                let (mut found, mut scratch) = (vec![9.0; image.outputs()], vec![f32::NAN; all.scratch_len()]);
                all.infer(level, &input, &mut found, &mut scratch).unwrap();
                let bits = |values: &[f32]| -> Vec<u32> {
                    values.iter().map(|x| if x.is_nan() { f32::NAN.to_bits() } else { x.to_bits() }).collect()
                };
                assert_eq!(bits(&found), bits(&expected), "{name} on {level}, row {seed}");
            }
        }
    }
    assert_eq!(used, uses::ALL, "the seeds lack an operation");
}

#[test]
fn what_it_does_not_have_is_refused() {
    for (name, bytes) in SEEDS {
        let image = Image::from_aligned(bytes).unwrap();
        for bit in (0..32).map(|bit| 1 << bit).filter(|bit| image.uses() & bit != 0) {
            // The only set of operations that a test can name for each bit is the complement, by hand.
            let refused = match bit {
                uses::DENSE_F32 => Single::<{ uses::ALL & !uses::DENSE_F32 }>::new(image).err(),
                uses::RELU => Single::<{ uses::ALL & !uses::RELU }>::new(image).err(),
                uses::SOFTMAX => Single::<{ uses::ALL & !uses::SOFTMAX }>::new(image).err(),
                _ => Single::<0>::new(image).err().map(|_| Error::Operations { missing: bit }),
            };
            assert_eq!(refused, Some(Error::Operations { missing: bit }), "{name}");
        }
    }
}

#[test]
fn wrong_lengths_are_refused_and_nothing_is_written() {
    let image = Image::from_aligned(SEEDS[0].1).unwrap();
    let net = Single::<{ uses::ALL }>::new(image).unwrap();
    let (inputs, outputs, scratch) = (image.inputs(), image.outputs(), net.scratch_len());
    let short = [(inputs - 1, outputs, scratch), (inputs + 1, outputs, scratch), (inputs, outputs - 1, scratch)];
    let more = [(inputs, outputs + 1, scratch), (inputs, outputs, scratch - 1), (inputs, outputs, 0)];
    for (inputs, outputs, scratch) in short.into_iter().chain(more) {
        let (input, mut output, mut scratch) = (vec![1.0; inputs], vec![5.0; outputs], vec![5.0; scratch]);
        let refused = net.infer(Level::detect(), &input, &mut output, &mut scratch);
        assert!(matches!(refused, Err(Error::Length { .. })), "{refused:?}");
        assert!(output.iter().chain(&scratch).all(|x| *x == 5.0));
    }
}

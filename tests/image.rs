//! The image format: what is committed stays readable and gives the same bits; damage of every kind is refused; bytes
//! from outside never do worse than be refused.
//!
//! `EVENKEEL_BLESS=1 cargo test --test image` writes the committed images anew after an intended change.
#![cfg(feature = "alloc")]

#[path = "../fuzz/exercise.rs"]
mod exercise;

use std::collections::BTreeSet;
use std::path::PathBuf;

use evenkeel::Level;
use evenkeel::export::{Options, Precision, Precisions, Standardisation, export};
use evenkeel::image::{Aligned, AlignedBytes, Image, ImageError, checksum};
use evenkeel::infer::Net;
use evenkeel::layer::{Activation, BatchNorm, Layer, LayerNorm, Network, PRelu};
use evenkeel::split::Serial;
use exercise::image::{mend, view};

/// SplitMix64.
struct Random(u64);

impl Random {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, n: usize) -> usize {
        (self.bits() % n as u64) as usize
    }
}

/// A network with plain parameters: multiples of 1/64 that no platform's library has touched.
fn image_of(inputs: usize, layers: &[Layer], options: &Options<'_>) -> AlignedBytes {
    let network = Network::new(inputs, layers).unwrap();
    let (mut params, mut state) = (vec![0.0; network.params_len()], vec![0.0; network.state_len()]);
    let mut random = Random(inputs as u64);
    let mut value = || (random.below(129) as f32 - 64.0) / 64.0;
    for node in network.nodes() {
        for output in 0..node.outputs {
            if let Layer::Dense { .. } = node.layer {
                for input in 0..node.inputs {
                    let at = evenkeel::kernels::panels::position(node.inputs, node.outputs, output, input);
                    node.weights.of_mut(&mut params)[at] = value();
                }
            }
            if let Layer::LayerNorm(_) = node.layer {
                node.weights.of_mut(&mut params)[output] = 1.5 + value();
            }
            if let Layer::BatchNorm(_) = node.layer {
                let width = node.weights.len;
                node.weights.of_mut(&mut params)[output] = 1.5 + value();
                let state = node.state.of_mut(&mut state);
                (state[output], state[width + output], state[2 * width]) = (value(), 1.25 + value(), 10.0);
            }
            if let Layer::PRelu(prelu) = node.layer
                && output < prelu.slopes(node.inputs)
            {
                node.weights.of_mut(&mut params)[output] = value();
            }
            if node.bias.len > 0 {
                node.bias.of_mut(&mut params)[output] = value();
            }
        }
    }
    export(&network, &params, &state, options).unwrap().0
}

/// The committed images, with a hash of their outputs on an exact level.
fn seeds() -> [(&'static str, AlignedBytes, u64); 8] {
    let f16 = Options { precision: Precisions::All(Precision::F16), ..Options::default() };
    let bn = Layer::BatchNorm(BatchNorm::TORCH);
    let act = Layer::Activation;
    let everything = [
        bn,
        act(Activation::Silu),
        bn,
        act(Activation::LeakyRelu { slope: 0.125 }),
        Layer::Dense { outputs: 6, bias: false },
        act(Activation::Sigmoid),
        Layer::dense(17),
        bn,
        act(Activation::Gelu),
        Layer::Dropout { rate: 0.5 },
        bn,
        Layer::dense(3),
        Layer::Softmax,
    ];
    let prelu = [
        Layer::PRelu(PRelu::KERAS),
        Layer::dense(18),
        bn,
        Layer::PRelu(PRelu::TORCH),
        Layer::dense(3),
        Layer::PRelu(PRelu::KERAS),
    ];
    let ln = Layer::LayerNorm;
    let layer_norm = [
        ln(LayerNorm::KERAS),
        Layer::dense(18),
        ln(LayerNorm::TORCH),
        act(Activation::Relu),
        Layer::dense(3),
        ln(LayerNorm::TORCH),
    ];
    let activations = [
        act(Activation::Mish),
        Layer::dense(6),
        act(Activation::Elu { alpha: 0.75 }),
        act(Activation::Selu),
        Layer::dense(5),
        act(Activation::Celu { alpha: 1.5 }),
        act(Activation::GeluTanh),
        Layer::dense(4),
        act(Activation::Softplus { beta: 2.0 }),
        act(Activation::Softsign),
        Layer::dense(7),
        act(Activation::HardSwish),
        act(Activation::HardSigmoid),
        Layer::dense(5),
        act(Activation::Relu6),
        act(Activation::ThresholdedRelu { theta: 0.25 }),
    ];
    let options = Options {
        precision: Precisions::Each(&[Precision::F16, Precision::F32, Precision::F16]),
        standardisation: Some(Standardisation { mean: &[10.0, -3.0, 0.5, 0.0], inv_std: &[0.25, 1.0, 2.0, 0.5] }),
        class_names: &["low", "middle", "hööh"],
        note: "made by tests/image.rs",
    };
    [
        ("xor", image_of(2, &[Layer::dense(4), act(Activation::Tanh), Layer::dense(1)], &Options::default()), XOR),
        ("f16", image_of(9, &[Layer::dense(19), act(Activation::Relu), Layer::dense(2)], &f16), F16),
        ("everything", image_of(4, &everything, &options), EVERYTHING),
        ("scale", image_of(5, &[bn, Layer::LogSoftmax], &Options::default()), SCALE),
        ("identity", image_of(3, &[Layer::Dropout { rate: 0.5 }], &Options { note: "nothing", ..f16 }), IDENTITY),
        ("activations", image_of(6, &activations, &Options::default()), ACTIVATIONS),
        ("prelu", image_of(5, &prelu, &f16), PRELU),
        ("layer_norm", image_of(5, &layer_norm, &f16), LAYER_NORM),
    ]
}

const XOR: u64 = 0xa4b4_1f48_0bae_6fd1;
const F16: u64 = 0x588b_d065_a2e5_5a22;
const EVERYTHING: u64 = 0x6cab_9855_106a_27f0;
const SCALE: u64 = 0x6248_6ffe_ca14_be00;
const PRELU: u64 = 0x8e6f_d221_3e7f_c004;
const ACTIVATIONS: u64 = 0x8ba9_f4cc_21e7_d953;
const LAYER_NORM: u64 = 0xb57e_f399_abec_dc72;
const IDENTITY: u64 = 0x3e37_c780_71fd_c528;

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/image")
}

fn small() -> AlignedBytes {
    let [(_, small, _), ..] = seeds();
    small
}

fn everything() -> AlignedBytes {
    let [_, _, (_, everything, _), ..] = seeds();
    everything
}

/// FNV-1a over the bits of the outputs for seven rows.
fn hash_of_outputs(level: Level, image: Image<'_>) -> u64 {
    let net = Net::new(image);
    let input: Vec<f32> = (0..7 * net.inputs()).map(|i| (i * i % 31) as f32 / 8.0 - 2.0).collect();
    let mut output = vec![0.0; 7 * net.outputs()];
    net.infer(level, &Serial, &input, &mut output, &mut vec![0.0; net.scratch_len(7)]).unwrap();
    let bytes = output.iter().flat_map(|value| value.to_bits().to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Images of this format version stay readable, are exported the same on every machine, and give the same bits.
#[test]
fn committed_images_are_reproduced() {
    let bless = std::env::var_os("EVENKEEL_BLESS").is_some();
    for (name, bytes, hash) in seeds() {
        let path = directory().join(name).with_extension("keel");
        if bless {
            std::fs::write(&path, &*bytes).unwrap();
            println!("{name}: {:#018x}", hash_of_outputs(Level::detect(), Image::new(&bytes).unwrap()));
            continue;
        }
        assert!(*bytes == *std::fs::read(&path).unwrap(), "{name}: exported otherwise than committed");
        let image = Image::new(&bytes).unwrap();
        for level in Level::available().filter(|level| level.is_exact()) {
            assert_eq!(hash_of_outputs(level, image), hash, "{name} on {level}");
        }
    }
}

/// Whatever the fuzzer was given or has found is replayed here.
#[test]
fn seeds_are_replayed() {
    let mut images = 0;
    for file in std::fs::read_dir(directory()).unwrap() {
        let mut bytes = std::fs::read(file.unwrap().path()).unwrap();
        images += usize::from(view(&bytes).is_ok());
        mend(&mut bytes);
        let _ = view(&bytes);
    }
    assert!(images >= 8);
}

/// The compiler checks an image, and sizes the buffers.
#[test]
fn images_are_checked_at_compile_time() {
    const BYTES: &Aligned<[u8]> = &Aligned(*include_bytes!("../fuzz/seeds/image/everything.keel"));
    const NET: Net<'static> = match Image::from_aligned(BYTES) {
        Ok(image) => Net::new(image),
        Err(_) => panic!("not an image"),
    };
    const SCRATCH: usize = NET.scratch_len(2);
    let (mut output, mut scratch) = ([0.0; 2 * NET.outputs()], [0.0; SCRATCH]);
    NET.infer(Level::detect(), &Serial, &[0.5; 2 * NET.inputs()], &mut output, &mut scratch).unwrap();
    assert!((output.iter().sum::<f32>() - 2.0).abs() < 1e-5);
    assert!(NET.image().is_standardised());
    assert_eq!(NET.image().class_name(2), Some("hööh"));
    assert_eq!(NET.image().note(), "made by tests/image.rs");
}

fn refused(bytes: &[u8]) -> ImageError {
    let bytes = AlignedBytes::from(bytes);
    let error = Image::new(&bytes).expect_err("must be refused");
    assert!(error.to_string().len() > 20);
    error
}

/// H2: every truncation, every changed byte, every edit of a thousand bytes.
#[test]
fn all_damage_is_refused() {
    let small = small();
    let mut copy = small.clone();
    for at in 0..copy.len() {
        for change in 1..=255 {
            copy[at] = small[at] ^ change;
            assert!(Image::new(&copy).is_err(), "byte {at} changed by {change:02x}");
        }
        copy[at] = small[at];
    }
    assert!(copy == small && Image::new(&copy).is_ok());
    let changes = 255 * small.len();

    let large = image_of(40, &[Layer::dense(100), Layer::dense(10)], &Options::default());
    let mut copy = large.clone();
    let mut random = Random(2);
    for at in 0..copy.len() {
        copy[at] ^= 1 + random.below(255) as u8;
        assert!(Image::new(&copy).is_err(), "byte {at}");
        copy[at] = large[at];
    }
    let mut truncations = 0;
    for image in [&small, &large] {
        for len in 0..image.len() {
            assert!(Image::new(&image[..len]).is_err(), "{len} of {}", image.len());
            truncations += 1;
        }
        let longer = [image, &[0][..]].concat();
        assert!(matches!(refused(&longer), ImageError::Length { .. }));
    }
    for _ in 0..2000 {
        let mut copy = large.clone();
        for _ in 0..1000 {
            let at = random.below(copy.len());
            copy[at] ^= 1 + random.below(255) as u8;
        }
        assert!(Image::new(&copy).is_err());
    }
    println!(
        "refused: {changes} single bytes (all of {}), {} (one change each of {}), {truncations} truncations, 2000 edits of 1000 bytes",
        small.len(),
        large.len(),
        large.len()
    );
}

/// H1: fields and values set to what hurts, the checksum mended: a typed error or an image that runs.
#[test]
fn mended_corruption_is_refused_or_runs() {
    const INTERESTING: [u64; 22] = [
        0,
        1,
        2,
        3,
        4,
        5,
        6,
        7,
        15,
        16,
        17,
        32,
        63,
        64,
        65,
        0x10_0000,
        0x10_0001,
        0x7f80_0000,
        0x7fff_ffff,
        0xffff_ffff,
        0x8000_0000_0000_0000,
        u64::MAX,
    ];
    let seeds = seeds();
    let mut random = Random(3);
    let (mut valid, mut kinds) = (0, BTreeSet::new());
    const CASES: usize = 60_000;
    for case in 0..CASES {
        let mut bytes = seeds[case % seeds.len()].1.to_vec();
        let records = 64..u32::from_le_bytes(bytes[44..48].try_into().unwrap()) as usize;
        for _ in 0..1 + random.below(3) {
            // Half the cases in header and records, on field boundaries.
            let at = match random.below(6) {
                0 => 20 + 4 * random.below(11),
                1 | 2 if !records.is_empty() => records.start + 4 * random.below(records.len() / 4),
                _ => random.below(bytes.len()),
            };
            let width = [1, 2, 4, 8][random.below(4)];
            let end = (at + width).min(bytes.len());
            let mut word = [0; 8];
            word[..end - at].copy_from_slice(&bytes[at..end]);
            let old = u64::from_le_bytes(word);
            let new = match random.below(5) {
                0 | 1 => INTERESTING[random.below(INTERESTING.len())],
                2 => old.wrapping_add(1),
                3 => old.wrapping_sub(1),
                _ => random.bits(),
            };
            bytes[at..end].copy_from_slice(&new.to_le_bytes()[..end - at]);
        }
        if random.below(8) == 0 {
            bytes.truncate(random.below(bytes.len() + 1));
        } else if random.below(8) == 0 {
            let more = bytes.len() + random.below(200);
            bytes.resize(more, random.below(3) as u8);
        }
        mend(&mut bytes);
        match view(&bytes) {
            Ok(()) => valid += 1,
            Err(error) => {
                assert!(!matches!(error, ImageError::Checksum { .. } | ImageError::Length { .. } | ImageError::Magic));
                kinds.insert(format!("{error:?}").split_whitespace().next().unwrap().to_owned());
            }
        }
    }
    println!("{CASES} cases, {valid} of them images, the others refused as {kinds:?}");
    assert!(valid > 1000 && kinds.len() >= 8);
}

/// One cause for each error, with the checksum mended where it is not the cause.
#[test]
fn every_refusal_is_typed() {
    let seed = everything();
    let with = |at: usize, bytes: &[u8]| {
        let mut copy = seed.to_vec();
        copy[at..at + bytes.len()].copy_from_slice(bytes);
        let sum = checksum(&copy);
        copy[16..20].copy_from_slice(&sum.to_le_bytes());
        refused(&copy)
    };
    let header = |field| ImageError::Header { field };
    let record = |op, field| ImageError::Record { op, field };
    assert_eq!(refused(&[]), ImageError::TooShort { len: 0 });
    assert_eq!(refused(&seed[..63]), ImageError::TooShort { len: 63 });
    assert_eq!(refused(&[0; 64]), ImageError::Magic);
    assert_eq!(
        refused(b"PK\x03\x04 a zip file that is longer than the sixty-four bytes of a header"),
        ImageError::Magic
    );
    assert_eq!(with(4, &[0, 0]), ImageError::FormatVersion { found: 0 });
    assert_eq!(with(4, &[0, 1]), ImageError::FormatVersion { found: 256 });
    assert_eq!(with(6, &[2, 0]), ImageError::NumericContract { found: 2 });
    let found = seed.len() as u64;
    assert_eq!(with(8, &[0xff; 8]), ImageError::Length { declared: u64::MAX, found });
    let mut copy = seed.to_vec();
    copy[70] ^= 1;
    assert!(matches!(refused(&copy), ImageError::Checksum { .. }));

    let huge = &[0xff; 4];
    assert_eq!(with(20, huge), header("number of operations"));
    assert_eq!(with(24, &[0; 4]), header("inputs"));
    assert_eq!(with(28, huge), header("outputs"));
    assert_eq!(with(32, &[0; 4]), header("row length of the scratch"));
    assert_eq!(with(36, &[2]), header("flags"));
    assert_eq!(with(40, huge), header("offset of operations"));
    assert_eq!(with(44, huge), header("offset of metadata"));
    assert_eq!(with(48, huge), header("offset of payload"));
    assert_eq!(with(52, huge), header("offset of payload"));
    assert_eq!(with(63, &[1]), header("reserved"));
    assert_eq!(with(24, &[5]), ImageError::Widths { op: 0, given: 5, wanted: 4 });
    assert_eq!(with(28, &[4]), ImageError::Metadata);

    // Operation 0 is the scale and shift of the inputs, 1 SiLU, 2 scale and shift, 3 leaky ReLU, then dense.
    let at = |op: usize| 64 + 32 * op;
    assert_eq!(with(at(0), &[0]), record(0, "kind"));
    assert_eq!(with(at(0), &[8]), record(0, "kind"));
    assert_eq!(with(at(0) + 1, &[1]), record(0, "type of weights"));
    assert_eq!(with(at(4) + 1, &[2]), record(4, "type of weights"));
    assert_eq!(with(at(0) + 2, &[1]), record(0, "activation"));
    assert_eq!(with(at(1) + 2, &[0]), record(1, "activation"));
    assert_eq!(with(at(1) + 2, &[18]), record(1, "activation"));
    // Codes of version 2 in an image of version 1, and the other way round.
    assert_eq!(with(at(1) + 2, &[7]), header("format version"));
    assert_eq!(with(4, &[2, 0]), header("format version"));
    assert_eq!(with(4, &[3, 0]), ImageError::FormatVersion { found: 3 });
    assert_eq!(with(at(1) + 3, &[1]), record(1, "reserved"));
    assert_eq!(with(at(1) + 4, &1_f32.to_le_bytes()), record(1, "parameter of the activation"));
    for slope in [-1.0, -0.0, f32::INFINITY, f32::NAN] {
        assert_eq!(with(at(3) + 4, &slope.to_le_bytes()), record(3, "parameter of the activation"));
    }
    assert_eq!(with(at(1) + 8, huge), record(1, "inputs"));
    assert_eq!(with(at(1) + 12, &[0; 4]), record(1, "outputs"));
    assert_eq!(with(at(1) + 12, &[5]), record(1, "outputs"));
    assert_eq!(with(at(1) + 16, &[64]), record(1, "offset of weights"));
    assert_eq!(with(at(1) + 24, &[64]), record(1, "offset of bias"));
    assert_eq!(with(at(0) + 24, &[64]), record(0, "offset of bias"));
    assert_eq!(with(at(4) + 8, &[5]), ImageError::Widths { op: 4, given: 4, wanted: 5 });
    assert_eq!(with(at(4) + 16, &[0; 8]), ImageError::Section { op: 4, part: "weights" });
    assert_eq!(with(at(4) + 16, &[0xff; 8]), ImageError::Section { op: 4, part: "weights" });
    assert_eq!(with(at(5) + 24, &[0xff; 8]), ImageError::Section { op: 5, part: "bias" });
    assert_eq!(with(at(0) + 16, &[0; 8]), ImageError::Section { op: 0, part: "scale and shift" });

    let offset = |at: usize| u64::from_le_bytes(seed[at..at + 8].try_into().unwrap()) as usize;
    let non_finite = |op, part, index| ImageError::NonFinite { op, part, index };
    let (scale, weights, wide, bias) = (offset(at(0) + 16), offset(at(4) + 16), offset(at(5) + 16), offset(at(5) + 24));
    assert_eq!(with(scale + 4 * 17, &f32::INFINITY.to_le_bytes()), non_finite(0, "scale and shift", 17));
    assert_eq!(with(weights + 2 * 3, &0x7c00_u16.to_le_bytes()), non_finite(4, "weights", 3));
    assert_eq!(with(weights + 2 * 3, &0xfe01_u16.to_le_bytes()), non_finite(4, "weights", 3));
    assert_eq!(with(wide + 4 * 5, &f32::NAN.to_le_bytes()), non_finite(5, "weights", 5));
    assert_eq!(with(bias + 4 * 16, &f32::NEG_INFINITY.to_le_bytes()), non_finite(5, "bias", 16));
    // Lanes of no output: six outputs lie in eight lanes; seventeen in sixteen and four, the last panel after 6 × 16.
    assert_eq!(with(weights + 2 * (8 + 6), &[1]), ImageError::Padding);
    assert_eq!(with(wide + 4 * (6 * 16 + 5 * 4 + 3), &[1]), ImageError::Padding);
    assert_eq!(with(bias + 4 * 17, &[1]), ImageError::Padding);
    assert_eq!(with(scale + 4 * (16 + 4), &[1]), ImageError::Padding);
    assert_eq!(with(wide - 1, &[1]), ImageError::Padding);

    let metadata = u32::from_le_bytes(seed[44..48].try_into().unwrap()) as usize;
    assert_eq!(with(metadata, &[2]), ImageError::Metadata);
    assert_eq!(with(metadata, huge), ImageError::Metadata);
    assert_eq!(with(metadata + 4, huge), ImageError::Metadata);
    assert_eq!(with(metadata + 4, &[4]), ImageError::Metadata);
    assert_eq!(with(metadata + 8, &[0xff]), ImageError::Text);
    // Cutting a character in two.
    assert_eq!(with(48, &[seed[48] - 1]), ImageError::Metadata);
    // An image without its last section.
    let mut short = seed[..seed.len() - 64].to_vec();
    mend(&mut short);
    assert!(matches!(refused(&short), ImageError::Section { part: "bias", .. }));
    let mut long = [&seed, &[0; 64][..]].concat();
    mend(&mut long);
    assert_eq!(refused(&long), header("length"));
}

#[test]
fn images_must_be_aligned() {
    let image = small();
    let mut shifted = AlignedBytes::zeroed(image.len() + 64);
    for offset in 1..=64 {
        shifted[offset..offset + image.len()].copy_from_slice(&image);
        let result = Image::new(&shifted[offset..offset + image.len()]);
        if offset == 64 {
            assert!(result.is_ok());
        } else {
            let error = result.unwrap_err();
            assert_eq!(error, ImageError::Misaligned);
            assert!(error.to_string().contains("Aligned"));
        }
    }
    for len in 0..200 {
        let bytes = AlignedBytes::zeroed(len);
        assert!(bytes.len() == len && (bytes.as_ptr() as usize).is_multiple_of(64));
        assert!((bytes.clone().as_ptr() as usize).is_multiple_of(64) && bytes.clone() == bytes);
    }
}

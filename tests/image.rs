//! The image format: what is committed stays readable and gives the same bits; damage of every kind is refused; bytes
//! from outside never do worse than be refused.
//!
//! `EVENKEEL_BLESS=1 cargo test --test image` writes the committed images anew after an intended change.
#![cfg(feature = "alloc")]

#[path = "image/damage.rs"]
mod damage;
#[path = "../fuzz/exercise.rs"]
mod exercise;
#[path = "image/refusals.rs"]
mod refusals;

use std::path::PathBuf;

use evenkeel::Level;
use evenkeel::export::{Options, Precision, Precisions, Standardisation, export};
use evenkeel::image::{Aligned, AlignedBytes, Image, ImageError};
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

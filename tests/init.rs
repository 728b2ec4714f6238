//! Initial weights: moments and ranges, truncation, orthogonality, independence of layout, and bits that must stay.

use evenkeel::Error;
use evenkeel::init::{Fan, Init, Law, Nonlinearity, WeightAccess};
use evenkeel::rng::{Purpose, Stream};

const RANDOM: [Init; 8] = [
    Init::GlorotUniform,
    Init::GlorotNormal,
    Init::HeUniform,
    Init::HeNormal,
    Init::LecunUniform,
    Init::LecunNormal,
    Init::TorchLinear,
    Init::Orthogonal { gain: 1.0 },
];

/// `[output][input]`
struct RowMajor {
    inputs: usize,
    w: Vec<f32>,
}

impl WeightAccess for RowMajor {
    fn get(&self, output: usize, input: usize) -> f32 {
        self.w[output * self.inputs + input]
    }
    fn set(&mut self, output: usize, input: usize, value: f32) {
        self.w[output * self.inputs + input] = value;
    }
}

/// `[panel][input][lane]`
struct Panels {
    inputs: usize,
    w: Vec<f32>,
}

impl Panels {
    fn index(&self, output: usize, input: usize) -> usize {
        (output / 16 * self.inputs + input) * 16 + output % 16
    }
}

impl WeightAccess for Panels {
    fn get(&self, output: usize, input: usize) -> f32 {
        self.w[self.index(output, input)]
    }
    fn set(&mut self, output: usize, input: usize, value: f32) {
        let index = self.index(output, input);
        self.w[index] = value;
    }
}

fn stream(seed: u64, layer: u32) -> Stream {
    Stream::new(seed, Purpose::Init, layer, 0)
}

fn filled(init: Init, inputs: usize, outputs: usize, stream: Stream) -> RowMajor {
    let mut w = RowMajor { inputs, w: vec![f32::NAN; inputs * outputs] };
    init.fill(inputs, outputs, stream, &mut w);
    w
}

/// Mean and variance within 5 σ of their estimators, all draws inside the range and close to its ends.
#[test]
fn moments_and_ranges() {
    let (inputs, outputs) = (600, 400);
    let (he, lecun, glorot) = (2.0 / 600.0, 1.0 / 600.0, 1.0 / 500.0);
    let normal_limit = |variance: f64| 2.0 * variance.sqrt() / 0.879_625_661_034_239_8;
    let uniform_limit = |variance: f64| (3.0 * variance).sqrt();
    let table = [
        (Init::GlorotUniform, glorot, uniform_limit(glorot)),
        (Init::GlorotNormal, glorot, normal_limit(glorot)),
        (Init::HeUniform, he, uniform_limit(he)),
        (Init::HeNormal, he, normal_limit(he)),
        (Init::LecunUniform, lecun, uniform_limit(lecun)),
        (Init::LecunNormal, lecun, normal_limit(lecun)),
        (Init::TorchLinear, lecun / 3.0, (1.0f64 / 600.0).sqrt()),
    ];
    for (init, variance, limit) in table {
        let w = filled(init, inputs, outputs, stream(11, 0)).w;
        let count = w.len() as f64;
        let mean = w.iter().map(|w| f64::from(*w)).sum::<f64>() / count;
        let square = w.iter().map(|w| f64::from(*w).powi(2)).sum::<f64>() / count;
        assert!(mean.abs() < 5.0 * (variance / count).sqrt(), "{init}: mean {mean}");
        // The kurtosis is 1.8 for uniform and 2.4 for truncated normal draws.
        let kurtosis = if init.to_string().ends_with("normal") { 2.4 } else { 1.8 };
        let deviation = (square / variance - 1.0).abs();
        assert!(deviation < 5.0 * ((kurtosis - 1.0) / count).sqrt(), "{init}: variance off by {deviation}");
        let largest = w.iter().fold(0.0f32, |a, b| a.max(b.abs()));
        assert!(largest <= limit as f32 && f64::from(largest) > 0.999 * limit, "{init}: {largest} of {limit}");
    }
    assert!(filled(Init::Zeros, 3, 5, stream(1, 0)).w.iter().all(|w| w.to_bits() == 0));
    assert!(filled(Init::Constant(0.1), 3, 5, stream(1, 0)).w.iter().all(|w| *w == 0.1));
}

/// The distribution function of truncated normal draws, at 41 points.
#[test]
fn truncated_normal_has_the_right_shape() {
    let mut w = filled(Init::LecunNormal, 1, 200_000, stream(5, 2)).w;
    w.sort_by(f32::total_cmp);
    let cdf = |z: f64| 0.5 * libm::erfc(-z * core::f64::consts::FRAC_1_SQRT_2);
    for k in -20..=20 {
        let z = f64::from(k) / 10.0;
        let expected = (cdf(z) - cdf(-2.0)) / (cdf(2.0) - cdf(-2.0));
        let below = w.partition_point(|w| f64::from(*w) * 0.879_625_661_034_239_8 < z);
        let sigma = (expected * (1.0 - expected) / w.len() as f64).sqrt();
        let difference = below as f64 / w.len() as f64 - expected;
        assert!(difference.abs() <= 5.0 * sigma + 1e-9, "z = {z}: {difference:e}, σ = {sigma:e}");
    }
}

#[test]
fn orthogonal_matrices() {
    for (inputs, outputs) in [(1, 1), (64, 64), (100, 30), (30, 100), (200, 199)] {
        for gain in [1.0f32, 2.0] {
            let w = filled(Init::Orthogonal { gain }, inputs, outputs, stream(3, 1));
            let (count, length) = (inputs.min(outputs), inputs.max(outputs));
            let at = |v, i| f64::from(if outputs <= inputs { w.get(v, i) } else { w.get(i, v) });
            let mut largest = 0.0f64;
            for a in 0..count {
                for b in 0..=a {
                    let dot: f64 = (0..length).map(|i| at(a, i) * at(b, i)).sum();
                    let expected = if a == b { f64::from(gain).powi(2) } else { 0.0 };
                    largest = largest.max((dot - expected).abs() / f64::from(gain).powi(2));
                }
            }
            println!("{inputs} x {outputs}, gain {gain}: {largest:e}");
            assert!(largest < 2e-7, "{inputs} x {outputs}, gain {gain}: {largest:e}");
        }
    }
}

#[test]
fn layout_does_not_matter() {
    let (inputs, outputs) = (37, 23);
    for init in RANDOM {
        let rows = filled(init, inputs, outputs, stream(8, 4));
        let mut panels = Panels { inputs, w: vec![0.0; 2 * inputs * 16] };
        init.fill(inputs, outputs, stream(8, 4), &mut panels);
        for output in 0..outputs {
            for input in 0..inputs {
                assert_eq!(rows.get(output, input).to_bits(), panels.get(output, input).to_bits(), "{init}");
            }
        }
    }
}

/// A uniform weight from its definition: element `output * inputs + input` of the layer's stream.
#[test]
fn weights_follow_their_element() {
    let (inputs, outputs) = (37, 23);
    let w = filled(Init::TorchLinear, inputs, outputs, stream(8, 4));
    for output in 0..outputs {
        for input in 0..inputs {
            let word = stream(8, 4).word((output * inputs + input) as u64);
            let u = (f64::from(word) + 0.5) / 2f64.powi(32);
            let expected = (2.0 * u - 1.0) / (inputs as f64).sqrt();
            assert!((f64::from(w.get(output, input)) - expected).abs() < 1e-8);
        }
    }
}

#[test]
fn layers_and_seeds_differ() {
    for init in RANDOM {
        let first = filled(init, 20, 20, stream(1, 0)).w;
        assert_eq!(first, filled(init, 20, 20, stream(1, 0)).w);
        for other in [stream(1, 1), stream(2, 0), stream(1 << 32 | 1, 0)] {
            let other = filled(init, 20, 20, other).w;
            assert!(first.iter().zip(&other).all(|(a, b)| a != b), "{init}");
        }
    }
}

/// FNV-1a over the bits of each initialiser: a change would change every training run.
#[test]
fn bits_that_must_stay() {
    let hash = |w: &[f32]| {
        let bytes = w.iter().flat_map(|w| w.to_le_bytes());
        bytes.fold(0xcbf2_9ce4_8422_2325_u64, |h, byte| (h ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    };
    let hashes = RANDOM.map(|init| hash(&filled(init, 37, 23, stream(42, 1)).w));
    let golden = [
        0x56db_1230_a823_ce62,
        0x0e1e_1012_3126_8370,
        0x3186_7bc4_4d32_806d,
        0x31c6_5f95_4eae_9bba,
        0xe6fd_7bf4_c3df_31b0,
        0x3212_f351_c3ea_8911,
        0x3231_6d2f_a805_1730,
        0x7446_4cdc_4152_ffce,
    ];
    assert_eq!(hashes, golden, "{hashes:#018x?}");
}

#[test]
fn empty_layers() {
    for init in RANDOM {
        assert!(filled(init, 0, 5, stream(1, 0)).w.is_empty());
        assert!(filled(init, 5, 0, stream(1, 0)).w.is_empty());
    }
}

#[test]
fn names() {
    let others = [Init::Zeros, Init::Constant(0.1), Init::Constant(-1e-30), Init::Orthogonal { gain: 1.5 }];
    for init in RANDOM.into_iter().chain(others) {
        assert_eq!(init.to_string().parse(), Ok(init));
    }
    assert_eq!("orthogonal(1)".parse(), Ok(Init::Orthogonal { gain: 1.0 }));
    assert_eq!(Init::Constant(0.1).to_string(), "constant(0.1)");
    for name in
        ["", "he", "He_normal", "constant", "constant()", "constant(nan)", "constant(1", "he_normal(2)", "zeros "]
    {
        assert_eq!(name.parse::<Init>(), Err(Error::UnknownInit), "{name}");
    }
    assert!(Error::UnknownInit.to_string().contains("glorot"));
}

/// All that have a law, with arguments that tell them apart.
const WITH_A_LAW: [&str; 18] = [
    "glorot_uniform",
    "glorot_normal",
    "he_uniform",
    "he_normal",
    "lecun_normal",
    "torch_linear",
    "uniform",
    "random_uniform(-1, 3)",
    "normal(0.5, 0.25)",
    "random_normal",
    "truncated_normal(1, 0.5)",
    "trunc_normal(0, 1, -0.5, 2)",
    "trunc_normal(0, 0.5, 1, 1.5)",
    "variance_scaling(2, fan_out, untruncated_normal)",
    "xavier_uniform(tanh)",
    "xavier_normal(2)",
    "kaiming_uniform(fan_out, selu)",
    "kaiming_normal(fan_in, leaky_relu, 0.2)",
];

/// Kolmogorov and Smirnov's test of 200,000 draws against the law, at a significance of one in a thousand; and the law's
/// limits, which are reached.
#[test]
fn draws_follow_their_law() {
    let normal = |z: f64| 0.5 * libm::erfc(-z * core::f64::consts::FRAC_1_SQRT_2);
    for text in WITH_A_LAW {
        let init: Init = text.parse().unwrap();
        let (inputs, outputs) = (400, 500);
        let mut w = filled(init, inputs, outputs, stream(12, 3)).w;
        w.sort_by(f32::total_cmp);
        let law = init.law(inputs, outputs).unwrap();
        let cdf = |x: f64| match law {
            Law::Uniform { low, high } => ((x - low) / (high - low)).clamp(0.0, 1.0),
            Law::Normal { mean, std } => normal((x - mean) / std),
            Law::Truncated { mean, std, low, high } => {
                let [x, a, b] = [x, low, high].map(|x| normal((x.clamp(low, high) - mean) / std));
                (x - a) / (b - a)
            }
            Law::Constant(_) => unreachable!(),
        };
        let count = w.len() as f64;
        let distance = w.iter().enumerate().fold(0.0_f64, |worst, (at, x)| {
            let p = cdf((*x).into());
            worst.max(p - at as f64 / count).max((at + 1) as f64 / count - p)
        });
        let limit = 1.95 / count.sqrt();
        println!("{text} | {} draws, Kolmogorov-Smirnov distance {distance:.5}, limit {limit:.5}", w.len());
        assert!(distance < limit, "{text}: {distance}");
        if let Law::Uniform { low, high } | Law::Truncated { low, high, .. } = law {
            let (least, most) = (f64::from(w[0]), f64::from(w[w.len() - 1]));
            let (width, rounding) = (high - low, 1e-7 * low.abs().max(high.abs()));
            assert!(least >= low - rounding && most <= high + rounding, "{text}: {least} to {most}");
            assert!(least < low + 0.001 * width && most > high - 0.001 * width, "{text}: {least} to {most}");
        }
    }
}

#[test]
fn any_output_is_as_likely_to_be_left_out() {
    let w = filled(Init::Sparse { sparsity: 0.5, std: 0.01 }, 4000, 6, stream(4, 2));
    for output in 0..6 {
        let zeros = (0..4000).filter(|input| w.get(output, *input) == 0.0).count();
        assert!(zeros.abs_diff(2000) < 200, "output {output}: {zeros}");
    }
}

#[test]
fn names_with_arguments() {
    for (text, init) in [
        ("normal", Init::Normal { mean: 0.0, std: 1.0 }),
        ("random_normal", Init::Normal { mean: 0.0, std: 0.05 }),
        ("normal(std=0.5)", Init::Normal { mean: 0.0, std: 0.5 }),
        ("uniform", Init::Uniform { low: 0.0, high: 1.0 }),
        ("random_uniform", Init::Uniform { low: -0.05, high: 0.05 }),
        ("trunc_normal", Init::TorchTruncatedNormal { mean: 0.0, std: 1.0, low: -2.0, high: 2.0 }),
        ("truncated_normal", Init::TruncatedNormal { mean: 0.0, std: 0.05 }),
        ("xavier_uniform(relu)", Init::XavierUniform { gain: core::f32::consts::SQRT_2 }),
        ("kaiming_uniform", Init::KaimingUniform { fan: Fan::In, of: Nonlinearity::LeakyRelu { slope: 0.0 } }),
        ("kaiming_normal(a=0.2)", Init::KaimingNormal { fan: Fan::In, of: Nonlinearity::LeakyRelu { slope: 0.2 } }),
        ("kaiming_normal(nonlinearity=tanh)", Init::KaimingNormal { fan: Fan::In, of: Nonlinearity::Tanh }),
        ("eye", Init::Identity { gain: 1.0 }),
        ("sparse(0.9)", Init::Sparse { sparsity: 0.9, std: 0.01 }),
        ("ones", Init::Ones),
    ] {
        assert_eq!(text.parse(), Ok(init), "{text}");
        assert_eq!(init.to_string().parse(), Ok(init), "{init}");
    }
    for text in [
        "sparse",
        "sparse(2)",
        "dirac",
        "normal(0, -1)",
        "normal(0, 1, 2)",
        "normal(mean=0, mean=1)",
        "normal(1, mean=0)",
        "uniform(2, 1)",
        "trunc_normal(0, 1, 2, 2)",
        "trunc_normal(0, 0)",
        "kaiming_normal(fan_avg)",
        "kaiming_normal(fan_in, tanh, 0.2)",
        "variance_scaling(0)",
        "variance_scaling(1, fan_in, normal)",
        "xavier_normal(gelu)",
        "uniform(inf)",
    ] {
        assert_eq!(text.parse::<Init>(), Err(Error::UnknownInit), "{text}");
    }
}

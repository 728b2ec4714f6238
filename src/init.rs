//! Initial weights: each a pure function of the seed, the layer and the weight's place in the matrix.
//!
//! Weight (output `o`, input `i`) draws element `o * inputs + i` of the layer's stream, so neither the memory layout nor the
//! order of filling matters, and layers under one seed differ (in Keras, layers given the same seed are equal). All
//! arithmetic is `f64` through `libm`, rounded once: the same bits on every machine.
//!
//! Scales and truncation are those of Keras' `VarianceScaling` (`keras/src/initializers/random_initializers.py`); the
//! methods are from Glorot and Bengio 2010, He et al. 2015 (both fans of a dense layer: its inputs and outputs), LeCun
//! et al. 1998, Saxe et al. 2013 (orthogonal), Martens 2010 (sparse), and `torch.nn.Linear`.
//!
//! Keras' and PyTorch's initialisers of one name differ: Keras' `*_normal` are cut off at two standard deviations and widened
//! so that the variance is kept, PyTorch's `xavier_normal_` and `kaiming_normal_` are not cut off. Keras' names (`glorot`, `he`,
//! `lecun`) mean Keras' variants here, PyTorch's (`xavier`, `kaiming`) PyTorch's. What needs more than two dimensions
//! (`dirac_`, Keras' `STFT`) has no meaning for a dense layer.
//!
//! ```
//! use evenkeel::Init;
//! use evenkeel::init::Law;
//!
//! // ±√(6 / inputs), of a layer from 6 inputs to 4 outputs.
//! assert_eq!(Init::HeUniform.law(6, 4), Some(Law::Uniform { low: -1.0, high: 1.0 }));
//! ```
//!
//! Must not depend on anything but `rng`, `quantile` and `libm`.

mod law;
mod text;

use crate::quantile;
use crate::rng::Stream;

pub use law::{Fan, Law, Nonlinearity, Shape};

/// A weight matrix in any layout.
pub trait WeightAccess {
    /// The weight from `input` to `output`.
    fn get(&self, output: usize, input: usize) -> f32;
    /// Sets the weight from `input` to `output`.
    fn set(&mut self, output: usize, input: usize, value: f32);
}

/// How a layer's weights start.
///
/// Uniform draws lie in ±√(3 v) and normal ones, cut off at two standard deviations, have variance v; v is 2 / (inputs +
/// outputs) for Glorot, 2 / inputs for He, 1 / inputs for LeCun.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// All 0: biases.
    Zeros,
    /// All equal.
    Constant(f32),
    /// Keras' default: for tanh and sigmoid.
    GlorotUniform,
    /// For tanh and sigmoid.
    GlorotNormal,
    /// For ReLU and its relatives.
    HeUniform,
    /// For ReLU and its relatives, in particular with batch norm.
    HeNormal,
    /// For SELU.
    LecunUniform,
    /// For SELU.
    LecunNormal,
    /// Orthonormal rows, or columns if there are more outputs than inputs, times `gain`.
    Orthogonal {
        /// The length of each row (or column).
        gain: f32,
    },
    /// PyTorch's default for a linear layer, weights and bias: uniform in ±1 / √inputs.
    TorchLinear,
    /// All 1.
    Ones,
    /// Uniform between two numbers: Keras' `RandomUniform`, by default ±0.05; PyTorch's `uniform_`, by default 0 to 1.
    Uniform {
        /// From this.
        low: f32,
        /// To this.
        high: f32,
    },
    /// Normal: Keras' `RandomNormal`, by default of deviation 0.05; PyTorch's `normal_`, by default 1.
    Normal {
        /// The mean.
        mean: f32,
        /// The standard deviation.
        std: f32,
    },
    /// Keras' `TruncatedNormal`: drawn again beyond two standard deviations, which makes it narrower.
    TruncatedNormal {
        /// The mean.
        mean: f32,
        /// The standard deviation before the cut, by default 0.05.
        std: f32,
    },
    /// PyTorch's `trunc_normal_`: cut off below `low` and above `high`, wherever they lie.
    TorchTruncatedNormal {
        /// The mean.
        mean: f32,
        /// The standard deviation before the cut, by default 1.
        std: f32,
        /// Nothing below, by default -2.
        low: f32,
        /// Nothing above, by default 2.
        high: f32,
    },
    /// Keras' `VarianceScaling`: variance `scale / fan`.
    VarianceScaling {
        /// By default 1.
        scale: f32,
        /// By default the inputs.
        fan: Fan,
        /// By default cut off at two standard deviations, widened so that the variance is kept.
        shape: Shape,
    },
    /// PyTorch's `xavier_uniform_`: in ±gain √(6 / (inputs + outputs)).
    XavierUniform {
        /// By default 1; see [`Nonlinearity::gain`].
        gain: f32,
    },
    /// PyTorch's `xavier_normal_`: deviation gain √(2 / (inputs + outputs)), not cut off.
    XavierNormal {
        /// By default 1; see [`Nonlinearity::gain`].
        gain: f32,
    },
    /// PyTorch's `kaiming_uniform_`: in ±gain √(3 / fan).
    KaimingUniform {
        /// By default the inputs.
        fan: Fan,
        /// Whose gain; by default leaky ReLU of slope 0.
        of: Nonlinearity,
    },
    /// PyTorch's `kaiming_normal_`: deviation gain / √fan, not cut off.
    KaimingNormal {
        /// By default the inputs.
        fan: Fan,
        /// Whose gain; by default leaky ReLU of slope 0.
        of: Nonlinearity,
    },
    /// `gain` from input `i` to output `i`, 0 elsewhere: Keras' `Identity`, PyTorch's `eye_`; any shape.
    Identity {
        /// By default 1.
        gain: f32,
    },
    /// PyTorch's `sparse_`: normal of mean 0, with `⌈sparsity · outputs⌉` weights of each input 0.
    Sparse {
        /// Share of zeros, from 0 to 1.
        sparsity: f32,
        /// Standard deviation of the others, by default 0.01.
        std: f32,
    },
}

/// Standard deviation of the standard normal distribution cut off at ±2.
const TRUNCATED_DEVIATION: f64 = 0.879_625_661_034_239_8;

impl Init {
    /// Sets all weights of a layer; `stream` is that of the layer at step 0.
    pub fn fill(self, inputs: usize, outputs: usize, stream: Stream, w: &mut impl WeightAccess) {
        let (fan_in, fan_out) = (inputs as f64, outputs as f64);
        let glorot = 2.0 / (fan_in + fan_out).max(2.0);
        let (he, lecun) = (2.0 / fan_in.max(1.0), 1.0 / fan_in.max(1.0));
        let each = |w: &mut _, draw: &dyn Fn(u64) -> f64| each(inputs, outputs, w, draw);
        let uniform_with = |variance: f64, w: &mut _| {
            let limit = libm::sqrt(3.0 * variance);
            each(w, &|element| uniform(stream, element) * limit);
        };
        let normal_with = |variance: f64, w: &mut _| {
            let deviation = libm::sqrt(variance) / TRUNCATED_DEVIATION;
            each(w, &|element| truncated_normal(stream, element) * deviation);
        };
        match self {
            Init::Zeros => each(w, &|_| 0.0),
            Init::Constant(value) => each(w, &|_| f64::from(value)),
            Init::GlorotUniform => uniform_with(glorot, w),
            Init::GlorotNormal => normal_with(glorot, w),
            Init::HeUniform => uniform_with(he, w),
            Init::HeNormal => normal_with(he, w),
            Init::LecunUniform => uniform_with(lecun, w),
            Init::LecunNormal => normal_with(lecun, w),
            Init::TorchLinear => uniform_with(lecun / 3.0, w),
            Init::Orthogonal { gain } => {
                each(w, &|element| normal(stream, element, 0));
                if outputs <= inputs {
                    orthonormalise(outputs, inputs, &mut Rows(w));
                } else {
                    orthonormalise(inputs, outputs, &mut Columns(w));
                }
                scale(inputs, outputs, w, gain);
            }
            Init::Identity { gain } => {
                let own = |element: u64| element / inputs.max(1) as u64 == element % inputs.max(1) as u64;
                each(w, &|element| if own(element) { f64::from(gain) } else { 0.0 });
            }
            Init::Sparse { sparsity, std } => {
                each(w, &|element| f64::from(std) * normal(stream, element, 0));
                thin_out(inputs, outputs, sparsity, stream, w);
            }
            _ => match self.law(inputs, outputs) {
                Some(Law::Uniform { low, high }) => {
                    each(w, &|element| low + (high - low) * open_unit(stream.word(element)));
                }
                Some(Law::Normal { mean, std }) => each(w, &|element| mean + std * normal(stream, element, 0)),
                Some(Law::Truncated { mean, std, low, high })
                    if low == mean - 2.0 * std && high == mean + 2.0 * std =>
                {
                    each(w, &|element| mean + std * truncated_normal(stream, element));
                }
                Some(Law::Truncated { mean, std, low, high }) => {
                    each(w, &|element| cut_normal(open_unit(stream.word(element)), mean, std, low, high));
                }
                Some(Law::Constant(value)) => each(w, &|_| value),
                None => {}
            },
        }
    }
}

/// Sets the same number of weights of each input to 0, all choices being equally likely (Knuth's algorithm S): each output in
/// turn with the probability of those still wanted among those still to come.
fn thin_out(inputs: usize, outputs: usize, sparsity: f32, stream: Stream, w: &mut impl WeightAccess) {
    let choice = stream.at_step(stream.step.wrapping_add(1 << 31));
    let zeros = libm::ceil(f64::from(sparsity) * outputs as f64) as usize;
    for input in 0..inputs {
        let mut wanted = zeros.min(outputs);
        for output in 0..outputs {
            let word = choice.word((output * inputs + input) as u64);
            if open_unit(word) * ((outputs - output) as f64) < wanted as f64 {
                w.set(output, input, 0.0);
                wanted -= 1;
            }
        }
    }
}

/// The quantile `u` of a normal distribution cut off at both ends.
///
/// An interval above the mean is mirrored: probabilities near 1 have lost their digits.
fn cut_normal(u: f64, mean: f64, std: f64, low: f64, high: f64) -> f64 {
    let (a, b) = ((low - mean) / std, (high - mean) / std);
    let z = if a > 0.0 {
        let (from, to) = (quantile::probability(-b), quantile::probability(-a));
        -quantile::normal(to - u * (to - from))
    } else {
        let (from, to) = (quantile::probability(a), quantile::probability(b));
        quantile::normal(from + u * (to - from))
    };
    // The rounding of a quantile may leave the interval by an ulp.
    (mean + std * z).clamp(low, high)
}

fn each(inputs: usize, outputs: usize, w: &mut impl WeightAccess, draw: &dyn Fn(u64) -> f64) {
    let mut element = 0;
    for output in 0..outputs {
        for input in 0..inputs {
            w.set(output, input, draw(element) as f32);
            element += 1;
        }
    }
}

fn scale(inputs: usize, outputs: usize, w: &mut impl WeightAccess, gain: f32) {
    for output in 0..outputs {
        for input in 0..inputs {
            w.set(output, input, w.get(output, input) * gain);
        }
    }
}

/// The middle of one of 2^32 equal parts of (0, 1).
fn open_unit(word: u32) -> f64 {
    (f64::from(word) + 0.5) / 4_294_967_296.0
}

/// Uniform in (-1, 1).
fn uniform(stream: Stream, element: u64) -> f64 {
    2.0 * open_unit(stream.word(element)) - 1.0
}

/// Standard normal by Box and Muller's cosine; attempt `a` takes the element's words at steps `2a` and `2a + 1`.
fn normal(stream: Stream, element: u64, attempt: u32) -> f64 {
    let word = |step| stream.at_step(stream.step.wrapping_add(step)).word(element);
    let (radius, angle) = (open_unit(word(2 * attempt)), open_unit(word(2 * attempt + 1)));
    libm::sqrt(-2.0 * libm::log(radius)) * libm::cos(core::f64::consts::TAU * angle)
}

/// Standard normal, drawn again while beyond ±2.
///
/// One attempt in 22 is rejected: 64 in a row do not happen, but a loop without an end is no thing for firmware.
fn truncated_normal(stream: Stream, element: u64) -> f64 {
    (0..64).map(|attempt| normal(stream, element, attempt)).find(|z| (-2.0..=2.0).contains(z)).unwrap_or(0.0)
}

/// The vectors to be made orthogonal: rows or columns of the weights.
trait Vectors {
    fn at(&self, vector: usize, i: usize) -> f32;
    fn put(&mut self, vector: usize, i: usize, value: f32);
}

struct Rows<'a, W>(&'a mut W);
struct Columns<'a, W>(&'a mut W);

impl<W: WeightAccess> Vectors for Rows<'_, W> {
    fn at(&self, vector: usize, i: usize) -> f32 {
        self.0.get(vector, i)
    }
    fn put(&mut self, vector: usize, i: usize, value: f32) {
        self.0.set(vector, i, value);
    }
}

impl<W: WeightAccess> Vectors for Columns<'_, W> {
    fn at(&self, vector: usize, i: usize) -> f32 {
        self.0.get(i, vector)
    }
    fn put(&mut self, vector: usize, i: usize, value: f32) {
        self.0.set(i, vector, value);
    }
}

/// Modified Gram-Schmidt in place, for `count <= length` vectors.
///
/// Each vector is orthogonalised twice and normalised after each time: the second pass removes what the rounding of the
/// first to `f32` left, so the products of two results are near 2^-24. Lengths stay positive, as in a QR
/// decomposition with positive diagonal: of normal vectors, that makes every orthogonal matrix equally likely.
fn orthonormalise(count: usize, length: usize, v: &mut impl Vectors) {
    for current in 0..count {
        for _pass in 0..2 {
            for earlier in 0..current {
                let product = dot(length, v, earlier, current);
                for i in 0..length {
                    let rest = f64::from(v.at(current, i)) - product * f64::from(v.at(earlier, i));
                    v.put(current, i, rest as f32);
                }
            }
            let norm = libm::sqrt(dot(length, v, current, current));
            if norm > 0.0 {
                for i in 0..length {
                    v.put(current, i, (f64::from(v.at(current, i)) / norm) as f32);
                }
            }
        }
    }
}

fn dot(length: usize, v: &impl Vectors, a: usize, b: usize) -> f64 {
    (0..length).fold(0.0, |sum, i| sum + f64::from(v.at(a, i)) * f64::from(v.at(b, i)))
}

//! Initial weights: each a pure function of the seed, the layer and the weight's place in the matrix.
//!
//! Weight (output `o`, input `i`) draws element `o * inputs + i` of the layer's stream, so neither the memory layout nor the
//! order of filling matters, and layers under one seed differ (in Keras, layers given the same seed are equal). All
//! arithmetic is `f64` through `libm`, rounded once: the same bits on every machine.
//!
//! Scales and truncation are those of Keras' `VarianceScaling` (`keras/src/initializers/random_initializers.py`); the
//! methods are from Glorot and Bengio 2010, He et al. 2015 (both fans of a dense layer: its inputs and outputs), LeCun
//! et al. 1998, Saxe et al. 2013 (orthogonal), and `torch.nn.Linear`.
//!
//! Must not depend on anything but `rng` and `libm`.

use core::fmt;
use core::str::FromStr;

use crate::error::Error;
use crate::rng::Stream;

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
        }
    }
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

/// The names without an argument, as [`Init`] is written and read.
const NAMES: [(&str, Init); 9] = [
    ("zeros", Init::Zeros),
    ("glorot_uniform", Init::GlorotUniform),
    ("glorot_normal", Init::GlorotNormal),
    ("he_uniform", Init::HeUniform),
    ("he_normal", Init::HeNormal),
    ("lecun_uniform", Init::LecunUniform),
    ("lecun_normal", Init::LecunNormal),
    ("torch_linear", Init::TorchLinear),
    ("orthogonal", Init::Orthogonal { gain: 1.0 }),
];

impl fmt::Display for Init {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (NAMES.iter().find(|(_, init)| init == self), self) {
            (Some((name, _)), _) => f.write_str(name),
            (None, Init::Constant(value)) => write!(f, "constant({value})"),
            (None, Init::Orthogonal { gain }) => write!(f, "orthogonal({gain})"),
            (None, _) => Ok(()),
        }
    }
}

impl FromStr for Init {
    type Err = Error;

    /// Reads a name as `Display` writes it: `he_normal`, `constant(0.1)`, `orthogonal`, `orthogonal(1.4142135)`.
    ///
    /// # Errors
    /// [`Error::UnknownInit`] if it is none of them, or its number is not finite.
    fn from_str(text: &str) -> Result<Init, Error> {
        if let Some((_, init)) = NAMES.iter().find(|(name, _)| *name == text) {
            return Ok(*init);
        }
        let (name, rest) = text.split_once('(').ok_or(Error::UnknownInit)?;
        let number = rest.strip_suffix(')').and_then(|number| number.parse().ok());
        match (name, number.filter(|number: &f32| number.is_finite())) {
            ("constant", Some(value)) => Ok(Init::Constant(value)),
            ("orthogonal", Some(gain)) => Ok(Init::Orthogonal { gain }),
            _ => Err(Error::UnknownInit),
        }
    }
}

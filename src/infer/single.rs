//! Inference of one row for firmware: code for no other operations than a known image has.

use super::scale_shift;
use crate::error::{Error, check_len};
use crate::image::{Image, Op, Weights, uses};
use crate::kernels::dense::{self, Dense, Last};
use crate::kernels::{activation, layernorm, softmax};
use crate::layer::{Activation, padded};
use crate::simd::{Kernel, Level, Simd};

/// A network that runs one row at a time, with the bits of [`Net`](super::Net) and a fraction of its code.
///
/// `USES` says which operations are compiled in, as bits of [`image::uses`](crate::image::uses). For an image that is
/// known when the firmware is compiled, [`Image::uses`] gives them: the rest of the library is not linked. An image
/// that comes later, over the air for instance, is refused by [`Single::new`] if it needs more.
///
/// ```
/// use evenkeel::image::Aligned;
/// use evenkeel::infer::Single;
/// use evenkeel::{Error, Image, Level};
///
/// # const FILE: [u8; include_bytes!("../../fuzz/seeds/image/xor.keel").len()] =
/// #     *include_bytes!("../../fuzz/seeds/image/xor.keel");
/// # macro_rules! include_bytes { ($name:literal) => { &FILE } }
/// const BYTES: &Aligned<[u8]> = &Aligned(*include_bytes!("model.keel"));
/// const IMAGE: Image<'static> = match Image::from_aligned(BYTES) {
///     Ok(image) => image,
///     Err(_) => panic!("model.keel is damaged"),
/// };
/// const NET: Single<'static, { IMAGE.uses() }> = match Single::new(IMAGE) {
///     Ok(net) => net,
///     Err(_) => panic!("model.keel uses more than it says"),
/// };
///
/// fn run(input: &[f32; IMAGE.inputs()]) -> Result<[f32; IMAGE.outputs()], Error> {
///     let (mut output, mut scratch) = ([0.0; IMAGE.outputs()], [0.0; NET.scratch_len()]);
///     NET.infer(Level::detect(), input, &mut output, &mut scratch)?;
///     Ok(output)
/// }
/// # run(&[0.0; IMAGE.inputs()]).unwrap();
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Single<'a, const USES: u32> {
    image: Image<'a>,
}

impl<'a, const USES: u32> Single<'a, USES> {
    /// The network of a checked image.
    ///
    /// # Errors
    /// [`Error::Operations`] if the image has operations that `USES` does not name.
    pub const fn new(image: Image<'a>) -> Result<Self, Error> {
        let missing = image.uses() & !USES;
        if missing == 0 { Ok(Self { image }) } else { Err(Error::Operations { missing }) }
    }

    /// The image.
    #[must_use]
    pub const fn image(&self) -> &Image<'a> {
        &self.image
    }

    /// Length of the scratch in values: two rows of the widest layer.
    #[must_use]
    pub const fn scratch_len(&self) -> usize {
        2 * self.image.scratch_width()
    }

    /// Runs the network on one row.
    ///
    /// `input` and `output` are as long as the image says, `scratch` has at least
    /// [`scratch_len`](Single::scratch_len) values; its contents are irrelevant. NaN and infinity pass through. Without
    /// `std`, [`Level::detect`] is a constant, and only that level's code is linked.
    ///
    /// # Errors
    /// [`Error::Length`] if a slice has another length; nothing has been written then.
    #[inline]
    pub fn infer(&self, level: Level, input: &[f32], output: &mut [f32], scratch: &mut [f32]) -> Result<(), Error> {
        check_len("input", self.image.inputs(), input.len())?;
        check_len("output", self.image.outputs(), output.len())?;
        let width = self.image.scratch_width();
        let found = scratch.len();
        let short = Error::Length { what: "scratch", expected: self.scratch_len(), found };
        let Some((mut current, rest)) = scratch.split_at_mut_checked(width) else { return Err(short) };
        let Some((mut next, _)) = rest.split_at_mut_checked(width) else { return Err(short) };

        // A dense operation reads one half of the scratch (the first one: the caller's row) and writes the other; all
        // others work in place.
        let mut fresh = true;
        for op in self.image.ops() {
            if let Op::Dense { inputs, outputs, weights, bias, activation } = op {
                let x = if fresh { input } else { &*current };
                let (Some(x), Some(y)) = (x.get(..inputs), next.get_mut(..padded(outputs))) else { return Err(short) };
                let last = if activation == Some(Activation::Relu) { Last::Relu } else { Last::Nothing };
                match weights {
                    Weights::F32(weights) if USES & uses::DENSE_F32 != 0 => {
                        dense::one_row(level, Dense { inputs, outputs, weights, bias }, last, 0, x, y);
                    }
                    Weights::F16(weights) if USES & uses::DENSE_F16 != 0 => {
                        dense::one_row(level, Dense { inputs, outputs, weights, bias }, last, 0, x, y);
                    }
                    // Refused by `new`.
                    _ => {}
                }
                if let Some(activation) = activation
                    && activation != Activation::Relu
                {
                    activate::<USES>(level, activation, y);
                }
                (current, next) = (next, current);
            } else {
                if fresh {
                    current.fill(0.0);
                    current.iter_mut().zip(input).for_each(|(x, input)| *x = *input);
                }
                in_place::<USES>(level, op, current)?;
            }
            fresh = false;
        }
        let y = if fresh { input } else { &*current };
        output.iter_mut().zip(y).for_each(|(output, y)| *output = *y);
        Ok(())
    }
}

/// An operation on the row `x` other than a dense layer, if it is compiled in.
#[inline(always)]
fn in_place<const USES: u32>(level: Level, op: Op<'_>, x: &mut [f32]) -> Result<(), Error> {
    match op {
        Op::ScaleShift { features, center, scale, shift } if USES & uses::SCALE_SHIFT != 0 => {
            scale_shift(level, 1, center, scale, shift, row(x, features));
            Ok(())
        }
        Op::Activation { features, activation } if USES & uses::ACTIVATION != 0 => {
            activate::<USES>(level, activation, row(x, features));
            Ok(())
        }
        Op::Softmax { features } if USES & uses::SOFTMAX != 0 => softmax::softmax(level, features, 1, row(x, features)),
        Op::LogSoftmax { features } if USES & uses::LOG_SOFTMAX != 0 => {
            softmax::log_softmax(level, features, 1, row(x, features))
        }
        Op::LayerNorm { features, eps, scale, shift } if USES & uses::LAYER_NORM != 0 => {
            layernorm::layer_norm(level, features, 1, eps, scale, shift, row(x, features))
        }
        _ => Ok(()),
    }
}

/// The groups of a row.
fn row(x: &mut [f32], features: usize) -> &mut [f32] {
    x.get_mut(..padded(features)).unwrap_or_default()
}

/// An activation, if it is compiled in.
#[inline(always)]
fn activate<const USES: u32>(level: Level, activation: Activation, x: &mut [f32]) {
    match activation {
        Activation::Relu if USES & uses::RELU != 0 => level.run(Apply::<{ uses::RELU }>(0.0, x)),
        Activation::Sigmoid if USES & uses::SIGMOID != 0 => level.run(Apply::<{ uses::SIGMOID }>(0.0, x)),
        Activation::Tanh if USES & uses::TANH != 0 => level.run(Apply::<{ uses::TANH }>(0.0, x)),
        Activation::Gelu if USES & uses::GELU != 0 => level.run(Apply::<{ uses::GELU }>(0.0, x)),
        Activation::Silu if USES & uses::SILU != 0 => level.run(Apply::<{ uses::SILU }>(0.0, x)),
        Activation::Selu if USES & uses::SELU != 0 => level.run(Apply::<{ uses::SELU }>(0.0, x)),
        Activation::GeluTanh if USES & uses::GELU_TANH != 0 => level.run(Apply::<{ uses::GELU_TANH }>(0.0, x)),
        Activation::Softsign if USES & uses::SOFTSIGN != 0 => level.run(Apply::<{ uses::SOFTSIGN }>(0.0, x)),
        Activation::HardSigmoid if USES & uses::HARD_SIGMOID != 0 => level.run(Apply::<{ uses::HARD_SIGMOID }>(0.0, x)),
        Activation::HardSwish if USES & uses::HARD_SWISH != 0 => level.run(Apply::<{ uses::HARD_SWISH }>(0.0, x)),
        Activation::Relu6 if USES & uses::RELU6 != 0 => level.run(Apply::<{ uses::RELU6 }>(0.0, x)),
        Activation::Mish if USES & uses::MISH != 0 => level.run(Apply::<{ uses::MISH }>(0.0, x)),
        Activation::LeakyRelu { slope } if USES & uses::LEAKY_RELU != 0 => {
            level.run(Apply::<{ uses::LEAKY_RELU }>(slope, x))
        }
        Activation::Elu { alpha } if USES & uses::ELU != 0 => level.run(Apply::<{ uses::ELU }>(alpha, x)),
        Activation::Celu { alpha } if USES & uses::CELU != 0 => level.run(Apply::<{ uses::CELU }>(alpha, x)),
        Activation::Softplus { beta } if USES & uses::SOFTPLUS != 0 => level.run(Apply::<{ uses::SOFTPLUS }>(beta, x)),
        Activation::ThresholdedRelu { theta } if USES & uses::THRESHOLDED_RELU != 0 => {
            level.run(Apply::<{ uses::THRESHOLDED_RELU }>(theta, x))
        }
        _ => {}
    }
}

/// The activation of one bit, with its parameter if it has one: brings its own code and no other's.
struct Apply<'x, const BIT: u32>(f32, &'x mut [f32]);

impl<const BIT: u32> Kernel for Apply<'_, BIT> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self(parameter, x) = self;
        let activation = match BIT {
            uses::RELU => Activation::Relu,
            uses::SIGMOID => Activation::Sigmoid,
            uses::TANH => Activation::Tanh,
            uses::GELU => Activation::Gelu,
            uses::SELU => Activation::Selu,
            uses::GELU_TANH => Activation::GeluTanh,
            uses::SOFTSIGN => Activation::Softsign,
            uses::HARD_SIGMOID => Activation::HardSigmoid,
            uses::HARD_SWISH => Activation::HardSwish,
            uses::RELU6 => Activation::Relu6,
            uses::MISH => Activation::Mish,
            uses::LEAKY_RELU => Activation::LeakyRelu { slope: parameter },
            uses::ELU => Activation::Elu { alpha: parameter },
            uses::CELU => Activation::Celu { alpha: parameter },
            uses::SOFTPLUS => Activation::Softplus { beta: parameter },
            uses::THRESHOLDED_RELU => Activation::ThresholdedRelu { theta: parameter },
            _ => Activation::Silu,
        };
        activation::forward_body(s, activation, x);
    }
}

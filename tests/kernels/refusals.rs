//! Wrong lengths and shapes: a typed error each, nothing written, no panic.

use crate::common::levels;
use evenkeel::Level;
use evenkeel::error::Error;
use evenkeel::kernels::{activation, batchnorm, dense, softmax};
use evenkeel::layer::{Activation, MAX_WIDTH};
use evenkeel::split::Serial;

/// What buffers are filled with: whoever writes leaves something else.
const CANARY: f32 = 7.25;

fn buffer(len: usize) -> Vec<f32> {
    vec![CANARY; len]
}

/// What a kernel returned, and what it left in its buffers.
type Outcome = (Result<(), Error>, Vec<Vec<f32>>);

/// A kernel with the lengths of its slices as arguments.
struct Entry<'a> {
    name: &'a str,
    /// The right lengths.
    lengths: &'a [usize],
    /// Lengths of single arguments that are as good: `(argument, length)`; `usize::MAX` stands for any longer one.
    also: &'a [(usize, usize)],
    /// Runs it and hands back all buffers it could have written to.
    call: &'a dyn Fn(Level, &[usize]) -> Outcome,
}

/// Calls with each length wrong in turn; returns the number of refusals.
fn refuses(entry: &Entry<'_>) -> usize {
    let Entry { name, lengths, also, call } = *entry;
    let mut refusals = 0;
    for level in levels() {
        assert_eq!(call(level, lengths).0, Ok(()), "{name}: right lengths");
        for (argument, right) in lengths.iter().copied().enumerate() {
            for wrong in [0, 1, right - 1, right - 16, right + 1, right + 16, right * 2] {
                let good = wrong == right
                    || also.contains(&(argument, wrong))
                    || (wrong > right && also.contains(&(argument, usize::MAX)));
                if good {
                    continue;
                }
                let mut lengths = lengths.to_vec();
                lengths[argument] = wrong;
                let (result, buffers) = call(level, &lengths);
                let error = result.expect_err(&format!("{name}: argument {argument} with {wrong} values, not {right}"));
                assert!(matches!(error, Error::Length { .. } | Error::BatchOfOne), "{name}: {error}");
                assert!(!error.to_string().is_empty());
                let written = buffers.iter().flatten().any(|value| value.to_bits() != CANARY.to_bits());
                assert!(
                    !written,
                    "{name}: argument {argument} with {wrong} values, not {right}: something was written"
                );
                refusals += 1;
            }
        }
    }
    println!("{name}: {refusals} refusals");
    refusals
}

const ROWS: usize = 5;
const INPUTS: usize = 40;
const OUTPUTS: usize = 21;

#[test]
fn dense_lengths() {
    let shape = (INPUTS, OUTPUTS);
    let (weights, x, width) = (INPUTS * 24, (ROWS - 1) * 43 + INPUTS, 32);
    refuses(&Entry {
        name: "dense forward",
        lengths: &[weights, width, x, ROWS * width],
        also: &[(2, usize::MAX)],
        call: &|level, len| {
            let (weights, bias, x, mut y) = (buffer(len[0]), buffer(len[1]), buffer(len[2]), buffer(len[3]));
            let operands = dense::Dense { inputs: INPUTS, outputs: OUTPUTS, weights: &weights, bias: Some(&bias) };
            (dense::forward(level, &Serial, operands, ROWS, &x, 43, &mut y), vec![y])
        },
    });
    refuses(&Entry {
        name: "dense forward, f16 weights",
        lengths: &[weights, width],
        also: &[],
        call: &|level, len| {
            let (weights, mut y) = (vec![0_u16; len[0]], buffer(len[1]));
            let operands = dense::Dense { inputs: INPUTS, outputs: OUTPUTS, weights: &weights, bias: None };
            (dense::forward(level, &Serial, operands, 1, &[1.0; INPUTS], INPUTS, &mut y), vec![y])
        },
    });
    refuses(&Entry {
        name: "weight gradient",
        lengths: &[x, ROWS * width, weights],
        also: &[(0, usize::MAX)],
        call: &|level, len| {
            let (x, dy, mut gradient) = (buffer(len[0]), buffer(len[1]), buffer(len[2]));
            (dense::weight_gradient(level, &Serial, shape, ROWS, &x, 43, &dy, &mut gradient), vec![gradient])
        },
    });
    refuses(&Entry {
        name: "bias gradient",
        lengths: &[ROWS * width, width],
        // Any whole number of rows, also none, and 16 as well as 32 columns, make sense.
        also: &[(0, 0), (0, ROWS * width * 2), (1, 16)],
        call: &|level, len| {
            let (dy, mut gradient) = (buffer(len[0]), buffer(len[1]));
            (dense::bias_gradient(level, &Serial, &dy, &mut gradient), vec![gradient])
        },
    });
    refuses(&Entry {
        name: "input gradient",
        lengths: &[weights, ROWS * width, 48 * OUTPUTS, ROWS * 48],
        also: &[],
        call: &|level, len| {
            let (weights, dy) = (buffer(len[0]), buffer(len[1]));
            let (mut turned, mut dx) = (buffer(len[2]), buffer(len[3]));
            let result = dense::input_gradient(level, &Serial, shape, &weights, ROWS, &dy, &mut turned, &mut dx);
            (result, vec![turned, dx])
        },
    });
}

#[test]
fn dense_shapes() {
    for level in levels() {
        for (inputs, outputs) in
            [(0, 1), (1, 0), (0, 0), (MAX_WIDTH + 1, 1), (1, MAX_WIDTH + 1), (usize::MAX, usize::MAX)]
        {
            let refused = Err(Error::Shape { inputs, outputs });
            let operands = dense::Dense::<f32> { inputs, outputs, weights: &[], bias: None };
            assert_eq!(dense::forward(level, &Serial, operands, 1, &[], inputs, &mut []), refused);
            let shape = (inputs, outputs);
            assert_eq!(dense::weight_gradient(level, &Serial, shape, 1, &[], inputs, &[], &mut []), refused);
            assert_eq!(dense::input_gradient(level, &Serial, shape, &[], 1, &[], &mut [], &mut []), refused);
        }
        // The largest shape with nothing behind it, and numbers of rows and strides whose product overflows.
        let operands = dense::Dense::<f32> { inputs: MAX_WIDTH, outputs: MAX_WIDTH, weights: &[], bias: None };
        assert!(dense::forward(level, &Serial, operands, 1, &[], MAX_WIDTH, &mut []).is_err());
        let shape = (MAX_WIDTH, MAX_WIDTH);
        assert!(dense::weight_gradient(level, &Serial, shape, 0, &[], MAX_WIDTH, &[], &mut []).is_err());
        assert!(dense::input_gradient(level, &Serial, shape, &[], 0, &[], &mut [], &mut []).is_err());
        let operands = dense::Dense { inputs: 2, outputs: 1, weights: &[1.0; 8], bias: None };
        for (rows, stride) in [(1, 0), (1, 1), (2, usize::MAX), (usize::MAX, 2), (usize::MAX, usize::MAX)] {
            let mut y = buffer(16);
            let result = dense::forward(level, &Serial, operands, rows, &[1.0, 1.0], stride, &mut y);
            assert!(matches!(result, Err(Error::Length { .. })), "{rows} rows {stride} apart: {result:?}");
            assert!(y.iter().all(|y| *y == CANARY));
        }
    }
}

#[test]
fn batch_norm_lengths() {
    let (width, values) = (32, ROWS * 32);
    refuses(&Entry {
        name: "batch-norm statistics",
        lengths: &[values, 5 * width],
        also: &[(0, values * 2)],
        call: &|level, len| {
            let (x, mut cache) = (buffer(len[0]), buffer(len[1]));
            (batchnorm::statistics(level, &Serial, width, 1e-5, &x, &mut cache), vec![cache])
        },
    });
    refuses(&Entry {
        name: "batch-norm output",
        lengths: &[5 * width, width, width, values, values],
        also: &[],
        call: &|level, len| {
            let (cache, gamma, beta) = (buffer(len[0]), buffer(len[1]), buffer(len[2]));
            let (x, mut y) = (buffer(len[3]), buffer(len[4]));
            (batchnorm::normalize(level, &Serial, &cache, &gamma, &beta, &x, &mut y), vec![y])
        },
    });
    refuses(&Entry {
        name: "batch-norm gradients",
        lengths: &[5 * width, width, values, values, width, width],
        also: &[],
        call: &|level, len| {
            let (cache, gamma, x) = (buffer(len[0]), buffer(len[1]), buffer(len[2]));
            let (mut dy, mut dgamma, mut dbeta) = (buffer(len[3]), buffer(len[4]), buffer(len[5]));
            let (dy, dgamma_, dbeta_) = (&mut dy, &mut dgamma, &mut dbeta);
            let result = batchnorm::backward(level, &Serial, &cache, &gamma, &x, dy, dgamma_, dbeta_);
            (result, vec![dy.clone(), dgamma, dbeta])
        },
    });
    refuses(&Entry {
        name: "batch-norm running statistics",
        lengths: &[5 * width, width, width],
        also: &[],
        call: &|_, len| {
            let (cache, mut mean, mut var) = (vec![1.0; len[0]], buffer(len[1]), buffer(len[2]));
            (batchnorm::update_running(&cache, ROWS, 0.1, true, &mut mean, &mut var), vec![mean, var])
        },
    });
    refuses(&Entry {
        name: "batch-norm frozen statistics",
        lengths: &[width, width, 5 * width],
        also: &[],
        call: &|level, len| {
            let (mean, var, mut cache) = (buffer(len[0]), buffer(len[1]), buffer(len[2]));
            (batchnorm::freeze(level, 1e-5, &mean, &var, &mut cache), vec![cache])
        },
    });
}

#[test]
fn batch_norm_shapes() {
    for level in levels() {
        // Not whole groups: the length fits, the kernel does not count in it.
        for width in [0, 1, 8, 15, 17, usize::MAX, usize::MAX - 15] {
            let held = if width > 100 { 0 } else { width };
            let (x, mut cache) = (buffer(4 * held), buffer(5 * held));
            let result = batchnorm::statistics(level, &Serial, width, 1e-5, &x, &mut cache);
            assert!(result.is_err(), "statistics of {width} columns");
            let (mut mean, mut var, mut y) = (buffer(held), buffer(held), buffer(4 * held));
            let result = batchnorm::update_running(&cache, 4, 0.1, true, &mut mean, &mut var);
            assert!(result.is_err(), "running statistics of {held} columns");
            assert!(batchnorm::normalize(level, &Serial, &cache, &mean, &var, &x, &mut y).is_err());
            assert!(batchnorm::freeze(level, 1e-5, &mean, &var, &mut cache).is_err());
            assert!([cache, mean, var, y].iter().flatten().all(|value| *value == CANARY));
        }
        for rows in [0, 1] {
            let (x, mut cache, mut mean, mut var) = (buffer(rows * 16), buffer(80), buffer(16), buffer(16));
            let refused = Err(Error::BatchOfOne);
            assert_eq!(batchnorm::statistics(level, &Serial, 16, 1e-5, &x, &mut cache), refused);
            assert_eq!(batchnorm::update_running(&cache, rows, 0.1, true, &mut mean, &mut var), refused);
            assert!([cache, mean, var].iter().flatten().all(|value| *value == CANARY));
        }
    }
}

#[test]
fn softmax_lengths() {
    let values = ROWS * 32;
    let whole = &[(0, 0), (0, values * 2)];
    for (name, kernel) in
        [("softmax", softmax::softmax as fn(_, _, &mut _) -> _), ("log-softmax", softmax::log_softmax)]
    {
        refuses(&Entry {
            name,
            lengths: &[values],
            also: whole,
            call: &|level, len| {
                let mut x = buffer(len[0]);
                (kernel(level, OUTPUTS, &mut x), vec![x])
            },
        });
    }
    type Backward = fn(Level, usize, &[f32], &mut [f32]) -> Result<(), Error>;
    let backward: [(&str, Backward); 2] =
        [("softmax gradient", softmax::softmax_backward), ("log-softmax gradient", softmax::log_softmax_backward)];
    for (name, kernel) in backward {
        refuses(&Entry {
            name,
            lengths: &[values, values],
            also: &[],
            call: &|level, len| {
                let (y, mut dy) = (buffer(len[0]), buffer(len[1]));
                (kernel(level, OUTPUTS, &y, &mut dy), vec![dy])
            },
        });
    }
    for level in levels() {
        for cols in [0, usize::MAX, usize::MAX - 15, usize::MAX / 2] {
            for len in [0, 16] {
                let mut x = buffer(len);
                assert!(softmax::softmax(level, cols, &mut x).is_err(), "{cols} columns");
                assert!(softmax::log_softmax(level, cols, &mut x).is_err(), "{cols} columns");
                assert!(softmax::softmax_backward(level, cols, &[], &mut x).is_err(), "{cols} columns");
                assert!(x.iter().all(|x| *x == CANARY));
            }
        }
    }
}

#[test]
fn activation_lengths() {
    // More than one task, so that the later ones have nothing to start from.
    let values = 40_000;
    refuses(&Entry {
        name: "activation gradient",
        lengths: &[values, values],
        // Surplus of what was saved is ignored.
        also: &[(0, usize::MAX), (1, 0), (1, 1), (1, values - 1), (1, values - 16)],
        call: &|level, len| {
            let (saved, mut dy) = (buffer(len[0]), buffer(len[1]));
            (activation::backward(level, &Serial, Activation::Silu, &saved, &mut dy), vec![dy])
        },
    });
}

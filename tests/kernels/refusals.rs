//! Wrong lengths and shapes: a typed error each, nothing written, no panic.

use crate::common::levels;
use evenkeel::Level;
use evenkeel::error::Error;
use evenkeel::kernels::groups::Rows;
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

/// A forward product: into groups or into plain rows.
fn product<W: dense::Weight>(
    level: Level,
    into: &str,
    operands: dense::Dense<'_, W>,
    x: Result<Rows<'_>, Error>,
    y: &mut [f32],
) -> Result<(), Error> {
    match into {
        "groups" => dense::forward(level, &Serial, operands, x?, y),
        "activated groups" => dense::forward_then(level, &Serial, operands, x?, Some(Activation::Relu), y),
        _ => dense::forward_plain(level, &Serial, operands, x?, y),
    }
}

const INTO: [&str; 3] = ["groups", "activated groups", "plain rows"];

#[test]
fn dense_lengths() {
    let (weights, width) = (INPUTS * 24, 32);
    let (plain, grouped) = ((ROWS - 1) * 43 + INPUTS, ROWS * 48);
    for into in INTO {
        refuses(&Entry {
            name: &format!("dense forward from plain rows into {into}"),
            lengths: &[weights, width, plain, ROWS * width],
            also: &[(2, usize::MAX)],
            call: &|level, len| {
                let (weights, bias, x, mut y) = (buffer(len[0]), buffer(len[1]), buffer(len[2]), buffer(len[3]));
                let operands = dense::Dense { inputs: INPUTS, outputs: OUTPUTS, weights: &weights, bias: Some(&bias) };
                (product(level, into, operands, Rows::plain(&x, ROWS, INPUTS, 43), &mut y), vec![y])
            },
        });
        refuses(&Entry {
            name: &format!("dense forward from groups into {into}"),
            lengths: &[weights, width, grouped, ROWS * width],
            also: &[],
            call: &|level, len| {
                let (weights, bias, x, mut y) = (buffer(len[0]), buffer(len[1]), buffer(len[2]), buffer(len[3]));
                let operands = dense::Dense { inputs: INPUTS, outputs: OUTPUTS, weights: &weights, bias: Some(&bias) };
                (product(level, into, operands, Rows::grouped(&x, ROWS, INPUTS), &mut y), vec![y])
            },
        });
        refuses(&Entry {
            name: &format!("dense forward, f16 weights, into {into}"),
            lengths: &[weights, width],
            also: &[],
            call: &|level, len| {
                let (weights, mut y) = (vec![0_u16; len[0]], buffer(len[1]));
                let operands = dense::Dense { inputs: INPUTS, outputs: OUTPUTS, weights: &weights, bias: None };
                (product(level, into, operands, Rows::plain(&[1.0; INPUTS], 1, INPUTS, INPUTS), &mut y), vec![y])
            },
        });
    }
}

#[test]
fn gradient_lengths() {
    let (shape, weights, x, width) = ((INPUTS, OUTPUTS), INPUTS * 24, ROWS * 48, 32);
    refuses(&Entry {
        name: "weight gradient",
        lengths: &[x, ROWS * width, weights],
        also: &[],
        call: &|level, len| {
            let (x, dy, mut gradient) = (buffer(len[0]), buffer(len[1]), buffer(len[2]));
            (dense::weight_gradient(level, &Serial, shape, ROWS, &x, &dy, &mut gradient), vec![gradient])
        },
    });
    refuses(&Entry {
        name: "bias gradient",
        lengths: &[ROWS * width, width],
        also: &[],
        call: &|level, len| {
            let (dy, mut gradient) = (buffer(len[0]), buffer(len[1]));
            (dense::bias_gradient(level, &Serial, ROWS, &dy, &mut gradient), vec![gradient])
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
    let wrong = [(0, 1), (1, 0), (0, 0), (MAX_WIDTH + 1, 1), (1, MAX_WIDTH + 1), (usize::MAX, usize::MAX)];
    for level in levels() {
        let none = Rows::plain(&[], 0, 0, 0);
        for (inputs, outputs) in wrong {
            let refused = Err(Error::Shape { inputs, outputs });
            let operands = dense::Dense::<f32> { inputs, outputs, weights: &[], bias: None };
            for into in INTO {
                assert_eq!(product(level, into, operands, none, &mut []), refused);
            }
            let shape = (inputs, outputs);
            assert_eq!(dense::weight_gradient(level, &Serial, shape, 1, &[], &[], &mut []), refused);
            assert_eq!(dense::input_gradient(level, &Serial, shape, &[], 1, &[], &mut [], &mut []), refused);
        }
        // The largest shape with nothing behind it, and numbers of rows that overflow.
        let operands = dense::Dense::<f32> { inputs: MAX_WIDTH, outputs: MAX_WIDTH, weights: &[], bias: None };
        for into in INTO {
            assert!(product(level, into, operands, Rows::plain(&[], 0, MAX_WIDTH, MAX_WIDTH), &mut []).is_err());
        }
        let shape = (MAX_WIDTH, MAX_WIDTH);
        assert!(dense::weight_gradient(level, &Serial, shape, 0, &[], &[], &mut []).is_err());
        assert!(dense::input_gradient(level, &Serial, shape, &[], 0, &[], &mut [], &mut []).is_err());
        for rows in [usize::MAX, usize::MAX / 16 + 1] {
            let (mut dw, mut db, mut turned) = (buffer(8), buffer(16), buffer(16));
            assert!(dense::weight_gradient(level, &Serial, (2, 1), rows, &[], &[], &mut dw).is_err());
            assert!(dense::bias_gradient(level, &Serial, rows, &[], &mut db).is_err());
            let result = dense::input_gradient(level, &Serial, (2, 1), &[1.0; 8], rows, &[], &mut turned, &mut []);
            assert!(result.is_err());
            assert!([dw, db, turned].iter().flatten().all(|value| *value == CANARY));
        }
        // Not whole groups of outputs.
        for width in [0, 1, 15, 17] {
            let mut db = buffer(width);
            assert!(dense::bias_gradient(level, &Serial, 2, &buffer(2 * width), &mut db).is_err(), "{width} outputs");
            assert!(db.iter().all(|value| *value == CANARY));
        }
        // Rows of another width than the layer's inputs; with more of them than memory can have.
        let operands = dense::Dense { inputs: 2, outputs: 1, weights: &[1.0; 8], bias: None };
        let endless = [Rows::plain(&[], usize::MAX, 0, 0), Rows::grouped(&[], usize::MAX, 0)];
        for x in [Rows::plain(&[1.0; 3], 1, 3, 3), Rows::grouped(&[1.0; 16], 1, 1)].into_iter().chain(endless) {
            for into in INTO {
                let mut y = buffer(16);
                let error = product(level, into, operands, x, &mut y).expect_err("rows of another width");
                assert!(matches!(error, Error::Length { what: "input features", expected: 2, .. }), "{error}");
                assert!(y.iter().all(|y| *y == CANARY));
            }
        }
    }
}

#[test]
fn batch_norm_lengths() {
    let (width, values) = (32, ROWS * 32);
    refuses(&Entry {
        name: "batch-norm statistics",
        lengths: &[values, 5 * width],
        also: &[],
        call: &|level, len| {
            let (x, mut cache) = (buffer(len[0]), buffer(len[1]));
            (batchnorm::statistics(level, &Serial, ROWS, 1e-5, &x, &mut cache), vec![cache])
        },
    });
    refuses(&Entry {
        name: "batch-norm output",
        lengths: &[5 * width, width, width, values, values],
        also: &[],
        call: &|level, len| {
            let (cache, gamma, beta) = (buffer(len[0]), buffer(len[1]), buffer(len[2]));
            let (x, mut y) = (buffer(len[3]), buffer(len[4]));
            (batchnorm::normalize(level, &Serial, ROWS, &cache, &gamma, &beta, &x, &mut y), vec![y])
        },
    });
    refuses(&Entry {
        name: "batch-norm statistics and output",
        lengths: &[width, width, values, values, 5 * width],
        also: &[],
        call: &|level, len| {
            let (gamma, beta, x) = (buffer(len[0]), buffer(len[1]), buffer(len[2]));
            let (mut y, mut cache) = (buffer(len[3]), buffer(len[4]));
            let result = batchnorm::forward(level, &Serial, ROWS, 1e-5, &gamma, &beta, &x, &mut y, &mut cache);
            (result, vec![y, cache])
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
            let result = batchnorm::backward(level, &Serial, ROWS, &cache, &gamma, &x, dy, dgamma_, dbeta_);
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
        for width in [0, 1, 8, 15, 17] {
            let (x, mut cache) = (buffer(4 * width), buffer(5 * width));
            let result = batchnorm::statistics(level, &Serial, 4, 1e-5, &x, &mut cache);
            assert!(result.is_err(), "statistics of {width} columns");
            let (mut mean, mut var, mut y) = (buffer(width), buffer(width), buffer(4 * width));
            let result = batchnorm::update_running(&cache, 4, 0.1, true, &mut mean, &mut var);
            assert!(result.is_err(), "running statistics of {width} columns");
            assert!(batchnorm::normalize(level, &Serial, 4, &cache, &mean, &var, &x, &mut y).is_err());
            let (dgamma, dbeta) = (&mut mean.clone(), &mut var.clone());
            assert!(batchnorm::backward(level, &Serial, 4, &cache, &mean, &x, &mut y, dgamma, dbeta).is_err());
            assert!(batchnorm::freeze(level, 1e-5, &mean, &var, &mut cache).is_err());
            assert!([&cache, &mean, &var, &y, dgamma, dbeta].into_iter().flatten().all(|value| *value == CANARY));
        }
        // Numbers of rows whose product with the width overflows.
        for rows in [usize::MAX, usize::MAX / 16 + 1, usize::MAX / 16 + 2] {
            let (x, mut y, mut cache, mut vector) = (buffer(16), buffer(16), buffer(80), buffer(16));
            let gamma = buffer(16);
            assert!(batchnorm::statistics(level, &Serial, rows, 1e-5, &x, &mut cache).is_err());
            assert!(batchnorm::normalize(level, &Serial, rows, &cache, &gamma, &gamma, &x, &mut y).is_err());
            let result =
                batchnorm::backward(level, &Serial, rows, &cache, &gamma, &x, &mut y, &mut vector, &mut buffer(16));
            assert!(result.is_err());
            assert!([cache, y, vector].iter().flatten().all(|value| *value == CANARY));
        }
        for rows in [0, 1] {
            let (x, mut cache, mut mean, mut var) = (buffer(rows * 16), buffer(80), buffer(16), buffer(16));
            let refused = Err(Error::BatchOfOne);
            assert_eq!(batchnorm::statistics(level, &Serial, rows, 1e-5, &x, &mut cache), refused);
            assert_eq!(batchnorm::update_running(&cache, rows, 0.1, true, &mut mean, &mut var), refused);
            let (vector, mut y) = ([1.0; 16], buffer(x.len()));
            let result = batchnorm::forward(level, &Serial, rows, 1e-5, &vector, &vector, &x, &mut y, &mut cache);
            assert_eq!(result, refused);
            assert!([cache, mean, var, y].iter().flatten().all(|value| *value == CANARY));
        }
    }
}

#[test]
fn softmax_lengths() {
    let values = ROWS * 32;
    for (name, kernel) in
        [("softmax", softmax::softmax as fn(_, _, _, &mut _) -> _), ("log-softmax", softmax::log_softmax)]
    {
        refuses(&Entry {
            name,
            lengths: &[values],
            also: &[],
            call: &|level, len| {
                let mut x = buffer(len[0]);
                (kernel(level, OUTPUTS, ROWS, &mut x), vec![x])
            },
        });
    }
    type Backward = fn(Level, usize, usize, &[f32], &mut [f32]) -> Result<(), Error>;
    let backward: [(&str, Backward); 2] =
        [("softmax gradient", softmax::softmax_backward), ("log-softmax gradient", softmax::log_softmax_backward)];
    for (name, kernel) in backward {
        refuses(&Entry {
            name,
            lengths: &[values, values],
            also: &[],
            call: &|level, len| {
                let (y, mut dy) = (buffer(len[0]), buffer(len[1]));
                (kernel(level, OUTPUTS, ROWS, &y, &mut dy), vec![dy])
            },
        });
    }
    for level in levels() {
        let cols = [0, MAX_WIDTH + 1, usize::MAX, usize::MAX - 15, usize::MAX / 2].map(|cols| (cols, 1));
        // A number of rows whose product with the columns overflows.
        let rows = [usize::MAX, usize::MAX / 16 + 1, usize::MAX / 16 + 2].map(|rows| (3, rows));
        for (cols, rows) in cols.into_iter().chain(rows) {
            for len in [0, 16] {
                let (y, mut x) = (buffer(len), buffer(len));
                assert!(softmax::softmax(level, cols, rows, &mut x).is_err(), "{rows} rows of {cols}");
                assert!(softmax::log_softmax(level, cols, rows, &mut x).is_err(), "{rows} rows of {cols}");
                for (_, kernel) in backward {
                    assert!(kernel(level, cols, rows, &y, &mut x).is_err(), "{rows} rows of {cols}");
                }
                assert!(x.iter().all(|x| *x == CANARY));
            }
        }
        assert_eq!(softmax::softmax(level, OUTPUTS, 0, &mut []), Ok(()), "no rows are no error");
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

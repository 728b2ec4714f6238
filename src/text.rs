//! Networks as text: `dense(512) bn relu dropout(0.2) dense(10)`.
//!
//! Layers in order, separated by white space (a comma, `|` or `->` between them is ignored). Arguments in
//! parentheses, by position or by name:
//!
//! | layer | arguments (default) |
//! |---|---|
//! | `dense(n)` | `bias=true` |
//! | `bn` | `eps=1e-5`, `momentum=0.1` (share of the new batch; `none` averages), `unbiased=true`; `bn(keras)` |
//! | | `keras_momentum=0.99` instead of `momentum`; `frozen=true`; `ghost=ROWS`; `renorm=true` with `r_max=3`, `d_max=5`, `renorm_from=5000`, `r_until=40000`, `d_until=25000` (training steps) |
//! | `ln` | `eps=1e-5`; `ln(keras)` |
//! | `dropout(rate)` `alpha_dropout(rate)` `gaussian_dropout(rate)` `gaussian_noise(stddev)` | |
//! | `dropconnect(rate)` | masks the weights of the dense layer behind it |
//! | `relu` `sigmoid` `tanh` `gelu` `silu` `softmax` `log_softmax` | |
//! | `leaky_relu` | `slope=0.01` |
//! | `selu` `gelu_tanh` `softsign` `hard_sigmoid` `hard_swish` `relu6` `mish` | |
//! | `elu` `celu` | `alpha=1` |
//! | `softplus` | `beta=1` |
//! | `thresholded_relu(theta)` | |
//! | `prelu` | `shared=true`, `init=0.25` |

mod arguments;
mod print;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::{self, Write as _};

pub(crate) use arguments::Arguments;
pub use print::print;

use crate::layer::{Activation, BatchNorm, Dialect, Layer, LayerNorm, NormMode, PRelu, Renorm};

/// What is wrong with a network's text, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextError {
    /// Character of the text, from 1.
    pub position: usize,
    /// What was found and what would be right.
    pub message: String,
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "network text, character {}: {}", self.position, self.message)
    }
}

impl core::error::Error for TextError {}

const NAMES: [&str; 28] = [
    "dense",
    "bn",
    "dropout",
    "relu",
    "leaky_relu",
    "sigmoid",
    "tanh",
    "gelu",
    "silu",
    "softmax",
    "log_softmax",
    "elu",
    "selu",
    "celu",
    "gelu_tanh",
    "softplus",
    "softsign",
    "hard_sigmoid",
    "hard_swish",
    "relu6",
    "mish",
    "thresholded_relu",
    "prelu",
    "ln",
    "gaussian_dropout",
    "gaussian_noise",
    "alpha_dropout",
    "dropconnect",
];

/// Reads a network's layers.
///
/// # Errors
/// [`TextError`] says at which character what was expected.
///
/// ```
/// use evenkeel::{Layer, text};
/// let layers = text::parse("dense(8) relu dense(3)")?;
/// assert_eq!(layers[2], Layer::dense(3));
/// assert_eq!(text::print(&layers), "dense(8) relu dense(3)");
/// # Ok::<(), text::TextError>(())
/// ```
pub fn parse(text: &str) -> Result<Vec<Layer>, TextError> {
    parse_in(text, Dialect::Torch)
}

/// As [`parse`]; `bn` and `ln` without a dialect of their own have the defaults of `dialect`. What [`print()`] writes is read
/// back by [`parse`], whatever the dialect was.
///
/// # Errors
/// As [`parse`].
pub fn parse_in(text: &str, dialect: Dialect) -> Result<Vec<Layer>, TextError> {
    let mut layers = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || ",|->;".contains(c));
        if rest.is_empty() {
            break;
        }
        let position = position(text, rest);
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        if name.is_empty() {
            let found = rest.chars().next().unwrap_or(' ');
            return Err(TextError { position, message: format!("expected a layer's name, found {found:?}") });
        }
        let (arguments, after) = match after.strip_prefix('(') {
            None => ("", after),
            Some(inside) => inside.split_once(')').ok_or_else(|| TextError {
                position: self::position(text, after),
                message: format!("the parenthesis after {name} is not closed"),
            })?,
        };
        layers.push(layer(name, arguments, dialect).map_err(|message| TextError { position, message })?);
        rest = after;
    }
    if layers.is_empty() {
        let message = String::from("no layers: expected something like \"dense(32) relu dense(10)\"");
        return Err(TextError { position: 1, message });
    }
    Ok(layers)
}

fn position(text: &str, rest: &str) -> usize {
    text[..text.len() - rest.len()].chars().count() + 1
}

fn layer(name: &str, arguments: &str, dialect: Dialect) -> Result<Layer, String> {
    let name = name.to_lowercase();
    let mut arguments = Arguments::new(&name, arguments);
    let layer = match name.as_str() {
        "dense" | "linear" => Layer::Dense {
            outputs: arguments.required("outputs", "the number of outputs, as in dense(32)")?,
            bias: arguments.optional("bias", true)?,
        },
        "bn" | "batch_norm" | "batchnorm" => Layer::BatchNorm(batch_norm(&mut arguments, dialect)?),
        "dropout" => Layer::Dropout { rate: arguments.required("rate", "a rate from 0 to 1, as in dropout(0.2)")? },
        "relu" => Layer::Activation(Activation::Relu),
        "leaky_relu" => Layer::Activation(Activation::LeakyRelu { slope: arguments.optional("slope", 0.01)? }),
        "sigmoid" => Layer::Activation(Activation::Sigmoid),
        "tanh" => Layer::Activation(Activation::Tanh),
        "gelu" => Layer::Activation(Activation::Gelu),
        "silu" | "swish" => Layer::Activation(Activation::Silu),
        "elu" => Layer::Activation(Activation::Elu { alpha: arguments.optional("alpha", 1.0)? }),
        "selu" => Layer::Activation(Activation::Selu),
        "celu" => Layer::Activation(Activation::Celu { alpha: arguments.optional("alpha", 1.0)? }),
        "gelu_tanh" => Layer::Activation(Activation::GeluTanh),
        "softplus" => Layer::Activation(Activation::Softplus { beta: arguments.optional("beta", 1.0)? }),
        "softsign" => Layer::Activation(Activation::Softsign),
        "hard_sigmoid" => Layer::Activation(Activation::HardSigmoid),
        "hard_swish" | "hard_silu" => Layer::Activation(Activation::HardSwish),
        "relu6" => Layer::Activation(Activation::Relu6),
        "mish" => Layer::Activation(Activation::Mish),
        "thresholded_relu" | "threshold" => Layer::Activation(Activation::ThresholdedRelu {
            theta: arguments.required("theta", "the value from which on it passes, as in thresholded_relu(1)")?,
        }),
        "prelu" => Layer::PRelu(PRelu {
            shared: arguments.optional("shared", PRelu::TORCH.shared)?,
            init: arguments.optional("init", PRelu::TORCH.init)?,
        }),
        "softmax" => Layer::Softmax,
        "log_softmax" => Layer::LogSoftmax,
        "ln" | "layer_norm" | "layernorm" => {
            let base = arguments.dialect("ln", dialect)?.layer_norm();
            Layer::LayerNorm(LayerNorm { eps: arguments.optional("eps", base.eps)? })
        }
        "gaussian_dropout" => Layer::GaussianDropout {
            rate: arguments.required("rate", "a rate from 0 to below 1, as in gaussian_dropout(0.2)")?,
        },
        "gaussian_noise" => Layer::GaussianNoise {
            stddev: arguments.required("stddev", "a standard deviation, as in gaussian_noise(0.1)")?,
        },
        "alpha_dropout" => {
            Layer::AlphaDropout { rate: arguments.required("rate", "a rate from 0 to 1, as in alpha_dropout(0.1)")? }
        }
        "dropconnect" | "drop_connect" => {
            Layer::DropConnect { rate: arguments.required("rate", "a rate from 0 to 1, as in dropconnect(0.5)")? }
        }
        _ => return Err(unknown(&name)),
    };
    arguments.finish()?;
    Ok(layer)
}

fn batch_norm(arguments: &mut Arguments<'_>, dialect: Dialect) -> Result<BatchNorm, String> {
    let mut base = arguments.dialect("bn", dialect)?.batch_norm();
    if let Some(text) = arguments.named("keras_momentum") {
        base = base.with_keras_momentum(arguments.read("keras_momentum", text)?);
    }
    let default = base.momentum.map_or(String::from("none"), |momentum| momentum.to_string());
    let momentum: String = arguments.optional("momentum", default)?;
    Ok(BatchNorm {
        eps: arguments.optional("eps", base.eps)?,
        momentum: match momentum.as_str() {
            "none" => None,
            number => Some(number.parse().map_err(|_| format!("momentum must be a number or none, not {number:?}"))?),
        },
        unbiased: arguments.optional("unbiased", base.unbiased)?,
        mode: norm_mode(arguments)?,
    })
}

/// The mode of a batch norm: at most one of `frozen`, `ghost` and `renorm`.
fn norm_mode(arguments: &mut Arguments<'_>) -> Result<NormMode, String> {
    let mut flag = |name: &str| match arguments.named(name) {
        None => Ok(false),
        Some(text) => arguments.read(name, text),
    };
    let (frozen, renorm) = (flag("frozen")?, flag("renorm")?);
    let ghost = match arguments.named("ghost") {
        None => None,
        Some(text) => Some(arguments.read("ghost", text)?),
    };
    let mode = match (frozen, ghost, renorm) {
        (false, None, false) => NormMode::Batch,
        (true, None, false) => NormMode::Frozen,
        (false, Some(rows), false) => NormMode::Ghost { rows },
        (false, None, true) => {
            let Renorm { r_max, d_max, start, r_end, d_end } = Renorm::PAPER;
            NormMode::Renorm(Renorm {
                r_max: arguments.optional("r_max", r_max)?,
                d_max: arguments.optional("d_max", d_max)?,
                start: arguments.optional("renorm_from", start)?,
                r_end: arguments.optional("r_until", r_end)?,
                d_end: arguments.optional("d_until", d_end)?,
            })
        }
        _ => return Err(String::from("bn takes one of frozen=true, ghost=ROWS and renorm=true, not several")),
    };
    Ok(mode)
}

fn unknown(name: &str) -> String {
    let mut message = format!("unknown layer {name:?}");
    match NAMES.iter().map(|known| (distance(name, known), known)).min() {
        Some((distance, known)) if distance <= 2 => write!(message, ": did you mean {known}?"),
        _ => write!(message, ": known are {}", NAMES.join(", ")),
    }
    .unwrap_or_default();
    message
}

/// Edit distance for suggestions: letters added, left out, changed, or two neighbours exchanged (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    // Rows for the letters of `a`, the two before the current one kept.
    let mut rows = [alloc::vec![0; b.len() + 1], alloc::vec![0; b.len() + 1], (0..=b.len()).collect::<Vec<usize>>()];
    for i in 0..a.len() {
        rows.rotate_left(1);
        let [older, before, row] = &mut rows;
        row[0] = i + 1;
        for j in 0..b.len() {
            let changed = before[j] + usize::from(a[i] != b[j]);
            row[j + 1] = changed.min(before[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j] {
                row[j + 1] = row[j + 1].min(older[j - 1] + 1);
            }
        }
    }
    rows[2][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_what_it_parses() {
        for text in [
            "dense(512) bn relu dropout(0.2) dense(10)",
            "dense(3, bias=false) bn(eps=0.001, momentum=none, unbiased=false) leaky_relu(0.2) log_softmax",
            "bn(keras) gelu silu tanh sigmoid softmax",
            "elu elu(0.5) selu celu celu(2) gelu_tanh softplus softplus(0.3) softsign hard_sigmoid hard_swish relu6 mish",
            "thresholded_relu(1) thresholded_relu(0.25)",
            "prelu prelu(shared=false) prelu(init=0.1) prelu(shared=false, init=0)",
            "ln ln(keras) ln(eps=0.01) gaussian_dropout(0.2) gaussian_noise(0.1) alpha_dropout(0.05) dropconnect(0.5) dense(2)",
            "bn(frozen=true) bn(keras, ghost=32) bn(renorm=true)",
            "bn(eps=0.01, momentum=0.3, unbiased=true, renorm=true, r_max=2, d_max=1, renorm_from=10, r_until=20, d_until=30)",
        ] {
            assert_eq!(print(&parse(text).unwrap()), text);
        }
        assert_eq!(parse("Dense(4) -> ReLU -> dense(2)").unwrap().len(), 3);
    }

    #[test]
    fn names_what_is_wrong() {
        let fails = |text: &str, position: usize, needle: &str| {
            let error = parse(text).unwrap_err();
            assert!(error.position == position && error.message.contains(needle), "{text}: {error}");
        };
        fails("dense(8) drpout(0.2)", 10, "did you mean dropout");
        fails("dense relu", 1, "number of outputs");
        fails("dense(8) relu(3)", 10, "does not take");
        fails("dense(8", 6, "not closed");
        fails("dense(x)", 1, "is not a value");
        fails("", 1, "no layers");
        fails("dense(8) (3)", 10, "expected a layer");
        fails("dense(4) bn(torhc)", 10, "torch or keras");
        fails("thresholded_relu", 1, "from which on it passes");
        fails("softplus(1, threshold=20)", 1, "does not take");
        fails("hardswish", 1, "did you mean hard_swish");
        fails("dense(4) ln(torhc)", 10, "torch or keras");
        fails("bn(frozen=true, ghost=8)", 1, "not several");
        fails("bn(ghost=many)", 1, "not a value for ghost");
        fails("bn(r_max=2)", 1, "does not take");
        fails("dense(4) gaussian_nose(1)", 10, "did you mean gaussian_noise");
    }

    #[test]
    fn a_dialect_is_the_default_of_what_has_none() {
        let text = "bn bn(torch) bn(eps=0.5) ln ln(torch) bn(keras_momentum=0.75)";
        let keras = parse_in(text, Dialect::Keras).unwrap();
        let bn = |eps, momentum| Layer::BatchNorm(BatchNorm { eps, momentum: Some(momentum), ..BatchNorm::KERAS });
        assert_eq!(keras[..3], [bn(1e-3, 0.01), Layer::BatchNorm(BatchNorm::TORCH), bn(0.5, 0.01)]);
        assert_eq!(keras[3..5], [Layer::LayerNorm(LayerNorm::KERAS), Layer::LayerNorm(LayerNorm::TORCH)]);
        assert_eq!(keras[5], bn(1e-3, 0.25));
        assert_eq!(parse(&print(&keras)).unwrap(), keras);
    }
}

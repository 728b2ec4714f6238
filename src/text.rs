//! Networks as text: `dense(512) bn relu dropout(0.2) dense(10)`.
//!
//! Layers in order, separated by white space (a comma, `|` or `->` between them is ignored). Arguments in
//! parentheses, by position or by name:
//!
//! | layer | arguments (default) |
//! |---|---|
//! | `dense(n)` | `bias=true` |
//! | `bn` | `eps=1e-5`, `momentum=0.1` (share of the new batch; `none` averages), `unbiased=true`; `bn(keras)` |
//! | `dropout(rate)` | |
//! | `relu` `sigmoid` `tanh` `gelu` `silu` `softmax` `log_softmax` | |
//! | `leaky_relu` | `slope=0.01` |
//! | `selu` `gelu_tanh` `softsign` `hard_sigmoid` `hard_swish` `relu6` `mish` | |
//! | `elu` `celu` | `alpha=1` |
//! | `softplus` | `beta=1` |
//! | `thresholded_relu(theta)` | |
//! | `prelu` | `shared=true`, `init=0.25` |

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::{self, Write as _};

use crate::layer::{Activation, BatchNorm, Layer, PRelu};

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

const NAMES: [&str; 23] = [
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
        layers.push(layer(name, arguments).map_err(|message| TextError { position, message })?);
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

fn layer(name: &str, arguments: &str) -> Result<Layer, String> {
    let name = name.to_lowercase();
    let mut arguments = Arguments::new(&name, arguments);
    let layer = match name.as_str() {
        "dense" | "linear" => Layer::Dense {
            outputs: arguments.required("outputs", "the number of outputs, as in dense(32)")?,
            bias: arguments.optional("bias", true)?,
        },
        "bn" | "batch_norm" | "batchnorm" => Layer::BatchNorm(batch_norm(&mut arguments)?),
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
        _ => return Err(unknown(&name)),
    };
    arguments.finish()?;
    Ok(layer)
}

fn batch_norm(arguments: &mut Arguments<'_>) -> Result<BatchNorm, String> {
    let dialect: String = arguments.optional("dialect", String::from("torch"))?;
    let base = match dialect.as_str() {
        "torch" => BatchNorm::TORCH,
        "keras" => BatchNorm::KERAS,
        other => return Err(format!("bn takes torch or keras, or named arguments such as eps=1e-5, not {other:?}")),
    };
    let default = base.momentum.map_or(String::from("none"), |momentum| momentum.to_string());
    let momentum: String = arguments.optional("momentum", default)?;
    Ok(BatchNorm {
        eps: arguments.optional("eps", base.eps)?,
        momentum: match momentum.as_str() {
            "none" => None,
            number => Some(number.parse().map_err(|_| format!("momentum must be a number or none, not {number:?}"))?),
        },
        unbiased: arguments.optional("unbiased", base.unbiased)?,
    })
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

/// Edit distance (Levenshtein), for suggestions.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let cost = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = cost.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// The arguments of one layer: by position first, then by name.
struct Arguments<'a> {
    layer: &'a str,
    parts: Vec<&'a str>,
}

impl<'a> Arguments<'a> {
    fn new(layer: &'a str, text: &'a str) -> Self {
        Self { layer, parts: text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect() }
    }

    fn take(&mut self, name: &str) -> Option<&'a str> {
        let named = self.parts.iter().position(|part| part.split_once('=').is_some_and(|(key, _)| key.trim() == name));
        if let Some(at) = named {
            return self.parts.remove(at).split_once('=').map(|(_, value)| value.trim());
        }
        let positional = self.parts.first().is_some_and(|part| !part.contains('='));
        positional.then(|| self.parts.remove(0))
    }

    fn optional<T: core::str::FromStr>(&mut self, name: &str, default: T) -> Result<T, String> {
        match self.take(name) {
            None => Ok(default),
            Some(text) => self.read(name, text),
        }
    }

    fn required<T: core::str::FromStr>(&mut self, name: &str, wanted: &str) -> Result<T, String> {
        match self.take(name) {
            None => Err(format!("{} needs {wanted}", self.layer)),
            Some(text) => self.read(name, text),
        }
    }

    fn read<T: core::str::FromStr>(&self, name: &str, text: &str) -> Result<T, String> {
        text.parse().map_err(|_| format!("{text:?} is not a value for {name} of {}", self.layer))
    }

    fn finish(self) -> Result<(), String> {
        match self.parts.first() {
            None => Ok(()),
            Some(part) => Err(format!("{} does not take {part:?}", self.layer)),
        }
    }
}

/// Writes layers as text that [`parse`] reads back as the same layers.
#[must_use]
pub fn print(layers: &[Layer]) -> String {
    let words: Vec<String> = layers.iter().map(word).collect();
    words.join(" ")
}

fn word(layer: &Layer) -> String {
    match *layer {
        Layer::Dense { outputs, bias: true } => format!("dense({outputs})"),
        Layer::Dense { outputs, bias: false } => format!("dense({outputs}, bias=false)"),
        Layer::BatchNorm(BatchNorm::TORCH) => String::from("bn"),
        Layer::BatchNorm(BatchNorm::KERAS) => String::from("bn(keras)"),
        Layer::BatchNorm(BatchNorm { eps, momentum, unbiased }) => {
            let momentum = momentum.map_or(String::from("none"), |momentum| momentum.to_string());
            format!("bn(eps={eps}, momentum={momentum}, unbiased={unbiased})")
        }
        Layer::Activation(Activation::LeakyRelu { slope }) => format!("leaky_relu({slope})"),
        Layer::Activation(Activation::Elu { alpha }) if alpha != 1.0 => format!("elu({alpha})"),
        Layer::Activation(Activation::Celu { alpha }) if alpha != 1.0 => format!("celu({alpha})"),
        Layer::Activation(Activation::Softplus { beta }) if beta != 1.0 => format!("softplus({beta})"),
        Layer::Activation(Activation::ThresholdedRelu { theta }) => format!("thresholded_relu({theta})"),
        Layer::PRelu(PRelu { shared: false, init: 0.25 }) => String::from("prelu(shared=false)"),
        Layer::PRelu(PRelu { shared: true, init }) if init != 0.25 => format!("prelu(init={init})"),
        Layer::PRelu(PRelu { shared: false, init }) => format!("prelu(shared=false, init={init})"),
        Layer::Dropout { rate } => format!("dropout({rate})"),
        ref layer => layer.name().to_string(),
    }
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
    }
}

//! Optimisers as text: `rmsprop(alpha=0.9, momentum=0.9)`.
//!
//! | name | arguments (default) |
//! |---|---|
//! | `sgd` | `momentum=0`, `nesterov=false` |
//! | `adam` | `beta1=0.9`, `beta2=0.999`, `eps=1e-8`; `adam(keras)` has `eps=1e-7` and adds it before the correction |
//! | `adamw` | as `adam`, without Keras' form, and `weight_decay=0.01` |
//! | `amsgrad`, `adamax` | as `adam` |
//! | `nadam` | `beta1`, `beta2`, `eps`, `momentum_decay=0.004`; `nadam(keras)` has `eps=1e-7`, `momentum_decay=1` |
//! | `rmsprop` | `alpha=0.99`, `eps=1e-8`, `momentum=0`, `centered=false`; `rmsprop(keras)` has `alpha=0.9`, `eps=1e-7` |
//! | `adagrad` | `eps=1e-10`, `start=0`, `lr_decay=0`; `adagrad(keras)` has `eps=1e-7`, `start=0.1` |
//! | `adadelta` | `rho=0.9`, `eps=1e-6`; `adadelta(keras)` has `rho=0.95`, `eps=1e-7` |
//! | `lion` | `beta1=0.9`, `beta2=0.99` |
//! | `lamb` | `beta1`, `beta2`, `eps=1e-6`, `weight_decay=0.01`; `lamb(keras)` has `eps=1e-7`, `weight_decay=0` |
//! | `schedule_free` | `beta1=0.9`, `beta2=0.999`, `eps=1e-8`, `weight_decay=0` |

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use super::{Dialect, Optimizer};
use crate::text::Arguments;

/// What is wrong with the text of an optimiser, a schedule or a constraint, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArgumentError(pub String);

impl fmt::Display for ArgumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for ArgumentError {}

impl From<String> for ArgumentError {
    fn from(message: String) -> Self {
        Self(message)
    }
}

/// Name and arguments of `name(arguments)`.
pub(crate) fn call(text: &str) -> Result<(&str, &str), ArgumentError> {
    match text.trim().split_once('(') {
        None => Ok((text.trim(), "")),
        Some((name, rest)) => match rest.strip_suffix(')') {
            Some(arguments) => Ok((name.trim(), arguments)),
            None => Err(ArgumentError(format!("the parenthesis after {} is not closed", name.trim()))),
        },
    }
}

/// `name(key=value, …)` of the pairs whose value is not the default.
pub(crate) fn print(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    values: &[(&str, String)],
    defaults: &[(&str, String)],
) -> fmt::Result {
    let changed = values.iter().filter(|pair| !defaults.contains(pair));
    let words: Vec<String> = changed.map(|(key, value)| format!("{key}={value}")).collect();
    if words.is_empty() { f.write_str(name) } else { write!(f, "{name}({})", words.join(", ")) }
}

const NAMES: &str =
    "sgd, adam, adamw, amsgrad, nadam, adamax, rmsprop, adagrad, adadelta, lion, lamb and schedule_free";

impl FromStr for Dialect {
    type Err = ArgumentError;

    fn from_str(text: &str) -> Result<Self, ArgumentError> {
        match text {
            "torch" => Ok(Dialect::Torch),
            "keras" => Ok(Dialect::Keras),
            _ => Err(ArgumentError(format!("expected torch or keras, not {text:?}"))),
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Dialect::Keras { "keras" } else { "torch" })
    }
}

/// The optimiser of a name, with all defaults of a dialect.
fn usual(name: &str, dialect: Dialect) -> Option<Optimizer> {
    let keras = dialect == Dialect::Keras;
    let mut optimizer = match name {
        "sgd" => Optimizer::SGD,
        "adam" if keras => Optimizer::KERAS_ADAM,
        "adam" => Optimizer::ADAM,
        "adamw" => Optimizer::ADAMW,
        "amsgrad" => Optimizer::AMSGRAD,
        "nadam" => Optimizer::NADAM,
        "adamax" => Optimizer::ADAMAX,
        "rmsprop" => Optimizer::RMSPROP,
        "adagrad" => Optimizer::ADAGRAD,
        "adadelta" => Optimizer::ADADELTA,
        "lion" => Optimizer::LION,
        "lamb" => Optimizer::LAMB,
        "schedule_free" => Optimizer::SCHEDULE_FREE,
        _ => return None,
    };
    if keras {
        match &mut optimizer {
            Optimizer::AmsGrad { eps, dialect, .. } | Optimizer::Adamax { eps, dialect, .. } => {
                (*eps, *dialect) = (1e-7, Dialect::Keras);
            }
            Optimizer::Nadam { eps, momentum_decay, .. } => (*eps, *momentum_decay) = (1e-7, 1.0),
            Optimizer::RmsProp { alpha, eps, dialect, .. } => (*alpha, *eps, *dialect) = (0.9, 1e-7, Dialect::Keras),
            Optimizer::Adagrad { eps, start, dialect, .. } => (*eps, *start, *dialect) = (1e-7, 0.1, Dialect::Keras),
            Optimizer::Adadelta { rho, eps } => (*rho, *eps) = (0.95, 1e-7),
            Optimizer::Lamb { eps, weight_decay, .. } => (*eps, *weight_decay) = (1e-7, 0.0),
            _ => {}
        }
    }
    Some(optimizer)
}

/// Whether a text of this name may begin with a dialect.
fn has_dialects(name: &str) -> bool {
    !matches!(name, "sgd" | "adamw" | "lion" | "schedule_free")
}

impl FromStr for Optimizer {
    type Err = ArgumentError;

    /// Reads an optimiser, as `rmsprop`, `rmsprop(keras)` or `rmsprop(alpha=0.9, centered=true)`.
    ///
    /// # Errors
    /// [`ArgumentError`] names what is unknown or outside its range.
    fn from_str(text: &str) -> Result<Self, ArgumentError> {
        let (name, arguments) = call(text)?;
        let lower = name.to_lowercase();
        let mut given = Arguments::new(&lower, arguments);
        let dialect = if has_dialects(&lower) { given.optional("dialect", Dialect::Torch)? } else { Dialect::Torch };
        let Some(mut optimizer) = usual(&lower, dialect) else {
            return Err(ArgumentError(format!("unknown optimiser {name:?}: known are {NAMES}")));
        };
        let mut number = |value: &mut f32, key: &str| -> Result<(), ArgumentError> {
            *value = given.optional(key, *value)?;
            Ok(())
        };
        let mut flag = None;
        match &mut optimizer {
            Optimizer::Sgd { momentum, nesterov } => {
                number(momentum, "momentum")?;
                flag = Some(("nesterov", nesterov));
            }
            Optimizer::Adam { beta1, beta2, eps }
            | Optimizer::KerasAdam { beta1, beta2, eps }
            | Optimizer::AmsGrad { beta1, beta2, eps, .. }
            | Optimizer::Adamax { beta1, beta2, eps, .. } => {
                number(beta1, "beta1")?;
                number(beta2, "beta2")?;
                number(eps, "eps")?;
            }
            Optimizer::AdamW { beta1, beta2, eps, weight_decay }
            | Optimizer::Lamb { beta1, beta2, eps, weight_decay }
            | Optimizer::ScheduleFree { beta1, beta2, eps, weight_decay } => {
                number(beta1, "beta1")?;
                number(beta2, "beta2")?;
                number(eps, "eps")?;
                number(weight_decay, "weight_decay")?;
            }
            Optimizer::Nadam { beta1, beta2, eps, momentum_decay } => {
                number(beta1, "beta1")?;
                number(beta2, "beta2")?;
                number(eps, "eps")?;
                number(momentum_decay, "momentum_decay")?;
            }
            Optimizer::RmsProp { alpha, eps, momentum, centered, .. } => {
                number(alpha, "alpha")?;
                number(eps, "eps")?;
                number(momentum, "momentum")?;
                flag = Some(("centered", centered));
            }
            Optimizer::Adagrad { eps, start, lr_decay, .. } => {
                number(eps, "eps")?;
                number(start, "start")?;
                number(lr_decay, "lr_decay")?;
            }
            Optimizer::Adadelta { rho, eps } => {
                number(rho, "rho")?;
                number(eps, "eps")?;
            }
            Optimizer::Lion { beta1, beta2 } => {
                number(beta1, "beta1")?;
                number(beta2, "beta2")?;
            }
        }
        if let Some((key, value)) = flag {
            *value = given.optional(key, *value)?;
        }
        given.finish()?;
        match optimizer.mistake() {
            None => Ok(optimizer),
            Some(message) => Err(ArgumentError(message.into())),
        }
    }
}

fn constants(optimizer: &Optimizer) -> Vec<(&'static str, String)> {
    let pairs: &[(&'static str, f32)] = match *optimizer {
        Optimizer::Sgd { momentum, nesterov } => {
            return Vec::from([("momentum", momentum.to_string()), ("nesterov", nesterov.to_string())]);
        }
        Optimizer::Adam { beta1, beta2, eps }
        | Optimizer::KerasAdam { beta1, beta2, eps }
        | Optimizer::AmsGrad { beta1, beta2, eps, .. }
        | Optimizer::Adamax { beta1, beta2, eps, .. } => &[("beta1", beta1), ("beta2", beta2), ("eps", eps)],
        Optimizer::AdamW { beta1, beta2, eps, weight_decay }
        | Optimizer::Lamb { beta1, beta2, eps, weight_decay }
        | Optimizer::ScheduleFree { beta1, beta2, eps, weight_decay } => {
            &[("beta1", beta1), ("beta2", beta2), ("eps", eps), ("weight_decay", weight_decay)]
        }
        Optimizer::Nadam { beta1, beta2, eps, momentum_decay } => {
            &[("beta1", beta1), ("beta2", beta2), ("eps", eps), ("momentum_decay", momentum_decay)]
        }
        Optimizer::RmsProp { alpha, eps, momentum, centered, .. } => {
            let mut all = numbers(&[("alpha", alpha), ("eps", eps), ("momentum", momentum)]);
            all.push(("centered", centered.to_string()));
            return all;
        }
        Optimizer::Adagrad { eps, start, lr_decay, .. } => &[("eps", eps), ("start", start), ("lr_decay", lr_decay)],
        Optimizer::Adadelta { rho, eps } => &[("rho", rho), ("eps", eps)],
        Optimizer::Lion { beta1, beta2 } => &[("beta1", beta1), ("beta2", beta2)],
    };
    numbers(pairs)
}

fn numbers(pairs: &[(&'static str, f32)]) -> Vec<(&'static str, String)> {
    pairs.iter().map(|(key, value)| (*key, shortest(*value))).collect()
}

/// The shortest digits that read back as the same number, `1e-8` and not `0.00000001`.
pub(crate) fn shortest(value: f32) -> String {
    let (plain, power) = (value.to_string(), format!("{value:e}"));
    if power.len() < plain.len() { power } else { plain }
}

impl fmt::Display for Optimizer {
    /// As `from_str` reads it, without what has its default.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dialect = match *self {
            Optimizer::KerasAdam { .. } => Dialect::Keras,
            Optimizer::AmsGrad { dialect, .. }
            | Optimizer::Adamax { dialect, .. }
            | Optimizer::RmsProp { dialect, .. }
            | Optimizer::Adagrad { dialect, .. } => dialect,
            _ => Dialect::Torch,
        };
        let defaults = usual(self.name(), dialect).map(|usual| constants(&usual)).unwrap_or_default();
        let mut values = Vec::new();
        if dialect == Dialect::Keras {
            values.push(("dialect", dialect.to_string()));
        }
        values.extend(constants(self));
        print(f, self.name(), &values, &defaults)
    }
}

//! Schedules and constraints as text.
//!
//! | schedule | arguments (default) |
//! |---|---|
//! | `constant` | |
//! | `step` | `every`, `factor` |
//! | `cosine` | `floor=0` |
//! | `exponential` | `gamma`, `smooth=false` |
//! | `polynomial` | `epochs=0` (the whole run), `power=1`, `floor=0` |
//! | `one_cycle` | `rise=0.3`, `div=25`, `final_div=10000`, `anneal=cosine` (or `linear`), `three_phase=false`, `momentum=none` (or `0.85..0.95`) |
//! | `cosine_restarts` | `epochs`, `longer=1`, `lower=1`, `floor=0` |
//! | `cyclic` | `up`, `down=up`, `floor`, `shape=triangular` (or `triangular2`, `exp_range`), `gamma=1`, `momentum=none` (or `0.8..0.9`) |
//! | `plateau` | `factor=0.1`, `patience=10`, `threshold=1e-4`, `mode=rel` (or `abs`), `cooldown=0`, `floor=0`; `plateau(keras)` has `mode=abs` |
//!
//! | constraint | arguments (default) |
//! |---|---|
//! | `none`, `non_negative`, `unit_norm` | |
//! | `max_norm` | `limit=2` |
//! | `min_max_norm` | `min=0`, `max=1`, `rate=1` |

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use super::{Anneal, Cycle, Plateau, Schedule, Threshold};
use crate::text::Arguments;
use crate::train::Constraint;
use crate::train::optim::Dialect;
use crate::train::optim::text::{ArgumentError, call, print, shortest};

const NAMES: &str = "constant, step(EPOCHS, FACTOR), cosine(FLOOR), exponential(GAMMA), polynomial(EPOCHS, POWER), one_cycle, cosine_restarts(EPOCHS), cyclic(UP, DOWN, FLOOR) or plateau";

/// A range of momenta, or none.
struct Momenta(Option<(f32, f32)>);

impl FromStr for Momenta {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if text == "none" {
            return Ok(Self(None));
        }
        let (low, high) = text.split_once("..").ok_or(())?;
        match (low.trim().parse(), high.trim().parse()) {
            (Ok(low), Ok(high)) => Ok(Self(Some((low, high)))),
            _ => Err(()),
        }
    }
}

fn choice<T: Copy>(given: &str, name: &str, choices: &[(&str, T)]) -> Result<T, ArgumentError> {
    match choices.iter().find(|(word, _)| *word == given) {
        Some((_, value)) => Ok(*value),
        None => {
            let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
            Err(ArgumentError(format!("{name} must be {}, not {given:?}", words.join(" or "))))
        }
    }
}

impl FromStr for Schedule {
    type Err = ArgumentError;

    /// Reads a schedule, as `cosine(0.1)` or `one_cycle(rise=0.2, anneal=linear)`.
    ///
    /// # Errors
    /// [`ArgumentError`] names what is unknown or outside its range.
    fn from_str(text: &str) -> Result<Self, ArgumentError> {
        let (name, arguments) = call(text)?;
        let mut given = Arguments::new(name, arguments);
        let momenta = |given: &mut Arguments<'_>| given.optional("momentum", Momenta(None)).map(|Momenta(range)| range);
        let schedule = match name {
            "constant" => Schedule::Constant,
            "step" => Schedule::Step {
                every: given.required("every", "the epochs between changes, as in step(10, 0.1)")?,
                factor: given.required("factor", "what the rate is multiplied by, as in step(10, 0.1)")?,
            },
            "cosine" => Schedule::Cosine { floor: given.optional("floor", 0.0)? },
            "exponential" => Schedule::Exponential {
                gamma: given.required("gamma", "what the rate is multiplied by each epoch, as in exponential(0.95)")?,
                smooth: given.optional("smooth", false)?,
            },
            "polynomial" => Schedule::Polynomial {
                epochs: given.optional("epochs", 0)?,
                power: given.optional("power", 1.0)?,
                floor: given.optional("floor", 0.0)?,
            },
            "one_cycle" => Schedule::OneCycle {
                rise: given.optional("rise", 0.3)?,
                div: given.optional("div", 25.0)?,
                final_div: given.optional("final_div", 1e4)?,
                anneal: choice(
                    &given.optional("anneal", String::from("cosine"))?,
                    "anneal",
                    &[("cosine", Anneal::Cosine), ("linear", Anneal::Linear)],
                )?,
                three_phase: given.optional("three_phase", false)?,
                momentum: momenta(&mut given)?,
            },
            "cosine_restarts" => Schedule::CosineRestarts {
                epochs: given.required("epochs", "the epochs of the first cosine, as in cosine_restarts(10)")?,
                longer: given.optional("longer", 1)?,
                lower: given.optional("lower", 1.0)?,
                floor: given.optional("floor", 0.0)?,
            },
            "cyclic" => {
                let wanted = "the epochs up, as in cyclic(up=2, down=2, floor=0.1)";
                let up = given.required("up", wanted)?;
                let down = given.optional("down", up)?;
                let floor =
                    given.required("floor", "where a cycle begins, as a share of the rate: cyclic(up=2, floor=0.1)")?;
                let shape: String = given.optional("shape", String::from("triangular"))?;
                let gamma = given.optional("gamma", 1.0)?;
                let shapes = [
                    ("triangular", Cycle::Triangular),
                    ("triangular2", Cycle::Triangular2),
                    ("exp_range", Cycle::ExpRange(gamma)),
                ];
                Schedule::Cyclic {
                    up,
                    down,
                    floor,
                    shape: choice(&shape, "shape", &shapes)?,
                    momentum: momenta(&mut given)?,
                }
            }
            "plateau" => {
                let dialect = given.optional("dialect", Dialect::Torch)?;
                let usual = if dialect == Dialect::Keras { Plateau::KERAS } else { Plateau::TORCH };
                let factor = given.optional("factor", usual.factor)?;
                let patience = given.optional("patience", usual.patience)?;
                let threshold = given.optional("threshold", 1e-4)?;
                let mode = if dialect == Dialect::Keras { "abs" } else { "rel" };
                let modes = [("rel", Threshold::Relative(threshold)), ("abs", Threshold::Absolute(threshold))];
                Schedule::Plateau(Plateau {
                    factor,
                    patience,
                    threshold: choice(&given.optional("mode", String::from(mode))?, "mode", &modes)?,
                    cooldown: given.optional("cooldown", 0)?,
                    floor: given.optional("floor", 0.0)?,
                    dialect,
                })
            }
            _ => return Err(ArgumentError(format!("expected {NAMES}, not {name:?}"))),
        };
        given.finish()?;
        match schedule.mistake() {
            None => Ok(schedule),
            Some(message) => Err(ArgumentError(message.into())),
        }
    }
}

impl FromStr for Constraint {
    type Err = ArgumentError;

    /// Reads a constraint, as `max_norm(3)` or `min_max_norm(min=0.5, max=2)`.
    ///
    /// # Errors
    /// [`ArgumentError`] names what is unknown or outside its range.
    fn from_str(text: &str) -> Result<Self, ArgumentError> {
        let (name, arguments) = call(text)?;
        let mut given = Arguments::new(name, arguments);
        let constraint = match name {
            "none" => Constraint::None,
            "max_norm" => Constraint::MaxNorm(given.optional("limit", 2.0)?),
            "non_negative" => Constraint::NonNegative,
            "unit_norm" => Constraint::UnitNorm,
            "min_max_norm" => Constraint::MinMaxNorm {
                min: given.optional("min", 0.0)?,
                max: given.optional("max", 1.0)?,
                rate: given.optional("rate", 1.0)?,
            },
            _ => {
                let known = "none, max_norm(LIMIT), non_negative, unit_norm or min_max_norm(MIN, MAX, RATE)";
                return Err(ArgumentError(format!("expected {known}, not {name:?}")));
            }
        };
        given.finish()?;
        match constraint.mistake() {
            None => Ok(constraint),
            Some(message) => Err(ArgumentError(message.into())),
        }
    }
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Constraint::None => f.write_str("none"),
            Constraint::MaxNorm(limit) => write!(f, "max_norm({})", shortest(limit)),
            Constraint::NonNegative => f.write_str("non_negative"),
            Constraint::UnitNorm => f.write_str("unit_norm"),
            Constraint::MinMaxNorm { min, max, rate } => {
                write!(f, "min_max_norm(min={}, max={}, rate={})", shortest(min), shortest(max), shortest(rate))
            }
        }
    }
}

impl fmt::Display for Schedule {
    /// As `from_str` reads it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let range = |momentum: Option<(f32, f32)>| {
            momentum.map_or(String::from("none"), |(low, high)| format!("{low}..{high}"))
        };
        match *self {
            Schedule::Constant => f.write_str("constant"),
            Schedule::Step { every, factor } => write!(f, "step({every}, {})", shortest(factor)),
            Schedule::Cosine { floor } => write!(f, "cosine({})", shortest(floor)),
            Schedule::Exponential { gamma, smooth } => {
                write!(f, "exponential({}, smooth={smooth})", shortest(gamma))
            }
            Schedule::Polynomial { epochs, power, floor } => {
                write!(f, "polynomial({epochs}, power={}, floor={})", shortest(power), shortest(floor))
            }
            Schedule::OneCycle { rise, div, final_div, anneal, three_phase, momentum } => {
                let anneal = if anneal == Anneal::Linear { "linear" } else { "cosine" };
                let [rise, div, final_div] = [rise, div, final_div].map(shortest);
                write!(
                    f,
                    "one_cycle(rise={rise}, div={div}, final_div={final_div}, anneal={anneal}, three_phase={three_phase}, momentum={})",
                    range(momentum)
                )
            }
            Schedule::CosineRestarts { epochs, longer, lower, floor } => {
                let [lower, floor] = [lower, floor].map(shortest);
                write!(f, "cosine_restarts({epochs}, longer={longer}, lower={lower}, floor={floor})")
            }
            Schedule::Cyclic { up, down, floor, shape, momentum } => {
                let [up, down, floor] = [up, down, floor].map(shortest);
                let shape = match shape {
                    Cycle::Triangular => "triangular".to_string(),
                    Cycle::Triangular2 => "triangular2".to_string(),
                    Cycle::ExpRange(gamma) => format!("exp_range, gamma={}", shortest(gamma)),
                };
                write!(f, "cyclic(up={up}, down={down}, floor={floor}, shape={shape}, momentum={})", range(momentum))
            }
            Schedule::Plateau(plateau) => {
                let (threshold, mode) = match plateau.threshold {
                    Threshold::Relative(threshold) => (threshold, "rel"),
                    Threshold::Absolute(threshold) => (threshold, "abs"),
                };
                let values = [
                    ("dialect", plateau.dialect.to_string()),
                    ("factor", shortest(plateau.factor)),
                    ("patience", plateau.patience.to_string()),
                    ("threshold", format!("{threshold:e}")),
                    ("mode", mode.into()),
                    ("cooldown", plateau.cooldown.to_string()),
                    ("floor", shortest(plateau.floor)),
                ];
                print(f, "plateau", &values, &[])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::Optimizer;

    #[test]
    fn prints_what_it_reads() {
        for text in [
            "constant",
            "step(3, 0.5)",
            "cosine(0.1)",
            "exponential(0.95, smooth=true)",
            "polynomial(5, power=2, floor=0.01)",
            "one_cycle(rise=0.2, div=10, final_div=1e4, anneal=linear, three_phase=true, momentum=0.85..0.95)",
            "cosine_restarts(4, longer=2, lower=0.5, floor=0)",
            "cyclic(up=2, down=3.5, floor=0.1, shape=exp_range, gamma=0.99, momentum=none)",
            "plateau(dialect=keras, factor=0.5, patience=3, threshold=1e-3, mode=abs, cooldown=2, floor=0.01)",
        ] {
            let schedule: Schedule = text.parse().unwrap();
            assert_eq!(schedule.to_string().parse(), Ok(schedule), "{text}");
        }
        let text = |text: &str| text.parse::<Schedule>().unwrap();
        assert_eq!(text("one_cycle"), Schedule::ONE_CYCLE);
        assert_eq!(text("plateau"), Schedule::Plateau(Plateau::TORCH));
        assert_eq!(text("plateau(keras)"), Schedule::Plateau(Plateau::KERAS));
        for text in ["none", "max_norm(3)", "non_negative", "unit_norm", "min_max_norm(min=0.5, max=2, rate=0.1)"] {
            assert_eq!(text.parse::<Constraint>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn names_what_is_wrong() {
        for (text, needle) in [
            ("stairs", "expected constant"),
            ("step(0, 0.5)", "at least one epoch"),
            ("step(0.5, 2)", "not a value for every"),
            ("cosine(2)", "[0, 1]"),
            ("cosine(0", "not closed"),
            ("one_cycle(anneal=round)", "cosine or linear"),
            ("one_cycle(rise=1)", "(0, 1)"),
            ("one_cycle(momentum=0.9)", "not a value for momentum"),
            ("cyclic(2)", "needs where a cycle begins"),
            ("cyclic(2, floor=0.1, shape=exp_range, gamma=2)", "(0, 1]"),
            ("plateau(numpy)", "not a value for dialect"),
            ("plateau(factor=1)", "(0, 1)"),
        ] {
            let error = text.parse::<Schedule>().unwrap_err().to_string();
            assert!(error.contains(needle), "{text}: {error}");
        }
        for (text, needle) in [
            ("adamm", "known are"),
            ("rmsprop(alpha=1)", "[0, 1)"),
            ("rmsprop(centred=true)", "does not take"),
            ("sgd(nesterov=true)", "needs a momentum"),
            ("adamw(keras)", "not a value for beta1"),
            ("adagrad(start=-1)", "0 or positive"),
            ("lamb(weight_decay=2)", "[0, 1]"),
        ] {
            let error = text.parse::<Optimizer>().unwrap_err().to_string();
            assert!(error.contains(needle), "{text}: {error}");
        }
        for text in ["max_norm(0)", "max_norm(nan)", "min_max_norm(2, 1)", "min_max_norm(0, 1, 0)", "narrow"] {
            assert!(text.parse::<Constraint>().is_err(), "{text}");
        }
    }

    #[test]
    fn optimisers_print_what_they_read() {
        for text in [
            "sgd",
            "sgd(momentum=0.9, nesterov=true)",
            "adam",
            "adam(dialect=keras)",
            "adamw(weight_decay=0.1)",
            "amsgrad(beta2=0.99)",
            "amsgrad(dialect=keras, eps=1e-6)",
            "nadam(eps=1e-7, momentum_decay=1)",
            "adamax(dialect=keras)",
            "rmsprop(alpha=0.9, momentum=0.9, centered=true)",
            "rmsprop(dialect=keras)",
            "adagrad(dialect=keras)",
            "adagrad(lr_decay=0.1)",
            "adadelta(rho=0.95)",
            "lion(beta2=0.999)",
            "lamb(eps=1e-7, weight_decay=0)",
            "schedule_free(weight_decay=0.1)",
        ] {
            let optimizer: Optimizer = text.parse().unwrap();
            assert_eq!(optimizer.to_string(), text);
        }
    }
}

//! Initialisers as text: `he_normal`, `constant(0.1)`, `kaiming_uniform(fan_out, tanh)`, `normal(std=0.02)`.

use core::fmt;
use core::str::FromStr;

use super::{Fan, Init, Nonlinearity, Shape};
use crate::error::Error;

/// The names without an argument, as [`Init`] is written and read.
const NAMES: [(&str, Init); 10] = [
    ("zeros", Init::Zeros),
    ("ones", Init::Ones),
    ("glorot_uniform", Init::GlorotUniform),
    ("glorot_normal", Init::GlorotNormal),
    ("he_uniform", Init::HeUniform),
    ("he_normal", Init::HeNormal),
    ("lecun_uniform", Init::LecunUniform),
    ("lecun_normal", Init::LecunNormal),
    ("torch_linear", Init::TorchLinear),
    ("orthogonal", Init::Orthogonal { gain: 1.0 }),
];

const FANS: [(&str, Fan); 3] = [("fan_in", Fan::In), ("fan_out", Fan::Out), ("fan_avg", Fan::Average)];

const SHAPES: [(&str, Shape); 3] = [
    ("truncated_normal", Shape::TruncatedNormal),
    ("untruncated_normal", Shape::UntruncatedNormal),
    ("uniform", Shape::Uniform),
];

const NONLINEARITIES: [(&str, Nonlinearity); 6] = [
    ("linear", Nonlinearity::Linear),
    ("sigmoid", Nonlinearity::Sigmoid),
    ("tanh", Nonlinearity::Tanh),
    ("relu", Nonlinearity::Relu),
    ("leaky_relu", Nonlinearity::LeakyRelu { slope: 0.0 }),
    ("selu", Nonlinearity::Selu),
];

fn name_of<T: PartialEq>(names: &[(&'static str, T)], value: &T) -> &'static str {
    names.iter().find(|(_, known)| known == value).map_or("", |(name, _)| name)
}

impl fmt::Display for Nonlinearity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Nonlinearity::LeakyRelu { slope } => write!(f, "leaky_relu, {slope}"),
            other => f.write_str(name_of(&NONLINEARITIES, other)),
        }
    }
}

impl fmt::Display for Init {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((name, _)) = NAMES.iter().find(|(_, init)| init == self) {
            return f.write_str(name);
        }
        match self {
            Init::Constant(value) => write!(f, "constant({value})"),
            Init::Orthogonal { gain } => write!(f, "orthogonal({gain})"),
            Init::Uniform { low, high } => write!(f, "uniform({low}, {high})"),
            Init::Normal { mean, std } => write!(f, "normal({mean}, {std})"),
            Init::TruncatedNormal { mean, std } => write!(f, "truncated_normal({mean}, {std})"),
            Init::TorchTruncatedNormal { mean, std, low, high } => {
                write!(f, "trunc_normal({mean}, {std}, {low}, {high})")
            }
            Init::VarianceScaling { scale, fan, shape } => {
                write!(f, "variance_scaling({scale}, {}, {})", name_of(&FANS, fan), name_of(&SHAPES, shape))
            }
            Init::XavierUniform { gain } => write!(f, "xavier_uniform({gain})"),
            Init::XavierNormal { gain } => write!(f, "xavier_normal({gain})"),
            Init::KaimingUniform { fan, of } => write!(f, "kaiming_uniform({}, {of})", name_of(&FANS, fan)),
            Init::KaimingNormal { fan, of } => write!(f, "kaiming_normal({}, {of})", name_of(&FANS, fan)),
            Init::Identity { gain } => write!(f, "identity({gain})"),
            Init::Sparse { sparsity, std } => write!(f, "sparse({sparsity}, {std})"),
            // All others have their name above.
            _ => Ok(()),
        }
    }
}

/// What stands in the parentheses.
struct Arguments<'a> {
    text: &'a str,
    names: &'a [&'a str],
}

impl<'a> Arguments<'a> {
    /// Each argument once, by position or by name.
    fn new(text: &'a str, names: &'a [&'a str]) -> Option<Self> {
        let this = Self { text, names };
        let mut seen = 0_u32;
        for (index, part) in this.parts().enumerate() {
            let at = this.place(index, part)?;
            if seen & (1 << at) != 0 {
                return None;
            }
            seen |= 1 << at;
        }
        Some(this)
    }

    fn parts(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.text.split(',').map(str::trim).take(if self.text.trim().is_empty() { 0 } else { usize::MAX })
    }

    fn place(&self, index: usize, part: &str) -> Option<usize> {
        match part.split_once('=') {
            Some((name, _)) => self.names.iter().position(|known| *known == name.trim()),
            None => (index < self.names.len()).then_some(index),
        }
    }

    fn word(&self, at: usize) -> Option<&'a str> {
        let (_, part) = self.parts().enumerate().find(|(index, part)| self.place(*index, part) == Some(at))?;
        Some(part.split_once('=').map_or(part, |(_, value)| value.trim()))
    }

    fn number(&self, at: usize, default: f32) -> Option<f32> {
        self.word(at).map_or(Some(default), |word| word.parse().ok()).filter(|number: &f32| number.is_finite())
    }

    /// A number, or an activation's gain.
    fn gain(&self, at: usize) -> Option<f32> {
        let by_name = self.word(at).and_then(|word| NONLINEARITIES.iter().find(|(name, _)| *name == word));
        by_name.map_or_else(|| self.number(at, 1.0), |(_, of)| Some(of.gain() as f32))
    }

    fn one_of<T: Copy>(&self, at: usize, names: &[(&str, T)], default: T) -> Option<T> {
        let Some(word) = self.word(at) else { return Some(default) };
        names.iter().find(|(name, _)| *name == word).map(|(_, value)| *value)
    }
}

fn read(name: &str, text: &str) -> Option<Init> {
    let arguments = |names: &'static [&'static str]| Arguments::new(text, names);
    let positive = |value: &f32| *value > 0.0;
    Some(match name {
        "constant" => {
            let a = arguments(&["value"])?;
            a.word(0)?;
            Init::Constant(a.number(0, 0.0)?)
        }
        "orthogonal" => Init::Orthogonal { gain: arguments(&["gain"])?.gain(0)? },
        "identity" | "eye" => Init::Identity { gain: arguments(&["gain"])?.number(0, 1.0)? },
        "uniform" | "random_uniform" => {
            let a = arguments(&["low", "high"])?;
            let (low, high) = if name == "uniform" { (0.0, 1.0) } else { (-0.05, 0.05) };
            let (low, high) = (a.number(0, low)?, a.number(1, high)?);
            (low <= high).then_some(Init::Uniform { low, high })?
        }
        "normal" | "random_normal" | "truncated_normal" => {
            let a = arguments(&["mean", "std"])?;
            let (mean, std) = (a.number(0, 0.0)?, a.number(1, if name == "normal" { 1.0 } else { 0.05 })?);
            let std = Some(std).filter(|std| *std >= 0.0)?;
            if name == "truncated_normal" { Init::TruncatedNormal { mean, std } } else { Init::Normal { mean, std } }
        }
        "trunc_normal" => {
            let a = arguments(&["mean", "std", "low", "high"])?;
            let (mean, std) = (a.number(0, 0.0)?, a.number(1, 1.0).filter(positive)?);
            let (low, high) = (a.number(2, -2.0)?, a.number(3, 2.0)?);
            (low < high).then_some(Init::TorchTruncatedNormal { mean, std, low, high })?
        }
        "variance_scaling" => {
            let a = arguments(&["scale", "mode", "distribution"])?;
            Init::VarianceScaling {
                scale: a.number(0, 1.0).filter(positive)?,
                fan: a.one_of(1, &FANS, Fan::In)?,
                shape: a.one_of(2, &SHAPES, Shape::TruncatedNormal)?,
            }
        }
        "xavier_uniform" => Init::XavierUniform { gain: arguments(&["gain"])?.gain(0)? },
        "xavier_normal" => Init::XavierNormal { gain: arguments(&["gain"])?.gain(0)? },
        "kaiming_uniform" | "kaiming_normal" => {
            let a = arguments(&["mode", "nonlinearity", "a"])?;
            let fan = a.one_of(0, &FANS[..2], Fan::In)?;
            let slope = a.number(2, 0.0)?;
            let of = match a.one_of(1, &NONLINEARITIES, Nonlinearity::LeakyRelu { slope })? {
                Nonlinearity::LeakyRelu { .. } => Nonlinearity::LeakyRelu { slope },
                of if a.word(2).is_none() => of,
                _ => return None,
            };
            if name == "kaiming_uniform" { Init::KaimingUniform { fan, of } } else { Init::KaimingNormal { fan, of } }
        }
        "sparse" => {
            let a = arguments(&["sparsity", "std"])?;
            a.word(0)?;
            let (sparsity, std) = (a.number(0, 0.0)?, a.number(1, 0.01).filter(|std| *std >= 0.0)?);
            (0.0..=1.0).contains(&sparsity).then_some(Init::Sparse { sparsity, std })?
        }
        _ => return None,
    })
}

impl FromStr for Init {
    type Err = Error;

    /// Reads a name as `Display` writes it: `he_normal`, `constant(0.1)`, `orthogonal(1.4142135)`; arguments by position or by
    /// name, those left out at their default. A gain may be an activation's name: `xavier_uniform(tanh)`.
    ///
    /// # Errors
    /// [`Error::UnknownInit`] if it is none of them, or an argument makes no sense.
    fn from_str(text: &str) -> Result<Init, Error> {
        if let Some((_, init)) = NAMES.iter().find(|(name, _)| *name == text) {
            return Ok(*init);
        }
        let (name, arguments) = match text.split_once('(') {
            None => (text, ""),
            Some((name, rest)) => (name, rest.strip_suffix(')').ok_or(Error::UnknownInit)?),
        };
        read(name, arguments).ok_or(Error::UnknownInit)
    }
}

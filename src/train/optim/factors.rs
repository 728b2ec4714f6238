//! The constants of one step: everything that does not depend on the parameter, in `f64`, rounded once.

use super::Optimizer;
use super::more::More;

/// The constants of one step, see [`Optimizer::factors`].
#[derive(Clone, Copy, Debug)]
pub struct Factors {
    pub(super) scale: f32,
    pub(super) l2: f32,
    /// What decoupled decay leaves of a parameter; of Adam, in the rule.
    pub(super) keep: f32,
    pub(super) rule: Rule,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Rule {
    Sgd { momentum: f32, nesterov: bool, lr: f32 },
    Adam { rest1: f32, beta2: f32, rest2: f32, rate: f32, root: f32, eps: f32, keep: f32 },
    More(More),
}

/// What is left beside a beta.
pub(super) fn rest(beta: f32) -> f32 {
    (1.0 - decimal(beta)) as f32
}

/// How much of a moment's mean is there at step `t`, from 1.
pub(super) fn correct(beta: f32, t: f64) -> f64 {
    1.0 - libm::pow(decimal(beta), t)
}

/// Corrects the root of the second moment.
pub(super) fn root(beta2: f32, t: f64) -> f64 {
    1.0 / libm::sqrt(correct(beta2, t))
}

/// An eps that is added before the correction, as Keras has it: afterwards it is so much larger.
pub(super) fn early(eps: f32, beta2: f32, t: f64) -> f32 {
    (f64::from(eps) * root(beta2, t)) as f32
}

impl Optimizer {
    /// The factors of one step: everything that does not depend on the parameter.
    ///
    /// `step` counts from 0, `lr` is this step's learning rate, `scale` multiplies the gradients (clipping), `l2` is
    /// added to them times the parameter.
    #[must_use]
    pub fn factors(&self, step: u64, lr: f32, scale: f32, l2: f32) -> Factors {
        // In f64: `1 - beta2` would lose four digits in f32, and its power more.
        let t = (step + 1) as f64;
        let adam = |beta1: f32, beta2: f32, eps: f32, decay: f32| Rule::Adam {
            rest1: rest(beta1),
            beta2,
            rest2: rest(beta2),
            rate: (f64::from(lr) / correct(beta1, t)) as f32,
            root: root(beta2, t) as f32,
            eps,
            keep: (1.0 - f64::from(lr) * f64::from(decay)) as f32,
        };
        let rule = match *self {
            Optimizer::Sgd { momentum, nesterov } => Rule::Sgd { momentum, nesterov, lr },
            Optimizer::Adam { beta1, beta2, eps } => adam(beta1, beta2, eps, 0.0),
            Optimizer::AdamW { beta1, beta2, eps, weight_decay } => adam(beta1, beta2, eps, weight_decay),
            Optimizer::KerasAdam { beta1, beta2, eps } => adam(beta1, beta2, early(eps, beta2, t), 0.0),
            _ => Rule::More(More::of(self, step, lr)),
        };
        Factors { scale, l2, keep: 1.0, rule }
    }
}

/// The decimal number that a beta was written as, to seven places: 0.9 and not 0.89999998, as one less it is used too.
///
/// Next to 1, `f32` has steps of 6e-8, so seven places are all it can hold, and no beta below 1 becomes 1.
pub(super) fn decimal(beta: f32) -> f64 {
    libm::round(f64::from(beta) * 1e7) / 1e7
}

impl Factors {
    /// With decoupled decay: each parameter shrinks by `lr * weight_decay` of itself before the step, as AdamW's do. What
    /// [`AdamW`](Optimizer::AdamW) shrinks by itself is replaced.
    #[must_use]
    pub fn with_decay(mut self, lr: f32, weight_decay: f32) -> Self {
        let kept = (1.0 - f64::from(lr) * f64::from(weight_decay)) as f32;
        match &mut self.rule {
            Rule::Adam { keep, .. } => *keep = kept,
            _ => self.keep = kept,
        }
        self
    }

    /// With another share of this step in the average of [`ScheduleFree`](Optimizer::ScheduleFree); the factors have that of
    /// a rate that never changed, one of all steps.
    #[must_use]
    pub fn with_share(mut self, value: f32) -> Self {
        if let Rule::More(more) = &mut self.rule {
            more.set_share(value);
        }
        self
    }

    /// The same on gradients that are scaled already.
    pub(crate) fn unscaled(mut self) -> Self {
        self.scale = 1.0;
        self
    }

    /// Whether there is a penalty on the parameter's size.
    pub(crate) fn decays(&self) -> bool {
        let own = match self.rule {
            Rule::Adam { keep, .. } => keep != 1.0,
            Rule::More(more) => more.decays(),
            Rule::Sgd { .. } => false,
        };
        self.l2 != 0.0 || self.keep != 1.0 || own
    }

    /// Whether the step of a layer depends on all of its parameters.
    pub(crate) fn by_layer(&self) -> bool {
        matches!(self.rule, Rule::More(more) if more.by_layer())
    }

    /// The same without penalties on the parameter's size: for biases and batch-norm parameters.
    #[must_use]
    pub fn without_decay(mut self) -> Self {
        (self.l2, self.keep) = (0.0, 1.0);
        match &mut self.rule {
            Rule::Adam { keep, .. } => *keep = 1.0,
            Rule::More(more) => more.drop_decay(),
            Rule::Sgd { .. } => {}
        }
        self
    }

    /// Moments that the rule keeps.
    pub(super) fn moments(&self) -> usize {
        match self.rule {
            Rule::Sgd { momentum: 0.0, .. } => 0,
            Rule::Sgd { .. } => 1,
            Rule::Adam { .. } => 2,
            Rule::More(more) => more.moments(),
        }
    }
}

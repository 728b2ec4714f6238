//! Averages of the weights that training passes through: stochastic weight averaging and exponential moving averages.
//!
//! One pass over two slices of the caller: `average = fma(weight - average, factor, average)`.

use super::Session;
use crate::Level;
use crate::error::{Error, check_len};
use crate::simd::{LANES, Simd, level::kernel};
use crate::split::Split;

/// Which average of the weights is kept beside them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Averaging {
    /// None.
    #[default]
    None,
    /// Stochastic weight averaging (Izmailov 2018): the plain mean of the weights at the ends of epochs, from epoch
    /// `from` (counted from 0) on (`torch.optim.swa_utils.AveragedModel`).
    Swa {
        /// The first epoch that counts.
        from: u32,
    },
    /// Exponential moving average after each step: `decay * average + (1 - decay) * weights`, begun with the weights after
    /// the first step (`get_ema_multi_avg_fn` of PyTorch, `use_ema` of Keras).
    Ema {
        /// Share of the old average, from 0 to below 1. Keras' and common default is 0.99, PyTorch's 0.999.
        decay: f64,
    },
}

impl Averaging {
    /// What the new weights' distance from the average is multiplied by, after `count` others: computed in `f64`, rounded
    /// once.
    #[must_use]
    pub fn factor(self, count: u64) -> f32 {
        match self {
            _ if count == 0 => 1.0,
            Averaging::Ema { decay } => (1.0 - decay) as f32,
            _ => (1.0 / (count as f64 + 1.0)) as f32,
        }
    }

    /// Whether its figure is in range.
    #[must_use]
    pub fn is_valid(self) -> bool {
        match self {
            Averaging::Ema { decay } => (0.0..1.0).contains(&decay),
            _ => true,
        }
    }
}

/// Moves `average` towards `weights` by `factor`; a factor of 1 copies them.
///
/// # Errors
/// [`Error::Length`] if they are not equally long.
pub fn average(
    level: Level,
    split: &impl Split,
    factor: f32,
    weights: &[f32],
    average: &mut [f32],
) -> Result<(), Error> {
    /// Values of a task.
    const TASK: usize = 1 << 14;
    check_len("averaged weights", weights.len(), average.len())?;
    split.run([average], [TASK], &|task, [average]| {
        let weights = &weights[task * TASK..][..average.len()];
        if factor == 1.0 {
            average.copy_from_slice(weights);
        } else {
            towards(level, factor, weights, average);
        }
    });
    Ok(())
}

kernel! { fn towards(factor: f32, weights: &[f32], average: &mut [f32]) = towards_body; }

#[inline(always)]
fn towards_body<S: Simd>(s: S, factor: f32, weights: &[f32], average: &mut [f32]) {
    let factor = s.splat(factor);
    let step = |weight: S::F32, average: S::F32| s.mul_add(s.sub(weight, average), factor, average);
    let (weights, last_weights) = weights.as_chunks::<LANES>();
    let (average, last_average) = average.as_chunks_mut::<LANES>();
    for (weight, average) in weights.iter().zip(average) {
        s.store(step(s.load(weight), s.load(average)), average);
    }
    let (mut weight, mut rest) = ([0.0; LANES], [0.0; LANES]);
    weight[..last_weights.len()].copy_from_slice(last_weights);
    rest[..last_average.len()].copy_from_slice(last_average);
    s.store(step(s.load(&weight), s.load(&rest)), &mut rest);
    last_average.copy_from_slice(&rest[..last_average.len()]);
}

/// An average in an array of the caller: the device's form. `Trainer` has a field for it.
///
/// ```
/// use evenkeel::train::{Averager, Averaging, Batch, Buffers, Moment, Rules, Session};
/// use evenkeel::{Layer, Level, Loss, Network, Optimizer, Serial, Targets};
///
/// let layers = [Layer::dense(1)];
/// let network = Network::new(1, &layers)?;
/// let plan = network.plan(2);
/// let (mut params, mut gradients) = (vec![0.0; plan.params], vec![0.0; plan.trained]);
/// let (mut work, mut average) = (vec![0.0; plan.work_len()], vec![0.0; plan.params]);
/// let buffers =
///     Buffers { params: &mut params, state: &mut [], gradients: &mut gradients, moments: &mut [], work: &mut work };
/// let mut session = Session::new(network, 2, buffers, Level::detect(), &Serial)?;
/// let mut averager = Averager::new(Averaging::Ema { decay: 0.9 }, &mut average, 0, &plan)?;
/// let rules = Rules::new(Loss::MeanSquaredError, Optimizer::SGD);
/// for step in 0..200 {
///     let batch = Batch { inputs: &[1.0, -1.0], targets: Targets::Values(&[2.0, -2.0]), rows: 2 };
///     session.step(batch, &rules, Moment { seed: 1, step, lr: 0.1 })?;
///     averager.take_in(&session)?;
/// }
/// // Now the parameters are the average; once more, and they are the last weights again.
/// averager.exchange(&mut session)?;
/// assert!((params[0] - 2.0).abs() < 1e-3);
/// # Ok::<(), evenkeel::Error>(())
/// ```
#[derive(Debug)]
pub struct Averager<'m> {
    averaging: Averaging,
    average: &'m mut [f32],
    count: u64,
}

impl<'m> Averager<'m> {
    /// `average` has as many values as the network has parameters, contents irrelevant unless `count` says that so many
    /// weights are in it.
    ///
    /// # Errors
    /// [`Error::Length`] if `average` is not as long as `plan`'s parameters.
    pub fn new(
        averaging: Averaging,
        average: &'m mut [f32],
        count: u64,
        plan: &crate::plan::Plan,
    ) -> Result<Self, Error> {
        check_len("averaged weights", plan.params, average.len())?;
        Ok(Self { averaging, average, count })
    }

    /// Takes in the session's weights: after each step for a moving average, at the end of an epoch for SWA.
    ///
    /// # Errors
    /// [`Error::Length`] if the session is of another plan.
    pub fn take_in<P: Split>(&mut self, session: &Session<'_, P>) -> Result<(), Error> {
        let factor = self.averaging.factor(self.count);
        average(session.level, session.split, factor, session.buffers.params, self.average)?;
        self.count = self.count.saturating_add(1);
        Ok(())
    }

    /// How many weights are in the average.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Exchanges the session's weights and the average: to evaluate the average, and back again. Batch norms then want
    /// statistics of their own ([`Session::calibrate`]). Nothing happens while the average is empty.
    ///
    /// # Errors
    /// [`Error::Length`] if the session is of another plan.
    pub fn exchange<P: Split>(&mut self, session: &mut Session<'_, P>) -> Result<(), Error> {
        check_len("averaged weights", session.buffers.params.len(), self.average.len())?;
        if self.count > 0 {
            session.buffers.params.swap_with_slice(self.average);
        }
        Ok(())
    }
}

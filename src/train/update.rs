//! The last part of a step: what the rules make of the gradients, layer by layer where they must.

use super::optim::{self, Factors};
use super::{Constraint, Moment, Optimizer, Rules, Session, penalty};
use crate::error::Error;
use crate::layer::Layer;
use crate::simd::LANES;
use crate::split::Split;

/// The moments, cut; and the figures behind them.
struct Moments<'m> {
    all: [&'m mut [f32]; 3],
    figures: &'m mut [f32],
}

impl<'m> Moments<'m> {
    fn cut(count: usize, trained: usize, moments: &'m mut [f32]) -> Self {
        let (moments, figures) = moments.split_at_mut((count * trained).min(moments.len()));
        let mut rest = moments;
        let all = core::array::from_fn(|index| {
            let (head, tail) = core::mem::take(&mut rest).split_at_mut(if index < count { trained } else { 0 });
            rest = tail;
            head
        });
        Self { all, figures }
    }
}

impl<P: Split> Session<'_, P> {
    /// Moves the parameters; `scale` multiplies the gradients.
    pub(super) fn update(&mut self, rules: &Rules, moment: Moment, scale: f32) -> Result<(), Error> {
        let (level, split, plan) = (self.level, self.split, self.plan);
        let params = &mut self.buffers.params[plan.frozen()..];
        let gradients = &mut *self.buffers.gradients;
        let mut moments = Moments::cut(rules.optimizer.moments(), plan.trained, self.buffers.moments);
        let share = average(&rules.optimizer, moment.lr, params, &mut moments);
        let factors_at = |lr: f32| {
            let factors = rules.optimizer.factors(moment.step, lr, scale, rules.l2);
            let factors = if let Some(share) = share { factors.with_share(share) } else { factors };
            if rules.weight_decay != 0.0 { factors.with_decay(lr, rules.weight_decay) } else { factors }
        };
        let factors = factors_at(moment.lr);
        let same = rules.layer_rates.is_one() && !factors.by_layer() && rules.constraint == Constraint::None;
        if same && (rules.decay_all || !factors.decays()) && (rules.decay_all || rules.l1 == 0.0) {
            let factors = with_l1(rules.l1, scale, factors, |l1| penalty::add_l1(level, split, l1, params, gradients))?;
            return optim::step(level, split, factors, params, gradients, moments.all);
        }
        for node in self.network.nodes_in(plan.scope).skip(plan.first) {
            let rate = rules.layer_rates.of(node.index);
            if rate == 0.0 {
                continue;
            }
            let factors =
                if rate == 1.0 { factors } else { factors_at((f64::from(moment.lr) * f64::from(rate)) as f32) };
            let dense = matches!(node.layer, Layer::Dense { .. });
            for (part, penalised) in [(node.weights, dense || rules.decay_all), (node.bias, rules.decay_all)] {
                let start = part.behind(plan.frozen()).start;
                let range = start..start + part.len.next_multiple_of(LANES);
                let (params, gradients) = (&mut params[range.clone()], &mut gradients[range.clone()]);
                let factors = if penalised {
                    with_l1(rules.l1, scale, factors, |l1| penalty::add_l1(level, split, l1, params, gradients))?
                } else {
                    factors.without_decay()
                };
                let moments = moments.all.each_mut().map(|all| all.get_mut(range.clone()).unwrap_or_default());
                optim::step(level, split, factors, params, gradients, moments)?;
            }
            if dense && rules.constraint != Constraint::None {
                let weights = node.weights.behind(plan.frozen()).of_mut(params);
                penalty::constrain(level, split, rules.constraint, (node.inputs, node.outputs), weights)?;
            }
        }
        Ok(())
    }

    /// Exchanges the training weights with the evaluation weights, which
    /// [`ScheduleFree`](Optimizer::ScheduleFree) keeps apart: before an evaluation, and again before the next step. Nothing
    /// is rounded. For other optimisers, and before the first step, there is nothing to exchange; then it returns false.
    ///
    /// # Errors
    /// [`Error::Length`] for moments of another optimiser.
    pub fn swap_weights(&mut self, optimizer: &Optimizer) -> Result<bool, Error> {
        let expected = optimizer.moments_len(&self.plan);
        crate::error::check_len("optimiser moments", expected, self.buffers.moments.len())?;
        Ok(swap(optimizer, &mut self.buffers.params[self.plan.frozen()..], self.buffers.moments))
    }
}

/// Exchanges the trained parameters with the average among the moments, if there is one.
pub(crate) fn swap(optimizer: &Optimizer, trained: &mut [f32], moments: &mut [f32]) -> bool {
    // Moments of another length are those of another optimiser.
    if !optimizer.averages() || moments.len() < optimizer.moments().saturating_mul(trained.len()) {
        return false;
    }
    let moments = Moments::cut(optimizer.moments(), trained.len(), moments);
    let [_, _, average] = moments.all;
    let begun = moments.figures.first().is_some_and(|sum| *sum > 0.0);
    if begun && average.len() == trained.len() {
        trained.swap_with_slice(average);
    }
    begun
}

/// With an L1 penalty `add` writes the scaled gradient and the penalty in place of the gradient.
fn with_l1(
    l1: f32,
    scale: f32,
    factors: Factors,
    add: impl FnOnce((f32, f32)) -> Result<(), Error>,
) -> Result<Factors, Error> {
    if l1 == 0.0 {
        return Ok(factors);
    }
    add((scale, l1))?;
    Ok(factors.unscaled())
}

/// What this step counts in a schedule-free average: the square of the largest rate so far, of the sum of them. The sum (in two
/// parts) and the largest rate are kept behind the moments.
fn average(optimizer: &Optimizer, lr: f32, params: &[f32], moments: &mut Moments<'_>) -> Option<f32> {
    if !optimizer.averages() {
        return None;
    }
    let [high, low, most, ..] = moments.figures else { return None };
    let mut sum = f64::from(*high) + f64::from(*low);
    if sum == 0.0 {
        let [point, _, average] = &mut moments.all;
        point.copy_from_slice(params);
        average.copy_from_slice(params);
    }
    *most = most.max(lr);
    let weight = f64::from(*most) * f64::from(*most);
    sum += weight;
    *high = sum as f32;
    *low = (sum - f64::from(*high)) as f32;
    // A rate of 0 moves nothing, and counts nothing.
    Some(if sum > 0.0 { (weight / sum) as f32 } else { 0.0 })
}

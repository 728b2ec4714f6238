//! The passes over weights and gradients, as kernels.

use super::Constraint;
use crate::Level;
use crate::error::{Error, check_len};
use crate::kernels::{BLOCK, dense, panels};
use crate::simd::{Group, LANES, Simd, level::kernel};
use crate::split::Split;
use crate::train::optim::sign;

/// Values of a task, as of the optimisers.
const TASK: usize = 1 << 14;

/// `gradients * scale + l1 * sign(params)`, in place; both of the same length, whole groups of sixteen.
///
/// # Errors
/// [`Error::Length`] if they are not; nothing has been written then.
pub fn add_l1(
    level: Level,
    split: &impl Split,
    (scale, l1): (f32, f32),
    params: &[f32],
    gradients: &mut [f32],
) -> Result<(), Error> {
    check_len("parameters", params.len().next_multiple_of(LANES), params.len())?;
    check_len("gradients", params.len(), gradients.len())?;
    split.run([gradients], [TASK], &|task, [gradients]| {
        penalised(level, scale, l1, &params[task * TASK..][..gradients.len()], gradients);
    });
    Ok(())
}

kernel! { fn penalised(scale: f32, l1: f32, params: &[f32], gradients: &mut [f32]) = penalised_body; }

#[inline(always)]
fn penalised_body<S: Simd>(s: S, scale: f32, l1: f32, params: &[f32], gradients: &mut [f32]) {
    for (g, p) in gradients.as_chunks_mut::<LANES>().0.iter_mut().zip(params.as_chunks::<LANES>().0) {
        let scaled = s.mul(s.load(g), s.splat(scale));
        s.store(s.mul_add(sign(s, s.load(p)), s.splat(l1), scaled), g);
    }
}

/// `params * keep`, in place, over whole groups.
pub(in crate::train) fn shrink(level: Level, split: &impl Split, keep: f32, params: &mut [f32]) -> Result<(), Error> {
    split.run([params], [TASK], &|_, [params]| shrunk(level, keep, params));
    Ok(())
}

kernel! { fn shrunk(keep: f32, params: &mut [f32]) = shrunk_body; }

#[inline(always)]
fn shrunk_body<S: Simd>(s: S, keep: f32, params: &mut [f32]) {
    for p in params.as_chunks_mut::<LANES>().0 {
        s.store(s.mul(s.load(p), s.splat(keep)), p);
    }
}

/// Enforces a constraint on a dense layer's weights, in panels.
///
/// # Errors
/// [`Error::Length`] if they are not those of `inputs` by `outputs`; nothing has been written then.
pub fn constrain(
    level: Level,
    split: &impl Split,
    constraint: Constraint,
    (inputs, outputs): (usize, usize),
    weights: &mut [f32],
) -> Result<(), Error> {
    check_len("weights", panels::weight_len(inputs, outputs), weights.len())?;
    if constraint == Constraint::None || weights.is_empty() {
        return Ok(());
    }
    let per_task = dense::panels_per_task(outputs, inputs, split.workers());
    split.run([weights], [per_task * LANES * inputs], &|task, [weights]| {
        for (panel, weights) in weights.chunks_mut(LANES * inputs).enumerate() {
            let width = panels::panel_width(outputs, task * per_task + panel);
            match constraint {
                Constraint::NonNegative => cut(level, weights),
                _ => scale_units(level, constraint, width, weights),
            }
        }
    });
    Ok(())
}

kernel! { fn cut(weights: &mut [f32]) = cut_body; }
kernel! { fn scale_units(constraint: Constraint, width: usize, panel: &mut [f32]) = scale_units_body; }

#[inline(always)]
fn cut_body<S: Simd>(s: S, weights: &mut [f32]) {
    let (groups, rest) = weights.as_chunks_mut::<LANES>();
    for group in groups {
        s.store(s.max(s.load(group), s.splat(0.0)), group);
    }
    for value in rest {
        *value = if *value < 0.0 { 0.0 } else { *value };
    }
}

/// The weights of one input, filled up with zeros.
#[inline(always)]
fn filled(lanes: &[f32]) -> Group {
    let mut group = [0.0; LANES];
    for (value, lane) in group.iter_mut().zip(lanes) {
        *value = *lane;
    }
    group
}

#[inline(always)]
fn scale_units_body<S: Simd>(s: S, constraint: Constraint, width: usize, panel: &mut [f32]) {
    let mut total = s.splat(0.0);
    for (block, weights) in panel.chunks(BLOCK * width).enumerate() {
        let mut acc = s.splat(0.0);
        // Whole panels are read where they lie.
        if width == LANES {
            for group in weights.as_chunks::<LANES>().0 {
                let w = s.load(group);
                acc = s.mul_add(w, w, acc);
            }
        } else {
            for lanes in weights.chunks_exact(width) {
                let w = s.load(&filled(lanes));
                acc = s.mul_add(w, w, acc);
            }
        }
        total = if block == 0 { acc } else { s.add(total, acc) };
    }
    let mut factors = [0.0; LANES];
    s.store(total, &mut factors);
    for value in &mut factors {
        *value = factor(constraint, *value);
    }
    if factors.iter().all(|factor| *factor == 1.0) {
        return;
    }
    let factor = s.load(&factors);
    if width == LANES {
        for group in panel.as_chunks_mut::<LANES>().0 {
            s.store(s.mul(s.load(group), factor), group);
        }
        return;
    }
    for lanes in panel.chunks_exact_mut(width) {
        let mut group = filled(lanes);
        s.store(s.mul(s.load(&group), factor), &mut group);
        for (lane, value) in lanes.iter_mut().zip(group) {
            *lane = value;
        }
    }
}

/// What a unit's weights are multiplied by. Norms that are not finite are left for the check that finds them.
fn factor(constraint: Constraint, squares: f32) -> f32 {
    let norm = libm::sqrt(f64::from(squares));
    if !(norm > 0.0 && norm.is_finite()) {
        return 1.0;
    }
    let wanted = match constraint {
        Constraint::MaxNorm(limit) => norm.min(f64::from(limit)),
        Constraint::UnitNorm => 1.0,
        Constraint::MinMaxNorm { min, max, rate } => {
            let inside = norm.max(f64::from(min)).min(f64::from(max));
            if inside == norm { norm } else { norm + f64::from(rate) * (inside - norm) }
        }
        Constraint::None | Constraint::NonNegative => norm,
    };
    let factor = (wanted / norm) as f32;
    if factor.is_finite() { factor } else { 1.0 }
}

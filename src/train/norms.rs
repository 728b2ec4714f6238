//! The modes of a batch norm that trains: ghost batches, batch renormalisation, and how the running statistics follow.

use super::Moment;
use super::forward::{InPlace, Pass};
use crate::TOOLBOX;
use crate::error::Error;
use crate::kernels::batchnorm;
use crate::layer::{BatchNorm, Layer, Network, NormMode, Renorm, ghosts, padded};
use crate::plan::{Node, Plan, Work, ghost_caches};
use crate::simd::LANES;
use crate::split::Split;

/// Values of one group's cache.
const CACHE: usize = batchnorm::cache_len(LANES);

/// The rows of ghost batch `number` of `count`: the last one takes what is left.
fn ghost_rows(rows: usize, ghost: usize, count: usize, number: usize) -> (usize, usize) {
    let start = number * ghost;
    let len = if number + 1 == count { rows - start } else { ghost };
    (start, len)
}

/// A batch norm over ghost batches.
pub(super) struct Ghosts<'p> {
    pub(super) bn: BatchNorm,
    /// Rows of a ghost batch.
    pub(super) ghost: usize,
    pub(super) gamma: &'p [f32],
    pub(super) beta: &'p [f32],
}

impl Ghosts<'_> {
    /// Statistics of each ghost batch, kept in `caches` (`[group][ghost batch]`), outputs, and the layers behind in place.
    pub(super) fn forward<P: Split>(
        &self,
        pass: &Pass<'_, P>,
        then: &InPlace<'_>,
        x: &[f32],
        y: &mut [f32],
        caches: &mut [f32],
    ) {
        let (level, rows) = (pass.level, then.rows);
        let (block, count) = (rows * LANES, ghosts(rows, self.ghost));
        let per_task = batchnorm::groups_per_task(self.gamma.len(), rows, pass.split.workers());
        pass.split.run([y, caches], [per_task * block, per_task * count * CACHE], &|task, [y, caches]| {
            let groups = y.chunks_exact_mut(block).zip(caches.chunks_exact_mut(count * CACHE));
            for (part, (y, caches)) in groups.enumerate() {
                let group = task * per_task + part;
                let x = &x[group * block..][..block];
                let [gamma, beta] = [self.gamma, self.beta].map(|vector| &vector[group * LANES..][..LANES]);
                for (number, cache) in caches.chunks_exact_mut(CACHE).enumerate() {
                    let (start, len) = ghost_rows(rows, self.ghost, count, number);
                    let x = &x[start * LANES..][..len * LANES];
                    batchnorm::some_statistics(level, len, self.bn.eps, x, cache);
                    let y = &mut y[start * LANES..][..len * LANES];
                    batchnorm::some_normal(level, len, cache, gamma, beta, x, y);
                }
                then.forward(group, y);
            }
        });
    }

    /// Gradients, ghost batch by ghost batch: those of scale and shift are the sums of the ghost batches', in order.
    pub(super) fn backward<P: Split>(
        &self,
        pass: &Pass<'_, P>,
        then: &InPlace<'_>,
        (x, y, caches): (&[f32], &[f32], &[f32]),
        dy: &mut [f32],
        dgamma: &mut [f32],
        dbeta: &mut [f32],
    ) {
        let (level, rows) = (pass.level, then.rows);
        let (block, count) = (rows * LANES, ghosts(rows, self.ghost));
        let per_task = batchnorm::groups_per_task(self.gamma.len(), rows, pass.split.workers());
        let chunks = [per_task * block, per_task * LANES, per_task * LANES];
        pass.split.run([dy, dgamma, dbeta], chunks, &|task, [dy, dgamma, dbeta]| {
            let sums = dgamma.chunks_exact_mut(LANES).zip(dbeta.chunks_exact_mut(LANES));
            for (part, (dy, (dgamma, dbeta))) in dy.chunks_exact_mut(block).zip(sums).enumerate() {
                let group = task * per_task + part;
                let [x, y] = [x, y].map(|rows_of| &rows_of[group * block..][..block]);
                then.backward(group, y, dy);
                dgamma.fill(0.0);
                dbeta.fill(0.0);
                let caches = &caches[group * count * CACHE..][..count * CACHE];
                for (number, cache) in caches.chunks_exact(CACHE).enumerate() {
                    let (start, len) = ghost_rows(rows, self.ghost, count, number);
                    let x = &x[start * LANES..][..len * LANES];
                    let dy = &mut dy[start * LANES..][..len * LANES];
                    let [mut own_gamma, mut own_beta] = [[0.0; LANES]; 2];
                    let gamma = &self.gamma[group * LANES..][..LANES];
                    batchnorm::some_gradients(level, len, cache, gamma, x, dy, &mut own_gamma, &mut own_beta);
                    dgamma.iter_mut().zip(own_gamma).for_each(|(sum, own)| *sum += own);
                    dbeta.iter_mut().zip(own_beta).for_each(|(sum, own)| *sum += own);
                }
            }
        });
    }
}

/// The rows of a ghost batch, if the layer divides a batch of `rows` rows into several.
pub(super) const fn ghost_of(bn: BatchNorm, rows: usize) -> Option<usize> {
    match bn.mode {
        NormMode::Ghost { rows: ghost } if TOOLBOX && ghosts(rows, ghost) > 1 => Some(ghost),
        _ => None,
    }
}

/// The caches of ghost batches behind a layer's output.
pub(super) fn ghost_part(node: &Node, rows: usize, capacity: usize, ghost: usize) -> (usize, usize) {
    let width = padded(node.outputs);
    ((node.output + width) * capacity, ghost_caches(width, rows, ghost))
}

/// A renorm's cache: the statistics of the batch, and the corrections (`r`, `d`, `γ'`, `β'`).
pub(super) fn split_renorm(cache: &mut [f32], width: usize) -> (&mut [f32], &mut [f32]) {
    cache.split_at_mut(batchnorm::cache_len(width))
}

/// The scale `γ'` and shift `β'` in a renorm's cache.
pub(super) fn corrected(cache: &[f32], width: usize) -> (&[f32], &[f32]) {
    let corrections = &cache[batchnorm::cache_len(width)..];
    (&corrections[2 * width..3 * width], &corrections[3 * width..4 * width])
}

/// Fills the corrections of a renorm whose batch statistics are in its cache.
pub(super) fn correct(
    level: crate::Level,
    node: &Node,
    (bn, renorm): (BatchNorm, Renorm),
    moment: Option<Moment>,
    params: &[f32],
    state: &[f32],
    cache: &mut [f32],
) -> Result<(), Error> {
    let width = padded(node.inputs);
    let (statistics, corrections) = split_renorm(cache, width);
    let limits = renorm.limits(moment.map_or(0, |moment| moment.step));
    let running = running(node.state.of(state), width);
    let scale_shift = (node.weights.of(params), node.bias.of(params));
    batchnorm::renorm(level, statistics, bn.eps, limits, running, scale_shift, corrections)
}

/// The gradients of renorms' scales from those of `γ'`, after the last part of a batch.
pub(super) fn finish_scales(
    level: crate::Level,
    network: &Network<'_>,
    plan: &Plan,
    work: &Work<'_>,
    gradients: &mut [f32],
) {
    for node in network.nodes_in(plan.scope).skip(plan.first) {
        if renorm_of(plan, &node).is_some() {
            let (dgamma, dbeta) = gradients[node.weights.start - plan.frozen()..].split_at_mut(node.weights.len);
            let corrections = &node.cache.of(work.cache)[batchnorm::cache_len(node.weights.len)..];
            batchnorm::renorm_gamma(level, corrections, &dbeta[..node.bias.len], dgamma);
        }
    }
}

/// Its settings, if a node is a renorm with the statistics of its batch.
fn renorm_of(plan: &Plan, node: &Node) -> Option<Renorm> {
    match node.layer {
        Layer::BatchNorm(BatchNorm { mode: NormMode::Renorm(renorm), .. })
            if TOOLBOX && plan.scope.batch_norm_uses_batch(node.index, node.layer) =>
        {
            Some(renorm)
        }
        _ => None,
    }
}

/// After a step is known to be sound: the running statistics move towards the batch's. If `averaging`, all batches count
/// alike whatever the momentum, and a batch is never divided into ghosts: that is a re-estimation.
pub(super) fn update_running(
    network: &Network<'_>,
    plan: &Plan,
    rows: usize,
    averaging: bool,
    state: &mut [f32],
    work: &mut [f32],
) -> Result<(), Error> {
    let work = plan.carve(work);
    let ghost = |node: &Node| match node.layer {
        Layer::BatchNorm(bn) if !averaging => ghost_of(bn, rows),
        _ => None,
    };
    let caches = |node: &Node| match ghost(node) {
        Some(ghost) => {
            let (start, len) = ghost_part(node, rows, work.capacity(), ghost);
            &work.activations[start..][..len]
        }
        None => &node.cache.of(work.cache)[..batchnorm::cache_len(padded(node.inputs))],
    };
    // All are looked at before any changes. A variance beyond `f32` leaves outputs and gradients finite, but the running
    // variance would stay infinite for ever.
    let moves = |node: &Node| plan.scope.batch_norm_uses_batch(node.index, node.layer);
    let sound = |node: &Node| caches(node).iter().all(|value| value.is_finite());
    if let Some(node) = network.nodes_in(plan.scope).find(|node| moves(node) && !sound(node)) {
        return Err(Error::NonFinite { what: "statistics", layer: node.index });
    }
    for node in network.nodes_in(plan.scope).filter(moves) {
        let Layer::BatchNorm(bn) = node.layer else { continue };
        let state = node.state.of_mut(state);
        let before = batches_seen(state);
        let momentum = if averaging { None } else { bn.momentum };
        let factor = |batches: u64| momentum.unwrap_or(1.0 / batches as f32);
        let count = ghost(&node).map_or(1, |ghost| ghosts(rows, ghost));
        set_batches_seen(state, before + count as u64);
        let (mean, rest) = state.split_at_mut(padded(node.inputs));
        let var = &mut rest[..mean.len()];
        let Some(ghost) = ghost(&node) else {
            batchnorm::update_running(caches(&node), rows, factor(before + 1), bn.unbiased, mean, var)?;
            continue;
        };
        let groups = mean.chunks_exact_mut(LANES).zip(var.chunks_exact_mut(LANES));
        for ((mean, var), caches) in groups.zip(caches(&node).chunks_exact(count * CACHE)) {
            for (number, cache) in caches.chunks_exact(CACHE).enumerate() {
                let (_, len) = ghost_rows(rows, ghost, count, number);
                let factor = factor(before + 1 + number as u64);
                batchnorm::update_running(cache, len, factor, bn.unbiased, mean, var)?;
            }
        }
    }
    Ok(())
}

/// Running mean and variance of a batch norm's state.
pub(crate) fn running(state: &[f32], width: usize) -> (&[f32], &[f32]) {
    (&state[..width], &state[width..2 * width])
}

/// How many batches a batch norm has seen: two parts of 24 bits, each exact in an `f32`.
#[must_use]
pub(crate) fn batches_seen(state: &[f32]) -> u64 {
    let count = &state[state.len() - LANES..];
    (count[1] as u64) << 24 | count[0] as u64
}

/// Writes the count that [`batches_seen`] reads.
pub(crate) fn set_batches_seen(state: &mut [f32], batches: u64) {
    let at = state.len() - LANES;
    let batches = batches.min((1 << 48) - 1);
    state[at] = (batches & 0xff_ffff) as f32;
    state[at + 1] = (batches >> 24) as f32;
}

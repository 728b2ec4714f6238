//! A batch of either kind: plain rows, or index lists.

use super::{Batch, Targets};
use crate::kernels::sparse::IndexLists;

/// The inputs of a batch or of a data set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Inputs<'a> {
    /// Rows of as many values as there are features, one after the other.
    Values(&'a [f32]),
    /// Rows of ones and zeros, as lists of the features that are 1.
    Lists(IndexLists<'a>),
}

impl<'a> Inputs<'a> {
    /// The lists, if it is those.
    #[must_use]
    pub const fn lists(&self) -> Option<IndexLists<'a>> {
        match self {
            Inputs::Values(_) => None,
            Inputs::Lists(lists) => Some(*lists),
        }
    }

    /// Whether there is a NaN or an infinity; lists have none.
    pub(crate) fn non_finite(&self) -> bool {
        matches!(self, Inputs::Values(values) if values.iter().any(|value| !value.is_finite()))
    }

    /// Rows `first..first + count` of `features` values each, which are there.
    pub(crate) fn part(&self, features: usize, first: usize, count: usize) -> Self {
        match self {
            Inputs::Values(values) => Inputs::Values(&values[first * features..][..count * features]),
            Inputs::Lists(lists) => Inputs::Lists(lists.part(first, count)),
        }
    }
}

/// A batch whose inputs are index lists: trained on with the bits of the same zeros and ones as plain rows. The network begins
/// with a dense layer.
///
/// ```
/// use evenkeel::kernels::sparse::IndexLists;
/// use evenkeel::train::{Batch, ListBatch, Moment, Rules, Session};
/// use evenkeel::{Layer, Level, Loss, Network, Optimizer, Serial, Targets, memory::Buffer};
///
/// let layers = [Layer::dense(2)];
/// let network = Network::new(5, &layers)?;
/// let plan = network.plan(2);
/// let inputs = IndexLists::new(5, &[0, 2, 3], &[1, 4, 0])?;
/// let targets = Targets::Classes(&[0, 1]);
/// let rows = [0.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0];
/// let trained = |lists: bool| {
///     let mut params: Vec<f32> = (0..plan.params).map(|at| if at < 20 { at as f32 } else { 0.0 }).collect();
///     let (mut gradients, mut work) = (Buffer::zeros(plan.trained), Buffer::zeros(plan.work_len()));
///     let buffers = evenkeel::train::Buffers {
///         params: &mut params, state: &mut [], gradients: &mut gradients, moments: &mut [], work: &mut work,
///     };
///     let mut session = Session::new(network, 2, buffers, Level::detect(), &Serial)?;
///     let (rules, moment) = (Rules::new(Loss::CrossEntropy, Optimizer::SGD), Moment { seed: 0, step: 0, lr: 0.1 });
///     if lists {
///         session.step(ListBatch { inputs, targets }, &rules, moment)?;
///     } else {
///         session.step(Batch { inputs: &rows, targets, rows: 2 }, &rules, moment)?;
///     }
///     Ok::<_, evenkeel::Error>(params)
/// };
/// assert_eq!(trained(true)?, trained(false)?);
/// # Ok::<(), evenkeel::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ListBatch<'a> {
    /// The rows.
    pub inputs: IndexLists<'a>,
    /// Their targets.
    pub targets: Targets<'a>,
}

/// A batch of either kind, made [`From`] one of them: what a [`Session`](super::Session) takes.
#[derive(Clone, Copy, Debug)]
pub struct AnyBatch<'a> {
    /// The rows.
    pub inputs: Inputs<'a>,
    /// Their targets.
    pub targets: Targets<'a>,
    /// Number of rows.
    pub rows: usize,
}

impl<'a> From<Batch<'a>> for AnyBatch<'a> {
    fn from(batch: Batch<'a>) -> Self {
        let Batch { inputs, targets, rows } = batch;
        Self { inputs: Inputs::Values(inputs), targets, rows }
    }
}

impl<'a> From<ListBatch<'a>> for AnyBatch<'a> {
    fn from(batch: ListBatch<'a>) -> Self {
        let ListBatch { inputs, targets } = batch;
        Self { inputs: Inputs::Lists(inputs), targets, rows: inputs.len() }
    }
}

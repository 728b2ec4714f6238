//! One step of training over memory that the caller owns: forward, loss, backward, update. Nothing else.
//!
//! [`Session`] holds the plan and borrows the buffers; a step allocates nothing, cannot panic, and leaves the
//! parameters untouched if the loss or a gradient is not finite. Epochs, shuffling and stopping are `fit`'s.
//!
//! On a device every length is a constant, and the arrays are static or on the stack ([`Arrays`]). Here a network's last
//! layer learns from a stream of single rows; the layers before it are frozen, and the best weights are kept:
//!
//! ```
//! use evenkeel::kernels::panels::pack;
//! use evenkeel::plan::{Plan, Scope};
//! use evenkeel::train::{Batch, Keeper, Moment, Rules, Session};
//! use evenkeel::{EarlyStopping, Layer, Level, Loss, Network, Optimizer, Serial, Targets};
//!
//! const LAYERS: [Layer; 3] = [Layer::dense(16), Layer::Activation(evenkeel::Activation::Relu), Layer::dense(2)];
//! const NETWORK: Network<'_> = match Network::new(4, &LAYERS) {
//!     Ok(network) => network,
//!     Err(_) => panic!("these layers do not fit together"),
//! };
//! const SCOPE: Scope = Scope::last_dense(&NETWORK, 1);
//! const PLAN: Plan = NETWORK.plan_in(SCOPE, 1);
//! const OPTIMIZER: Optimizer = Optimizer::ADAM;
//!
//! let mut arrays: evenkeel::arrays!(PLAN, OPTIMIZER) = evenkeel::train::Arrays::new();
//! let mut best = [0.0; PLAN.best_len()];
//! // On a device, the weights that the laptop trained; here, made up.
//! for node in NETWORK.nodes() {
//!     if let Layer::Dense { outputs, .. } = node.layer {
//!         let matrix: [f32; 64] = core::array::from_fn(|at| libm::cosf(3.0 * at as f32));
//!         pack(node.inputs, outputs, &matrix[..node.inputs * outputs], node.weights.of_mut(&mut arrays.params));
//!     }
//! }
//! let rules = Rules::new(Loss::CrossEntropy, OPTIMIZER);
//! let mut session = Session::with_scope(NETWORK, SCOPE, 1, arrays.buffers(), Level::detect(), &Serial)?;
//! let mut keeper = Keeper::new(EarlyStopping::patience(5), &mut best, session.plan())?;
//! let mut losses = [0.0; 2];
//! for step in 0..400 {
//!     // A sensor's row, and the class that the wearer told.
//!     let row = [0.0, 1.0, 2.0, 3.0].map(|phase| libm::sinf(step as f32 * 0.7 + phase));
//!     let label = [u32::from(row[0] > 0.0)];
//!     let batch = Batch { inputs: &row, targets: Targets::Classes(&label), rows: 1 };
//!     let score = session.step(batch, &rules, Moment { seed: 1, step, lr: 0.01 })?;
//!     losses[1] += score.loss;
//!     if step % 100 == 99 {
//!         if step == 99 {
//!             losses[0] = losses[1];
//!         }
//!         if keeper.observe(&session, losses[1])?.stop {
//!             break;
//!         }
//!         losses[1] = if step == 399 { losses[1] } else { 0.0 };
//!     }
//! }
//! keeper.restore(&mut session)?;
//! assert!(losses[1] < 0.5 * losses[0]);
//! # Ok::<(), evenkeel::Error>(())
//! ```

pub mod augment;
pub mod loss;
pub mod optim;
pub mod penalty;
pub mod schedule;
pub mod stop;

mod arrays;
pub mod average;
mod backward;
mod batch;
mod calibrate;
mod connect;
mod forward;
mod keeper;
mod norms;
mod parts;
mod rates;
mod session;
mod update;

use crate::error::Error;
use crate::layer::{Layer, Network};

pub use arrays::Arrays;
pub use average::{Averager, Averaging};
pub use batch::{AnyBatch, Inputs, ListBatch};
pub use keeper::Keeper;
pub use loss::{Link, Loss, Mean, Mixed, Score, Targets, Weighted};
#[cfg(feature = "alloc")]
pub(crate) use norms::batches_seen;
#[cfg(feature = "safetensors")]
pub(crate) use norms::set_batches_seen;
pub use optim::{Dialect, Optimizer};
pub use penalty::Constraint;
pub use rates::LayerRates;
pub use schedule::Schedule;
pub use session::Session;
pub use stop::{EarlyStopping, Mode, StopState};
#[cfg(feature = "alloc")]
pub(crate) use update::swap;

/// What one step does with its gradients.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rules {
    /// What is minimised.
    pub loss: Loss,
    /// How parameters change.
    pub optimizer: Optimizer,
    /// `l2 * w` is added to the gradient of each penalised parameter (`weight_decay` of PyTorch's SGD and Adam).
    pub l2: f32,
    /// Whether L1, L2 and weight decay also reach biases and batch norm's scale and shift. PyTorch does that by
    /// default; penalising only dense weights (false) is the usual advice.
    pub decay_all: bool,
    /// Limit on the gradients.
    pub clip: Clip,
    /// `l1 * sign(w)` is added to the gradient of each penalised parameter, after clipping: [`gradients`](Session::gradients)
    /// then holds the sum.
    pub l1: f32,
    /// Penalised parameters shrink by `lr * weight_decay` of themselves before each step, whatever the optimiser (Keras'
    /// `weight_decay`); [`AdamW`](Optimizer::AdamW) has its own.
    pub weight_decay: f32,
    /// What the weights of dense layers must be after each step.
    pub constraint: Constraint,
    /// Factors on the learning rate, layer by layer.
    pub layer_rates: LayerRates,
}

impl Rules {
    /// Adam on a loss, with no penalty and no clipping.
    #[must_use]
    pub const fn new(loss: Loss, optimizer: Optimizer) -> Self {
        Self {
            loss,
            optimizer,
            l2: 0.0,
            decay_all: false,
            clip: Clip::None,
            l1: 0.0,
            weight_decay: 0.0,
            constraint: Constraint::None,
            layer_rates: LayerRates::ONE,
        }
    }
}

/// Gradient clipping.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Clip {
    /// None.
    #[default]
    None,
    /// All gradients are scaled down so that their common Euclidean norm is at most this
    /// (`torch.nn.utils.clip_grad_norm_`).
    Norm(f32),
    /// Each gradient is cut to at most this size.
    Value(f32),
}

/// The rows of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// Rows of as many values as the network has inputs, one after the other.
    pub inputs: &'a [f32],
    /// Their targets.
    pub targets: Targets<'a>,
    /// Number of rows.
    pub rows: usize,
}

/// Where in the run a step is: dropout and the optimiser are pure functions of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moment {
    /// Seed of the run.
    pub seed: u64,
    /// Steps done before this one.
    pub step: u64,
    /// Learning rate of this step.
    pub lr: f32,
}

/// The buffers of a training run; lengths as [`Plan`](crate::plan::Plan) says.
#[derive(Debug)]
pub struct Buffers<'m> {
    /// Weights, biases, batch-norm scale and shift.
    pub params: &'m mut [f32],
    /// Running statistics.
    pub state: &'m mut [f32],
    /// Gradients, as long as the parameters that are trained ([`Plan::trained`](crate::plan::Plan::trained)).
    pub gradients: &'m mut [f32],
    /// The optimiser's moments, [`Optimizer::moments_len`]; zero at the start.
    pub moments: &'m mut [f32],
    /// Scratch, [`Plan::work_len`](crate::plan::Plan::work_len).
    pub work: &'m mut [f32],
}

/// Whether a network's last layer suits a loss: the losses that contain softmax or sigmoid want plain logits.
///
/// # Errors
/// [`Error::OutputLayer`] names the layer to remove, [`Error::LossParameter`] a loss with a figure outside its range.
pub fn check_output(network: &Network<'_>, loss: Loss) -> Result<(), Error> {
    use crate::layer::Activation;
    let last = network.layers()[network.layers().len() - 1];
    if !loss.is_valid() {
        return Err(Error::LossParameter { loss: loss.name() });
    }
    let twice = match loss.link() {
        Link::Softmax => matches!(last, Layer::Softmax | Layer::LogSoftmax),
        Link::Sigmoid => matches!(last, Layer::Activation(Activation::Sigmoid)),
        Link::None => false,
    };
    if twice { Err(Error::OutputLayer { name: last.name(), loss: loss.name() }) } else { Ok(()) }
}

//! The buffers of a training run as arrays: their lengths are constants, so they can be static or on the stack.

use super::Buffers;

/// The memory of a training run of one plan; [`arrays!`](crate::arrays) writes the five lengths.
///
/// ```
/// use evenkeel::train::{Arrays, Session};
/// use evenkeel::{Layer, Level, Network, Optimizer, Serial};
///
/// const LAYERS: [Layer; 1] = [Layer::dense(3)];
/// const NETWORK: Network<'_> = match Network::new(8, &LAYERS) {
///     Ok(network) => network,
///     Err(_) => panic!("these layers do not fit together"),
/// };
/// const PLAN: evenkeel::plan::Plan = NETWORK.plan(4);
///
/// let mut arrays: evenkeel::arrays!(PLAN, Optimizer::ADAM) = Arrays::new();
/// let session = Session::new(NETWORK, 4, arrays.buffers(), Level::detect(), &Serial)?;
/// # assert_eq!(session.weights().0.len(), PLAN.params);
/// # Ok::<(), evenkeel::Error>(())
/// ```
///
/// All zero at first: zero bytes of a `static` take no flash.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub struct Arrays<
    const PARAMS: usize,
    const STATE: usize,
    const TRAINED: usize,
    const MOMENTS: usize,
    const WORK: usize,
> {
    /// [`Buffers::params`]
    pub params: [f32; PARAMS],
    /// [`Buffers::state`]
    pub state: [f32; STATE],
    /// [`Buffers::gradients`]
    pub gradients: [f32; TRAINED],
    /// [`Buffers::moments`]
    pub moments: [f32; MOMENTS],
    /// [`Buffers::work`]
    pub work: [f32; WORK],
}

impl<const PARAMS: usize, const STATE: usize, const TRAINED: usize, const MOMENTS: usize, const WORK: usize>
    Arrays<PARAMS, STATE, TRAINED, MOMENTS, WORK>
{
    /// Zeros.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            params: [0.0; PARAMS],
            state: [0.0; STATE],
            gradients: [0.0; TRAINED],
            moments: [0.0; MOMENTS],
            work: [0.0; WORK],
        }
    }

    /// What a [`Session`](super::Session) borrows.
    pub const fn buffers(&mut self) -> Buffers<'_> {
        Buffers {
            params: &mut self.params,
            state: &mut self.state,
            gradients: &mut self.gradients,
            moments: &mut self.moments,
            work: &mut self.work,
        }
    }
}

impl<const PARAMS: usize, const STATE: usize, const TRAINED: usize, const MOMENTS: usize, const WORK: usize> Default
    for Arrays<PARAMS, STATE, TRAINED, MOMENTS, WORK>
{
    fn default() -> Self {
        Self::new()
    }
}

/// The type of the [`Arrays`](crate::train::Arrays) for a plan and an optimiser, which must be constants.
#[macro_export]
macro_rules! arrays {
    ($plan:expr, $optimizer:expr) => {
        $crate::train::Arrays<
            { $plan.params },
            { $plan.state },
            { $plan.trained },
            { $optimizer.moments_len(&$plan) },
            { $plan.work_len() },
        >
    };
}

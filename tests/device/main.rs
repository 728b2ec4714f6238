//! Training as a device does it: a part of the network, a batch in parts, arrays of the caller, no heap.

mod image;
mod owned;
mod parts;
mod refuse;
mod scope;
mod stopping;

use evenkeel::layer::padded;
use evenkeel::plan::{Plan, Scope};
use evenkeel::rng::{Purpose, Stream, unit};
use evenkeel::train::{Batch, Buffers, Moment, Rules, Score, Session, Targets};
use evenkeel::{Layer, Level, Loss, Network, Optimizer, Serial};

const SEED: u64 = 0xdef1_ce00_0000_0001;

/// Uniform in ±1, a pure function of its arguments.
pub(crate) fn numbers(stream: u32, count: usize) -> Vec<f32> {
    let words = Stream::new(SEED, Purpose::Init, stream, 2);
    (0..count as u64).map(|i| 2.0 * unit(words.word(i)) - 1.0).collect()
}

/// Set where an emulator runs the tests.
pub(crate) fn emulated() -> bool {
    std::env::var_os("EVENKEEL_EMULATED").is_some()
}

pub(crate) fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// Everything that training changes, and a batch.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) layers: Vec<Layer>,
    pub(crate) inputs: usize,
    pub(crate) params: Vec<f32>,
    pub(crate) state: Vec<f32>,
    pub(crate) x: Vec<f32>,
    pub(crate) labels: Vec<u32>,
    pub(crate) values: Vec<f32>,
    pub(crate) rows: usize,
    pub(crate) loss: Loss,
}

impl Setup {
    /// Made-up parameters, and running statistics that were updated before.
    pub(crate) fn new(inputs: usize, layers: &str, loss: Loss, rows: usize) -> Self {
        let layers = evenkeel::text::parse(layers).unwrap();
        let network = Network::new(inputs, &layers).unwrap();
        let (mut params, mut state) = (vec![0.0; network.params_len()], vec![0.0; network.state_len()]);
        for node in network.nodes() {
            let stream = 10 * node.index as u32;
            match node.layer {
                Layer::Dense { outputs, .. } => {
                    let matrix = numbers(stream, node.inputs * outputs);
                    let matrix: Vec<f32> = matrix.iter().map(|w| 1.7 * w / (node.inputs as f32).sqrt()).collect();
                    evenkeel::kernels::panels::pack(node.inputs, outputs, &matrix, node.weights.of_mut(&mut params));
                    let bias = node.bias.of_mut(&mut params);
                    let used = outputs.min(bias.len());
                    bias[..used].copy_from_slice(&numbers(stream + 1, used));
                }
                Layer::LayerNorm(_) => {
                    let width = node.inputs;
                    let gamma = numbers(stream, width).into_iter().map(|g| 1.0 + 0.5 * g).collect::<Vec<_>>();
                    node.weights.of_mut(&mut params)[..width].copy_from_slice(&gamma);
                    node.bias.of_mut(&mut params)[..width].copy_from_slice(&numbers(stream + 1, width));
                }
                Layer::BatchNorm(_) => {
                    let width = node.inputs;
                    let gamma = numbers(stream, width).into_iter().map(|g| 1.0 + 0.5 * g).collect::<Vec<_>>();
                    node.weights.of_mut(&mut params)[..width].copy_from_slice(&gamma);
                    node.bias.of_mut(&mut params)[..width].copy_from_slice(&numbers(stream + 1, width));
                    let part = node.state.of_mut(&mut state);
                    part[..width].copy_from_slice(&numbers(stream + 2, width));
                    let var: Vec<f32> = numbers(stream + 3, width).into_iter().map(|v| 1.0 + 0.5 * v).collect();
                    part[padded(width)..][..width].copy_from_slice(&var);
                    part[2 * padded(width)] = 3.0;
                }
                _ => {}
            }
        }
        let outputs = network.outputs();
        let x = numbers(900, rows * inputs).into_iter().map(|x| 2.0 * x).collect();
        let labels = numbers(901, rows).iter().map(|u| ((u + 1.0) * 0.5 * outputs as f32) as u32).collect();
        let mut values = numbers(902, rows * outputs);
        if loss == Loss::BinaryCrossEntropy {
            values.iter_mut().for_each(|value| *value = 0.5 + 0.5 * *value);
        }
        Self { inputs, params, state, x, labels, values, rows, loss, layers }
    }

    pub(crate) fn network(&self) -> Network<'_> {
        Network::new(self.inputs, &self.layers).unwrap()
    }

    /// Rows `first..first + count` of the batch.
    pub(crate) fn part(&self, first: usize, count: usize) -> Batch<'_> {
        let outputs = self.network().outputs();
        let targets = if self.loss == Loss::CrossEntropy {
            Targets::Classes(&self.labels[first..][..count])
        } else {
            Targets::Values(&self.values[first * outputs..][..count * outputs])
        };
        Batch { inputs: &self.x[first * self.inputs..][..count * self.inputs], targets, rows: count }
    }

    pub(crate) fn batch(&self) -> Batch<'_> {
        self.part(0, self.rows)
    }

    /// Some steps by `each`; returns the last score and what they left.
    pub(crate) fn train(
        &self,
        (level, scope, planned): (Level, Scope, usize),
        optimizer: Optimizer,
        steps: u64,
        mut each: impl FnMut(&mut Session<'_, Serial>, &Rules, Moment) -> Score,
    ) -> After {
        let network = self.network();
        let plan = network.plan_in(scope, planned);
        let mut after = After::new(self, &plan, optimizer);
        // Rubbish: nothing may be read before it was written.
        let mut work = vec![f32::NAN; plan.work_len()];
        let buffers = Buffers {
            params: &mut after.params,
            state: &mut after.state,
            gradients: &mut after.gradients,
            moments: &mut after.moments,
            work: &mut work,
        };
        let mut session = Session::with_scope(network, scope, planned, buffers, level, &Serial).unwrap();
        let rules = rules(self.loss, optimizer);
        for step in 0..steps {
            after.score = each(&mut session, &rules, Moment { seed: 9, step, lr: 0.05 });
        }
        after
    }
}

/// With everything that may change an update.
pub(crate) fn rules(loss: Loss, optimizer: Optimizer) -> Rules {
    let mut rules = Rules::new(loss, optimizer);
    rules.l2 = 0.01;
    rules.clip = evenkeel::train::Clip::Norm(0.5);
    rules
}

/// What training left.
#[derive(Clone)]
pub(crate) struct After {
    pub(crate) params: Vec<f32>,
    pub(crate) state: Vec<f32>,
    pub(crate) gradients: Vec<f32>,
    pub(crate) moments: Vec<f32>,
    pub(crate) score: Score,
}

impl After {
    fn new(setup: &Setup, plan: &Plan, optimizer: Optimizer) -> Self {
        Self {
            params: setup.params.clone(),
            state: setup.state.clone(),
            gradients: vec![f32::NAN; plan.trained],
            moments: vec![0.0; optimizer.moments_len(plan)],
            score: Score::default(),
        }
    }

    /// Every bit of it, beginning with the trained parameters.
    #[track_caller]
    pub(crate) fn assert_same(&self, other: &Self, what: &str) {
        assert_eq!(bits(&self.gradients), bits(&other.gradients), "gradients: {what}");
        assert_eq!(bits(&self.moments), bits(&other.moments), "moments: {what}");
        assert_eq!(bits(&self.params), bits(&other.params), "parameters: {what}");
        assert_eq!(bits(&self.state), bits(&other.state), "running statistics: {what}");
        assert_eq!(self.score, other.score, "score: {what}");
    }

    pub(crate) fn values(&self) -> usize {
        self.params.len() + self.state.len() + self.gradients.len() + self.moments.len()
    }
}

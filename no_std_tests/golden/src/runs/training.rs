//! Training: some steps of networks with batch norm and dropout, then everything that they changed.
//!
//! Dense layers before a batch norm have no bias: its gradient would be rounding errors, from which Adam makes steps of
//! full length. On an exact level those are the same everywhere too, but where a multiply-add rounds twice no bound holds.

use evenkeel::{
    Activation, BatchNorm, Error, Layer, Level, Loss, Network, Optimizer, Serial, Targets,
    kernels::panels,
    layer::padded,
    rng::{Purpose, Stream, unit},
    train::{Batch, Buffers, Clip, Moment, Rules, Session},
};

use super::{Memory, Sink, Stage};

const SEED: u64 = 20_261_124;
const STEPS: usize = 12;
const MOST_ROWS: usize = 16;
const BATCH_NORM: Layer = Layer::BatchNorm(BatchNorm::TORCH);
const RELU: Layer = Layer::Activation(Activation::Relu);
const MOMENTUM: Optimizer = Optimizer::Sgd { momentum: 0.9, nesterov: false };
const NESTEROV: Optimizer = Optimizer::Sgd { momentum: 0.9, nesterov: true };

/// A network and how it is trained.
pub(super) struct Recipe {
    name: &'static str,
    inputs: usize,
    layers: &'static [Layer],
    rules: Rules,
    /// Learning rate.
    lr: f32,
    /// Rows of a batch.
    rows: usize,
}

const fn wide(outputs: usize) -> Layer {
    Layer::Dense { outputs, bias: false }
}

const fn drop_out(rate: f32) -> Layer {
    Layer::Dropout { rate }
}

/// Features beyond a group, narrow last panels, a bias.
const FEW: &[Layer] = &[wide(18), BATCH_NORM, RELU, drop_out(0.25), Layer::dense(4)];
/// Two hidden layers, widths that are no multiple of four.
const MORE: &[Layer] =
    &[wide(33), BATCH_NORM, RELU, drop_out(0.2), wide(19), BATCH_NORM, RELU, drop_out(0.1), Layer::dense(5)];
/// Every activation, both dialects of batch norm.
const EVERY: &[Layer] = &[
    Layer::dense(17),
    Layer::Activation(Activation::Silu),
    wide(20),
    Layer::BatchNorm(BatchNorm::KERAS),
    Layer::Activation(Activation::Gelu),
    drop_out(0.1),
    Layer::dense(9),
    Layer::Activation(Activation::Tanh),
    Layer::dense(18),
    Layer::Activation(Activation::LeakyRelu { slope: 0.1 }),
    Layer::BatchNorm(BatchNorm { eps: 1e-2, momentum: None, unbiased: true, ..BatchNorm::TORCH }),
    Layer::dense(7),
    Layer::Activation(Activation::Sigmoid),
    Layer::dense(6),
    Layer::Softmax,
];
/// A row longer than a block of sums.
const LONG: &[Layer] = &[wide(6), BATCH_NORM, RELU, Layer::dense(2)];

const fn rules(loss: Loss, optimizer: Optimizer, l2: f32, clip: Clip) -> Rules {
    Rules { l2, clip, ..Rules::new(loss, optimizer) }
}

const CLASSES: Loss = Loss::CrossEntropy;

#[rustfmt::skip]
pub(super) const RECIPES: [Recipe; 6] = [
    Recipe { name: "few, Adam", inputs: 8, layers: FEW, rules: rules(CLASSES, Optimizer::ADAM, 0.0, Clip::None), lr: 0.01, rows: 8 },
    Recipe { name: "few, SGD", inputs: 8, layers: FEW, rules: rules(CLASSES, MOMENTUM, 0.0, Clip::None), lr: 0.1, rows: 8 },
    Recipe { name: "more, Adam", inputs: 21, layers: MORE, rules: rules(CLASSES, Optimizer::ADAM, 0.0, Clip::None), lr: 0.01, rows: 16 },
    Recipe { name: "more, SGD", inputs: 21, layers: MORE, rules: rules(CLASSES, MOMENTUM, 1e-3, Clip::None), lr: 0.1, rows: 16 },
    Recipe { name: "every, AdamW", inputs: 9, layers: EVERY, rules: rules(Loss::MeanSquaredError, Optimizer::ADAMW, 0.0, Clip::Norm(0.05)), lr: 0.003, rows: 11 },
    Recipe { name: "long, Nesterov", inputs: 270, layers: LONG, rules: rules(Loss::BinaryCrossEntropy, NESTEROV, 0.0, Clip::Value(0.1)), lr: 0.05, rows: 5 },
];

/// Values of memory that the most demanding recipe takes.
pub(super) const fn memory(recipes: &[Recipe]) -> usize {
    let (mut at, mut most) = (0, 0);
    while at < recipes.len() {
        let len = recipes[at].memory();
        if len > most {
            most = len;
        }
        at += 1;
    }
    most
}

impl Recipe {
    const fn memory(&self) -> usize {
        let network = match Network::new(self.inputs, self.layers) {
            Ok(network) => network,
            Err(_) => panic!("the layers do not fit"),
        };
        let plan = network.plan(self.rows);
        let rows = self.rows * (self.inputs + 2 * network.outputs());
        plan.params * (2 + self.rules.optimizer.moments()) + plan.state + plan.work_len() + rows
    }

    /// Trains, and hands out the loss of every step, then parameters, running statistics and answers.
    pub(super) fn run(&self, level: Level, memory: &mut [f32], sink: &mut dyn Sink) -> Result<(), Error> {
        let network = Network::new(self.inputs, self.layers)?;
        let plan = network.plan(self.rows);
        let mut memory = Memory(memory);
        let inputs = memory.take(self.rows * self.inputs)?;
        let [targets, outputs] = [(); 2].map(|()| memory.take(self.rows * network.outputs()));
        let (targets, outputs) = (targets?, outputs?);
        let buffers = Buffers {
            params: memory.take(plan.params)?,
            state: memory.take(plan.state)?,
            gradients: memory.take(plan.params)?,
            moments: memory.take(self.rules.optimizer.moments() * plan.params)?,
            work: memory.take(plan.work_len())?,
        };
        begin(&network, buffers.params, buffers.state);
        let mut session = Session::new(network, self.rows, buffers, level, &Serial)?;
        let mut losses = [0.0; STEPS];
        for (step, loss) in (0..).zip(&mut losses) {
            let mut labels = [0; MOST_ROWS];
            self.draw(step, inputs, &mut labels);
            let labels = &labels[..self.rows];
            let targets = match self.rules.loss {
                Loss::CrossEntropy => Targets::Classes(labels),
                _ => Targets::Values(one_hot(network.outputs(), labels, targets)),
            };
            let batch = Batch { inputs, targets, rows: self.rows };
            let moment = Moment { seed: SEED, step: u64::from(step), lr: self.lr };
            *loss = session.step(batch, &self.rules, moment)?.loss;
        }
        sink.doubles(Stage::Training, self.name, "losses", &losses);
        let (params, state) = session.weights();
        sink.floats(Stage::Training, self.name, "parameters", params);
        sink.floats(Stage::Training, self.name, "running state", state);
        session.predict(inputs, self.rows, outputs)?;
        sink.floats(Stage::Training, self.name, "outputs", outputs);
        Ok(())
    }

    /// The batch of a step: random rows, labelled by which of their first features is largest.
    fn draw(&self, step: u32, inputs: &mut [f32], labels: &mut [u32]) {
        let words = Stream::new(SEED, Purpose::Shuffle, 1, step);
        // Multiples of 2^-23 between -1 and 1: no operation here rounds.
        inputs.iter_mut().zip(0..).for_each(|(x, at)| *x = 2.0 * unit(words.word(at)) - 1.0);
        let classes = self.layers.iter().rev().find_map(|layer| match layer {
            Layer::Dense { outputs, .. } => Some(*outputs),
            _ => None,
        });
        for (row, label) in inputs.chunks(self.inputs).zip(labels) {
            let first = row.iter().zip(0..).take(classes.unwrap_or(1));
            *label = first.max_by(|a, b| a.0.total_cmp(b.0)).map_or(0, |(_, class)| class);
        }
    }
}

/// 1 for the label, 0 for the other outputs.
fn one_hot<'t>(outputs: usize, labels: &[u32], targets: &'t mut [f32]) -> &'t [f32] {
    targets.fill(0.0);
    for (row, label) in targets.chunks_mut(outputs).zip(labels) {
        row[*label as usize] = 1.0;
    }
    targets
}

/// Initial values: uniform weights, batch norms that change nothing.
fn begin(network: &Network<'_>, params: &mut [f32], state: &mut [f32]) {
    for node in network.nodes() {
        match node.layer {
            Layer::Dense { outputs, .. } => {
                let words = Stream::new(SEED, Purpose::Init, node.index as u32, 0);
                let weights = node.weights.of_mut(params);
                // A power of two: no operation here rounds.
                let scale = if node.inputs > 64 { 0.125 } else { 0.5 };
                for (output, input) in
                    (0..outputs).flat_map(|output| (0..node.inputs).map(move |input| (output, input)))
                {
                    let word = words.word((output * node.inputs + input) as u64);
                    weights[panels::position(node.inputs, outputs, output, input)] = (2.0 * unit(word) - 1.0) * scale;
                }
            }
            Layer::BatchNorm(_) => {
                node.weights.of_mut(params)[..node.inputs].fill(1.0);
                node.state.of_mut(state)[padded(node.inputs)..][..node.inputs].fill(1.0);
            }
            _ => {}
        }
    }
}

//! The twin: a network in `f64`, written plainly from the formulae, one value at a time.
//!
//! It shares with the library the description of the layers, the random words of dropout and the place of a
//! parameter in memory; no arithmetic. Forward and backward stand side by side, the transcendental functions are
//! `libm`'s.

#[path = "../common/exact.rs"]
mod exact;
mod objectives;

use evenkeel::kernels::panels;
use evenkeel::layer::padded;
use evenkeel::layer::{BatchNorm, NormMode};
use evenkeel::rng::{Purpose, Stream};
use evenkeel::train::{Loss, Targets};
use evenkeel::{Activation, Layer, Network};
use exact::activation;

/// How batch norm and dropout behave.
#[derive(Clone, Copy)]
pub(crate) enum Mode {
    /// Statistics of the batch, and dropout of this seed and step.
    Train { seed: u64, step: u64 },
    /// Running statistics, no dropout.
    Infer,
    /// As `Train`, but layers before `first` as in `Infer`, and batch norms with their running statistics if `running`.
    Tune { seed: u64, step: u64, first: usize, running: bool },
}

impl Mode {
    /// What it means for one layer.
    fn of(self, layer: usize, is_norm: bool) -> Self {
        match self {
            Mode::Tune { first, running, .. } if layer < first || (is_norm && running) => Mode::Infer,
            Mode::Tune { seed, step, .. } => Mode::Train { seed, step },
            other => other,
        }
    }
}

/// One layer with its parameters: a dense layer's weights `[output][input]` and then its bias, a batch norm's scale
/// and then its shift.
#[derive(Clone)]
pub(crate) struct TwinLayer {
    index: usize,
    layer: Layer,
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    pub(crate) params: Vec<f64>,
    /// Where each parameter lies in the library's slice.
    pub(crate) places: Vec<usize>,
    running: (Vec<f64>, Vec<f64>),
    /// The rate of the DropConnect before it.
    connect: Option<f32>,
    /// The corrections of a renorm, held while parameters move: no gradient flows through them.
    held: Option<Vec<(f64, f64)>>,
}

#[derive(Clone)]
pub(crate) struct Twin {
    pub(crate) layers: Vec<TwinLayer>,
}

fn widen(values: &[f32]) -> Vec<f64> {
    values.iter().map(|value| f64::from(*value)).collect()
}

impl Twin {
    /// The network with the library's parameters and state.
    pub(crate) fn read(network: &Network<'_>, params: &[f32], state: &[f32]) -> Self {
        let layers = network.nodes().map(|node| {
            let mut places = Vec::new();
            match node.layer {
                Layer::Dense { outputs, .. } => {
                    for output in 0..outputs {
                        for input in 0..node.inputs {
                            places.push(node.weights.start + panels::position(node.inputs, outputs, output, input));
                        }
                    }
                    places.extend((0..node.bias.len.min(outputs)).map(|output| node.bias.start + output));
                }
                Layer::BatchNorm(_) | Layer::LayerNorm(_) => {
                    places.extend((0..node.inputs).map(|feature| node.weights.start + feature));
                    places.extend((0..node.inputs).map(|feature| node.bias.start + feature));
                }
                _ => {}
            }
            let running = match node.layer {
                Layer::BatchNorm(_) => {
                    let state = node.state.of(state);
                    (widen(&state[..node.inputs]), widen(&state[padded(node.inputs)..][..node.inputs]))
                }
                _ => Default::default(),
            };
            let connect = match node.index.checked_sub(1).map(|before| network.layers()[before]) {
                Some(Layer::DropConnect { rate }) => Some(rate),
                _ => None,
            };
            let params = places.iter().map(|place| f64::from(params[*place])).collect();
            let (inputs, outputs) = (node.inputs, node.outputs);
            TwinLayer {
                index: node.index,
                layer: node.layer,
                inputs,
                outputs,
                params,
                places,
                running,
                connect,
                held: None,
            }
        });
        Self { layers: layers.collect() }
    }

    /// The input of every layer, and the output.
    pub(crate) fn forward(&self, x: Vec<f64>, rows: usize, mode: Mode) -> Vec<Vec<f64>> {
        let mut values = vec![x];
        for layer in &self.layers {
            values.push(layer.forward(&values[values.len() - 1], rows, mode));
        }
        values
    }

    /// Holds the corrections of all renorms as they are for these values.
    pub(crate) fn hold(&mut self, values: &[Vec<f64>], rows: usize, mode: Mode) {
        for (layer, x) in self.layers.iter_mut().zip(values) {
            if let Layer::BatchNorm(_) = layer.layer {
                layer.held = Some(layer.statistics(x, rows, mode).1);
            }
        }
    }

    /// The output, for the input of layer `first`.
    pub(crate) fn forward_from(&self, first: usize, x: &[f64], rows: usize, mode: Mode) -> Vec<f64> {
        let mut x = self.layers[first].forward(x, rows, mode);
        for layer in &self.layers[first + 1..] {
            x = layer.forward(&x, rows, mode);
        }
        x
    }

    /// Gradients of each layer's parameters, from that of the output.
    pub(crate) fn backward(&self, values: &[Vec<f64>], dy: Vec<f64>, rows: usize, mode: Mode) -> Vec<Vec<f64>> {
        let mut gradients = vec![Vec::new(); self.layers.len()];
        let mut dy = dy;
        for (index, layer) in self.layers.iter().enumerate().rev() {
            (dy, gradients[index]) = layer.backward(&values[index], &values[index + 1], &dy, rows, mode);
        }
        gradients
    }

    /// How far the nearest input of an activation is from one of its kinks, for the inputs of all layers.
    pub(crate) fn distance_from_kinks(&self, values: &[Vec<f64>]) -> f64 {
        let mut least = f64::INFINITY;
        for (layer, x) in self.layers.iter().zip(values) {
            for kink in kinks(layer.layer).into_iter().filter(|kink| kink.is_finite()) {
                // A zero is what dropout left: it stays one under any small change.
                let inputs = x.iter().filter(|x| **x != 0.0);
                least = inputs.fold(least, |least, x| least.min((x - kink).abs()));
            }
        }
        least
    }
}

/// Where a layer's derivative jumps; infinite where it has fewer such places.
fn kinks(layer: Layer) -> [f64; 2] {
    const NONE: f64 = f64::INFINITY;
    let Layer::Activation(kind) = layer else { return [NONE; 2] };
    match kind {
        Activation::Relu | Activation::LeakyRelu { .. } | Activation::Elu { .. } | Activation::Selu => [0.0, NONE],
        Activation::HardSigmoid | Activation::HardSwish => [-3.0, 3.0],
        Activation::Relu6 => [0.0, 6.0],
        Activation::ThresholdedRelu { theta } => [f64::from(theta), NONE],
        _ => [NONE; 2],
    }
}

impl TwinLayer {
    fn bias(&self, output: usize) -> f64 {
        self.params.get(self.inputs * self.outputs + output).copied().unwrap_or(0.0)
    }

    fn forward(&self, x: &[f64], rows: usize, mode: Mode) -> Vec<f64> {
        let width = self.inputs;
        match self.layer {
            Layer::Dense { outputs, .. } => {
                let masked = self.masked(mode);
                let mut y = Vec::with_capacity(rows * outputs);
                for x in x.chunks_exact(width) {
                    for output in 0..outputs {
                        let weights = &masked[output * width..][..width];
                        y.push(x.iter().zip(weights).map(|(x, w)| x * w).sum::<f64>() + self.bias(output));
                    }
                }
                y
            }
            Layer::BatchNorm(_) => {
                let (normal, _) = self.normalised(x, rows, mode);
                let (gamma, beta) = self.params.split_at(width);
                normal.iter().enumerate().map(|(i, normal)| gamma[i % width] * normal + beta[i % width]).collect()
            }
            Layer::Activation(kind) => x.iter().map(|x| activation(kind, *x).0).collect(),
            Layer::Dropout { rate } => x.iter().zip(self.mask(rate, rows, mode)).map(|(x, m)| x * m).collect(),
            Layer::LayerNorm(ln) => {
                let (normal, _) = row_normalised(x, width, f64::from(ln.eps));
                let (gamma, beta) = self.params.split_at(width);
                normal.iter().enumerate().map(|(i, normal)| gamma[i % width] * normal + beta[i % width]).collect()
            }
            Layer::GaussianDropout { rate } => {
                let deviation = (f64::from(rate) / (1.0 - f64::from(rate))).sqrt();
                x.iter().zip(self.normals(rows, mode)).map(|(x, z)| x * (1.0 + deviation * z)).collect()
            }
            Layer::GaussianNoise { stddev } => {
                x.iter().zip(self.normals(rows, mode)).map(|(x, z)| x + f64::from(stddev) * z).collect()
            }
            Layer::AlphaDropout { rate } => {
                let (a, b) = alpha(f64::from(rate), self.acts(mode));
                let kept = self.mask(rate, rows, mode);
                x.iter().zip(kept).map(|(x, kept)| a * if kept > 0.0 { *x } else { SELU_LIMIT } + b).collect()
            }
            Layer::DropConnect { .. } => x.to_vec(),
            Layer::Softmax => x.chunks_exact(width).flat_map(softmax).collect(),
            Layer::LogSoftmax => x.chunks_exact(width).flat_map(log_softmax).collect(),
            _ => unreachable!("a layer the twin does not know"),
        }
    }

    /// Gradients of the input and of the parameters.
    fn backward(&self, x: &[f64], y: &[f64], dy: &[f64], rows: usize, mode: Mode) -> (Vec<f64>, Vec<f64>) {
        let width = self.inputs;
        let mut gradient = vec![0.0; self.params.len()];
        let mut dx = vec![0.0; x.len()];
        match self.layer {
            Layer::Dense { outputs, .. } => {
                let (masked, factors) = (self.masked(mode), self.weight_factors(mode));
                for ((x, dx), dy) in x.chunks_exact(width).zip(dx.chunks_exact_mut(width)).zip(dy.chunks_exact(outputs))
                {
                    for (output, dy) in dy.iter().enumerate() {
                        for input in 0..width {
                            gradient[output * width + input] += dy * x[input] * factors[output * width + input];
                            dx[input] += dy * masked[output * width + input];
                        }
                        if let Some(bias) = gradient.get_mut(outputs * width + output) {
                            *bias += dy;
                        }
                    }
                }
            }
            Layer::BatchNorm(bn) => {
                let (normal, inv_std) = self.normalised(x, rows, mode);
                // Each ghost batch by itself; what is normalised by is given by the rows it is of.
                let (_, corrections, sizes) = self.statistics(x, rows, mode);
                for (i, (dy, normal)) in dy.iter().zip(&normal).enumerate() {
                    gradient[i % width] += dy * normal;
                    gradient[width + i % width] += dy;
                }
                let fixed = matches!(mode.of(self.index, true), Mode::Infer) || bn.mode == NormMode::Frozen;
                for (i, dx) in dx.iter_mut().enumerate() {
                    let j = i % width;
                    if fixed {
                        *dx = self.params[j] * inv_std[i] * dy[i];
                        continue;
                    }
                    let (start, len) = sizes[i / width];
                    let own = |at: usize| (normal[at] - corrections[j].1) / corrections[j].0;
                    let column = || (start..start + len).map(|row| row * width + j);
                    let n = len as f64;
                    let mean: f64 = column().map(|at| dy[at]).sum::<f64>() / n;
                    let slope: f64 = column().map(|at| dy[at] * own(at)).sum::<f64>() / n;
                    *dx = self.params[j] * inv_std[i] * (dy[i] - mean - own(i) * slope);
                }
            }
            Layer::Activation(kind) => {
                dx = x.iter().zip(dy).map(|(x, dy)| activation(kind, *x).1 * dy).collect();
            }
            Layer::Dropout { rate } => dx = dy.iter().zip(self.mask(rate, rows, mode)).map(|(dy, m)| dy * m).collect(),
            Layer::LayerNorm(ln) => {
                let (normal, inv_std) = row_normalised(x, width, f64::from(ln.eps));
                for (i, (dy, normal)) in dy.iter().zip(&normal).enumerate() {
                    gradient[i % width] += dy * normal;
                    gradient[width + i % width] += dy;
                }
                for (row, dx) in dx.chunks_exact_mut(width).enumerate() {
                    let g = |i: usize| self.params[i] * dy[row * width + i];
                    let normal = &normal[row * width..][..width];
                    let mean = (0..width).map(g).sum::<f64>() / width as f64;
                    let slope = (0..width).map(|i| g(i) * normal[i]).sum::<f64>() / width as f64;
                    (0..width).for_each(|i| dx[i] = inv_std[row] * (g(i) - mean - normal[i] * slope));
                }
            }
            Layer::GaussianDropout { rate } => {
                let deviation = (f64::from(rate) / (1.0 - f64::from(rate))).sqrt();
                dx = dy.iter().zip(self.normals(rows, mode)).map(|(dy, z)| dy * (1.0 + deviation * z)).collect();
            }
            Layer::GaussianNoise { .. } | Layer::DropConnect { .. } => dx.copy_from_slice(dy),
            Layer::AlphaDropout { rate } => {
                let (a, _) = alpha(f64::from(rate), self.acts(mode));
                let kept = self.mask(rate, rows, mode);
                dx = dy.iter().zip(kept).map(|(dy, kept)| if kept > 0.0 { a * dy } else { 0.0 }).collect();
            }
            Layer::Softmax => {
                for (row, (y, dy)) in y.chunks_exact(width).zip(dy.chunks_exact(width)).enumerate() {
                    let sum: f64 = y.iter().zip(dy).map(|(y, dy)| y * dy).sum();
                    (0..width).for_each(|i| dx[row * width + i] = y[i] * (dy[i] - sum));
                }
            }
            Layer::LogSoftmax => {
                for (row, (y, dy)) in y.chunks_exact(width).zip(dy.chunks_exact(width)).enumerate() {
                    let sum: f64 = dy.iter().sum();
                    (0..width).for_each(|i| dx[row * width + i] = dy[i] - libm::exp(y[i]) * sum);
                }
            }
            _ => unreachable!("a layer the twin does not know"),
        }
        (dx, gradient)
    }

    /// Whether noise acts on this layer.
    fn acts(&self, mode: Mode) -> bool {
        matches!(mode.of(self.index, false), Mode::Train { .. })
    }

    /// What a DropConnect before this dense layer multiplies each weight by: the element is the place in the panels.
    fn weight_factors(&self, mode: Mode) -> Vec<f64> {
        let Mode::Train { seed, step } = mode.of(self.index.saturating_sub(1), false) else {
            return vec![1.0; self.inputs * self.outputs];
        };
        let Some(rate) = self.connect else { return vec![1.0; self.inputs * self.outputs] };
        let keep = 1.0 - f64::from(rate);
        let stream = Stream::new(seed, Purpose::DropConnect, self.index as u32 - 1, step as u32);
        let kept = |element: usize| f64::from(stream.word(element as u64)) < libm::floor(keep * 4_294_967_296.0);
        let places = (0..self.outputs).flat_map(|output| (0..self.inputs).map(move |input| (output, input)));
        let element = |(output, input)| panels::position(self.inputs, self.outputs, output, input);
        places.map(|place| if kept(element(place)) { 1.0 / keep } else { 0.0 }).collect()
    }

    fn masked(&self, mode: Mode) -> Vec<f64> {
        let factors = self.weight_factors(mode);
        self.params
            .iter()
            .zip(factors)
            .map(|(weight, factor)| if factor == 0.0 { 0.0 } else { weight * factor })
            .collect()
    }

    /// Standard normal numbers, one for each value: the quantile of each element's word, by bisection of the distribution.
    fn normals(&self, rows: usize, mode: Mode) -> Vec<f64> {
        let Mode::Train { seed, step } = mode.of(self.index, false) else { return vec![0.0; rows * self.inputs] };
        let stream = Stream::new(seed, Purpose::Noise, self.index as u32, step as u32);
        let element = |row: usize, col: usize| ((col / 16) as u64) << 36 | (row * 16 + col % 16) as u64;
        let each = (0..rows).flat_map(|row| (0..self.inputs).map(move |col| (row, col)));
        each.map(|(row, col)| known_quantile(stream.word(element(row, col)))).collect()
    }

    /// For each feature and row: one over the deviation times the correction; for each feature the corrections `(r, d)` of a
    /// renorm; for each row the first row and the rows of those it is normalised with.
    fn statistics(
        &self,
        x: &[f64],
        rows: usize,
        mode: Mode,
    ) -> (Vec<(f64, f64)>, Vec<(f64, f64)>, Vec<(usize, usize)>) {
        let Layer::BatchNorm(bn) = self.layer else { unreachable!() };
        let (width, eps) = (self.inputs, f64::from(bn.eps));
        let running = (0..width).map(|j| (self.running.0[j], self.running.1[j]));
        let whole = vec![(0, rows); rows];
        let plain = vec![(1.0, 0.0); width];
        let frozen = bn.mode == NormMode::Frozen || matches!(mode.of(self.index, true), Mode::Infer);
        if frozen {
            return ((0..rows).flat_map(|_| running.clone()).collect(), plain, whole);
        }
        let of_rows = |start: usize, len: usize, j: usize| {
            let column = || (start..start + len).map(|row| x[row * width + j]);
            let mean = column().sum::<f64>() / len as f64;
            (mean, column().map(|x| (x - mean) * (x - mean)).sum::<f64>() / len as f64)
        };
        let sizes = match bn.mode {
            NormMode::Ghost { rows: ghost } => {
                // A last one of a single row joins the one before.
                let count = ((rows - 1).div_ceil(ghost)).max(1);
                let of = |row: usize| (row / ghost).min(count - 1);
                let len = |number: usize| if number + 1 == count { rows - number * ghost } else { ghost };
                (0..rows).map(|row| (of(row) * ghost, len(of(row)))).collect()
            }
            _ => whole,
        };
        let each: Vec<(f64, f64)> =
            sizes.iter().flat_map(|(start, len)| (0..width).map(|j| of_rows(*start, *len, j))).collect();
        let corrections = match (bn.mode, mode.of(self.index, true)) {
            _ if self.held.is_some() => self.held.clone().unwrap_or_default(),
            (NormMode::Renorm(renorm), Mode::Train { step, .. }) => {
                let (r_max, d_max) = limits(renorm, step);
                running
                    .enumerate()
                    .map(|(j, (mean, var))| {
                        let deviation = libm::sqrt(var + eps);
                        let r = libm::sqrt(each[j].1 + eps) / deviation;
                        (r.clamp(1.0 / r_max, r_max), ((each[j].0 - mean) / deviation).clamp(-d_max, d_max))
                    })
                    .collect()
            }
            _ => plain,
        };
        (each, corrections, sizes)
    }

    /// The normalised rows, and for each value what one of its units is there.
    fn normalised(&self, x: &[f64], rows: usize, mode: Mode) -> (Vec<f64>, Vec<f64>) {
        let Layer::BatchNorm(BatchNorm { eps, .. }) = self.layer else { unreachable!() };
        let (each, corrections, _) = self.statistics(x, rows, mode);
        let factor = |i: usize| corrections[i % self.inputs].0 / libm::sqrt(each[i].1 + f64::from(eps));
        let normal = |i: usize| (x[i] - each[i].0) * factor(i) + corrections[i % self.inputs].1;
        ((0..x.len()).map(normal).collect(), (0..x.len()).map(factor).collect())
    }

    /// What dropout multiplies each value by: each group of sixteen features has a stretch of the stream to itself.
    fn mask(&self, rate: f32, rows: usize, mode: Mode) -> Vec<f64> {
        let Mode::Train { seed, step } = mode.of(self.index, false) else { return vec![1.0; rows * self.inputs] };
        let keep = 1.0 - f64::from(rate);
        let threshold = libm::floor(keep * 4_294_967_296.0);
        let stream = Stream::new(seed, Purpose::Dropout, self.index as u32, step as u32);
        let element = |row: usize, col: usize| ((col / 16) as u64) << 36 | (row * 16 + col % 16) as u64;
        let kept = |row, col| f64::from(stream.word(element(row, col))) < threshold;
        let each = (0..rows).flat_map(|row| (0..self.inputs).map(move |col| (row, col)));
        each.map(|(row, col)| if kept(row, col) { 1.0 / keep } else { 0.0 }).collect()
    }
}

/// The limits of a renorm at a step: from 1 and 0 at `start` in a straight line.
fn limits(renorm: evenkeel::layer::Renorm, step: u64) -> (f64, f64) {
    let share = |end: u32| {
        let (step, start, end) = (step as f64, f64::from(renorm.start), f64::from(end));
        if step < start {
            0.0
        } else if step >= end {
            1.0
        } else {
            (step - start) / (end - start)
        }
    };
    (1.0 + (f64::from(renorm.r_max) - 1.0) * share(renorm.r_end), f64::from(renorm.d_max) * share(renorm.d_end))
}

/// [`normal_quantile`], asked for the same words again and again.
fn known_quantile(word: u32) -> f64 {
    thread_local! {
        static KNOWN: std::cell::RefCell<std::collections::HashMap<u32, f64>> = Default::default();
    }
    KNOWN.with_borrow_mut(|known| *known.entry(word).or_insert_with(|| normal_quantile(word)))
}

/// The standard normal number below which a share `(word + 1/2) / 2^32` lies.
fn normal_quantile(word: u32) -> f64 {
    let upper = word >= 1 << 31;
    let tail = (f64::from(if upper { !word } else { word }) + 0.5) / 4_294_967_296.0;
    let (mut low, mut high) = (0.0, 8.0);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        let above = 0.5 * libm::erfc(middle * core::f64::consts::FRAC_1_SQRT_2);
        if above > tail { low = middle } else { high = middle }
    }
    if upper { low } else { -low }
}

/// `-λα` of SELU.
const SELU_LIMIT: f64 = -1.758_099_340_847_376_6;

/// Scale and shift of alpha dropout.
fn alpha(rate: f64, acts: bool) -> (f64, f64) {
    if !acts {
        return (1.0, 0.0);
    }
    let a = 1.0 / libm::sqrt((1.0 - rate) * (1.0 + rate * SELU_LIMIT * SELU_LIMIT));
    (a, -a * rate * SELU_LIMIT)
}

/// The rows of `width` values, each normalised by itself, and one over the deviation of each.
fn row_normalised(x: &[f64], width: usize, eps: f64) -> (Vec<f64>, Vec<f64>) {
    let (mut normal, mut inv_stds) = (Vec::new(), Vec::new());
    for row in x.chunks_exact(width) {
        let mean = row.iter().sum::<f64>() / width as f64;
        let var = row.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / width as f64;
        let inv_std = 1.0 / libm::sqrt(var + eps);
        normal.extend(row.iter().map(|x| (x - mean) * inv_std));
        inv_stds.push(inv_std);
    }
    (normal, inv_stds)
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + libm::exp(-x))
}

fn log_softmax(row: &[f64]) -> Vec<f64> {
    let max = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let log_sum = libm::log(row.iter().map(|x| libm::exp(x - max)).sum());
    row.iter().map(|x| x - max - log_sum).collect()
}

fn softmax(row: &[f64]) -> Vec<f64> {
    log_softmax(row).into_iter().map(libm::exp).collect()
}

/// The mean loss of rows of `cols` outputs, and its gradient.
pub(crate) fn loss(kind: Loss, outputs: &[f64], targets: Targets<'_>, cols: usize) -> (f64, Vec<f64>) {
    match (kind, targets) {
        (Loss::CrossEntropy, Targets::Classes(labels)) => {
            let share = 1.0 / labels.len() as f64;
            let (mut sum, mut gradient) = (0.0, Vec::new());
            for (row, label) in outputs.chunks_exact(cols).zip(labels) {
                let log = log_softmax(row);
                sum -= log[*label as usize] * share;
                let hot = |i: usize| f64::from(i == *label as usize);
                gradient.extend(log.iter().enumerate().map(|(i, log)| (libm::exp(*log) - hot(i)) * share));
            }
            (sum, gradient)
        }
        (Loss::BinaryCrossEntropy, Targets::Values(targets)) => {
            let share = 1.0 / targets.len() as f64;
            let each = || outputs.iter().zip(targets).map(|(z, t)| (*z, f64::from(*t)));
            let term = |(z, t): (f64, f64)| z.max(0.0) - z * t + libm::log1p(libm::exp(-z.abs()));
            (each().map(term).sum::<f64>() * share, each().map(|(z, t)| (sigmoid(z) - t) * share).collect())
        }
        (Loss::MeanSquaredError, Targets::Values(targets)) => {
            let share = 1.0 / targets.len() as f64;
            let each = || outputs.iter().zip(targets).map(|(z, t)| z - f64::from(*t));
            (each().map(|d| d * d).sum::<f64>() * share, each().map(|d| 2.0 * d * share).collect())
        }
        (kind, targets) => objectives::loss(kind, outputs, targets, cols),
    }
}

//! Folding and inference: an image against the unfolded network in plain `f64`, every refusal, and the same bits
//! whatever the rows' company.
#![cfg(feature = "alloc")]

use evenkeel::Level;
use evenkeel::error::Error;
use evenkeel::export::{
    Deviation, FoldError, Options, Precision, Precisions, Report, Standardisation, export, image_len, write_image,
};
use evenkeel::image::{AlignedBytes, Image, Op};
use evenkeel::infer::Net;
use evenkeel::layer::{Activation, BatchNorm, Layer, Network};
use evenkeel::split::{Serial, Split};

/// Weyl sequence and mixer of SplitMix64: plain, and the same everywhere.
struct Random(u64);

impl Random {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, n: usize) -> usize {
        (self.bits() % n as u64) as usize
    }

    fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform(-0.5, 0.5)).sum()
    }

    /// A factor within 10^±decades.
    fn magnitude(&mut self, decades: f64) -> f64 {
        10_f64.powf(self.uniform(-decades, decades))
    }
}

/// A network with its training buffers.
#[derive(Clone)]
struct Model {
    inputs: usize,
    layers: Vec<Layer>,
    params: Vec<f32>,
    state: Vec<f32>,
}

impl Model {
    fn network(&self) -> Network<'_> {
        Network::new(self.inputs, &self.layers).unwrap()
    }

    fn zeroed(inputs: usize, layers: Vec<Layer>) -> Self {
        let network = Network::new(inputs, &layers).unwrap();
        let (params, state) = (vec![0.0; network.params_len()], vec![0.0; network.state_len()]);
        Self { inputs, layers, params, state }
    }

    fn export(&self, options: &Options<'_>) -> Result<(AlignedBytes, Report), FoldError> {
        export(&self.network(), &self.params, &self.state, options)
    }

    /// Random parameters, statistics of `rows` (moved off by up to a deviation and a factor of two): the features in
    /// front of a batch norm are given means and deviations far from 0 and 1, as training would leave them.
    fn random(random: &mut Random, inputs: usize, layers: Vec<Layer>, rows: &[Vec<f64>]) -> Self {
        let mut model = Self::zeroed(inputs, layers);
        let network = Network::new(inputs, &model.layers).unwrap();
        let mut rows = rows.to_vec();
        for node in network.nodes() {
            match node.layer {
                Layer::Dense { outputs, .. } => {
                    let ahead =
                        model.layers[node.index + 1..].iter().find(|layer| !matches!(layer, Layer::Dropout { .. }));
                    let normalised = matches!(ahead, Some(Layer::BatchNorm(_)));
                    let power = (rows.iter().flatten().map(|x| x * x).sum::<f64>() / rows.len() as f64).sqrt();
                    for output in 0..outputs {
                        let scale = if normalised { random.magnitude(2.0) } else { 1.0 };
                        for input in 0..node.inputs {
                            let at = evenkeel::kernels::panels::position(node.inputs, outputs, output, input);
                            node.weights.of_mut(&mut model.params)[at] =
                                (scale * random.normal() / power.max(1e-6)) as f32;
                        }
                        if node.bias.len > 0 {
                            node.bias.of_mut(&mut model.params)[output] = (scale * random.normal()) as f32;
                        }
                    }
                }
                Layer::BatchNorm(_) => {
                    let width = node.weights.len;
                    for feature in 0..node.outputs {
                        let column = || rows.iter().map(|row| row[feature]);
                        let mean = column().sum::<f64>() / rows.len() as f64;
                        let var = column().map(|x| (x - mean) * (x - mean)).sum::<f64>() / rows.len() as f64;
                        let gamma = random.magnitude(0.5) * if random.below(4) == 0 { -1.0 } else { 1.0 };
                        node.weights.of_mut(&mut model.params)[feature] = gamma as f32;
                        node.bias.of_mut(&mut model.params)[feature] = random.normal() as f32;
                        let state = node.state.of_mut(&mut model.state);
                        state[feature] = (mean + random.normal() * var.sqrt()) as f32;
                        state[width + feature] = (var * random.magnitude(0.3)) as f32;
                    }
                    node.state.of_mut(&mut model.state)[2 * width] = 100.0;
                }
                _ => {}
            }
            for row in &mut rows {
                *row = layer(&model, node.index, row);
            }
        }
        model
    }
}

/// One layer in inference, on one row: the definition of each, in `f64`.
fn layer(model: &Model, index: usize, x: &[f64]) -> Vec<f64> {
    let node = model.network().node(index);
    match node.layer {
        Layer::Dense { outputs, bias } => (0..outputs)
            .map(|output| {
                let weights = node.weights.of(&model.params);
                let weight = |input| {
                    f64::from(weights[evenkeel::kernels::panels::position(node.inputs, outputs, output, input)])
                };
                let sum: f64 = x.iter().enumerate().map(|(input, x)| x * weight(input)).sum();
                sum + if bias { f64::from(node.bias.of(&model.params)[output]) } else { 0.0 }
            })
            .collect(),
        Layer::BatchNorm(bn) => (0..node.outputs)
            .map(|j| {
                let state = node.state.of(&model.state);
                let (mean, var) = (f64::from(state[j]), f64::from(state[node.weights.len + j]));
                let (gamma, beta) = (node.weights.of(&model.params)[j], node.bias.of(&model.params)[j]);
                (x[j] - mean) / (var + f64::from(bn.eps)).sqrt() * f64::from(gamma) + f64::from(beta)
            })
            .collect(),
        Layer::Activation(activation) => x.iter().map(|x| activate(activation, *x)).collect(),
        Layer::Softmax | Layer::LogSoftmax => {
            let max = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let log_sum = x.iter().map(|x| (x - max).exp()).sum::<f64>().ln();
            let log = x.iter().map(|x| x - max - log_sum);
            if node.layer == Layer::Softmax { log.map(f64::exp).collect() } else { log.collect() }
        }
        _ => x.to_vec(),
    }
}

fn activate(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::Relu => x.max(0.0),
        Activation::LeakyRelu { slope } => {
            if x < 0.0 {
                f64::from(slope) * x
            } else {
                x
            }
        }
        Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Activation::Tanh => x.tanh(),
        Activation::Gelu => 0.5 * x * libm::erfc(-x * core::f64::consts::FRAC_1_SQRT_2),
        Activation::Silu => x / (1.0 + (-x).exp()),
        _ => unreachable!("an activation this test does not know"),
    }
}

fn reference(model: &Model, x: &[f64]) -> Vec<f64> {
    (0..model.layers.len()).fold(x.to_vec(), |x, index| layer(model, index, &x))
}

/// The same with each layer's output rounded to `f32`.
fn reference_in_f32(model: &Model, x: &[f64]) -> Vec<f32> {
    let rounded = |x: Vec<f64>| -> Vec<f64> { x.into_iter().map(|x| f64::from(x as f32)).collect() };
    let y = (0..model.layers.len()).fold(x.to_vec(), |x, index| rounded(layer(model, index, &x)));
    y.into_iter().map(|y| y as f32).collect()
}

fn run(net: &Net<'_>, rows_at_once: usize, input: &[f32]) -> Vec<f32> {
    run_with(Level::detect(), &Serial, net, rows_at_once, input)
}

fn run_with(level: Level, split: &impl Split, net: &Net<'_>, rows_at_once: usize, input: &[f32]) -> Vec<f32> {
    let mut output = vec![f32::NAN; input.len() / net.inputs() * net.outputs()];
    let mut scratch = vec![f32::NAN; net.scratch_len(rows_at_once)];
    net.infer(level, split, input, &mut output, &mut scratch).unwrap();
    output
}

/// Layers in any order: at most one dense layer more than what lies between.
fn random_layers(random: &mut Random) -> Vec<Layer> {
    let bn =
        |random: &mut Random| Layer::BatchNorm(if random.below(2) == 0 { BatchNorm::TORCH } else { BatchNorm::KERAS });
    let mut layers = Vec::new();
    for _ in 0..1 + random.below(8) {
        layers.push(match random.below(10) {
            0..3 => Layer::Dense { outputs: 1 + random.below(40), bias: random.below(3) > 0 },
            3..6 => bn(random),
            6 => Layer::Dropout { rate: 0.5 },
            _ => Layer::Activation(match random.below(6) {
                0 => Activation::Relu,
                1 => Activation::LeakyRelu { slope: 0.01 },
                2 => Activation::Sigmoid,
                3 => Activation::Tanh,
                4 => Activation::Gelu,
                _ => Activation::Silu,
            }),
        });
    }
    match random.below(4) {
        0 => layers.push(Layer::Softmax),
        1 => layers.push(Layer::LogSoftmax),
        _ => {}
    }
    layers
}

/// R7: a thousand random networks, folded, against the unfolded ones in `f64`.
#[test]
fn folding_keeps_the_outputs() {
    let mut random = Random(7);
    let (mut worst, mut worst_f16, mut folded, mut kept) = (0.0_f64, 0.0_f64, 0, 0);
    let (mut batch_norms, mut hard, mut worst_times) = (0, 0, 0.0_f64);
    for case in 0..1000 {
        let inputs = 1 + random.below(40);
        let layers = random_layers(&mut random);
        let standardise = case % 3 == 0;
        // Inputs with means and deviations of their own.
        let spread: Vec<(f64, f64)> = (0..inputs).map(|_| (2.0 * random.normal(), random.magnitude(2.0))).collect();
        let mut raw_row = || -> Vec<f32> {
            spread.iter().map(|(mean, deviation)| ((mean + random.normal()) * deviation) as f32).collect()
        };
        let raw: Vec<Vec<f32>> = (0..48).map(|_| raw_row()).collect();
        let mean: Vec<f32> = spread.iter().map(|(mean, deviation)| (mean * deviation) as f32).collect();
        let inv_std: Vec<f32> = spread.iter().map(|(_, deviation)| (1.0 / deviation) as f32).collect();
        let rows: Vec<Vec<f64>> = raw
            .iter()
            .map(|row| {
                let prepared = row.iter().zip(mean.iter().zip(&inv_std)).map(|(x, (mean, inv_std))| {
                    if standardise { (f64::from(*x) - f64::from(*mean)) * f64::from(*inv_std) } else { f64::from(*x) }
                });
                prepared.collect()
            })
            .collect();
        let model = Model::random(&mut random, inputs, layers, &rows);
        let standardisation = standardise.then_some(Standardisation { mean: &mean, inv_std: &inv_std });
        let options = Options { standardisation, ..Options::default() };
        let (bytes, report) =
            model.export(&options).unwrap_or_else(|error| panic!("{case}: {error} {:?}", model.layers));
        let net = Net::new(Image::new(&bytes).unwrap());
        batch_norms += model.layers.iter().filter(|layer| matches!(layer, Layer::BatchNorm(_))).count();
        folded += report.layers.iter().filter(|layer| layer.folded).count();
        kept += net.image().ops().filter(|op| matches!(op, Op::ScaleShift { .. })).count();
        assert!(!net.image().ops().zip(net.image().ops().skip(1)).any(|pair| matches!(
            pair,
            (Op::ScaleShift { .. }, Op::Dense { .. }) | (Op::Dense { activation: None, .. }, Op::ScaleShift { .. })
        )));
        assert_eq!(net.image().is_standardised(), standardise);
        let expected: Vec<f32> = rows.iter().flat_map(|row| reference(&model, row)).map(|y| y as f32).collect();
        let input = raw.concat();
        let deviation = Deviation::between(&expected, &run(&net, 48, &input)).unwrap();
        let relative = deviation.max / deviation.scale.max(f64::from(f32::MIN_POSITIVE));
        if relative > 1e-5 {
            // A nearly constant feature, such as a saturated sigmoid, has few digits in `f32` for a batch norm behind it to
            // bring out. Then rounding the layers' outputs to `f32`, which every network in `f32` does, is the yardstick.
            let stored: Vec<f32> = rows.iter().flat_map(|row| reference_in_f32(&model, row)).collect();
            let unavoidable = Deviation::between(&expected, &stored).unwrap();
            let times = deviation.max / unavoidable.max;
            println!(
                "case {case}: {relative:.1e}, {times:.2} times what storing activations as f32 costs: {:?}",
                model.layers.iter().map(Layer::name).collect::<Vec<_>>()
            );
            assert!(times <= 16.0, "case {case}: {deviation:?} but {unavoidable:?} for {:?}", model.layers);
            hard += 1;
            worst_times = worst_times.max(times);
            continue;
        }
        worst = worst.max(relative);

        let options = Options { precision: Precisions::All(Precision::F16), ..options };
        match model.export(&options) {
            Ok((bytes, report)) => {
                let net = Net::new(Image::new(&bytes).unwrap());
                let deviation = Deviation::between(&expected, &run(&net, 48, &input)).unwrap();
                worst_f16 = worst_f16.max(deviation.max / deviation.scale.max(f64::from(f32::MIN_POSITIVE)));
                assert!(report.layers.iter().all(|layer| layer.weights.max_relative <= 0.5_f64.powi(11)));
            }
            Err(error) => assert!(matches!(error, FoldError::Overflow { .. }), "{case}: {error}"),
        }
    }
    println!(
        "{} networks, {batch_norms} batch norms, folded into {folded} dense layers, {kept} scale and shifts kept; \
         largest deviation {worst:.1e} of the outputs' scale with f32, {worst_f16:.1e} with f16 weights; \
         {hard} more where storing activations as f32 costs as much, {worst_times:.2} times that at most",
        1000 - hard
    );
    assert!(hard <= 20);
}

/// 3 inputs, batch norm, dense 5 without bias, batch norm, tanh, dense 2: all values plain.
fn small() -> Model {
    let layers = vec![
        Layer::BatchNorm(BatchNorm::TORCH),
        Layer::Dense { outputs: 5, bias: false },
        Layer::BatchNorm(BatchNorm::KERAS),
        Layer::Activation(Activation::Tanh),
        Layer::dense(2),
    ];
    let rows: Vec<Vec<f64>> = (0..32).map(|r| (0..3).map(|c| f64::from(r * (c + 1) % 7)).collect()).collect();
    Model::random(&mut Random(3), 3, layers, &rows)
}

/// A network in which every kind of operation and an odd width occur.
fn varied() -> Model {
    let layers = vec![
        Layer::Activation(Activation::Silu),
        Layer::BatchNorm(BatchNorm::TORCH),
        Layer::Activation(Activation::LeakyRelu { slope: 0.1 }),
        Layer::dense(33),
        Layer::BatchNorm(BatchNorm::TORCH),
        Layer::Activation(Activation::Gelu),
        Layer::Dropout { rate: 0.3 },
        Layer::dense(300),
        Layer::Activation(Activation::Relu),
        Layer::BatchNorm(BatchNorm::KERAS),
        Layer::dense(7),
        Layer::Softmax,
        Layer::LogSoftmax,
    ];
    let mut random = Random(11);
    let rows: Vec<Vec<f64>> = (0..32).map(|_| (0..19).map(|_| random.normal()).collect()).collect();
    Model::random(&mut random, 19, layers, &rows)
}

fn refusal(model: &Model, options: &Options<'_>) -> FoldError {
    let error = model.export(options).expect_err("must be refused");
    assert!(error.to_string().len() > 20);
    error
}

/// Sets one value of `small()`'s state or parameters.
fn spoilt(part: impl FnOnce(&mut Model)) -> FoldError {
    let mut model = small();
    part(&mut model);
    refusal(&model, &Options::default())
}

#[test]
fn unsound_statistics_are_refused() {
    // State of layer 0: mean, variance, count; of layer 2 the same, after 48 values.
    assert_eq!(spoilt(|model| model.state[32] = 0.0), FoldError::NeverUpdated { layer: 0 });
    assert_eq!(spoilt(|model| model.state[48 + 32] = 0.0), FoldError::NeverUpdated { layer: 2 });
    assert_eq!(spoilt(|model| model.state[16 + 1] = -1e-9), FoldError::Variance { layer: 0, feature: 1, value: -1e-9 });
    for value in [f32::NAN, f32::INFINITY] {
        let error = spoilt(|model| model.state[48 + 16 + 4] = value);
        assert!(matches!(error, FoldError::Variance { layer: 2, feature: 4, .. }), "{error}");
        let error = spoilt(|model| model.state[48] = value);
        assert_eq!(error, FoldError::NonFinite { layer: 2, what: "running mean", output: 0, input: None });
    }
    let error = spoilt(|model| model.state[33] = f32::NAN);
    assert_eq!(error, FoldError::NonFinite { layer: 0, what: "batch count", output: 1, input: None });
    // The upper part of the count alone is a count too; padding may hold anything.
    let mut model = small();
    (model.state[32], model.state[33]) = (0.0, 1.0);
    model.state[16 + 3] = -1.0;
    assert!(model.export(&Options::default()).is_ok());
}

#[test]
fn unsound_parameters_are_refused() {
    let model = small();
    let network = model.network();
    let non_finite = |layer, what, output, input| FoldError::NonFinite { layer, what, output, input };
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let at = network.node(0).weights.start + 2;
        assert_eq!(spoilt(|model| model.params[at] = value), non_finite(0, "scale", 2, None));
        let at = network.node(2).bias.start + 4;
        assert_eq!(spoilt(|model| model.params[at] = value), non_finite(2, "shift", 4, None));
        let at = network.node(4).bias.start + 1;
        assert_eq!(spoilt(|model| model.params[at] = value), non_finite(4, "bias", 1, None));
        let at = network.node(1).weights.start + evenkeel::kernels::panels::position(3, 5, 4, 2);
        assert_eq!(spoilt(|model| model.params[at] = value), non_finite(1, "weight", 4, Some(2)));
    }
    let finite = [1.0; 3];
    for (mean, inv_std) in [([0.0, f32::NAN, 0.0], finite), (finite, [1.0, f32::INFINITY, 1.0])] {
        let standardisation = Some(Standardisation { mean: &mean, inv_std: &inv_std });
        let error = refusal(&model, &Options { standardisation, ..Options::default() });
        assert_eq!(error, FoldError::Standardisation { feature: 1 });
    }
}

#[test]
fn overflow_is_refused_by_name() {
    let mut model = Model::zeroed(2, vec![Layer::dense(3)]);
    let f16 = Options { precision: Precisions::All(Precision::F16), ..Options::default() };
    // Panel of four lanes: input 1, output 2. 65519.996 rounds to 65504, 65520 does not.
    model.params[4 + 2] = 65520_f32.next_down();
    assert!(model.export(&f16).is_ok());
    model.params[4 + 2] = -65520.0;
    let precision = Precision::F16;
    let overflow = FoldError::Overflow { layer: 0, output: 2, input: Some(1), value: -65520.0, precision };
    assert_eq!(refusal(&model, &f16), overflow);
    assert!(model.export(&Options::default()).is_ok());
    // A bias stays f32; folded, it may overflow all the same, and so may a weight.
    let mut model = small();
    let (gamma, beta) = (model.network().node(2).weights, model.network().node(2).bias);
    gamma.of_mut(&mut model.params)[3] = 1e30;
    let first = model.network().node(0).weights;
    first.of_mut(&mut model.params)[0] = 1e20;
    let error = refusal(&model, &Options::default());
    assert!(matches!(
        error,
        FoldError::Overflow { layer: 1, output: 3, input: Some(0), precision: Precision::F32, .. }
    ));
    let mut model = small();
    beta.of_mut(&mut model.params)[0] = f32::MAX;
    first.of_mut(&mut model.params)[..3].fill(0.0);
    gamma.of_mut(&mut model.params)[0] = f32::MAX;
    model.state[48] = -f32::MAX;
    let error = refusal(&model, &Options::default());
    assert!(matches!(error, FoldError::Overflow { layer: 1, output: 0, input: None, precision: Precision::F32, .. }));
    // One kept as scale and shift: the scale overflows.
    let mut model = Model::zeroed(1, vec![Layer::BatchNorm(BatchNorm::TORCH)]);
    model.params[0] = f32::MAX;
    model.state[32] = 1.0;
    let error = refusal(&model, &Options::default());
    assert!(matches!(error, FoldError::Overflow { layer: 0, output: 0, input: None, .. }));
}

#[test]
fn wrong_lengths_are_refused_and_write_nothing() {
    let model = small();
    let options = Options::default();
    let len = image_len(&model.network(), &options).unwrap();
    let write = |params: &[f32], state: &[f32], out: &mut [u8]| {
        write_image(&model.network(), params, state, &options, out, |_| panic!("a report before the refusal"))
    };
    let (params, state) = (&model.params[..], &model.state[..]);
    let long = [params, &[0.0]].concat();
    let mut out = vec![0xaa; len + 1];
    for (what, params, state, len) in [
        ("parameters", &params[1..], state, len),
        ("parameters", &[], state, len),
        ("parameters", &long[..], state, len),
        ("state", params, &state[1..], len),
        ("bytes of the image", params, state, len - 1),
        ("bytes of the image", params, state, len + 1),
        ("bytes of the image", params, state, 0),
    ] {
        let error = write(params, state, &mut out[..len]).unwrap_err();
        assert!(matches!(error, FoldError::Length { what: found, .. } if found == what), "{error}");
    }
    assert!(out.iter().all(|byte| *byte == 0xaa));

    let short = Some(Standardisation { mean: &[0.0; 2], inv_std: &[0.0; 3] });
    refusal(&model, &Options { standardisation: short, ..options });
    let names = Options { class_names: &["one"], ..options };
    assert_eq!(refusal(&model, &names), FoldError::Length { what: "class names", expected: 2, found: 1 });
    let precisions = Options { precision: Precisions::Each(&[Precision::F16]), ..options };
    assert_eq!(refusal(&model, &precisions), FoldError::Length { what: "precisions", expected: 2, found: 1 });
    // Metadata beyond 4 GiB: a million names of 5,000 bytes.
    let layers = [Layer::dense(1 << 20)];
    let long = "x".repeat(5000);
    let class_names = vec![&long[..]; 1 << 20];
    let network = Network::new(1, &layers).unwrap();
    let error = image_len(&network, &Options { class_names: &class_names, ..options }).unwrap_err();
    assert_eq!(error, FoldError::TooLarge);
    assert!(error.to_string().contains("texts"));
}

/// An image is written the same wherever; what overflows leaves no valid one behind.
#[test]
fn refused_images_are_not_images() {
    let mut model = Model::zeroed(2, vec![Layer::dense(3), Layer::dense(1)]);
    model.params[16 + 16] = 1e9;
    let options = Options { precision: Precisions::All(Precision::F16), ..Options::default() };
    let mut out = AlignedBytes::zeroed(image_len(&model.network(), &options).unwrap());
    let good = model.export(&Options { precision: Precisions::Each(&[Precision::F16, Precision::F32]), ..options });
    out[..64].copy_from_slice(&good.unwrap().0[..64]);
    write_image(&model.network(), &model.params, &model.state, &options, &mut out, |_| {}).unwrap_err();
    assert!(Image::new(&out).is_err());
}

/// Several workers, and tasks in the wrong order.
struct Backwards(usize);

impl Split for Backwards {
    fn workers(&self) -> usize {
        self.0
    }

    fn run<const N: usize>(
        &self,
        outputs: [&mut [f32]; N],
        chunk: [usize; N],
        task: &(impl Fn(usize, [&mut [f32]; N]) + Sync),
    ) {
        let mut parts: Vec<_> = outputs.into_iter().zip(chunk).map(|(slice, chunk)| slice.chunks_mut(chunk)).collect();
        let mut tasks = Vec::new();
        loop {
            let next: Vec<_> = parts.iter_mut().filter_map(Iterator::next).collect();
            let Ok(next) = <[&mut [f32]; N]>::try_from(next) else { break };
            tasks.push(next);
        }
        for (index, slices) in tasks.into_iter().enumerate().rev() {
            task(index, slices);
        }
    }
}

/// Rows alone, together, in scratch of any size, on any number of workers: the same bits, on exact levels all the same.
#[test]
fn company_changes_no_bit() {
    let model = varied();
    let mut random = Random(5);
    let input: Vec<f32> = (0..203 * 19).map(|_| random.normal() as f32).collect();
    let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect::<Vec<_>>();
    let mut compared = 0;
    for precision in [Precision::F32, Precision::F16] {
        let options = Options { precision: Precisions::All(precision), ..Options::default() };
        let (bytes, _) = model.export(&options).unwrap();
        let net = Net::new(Image::new(&bytes).unwrap());
        let mut exact = None;
        for level in Level::available() {
            let alone: Vec<f32> = input.chunks(19).flat_map(|row| run_with(level, &Serial, &net, 1, row)).collect();
            assert!(alone.iter().all(|value| value.is_finite()));
            let alone = bits(alone);
            for rows in [1, 2, 3, 8, 64, 203, 500] {
                assert_eq!(bits(run_with(level, &Serial, &net, rows, &input)), alone, "{level}, {rows} rows");
                assert_eq!(bits(run_with(level, &Backwards(3), &net, rows, &input)), alone, "{level}, {rows} rows");
                compared += 2;
            }
            if level.is_exact() {
                assert_eq!(exact.get_or_insert_with(|| alone.clone()), &alone, "{level}");
            }
        }
    }
    println!("{compared} runs of 203 rows, each with the bits of the rows alone");
}

#[test]
fn buffers_of_wrong_length_are_refused_and_left_alone() {
    let (bytes, _) = small().export(&Options::default()).unwrap();
    let net = Net::new(Image::new(&bytes).unwrap());
    assert_eq!((net.inputs(), net.outputs(), net.scratch_len(1), net.scratch_len(3)), (3, 2, 32, 96));
    assert_eq!(net.scratch_len(usize::MAX), usize::MAX);
    let input = [0.5; 12];
    for (inputs, outputs, scratch, what) in [
        (0, 0, 32, "input"),
        (2, 2, 32, "input"),
        (4, 2, 32, "input"),
        (6, 2, 32, "output"),
        (6, 3, 32, "output"),
        (6, 5, 32, "output"),
        (6, 0, 32, "output"),
        (6, 4, 31, "scratch"),
        (6, 4, 0, "scratch"),
    ] {
        let (mut output, mut work) = ([7.0; 8], [7.0; 32]);
        let (y, s) = (&mut output[..outputs], &mut work[..scratch]);
        let error = net.infer(Level::detect(), &Serial, &input[..inputs], y, s).unwrap_err();
        assert!(matches!(error, Error::Length { what: found, .. } if found == what), "{inputs} {outputs}: {error}");
        assert!(output.iter().chain(&work).all(|value| *value == 7.0));
    }
    // Scratch of exactly one row does for four, at any address of a float.
    let mut work = [0.0; 35];
    for offset in 0..4 {
        let mut output = [f32::NAN; 8];
        net.infer(Level::detect(), &Serial, &input, &mut output, &mut work[offset..][..32]).unwrap();
        assert!(output.iter().all(|value| value.is_finite()));
    }
}

/// Without batch norms nothing is computed: weights arrive bit by bit, negative zeros and subnormals too.
#[test]
fn plain_layers_are_copied() {
    let mut model = Model::zeroed(5, vec![Layer::dense(6), Layer::Dense { outputs: 3, bias: false }]);
    let mut random = Random(1);
    for node in model.network().nodes().collect::<Vec<_>>() {
        for output in 0..node.outputs {
            for input in 0..node.inputs {
                let at = evenkeel::kernels::panels::position(node.inputs, node.outputs, output, input);
                node.weights.of_mut(&mut model.params)[at] = f32::from_bits(random.bits() as u32 & 0xbfff_ffff);
            }
        }
    }
    model.params[0] = -0.0;
    let bias = model.network().node(0).bias;
    bias.of_mut(&mut model.params)[..6].copy_from_slice(&[-0.0, 1e-42, 3.0, -4.5, 5e30, 6.0]);
    let (bytes, report) = model.export(&Options::default()).unwrap();
    let image = Image::new(&bytes).unwrap();
    let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    for (op, node) in image.ops().zip(model.network().nodes()) {
        let Op::Dense { weights: evenkeel::image::Weights::F32(weights), bias, .. } = op else { panic!("{op:?}") };
        assert_eq!(bits(weights), bits(node.weights.of(&model.params)));
        assert_eq!(bias.map(bits), (node.bias.len > 0).then(|| bits(node.bias.of(&model.params))));
    }
    assert_eq!(
        report.layers.iter().map(|layer| (layer.layer, layer.folded)).collect::<Vec<_>>(),
        [(0, false), (1, false)]
    );
    assert!(report.layers.iter().all(|layer| layer.weights.max_abs == 0.0));
    assert_eq!(report.bytes_before, 4 * model.params.len());
    assert_eq!(report.bytes_after, bytes.len());
}

#[test]
fn narrowing_is_accounted_for() {
    let mut model =
        Model::zeroed(4, vec![Layer::Dense { outputs: 4, bias: false }, Layer::Dense { outputs: 1, bias: false }]);
    // Exact, half an ulp off, subnormal, below half the smallest subnormal, and a zero that is none.
    model.params[..5].copy_from_slice(&[1.5, 1.0 + 1.0 / 2048.0, 3.0e-5, 1e-9, 0.0]);
    model.params[16] = 0.1;
    let options = Options { precision: Precisions::Each(&[Precision::F16, Precision::F32]), ..Options::default() };
    let (bytes, report) = model.export(&options).unwrap();
    let [first, second] = &report.layers[..] else { panic!() };
    assert_eq!((first.precision, second.precision), (Precision::F16, Precision::F32));
    assert_eq!((first.weights.zeros, first.weights.subnormals), (1, 1));
    assert_eq!(first.weights.max_abs, 1.0 / 2048.0);
    assert!((first.weights.max_relative - 1.0 / 2049.0).abs() < 1e-12);
    assert_eq!(second.weights, Default::default());
    let ops: Vec<_> = Image::new(&bytes).unwrap().ops().collect();
    assert!(
        matches!(ops[0], Op::Dense { weights: evenkeel::image::Weights::F16(w), .. } if w[..4] == [0x3e00, 0x3c00, 0x01f7, 0])
    );
    assert!(matches!(ops[1], Op::Dense { weights: evenkeel::image::Weights::F32(w), .. } if w[0] == 0.1));
}

/// Raw inputs with means of many deviations, half-precision weights: at the mean the weights' rounding cancels out.
#[test]
fn raw_inputs_survive_half_precision() {
    let mut random = Random(9);
    let mean: Vec<f32> = (0..24).map(|_| (400.0 + 100.0 * random.normal()) as f32).collect();
    let deviation: Vec<f32> = (0..24).map(|_| random.uniform(0.5, 2.0) as f32).collect();
    let inv_std: Vec<f32> = deviation.iter().map(|deviation| 1.0 / deviation).collect();
    let layers = vec![Layer::dense(32), Layer::Activation(Activation::Tanh), Layer::dense(4)];
    let raw: Vec<Vec<f32>> =
        (0..64).map(|_| mean.iter().zip(&deviation).map(|(m, d)| m + d * random.normal() as f32).collect()).collect();
    let standard = |row: &Vec<f32>| -> Vec<f64> {
        let parts = row.iter().zip(mean.iter().zip(&inv_std));
        parts.map(|(x, (m, i))| (f64::from(*x) - f64::from(*m)) * f64::from(*i)).collect()
    };
    let rows: Vec<Vec<f64>> = raw.iter().map(standard).collect();
    let model = Model::random(&mut random, 24, layers, &rows);
    let expected: Vec<f32> = rows.iter().flat_map(|row| reference(&model, row)).map(|y| y as f32).collect();
    let standardisation = Some(Standardisation { mean: &mean, inv_std: &inv_std });
    let deviate = |precision, raw: &[f32]| {
        let options = Options { precision: Precisions::All(precision), standardisation, ..Options::default() };
        let (bytes, _) = model.export(&options).unwrap();
        let net = Net::new(Image::new(&bytes).unwrap());
        let deviation = Deviation::between(&expected, &run(&net, 8, raw)).unwrap();
        deviation.max / deviation.scale
    };
    let (single, half) = (deviate(Precision::F32, &raw.concat()), deviate(Precision::F16, &raw.concat()));
    println!(
        "means of 200 to 800 deviations: {single:.1e} of the outputs' scale with f32, {half:.1e} with f16 weights"
    );
    assert!(single < 3e-4 && half < 2e-3);
}

#[test]
fn names_and_precisions_are_per_layer() {
    let model = varied();
    let names = ["null", "eins", "zwei", "drei", "vier", "fünf", "sechs"];
    let options = Options {
        precision: Precisions::Each(&[Precision::F32, Precision::F16, Precision::F32]),
        class_names: &names,
        note: "a note — with a dash",
        ..Options::default()
    };
    let (bytes, report) = model.export(&options).unwrap();
    let image = Image::new(&bytes).unwrap();
    assert!(image.class_names().eq(names));
    assert_eq!((image.class_name(5), image.class_name(7)), (Some("fünf"), None));
    assert_eq!(image.note(), options.note);
    assert_eq!((image.inputs(), image.outputs(), image.scratch_width()), (19, 7, 304));
    assert!(!image.is_standardised());
    assert_eq!(image.bytes().as_ptr(), bytes.as_ptr());
    let precisions: Vec<_> =
        report.layers.iter().map(|layer| (layer.layer, layer.precision.name(), layer.folded)).collect();
    assert_eq!(precisions, [(3, "f32", true), (7, "f16", false), (10, "f32", true)]);
}

/// Nothing but dropout is the identity: no operation, and the rows pass.
#[test]
fn dropout_alone_is_nothing() {
    let model = Model::zeroed(3, vec![Layer::Dropout { rate: 0.5 }]);
    let (bytes, _) = model.export(&Options::default()).unwrap();
    let net = Net::new(Image::new(&bytes).unwrap());
    assert_eq!(net.image().ops().len(), 0);
    assert_eq!(run(&net, 1, &[1.0, -0.0, 3.0, f32::MAX, 5.0, 6.0]), [1.0, -0.0, 3.0, f32::MAX, 5.0, 6.0]);
}

#[test]
fn lengths_are_known_to_the_compiler() {
    const LAYERS: [Layer; 3] =
        [Layer::BatchNorm(BatchNorm::TORCH), Layer::dense(5), Layer::Activation(Activation::Relu)];
    const NETWORK: Network<'static> = match Network::new(3, &LAYERS) {
        Ok(network) => network,
        Err(_) => panic!(),
    };
    const LEN: usize = match image_len(
        &NETWORK,
        &Options { precision: Precisions::All(Precision::F16), standardisation: None, class_names: &[], note: "" },
    ) {
        Ok(len) => len,
        Err(_) => panic!(),
    };
    // Header and record, metadata up to 128, 3 × 8 half weights, and the bias at the next 64.
    assert_eq!(LEN, 128 + 64 + 64);
}

#[test]
fn deviations() {
    let between = |a: &[f32], b: &[f32]| Deviation::between(a, b).unwrap();
    assert_eq!(between(&[1.0, -4.0], &[1.5, -4.0]), Deviation { max: 0.5, mean: 0.25, scale: 4.0 });
    assert_eq!(between(&[], &[]), Deviation::default());
    assert_eq!(between(&[f32::NAN, f32::INFINITY], &[f32::NAN, f32::INFINITY]).max, 0.0);
    for (a, b) in [(1.0, f32::NAN), (f32::NAN, 1.0), (f32::INFINITY, f32::NEG_INFINITY)] {
        assert_eq!(between(&[a], &[b]).max, f64::INFINITY);
    }
    assert!(Deviation::between(&[0.0], &[]).is_err());
}

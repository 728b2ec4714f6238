//! Folding and inference: an image against the unfolded network in plain `f64`, every refusal, and the same bits
//! whatever the rows' company.
#![cfg(feature = "alloc")]

#[path = "../common/exact.rs"]
mod exact;
mod infer;
mod layer_norm;
mod model;
mod narrow;
mod refuse;

use evenkeel::export::{Deviation, FoldError, Options, Precision, Precisions, Standardisation};
use evenkeel::image::{Image, Op};
use evenkeel::infer::Net;
use evenkeel::layer::{Activation, BatchNorm, Layer};
use model::{Model, Random, reference, reference_in_f32, run};

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
            // But for the thresholded ReLU: what it does to an output near its threshold is no rounding error. And but for hard
            // sigmoid and ReLU6, whose columns may be all 1 or 6: a batch norm would divide rounding errors by √ε.
            _ => Layer::Activation(match random.below(16) {
                0 => Activation::Relu,
                1 => Activation::LeakyRelu { slope: 0.01 },
                2 => Activation::Sigmoid,
                3 => Activation::Tanh,
                4 => Activation::Gelu,
                5 => Activation::Silu,
                6 => Activation::Elu { alpha: 1.0 },
                7 => Activation::Selu,
                8 => Activation::Celu { alpha: 0.5 },
                9 => Activation::GeluTanh,
                10 => Activation::Softplus { beta: 1.0 },
                11 => Activation::Softplus { beta: 2.0 },
                12 => Activation::Softsign,
                13 => Activation::HardSwish,
                14 => Activation::Mish,
                _ => Activation::Elu { alpha: 0.2 },
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

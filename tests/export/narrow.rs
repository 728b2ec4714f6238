//! What is stored, how exactly, and what the report says about it.

use evenkeel::export::{Deviation, Options, Precision, Precisions, Standardisation, image_len};
use evenkeel::image::{Image, Op};
use evenkeel::infer::Net;
use evenkeel::layer::{Activation, BatchNorm, Layer, Network};

use crate::model::{Model, Random, reference, run, varied};

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

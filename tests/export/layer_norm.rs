//! Layer norm and dropout's kin in images.

use evenkeel::export::refold::{read_tail, tail_layers};
use evenkeel::export::{FoldError, Options, export};
use evenkeel::image::{ImageMut, Op, uses};
use evenkeel::infer::Single;
use evenkeel::layer::LayerNorm;
use evenkeel::{Error, Image, Layer, Level, Mlp, Net, Network, Serial, text};

use crate::model::Random;

/// A network with made-up parameters, and statistics of a batch.
fn network(inputs: usize, net: &str) -> Mlp {
    let mut random = Random(12);
    let mut model = Mlp::new(inputs, text::parse(net).unwrap()).unwrap();
    let nodes: Vec<_> = model.network().nodes().collect();
    for node in nodes {
        if let Layer::LayerNorm(_) | Layer::BatchNorm(_) = node.layer {
            for part in [node.weights, node.bias] {
                part.of_mut(&mut model.params)[..node.inputs].fill_with(|| 0.5 + random.normal() as f32);
            }
        }
    }
    let rows: Vec<f32> = (0..64 * inputs).map(|_| 3.0 * random.normal() as f32 + 1.0).collect();
    if model.network().has_batch_norm() {
        model.recalibrate(Level::detect(), &Serial, &rows, 64).unwrap();
    }
    model
}

/// Image and network answer alike: by bits where nothing folds into the layers between, else nearly.
#[test]
fn images_answer_as_the_network() {
    let nets = [
        (19, "dense(20) ln relu dense(5)", true),
        (7, "ln dense(33) gelu ln", true),
        (40, "ln(keras) softmax", true),
        (
            5,
            "dense(16) ln dropout(0.3) alpha_dropout(0.1) tanh gaussian_noise(0.1) gaussian_dropout(0.5) dropconnect(0.5) dense(3)",
            true,
        ),
        (19, "dense(20) bn ln bn relu dense(5)", false),
        (3, "dense(40) ln bn dense(5) ln log_softmax", false),
    ];
    let (mut random, mut compared, mut worst) = (Random(5), 0, 0.0_f64);
    for (inputs, net, same) in nets {
        let model = network(inputs, net);
        let (bytes, _) = export(&model.network(), &model.params, &model.state, &Options::default()).unwrap();
        let image = Image::new(&bytes).unwrap();
        assert!(image.uses() & uses::LAYER_NORM != 0);
        let all = Single::<{ uses::ALL }>::new(image).unwrap();
        assert!(matches!(
            Single::<{ uses::ALL & !uses::LAYER_NORM }>::new(image),
            Err(Error::Operations { missing: uses::LAYER_NORM })
        ));
        let input: Vec<f32> = (0..50 * inputs).map(|_| 2.0 * random.normal() as f32).collect();
        for level in Level::available() {
            let expected = model.predict(level, &Serial, &input).unwrap();
            let mut output = vec![f32::NAN; expected.len()];
            let runner = Net::new(image);
            let mut scratch = vec![f32::NAN; runner.scratch_len(7)];
            runner.infer(level, &Serial, &input, &mut output, &mut scratch).unwrap();
            let outputs = runner.outputs();
            for (row, output) in input.chunks(inputs).zip(output.chunks(outputs)) {
                let (mut alone, mut scratch) = (vec![f32::NAN; outputs], vec![f32::NAN; all.scratch_len()]);
                all.infer(level, row, &mut alone, &mut scratch).unwrap();
                assert!(alone.iter().zip(output).all(|(a, b)| a.to_bits() == b.to_bits()), "{net}: a row alone");
            }
            for (a, b) in output.iter().zip(&expected) {
                assert!(!same || a.to_bits() == b.to_bits(), "{net} on {level}: {a} {b}");
                worst = worst.max(f64::from((a - b).abs()));
                compared += 1;
            }
        }
    }
    println!("layer norm in images: {compared} outputs, largest deviation {worst:.1e}");
    assert!(worst < 1e-5);
}

#[test]
fn unsound_parameters_are_refused() {
    let mut model = network(5, "dense(16) ln dense(3)");
    let place = model.network().node(1).bias.start + 3;
    model.params[place] = f32::INFINITY;
    let error = export(&model.network(), &model.params, &model.state, &Options::default()).unwrap_err();
    assert!(matches!(error, FoldError::NonFinite { layer: 1, what: "shift", output: 3, input: None }), "{error}");
}

/// A layer norm can be among the last layers that a device trains.
#[test]
fn refolding_writes_scale_and_shift() {
    let model = network(5, "dense(20) relu dense(6) ln(eps=0.01) dense(3)");
    let (bytes, _) = export(&model.network(), &model.params, &model.state, &Options::default()).unwrap();
    let image = Image::new(&bytes).unwrap();
    let layers: [Layer; 3] = tail_layers(&image, 1).unwrap();
    assert_eq!(layers[1], Layer::LayerNorm(LayerNorm { eps: 0.01 }));
    let tail = Network::new(image.width_before(1), &layers).unwrap();
    let mut params = vec![f32::NAN; tail.params_len()];
    read_tail(&image, 1, &tail, &mut params).unwrap();
    let of = |layer: usize| model.network().node(layer);
    assert_eq!(tail.node(1).weights.of(&params), of(3).weights.of(&model.params));
    assert_eq!(tail.node(1).bias.of(&params), of(3).bias.of(&model.params));
    tail.node(1).bias.of_mut(&mut params)[2] = 7.5;
    let mut copy = bytes.clone();
    let mut edited = ImageMut::new(&mut copy).unwrap();
    edited.set_tail(1, &tail, &params).unwrap();
    let image = Image::new(&copy).unwrap();
    let Some(Op::LayerNorm { shift, eps: 0.01, .. }) = image.ops().nth(2) else { panic!("no layer norm") };
    assert_eq!(shift[2], 7.5);
    params[tail.node(1).weights.start] = f32::NAN;
    let mut edited = ImageMut::new(&mut copy).unwrap();
    assert!(edited.set_tail(1, &tail, &params).is_err());
}

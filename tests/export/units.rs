//! The less usual activations and PReLU, folded: never folded through, at the end of a dense layer or by themselves.

use evenkeel::export::{Deviation, Options};
use evenkeel::image::{Image, Op};
use evenkeel::infer::Net;
use evenkeel::layer::{Activation, BatchNorm, Layer, PRelu};

use crate::model::{Model, Random, reference, run};

#[test]
fn folding_keeps_the_outputs_of_more_activations() {
    let kinds = [
        Activation::Elu { alpha: 1.0 },
        Activation::Elu { alpha: 0.2 },
        Activation::Selu,
        Activation::Celu { alpha: 0.5 },
        Activation::GeluTanh,
        Activation::Softplus { beta: 1.0 },
        Activation::Softplus { beta: 2.0 },
        Activation::Softsign,
        Activation::HardSigmoid,
        Activation::HardSwish,
        Activation::Relu6,
        Activation::Mish,
        Activation::ThresholdedRelu { theta: 0.25 },
    ];
    let kinds = kinds.map(Layer::Activation).into_iter().chain([PRelu::TORCH, PRelu::KERAS].map(Layer::PRelu));
    let (mut random, mut worst) = (Random(71), 0.0_f64);
    for kind in kinds {
        let bn = Layer::BatchNorm(BatchNorm::TORCH);
        let layers = vec![kind, Layer::dense(19), bn, kind, Layer::Dropout { rate: 0.5 }, bn, Layer::dense(5), kind];
        let rows: Vec<Vec<f64>> =
            (0..48).map(|_| (0..7).map(|_| f64::from(random.normal() as f32)).collect()).collect();
        let model = Model::random(&mut random, 7, layers, &rows);
        let (bytes, _) = model.export(&Options::default()).unwrap();
        let net = Net::new(Image::new(&bytes).unwrap());
        // Both batch norms are in the dense layers; an activation goes with its dense layer, PReLU does not.
        assert!(!net.image().ops().any(|op| matches!(op, Op::ScaleShift { .. })), "{kind:?}");
        assert_eq!(net.image().op_count(), if matches!(kind, Layer::PRelu(_)) { 5 } else { 3 }, "{kind:?}");
        let expected: Vec<f32> = rows.iter().flat_map(|row| reference(&model, row)).map(|y| y as f32).collect();
        let input: Vec<f32> = rows.concat().into_iter().map(|x| x as f32).collect();
        let deviation = Deviation::between(&expected, &run(&net, 48, &input)).unwrap();
        let relative = deviation.max / deviation.scale.max(f64::from(f32::MIN_POSITIVE));
        assert!(relative < 2e-5, "{relative:e}: {kind:?}");
        worst = worst.max(relative);
    }
    println!("15 networks, largest deviation {worst:.1e} of the outputs' scale");
}

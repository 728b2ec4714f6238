//! What must not become an image.

use evenkeel::export::{FoldError, Options, Precision, Precisions, Standardisation, image_len, write_image};
use evenkeel::image::{AlignedBytes, Image};
use evenkeel::layer::{BatchNorm, Layer, Network};

use crate::model::{Model, small};

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

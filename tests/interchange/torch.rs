//! Networks that PyTorch trained: imported, run, folded, and written back.

use evenkeel::export::{Options, Precision, Precisions, export};
use evenkeel::image::Image;
use evenkeel::interchange::{InterchangeError, resume, state_dict, tensors};
use evenkeel::{Level, Mlp, Net, Serial, text};
use safetensors::tensor::Dtype;
use serde_json::Value;

use crate::files::{Tensor, f32s, f64s, golden, read};

const NETWORKS: [&str; 16] = [
    "mlp_bn",
    "fold_input",
    "fold_after_relu",
    "fold_after_dropout",
    "fold_chain",
    "fold_alone",
    "fold_gelu",
    "fold_silu",
    "fold_leaky_relu",
    "fold_sigmoid",
    "fold_softmax",
    "fold_log_softmax",
    "fold_signs",
    "fold_wide",
    "fold_no_bias",
    "fold_no_affine",
];

/// A golden network with its inputs and what PyTorch answers.
struct Case {
    state_dict: Vec<u8>,
    net: Mlp,
    input: Vec<f32>,
    output: Vec<f32>,
    truth: Vec<f64>,
    /// How far PyTorch's own answer is from the truth, and that of a net folded exactly, relative to the largest output.
    float32_error: f64,
    folded_error: f64,
}

fn case(name: &str) -> Case {
    let cases = golden(&format!("{name}.cases.safetensors"));
    let header: Value = serde_json::from_str(&crate::files::split(&cases).0).unwrap();
    let about: Value = serde_json::from_str(header["__metadata__"]["golden"].as_str().unwrap()).unwrap();
    // Our batch norms always have scale and shift: 1 and 0 where the file has none.
    let text = about["net"].as_str().unwrap().replace("(affine=false)", "");
    let inputs = about["inputs"].as_u64().unwrap() as usize;
    let state_dict = golden(&format!("{name}.safetensors"));
    let layers = text::parse(&text).unwrap();
    assert_eq!(state_dict::input_width(&state_dict, &layers).unwrap(), inputs, "{name}");
    let mut net = Mlp::new(inputs, layers).unwrap();
    state_dict::load(&mut net, &state_dict).unwrap_or_else(|error| panic!("{name}: {error}"));
    let tensors = read(&cases);
    Case {
        state_dict,
        net,
        input: f32s(&tensors["input"]),
        output: f32s(&tensors["output"]),
        truth: f64s(&tensors["output64"]),
        float32_error: about["float32_error"].as_f64().unwrap(),
        folded_error: about["folded_error"].as_f64().unwrap(),
    }
}

/// The largest difference, relative to the largest reference value.
fn deviation(outputs: &[f32], reference: impl Iterator<Item = f64> + Clone) -> f64 {
    assert_eq!(outputs.len(), reference.clone().count());
    let scale = reference.clone().fold(0.0, |scale: f64, value| scale.max(value.abs()));
    outputs.iter().zip(reference).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max) / scale
}

fn image_outputs(net: &Mlp, input: &[f32], level: Level, precision: Precision) -> Vec<f32> {
    let options = Options { precision: Precisions::All(precision), ..Options::default() };
    let (image, _) = export(&net.network(), &net.params, &net.state, &options).unwrap();
    let folded = Net::new(Image::new(&image).unwrap());
    let rows = input.len() / folded.inputs();
    let (mut outputs, mut scratch) = (vec![0.0; rows * folded.outputs()], vec![0.0; folded.scratch_len(rows)]);
    folded.infer(level, &Serial, input, &mut outputs, &mut scratch).unwrap();
    outputs
}

/// The deviation from PyTorch's evaluation mode is at most 1e-5 of the output's scale, or, where single precision itself
/// cannot do that (an input far from 0, seen through batch norm), twice what the exactly folded net has.
#[test]
fn answers_as_pytorch_does() {
    for level in Level::available() {
        println!("{:<20} {:>9} {:>9} {:>9} {:>9} {:>9}", level.name(), "network", "image", "f16", "PyTorch's", "bound");
        for name in NETWORKS {
            let case = case(name);
            let torch = || case.output.iter().map(|value| f64::from(*value));
            let network = case.net.predict(level, &Serial, &case.input).unwrap();
            let image = image_outputs(&case.net, &case.input, level, Precision::F32);
            let f16 = if name == "fold_alone" {
                None
            } else {
                Some(image_outputs(&case.net, &case.input, level, Precision::F16))
            };
            let bound = 1e-5_f64.max(2.0 * case.folded_error);
            // Where PyTorch itself is further from the truth than that, so far may we be from PyTorch.
            let bound = if case.float32_error > 1e-5 { bound + case.float32_error } else { bound };
            let (plain, folded) = (deviation(&network, torch()), deviation(&image, torch()));
            let half = f16.map_or(0.0, |f16| deviation(&f16, torch()));
            println!("{name:<20} {plain:>9.1e} {folded:>9.1e} {half:>9.1e} {:>9.1e} {bound:>9.1e}", case.float32_error);
            assert!(plain <= bound, "{name} at {level}: network {plain:e}");
            assert!(folded <= bound, "{name} at {level}: image {folded:e}");
            assert!(half <= 2e-2, "{name} at {level}: f16 {half:e}");
            if name == "mlp_bn" {
                assert!(plain <= 1e-5 && folded <= 1e-5, "{plain:e} {folded:e}");
            }
            let truth = deviation(&image, case.truth.iter().copied());
            let bound = 1e-5_f64.max(2.0 * case.folded_error);
            assert!(truth <= bound, "{name} at {level}: image against the truth {truth:e}");
        }
    }
}

/// What we write has PyTorch's names, shapes, types and values, bit by bit; only a batch norm without scale and shift gets
/// them.
#[test]
fn writes_what_it_read() {
    for name in NETWORKS {
        let case = case(name);
        let ours = state_dict::to_bytes(&case.net).unwrap();
        let (mut written, theirs) = (read(&ours), read(&case.state_dict));
        if name == "fold_no_affine" {
            for (tensor, value) in [("0.weight", 1.0), ("0.bias", 0.0), ("2.weight", 1.0), ("2.bias", 0.0)] {
                assert!(f32s(&written.remove(tensor).unwrap()).iter().all(|v: &f32| *v == value));
            }
        }
        let mut names: Vec<&String> = theirs.keys().collect();
        names.sort();
        assert_eq!(names.len(), written.len(), "{name}");
        for tensor in names {
            let (a, b): (&Tensor, &Tensor) = (&written[tensor], &theirs[tensor]);
            assert!(a == b, "{name}: {tensor} differs");
        }
        // Read again, with and without being told the network.
        let again = state_dict::read(&ours).unwrap();
        assert!(again == case.net && state_dict::to_bytes(&again).unwrap() == ours, "{name}");
        let mut loaded = Mlp::new(case.net.network().inputs(), case.net.layers().to_vec()).unwrap();
        state_dict::load(&mut loaded, &ours).unwrap();
        assert!(loaded == case.net, "{name}");
        assert!(matches!(resume::read(&ours), Ok(resume::Saved::Network(net)) if net == case.net));
        let described = tensors(&ours).unwrap();
        assert!(described.iter().all(|tensor| ["f32", "i64"].contains(&tensor.dtype.as_str())));
        // A file of another program does not say its network.
        assert!(matches!(state_dict::read(&case.state_dict), Err(InterchangeError::NoNetwork)));
    }
}

/// Other floating-point types are widened or rounded once, and a file without `num_batches_tracked` (PyTorch before 0.4)
/// can be folded all the same.
#[test]
fn other_types() {
    let case = case("mlp_bn");
    let theirs = read(&case.state_dict);
    let convert = |dtype: Dtype, bytes: &dyn Fn(f32) -> Vec<u8>| {
        let mut tensors = theirs.clone();
        for tensor in tensors.values_mut().filter(|tensor| tensor.0 == Dtype::F32) {
            let values = f32s(tensor);
            *tensor = (dtype, tensor.1.clone(), values.into_iter().flat_map(bytes).collect());
        }
        tensors.retain(|name, _| !name.ends_with("num_batches_tracked"));
        let mut net = Mlp::new(20, case.net.layers().to_vec()).unwrap();
        state_dict::load(&mut net, &crate::files::write(&tensors)).unwrap();
        net
    };
    let outputs = |net: &Mlp| image_outputs(net, &case.input, Level::detect(), Precision::F32);
    let exact = outputs(&case.net);
    let double = convert(Dtype::F64, &|value| f64::from(value).to_le_bytes().to_vec());
    assert!(double.params == case.net.params && outputs(&double) == exact);
    let half = convert(Dtype::F16, &|value| half::f16::from_f32(value).to_le_bytes().to_vec());
    let brain = convert(Dtype::BF16, &|value| half::bf16::from_f32(value).to_le_bytes().to_vec());
    let exact = || exact.iter().map(|value| f64::from(*value));
    let (half, brain) = (deviation(&outputs(&half), exact()), deviation(&outputs(&brain), exact()));
    println!("mlp_bn from f16: {half:.1e}, from bf16: {brain:.1e} of the output's scale");
    assert!(half > 0.0 && half < 0.05 && brain > half && brain < 0.5);
}

/// A network with PReLU of either kind: imported, folded, run, and written back with PyTorch's names and shapes.
#[test]
fn prelu() {
    let (file, cases) = (golden("prelu.safetensors"), read(&golden("prelu.cases.safetensors")));
    let text = "dense(9) bn prelu dense(20) prelu(shared=false) softplus(2) dense(3) gelu_tanh";
    let mut net = Mlp::new(6, text::parse(text).unwrap()).unwrap();
    // Drawn anew: the slopes of the layers' text.
    assert_eq!(net.network().node(2).weights.of(&net.params)[..2], [0.25, 0.0]);
    assert_eq!(net.network().node(4).weights.of(&net.params)[19..21], [0.25, 0.0]);
    state_dict::load(&mut net, &file).unwrap();
    let written = state_dict::to_bytes(&net).unwrap();
    assert_eq!(read(&written), read(&file));
    assert_eq!(state_dict::read(&written).unwrap(), net);
    let shape = |name: &str| read(&written)[name].1.clone();
    assert_eq!((shape("2.weight"), shape("4.weight")), (vec![1], vec![20]));
    assert_eq!(net.parameters(), 6 * 9 + 9 + 18 + 1 + 9 * 20 + 20 + 20 + 20 * 3 + 3);

    let (image, _) = export(&net.network(), &net.params, &net.state, &Options::default()).unwrap();
    let run = Net::new(Image::new(&image).unwrap());
    let (input, truth) = (f32s(&cases["input"]), f64s(&cases["output64"]));
    for level in Level::available() {
        let (mut output, mut scratch) = (vec![0.0; truth.len()], vec![0.0; run.scratch_len(40)]);
        run.infer(level, &Serial, &input, &mut output, &mut scratch).unwrap();
        let error = deviation(&output, truth.iter().copied());
        assert!(error < 2e-6, "{error:e} on {level}");
    }

    // One slope is not twenty.
    let mut other = Mlp::new(6, text::parse(&text.replace("(shared=false)", "")).unwrap()).unwrap();
    let refused = state_dict::load(&mut other, &file).unwrap_err();
    assert!(matches!(&refused, InterchangeError::Shape { name, .. } if name == "4.weight"), "{refused}");
}

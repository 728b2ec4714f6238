//! The last layers of an image are trained, and inference goes on with them.

use evenkeel::export::refold::{RefoldError, read_tail, tail_layers, tail_len};
use evenkeel::export::{FoldError, Narrowing, Options, Precision, Precisions, write_image};
use evenkeel::image::{Aligned, AlignedBytes, ImageMut, Op, Weights};
use evenkeel::train::{Arrays, Batch, Moment, Rules, Session, Targets};
use evenkeel::{Error, Image, Level, Loss, Net, Network, Optimizer, Serial};

use crate::{Setup, bits, numbers};

const ROWS: usize = 20;

fn setup() -> Setup {
    Setup::new(6, "dense(19) bn relu dense(17) bn gelu dense(12) tanh dense(3)", Loss::CrossEntropy, ROWS)
}

fn image(setup: &Setup, precision: Precision) -> AlignedBytes {
    let options = Options { precision: Precisions::All(precision), note: "before", ..Options::default() };
    let network = setup.network();
    let mut bytes = AlignedBytes::zeroed(evenkeel::export::image_len(&network, &options).unwrap());
    write_image(&network, &setup.params, &setup.state, &options, &mut bytes, |_| {}).unwrap();
    bytes
}

fn infer(net: Net<'_>, level: Level, x: &[f32]) -> Vec<f32> {
    let rows = x.len() / net.inputs();
    let (mut y, mut scratch) = (vec![0.0; rows * net.outputs()], vec![f32::NAN; net.scratch_len(rows)]);
    net.infer(level, &Serial, x, &mut y, &mut scratch).unwrap();
    y
}

/// The image's operations 2 and 3 are `dense(12) tanh` and `dense(3)`.
const TAIL: usize = 2;

/// Trains the tail of an image row by row; returns its parameters, and its outputs for all rows.
fn train(setup: &Setup, level: Level, image: Image<'_>) -> (Vec<f32>, Vec<f32>) {
    let layers: [_; 3] = tail_layers(&image, TAIL).unwrap();
    let tail = Network::new(image.width_before(TAIL), &layers).unwrap();
    let plan = tail.plan(1);
    let (mut params, mut work) = (vec![f32::NAN; plan.params], vec![f32::NAN; plan.work_len()]);
    let (mut gradients, mut moments) = (vec![0.0; plan.trained], vec![0.0; Optimizer::ADAM.moments_len(&plan)]);
    read_tail(&image, TAIL, &tail, &mut params).unwrap();
    let buffers = evenkeel::train::Buffers {
        params: &mut params,
        state: &mut [],
        gradients: &mut gradients,
        moments: &mut moments,
        work: &mut work,
    };
    let mut session = Session::new(tail, 1, buffers, level, &Serial).unwrap();
    let front = Net::new(image.front(TAIL).unwrap());
    assert_eq!(front.outputs(), 17);
    // Before any step the tail is the image's own: so its outputs are the image's.
    let look = |session: &mut Session<'_, Serial>| {
        let mut outputs = Vec::new();
        for row in 0..ROWS {
            let mut y = [0.0; 3];
            let features = infer(front, level, setup.part(row, 1).inputs);
            session.predict(&features, 1, &mut y).unwrap();
            outputs.extend(y);
        }
        outputs
    };
    assert_eq!(bits(&look(&mut session)), bits(&infer(Net::new(image), level, &setup.x)), "untrained tail on {level}");
    let rules = Rules::new(Loss::CrossEntropy, Optimizer::ADAM);
    let mut losses = [0.0; 10];
    for (epoch, loss) in losses.iter_mut().enumerate() {
        for row in 0..ROWS {
            let features = infer(front, level, setup.part(row, 1).inputs);
            let targets = Targets::Classes(&setup.labels[row..=row]);
            let moment = Moment { seed: 1, step: (epoch * ROWS + row) as u64, lr: 0.01 };
            *loss += session.step(Batch { inputs: &features, targets, rows: 1 }, &rules, moment).unwrap().loss;
        }
    }
    assert!(losses[9] < 0.6 * losses[0], "{losses:?}");
    let outputs = look(&mut session);
    (params, outputs)
}

#[test]
fn an_image_goes_on_with_what_its_tail_learned() {
    let setup = setup();
    for level in Level::available() {
        let mut bytes = image(&setup, Precision::F32);
        let flash = bytes.clone();
        let before = Image::new(&flash).unwrap();
        let (params, outputs) = train(&setup, level, before);
        let layers: [_; 3] = tail_layers(&before, TAIL).unwrap();
        let tail = Network::new(17, &layers).unwrap();

        // Written into a copy in RAM: one valid image again.
        let mut copy = ImageMut::new(&mut bytes).unwrap();
        assert_eq!(copy.set_tail(TAIL, &tail, &params), Ok(Narrowing::default()));
        assert_eq!(bits(&infer(Net::new(copy.image()), level, &setup.x)), bits(&outputs), "copy on {level}");
        let after = Image::new(&bytes).expect("it is an image again, with its checksum");
        assert_eq!(bits(&infer(Net::new(after), level, &setup.x)), bits(&outputs));
        assert_eq!(after.note(), "before");
        for (before, after) in before.ops().zip(after.ops()).take(TAIL) {
            assert_eq!(before, after, "an operation of the front has changed");
        }
        assert_ne!(bits(&infer(Net::new(before), level, &setup.x)), bits(&outputs));

        // Or as an image of the tail alone behind the front of the one in flash.
        let options = Options::default();
        let mut small = AlignedBytes::zeroed(evenkeel::export::image_len(&tail, &options).unwrap());
        write_image(&tail, &params, &[], &options, &mut small, |_| {}).unwrap();
        assert!(small.len() < flash.len() / 2, "{} of {}", small.len(), flash.len());
        let features = infer(Net::new(before.front(TAIL).unwrap()), level, &setup.x);
        let overlay = infer(Net::new(Image::new(&small).unwrap()), level, &features);
        assert_eq!(bits(&overlay), bits(&outputs), "overlay on {level}");
    }
}

/// Half precision: what is written is what was learned, rounded once.
#[test]
fn half_precision() {
    let setup = setup();
    let mut bytes = image(&setup, Precision::F16);
    let before = bytes.clone();
    let (params, _) = train(&setup, Level::detect(), Image::new(&before).unwrap());
    let layers: [_; 3] = tail_layers(&Image::new(&before).unwrap(), TAIL).unwrap();
    let tail = Network::new(17, &layers).unwrap();
    let mut copy = ImageMut::new(&mut bytes).unwrap();
    let narrowing = copy.set_tail(TAIL, &tail, &params).unwrap();
    assert!(narrowing.max_relative > 0.0 && narrowing.max_relative <= 1.0 / 2048.0, "{narrowing:?}");
    let mut compared = 0;
    let denses = tail.nodes().filter(|node| !node.weights.of(&params).is_empty());
    for (op, node) in copy.image().ops().skip(TAIL).zip(denses) {
        let Op::Dense { weights: Weights::F16(weights), bias: Some(bias), .. } = op else { panic!("{op:?}") };
        for (stored, learned) in weights.iter().zip(node.weights.of(&params)) {
            assert_eq!(*stored, half::f16::from_f64(f64::from(*learned)).to_bits());
            compared += 1;
        }
        assert_eq!(bits(bias), bits(node.bias.of(&params)));
    }
    assert_eq!(compared, 17 * 12 + 12 * 4);
}

/// Everything is looked at before the first byte is written.
#[test]
fn refusals_leave_the_image_alone() {
    let setup = setup();
    let mut bytes = image(&setup, Precision::F16);
    let untouched = bytes.clone();
    let before = Image::new(&untouched).unwrap();
    assert_eq!((before.op_count(), tail_len(&before, TAIL), tail_len(&before, 0)), (4, 3, 7));
    assert_eq!(
        tail_layers::<2>(&before, TAIL),
        Err(Error::Length { what: "layers of the tail", expected: 3, found: 2 })
    );
    assert_eq!(tail_layers::<0>(&before, 4), Err(Error::Ops { ops: 4, found: 4 }));
    assert_eq!(before.front(5).unwrap_err(), Error::Ops { ops: 5, found: 4 });
    assert_eq!(infer(Net::new(before.front(0).unwrap()), Level::detect(), &setup.x), setup.x);
    let layers: [_; 3] = tail_layers(&before, TAIL).unwrap();
    let tail = Network::new(17, &layers).unwrap();
    let sound = numbers(5, tail.params_len());
    let mut short = vec![0.0; tail.params_len() - 1];
    assert!(matches!(read_tail(&before, TAIL, &tail, &mut short), Err(Error::Length { what: "parameters", .. })));
    let narrower = Network::new(16, &layers).unwrap();
    let mut other = vec![0.0; narrower.params_len()];
    assert!(matches!(read_tail(&before, TAIL, &narrower, &mut other), Err(Error::Length { .. })));

    let mut copy = ImageMut::new(&mut bytes).unwrap();
    let mut check = |params: &[f32], layers: &[evenkeel::Layer], expected: RefoldError| {
        let network = Network::new(17, layers).unwrap();
        assert_eq!(copy.set_tail(TAIL, &network, params), Err(expected));
        assert_eq!(copy.image().bytes(), &untouched[..], "{expected}");
        assert!(!expected.to_string().is_empty());
    };
    let mut wrong = layers;
    wrong[1] = evenkeel::Layer::Activation(evenkeel::Activation::Relu);
    check(&sound, &wrong, RefoldError::Tail(Error::Layer { layer: 1, name: "relu" }));
    wrong = layers;
    wrong[2] = evenkeel::Layer::dense(2);
    check(&sound, &wrong, RefoldError::Tail(Error::Layer { layer: 2, name: "dense" }));
    // The last weight of all, and the last bias: found before the first was written.
    let last = tail.nodes().last().unwrap();
    let mut params = sound.clone();
    let at = last.weights.start + evenkeel::kernels::panels::position(12, 3, 2, 11);
    params[at] = 7e4;
    let (layer, output, input, precision) = (2, 2, Some(11), Precision::F16);
    let value = f64::from(7e4_f32);
    check(&params, &layers, RefoldError::Weight(FoldError::Overflow { layer, output, input, value, precision }));
    params[at] = f32::NAN;
    check(&params, &layers, RefoldError::Weight(FoldError::NonFinite { layer, what: "weight", output, input }));
    params = sound.clone();
    params[last.bias.start + 2] = f32::INFINITY;
    let input = None;
    check(&params, &layers, RefoldError::Weight(FoldError::NonFinite { layer, what: "bias", output, input }));
    let (expected, found) = (sound.len(), sound.len() - 1);
    let what = "parameters";
    check(&sound[..found], &layers, RefoldError::Weight(FoldError::Length { what, expected, found }));

    // What is no weight is not written: padding stays zero, whatever stands there.
    copy.set_tail(TAIL, &tail, &sound).unwrap();
    Image::new(&bytes).expect("padding of the parameters is not zero here, that of the image must be");
    bytes[evenkeel::image::ALIGN] ^= 1;
    assert!(ImageMut::new(&mut bytes).is_err());
}

/// A batch norm that stayed alone is no layer: what lies behind it may train.
#[test]
fn scale_and_shift() {
    let setup = Setup::new(4, "dense(5) relu bn tanh dense(3) softmax", Loss::MeanSquaredError, 1);
    let bytes = image(&setup, Precision::F32);
    let image = Image::new(&bytes).unwrap();
    assert!(matches!(image.ops().nth(1), Some(Op::ScaleShift { .. })));
    assert_eq!(tail_layers::<5>(&image, 1), Err(Error::Length { what: "layers of the tail", expected: 4, found: 5 }));
    assert_eq!(tail_layers::<4>(&image, 1), Err(Error::Tail { op: 1 }));
    let layers: [_; 3] = tail_layers(&image, 2).unwrap();
    assert_eq!(layers[..], setup.layers[3..]);
}

/// In firmware all of it is known to the compiler.
#[test]
fn sizes_are_constants() {
    const BYTES: &Aligned<[u8]> = &Aligned(*include_bytes!("tail.keel"));
    const IMAGE: Image<'_> = match Image::from_aligned(BYTES) {
        Ok(image) => image,
        Err(_) => panic!("no image"),
    };
    const LAYERS: [evenkeel::Layer; tail_len(&IMAGE, TAIL)] = match tail_layers(&IMAGE, TAIL) {
        Ok(layers) => layers,
        Err(_) => panic!("no tail"),
    };
    const NETWORK: Network<'_> = match Network::new(IMAGE.width_before(TAIL), &LAYERS) {
        Ok(network) => network,
        Err(_) => panic!("no network"),
    };
    const PLAN: evenkeel::plan::Plan = NETWORK.plan(1);
    let setup = setup();
    if std::env::var_os("BLESS").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/device/tail.keel");
        std::fs::write(path, &*image(&setup, Precision::F16)).unwrap();
    }
    assert_eq!(&BYTES.0, &image(&setup, Precision::F16)[..], "make it anew with BLESS=1");
    let mut arrays: evenkeel::arrays!(PLAN, Optimizer::ADAM) = Arrays::new();
    read_tail(&IMAGE, TAIL, &NETWORK, &mut arrays.params).unwrap();
    let mut session = Session::new(NETWORK, 1, arrays.buffers(), Level::detect(), &Serial).unwrap();
    let (mut features, mut outputs) = ([0.0; NETWORK.inputs()], [0.0; NETWORK.outputs()]);
    let net = Net::new(IMAGE);
    let mut scratch = vec![0.0; net.scratch_len(1)];
    let row = &setup.x[..6];
    Net::new(IMAGE.front(TAIL).unwrap()).infer(Level::detect(), &Serial, row, &mut features, &mut scratch).unwrap();
    session.predict(&features, 1, &mut outputs).unwrap();
    assert_eq!(bits(&outputs), bits(&infer(net, Level::detect(), row)));
}

//! Networks of the workload file as `Mlp`, and inference as a device does it: through the exported image.

use std::collections::HashMap;
use std::hint::black_box;

use evenkeel::export::{Options, Precision, Precisions, export};
use evenkeel::image::AlignedBytes;
use evenkeel::memory::Buffer;
use evenkeel::split::Split;
use evenkeel::{Activation, BatchNorm, Image, Layer, Mlp, Net};
use peers_common::{Act, Case, Spec, check, input, read_f32};

use crate::{Bench, kernels};

/// Exported images, made once for each model and precision.
#[derive(Default)]
pub struct Images(HashMap<(String, &'static str), AlignedBytes>);

const VARIANTS: [(&str, Precision); 2] = [("", Precision::F32), ("(f16 weights)", Precision::F16)];

/// The model with its parameters. `statistics`: batch norms get the file's scale, shift and statistics; without, they
/// are new, as all peers begin to train.
pub fn model(spec: &Spec, name: &str, statistics: bool) -> Mlp {
    let described = spec.layers(name);
    let mut layers = Vec::new();
    for layer in &described {
        layers.push(Layer::dense(layer.out));
        if layer.bn {
            layers.push(Layer::BatchNorm(BatchNorm::TORCH));
        }
        match layer.act {
            Act::None => {}
            Act::Relu => layers.push(Layer::Activation(Activation::Relu)),
            Act::Sigmoid => layers.push(Layer::Activation(Activation::Sigmoid)),
        }
        if layer.drop > 0.0 {
            layers.push(Layer::Dropout { rate: layer.drop as f32 });
        }
    }
    let mut net = Mlp::new(described[0].inp, layers).expect("the workload file's layers are sound");
    let file = read_f32(&format!("{name}.params.f32"));
    let mut rest = &file[..];
    let mut take = |len: usize| {
        let (part, later) = rest.split_at(len);
        rest = later;
        part
    };
    let nodes: Vec<_> = net.network().nodes().collect();
    for node in nodes {
        match node.layer {
            Layer::Dense { outputs, .. } => {
                let weights = take(node.inputs * outputs);
                kernels::pack(node.inputs, outputs, weights, node.weights.of_mut(&mut net.params));
                node.bias.of_mut(&mut net.params)[..outputs].copy_from_slice(take(outputs));
            }
            Layer::BatchNorm(_) => {
                let width = node.inputs;
                let [gamma, beta, mean, var] = [(); 4].map(|()| take(width));
                if statistics {
                    node.weights.of_mut(&mut net.params)[..width].copy_from_slice(gamma);
                    node.bias.of_mut(&mut net.params)[..width].copy_from_slice(beta);
                    let state = node.state.of_mut(&mut net.state);
                    state[..width].copy_from_slice(mean);
                    state[evenkeel::layer::padded(width)..][..width].copy_from_slice(var);
                    // The number of batches seen: export refuses statistics that nothing was learned from.
                    state[2 * evenkeel::layer::padded(width)] = 1.0;
                }
            }
            _ => {}
        }
    }
    assert!(rest.is_empty(), "{name}: the file holds other layers");
    net
}

/// Outputs of `case.batch` rows, from f32 and from f16 weights.
pub fn infer<P: Split>(bench: &Bench<'_, P>, case: &Case, name: &str, images: &mut Images) {
    for (variant, precision) in VARIANTS {
        let bytes = images.0.entry((name.to_string(), variant)).or_insert_with(|| {
            let net = model(&bench.ctx.spec, name, true);
            let options = Options { precision: Precisions::All(precision), ..Options::default() };
            export(&net.network(), &net.params, &net.state, &options).expect("a network that folds").0
        });
        let net = Net::new(Image::new(bytes).expect("what was just written"));
        let x = Buffer::from(&input(name, case.batch, net.inputs())[..]);
        let mut y = Buffer::zeros(case.batch * net.outputs());
        let mut scratch = Buffer::zeros(net.scratch_len(case.batch));
        let mut call = |y: &mut [f32]| {
            net.infer(bench.level, bench.split, black_box(&x), y, &mut scratch).expect("whole rows");
            black_box(y);
        };
        call(&mut y);
        let error = check(&y, name, case);
        bench.measure(case, variant, error, || call(&mut y));
    }
}

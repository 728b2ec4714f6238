//! A dense layer on index lists against PyTorch's `EmbeddingBag(mode="sum")`: outputs and weight gradient.

use evenkeel::kernels::dense::Dense;
use evenkeel::kernels::groups::{from_groups, to_groups};
use evenkeel::kernels::panels::{pack, unpack, weight_len};
use evenkeel::kernels::sparse::{self, IndexLists};
use evenkeel::layer::padded;
use evenkeel::{Level, Serial};

use crate::file::{File, Tally};

#[test]
pub(crate) fn index_lists() {
    let file = File::open("lists");
    let (mut outputs_tally, mut gradient_tally) = (Tally::default(), Tally::default());
    for name in ["one", "narrow", "panel", "wide"] {
        let of = |what: &str| format!("{name}.{what}");
        let [outputs, inputs] = *file.shape(&of("weight")) else { panic!("{name}: no matrix") };
        let offsets: Vec<usize> = file.f64(&of("offsets")).iter().map(|offset| *offset as usize).collect();
        let indices = file.u32(&of("indices"));
        let x = IndexLists::new(inputs, &offsets, &indices).unwrap();
        let rows = x.len();
        let mut weights = vec![0.0; weight_len(inputs, outputs)];
        pack(inputs, outputs, &file.f32(&of("weight")), &mut weights);
        let mut bias = file.f32(&of("bias"));
        bias.resize(padded(outputs), 0.0);
        let mut dy = vec![0.0; rows * padded(outputs)];
        to_groups(&Serial, rows, outputs, &file.f32(&of("dy")), &mut dy);
        for level in Level::available() {
            let dense = Dense { inputs, outputs, weights: &weights[..], bias: Some(&bias[..]) };
            let (mut groups, mut y) = (vec![0.0; dy.len()], vec![0.0; rows * outputs]);
            sparse::forward_then(level, &Serial, dense, x, None, &mut groups).unwrap();
            from_groups(rows, outputs, &groups, &mut y);
            let (mut panels, mut gradient) = (vec![f32::NAN; weights.len()], vec![0.0; inputs * outputs]);
            sparse::weight_gradient(level, &Serial, (inputs, outputs), x, &dy, &mut panels).unwrap();
            unpack(inputs, outputs, &panels, &mut gradient);
            for (what, tally, found) in
                [("output64", &mut outputs_tally, y), ("gradient64", &mut gradient_tally, gradient)]
            {
                let truth = file.f64(&of(what));
                let scale = truth.iter().fold(0.0_f64, |scale, value| scale.max(value.abs()));
                tally.scaled(&format!("{name} on {level}"), &found, truth, scale, 1e-6);
            }
        }
    }
    outputs_tally.note("");
    gradient_tally.note("");
}

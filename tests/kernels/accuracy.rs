//! How far a dense kernel may be from the exact sum: the bound that also holds where a multiply-add rounds twice.
//!
//! A term of an inner product of `k` terms is rounded at most `min(k, 256)` times in its chain, `⌈k / 256⌉` times as the
//! chains and the bias are added, and once more as a product where nothing fuses. With `u = 2^-24` and
//! `m = min(k, 256) + ⌈k / 256⌉ + 2`: `|error| ≤ m u / (1 - m u) · (Σ|x||w| + |b|) + k · 2^-149`, the last part for
//! products that are subnormal.

use crate::common::layout::ungroup;
use crate::common::reference::{Stored, pack};
use crate::common::values::{Rng, Shape, Values, covering_shapes};
use crate::common::{emulated, levels};
use evenkeel::kernels::dense;
use evenkeel::kernels::groups::Rows;
use evenkeel::layer::padded;
use evenkeel::split::Serial;

fn bound(terms: usize, magnitude: f64) -> f64 {
    let m = (terms.min(256) + terms.div_ceil(256) + 2) as f64 * 2.0_f64.powi(-24);
    m / (1.0 - m) * magnitude + terms as f64 * 2.0_f64.powi(-149)
}

fn check<W: Stored>(rng: &mut Rng, shape: Shape, largest: &mut [f64]) -> usize {
    let Shape { rows, inputs, outputs, stride } = shape;
    let x = Values::Hard.strided_rows(rng, rows, inputs, stride);
    let matrix = Values::Hard.stored::<W>(rng, inputs * outputs);
    let weights = pack((inputs, outputs), &matrix);
    let mut bias = vec![0.0; padded(outputs)];
    bias[..outputs].fill_with(|| rng.unit());
    let found: Vec<Vec<f32>> = levels()
        .into_iter()
        .map(|level| {
            let mut y = vec![f32::NAN; rows * padded(outputs)];
            let operands = dense::Dense { inputs, outputs, weights: &weights, bias: Some(&bias) };
            let x = Rows::plain(&x, rows, inputs, stride).expect("as many values");
            dense::forward(level, &Serial, operands, x, &mut y).expect("the lengths are right");
            ungroup(outputs, &y)
        })
        .collect();
    for row in 0..rows {
        for output in 0..outputs {
            let terms = (0..inputs)
                .map(|input| f64::from(x[row * stride + input]) * f64::from(matrix[output * inputs + input].widen()));
            // Products are exact in f64; its sums err 2^29 times less than what is measured.
            let (sum, magnitude) = terms.fold((0.0, 0.0), |(sum, size), term| (sum + term, size + f64::abs(term)));
            let bias = f64::from(bias[output]);
            let bound = bound(inputs, magnitude + bias.abs());
            for (found, largest) in found.iter().zip(largest.iter_mut()) {
                let error = (f64::from(found[row * padded(outputs) + output]) - (sum + bias)).abs();
                assert!(error <= bound, "{shape:?}, row {row}, output {output}: error {error:e} above {bound:e}");
                *largest = largest.max(error / bound);
            }
        }
    }
    rows * outputs
}

#[test]
fn dense_within_its_bound() {
    let rng = &mut Rng::new(51);
    let mut largest = vec![0.0; levels().len()];
    let mut values = 0;
    for shape in covering_shapes(rng, 1, if emulated() { 1 << 13 } else { 1 << 17 }) {
        values += check::<f32>(rng, shape, &mut largest);
        values += check::<u16>(rng, shape, &mut largest);
    }
    for (level, largest) in levels().into_iter().zip(largest) {
        println!("dense, {level}: {values} values, largest error {largest:.3} of the bound");
    }
}

//! Random shapes and values on top of the covering set; proptest shrinks what fails.

use crate::common::values::{Rng, Shape, Values};
use crate::common::{Tally, groups, rounds};
use crate::{batchnorm, dense, elementwise, gradients, softmax};
use proptest::prelude::*;

fn shapes() -> impl Strategy<Value = (Shape, Values, u64)> {
    let values = prop_oneof![Just(Values::Plain), Just(Values::Hard), Just(Values::NonFinite)];
    (1_usize..40, 1_usize..600, 1_usize..80, 0_usize..40, values, any::<u64>()).prop_map(
        |(rows, inputs, outputs, gap, values, seed)| {
            (Shape { rows, inputs, outputs, stride: inputs + gap }, values, seed)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: rounds(400) as u32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_dense((shape, values, seed) in shapes()) {
        let (groups, rng) = (groups(), &mut Rng::new(seed));
        let mut tally = Tally::quiet("dense forward");
        dense::check::<f32>(&mut tally, &groups, rng, shape, values);
        dense::check::<u16>(&mut tally, &groups, rng, shape, values);
        tally.finish();
    }

    #[test]
    fn any_dense_gradient((shape, values, seed) in shapes()) {
        let (groups, rng) = (groups(), &mut Rng::new(seed));
        let mut tally = Tally::quiet("dense gradients");
        // Rows and inputs change places: the sum over rows is the long one here.
        let turned = Shape { rows: shape.inputs, inputs: shape.rows, outputs: shape.outputs, stride: shape.rows + 3 };
        gradients::check_weights(&mut tally, &groups, rng, turned, values);
        gradients::check_input(&mut tally, &groups, rng, shape, values);
        tally.finish();
    }

    #[test]
    fn any_row_or_column((shape, values, seed) in shapes()) {
        let (groups, rng) = (groups(), &mut Rng::new(seed));
        let mut norm = batchnorm::tallies().map(|_| Tally::quiet("batch norm"));
        let width = shape.outputs.next_multiple_of(16);
        batchnorm::check(&mut norm, &groups, rng, (shape.inputs + 1, width), values);
        norm.into_iter().for_each(Tally::finish);
        let mut rows = softmax::tallies().map(|_| Tally::quiet("softmax"));
        softmax::check(&mut rows, &groups, rng, (shape.rows, shape.inputs), values);
        rows.into_iter().for_each(Tally::finish);
        let mut elements = elementwise::tallies().map(|_| Tally::quiet("activations"));
        let kind = rng.pick(&elementwise::ALL);
        elementwise::check(&mut elements, &groups, rng, (kind, shape.inputs * 3), values);
        elements.into_iter().for_each(Tally::finish);
    }
}

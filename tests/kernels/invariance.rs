//! What must change nothing: the batch a row is in, the number of threads, the order in which they work.

use crate::common::layout::group;
use crate::common::reference::{Stored, pack};
use crate::common::threads::{Threads, ways};
use crate::common::values::{Rng, Values};
use crate::common::{Tally, levels, rounds};
use crate::dense::forward;
use evenkeel::Level;
use evenkeel::kernels::groups::Rows;
use evenkeel::kernels::{activation, batchnorm, dense, softmax};
use evenkeel::layer::padded;
use evenkeel::split::{Serial, Split};

/// A random shape, mostly cheap; each dimension now and then at its extreme.
fn shape(rng: &mut Rng) -> (usize, usize, usize) {
    let inputs = match rng.below(100) {
        0 => 10_000,
        1..=3 => 1,
        4..=8 => 1 + rng.below(3000),
        9..=20 => rng.pick(&[255, 256, 257, 511, 512, 513]),
        _ => 1 + rng.below(200),
    };
    let outputs = match rng.below(100) {
        0 if inputs < 1000 => 2048,
        1..=5 => 1,
        6..=10 if inputs < 1000 => 1 + rng.below(300),
        _ => 1 + rng.below(70),
    };
    (2 + rng.below(if inputs * outputs > 100_000 { 4 } else { 20 }), inputs, outputs)
}

fn row_alone<W: Stored>(
    tally: &mut Tally,
    levels: &[Level],
    rng: &mut Rng,
    (rows, inputs, outputs): (usize, usize, usize),
) {
    let x = Values::Hard.vec(rng, rows * inputs);
    let weights = pack((inputs, outputs), &Values::Plain.stored::<W>(rng, inputs * outputs));
    let mut bias = vec![0.0; padded(outputs)];
    bias[..outputs].fill_with(|| rng.unit());
    let operands = dense::Dense { inputs, outputs, weights: &weights, bias: Some(&bias) };
    let width = padded(outputs);
    // All levels in turn, not each of them on each shape.
    let level = rng.pick(levels);
    let all = Rows::plain(&x, rows, inputs, inputs).expect("as many values");
    let batch = forward(level, &Serial, operands, all, "grouped");
    for row in [0, rng.below(rows), rows - 1] {
        let x = Rows::plain(&x[row * inputs..], 1, inputs, inputs).expect("as many values");
        let alone = forward(level, &Serial, operands, x, "grouped");
        let size = || format!("row {row} of {rows}, {inputs} to {outputs}, {}", W::NAME);
        tally.compare(level, size, &alone, &batch[row * width..][..width]);
    }
}

#[test]
fn row_alone_is_row_in_batch() {
    let (levels, rng, mut tally) = (levels(), &mut Rng::new(61), Tally::new("a row alone and in a batch"));
    let shapes = rounds(10_000);
    for index in 0..shapes {
        let shape = match index {
            0 => (3, 1, 1),
            1 => (3, 10_000, 1),
            2 => (3, 1, 2048),
            3 => (2, 10_000, 2048),
            _ => shape(rng),
        };
        match rng.below(4) {
            0 => row_alone::<u16>(&mut tally, &levels, rng, shape),
            _ => row_alone::<f32>(&mut tally, &levels, rng, shape),
        }
    }
    println!("{shapes} random shapes");
    tally.finish();
}

/// Every divided kernel once: all outputs, one after the other.
fn everything(level: Level, split: &impl Split, rows: usize, inputs: usize, outputs: usize) -> Vec<Vec<f32>> {
    let rng = &mut Rng::new((rows * 31 + inputs * 17 + outputs) as u64);
    let values = Values::Hard;
    let (x, width) = (group(inputs, &values.padded_rows(rng, rows, inputs)), padded(outputs));
    let weights = pack((inputs, outputs), &values.vec(rng, inputs * outputs));
    let dy = group(outputs, &values.padded_rows(rng, rows, outputs));
    let [gamma, beta] = [0, 1].map(|_| values.vec(rng, width));
    let operands = dense::Dense { inputs, outputs, weights: &weights, bias: None };

    let mut y = vec![f32::NAN; rows * width];
    let grouped = Rows::grouped(&x, rows, inputs).expect("rows");
    dense::forward(level, split, operands, grouped, &mut y).expect("forward");
    // The same memory as rows of another batch.
    let plain = Rows::plain(&x, rows, inputs, padded(inputs)).expect("rows");
    let outputs_of = [(grouped, "plain"), (plain, "plain"), (plain, "grouped")];
    let [same, wide, turned_wide] = outputs_of.map(|(x, into)| forward(level, split, operands, x, into));
    let mut dw = vec![f32::NAN; weights.len()];
    dense::weight_gradient(level, split, (inputs, outputs), rows, &x, &dy, &mut dw).expect("weights");
    let mut db = vec![f32::NAN; width];
    dense::bias_gradient(level, split, rows, &dy, &mut db).expect("bias");
    let (mut turned, mut dx) = (vec![f32::NAN; padded(inputs) * outputs], vec![f32::NAN; rows * padded(inputs)]);
    dense::input_gradient(level, split, (inputs, outputs), &weights, rows, &dy, &mut turned, &mut dx).expect("input");

    let mut cache = vec![0.0; batchnorm::cache_len(width)];
    let (mut dgamma, mut dbeta, mut normal) = (vec![0.0; width], vec![0.0; width], vec![0.0; y.len()]);
    let mut through = dy.clone();
    if rows > 1 {
        batchnorm::statistics(level, split, rows, 1e-5, &y, &mut cache).expect("statistics");
        batchnorm::normalize(level, split, rows, &cache, &gamma, &beta, &y, &mut normal).expect("normalize");
        batchnorm::backward(level, split, rows, &cache, &gamma, &y, &mut through, &mut dgamma, &mut dbeta)
            .expect("backward");
    }
    let mut active = y.clone();
    activation::forward(level, split, super::elementwise::ALL[5], &mut active);
    let mut slope = dy.clone();
    activation::backward(level, split, super::elementwise::ALL[5], &y, &mut slope).expect("activation");
    let mut probability = y.clone();
    softmax::softmax(level, outputs, rows, &mut probability).expect("softmax");
    vec![y, same, wide, turned_wide, dw, db, dx, cache, normal, through, dgamma, dbeta, active, slope, probability]
}

/// Shapes with one and many tasks, the last of them short or narrow.
const DIVIDED: [(usize, usize, usize); 8] =
    [(1, 300, 700), (1, 17, 5), (2, 9, 33), (7, 40, 49), (64, 257, 130), (97, 16, 16), (260, 30, 100), (700, 12, 77)];

fn compare_all(tally: &mut Tally, name: &str, split: &impl Split) {
    for (rows, inputs, outputs) in &DIVIDED[..if crate::common::emulated() { 5 } else { 8 }] {
        let level = Level::detect();
        let expected = everything(level, &Serial, *rows, *inputs, *outputs);
        let found = everything(level, split, *rows, *inputs, *outputs);
        for (part, (found, expected)) in found.iter().zip(&expected).enumerate() {
            let size = || format!("{name}, {rows} rows, {inputs} to {outputs}, result {part}");
            tally.compare(level, size, found, expected);
        }
    }
}

#[test]
fn threads_change_nothing() {
    let mut tally = Tally::new("any number of workers in any order");
    let ways = ways();
    for way in &ways {
        compare_all(&mut tally, &format!("{way:?}"), way);
    }
    println!("{} ways to divide", ways.len());
    tally.finish();
}

#[cfg(feature = "rayon")]
#[test]
fn pools_change_nothing() {
    use evenkeel::host::pool::{Global, Pool};
    let mut tally = Tally::new("rayon, the global pool and those of 1 to 8 threads");
    compare_all(&mut tally, "global", &Global);
    for threads in [1, 2, 3, 5, 8] {
        let pool = Pool::new(threads).expect("threads can be started");
        compare_all(&mut tally, &format!("pool of {threads}"), &pool);
        // From a thread of the pool, and from one of another pool.
        pool.enter(|| compare_all(&mut tally, &format!("inside a pool of {threads}"), &Global));
        pool.enter(|| compare_all(&mut tally, &format!("one pool inside another, {threads}"), &pool));
    }
    tally.finish();
}

/// The test's own way of dividing, tested: each chunk once, with its own number.
#[test]
fn each_chunk_once() {
    for way in ways() {
        let (mut a, mut b) = (vec![0.0; 100], vec![0.0; 34]);
        way.run([&mut a, &mut b], [7, 2], &|index, [a, b]| {
            a.iter_mut().chain(b).for_each(|value| *value += (index + 1) as f32);
        });
        assert!(a.iter().enumerate().all(|(at, value)| *value == (at / 7 + 1) as f32), "{way:?}");
        // Fifteen chunks of the first, so the sixteenth and seventeenth of the second are surplus.
        assert!(b[..30].iter().enumerate().all(|(at, value)| *value == (at / 2 + 1) as f32), "{way:?}");
        assert!(b[30..].iter().all(|value| *value == 0.0), "{way:?}");
    }
    let one = Threads { workers: 1, order: crate::common::threads::Order::Ascending, parallel: false };
    one.run([&mut []], [4], &|_, _| panic!("nothing has no chunks"));
}

//! Running an image.

use evenkeel::Level;
use evenkeel::error::Error;
use evenkeel::export::{Options, Precision, Precisions};
use evenkeel::image::Image;
use evenkeel::infer::Net;
use evenkeel::layer::{Activation, BatchNorm, Layer};
use evenkeel::split::{Serial, Split};

use crate::model::{Model, Random, run, run_with, small, varied};

/// Several workers, and tasks in the wrong order.
struct Backwards(usize);

impl Split for Backwards {
    fn workers(&self) -> usize {
        self.0
    }

    fn run<const N: usize>(
        &self,
        outputs: [&mut [f32]; N],
        chunk: [usize; N],
        task: &(impl Fn(usize, [&mut [f32]; N]) + Sync),
    ) {
        let mut parts: Vec<_> = outputs.into_iter().zip(chunk).map(|(slice, chunk)| slice.chunks_mut(chunk)).collect();
        let mut tasks = Vec::new();
        loop {
            let next: Vec<_> = parts.iter_mut().filter_map(Iterator::next).collect();
            let Ok(next) = <[&mut [f32]; N]>::try_from(next) else { break };
            tasks.push(next);
        }
        for (index, slices) in tasks.into_iter().enumerate().rev() {
            task(index, slices);
        }
    }
}

/// Rows alone, together, in scratch of any size, on any number of workers: the same bits, on exact levels all the same.
#[test]
fn company_changes_no_bit() {
    let model = varied();
    let mut random = Random(5);
    let input: Vec<f32> = (0..203 * 19).map(|_| random.normal() as f32).collect();
    let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect::<Vec<_>>();
    let mut compared = 0;
    for precision in [Precision::F32, Precision::F16] {
        let options = Options { precision: Precisions::All(precision), ..Options::default() };
        let (bytes, _) = model.export(&options).unwrap();
        let net = Net::new(Image::new(&bytes).unwrap());
        let mut exact = None;
        for level in Level::available() {
            let alone: Vec<f32> = input.chunks(19).flat_map(|row| run_with(level, &Serial, &net, 1, row)).collect();
            assert!(alone.iter().all(|value| value.is_finite()));
            let alone = bits(alone);
            for rows in [1, 2, 3, 8, 64, 203, 500] {
                assert_eq!(bits(run_with(level, &Serial, &net, rows, &input)), alone, "{level}, {rows} rows");
                assert_eq!(bits(run_with(level, &Backwards(3), &net, rows, &input)), alone, "{level}, {rows} rows");
                compared += 2;
            }
            if level.is_exact() {
                assert_eq!(exact.get_or_insert_with(|| alone.clone()), &alone, "{level}");
            }
        }
    }
    println!("{compared} runs of 203 rows, each with the bits of the rows alone");
}

/// Random inputs for a number of rows, and what each row gives alone.
fn alone(level: Level, net: &Net<'_>, rows: usize) -> (Vec<f32>, Vec<u32>) {
    let mut random = Random(rows as u64);
    let input: Vec<f32> = (0..rows * net.inputs()).map(|_| random.normal() as f32).collect();
    let output = input.chunks(net.inputs()).flat_map(|row| run_with(level, &Serial, net, 1, row));
    let output: Vec<u32> = output.map(f32::to_bits).collect();
    assert!(output.iter().all(|value| f32::from_bits(*value).is_finite()));
    (input, output)
}

/// Any number of rows with scratch of any length and any number of workers against the rows alone.
fn shared(level: Level, net: &Net<'_>, (input, alone): &(Vec<f32>, Vec<u32>), rows: usize, parts: &[usize]) -> usize {
    let one = net.scratch_len(1);
    let (input, alone) = (&input[..rows * net.inputs()], &alone[..rows * net.outputs()]);
    let mut compared = 0;
    for workers in [1, 2, 3, 8] {
        for scratch in parts.iter().flat_map(|part| [part * one, part * one + 1, (part + 1) * one - 1]) {
            let (mut output, mut scratch) = (vec![f32::NAN; alone.len()], vec![f32::NAN; scratch]);
            net.infer(level, &Backwards(workers), input, &mut output, &mut scratch).unwrap();
            let same = output.iter().zip(alone).all(|(found, alone)| found.to_bits() == *alone);
            assert!(same, "{level}, {rows} rows, {workers} workers, {} values of scratch", scratch.len());
            compared += 1;
        }
    }
    compared
}

/// Enough work that tasks share the rows, each with its part of the scratch; first with a dense layer, which reads the
/// caller's rows, then with one that is not.
#[test]
fn shared_rows_change_no_bit() {
    let mut random = Random(21);
    let some_rows: Vec<Vec<f64>> = (0..8).map(|_| (0..45).map(|_| random.normal()).collect()).collect();
    let dense = vec![
        Layer::dense(200),
        Layer::Activation(Activation::Gelu),
        Layer::dense(173),
        Layer::Activation(Activation::Relu),
        Layer::BatchNorm(BatchNorm::TORCH),
        Layer::dense(9),
        Layer::LogSoftmax,
    ];
    let first = [Layer::Activation(Activation::Tanh), Layer::Softmax];
    let mut compared = 0;
    for layers in [dense.clone(), first.into_iter().chain(dense).collect()] {
        let model = Model::random(&mut random, 45, layers, &some_rows);
        for precision in [Precision::F32, Precision::F16] {
            let options = Options { precision: Precisions::All(precision), ..Options::default() };
            let (bytes, _) = model.export(&options).unwrap();
            let net = Net::new(Image::new(&bytes).unwrap());
            for level in Level::available() {
                let alone = alone(level, &net, 300);
                for rows in 1..=40 {
                    compared += shared(level, &net, &alone, rows, &[1 + rows % 7]);
                }
                compared += shared(level, &net, &alone, 97, &[1, 2, 7, 40]);
                compared += shared(level, &net, &alone, 300, &[3, 300]);
            }
        }
    }
    println!("{compared} runs of 1 to 300 rows, each with the bits of the rows alone");
}

/// Weights beyond the caches: the workers divide the layers instead, in chunks of 256 rows.
#[test]
fn large_weights_change_no_bit() {
    let mut random = Random(22);
    let layers = vec![Layer::dense(1450), Layer::Activation(Activation::Relu), Layer::dense(1450), Layer::dense(3)];
    let some_rows: Vec<Vec<f64>> = (0..2).map(|_| (0..40).map(|_| random.normal()).collect()).collect();
    let model = Model::random(&mut random, 40, layers, &some_rows);
    let (bytes, _) = model.export(&Options::default()).unwrap();
    assert!(bytes.len() > 8 << 20);
    let net = Net::new(Image::new(&bytes).unwrap());
    let level = Level::detect();
    let alone = alone(level, &net, 300);
    let mut compared = 0;
    for (rows, parts) in [(1, &[1, 3][..]), (2, &[1, 2]), (33, &[9]), (300, &[300])] {
        compared += shared(level, &net, &alone, rows, parts);
    }
    println!("{compared} runs with {} MiB of weights", bytes.len() >> 20);
}

#[test]
fn buffers_of_wrong_length_are_refused_and_left_alone() {
    let (bytes, _) = small().export(&Options::default()).unwrap();
    let net = Net::new(Image::new(&bytes).unwrap());
    assert_eq!((net.inputs(), net.outputs(), net.scratch_len(1), net.scratch_len(3)), (3, 2, 32, 96));
    assert_eq!(net.scratch_len(usize::MAX), usize::MAX);
    let input = [0.5; 12];
    for (inputs, outputs, scratch, what) in [
        (0, 0, 32, "input"),
        (2, 2, 32, "input"),
        (4, 2, 32, "input"),
        (6, 2, 32, "output"),
        (6, 3, 32, "output"),
        (6, 5, 32, "output"),
        (6, 0, 32, "output"),
        (6, 4, 31, "scratch"),
        (6, 4, 0, "scratch"),
    ] {
        let (mut output, mut work) = ([7.0; 8], [7.0; 32]);
        let (y, s) = (&mut output[..outputs], &mut work[..scratch]);
        let error = net.infer(Level::detect(), &Serial, &input[..inputs], y, s).unwrap_err();
        assert!(matches!(error, Error::Length { what: found, .. } if found == what), "{inputs} {outputs}: {error}");
        assert!(output.iter().chain(&work).all(|value| *value == 7.0));
    }
    // Scratch of exactly one row does for four, at any address of a float.
    let mut work = [0.0; 35];
    for offset in 0..4 {
        let mut output = [f32::NAN; 8];
        net.infer(Level::detect(), &Serial, &input, &mut output, &mut work[offset..][..32]).unwrap();
        assert!(output.iter().all(|value| value.is_finite()));
    }
}

/// Nothing but dropout is the identity: no operation, and the rows pass.
#[test]
fn dropout_alone_is_nothing() {
    let model = Model::zeroed(3, vec![Layer::Dropout { rate: 0.5 }]);
    let (bytes, _) = model.export(&Options::default()).unwrap();
    let net = Net::new(Image::new(&bytes).unwrap());
    assert_eq!(net.image().ops().len(), 0);
    assert_eq!(run(&net, 1, &[1.0, -0.0, 3.0, f32::MAX, 5.0, 6.0]), [1.0, -0.0, 3.0, f32::MAX, 5.0, 6.0]);
}

//! Random words, random numbers, and dropout, which is made of them.

use std::hint::black_box;

use evenkeel::Level;
use evenkeel::kernels::dropout::{self as kernel, Rate};
use evenkeel::memory::Buffer;
use evenkeel::rng::{self, Purpose, Stream, fill_u32, fill_unit};
use evenkeel::split::Split;
use peers_common::{Case, Rng, Value, json};

use crate::Bench;

/// Values of a task, as in a training step: 64 KiB.
const TASK: usize = 1 << 14;

const STREAM: Stream = Stream::new(7, Purpose::Dropout, 3, 11);

/// How many values differ from their definition, which gives them one at a time.
fn differing(case: &Case, wrong: usize) -> Value {
    if wrong > 0 {
        eprintln!("WRONG RESULT {}: {wrong} values", case.id);
    }
    json!({"max_err": if wrong == 0 { 0.0 } else { 1.0 }})
}

/// Inverted dropout from `x` to `y`. There is no mask to write: the backward pass draws it again.
pub fn dropout<P: Split>(bench: &Bench<'_, P>, case: &Case, len: usize) {
    let x = Buffer::from(&Rng(5).vec(len)[..]);
    let mut y = Buffer::zeros(len);
    let rate = Rate::new(0.5).expect("a probability");
    let mut step = 0;
    let mut call = |y: &mut [f32]| {
        let stream = STREAM.at_step(step);
        step += 1;
        let x = &black_box(&x)[..];
        bench.split.run([&mut *y], [TASK], &|task, [y]| {
            let first = task * TASK;
            kernel::dropout_to(bench.level, &x[first..][..y.len()], y, rate, stream, first as u64).expect("equal lengths");
        });
        black_box(y);
    };
    call(&mut y);
    let want = |(i, x): (usize, &f32)| {
        if u64::from(STREAM.at_step(0).word(i as u64)) < rate.threshold() { 2.0 * x } else { 0.0 }
    };
    let wrong = x.iter().enumerate().map(want).zip(y.iter()).filter(|(want, got)| want != *got).count();
    let result = differing(case, wrong);
    bench.measure(case, "", result.clone(), || call(&mut y));
    // As a training step does it. The values grow or vanish over the calls, which does not change the work.
    let mut step = 0;
    bench.measure(case, "(in place)", result, || {
        step += 1;
        let stream = STREAM.at_step(step);
        bench.split.run([&mut y[..]], [TASK], &|task, [y]| {
            kernel::dropout(bench.level, y, rate, stream, (task * TASK) as u64);
        });
        black_box(&mut y[..]);
    });
}

/// Random words.
pub fn philox_u32<P: Split>(bench: &Bench<'_, P>, case: &Case, len: usize) {
    fill(
        bench,
        case,
        len,
        |level, first, out| fill_u32(level, STREAM, first, bytemuck::cast_slice_mut(out)),
        |word| word,
    );
}

/// Random numbers in [0, 1).
pub fn uniform_f32<P: Split>(bench: &Bench<'_, P>, case: &Case, len: usize) {
    fill(bench, case, len, |level, first, out| fill_unit(level, STREAM, first, out), |word| rng::unit(word).to_bits());
}

fn fill<P: Split>(
    bench: &Bench<'_, P>,
    case: &Case,
    len: usize,
    task: impl Fn(Level, u64, &mut [f32]) + Sync,
    want: impl Fn(u32) -> u32,
) {
    let mut out = Buffer::zeros(len);
    let call = |out: &mut [f32]| {
        bench.split.run([&mut *out], [TASK], &|index, [out]| task(bench.level, (index * TASK) as u64, out));
        black_box(out);
    };
    call(&mut out);
    let wrong = out.iter().enumerate().filter(|(i, got)| got.to_bits() != want(STREAM.word(*i as u64))).count();
    bench.measure(case, "", differing(case, wrong), || call(&mut out));
}

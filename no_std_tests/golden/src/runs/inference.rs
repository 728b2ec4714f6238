//! Images: each row alone, then all together, which must not make a difference.

use evenkeel::{
    Error, Level, Net, Serial,
    rng::{Purpose, Stream, unit},
};

use super::{Memory, Sink, Stage};

const ROWS: usize = 2;
/// The widest input among the images, and the widest row padded to sixteen.
const WIDEST: (usize, usize) = (300, 304);
const OUTPUTS: usize = 16;
/// Inputs, outputs, and scratch for all rows at once.
pub(super) const MEMORY: usize = ROWS * (WIDEST.0 + OUTPUTS + 2 * WIDEST.1);

pub(super) fn run(
    level: Level,
    name: &str,
    net: &Net<'_>,
    memory: &mut [f32],
    sink: &mut dyn Sink,
) -> Result<(), Error> {
    let mut memory = Memory(memory);
    let inputs = memory.take(ROWS * net.inputs())?;
    let outputs = memory.take(ROWS * net.outputs())?;
    let scratch = memory.take(net.scratch_len(ROWS))?;
    let words = Stream::new(20_261_123, Purpose::Init, 1, 0);
    // Multiples of 2^-22 between -2 and 2: no operation here rounds.
    inputs.iter_mut().zip(0..).for_each(|(x, at)| *x = 4.0 * unit(words.word(at)) - 2.0);
    for row in 0..ROWS {
        let (one, all) = (net.scratch_len(1), (net.inputs(), net.outputs()));
        let (input, output) = (&inputs[row * all.0..][..all.0], &mut outputs[row * all.1..][..all.1]);
        net.infer(level, &Serial, input, output, &mut scratch[..one])?;
    }
    sink.floats(Stage::Inference, name, "row by row", outputs);
    net.infer(level, &Serial, inputs, outputs, scratch)?;
    sink.floats(Stage::Inference, name, "all rows", outputs);
    Ok(())
}

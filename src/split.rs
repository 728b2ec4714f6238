//! How work is divided among threads: one trait, its serial form here, rayon's in `host::pool`.
//!
//! A task owns a fixed-size chunk of each output slice. Which tasks there are follows from the shape alone, no task
//! reads what another writes, and nothing is summed across tasks: so the result cannot depend on the threads.

/// Divides output slices into chunks and runs a task on each.
pub trait Split: Sync {
    /// How many workers may run at once (0 counts as 1): kernels use it to choose a chunk, never a result.
    fn workers(&self) -> usize;

    /// Calls `task(i, [chunk i of each slice])` for every chunk, in any order, perhaps at once.
    ///
    /// Chunk `i` of slice `s` is `outputs[s][i * chunk[s]..][..chunk[s]]`, shorter at the end. All slices must have
    /// the same number of chunks, and every `chunk` be at least 1; surplus chunks are left alone.
    fn run<const N: usize>(
        &self,
        outputs: [&mut [f32]; N],
        chunk: [usize; N],
        task: &(impl Fn(usize, [&mut [f32]; N]) + Sync),
    );
}

/// Everything on the calling thread.
#[derive(Clone, Copy, Debug, Default)]
pub struct Serial;

impl Split for Serial {
    fn workers(&self) -> usize {
        1
    }

    fn run<const N: usize>(
        &self,
        outputs: [&mut [f32]; N],
        chunk: [usize; N],
        task: &(impl Fn(usize, [&mut [f32]; N]) + Sync),
    ) {
        let mut rest = outputs;
        for index in 0.. {
            if rest.iter().any(|slice| slice.is_empty()) {
                return;
            }
            let (head, tail) = split_each(rest, chunk);
            rest = tail;
            task(index, head);
        }
    }
}

/// Cuts each slice after `at` values (or at its end).
pub(crate) fn split_each<const N: usize>(
    slices: [&mut [f32]; N],
    at: [usize; N],
) -> ([&mut [f32]; N], [&mut [f32]; N]) {
    let mut heads: [&mut [f32]; N] = core::array::from_fn(|_| Default::default());
    let mut tails: [&mut [f32]; N] = core::array::from_fn(|_| Default::default());
    for (index, slice) in slices.into_iter().enumerate() {
        let at = at[index].max(1).min(slice.len());
        (heads[index], tails[index]) = slice.split_at_mut(at);
    }
    (heads, tails)
}

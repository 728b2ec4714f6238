//! Threads, by rayon.

use crate::split::{Split, split_each};

/// rayon's global pool: `RAYON_NUM_THREADS` sets its size.
#[derive(Clone, Copy, Debug, Default)]
pub struct Global;

impl Split for Global {
    fn workers(&self) -> usize {
        rayon::current_num_threads()
    }

    fn run<const N: usize>(
        &self,
        outputs: [&mut [f32]; N],
        chunk: [usize; N],
        task: &(impl Fn(usize, [&mut [f32]; N]) + Sync),
    ) {
        halve(0, outputs, chunk, task);
    }
}

/// Runs both halves of the chunks at once, down to single chunks.
fn halve<const N: usize>(
    first: usize,
    outputs: [&mut [f32]; N],
    chunk: [usize; N],
    task: &(impl Fn(usize, [&mut [f32]; N]) + Sync),
) {
    let chunks = outputs.iter().zip(chunk).map(|(slice, chunk)| slice.len().div_ceil(chunk.max(1))).min().unwrap_or(0);
    match chunks {
        0 => {}
        // Without the surplus that a slice with more chunks than another would have.
        1 => task(first, split_each(outputs, chunk).0),
        _ => {
            let middle = chunks / 2;
            let (low, high) = split_each(outputs, chunk.map(|chunk| middle * chunk.max(1)));
            rayon::join(|| halve(first, low, chunk, task), || halve(first + middle, high, chunk, task));
        }
    }
}

/// A pool of its own with a given number of threads.
#[derive(Debug)]
pub struct Pool {
    pool: rayon::ThreadPool,
}

impl Pool {
    /// Starts `threads` threads; 0 takes one for each core.
    ///
    /// # Errors
    /// If the system refuses to start them.
    pub fn new(threads: usize) -> Result<Self, std::io::Error> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().map_err(std::io::Error::other)?;
        Ok(Self { pool })
    }

    /// Runs `work` on a thread of the pool: kernels inside hand out tasks without waking it first.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.pool.install(work)
    }
}

impl Split for Pool {
    fn workers(&self) -> usize {
        self.pool.current_num_threads()
    }

    fn run<const N: usize>(
        &self,
        outputs: [&mut [f32]; N],
        chunk: [usize; N],
        task: &(impl Fn(usize, [&mut [f32]; N]) + Sync),
    ) {
        self.pool.install(|| halve(0, outputs, chunk, task));
    }
}

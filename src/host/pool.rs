//! Threads, by rayon.
//!
//! rayon's threads sleep soon after they have found no work, and waking one takes as long as a small layer. A step is a
//! row of short pieces of work, so threads look for the next piece a little longer before they sleep.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

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

/// Chunks that all of the slices have.
fn chunks<const N: usize>(outputs: &[&mut [f32]; N], chunk: [usize; N]) -> usize {
    outputs.iter().zip(chunk).map(|(slice, chunk)| slice.len().div_ceil(chunk.max(1))).min().unwrap_or(0)
}

/// Runs both halves of the chunks at once, down to single chunks.
fn halve<const N: usize>(
    first: usize,
    outputs: [&mut [f32]; N],
    chunk: [usize; N],
    task: &(impl Fn(usize, [&mut [f32]; N]) + Sync),
) {
    let chunks = chunks(&outputs, chunk);
    match chunks {
        0 => {}
        // Without the surplus that a slice with more chunks than another would have.
        1 => task(first, split_each(outputs, chunk).0),
        _ => {
            let middle = chunks / 2;
            let (low, high) = split_each(outputs, chunk.map(|chunk| middle * chunk.max(1)));
            let done = AtomicBool::new(false);
            rayon::join(
                || {
                    halve(first, low, chunk, task);
                    look_for_work(|| done.load(Ordering::Acquire));
                },
                || {
                    halve(first + middle, high, chunk, task);
                    done.store(true, Ordering::Release);
                },
            );
        }
    }
}

/// How long a thread without work looks for some: longer than the serial parts of a step.
const PATIENCE: Duration = Duration::from_micros(100);

/// Does what there is to do in this thread's pool, until `enough` says so or there has been nothing for a while.
fn look_for_work(enough: impl Fn() -> bool) {
    let mut idle_since = None;
    while !enough() {
        if let Some(rayon::Yield::Executed) = rayon::yield_now() {
            idle_since = None;
            continue;
        }
        let since: &mut Instant = idle_since.get_or_insert_with(Instant::now);
        if since.elapsed() > PATIENCE {
            return;
        }
        // Where there are more threads than cores, the others come first.
        std::thread::yield_now();
    }
}

/// A pool of its own with a given number of threads.
#[derive(Debug)]
pub struct Pool {
    pool: rayon::ThreadPool,
    /// Threads that look for work rather than sleep.
    awake: Arc<AtomicUsize>,
}

impl Pool {
    /// Starts `threads` threads; 0 takes one for each core.
    ///
    /// # Errors
    /// If the system refuses to start them.
    pub fn new(threads: usize) -> Result<Self, std::io::Error> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().map_err(std::io::Error::other)?;
        Ok(Self { pool, awake: Arc::default() })
    }

    /// Runs `work` on a thread of the pool: kernels inside hand out tasks without waking it first.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.pool.install(work)
    }

    /// Wakes all threads but this one, unless they are awake.
    fn wake(&self) {
        let (owner, others) = (self.pool.current_thread_index(), self.workers().saturating_sub(1));
        if others == 0 || self.awake.compare_exchange(0, others, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return;
        }
        let awake = Arc::clone(&self.awake);
        self.pool.spawn_broadcast(move |thread| {
            if Some(thread.index()) != owner {
                look_for_work(|| false);
                awake.fetch_sub(1, Ordering::Relaxed);
            }
        });
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
        self.pool.install(|| {
            if chunks(&outputs, chunk) > 1 {
                self.wake();
            }
            halve(0, outputs, chunk, task);
        });
    }
}

//! Ways to divide work that a pool would hardly take: every order and number of workers must give the same bits.

use evenkeel::split::Split;

/// In which order chunks are begun.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Order {
    Ascending,
    Reversed,
    /// Chunk `i * step mod n`: neighbours far apart in time.
    Strided,
}

/// Real threads, as many as it claims workers, each taking every `workers`-th chunk of the order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Threads {
    pub(crate) workers: usize,
    pub(crate) order: Order,
    /// Whether threads are started; otherwise the chunks run here, in the order asked for.
    pub(crate) parallel: bool,
}

impl Split for Threads {
    fn workers(&self) -> usize {
        self.workers
    }

    fn run<const N: usize>(
        &self,
        outputs: [&mut [f32]; N],
        chunk: [usize; N],
        task: &(impl Fn(usize, [&mut [f32]; N]) + Sync),
    ) {
        assert!(chunk.iter().all(|chunk| *chunk > 0), "a chunk of nothing");
        let mut lengths = chunk.into_iter();
        let mut slices = outputs.map(|slice| slice.chunks_mut(lengths.next().unwrap_or(1)));
        let mut tasks = Vec::new();
        loop {
            let chunks = slices.each_mut().map(Iterator::next);
            if chunks.iter().any(Option::is_none) {
                break;
            }
            tasks.push(Some((tasks.len(), chunks.map(Option::unwrap_or_default))));
        }
        let count = tasks.len();
        let mut shares: Vec<Vec<_>> = (0..self.workers).map(|_| Vec::new()).collect();
        for turn in 0..count {
            let index = match self.order {
                Order::Ascending => turn,
                Order::Reversed => count - 1 - turn,
                Order::Strided => turn * coprime(count) % count,
            };
            shares[turn % self.workers].push(tasks[index].take().expect("each chunk is taken once"));
        }
        let work = |share: Vec<(usize, [&mut [f32]; N])>| {
            for (index, chunks) in share {
                task(index, chunks);
            }
        };
        if self.parallel {
            std::thread::scope(|scope| {
                for share in shares {
                    scope.spawn(|| work(share));
                }
            });
        } else {
            shares.into_iter().rev().for_each(work);
        }
    }
}

/// A number near 0.6 `n` without common factor with it: its multiples visit all of 0..n.
fn coprime(n: usize) -> usize {
    fn gcd(a: usize, b: usize) -> usize {
        if b == 0 { a } else { gcd(b, a % b) }
    }
    (n * 3 / 5 + 1..).find(|step| gcd(*step, n) == 1).unwrap_or(1)
}

/// The ways that the tests try: 1 to 8 workers, odd orders, threads and none.
pub(crate) fn ways() -> Vec<Threads> {
    let mut ways = Vec::new();
    for workers in 1..=8 {
        for order in [Order::Ascending, Order::Reversed, Order::Strided] {
            for parallel in [false, true] {
                if !parallel || workers % 3 == 2 {
                    ways.push(Threads { workers, order, parallel });
                }
            }
        }
    }
    ways
}

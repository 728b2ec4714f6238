//! Threads: every chunk is done once, by however many threads, and a task that panics leaves the pool as it was.

#![cfg(feature = "rayon")]

use std::panic::{AssertUnwindSafe, catch_unwind};

use evenkeel::host::pool::Pool;
use evenkeel::split::Split;

/// Adds 1 to all of `values`, in chunks of `chunk`; the task `bad` panics.
fn count(split: &impl Split, values: &mut [f32], chunk: usize, bad: Option<usize>) {
    split.run([values], [chunk], &|task, [values]| {
        assert!(Some(task) != bad, "task {task}");
        values.iter_mut().for_each(|value| *value += 1.0);
    });
}

#[test]
fn every_chunk_once() {
    // More threads than cores in several pools at once, from inside and from outside.
    std::thread::scope(|scope| {
        for threads in [1, 2, 3, 4, 8] {
            scope.spawn(move || {
                let pool = Pool::new(threads).expect("threads can be started");
                let mut values = vec![0.0; 997];
                let mut runs = 0.0;
                for chunk in [1, 2, 10, 333, 498, 499, 996, 997, 5000] {
                    count(&pool, &mut values, chunk, None);
                    pool.enter(|| (0..20).for_each(|_| count(&pool, &mut values, chunk, None)));
                    runs += 21.0;
                }
                assert!(values.iter().all(|value| *value == runs), "{threads} threads");
            });
        }
    });
}

#[test]
fn a_panic_comes_out_and_the_pool_goes_on() {
    let pool = Pool::new(3).expect("threads can be started");
    for bad in 0..7 {
        let mut values = [0.0; 70];
        let inside = || pool.enter(|| count(&pool, &mut values, 10, Some(bad)));
        let message = catch_unwind(AssertUnwindSafe(inside)).expect_err("a task panics");
        assert_eq!(message.downcast_ref::<String>(), Some(&format!("task {bad}")));
        let mut values = [0.0; 70];
        count(&pool, &mut values, 10, None);
        assert_eq!(values, [1.0; 70]);
    }
}

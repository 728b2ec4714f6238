//! Nothing is allocated after planning.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use evenkeel::train::{Batch, Buffers, Clip, Moment, Rules, Session};
use evenkeel::{Level, Loss, Optimizer, Serial, Targets};

use crate::{bits, net, number};

/// The system's allocator, counting the calls of each thread (tests run on several).
struct Counting;

thread_local! {
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    CALLS.with(|calls| calls.set(calls.get() + 1));
}

// SAFETY: every method hands its arguments on to `System` unchanged; the counter is a plain thread-local value without a
// destructor and allocates nothing.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count();
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promise.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn steps_do_not_allocate() {
    const STEPS: u64 = 10_000;
    const ROWS: usize = 8;
    let mut model = net(6, "bn dense(17) bn relu dropout(0.2) dense(9) gelu dense(5) log_softmax dense(3)");
    let (layers, before) = (model.layers().to_vec(), bits(&model.params));
    let network = evenkeel::Network::new(6, &layers).unwrap();
    let plan = network.plan(ROWS);
    let inputs: Vec<f32> = (0..ROWS * 6).map(|i| number(1, i)).collect();
    let labels: Vec<u32> = (0..ROWS as u32).map(|row| row % 3).collect();
    let mut outputs = [0.0; ROWS * 3];
    for optimizer in [Optimizer::ADAM, Optimizer::SGD] {
        let mut gradients = vec![0.0; plan.params];
        let mut moments = vec![0.0; optimizer.moments() * plan.params];
        let mut work = vec![0.0; plan.work_len()];
        let buffers = Buffers {
            params: &mut model.params,
            state: &mut model.state,
            gradients: &mut gradients,
            moments: &mut moments,
            work: &mut work,
        };
        let level = Level::detect();
        let start = CALLS.with(Cell::get);
        let mut session = Session::new(network, ROWS, buffers, level, &Serial).unwrap();
        let mut rules = Rules::new(Loss::CrossEntropy, optimizer);
        rules.clip = Clip::Norm(1.0);
        let mut finite = true;
        for step in 0..STEPS {
            let batch = Batch { inputs: &inputs, targets: Targets::Classes(&labels), rows: ROWS };
            finite &= session.step(batch, &rules, Moment { seed: 1, step, lr: 1e-3 }).is_ok();
            if step % 100 == 0 {
                finite &= session.evaluate(batch, rules.loss).is_ok();
                finite &= session.predict(&inputs, ROWS, &mut outputs).is_ok();
            }
        }
        let calls = CALLS.with(Cell::get) - start;
        assert!(finite);
        assert_eq!(calls, 0, "calls of the allocator in {STEPS} steps");
        println!("{STEPS} steps, 100 evaluations and predictions with {optimizer:?}: {calls} calls of the allocator");
    }
    assert_ne!(before, bits(&model.params));
}

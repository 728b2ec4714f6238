//! Nothing is allocated after planning.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use evenkeel::export::refold::{read_tail, tail_layers};
use evenkeel::export::{Options, image_len, write_image};
use evenkeel::image::{AlignedBytes, ImageMut};
use evenkeel::plan::{Node, Scope};
use evenkeel::train::{Arrays, Batch, Buffers, Clip, Constraint, Keeper, Moment, Rules, Session};
use evenkeel::{Activation, EarlyStopping, Image, Layer, Level, Loss, Net, Network, Optimizer, Serial, Targets};

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
    const ROWS: usize = 8;
    let mut model = net(6, "bn dense(17) bn relu dropout(0.2) dense(9) gelu dense(5) log_softmax dense(3)");
    let (layers, before) = (model.layers().to_vec(), bits(&model.params));
    let network = evenkeel::Network::new(6, &layers).unwrap();
    let plan = network.plan(ROWS);
    let inputs: Vec<f32> = (0..ROWS * 6).map(|i| number(1, i)).collect();
    let labels: Vec<u32> = (0..ROWS as u32).map(|row| row % 3).collect();
    let mut outputs = [0.0; ROWS * 3];
    let others = [
        Optimizer::AMSGRAD,
        Optimizer::NADAM,
        Optimizer::ADAMAX,
        Optimizer::RMSPROP,
        Optimizer::ADAGRAD,
        Optimizer::ADADELTA,
        Optimizer::LION,
        Optimizer::LAMB,
        Optimizer::SCHEDULE_FREE,
    ];
    let all = [(Optimizer::ADAM, 100_000), (Optimizer::SGD, 100_000)].into_iter();
    for (optimizer, steps) in all.chain(others.map(|optimizer| (optimizer, 500))) {
        let mut gradients = vec![0.0; plan.params];
        let mut moments = vec![0.0; optimizer.moments_len(&plan)];
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
        if others.contains(&optimizer) && !optimizer.averages() {
            (rules.l1, rules.constraint) = (1e-4, Constraint::MaxNorm(2.0));
            rules.layer_rates = rules.layer_rates.with(1, 2, 0.5).unwrap();
        }
        let mut finite = true;
        for step in 0..steps {
            let batch = Batch { inputs: &inputs, targets: Targets::Classes(&labels), rows: ROWS };
            finite &= session.step(batch, &rules, Moment { seed: 1, step, lr: 1e-3 }).is_ok();
            if step % 100 == 0 {
                finite &= session.evaluate(batch, rules.loss).is_ok();
                finite &= session.predict(&inputs, ROWS, &mut outputs).is_ok();
            }
        }
        let calls = CALLS.with(Cell::get) - start;
        assert!(finite);
        assert_eq!(calls, 0, "calls of the allocator in {steps} steps");
        println!(
            "{steps} steps, {} evaluations and predictions with {optimizer:?}: {calls} calls of the allocator",
            steps / 100
        );
    }
    assert_ne!(before, bits(&model.params));
}

/// What a step of training needs at least, in values: parameters, gradients, moments and running statistics; for each row of the
/// batch, what the formulae of the backward pass read (inputs of dense layers, of batch norms, of GELU and SiLU, outputs of
/// sigmoid and tanh) and the gradient on its way from a layer's output to its input. Nothing is computed twice.
fn least(network: &Network<'_>, batch: usize, moments: usize) -> usize {
    let nodes: Vec<_> = network.nodes().collect();
    let (mut params, mut state, mut kept, mut gradient) = (0, 0, network.inputs(), 0);
    for (node, next) in nodes.iter().zip(nodes.iter().skip(1).map(Some).chain([None])) {
        let (inputs, outputs) = (node.inputs, node.outputs);
        let way = match node.layer {
            Layer::Dense { bias, .. } => {
                params += outputs * (inputs + usize::from(bias));
                if node.index > 0 { inputs + outputs } else { outputs }
            }
            Layer::BatchNorm(_) => {
                params += 2 * outputs;
                // Running ones, and those of the batch.
                state += 4 * outputs;
                outputs
            }
            _ => outputs,
        };
        gradient = way.max(gradient);
        let by_value = matches!(node.layer, Layer::Activation(Activation::Sigmoid | Activation::Tanh));
        let read = |next: &Node| {
            let reads_input = matches!(next.layer, Layer::Activation(Activation::Gelu | Activation::Silu));
            reads_input || matches!(next.layer, Layer::Dense { .. } | Layer::BatchNorm(_))
        };
        if by_value || next.is_none_or(read) {
            kept += outputs;
        }
    }
    params * (2 + moments) + state + batch * (kept + gradient)
}

/// The buffers of a step beside the least that one needs.
#[test]
fn memory_of_a_step_is_near_its_minimum() {
    for (inputs, text) in [
        (784, "dense(100) bn sigmoid dense(100) bn sigmoid dense(100) bn sigmoid dense(10)"),
        (784, "dense(512) bn relu dense(512) bn relu dense(10)"),
        (
            784,
            "dense(1024) bn relu dropout(0.5) dense(1024) bn relu dropout(0.5) dense(1024) bn relu dropout(0.5) dense(10)",
        ),
        (640, "dense(128) bn relu dense(128) bn relu dense(8) bn relu dense(128) bn relu dense(640)"),
    ] {
        let model = net(inputs, text);
        let layers = model.layers().to_vec();
        let network = Network::new(inputs, &layers).unwrap();
        for batch in [1, 64, 256] {
            let (plan, moments) = (network.plan(batch), Optimizer::ADAM.moments());
            let ours = plan.params + plan.state + plan.trained * (1 + moments) + plan.work_len();
            let least = least(&network, batch, moments);
            let [ours, least] = [ours, least].map(|values| values as f64 * 4.0 / 1024.0);
            println!("{inputs} {text}, batch {batch}: {ours:.0} KiB, at least {least:.0} KiB, {:.2}", ours / least);
            assert!(ours < 1.5 * least, "{text}: {ours} KiB where {least} would do");
        }
    }
}

/// Fine-tuning on a device: single rows accumulated, a batch in parts, the best weights kept, the image refolded.
#[test]
fn fine_tuning_does_not_allocate() {
    const ROWS: usize = 6;
    let model = net(6, "dense(17) bn relu dropout(0.2) dense(9) bn gelu dense(3)");
    let layers = model.layers().to_vec();
    let network = Network::new(6, &layers).unwrap();
    let inputs: Vec<f32> = (0..ROWS * 6).map(|i| number(1, i)).collect();
    let labels: Vec<u32> = (0..ROWS as u32).map(|row| row % 3).collect();
    let batch = Batch { inputs: &inputs, targets: Targets::Classes(&labels), rows: ROWS };
    let rules = Rules::new(Loss::CrossEntropy, Optimizer::ADAM);
    let options = Options::default();
    let mut bytes = AlignedBytes::zeroed(image_len(&network, &options).unwrap());
    for scope in [Scope::ALL, Scope::from_layer(4), Scope::last_dense(&network, 1)] {
        let plan = network.plan_in(scope, 2);
        let (mut params, mut state) = (model.params.clone(), model.state.clone());
        let (mut gradients, mut work) = (vec![0.0; plan.trained], vec![0.0; plan.work_len()]);
        let mut moments = vec![0.0; Optimizer::ADAM.moments_len(&plan)];
        let mut best = vec![0.0; plan.best_len()];
        // One step with batch statistics, so that the running ones are some.
        let mut first_gradients = vec![0.0; network.params_len()];
        let mut first_moments = vec![0.0; 2 * network.params_len()];
        let mut first_work = vec![0.0; network.plan(ROWS).work_len()];
        let buffers = Buffers {
            params: &mut params,
            state: &mut state,
            gradients: &mut first_gradients,
            moments: &mut first_moments,
            work: &mut first_work,
        };
        let mut session = Session::new(network, ROWS, buffers, Level::detect(), &Serial).unwrap();
        session.step(batch, &rules, Moment { seed: 1, step: 0, lr: 1e-3 }).unwrap();
        let buffers = Buffers {
            params: &mut params,
            state: &mut state,
            gradients: &mut gradients,
            moments: &mut moments,
            work: &mut work,
        };
        let start = CALLS.with(Cell::get);
        let mut session = Session::with_scope(network, scope, 2, buffers, Level::detect(), &Serial).unwrap();
        let mut keeper = Keeper::new(EarlyStopping::patience(1000), &mut best, session.plan()).unwrap();
        let mut sound = true;
        for step in 0..500 {
            let moment = Moment { seed: 1, step, lr: 1e-3 };
            let score = session.step_in_parts(batch, &rules, moment);
            sound &= score.is_ok_and(|score| keeper.observe(&session, score.loss).is_ok());
        }
        sound &= keeper.restore(&mut session) == Ok(true);
        let (params, state) = session.weights();
        sound &= write_image(&network, params, state, &options, &mut bytes, |_| {}).is_ok();
        let calls = CALLS.with(Cell::get) - start;
        assert!(sound);
        assert_eq!(calls, 0, "calls of the allocator with {scope:?}");
    }
    // The last layer of the image, from a stream of single rows; 17 features, 9 and 3.
    const TAIL: usize = 2;
    let mut copy = bytes.clone();
    let mut y = [0.0; 3];
    let mut scratch = [0.0; 2 * 32];
    const LAYERS: [evenkeel::Layer; 1] = [evenkeel::Layer::dense(3)];
    const NETWORK: Network<'_> = match Network::new(9, &LAYERS) {
        Ok(network) => network,
        Err(_) => panic!("no network"),
    };
    const PLAN: evenkeel::plan::Plan = NETWORK.plan(1);
    let start = CALLS.with(Cell::get);
    let image = Image::new(&bytes).unwrap();
    let front = Net::new(image.front(TAIL).unwrap());
    let mut arrays: evenkeel::arrays!(PLAN, Optimizer::ADAM) = Arrays::new();
    assert_eq!(tail_layers(&image, TAIL), Ok(LAYERS));
    read_tail(&image, TAIL, &NETWORK, &mut arrays.params).unwrap();
    let mut session = Session::new(NETWORK, 1, arrays.buffers(), Level::detect(), &Serial).unwrap();
    let mut features = [0.0; 9];
    for step in 0..500 {
        let moment = Moment { seed: 1, step, lr: 1e-3 };
        for (row, label) in inputs.chunks(6).zip(labels.chunks(1)) {
            front.infer(Level::detect(), &Serial, row, &mut features, &mut scratch).unwrap();
            let part = Batch { inputs: &features, targets: Targets::Classes(label), rows: 1 };
            session.accumulate(part, ROWS, Loss::CrossEntropy, moment).unwrap();
        }
        session.apply(&rules, moment).unwrap();
    }
    let mut copy = ImageMut::new(&mut copy).unwrap();
    copy.set_tail(TAIL, &NETWORK, session.weights().0).unwrap();
    Net::new(copy.image()).infer(Level::detect(), &Serial, &inputs[..6], &mut y, &mut scratch).unwrap();
    let calls = CALLS.with(Cell::get) - start;
    assert_eq!(calls, 0, "calls of the allocator while an image's tail trains");
    println!("fine-tuning of three scopes and of an image's tail: {calls} calls of the allocator");
}

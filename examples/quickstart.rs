use evenkeel::*;
fn main() {
    // two spirals-like synthetic for smoke
    let n = 2000usize;
    let f = 20usize;
    let mut x = vec![0f32; n * f];
    let mut y = vec![0u32; n];
    for i in 0..n {
        let c = (i % 4) as u32;
        y[i] = c;
        for j in 0..f {
            let w = evenkeel::rng::Stream::new(3, evenkeel::rng::Purpose::Init, 9, 0).word((i * f + j) as u64) as f32
                / 4294967296.0;
            x[i * f + j] = w * 2.0 + ((c as usize + j) % 4) as f32 * 0.3;
        }
    }
    let data = Dataset { inputs: x, features: f, labels: Labels::Classes(y) };
    let (a, b) = data.hold_out(0.2, 1, 0);
    let (tr, va) = (data.subset(&a), data.subset(&b));
    for level in Level::available() {
        let mut net = Mlp::input(f).dense(64).batch_norm().relu().dropout(0.2).dense(4).build().unwrap();
        net.init(Init::HeNormal, 1);
        let mut t = Trainer::new(Loss::CrossEntropy).epochs(30).early_stopping(EarlyStopping::patience(3));
        t.level = level;
        let start = std::time::Instant::now();
        let h = t.fit(&mut net, tr.view().unwrap(), Some(va.view().unwrap())).unwrap();
        let hash: u64 = net.params.iter().fold(0u64, |h, v| h.wrapping_mul(31).wrapping_add(v.to_bits() as u64));
        println!("{level} {:?} {:?} {:?} hash {hash:x}", h.epochs.last(), h.best_epoch, start.elapsed());
    }
}

//! The whole flow on one page: data, training with batch norm, dropout and early stopping, folding, running the image.
//!
//! `cargo run --release --example quickstart`

use std::error::Error;

use evenkeel::export::{Deviation, Options, Standardisation, export};
use evenkeel::model::Standardize;
use evenkeel::rng::{Stream, unit};
use evenkeel::train::loss::best;
use evenkeel::{Dataset, EarlyStopping, Image, Init, Labels, Level, Loss, Mlp, Net, Optimizer, Serial, Trainer, text};

const SAMPLES: usize = 32;
const SHAPES: [&str; 3] = ["sine", "square", "sawtooth"];

/// Noisy waves: what shape is it? Two periods in 32 samples, at any phase, by a sensor whose zero is off.
fn waves(rows: usize, seed: u64) -> Dataset {
    let stream = Stream { seed, stream: 0, step: 0 };
    let random = |row: usize, at: usize| unit(stream.word((row * 4 * SAMPLES + at) as u64));
    let mut inputs = Vec::new();
    for row in 0..rows {
        let phase = random(row, 4 * SAMPLES - 1);
        for at in 0..SAMPLES {
            let turn = (phase + at as f32 / 16.0).fract();
            let wave = match row % SHAPES.len() {
                0 => (std::f32::consts::TAU * turn).sin(),
                1 => 1.0_f32.copysign(0.5 - turn),
                _ => 2.0 * turn - 1.0,
            };
            let noise = random(row, 3 * at) + random(row, 3 * at + 1) + random(row, 3 * at + 2) - 1.5;
            inputs.push(200.0 + 10.0 * (wave + 0.8 * noise));
        }
    }
    Dataset { inputs, features: SAMPLES, labels: Labels::Classes((0..rows).map(|row| (row % 3) as u32).collect()) }
}

/// Trains until the validation loss has not improved for twenty epochs; ends with the best epoch's weights.
fn train(layers: &str, data: &Dataset, validation: &Dataset) -> Result<Mlp, Box<dyn Error>> {
    let mut net = Mlp::new(SAMPLES, text::parse(layers)?)?;
    net.init(Init::HeNormal, 1);
    net.standardize = Some(Standardize::learn(&data.inputs, SAMPLES));
    net.classes = SHAPES.map(String::from).into();
    let trainer = Trainer::new(Loss::CrossEntropy)
        .optimizer(Optimizer::ADAM, 2e-3)
        .epochs(200)
        .early_stopping(EarlyStopping::patience(20));
    let history = trainer.fit(&mut net, data.view()?, Some(validation.view()?))?;
    println!("{layers}\n  {} epochs, best {}", history.epochs.len(), history.best().map_or(0, |best| best.epoch + 1));
    Ok(net)
}

fn main() -> Result<(), Box<dyn Error>> {
    // Few rows to learn from: here generalisation must be worked for.
    let (data, test) = (waves(900, 1), waves(3000, 2));
    let (kept, held_out) = data.hold_out(0.3, 1, 0);
    let (training, validation) = (data.subset(&kept), data.subset(&held_out));
    let level = Level::detect();

    let mut net = None;
    for layers in [
        "dense(64) relu dense(64) relu dense(3)",
        "dense(64) bn relu dropout(0.4) dense(64) bn relu dropout(0.4) dense(3)",
    ] {
        let trained = train(layers, &training, &validation)?;
        // Running statistics and no dropout from here on, on all rows alike.
        let score = |rows: &Dataset| trained.score(level, &Serial, rows.view()?, Loss::CrossEntropy);
        let (train, validation, test) = (score(&training)?, score(&validation)?, score(&test)?);
        println!(
            "  loss {:.3} training, {:.3} validation: gap {:.3}; {:.1} % of the test rows right",
            train.mean_loss(),
            validation.mean_loss(),
            validation.mean_loss() - train.mean_loss(),
            100.0 * test.accuracy()
        );
        net = Some(trained);
    }

    // Fold batch norms and standardisation into the dense layers: what is left is three products.
    let net = net.ok_or("no network")?;
    let standardize = net.standardize.as_ref().ok_or("not standardised")?;
    let options = Options {
        standardisation: Some(Standardisation { mean: &standardize.mean, inv_std: &standardize.inv_std }),
        class_names: &SHAPES,
        ..Options::default()
    };
    let (bytes, report) = export(&net.network(), &net.params, &net.state, &options)?;
    println!("folded: {} bytes -> {} bytes", report.bytes_before, report.bytes_after);

    // From here on a microcontroller can follow: bytes, two buffers and a scratch, no heap.
    let image = Net::new(Image::new(&bytes)?);
    let mut scratch = vec![0.0; image.scratch_len(1)];
    let mut output = [0.0; SHAPES.len()];
    image.infer(level, &Serial, &test.inputs[..SAMPLES], &mut output, &mut scratch)?;
    println!("the first test row is a {}: {output:?}", image.image().class_name(best(&output)).unwrap_or("?"));

    // And the image says what the network said.
    let mut outputs = vec![0.0; 3 * test.rows()];
    image.infer(level, &Serial, &test.inputs, &mut outputs, &mut scratch)?;
    let unfolded = net.predict(level, &Serial, &test.inputs)?;
    let same = outputs.chunks(3).zip(unfolded.chunks(3)).filter(|(a, b)| best(a) == best(b)).count();
    let deviation = Deviation::between(&unfolded, &outputs)?;
    println!(
        "same shape as the unfolded network on {same} of {} rows, outputs within {:.1e}",
        test.rows(),
        deviation.max
    );
    Ok(())
}

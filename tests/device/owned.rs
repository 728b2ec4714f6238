//! The owned network trains by the same rules: a part of it, and batches in parts.

use evenkeel::fit::FitError;
use evenkeel::plan::Scope;
use evenkeel::{Dataset, EarlyStopping, Error, Init, Labels, Loss, Mlp, Trainer};

use crate::{bits, numbers};

fn data() -> Dataset {
    let inputs = numbers(70, 75 * 6);
    let labels = inputs.chunks(6).map(|x| u32::from(x[0] + x[2] > x[1]) + u32::from(x[3] > 0.5)).collect();
    Dataset { inputs, features: 6, labels: Labels::Classes(labels) }
}

fn net() -> Mlp {
    let mut net =
        Mlp::input(6).dense(19).batch_norm().relu().dropout(0.2).dense(9).batch_norm().relu().dense(3).build().unwrap();
    net.init(Init::HeNormal, 4);
    net
}

fn trainer() -> Trainer {
    Trainer::new(Loss::CrossEntropy).epochs(6).batch(32).early_stopping(EarlyStopping::patience(9))
}

#[test]
fn parts_change_no_bit() {
    let data = data();
    let (train, held_out) = data.hold_out(0.2, 1, 0);
    let (train, validation) = (data.subset(&train), data.subset(&held_out));
    let fit = |part| {
        let mut net = net();
        let trainer = Trainer { part, ..trainer() };
        let history = trainer.fit(&mut net, train.view().unwrap(), Some(validation.view().unwrap())).unwrap();
        (bits(&net.params), bits(&net.state), history)
    };
    let whole = fit(None);
    assert_ne!(whole.0, bits(&net().params));
    for part in [1, 5, 32, 100] {
        assert_eq!(fit(Some(part)), whole, "parts of {part}");
    }
    let zero = Trainer { part: Some(0), ..trainer() }.fit(&mut net(), train.view().unwrap(), None);
    assert!(matches!(zero, Err(FitError::Parameter { what }) if what.contains("at least one row")));
}

#[test]
fn frozen_layers_stay() {
    let data = data();
    let mut tuned = net();
    trainer().fit(&mut tuned, data.view().unwrap(), None).unwrap();
    let before = tuned.clone();
    trainer().from_layer(4).fit(&mut tuned, data.view().unwrap(), None).unwrap();
    let (params, state) = (tuned.network().node(4).weights.start, tuned.network().node(5).state.start);
    assert_eq!(bits(&tuned.params[..params]), bits(&before.params[..params]));
    assert_eq!(bits(&tuned.state[..state]), bits(&before.state[..state]));
    assert_ne!(bits(&tuned.params[params..]), bits(&before.params[params..]));
    assert_ne!(bits(&tuned.state[state..]), bits(&before.state[state..]));
    let running = Trainer { scope: Scope::from_layer(4).with_running_statistics(), batch: 1, ..trainer() };
    let before = tuned.clone();
    running.fit(&mut tuned, data.view().unwrap(), None).unwrap();
    assert_eq!(bits(&tuned.state), bits(&before.state));
    assert_ne!(bits(&tuned.params[params..]), bits(&before.params[params..]));
    let nothing = trainer().from_layer(8).fit(&mut tuned, data.view().unwrap(), None);
    assert_eq!(nothing, Err(FitError::Setup(Error::Scope { first: 8, layers: 8 })));
}

//! Every single changed byte of an image and of the checkpoints is noticed.

mod common;

use common::{Random, ok, refused, trained};
use evenkeel::Image;
use evenkeel::image::AlignedBytes;
use evenkeel::interchange::{note, resume, state_dict, tensors};

/// Changes each byte in nine ways and cuts the file at each length; `accepts` must never.
fn each_change(name: &str, bytes: &[u8], accepts: impl Fn(&[u8]) -> bool) {
    assert!(accepts(bytes), "{name} as it was written");
    let mut changed = bytes.to_vec();
    let mut count = 0;
    for at in 0..bytes.len() {
        for mask in [0xff, 1, 2, 4, 8, 16, 32, 64, 128] {
            changed[at] = bytes[at] ^ mask;
            assert!(!accepts(&changed), "{name}: byte {at} of {} changed by {mask:#x} goes unnoticed", bytes.len());
            count += 1;
        }
        changed[at] = bytes[at];
        assert!(!accepts(&bytes[..at]), "{name}: cut after {at} bytes of {}", bytes.len());
    }
    println!("{name}: {count} changes of single bytes and {} cuts, all refused", bytes.len());
}

#[test]
fn every_changed_byte_is_refused() {
    let dir = trained();
    let read = |name: &str| std::fs::read(dir.path().join("run").join(name)).unwrap();
    let (image, network, run) = (read("model.keel"), read("model.safetensors"), read("checkpoint.safetensors"));
    each_change("model.keel", &image, |bytes| Image::new(&AlignedBytes::from(bytes)).is_ok());
    each_change("model.safetensors", &network, |bytes| {
        let mut net = state_dict::read(&network).unwrap();
        state_dict::read(bytes).is_ok() || state_dict::load(&mut net, bytes).is_ok() || note(bytes).is_ok()
    });
    each_change("checkpoint.safetensors", &run, |bytes| resume::read(bytes).is_ok() || tensors(bytes).is_ok());
}

/// The same through the command, for a sample.
#[test]
fn the_command_refuses_them() {
    let dir = trained();
    let dir = dir.path();
    let mut random = Random(11);
    let mut count = 0;
    for name in ["model.keel", "model.safetensors", "checkpoint.safetensors"] {
        let bytes = std::fs::read(dir.join("run").join(name)).unwrap();
        let file = format!("changed-{name}");
        for _ in 0..12 {
            let mut changed = bytes.clone();
            changed[random.below(bytes.len())] ^= 1 << random.below(8);
            std::fs::write(dir.join(&file), &changed).unwrap();
            refused(dir, &["inspect", &file], 4, &file);
            refused(dir, &["predict", &file, "--data", "clouds.csv", "--out", "out.csv"], 4, &file);
            if name != "model.keel" {
                refused(dir, &["train", "--from", &file, "--data", "clouds.csv"], 4, &file);
                refused(dir, &["export", &file], 4, &file);
            }
            count += 1;
        }
    }
    println!("{count} changed files refused by the command");
    ok(dir, &["inspect", "run"]);
}

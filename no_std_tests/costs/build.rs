//! Writes the memory map of the emulated board, and the images of the networks that are measured.

use std::{env, error::Error, fs, path::PathBuf};

use evenkeel::export::{Options, Precision, Precisions, export};
use evenkeel::{Init, Mlp};

#[path = "../board/map.rs"]
mod map;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=../board/map.rs");
    println!("cargo::rustc-check-cfg=cfg(large)");
    let board = map::write().ok_or("costs are those of boards")?;
    if !matches!(board.as_str(), "microbit" | "mps3-an547") {
        println!("cargo::rustc-cfg=large");
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);

    // The anomaly detector of MLPerf Tiny, its batch norms folded.
    let widths = [128, 128, 128, 128, 8, 128, 128, 128, 128, 640];
    network(&out, "ad01", 640, &widths)?;
    network(&out, "digits", 64, &[64, 10])
}

/// Dense layers of some widths with ReLU between them, as `NAME-f32.keel` and `NAME-f16.keel`.
fn network(out: &std::path::Path, name: &str, inputs: usize, widths: &[usize]) -> Result<(), Box<dyn Error>> {
    let mut layers = Mlp::input(inputs).dense(widths[0]);
    for width in &widths[1..] {
        layers = layers.relu().dense(*width);
    }
    let mut net = layers.build()?;
    net.init(Init::HeNormal, 1);
    for (precision, suffix) in [(Precision::F32, "f32"), (Precision::F16, "f16")] {
        let options = Options { precision: Precisions::All(precision), ..Options::default() };
        let (bytes, _) = export(&net.network(), &net.params, &net.state, &options)?;
        fs::write(out.join(format!("{name}-{suffix}.keel")), &*bytes)?;
    }
    Ok(())
}

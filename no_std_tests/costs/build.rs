//! Writes the memory map of the emulated board, and the images of the networks that are measured.

use std::{env, error::Error, fs, path::PathBuf};

use evenkeel::export::{Options, Precision, Precisions, export};
use evenkeel::{Init, Mlp};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=BOARD");
    println!("cargo::rustc-check-cfg=cfg(large)");
    let target = env::var("TARGET")?;
    let default = match &target {
        t if t.starts_with("thumbv6m") => "microbit",
        t if t.starts_with("thumbv7em") => "mps2-an386",
        t if t.starts_with("thumbv8m") => "mps2-an505",
        t if t.starts_with("riscv32") => "virt",
        _ => return Err(format!("no board known for {target}").into()),
    };
    let board = env::var("BOARD").unwrap_or_else(|_| default.into());
    let map = match board.as_str() {
        "microbit" => arm("0x00000000", "256K", "0x20000000", "16K"),
        "mps2-an386" | "mps2-an500" => arm("0x00000000", "4M", "0x20000000", "4M"),
        "mps2-an505" => arm("0x10000000", "4M", "0x38000000", "256K"),
        "mps3-an547" => arm("0x10000000", "512K", "0x31000000", "256K"),
        "virt" => riscv("0x80000000", "16M"),
        _ => return Err(format!("no memory map known for board {board}").into()),
    };
    if !matches!(board.as_str(), "microbit" | "mps3-an547") {
        println!("cargo::rustc-cfg=large");
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    fs::write(out.join("memory.x"), map)?;
    println!("cargo::rustc-link-search={}", out.display());

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

fn arm(flash: &str, flash_len: &str, ram: &str, ram_len: &str) -> String {
    format!("MEMORY {{ FLASH : ORIGIN = {flash}, LENGTH = {flash_len} RAM : ORIGIN = {ram}, LENGTH = {ram_len} }}\n")
}

fn riscv(ram: &str, ram_len: &str) -> String {
    let mut map = format!("MEMORY {{ RAM : ORIGIN = {ram}, LENGTH = {ram_len} }}\n");
    for region in ["TEXT", "RODATA", "DATA", "BSS", "HEAP", "STACK"] {
        map += &format!("REGION_ALIAS(\"REGION_{region}\", RAM);\n");
    }
    map
}

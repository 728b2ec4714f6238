//! The memory map of the emulated board, for the linker: part of the build scripts here and of `costs`. The defaults are
//! those of `run-qemu`.

use std::{env, fs, path::PathBuf};

/// Writes `memory.x` where the linker looks for it; the board's name, or none where there is no board.
pub fn write() -> Option<String> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=BOARD");
    let target = env::var("TARGET").expect("cargo sets TARGET");
    let default = match &target {
        t if t.starts_with("thumbv6m") => "microbit",
        t if t.starts_with("thumbv7em") => "mps2-an386",
        t if t.starts_with("thumbv8m") => "mps2-an505",
        t if t.starts_with("riscv32") => "virt",
        t if t.starts_with("wasm32") => return None,
        _ => panic!("no board known for {target}"),
    };
    let board = env::var("BOARD").unwrap_or_else(|_| default.into());
    let map = match board.as_str() {
        "microbit" => arm("0x00000000", "256K", "0x20000000", "16K"),
        "mps2-an385" | "mps2-an386" | "mps2-an500" => arm("0x00000000", "4M", "0x20000000", "4M"),
        "mps2-an505" => arm("0x10000000", "4M", "0x38000000", "256K"),
        "mps3-an547" => arm("0x10000000", "512K", "0x31000000", "256K"),
        "virt" => riscv("0x80000000", "16M"),
        _ => panic!("no memory map known for board {board}"),
    };
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    fs::write(out.join("memory.x"), map).expect("OUT_DIR is writable");
    println!("cargo::rustc-link-search={}", out.display());
    Some(board)
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

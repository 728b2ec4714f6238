//! Chooses the recipes that fit the board.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(small)");
    let target = std::env::var("TARGET").expect("cargo sets TARGET");
    if target.starts_with("thumbv6m") {
        println!("cargo::rustc-cfg=small");
    }
}

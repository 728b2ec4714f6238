//! Writes the memory map of the emulated board for the linker.

mod map;

fn main() {
    println!("cargo::rerun-if-changed=map.rs");
    map::write();
}

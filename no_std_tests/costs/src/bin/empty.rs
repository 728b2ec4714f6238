//! Start-up code and nothing else: what the other programs are compared with.
#![no_std]
#![no_main]

#[path = "../bare.rs"]
mod bare;

fn main() {}

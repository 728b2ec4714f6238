//! Every kernel against the slow reference, by bits, on every level of the machine; and what follows from the contract:
//! a row alone is the row in a batch, threads change nothing, wrong lengths are refused.
//!
//! `cargo test --test kernels -- --nocapture` prints how much was compared. Under an emulator set `EVENKEEL_EMULATED=1`.

// Each test target uses its own part of the shared module.
#[allow(dead_code)]
#[path = "../common/mod.rs"]
mod common;

mod accuracy;
mod batchnorm;
mod dense;
mod elementwise;
mod gradients;
mod invariance;
mod layout;
mod losses;
mod noise;
mod norms;
mod optimizer;
mod penalty;
mod prelu;
mod random;
mod refusals;
mod softmax;
mod sparse;
mod tiles;

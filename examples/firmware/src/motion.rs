//! A network of 58 inputs and 7 outputs in 13824 bytes; `evenkeel export --format rust` wrote this.
//!
//! Trained as dense(32) bn relu dropout(0.2) dense(32) bn relu dropout(0.2) dense(7).
//! Rows are raw values: the standardisation of the inputs is folded in.
//! The image stands in the file `.keel` beside this one; the compiler checks it. Export both again rather than change
//! one. Needs the crate `evenkeel`, without default features where there is no operating system.
#![allow(dead_code)]

/// Values of a row that goes in.
pub const INPUTS: usize = 58;
/// Values of a row that comes out: a score for each class.
pub const OUTPUTS: usize = 7;
/// Values of scratch that [`run`] needs.
pub const SCRATCH: usize = 128;
/// Names of the classes.
#[rustfmt::skip]
pub const CLASSES: [&str; 7] = [
    "0", "1", "2", "3", "4", "5", "6",
];
/// Names of the inputs, in their order.
#[rustfmt::skip]
pub const FEATURES: [&str; 58] = [
    "ax_mean", "ax_std", "ax_min", "ax_max", "ax_mad", "ax_rms", "ax_mcr", "ax_fcent", "ay_mean", "ay_std", "ay_min",
    "ay_max", "ay_mad", "ay_rms", "ay_mcr", "ay_fcent", "az_mean", "az_std", "az_min", "az_max", "az_mad", "az_rms",
    "az_mcr", "az_fcent", "wx_mean", "wx_std", "wx_min", "wx_max", "wx_mad", "wx_rms", "wx_mcr", "wx_fcent",
    "wy_mean", "wy_std", "wy_min", "wy_max", "wy_mad", "wy_rms", "wy_mcr", "wy_fcent", "wz_mean", "wz_std", "wz_min",
    "wz_max", "wz_mad", "wz_rms", "wz_mcr", "wz_fcent", "acc_norm_mean", "acc_norm_std", "acc_corr01", "acc_corr02",
    "acc_corr12", "gyr_norm_mean", "gyr_norm_std", "gyr_corr01", "gyr_corr02", "gyr_corr12",
];

/// The image: its bytes, its checked view, its network for batches.
pub mod image {
    evenkeel::include_model!("motion.keel");
}

// Another image beside this file is a mistake. Its lengths are compared where arrays meet, below.
const _: () = assert!(
    image::IMAGE.checksum() == 0x67652e4c,
    "the .keel file is not the image that this module was written for: export both again"
);

/// The outputs for one row; what `scratch` holds does not matter.
pub fn run(input: &[f32; INPUTS], scratch: &mut [f32; SCRATCH]) -> [f32; OUTPUTS] {
    image::run(input, scratch)
}

/// The class that outputs mean.
pub fn class(outputs: &[f32; OUTPUTS]) -> usize {
    evenkeel::train::loss::best(outputs)
}

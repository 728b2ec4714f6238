//! Checkpoints from PyTorch and for PyTorch, and files that are no sound checkpoints.
//!
//! What PyTorch answered is in `tests/golden`, its README explains the files; `check_checkpoint.py` there goes the other
//! way.
#![cfg(feature = "safetensors")]

mod files;
mod foreign;
mod hostile;
mod runs;
mod torch;

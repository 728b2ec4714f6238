//! The parts of the command `evenkeel`, as modules that tests and fuzz targets can reach.
//!
//! Reading order is the order of a training run: [`data`] reads a table (or [`digits`] gives the one that ships inside),
//! [`progress`] shows the epochs go by, [`history`] keeps them, [`curves`] draws them, and [`atomic`] puts every file
//! on the disk whole or not at all. None of these modules knows the engine: they speak in plain numbers.

#![forbid(unsafe_code)]

pub mod atomic;
pub mod curves;
pub mod data;
pub mod digits;
pub mod history;
pub mod progress;

//! The parts of the command `evenkeel`, as modules that tests and fuzz targets can reach.
//!
//! Reading order is the order of a training run: [`options`] say what to do, [`data`] reads a table (or [`digits`] gives
//! the one that ships inside), [`rows`] cuts it into training, validation and test, [`train`] runs the library, while
//! [`progress`] shows the epochs go by and [`history`] keeps them; [`curves`] draws them, [`report`] tells the end, and
//! [`atomic`] puts every file on the disk whole or not at all. [`commands`] are the others, on [`model`]s of every kind: [`metrics`] and
//! [`table`]s tell what those are worth.

#![forbid(unsafe_code)]

pub mod atomic;
pub mod commands;
pub mod curves;
pub mod data;
pub mod digits;
pub mod error;
pub mod history;
pub mod metrics;
pub mod model;
pub mod options;
pub mod progress;
pub mod report;
pub mod rows;
pub mod score;
pub mod show;
pub mod table;
pub mod train;

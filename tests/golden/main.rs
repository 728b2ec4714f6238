//! Against the golden files of this directory: what PyTorch, Keras and exact arithmetic answer.

mod file;
mod flow;
mod lists;
mod metrics;
mod norms;
mod objectives;
mod optimizers;
mod table;
mod training;
mod tuning;
mod units;
mod values;

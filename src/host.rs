//! What needs an operating system: threads and files.

#[cfg(feature = "rayon")]
pub mod pool;
pub mod rows;

//! What the readers accept, and what they say about everything else.

use super::*;

mod arrays;
mod disk;
mod encode;
mod files;
mod packed;
#[cfg(feature = "parquet")]
mod parquet;
mod tables;

fn csv(text: &str) -> Result<Table, Error> {
    csv_with(text, &Options::default())
}

fn csv_with(text: &str, options: &Options) -> Result<Table, Error> {
    read_bytes("d.csv", text.as_bytes(), None, options)
}

/// The error's words.
fn words(result: Result<Table, Error>) -> String {
    result.map(|t| format!("{t:?}")).unwrap_err().to_string()
}

fn strings(names: &[&str]) -> Vec<String> {
    names.iter().map(|n| (*n).to_owned()).collect()
}

fn classes(table: &Table) -> (Vec<u32>, Vec<&str>) {
    match &table.target {
        Some(Target::Classes { labels, names }) => (labels.clone(), names.iter().map(String::as_str).collect()),
        other => panic!("expected classes, found {other:?}"),
    }
}

fn values(table: &Table) -> (Vec<f32>, usize) {
    match &table.target {
        Some(Target::Values { values, cols, .. }) => (values.clone(), *cols),
        other => panic!("expected values, found {other:?}"),
    }
}

fn gz(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

//! `--format rust`: a module with constants and a call, around `include_model!`.

use std::path::{Path, PathBuf};

use super::describe::{Described, Rule, wrapped};
use super::pair;
use crate::error::Failure;

/// The image and the module that includes it.
pub(super) fn files(out: &Path, described: &Described<'_>) -> Result<Vec<(PathBuf, Vec<u8>)>, Failure> {
    let (image, stem) = pair(out, "rust", "rs", "keel")?;
    Ok(vec![(image, described.bytes.to_vec()), (out.to_path_buf(), module(&stem, described).into_bytes())])
}

/// A string literal.
fn literal(text: &str) -> String {
    format!("{text:?}")
}

/// An array of names, if there are any.
fn names(docs: &str, name: &str, names: &[String]) -> String {
    if names.is_empty() {
        return String::new();
    }
    let list = wrapped(names.iter().map(|name| literal(name)));
    format!("/// {docs}\n#[rustfmt::skip]\npub const {name}: [&str; {}] = [\n{list}\n];\n", names.len())
}

fn module(stem: &str, described: &Described<'_>) -> String {
    let Described { bytes, image, scratch, features, classes, rule, about, outputs } = described;
    let file = literal(&format!("{stem}.keel"));
    let about: String = about.iter().map(|line| format!("//! {line}\n")).collect();
    let (inputs, output_count) = (image.inputs(), image.outputs());
    let mut text = format!(
        "//! A network of {inputs} inputs and {output_count} outputs in {length} bytes; `evenkeel export --format rust` wrote this.\n\
         //!\n{about}\
         //! The image stands in the file `.keel` beside this one; the compiler checks it. Export both again rather than change\n\
         //! one. Needs the crate `evenkeel`, without default features where there is no operating system.\n\
         #![allow(dead_code)]\n\n\
         /// Values of a row that goes in.\n\
         pub const INPUTS: usize = {inputs};\n\
         /// Values of a row that comes out: {outputs}.\n\
         pub const OUTPUTS: usize = {output_count};\n\
         /// Values of scratch that [`run`] needs.\n\
         pub const SCRATCH: usize = {scratch};\n",
        length = bytes.len(),
    );
    text += &names("Names of the classes.", "CLASSES", classes);
    text += &names("Names of the inputs, in their order.", "FEATURES", features);
    text += &format!(
        "\n/// The image: its bytes, its checked view, its network for batches.\n\
         pub mod image {{\n    evenkeel::include_model!({file});\n}}\n\n\
         // Another image beside this file is a mistake. Its lengths are compared where arrays meet, below.\n\
         const _: () = assert!(\n    image::IMAGE.checksum() == 0x{checksum:08x},\n    \
         \"the .keel file is not the image that this module was written for: export both again\"\n);\n\n\
         /// The outputs for one row; what `scratch` holds does not matter.\n\
         pub fn run(input: &[f32; INPUTS], scratch: &mut [f32; SCRATCH]) -> [f32; OUTPUTS] {{\n    \
         image::run(input, scratch)\n}}\n",
        checksum = image.checksum(),
    );
    let best = match rule {
        None => return text,
        Some(Rule::Largest) => "evenkeel::train::loss::best(outputs)".to_owned(),
        Some(Rule::Above(threshold)) => format!("usize::from(outputs[0] > {threshold})"),
    };
    text += &format!(
        "\n/// The class that outputs mean.\n\
         pub fn class(outputs: &[f32; OUTPUTS]) -> usize {{\n    {best}\n}}\n"
    );
    text
}

//! `--format c`: the image as an aligned array with a header, for `libevenkeel.a`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::describe::{Described, Rule, identifier, wrapped};
use super::pair;
use crate::error::{Failure, Kind};

/// The header and the source.
pub(super) fn files(out: &Path, described: &Described<'_>) -> Result<Vec<(PathBuf, Vec<u8>)>, Failure> {
    let (header, stem) = pair(out, "c", "c", "h")?;
    let name = identifier(&stem);
    if name == "evenkeel" {
        let message = "the header would have the name of the library's own, evenkeel.h: choose another name";
        return Err(Failure::at(Kind::Usage, out, message));
    }
    let file = header.file_name().and_then(|file| file.to_str()).unwrap_or_default();
    if file.contains(['"', '\\', '\n']) {
        return Err(Failure::at(Kind::Usage, out, "C cannot include a header of this name: choose plain letters"));
    }
    let source = source(&name, file, described).into_bytes();
    Ok(vec![(header.clone(), declarations(&name, described).into_bytes()), (out.to_path_buf(), source)])
}

/// A string literal: everything that is not plain ASCII as octal numbers, which end by themselves after three digits.
fn literal(text: &str) -> String {
    let mut quoted = String::from("\"");
    for byte in text.bytes() {
        match byte {
            // A question mark may begin a trigraph.
            b'"' | b'\\' | b'?' | 0..0x20 | 0x7f.. => {
                let _ = write!(quoted, "\\{byte:03o}");
            }
            _ => quoted.push(char::from(byte)),
        }
    }
    quoted + "\""
}

fn declarations(name: &str, described: &Described<'_>) -> String {
    let Described { bytes, image, scratch, features, classes, rule, about, outputs } = described;
    let upper = name.to_uppercase();
    let about: String = about.iter().map(|line| format!(" * {line}\n")).collect();
    let mut text = format!(
        "/* A network of {inputs} inputs and {output_count} outputs; `evenkeel export --format c` wrote this.\n *\n{about}\
         \x20* Export it again rather than change it. Link with libevenkeel.a, include evenkeel.h from the same version.\n\
         \x20*/\n\
         #ifndef {upper}_H\n#define {upper}_H\n\n#include \"evenkeel.h\"\n\n\
         #ifdef __cplusplus\nextern \"C\" {{\n#endif\n\n\
         #define {upper}_INPUTS {inputs} /* values of a row that goes in */\n\
         #define {upper}_OUTPUTS {output_count} /* values of a row that comes out: {outputs} */\n\
         #define {upper}_SCRATCH {scratch} /* values of scratch for a row */\n\
         #define {upper}_LENGTH {length} /* bytes of the image */\n\n\
         extern const uint8_t {name}_image[{upper}_LENGTH];\n",
        inputs = image.inputs(),
        output_count = image.outputs(),
        length = bytes.len(),
    );
    if !classes.is_empty() {
        text += &format!(
            "\n#define {upper}_CLASSES {}\nextern const char *const {name}_classes[{upper}_CLASSES]; /* their names, UTF-8 */\n",
            classes.len()
        );
    }
    if !features.is_empty() {
        text += &format!(
            "\n/* Names of the inputs, UTF-8. */\nextern const char *const {name}_features[{upper}_INPUTS];\n"
        );
    }
    text += &format!(
        "\n/* Checks the image and sets `net`: once, at the start. */\n\
         evenkeel_status {name}_open(evenkeel_net *net);\n\n\
         /* The outputs for one row; what `scratch` holds does not matter. */\n\
         evenkeel_status {name}_run(const evenkeel_net *net, const float input[{upper}_INPUTS], float output[{upper}_OUTPUTS],\n    \
         float scratch[{upper}_SCRATCH]);\n"
    );
    if rule.is_some() {
        text += &format!(
            "\n/* The class that outputs mean. */\nsize_t {name}_class(const float output[{upper}_OUTPUTS]);\n"
        );
    }
    text + "\n#ifdef __cplusplus\n}\n#endif\n\n#endif\n"
}

fn source(name: &str, header: &str, described: &Described<'_>) -> String {
    let Described { bytes, features, classes, rule, .. } = described;
    let upper = name.to_uppercase();
    let mut text = format!(
        "/* `evenkeel export --format c` wrote this: export it again rather than change it. */\n#include \"{header}\"\n\n"
    );
    text += &format!(
        "evenkeel_status {name}_open(evenkeel_net *net)\n{{\n    return evenkeel_open(net, {name}_image, {upper}_LENGTH);\n}}\n\n\
         evenkeel_status {name}_run(const evenkeel_net *net, const float input[{upper}_INPUTS], float output[{upper}_OUTPUTS],\n    \
         float scratch[{upper}_SCRATCH])\n{{\n    \
         return evenkeel_run(net, input, {upper}_INPUTS, output, {upper}_OUTPUTS, scratch, {upper}_SCRATCH);\n}}\n\n"
    );
    match rule {
        None => (),
        Some(Rule::Largest) => {
            text += &format!(
                "size_t {name}_class(const float output[{upper}_OUTPUTS])\n{{\n    \
                 return evenkeel_best(output, {upper}_OUTPUTS);\n}}\n\n"
            );
        }
        Some(Rule::Above(threshold)) => {
            text += &format!(
                "size_t {name}_class(const float output[{upper}_OUTPUTS])\n{{\n    return output[0] > {threshold}f ? 1u : 0u;\n}}\n\n"
            );
        }
    }
    for (kind, count, names) in [("classes", "CLASSES", *classes), ("features", "INPUTS", &features[..])] {
        if !names.is_empty() {
            let list = wrapped(names.iter().map(|name| literal(name)));
            text += &format!("const char *const {name}_{kind}[{upper}_{count}] = {{\n{list}\n}};\n\n");
        }
    }
    text += &format!("EVENKEEL_ALIGNED const uint8_t {name}_image[{upper}_LENGTH] = {{\n");
    text += &wrapped(bytes.iter().map(u8::to_string));
    text + "\n};\n"
}

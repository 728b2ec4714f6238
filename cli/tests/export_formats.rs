//! `export --format rust` and `--format c`: what is written compiles, whatever names the data have, and gives the image's bits.

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::{Random, command, done, events, ok, refused, trained};

/// A compiler's answer must be empty and its program, if it makes one, must succeed.
fn runs(command: &mut Command) -> String {
    let output = command.output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{command:?}: {said}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// A folder with a finished run on classes and columns with names that no language takes as they are.
fn odd_names(classes: &[&str]) -> tempfile::TempDir {
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let mut text = format!("{},b,kind\n", quoted("a \"1\" \\ */ ??/ ü"));
    let mut random = Random(3);
    for row in 0..60 {
        let class = row % classes.len();
        let near = class as f32 * 4.0 + random.share();
        text += &format!("{near:.3},{:.3},{}\n", random.share(), quoted(classes[class]));
    }
    let dir = tempfile::tempdir().expect("a temporary folder");
    fs::write(dir.path().join("odd.csv"), text).expect("written");
    let outputs = if classes.len() == 2 { 1 } else { classes.len() };
    let net = format!("dense(6) tanh dense({outputs})");
    let mut args =
        vec!["train", "--data", "odd.csv", "--target", "kind", "--net", &net, "--epochs", "30", "--lr", "0.05"];
    if classes.len() == 2 {
        args.extend(["--loss", "bce"]);
    }
    args.extend(["--out", "run"]);
    ok(dir.path(), &args);
    dir
}

/// Rows of inputs, and what `predict` says on the best level, which the module takes as well: bits of the outputs, and the
/// index of the class.
fn predicted(dir: &Path, classes: &[&str]) -> (Vec<[f32; 2]>, Vec<String>) {
    let rows: Vec<[f32; 2]> = (0..12).map(|row| [row as f32 * 0.9 - 0.5, 0.1 * row as f32]).collect();
    let lines: String = rows.iter().map(|[a, b]| format!("{a},{b}\n")).collect();
    fs::write(dir.join("rows.csv"), lines).expect("written");
    let predict = |more: &[&str]| {
        let mut command = command(dir, &["predict", "run", "--data", "rows.csv", "--header", "no"]);
        let done = done(command.args(more).env_remove("EVENKEEL_LEVEL").output().expect("it starts"));
        assert_eq!(done.code, 0, "{done:?}");
    };
    predict(&["--out", "out.npy"]);
    predict(&["--classes", "--out", "class.npy"]);
    let words = |name: &str| -> Vec<u32> {
        let bytes = fs::read(dir.join(name)).expect("written");
        bytes[128..].as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word)).collect()
    };
    let (values, found) = (words("out.npy"), words("class.npy"));
    let outputs = values.len() / rows.len();
    let line = |(values, class): (&[u32], &u32)| {
        let bits: String = values.iter().map(|value| format!("{value:08x} ")).collect();
        format!("{bits}{}", classes[*class as usize])
    };
    (rows.clone(), values.chunks(outputs).zip(&found).map(line).collect())
}

/// In the order that the model gives them, which is that of their bytes.
const CASES: [&[&str]; 2] = [&["pl\"ain", "{0}%s\u{301}", "ö*/ ??/ \\n"], &["\"yes\"", "no\\"]];

#[test]
fn the_rust_module_compiles_and_gives_the_bits_of_the_image() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    for (case, classes) in CASES.into_iter().enumerate() {
        let dir = odd_names(classes);
        let (rows, expected) = predicted(dir.path(), classes);
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("exported");
        fs::create_dir_all(folder.join("src")).expect("created");
        let module = folder.join("src/odd.rs");
        ok(dir.path(), &["export", "run", "--format", "rust", "--out", module.to_str().expect("UTF-8")]);
        // A warning would be an error: modules have to be clean.
        let manifest = format!(
            "[package]\nname = \"exported\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n[dependencies]\n\
             evenkeel = {{ path = {root:?}, default-features = false, features = [\"std\"] }}\n"
        );
        fs::write(folder.join("Cargo.toml"), manifest).expect("written");
        fs::copy(format!("{root}/Cargo.lock"), folder.join("Cargo.lock")).expect("copied");
        let main = format!(
            "#![deny(warnings)]\nmod odd;\nfn main() {{\n    let mut scratch = [0.0; odd::SCRATCH];\n    \
             for row in {rows:?} {{\n        let outputs = odd::run(&row, &mut scratch);\n        \
             for value in outputs {{ print!(\"{{:08x}} \", value.to_bits()); }}\n        \
             println!(\"{{}}\", odd::CLASSES[odd::class(&outputs)]);\n    }}\n    \
             assert_eq!(odd::FEATURES, [\"a \\\"1\\\" \\\\ */ ??/ ü\", \"b\"]);\n}}\n"
        );
        fs::write(folder.join("src/main.rs"), main).expect("written");
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let said = runs(
            Command::new(cargo)
                .args(["run", "--offline", "--quiet", "--color", "never"])
                .env("CARGO_TARGET_DIR", folder.join("target"))
                .env_remove("RUSTFLAGS")
                .env_remove("CARGO_BUILD_TARGET")
                .current_dir(&folder),
        );
        assert_eq!(said.lines().collect::<Vec<_>>(), expected, "case {case}");
    }
}

/// The C files against the header, with every warning an error; the library is `scripts/c-tests`' part.
#[test]
fn the_c_files_compile_without_a_warning() {
    let include = concat!("-I", env!("CARGO_MANIFEST_DIR"), "/../include");
    for classes in CASES {
        let dir = odd_names(classes);
        ok(dir.path(), &["export", "run", "--format", "c", "--out", "4 Odd-Näme.c"]);
        let header = fs::read_to_string(dir.path().join("4 Odd-Näme.h")).expect("written");
        assert!(header.contains("#define MODEL_4_ODD_N_ME_INPUTS 2 "), "{header}");
        let names: String = classes.iter().map(|name| format!("{} {}\n", name.len(), name)).collect();
        let main = "#include <stdio.h>\n#include <string.h>\n#include \"4 Odd-Näme.h\"\nint main(void) {\n\
            int i; for (i = 0; i < MODEL_4_ODD_N_ME_CLASSES; i++)\n printf(\"%u %s\\n\",\
            (unsigned)strlen(model_4_odd_n_me_classes[i]), model_4_odd_n_me_classes[i]);\n\
            return model_4_odd_n_me_image[0] != 'K' || (size_t)model_4_odd_n_me_image % 64 != 0; }\n\
            evenkeel_status evenkeel_open(evenkeel_net *n, const uint8_t *i, size_t l) { (void)n, (void)i, (void)l; return 0; }\n\
            evenkeel_status evenkeel_run(const evenkeel_net *n, const float *i, size_t a, float *o, size_t b, float *s, size_t c)\n\
            { (void)n, (void)i, (void)a, (void)o, (void)b, (void)s, (void)c; return 0; }\n\
            size_t evenkeel_best(const float *r, size_t n) { (void)r; return n; }\n";
        fs::write(dir.path().join("main.c"), main).expect("written");
        for (compiler, language) in [("cc", "-std=c99"), ("cc", "-std=c11"), ("c++", "-std=c++11")] {
            if Command::new(compiler).arg("--version").output().is_err() {
                println!("skipped: there is no {compiler}");
                continue;
            }
            let mut command = Command::new(compiler);
            command.args([language, "-Wall", "-Wextra", "-Werror", "-pedantic", include]).current_dir(dir.path());
            if compiler == "c++" {
                command.args(["-x", "c++"]);
            }
            runs(command.args(["main.c", "4 Odd-Näme.c", "-o", "program"]));
            assert_eq!(runs(&mut Command::new(dir.path().join("program"))), names, "{language}");
        }
    }
}

#[test]
fn an_image_is_written_as_it_is_and_names_follow_from_its_own() {
    let dir = trained();
    let dir = dir.path();
    ok(dir, &["export", "run", "--weights", "f16"]);
    let image = fs::read(dir.join("run/model-f16.keel")).expect("written");
    let out = ok(dir, &["export", "run/model-f16.keel", "--format", "rust", "--json"]);
    let event = &events(&out)[0];
    assert_eq!(event["out"], "run/model_f16.rs");
    assert_eq!(event["files"], serde_json::json!(["run/model_f16.rs", "run/model_f16.keel"]));
    assert_eq!((&event["format"], &event["weights"]), (&"rust".into(), &serde_json::Value::Null));
    assert_eq!(fs::read(dir.join("run/model_f16.keel")).expect("written"), image);
    let module = fs::read_to_string(dir.join("run/model_f16.rs")).expect("written");
    for line in [
        "pub const INPUTS: usize = 4;",
        "pub const OUTPUTS: usize = 3;",
        "pub const CLASSES: [&str; 3] = [\n    \"ash\", \"birch\", \"cedar\",\n];",
        "    evenkeel::include_model!(\"model_f16.keel\");",
    ] {
        assert!(module.contains(line), "{line}: not in\n{module}");
    }
    // The same from the checkpoint.
    ok(dir, &["export", "run", "--weights", "f16", "--format", "rust", "--out", "model_f16.rs"]);
    assert_eq!(fs::read_to_string(dir.join("model_f16.rs")).expect("written"), module);
    let out = ok(dir, &["export", "run", "--format", "c"]);
    assert!(out.contains("source  run/model_f32.c\n") && out.contains("header  run/model_f32.h\n"), "{out}");
}

#[test]
fn what_does_not_fit_a_format_is_refused() {
    let dir = trained();
    let dir = dir.path();
    refused(dir, &["export", "run/model.keel", "--format", "image"], 2, "--format rust or c");
    refused(dir, &["export", "run/model.keel", "--format", "c", "--weights", "f16"], 2, "leave out --weights");
    refused(dir, &["export", "run/model.keel", "--format", "c", "--data", "clouds.csv"], 2, "leave out --data");
    refused(dir, &["export", "run", "--format", "c", "--out", "model.keel"], 2, "ends in .c, and .h beside it");
    refused(dir, &["export", "run", "--format", "rust", "--out", "model.c"], 2, "ends in .rs, and .keel beside it");
    refused(dir, &["export", "run", "--format", "rust", "--out", "model"], 2, "ends in .rs");
    refused(dir, &["export", "run", "--format", "c", "--out", "Evenkeel.c"], 2, "choose another name");
    refused(dir, &["export", "run", "--format", "c", "--out", "a\"b.c"], 2, "choose plain letters");
    refused(dir, &["export", "run", "--format", "pascal"], 2, "pascal");
    refused(dir, &["export", "run", "--format", "c", "--out", "none/model.c"], 7, "none");
    fs::write(dir.join("cut.keel"), &fs::read(dir.join("run/model.keel")).expect("read")[..300]).expect("written");
    refused(dir, &["export", "cut.keel", "--format", "c"], 4, "cut.keel");
}

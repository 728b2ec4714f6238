//! `include_model!`: what it defines, that nothing is copied, and what the compiler says to a wrong file.

use std::fs;
use std::path::Path;
use std::process::Command;

use evenkeel::image::{ALIGN, Aligned, Op, Weights, checksum};
use evenkeel::{Image, Level, Net, Serial};

mod xor {
    evenkeel::include_model!("../fuzz/seeds/image/xor.keel");
}
mod everything {
    evenkeel::include_model!("../fuzz/seeds/image/everything.keel");
}
mod half {
    evenkeel::include_model!(concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/seeds/image/f16.keel"));
}

const SEEDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/seeds/image/");

/// The outputs for `input` of the same file, read at run time.
fn read_and_run(file: &str, input: &[f32]) -> Vec<u32> {
    let bytes = evenkeel::image::AlignedBytes::from(&fs::read(format!("{SEEDS}{file}")).unwrap()[..]);
    let net = Net::new(Image::new(&bytes).unwrap());
    let (mut output, mut scratch) = (vec![0.0; net.outputs()], vec![0.0; net.scratch_len(1)]);
    net.infer(Level::detect(), &Serial, input, &mut output, &mut scratch).unwrap();
    output.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn constants_are_lengths_of_arrays() {
    assert_eq!((xor::INPUTS, xor::OUTPUTS, xor::SCRATCH, xor::LENGTH), (2, 1, 32, 448));
    assert_eq!(xor::CLASSES, [""; 0]);
    let arrays = ([0.0_f32; everything::INPUTS], [0.0_f32; everything::OUTPUTS], [0.0_f32; everything::SCRATCH]);
    assert_eq!((arrays.0.len(), arrays.1.len(), arrays.2.len()), (4, 3, 64));
    assert_eq!(everything::CLASSES, ["low", "middle", "hööh"]);
    assert_eq!(everything::IMAGE.class_names().collect::<Vec<_>>(), everything::CLASSES);
    assert_eq!((half::INPUTS, half::OUTPUTS, half::NET.outputs()), (9, 2, 2));
}

#[test]
fn run_gives_the_bits_of_an_image_read_at_run_time() {
    let bits = |output: &[f32]| output.iter().map(|value| value.to_bits()).collect::<Vec<u32>>();
    for seed in 0..50 {
        let value = |i: usize| ((seed * 31 + i * 17) % 23) as f32 / 7.0 - 1.5;
        let input: [f32; everything::INPUTS] = std::array::from_fn(value);
        let output = everything::run(&input, &mut [f32::NAN; everything::SCRATCH]);
        assert_eq!(bits(&output), read_and_run("everything.keel", &input));
        let input: [f32; half::INPUTS] = std::array::from_fn(value);
        let output = half::run(&input, &mut [f32::NAN; half::SCRATCH]);
        assert_eq!(bits(&output), read_and_run("f16.keel", &input));
    }
}

#[test]
fn the_image_is_aligned_and_its_weights_are_the_files_own_bytes() {
    for (image, bytes) in [
        (xor::IMAGE, &xor::BYTES as &Aligned<[u8]>),
        (everything::IMAGE, &everything::BYTES),
        (half::IMAGE, &half::BYTES),
    ] {
        let own = bytes.0.as_ptr_range();
        assert!((own.start as usize).is_multiple_of(ALIGN));
        let mut found = 0;
        for op in image.ops() {
            let Op::Dense { weights, bias, .. } = op else { continue };
            let weights: &[u8] = match weights {
                Weights::F32(weights) => bytemuck::cast_slice(weights),
                Weights::F16(weights) => bytemuck::cast_slice(weights),
            };
            for part in [weights, bytemuck::cast_slice(bias.unwrap_or(&[]))] {
                assert!(part.is_empty() || own.contains(&part.as_ptr()) && part.as_ptr_range().end <= own.end);
                found += part.len();
            }
        }
        assert!(found > 64);
    }
}

/// Stores the checksum that the bytes then have.
fn seal(bytes: &mut [u8]) {
    let sum = checksum(bytes);
    bytes[16..20].copy_from_slice(&sum.to_le_bytes());
}

#[test]
fn a_wrong_file_is_a_compile_error_with_its_reason() {
    if std::env::var_os("EVENKEEL_EMULATED").is_some() {
        return; // The compiler is not at home there, and its answer would be the host's.
    }
    let good = fs::read(format!("{SEEDS}everything.keel")).unwrap();
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        bytes
    };
    let sealed = |at: usize, value: u8| {
        changed(&|bytes| {
            bytes[at] = value;
            seal(bytes);
        })
    };
    // The first value of the last section, which begins 64 bytes before the end: a bias.
    let last = good.len() - 64;
    let cases: [(&str, Vec<u8>, &str); 8] = [
        ("empty", Vec::new(), "0 bytes are too short for an image: was the file cut off?"),
        ("short", good[..1000].to_vec(), "the image should have 1728 bytes but 1000 were given"),
        ("longer", changed(&|bytes| bytes.push(0)), "the image should have 1728 bytes but 1729 were given"),
        ("flipped", changed(&|bytes| bytes[700] ^= 4), "the image is damaged (checksum "),
        (
            "picture",
            b"\x89PNG\r\n\x1a\n".repeat(16),
            "this is not a .keel image: give a file that `evenkeel export` wrote",
        ),
        ("newer", sealed(4, 9), "the image has format version 9, this evenkeel reads 1 to 2: export it again"),
        ("contract", sealed(6, 7), "the image was made for numeric contract 7, this evenkeel computes by 1"),
        (
            "infinite",
            changed(&|bytes| {
                bytes[last..last + 4].copy_from_slice(&f32::INFINITY.to_le_bytes());
                seal(bytes);
            }),
            "value 0 of the bias of operation 6 is NaN or infinite: export a sound network",
        ),
    ];

    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("include_model");
    fs::create_dir_all(folder.join("src")).unwrap();
    let manifest = format!(
        "[package]\nname = \"wrong\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n[dependencies]\n\
         evenkeel = {{ path = {:?}, default-features = false }}\n",
        env!("CARGO_MANIFEST_DIR")
    );
    fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    // The versions that are there already: nothing is downloaded.
    fs::copy(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.lock"), folder.join("Cargo.lock")).unwrap();
    fs::write(folder.join("src/good.keel"), &good).unwrap();
    let mut source = String::from(
        "//! Images that must not compile.\nmod good {\n    evenkeel::include_model!(\"good.keel\");\n}\n",
    );
    for (name, bytes, _) in &cases {
        fs::write(folder.join(format!("src/{name}.keel")), bytes).unwrap();
        source += &format!("mod {name} {{\n    evenkeel::include_model!(\"{name}.keel\");\n}}\n");
    }
    source += "mod missing {\n    evenkeel::include_model!(\"missing.keel\");\n}\n";
    let check = |source: &str| {
        fs::write(folder.join("src/lib.rs"), source).unwrap();
        let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(["check", "--offline", "--quiet", "--color", "never"])
            .env("CARGO_TARGET_DIR", folder.join("target"))
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_BUILD_TARGET")
            .current_dir(&folder)
            .output()
            .unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };

    // A file that is not there stops the compiler before it looks at the others.
    let (compiled, said) = check(&source);
    assert!(!compiled && said.contains("missing.keel"), "{said}");
    let (rest, _) = source.split_once("mod missing").unwrap();
    let (compiled, said) = check(rest);
    assert!(!compiled, "{said}");
    for (name, _, reason) in &cases {
        assert!(said.contains(&format!("{name}.keel: {reason}")), "{name}: not among\n{said}");
    }
    assert!(!said.contains("good.keel"), "{said}");

    // The right file alone does compile, without a warning for what is not used, but not into an array of another length.
    let good = "mod good {\n    evenkeel::include_model!(\"good.keel\");\n}\n";
    let right = format!("{good}pub fn f(x: &[f32; 4]) -> [f32; 3] {{ good::run(x, &mut [0.0; good::SCRATCH]) }}\n");
    let (compiled, said) = check(&right);
    assert!(compiled && !said.contains("warning"), "{said}");
    let (compiled, said) = check(&right.replace("; 4]", "; 5]"));
    assert!(!compiled && said.contains("E0308"), "{said}");
}

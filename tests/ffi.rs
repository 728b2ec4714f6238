//! The C interface: the header says what the library has, and every misuse that can be seen is refused. What a C compiler makes
//! of the header, `scripts/c-tests` shows.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::mem::{MaybeUninit, align_of, size_of};
use std::ptr::{null, null_mut};

use evenkeel::ffi::*;
use evenkeel::image::{Aligned, checksum};

mod everything {
    evenkeel::include_model!("../fuzz/seeds/image/everything.keel");
}

const HEADER: &str = include_str!("../include/evenkeel.h");
const SOURCE: &str = include_str!("../src/ffi.rs");

/// A text in which every run of white space is one blank, and none stands beside a bracket or a star.
fn tidy(text: &str) -> String {
    let mut text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for (from, to) in [("( ", "("), (" )", ")"), (",)", ")"), ("* ", "*")] {
        text = text.replace(from, to);
    }
    text
}

/// Declarations by the name of the function.
fn by_name(declarations: impl Iterator<Item = String>) -> BTreeMap<String, String> {
    let name = |text: &str| text.split('(').next().unwrap().rsplit([' ', '*']).next().unwrap().to_owned();
    declarations.map(|text| (name(&text), text)).collect()
}

/// The header without comments and lines for the preprocessor.
fn header_code() -> String {
    let mut code = String::new();
    let mut rest = HEADER;
    while let Some((before, after)) = rest.split_once("/*") {
        code += before;
        rest = after.split_once("*/").unwrap().1;
    }
    code += rest;
    code.lines().filter(|line| !line.starts_with('#')).map(|line| format!("{line}\n")).collect()
}

/// How C writes a type of `src/ffi.rs`.
fn c_type(rust: &str) -> String {
    match rust {
        "usize" => "size_t".into(),
        "i32" | "Status" => "evenkeel_status".into(),
        "f32" => "float".into(),
        "u8" => "uint8_t".into(),
        "c_char" => "char".into(),
        "Opened" => "evenkeel_net".into(),
        pointer => match (pointer.strip_prefix("*const "), pointer.strip_prefix("*mut ")) {
            (Some(to), _) if to.starts_with('*') => format!("{} const *", c_type(to)),
            (_, Some(to)) => format!("{} *", c_type(to)),
            (Some(to), _) => format!("const {} *", c_type(to)),
            _ => panic!("no C type is known for {rust}"),
        },
    }
}

#[test]
fn the_header_declares_what_the_library_defines() {
    let defined = by_name(SOURCE.split("extern \"C\" fn ").skip(1).map(|text| {
        let (head, _) = text.split_once(" {").unwrap();
        let (head, returned) = tidy(head).split_once(" -> ").map(|(a, b)| (a.to_owned(), c_type(b))).unwrap();
        let (name, arguments) = head.strip_suffix(')').unwrap().split_once('(').unwrap();
        let arguments = arguments.split(", ").map(|argument| {
            let (name, kind) = argument.split_once(": ").unwrap();
            format!("{} {name}", c_type(kind))
        });
        tidy(&format!("{returned} {name}({})", arguments.collect::<Vec<_>>().join(", ")))
    }));
    let code = header_code();
    let declared = by_name(code.split(';').filter(|text| text.contains('(')).map(tidy));
    assert_eq!(declared, defined);
    assert_eq!(defined.len(), 8);
}

#[test]
fn the_header_has_the_same_numbers_and_fields() {
    let code = header_code();
    let (_, list) = code.split_once("enum {").unwrap();
    let declared: BTreeMap<String, i32> = list
        .split('}')
        .next()
        .unwrap()
        .split(',')
        .map(|entry| {
            let (name, value) = entry.split_once('=').unwrap();
            (name.trim().to_owned(), value.trim().parse().unwrap())
        })
        .collect();
    let upper = |name: &str| {
        let words =
            name.chars().flat_map(|c| c.is_uppercase().then_some('_').into_iter().chain([c.to_ascii_uppercase()]));
        format!("EVENKEEL{}", words.collect::<String>())
    };
    let defined = Status::ALL.iter().map(|status| (upper(&format!("{status:?}")), *status as i32)).collect();
    assert_eq!(declared, defined);
    assert_eq!(declared.len(), Status::ALL.len());

    let (_, fields) = code.split_once("typedef struct evenkeel_net {").unwrap();
    assert_eq!(tidy(fields.split('}').next().unwrap()), "const uint8_t *image; size_t length; size_t seal;");
    assert_eq!((size_of::<Opened>(), align_of::<Opened>()), (3 * size_of::<usize>(), align_of::<usize>()));
    let net = opened();
    // SAFETY: the type is as large as three `usize`, and aligned as one.
    let words = unsafe { *(&raw const net).cast::<[usize; 3]>() };
    assert_eq!(words[..2], [everything::BYTES.0.as_ptr() as usize, everything::LENGTH]);
}

#[test]
fn every_status_has_a_message_of_its_own() {
    let text = |status: i32| {
        // SAFETY: the header promises a text with a zero at its end, for any number.
        unsafe { CStr::from_ptr(evenkeel_message(status)) }.to_str().unwrap()
    };
    let mut seen = std::collections::BTreeSet::new();
    for status in Status::ALL {
        assert!(text(status as i32).is_ascii() && seen.insert(text(status as i32)), "{status:?}");
    }
    for number in [-1, 7, 99, i32::MIN, i32::MAX] {
        assert_eq!(text(number), "no status of evenkeel");
    }
}

/// What [`evenkeel_open`] says to some bytes, and the network.
fn open(bytes: &[u8]) -> (Status, Opened) {
    let mut net = MaybeUninit::uninit();
    // SAFETY: the bytes are there; `net` is written to whatever is said, for it is not null and aligned.
    unsafe {
        let status = evenkeel_open(net.as_mut_ptr(), bytes.as_ptr(), bytes.len());
        (status, net.assume_init())
    }
}

fn opened() -> Opened {
    let (status, net) = open(&everything::BYTES.0);
    assert_eq!(status, Status::Ok);
    net
}

#[test]
fn a_row_and_a_batch_have_the_bits_of_the_safe_interface() {
    let net = opened();
    let input: [f32; 5 * everything::INPUTS] = std::array::from_fn(|i| (i % 7) as f32 - 2.5);
    // SAFETY: the image is a static; every pointer has as many values behind it as its length says.
    unsafe {
        assert_eq!((evenkeel_inputs(&net), evenkeel_outputs(&net)), (everything::INPUTS, everything::OUTPUTS));
        assert_eq!(
            (evenkeel_scratch(&net, 1), evenkeel_scratch(&net, 5)),
            (everything::SCRATCH, 5 * everything::SCRATCH)
        );
        for rows in 1..=5 {
            let input = &input[..rows * everything::INPUTS];
            let (mut output, mut scratch) = (vec![0.0; rows * everything::OUTPUTS], vec![0.0; everything::SCRATCH]);
            let (output_length, scratch_length) = (output.len(), scratch.len());
            let status = evenkeel_run(
                &net,
                input.as_ptr(),
                input.len(),
                output.as_mut_ptr(),
                output_length,
                scratch.as_mut_ptr(),
                scratch_length,
            );
            assert_eq!(status, Status::Ok);
            for (row, output) in input.chunks(everything::INPUTS).zip(output.chunks(everything::OUTPUTS)) {
                let expected = everything::run(row.try_into().unwrap(), &mut [0.0; everything::SCRATCH]);
                assert_eq!(output.iter().map(|v| v.to_bits()).collect::<Vec<_>>(), expected.map(f32::to_bits));
            }
        }
        for (class, expected) in everything::CLASSES.iter().enumerate() {
            let (mut name, mut length) = (null(), 0);
            assert_eq!(evenkeel_class_name(&net, class, &mut name, &mut length), Status::Ok);
            assert_eq!(std::slice::from_raw_parts(name.cast::<u8>(), length), expected.as_bytes());
        }
        assert_eq!(evenkeel_best([1.0, 3.0, f32::NAN, 3.0].as_ptr(), 4), 1);
    }
}

#[test]
fn calls_that_can_be_seen_to_be_wrong_are_refused_and_write_nothing() {
    let net = opened();
    let mut floats = [7.0_f32; 256];
    let at = floats.as_mut_ptr();
    let (inputs, outputs, scratch) = (everything::INPUTS, everything::OUTPUTS, everything::SCRATCH);
    let odd = at.cast::<u8>().wrapping_add(1).cast::<f32>();
    let (input, output, work) = (at, at.wrapping_add(16), at.wrapping_add(64));
    let huge = usize::MAX / 2;
    let image = everything::BYTES.0.as_ptr().cast_mut().cast::<f32>();
    let cases = [
        ("input is null", null_mut(), inputs, output, outputs, work, scratch, Status::Null),
        ("output is null", input, inputs, null_mut(), outputs, work, scratch, Status::Null),
        ("scratch is null", input, inputs, output, outputs, null_mut(), scratch, Status::Null),
        ("scratch is null and has no length", input, inputs, output, outputs, null_mut(), 0, Status::Null),
        ("input is odd", odd, inputs, output, outputs, work, scratch, Status::Misaligned),
        ("output is odd", input, inputs, odd.wrapping_add(16), outputs, work, scratch, Status::Misaligned),
        ("scratch is odd", input, inputs, output, outputs, odd.wrapping_add(64), scratch, Status::Misaligned),
        ("no row", input, 0, output, 0, work, scratch, Status::Length),
        ("part of a row", input, inputs - 1, output, outputs, work, scratch, Status::Length),
        ("a row and a part", input, inputs + 1, output, outputs, work, scratch, Status::Length),
        ("output too short", input, inputs, output, outputs - 1, work, scratch, Status::Length),
        ("output too long", input, inputs, output, outputs + 1, work, scratch, Status::Length),
        ("scratch too short", input, inputs, output, outputs, work, scratch - 1, Status::Length),
        ("input beyond all memory", input, huge, output, outputs, work, scratch, Status::Length),
        ("scratch beyond all memory", input, inputs, output, outputs, work, usize::MAX, Status::Length),
        ("output over input", input, inputs, input.wrapping_add(inputs - 1), outputs, work, scratch, Status::Overlap),
        ("scratch over input", input, inputs, output, outputs, input, scratch, Status::Overlap),
        ("scratch over output", input, inputs, work.wrapping_add(scratch - 1), outputs, work, scratch, Status::Overlap),
        ("output over the image", input, inputs, image, outputs, work, scratch, Status::Overlap),
        ("scratch over the image", input, inputs, output, outputs, image, scratch, Status::Overlap),
    ];
    for (case, input, input_length, output, output_length, work, scratch_length, expected) in cases {
        // SAFETY: where a length is wrong, or a pointer, it is refused before anything is read.
        let status = unsafe { evenkeel_run(&net, input, input_length, output, output_length, work, scratch_length) };
        assert_eq!(status, expected, "{case}");
        assert!(floats.iter().all(|value| *value == 7.0), "{case}");
    }
    let (mut name, mut length) = (null(), 9);
    // SAFETY: null and unaligned pointers are refused; the others are there.
    unsafe {
        assert_eq!(evenkeel_class_name(&net, outputs, &mut name, &mut length), Status::NoClass);
        assert_eq!(evenkeel_class_name(&net, 0, null_mut(), &mut length), Status::Null);
        assert_eq!(evenkeel_class_name(&net, 0, &mut name, null_mut()), Status::Null);
        assert_eq!((name, length), (null(), 9));
        assert_eq!(evenkeel_best(null(), 5), 5);
        assert_eq!(evenkeel_best(odd, 5), 5);
        assert_eq!(evenkeel_best(at, 0), 0);
        assert_eq!(evenkeel_best(at, huge), huge);
    }
}

#[test]
fn a_network_that_was_not_opened_is_refused_by_everything() {
    let zeros = MaybeUninit::<Opened>::zeroed();
    let mut garbage = MaybeUninit::<Opened>::uninit();
    // SAFETY: a pointer and two numbers may have any bits.
    let (zeros, garbage) = unsafe {
        garbage.as_mut_ptr().cast::<u8>().write_bytes(0xa5, size_of::<Opened>());
        (zeros.assume_init(), garbage.assume_init())
    };
    let (_, refused) = open(&everything::BYTES.0[..64]);
    let mut moved = MaybeUninit::new(opened());
    // SAFETY: there is an `Opened`; its second word is the length.
    let moved = unsafe {
        *moved.as_mut_ptr().cast::<usize>().add(1) -= 1;
        moved.assume_init()
    };
    for net in [zeros, garbage, refused, moved] {
        let mut floats = [0.0_f32; 128];
        let at = floats.as_mut_ptr();
        let (mut name, mut length) = (null(), 0);
        // SAFETY: the floats are there; what else could be followed is what must not be.
        unsafe {
            assert_eq!((evenkeel_inputs(&net), evenkeel_outputs(&net), evenkeel_scratch(&net, 1)), (0, 0, 0));
            let status = evenkeel_run(&net, at, 4, at.add(8), 3, at.add(16), 64);
            assert_eq!(status, Status::NotOpen);
            assert_eq!(evenkeel_class_name(&net, 0, &mut name, &mut length), Status::NotOpen);
        }
    }
    // SAFETY: null is refused.
    unsafe {
        assert_eq!((evenkeel_inputs(null()), evenkeel_outputs(null()), evenkeel_scratch(null(), 1)), (0, 0, 0));
        assert_eq!(evenkeel_run(null(), null(), 0, null_mut(), 0, null_mut(), 0), Status::Null);
        assert_eq!(evenkeel_open(null_mut(), everything::BYTES.0.as_ptr(), 64), Status::Null);
        let mut net = opened();
        assert_eq!(evenkeel_open(&mut net, null(), 64), Status::Null);
        assert_eq!(evenkeel_inputs(&net), 0);
    }
}

#[test]
fn an_image_that_is_wrong_is_refused_with_its_own_status() {
    let good = everything::BYTES.0;
    let mut bytes = Box::new(Aligned([0_u8; everything::LENGTH + 64]));
    let mut says = |length: usize, from: usize, change: &dyn Fn(&mut [u8]), seal: bool| {
        bytes.0[from..][..good.len()].copy_from_slice(&good);
        let image = &mut bytes.0[from..];
        change(image);
        if seal {
            let sum = checksum(&image[..good.len()]);
            image[16..20].copy_from_slice(&sum.to_le_bytes());
        }
        open(&image[..length]).0
    };
    let whole = good.len();
    assert_eq!(says(whole, 0, &|_| (), false), Status::Ok);
    assert_eq!(says(whole, 64, &|_| (), true), Status::Ok);
    for offset in [1, 4, 16, 32, 63] {
        assert_eq!(says(whole, offset, &|_| (), false), Status::ImageMisaligned);
    }
    assert_eq!(says(63, 0, &|_| (), false), Status::ImageTooShort);
    assert_eq!(says(0, 0, &|_| (), false), Status::ImageTooShort);
    assert_eq!(says(whole - 1, 0, &|_| (), false), Status::ImageLength);
    assert_eq!(says(whole + 1, 0, &|_| (), false), Status::ImageLength);
    assert_eq!(says(whole, 0, &|image| image[0] = b'k', true), Status::ImageMagic);
    assert_eq!(says(whole, 0, &|image| image[4] = 3, true), Status::ImageVersion);
    assert_eq!(says(whole, 0, &|image| image[6] = 2, true), Status::ImageContract);
    assert_eq!(says(whole, 0, &|image| image[whole - 1] ^= 1, false), Status::ImageChecksum);
    assert_eq!(says(whole, 0, &|image| image[24] = 5, true), Status::ImageField);
    let infinity = f32::INFINITY.to_le_bytes();
    let infinite = |image: &mut [u8]| image[whole - 64..][..4].copy_from_slice(&infinity);
    assert_eq!(says(whole, 0, &infinite, true), Status::ImageValue);
    // The first class name, behind the header, eight records and two numbers.
    assert_eq!(says(whole, 0, &|image| image[64 + 8 * 32 + 8] = 0xff, true), Status::ImageText);
}

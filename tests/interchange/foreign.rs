//! Files of other networks, other programs and other intentions: a typed error each, and the network as it was.

use evenkeel::interchange::{InterchangeError, note, resume, state_dict, tensors};
use evenkeel::{Mlp, text};
use safetensors::tensor::Dtype;

use crate::files::{golden, read, split, with_header, write};

const NET: &str = "dense(33) bn relu dropout(0.3) dense(17) bn tanh dense(5)";

fn net() -> Mlp {
    Mlp::new(20, text::parse(NET).unwrap()).unwrap()
}

/// Loads what must be refused: the error, in one line that names `needle`.
fn refused(bytes: &[u8], needle: &str) -> InterchangeError {
    let mut model = net();
    let error = state_dict::load(&mut model, bytes).expect_err(needle);
    let message = error.to_string();
    assert!(message.contains(needle) && message.len() < 1000 && !message.contains('\n'), "{message}");
    assert!(model == net(), "{needle}: the network has changed");
    error
}

#[test]
fn other_networks() {
    let sound = read(&golden("mlp_bn.safetensors"));
    for missing in ["0.weight", "0.bias", "1.running_mean", "5.running_var", "7.bias"] {
        let mut tensors = sound.clone();
        tensors.remove(missing);
        assert!(matches!(refused(&write(&tensors), missing), InterchangeError::Missing { .. }));
    }
    let mut tensors = sound.clone();
    tensors.insert("8.weight".into(), sound["7.weight"].clone());
    assert!(matches!(refused(&write(&tensors), "8.weight"), InterchangeError::Unwanted(_)));
    let mut tensors = sound.clone();
    tensors.insert("run.moments".into(), sound["7.bias"].clone());
    assert!(matches!(refused(&write(&tensors), "run.moments"), InterchangeError::Unwanted(_)));
    for (name, shape) in [("0.weight", vec![20, 33]), ("0.weight", vec![660]), ("1.running_var", vec![33, 1])] {
        let mut tensors = sound.clone();
        tensors.get_mut(name).unwrap().1 = shape;
        assert!(matches!(refused(&write(&tensors), name), InterchangeError::Shape { .. }));
    }
    // Another network's file: the names of its tensors help to see which.
    let error = refused(&golden("fold_gelu.safetensors"), "0.weight has shape [21, 7], the network needs [33, 20]");
    assert!(matches!(error, InterchangeError::Shape { .. }));
    let many = (0..5000).map(|index| (format!("layer\n{index}"), sound["7.bias"].clone())).collect();
    refused(&write(&many), "and 4988 more");
}

#[test]
fn values_without_meaning() {
    let sound = read(&golden("mlp_bn.safetensors"));
    let with = |name: &str, at: usize, value: f32| {
        let mut tensors = sound.clone();
        tensors.get_mut(name).unwrap().2[4 * at..][..4].copy_from_slice(&value.to_le_bytes());
        write(&tensors)
    };
    for (name, at, value, needle) in [
        ("0.weight", 7, f32::NAN, "0.weight has NaN as value 7"),
        ("4.bias", 0, f32::INFINITY, "4.bias has inf"),
        ("1.weight", 32, f32::NEG_INFINITY, "1.weight has -inf as value 32"),
        ("1.running_mean", 3, f32::NAN, "1.running_mean has NaN"),
        ("5.running_var", 2, -1e-3, "5.running_var has -0.001 as value 2"),
        ("5.running_var", 2, f32::INFINITY, "5.running_var has inf"),
    ] {
        assert!(matches!(refused(&with(name, at, value), needle), InterchangeError::Value { .. }));
    }
    // A double that no single can hold.
    let mut tensors = sound.clone();
    tensors
        .insert("7.bias".into(), (Dtype::F64, vec![5], [1e300_f64; 5].iter().flat_map(|v| v.to_le_bytes()).collect()));
    refused(&write(&tensors), "7.bias has inf");
    for (dtype, size) in [(Dtype::I32, 4), (Dtype::U8, 1), (Dtype::BOOL, 1), (Dtype::I64, 8)] {
        let mut tensors = sound.clone();
        tensors.insert("7.bias".into(), (dtype, vec![5], vec![0; 5 * size]));
        assert!(matches!(refused(&write(&tensors), "7.bias is of type"), InterchangeError::Value { .. }));
    }
    for (dtype, shape, bytes, needle) in [
        (Dtype::I64, vec![], (-1_i64).to_le_bytes().to_vec(), "is -1, a count is never negative"),
        (Dtype::F64, vec![], 1.0_f64.to_le_bytes().to_vec(), "of type F64"),
        (Dtype::I32, vec![], vec![1, 0, 0, 0], "is not one 64-bit whole number"),
        (Dtype::I64, vec![2], vec![0; 16], "is not one 64-bit whole number"),
    ] {
        let mut tensors = sound.clone();
        tensors.insert("1.num_batches_tracked".into(), (dtype, shape, bytes));
        refused(&write(&tensors), needle);
    }
    // The largest count there is: kept as far as it counts, and folded.
    let mut tensors = sound.clone();
    tensors.insert("1.num_batches_tracked".into(), (Dtype::I64, vec![], i64::MAX.to_le_bytes().to_vec()));
    state_dict::load(&mut net(), &write(&tensors)).unwrap();
}

#[test]
fn headers_that_lie() {
    let sound = golden("mlp_bn.safetensors");
    let (header, data) = split(&sound);
    let (plain, data) = (header.as_str(), &data[..]);
    let bias = r#""7.bias":{"dtype":"F32","shape":[5],"data_offsets":["#;
    assert!(plain.contains(bias), "{plain}");
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (vec![], "only 0 bytes"),
        (vec![1; 7], "only 7 bytes"),
        (vec![0; 8], "does not begin with {"),
        ([&u64::MAX.to_le_bytes()[..], b"{}"].concat(), "longer than the file"),
        ([&(1_u64 << 63).to_le_bytes()[..], b"{}"].concat(), "longer than the file"),
        (with_header("[]", &[]), "does not begin with {"),
        (with_header(&format!(" {plain}"), data), "does not begin with {"),
        (with_header("{", &[]), "not a sound"),
        (with_header("{\"a\"}", &[]), "not a sound"),
        (with_header("{\"\u{0}\":1}", &[]), "not a sound"),
        (with_header(plain, &data[1..]), "not a sound"),
        (with_header(plain, &[data, &[0]].concat()), "not a sound"),
        (with_header(&plain.replacen("F32", "F31", 1), data), "not a sound"),
        (with_header(&plain.replacen("\"F32\"", "-1", 1), data), "not a sound"),
        (with_header(&plain.replacen("[5]", "[4]", 1), data), "not a sound"),
        (with_header(&plain.replacen("[5]", "[-5]", 1), data), "not a sound"),
        (with_header(&plain.replacen("[5]", "[5.0]", 1), data), "not a sound"),
        (with_header(&plain.replacen("[5]", "[4294967296,4294967296]", 1), data), "not a sound"),
        (with_header(&plain.replacen("[5]", "[18446744073709551615,2]", 1), data), "not a sound"),
        // One name twice: two readers would see two tensors.
        (with_header(&plain.replacen(bias, &format!("{bias}0,20]}},{bias}"), 1), data), "7.bias stands twice"),
        (with_header(&plain.replacen("\"shape\":[5]", "\"shape\":[5],\"shape\":[5]", 1), data), "shape stands twice"),
        (with_header(r#"{"__metadata__":{"a":"1","a":"2"}}"#, &[]), "a stands twice"),
        (with_header(r#"{"__metadata__":{"a":1}}"#, &[]), "not a sound"),
        (with_header(&format!("{{\"a\":{}1{}}}", "[".repeat(20_000), "]".repeat(20_000)), &[]), "not a sound"),
        (b"PK\x03\x04 a zip file, as torch.save writes it".to_vec(), "longer than the file"),
    ];
    for (bytes, needle) in cases {
        assert!(matches!(refused(&bytes, needle), InterchangeError::Format(_)), "{needle}");
        assert!(matches!(resume::read(&bytes), Err(InterchangeError::Format(_))), "{needle}");
        assert!(tensors(&bytes).is_err() && note(&bytes).is_err(), "{needle}");
    }
    // Overlapping and reversed tensors.
    for (from, to) in [("[0,", "[4,"), ("\"data_offsets\":[", "\"data_offsets\":[9999999,")] {
        refused(&with_header(&plain.replacen(from, to, 1), data), "not a sound");
    }
    // Half a million empty tensors: refused in the time it takes to read the names.
    let names: Vec<String> =
        (0..500_000).map(|i| format!(r#""{i}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}"#)).collect();
    refused(&with_header(&format!("{{{}}}", names.join(",")), &[]), "0.weight is missing");
}

/// A file that claims to be ours, with a right checksum and metadata that make no sense.
#[test]
fn metadata_that_lies() {
    let small = Mlp::new(2, text::parse("dense(3) bn relu dense(2)").unwrap()).unwrap();
    let sound = state_dict::to_bytes_with(&small, "a note").unwrap();
    assert_eq!(note(&sound).unwrap(), "a note");
    assert!(state_dict::read(&sound).unwrap() == small);
    let changed = |from: &str, to: &str| {
        let (header, data) = split(&sound);
        assert!(header.contains(from), "{from} is not in {header}");
        crate::runs::signed(&with_header(&header.replacen(from, to, 1), &data))
    };
    assert!(state_dict::read(&changed("a note", "a word")).is_ok(), "the checksum is made as it should be");
    let net = "dense(3) bn relu dense(2)";
    for (from, to, needle) in [
        (net, "dense(3) bn relu dense(2", "evenkeel.net"),
        (net, "dense(3) bn relu dense(4)", "tensor 3.weight has shape [2, 3], the network needs [4, 3]"),
        (net, "dense(1048576) dense(1048576) dense(1048576)", "tensor 0.weight has shape"),
        (net, "dense(3) bn relu dense(99999999999)", "evenkeel.net"),
        ("\"evenkeel.inputs\":\"2\"", "\"evenkeel.inputs\":\"-2\"", "evenkeel.inputs"),
        ("\"evenkeel.inputs\":\"2\"", "\"evenkeel.inputs\":\"1048577\"", "evenkeel.net"),
        (
            "\"evenkeel.inputs\":\"2\"",
            "\"evenkeel.inputs\":\"3\"",
            "0.weight has shape [3, 2], the network needs [3, 3]",
        ),
        ("\"evenkeel.note\"", "\"evenkeel.classes\"", "evenkeel.classes"),
        ("\"evenkeel.note\":\"a note\"", "\"evenkeel.classes\":\"[\\\"x\\\"]\"", "1 names for 2 outputs"),
        ("\"evenkeel.note\":\"a note\"", "\"evenkeel.standardize\":\"[[0],[0]]\"", "evenkeel.standardize"),
        ("\"evenkeel.note\":\"a note\"", "\"evenkeel.standardize\":\"[[0,0],[2143289344,0]]\"", "NaN or infinite"),
        ("\"evenkeel.note\":\"a note\"", "\"evenkeel.standardize\":\"7\"", "evenkeel.standardize"),
    ] {
        let error = state_dict::read(&changed(from, to)).expect_err(needle).to_string();
        assert!(error.contains(needle), "{error}");
    }
    // Without the checksum's key, but with another of ours, it is a damaged file and not a foreign one.
    let (header, data) = split(&sound);
    let unsigned = with_header(&header.replacen("evenkeel.crc32", "evenkeel.crc64", 1), &data);
    assert!(matches!(state_dict::read(&unsigned), Err(InterchangeError::Checksum)));
}

//! NPY and IDX files.

use super::*;

fn npy(descr: &str, fortran: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let text = format!("{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}\n");
    let mut out = b"\x93NUMPY\x01\x00".to_vec();
    out.extend((text.len() as u16).to_le_bytes());
    out.extend(text.bytes());
    out.extend(data);
    out
}

fn idx(kind: u8, dims: &[u32], data: &[u8]) -> Vec<u8> {
    let mut out = vec![0, 0, kind, dims.len() as u8];
    dims.iter().for_each(|d| out.extend(d.to_be_bytes()));
    out.extend(data);
    out
}

fn read_array(bytes: &[u8]) -> Result<Table, Error> {
    read_bytes("d.npy", bytes, None, &Options::default())
}

fn le<const N: usize, T: Copy>(values: &[T], bytes: impl Fn(T) -> [u8; N]) -> Vec<u8> {
    values.iter().flat_map(|v| bytes(*v)).collect()
}

#[test]
fn element_types_and_byte_orders() {
    let v = [1.0, 2.0, 3.0, 100.0];
    let check = |descr: &str, data: Vec<u8>| {
        let t = read_array(&npy(&format!("'{descr}'"), "False", "(2, 2)", &data)).unwrap();
        assert_eq!((t.inputs, t.rows, t.cols, t.target), (v.map(|v| v as f32).to_vec(), 2, 2, None), "{descr}");
    };
    check("<f4", le(&v, |v| (v as f32).to_le_bytes()));
    check(">f4", le(&v, |v| (v as f32).to_be_bytes()));
    check("<f8", le(&v, f64::to_le_bytes));
    check(">f8", le(&v, f64::to_be_bytes));
    check("<f2", le(&v, |v| half::f16::from_f64(v).to_le_bytes()));
    check("|u1", le(&v, |v| [v as u8]));
    check("|i1", le(&v, |v| [v as u8]));
    check("<u2", le(&v, |v| (v as u16).to_le_bytes()));
    check(">i2", le(&v, |v| (v as i16).to_be_bytes()));
    check("<u4", le(&v, |v| (v as u32).to_le_bytes()));
    check(">i4", le(&v, |v| (v as i32).to_be_bytes()));
    check("<u8", le(&v, |v| (v as u64).to_le_bytes()));
    check(">i8", le(&v, |v| (v as i64).to_be_bytes()));
    let t = read_array(&npy("'|b1'", "False", "(2, 1)", &[0, 1])).unwrap();
    assert_eq!(t.inputs, [0.0, 1.0]);
    let t = read_array(&npy("'<i2'", "False", "(1, 2)", &[0xff, 0xff, 0, 0x80])).unwrap();
    assert_eq!(t.inputs, [-1.0, -32768.0]);
}

#[test]
fn shapes() {
    let t = read_array(&npy("'|u1'", "False", "(3,)", &[1, 2, 3])).unwrap();
    assert_eq!((t.rows, t.cols, t.feature_names), (3, 1, strings(&["1"])));
    let t = read_array(&npy("'|u1'", "False", "(2L, 1, 2)", &[1, 2, 3, 4])).unwrap();
    assert_eq!((t.rows, t.cols), (2, 2));
    // numpy: np.asfortranarray(np.arange(12).reshape(2, 2, 3)) stores the first index fastest.
    let t = read_array(&npy("'|u1'", "True", "(2, 2, 3)", &[0, 6, 3, 9, 1, 7, 4, 10, 2, 8, 5, 11])).unwrap();
    assert_eq!(t.inputs, (0..12).map(|v| v as f32).collect::<Vec<_>>());
    let t = read_array(&npy("'|u1'", "True", "(1, 2, 3)", &[0, 3, 1, 4, 2, 5])).unwrap();
    assert_eq!(t.inputs, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    let t = read_array(&npy("'|u1'", "True", "(3,)", &[0, 3, 1])).unwrap();
    assert_eq!(t.inputs, [0.0, 3.0, 1.0]);
}

#[test]
fn refused_by_name() {
    let descr = |descr: &str| words(read_array(&npy(descr, "False", "(1, 2)", &[0; 16])));
    assert!(descr("'|O'").contains("Python objects, kept as a pickle"));
    assert!(descr("'<U8'").contains("text"));
    assert!(descr("'<c8'").contains("complex"));
    assert!(descr("'<M8[ns]'").contains("dates"));
    assert!(descr("[('a', '<f4'), ('b', '<i8')]").contains("records with named fields"));
    assert!(descr("'<f16'").contains("unknown type"));
    let shape = |shape: &str| words(read_array(&npy("'<f4'", "False", shape, &[0; 16])));
    assert!(shape("()").contains("a single number"));
    assert!(shape("(0, 4)").contains("no row"));
    assert!(shape("(4, 0)").contains("no input column"));
    assert!(shape("(2, 3)").contains("promises 24 bytes of data (2 × 3), there are 16"));
    assert!(shape("(1, 2)").contains("promises 8 bytes"));
    assert!(shape("(4294967296, 4294967296)").contains("larger than any file"));
    assert!(shape("(-1, 4)").contains("expected a dimension"));
    assert!(shape("(99999999999999999999, 4)").contains("expected a dimension"));
    assert!(words(read_array(&npy("'|u1'", "False", "(1, 300000)", &[0; 300_000]))).contains("at most 262144"));
    assert!(words(read_array(b"\x93NUMPY\x09\x00\x00\x00")).contains("version 9"));
    assert!(words(read_array(b"\x93NUMPY\x02\x00\xff\xff\xff\xff")).contains("claims 4294967295 bytes"));
    assert!(words(read_array(b"\x93NUMPY\x01\x00\xff\x00{")).contains("ends inside"));
    for bad in ["{'descr': '<f4'}", "{'descr': '<f4', 'descr': '<f4'}", "[]", "{'x': 1}", "", "{'fortran_order': 1}"] {
        let mut file = b"\x93NUMPY\x01\x00".to_vec();
        file.extend((bad.len() as u16).to_le_bytes());
        file.extend(bad.bytes());
        assert!(words(read_array(&file)).starts_with("d.npy: the NPY header is wrong"), "{bad}");
    }
    let nan = npy("'<f4'", "False", "(2, 2)", &le(&[1.0, 2.0, 3.0, f32::NAN], f32::to_le_bytes));
    assert_eq!(
        words(read_array(&nan)),
        "d.npy: row 1 (counted from 0), column 2: expected a number, found \"NaN\", a missing value; fill the cell, or train with \
         --missing, which says what stands for it"
    );
    assert!(words(read_array(&npy("'<f8'", "False", "(1,)", &1e300_f64.to_le_bytes()))).contains("1e300 is too large"));
    assert!(words(read_bytes("d.npy", b"1,2\n", None, &Options::default())).contains("does not start as NPY"));
}

#[test]
fn idx_files() {
    let t = read_array(&idx(8, &[2, 2, 2], &[0, 1, 2, 3, 4, 5, 6, 255])).unwrap();
    assert_eq!((t.rows, t.cols, t.inputs[7]), (2, 4, 255.0));
    assert_eq!(read_array(&idx(9, &[1], &[0xff])).unwrap().inputs, [-1.0]);
    assert_eq!(read_array(&idx(0x0b, &[1], &[0xff, 0xfe])).unwrap().inputs, [-2.0]);
    assert_eq!(read_array(&idx(0x0c, &[1], &[0, 0, 1, 0])).unwrap().inputs, [256.0]);
    assert_eq!(read_array(&idx(0x0d, &[1], &1.5_f32.to_be_bytes())).unwrap().inputs, [1.5]);
    assert_eq!(read_array(&gz(&idx(0x0e, &[1], &1.5_f64.to_be_bytes()))).unwrap().inputs, [1.5]);
    assert!(words(read_array(&idx(8, &[u32::MAX, u32::MAX], &[0; 4]))).contains("there are 4"));
    assert!(words(read_array(&idx(8, &[u32::MAX; 200], &[0; 4]))).contains("larger than any file"));
    assert!(
        words(read_array(&gz(&idx(8, &[u32::MAX, 4], &[0; 7]))))
            .contains("promises 17179869180 bytes of data (4294967295 × 4), there are 7")
    );
    assert!(words(read_array(&gz(&idx(8, &[1, 4], &[0; 7])))).contains("there are more"));
    assert!(words(read_array(&[0, 0, 8, 3, 0, 0])).contains("ends inside its dimensions"));
    assert!(words(read_array(&[0, 0, 7, 3, 0, 0])).contains("unknown kind"));
}

#[test]
fn label_files() {
    let data = npy("'|u1'", "False", "(4, 1)", &[1, 2, 3, 4]);
    let with = |labels: &[u8], options: &Options| read_bytes("d.npy", &data, Some(labels), options);
    let auto = Options::default();
    assert_eq!(classes(&with(&idx(8, &[4], &[3, 0, 1, 2]), &auto).unwrap()).0, [3, 0, 1, 2]);
    assert_eq!(classes(&with(b"label\nb\na\nb\na\n", &auto).unwrap()), (vec![1, 0, 1, 0], vec!["a", "b"]));
    assert_eq!(classes(&with(b"id,label\n7,b\n8,a\n9,b\n6,a\n", &auto).unwrap()).0, [1, 0, 1, 0]);
    assert!(words(with(b"x,y\n7,1\n8,0\n", &auto)).contains("name it with --target"));
    assert_eq!(words(with(b"0\n1\n0\n", &auto)), "d.npy has 4 rows, labels has 3 labels; they must be equal");
    let floats = npy("'<f4'", "False", "(4,)", &le(&[1.0, 0.0, 1.0, 0.0_f32], f32::to_le_bytes));
    assert_eq!(values(&with(&floats, &auto).unwrap()).1, 1);
    let asked = Options { task: Task::Classes, ..Options::default() };
    assert_eq!(classes(&with(&floats, &asked).unwrap()).0, [1, 0, 1, 0]);
    let halves = npy("'<f4'", "False", "(4,)", &le(&[1.0, 0.5, 1.0, 0.0_f32], f32::to_le_bytes));
    assert!(
        words(with(&halves, &asked))
            .contains("row 1 (counted from 0), column 1: expected a class as a whole number, found 0.5")
    );

    let hot = npy("'|u1'", "False", "(4, 2)", &[0, 1, 1, 0, 0, 1, 0, 1]);
    assert_eq!(classes(&with(&hot, &auto).unwrap()), (vec![1, 0, 1, 1], vec!["0", "1"]));
    assert_eq!(values(&with(&hot, &Options { task: Task::Values, ..Options::default() }).unwrap()).1, 2);
    let cold = npy("'|u1'", "False", "(4, 2)", &[0, 1, 1, 0, 1, 1, 0, 1]);
    assert_eq!(values(&with(&cold, &auto).unwrap()).1, 2);
    assert!(
        words(with(&cold, &asked)).contains(
            "row 2 (counted from 0), column 1: expected one 1 and otherwise 0 (one-hot classes), found 2 ones"
        )
    );
    let known = Options { classes: Some(strings(&["a", "b", "c"])), ..Options::default() };
    assert!(with(&hot, &known).is_err());

    // A filter on the data chooses the labels too.
    let filtered = Options { filters: vec!["row=1..2".parse().unwrap()], ..Options::default() };
    let t = with(b"label\nb\na\nb\nz\n", &filtered).unwrap();
    assert_eq!((t.inputs.clone(), classes(&t)), (vec![2.0, 3.0], (vec![0, 1], vec!["a", "b"])));
    assert!(words(with(b"label\nb\na\nb\n", &filtered)).contains("4 rows"));
}

#[test]
fn targets_inside_an_array() {
    let data = npy("'|u1'", "False", "(2, 3)", &[5, 6, 1, 7, 8, 0]);
    let options = Options { target: TargetColumn::Columns(strings(&["last"])), ..Options::default() };
    let t = read_bytes("d.npy", &data, None, &options).unwrap();
    assert_eq!((t.inputs.clone(), classes(&t).0), (vec![5.0, 6.0, 7.0, 8.0], vec![1, 0]));
    let options = Options {
        group: Some("3".into()),
        ignore: strings(&["1"]),
        filters: vec!["2=8".parse().unwrap()],
        ..Options::default()
    };
    let t = read_bytes("d.npy", &data, None, &options).unwrap();
    assert_eq!((t.inputs, t.groups.unwrap().names), (vec![8.0], strings(&["0"])));
}

#[test]
fn what_is_written_reads_back() {
    let v = [1.0, -2.5, 3e-7, f32::MAX];
    let file = npy_f32(&v, 2);
    assert_eq!(file.len() % 64, 16);
    let t = read_array(&file).unwrap();
    assert_eq!((t.inputs, t.rows, t.cols), (v.to_vec(), 2, 2));
    let ids = npy_u32(&[7, 0, 65_535]);
    assert_eq!(read_array(&ids).unwrap().inputs, [7.0, 0.0, 65_535.0]);
    let names = strings(&["p a", "p,b"]);
    let csv = Predictions { names: &names, values: &v, classes: None }.to_csv();
    assert_eq!(String::from_utf8(csv.clone()).unwrap(), "p a,\"p,b\"\n1,-2.5\n3e-7,3.4028235e38\n");
    let back = read_bytes("p.csv", &csv, None, &Options { target: TargetColumn::None, ..Options::default() }).unwrap();
    assert_eq!(back.inputs, v);
    let class_names = strings(&["cat", "dog"]);
    let csv = Predictions { names: &names, values: &v, classes: Some((&[1, 9], &class_names)) }.to_csv();
    assert!(csv.starts_with(b"class,p a,\"p,b\"\ndog,1,-2.5\n9,3e-7,"));
    let csv = Predictions { names: &[], values: &[], classes: Some((&[1, 0], &class_names)) }.to_csv();
    assert_eq!(csv, b"class\ndog\ncat\n");
    assert_eq!(Predictions { names: &names, values: &[], classes: None }.to_csv(), b"p a,\"p,b\"\n");
}

//! Packed files, archives of arrays, and several files as one set.

use super::*;
use std::fs;
use std::io::{Cursor, Write};

/// What NumPy 2 and zstd 1.5 wrote.
const NAMED: &[u8] = include_bytes!("packed/named.npz");
const ONLY: &[u8] = include_bytes!("packed/only.npz");
const TABLE_ZST: &[u8] = include_bytes!("packed/table.csv.zst");

fn zst(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

fn read_packed(bytes: &[u8]) -> Result<Table, Error> {
    read_bytes("d", bytes, None, &Options::default())
}

#[test]
fn zstd_frames_cuts_and_damage() {
    let text: String = "a,b,label\n".to_owned()
        + &(0..200).map(|i| format!("{i}.5,{},{}\n", -i, ["x", "y", "z"][i as usize % 3])).collect::<String>();
    let plain = csv(&text).unwrap();
    assert_eq!(read_packed(TABLE_ZST).unwrap(), plain);
    let (one, two) = text.split_at(777);
    let empty_frame = [&[0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
    let frames = [&empty_frame, &zst(one.as_bytes())[..], &empty_frame, &zst(two.as_bytes())].concat();
    assert_eq!(read_packed(&frames).unwrap(), plain);
    for packed in [TABLE_ZST, &frames] {
        for cut in 1..packed.len() {
            // A file that ends between two frames is whole, as far as zstd goes; the table then ends inside a line or a row
            // earlier.
            match read_packed(&packed[..cut]) {
                Ok(table) => assert!(table.rows < plain.rows && packed == frames, "cut at {cut}"),
                Err(error) => assert!(!error.to_string().is_empty()),
            }
        }
    }
    assert!(words(read_packed(&TABLE_ZST[..TABLE_ZST.len() - 9])).contains("zstd data ends too early"));
    // The last four bytes are the frame's checksum.
    let mut damaged = TABLE_ZST.to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    assert!(words(read_packed(&damaged)).contains("zstd data is damaged"));
    // What a changed byte leaves undetected, it has not changed: bits that the decoder passes over.
    let refused = (4..TABLE_ZST.len()).filter(|at| {
        let mut damaged = TABLE_ZST.to_vec();
        damaged[*at] ^= 0x10;
        read_packed(&damaged).map(|table| assert_eq!(table, plain, "byte {at}")).is_err()
    });
    assert!(refused.count() > TABLE_ZST.len() * 9 / 10);
    assert!(words(read_packed(&zst(&zst(b"a,b\n")))).contains("packed twice"));
}

#[test]
fn a_zstd_bomb_or_a_huge_window_stops_early() {
    let bomb = zst(&b"0,0\n".repeat(25_000_000));
    assert!(bomb.len() < 200_000);
    let error = words(read_packed(&bomb));
    assert!(error.contains("unpacks to more than") && error.contains("unzstd"), "{error}");
    // A frame of 20 bytes that asks for a window of 128 MiB.
    let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x88, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let error = words(read_packed(&frame));
    assert!(error.contains("zstd data is damaged") && error.to_lowercase().contains("window"), "{error}");
}

#[test]
fn arrays_of_an_archive() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    fs::write(path("named.npz"), NAMED).unwrap();
    fs::write(path("only.npz"), ONLY).unwrap();
    fs::write(path("named.npz.gz"), gz(NAMED)).unwrap();
    fs::write(path("named.npz.zst"), zst(NAMED)).unwrap();
    let inputs: Vec<f32> = (0..24).map(|i| i as f32 / 8.0).collect();
    let only = read(path("only.npz"), &Options::default()).unwrap();
    assert_eq!((only.rows, only.cols, only.target), (6, 4, None));
    assert_eq!(only.inputs, inputs);
    for name in ["named.npz", "named.npz.gz", "named.npz.zst", "named.npz:x_train"] {
        let table = read(path(name), &Options::default()).unwrap();
        assert_eq!(table.inputs, inputs, "{name}");
        assert_eq!(classes(&table), (vec![0, 1, 2, 0, 1, 2], vec!["0", "1", "2"]), "{name}");
    }
    let test = read(path("named.npz:x_test"), &Options::default()).unwrap();
    assert_eq!((test.inputs[0], test.rows), (100.0, 2));
    assert_eq!(classes(&test), (vec![0, 1], vec!["0", "1"]));
    let labels = Options { labels: Some(path("named.npz:y_test")), ..Options::default() };
    assert!(words(read(path("named.npz"), &labels)).contains("y_test"));
    let missing = words(read(path("named.npz:z"), &Options::default()));
    assert!(missing.contains("has no array \"z\"") && missing.contains("\"x_test\""), "{missing}");
    fs::write(path("plain.csv"), "1,2\n").unwrap();
    assert!(words(read(path("plain.csv:x"), &Options::default())).contains("is no NPZ archive"));
}

fn zip_of(files: &[(&str, &[u8])], method: zip::CompressionMethod) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        zip.start_file(*name, zip::write::SimpleFileOptions::default().compression_method(method)).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

#[test]
fn damaged_archives() {
    let [stored, deflated] = [zip::CompressionMethod::Stored, zip::CompressionMethod::Deflated];
    assert!(words(read_packed(&zip_of(&[("xl/sheet.xml", b"<a/>")], stored))).contains("a zip file without arrays"));
    assert!(words(read_packed(b"PK\x03\x04aaaa")).contains("NPZ"));
    let npy = npy_f32(&[1.0, 2.0, 3.0, 4.0], 2);
    for method in [stored, deflated] {
        let whole = zip_of(&[("b.npy", &npy), ("a.npy", &npy)], method);
        let error = words(read_packed(&whole));
        assert!(
            error.contains("no array is called x") && error.contains("\"a\"") && error.contains("\"b\""),
            "{error}"
        );
        let whole = zip_of(&[("x.npy", &npy)], method);
        assert_eq!(read_packed(&whole).unwrap().inputs, [1.0, 2.0, 3.0, 4.0]);
        for cut in 2..whole.len() {
            assert!(read_packed(&whole[..cut]).is_err(), "cut at {cut}");
        }
        // Every bit of the array counts: its checksum is compared at the end.
        let at = whole.windows(5).position(|bytes| bytes == b"x.npy").unwrap() + 5;
        for byte in at + 3..at + 60 {
            let mut damaged = whole.clone();
            damaged[byte] ^= 4;
            assert!(read_packed(&damaged).is_err(), "{method:?}, byte {byte}");
        }
    }
    let bomb = zip_of(&[("x.npy", &npy_f32(&vec![0.0; 30_000_000], 30_000))], deflated);
    assert!(bomb.len() < 400_000);
    assert!(words(read_packed(&bomb)).contains("unpacks to more than"));
}

#[test]
fn several_files_are_one_set() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    fs::write(path("day1.csv"), "a,b,label\n1,2,x\n3,4,y\n").unwrap();
    // Another order of the columns, another packing.
    fs::write(path("day2.csv.gz"), gz(b"label,b,a\nz,6,5\nx,8,7\n")).unwrap();
    let set = read(path("day*"), &Options::default()).unwrap();
    assert_eq!(set.inputs, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
    assert_eq!(classes(&set), (vec![0, 1, 2, 0], vec!["x", "y", "z"]));
    let listed = read(format!("{},{}", path("day1.csv"), path("day2.csv.gz")), &Options::default()).unwrap();
    assert_eq!(listed, set);
    // Rows are counted through the set, lines in each file.
    let filters = vec!["row=1..2".parse().unwrap()];
    assert_eq!(read(path("day*"), &Options { filters, ..Options::default() }).unwrap().inputs, [3.0, 4.0, 5.0, 6.0]);
    fs::write(path("day3.csv"), "a,b,label\n1,2,x\n1,oops,x\n").unwrap();
    let error = words(read(path("day*"), &Options::default()));
    assert!(error.contains("day3.csv: line 3, column \"b\""), "{error}");
    fs::write(path("day3.csv"), "a,c,label\n1,2,x\n").unwrap();
    assert!(words(read(path("day*"), &Options::default())).contains("day3.csv: has no column \"b\""));
    fs::write(path("day3.csv"), "a,label\n1,x\n").unwrap();
    assert!(words(read(path("day*"), &Options::default())).contains("day3.csv: has 2 columns, the first file has 3"));
    fs::write(path("day3.csv"), "1,2,3\n").unwrap();
    assert!(words(read(path("day*"), &Options::default())).contains("has no names of columns"));
    assert!(words(read(path("night*.csv"), &Options::default())).contains("no file fits"));
    assert!(words(read(path("[.csv"), &Options::default())).contains("[.csv"));
    // Labels in files of their own.
    for (name, text) in [("x1.csv", "1,2\n3,4\n"), ("x2.csv", "5,6\n"), ("y1.csv", "0\n1\n"), ("y2.csv", "1\n")] {
        fs::write(path(name), text).unwrap();
    }
    let labels = |pattern| Options { labels: Some(path(pattern).into()), ..Options::default() };
    let set = read(path("x?.csv"), &labels("y?.csv")).unwrap();
    assert_eq!((set.rows, classes(&set).0), (3, vec![0, 1, 1]));
    assert!(words(read(path("x?.csv"), &labels("y1.csv"))).contains("2"));
}

//! Files on the disk, and how they are packed.

use super::*;
use std::fs;

#[test]
fn missing_directory_and_other_kinds() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        words(read(&path, &Options::default()))
    };
    assert!(words(read(dir.path().join("none.csv"), &Options::default())).ends_with("none.csv: no such file"));
    assert!(words(read(dir.path(), &Options::default())).contains("is a directory"));
    assert!(at("e.csv", b"").ends_with("is empty"));
    assert!(at("e.csv.gz", &gz(b"")).ends_with("is empty"));
    assert!(at("a.csv", b"\xff\xfea\x00").contains("UTF-16"));
    assert!(at("a.csv", b"\x89PNG\r\n\x1a\n").contains("a picture"));
    assert!(at("a.csv", b"\x80\x04\x95").contains("pickle"));
    assert!(at("a.csv", b"ab\x00c").contains("binary data"));
    assert!(at("a.csv.gz", &gz(&gz(b"a,b\n"))).contains("packed twice"));
    let missing = Options { labels: Some(dir.path().join("none")), ..Options::default() };
    assert!(words(read(dir.path().join("a.csv"), &missing)).contains("none: no such file"));
}

#[test]
fn gzip_by_content_members_cuts_and_damage() {
    let text = format!("a,label\n{}", "1,0\n2,1\n".repeat(3000));
    let plain = csv(&text).unwrap();
    let packed = gz(text.as_bytes());
    let read_gz = |bytes: &[u8]| read_bytes("d.csv", bytes, None, &Options::default());
    assert_eq!(read_gz(&packed).unwrap(), plain);
    let (one, two) = text.split_at(5001);
    assert_eq!(read_gz(&[gz(one.as_bytes()), gz(two.as_bytes())].concat()).unwrap(), plain);
    for cut in 2..packed.len() {
        assert!(read_gz(&packed[..cut]).is_err(), "cut at {cut}");
    }
    assert!(words(read_gz(&packed[..packed.len() - 9])).contains("cut off"));
    let mut damaged = packed.clone();
    let crc = damaged.len() - 6;
    damaged[crc] ^= 1;
    assert!(words(read_gz(&damaged)).contains("is damaged"));
    assert!(words(read_gz(&[&packed[..], b"garbage after it"].concat())).contains("is damaged"));
}

#[test]
fn a_gzip_bomb_stops_early() {
    // One number again and again: 100 MB of text in 100 kB.
    let bomb = gz(&b"0,0\n".repeat(25_000_000));
    assert!(bomb.len() < 200_000);
    let error = words(read_bytes("d.csv", &bomb, None, &Options::default()));
    assert!(error.contains("unpacks to more than") && error.contains("gunzip"), "{error}");
}

#[test]
fn the_wrist_data_reads_with_its_split() {
    let header = "subject,label,f1,f2\n";
    let text: String = (0..20).map(|i| format!("{},{},{i}.5,-{i}\n", i / 2, i % 3)).collect();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("wrist.csv.gz");
    fs::write(&path, gz(format!("{header}{text}").as_bytes())).unwrap();
    let part = |filter: &str| {
        let filters = vec![filter.parse().unwrap()];
        read(&path, &Options { ignore: strings(&["subject"]), filters, ..Options::default() }).unwrap()
    };
    let (train, test) = (part("subject=0..6"), part("subject=7..9"));
    assert_eq!((train.rows, test.rows, train.cols), (14, 6, 2));
    assert_eq!(train.feature_names, ["f1", "f2"]);
}

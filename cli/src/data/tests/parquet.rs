//! Parquet files, as pyarrow 21 writes them.

use super::*;

const TABLES: [(&str, &[u8]); 5] = [
    ("none", include_bytes!("packed/table_none.parquet")),
    ("snappy", include_bytes!("packed/table_snappy.parquet")),
    ("zstd", include_bytes!("packed/table_zstd.parquet")),
    ("gzip", include_bytes!("packed/table_gzip.parquet")),
    ("lz4", include_bytes!("packed/table_lz4.parquet")),
];

/// The same table as text.
fn text() -> String {
    let rows = ["1.5,1,oslo,1,0.5,low", ",2,bergen,0,1.5,high", "3.25,3,,1,2.5,low", "4,4,oslo,1,3.5,high"];
    format!("weight,age,site,ok,h,kind\n{}", (rows.join("\n") + "\n").repeat(5))
}

#[test]
fn a_table_is_that_of_its_csv_file() {
    let options = Options {
        categorical: Categorical::Columns(strings(&["site"])),
        missing: Missing::Value(-1.0),
        target: TargetColumn::Columns(strings(&["kind"])),
        ..Options::default()
    };
    let filled = |table: Result<Table, Error>| {
        let mut table = table.unwrap();
        let fill = options.missing.learn(evenkeel::data::Source::Values(&table.inputs), table.cols).unwrap();
        Encoding { fill, ..Encoding::default() }.fill_in(&mut table.inputs);
        table
    };
    let expected = filled(csv_with(&text(), &options));
    assert_eq!((expected.rows, expected.cols), (20, 6));
    for (packing, bytes) in TABLES {
        assert_eq!(filled(read_bytes("t.parquet", bytes, None, &options)), expected, "{packing}");
    }
    let error = words(read_bytes("t.parquet", TABLES[0].1, None, &Options { missing: Missing::Refuse, ..options }));
    assert!(error.contains("row 1 (counted from 0), column weight") && error.contains("--missing"), "{error}");
}

#[test]
fn what_is_no_table_of_numbers_and_words() {
    let refused = |bytes: &[u8]| words(read_bytes("t", bytes, None, &Options::default()));
    assert!(refused(include_bytes!("packed/time.parquet")).contains("dates or times"));
    assert!(refused(include_bytes!("packed/nested.parquet")).contains("a list or group (column \"l\")"));
    assert!(refused(include_bytes!("packed/decimal.parquet")).contains("decimals"));
    assert!(refused(b"PAR1").contains("Parquet"));
}

#[test]
fn damage_is_an_error_or_nothing() {
    let options = Options { ignore: strings(&["site"]), missing: Missing::Mean, ..Options::default() };
    let mut refused = 0;
    for (_, bytes) in TABLES {
        for at in (0..bytes.len()).step_by(3) {
            let mut damaged = bytes.to_vec();
            damaged[at] ^= 1 << (at % 8);
            refused += u32::from(read_bytes("t", &damaged, None, &options).is_err());
        }
        for cut in (0..bytes.len()).step_by(7) {
            assert!(read_bytes("t", &bytes[..cut], None, &options).is_err(), "cut at {cut}");
        }
    }
    assert!(refused > 300, "{refused}");
}

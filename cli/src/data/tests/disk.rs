//! Inputs that stay on the disk: those of the table in memory, of every format, in any order.

use std::path::Path;

use evenkeel::data::RowSource;

use super::*;

/// Reads a file both ways; gives the table in memory.
fn same(path: &Path, options: &Options) -> Table {
    let folder = tempfile::tempdir().unwrap();
    let mut memory = read(path, options).unwrap();
    let streaming = Options { stream: Some(folder.path().to_path_buf()), ..options.clone() };
    let mut disk = read(path, &streaming).unwrap();
    // Another number for each input.
    let encoding = Encoding { fill: (0..memory.cols).map(|at| at as f32 - 7.5).collect(), ..Encoding::default() };
    memory.fill_in(&encoding);
    disk.fill_in(&encoding);
    let stored = disk.stored.take().unwrap();
    assert_eq!((stored.rows(), stored.features(), disk.inputs.len()), (memory.rows, memory.cols, 0));
    let last = memory.rows as u32 - 1;
    let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<u32>>();
    for rows in [(0..=last).collect(), (0..=last).rev().collect::<Vec<u32>>(), vec![last, 0, last / 2, last]] {
        let mut found = vec![f32::NAN; rows.len() * memory.cols];
        stored.read(&rows, &mut found).unwrap();
        let places: Vec<usize> = rows.iter().map(|row| *row as usize).collect();
        assert_eq!(bits(&found), bits(&memory.select(&places).inputs), "{}", path.display());
        let mut again = vec![f32::NAN; rows.len() * memory.cols];
        let all: Vec<u32> = (0..rows.len() as u32).collect();
        stored.subset(&rows).read(&all, &mut again).unwrap();
        assert_eq!(bits(&again), bits(&found));
    }
    assert!(stored.read(&[last + 1], &mut vec![0.0; memory.cols]).is_err());
    assert_eq!(Table { inputs: memory.inputs.clone(), ..disk }, memory);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "the spool file has no name");
    memory
}

#[test]
fn the_rows_of_every_format() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let plain = Options::default();
    let values: Vec<f32> = (0..60).map(|at| if at % 13 == 5 { f32::NAN } else { at as f32 / 3.0 }).collect();
    let lenient = missing_cells("mean");
    for (name, bytes) in
        [("named.npz", &include_bytes!("packed/named.npz")[..]), ("only.npz", include_bytes!("packed/only.npz"))]
    {
        same(&write(name, bytes), &plain);
    }
    same(&write("table.csv.zst", include_bytes!("packed/table.csv.zst")), &plain);
    let array = write("a.npy", &npy_f32(&values, 6));
    same(&array, &lenient);
    same(&array, &Options { ignore: strings(&["2", "6"]), ..lenient.clone() });
    same(&array, &missing_cells("drop"));
    let filters = vec!["row=2..8".parse().unwrap(), "1=0..15".parse().unwrap()];
    assert_eq!(same(&array, &Options { filters, ..lenient.clone() }).rows, 5);
    // Numbers that are categories are not read in place; files of both kinds are one set.
    same(&array, &Options { categorical: Categorical::Columns(strings(&["3"])), ..lenient.clone() });
    let text: String = values.chunks(6).map(|row| format!("{row:?}\n").replace(['[', ']', ' '], "")).collect();
    write("b.csv", text.as_bytes());
    for list in ["a.npy,b.csv,a.npy", "b.csv,b.csv", "b.csv,a.npy,a.npy,b.csv"] {
        let list: Vec<String> = list.split(',').map(|name| folder.path().join(name).display().to_string()).collect();
        let options = Options { target: TargetColumn::None, header: Header::No, ..lenient.clone() };
        let table = same(Path::new(&list.join(",")), &options);
        assert_eq!(table.rows, 10 * list.len());
    }
    let one_hot = "a,colour,b\n1,red,x\n2,?,y\n3,blue,x\n4,green,y\n";
    same(&write("c.csv", one_hot.as_bytes()), &Options { categorical: Categorical::Auto, ..lenient });
    let half: Vec<u8> = [0, 0, 8, 2, 0, 0, 0, 3, 0, 0, 0, 2, 1, 2, 3, 4, 5, 250].to_vec();
    assert_eq!(same(&write("d.idx", &half), &plain).inputs, [1., 2., 3., 4., 5., 250.]);
}

fn missing_cells(policy: &str) -> Options {
    Options { missing: policy.parse().unwrap(), ..Options::default() }
}

#[cfg(feature = "parquet")]
#[test]
fn a_parquet_file_is_read_where_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.parquet");
    std::fs::write(&path, include_bytes!("packed/table_zstd.parquet")).unwrap();
    let options = Options { categorical: Categorical::Auto, ..missing_cells("median") };
    assert_eq!(same(&path, &options).rows, 20);
    let packed = folder.path().join("t.parquet.gz");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut gzip, include_bytes!("packed/table_zstd.parquet")).unwrap();
    std::fs::write(&packed, gzip.finish().unwrap()).unwrap();
    let streaming = Options { stream: Some(folder.path().to_path_buf()), ..options };
    assert!(words(read(&packed, &streaming)).contains("unpack it into a file"));
}

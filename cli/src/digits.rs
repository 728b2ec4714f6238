//! The handwritten digits that ship inside the command: what `train` uses if no data file is named.
//!
//! Source, licence and changes are told in `data/README.md`; [`ATTRIBUTION`] is the short form for the user's eyes.

use crate::data::{Error, Options, Table, read_bytes};

/// The file as it lies in the repository.
pub const FILE: &[u8] = include_bytes!("../data/digits.csv.gz");

/// What errors and reports call the file.
pub const NAME: &str = "built-in digits.csv";

/// Who made the data and under which licence, for reports that use it.
pub const ATTRIBUTION: &str = "Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak (1998), UCI Machine \
    Learning Repository, doi 10.24432/C50P49, CC BY 4.0; written as integers with a header line";

/// How many rows, from the first, are for training; the rest is the usual test set.
pub const TRAIN_ROWS: usize = 1437;

/// The digits: 1,797 rows of 64 numbers from 0 to 16, ten classes. The options may choose rows.
///
/// # Errors
/// Only for options that ask for columns or rows the file does not have.
pub fn read(options: &Options) -> Result<Table, Error> {
    read_bytes(NAME, FILE, None, options)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Target;

    #[test]
    fn reads_whole_and_split() {
        let all = read(&Options::default()).unwrap();
        assert_eq!((all.rows, all.cols, all.feature_names[63].as_str()), (1797, 64, "p63"));
        assert!(all.inputs.iter().all(|v| (0.0..=16.0).contains(v)));
        let Some(Target::Classes { labels, names }) = &all.target else { panic!("classes") };
        assert_eq!(names.join(""), "0123456789");
        assert_eq!(labels[..10], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);

        let rows = |filter: &str| Options { filters: vec![filter.parse().unwrap()], ..Options::default() };
        let train = read(&rows("row=..1436")).unwrap();
        let test = read(&rows("row=1437..")).unwrap();
        assert_eq!((train.rows, test.rows), (TRAIN_ROWS, 360));
        assert_eq!(all.inputs, [train.inputs, test.inputs].concat());
        assert_eq!(all.select(&(0..TRAIN_ROWS).collect::<Vec<_>>()).target, train.target);
    }
}

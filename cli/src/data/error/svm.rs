//! What can be wrong in a line of index lists.

/// What is wrong in a line of index lists.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SvmProblem {
    /// The line begins with an index.
    #[error("begins with {found:?}; a row is its label and then index:1 for each input that is 1")]
    NoLabel {
        /// The first word.
        found: String,
    },
    /// A word without a colon.
    #[error("expected index:1, found {found:?}")]
    NotAPair {
        /// The word.
        found: String,
    },
    /// What stands before the colon is no index.
    #[error("expected a whole number before the colon, found {found:?}")]
    NotAnIndex {
        /// The word.
        found: String,
    },
    /// Index 0 where counting begins with 1.
    #[error("index 0, but indices count from 1: if this file counts from 0, say --index-base 0")]
    Zero,
    /// An index beyond the inputs.
    #[error("index {index} is beyond the {width} inputs, the last is {last}")]
    Beyond {
        /// The index as written.
        index: u64,
        /// Number of inputs.
        width: usize,
        /// The last index as it would be written.
        last: u64,
    },
    /// An index that is not larger than the one before it.
    #[error("index {index} comes after {before}: list each input once, in ascending order")]
    Order {
        /// The index as written.
        index: u64,
        /// The one before it.
        before: u64,
    },
    /// A value that is not 1.
    #[error(
        "index {index} has the value {found:?}, but index lists hold ones only: write the rows as numbers (CSV, NPY) instead"
    )]
    NotOne {
        /// The index as written.
        index: u64,
        /// The value.
        found: String,
    },
    /// A query of a ranking problem.
    #[error("qid: pairs of a ranking are not learned here; leave qid out")]
    Query,
    /// No index in the whole file, and no width.
    #[error("no row lists an index: say how many inputs a row has with --width")]
    NoIndex,
}

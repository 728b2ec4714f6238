//! What can be wrong with a packed file, besides what it holds.

use crate::data::unpack::Packing;

/// What is wrong with a packed file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PackedProblem {
    /// It ends too early.
    #[error("the {} data ends too early: the file is cut off; copy or download it again", packing.name())]
    Cut {
        /// How it is packed.
        packing: Packing,
    },
    /// It is damaged.
    #[error("the {} data is damaged ({what}); copy or download it again", packing.name())]
    Damaged {
        /// How it is packed.
        packing: Packing,
        /// The unpacker's words.
        what: String,
    },
    /// It unpacks to absurdly much.
    #[error(
        "unpacks to more than {limit} bytes (64 MiB + 100 times its packed size), which real data hardly does; if it is \
         meant, unpack it first with {}", packing.tool()
    )]
    Bomb {
        /// How it is packed.
        packing: Packing,
        /// The limit that was passed.
        limit: u64,
    },
}

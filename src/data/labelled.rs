//! What any data set with labels can do: hold rows out, and weigh them.

use alloc::vec::Vec;

use super::folds::{folds, hold_out};
use super::{Dataset, SparseDataset};
use crate::error::Error;
use crate::train::Mean;

macro_rules! labelled {
    ($($data:ident)*) => {
        $(impl $data {
            /// Holds out `fraction` of the rows, for validation or test: `(kept, held out)`, each in file order.
            ///
            /// Classes are held out in proportion (stratified), by largest remainder; `purpose` numbers independent splits
            /// of the same seed. A pure function of the labels, the fraction (0 to 1, else the nearer of them) and the seed.
            #[must_use]
            pub fn hold_out(&self, fraction: f64, seed: u64, purpose: u32) -> (Vec<u32>, Vec<u32>) {
                hold_out(&self.labels, self.rows(), fraction, seed, purpose)
            }

            /// The rows that each of `count` folds holds out, in file order: every row is held out once.
            ///
            /// Classes are spread evenly (stratified): no two folds differ by more than one row, nor by more than one row of
            /// any class. A pure function of the labels, the count and the seed, as scikit-learn's
            /// `StratifiedKFold(shuffle=True)` (whose random numbers are others), and `KFold` for values.
            ///
            /// # Errors
            /// [`Error::Folds`] unless there are 2 to as many folds as rows.
            pub fn folds(&self, count: usize, seed: u64) -> Result<Vec<Vec<u32>>, Error> {
                folds(&self.labels, self.rows(), count, seed)
            }

            /// The data with a weight for each row, multiplied by those it has already.
            ///
            /// # Errors
            /// [`Error::Length`] for another number of weights than rows, [`Error::Weight`] for one that is negative or not
            /// finite, [`Error::AllWeightsZero`] if all of them are 0.
            pub fn weighted(self, weights: Vec<f32>, mean: Mean) -> Result<Self, Error> {
                let rows = self.rows();
                Ok(Self { labels: self.labels.weighted(rows, weights, mean)?, ..self })
            }

            /// The data with each row weighted by its class (Keras' `class_weight`, PyTorch's `weight`): `weights[c]` for class
            /// `c`. A single value per row is class 1 above 1/2, else class 0.
            ///
            /// # Errors
            /// [`Error::ClassWeight`] for a class without a weight; as [`weighted`](Self::weighted).
            pub fn class_weighted(self, weights: &[f32], mean: Mean) -> Result<Self, Error> {
                let rows = self.rows();
                Ok(Self { labels: self.labels.class_weighted(rows, weights, mean)?, ..self })
            }

            /// Weights under which all classes that turn up weigh the same: `rows / (classes * rows of the class)`,
            /// scikit-learn's "balanced". 0 for a class without rows.
            #[must_use]
            pub fn balanced(&self) -> Vec<f32> {
                self.labels.balanced(self.rows())
            }
        })*
    };
}

labelled!(Dataset SparseDataset);

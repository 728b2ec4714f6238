//! Which rows are held out: for validation and test, or in turn for cross-validation.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::Labels;
use crate::error::Error;
use crate::rng::{Purpose, Stream, shuffle};

/// The rows of each class, in order; of one, if they have values.
///
/// A map: a label may be any number before it is checked against a network.
fn by_class(labels: &Labels, rows: usize) -> BTreeMap<u32, Vec<u32>> {
    let mut classes = BTreeMap::<u32, Vec<u32>>::new();
    for row in 0..rows {
        let class = match labels.unweighted() {
            Labels::Classes(labels) => labels.get(row).copied().unwrap_or(0),
            _ => 0,
        };
        classes.entry(class).or_default().push(row as u32);
    }
    classes
}

/// As [`Dataset::hold_out`](super::Dataset::hold_out), of rows with these labels.
pub(super) fn hold_out(labels: &Labels, rows: usize, fraction: f64, seed: u64, purpose: u32) -> (Vec<u32>, Vec<u32>) {
    let (classes, groups): (Vec<u32>, Vec<Vec<u32>>) = by_class(labels, rows).into_iter().unzip();
    let wanted = shares(&groups, fraction.clamp(0.0, 1.0));
    let mut held = alloc::vec![false; rows];
    for ((class, mut group), count) in classes.into_iter().zip(groups).zip(wanted) {
        shuffle(Stream::new(seed, Purpose::Split, purpose, class), &mut group);
        group[..count].iter().for_each(|row| held[*row as usize] = true);
    }
    (0..rows as u32).partition(|row| !held[*row as usize])
}

/// How many of each group make `fraction` of all: rounded down, the rest to the largest remainders.
fn shares(groups: &[Vec<u32>], fraction: f64) -> Vec<usize> {
    let exact = |group: &Vec<u32>| group.len() as f64 * fraction;
    let mut counts: Vec<usize> = groups.iter().map(|group| exact(group) as usize).collect();
    let total = libm::round(groups.iter().map(exact).sum::<f64>()) as usize;
    let mut order: Vec<usize> = (0..groups.len()).collect();
    let remainder = |index: usize| exact(&groups[index]) - counts[index] as f64;
    order.sort_by(|a, b| remainder(*b).total_cmp(&remainder(*a)).then(a.cmp(b)));
    let missing = total.saturating_sub(counts.iter().sum());
    for index in order.into_iter().take(missing) {
        counts[index] = (counts[index] + 1).min(groups[index].len());
    }
    counts
}

/// As [`Dataset::folds`](super::Dataset::folds), of rows with these labels.
pub(super) fn folds(labels: &Labels, rows: usize, count: usize, seed: u64) -> Result<Vec<Vec<u32>>, Error> {
    if !(2..=rows).contains(&count) {
        return Err(Error::Folds { count, rows });
    }
    // Dealt out like cards, each class where the one before ended.
    let mut folds = alloc::vec![Vec::new(); count];
    let mut next = 0;
    for (class, mut members) in by_class(labels, rows) {
        shuffle(Stream::new(seed, Purpose::Folds, 0, class), &mut members);
        for row in members {
            folds[next].push(row);
            next = (next + 1) % count;
        }
    }
    folds.iter_mut().for_each(|fold| fold.sort_unstable());
    Ok(folds)
}

/// The rows of each group, in the order of the groups' numbers: leaving one out in turn tells how a model does on people,
/// devices or days that it has never seen (scikit-learn's `LeaveOneGroupOut`).
///
/// # Errors
/// [`Error::Folds`] for fewer than two groups.
pub fn group_folds(groups: &[u32]) -> Result<Vec<Vec<u32>>, Error> {
    let mut folds = BTreeMap::<u32, Vec<u32>>::new();
    for (row, group) in groups.iter().enumerate() {
        folds.entry(*group).or_default().push(row as u32);
    }
    match folds.len() {
        count @ (0 | 1) => Err(Error::Folds { count, rows: groups.len() }),
        _ => Ok(folds.into_values().collect()),
    }
}

/// The rows of `rows` that are not in `held`, in order.
#[must_use]
pub fn others(rows: usize, held: &[u32]) -> Vec<u32> {
    let mut kept = alloc::vec![true; rows];
    held.iter().filter_map(|row| usize::try_from(*row).ok()).for_each(|row| {
        if let Some(kept) = kept.get_mut(row) {
            *kept = false;
        }
    });
    (0..rows as u32).filter(|row| kept[*row as usize]).collect()
}

#[cfg(test)]
mod tests {
    use super::super::Dataset;
    use super::*;

    #[test]
    fn every_row_once_and_classes_evenly() {
        let labels: Vec<u32> = (0..203).map(|row| if row % 11 == 0 { 7 } else { row % 3 }).collect();
        let data = Dataset { inputs: alloc::vec![0.0; 203], features: 1, labels: Labels::Classes(labels.clone()) };
        for count in [2, 5, 7, 203] {
            let folds = data.folds(count, 3).unwrap();
            let mut all: Vec<u32> = folds.concat();
            all.sort_unstable();
            assert_eq!(all, (0..203).collect::<Vec<u32>>());
            let even = |sizes: Vec<usize>| sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1;
            assert!(even(folds.iter().map(Vec::len).collect()));
            for class in [0, 1, 2, 7] {
                let of_class = |fold: &Vec<u32>| fold.iter().filter(|row| labels[**row as usize] == class).count();
                assert!(even(folds.iter().map(of_class).collect()), "class {class} of {count} folds");
            }
            assert_eq!(data.folds(count, 3).unwrap(), folds);
            assert_eq!(others(203, &folds[1]).len(), 203 - folds[1].len());
        }
        assert_ne!(data.folds(5, 4).unwrap(), data.folds(5, 3).unwrap());
        for count in [0, 1, 204] {
            assert_eq!(data.folds(count, 3), Err(Error::Folds { count, rows: 203 }));
        }
        let values = Dataset { labels: Labels::Values(alloc::vec![0.0; 203]), ..data };
        assert_eq!(values.folds(2, 1).unwrap()[0].len(), 102);
    }

    #[test]
    fn one_group_at_a_time() {
        assert_eq!(group_folds(&[4, 1, 4, 0]).unwrap(), [alloc::vec![3], alloc::vec![1], alloc::vec![0, 2]]);
        assert_eq!(group_folds(&[4, 4]), Err(Error::Folds { count: 1, rows: 2 }));
    }

    #[test]
    fn splits_are_stratified_and_repeatable() {
        let labels: Vec<u32> = (0..1000).map(|row| if row % 10 == 0 { 2 } else { row % 2 }).collect();
        let data = Dataset { inputs: alloc::vec![0.0; 1000], features: 1, labels: Labels::Classes(labels.clone()) };
        let (kept, held) = data.hold_out(0.2, 7, 0);
        assert_eq!((kept.len(), held.len()), (800, 200));
        assert_eq!(held.iter().filter(|row| labels[**row as usize] == 2).count(), 20);
        assert_eq!(data.hold_out(0.2, 7, 0).1, held);
        assert_ne!(data.hold_out(0.2, 8, 0).1, held);
        assert_ne!(data.hold_out(0.2, 7, 1).1, held);
    }
}

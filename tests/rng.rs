//! Philox against its known answers, the numbering of elements, shuffling, and dropout.

use evenkeel::kernels::dropout::{Rate, dropout};
use evenkeel::rng::{Purpose, Stream, fill_u32, philox4x32_10, shuffle, unit};
use evenkeel::{Error, Level};

const STREAM: Stream = Stream::new(0x0123_4567_89ab_cdef, Purpose::Dropout, 3, 41);

/// Random123's `tests/kat_vectors`, then four of our own for the order of words and for carries.
#[test]
fn known_answers() {
    let answers = [
        ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
        ([!0; 4], [!0; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
        (
            [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
            [0xa409_3822, 0x299f_31d0],
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
        ),
        ([1, 2, 3, 4], [5, 6], [0xc0c8_39bc, 0x889c_87c5, 0x6198_6739, 0x2d46_23d0]),
        ([!0, 0, 0, 0], [1, 2], [0x6928_58e1, 0xf906_bbe0, 0xfc4d_241f, 0x46ba_3cd1]),
        ([0, 1, 0, 0], [1, 2], [0x40dc_5355, 0x4962_507b, 0x2cef_26b5, 0x6b2f_71c5]),
        ([0, 0, 0, 1], [0xdead_beef, 0xcafe_babe], [0x1703_d0df, 0x9a5b_2346, 0x485f_9b23, 0x2014_1f36]),
    ];
    for (counter, key, words) in answers {
        assert_eq!(philox4x32_10(counter, key), words, "counter {counter:x?}, key {key:x?}");
    }
}

/// The vector form is the scalar one, which is Philox numbered as documented, from any start and for any length.
#[test]
fn numbering() {
    const { assert!(STREAM.stream == 4 << 24 | 3) }
    let starts = [0, 1, 15, 16, 63, 64, 1000, (1 << 34) - 70, (1 << 38) - 100, u64::MAX - 300];
    for first in starts {
        for length in [0, 1, 15, 16, 17, 63, 64, 65, 200] {
            let expected: Vec<u32> = (0..length).map(|i| STREAM.word(first + i)).collect();
            for level in Level::available() {
                let mut out = vec![0; length as usize];
                fill_u32(level, STREAM, first, &mut out);
                assert_eq!(out, expected, "{length} from {first} on {level}");
            }
        }
        let counter = (first / 64) * 16 + first % 16;
        let counter = [counter as u32, (counter >> 32) as u32, 41, 0x0400_0003];
        let word = philox4x32_10(counter, [0x89ab_cdef, 0x0123_4567])[(first % 64 / 16) as usize];
        assert_eq!(STREAM.word(first), word);
    }
}

#[test]
fn unit_interval() {
    assert_eq!(unit(0), 0.0);
    assert_eq!(unit(0xff), 0.0);
    assert_eq!(unit(1 << 31), 0.5);
    assert_eq!(unit(u32::MAX), 1.0 - f32::EPSILON / 2.0);
    let count = 1 << 20;
    let mean = (0..count).map(|i| f64::from(unit(STREAM.word(i)))).sum::<f64>() / count as f64;
    assert!((mean - 0.5).abs() < 4.0 * (1.0 / 12f64).sqrt() / (count as f64).sqrt(), "{mean}");
}

#[test]
fn shuffle_is_an_unbiased_permutation() {
    let order = |seed, epoch, length| {
        let mut order: Vec<u32> = (0..length).collect();
        shuffle(Stream::new(seed, Purpose::Shuffle, 0, epoch), &mut order);
        order
    };
    for length in [0, 1, 2, 3, 64, 1000] {
        let mut sorted = order(7, 0, length);
        sorted.sort_unstable();
        assert!(sorted.into_iter().eq(0..length));
    }
    assert_eq!(order(7, 1, 1000), order(7, 1, 1000));
    assert_ne!(order(7, 1, 1000), order(7, 2, 1000));
    assert_ne!(order(7, 1, 1000), order(8, 1, 1000));
    // All 24 orders of four items: chi-square with 23 degrees of freedom, 1e-6 quantile 70.5.
    let runs = 48_000;
    let mut counts = std::collections::BTreeMap::new();
    for epoch in 0..runs {
        *counts.entry(order(1, epoch, 4)).or_insert(0) += 1;
    }
    assert_eq!(counts.len(), 24);
    let expected = f64::from(runs) / 24.0;
    let chi: f64 = counts.values().map(|n| (f64::from(*n) - expected).powi(2) / expected).sum();
    assert!(chi < 70.5, "chi-square {chi}");
    // Kept for good: a changed order would change every training run.
    assert_eq!(order(42, 0, 12), [7, 4, 9, 5, 2, 10, 8, 1, 6, 0, 11, 3]);
}

const RATES: [f32; 9] = [0.0, 0.01, 0.1, 0.2, 0.5, 0.7, 0.9, 0.999, 1.0];

/// Over 10^8 draws in all, the share of kept elements is within 4 σ, and the mean of the result within 4 σ of 1.
#[test]
fn keep_rate_and_expectation() {
    const CHUNK: usize = 1 << 16;
    const CHUNKS: usize = 184;
    const { assert!(CHUNK * CHUNKS * RATES.len() >= 100_000_000) }
    let level = Level::detect();
    for (layer, p) in RATES.into_iter().enumerate() {
        let rate = Rate::new(p).unwrap();
        let stream = Stream::new(2024, Purpose::Dropout, layer as u32, 0);
        let (mut kept, mut sum) = (0u64, 0.0);
        let mut x = vec![0.0; CHUNK];
        for chunk in 0..CHUNKS {
            x.fill(1.0);
            dropout(level, &mut x, rate, stream, (chunk * CHUNK) as u64);
            let here = x.iter().filter(|x| **x != 0.0).count();
            assert!(x.iter().all(|x| *x == 0.0 || *x == rate.scale()));
            kept += here as u64;
            sum += here as f64 * if here == 0 { 0.0 } else { f64::from(rate.scale()) };
        }
        let draws = (CHUNK * CHUNKS) as f64;
        let keep = 1.0 - f64::from(p);
        let sigma = (keep * (1.0 - keep) / draws).sqrt();
        let deviation = kept as f64 / draws - keep;
        println!("p = {p}: kept {kept} of {draws}, {:.2} σ", if sigma > 0.0 { deviation / sigma } else { 0.0 });
        assert!(deviation.abs() <= 4.0 * sigma, "p = {p}: {deviation:e}, σ = {sigma:e}");
        if keep > 0.0 {
            // The scale is rounded to f32: 2^-24 of systematic error at most.
            let mean = sum / draws;
            assert!((mean - 1.0).abs() <= 4.0 * sigma / keep + 6e-8, "p = {p}: mean {mean}");
        }
    }
}

/// Values and gradients get the mask that the words prescribe, on every level.
#[test]
fn forward_and_backward_share_the_mask() {
    let values: Vec<f32> = (0..1000).map(|i| 0.1 + i as f32).collect();
    let gradient: Vec<f32> = values.iter().map(|x| -1.0 / x).collect();
    for p in RATES {
        let rate = Rate::new(p).unwrap();
        for level in Level::available() {
            for x in [&values, &gradient] {
                let mut y = x.clone();
                dropout(level, &mut y, rate, STREAM, 5000);
                for (i, (x, y)) in x.iter().zip(&y).enumerate() {
                    let kept = u64::from(STREAM.word(5000 + i as u64)) < rate.threshold();
                    let expected = if kept { x * rate.scale() } else { 0.0 };
                    assert_eq!(y.to_bits(), expected.to_bits(), "p = {p}, element {i}, {level}");
                }
            }
        }
    }
}

/// Any way of cutting a range into calls gives the same result as one call.
#[test]
fn any_split_gives_the_same_mask() {
    let whole: Vec<f32> = (0..2048).map(|i| (i as f32).sin()).collect();
    let rate = Rate::new(0.3).unwrap();
    let mut expected = whole.clone();
    dropout(Level::PORTABLE, &mut expected, rate, STREAM, 48);
    let sizes = [1, 7, 16, 32, 48, 64, 80, 100, 128, 1000];
    for level in Level::available() {
        for round in 0..50 {
            let mut x = whole.clone();
            let (mut start, mut cut) = (0, 0);
            while start < x.len() {
                let word = Stream::new(9, Purpose::Split, 0, round).word(cut);
                let end = (start + sizes[word as usize % sizes.len()]).min(x.len());
                dropout(level, &mut x[start..end], rate, STREAM, 48 + start as u64);
                (start, cut) = (end, cut + 1);
            }
            assert!(x.iter().zip(&expected).all(|(a, b)| a.to_bits() == b.to_bits()), "{level}, round {round}");
        }
    }
}

#[test]
fn rates() {
    for rate in [-0.1, 1.1, f32::NAN, f32::INFINITY, -f32::MIN_POSITIVE] {
        assert!(matches!(Rate::new(rate), Err(Error::DropoutRate { rate: r }) if r.to_bits() == rate.to_bits()));
    }
    assert_eq!(Rate::new(1.5).unwrap_err().to_string(), "dropout rate 1.5 is not in [0, 1]");
    let threshold = |rate| Rate::new(rate).unwrap().threshold();
    assert_eq!([0.0, -0.0, 0.25, 0.5, 1.0].map(threshold), [1 << 32, 1 << 32, 0xc000_0000, 0x8000_0000, 0]);
    assert_eq!(Rate::new(0.2).unwrap().scale(), 1.25);
}

/// A rate of 0 leaves every bit alone; a dropped element is +0.0 whatever it was.
#[test]
fn extremes() {
    let x: Vec<f32> = [f32::NAN, f32::INFINITY, -1.0, -0.0, 1e-45].into_iter().cycle().take(100).collect();
    for level in Level::available() {
        let mut y = x.clone();
        dropout(level, &mut y, Rate::new(0.0).unwrap(), STREAM, 0);
        assert!(x.iter().zip(&y).all(|(a, b)| a.to_bits() == b.to_bits()));
        dropout(level, &mut y, Rate::new(1.0).unwrap(), STREAM, 0);
        assert!(y.iter().all(|y| y.to_bits() == 0));
    }
}

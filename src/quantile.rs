//! The normal distribution's quantiles in double precision, for initial weights and for noise.
//!
//! Must not depend on anything but `libm`.

/// The number below which a standard normal one lies with probability `p` in (0, 1): infinite at the ends.
///
/// Wichura's algorithm AS 241 (PPND16, Applied Statistics 1988): rational functions of degree 7, relative error about 1e-16.
/// Five in six arguments need no logarithm.
pub(crate) fn normal(p: f64) -> f64 {
    const CENTRE: [[f64; 8]; 2] = [
        [
            3.387_132_872_796_366_6,
            133.141_667_891_784_38,
            1_971.590_950_306_551_3,
            13_731.693_765_509_46,
            45_921.953_931_549_87,
            67_265.770_927_008_7,
            33_430.575_583_588_13,
            2_509.080_928_730_122_7,
        ],
        [
            1.0,
            42.313_330_701_600_91,
            687.187_007_492_057_9,
            5_394.196_021_424_751,
            21_213.794_301_586_597,
            39_307.895_800_092_71,
            28_729.085_735_721_943,
            5_226.495_278_852_854,
        ],
    ];
    const SIDES: [[f64; 8]; 2] = [
        [
            1.423_437_110_749_683_5,
            4.630_337_846_156_546,
            5.769_497_221_460_691,
            3.647_848_324_763_204_5,
            1.270_458_252_452_368_4,
            0.241_780_725_177_450_6,
            0.022_723_844_989_269_184,
            7.745_450_142_783_414e-4,
        ],
        [
            1.0,
            2.053_191_626_637_759,
            1.676_384_830_183_803_8,
            0.689_767_334_985_1,
            0.148_103_976_427_480_08,
            0.015_198_666_563_616_457,
            5.475_938_084_995_345e-4,
            1.050_750_071_644_416_8e-9,
        ],
    ];
    const TAILS: [[f64; 8]; 2] = [
        [
            6.657_904_643_501_103,
            5.463_784_911_164_114,
            1.784_826_539_917_291_3,
            0.296_560_571_828_504_87,
            0.026_532_189_526_576_124,
            0.001_242_660_947_388_078_4,
            2.711_555_568_743_487_6e-5,
            2.010_334_399_292_288_1e-7,
        ],
        [
            1.0,
            0.599_832_206_555_888,
            0.136_929_880_922_735_8,
            0.014_875_361_290_850_615,
            7.868_691_311_456_133e-4,
            1.846_318_317_510_054_7e-5,
            1.421_511_758_316_446e-7,
            2.044_263_103_389_939_8e-15,
        ],
    ];
    let ratio = |[above, below]: [[f64; 8]; 2], r: f64| {
        let sum = |coefficients: [f64; 8]| coefficients.into_iter().rev().fold(0.0, |sum, c| sum * r + c);
        sum(above) / sum(below)
    };
    let q = p - 0.5;
    if (-0.425..=0.425).contains(&q) {
        return q * ratio(CENTRE, 0.180_625 - q * q);
    }
    let smaller = if q < 0.0 { p } else { 1.0 - p };
    let r = libm::sqrt(-libm::log(smaller));
    let size = if r <= 5.0 { ratio(SIDES, r - 1.6) } else { ratio(TAILS, r - 5.0) };
    if q < 0.0 { -size } else { size }
}

/// The probability of a standard normal number below `x`.
pub(crate) fn probability(x: f64) -> f64 {
    0.5 * libm::erfc(-x * core::f64::consts::FRAC_1_SQRT_2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_undo_probabilities() {
        let mut worst = 0.0_f64;
        for k in -3700..=0 {
            let x = f64::from(k) * 0.01;
            // Near the ends of the range `p` has digits below 1/2 only.
            worst = worst.max((normal(probability(x)) - x).abs());
        }
        for k in 0..=300 {
            let x = f64::from(k) * 0.01;
            worst = worst.max((normal(probability(x)) - x).abs());
        }
        assert!(worst < 4e-14, "{worst:e}");
        assert!(normal(0.0) == f64::NEG_INFINITY || normal(0.0).is_nan());
        assert_eq!(normal(0.5), 0.0);
    }
}

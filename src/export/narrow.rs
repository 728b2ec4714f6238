//! From the `f64` in which folding computes to the stored precision: one correct rounding, and an account of it.

/// How a dense layer's weights are stored. Biases are `f32` always: they are few.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// Single precision.
    #[default]
    F32,
    /// Half precision: half the flash, eleven bits, at most 65504.
    F16,
}

impl Precision {
    /// `f32` or `f16`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Precision::F32 => "f32",
            Precision::F16 => "f16",
        }
    }
}

/// What narrowing did to the weights of a layer.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Narrowing {
    /// The largest absolute error of a weight.
    pub max_abs: f64,
    /// The largest relative error among the weights that stay normal numbers (2^-24 at most for `f32`, 2^-11 for
    /// `f16`); what falls below is counted in the next two.
    pub max_relative: f64,
    /// Weights other than zero that became zero.
    pub zeros: usize,
    /// Weights that became subnormal: they lost digits, but not all.
    pub subnormals: usize,
}

impl Narrowing {
    /// Rounds to `f32` (nearest, ties to even), `None` if the result is not finite.
    pub(super) fn narrow_f32(&mut self, value: f64) -> Option<f32> {
        let narrow = value as f32;
        self.note(value, f64::from(narrow), f64::from(f32::MIN_POSITIVE));
        narrow.is_finite().then_some(narrow)
    }

    /// Rounds to `f16` (nearest, ties to even), `None` if the result is not finite.
    pub(super) fn narrow_f16(&mut self, value: f64) -> Option<half::f16> {
        let narrow = half::f16::from_bits(f16_from_f64(value));
        self.note(value, narrow.to_f64_const(), half::f16::MIN_POSITIVE.to_f64_const());
        narrow.is_finite().then_some(narrow)
    }

    fn note(&mut self, value: f64, narrow: f64, least_normal: f64) {
        let error = (narrow - value).abs();
        self.max_abs = self.max_abs.max(error);
        if narrow.abs() >= least_normal {
            self.max_relative = self.max_relative.max(error / value.abs());
        } else if narrow != 0.0 {
            self.subnormals += 1;
        } else if value != 0.0 {
            self.zeros += 1;
        }
    }
}

/// The nearest `f16`, ties to even, by its bits.
///
/// Not `half::f16::from_f64`: where it uses F16C it rounds to `f32` first, elsewhere it drops the lower 32 bits, so
/// it may miss the nearest value and gives different bits on different machines.
pub(super) fn f16_from_f64(value: f64) -> u16 {
    /// An `f64` has 42 fraction bits more.
    const DROPPED: u32 = 52 - 10;
    let magnitude = value.abs();
    let sign = if value.is_sign_negative() { 0x8000 } else { 0 };
    let bits = if magnitude.is_nan() {
        0x7e00
    } else if magnitude >= 65520.0 {
        // Half way from 65504 to what would be 65536, a tie that goes to the even side: infinity.
        0x7c00
    } else if magnitude < half::f16::MIN_POSITIVE.to_f64_const() {
        // The last place of 2^28 in `f64` is 2^-24, that of a subnormal `f16`: the addition rounds as wanted.
        const SHIFT: f64 = (1_u64 << 28) as f64;
        (magnitude + SHIFT).to_bits() - SHIFT.to_bits()
    } else {
        let bits = magnitude.to_bits() - ((1023 - 15) << 52);
        // Just under one half of the last place kept, and what makes it a half if that place is odd.
        (bits + ((1 << (DROPPED - 1)) - 1) + (bits >> DROPPED & 1)) >> DROPPED
    };
    sign | bits as u16
}

#[cfg(test)]
mod tests {
    use super::f16_from_f64;
    use half::f16;

    /// Every finite `f16`, the midpoint to its neighbour, and the `f64` values next to both.
    #[test]
    fn rounds_to_nearest_even() {
        for bits in 0..0x7c00_u16 {
            let value = f16::from_bits(bits).to_f64_const();
            let above = if bits + 1 == 0x7c00 { 65536.0 } else { f16::from_bits(bits + 1).to_f64_const() };
            let middle = 0.5 * (value + above);
            let even = if bits & 1 == 0 { bits } else { bits + 1 };
            for (sign, flag) in [(1.0, 0), (-1.0, 0x8000)] {
                assert_eq!(f16_from_f64(sign * value), flag | bits);
                assert_eq!(f16_from_f64(sign * value.next_up()), flag | bits);
                assert_eq!(f16_from_f64(sign * middle.next_down()), flag | bits);
                assert_eq!(f16_from_f64(sign * middle), flag | even, "{middle}");
                assert_eq!(f16_from_f64(sign * middle.next_up()), flag | (bits + 1));
            }
        }
        assert_eq!(f16_from_f64(f64::INFINITY), 0x7c00);
        assert_eq!(f16_from_f64(1e300), 0x7c00);
        assert_eq!(f16_from_f64(-1e-300), 0x8000);
        assert_eq!(f16_from_f64(f64::NAN), 0x7e00);
    }
}

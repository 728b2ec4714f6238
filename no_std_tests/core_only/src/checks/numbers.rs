//! Inputs and hashes: the same on every machine, with integers only.

/// Values that go wrong first, by their bits: zeros, ones, subnormals, extremes, infinities, NaN, ties.
#[rustfmt::skip]
pub(crate) const SPECIAL: [u32; 32] = [
    0x0000_0000, 0x8000_0000, 0x3f80_0000, 0xbf80_0000, // 0, -0, 1, -1
    0x0000_0001, 0x8000_0001, 0x007f_ffff, 0x807f_ffff, // the least and the greatest subnormals
    0x0080_0000, 0x8080_0000, 0x7f7f_ffff, 0xff7f_ffff, // the least and the greatest normal numbers
    0x7f80_0000, 0xff80_0000, 0x7fc0_0000, 0xffc0_0001, // infinities, quiet NaN
    0x7f80_0001, 0xffbf_ffff, 0x3f80_0001, 0x3f7f_ffff, // signalling NaN, the neighbours of 1
    0x4b80_0000, 0x4b80_0001, 0x4b7f_ffff, 0xcb80_0000, // around 2^24, where not every integer is a float
    0x4f00_0000, 0xcf00_0000, 0x0040_0000, 0x8020_0000, // ±2^31, subnormals in between
    0x1a00_0000, 0x2000_0000, 0x5f80_0000, 0x3dcc_cccd, // factors of tiny and of huge products, 0.1
];

/// Marsaglia's xorshift with 32 bits of state: enough for inputs, and short.
pub(crate) struct Numbers(u32);

impl Numbers {
    pub(crate) fn new(seed: u32) -> Self {
        Self(seed | 1)
    }

    pub(crate) fn bits(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0
    }

    /// Bits of an `f32`: one in eight special, one in eight anything at all, the others of moderate size.
    pub(crate) fn any(&mut self) -> u32 {
        let pick = self.bits();
        match pick >> 29 {
            0 => SPECIAL[(pick >> 8) as usize % SPECIAL.len()],
            1 => self.bits(),
            _ => self.bits() & 0x807f_ffff | (112 + (pick >> 8) % 32) << 23,
        }
    }

    /// A number of size 2^-4 to 2^4, so that long sums stay finite.
    pub(crate) fn moderate(&mut self) -> f32 {
        f32::from_bits(self.bits() & 0x807f_ffff | (123 + (self.bits() >> 8) % 8) << 23)
    }

    /// The bits of a finite half-precision number, subnormals and zeros included.
    pub(crate) fn half(&mut self) -> u16 {
        let bits = self.bits();
        (bits >> 16) as u16 & 0x83ff | ((bits & 0xf) as u16) << 10
    }
}

/// A hash of words: enough to tell results apart. A NaN is only a NaN, as in the numeric contract.
pub(crate) struct Hash(pub(crate) u32);

impl Hash {
    pub(crate) fn new() -> Self {
        Self(0x811c_9dc5)
    }

    pub(crate) fn word(&mut self, word: u32) {
        self.0 = (self.0 ^ word).wrapping_mul(0x0100_0193).rotate_left(7);
    }

    pub(crate) fn float(&mut self, x: f32) {
        self.word(if x.is_nan() { 0x7fc0_0000 } else { x.to_bits() });
    }
}

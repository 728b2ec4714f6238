//! CRC-32 as in Ethernet, gzip and PNG (polynomial 0x04c11db7, reflected), byte by byte from one table.
//!
//! It finds every error that lies within 32 bits, so every changed byte. `const`, hence not from a crate.

use super::at;

static TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut index = 0;
    while index < table.len() {
        let mut crc = index as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
};

/// Continues the register `crc` over `bytes`.
const fn update(crc: u32, bytes: &[u8]) -> u32 {
    let mut crc = crc;
    let mut at = 0;
    while at < bytes.len() {
        crc = TABLE[((crc ^ bytes[at] as u32) & 0xff) as usize] ^ crc >> 8;
        at += 1;
    }
    crc
}

/// The checksum an image must have: CRC-32 of all its bytes but 16 to 19, where it is stored (little-endian).
#[must_use]
pub const fn checksum(image: &[u8]) -> u32 {
    let (head, tail) = match image.split_at_checked(at::CHECKSUM) {
        Some((head, rest)) => match rest.split_at_checked(4) {
            Some((_, tail)) => (head, tail),
            None => (head, [].as_slice()),
        },
        None => (image, [].as_slice()),
    };
    !update(update(!0, head), tail)
}

#[cfg(test)]
mod tests {
    #[test]
    fn check_value() {
        assert_eq!(!super::update(!0, b"123456789"), 0xcbf4_3926);
    }
}

//! A line of text without heap, which the compiler can write too: a `const` that panics shows it.

/// Longer texts are cut off.
const MOST: usize = 384;

/// A message of at most 384 bytes.
#[derive(Clone, Copy, Debug)]
pub struct Message {
    bytes: [u8; MOST],
    len: usize,
}

impl Message {
    pub(crate) const fn new(text: &str) -> Self {
        Self { bytes: [0; MOST], len: 0 }.text(text)
    }

    /// Appends a text, or as many whole characters as there is room for.
    pub(crate) const fn text(mut self, text: &str) -> Self {
        let mut end = text.len();
        if end > MOST - self.len {
            end = MOST - self.len;
            while !text.is_char_boundary(end) {
                end -= 1;
            }
        }
        let mut at = 0;
        while at < end {
            self.bytes[self.len] = text.as_bytes()[at];
            self.len += 1;
            at += 1;
        }
        self
    }

    /// Appends a number, in decimal.
    pub(crate) const fn number(self, value: u64) -> Self {
        self.digits(value, 10, 1)
    }

    /// Appends a number in hexadecimal, with leading zeros.
    pub(crate) const fn hex(self, value: u32) -> Self {
        self.digits(value as u64, 16, 8)
    }

    const fn digits(self, value: u64, base: u64, least: usize) -> Self {
        // The largest `u64` has twenty decimal digits.
        let mut digits = [b'0'; 20];
        let (mut rest, mut start) = (value, digits.len());
        while rest > 0 || digits.len() - start < least {
            start -= 1;
            digits[start] = b"0123456789abcdef"[(rest % base) as usize];
            rest /= base;
        }
        match core::str::from_utf8(digits.split_at(start).1) {
            Ok(text) => self.text(text),
            Err(_) => self,
        }
    }

    /// The text.
    #[must_use]
    pub const fn as_str(&self) -> &str {
        match core::str::from_utf8(self.bytes.split_at(self.len).0) {
            Ok(text) => text,
            // Only whole characters go in.
            Err(_) => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{MOST, Message};

    #[test]
    fn numbers_are_written_as_usual() {
        let message =
            Message::new("a ").number(0).text(", ").number(u64::MAX).text(", ").hex(0xab).text(" ").hex(u32::MAX);
        assert_eq!(message.as_str(), "a 0, 18446744073709551615, 000000ab ffffffff");
    }

    #[test]
    fn what_does_not_fit_is_cut_at_a_whole_character() {
        let mut message = Message::new("x");
        for _ in 0..MOST {
            message = message.text("ö");
        }
        // 1 + 2 n is odd: the last byte stays empty.
        assert_eq!(message.as_str().len(), MOST - 1);
        assert!(message.as_str().ends_with('ö'));
    }
}

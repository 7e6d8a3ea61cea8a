//! Owns sets of bytes that are asked for each byte of a request: one look into a table.
//!
//! Refuses to know what they stand for. Bound: 256 bytes each, made when the program is built.

/// See the module.
pub(crate) struct ByteSet([bool; 256]);

impl ByteSet {
    /// ASCII letters and digits, and these.
    pub(crate) const fn alphanumeric_and(marks: &[u8]) -> Self {
        let mut has = [false; 256];
        let mut byte = 0;
        while byte < has.len() {
            has[byte] = (byte as u8).is_ascii_alphanumeric();
            byte += 1;
        }
        let mut index = 0;
        while index < marks.len() {
            has[marks[index] as usize] = true;
            index += 1;
        }
        Self(has)
    }

    pub(crate) fn has(&self, byte: u8) -> bool {
        self.0[usize::from(byte)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_letters_digits_and_marks() {
        let set = ByteSet::alphanumeric_and(b"-\xff");
        for byte in 0..=u8::MAX {
            let has = byte.is_ascii_alphanumeric() || byte == b'-' || byte == 0xff;
            assert_eq!(set.has(byte), has, "{byte}");
        }
    }
}

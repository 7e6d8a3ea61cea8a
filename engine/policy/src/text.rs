//! Owns the cutting of texts that plugins write to what an operator may be shown.
//!
//! Refuses control characters, which could forge lines or colours in a terminal. Bound: as asked.

/// At most `bytes_max` bytes of `text`, without control characters.
pub(crate) fn line(text: &str, bytes_max: usize) -> String {
    text[..text.floor_char_boundary(bytes_max)].chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(line("a\u{1b}[31m\nb", 99), "a[31mb");
        assert_eq!(line("ää", 3), "ä");
        assert_eq!(line("", 0), "");
    }
}

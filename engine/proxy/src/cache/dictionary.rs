//! Owns dictionaries of structured fields (RFC 9651, 3.2), as far as cache directives need them.
//!
//! Refuses the whole field where any part of it is malformed, as the RFC demands. Bound: one pass.

/// A member's value; its parameters are read over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    True,
    Integer(u64),
    /// Any other type, or a number below zero.
    Other,
}

/// The members, the last of each key; `None` where the text is no dictionary.
pub(crate) fn parse(text: &[u8]) -> Option<Vec<(Vec<u8>, Value)>> {
    let mut reader = Reader(text.trim_ascii());
    let mut members: Vec<(Vec<u8>, Value)> = Vec::new();
    while !reader.0.is_empty() {
        let key = reader.key()?.to_vec();
        let value = if reader.take(b'=') { reader.item()? } else { Value::True };
        reader.parameters()?;
        members.retain(|(known, _)| *known != key);
        members.push((key, value));
        reader.skip(b" \t");
        if reader.0.is_empty() {
            return Some(members);
        }
        if !reader.take(b',') {
            return None;
        }
        reader.skip(b" \t");
        if reader.0.is_empty() {
            // A comma at the end.
            return None;
        }
    }
    Some(members)
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, byte: u8) -> bool {
        let is_next = self.0.first() == Some(&byte);
        if is_next {
            self.0 = &self.0[1..];
        }
        is_next
    }

    fn skip(&mut self, bytes: &[u8]) {
        self.while_in(|byte| bytes.contains(&byte));
    }

    fn while_in(&mut self, belongs: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.0.iter().position(|&byte| !belongs(byte)).unwrap_or(self.0.len());
        let (taken, rest) = self.0.split_at(end);
        self.0 = rest;
        taken
    }

    fn key(&mut self) -> Option<&'a [u8]> {
        let first = *self.0.first()?;
        if !(first.is_ascii_lowercase() || first == b'*') {
            return None;
        }
        Some(self.while_in(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.*".contains(&byte)
        }))
    }

    fn parameters(&mut self) -> Option<()> {
        while self.take(b';') {
            self.skip(b" ");
            self.key()?;
            if self.take(b'=') {
                self.item()?;
            }
        }
        Some(())
    }

    /// A bare item, or an inner list.
    fn item(&mut self) -> Option<Value> {
        match *self.0.first()? {
            b'(' => self.list(),
            b'"' => self.string(),
            b'?' => self.boolean(),
            b':' => {
                self.take(b':');
                self.while_in(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte));
                self.take(b':').then_some(Value::Other)
            }
            b'@' => {
                self.take(b'@');
                self.number().map(|_| Value::Other)
            }
            b'-' | b'0'..=b'9' => self.number(),
            first if first.is_ascii_alphabetic() || first == b'*' => {
                self.while_in(|byte| {
                    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(&byte)
                });
                Some(Value::Other)
            }
            _ => None,
        }
    }

    fn list(&mut self) -> Option<Value> {
        self.take(b'(');
        loop {
            self.skip(b" ");
            if self.take(b')') {
                return Some(Value::Other);
            }
            // Lists do not nest.
            if self.0.first() == Some(&b'(') {
                return None;
            }
            self.item()?;
            self.parameters()?;
            if !matches!(self.0.first(), Some(b' ' | b')')) {
                return None;
            }
        }
    }

    fn string(&mut self) -> Option<Value> {
        self.take(b'"');
        loop {
            self.while_in(|byte| matches!(byte, 0x20..=0x7e) && byte != b'"' && byte != b'\\');
            if self.take(b'"') {
                return Some(Value::Other);
            }
            if !(self.take(b'\\') && (self.take(b'"') || self.take(b'\\'))) {
                return None;
            }
        }
    }

    fn boolean(&mut self) -> Option<Value> {
        self.take(b'?');
        if self.take(b'1') { Some(Value::True) } else { self.take(b'0').then_some(Value::Other) }
    }

    fn number(&mut self) -> Option<Value> {
        let is_negative = self.take(b'-');
        let digits = self.while_in(|byte| byte.is_ascii_digit());
        if digits.is_empty() || digits.len() > 15 {
            return None;
        }
        if self.take(b'.') {
            let fraction = self.while_in(|byte| byte.is_ascii_digit());
            let fits = digits.len() <= 12 && (1..=3).contains(&fraction.len());
            return fits.then_some(Value::Other);
        }
        let digit = |sum: u64, byte: &u8| sum * 10 + u64::from(byte - b'0');
        let value = digits.iter().fold(0, digit);
        Some(if is_negative { Value::Other } else { Value::Integer(value) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dictionaries_are_read_whole_or_not_at_all() {
        let check = |text: &str, expected: Option<&[(&str, Value)]>| {
            let expected = expected.map(|members| {
                let member = |(key, value): &(&str, Value)| (key.as_bytes().to_vec(), *value);
                members.iter().map(member).collect::<Vec<_>>()
            });
            assert_eq!(parse(text.as_bytes()), expected, "{text}");
        };
        check("max-age=3600", Some(&[("max-age", Value::Integer(3_600))]));
        check(
            "a, b;x=1;y, c=?0",
            Some(&[("a", Value::True), ("b", Value::True), ("c", Value::Other)]),
        );
        check("a=1, a=2", Some(&[("a", Value::Integer(2))]));
        check(
            "a=\"x,\\\"y\", b=(1 \"q\");z, c=:aGk=:, d=1.5, e=-1, f=tok/en",
            Some(&[
                ("a", Value::Other),
                ("b", Value::Other),
                ("c", Value::Other),
                ("d", Value::Other),
                ("e", Value::Other),
                ("f", Value::Other),
            ]),
        );
        check("", Some(&[]));
        for wrong in [
            "max-age =1",
            "max-age= 1",
            "A=1",
            "a,",
            "a,,b",
            "a=\"x",
            "a=&",
            "a b",
            "a=1.",
            "a=(1",
            "max-age=10, &&&",
        ] {
            check(wrong, None);
        }
    }
}

//! Owns how names of arguments and cookies are found in requests: as generous servers read them.
//!
//! Refuses names in a configuration that no request could be found to have. Bound: one pass over a
//! text for each name.

use http::HeaderMap;
use http::header::COOKIE;

/// The first byte that is meant, and what is behind it.
type First = fn(&[u8]) -> Option<(u8, &[u8])>;

/// `name`, of an argument ("arg") or a cookie ("cookie"), if a request can be found to have it.
///
/// # Errors
/// Why not, and what to write.
pub(super) fn checked(kind: &str, name: &str) -> Result<String, String> {
    let signs = if kind == "arg" { "[]%+&;*#" } else { ",;*" };
    let Some(at) = name.find(|sign| signs.contains(sign)) else { return Ok(name.to_owned()) };
    let why = match &name[at..=at] {
        "*" => "there are no patterns here; name each one".to_owned(),
        "[" if at > 0 => format!("write `arg:{}`, which stands for all indexes", &name[..at]),
        "%" | "+" => "names are compared decoded; write `_` for a space".to_owned(),
        sign => format!("no name has `{sign}`"),
    };
    Err(format!("`{kind}:{name}` is never found: {why}"))
}

/// Whether some server reads what `text` begins with as `wanted`: decoded or as it is, in any case,
/// without spaces before it, up to an index, with `_` for what cannot be in a name.
pub(super) fn is_like(text: &[u8], wanted: &str) -> bool {
    reads(text, wanted, decoded) || reads(text, wanted, as_it_is)
}

fn reads(mut text: &[u8], wanted: &str, first: First) -> bool {
    let mut next = || {
        let (byte, rest) = first(text)?;
        text = rest;
        Some(byte)
    };
    let mut byte = next();
    while byte.is_some_and(is_space) {
        byte = next();
    }
    for wanted in wanted.bytes() {
        if byte.map(plain) != Some(plain(wanted)) {
            return false;
        }
        byte = next();
    }
    byte.is_none_or(|byte| is_space(byte) || matches!(byte, b'[' | b'='))
}

fn as_it_is(text: &[u8]) -> Option<(u8, &[u8])> {
    text.split_first().map(|(&byte, rest)| (byte, rest))
}

fn decoded(text: &[u8]) -> Option<(u8, &[u8])> {
    let (&byte, rest) = text.split_first()?;
    let digits = rest.get(..2).filter(|_| byte == b'%');
    let digits = digits.and_then(|two| std::str::from_utf8(two).ok());
    let coded = digits.and_then(|two| u8::from_str_radix(two, 16).ok());
    Some(match (coded, byte) {
        (Some(coded), _) => (coded, &rest[2..]),
        (None, b'+') => (b' ', rest),
        (None, byte) => (byte, rest),
    })
}

fn is_space(byte: u8) -> bool {
    byte <= b' '
}

/// Without case, with `_` for what PHP puts it for; for `[`, where none closes it.
fn plain(byte: u8) -> u8 {
    match byte {
        b'.' | b' ' | b'[' => b'_',
        byte => byte.to_ascii_lowercase(),
    }
}

/// All that some server reads as a cookie of this name, each with its name as it is written.
///
/// Cookies end at `;`, where some begin at `,` or a space, too. What a quote that does not end
/// there has in it is all that follows.
pub(super) fn cookies<'a>(headers: &'a HeaderMap, wanted: &str) -> Vec<&'a [u8]> {
    let (mut found, mut is_open) = (Vec::new(), false);
    for line in headers.get_all(COOKIE) {
        let line = line.as_bytes();
        if is_open {
            found.push(line);
            continue;
        }
        let mut from = 0;
        for piece in line.split(|&byte| byte == b';') {
            if let Some(at) = named_at(piece, wanted) {
                let cookie = piece[at..].trim_ascii();
                is_open = opens_quote(value(cookie));
                if is_open {
                    found.push(&line[from + at..]);
                    break;
                }
                found.push(cookie);
            }
            from += piece.len() + 1;
        }
    }
    found
}

/// Where the first one of this name begins.
fn named_at(piece: &[u8], wanted: &str) -> Option<usize> {
    let mut from = 0;
    for part in piece.split(|&byte| byte == b',') {
        if is_like(part, wanted) {
            return Some(from);
        }
        let begins = |&at: &usize| !is_space(part[at]) && at > 0 && is_space(part[at - 1]);
        let mut words = (0..part.len()).filter(begins);
        if let Some(at) = words.find(|&at| reads(&part[at..], wanted, as_it_is)) {
            return Some(from + at);
        }
        from += part.len() + 1;
    }
    None
}

/// What is behind the first `=`.
pub(super) fn value(pair: &[u8]) -> &[u8] {
    let at = pair.iter().position(|&byte| byte == b'=');
    at.map_or(&[][..], |at| pair[at + 1..].trim_ascii())
}

fn opens_quote(value: &[u8]) -> bool {
    let closes = value.len() > 1 && value.ends_with(b"\"") && !value.ends_with(b"\\\"");
    value.starts_with(b"\"") && !closes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_generous_servers_read_them() {
        for (text, expected) in [
            ("user_id=5", true),
            ("user_id", true),
            ("USER.id=5", true),
            ("user id=5", true),
            ("user%5fid=5", true),
            ("+ %20user+id=5", true),
            ("user_id[a][b]=5", true),
            ("user%5Bid=5", true),
            ("user[id=5", true),
            ("user_id%00x=5", true),
            ("user[id]=5", false),
            ("user_ids=5", false),
            ("user_i", false),
            ("xuser_id=5", false),
            ("%", false),
            ("", false),
        ] {
            assert_eq!(is_like(text.as_bytes(), "user_id"), expected, "{text}");
        }
        assert!(is_like(b"a%20b=1", "a%20b") && is_like(b"a%20b=1", "a_b"));
    }

    #[test]
    fn cookies_are_found_wherever_some_server_finds_them() {
        for (lines, expected) in [
            (&["user_id=5"][..], &["user_id=5"][..]),
            (&["a=0; user_id=5 ;b=1", "USER_ID=6"], &["user_id=5", "USER_ID=6"]),
            (&["a=0, user_id=5, b=1; user.id=6"], &["user_id=5, b=1", "user.id=6"]),
            (&["a=0,user_id=5"], &["user_id=5"]),
            (&["a=0 user_id=5"], &["user_id=5"]),
            (&["user_id=5, user_id=6"], &["user_id=5, user_id=6"]),
            (&["user_id=\"a\"; b=1"], &["user_id=\"a\""]),
            (&["user_id=\"a;b\"; b=1", "c=2"], &["user_id=\"a;b\"; b=1", "c=2"]),
            (&["user_id; b=1"], &["user_id"]),
            (&["a=user_id; user=1; xuser_id=2"], &[]),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(COOKIE, line.parse().unwrap());
            }
            let expected: Vec<&[u8]> = expected.iter().map(|cookie| cookie.as_bytes()).collect();
            assert_eq!(cookies(&headers, "user_id"), expected, "{lines:?}");
        }
    }

    #[test]
    fn a_name_that_is_never_found_is_refused_with_what_to_write() {
        for (kind, name, expected) in [
            ("arg", "filter[color]", "write `arg:filter`, which stands for all indexes"),
            ("arg", "a%20b", "names are compared decoded; write `_` for a space"),
            ("arg", "utm_*", "there are no patterns here; name each one"),
            ("arg", "a&b", "no name has `&`"),
            ("arg", "[a]", "no name has `[`"),
            ("cookie", "wp_*", "there are no patterns here; name each one"),
            ("cookie", "a;b", "no name has `;`"),
        ] {
            let expected = format!("`{kind}:{name}` is never found: {expected}");
            assert_eq!(checked(kind, name), Err(expected));
        }
        for (kind, name) in [("arg", "user.id"), ("cookie", "a[b]"), ("cookie", "a%20b")] {
            assert_eq!(checked(kind, name).as_deref(), Ok(name));
        }
    }
}

//! Owns the one form of a path: what is matched is what is forwarded, whoever decodes it next.
//!
//! Refuses what two readers could read differently: `..` that appears only once slashes are
//! decoded, backslashes, NUL, and bytes that are not ASCII. Bound: one pass; a path that has the
//! form already is not copied.

use http::Method;

/// Why a path is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadPath {
    #[error("the path does not begin with a slash")]
    NoSlash,
    #[error("the path leads above the root")]
    AboveRoot,
    #[error("the path hides `..` behind encoded slashes or parameters")]
    HiddenParent,
    #[error("the path has a `%` without two hexadecimal digits")]
    Percent,
    #[error("the path has a byte that it must not have")]
    Byte,
}

/// The path in its one form, or `None` when it has it already: unreserved bytes decoded, other
/// percent codes in capitals (RFC 3986 section 6.2.2), no empty, `.` or `..` segments.
pub(crate) fn normalise(method: &Method, path: &str) -> Result<Option<String>, BadPath> {
    if path == "*" && method == Method::OPTIONS {
        return Ok(None);
    }
    if !path.starts_with('/') {
        return Err(BadPath::NoSlash);
    }
    if !path.bytes().all(|byte| matches!(byte, 0x21..=0x7e) && byte != b'\\') {
        return Err(BadPath::Byte);
    }
    if is_normal(path.as_bytes()) {
        return Ok(None);
    }
    let decoded = decode(path.as_bytes())?;
    resolve(&decoded).map(Some)
}

/// Whether there is surely nothing to do.
fn is_normal(path: &[u8]) -> bool {
    let mut previous = 0;
    for &byte in path {
        // A segment that begins with a dot is looked at closely, hidden files included.
        if byte == b'%' || (previous == b'/' && matches!(byte, b'/' | b'.')) {
            return false;
        }
        previous = byte;
    }
    true
}

fn decode(path: &[u8]) -> Result<String, BadPath> {
    let mut decoded = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            decoded.push(char::from(byte));
            continue;
        }
        let &[high, low, ref after @ ..] = rest else { return Err(BadPath::Percent) };
        rest = after;
        let digit = |byte: u8| char::from(byte).to_digit(16).ok_or(BadPath::Percent);
        let value = (digit(high)? << 4 | digit(low)?) as u8;
        match value {
            0 => return Err(BadPath::Byte),
            b'-' | b'.' | b'_' | b'~' => decoded.push(char::from(value)),
            _ if value.is_ascii_alphanumeric() => decoded.push(char::from(value)),
            _ => {
                decoded.push('%');
                decoded.push(char::from(high.to_ascii_uppercase()));
                decoded.push(char::from(low.to_ascii_uppercase()));
            }
        }
    }
    Ok(decoded)
}

fn resolve(path: &str) -> Result<String, BadPath> {
    let mut kept = String::with_capacity(path.len());
    let mut ends_open = true;
    for segment in path.split('/').skip(1) {
        ends_open = matches!(segment, "" | "." | "..");
        match segment {
            "" | "." => {}
            ".." => {
                let parent = kept.rfind('/').ok_or(BadPath::AboveRoot)?;
                kept.truncate(parent);
            }
            _ if hides_parent(segment) => return Err(BadPath::HiddenParent),
            _ => {
                kept.push('/');
                kept.push_str(segment);
            }
        }
    }
    if ends_open {
        kept.push('/');
    }
    Ok(kept)
}

/// Whether a reader that decodes slashes, or cuts parameters off, would find `..` in it.
fn hides_parent(segment: &str) -> bool {
    let mut pieces = segment.split("%2F").flat_map(|piece| piece.split("%5C"));
    pieces.any(|piece| piece.split(';').next() == Some(".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_one_form() {
        let check = |path: &str, expected: Result<&str, BadPath>| {
            let found = normalise(&Method::GET, path);
            let found = found.map(|changed| changed.unwrap_or_else(|| path.to_owned()));
            assert_eq!(found.as_deref().map_err(|bad| *bad), expected, "{path}");
            // The form of a form is itself.
            if let Ok(form) = &found {
                assert_eq!(normalise(&Method::GET, form).unwrap().as_ref().unwrap_or(form), form);
            }
        };
        check("/", Ok("/"));
        check("/a/b", Ok("/a/b"));
        check("/a/b/", Ok("/a/b/"));
        check("//a///b", Ok("/a/b"));
        check("/a/./b/.", Ok("/a/b/"));
        check("/a/b/../c", Ok("/a/c"));
        check("/a/b/..", Ok("/a/"));
        check("/.hidden/x", Ok("/.hidden/x"));
        check("/%61dmin%2e", Ok("/admin."));
        check("/a/%2e%2E/b", Ok("/b"));
        check("/a%2fb%20c", Ok("/a%2Fb%20c"));
        check("/a/%252e%252e/b", Ok("/a/%252e%252e/b"));
        check("/..", Err(BadPath::AboveRoot));
        check("/a/../../b", Err(BadPath::AboveRoot));
        check("/%2e%2e/b", Err(BadPath::AboveRoot));
        check("/a/..%2fb", Err(BadPath::HiddenParent));
        check("/a/b%2f..%2fc", Err(BadPath::HiddenParent));
        check("/a/..%5cb", Err(BadPath::HiddenParent));
        check("/a/..;x=1/b", Err(BadPath::HiddenParent));
        check("/a\\..\\b", Err(BadPath::Byte));
        check("/a%00", Err(BadPath::Byte));
        check("/a%zz", Err(BadPath::Percent));
        check("/a%2", Err(BadPath::Percent));
        check("/\u{e4}", Err(BadPath::Byte));
        check("a", Err(BadPath::NoSlash));
        check("*", Err(BadPath::NoSlash));
        assert_eq!(normalise(&Method::OPTIONS, "*"), Ok(None));
    }
}

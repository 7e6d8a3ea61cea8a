//! Owns which arguments of a query are part of a key.
//!
//! Refuses to drop what a server might read as an argument that counts: names are compared as
//! generous servers read them where they are kept, and exactly where they are left out.
//! Bound: one pass over a query for each name.

use super::naming::is_like;

/// What of a query is part of a key; arguments stay as they are written and in their order.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Query {
    /// Nothing.
    Absent,
    /// Arguments of these names alone.
    Only(Vec<String>),
    /// All but arguments of these names; one that ends with `*` stands for all that begin so.
    Without(Vec<String>),
}

impl Query {
    /// Whether all of it is part of the key.
    pub(super) fn is_whole(&self) -> bool {
        matches!(self, Self::Without(names) if names.is_empty())
    }

    /// Adds to a key what of `query` is part of it.
    pub(super) fn push(&self, query: &str, key: &mut String) {
        let mut sign = '?';
        for pair in query.split('&').filter(|pair| self.keeps(pair)) {
            key.push(std::mem::replace(&mut sign, '&'));
            key.push_str(pair);
        }
    }

    fn keeps(&self, pair: &str) -> bool {
        // Some servers end an argument there, too.
        let mut pieces = pair.split(';').map(|piece| piece.split('=').next().unwrap_or(piece));
        match self {
            Self::Absent => false,
            Self::Only(names) => {
                pieces.any(|piece| names.iter().any(|name| is_like(piece.as_bytes(), name)))
            }
            Self::Without(names) => {
                !pair.is_empty()
                    && !pieces.all(|piece| names.iter().any(|name| is_named(piece, name)))
            }
        }
    }
}

fn is_named(name: &str, wanted: &str) -> bool {
    match wanted.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(query: &Query, text: &str, expected: &str) {
        let mut key = String::new();
        query.push(text, &mut key);
        assert_eq!(key, expected, "{query:?} {text}");
    }

    #[test]
    fn what_a_server_might_read_as_a_named_argument_is_kept() {
        let only = Query::Only(vec!["page".to_owned(), "user_id".to_owned()]);
        for kept in [
            "page=1",
            "page",
            "PAGE=1",
            "p%61ge=1",
            "%50age=1",
            "+page=1",
            "page[]=1",
            "page%5Bx%5D=1",
            "page%00x=1",
            "a=1;page=2",
            "user.id=5",
            "user+id=5",
            "user[id=5",
        ] {
            check(&only, &format!("a=b&{kept}&c"), &format!("?{kept}"));
        }
        check(&only, "a=page&pages=1&%=2&&x", "");
        check(&only, "page=1&page=2", "?page=1&page=2");
    }

    #[test]
    fn only_what_is_exactly_a_named_argument_is_left_out() {
        let without = Query::Without(vec!["utm_*".to_owned(), "gclid".to_owned()]);
        check(&without, "utm_source=a&b=1&gclid=2&utm_=&", "?b=1");
        for kept in ["GCLID=1", "gclid[]=1", "gcl%69d=1", "gclid=1;page=2", "xutm_a=1"] {
            check(&without, &format!("{kept}&gclid"), &format!("?{kept}"));
        }
        check(&without, "gclid=1;utm_a=2", "");
        let whole = Query::Without(Vec::new());
        check(&whole, "b=1&c", "?b=1&c");
        check(&whole, "", "");
        check(&Query::Absent, "b=1", "");
    }
}

//! Owns what a route changes of a request and of its answer: headers, texts with variables, paths.
//!
//! Refuses to know where either goes. Bound: the edits of one route.

use std::fmt::Write;
use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue};
use regex::Regex;
use truststram_base::RequestId;

use super::spec::EditSpec;

/// What variables stand for.
pub(crate) struct Facts {
    pub(crate) host: String,
    pub(crate) scheme: &'static str,
    pub(crate) client: Option<IpAddr>,
    pub(crate) path: String,
    pub(crate) query: Option<String>,
    pub(crate) id: RequestId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Variable {
    Host,
    Scheme,
    RemoteAddr,
    Uri,
    Args,
    RequestUri,
    RequestId,
}

const VARIABLES: [(&str, Variable); 7] = [
    ("host", Variable::Host),
    ("scheme", Variable::Scheme),
    ("remote_addr", Variable::RemoteAddr),
    ("uri", Variable::Uri),
    ("args", Variable::Args),
    ("request_uri", Variable::RequestUri),
    ("request_id", Variable::RequestId),
];

#[derive(Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Variable(Variable),
}

/// A text with variables such as `$host`, by the names that nginx gives them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Template(Vec<Part>);

impl Template {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut pieces = text.split('$');
        let first = pieces.next().unwrap_or_default();
        if !first.is_empty() {
            parts.push(Part::Text(first.to_owned()));
        }
        for piece in pieces {
            let is_word = |byte: char| byte.is_ascii_alphanumeric() || byte == '_';
            let end = piece.find(|byte| !is_word(byte)).unwrap_or(piece.len());
            let (name, rest) = piece.split_at(end);
            let known = VARIABLES.iter().find(|(known, _)| *known == name);
            let Some(&(_, variable)) = known else {
                let all = VARIABLES.map(|(known, _)| known).join(", $");
                return Err(format!("`${name}` is not a variable; known: ${all}"));
            };
            parts.push(Part::Variable(variable));
            if !rest.is_empty() {
                parts.push(Part::Text(rest.to_owned()));
            }
        }
        Ok(Self(parts))
    }

    pub(crate) fn fill(&self, facts: &Facts) -> String {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Text(fixed) => text.push_str(fixed),
                Part::Variable(variable) => fill(&mut text, *variable, facts),
            }
        }
        text
    }
}

fn fill(text: &mut String, variable: Variable, facts: &Facts) {
    // Writing to a `String` cannot fail.
    let _ = match variable {
        Variable::Host => text.write_str(&facts.host),
        Variable::Scheme => text.write_str(facts.scheme),
        Variable::RemoteAddr => facts.client.map_or(Ok(()), |client| write!(text, "{client}")),
        Variable::Uri => text.write_str(&facts.path),
        Variable::Args => text.write_str(facts.query.as_deref().unwrap_or_default()),
        Variable::RequestId => write!(text, "{}", facts.id),
        Variable::RequestUri => match &facts.query {
            Some(query) => write!(text, "{}?{query}", facts.path),
            None => text.write_str(&facts.path),
        },
    };
}

/// Compiled changes of headers.
#[derive(Debug, Default)]
pub(crate) struct Edits {
    remove: Vec<HeaderName>,
    set: Vec<(HeaderName, Template)>,
    add: Vec<(HeaderName, Template)>,
}

impl Edits {
    pub(crate) fn compile(spec: &EditSpec) -> Result<Self, String> {
        let named = |name: &String| {
            HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("`{name}` is no header"))
        };
        let valued = |(name, value): &(String, String)| {
            // Fixed parts are checked here, what comes from a request when it is filled in.
            if HeaderValue::from_str(value).is_err() {
                return Err(format!("the value of `{name}` has bytes that no header may have"));
            }
            Ok((named(name)?, Template::parse(value)?))
        };
        Ok(Self {
            remove: spec.remove.iter().map(named).collect::<Result<_, _>>()?,
            set: spec.set.iter().map(valued).collect::<Result<_, _>>()?,
            add: spec.add.iter().map(valued).collect::<Result<_, _>>()?,
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.add.is_empty()
    }

    pub(crate) fn apply(&self, target: &mut impl Headers, facts: &Facts) {
        for name in &self.remove {
            target.remove(name);
        }
        for (name, value) in &self.set {
            if let Ok(value) = HeaderValue::try_from(value.fill(facts)) {
                target.set(name, value);
            }
        }
        for (name, value) in &self.add {
            if let Ok(value) = HeaderValue::try_from(value.fill(facts)) {
                target.add(name, value);
            }
        }
    }
}

/// Headers that can be changed: a map, or a head that keeps the case of names beside it.
pub(crate) trait Headers {
    fn has(&self, name: &HeaderName) -> bool;
    fn remove(&mut self, name: &HeaderName);
    fn set(&mut self, name: &HeaderName, value: HeaderValue);
    fn add(&mut self, name: &HeaderName, value: HeaderValue);

    /// Sets a field to what is a value.
    fn set_text(&mut self, name: &HeaderName, text: &[u8]) {
        if let Ok(value) = HeaderValue::from_bytes(text) {
            self.set(name, value);
        }
    }
}

impl Headers for HeaderMap {
    fn has(&self, name: &HeaderName) -> bool {
        self.contains_key(name)
    }

    fn remove(&mut self, name: &HeaderName) {
        Self::remove(self, name);
    }

    fn set(&mut self, name: &HeaderName, value: HeaderValue) {
        self.insert(name, value);
    }

    fn add(&mut self, name: &HeaderName, value: HeaderValue) {
        self.append(name, value);
    }
}

/// The heads of Pingora refuse nothing that is a name and a value already.
macro_rules! headers_of {
    ($head:ty) => {
        impl Headers for $head {
            fn has(&self, name: &HeaderName) -> bool {
                self.headers.contains_key(name)
            }

            fn remove(&mut self, name: &HeaderName) {
                self.remove_header(name);
            }

            fn set(&mut self, name: &HeaderName, value: HeaderValue) {
                let _ = self.insert_header(name.clone(), value);
            }

            fn add(&mut self, name: &HeaderName, value: HeaderValue) {
                let _ = self.append_header(name.clone(), value);
            }
        }
    };
}

headers_of!(pingora_http::RequestHeader);
headers_of!(pingora_http::ResponseHeader);

/// A compiled change of the path.
#[derive(Debug)]
pub(crate) enum Rewrite {
    Keep,
    /// So many bytes at the front give way to the text.
    Prefix(usize, String),
    Regex(Regex, String),
}

impl Rewrite {
    /// Whether every path stays as it is.
    pub(crate) fn is_none(&self) -> bool {
        matches!(self, Self::Keep)
    }

    /// The new path, or `None` where it stays.
    pub(crate) fn apply(&self, path: &str) -> Option<String> {
        match self {
            Self::Keep => None,
            Self::Prefix(length, new) => {
                let rest = path.get(*length..).unwrap_or_default();
                let (new, rest) = (new.trim_end_matches('/'), rest.trim_start_matches('/'));
                Some(match (new.is_empty(), rest.is_empty()) {
                    (_, true) if new.is_empty() => "/".to_owned(),
                    (_, true) => new.to_owned(),
                    _ => format!("{new}/{rest}"),
                })
            }
            Self::Regex(pattern, to) => match pattern.replace(path, to.as_str()) {
                std::borrow::Cow::Borrowed(_) => None,
                std::borrow::Cow::Owned(changed) => Some(changed),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_stand_for_parts_of_the_request() {
        let facts = Facts {
            host: "a.test".to_owned(),
            scheme: "https",
            client: Some("192.0.2.1".parse().unwrap()),
            path: "/x".to_owned(),
            query: Some("q=1".to_owned()),
            id: RequestId(7),
        };
        let check = |text: &str, expected: &str| {
            assert_eq!(Template::parse(text).unwrap().fill(&facts), expected);
        };
        check("plain", "plain");
        check("$scheme://$host$request_uri", "https://a.test/x?q=1");
        check("$remote_addr, $uri?$args", "192.0.2.1, /x?q=1");
        assert!(Template::parse("$nothing").unwrap_err().contains("known: $host"));
    }

    #[test]
    fn headers_are_removed_then_set_then_added() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let spec = EditSpec {
            remove: vec!["x-gone".to_owned()],
            set: vec![pair("x-host", "$host")],
            add: vec![pair("x-host", "two")],
        };
        let edits = Edits::compile(&spec).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("x-gone", HeaderValue::from_static("1"));
        headers.insert("x-host", HeaderValue::from_static("old"));
        let facts = Facts {
            host: "a.test".to_owned(),
            scheme: "http",
            client: None,
            path: "/".to_owned(),
            query: None,
            id: RequestId(1),
        };
        edits.apply(&mut headers, &facts);
        let all: Vec<_> = headers.get_all("x-host").iter().collect();
        assert_eq!(all, ["a.test", "two"]);
        assert!(!headers.contains_key("x-gone"));
        let bad = EditSpec { remove: vec!["no name".to_owned()], ..EditSpec::default() };
        assert!(Edits::compile(&bad).is_err());
    }

    #[test]
    fn paths_are_rewritten() {
        let check = |rewrite: &Rewrite, path: &str, expected: Option<&str>| {
            assert_eq!(rewrite.apply(path).as_deref(), expected, "{path}");
        };
        let strip = Rewrite::Prefix(4, String::new());
        check(&strip, "/api", Some("/"));
        check(&strip, "/api/", Some("/"));
        check(&strip, "/api/x/", Some("/x/"));
        let replace = Rewrite::Prefix(4, "/v2/".to_owned());
        check(&replace, "/api", Some("/v2"));
        check(&replace, "/api/x", Some("/v2/x"));
        let regex = Rewrite::Regex(Regex::new("^/u/([0-9]+)$").unwrap(), "/users/$1".to_owned());
        check(&regex, "/u/12", Some("/users/12"));
        check(&regex, "/u/x", None);
        check(&Rewrite::Keep, "/u/x", None);
    }
}

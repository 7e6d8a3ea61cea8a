//! Owns what the gateway itself answers instead of what was asked for.
//!
//! Refuses to know the form of such answers: `GatewayOptions::reject` writes them. Bound: one
//! sentence.

/// Why a request is refused, in the terms of RFC 9457.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status.
    pub status: u16,
    /// A stable name of the kind of problem.
    pub name: &'static str,
    /// The kind of problem in words.
    pub title: &'static str,
    /// What happened this time.
    pub detail: String,
    /// What `WWW-Authenticate` says.
    pub challenge: Option<String>,
}

impl Refusal {
    fn new(status: u16, name: &'static str, title: &'static str, detail: String) -> Self {
        Self { status, name, title, detail, challenge: None }
    }

    pub(crate) fn malformed(detail: String) -> Self {
        Self::new(400, "malformed", "Malformed request", detail)
    }

    pub(crate) fn target_too_long(limit: usize) -> Self {
        let detail = format!("the target is longer than the limit of {limit} bytes");
        Self::new(414, "target-too-long", "Target too long", detail)
    }

    pub(crate) fn head_too_large(limit: usize) -> Self {
        let detail = format!("the head is larger than the limit of {limit} bytes");
        Self::new(431, "head-too-large", "Head too large", detail)
    }

    pub(crate) fn not_implemented(detail: &str) -> Self {
        Self::new(501, "not-implemented", "Not implemented", detail.to_owned())
    }

    /// It is not known who the request is from.
    pub(crate) fn denied(detail: String) -> Self {
        Self::new(401, "denied", "Not let in", detail)
    }

    /// It is known, and they may not do this.
    pub(crate) fn forbidden(detail: String) -> Self {
        Self::new(403, "forbidden", "Forbidden", detail)
    }

    /// The client showed no certificate where one is needed.
    pub(crate) fn without_certificate() -> Self {
        let detail = "this needs TLS with a client certificate of the authorities that this server \
                      names; the connection showed none";
        Self::forbidden(detail.to_owned())
    }

    pub(crate) fn no_route() -> Self {
        Self::new(404, "not-found", "Not found", "no route leads there".to_owned())
    }

    pub(crate) fn wrong_method() -> Self {
        let detail = "no route there takes this method".to_owned();
        Self::new(405, "method", "Method not allowed", detail)
    }

    pub(crate) fn too_large(limit: usize) -> Self {
        let detail = format!("the body is larger than the limit of {limit} bytes");
        Self::new(413, "too-large", "Body too large", detail)
    }

    pub(crate) fn grows_too_large(limit: Option<usize>) -> Self {
        let beyond = limit.map(|limit| format!("beyond {limit} bytes, or ")).unwrap_or_default();
        let detail = format!("the body grows {beyond}out of all proportion where it is decoded");
        Self::new(413, "too-large", "Body too large", detail)
    }

    pub(crate) fn unknown_encoding() -> Self {
        let detail =
            "bodies are read plain, or encoded by gzip, br, zstd or deflate, or by two of them";
        Self::new(415, "media-type", "Unsupported media type", detail.to_owned())
    }

    /// A limit was reached.
    pub(crate) fn too_many(status: u16) -> Self {
        let detail = "more requests came than are allowed; Retry-After says when to try again";
        Self::new(status, "too-many-requests", "Too many requests", detail.to_owned())
    }

    /// More requests came than can be done.
    pub(crate) fn overloaded(why: &str) -> Self {
        let detail = format!("{why}; Retry-After says when to try again");
        Self::new(503, "overloaded", "Overloaded", detail)
    }

    pub(crate) fn broken(group: &str) -> Self {
        let detail = format!("too many requests to `{group}` failed; it is tried again shortly");
        Self::new(503, "unavailable", "Unavailable", detail)
    }

    /// What an attempt ended with that was the last one.
    pub(crate) fn of_status(status: u16) -> Self {
        match status {
            400 => Self::malformed("the request cannot be passed on".to_owned()),
            502 => {
                let detail = "no upstream server gave an answer".to_owned();
                Self::new(502, "bad-gateway", "Bad gateway", detail)
            }
            504 => {
                let detail = "no upstream server answered in time".to_owned();
                Self::new(504, "deadline", "Deadline passed", detail)
            }
            _ => Self::new(status, "internal", "Internal error", "the request failed".to_owned()),
        }
    }
}

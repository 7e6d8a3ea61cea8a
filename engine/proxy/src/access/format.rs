//! Owns how lines are written: which variables a template has, and what is escaped in them.
//!
//! Refuses a variable that it does not know. Bound: a template of [`TEXT_BYTES_MAX`] bytes.

use std::collections::HashSet;

use http::HeaderName;

use crate::route::compile::Route;
use crate::route::spec::Fault;

/// The format of nginx and Apache that most programs read.
pub const COMBINED: &str = "$remote_addr - $remote_user [$time_local] \"$request\" $status \
                            $body_bytes_sent \"$http_referer\" \"$http_user_agent\"";

/// Longest template.
const TEXT_BYTES_MAX: usize = 16 << 10;

/// What is escaped in the values of a template.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Escape {
    /// `"`, `\` and all that is not printable ASCII becomes `\x22`; what there is not is `-`.
    #[default]
    Hex,
    /// As texts in JSON need it; what there is not is empty.
    Json,
    /// Nothing; what there is not is empty.
    Nothing,
}

/// How a line is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum FormatSpec {
    /// As an object of JSON.
    #[default]
    Json,
    /// As a text with variables.
    Template {
        /// The text.
        text: String,
        /// What is escaped in the values.
        escape: Escape,
    },
}

/// What is logged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessSpec {
    /// How a line is written.
    pub format: FormatSpec,
    /// Paths whose requests are not logged.
    pub skip: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Variable {
    Args,
    BodyBytesSent,
    Host,
    IsArgs,
    Msec,
    Pid,
    RemoteAddr,
    RemotePort,
    RemoteUser,
    Request,
    RequestId,
    RequestMethod,
    RequestTime,
    RequestUri,
    Route,
    Scheme,
    ServerAddr,
    ServerPort,
    ServerProtocol,
    SslCipher,
    SslProtocol,
    Status,
    TimeIso8601,
    TimeLocal,
    UpstreamAddr,
    UpstreamCacheStatus,
    UpstreamConnectTime,
    UpstreamHeaderTime,
    UpstreamResponseTime,
    UpstreamStatus,
    Uri,
}

const VARIABLES: &[(&str, Variable)] = &[
    ("args", Variable::Args),
    ("body_bytes_sent", Variable::BodyBytesSent),
    ("document_uri", Variable::Uri),
    ("host", Variable::Host),
    ("is_args", Variable::IsArgs),
    ("msec", Variable::Msec),
    ("pid", Variable::Pid),
    ("query_string", Variable::Args),
    ("remote_addr", Variable::RemoteAddr),
    ("remote_port", Variable::RemotePort),
    ("remote_user", Variable::RemoteUser),
    ("request", Variable::Request),
    ("request_id", Variable::RequestId),
    ("request_method", Variable::RequestMethod),
    ("request_time", Variable::RequestTime),
    ("request_uri", Variable::RequestUri),
    ("route", Variable::Route),
    ("scheme", Variable::Scheme),
    ("server_addr", Variable::ServerAddr),
    ("server_port", Variable::ServerPort),
    ("server_protocol", Variable::ServerProtocol),
    ("ssl_cipher", Variable::SslCipher),
    ("ssl_protocol", Variable::SslProtocol),
    ("status", Variable::Status),
    ("time_iso8601", Variable::TimeIso8601),
    ("time_local", Variable::TimeLocal),
    ("upstream_addr", Variable::UpstreamAddr),
    ("upstream_cache_status", Variable::UpstreamCacheStatus),
    ("upstream_connect_time", Variable::UpstreamConnectTime),
    ("upstream_header_time", Variable::UpstreamHeaderTime),
    ("upstream_response_time", Variable::UpstreamResponseTime),
    ("upstream_status", Variable::UpstreamStatus),
    ("uri", Variable::Uri),
];

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Text(String),
    Variable(Variable),
    /// A header of the request.
    Asked(HeaderName),
    /// A header of the answer.
    Sent(HeaderName),
    Cookie(String),
    Argument(String),
}

/// How lines are written, and which are not.
#[derive(Debug, Default)]
pub(crate) struct Access {
    pub(super) format: Format,
    skip: HashSet<Box<str>>,
}

#[derive(Debug, Default)]
pub(super) enum Format {
    #[default]
    Json,
    Template(Vec<Part>, Escape),
}

impl Access {
    pub(crate) fn compile(spec: &AccessSpec, faults: &mut Vec<Fault>) -> Self {
        let format = match &spec.format {
            FormatSpec::Json => Format::Json,
            FormatSpec::Template { text, escape } => {
                let parts = parse(text).unwrap_or_else(|message| {
                    faults.push(Fault::new("gateway.access_log_format", message));
                    Vec::new()
                });
                Format::Template(parts, *escape)
            }
        };
        let is_path = |path: &&String| path.starts_with('/');
        if let Some(bad) = spec.skip.iter().find(|path| !is_path(path)) {
            let message = format!("`{bad}` is not a path, which begins with `/`");
            faults.push(Fault::new("gateway.access_log_skip", message));
        }
        Self { format, skip: spec.skip.iter().map(|path| path.as_str().into()).collect() }
    }

    /// Whether requests of `route` for `path` are logged.
    pub(crate) fn takes(&self, route: Option<&Route>, path: &str) -> bool {
        route.is_none_or(|route| route.is_logged) && !self.skip.contains(path)
    }
}

/// The first variable of a template that there is not.
pub fn unknown_variable(text: &str) -> Option<String> {
    pieces(text).into_iter().find_map(|piece| match piece {
        Piece::Variable(name) if variable(name).is_none() => Some(name.to_owned()),
        _ => None,
    })
}

enum Piece<'a> {
    Text(&'a str),
    Variable(&'a str),
}

/// The texts and variables (`$name` or `${name}`) of a template.
fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(place) = rest.find('$') {
        found.push(Piece::Text(&rest[..place]));
        rest = &rest[place + 1..];
        let braced = rest.strip_prefix('{').and_then(|inside| inside.split_once('}'));
        let (name, after) = braced.unwrap_or_else(|| {
            let is_word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
            rest.split_at(rest.find(|next| !is_word(next)).unwrap_or(rest.len()))
        });
        found.push(Piece::Variable(name));
        rest = after;
    }
    found.push(Piece::Text(rest));
    found.retain(|piece| !matches!(piece, Piece::Text("")));
    found
}

fn variable(name: &str) -> Option<Part> {
    if let Some((_, known)) = VARIABLES.iter().find(|(known, _)| *known == name) {
        return Some(Part::Variable(*known));
    }
    let header = |name: &str| HeaderName::try_from(name.replace('_', "-")).ok();
    if let Some(rest) = name.strip_prefix("sent_http_") {
        return header(rest).map(Part::Sent);
    }
    if let Some(rest) = name.strip_prefix("http_") {
        return header(rest).map(Part::Asked);
    }
    let (kind, rest) = name.split_once('_')?;
    match kind {
        _ if rest.is_empty() => None,
        "cookie" => Some(Part::Cookie(rest.to_owned())),
        "arg" => Some(Part::Argument(rest.to_owned())),
        _ => None,
    }
}

pub(super) fn parse(text: &str) -> Result<Vec<Part>, String> {
    if !text.contains('$') {
        return Err("is neither \"json\" nor \"combined\", and has no variable".to_owned());
    }
    if text.len() > TEXT_BYTES_MAX || text.contains('\n') {
        return Err(format!("must be one line of at most {TEXT_BYTES_MAX} bytes"));
    }
    let part = |piece| match piece {
        Piece::Text(text) => Ok(Part::Text(text.to_owned())),
        Piece::Variable(name) => variable(name).ok_or_else(|| {
            let names: Vec<&str> = VARIABLES.iter().map(|(name, _)| *name).collect();
            let families = "http_NAME, $sent_http_NAME, $cookie_NAME, $arg_NAME";
            format!("`${name}` is not a variable; known: ${}, ${families}", names.join(", $"))
        }),
    };
    pieces(text).into_iter().map(part).collect()
}

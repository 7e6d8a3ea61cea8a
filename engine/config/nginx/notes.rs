//! Owns the list of what was not converted, and why whole families of directives are not.
//!
//! Refuses to drop anything: what has no reason of its own is said to be unknown. Bound: one note
//! for each directive and each value in it.

use serde::Serialize;

use super::parse::Directive;

/// A directive that was not converted, or not quite.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Note {
    /// The file.
    pub file: String,
    /// The line.
    pub line: u32,
    /// The directive with its arguments.
    pub directive: String,
    /// Why.
    pub why: String,
}

impl std::fmt::Display for Note {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}:{}: {}: {}", self.file, self.line, self.directive, self.why)
    }
}

impl Note {
    pub(super) fn new(directive: &Directive, why: impl Into<String>) -> Self {
        let mut words = directive.name.clone();
        for argument in &directive.arguments {
            words.push(' ');
            words.push_str(argument);
        }
        Self {
            file: directive.at.file.to_string(),
            line: directive.at.line,
            directive: words,
            why: why.into(),
        }
    }
}

const PROCESS: &str = "processes, cores and limits of files are the engine's own matter: [server]";
const OWN_LOG: &str = "the process's own log goes to standard error: [log]";
const BUFFERS: &str = "bodies are streamed through buffers of fixed sizes";
const HEADS: &str = "heads have a fixed largest size";
const SOCKETS: &str = "sockets have no such option here";
const TLS: &str = "TLS has fixed ciphers, curves and sessions; only the oldest version is chosen";
const FILES: &str = "files are not served";
const COMPRESSED: &str = "answers are not compressed";
const FORMAT: &str = "the access log has one format, a line of JSON for each request";
const LOGIC: &str = "has no counterpart; write a route for each case";

/// Directives that have no counterpart, and why.
const REASONS: &[(&[&str], &str)] = &[
    (&["user", "worker_*", "pid", "daemon", "master_process", "env", "load_module"], PROCESS),
    (&["events", "pcre_jit", "thread_pool", "timer_resolution"], PROCESS),
    (&["error_log"], OWN_LOG),
    (&["log_format", "open_log_file_cache", "log_not_found"], FORMAT),
    (&["proxy_buffer*", "proxy_busy_*", "proxy_request_buffering"], BUFFERS),
    (&["client_body_*", "proxy_max_temp_*", "proxy_temp_*", "output_buffers"], BUFFERS),
    (&["client_header_buffer_size", "large_client_header_buffers", "proxy_headers_*"], HEADS),
    (&["sendfile*", "tcp_*", "aio*", "directio*", "reset_timedout_connection"], SOCKETS),
    (&["lingering_*", "postpone_output", "proxy_socket_keepalive", "proxy_bind"], SOCKETS),
    (&["ssl_stapling", "ssl_stapling_verify"], "OCSP answers are given as files: `ocsp`"),
    (&["ssl_*"], TLS),
    (&["root", "alias", "index", "try_files", "autoindex*", "expires", "etag"], FILES),
    (&["open_file_cache*", "default_type", "types*", "include", "charset*"], FILES),
    (&["error_page", "sub_filter*", "internal", "if_modified_since"], FILES),
    (&["gzip*", "gunzip*", "brotli*", "zstd*"], COMPRESSED),
    (&["if", "map", "geo", "set", "split_clients", "break"], LOGIC),
    (&["resolver*"], "names are looked up by the system's resolver, again every 30 s"),
    (&["server_tokens", "server_names_hash_*", "variables_hash_*"], "is not needed"),
    (&["proxy_ssl_*"], "upstream TLS is set by `tls_name` and `tls_verify` of the group"),
    (&["auth_*", "allow", "deny", "satisfy"], "requests are not authenticated by the gateway"),
    (&["fastcgi_*", "uwsgi_*", "scgi_*", "memcached_*", "grpc_*"], "only HTTP is forwarded"),
    (&["stream", "mail"], "only HTTP is served"),
    (&["proxy_cache*", "proxy_no_cache", "proxy_store*"], "the cache has no such setting"),
    (
        &["limit_rate*", "limit_req_log_level", "limit_conn_log_level"],
        "limits have no such setting",
    ),
];

/// Why a directive that nothing converts is left out.
pub(super) fn reason(name: &str) -> &'static str {
    let fits = |pattern: &&&str| match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => **pattern == name,
    };
    let known = REASONS.iter().find(|(names, _)| names.iter().any(|name| fits(&name)));
    known.map_or("is not known to the converter here", |(_, why)| why)
}

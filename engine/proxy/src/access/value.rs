//! Owns the value of each variable.
//!
//! Refuses to invent one: what is not known is said not to be there. Bound: what a head holds.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;

use super::format::{Part, Variable};
use super::line::{Logged, joined, seconds};
use crate::cache;
use crate::head;
use crate::proxying::Attempt;

/// The status that nginx logs where the client went away before it was answered.
const CLIENT_GONE: u16 = 499;

impl Logged<'_> {
    /// Writes the value of `part`; `false` where there is none.
    pub(super) fn write(&self, part: &Part, out: &mut Vec<u8>) -> bool {
        match part {
            Part::Text(text) => out.extend_from_slice(text.as_bytes()),
            Part::Variable(variable) => return self.variable(*variable, out),
            Part::Asked(name) => return joined(&self.request.headers, name, out),
            Part::Sent(name) => {
                return self.answer.is_some_and(|answer| joined(answer, name, out));
            }
            Part::Cookie(name) => return self.cookie(name, out),
            Part::Argument(name) => return self.argument(name, out),
        }
        true
    }

    fn variable(&self, variable: Variable, out: &mut Vec<u8>) -> bool {
        let query = self.request.uri.query();
        let mut text = String::new();
        // Writing to a `String` cannot fail.
        let _ = match variable {
            Variable::RemoteUser => return self.user(out),
            Variable::Request => {
                self.request_line(out);
                return true;
            }
            Variable::RequestUri => {
                out.extend_from_slice(self.target);
                return true;
            }
            Variable::Args => match query {
                Some(query) => text.write_str(query),
                None => return false,
            },
            Variable::IsArgs => text.write_str(if query.is_some() { "?" } else { "" }),
            Variable::BodyBytesSent => write!(text, "{}", self.body_bytes_sent),
            Variable::Host => text.write_str(self.host),
            Variable::Msec => {
                let ms = self.utc_us.div_euclid(1_000);
                write!(text, "{}.{:03}", ms.div_euclid(1_000), ms.rem_euclid(1_000))
            }
            Variable::Pid => write!(text, "{}", std::process::id()),
            Variable::RemoteAddr => return show(self.client, out),
            Variable::RemotePort => return show(self.peer.map(|peer| peer.port()), out),
            Variable::ServerAddr => return show(self.server.map(|server| server.ip()), out),
            Variable::ServerPort => return show(self.server.map(|server| server.port()), out),
            Variable::Route => return show(self.route, out),
            Variable::SslProtocol => return show(self.tls.map(|(version, _)| version), out),
            Variable::SslCipher => return show(self.tls.map(|(_, cipher)| cipher), out),
            Variable::RequestId => write!(text, "{}", self.id),
            Variable::RequestMethod => text.write_str(self.request.method.as_str()),
            Variable::RequestTime => {
                seconds(self.duration_us, &mut text);
                Ok(())
            }
            Variable::Scheme => text.write_str(self.scheme),
            Variable::ServerProtocol => text.write_str(self.protocol()),
            Variable::Status => {
                let status = if self.status == 0 { CLIENT_GONE } else { self.status };
                write!(text, "{status:03}")
            }
            Variable::TimeIso8601 => text.write_str(&self.iso8601()),
            Variable::TimeLocal => text.write_str(&self.local_time()),
            Variable::Uri => text.write_str(self.path),
            Variable::UpstreamCacheStatus => {
                return show(self.answer.and_then(cache::word), out);
            }
            Variable::UpstreamAddr => return self.upstream(out, |at, _, text| text.push_str(at)),
            Variable::UpstreamStatus => {
                return self.upstream(out, |_, attempt, text| match attempt.status {
                    0 => text.push('-'),
                    status => {
                        let _ = write!(text, "{status}");
                    }
                });
            }
            Variable::UpstreamConnectTime => return self.time(out, |attempt| attempt.connect_us),
            Variable::UpstreamHeaderTime => return self.time(out, |attempt| attempt.header_us),
            Variable::UpstreamResponseTime => {
                return self.time(out, |attempt| {
                    Some(attempt.end_us.unwrap_or(self.now_us.saturating_sub(attempt.began_us)))
                });
            }
        };
        out.extend_from_slice(text.as_bytes());
        true
    }

    /// What `write` says of each attempt, as a list.
    fn upstream(&self, out: &mut Vec<u8>, write: impl Fn(&str, &Attempt, &mut String)) -> bool {
        let mut text = String::new();
        for (address, attempt) in &self.attempts {
            if !text.is_empty() {
                text.push_str(", ");
            }
            write(address, attempt, &mut text);
        }
        out.extend_from_slice(text.as_bytes());
        !self.attempts.is_empty()
    }

    fn time(&self, out: &mut Vec<u8>, of: impl Fn(&Attempt) -> Option<u64>) -> bool {
        self.upstream(out, |_, attempt, text| match of(attempt) {
            Some(us) => seconds(us, text),
            None => text.push('-'),
        })
    }

    /// `06/Nov/1994:08:49:37 +0000`
    fn local_time(&self) -> String {
        let date = cache::http_date(self.utc_us.div_euclid(1_000_000));
        let part = |range| date.get(range).unwrap_or_default();
        format!("{}/{}/{}:{} +0000", part(5..7), part(8..11), part(12..16), part(17..25))
    }

    /// `1994-11-06T08:49:37+00:00`
    fn iso8601(&self) -> String {
        const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
        let date = cache::http_date(self.utc_us.div_euclid(1_000_000));
        let part = |range| date.get(range).unwrap_or_default();
        let month = MONTHS.find(part(8..11)).map_or(0, |place| place / 3 + 1);
        format!("{}-{month:02}-{}T{}+00:00", part(12..16), part(5..7), part(17..25))
    }

    /// Who asked, or the name in `Authorization: Basic`.
    fn user(&self, out: &mut Vec<u8>) -> bool {
        if let Some(identity) = self.identity {
            out.extend_from_slice(identity.user.as_str().as_bytes());
            return true;
        }
        let header = self.request.headers.get(AUTHORIZATION).map(http::HeaderValue::as_bytes);
        let Some((scheme, rest)) = header.and_then(|value| value.split_at_checked(6)) else {
            return false;
        };
        if !scheme.eq_ignore_ascii_case(b"basic ") {
            return false;
        }
        let Ok(decoded) = STANDARD.decode(rest.trim_ascii()) else { return false };
        let Some(end) = decoded.iter().position(|&byte| byte == b':') else { return false };
        out.extend_from_slice(&decoded[..end]);
        end > 0
    }

    fn cookie(&self, wanted: &str, out: &mut Vec<u8>) -> bool {
        let value = head::cookie(&self.request.headers, wanted);
        out.extend_from_slice(value.unwrap_or_default());
        value.is_some()
    }

    fn argument(&self, wanted: &str, out: &mut Vec<u8>) -> bool {
        let value = head::argument(self.request.uri.query(), wanted);
        out.extend_from_slice(value.unwrap_or_default().as_bytes());
        value.is_some()
    }
}

fn show<T: std::fmt::Display>(value: Option<T>, out: &mut Vec<u8>) -> bool {
    let text = value.map(|value| value.to_string());
    out.extend_from_slice(text.as_deref().unwrap_or_default().as_bytes());
    text.is_some()
}

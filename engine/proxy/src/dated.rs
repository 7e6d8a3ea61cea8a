//! Owns the `Date` of an answer that was made before it is sent: Pingora writes the time of sending
//! into each head of HTTP/1, and has no way to be told another.
//!
//! Refuses to know who made the answer; whoever sends it says when. On HTTP/2 Pingora's date stays.
//! Bound: one date per connection, one copy of a head.

use std::sync::atomic::{AtomicI64, Ordering};

use pingora_proxy::Session;

use crate::app::turn;
use crate::cache::http_date;

/// No date, which no four-digit year comes near.
const NONE: i64 = i64::MIN;

/// The date of the head that a connection sends next, where it is not the time of sending.
#[derive(Debug)]
pub(crate) struct AnswerDate(AtomicI64);

impl Default for AnswerDate {
    fn default() -> Self {
        Self(AtomicI64::new(NONE))
    }
}

impl AnswerDate {
    fn keep(&self, at_s: Option<i64>) {
        self.0.store(at_s.unwrap_or(NONE), Ordering::Relaxed);
    }

    /// Whether the next head has another date.
    pub(crate) fn is_kept(&self) -> bool {
        self.0.load(Ordering::Relaxed) != NONE
    }

    /// `bytes` with the date, where they are the head that it is for.
    pub(crate) fn write(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        if !self.is_kept() || is_interim(bytes) {
            return None;
        }
        redated(bytes, self.0.swap(NONE, Ordering::Relaxed))
    }
}

/// Has the head that `session` sends next say that it was made at `at_s`; or when it is sent.
pub(crate) fn keep_date(session: &Session, at_s: Option<i64>) {
    // Requests of HTTP/2 share a connection, and their heads are not written as text.
    if let Some(turn) = turn(session).filter(|_| !session.is_http2()) {
        turn.date.keep(at_s);
    }
}

/// Whether this is the head of an answer before the final one, which has no date.
fn is_interim(bytes: &[u8]) -> bool {
    bytes.starts_with(b"HTTP/1.") && bytes.get(9) == Some(&b'1')
}

/// The head with another date in the place of the one in the same form that it has.
fn redated(head: &[u8], at_s: i64) -> Option<Vec<u8>> {
    const NAME: &[u8] = b"date: ";
    if !head.starts_with(b"HTTP/1.") {
        return None;
    }
    let date = http_date(at_s);
    let mut start = 0;
    for line in head.split_inclusive(|&byte| byte == b'\n') {
        let is_date = line.get(..NAME.len()).is_some_and(|name| name.eq_ignore_ascii_case(NAME));
        if is_date && line.len() == NAME.len() + date.len() + 2 {
            let mut changed = head.to_vec();
            let place = start + NAME.len();
            changed[place..place + date.len()].copy_from_slice(date.as_bytes());
            return Some(changed);
        }
        if line == b"\r\n" {
            break;
        }
        start += line.len();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    fn kept(at_s: i64) -> AnswerDate {
        let date = AnswerDate::default();
        date.keep(Some(at_s));
        date
    }

    fn head(status: u16, date: &str) -> Vec<u8> {
        format!("HTTP/1.1 {status} S\r\nA: b\r\nDate: {date}\r\nC: d\r\n\r\nDate: {NOW}\r\n").into()
    }

    #[test]
    fn the_date_of_one_head_is_kept() {
        let date = kept(0);
        let then = "Thu, 01 Jan 1970 00:00:00 GMT";
        assert_eq!(date.write(&head(200, NOW)), Some(head(200, then)));
        assert_eq!(date.write(&head(200, NOW)), None, "it is for one head");
        let date = kept(0);
        assert_eq!(date.write(b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n"), None);
        assert_eq!(date.write(&head(404, NOW)), Some(head(404, then)), "for the final head");
    }

    #[test]
    fn what_is_no_head_with_a_date_stays_as_it_is() {
        for bytes in [
            &b"HTTP/1.1 200 OK\r\nDated: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\nDate: x"[..],
            b"HTTP/1.1 200 OK\r\nDate: today\r\n\r\n",
            b"HTTP/1.1 200 OK",
            b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
            b"",
        ] {
            assert_eq!(kept(0).write(bytes), None, "{}", bytes.escape_ascii());
        }
        let date = kept(0);
        date.keep(None);
        assert_eq!(date.write(&head(200, NOW)), None);
    }
}

//! Owns plain requests for which a second server is asked where the first one has not begun its
//! answer in time: the answer that begins first is passed on, and the other connection is closed.
//!
//! Refuses to ask a third one, and to pass on two answers. Bound: two connections, and the first
//! read of an answer from each.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::OnceLock;
use std::time::Duration;

use pingora_core::protocols::IO;
use pingora_core::{Error, Result};

use super::caller::Caller;
use super::kept::For;
use super::pass::Answer;
use super::passing::Passing;
use super::relay::Client;
use super::server::Server;
use crate::app::App;
use crate::proxying::{Limits, Proxying};

/// Whether a connection was kept, and when it was there.
type Connected = OnceLock<(bool, u64)>;

/// One of two servers that are asked.
#[derive(Clone, Copy)]
struct Leg<'a> {
    /// The number of the attempt.
    at: usize,
    whose: For,
    /// Whether it is asked by a new connection.
    wants_new: bool,
    connected: &'a Connected,
}

/// An answer that has begun.
struct Begun {
    server: Server,
    /// What was read of it.
    read: Vec<u8>,
    at_us: u64,
}

/// The answer that is passed on.
struct Won {
    begun: Begun,
    whose: For,
    is_kept: bool,
}

impl<'a> Leg<'a> {
    /// The last attempt, to a server at this address.
    fn last(proxying: &Proxying, address: SocketAddr, connected: &'a Connected) -> Self {
        let whose = (proxying.group.hash, address);
        Self { at: proxying.last(), whose, wants_new: proxying.wants_new(), connected }
    }

    /// Notes what is known of its connection, and whether that was kept.
    fn note(self, proxying: &mut Proxying) -> Option<bool> {
        let &(is_kept, at_us) = self.connected.get()?;
        proxying.connected(self.at, is_kept, at_us);
        Some(is_kept)
    }
}

impl Begun {
    fn status(&self) -> u16 {
        let digits = self.read.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok());
        digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
    }

    /// Whether it says that the server failed, so that the other one is waited for.
    fn is_failure(&self) -> bool {
        self.status() >= 500
    }
}

impl App {
    /// Asks one server, and a second one where the first takes longer than `after`.
    pub(super) async fn attempt_hedged<S: IO>(
        &self,
        passing: &mut Passing,
        caller: &Caller,
        client: &mut Client<'_, S>,
        answer: &mut Answer,
        after: Duration,
    ) -> Result<()> {
        let request = passing.request(caller)?;
        let race = async { Ok(self.race(&mut passing.proxying, &request, after).await) };
        let Won { begun, whose, is_kept } = client.while_there(race).await??;
        let done = match self.read_reply(passing, &begun.read) {
            Ok(reply) => self.go_on(begun.server, reply, passing, client, answer).await,
            Err(error) => Err(error),
        };
        self.attempted(done, passing, client, (whose, is_kept))
    }

    /// The answer that begins first, of one server or of two.
    async fn race(&self, proxying: &mut Proxying, request: &[u8], after: Duration) -> Result<Won> {
        let (limits, now_us) = (proxying.limits(), || self.clock.monotonic_us());
        let address = proxying.choose(self.thread, now_us())?;
        let (of_one, of_another) = (Connected::new(), Connected::new());
        let first = Leg::last(proxying, address, &of_one);
        let mut of_first = pin!(self.ask(first, request, limits));
        let early = tokio::select! {
            biased;
            ended = &mut of_first => Some(ended),
            () = tokio::time::sleep(after) => None,
        };
        let address = match early {
            None => proxying.hedge(self.thread, now_us()),
            Some(_) => None,
        };
        let Some(address) = address else {
            let ended = match early {
                Some(ended) => ended,
                None => of_first.await,
            };
            return match ended {
                Ok(begun) => Ok(self.taken(proxying, (first, begun), None)),
                Err(error) => Err(self.failed(proxying, first, error)),
            };
        };
        let second = Leg::last(proxying, address, &of_another);
        let mut of_second = pin!(self.ask(second, request, limits));
        let (ended, leg, of_other, other) = tokio::select! {
            biased;
            ended = &mut of_first => (ended, first, of_second, second),
            ended = &mut of_second => (ended, second, of_first, first),
        };
        let before = match ended {
            Ok(begun) if begun.is_failure() => Some((leg, begun)),
            Ok(begun) => return Ok(self.taken(proxying, (leg, begun), Some((other, None)))),
            Err(error) => {
                self.failed(proxying, leg, error);
                None
            }
        };
        let won = match (before, of_other.await) {
            // Two that failed: the first one stands.
            (Some(before), Ok(begun)) if begun.is_failure() => {
                self.taken(proxying, before, Some((other, Some(begun))))
            }
            (before, Ok(begun)) => {
                let lost = before.map(|(leg, begun)| (leg, Some(begun)));
                self.taken(proxying, (other, begun), lost)
            }
            (Some(before), Err(error)) => {
                self.failed(proxying, other, error);
                self.taken(proxying, before, None)
            }
            (None, Err(error)) => return Err(self.failed(proxying, other, error)),
        };
        Ok(won)
    }

    /// Asks the server of `leg` for an answer until that begins.
    async fn ask(&self, leg: Leg<'_>, request: &[u8], limits: Limits) -> Result<Begun> {
        let timeouts = limits.timeouts;
        let limit = limits.within(timeouts.connect);
        let (mut server, is_kept) = self.connection(leg.whose, limit, leg.wants_new).await?;
        let _ = leg.connected.set((is_kept, self.clock.monotonic_us()));
        server.send(request, limits.within(timeouts.send)).await?;
        let read = server.read(limits.within(timeouts.read), <[u8]>::to_vec).await?;
        Ok(Begun { server, read, at_us: self.clock.monotonic_us() })
    }

    /// Takes the answer of one leg, and closes the connection of the one that `lost`.
    fn taken(
        &self,
        proxying: &mut Proxying,
        (leg, begun): (Leg<'_>, Begun),
        lost: Option<(Leg<'_>, Option<Begun>)>,
    ) -> Won {
        let is_kept = leg.note(proxying).unwrap_or(false);
        let other = lost.and_then(|(other, begun)| {
            other.note(proxying);
            begun.map(|begun| (begun.status(), begun.at_us))
        });
        proxying.settle(leg.at, begun.at_us, other, self.clock.monotonic_us());
        Won { begun, whose: leg.whose, is_kept }
    }

    fn failed(&self, proxying: &mut Proxying, leg: Leg<'_>, error: Box<Error>) -> Box<Error> {
        let was_kept = leg.note(proxying);
        proxying.attempt_failed(leg.at, error, was_kept, self.clock.monotonic_us())
    }
}

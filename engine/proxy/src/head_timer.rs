//! Owns how long a connection may wait for a request's head: Pingora limits each read, so that a
//! client that sends a byte now and then would stay for ever.
//!
//! Refuses to know HTTP: it is told when a request begins and ends. Bound: one timer per
//! connection, armed only where a read has to wait.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::{Instant, Sleep};
use truststram_machine::tick_ms;

use crate::dated::AnswerDate;

/// How long a connection may wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeadLimits {
    /// For the rest of a head that has begun, and for the first one.
    pub(crate) head: Duration,
    /// For the next request.
    pub(crate) idle: Duration,
}

/// What a connection is at: an even number while it waits for a head, an odd one while a request is
/// answered, [`MANY`] where requests overlap.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    place: AtomicU32,
    /// Whether a request line had something that none must have.
    odd_line: AtomicBool,
    /// When the answer was made that is sent next, where that is said.
    pub(crate) date: AnswerDate,
}

const MANY: u32 = u32::MAX;

impl Turn {
    /// The head is here; whether it is the first one.
    pub(crate) fn begin(&self, requests_overlap: bool) -> bool {
        let bits = if requests_overlap { MANY } else { 1 };
        self.place.fetch_or(bits, Ordering::Relaxed) == 0
    }

    /// Whether nothing was asked yet.
    pub(crate) fn is_fresh(&self) -> bool {
        self.place.load(Ordering::Relaxed) == 0
    }

    /// Which head is waited for, if one is.
    pub(crate) fn head(&self) -> Option<u32> {
        Some(self.place.load(Ordering::Relaxed)).filter(|place| place & 1 == 0)
    }

    /// A line was read that only looks like one of a request.
    pub(crate) fn doubt_line(&self) {
        self.odd_line.store(true, Ordering::Relaxed);
    }

    /// Whether such a line was read; nothing on the connection can be relied on then.
    pub(crate) fn has_odd_line(&self) -> bool {
        self.odd_line.load(Ordering::Relaxed)
    }

    /// The request is answered.
    pub(crate) fn end(&self) {
        let now = self.place.load(Ordering::Relaxed);
        if now != MANY && now & 1 == 1 {
            self.place.store(now.wrapping_add(1) & (MANY - 1), Ordering::Relaxed);
        }
    }
}

/// The timer of one connection.
#[derive(Debug)]
pub(crate) struct HeadTimer {
    turn: Arc<Turn>,
    seen: u32,
    limits: HeadLimits,
    in_head: bool,
    /// In milliseconds of the tick.
    deadline: Option<u64>,
    alarm: Option<Alarm>,
}

/// What wakes a connection, at its deadline or before.
#[derive(Debug)]
struct Alarm {
    sleep: Pin<Box<Sleep>>,
    /// The deadline that it was set for.
    set_for: u64,
    /// Whom it wakes, once it knows.
    wakes: Option<Waker>,
}

impl Alarm {
    fn new(deadline: u64) -> Self {
        let sleep = Box::pin(tokio::time::sleep_until(moment_of(deadline)));
        Self { sleep, set_for: deadline, wakes: None }
    }

    fn set(&mut self, deadline: u64) {
        self.sleep.as_mut().reset(moment_of(deadline));
        (self.set_for, self.wakes) = (deadline, None);
    }

    /// Ends when it goes off, and tells the task then, which costs something the first time only.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let waker = context.waker();
        let is_known = self.wakes.as_ref().is_some_and(|wakes| wakes.will_wake(waker));
        if is_known && !self.sleep.is_elapsed() {
            return Poll::Pending;
        }
        let polled = self.sleep.as_mut().poll(context);
        if polled.is_pending() && !is_known {
            self.wakes = Some(waker.clone());
        }
        polled
    }
}

fn moment_of(deadline: u64) -> Instant {
    Instant::now() + Duration::from_millis(deadline.saturating_sub(tick_ms()))
}

fn after(now: u64, limit: Duration) -> u64 {
    now.saturating_add(u64::try_from(limit.as_millis()).unwrap_or(u64::MAX))
}

impl HeadTimer {
    pub(crate) fn new(limits: HeadLimits) -> Self {
        Self { turn: Arc::default(), seen: 0, limits, in_head: false, deadline: None, alarm: None }
    }

    pub(crate) fn turn(&self) -> &Arc<Turn> {
        &self.turn
    }

    /// Whether a head is waited for; begins anew where it is the next one.
    fn waits(&mut self) -> bool {
        let Some(now) = self.turn.head() else { return false };
        if now != self.seen {
            self.seen = now;
            self.in_head = false;
            self.deadline = None;
        }
        true
    }

    /// Notes that bytes were read; whether their time was over already.
    pub(crate) fn is_late(&mut self) -> bool {
        if !self.waits() {
            return false;
        }
        if !self.in_head {
            // Most heads come in one read, which asks no clock. The first one's time runs since the
            // connection was accepted.
            self.in_head = true;
            if self.seen != 0 {
                self.deadline = None;
            }
            return false;
        }
        let now = tick_ms();
        now >= *self.deadline.get_or_insert(after(now, self.limits.head))
    }

    /// Ends when the connection has waited long enough; with whether a head had begun.
    pub(crate) fn poll_over(&mut self, context: &mut Context<'_>) -> Poll<bool> {
        if !self.waits() {
            return Poll::Pending;
        }
        let is_first = self.seen == 0;
        let limit = if self.in_head || is_first { self.limits.head } else { self.limits.idle };
        let deadline = *self.deadline.get_or_insert_with(|| after(tick_ms(), limit));
        let alarm = self.alarm.get_or_insert_with(|| Alarm::new(deadline));
        loop {
            // An alarm that was set for an earlier time goes off and is set anew: most connections
            // never get there, and setting it for each request would cost more.
            if alarm.set_for > deadline {
                alarm.set(deadline);
            }
            match alarm.poll(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(()) if alarm.set_for >= deadline => return Poll::Ready(self.in_head),
                Poll::Ready(()) => alarm.set(deadline),
            }
        }
    }
}

//! Owns what is known of one request while it lasts: its id, its route, its way upstream.
//!
//! Refuses to decide anything. Bound: one per request.

use std::cell::Cell;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use http::HeaderValue;
use truststram_base::{Identity, RequestId};

use crate::auth::Denied;
use crate::limit::{InFlight, LimitHeaders};
use crate::live::Table;
use crate::overload::Place;
use crate::proxying::Proxying;
use crate::route::compile::Route;

pub(crate) struct RequestContext {
    pub(crate) started: Instant,
    pub(crate) id: RequestId,
    /// The table that it began with, where the listener has one.
    pub(crate) table: Option<Arc<Table>>,
    /// The place of its route in the table.
    pub(crate) route: Option<usize>,
    /// Who it is from, proxies in between left out.
    pub(crate) client: Option<IpAddr>,
    /// The target as the client wrote it, where it is logged.
    pub(crate) target: Vec<u8>,
    /// The path that was asked for, where another one is answered.
    pub(crate) asked_path: Option<String>,
    /// Its way upstream, if it goes there.
    pub(crate) proxying: Option<Proxying>,
    /// Who it is from, as far as that was asked and told.
    pub(crate) identity: Result<Option<Arc<Identity>>, Denied>,
    /// Whether that was needed and is enough.
    pub(crate) is_let_in: bool,
    /// When that was judged last.
    pub(crate) judged_us: u64,
    /// What its answer says of limits.
    pub(crate) limited: LimitHeaders,
    /// Places that it holds until it is over.
    pub(crate) in_flight: InFlight,
    /// Its place among all that are under way.
    pub(crate) place: Option<Place>,
}

impl RequestContext {
    pub(crate) fn new() -> Self {
        Self {
            started: Instant::now(),
            id: next_id(),
            table: None,
            route: None,
            client: None,
            target: Vec::new(),
            asked_path: None,
            proxying: None,
            identity: Ok(None),
            is_let_in: false,
            judged_us: 0,
            limited: LimitHeaders::default(),
            in_flight: InFlight::default(),
            place: None,
        }
    }

    pub(crate) fn route(&self) -> Option<&Route> {
        self.table.as_ref()?.routes.get(self.route?)
    }

    pub(crate) fn id_header(&self) -> HeaderValue {
        header_of(self.id)
    }
}

/// An id as the value of a header.
pub(crate) fn header_of(id: RequestId) -> HeaderValue {
    // Hexadecimal digits are always a legal header value.
    HeaderValue::from_bytes(&id.to_hex()).unwrap_or(HeaderValue::from_static(""))
}

thread_local! {
    /// The next request id of this thread: a random number to begin with, then a step of an odd
    /// constant, so that ids of one thread never repeat and those of two threads practically
    /// never meet.
    static NEXT_ID: Cell<u128> = Cell::new(random_u128());
}

fn random_u128() -> u128 {
    use std::hash::{BuildHasher, RandomState};
    let half = || u128::from(RandomState::new().hash_one(0u8));
    half() << 64 | half()
}

/// The id of the next request.
pub(crate) fn next_id() -> RequestId {
    NEXT_ID.with(|next| {
        let id = next.get();
        next.set(id.wrapping_add(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835));
        RequestId(id)
    })
}

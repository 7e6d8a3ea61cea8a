//! Owns the metrics of routes, of upstream servers and of who is let in.
//!
//! Refuses to count; the gateway does. Bound: one row per route and per server.

use std::fmt::Error;

use truststram_base::Counter;
use truststram_machine::Standing;
use truststram_proxy::{Authority, Live, STATUS_CLASSES};

use super::{Page, Rows, labels};

/// Counts per route.
pub(super) fn routes(live: &Live, page: &mut Page<'_>) -> Result<(), Error> {
    let reloads = vec![(Vec::new(), live.reloads())];
    page.counters("truststram_config_reloads", "Reloads of the configuration", reloads)?;
    let (mut requests, mut times) = (Vec::new(), Vec::new());
    live.each_route(|name, stats| {
        for (class, count) in STATUS_CLASSES.iter().zip(&stats.requests) {
            let labels = vec![("route", name.to_owned()), ("status", (*class).to_owned())];
            requests.push((labels, count.get()));
        }
        times.push((labels("route", name), stats.duration_us.snapshot()));
    });
    page.counters("truststram_route_requests", "Requests answered, by route", requests)?;
    let help = "Time from a request's head to the end of its answer, by route";
    page.histograms("truststram_route_seconds", help, 1e-6, times)
}

/// Which network threads go before all others of their cores.
pub(super) fn network(threads: &[Standing], page: &mut Page<'_>) -> Result<(), Error> {
    let each = |value: &dyn Fn(&Standing) -> u64| -> Rows<u64> {
        threads.iter().map(|thread| (labels("thread", &thread.name), value(thread))).collect()
    };
    let help = "Whether the thread goes before all others of its core (server.network_first)";
    page.gauges("truststram_network_first", help, each(&|thread| thread.is_first.into()))?;
    let help = "Times that it lost that: it left too little of the core, or the store was behind";
    page.counters("truststram_network_first_lost", help, each(&|thread| thread.lost))
}

/// What became of requests that were asked who they are from.
pub(super) fn auth(authority: &Authority, page: &mut Page<'_>) -> Result<(), Error> {
    let stats = authority.stats();
    let rows = |label: &'static str, counts: &[(&str, &Counter)]| -> Rows<u64> {
        counts.iter().map(|(value, count)| (labels(label, value), count.get())).collect()
    };
    let granted = [
        ("key", &stats.by_key),
        ("token", &stats.by_token),
        ("issuer", &stats.by_issuer),
        ("certificate", &stats.by_certificate),
    ];
    let help = "Requests let in, by what they presented";
    page.counters("truststram_auth_granted", help, rows("by", &granted))?;
    let refused = [
        ("missing", &stats.missing),
        ("invalid", &stats.invalid),
        ("forbidden", &stats.forbidden),
        ("limited", &stats.limited),
    ];
    let help = "Requests not let in, by reason";
    page.counters("truststram_auth_refused", help, rows("reason", &refused))?;
    let keys = vec![(Vec::new(), authority.keys().count() as u64)];
    page.gauges("truststram_auth_keys", "API keys", keys)
}

/// Counts per upstream group and per server of it.
pub(super) fn upstreams(live: &Live, now_us: u64, page: &mut Page<'_>) -> Result<(), Error> {
    let mut of_groups: [Rows<u64>; 8] = Default::default();
    let mut of_servers: [Rows<u64>; 4] = Default::default();
    let mut times = Vec::new();
    live.each_upstream(now_us, |name, stats, is_closed, servers| {
        let counts = [
            stats.retries.get(),
            stats.retries_refused.get(),
            stats.hedges.get(),
            stats.hedges_won.get(),
            stats.hedges_refused.get(),
            stats.without_server.get(),
            stats.broken.get(),
            u64::from(!is_closed),
        ];
        for (rows, count) in of_groups.iter_mut().zip(counts) {
            rows.push((labels("upstream", name), count));
        }
        for server in servers {
            let labels =
                || vec![("upstream", name.to_owned()), ("server", server.address.to_owned())];
            let stats = server.stats;
            let counts = [
                stats.requests.get(),
                stats.failures.get(),
                stats.open.get(),
                u64::from(server.is_up),
            ];
            for (rows, count) in of_servers.iter_mut().zip(counts) {
                rows.push((labels(), count));
            }
            times.push((labels(), stats.latency_us.snapshot()));
        }
    });
    let [retries, refused, hedges, hedges_won, hedges_refused, without_server, broken, open] =
        of_groups;
    page.counters("truststram_upstream_retries", "Further attempts at requests", retries)?;
    let help = "Further attempts that the budget did not allow";
    page.counters("truststram_upstream_retries_refused", help, refused)?;
    let help = "Requests for which a second server was asked, the first one being slow";
    page.counters("truststram_upstream_hedges", help, hedges)?;
    let help = "Requests whose answer came from the second server";
    page.counters("truststram_upstream_hedges_won", help, hedges_won)?;
    let help = "Second servers that a budget did not allow to ask";
    page.counters("truststram_upstream_hedges_refused", help, hedges_refused)?;
    let help = "Attempts for which no server could be asked";
    page.counters("truststram_upstream_without_server", help, without_server)?;
    let help = "Requests that an open breaker refused";
    page.counters("truststram_upstream_broken", help, broken)?;
    let help = "1 while the breaker of the group is not closed";
    page.gauges("truststram_upstream_breaker_open", help, open)?;
    let [requests, failures, open, up] = of_servers;
    page.counters("truststram_upstream_requests", "Requests sent to a server", requests)?;
    page.counters("truststram_upstream_failures", "Attempts that a server failed", failures)?;
    page.gauges("truststram_upstream_open", "Requests at a server now", open)?;
    page.gauges("truststram_upstream_up", "1 while a server may be asked", up)?;
    let help = "Time until a server's answer began";
    page.histograms("truststram_upstream_seconds", help, 1e-6, times)
}

/// Those of issuers whose keys are fetched.
pub(super) fn issuers(live: &Live, page: &mut Page<'_>) -> Result<(), Error> {
    let (mut keys, mut fetches) = (Vec::new(), Vec::new());
    live.each_issuer(|name, count, stats| {
        keys.push((labels("issuer", name), count as u64));
        for (outcome, count) in [("fetched", &stats.fetched), ("failed", &stats.failed)] {
            let labels = vec![("issuer", name.to_owned()), ("outcome", outcome.to_owned())];
            fetches.push((labels, count.get()));
        }
    });
    page.gauges("truststram_auth_issuer_keys", "Keys of an issuer of tokens", keys)?;
    page.counters("truststram_auth_issuer_fetches", "Fetches of the keys of an issuer", fetches)
}

/// Those where more comes than can be done.
pub(super) fn overload(live: &Live, page: &mut Page<'_>) -> Result<(), Error> {
    let stats = live.overload();
    let outcomes = [
        ("shed", &stats.shed),
        ("waited", &stats.waited),
        ("full", &stats.full),
        ("late", &stats.late),
    ];
    let outcomes = outcomes.map(|(name, count)| (labels("outcome", name), count.get()));
    let help = "Requests that were refused or made to wait because more came than can be done";
    page.counters("truststram_overload_requests", help, outcomes.to_vec())?;
    let one = |value| vec![(Vec::new(), value)];
    let held = one(stats.in_flight.get());
    page.gauges("truststram_overload_in_flight", "Requests that hold a place", held)?;
    let waiting = one(stats.waiting.get());
    page.gauges("truststram_overload_waiting", "Requests that wait for a place", waiting)?;
    let strained = one(u64::from(live.strained().is_some()));
    page.gauges("truststram_overload_strained", "Whether low priorities are refused", strained)
}

//! Owns how the gateway is set up: its listeners, its limits of time, its access log.
//!
//! Refuses to know when it starts and stops. Bound: three listeners.

use std::sync::Arc;
use std::time::Duration;

use truststram_api::Ports;
use truststram_base::Clock;
use truststram_base::limits::PLUGIN_FILE_BYTES_MAX;
use truststram_machine::{LogFile, RingMode, Rotation, probe};
use truststram_proxy::{
    Authority, Cache, Door, GatewayOptions, Guard, Handler, Listener, Live, ProxyError,
};

use crate::app::{Addresses, AppError};
use crate::config::Plan;
use crate::wire::inline::InlineWorkers;
use crate::wire::operate::Parts;
use crate::wire::replies::Replies;
use crate::wire::strain;

/// Largest request body on the operators' side: one plugin.
const ADMIN_BODY_BYTES_MAX: usize = PLUGIN_FILE_BYTES_MAX as usize;

/// The cache of answers, if there is to be one.
pub(crate) fn open_cache(
    plan: &Plan,
    clock: &Arc<dyn Clock>,
) -> Result<Option<Arc<Cache>>, AppError> {
    let Some(options) = plan.cache.clone() else { return Ok(None) };
    let cache = Cache::new(options, clock.clone());
    Ok(Some(Arc::new(match plan.cache_disk.clone() {
        Some(disk) => cache.with_disk(disk)?,
        None => cache,
    })))
}

pub(crate) fn open_access_log(
    plan: &Plan,
    mode: RingMode,
    clock: &Arc<dyn Clock>,
) -> Result<Option<Arc<LogFile>>, AppError> {
    if plan.gateway.access_log.is_empty() {
        return Ok(None);
    }
    let path = std::path::Path::new(&plan.gateway.access_log);
    // The log's own ring: a ring belongs to one thread.
    let gateway = &plan.gateway;
    let rotation = Rotation {
        bytes_max: gateway.access_log_rotate_mib << 20,
        every_s: gateway.access_log_rotate_hours * 3_600,
        keep: gateway.access_log_keep,
    };
    let lines_max = gateway.access_log_lines_max;
    let log = LogFile::open(path, probe(mode).0, lines_max, rotation, clock.clone())?;
    Ok(Some(Arc::new(log)))
}

/// The gateway's first table.
pub(crate) fn live(plan: &Plan) -> Result<Arc<Live>, AppError> {
    let made = Live::new(&plan.table, plan.network_cores.len());
    // The plan has checked it, so that what is wrong now became so since: the first says enough.
    made.map_err(|mut faults| ProxyError::Table(faults.swap_remove(0)).into())
}

pub(crate) fn listeners(
    plan: &Plan,
    bound: &Addresses,
    ports: Ports,
    live: &Arc<Live>,
    cache: Option<Arc<Cache>>,
    authority: &Arc<Authority>,
) -> Vec<Listener> {
    let ports = Arc::new(ports);
    let handler: Handler = Arc::new(truststram_api::public_handler(ports.clone()));
    let public = |door: &Door, is_tls| Listener {
        door: door.clone(),
        handler: handler.clone(),
        body_bytes_max: plan.gateway.body_bytes_max,
        streams: truststram_api::streams,
        is_logged: true,
        live: Some(live.clone()),
        is_tls,
        has_proxy_header: plan.gateway.proxy_protocol,
        cache: cache.clone(),
        guard: Some(Guard {
            authority: authority.clone(),
            access: truststram_api::public_access,
            is_required: false,
            rules: None,
        }),
    };
    let admin = Listener {
        door: bound.admin.clone(),
        handler: Arc::new(truststram_api::admin_handler(ports)),
        body_bytes_max: ADMIN_BODY_BYTES_MAX,
        streams: |_, _| false,
        is_logged: false,
        live: None,
        is_tls: false,
        has_proxy_header: false,
        cache: None,
        guard: Some(Guard {
            authority: authority.clone(),
            access: truststram_api::admin_access,
            is_required: plan.auth.is_admin_required,
            rules: Some(live.clone()),
        }),
    };
    vec![public(&bound.public, false), admin, public(&bound.tls, true)]
}

pub(crate) fn gateway_options(
    plan: &Plan,
    parts: &Arc<Parts>,
    (replies, inline): (
        Arc<Replies<crate::wire::sink::Outcome>>,
        Arc<InlineWorkers<crate::wire::sink::Ticket>>,
    ),
) -> GatewayOptions {
    let precedence = parts.precedence.clone();
    GatewayOptions {
        cores: plan.network_cores.clone(),
        read_timeout: Duration::from_secs(plan.gateway.read_timeout_s),
        write_timeout: Duration::from_secs(plan.gateway.write_timeout_s),
        head_timeout: Duration::from_secs(plan.gateway.head_timeout_s),
        keepalive: Duration::from_secs(plan.gateway.keepalive_s),
        keepalive_requests: Some(plan.gateway.keepalive_requests).filter(|&count| count > 0),
        h2c: plan.gateway.h2c,
        h2_idle_timeout: Duration::from_secs(plan.gateway.h2_idle_timeout_s),
        upstream_idle_max: plan.gateway.upstream_idle_max,
        reject: |uri, refusal| {
            let detail = refusal.detail.clone();
            truststram_api::reject(uri, refusal.status, refusal.name, refusal.title, detail)
        },
        access_log: parts.access_log.clone(),
        strain: strain::source(parts.engine.clone()),
        on_thread_start: Arc::new(move |index| {
            if let Some(refused) = precedence.as_ref().and_then(|precedence| precedence.join()) {
                tracing::info!(thread = index, %refused, "requests share their core evenly; \
                    CAP_SYS_NICE or an rtprio limit of 1 would let them go first");
            }
            replies.adopt_thread(index);
            inline.adopt_thread(index);
        }),
        clock: parts.clock.clone(),
    }
}

//! Owns `serve`: configuration, ports, example, start, signals, drain, upgrade.
//!
//! Refuses to know how anything is served. Bound: the drain by `server.drain_s`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, anyhow};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use truststram_base::Kind;
use truststram_machine::{MachineError, Signal, Signals, limit_library_threads, set_up_allocator};
use truststram_proxy::{Bound, Door, bind};

use super::signals::Watch;
use super::upgrade::{ADMIN_LISTEN, Inherited, LISTEN, TLS_LISTEN, Upgrade};
use super::{Example, Failure, ServeArguments, config, output};
use crate::config::read::Located;
use crate::config::{Plan, Problems};
use crate::{Addresses, App, AppError, StartError, Started, example};

pub(super) fn run(arguments: &ServeArguments, json: bool) -> Result<(), Failure> {
    limit_library_threads()?;
    set_up_allocator();
    let (plan, located) = config::planned(&arguments.config)?;
    let signals = Signals::block()?;
    start_log(&plan);
    plan.log_warnings();
    let started = Started::open(&plan).map_err(|error| match &error {
        AppError::Machine(locked @ MachineError::Locked { .. }) => {
            Failure::Refused(anyhow!("server.data_dir: {locked}"))
        }
        _ => data_dir_problem(&located, error),
    })?;
    let inherited = Inherited::take()?;
    let is_upgraded = inherited.is_any();
    let bound = bind_all(&plan, &located, inherited)?;
    let upgrade = Upgrade::new(&bound)?;
    if let Some(Example::Digits) = arguments.example {
        train_digits(&plan, &started)?;
    }
    let (again, topology) = (arguments.config.clone(), plan.topology.clone());
    let read = Arc::new(move || config::resolved(&again, topology.clone()));
    let app =
        App::start(&plan, &located.raw, read, started, bound).map_err(|error| match error {
            StartError::Plugin(error) => {
                let mut problems = Problems::default();
                problems.add("plugins[0]", located.place("plugins[0]"), error.to_string());
                Failure::Usage(problems.into())
            }
            StartError::Other(error) => Failure::Failed(error.into()),
        })?;
    if is_upgraded {
        // Whoever read the announcement of the program before may be gone.
        tracing::info!("the newer program serves");
    } else {
        announce(&app, json)?;
    }
    let first = loop {
        match signals.wait()? {
            Signal::User1 => app.reopen_logs(),
            // What is wrong is in the log; the process goes on as it was.
            Signal::Hangup => drop(app.reload()),
            Signal::User2 => match upgrade.try_configuration(&arguments.config) {
                Ok(()) => break Signal::User2,
                Err(error) => tracing::error!("no upgrade: {error:#}"),
            },
            stop @ (Signal::Terminate | Signal::Interrupt) => break stop,
        }
    };
    tracing::info!(signal = ?first, "draining; a second signal cuts open connections");
    // A second signal while the first one's drain runs.
    let is_to_stop = Arc::new(AtomicBool::new(first != Signal::User2));
    if first != Signal::User2 {
        upgrade.forget();
    }
    let (cut, told) = (app.cutter(), is_to_stop.clone());
    let watch = Watch::start(signals, move || {
        told.store(true, Ordering::Release);
        cut();
    })?;
    let stopped = app.stop();
    watch.end()?;
    match stopped? {
        0 => tracing::info!("stopped"),
        cut => tracing::warn!(connections = cut, "stopped; connections were cut"),
    }
    if is_to_stop.load(Ordering::Acquire) { Ok(()) } else { Err(Failure::Failed(upgrade.run())) }
}

fn start_log(plan: &Plan) {
    // The filter was checked with the configuration. Pingora writes a line for each client that
    // goes away in the middle of a request; those are counted, and a line each would fill disks.
    let filter = format!("pingora_proxy=off,{}", plan.log_level);
    let filter = tracing_subscriber::EnvFilter::builder().parse_lossy(filter);
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if plan.log_json {
        log.json().init();
    } else {
        let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
        log.with_ansi(terminal).with_target(false).init();
    }
}

fn data_dir_problem(located: &Located, error: AppError) -> Failure {
    let kind = match &error {
        AppError::Store(error) => error.kind(),
        AppError::Machine(error) => error.kind(),
        _ => Kind::Internal,
    };
    if kind == Kind::Corrupt {
        return Failure::Refused(error.into());
    }
    let mut problems = Problems::default();
    problems.add("server.data_dir", located.place("server.data_dir"), error.to_string());
    Failure::Usage(problems.into())
}

/// Binds all addresses, so that one in use is reported together with the others; takes the sockets
/// that an older program left.
fn bind_all(
    plan: &Plan,
    located: &Located,
    mut inherited: Inherited,
) -> Result<Addresses, Failure> {
    let mut problems = Problems::default();
    let mut attempt = |key: &str, address| {
        let bound = match inherited.socket(key, address) {
            Some(socket) => Bound::listening(socket, address),
            None => bind(address),
        };
        Door::new(
            bound.map_err(|error| problems.add(key, located.place(key), error.to_string())).ok(),
        )
    };
    let public = attempt(LISTEN, plan.listen);
    let admin = attempt(ADMIN_LISTEN, plan.admin_listen);
    let tls = plan.tls_listen.map(|address| attempt(TLS_LISTEN, address));
    let tls = tls.unwrap_or_else(|| Door::new(None));
    problems
        .or(Addresses { public, tls, admin })
        .map_err(|problems| Failure::Usage(problems.into()))
}

fn train_digits(plan: &Plan, started: &Started) -> Result<(), Failure> {
    let bar = ProgressBar::new(0);
    let style = "training digits {bar:30} epoch {pos}/{len}  loss {msg}  {eta} left";
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style);
    }
    let trained = example::ensure_digits(plan, started, &mut |progress| {
        bar.set_length(progress.epochs as u64);
        bar.set_position(progress.epoch as u64);
        bar.set_message(format!("{:.4}", progress.loss));
    });
    bar.finish_and_clear();
    if let Some(accuracy) = trained.context("the example `digits` cannot be trained")? {
        let percent = accuracy * 100.0;
        output::remark(&format!(
            "trained model `digits` version 1: {percent:.1} % of held-out digits are right"
        ));
    }
    Ok(())
}

fn announce(app: &App, json: bool) -> Result<(), Failure> {
    let text = |address: Option<SocketAddr>| address.map_or_else(String::new, |at| at.to_string());
    let (public, admin) = (text(app.public_address()), text(app.admin_address()));
    if json {
        let mut facts = json!({
            "listen": public,
            "admin_listen": admin,
            "process_id": std::process::id(),
        });
        if let Some(tls) = app.tls_address() {
            facts["tls_listen"] = tls.to_string().into();
        }
        return output::json(&facts);
    }
    output::remark(&format!("serving on http://{public} (try http://{public}/docs)"));
    if let Some(tls) = app.tls_address() {
        output::remark(&format!("serving by TLS on https://{tls}"));
    }
    output::remark(&format!("metrics and status on http://{admin}/metrics and /admin/v1/status"));
    Ok(())
}

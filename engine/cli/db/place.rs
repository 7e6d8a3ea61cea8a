//! Owns where a command finds the store: the data directory that it takes, or the server that has
//! the directory already.
//!
//! Refuses to guess which server that is: it must name itself as the holder of the directory's
//! lock, unless the operator gave its address. Bound: one directory, one server.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::anyhow;
use serde_json::Value;
use truststram_base::{Clock, Kind, SystemClock};
use truststram_machine::{DirLock, MachineError};
use truststram_store::{Store, StoreError};

use crate::cli::client::{AdminArgument, ServerArgument};
use crate::cli::{ConfigArguments, Failure, config};
use crate::config::plan::store_options;
use crate::config::raw::Raw;

/// The data directory and where its server would be.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Directory {
    /// Configuration file that names the data directory, the server's addresses and the directories
    /// of older months.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Data directory, instead of `server.data_dir`.
    #[arg(long, value_name = "DIRECTORY")]
    data_dir: Option<String>,
}

/// A place whose operators' side can stand in for the directory.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct AdminPlace {
    #[command(flatten)]
    pub(super) directory: Directory,
    /// Ask the server with this operators' address, and leave the data directory alone. Without it
    /// `server.admin_listen` is asked where a server has the directory.
    #[arg(long, value_name = "URL", conflicts_with = "data_dir")]
    pub(super) admin: Option<String>,
}

/// A place whose public side can stand in for the directory.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct PublicPlace {
    #[command(flatten)]
    pub(super) directory: Directory,
    /// Ask the server at this address, and leave the data directory alone. Without it
    /// `server.listen` is asked where a server has the directory.
    #[arg(long, value_name = "URL", conflicts_with = "data_dir")]
    server: Option<String>,
}

/// Whether a directory without a store is an error.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum IfMissing {
    Refuse,
    Create,
}

/// A store that this process has.
pub(in crate::cli) struct Local {
    pub(in crate::cli) store: Store,
    pub(in crate::cli) clock: Arc<dyn Clock>,
    pub(super) path: PathBuf,
    _lock: DirLock,
}

/// What could be had.
pub(in crate::cli) enum Reached {
    Here(Box<Local>),
    Server(AdminArgument),
}

impl Local {
    /// Does `work` and closes the store, whatever came of it.
    pub(in crate::cli) fn with<T>(
        self,
        work: impl FnOnce(&Self) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let done = work(&self);
        let closed = self.store.close().map_err(failed);
        let done = done?;
        closed.map(|()| done)
    }
}

impl Directory {
    pub(super) fn raw(&self) -> Result<Raw, Failure> {
        let arguments = ConfigArguments {
            config: self.config.clone(),
            data_dir: self.data_dir.clone(),
            ..ConfigArguments::default()
        };
        let located = config::located(&arguments);
        located.map(|located| located.raw).map_err(|problems| Failure::Usage(problems.into()))
    }

    /// Takes the directory and opens the store; for commands that no server can stand in for.
    pub(in crate::cli) fn take(&self, if_missing: IfMissing) -> Result<Local, Failure> {
        let raw = self.raw()?;
        match open(&raw, if_missing)? {
            Ok(local) => Ok(local),
            Err(locked) => Err(Failure::Refused(
                anyhow!(locked).context("this command needs the store for itself"),
            )),
        }
    }
}

impl AdminPlace {
    /// Takes the directory, or finds the server that has it.
    pub(in crate::cli) fn reach(&self) -> Result<Reached, Failure> {
        self.reach_or(IfMissing::Refuse)
    }

    /// The same, and makes the directory where there is none.
    pub(in crate::cli) fn reach_or_create(&self) -> Result<Reached, Failure> {
        self.reach_or(IfMissing::Create)
    }

    fn reach_or(&self, if_missing: IfMissing) -> Result<Reached, Failure> {
        if let Some(url) = &self.admin {
            return Ok(Reached::Server(AdminArgument::at(url)));
        }
        let raw = self.directory.raw()?;
        match open(&raw, if_missing)? {
            Ok(local) => Ok(Reached::Here(Box::new(local))),
            Err(locked) => Ok(Reached::Server(server_of(&raw, &locked)?)),
        }
    }

    /// The answer of `here` on the store, or that of the server to a POST of `body` to `path`.
    pub(super) fn work(
        &self,
        path: &str,
        body: &Value,
        here: impl FnOnce(&Local) -> Result<Value, Failure>,
    ) -> Result<Value, Failure> {
        match self.reach()? {
            Reached::Here(local) => local.with(here),
            Reached::Server(server) => server.work(path, body),
        }
    }
}

impl PublicPlace {
    /// The answer of `here` on the store, or that of the server to `path`.
    pub(super) fn get(
        &self,
        path: &str,
        here: impl FnOnce(&Local) -> Result<Value, Failure>,
    ) -> Result<Value, Failure> {
        if let Some(url) = &self.server {
            return ServerArgument::at(url).get(path);
        }
        let raw = self.directory.raw()?;
        match open(&raw, IfMissing::Refuse)? {
            Ok(local) => local.with(here),
            Err(locked) => {
                server_of(&raw, &locked)?;
                ServerArgument::at(&url_of(&raw.server.listen)).get(path)
            }
        }
    }
}

/// Takes the lock of a directory and says who has it otherwise.
pub(super) fn lock(directory: &Path) -> Result<Result<DirLock, MachineError>, Failure> {
    match DirLock::acquire(directory) {
        Ok(lock) => Ok(Ok(lock)),
        Err(locked @ MachineError::Locked { .. }) => Ok(Err(locked)),
        Err(error) => Err(Failure::Failed(error.into())),
    }
}

fn open(raw: &Raw, if_missing: IfMissing) -> Result<Result<Local, MachineError>, Failure> {
    let path = PathBuf::from(&raw.server.data_dir);
    if if_missing == IfMissing::Create {
        std::fs::create_dir_all(&path)
            .map_err(|error| anyhow!("cannot create {}: {error}", path.display()))?;
    } else {
        must_hold_a_store(&path)?;
    }
    let lock = match lock(&path)? {
        Ok(lock) => lock,
        Err(locked) => return Ok(Err(locked)),
    };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let store = Store::open(&path, store_options(&raw.store), clock.clone()).map_err(failed)?;
    Ok(Ok(Local { store, clock, path, _lock: lock }))
}

/// A directory that is named by mistake is left without a trace.
pub(super) fn must_hold_a_store(directory: &Path) -> Result<(), Failure> {
    if directory.join("meta.redb").exists() || directory.join("log").is_dir() {
        return Ok(());
    }
    Err(Failure::Usage(anyhow!(
        "there is no store in {}; name the data directory of a server with --data-dir or --config",
        directory.display()
    )))
}

/// The server that the configuration names, if it is the one that has the directory.
pub(super) fn server_of(raw: &Raw, locked: &MachineError) -> Result<AdminArgument, Failure> {
    let MachineError::Locked { dir, holder } = locked else {
        return Err(Failure::Refused(anyhow!("{locked}")));
    };
    let url = url_of(&raw.server.admin_listen);
    let server = AdminArgument::at(&url);
    let status = server.send("GET", "/admin/v1/status", &[]).map_err(|failure| {
        failure.context(format!(
            "{} is in use by {holder}, and it cannot be asked; stop it, or name the \
             server's configuration with --config",
            dir.display()
        ))
    })?;
    let found = format!("pid {}", status["process_id"]);
    if *holder == found {
        return Ok(server);
    }
    Err(Failure::Refused(anyhow!(
        "{} is in use by {holder}, but the server at {url} is {found}; name the right one with \
         --config",
        dir.display()
    )))
}

/// The address at which a server that listens on `listen` is asked from this host.
fn url_of(listen: &str) -> String {
    match listen.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_unspecified() => {
            let host = if address.is_ipv4() { "127.0.0.1" } else { "[::1]" };
            format!("http://{host}:{}", address.port())
        }
        _ => format!("http://{listen}"),
    }
}

/// How an error of the store ends a command: what exists already is not overwritten.
pub(super) fn failed(error: StoreError) -> Failure {
    match error.kind() {
        Kind::Conflict => Failure::Refused(error.into()),
        Kind::Malformed => Failure::Usage(error.into()),
        _ => Failure::Failed(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::url_of;

    #[test]
    fn a_server_on_every_address_is_asked_on_this_host() {
        let check = |listen: &str, expected: &str| assert_eq!(url_of(listen), expected);
        check("127.0.0.1:9090", "http://127.0.0.1:9090");
        check("0.0.0.0:9090", "http://127.0.0.1:9090");
        check("[::]:80", "http://[::1]:80");
        check("10.0.0.7:80", "http://10.0.0.7:80");
    }
}

//! Owns the exchange of the running program for a newer one of the same name, at SIGUSR2.
//!
//! The process, its arguments and its listening sockets stay; connections that come in between wait
//! in the kernel until the newer program accepts them. Refuses to give up a program that runs for
//! one that does not take the configuration. Bound: the drain of the older program, and the start
//! of the newer one.

use std::ffi::OsString;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use anyhow::{Context, anyhow};
use truststram_machine::{MachineError, inherited_listener, keep_across_exec};
use truststram_proxy::{Door, ProxyError};

use super::ConfigArguments;
use crate::Addresses;

/// What tells the newer program of the sockets: `KEY@ADDRESS=DESCRIPTOR`, separated by commas. The
/// address is the one that the configuration asked for.
const LISTENERS: &str = "TRUSTSTRAM_LISTENERS";

/// The keys of the listeners.
pub(super) const LISTEN: &str = "server.listen";
pub(super) const TLS_LISTEN: &str = "gateway.tls_listen";
pub(super) const ADMIN_LISTEN: &str = "server.admin_listen";

/// The sockets that the program before this one left, by key and address of the configuration.
#[derive(Debug, Default)]
pub(super) struct Inherited(Vec<(String, TcpListener)>);

impl Inherited {
    /// Takes what the environment names.
    pub(super) fn take() -> Result<Self, MachineError> {
        let text = std::env::var(LISTENERS).unwrap_or_default();
        let entries = text.split(',').filter_map(|entry| entry.rsplit_once('='));
        let entries = entries.filter_map(|(name, number)| Some((name, number.parse().ok()?)));
        let taken = entries.map(|(name, number)| {
            inherited_listener(number).map(|listener| (name.to_owned(), listener))
        });
        taken.collect::<Result<_, _>>().map(Self)
    }

    /// Whether a program ran before this one.
    pub(super) fn is_any(&self) -> bool {
        !self.0.is_empty()
    }

    /// The socket of a key, unless the configuration asks for another address now.
    pub(super) fn socket(&mut self, key: &str, address: SocketAddr) -> Option<TcpListener> {
        let name = name(key, address);
        let place = self.0.iter().position(|(found, _)| *found == name)?;
        Some(self.0.swap_remove(place).1)
    }
}

fn name(key: &str, address: SocketAddr) -> String {
    format!("{key}@{address}")
}

/// The program as it was started, and the sockets that it leaves.
#[derive(Debug)]
pub(super) struct Upgrade {
    program: OsString,
    arguments: Vec<OsString>,
    doors: Addresses,
}

impl Upgrade {
    /// Remembers how the process was started; the sockets of `doors` are left to the newer program,
    /// wherever a reload has moved them.
    pub(super) fn new(doors: &Addresses) -> anyhow::Result<Self> {
        let mut words = std::env::args_os();
        let program = words.next().ok_or_else(|| anyhow!("the process has no name"))?;
        Ok(Self { program, arguments: words.collect(), doors: doors.clone() })
    }

    /// Asks the newer program whether it takes the configuration.
    ///
    /// # Errors
    /// What it says against it.
    pub(super) fn try_configuration(&self, config: &ConfigArguments) -> anyhow::Result<()> {
        let mut command = Command::new(&self.program);
        command.arg("check-config").stdin(Stdio::null());
        command.args(config.words());
        let tried = command.output();
        let tried = tried.with_context(|| format!("{} cannot be run", self.program.display()))?;
        if tried.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&tried.stderr);
        Err(anyhow!("the newer program does not take the configuration: {}", said.trim()))
    }

    /// Leaves nothing, so that the sockets close when they are no longer accepted from.
    pub(super) fn forget(&self) {
        let Addresses { public, tls, admin } = &self.doors;
        [public, tls, admin].into_iter().for_each(Door::forget);
    }

    /// The sockets that the newer program gets, with their names.
    fn sockets(&self) -> Result<Vec<(String, TcpListener)>, ProxyError> {
        let Addresses { public, tls, admin } = &self.doors;
        let doors = [(LISTEN, public), (TLS_LISTEN, tls), (ADMIN_LISTEN, admin)];
        let open = doors.iter().filter_map(|(key, door)| Some((key, door.bound()?)));
        open.map(|(key, bound)| Ok((name(key, bound.asked()), bound.duplicate()?))).collect()
    }

    /// Becomes the newer program. Returns only where that fails.
    pub(super) fn run(self) -> anyhow::Error {
        let sockets = match self.sockets() {
            Ok(sockets) => sockets,
            Err(error) => return error.into(),
        };
        let left: Result<Vec<String>, MachineError> = sockets
            .iter()
            .map(|(name, socket)| Ok(format!("{name}={}", keep_across_exec(socket)?)))
            .collect();
        let left = match left {
            Ok(left) => left.join(","),
            Err(error) => return error.into(),
        };
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).env(LISTENERS, left);
        let error = command.exec();
        anyhow::Error::from(error).context(format!("cannot run {}", self.program.display()))
    }
}

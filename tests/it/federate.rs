//! Federations: simulated from the command line, and with real clients over HTTP.

mod clients;
mod convolution;
mod hostile;
mod kill;
mod plugin;
mod private;
mod python;
mod secure;
mod simulated;
mod tls;

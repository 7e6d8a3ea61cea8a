//! Federations: simulated from the command line, and with real clients over HTTP.

mod clients;
mod hostile;
mod kill;
mod python;
mod simulated;

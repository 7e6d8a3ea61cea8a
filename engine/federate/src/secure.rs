//! Secure aggregation: the server learns the sum of the updates of a round and nothing of each
//! (Bonawitz et al., 2017, the protocol for curious servers).
//!
//! ```text
//! keys      each client makes two X25519 keys and a seed, and sends the public parts
//! shares    each splits its seed and its mask key among all (Shamir), and seals a share for each
//! input     each rounds its update to whole numbers, and adds to them mod 2^32 the stream of its
//!           seed, and for each other client the stream of their common key, with opposite signs
//! unmask    once it is fixed whose inputs are there, each reveals a share of the seed of every
//!           client whose input is there, and of the mask key of every one that dropped out
//! ```
//!
//! With as many answers as the threshold the server rebuilds just these seeds and keys. It is never
//! told both of one client: what is revealed follows from one list, fixed before the first share is
//! asked for, and a client answers for one list only. Owns the arithmetic and both parties' part of
//! it. Refuses to know rounds, records and networks, and to protect from clients that send
//! nonsense. Bound: [`CLIENTS_MAX`] clients of a round.

mod client;
mod field;
mod input;
mod masks;
mod seal;
mod server;
mod settings;

pub use client::SecureClient;
pub use input::InputBounds;
pub use masks::Quantiser;
pub use seal::PublicKeys;
pub use server::{Answers, Roster, SealedShares, Survivors};
pub use settings::SecureSettings;

pub(crate) use server::{check_sealed, unmask};

/// Clients of one round: the field of the shares has as many points besides zero.
pub const CLIENTS_MAX: usize = 255;
/// Bytes of a key, a seed and a share of one.
pub const SECRET_BYTES: usize = 32;

#[cfg(test)]
mod tests;

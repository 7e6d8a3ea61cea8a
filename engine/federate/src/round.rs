//! Rounds: who is asked, whose update counts, which model comes next.
//!
//! Owns the states of a federation as plain records, and the order in which they and the files
//! change: an update is durable before it is acknowledged; the next model is durable before one
//! commit makes it the present one and its updates merged. So a crash at any moment leaves a
//! federation that goes on where it stood. Refuses to know clocks, disks and plugins, which it is
//! given. Bound: the limits of [`RoundSettings`]; tasks of the last rounds are remembered.

mod encoded;
mod ending;
mod federation;
mod folder;
mod native;
mod ports;
mod private;
mod publish;
mod records;
mod secure;
mod settings;
mod upload;

pub use encoded::{SPENT, of_records, to_record};
pub use federation::Federation;
pub use folder::Folder;
pub use native::NativePolicy;
pub use ports::{Files, Ledger, Model, Policy};
pub use private::PrivacyStanding;
pub use records::{
    Assignment, Client, Entry, Job, Phase, Resources, SecureRound, SecureTask, State, Step, Task,
    TaskState, Totals,
};
pub use secure::{Message, SecureView};
pub use settings::{Mode, RoundSettings};
pub use upload::{Claim, Receipt};

#[cfg(test)]
mod tests;

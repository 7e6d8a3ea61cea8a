//! Training jobs of a running server, and what becomes of them when it ends.

mod jobs;
mod kill;
mod rig;
mod texts;

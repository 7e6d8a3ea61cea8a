//! The passes on small graphs.

//! The passes on small graphs: what stands afterwards, and that it answers as before.

mod fold;
mod fuse;
mod small;

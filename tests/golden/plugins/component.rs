//! Turns a core module written as WAT into a component.
//!
//! Owns what the policy crate's tests and the tests of the whole share. Refuses to know what a
//! module does. Its exports have the names that the canonical ABI gives them.

use std::path::Path;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// The component of the module `wat` in the world `batcher`; `root` is the root of the repository.
pub fn component(root: &Path, wat: &str) -> Vec<u8> {
    component_of(root, "batcher", wat)
}

/// The same in another world.
pub fn component_of(root: &Path, world: &str, wat: &str) -> Vec<u8> {
    let mut module = wat::parse_str(wat).unwrap();
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(root.join("wit/since_v0.1.0")).unwrap();
    let world = resolve.select_world(&[package], Some(world)).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default().module(&module).unwrap().encode().unwrap()
}

/// The component of the hostile module `name`, which behaves until it is asked to decide.
pub fn hostile(root: &Path, name: &str) -> Vec<u8> {
    let read = |name: &str| {
        std::fs::read_to_string(root.join("tests/golden/plugins/hostile").join(name)).unwrap()
    };
    component(root, &read("frame.wat").replace(";; DECIDE", &read(name)))
}

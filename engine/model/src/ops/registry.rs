//! Owns the table of all operators, put together from the families.
//!
//! Refuses to know what they compute. Bound: built once, looked up while building programs.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::{
    attention, elementwise, image, layout, make, ml, numeric, own, recurrent, select, signal,
    spatial, text,
};
use crate::program::Build;

/// An operator as (domain, name, builder). The empty domain is `ai.onnx`.
pub type Entry = (&'static str, &'static str, Build);

/// Operators of one kind.
pub type Family = &'static [Entry];

static TABLE: LazyLock<HashMap<(&str, &str), Build>> = LazyLock::new(|| {
    let families = [
        attention::FAMILIES,
        elementwise::FAMILIES,
        image::FAMILIES,
        layout::FAMILIES,
        make::FAMILIES,
        ml::FAMILIES,
        numeric::FAMILIES,
        own::FAMILIES,
        recurrent::FAMILIES,
        select::FAMILIES,
        signal::FAMILIES,
        spatial::FAMILIES,
        text::FAMILIES,
        #[cfg(test)]
        crate::testing::FAMILIES,
    ];
    let operators = families.into_iter().flatten().flat_map(|family| family.iter());
    operators.map(|(domain, name, build)| ((*domain, *name), *build)).collect()
});

/// The builder of an operator; `ai.onnx` is the same as no domain.
pub fn find(domain: &str, operator: &str) -> Option<Build> {
    let domain = if domain == "ai.onnx" { "" } else { domain };
    TABLE.get(&(domain, operator)).copied()
}

//! Owns the OpenAPI document, made from the handlers' own annotations.
//!
//! Refuses to describe what is not routed: `tests/it/openapi.rs` asks the running server for each
//! described operation. Bound: made once.

use utoipa::openapi::{OpenApi as Described, RefOr};
use utoipa::{Modify, OpenApi};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "TrustStram",
        description = "Predictions from models served by one binary. Errors are RFC 9457 problem \
                       documents; every answer carries `x-request-id`.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    paths(
        crate::predict::predict,
        crate::batch::batch,
        crate::predictions::list,
        crate::models::list,
        crate::models::show,
        crate::performance::show,
        crate::performance::list,
        crate::performance::statistics,
        crate::datasets::list,
        crate::datasets::show,
        crate::datasets::append,
        crate::datasets::rows,
        crate::datasets::remove,
        crate::pages::livez,
        crate::pages::readyz,
    ),
    tags(
        (name = "predictions", description = "Ask a model, and list what was answered"),
        (name = "models", description = "What is registered, and what it has answered"),
        (name = "datasets", description = "Rows to train on"),
        (name = "health", description = "For load balancers and supervisors"),
    ),
    modifiers(&ProblemMedia)
)]
struct Document;

/// Gives the problem documents their media type, once for all of the handlers.
struct ProblemMedia;

impl Modify for ProblemMedia {
    fn modify(&self, document: &mut Described) {
        let paths = document.paths.paths.values_mut();
        let operations =
            paths.flat_map(|path| [&mut path.get, &mut path.post, &mut path.delete]).flatten();
        for (status, response) in operations.flat_map(|o| &mut o.responses.responses) {
            let RefOr::T(response) = response else { continue };
            if !status.starts_with('4') && !status.starts_with('5') {
                continue;
            }
            if let Some(content) = response.content.shift_remove("application/json") {
                response.content.insert("application/problem+json".to_owned(), content);
            }
        }
    }
}

/// The document as JSON.
pub(crate) fn document() -> String {
    // A document of plain texts always serialises.
    Document::openapi().to_pretty_json().unwrap_or_default()
}

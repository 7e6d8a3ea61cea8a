//! Owns the OpenAPI document, made from the handlers' own annotations.
//!
//! Refuses to describe what is not routed: `tests/it/openapi.rs` asks the running server for each
//! described operation. Bound: made once.

use utoipa::OpenApi;

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
        crate::pages::livez,
        crate::pages::readyz,
    ),
    tags(
        (name = "predictions", description = "Ask a model, and list what was answered"),
        (name = "models", description = "What is registered"),
        (name = "health", description = "For load balancers and supervisors"),
    )
)]
struct Document;

/// The document as JSON.
pub(crate) fn document() -> String {
    // A document of plain texts always serialises.
    Document::openapi().to_pretty_json().unwrap_or_default()
}

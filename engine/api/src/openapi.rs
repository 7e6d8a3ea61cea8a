//! Owns the OpenAPI document, made from the handlers' own annotations.
//!
//! Refuses to describe what is not routed: `tests/it/openapi.rs` asks the running server for each
//! described operation. Bound: made once.

use http::Method;
use truststram_base::Access;
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{OpenApi as Described, RefOr, ResponseBuilder};
use utoipa::{Modify, OpenApi};

use crate::access::public_access;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "TrustStram",
        description = "Predictions from models served by one binary. Errors are RFC 9457 problem \
                       documents, but below `/v2` and `/v1`, where they are those of the Open \
                       Inference Protocol and of OpenAI; every answer carries `x-request-id`.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    paths(
        crate::predict::predict,
        crate::batch::batch,
        crate::predictions::list,
        crate::models::list,
        crate::models::show,
        crate::versions::show,
        crate::versions::upload::next,
        crate::versions::upload::put,
        crate::versions::upload::post,
        crate::versions::activate_in_body,
        crate::versions::activate,
        crate::versions::canary,
        crate::versions::shadow,
        crate::versions::retire,
        crate::versions::roll_back,
        crate::versions::remove,
        crate::embeddings::embed,
        crate::similarity::compare,
        crate::oip::server::show,
        crate::oip::server::live,
        crate::oip::server::ready,
        crate::oip::models::show,
        crate::oip::models::show_version,
        crate::oip::models::ready,
        crate::oip::models::ready_version,
        crate::oip::models::config,
        crate::oip::models::config_version,
        crate::oip::infer::infer,
        crate::oip::infer::infer_version,
        crate::oip::statistics::all,
        crate::oip::statistics::show,
        crate::oip::statistics::show_version,
        crate::oip::repository::index,
        crate::oip::repository::load,
        crate::oip::repository::unload,
        crate::performance::show,
        crate::performance::list,
        crate::performance::statistics,
        crate::datasets::list,
        crate::datasets::show,
        crate::datasets::append,
        crate::datasets::rows,
        crate::datasets::remove,
        crate::training::create,
        crate::training::list,
        crate::training::show,
        crate::training::events,
        crate::training::report,
        crate::training::cancel,
        crate::training::resume,
        crate::token::give,
        crate::token::jwks,
        crate::federated::clients::enrol,
        crate::federated::clients::heartbeat,
        crate::federated::clients::task,
        crate::federated::models::show,
        crate::federated::updates::update,
        crate::federated::updates::open_upload,
        crate::federated::updates::offset,
        crate::federated::updates::append,
        crate::federated::updates::commit,
        crate::federated::secure::show,
        crate::federated::secure::send,
        crate::federated::status::status,
        crate::federated::status::events,
        crate::pages::livez,
        crate::pages::readyz,
    ),
    tags(
        (name = "predictions", description = "Ask a model, and list what was answered"),
        (name = "models", description = "What is registered, and what it has answered"),
        (name = "embeddings", description = "Texts as vectors, and vectors compared"),
        (name = "inference protocol", description = "The Open Inference Protocol, version 2, with \
         Triton's extensions"),
        (name = "datasets", description = "Rows to train on"),
        (name = "training", description = "Models trained here, on rows of the store"),
        (name = "access", description = "Tokens in the place of API keys"),
        (name = "federated learning", description = "Clients that train on data of their own; \
         every request of theirs is signed"),
        (name = "health", description = "For load balancers and supervisors"),
    ),
    modifiers(&ProblemMedia, &Security)
)]
struct Document;

/// Gives the problem documents their media type, once for all of the handlers.
struct ProblemMedia;

impl Modify for ProblemMedia {
    fn modify(&self, document: &mut Described) {
        let paths = document.paths.paths.iter_mut();
        let of_problems =
            paths.filter(|(path, _)| !["/v1/", "/v2"].iter().any(|of| path.starts_with(of)));
        let operations = of_problems
            .flat_map(|(_, path)| {
                [&mut path.get, &mut path.put, &mut path.post, &mut path.patch, &mut path.delete]
            })
            .flatten();
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

/// Says what each operation asks of whoever comes, where the server asks.
struct Security;

impl Modify for Security {
    fn modify(&self, document: &mut Described) {
        let components = document.components.get_or_insert_default();
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("An API key, a token of /auth/token, or one of a known issuer"));
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer.build()));
        let header = ApiKey::Header(ApiKeyValue::new("X-API-Key"));
        components.add_security_scheme("key", SecurityScheme::ApiKey(header));
        for (path, item) in &mut document.paths.paths {
            let operations = [
                (Method::GET, &mut item.get),
                (Method::PUT, &mut item.put),
                (Method::POST, &mut item.post),
                (Method::DELETE, &mut item.delete),
            ];
            for (method, operation) in operations {
                let Some(operation) = operation else { continue };
                let scopes = match public_access(&method, path) {
                    Access::Open => continue,
                    Access::AnyOf(scopes) => scopes.names().collect(),
                    Access::Known | Access::Proof | Access::Role(_) => Vec::new(),
                };
                let asks = ["bearer", "key"];
                let asks = asks.map(|name| SecurityRequirement::new(name, scopes.clone()));
                operation.security = Some(asks.into());
                for (status, what) in [
                    ("401", "No credential, or none that is good (`auth.mode`)"),
                    ("403", "The credential may not do this"),
                    ("429", "Too many requests, or too many attempts that failed"),
                ] {
                    let response = ResponseBuilder::new().description(what).build();
                    let responses = &mut operation.responses.responses;
                    responses.entry(status.to_owned()).or_insert(RefOr::T(response));
                }
            }
        }
    }
}

/// The document as JSON.
pub(crate) fn document() -> String {
    // A document of plain texts always serialises.
    Document::openapi().to_pretty_json().unwrap_or_default()
}

#[cfg(test)]
pub(crate) mod tests;

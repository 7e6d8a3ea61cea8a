//! Owns what each path asks of whoever comes there.
//!
//! Refuses to know who that is. A path that nobody thought of asks for one who is known, and on the
//! operators' side for more than looking where it changes something. Bound: one look at the path.

use http::Method;
use truststram_base::{Access, Role, Scope, Scopes};

/// What asks nothing of anybody: whether the process is well, and how it is spoken to.
const OPEN: [&str; 8] = [
    "/.well-known/jwks.json",
    "/health",
    "/livez",
    "/readyz",
    "/openapi.json",
    "/docs",
    "/v2/health/live",
    "/v2/health/ready",
];

/// Where a token is given for a key, which must be shown whoever else is asked.
const TOKEN: &str = "/auth/token";

/// What a request to the public router asks for.
pub fn public_access(method: &Method, path: &str) -> Access {
    if OPEN.contains(&path) {
        return Access::Open;
    }
    if path == TOKEN && method == Method::POST {
        return Access::Proof;
    }
    let reads = is_reading(method);
    let any = |scopes: &[Scope]| Access::AnyOf(Scopes::of(scopes));
    let mut parts = path.split('/').skip(1);
    match [parts.next(), parts.next(), parts.next()] {
        [Some("v1"), ..] => any(&[Scope::Predict]),
        [Some("v2"), Some("repository"), third] if third != Some("index") => {
            any(&[Scope::ModelsWrite])
        }
        [Some("v2"), Some("repository"), _] => any(&[Scope::ModelsRead]),
        [Some("v2"), ..] if reads => any(&[Scope::Predict, Scope::ModelsRead]),
        [Some("v2"), ..] => any(&[Scope::Predict]),
        [Some("api"), Some("v1"), Some(what)] => match what {
            "predict" | "similarity" => any(&[Scope::Predict]),
            "models" if reads => any(&[Scope::ModelsRead]),
            "models" => any(&[Scope::ModelsWrite]),
            "performance" | "statistics" => any(&[Scope::ModelsRead]),
            "predictions" | "datasets" => any(&[Scope::Data]),
            "training" => any(&[Scope::Training]),
            // Clients sign their requests by keys of their own.
            "fl" => match parts.next() {
                Some("status" | "events") => any(&[Scope::Federated]),
                _ => Access::Open,
            },
            _ => Access::Known,
        },
        _ => Access::Known,
    }
}

/// What a request to the operators' router asks for.
pub fn admin_access(method: &Method, path: &str) -> Access {
    let is_below = |place: &str| {
        let rest = path.strip_prefix(place);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let brings = matches!(*method, Method::PUT | Method::DELETE);
    match path {
        "/livez" | "/readyz" => Access::Open,
        TOKEN if method == Method::POST => Access::Proof,
        _ if is_below("/admin/v1/keys") || is_below("/admin/v1/signing-key") => {
            Access::Role(Role::Admin)
        }
        _ if is_below("/admin/v1/plugins") && brings => Access::Role(Role::Admin),
        _ if is_reading(method) => Access::Role(Role::Viewer),
        _ => Access::Role(Role::Operator),
    }
}

fn is_reading(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_paths_ask_for_scopes() {
        let check = |request: &str, expected: &str| {
            let (method, path) = request.split_once(' ').unwrap();
            let access = public_access(&method.parse().unwrap(), path);
            let found = match access {
                Access::AnyOf(scopes) => scopes.to_string(),
                other => format!("{other:?}"),
            };
            assert_eq!(found, expected, "{request}");
        };
        check("GET /health", "Open");
        check("GET /v2/health/ready", "Open");
        check("GET /healthx", "Known");
        check("GET /.well-known/jwks.json", "Open");
        check("POST /auth/token", "Proof");
        check("GET /auth/token", "Known");
        check("POST /api/v1/predict", "predict");
        check("POST /api/v1/predict/batch", "predict");
        check("GET /api/v1/predictions", "data");
        check("GET /api/v1/models/a", "models:read");
        check("HEAD /api/v1/models/a", "models:read");
        check("POST /api/v1/models/a/versions/1/activate", "models:write");
        check("DELETE /api/v1/models/a/versions/1", "models:write");
        check("GET /api/v1/statistics", "models:read");
        check("POST /api/v1/datasets/a/rows", "data");
        check("POST /v1/embeddings", "predict");
        check("GET /v2", "predict models:read");
        check("GET /v2/models/a/stats", "predict models:read");
        check("POST /v2/models/a/infer", "predict");
        check("POST /v2/repository/index", "models:read");
        check("POST /v2/repository/models/a/load", "models:write");
        check("POST /v2/repository", "models:write");
        check("GET /api/v1/fl/status", "federated");
        check("POST /api/v1/fl/tasks/1/updates", "Open");
        check("GET /api/v1/training/jobs/1/events", "training");
        check("POST /api/v1/training/jobs", "training");
        check("GET /elsewhere", "Known");
        check("GET /", "Known");
    }

    #[test]
    fn operators_paths_ask_for_roles() {
        let check = |request: &str, expected: Access| {
            let (method, path) = request.split_once(' ').unwrap();
            assert_eq!(admin_access(&method.parse().unwrap(), path), expected, "{request}");
        };
        check("GET /livez", Access::Open);
        check("GET /metrics", Access::Role(Role::Viewer));
        check("GET /admin/v1/status", Access::Role(Role::Viewer));
        check("GET /admin/v1/plugins/a", Access::Role(Role::Viewer));
        check("POST /admin/v1/plugins/a", Access::Role(Role::Operator));
        check("PUT /admin/v1/plugins/a", Access::Role(Role::Admin));
        check("DELETE /admin/v1/plugins/a", Access::Role(Role::Admin));
        check("POST /admin/v1/config/reload", Access::Role(Role::Operator));
        check("POST /admin/v1/store/backup", Access::Role(Role::Operator));
        check("GET /admin/v1/keys", Access::Role(Role::Admin));
        check("POST /admin/v1/keys/0123/rotate", Access::Role(Role::Admin));
        check("POST /auth/token", Access::Proof);
        check("POST /admin/v1/signing-key/rotate", Access::Role(Role::Admin));
        check("PATCH /elsewhere", Access::Role(Role::Operator));
    }
}

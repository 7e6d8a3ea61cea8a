//! Owns why a request is not let in, and how that is answered (RFC 6750, section 3).
//!
//! Refuses to say more of a wrong key than that it is not valid. Bound: one sentence.

use truststram_base::Access;

use crate::refusal::Refusal;

/// Why not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    /// It presents nothing.
    Missing,
    /// It presents more than one credential.
    Several,
    /// It presents an API key with a typing error.
    Mistyped,
    /// It presents what is not good.
    Invalid,
    /// It may not do this.
    Forbidden(Access),
    /// Too many attempts from its address failed; another one is judged after these milliseconds.
    TooMany(u64),
}

const REALM: &str = "Bearer realm=\"truststram\"";

impl Denied {
    /// Whether it was an attempt that failed.
    pub(crate) fn is_failure(&self) -> bool {
        matches!(self, Self::Several | Self::Mistyped | Self::Invalid)
    }

    /// The answer.
    pub(crate) fn refusal(&self) -> Refusal {
        let error = |code: &str, detail: &str| {
            Some(format!("{REALM}, error=\"{code}\", error_description=\"{detail}\""))
        };
        let (detail, challenge) = match self {
            Self::Missing => {
                let detail = "a credential is needed: `Authorization: Bearer ...` or `X-API-Key`";
                (detail.to_owned(), Some(REALM.to_owned()))
            }
            Self::Several => {
                let detail = "more than one credential is presented; send one";
                let challenge = error("invalid_request", detail);
                return Refusal { challenge, ..Refusal::malformed(detail.to_owned()) };
            }
            Self::Mistyped => {
                let detail = "the API key has a typing error: its last eight digits do not fit";
                (detail.to_owned(), error("invalid_token", detail))
            }
            Self::Invalid => {
                let detail = "the credential is not valid: unknown, revoked or expired";
                (detail.to_owned(), error("invalid_token", detail))
            }
            Self::Forbidden(access) => return forbidden(*access),
            Self::TooMany(_) => {
                return Refusal {
                    detail: "too many attempts from this address failed; Retry-After says when to \
                             try again"
                        .to_owned(),
                    ..Refusal::too_many(429)
                };
            }
        };
        Refusal { challenge, ..Refusal::denied(detail) }
    }
}

fn forbidden(access: Access) -> Refusal {
    let (needed, scope) = match access {
        Access::AnyOf(scopes) => {
            let names: Vec<&str> = scopes.names().collect();
            (format!("the scope {}", names.join(" or ")), format!(", scope=\"{scopes}\""))
        }
        Access::Role(role) => (format!("the role {}", role.name()), String::new()),
        Access::Open | Access::Known | Access::Proof => ("more rights".to_owned(), String::new()),
    };
    let challenge = format!("{REALM}, error=\"insufficient_scope\"{scope}");
    let detail = format!("this needs {needed}, which the credential does not have");
    Refusal { challenge: Some(challenge), ..Refusal::forbidden(detail) }
}

//! Owns what a path names: a model, and perhaps a version of it.
//!
//! Refuses to know whether there are such. Bound: the names of one path.

use axum::extract::{FromRequestParts, RawPathParams};
use http::request::Parts;
use truststram_base::{Kind, ModelId, ModelVersion};

use crate::filters::invalid;
use crate::problem::Problem;

/// The model that a path names.
pub(crate) struct NamedModel(pub ModelId);

/// The version of a model that a path names.
pub(crate) struct NamedVersion {
    pub model: ModelId,
    pub version: ModelVersion,
}

/// Reads what a path names.
pub(crate) async fn named<S: Send + Sync>(
    parts: &mut Parts,
    state: &S,
) -> Result<(ModelId, Option<ModelVersion>), Problem> {
    // What can be no id is not found.
    let not_found = |why: String| Problem::new(Kind::NotFound, why);
    let found = RawPathParams::from_request_parts(parts, state).await;
    let found = found.map_err(|error| not_found(error.to_string()))?;
    let mut places = found.iter();
    let model = places.find(|(name, _)| matches!(*name, "id" | "model"));
    let model = ModelId::new(model.map_or("", |(_, text)| text));
    let model = model.map_err(|error| not_found(format!("the model id {error}")))?;
    let version = places.find(|(name, _)| *name == "version");
    Ok((model, version.map(|(_, text)| version_of(text)).transpose()?))
}

fn version_of(text: &str) -> Result<ModelVersion, Problem> {
    let version = text.parse().ok().filter(|&version| version > 0);
    version.map(ModelVersion).ok_or_else(|| {
        let shown: String = text.chars().take(32).collect();
        invalid("version", format!("must be a whole number from 1, found {shown}"))
    })
}

impl<S: Send + Sync> FromRequestParts<S> for NamedModel {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        named(parts, state).await.map(|(model, _)| Self(model))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for NamedVersion {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let (model, version) = named(parts, state).await?;
        let version = version.ok_or_else(|| invalid("version", "is missing"))?;
        Ok(Self { model, version })
    }
}

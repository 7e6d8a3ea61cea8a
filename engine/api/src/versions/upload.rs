//! Owns the upload of a version: its artifact is the body, the rest is in headers and parameters.
//!
//! Refuses to hold the body: chunks are passed on as the registry asks for them. Bound: see
//! [`super::artifact`].

use axum::body::Body;
use axum::extract::State;
use axum::response::IntoResponse;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use serde::Deserialize;
use serde_json::value::RawValue;
use truststram_base::limits::MODEL_FILE_BYTES_MAX;
use truststram_base::{Kind, ModelId, ModelVersion};
use utoipa::{IntoParams, IntoResponses};

use super::artifact::{Artifact, too_large};
use super::{VersionDetailResponse, digest};
use crate::filters::{self, invalid, json};
use crate::ports::{ArtifactFormat, NewVersion};
use crate::predict::is_media;
use crate::problem::Problem;
use crate::router::{Ports, Shared, query_of};
use crate::target::{NamedModel, NamedVersion};

/// Most tags, the longest tag, the longest name and the longest metadata, in bytes.
const TAGS_MAX: usize = 32;
const TAG_BYTES_MAX: usize = 64;
const NAME_BYTES_MAX: usize = 256;
const METADATA_BYTES_MAX: usize = 16 << 10;

/// What is said of a version that is uploaded.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct UploadOptions {
    /// Whether it answers those who name no version from now on.
    activate: bool,
    /// Whether it stays in memory however long nobody asks for it; `false` if absent.
    keep_warm: Option<bool>,
    /// Whose it is.
    owner: Option<String>,
    /// What people call it; the id if absent.
    name: Option<String>,
    /// Words to find it by, with commas between them.
    tags: Option<String>,
    /// What its owner says of it: a JSON object.
    metadata: Option<String>,
    /// `safetensors`, `onnx` or `tar` (of a Hugging Face folder); told from the first bytes if
    /// absent.
    format: Option<String>,
    /// SHA-256 of the body, 64 hexadecimal digits; as well as `x-content-sha256`,
    /// `content-digest` and `digest`.
    sha256: Option<String>,
}

/// What an upload can end in besides the version.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "it describes what `added` and the registry answer")]
enum NotUploaded {
    /// The body ended early, or a parameter is unknown.
    #[response(status = 400)]
    Malformed(Problem),
    /// The model's id can be none.
    #[response(status = 404)]
    NotFound(Problem),
    /// There is such a version, or the state of the registry forbids it.
    #[response(status = 409)]
    Conflict(Problem),
    /// The artifact is larger than the limit.
    #[response(status = 413)]
    TooLarge(Problem),
    /// The body is called something else.
    #[response(status = 415)]
    MediaType(Problem),
    /// It is no model that can be served, or not the one of the checksum, or a parameter is not
    /// acceptable.
    #[response(status = 422)]
    Invalid(Problem),
    /// Too many are uploaded; see Retry-After.
    #[response(status = 503)]
    Unavailable(Problem),
    /// The disk is full.
    #[response(status = 507)]
    NoSpace(Problem),
}

/// Upload the next version of a model, which is made if need be.
///
/// A body with `content-encoding` gzip, br, zstd or deflate is decoded while it arrives. Its
/// largest size and every checksum that is named, `content-digest` too, are those of the artifact.
#[utoipa::path(post, path = "/api/v1/models/{id}/versions",
    operation_id = "upload_next_version", tag = "models",
    params(("id" = String, Path, description = "The model's id"), UploadOptions),
    request_body(description = "The artifact", content(
        (Vec<u8> = "application/octet-stream"),
        (Vec<u8> = "application/x-tar"),
    )),
    responses(
        (status = 201, description = "It is registered", body = VersionDetailResponse),
        NotUploaded,
    ))]
pub(crate) async fn next(
    State(ports): State<Shared>,
    NamedModel(model): NamedModel,
    request: Request<Body>,
) -> Response<Body> {
    added(&ports, model, None, request).await.unwrap_or_else(IntoResponse::into_response)
}

/// Upload a version of a model, which is made if need be.
///
/// A body with `content-encoding` gzip, br, zstd or deflate is decoded while it arrives. Its
/// largest size and every checksum that is named, `content-digest` too, are those of the artifact.
#[utoipa::path(put, path = "/api/v1/models/{id}/versions/{version}",
    operation_id = "put_version", tag = "models",
    params(
        ("id" = String, Path, description = "The model's id"),
        ("version" = u32, Path, description = "The version"),
        UploadOptions,
    ),
    request_body(description = "The artifact", content(
        (Vec<u8> = "application/octet-stream"),
        (Vec<u8> = "application/x-tar"),
    )),
    responses(
        (status = 201, description = "It is registered", body = VersionDetailResponse),
        NotUploaded,
    ))]
pub(crate) async fn put(
    State(ports): State<Shared>,
    NamedVersion { model, version }: NamedVersion,
    request: Request<Body>,
) -> Response<Body> {
    let added = added(&ports, model, Some(version), request).await;
    added.unwrap_or_else(IntoResponse::into_response)
}

/// Upload a version of a model, as `PUT` does.
#[utoipa::path(post, path = "/api/v1/models/{id}/versions/{version}",
    operation_id = "upload_version", tag = "models",
    params(
        ("id" = String, Path, description = "The model's id"),
        ("version" = u32, Path, description = "The version"),
        UploadOptions,
    ),
    request_body(description = "The artifact", content(
        (Vec<u8> = "application/octet-stream"),
        (Vec<u8> = "application/x-tar"),
    )),
    responses(
        (status = 201, description = "It is registered", body = VersionDetailResponse),
        NotUploaded,
    ))]
pub(crate) async fn post(
    ports: State<Shared>,
    named: NamedVersion,
    request: Request<Body>,
) -> Response<Body> {
    put(ports, named, request).await
}

async fn added(
    ports: &Ports,
    model: ModelId,
    version: Option<ModelVersion>,
    request: Request<Body>,
) -> Result<Response<Body>, Problem> {
    let options: UploadOptions = query_of(request.uri())?;
    let is_tar = is_media(&request, "application/x-tar");
    // A page of another site can have forms, plain text and what has no type posted, and nothing
    // put; `curl -T` names no type.
    let is_put_bare =
        request.method() == Method::PUT && !request.headers().contains_key(header::CONTENT_TYPE);
    if !is_tar && !is_put_bare && !is_media(&request, "application/octet-stream") {
        let detail = "send the artifact with `content-type: application/octet-stream`, or \
                      `application/x-tar` for a folder; PUT may leave it out";
        return Err(Problem::media_type(detail));
    }
    let sha256 = digest::sha256(request.headers(), options.sha256.as_deref())?;
    let owner = filters::user("owner", options.owner.as_deref())?;
    let tags = tags(options.tags.as_deref().unwrap_or_default())?;
    let name = name(options.name)?;
    let metadata_json = metadata(options.metadata)?;
    let said = said_format(options.format.as_deref(), is_tar)?;
    let length = request.headers().get(header::CONTENT_LENGTH);
    let bytes = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if bytes.is_some_and(|bytes| bytes > MODEL_FILE_BYTES_MAX) {
        return Err(too_large().into());
    }
    if let Some(version) = version
        && ports.registry.version(model.clone(), version).await.is_ok()
    {
        // Said before the artifact is sent; the registry sees to it again when it is all there.
        let detail = format!("model `{model}` has a version {version} already");
        return Err(Problem::new(Kind::Conflict, detail));
    }
    let artifact = Artifact::open(request.into_body()).await?;
    if artifact.is_empty() {
        return Err(invalid("body", "is empty; send the artifact as the body"));
    }
    let format = match (said, artifact.format()) {
        (Some(said), _) => said,
        (None, Some(found)) => found,
        (None, None) => {
            let detail = "is none of .safetensors, .onnx and a tar file of a Hugging Face folder; \
                          if it is one, name its `format`";
            return Err(invalid("body", detail));
        }
    };
    let new = NewVersion {
        model,
        version,
        owner,
        name,
        tags,
        metadata_json,
        activate: options.activate,
        keep_warm: options.keep_warm,
        format,
        sha256,
        bytes,
        chunks: artifact.chunks(),
    };
    let detail = ports.registry.add(new).await?;
    let place = format!("/api/v1/models/{}/versions/{}", detail.entry.id, detail.entry.version);
    let mut response = json(&VersionDetailResponse::from(detail));
    *response.status_mut() = StatusCode::CREATED;
    if let Ok(place) = HeaderValue::try_from(place) {
        response.headers_mut().insert(header::LOCATION, place);
    }
    Ok(response)
}

fn said_format(format: Option<&str>, is_tar: bool) -> Result<Option<ArtifactFormat>, Problem> {
    let Some(name) = format else { return Ok(is_tar.then_some(ArtifactFormat::FolderTar)) };
    let found = ArtifactFormat::ALL.iter().find(|(_, known)| *known == name);
    let (format, _) =
        found.ok_or_else(|| invalid("format", "must be `safetensors`, `onnx` or `tar`"))?;
    if is_tar && *format != ArtifactFormat::FolderTar {
        return Err(invalid("format", "is not what the header `content-type` says"));
    }
    Ok(Some(*format))
}

fn name(name: Option<String>) -> Result<Option<String>, Problem> {
    match name.as_ref().map(String::len) {
        None | Some(1..=NAME_BYTES_MAX) => Ok(name),
        Some(_) => Err(invalid("name", format!("must have 1 to {NAME_BYTES_MAX} bytes"))),
    }
}

fn tags(text: &str) -> Result<Vec<String>, Problem> {
    let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
    let tags: Vec<String> = words.map(str::to_owned).collect();
    if tags.len() > TAGS_MAX {
        return Err(invalid("tags", format!("has {} tags, more than {TAGS_MAX}", tags.len())));
    }
    match tags.iter().any(|tag| tag.len() > TAG_BYTES_MAX) {
        true => Err(invalid("tags", format!("has a tag of more than {TAG_BYTES_MAX} bytes"))),
        false => Ok(tags),
    }
}

fn metadata(text: Option<String>) -> Result<String, Problem> {
    let text = text.unwrap_or_else(|| "{}".to_owned());
    if text.len() > METADATA_BYTES_MAX {
        let detail = format!("the metadata are larger than {METADATA_BYTES_MAX} bytes");
        return Err(Problem::new(Kind::Invalid, detail));
    }
    let is_object =
        serde_json::from_str::<&RawValue>(&text).is_ok_and(|value| value.get().starts_with('{'));
    if is_object { Ok(text) } else { Err(invalid("metadata", "must be a JSON object")) }
}

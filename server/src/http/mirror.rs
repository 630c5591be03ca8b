//! The registry mirror's HTTP side: the pull part of the OCI distribution specification, for clients that are not
//! trusted. Where things come from is in `registry`.

use std::io::SeekFrom;
use std::str::FromStr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use crate::registry::{Blob, Digest, ManifestReference, RepositoryName, Store, StoreError};

/// The mirror's routes: everything below `/v2/`.
pub fn router(store: Arc<Store>) -> Router {
    Router::new().route("/v2/", any(version)).route("/v2/{*path}", any(content)).with_state(store)
}

/// The header that names an answer's content.
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// Says that this is a registry, and that nobody needs to log in.
async fn version(method: Method) -> Result<Response, Refusal> {
    only_reading(&method)?;
    let version = HeaderName::from_static("docker-distribution-api-version");
    Ok(([(version, "registry/2.0")], axum::Json(serde_json::json!({}))).into_response())
}

/// A manifest or a blob. Repositories have slashes in their names, so the path is taken apart from its end.
async fn content(
    State(store): State<Arc<Store>>,
    method: Method,
    Path(path): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    only_reading(&method)?;
    let (before, last) = path.rsplit_once('/').ok_or(Refusal::NoSuchPath)?;
    let (name, kind) = before.rsplit_once('/').ok_or(Refusal::NoSuchPath)?;
    match kind {
        "manifests" => {
            let manifest = store.manifest(&parse(name)?, &parse::<ManifestReference>(last)?).await?;
            let media_type = HeaderValue::from_str(&manifest.media_type);
            let media_type = media_type.unwrap_or(HeaderValue::from_static("application/octet-stream"));
            let head = [(header::CONTENT_TYPE, media_type), (CONTENT_DIGEST, digest_value(&manifest.digest))];
            Ok((head, manifest.bytes).into_response())
        }
        "blobs" => {
            let digest: Digest = parse(last)?;
            let blob = store.blob(&parse::<RepositoryName>(name)?, &digest).await?;
            serve_blob(blob, &digest, headers.get(header::RANGE)).await
        }
        _ => Err(Refusal::NoSuchPath),
    }
}

/// A blob, or the one range of it that was asked for (RFC 9110, section 14).
async fn serve_blob(blob: Blob, digest: &Digest, range: Option<&HeaderValue>) -> Result<Response, Refusal> {
    let length = match &blob {
        Blob::Embedded(bytes) => bytes.len() as u64,
        Blob::Cached(file) => file.metadata().map_err(Refusal::Read)?.len(),
    };
    let wanted = range.and_then(|range| range.to_str().ok()).and_then(|range| parse_range(range, length));
    let (first, count) = wanted.unwrap_or((0, length));
    let body = match blob {
        Blob::Embedded(bytes) => Body::from(bytes[first as usize..(first + count) as usize].to_vec()),
        Blob::Cached(file) => {
            let mut file = tokio::fs::File::from_std(file);
            file.seek(SeekFrom::Start(first)).await.map_err(Refusal::Read)?;
            stream(file.take(count))
        }
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CONTENT_LENGTH, count.into());
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(CONTENT_DIGEST, digest_value(digest));
    if wanted.is_some() {
        let text = format!("bytes {first}-{}/{length}", first + count - 1);
        headers.extend(HeaderValue::from_str(&text).ok().map(|value| (header::CONTENT_RANGE, value)));
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    Ok(response)
}

/// The first byte and the number of bytes of `bytes=A-B`, `bytes=A-` or `bytes=-N`. `None` for what is no such range or
/// lies behind the end: then the whole is served, as the RFC allows.
fn parse_range(text: &str, length: u64) -> Option<(u64, u64)> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let (first, end) = match (first, last) {
        ("", count) => (length.saturating_sub(count.parse().ok()?), length),
        (first, "") => (first.parse().ok()?, length),
        (first, last) => (first.parse().ok()?, last.parse::<u64>().ok()?.saturating_add(1).min(length)),
    };
    (first < end).then(|| (first, end - first))
}

/// A file as a body, in pieces of 64 KiB.
fn stream(file: tokio::io::Take<tokio::fs::File>) -> Body {
    Body::from_stream(futures_util::stream::try_unfold(file, |mut file| async move {
        let mut piece = Vec::with_capacity(64 << 10);
        let count = file.read_buf(&mut piece).await?;
        Ok::<_, std::io::Error>((count > 0).then_some((piece, file)))
    }))
}

/// Why a request gets no content.
#[derive(Debug)]
enum Refusal {
    Store(StoreError),
    NoSuchPath,
    ReadOnly,
    Read(std::io::Error),
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Refusal {
        Refusal::Store(error)
    }
}

impl IntoResponse for Refusal {
    /// The specification's form for errors, which clients show to their users.
    fn into_response(self) -> Response {
        let (status, code, message) = match &self {
            Refusal::NoSuchPath => (StatusCode::NOT_FOUND, "UNSUPPORTED", "there is nothing here".to_owned()),
            Refusal::ReadOnly => {
                (StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", "one can pull here, and not push".to_owned())
            }
            Refusal::Read(error) => (StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN", error.to_string()),
            Refusal::Store(error) => (status_of(error), error.code(), error.to_string()),
        };
        if status.is_server_error() {
            tracing::warn!("registry mirror: {status} {message}");
        }
        let body = serde_json::json!({ "errors": [{ "code": code, "message": message }] });
        (status, axum::Json(body)).into_response()
    }
}

fn status_of(error: &StoreError) -> StatusCode {
    match error {
        StoreError::NameInvalid | StoreError::DigestInvalid => StatusCode::BAD_REQUEST,
        StoreError::ManifestUnknown | StoreError::BlobUnknown => StatusCode::NOT_FOUND,
        StoreError::Unauthorized { .. } => StatusCode::FORBIDDEN,
        StoreError::TooManyRequests { .. } => StatusCode::TOO_MANY_REQUESTS,
        StoreError::Unreachable { .. } | StoreError::Upstream { .. } | StoreError::Corrupted { .. } => {
            StatusCode::BAD_GATEWAY
        }
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn only_reading(method: &Method) -> Result<(), Refusal> {
    match *method {
        Method::GET | Method::HEAD => Ok(()),
        _ => Err(Refusal::ReadOnly),
    }
}

fn parse<T: FromStr<Err = StoreError>>(text: &str) -> Result<T, Refusal> {
    text.parse().map_err(Refusal::Store)
}

fn digest_value(digest: &Digest) -> HeaderValue {
    // A digest is letters, digits and a colon, all of which a header may have.
    HeaderValue::from_str(digest.as_str()).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::parse_range;

    #[test]
    fn one_range_or_the_whole() {
        assert_eq!(parse_range("bytes=0-9", 100), Some((0, 10)));
        assert_eq!(parse_range("bytes=90-", 100), Some((90, 10)));
        assert_eq!(parse_range("bytes=-10", 100), Some((90, 10)));
        assert_eq!(parse_range("bytes=-1000", 100), Some((0, 100)));
        assert_eq!(parse_range("bytes=50-18446744073709551615", 100), Some((50, 50)));
        for text in ["bytes=100-", "bytes=9-8", "bytes=0-1,5-6", "bytes=-", "bytes=-0", "lines=0-1", "", "bytes=a-b"] {
            assert_eq!(parse_range(text, 100), None, "{text}");
        }
    }
}

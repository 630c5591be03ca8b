//! The registry mirror's HTTP side: the pull part of the OCI distribution specification, for clients that are not
//! trusted. Where things come from is in `registry`.

mod blob;
mod in_flight;
mod refusal;

use std::str::FromStr;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::{Method, StatusCode};
use axum::middleware::map_response_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use axum::{Extension, Router};

pub use self::in_flight::InFlight;
use self::refusal::Refusal;
use crate::registry::{
    Client, Digest, MANIFEST_LIMIT, Manifest, ManifestReference, RepositoryName, Store, StoreError, Tag,
};

/// The mirror's routes, everything below `/v2/`, for one client: what a lab asks for is bounded for each lab.
pub fn router(store: Arc<Store>, client: Client) -> Router {
    Router::new()
        .route("/v2/", any(version))
        .route("/v2/{*path}", any(content))
        .layer(map_response_with_state(client.clone(), refusal::log))
        .with_state((store, client))
}

/// The header that names an answer's content.
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// The most tags in one answer.
const TAG_PAGE: usize = 1000;

/// Says that this is a registry, and that nobody needs to log in.
async fn version(method: Method) -> Result<Response, Refusal> {
    only_reading(&method)?;
    let version = HeaderName::from_static("docker-distribution-api-version");
    Ok(([(version, "registry/2.0")], axum::Json(serde_json::json!({}))).into_response())
}

/// A manifest, a blob or a list of tags. Repositories have slashes in their names, so the path is taken apart from its
/// end.
async fn content(
    State((store, client)): State<(Arc<Store>, Client)>,
    Extension(in_flight): Extension<InFlight>,
    method: Method,
    Path(path): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    only_reading(&method)?;
    let (before, last) = path.rsplit_once('/').ok_or(Refusal::NoSuchPath)?;
    let (name, kind) = before.rsplit_once('/').ok_or(Refusal::NoSuchPath)?;
    match (kind, last) {
        ("manifests", reference) => {
            let (name, reference) = (parse(name)?, parse(reference)?);
            let (manifest, bytes) = manifest(&store, &client, &name, &reference, &in_flight).await?;
            Ok(serve_manifest(&manifest, bytes, &headers))
        }
        ("blobs", digest) => {
            let (name, digest): (RepositoryName, Digest) = (parse(name)?, parse(digest)?);
            if is_known(&headers, &digest) {
                return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag(&digest))]).into_response());
            }
            match method {
                Method::HEAD => Ok(blob::head(store.blob_size(&client, &name, &digest).await?, &digest)),
                _ => blob::serve(store.blob(&client, &name, &digest).await?, &digest, &headers, in_flight),
            }
        }
        ("tags", "list") => tags(&store, &client, &parse(name)?, query.as_deref().unwrap_or_default()).await,
        _ => Err(Refusal::NoSuchPath),
    }
}

/// A manifest, and its bytes as a body.
async fn manifest(
    store: &Store,
    client: &Client,
    name: &RepositoryName,
    reference: &ManifestReference,
    in_flight: &InFlight,
) -> Result<(Manifest, Bytes), Refusal> {
    let mut room = None;
    loop {
        let mut manifest = store.manifest(client, name, reference).await?;
        let bytes = std::mem::take(&mut manifest.bytes);
        let counted = match room {
            Some(room) => Some(in_flight::counted(bytes, room)),
            None => in_flight.count(bytes),
        };
        match counted {
            Some(bytes) => return Ok((manifest, bytes)),
            // It is in the cache now, and need not be in memory while it waits.
            None => room = Some(in_flight.take(MANIFEST_LIMIT).await),
        }
    }
}

fn serve_manifest(manifest: &Manifest, bytes: Bytes, headers: &HeaderMap) -> Response {
    let known = is_known(headers, &manifest.digest);
    let media_type = HeaderValue::from_str(&manifest.media_type);
    let media_type = media_type.unwrap_or(HeaderValue::from_static("application/octet-stream"));
    let head = [
        (header::CONTENT_TYPE, media_type),
        (header::ETAG, etag(&manifest.digest)),
        (CONTENT_DIGEST, digest_value(&manifest.digest)),
    ];
    match known {
        true => (StatusCode::NOT_MODIFIED, head).into_response(),
        false => (head, bytes).into_response(),
    }
}

/// The tags of a repository in their order, a page at a time: `n` of them after `last` (distribution specification,
/// "Listing Tags").
async fn tags(store: &Store, client: &Client, name: &RepositoryName, query: &str) -> Result<Response, Refusal> {
    let parameter = |wanted: &str| {
        query.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == wanted).map(|(_, value)| value)
    };
    let most = match parameter("n").map(str::parse::<usize>) {
        Some(Ok(most)) => most.min(TAG_PAGE),
        Some(Err(_)) => return Err(Refusal::PageSize),
        None => TAG_PAGE,
    };
    // Tags have no characters that an address would have to escape.
    let after = parameter("last").map(parse::<Tag>).transpose()?;
    let all = store.tags(client, name).await?;
    let mut rest = all.into_iter().filter(|tag| after.as_ref().is_none_or(|after| tag > after));
    let page: Vec<Tag> = rest.by_ref().take(most).collect();
    let names: Vec<&str> = page.iter().map(Tag::as_str).collect();
    let mut response = axum::Json(serde_json::json!({ "name": name.as_str(), "tags": names })).into_response();
    if let Some(last) = names.last().filter(|_| rest.next().is_some()) {
        let link = format!("</v2/{}/tags/list?n={most}&last={last}>; rel=\"next\"", name.as_str());
        response.headers_mut().extend(HeaderValue::from_str(&link).ok().map(|value| (header::LINK, value)));
    }
    Ok(response)
}

/// Whether the client has this content already, and says so (RFC 9110, section 13.1.2).
fn is_known(headers: &HeaderMap, digest: &Digest) -> bool {
    let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let ours = etag(digest);
    known.flat_map(|list| list.split(',')).any(|tag| {
        let tag = tag.trim();
        tag == "*" || tag.strip_prefix("W/").unwrap_or(tag).as_bytes() == ours.as_bytes()
    })
}

fn only_reading(method: &Method) -> Result<(), Refusal> {
    match *method {
        Method::GET | Method::HEAD => Ok(()),
        _ => Err(Refusal::ReadOnly),
    }
}

fn parse<T: FromStr<Err = StoreError>>(text: &str) -> Result<T, Refusal> {
    text.parse().map_err(|error: StoreError| Refusal::Store(error.into()))
}

/// The entity tag of some content: its digest, which names no other.
fn etag(digest: &Digest) -> HeaderValue {
    // As below.
    HeaderValue::from_str(&format!("\"{}\"", digest.as_str())).unwrap_or(HeaderValue::from_static("\"\""))
}

fn digest_value(digest: &Digest) -> HeaderValue {
    // A digest is letters, digits and a colon, all of which a header may have.
    HeaderValue::from_str(digest.as_str()).unwrap_or(HeaderValue::from_static(""))
}

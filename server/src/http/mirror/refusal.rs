//! Why a request gets no content, in the form that registries' clients understand.

use std::io;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::registry::{Client, StoreError};
use crate::runtime::printable;

/// Why a request gets no content.
#[derive(Debug)]
pub enum Refusal {
    Store(Arc<StoreError>),
    NoSuchPath,
    ReadOnly,
    PageSize,
    /// The range lies behind the end of a blob of so many bytes.
    Range(u64),
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Refusal {
        Refusal::Store(error.into())
    }
}

impl From<Arc<StoreError>> for Refusal {
    fn from(error: Arc<StoreError>) -> Refusal {
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
            Refusal::PageSize => {
                // The CNCF's registry calls it so.
                (StatusCode::BAD_REQUEST, "PAGINATION_NUMBER_INVALID", "`n` is a number of tags".to_owned())
            }
            Refusal::Range(size) => {
                (StatusCode::RANGE_NOT_SATISFIABLE, "SIZE_INVALID", format!("the blob has {size} bytes"))
            }
            // Parts of it are an upstream's own words, and its client may print them.
            Refusal::Store(error) => (status_of(error), error.code(), printable(error)),
        };
        let body = serde_json::json!({ "errors": [{ "code": code, "message": &message }] });
        let mut response = (status, axum::Json(body)).into_response();
        if let Refusal::Range(size) = self {
            let range = HeaderValue::from_str(&format!("bytes */{size}"));
            response.headers_mut().extend(range.ok().map(|range| (header::CONTENT_RANGE, range)));
        }
        if let Refusal::Store(error) = &self
            && let Some(seconds) = retry_after(error)
        {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response.extensions_mut().insert(Said(message));
        response
    }
}

/// What a refusal says, for the log.
#[derive(Clone)]
struct Said(String);

/// Notes in the server's log what has gone wrong on this side; not more of it than a client may cause.
pub async fn log(State(client): State<Client>, response: Response) -> Response {
    if response.status().is_server_error()
        && let Some(Said(message)) = response.extensions().get()
        && client.may_log()
    {
        tracing::warn!("registry mirror: {} {message}", response.status());
    }
    response
}

/// In how many seconds it is worth while to ask again, where we know (RFC 9110, section 10.2.3).
fn retry_after(error: &StoreError) -> Option<u64> {
    match error {
        StoreError::TooManyFailures { seconds } => Some(*seconds),
        StoreError::QueueFull { .. } => Some(QUEUE_PAUSE),
        _ => None,
    }
}

/// By when some of what fills a queue is likely to have gone.
const QUEUE_PAUSE: u64 = 5;

fn status_of(error: &StoreError) -> StatusCode {
    match error {
        StoreError::NameInvalid | StoreError::DigestInvalid => StatusCode::BAD_REQUEST,
        StoreError::ManifestUnknown | StoreError::BlobUnknown | StoreError::NameUnknown => StatusCode::NOT_FOUND,
        StoreError::Unauthorized { .. } | StoreError::NotMirrored { .. } => StatusCode::FORBIDDEN,
        StoreError::TooManyRequests { .. } | StoreError::QueueFull { .. } | StoreError::TooManyFailures { .. } => {
            StatusCode::TOO_MANY_REQUESTS
        }
        StoreError::DiskFull { .. } | StoreError::CacheFull { .. } => StatusCode::INSUFFICIENT_STORAGE,
        StoreError::Write { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
            StatusCode::INSUFFICIENT_STORAGE
        }
        // What a moment may mend is worth another try.
        StoreError::Cut { .. } | StoreError::Trouble { .. } => StatusCode::SERVICE_UNAVAILABLE,
        StoreError::Unreachable { .. }
        | StoreError::Offline { .. }
        | StoreError::Upstream { .. }
        | StoreError::Corrupted { .. } => StatusCode::BAD_GATEWAY,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

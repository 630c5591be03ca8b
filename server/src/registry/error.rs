//! Why the mirror has no answer, in terms that map to the distribution specification's error codes.

use std::io;
use std::path::PathBuf;

use crate::runtime::{PullError, UnpackError};

/// Why something could not be served, or an image not be unpacked.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum StoreError {
    #[error("that is not the name of a repository")]
    NameInvalid,
    #[error("that is not a digest; only sha256 is served")]
    DigestInvalid,
    #[error("no such manifest")]
    ManifestUnknown,
    #[error("no such blob")]
    BlobUnknown,
    #[error("{registry} wants a login for this repository: it is private, or does not exist")]
    Unauthorized { registry: String },
    #[error("{registry} has had too many pulls from here; wait, or log in there")]
    TooManyRequests { registry: String },
    #[error("the mirror cannot reach {registry}: {reason}")]
    Unreachable { registry: String, reason: String },
    #[error("{registry} sent something else than was asked for: {reason}")]
    Corrupted { registry: String, reason: String },
    #[error("{registry} answered with an error: {reason}")]
    Upstream { registry: String, reason: String },
    #[error("cannot start the HTTP client for the upstream registry")]
    Client(#[source] PullError),
    #[error("{registry} would be spoken to without encryption over the network; use https")]
    Unencrypted { registry: String },
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write {path}")]
    Write { path: PathBuf, source: io::Error },
    #[error("the image {name} in this binary is broken or missing; build it again: cargo xtask run")]
    Embedded { name: &'static str },
    #[error("cannot unpack the lab's image into {path}")]
    Unpack { path: PathBuf, source: UnpackError },
}

impl StoreError {
    /// The code of the distribution specification ("Error Codes"); `UNAVAILABLE` and `UNKNOWN` are those of the CNCF's
    /// registry, for what the specification has no word for.
    pub fn code(&self) -> &'static str {
        match self {
            StoreError::NameInvalid => "NAME_INVALID",
            StoreError::DigestInvalid | StoreError::Corrupted { .. } => "DIGEST_INVALID",
            StoreError::ManifestUnknown => "MANIFEST_UNKNOWN",
            StoreError::BlobUnknown => "BLOB_UNKNOWN",
            StoreError::Unauthorized { .. } => "DENIED",
            StoreError::TooManyRequests { .. } => "TOOMANYREQUESTS",
            StoreError::Unreachable { .. } | StoreError::Upstream { .. } => "UNAVAILABLE",
            _ => "UNKNOWN",
        }
    }
}

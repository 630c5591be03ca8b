//! Why the mirror has no answer, in terms that map to the distribution specification's error codes.

use std::io;
use std::path::PathBuf;

use crate::runtime::{CredentialsError, PullError, UnpackError, printable};

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
    #[error("no such repository")]
    NameUnknown,
    #[error("this mirror does not ask {host}; its server lets it by `--mirror {host}`")]
    NotMirrored { host: String },
    #[error("{registry} wants a login for this repository: it is private, or does not exist")]
    Unauthorized { registry: String },
    #[error("{registry} has had too many pulls from here; wait, or log in there")]
    TooManyRequests { registry: String },
    #[error("the mirror cannot reach {registry}: {reason}", reason = printable(.reason))]
    Unreachable { registry: String, reason: String },
    #[error("{cause}; what is there without it: {images}", images = printable(.images))]
    Offline { cause: Box<StoreError>, images: String },
    #[error("the connection to {registry} was cut: {reason}", reason = printable(.reason))]
    Cut { registry: String, reason: String },
    #[error("{registry} is in trouble: {reason}", reason = printable(.reason))]
    Trouble { registry: String, reason: String },
    #[error("{registry} sent something else than was asked for: {reason}", reason = printable(.reason))]
    Corrupted { registry: String, reason: String },
    #[error("{registry} answered with an error: {reason}", reason = printable(.reason))]
    Upstream { registry: String, reason: String },
    #[error("cannot start the HTTP client for the upstream registry")]
    Client(#[source] PullError),
    #[error("cannot find out the password for {registry}")]
    Credentials { registry: String, source: CredentialsError },
    #[error(
        "{registry} would be spoken to without encryption over the network; use https, or accept it by --upstream-insecure"
    )]
    Unencrypted { registry: String },
    #[error("{waiting} of this machine's requests wait already; let some of them come to their end")]
    QueueFull { waiting: usize },
    #[error("too much that this machine has asked for does not exist or cannot be had; ask again in {seconds} s")]
    TooManyFailures { seconds: u64 },
    #[error("fetching was interrupted; ask again")]
    Interrupted,
    #[error(
        "there is no room for {bytes} bytes in the mirror's cache: it takes {limit} bytes in all, and what is in it is being \
         read; wait, or start the server with a larger --cache-limit"
    )]
    CacheFull { bytes: u64, limit: u64 },
    #[error("the mirror's disk is full: {lacking} bytes are lacking for {path}")]
    DiskFull { path: PathBuf, lacking: u64 },
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
            StoreError::NameUnknown => "NAME_UNKNOWN",
            StoreError::NotMirrored { .. } => "UNSUPPORTED",
            StoreError::Unauthorized { .. } => "DENIED",
            StoreError::TooManyRequests { .. } | StoreError::QueueFull { .. } | StoreError::TooManyFailures { .. } => {
                "TOOMANYREQUESTS"
            }
            StoreError::Unreachable { .. }
            | StoreError::Offline { .. }
            | StoreError::Cut { .. }
            | StoreError::Trouble { .. } => "UNAVAILABLE",
            _ => "UNKNOWN",
        }
    }

    /// Whether the same request may well succeed in a moment.
    pub fn may_pass(&self) -> bool {
        matches!(self, StoreError::Cut { .. } | StoreError::Trouble { .. })
    }
}

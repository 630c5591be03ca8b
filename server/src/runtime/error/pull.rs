//! What can fail while an image is pulled.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::sys::signal::Signal;

use super::super::credentials::CredentialsError;
use super::super::printable::printable;
use super::super::pull::Blob;
use super::unpack::{UnpackError, is_disk_full};

/// Why an image was not pulled.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum PullError {
    #[error("`{image}` is not a reference to an image: {reason}", reason = printable(.reason))]
    Reference { image: String, reason: String },
    #[error("{registry} would be spoken to without encryption over the network; use https, or accept it by --insecure")]
    Unencrypted { registry: String },
    #[error("cannot start the HTTP client")]
    Client(#[source] Box<dyn Error + Send + Sync>),
    #[error("cannot start the runtime for network input and output")]
    Tokio(#[source] io::Error),
    #[error("{registry} has no image {image}; {hint}", hint = printable(.hint))]
    NotFound { image: String, registry: String, hint: String },
    #[error(
        "{registry} wants a login for {image}: it is private, or does not exist; `docker login {registry}` makes one"
    )]
    Unauthorized { image: String, registry: String },
    #[error(
        "{registry} refuses {image} to {user}; check the password that `docker login` has kept, and whether {user} may pull it",
        user = printable(.user)
    )]
    Refused { image: String, registry: String, user: String },
    #[error("cannot find out the password for {registry}")]
    Credentials { registry: String, source: CredentialsError },
    #[error(
        "{registry} has had too many pulls from here: {message}; wait, or name a mirror by --registry",
        message = printable(.message)
    )]
    TooManyPulls { registry: String, message: String },
    #[error(
        "cannot reach {registry}: {reason}; check the address, and that this machine may connect to it",
        reason = printable(.reason)
    )]
    Unreachable { registry: String, reason: String },
    #[error("the connection to {registry} was cut again and again: {reason}", reason = printable(.reason))]
    Cut { registry: String, reason: String },
    #[error("{registry} is in trouble: {message}; try again later", message = printable(.message))]
    Trouble { registry: String, message: String },
    #[error("{registry} cannot get {image}: {message}", message = printable(.message))]
    Mirror { image: String, registry: String, message: String },
    #[error("{registry} answered with an error: {message}", message = printable(.message))]
    Registry { registry: String, message: String },
    #[error(
        "{image} is not made for {wanted}; there is {offered}; choose one of them by --platform",
        offered = printable(.offered)
    )]
    Platform { image: String, wanted: String, offered: String },
    #[error("{cause}; or did you mean {name}?", name = printable(.name))]
    DidYouMean { cause: Box<PullError>, name: String },
    #[error("{cause}; until then there is {others}", others = printable(.others))]
    OnlyOthers { cause: Box<PullError>, others: String },
    #[error("the image has {layers} layers; none is made of so many")]
    TooManyLayers { layers: usize },
    #[error("the manifest has {layers} layers, and the image's configuration {diff_ids}; the image is broken")]
    LayersDiffer { layers: usize, diff_ids: usize },
    #[error(
        "layer {digest} is of the type {media_type}; only tar archives, plain, in gzip or in zstd, can be unpacked",
        digest = printable(.digest), media_type = printable(.media_type)
    )]
    LayerType { digest: String, media_type: String },
    #[error(
        "{blob} does not have the {expected} bytes that the manifest says; nothing of it was used",
        expected = printable(.expected)
    )]
    BlobSize { blob: Blob, expected: u64 },
    #[error("what came as {blob} has the digest {actual}; nothing of it was used", actual = printable(.actual))]
    BlobDigest { blob: Blob, actual: String },
    #[error(
        "downloading {blob} was cut off again and again: {reason}; nothing of it was used",
        reason = printable(.reason)
    )]
    Download { blob: Blob, reason: String },
    #[error("cannot write {blob} to a file below the image's directory")]
    WriteBlob { blob: Blob, source: io::Error },
    #[error(
        "{layer} has, without its compression, the digest {actual}, and not {expected}; nothing of it was used",
        actual = printable(.actual), expected = printable(.expected)
    )]
    DiffId { layer: Blob, expected: String, actual: String },
    #[error("the image's configuration would be {size} bytes; none is that big")]
    ConfigurationSize { size: i64 },
    #[error("the image's configuration is not as it should be (OCI image specification, \"Image Configuration\")")]
    Configuration(#[source] serde_json::Error),
    #[error("cannot write the image's configuration to {path}")]
    WriteConfig { path: PathBuf, source: io::Error },
    #[error(
        "the disk of {directory} is full: the image needs {needed} at least, and {free} were free; make room, or pull to another disk by --fs"
    )]
    DiskFull { directory: PathBuf, needed: String, free: String },
    #[error(
        "cannot make the directory {path}: {reason}; pull as root, or below another directory by --fs",
        reason = printable(.reason)
    )]
    MakeDirectory { path: PathBuf, reason: io::Error },
    #[error("cannot lock {path}: {errno}; is {image} just being pulled by somebody else?")]
    Lock { image: String, path: PathBuf, errno: Errno },
    #[error("cannot remove {path}, which an earlier pull has left")]
    RemoveLeftover { path: PathBuf, source: io::Error },
    #[error("cannot rename(2) {from} to {to}")]
    Rename { from: PathBuf, to: PathBuf, source: io::Error },
    #[error("cannot write down the digest in {path}")]
    Record { path: PathBuf, source: io::Error },
    #[error("cannot unpack {layer}")]
    Unpack { layer: Blob, source: UnpackError },
    #[error(transparent)]
    OpenRootfs(UnpackError),
    #[error("stopped by {signal}; nothing of the pull is left")]
    Interrupted { signal: Signal },
}

impl PullError {
    /// Whether it failed for want of space on the disk.
    pub fn is_disk_full(&self) -> bool {
        use PullError::*;
        match self {
            Unpack { source, .. } => source.is_disk_full(),
            WriteBlob { source, .. } | WriteConfig { source, .. } | Record { source, .. } => is_disk_full(source),
            MakeDirectory { reason, .. } => is_disk_full(reason),
            _ => false,
        }
    }

    /// Whether it says nothing about the image, only that the registry could not be asked.
    pub fn is_out_of_reach(&self) -> bool {
        use PullError::*;
        matches!(self, Unreachable { .. } | Cut { .. } | Trouble { .. } | TooManyPulls { .. })
    }
}

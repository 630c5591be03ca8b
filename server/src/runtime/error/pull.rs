//! What can fail while an image is pulled.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use nix::errno::Errno;

use super::super::credentials::CredentialsError;
use super::UnpackError;

/// Why an image was not pulled.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum PullError {
    #[error("`{image}` is not a reference to an image: {reason}")]
    Reference { image: String, reason: String },
    #[error("{registry} would be spoken to without encryption over the network; use https, or accept it by --insecure")]
    Unencrypted { registry: String },
    #[error("cannot start the HTTP client")]
    Client(#[source] Box<dyn Error + Send + Sync>),
    #[error("cannot start the runtime for network input and output")]
    Tokio(#[source] io::Error),
    #[error("{registry} has no image {image}; check the name and the tag")]
    NotFound { image: String, registry: String },
    #[error(
        "{registry} wants a login for {image}: it is private, or does not exist; `docker login {registry}` makes one"
    )]
    Unauthorized { image: String, registry: String },
    #[error(
        "{registry} refuses {image} to {user}; check the password that `docker login` has kept, and whether {user} may pull it"
    )]
    Refused { image: String, registry: String, user: String },
    #[error("cannot find out the password for {registry}")]
    Credentials { registry: String, source: CredentialsError },
    #[error("{registry} has had too many pulls from here: {message}; wait, or name a mirror by --registry")]
    TooManyPulls { registry: String, message: String },
    #[error("cannot reach {registry}: {reason}; check the address, and that this machine may connect to it")]
    Unreachable { registry: String, reason: String },
    #[error("the connection to {registry} was cut again and again: {reason}")]
    Cut { registry: String, reason: String },
    #[error("{registry} is in trouble: {message}; try again later")]
    Trouble { registry: String, message: String },
    #[error("{registry} cannot get {image}: {message}")]
    Mirror { image: String, registry: String, message: String },
    #[error("{registry} answered with an error: {message}")]
    Registry { registry: String, message: String },
    #[error("{image} is not made for {wanted}; there is {offered}; choose one of them by --platform")]
    Platform { image: String, wanted: String, offered: String },
    #[error(
        "layer {digest} is of the type {media_type}; only tar archives, plain, in gzip or in zstd, can be unpacked"
    )]
    LayerType { digest: String, media_type: String },
    #[error("layer {digest} does not have the {expected} bytes that the manifest says; nothing of it was unpacked")]
    LayerSize { digest: String, expected: u64 },
    #[error("what came as layer {digest} has the digest {actual}; nothing of it was unpacked")]
    LayerDigest { digest: String, actual: String },
    #[error("downloading layer {digest} failed; nothing of it was unpacked")]
    Download { digest: String, source: io::Error },
    #[error("the image's configuration would be {size} bytes; none is that big")]
    ConfigSize { size: i64 },
    #[error("cannot write the image's configuration to {path}")]
    WriteConfig { path: PathBuf, source: io::Error },
    #[error("cannot write the layer to {path}")]
    WriteLayer { path: PathBuf, source: io::Error },
    #[error("cannot make the directory {path}; pull as root, or below another directory with --fs")]
    MakeDirectory { path: PathBuf, source: io::Error },
    #[error("cannot lock {path}: {errno}; is {image} just being pulled by somebody else?")]
    Lock { image: String, path: PathBuf, errno: Errno },
    #[error("cannot remove {path}, which an earlier pull has left")]
    RemoveLeftover { path: PathBuf, source: io::Error },
    #[error("cannot rename(2) {from} to {to}")]
    Rename { from: PathBuf, to: PathBuf, source: io::Error },
    #[error("cannot write down the digest in {path}")]
    Record { path: PathBuf, source: io::Error },
    #[error("cannot unpack layer {digest}")]
    Unpack { digest: String, source: UnpackError },
}

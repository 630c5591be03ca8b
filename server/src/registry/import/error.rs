//! What can be wrong with what is to be imported.

use std::io;
use std::path::PathBuf;

use super::super::error::StoreError;
use super::super::name::Digest;
use crate::runtime::printable;

/// Why nothing was imported.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum ImportError {
    #[error("cannot open {path}")]
    Open { path: PathBuf, source: io::Error },
    #[error("{path} is not a tar archive, nor one in gzip")]
    Archive { path: PathBuf, source: io::Error },
    #[error("{path} has more than {limit} files; no image has")]
    Entries { path: PathBuf, limit: usize },
    #[error("{path} unpacks to more than {limit} bytes")]
    Bomb { path: PathBuf, limit: u64 },
    #[error(
        "{path} has no image: neither the index.json of an OCI image layout nor the manifest.json of `docker save`"
    )]
    NoImage { path: PathBuf },
    #[error("{path} does not say what the image is called; name it: newroot images import {path} NAME")]
    NoName { path: PathBuf },
    #[error("{path} has {count} images, and there is one name; leave it out, so that they keep their own")]
    Several { path: PathBuf, count: usize },
    #[error(
        "`{name}` is not a name for an image; names look like `alpine:3.20` or `registry.example/team/app:1`",
        name = printable(.name)
    )]
    Name { name: String },
    #[error("`{name}` is missing: this is not all of the image", name = printable(.name))]
    Missing { name: String },
    #[error("`{name}` is not as the image specification has it", name = printable(.name))]
    Json { name: String },
    #[error("`{name}` has more than {limit} bytes", name = printable(.name))]
    TooLarge { name: String, limit: u64 },
    #[error("indexes within indexes, more than {limit} deep")]
    Nested { limit: usize },
    #[error("cannot copy `{name}`", name = printable(.name))]
    Copy { name: String, source: io::Error },
    #[error(
        "`{name}` is damaged: it has the digest {}, not {}",
        actual.as_str(), digest.as_str(), name = printable(.name)
    )]
    Digest { name: String, digest: Digest, actual: Digest },
    #[error("the image's configuration names {wanted} layers, and there are {there}")]
    Layers { wanted: usize, there: usize },
    #[error("cannot keep the image")]
    Store(#[from] StoreError),
}

//! A registry that pulls through: what the labs see as 127.0.0.1:5000, without its HTTP side (that is `http::mirror`).
//! An image is looked for among the imported ones first, then in this binary, in the cache on disk, and at the upstream
//! registry that it belongs to.

mod blob;
mod client;
mod content;
mod download;
mod embedded;
mod error;
mod import;
mod inventory;
mod lab_rootfs;
mod manifest;
mod name;
mod room;
mod store;
mod upstream;

pub use blob::Blob;
pub use client::Client;
pub use error::StoreError;
pub use import::{ImportError, Imported, import};
pub use inventory::{Inventoried, Place, list, prune};
pub use lab_rootfs::lab_rootfs;
pub use manifest::{MANIFEST_LIMIT, Manifest};
pub use name::{Digest, ManifestReference, RepositoryName, Tag};
pub use store::{Limits, Store, directories};
pub use upstream::Upstream;

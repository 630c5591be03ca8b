//! A registry that pulls through: what the labs see as 127.0.0.1:5000, without its HTTP side (that is `http::mirror`).
//! An image is looked for in this binary first, then in the cache on disk, then at the one upstream registry.

mod cache;
mod embedded;
mod error;
mod lab_rootfs;
mod name;
mod store;
mod upstream;

pub use error::StoreError;
pub use lab_rootfs::lab_rootfs;
pub use name::{Digest, ManifestReference, RepositoryName, Tag};
pub use store::{Blob, Manifest, Store};
pub use upstream::Upstream;

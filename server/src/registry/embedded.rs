//! The images inside this binary: OCI image layouts (image specification, "Image Layout") that were in
//! `target/dist/images/` when it was built. They are served without any network.

use std::borrow::Cow;

use rust_embed::RustEmbed;
use serde::Deserialize;

use super::name::{Digest, ManifestReference, RepositoryName};
use super::store::Manifest;

#[derive(RustEmbed)]
#[folder = "../target/dist/images/"]
#[allow_missing = true]
struct Images;

/// The part of `index.json` that matters here.
#[derive(Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

/// A reference from one JSON document to another, or to a blob (image specification, "Content Descriptors").
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What it is.
    pub media_type: String,
    /// Its name.
    pub digest: String,
}

/// The manifest of an embedded image, if there is one of that name: by `latest` or by its digest.
pub fn manifest(name: &RepositoryName, reference: &ManifestReference) -> Option<Manifest> {
    let image = folder(name);
    let index = Images::get(&format!("{image}/index.json"))?;
    let index: Index = serde_json::from_slice(&index.data).ok()?;
    let descriptor = index.manifests.into_iter().next()?;
    let digest: Digest = descriptor.digest.parse().ok()?;
    match reference {
        ManifestReference::Tag(tag) if tag.as_str() == "latest" => {}
        ManifestReference::Digest(wanted) if *wanted == digest => {}
        _ => return None,
    }
    let bytes = blob(name, &digest)?.into_owned();
    Some(Manifest { media_type: descriptor.media_type, digest, bytes })
}

/// A blob of an embedded image.
pub fn blob(name: &RepositoryName, digest: &Digest) -> Option<Cow<'static, [u8]>> {
    Some(Images::get(&format!("{}/blobs/sha256/{}", folder(name), digest.hex()))?.data)
}

/// Docker's `library/` is understood, as everywhere.
fn folder(name: &RepositoryName) -> &str {
    name.as_str().strip_prefix("library/").unwrap_or(name.as_str())
}

//! The images inside this binary: OCI image layouts (image specification, "Image Layout") that were in
//! `target/dist/images/` when it was built. They are served without any network.

use std::borrow::Cow;

use rust_embed::RustEmbed;

pub use super::manifest::Descriptor;
use super::manifest::{Manifest, References};
use super::name::{Digest, ManifestReference, RepositoryName};

#[derive(RustEmbed)]
#[folder = "../target/dist/images/"]
#[allow_missing = true]
struct Images;

/// The manifest of an embedded image, if there is one of that name: by `latest` or by its digest.
pub fn manifest(name: &RepositoryName, reference: &ManifestReference) -> Option<Manifest> {
    let image = folder(name);
    let index = Images::get(&format!("{image}/index.json"))?;
    let index = References::of(&index.data)?;
    let digest: Digest = index.manifests.first()?.digest.parse().ok()?;
    match reference {
        ManifestReference::Tag(tag) if tag.as_str() == "latest" => {}
        ManifestReference::Digest(wanted) if *wanted == digest => {}
        _ => return None,
    }
    Manifest::new(blob(name, &digest)?.into_owned())
}

/// A blob of an embedded image.
pub fn blob(name: &RepositoryName, digest: &Digest) -> Option<Cow<'static, [u8]>> {
    Some(Images::get(&format!("{}/blobs/sha256/{}", folder(name), digest.hex()))?.data)
}

/// The names of the embedded images.
pub fn names() -> Vec<RepositoryName> {
    let files = Images::iter();
    let mut names: Vec<_> = files.filter_map(|path| path.strip_suffix("/index.json")?.parse().ok()).collect();
    names.sort_by(|a: &RepositoryName, b| a.as_str().cmp(b.as_str()));
    names
}

fn folder(name: &RepositoryName) -> &str {
    name.short()
}

//! Manifests and indexes: what the mirror needs to know of them. Their bytes stay as they were published.

use oci_client::manifest::{OCI_IMAGE_INDEX_MEDIA_TYPE, OCI_IMAGE_MEDIA_TYPE};
use serde::Deserialize;

use super::name::Digest;

/// A manifest or an index, with what a client needs to know of it.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// What kind it is.
    pub media_type: String,
    /// The digest of `bytes`.
    pub digest: Digest,
    /// The JSON text, byte for byte as it was published.
    pub bytes: Vec<u8>,
}

/// The largest manifest that is taken, in bytes (the specification asks registries for 4 MiB at least).
pub const MANIFEST_LIMIT: u64 = 4 << 20;

/// What a manifest or an index refers to; none of it is checked.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct References {
    media_type: Option<String>,
    /// The manifests of an index.
    #[serde(default)]
    pub manifests: Vec<Descriptor>,
    /// The configuration of an image.
    pub config: Option<Descriptor>,
    /// The layers of an image.
    #[serde(default)]
    pub layers: Vec<Descriptor>,
}

/// A reference to content (image specification, "Content Descriptors").
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What it is.
    #[serde(default)]
    pub media_type: String,
    /// Its name.
    pub digest: String,
    /// In bytes.
    pub size: u64,
    /// Notes; an index names its images by them.
    #[serde(default)]
    pub annotations: std::collections::HashMap<String, String>,
}

impl Manifest {
    /// Reads as much of a manifest as must be known; `None` if the bytes are none.
    pub fn new(bytes: Vec<u8>) -> Option<Manifest> {
        let references = References::of(&bytes)?;
        // Older ones do not name their type: then it shows by what they have.
        let default = if references.config.is_none() { OCI_IMAGE_INDEX_MEDIA_TYPE } else { OCI_IMAGE_MEDIA_TYPE };
        let media_type = references.media_type.unwrap_or_else(|| default.to_owned());
        Some(Manifest { media_type, digest: Digest::of(&bytes), bytes })
    }
}

impl References {
    /// The references of a manifest or an index; `None` if the bytes are neither.
    pub fn of(bytes: &[u8]) -> Option<References> {
        #[derive(Deserialize)]
        struct Versioned {
            #[serde(rename = "schemaVersion")]
            _schema_version: u8,
            #[serde(flatten)]
            references: References,
        }
        serde_json::from_slice(bytes).ok().map(|Versioned { references, .. }| references)
    }

    /// The blobs of an image: its configuration, then its layers.
    pub fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        self.config.iter().chain(&self.layers)
    }
}

//! The mirror's one door: a manifest or a blob, from wherever it is nearest.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use oci_client::manifest::{OCI_IMAGE_INDEX_MEDIA_TYPE, OCI_IMAGE_MEDIA_TYPE};
use serde::Deserialize;

use super::cache::Cache;
use super::embedded;
use super::error::StoreError;
use super::name::{Digest, ManifestReference, RepositoryName};
use super::upstream::Upstream;

/// The images in this binary, the cache, and the upstream.
pub struct Store {
    state: PathBuf,
    cache: Cache,
    upstream: Option<Upstream>,
    /// Who fetches a blob holds its lock; the others wait, and find it in the cache.
    fetching: Mutex<HashMap<Digest, Arc<tokio::sync::Mutex<()>>>>,
}

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

/// A blob's content.
pub enum Blob {
    /// Part of this binary.
    Embedded(Cow<'static, [u8]>),
    /// A file of the cache.
    Cached(File),
}

/// How long the digest of a tag is believed. A room of learners that pull the same image then counts as one pull
/// at the upstream, which may count.
const TAG_AGE: Duration = Duration::from_secs(300);

/// The largest manifest that is taken (the specification asks registries for 4 MiB at least).
pub(super) const MANIFEST_LIMIT: u64 = 4 << 20;

impl Store {
    /// Opens the store below a state directory (`/var/lib/newroot`). Without an upstream only embedded and cached images
    /// are served.
    pub fn open(state: &Path, upstream: Option<Upstream>) -> Result<Store, StoreError> {
        let cache = Cache::open(state.join("cache"))?;
        Ok(Store { state: state.to_owned(), cache, upstream, fetching: Mutex::default() })
    }

    /// The state directory.
    pub(super) fn state(&self) -> &Path {
        &self.state
    }

    /// A manifest by tag or digest.
    pub async fn manifest(&self, name: &RepositoryName, by: &ManifestReference) -> Result<Manifest, StoreError> {
        if let Some(manifest) = embedded::manifest(name, by) {
            return Ok(manifest);
        }
        let tag = match by {
            ManifestReference::Digest(digest) => return self.manifest_by_digest(name, digest).await,
            ManifestReference::Tag(tag) => tag,
        };
        if let Some(digest) = self.cache.tag(name, tag, TAG_AGE)
            && let Some(manifest) = self.cached_manifest(&digest)?
        {
            return Ok(manifest);
        }
        match self.fetch_manifest(name, by).await {
            Ok(manifest) => {
                self.cache.set_tag(name, tag, &manifest.digest)?;
                Ok(manifest)
            }
            // Better what the tag was yesterday than nothing at all.
            Err(StoreError::Unreachable { registry, reason }) => {
                let stale = self.cache.tag(name, tag, Duration::MAX);
                let stale = stale.map(|digest| self.cached_manifest(&digest)).transpose()?.flatten();
                stale.ok_or(StoreError::Unreachable { registry, reason })
            }
            Err(error) => Err(error),
        }
    }

    /// A blob by its digest.
    pub async fn blob(&self, name: &RepositoryName, digest: &Digest) -> Result<Blob, StoreError> {
        if let Some(bytes) = embedded::blob(name, digest) {
            return Ok(Blob::Embedded(bytes));
        }
        if let Some(file) = self.cache.blob(digest)? {
            return Ok(Blob::Cached(file));
        }
        let upstream = self.upstream.as_ref().ok_or(StoreError::BlobUnknown)?;
        let lock = self.lock_of(digest);
        let _fetching = lock.lock().await;
        if let Some(file) = self.cache.blob(digest)? {
            return Ok(Blob::Cached(file));
        }
        let fetched = upstream.blob(name, digest, self.cache.new_blob()?).await?;
        self.cache.keep(fetched, digest)?;
        Ok(Blob::Cached(self.cache.blob(digest)?.ok_or(StoreError::BlobUnknown)?))
    }

    async fn manifest_by_digest(&self, name: &RepositoryName, digest: &Digest) -> Result<Manifest, StoreError> {
        match self.cached_manifest(digest)? {
            Some(manifest) => Ok(manifest),
            None => self.fetch_manifest(name, &ManifestReference::Digest(digest.clone())).await,
        }
    }

    /// Asks the upstream, and keeps the answer.
    async fn fetch_manifest(&self, name: &RepositoryName, by: &ManifestReference) -> Result<Manifest, StoreError> {
        let upstream = self.upstream.as_ref().ok_or(StoreError::ManifestUnknown)?;
        let bytes = upstream.manifest(name, by).await?;
        let media_type = media_type(&bytes).ok_or(StoreError::ManifestUnknown)?;
        let digest = Digest::of(&bytes);
        let mut file = self.cache.new_blob()?;
        file.write_all(&bytes).map_err(|source| StoreError::Write { path: file.path().to_owned(), source })?;
        self.cache.keep(file, &digest)?;
        Ok(Manifest { media_type, digest, bytes })
    }

    fn cached_manifest(&self, digest: &Digest) -> Result<Option<Manifest>, StoreError> {
        let Some(file) = self.cache.blob(digest)? else { return Ok(None) };
        let mut bytes = Vec::new();
        // The cache has layers too, of any size: who asks for one as a manifest must not fill the memory.
        let read = file.take(MANIFEST_LIMIT).read_to_end(&mut bytes);
        read.map_err(|source| StoreError::Read { path: self.state.join("cache").join(digest.hex()), source })?;
        Ok(media_type(&bytes).map(|media_type| Manifest { media_type, digest: digest.clone(), bytes }))
    }

    fn lock_of(&self, digest: &Digest) -> Arc<tokio::sync::Mutex<()>> {
        // The map is never left half changed, so a panic elsewhere while it was locked has done it no harm.
        let mut fetching = self.fetching.lock().unwrap_or_else(PoisonError::into_inner);
        fetching.retain(|_, lock| Arc::strong_count(lock) > 1);
        Arc::clone(fetching.entry(digest.clone()).or_default())
    }
}

/// A manifest's media type; `None` if it is no manifest. Older ones do not name it: then it shows by what they have.
fn media_type(manifest: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Head {
        #[serde(rename = "schemaVersion")]
        _schema_version: u8,
        media_type: Option<String>,
        manifests: Option<serde::de::IgnoredAny>,
    }
    match serde_json::from_slice(manifest).ok()? {
        Head { media_type: Some(media_type), .. } => Some(media_type),
        Head { manifests: Some(_), .. } => Some(OCI_IMAGE_INDEX_MEDIA_TYPE.to_owned()),
        Head { manifests: None, .. } => Some(OCI_IMAGE_MEDIA_TYPE.to_owned()),
    }
}
